"""The last stage of the workers: the training pairs of each shard as ids, and what is to be said of their lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from sequencing.data.store import Encoded
from sequencing.prepare.keys import COLUMN
from sequencing.prepare.shards import (
    EXAMPLES,
    IDS,
    TRAIN,
    Shard,
    open_verdicts,
    read_columns,
    read_ids,
    read_text,
    split_pair,
    write_ids,
)
from sequencing_np.batch import Ragged, offsets_of, ragged
from sequencing_np.errors import DataError
from sequencing_np.model_folder import VOCABULARIES
from sequencing_np.vocab import Vocabulary, load_vocab

MOST_WORDS, MOST_CHARACTERS = 256, 1024  # longer sides are counted together
SHOWN = 80  # characters of an example


@lru_cache(maxsize=4)
def vocabularies(folder: Path, stamp: tuple[int, ...]) -> tuple[Vocabulary, Vocabulary]:
    """Read once in each process; `stamp` tells one file from another in the same place."""
    source, target = (load_vocab(folder / name) for name in VOCABULARIES)
    return source, source if source.to_json() == target.to_json() else target


def stamp_of(folder: Path) -> tuple[int, ...]:
    """When the vocabularies were written, and how long they are."""
    found = [(folder / name).stat() for name in VOCABULARIES]
    return tuple(number for each in found for number in (each.st_mtime_ns, each.st_size))


@dataclass(frozen=True)
class Encoding:
    """`work` of the stage."""

    folder: Path  # of the vocabularies
    shards: Path
    max_length: int

    def work(self, shard: Shard) -> int:
        """Encode the training pairs of a shard and keep them; the number of its pairs."""
        path = self.shards / (shard.name + IDS)
        if path.is_file():
            return shard.rows
        rows = np.flatnonzero(open_verdicts(self.shards)[shard.pairs] == TRAIN)
        lines = read_text(self.shards, shard) if len(rows) else []
        pairs = [split_pair(lines[row]) for row in rows.tolist()]
        texts = [[pair[side] for pair in pairs] for side in range(2)]
        vocabs = vocabularies(self.folder, stamp_of(self.folder))
        try:
            both = [ragged([*map(vocab.encode, side)]) for vocab, side in zip(vocabs, texts, strict=True)]
        except DataError:
            raise self.blamed(shard, rows, pairs, vocabs) from None
        lengths = np.stack([side.lengths for side in both])
        fits = lengths.max(axis=0) <= self.max_length
        kept = (chosen(both[0], fits), chosen(both[1], fits))
        record = {
            "pairs": int(fits.sum()),
            "too_many_tokens": self.examples(shard, rows[~fits], lines),
            "sides": [figures(text, side, vocab, fits) for text, side, vocab in zip(texts, both, vocabs, strict=True)],
        }
        write_ids(path, kept, record)
        return shard.rows

    def examples(self, shard: Shard, rows: np.ndarray, lines: Sequence[str]) -> dict[str, Any]:
        """How many rows there are, and the first of them."""
        return {"count": len(rows), "examples": examples(self.shards, shard, rows[:EXAMPLES], lines)}

    def blamed(
        self, shard: Shard, rows: np.ndarray, pairs: Sequence[Sequence[str]], vocabs: tuple[Vocabulary, Vocabulary]
    ) -> DataError:
        """The error of the first pair that cannot be encoded, with its file and line."""
        numbers = read_columns(self.shards, shard)[COLUMN["line"]][rows]
        for number, pair in zip(numbers.tolist(), pairs, strict=True):
            for vocab, text in zip(vocabs, pair, strict=True):
                try:
                    vocab.encode(text)
                except DataError as error:
                    return DataError(f"{shard.record['file']}:{number}: {error}")
        raise AssertionError("all pairs can be encoded after all")


def examples(work: Path, shard: Shard, rows: np.ndarray, lines: Sequence[str]) -> list[list[Any]]:
    """Some rows of a shard as people look them up: file, line, source, target."""
    if not len(rows):
        return []
    numbers = read_columns(work, shard)[COLUMN["line"]]
    found = []
    for row in rows.tolist():
        texts = [text if len(text) <= SHOWN else text[: SHOWN - 1] + "…" for text in split_pair(lines[row])]
        found.append([shard.record["file"], int(numbers[row]), *texts])
    return found


def chosen(side: Ragged, rows: np.ndarray) -> Ragged:
    """Those rows of a side that are true."""
    if rows.all():
        return Ragged(side.flat.astype(np.int32), side.offsets)
    kept = np.repeat(rows, side.lengths)
    return Ragged(side.flat[kept].astype(np.int32), offsets_of(side.lengths[rows]))


def figures(texts: Sequence[str], side: Ragged, vocab: Vocabulary, fits: np.ndarray) -> dict[str, Any]:
    """What is said of one side of a shard: histograms (the last number stands for all that are longer), unknown."""
    lengths = side.lengths[fits]
    kept = chosen(side, fits)
    words = [text.count(" ") + 1 for text, fit in zip(texts, fits.tolist(), strict=True) if fit]
    characters = [len(text) for text, fit in zip(texts, fits.tolist(), strict=True) if fit]
    unknown = np.count_nonzero(kept.flat % len(vocab.tokens) == vocab.special.unk)
    return {
        "tokens": int(lengths.sum()),
        "unknown": int(unknown),
        "words": histogram(words, MOST_WORDS),
        "characters": histogram(characters, MOST_CHARACTERS),
        "lengths": histogram(lengths, None),
    }


def histogram(values: Any, most: int | None) -> list[int]:
    """How many values are 0, 1, 2 …"""
    numbers = np.asarray(values, dtype=np.int64)
    return [int(count) for count in np.bincount(numbers if most is None else np.minimum(numbers, most))]


def encoded_parts(work: Path, shards: Sequence[Shard]) -> Iterator[Encoded]:
    """The ids of all training pairs, shard by shard."""
    for shard in shards:
        source, target = read_ids(work / (shard.name + IDS))
        if len(source.lengths):
            yield Encoded(shard.record["corpus"], source, target)
