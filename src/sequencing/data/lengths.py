"""The rows of a corpus by length: which rows have so many source and so many target tokens.

A counting sort in one pass over the lengths, in memory for the result alone. What is made of it (batches) is not known
here.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

CHUNK = 1 << 20  # rows that are looked at together
BITS = 21  # of each number in a key: lengths and corpora are below 2 million
MOST = (1 << BITS) - 1


class Cells(NamedTuple):
    """Groups of rows of one target length, source length and corpus, in this order. C of them."""

    source: np.ndarray  # (C,) int64 tokens, EOS included
    target: np.ndarray  # (C,) int64
    corpus: np.ndarray  # (C,) int64
    counts: np.ndarray  # (C,) int64 rows


class ByLength(NamedTuple):
    """All rows, cell after cell, and in the order of the corpus within each."""

    rows: np.ndarray  # (N,)
    cells: Cells


class Lengths(NamedTuple):
    """The lengths of some consecutive rows, and the corpora that they belong to."""

    source: np.ndarray  # (n,)
    target: np.ndarray  # (n,)
    corpus: np.ndarray  # (n,)

    def keys(self) -> np.ndarray:  # -> (n,) int64
        """One number for each row, that of its cell."""
        parts = (np.minimum(part.astype(np.int64), MOST) for part in (self.target, self.source, self.corpus))
        target, source, corpus = parts
        return (target << 2 * BITS) | (source << BITS) | corpus


def chunks(lengths: Lengths) -> Iterator[Lengths]:
    """The rows some at a time, so that what is made of them stays small."""
    for start in range(0, len(lengths.source), CHUNK):
        yield Lengths(*(part[start : start + CHUNK] for part in lengths))


def count_cells(parts: Iterable[Lengths]) -> Cells:
    """How many rows each cell has."""
    keys, counts = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for part in parts:
        more, times = np.unique(part.keys(), return_counts=True)
        joined, place = np.unique(np.concatenate([keys, more]), return_inverse=True)
        together = np.zeros(len(joined), dtype=np.int64)
        np.add.at(together, place, np.concatenate([counts, times]))
        keys, counts = joined, together
    return Cells((keys >> BITS) & MOST, keys >> 2 * BITS, keys & MOST, counts)


def by_length(lengths: Lengths, rows: np.ndarray | None = None) -> ByLength:
    """The rows of all lengths; `rows` may be given to be filled, on disk say."""
    cells = count_cells(chunks(lengths))
    known = Lengths(cells.source, cells.target, cells.corpus).keys()
    free = np.cumsum(cells.counts) - cells.counts  # the next free place of each cell
    placed = np.empty(len(lengths.source), dtype=np.int64) if rows is None else rows
    start = 0
    for part in chunks(lengths):
        cell = np.searchsorted(known, part.keys())
        order = np.argsort(cell, kind="stable")
        found, first, times = np.unique(cell[order], return_index=True, return_counts=True)
        rank = np.arange(len(order)) - np.repeat(first, times)
        placed[free[cell[order]] + rank] = start + order
        free[found] += times
        start += len(order)
    return ByLength(placed, cells)
