"""Finds pairs that stand a second time, in bounded memory whatever the corpus.

The numbers of pairs are dealt into buckets on disk by their first bits; equal numbers share a bucket, and one bucket at
a time is sorted in memory. The first pair, in the order of the input, stays.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from sequencing.prepare.keys import DUPLICATES, mixed
from sequencing.prepare.settings import DuplicatesConfig
from sequencing.prepare.shards import DUPLICATE, TRAIN, Shard, keep_verdicts, open_verdicts, read_columns

BUCKET = 1 << 26  # bytes, about, of one bucket
MOST = 512  # buckets: so many files are open at once
ENTRY = np.dtype([("key", "<u8"), ("row", "<u8")])

Column = Callable[[Shard, np.ndarray], np.ndarray]


def mark_duplicates(work: Path, shards: Sequence[Shard], config: DuplicatesConfig) -> None:
    """Give each pair that repeats an earlier one its verdict, key by key: what one key drops, the next does not see."""
    verdicts = open_verdicts(work, "r+")
    for number, name in enumerate(config.keys):

        def column(shard: Shard, columns: np.ndarray, name: str = name) -> np.ndarray:
            found = DUPLICATES[name](columns)
            return found if config.across else mixed(found, seed=shard.record["corpus"] + 1)

        for rows in repeated(work, shards, column, verdicts):
            verdicts[rows] = DUPLICATE + number
    keep_verdicts(verdicts)


def repeated(work: Path, shards: Sequence[Shard], column: Column, verdicts: np.ndarray) -> Iterator[np.ndarray]:
    """Numbers of the pairs, of those still to train with, whose number in the column was met before."""
    folder = work / "buckets"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    count = bucket_count(sum(shard.rows for shard in shards))
    with ExitStack() as stack:
        files = [stack.enter_context((folder / str(bucket)).open("wb")) for bucket in range(count)]
        for shard in shards:
            entries, again = entries_of(column(shard, read_columns(work, shard)), shard, verdicts)
            yield again
            bucket = bucket_of(entries["key"], count)
            order = np.argsort(bucket, kind="stable")
            ends = np.searchsorted(bucket[order], np.arange(count + 1))
            for number, file in enumerate(files):
                if ends[number] < ends[number + 1]:
                    file.write(entries[order[ends[number] : ends[number + 1]]].tobytes())
    for number in range(count):
        yield later_ones(np.fromfile(folder / str(number), dtype=ENTRY))
        (folder / str(number)).unlink()
    shutil.rmtree(folder)


def entries_of(keys: np.ndarray, shard: Shard, verdicts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first pair with each key in a shard, and the numbers of the others.

    As a shard deals each key once, no bucket grows beyond its share, even where all pairs are one and the same.
    """
    rows = np.flatnonzero(verdicts[shard.pairs] == TRAIN)
    entries = np.empty(len(rows), dtype=ENTRY)
    entries["key"], entries["row"] = keys[rows], rows + shard.start
    again = later_ones(entries)
    return entries[~np.isin(entries["row"], again)], again


def later_ones(entries: np.ndarray) -> np.ndarray:  # (n,) -> (m,)
    """The rows, ascending, whose key an entry before has; entries come in the order of their rows."""
    order = np.argsort(entries["key"], kind="stable")
    sorted_keys = entries["key"][order]
    same = np.flatnonzero(sorted_keys[1:] == sorted_keys[:-1]) + 1
    return np.sort(entries["row"][order[same]]).astype(np.int64)


def bucket_of(keys: np.ndarray, count: int) -> np.ndarray:  # (n,) uint64 -> (n,)
    """The first bits of keys, as many as number the buckets."""
    return keys >> np.uint64(65 - count.bit_length()) if count > 1 else np.zeros(len(keys), dtype=np.uint64)


def bucket_count(rows: int) -> int:
    """A power of two."""
    count = 1
    while count < MOST and rows * ENTRY.itemsize > count * BUCKET:
        count *= 2
    return count
