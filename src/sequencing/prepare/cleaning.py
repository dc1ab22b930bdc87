"""The first stage: blocks of rows are cleaned, numbered and kept as shards. Every row is kept or counted as dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sequencing.corpora.cleaning import CleanConfig, Cleaner, FilterConfig
from sequencing.corpora.formats import Block, CorpusConfig, Inputs, ReadOptions, parts_of, read_blocks
from sequencing.prepare.keys import keys, loose_keys
from sequencing.prepare.settings import HELD_OUT, STANDARD_INPUT, PrepareConfig
from sequencing.prepare.shards import EXAMPLES, PAIRS, Pairs, shard_name, write_shard
from sequencing_np.columns import TAB, counted
from sequencing_np.errors import ConfigError, DataError

TRAINING = "train"
ROLES = (TRAINING, *HELD_OUT)


class Part(NamedTuple):
    """A file of a corpus, or files side by side."""

    number: int
    role: str  # one of ROLES
    corpus: int  # its number among those of its role
    config: CorpusConfig  # with these files alone

    @property
    def paths(self) -> tuple[str, ...]:
        """The files; "-" is standard input."""
        (entry,) = self.config.files
        return (entry,) if isinstance(entry, str) else entry


class Item(NamedTuple):
    """A block that is to become a shard."""

    name: str
    part: Part
    block: Block


def all_parts(config: PrepareConfig) -> list[Part]:
    """All files of all corpora in their order, patterns resolved: those to train with, then those held out."""
    found: list[Part] = []
    for role, corpora in zip(ROLES, (config.corpora, config.dev, config.test), strict=True):
        for number, paths, form in parts_of(corpora, Path()):
            names = tuple(map(str, paths))
            alone = replace(corpora[number], files=(names if len(names) > 1 else names[0],), format=form)
            found.append(Part(len(found), role, number, alone))
    if sum(part.paths.count(STANDARD_INPUT) for part in found) > 1:
        raise ConfigError("standard input (-) is named more than once; it can be read once")
    return found


@lru_cache(maxsize=8)
def cleaner(clean: CleanConfig, filters: FilterConfig, tag: str) -> Cleaner:
    """Made once in each process."""
    return Cleaner(clean, filters, (tag,))


@dataclass(frozen=True)
class Cleaning:
    """`read` and `work` of the stage."""

    shards: Path
    options: ReadOptions
    clean: CleanConfig
    filters: FilterConfig
    rows: int
    columns: int  # how many texts a source is
    inputs: Inputs = field(default_factory=Inputs)  # what was read, where it is this process that read it

    def read(self, part: Part) -> Iterator[Item]:
        """The blocks of a part that are no shards yet."""
        blocks = read_blocks((part.config,), Path(), self.options, self.rows, self.inputs)
        for number, block in enumerate(blocks):
            name = shard_name(part.number, number)
            if not (self.shards / (name + PAIRS)).is_file():
                yield Item(name, part, block)

    def work(self, item: Item) -> int:
        """Clean a block and keep it; the number of rows that were read."""
        name, part, block = item
        filters = self.filters if part.role == TRAINING else FilterConfig()  # a test set keeps its lines
        cleaned = cleaner(self.clean, filters, part.config.tag)(block)
        texts = Pairs(cleaned.sources, cleaned.targets, cleaned.lines)
        self.check(block.file, texts)
        record = {
            "role": part.role,
            "corpus": part.corpus,
            "file": block.file,
            "read": len(block.sources),
            "dropped": {
                reason: {"count": found.count, "examples": [list(example) for example in found.examples]}
                for reason, found in cleaned.dropped.items()
            },
            "changed": dict(cleaned.changed),
        }
        write_shard(self.shards, name, texts, numbers(texts, part.config.tag), record)
        return len(block.sources)

    def check(self, file: str, texts: Pairs) -> None:
        """DataError where a source is not as many texts as the vocabulary reads."""
        expected = self.columns - 1
        if "".join(texts.sources).count(TAB) == expected * len(texts.sources) and not expected:
            return
        for source, line in zip(texts.sources, texts.lines, strict=True):
            if source.count(TAB) != expected:
                raise DataError(
                    f"{file}:{line}: the source is {counted(source.count(TAB) + 1)}, vocab.source.columns is "
                    f"{self.columns}; set it to what the text has, or name the columns that are read (corpora.source)"
                )


def numbers(texts: Pairs, tag: str) -> np.ndarray:  # -> (COLUMNS, n) uint64
    """The columns of a shard. To a loose key, the tag in front of a source is no part of the sentence."""
    before = f"{tag} " if tag else ""
    bare = [source.removeprefix(before) for source in texts.sources] if before else texts.sources
    lines = np.array(texts.lines, dtype=np.uint64)
    loose = (loose_keys(bare), loose_keys(texts.targets))
    return np.stack([keys(texts.sources), keys(texts.targets), *loose, lines])


def totals(records: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What several shards say of what was read, dropped and changed, as one."""
    dropped: dict[str, dict[str, Any]] = {}
    changed: dict[str, int] = {}
    for record in records:
        for reason, found in record["dropped"].items():
            sum_of = dropped.setdefault(reason, {"count": 0, "examples": []})
            sum_of["count"] += found["count"]
            sum_of["examples"] = (sum_of["examples"] + found["examples"])[:EXAMPLES]
        for kind, count in record["changed"].items():
            changed[kind] = changed.get(kind, 0) + count
    read, kept = (sum(record[name] for record in records) for name in ("read", "rows"))
    return {"read": read, "kept": kept, "dropped": dropped, "changed": changed}
