"""What is prepared, and how: one frozen PrepareConfig, read from a TOML file as the configuration of a run is.

The resolved configuration is saved with what was prepared. Knows nothing of how the stages work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sequencing.corpora.cleaning import CleanConfig, FilterConfig
from sequencing.corpora.formats import CorpusConfig, ReadOptions
from sequencing.prepare.engines import ENGINES
from sequencing.prepare.keys import APART, DUPLICATES
from sequencing.run_config import SideConfig, VocabConfig
from sequencing_np.config import Origin, build, changes, choose, override, read_json, read_toml, require, to_dict
from sequencing_np.errors import ConfigError

STANDARD_INPUT = "-"
WHERE = ("jobs", "engine")  # how the work is done, not what comes out


@dataclass(frozen=True)
class DuplicatesConfig:
    """Of pairs that are alike, the first one stays."""

    keys: tuple[str, ...] = ("pair",)  # rows of DUPLICATES, one after the other; () keeps all
    across: bool = True  # false: only within each corpus

    def __post_init__(self) -> None:
        for key in self.keys:
            choose(DUPLICATES, key, "keys")


@dataclass(frozen=True)
class SplitConfig:
    """What is held out of the corpora, and what may not stand in two of train, dev and test."""

    dev: int = 0  # pairs; with a [[dev]] table of given text it stays 0
    test: int = 0
    seed: int = 1
    corpora: tuple[str, ...] = ()  # names of those from which is held out; () all
    apart: tuple[str, ...] = ("source", "target")  # rows of APART

    def __post_init__(self) -> None:
        for name in ("dev", "test", "seed"):
            require(getattr(self, name) >= 0, f"{name} {getattr(self, name)}: must be 0 or more")
        for key in self.apart:
            choose(APART, key, "apart")


@dataclass(frozen=True)
class PrepareConfig:
    """Everything that decides what is prepared, and the two settings that do not: `jobs` and `engine`."""

    corpora: tuple[CorpusConfig, ...]
    dev: tuple[CorpusConfig, ...] = ()  # given held-out text: normalised, never filtered
    test: tuple[CorpusConfig, ...] = ()
    read: ReadOptions = field(default_factory=ReadOptions)
    clean: CleanConfig = field(default_factory=CleanConfig)
    filter: FilterConfig = field(default_factory=FilterConfig)
    duplicates: DuplicatesConfig = field(default_factory=DuplicatesConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    vocab: VocabConfig = field(default_factory=VocabConfig)
    sample: int = 500_000  # training pairs, about, that vocabularies are built from; 0: all of them
    max_length: int = 256  # tokens a side, the end symbol included; longer training pairs are dropped
    rows: int = 20_000  # pairs a shard: what is done, or lost, at once
    jobs: int = 0  # processes; 0: one for each core
    engine: str = "local"  # a row of ENGINES

    def __post_init__(self) -> None:
        require(len(self.corpora) > 0, "corpora: give at least one [[corpora]] table")
        for name, least in (("sample", 0), ("max_length", 1), ("rows", 1), ("jobs", 0)):
            require(getattr(self, name) >= least, f"{name} {getattr(self, name)}: must be {least} or more")
        choose(ENGINES, self.engine, "engine")
        names = [corpus.name for corpus in self.corpora]
        twice = next((name for name in names if names.count(name) > 1), None)
        require(twice is None, f"corpora: two are called {twice!r}; give each a name of its own")
        for name in self.split.corpora:
            require(name in names, f"split.corpora: no corpus {name!r}; there are {', '.join(names)}")
        for name in HELD_OUT:
            given, size = getattr(self, name), getattr(self.split, name)
            require(
                not (given and size), f"split.{name} {size}: [[{name}]] gives the text already; leave one of them out"
            )
            weighed = [corpus.name for corpus in given if corpus.weight != 1]
            require(not weighed, f"{name}: {', '.join(weighed)}: only training text has a weight")
        columns = self.vocab.source.columns
        require(
            columns == 1, f"vocab.source.columns {columns}: only pairs of one source can be prepared; train from text"
        )
        level = self.vocab.source.level
        require(level != "vectors", f"vocab.source.level {level!r}: only text can be prepared; train from the files")


HELD_OUT = ("dev", "test")


def read_prepare_config(path: str | Path, settings: Iterable[str] = ()) -> PrepareConfig:
    """The configuration in a TOML file (or the prepare.json of a folder) with `key=value` settings laid over it."""
    values, origin = (read_json if Path(path).suffix == ".json" else read_toml)(path)
    config = build(PrepareConfig, override(values, settings), origin)
    return located(config, Path(path).resolve().parent)


def short_config(corpus: CorpusConfig, values: dict[str, Any], settings: Iterable[str]) -> PrepareConfig:
    """The configuration of a call without a file: one corpus, and values from the command line."""
    given = override({**values, "corpora": [to_dict(corpus)]}, settings)
    return located(build(PrepareConfig, given, Origin("the command line")), Path.cwd())


def located(config: PrepareConfig, folder: Path) -> PrepareConfig:
    """The same configuration with absolute paths, and with the tags of corpora among those of the vocabulary."""
    corpora, dev, test = (tuple(at(corpus, folder) for corpus in part) for part in parts(config))
    known = config.vocab.source.tags
    tags = dict.fromkeys(corpus.tag for part in parts(config) for corpus in part if corpus.tag)
    source, target = (placed(side, folder) for side in (config.vocab.source, config.vocab.target))
    if not source.file and set(tags) - set(known):
        source = replace(source, tags=(*known, *(tag for tag in tags if tag not in known)))
    vocab = replace(config.vocab, source=source, target=target)
    function = config.clean.function
    if ":" in function and function.rpartition(":")[0].endswith(".py"):
        function = str(folder / function)
    clean = replace(config.clean, function=function)
    return replace(config, corpora=corpora, dev=dev, test=test, vocab=vocab, clean=clean)


def parts(config: PrepareConfig) -> tuple[Sequence[CorpusConfig], ...]:
    """The corpora to train with, and those of given held-out text."""
    return config.corpora, config.dev, config.test


def at(corpus: CorpusConfig, folder: Path) -> CorpusConfig:
    """The same corpus with absolute paths."""

    def absolute(name: str) -> str:
        return name if name == STANDARD_INPUT else str(folder / name)

    files = (absolute(entry) if isinstance(entry, str) else tuple(map(absolute, entry)) for entry in corpus.files)
    return replace(corpus, files=tuple(files))


def placed(side: SideConfig, folder: Path) -> SideConfig:
    """The same side with an absolute path."""
    return replace(side, file=str(folder / side.file)) if side.file else side


def what(config: PrepareConfig) -> dict[str, Any]:
    """The part of a configuration that decides what comes out."""
    return {key: value for key, value in to_dict(config).items() if key not in WHERE}


def same_work(before: dict[str, Any], config: PrepareConfig, folder: Path) -> None:
    """ConfigError where a folder was begun with another configuration; names the first key that differs."""
    for key, old, new in changes(before, what(config)):
        raise ConfigError(
            f"{folder}: was begun with {key} = {old!r}, and is now to go on with {new!r}; give a new folder, or take "
            f"this one away to begin again"
        )
