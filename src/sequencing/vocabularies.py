"""The vocabularies of a run: read from files, or built from its training text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from itertools import chain
from random import Random
from typing import Any

from sequencing.data.corpus import Corpus, Entry
from sequencing.data.subword_training import train_subwords
from sequencing.run_config import SideConfig, VocabConfig
from sequencing_np.columns import TAB, ColumnsVocab, counted
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.factors import FactoredVocab, FactorReader
from sequencing_np.foreign import import_vocab, is_whole_vocab
from sequencing_np.model import ModelConfig
from sequencing_np.reversal import ReversedVocab
from sequencing_np.vectors import Spread, VectorVocab, parse_vectors
from sequencing_np.vocab import Vocab, Vocabulary, build_vocab, read_vocab

Lines = Callable[[], Iterator[str]]


def source_lines(corpus: Corpus) -> Iterator[str]:
    """The source side of a corpus, text by text where a source is several."""
    return (text for source, _ in corpus.pairs() for text in texts_of(source, corpus.sources))


def target_lines(corpus: Corpus) -> Iterator[str]:
    """The target side of a corpus."""
    return (target for _, target in corpus.pairs())


def both_sides(corpus: Corpus) -> Iterator[str]:
    """Every text of a corpus."""
    return (text for source, target in corpus.pairs() for text in (*texts_of(source, corpus.sources), target))


def texts_of(source: str, columns: int) -> list[str]:
    """The texts of a source; what is one text may hold tabs."""
    return source.split(TAB) if columns > 1 else [source]


def factor_reader(config: SideConfig) -> FactorReader:
    """What takes factors off the words of a side."""
    return FactorReader(config.factors, config.factor_separator, config.separator, config.tags)


def check_factors(config: SideConfig, corpus: Corpus) -> None:
    """DataError, with file and line, where a source token has not the factors that its configuration speaks of."""
    if not config.factors:
        return
    reader = factor_reader(config)
    for source, _, file, line in corpus.entries():
        try:
            for text in texts_of(source, config.columns):
                reader.words_of(text)
        except DataError as error:
            raise DataError(f"{file}:{line}: {error}") from None


def build_side(config: SideConfig, lines: Iterator[str]) -> Vocabulary:
    """One vocabulary, as its configuration describes it; where a source is several texts, `lines` are its texts."""
    if config.file and is_whole_vocab(config.file):
        return agreeing(import_vocab(config.file, config.tags), config)
    if config.factors:
        return build_factored(config, lines, iter(()))
    if config.level == "subwords" and not config.file:
        return train_subwords(lines, config.size, algorithm=config.algorithm, tags=config.tags)
    return build_words(config, lines)


def build_words(config: SideConfig, lines: Iterator[str]) -> Vocab:
    """Words, characters, or what a delimiter separates."""
    if config.file:
        return read_vocab(config.file, config.separator, tags=config.tags)
    return build_vocab(lines, config.separator, config.min_count, config.size, tags=config.tags)


def build_factored(config: SideConfig, lines: Iterator[str], plain: Iterator[str]) -> FactoredVocab:
    """Words and the values of their factors; the words of `plain` lines, which have no factors, count too."""
    reader = factor_reader(config)
    words = map(reader.words_of, lines)
    vocab = build_words(config, chain(words, plain))
    for _ in words:  # where the words come from a file, their factors still come from the text
        pass
    return FactoredVocab(vocab, reader.values(), config.factor_separator)


def agreeing(vocab: Vocabulary, config: SideConfig) -> Vocabulary:
    """A vocabulary that was saved whole; ConfigError where the configuration says otherwise."""
    if config.tags and set(config.tags) != set(vocab.tags):
        raise ConfigError(
            f"{config.file}: its tags are {list(vocab.tags)}, tags is {list(config.tags)}; leave tags out, or give "
            "another file"
        )
    if config.factors != len(vocab.factor_sizes):
        raise ConfigError(
            f"{config.file}: it has {len(vocab.factor_sizes)} factors, factors is {config.factors}; "
            f"set factors = {len(vocab.factor_sizes)}, or give another file"
        )
    if config.dropout:
        try:
            vocab.sample("", config.dropout, Random(0))
        except ConfigError as error:
            raise ConfigError(f"{config.file}: {error}") from None
    if bool(vocab.vector_size) != (config.level == "vectors"):
        own, wanted = ("vectors", 'level = "vectors"') if vocab.vector_size else ("text", "another level, or no level")
        raise ConfigError(f"{config.file}: is of {own}, level is {config.level!r}; set {wanted}, or give another file")
    if vocab.columns != config.columns and (vocab.columns > 1 or vocab.reversed):
        raise ConfigError(
            f"{config.file}: it is of lines of {counted(vocab.columns)}, columns is {config.columns}; "
            f"set columns = {vocab.columns}, or give another file"
        )
    if vocab.reversed and not config.reversed:
        raise ConfigError(
            f"{config.file}: its texts are read backwards, reversed is false; set reversed = true beside it, or give "
            "another file"
        )
    return vocab


def build_vectors(corpus: Corpus) -> VectorVocab:
    """What vectors are scaled by, from the source side; DataError, with file and line, where one is not in order."""
    spread, size = Spread(), 0
    for entry in corpus.entries():
        with placed(entry):
            vectors = parse_vectors(entry.source, size)
        spread.add(vectors)
        size = vectors.shape[1]
    return spread.vocab()


def check_vectors(vocab: Vocabulary, corpus: Corpus) -> None:
    """DataError, with file and line, where a source is no sequence of vectors such as the vocabulary reads."""
    for entry in corpus.entries() if vocab.vector_size else ():
        with placed(entry):
            vocab.encode(entry.source)


@contextmanager
def placed(entry: Entry) -> Iterator[None]:
    """A context in which a DataError gets the file and the line of an entry."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{entry.file}:{entry.line}: {error}") from None


