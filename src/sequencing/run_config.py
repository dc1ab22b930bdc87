"""What a training run is made of: data, vocabularies, architecture, learning, search, as one frozen RunConfig.

A run is a TOML file; `--set key=value` is laid over it; the resolved configuration is saved with the run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sequencing.train_config import TrainConfig
from sequencing_np.config import Origin, build, changes, choose, override, read_json, read_toml, require, to_dict
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.model import model_config
from sequencing_np.search import SearchConfig
from sequencing_np.special import tag_pattern

Files = tuple[str | tuple[str, ...], ...]  # "pairs.tsv.gz" or ("text.en.gz", "text.de.gz")
CORPORA = ("train", "dev", "test")


@dataclass(frozen=True)
class DataConfig:
    """Corpora, and how they are read. Paths are absolute or relative to the configuration file."""

    train: Files = ()
    dev: Files = ()
    test: Files = ()
    prepared: str = ""  # instead: a folder that `sequencing prepare` made; dev and test may still be given
    weights: tuple[float, ...] = ()  # one for each entry of train: how often its pairs are seen an epoch; (): once
    max_length: int = 256  # tokens a side; longer training pairs are dropped and counted
    workers: int = 0  # processes that make batches; 0: a thread

    def __post_init__(self) -> None:
        require(self.max_length >= 1, f"max_length {self.max_length}: must be 1 or more")
        require(self.workers >= 0, f"workers {self.workers}: must be 0 (a thread) or more")
        require(bool(self.train or self.prepared), "train: give at least one file, or a folder as prepared")
        require(not (self.train and self.prepared), "train: prepared holds the training pairs; leave one of them out")
        fits = not self.weights or len(self.weights) == len(self.train)
        require(fits, f"weights {list(self.weights)}: give one for each of the {len(self.train)} entries of train")
        positive = all(weight >= 0 for weight in self.weights) and (not self.weights or sum(self.weights) > 0)
        require(positive, f"weights {list(self.weights)}: none may be below 0, and not all may be 0")

    def check_files(self, sources: int) -> None:
        """ConfigError where parallel files are more or fewer than the sources and the target."""
        form = "twos, [source, target]"
        if sources > 1:
            form = f"groups of {sources + 1}, {sources} sources and the target, as vocab.source.columns is {sources}"
        for name in CORPORA:
            for part in getattr(self, name):
                together = isinstance(part, tuple)
                fits = not together or len(part) == sources + 1
                require(fits, f"{name}: {part}: parallel files come in {form}")


@dataclass(frozen=True)
class SideConfig:
    """The vocabulary of one side."""

    level: str = "words"  # a row of LEVELS
    delimiter: str = ""  # of level "delimited": what stands between two tokens
    size: int = 32_000  # ids at most
    min_count: int = 1  # rarer tokens become UNK
    file: str = ""  # read from this file instead: `token` or `token<TAB>count` lines, a .json vocabulary, a
    # SentencePiece model or a tokenizer.json; relative to the configuration file, as data is
    tags: tuple[str, ...] = ()  # always one token of their own, such as <2de>; never left out of the vocabulary
    factors: int = 0  # of the source only: how many stand after each word, as in word|factor1|factor2
    factor_separator: str = "|"  # what stands between them
    dropout: float = 0.0  # of level "subwords", while training: share of merges that are left out, each time anew
    columns: int = 1  # of the source only: how many texts a source is, with tabs between them
    reversed: bool = False  # each text is read from its last token to its first
    algorithm: str = "bpe"  # of level "subwords": how they are learnt, a row of ALGORITHMS

    def __post_init__(self) -> None:
        choose(dict.fromkeys(LEVELS), self.level, "level")
        least = 5 + len(self.tags)
        require(self.size >= least, f"size {self.size}: must be at least {least} (four special ids, tags and a token)")
        require(self.min_count >= 1, f"min_count {self.min_count}: must be 1 or more")
        require(self.factors >= 0, f"factors {self.factors}: must be 0 (none) or more")
        require(0 <= self.dropout < 1, f"dropout {self.dropout}: must be from 0 (none) to below 1")
        require(
            not self.dropout or self.level == "subwords",
            f"dropout {self.dropout}: leaves out merges of subwords, and level {self.level!r} has none; "
            'set level = "subwords", or leave dropout out',
        )
        choose(dict.fromkeys(ALGORITHMS), self.algorithm, "algorithm")
        require(
            self.level == "subwords" or self.algorithm == ALGORITHMS[0],
            f"algorithm {self.algorithm!r}: says how subwords are learnt, and level {self.level!r} has none; "
            'set level = "subwords", or leave algorithm out',
        )
        require(self.columns >= 1, f"columns {self.columns}: must be 1 (one text) or more")
        tab = self.columns > 1 and "\t" in self.separator
        require(not tab, f"columns {self.columns}: tabs stand between columns; set another delimiter of tokens")
        plain = self.level != "vectors" or not (self.tags or self.columns > 1 or self.reversed)
        without = "a line of numbers has no tags and no columns, and is read as it stands"
        require(plain, f'level "vectors": {without}; leave tags, columns and reversed out')
        separates = bool(self.factor_separator) and not any(map(str.isspace, self.factor_separator))
        require(separates, f"factor_separator {self.factor_separator!r}: must be a text without white space")
        try:
            tag_pattern(self.tags, self.separator)
        except DataError as error:
            raise ConfigError(f"tags {list(self.tags)}: {error}") from None
        if self.factors:
            alike = set(self.factor_separator) & set(self.separator)
            require(self.level in FACTORED, f"factors {self.factors}: the level must be one of {', '.join(FACTORED)}")
            require(bool(self.separator), f"factors {self.factors}: set delimiter, which stands between two tokens")
            require(not alike, f"factor_separator {self.factor_separator!r}: the delimiter has a character of it")

    @property
    def separator(self) -> str:
        """What stands between two tokens; empty where each character is one, or subwords are."""
        return {"words": " ", "delimited": self.delimiter}.get(self.level, "")


LEVELS = ("words", "characters", "delimited", "subwords", "vectors")  # the last one of the source only
ALGORITHMS = ("bpe", "unigram")  # byte pairs, or the unigram language model
FACTORED = ("words", "delimited")  # those of which a token may have factors


@dataclass(frozen=True)
class VocabConfig:
    """How text becomes ids."""

    source: SideConfig = field(default_factory=SideConfig)
    target: SideConfig = field(default_factory=SideConfig)
    joint: bool = False  # one vocabulary for both sides, as `source` describes it

    def __post_init__(self) -> None:
        factors = self.target.factors
        require(factors == 0, f"target.factors {factors}: only source text can have factors; leave it out")
        columns = self.target.columns
        require(columns == 1, f"target.columns {columns}: only a source can be several texts; leave it out")
        no_text = 'target.level "vectors": what is answered is text; vectors can be a source alone'
        require(self.target.level != "vectors", no_text)
        joint = self.joint and self.source.level == "vectors"
        require(not joint, "joint: vectors have no vocabulary that text could share; leave joint out")

    @property
    def dropouts(self) -> tuple[float, float]:
        """Of the source and of the target."""
        return self.source.dropout, (self.source if self.joint else self.target).dropout


@dataclass(frozen=True)
class RunConfig:
    """A whole run."""

    data: DataConfig
    model: Any  # a ModelConfig; its sizes come from the vocabularies
    vocab: VocabConfig = field(default_factory=VocabConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    search: SearchConfig = field(default_factory=SearchConfig)  # of validation and, unless told otherwise, of translate

    def __post_init__(self) -> None:
        late = "search.shortlist: a model gets its shortlist when it is exported; leave it out, and give --shortlist"
        require(not self.search.shortlist, late)


def run_config(values: dict[str, Any], origin: Origin) -> RunConfig:
    """A RunConfig from nested mappings; ConfigError names what does not belong."""
    model = model_config(values.get("model", {}), origin, ("model",))
    config = replace(build(RunConfig, {**values, "model": None}, origin), model=model)
    try:
        config.data.check_files(config.vocab.source.columns)
    except ConfigError as error:
        raise ConfigError(f"{origin.at(('data',))}: {error}") from None
    return config


def read_run_config(path: str | Path, settings: Iterable[str] = ()) -> RunConfig:
    """The configuration in a TOML file (or in the config.json of a run) with `key=value` settings laid over it.

    The table [tune], which says what `sequencing tune` searches, may stand in the file; it is not read here.
    """
    values, origin = (read_json if Path(path).suffix == ".json" else read_toml)(path)
    values = override(values, settings)
    values.pop("tune", None)
    return resolved(values, origin, Path(path).resolve().parent)


def resolved(values: dict[str, Any], origin: Origin, folder: Path) -> RunConfig:
    """The configuration that these values are, all paths made absolute; relative ones begin in the folder."""
    config = run_config(with_prepared(values, folder), origin)
    sides = {name: getattr(config.vocab, name) for name in ("source", "target")}
    found = {name: replace(side, file=str(folder / side.file)) for name, side in sides.items() if side.file}
    train, vocab = with_models(config.train, folder), replace(config.vocab, **found)
    return replace(config, data=located(config.data, folder), vocab=vocab, train=train)


def with_prepared(values: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The values with the vocabularies of the folder that was prepared, if one was; their dropout is the run's own."""
    data = values.get("data")
    prepared = data.get("prepared") if isinstance(data, dict) else None
    if not prepared or not isinstance(prepared, str):
        return values
    path = folder / prepared / "prepare.json"
    if not path.is_file():
        raise ConfigError(f"data.prepared: {path} is not there; name a folder that `sequencing prepare` has made")
    made, given = read_json(path)[0].get("vocab"), values.get("vocab", {})
    if not isinstance(made, dict) or not isinstance(given, dict):
        raise ConfigError(f"vocab: no table, here or in {path}; say at most dropout here, and prepare again if need be")
    vocab = dict(made)
    for side, part in given.items():
        vocab[side] = {**made.get(side, {}), **part} if isinstance(part, dict) else part
    for key, _, new in changes(made, vocab):
        if not key.endswith(".dropout"):
            raise ConfigError(
                f"vocab.{key} = {new!r}: the prepared folder brings its vocabularies; say dropout alone here"
            )
    return {**values, "vocab": vocab}


