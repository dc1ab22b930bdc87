"""The vocabularies of a run: read from files, or built from its training text."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from sequencing.data.corpus import Corpus
from sequencing.data.subword_training import train_subwords
from sequencing.run_config import SideConfig, VocabConfig
from sequencing_np.errors import ConfigError
from sequencing_np.vocab import Vocabulary, build_vocab, load_vocab, read_vocab

Lines = Callable[[], Iterator[str]]


def source_lines(corpus: Corpus) -> Iterator[str]:
    """The source side of a corpus."""
    return (source for source, _ in corpus.pairs())


def target_lines(corpus: Corpus) -> Iterator[str]:
    """The target side of a corpus."""
    return (target for _, target in corpus.pairs())


def both_sides(corpus: Corpus) -> Iterator[str]:
    """Every text of a corpus."""
    return (text for pair in corpus.pairs() for text in pair)


DELIMITERS = {"words": " ", "characters": ""}


def build_side(config: SideConfig, lines: Iterator[str]) -> Vocabulary:
    """One vocabulary, as its configuration describes it."""
    delimiter = DELIMITERS.get(config.level, config.delimiter)
    if config.file:
        return load_vocab(config.file) if Path(config.file).suffix == ".json" else read_vocab(config.file, delimiter)
    if config.level == "subwords":
        return train_subwords(lines, config.size)
    return build_vocab(lines, delimiter, config.min_count, config.size)


def build_vocabularies(config: VocabConfig, corpus: Corpus) -> tuple[Vocabulary, Vocabulary]:
    """The vocabularies of source and target; the same one twice where they are joint."""
    if config.joint:
        if config.target not in (SideConfig(), config.source):
            raise ConfigError("vocab.joint = true: one vocabulary, described by vocab.source; leave vocab.target out")
        joint = build_side(config.source, both_sides(corpus))
        return joint, joint
    return build_side(config.source, source_lines(corpus)), build_side(config.target, target_lines(corpus))