def no_vectors(vocab: Vocabulary, config: SideConfig) -> Vocabulary:
    """The vocabulary of a target; ConfigError where it is one of vectors."""
    if vocab.vector_size:
        raise ConfigError(f"{config.file}: is of vectors, and what is answered is text; give another file")
    return vocab


def turned(vocab: Vocabulary, config: SideConfig) -> Vocabulary:
    """The vocabulary, its texts read backwards where they are to be."""
    return ReversedVocab(vocab) if config.reversed and not vocab.reversed else vocab


def build_target(config: SideConfig, corpus: Corpus) -> Vocabulary:
    """The vocabulary of a target of its own."""
    return turned(no_vectors(build_side(config, target_lines(corpus)), config), config)


def in_columns(vocab: Vocabulary, columns: int) -> Vocabulary:
    """The vocabulary of lines of so many texts, made of that of one text where it is none yet."""
    return vocab if vocab.columns == columns else ColumnsVocab(vocab, columns)


def as_source(vocab: Vocabulary, config: SideConfig) -> Vocabulary:
    """The vocabulary of a source, made of that of one text where it is none yet: in columns, and read backwards."""
    return turned(in_columns(vocab, config.columns), config)


def build_vocabularies(config: VocabConfig, corpus: Corpus) -> tuple[Vocabulary, Vocabulary]:
    """The vocabularies of source and target; the same one twice where they are joint.

    Where the source has factors, the joint one is that of the words.
    """
    if config.source.level == "vectors" and not config.source.file:
        return build_vectors(corpus), build_target(config.target, corpus)
    if not config.joint:
        source = as_source(build_side(config.source, source_lines(corpus)), config.source)
        return source, build_target(config.target, corpus)
    plain = replace(config.target, reversed=False)
    if plain not in (SideConfig(), replace(config.source, reversed=False)):
        raise ConfigError(
            "vocab.joint = true: one vocabulary, described by vocab.source; leave vocab.target out, but for reversed"
        )
    if not config.source.factors:
        joint = no_vectors(build_side(config.source, both_sides(corpus)), config.source)
        if joint.columns > 1 or joint.reversed:
            form = f"of lines of {joint.columns} columns" if joint.columns > 1 else "of texts that are read backwards"
            raise ConfigError(
                f"vocab.joint = true: {config.source.file} is {form}, which no target is; give the vocabulary of one "
                "text, as the target's is"
            )
        return as_source(joint, config.source), turned(joint, config.target)
    if config.source.file and is_whole_vocab(config.source.file):
        raise ConfigError("vocab.joint = true with factors: vocab.source.file must be lines of words, not .json")
    factored = build_factored(config.source, source_lines(corpus), target_lines(corpus))
    return as_source(factored, config.source), turned(factored.words, config.target)


def with_symbols(encoder: Any, source: Vocabulary) -> Any:
    """An encoder's configuration with the ids that it looks for, in the fields marked with a token or a special id."""
    found = {}
    for field in fields(encoder):
        token, special = field.metadata.get("token"), field.metadata.get("special")
        if special:
            found[field.name] = source.special._asdict()[special]
        elif token and token not in source.tokens:
            raise ConfigError(
                f"the encoder {encoder.type} looks for {token!r}, and the source vocabulary has no such token; "
                'set vocab.source.level = "characters"'
            )
        elif token:
            found[field.name] = source.tokens.index(token)
    return replace(encoder, **found)


def check_texts(encoder: Any, source: Vocabulary) -> None:
    """ConfigError where an encoder has a part for each text of a source, and the source has more or fewer texts."""
    for field in fields(encoder):
        name = field.metadata.get("texts")
        count = len(getattr(encoder, name)) if name else source.columns
        if count != source.columns:
            raise ConfigError(
                f"the encoder {encoder.type} has {count} {name}, one for each text of a source, and a source has "
                f"{counted(source.columns)}; set vocab.source.columns = {count}, or give {source.columns} {name}"
            )


def completed(model: ModelConfig, source: Vocabulary, target: Vocabulary) -> ModelConfig:
    """An architecture with what the vocabularies say of it."""
    encoder = with_symbols(model.encoder, source)
    check_texts(encoder, source)
    return replace(
        model,
        encoder=encoder,
        source_size=len(source),
        target_size=len(target),
        source_factors=source.factor_sizes,
        source_vectors=bool(source.vector_size),
    )