def located(data: DataConfig, folder: Path) -> DataConfig:
    """The same data with absolute paths."""

    def absolute(part: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if isinstance(part, tuple):
            return tuple(str(folder / name) for name in part)
        return str(folder / part)

    train, dev, test = (tuple(map(absolute, getattr(data, name))) for name in CORPORA)
    prepared = str(folder / data.prepared) if data.prepared else ""
    return replace(data, train=train, dev=dev, test=test, prepared=prepared)


def with_models(train: TrainConfig, folder: Path) -> TrainConfig:
    """The same settings with absolute paths of other models, and of a reward and a metric."""
    init, distill, objective = train.init, train.distill, train.objective
    if init.from_run:
        init = replace(init, from_run=str(folder / init.from_run))
    if distill.teacher:
        distill = replace(distill, teacher=str(folder / distill.teacher))
    if objective.start:
        objective = replace(objective, start=str(folder / objective.start))
    objective = replace(objective, reward=function_in(folder, objective.reward))
    return replace(train, init=init, distill=distill, objective=objective, select=function_in(folder, train.select))


def function_in(folder: Path, name: str) -> str:
    """The name of a function with the absolute path of its file, where it has one."""
    place, colon, function = name.rpartition(":")
    return f"{folder / place}{colon}{function}" if place.endswith(".py") else name


def saved(config: RunConfig) -> dict[str, Any]:
    """The configuration as it stands in a run folder: `run_config` reads it back."""
    return to_dict(config)
