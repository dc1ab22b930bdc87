"""Rows of ids to padded arrays with masks, and rows to batches by token budget.

Everything here is vectorised: no Python loop runs over tokens. Knows nothing of text, corpora or epochs; the padding
id is an argument, and the masks (true on real tokens) are what keeps one sentence from another's padding. Where a
source is a sequence of vectors (vectors.py), each of its ids is a row of W numbers.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np


class Batch(NamedTuple):
    """Source and target sentences. A target ends with EOS and has no BOS: the feedback adds that."""

    source: np.ndarray  # (B, S) int64, or (B, S, W) float32
    source_mask: np.ndarray  # (B, S) bool
    target: np.ndarray  # (B, T) int64
    target_mask: np.ndarray  # (B, T) bool


class Padded(NamedTuple):
    """One side of a batch."""

    ids: np.ndarray  # (B, L) int64, or (B, L, W) float32
    mask: np.ndarray  # (B, L) bool


class PadIds(NamedTuple):
    """What fills the source side and what fills the target side."""

    source: int
    target: int


class Ragged(NamedTuple):
    """Rows of different lengths in one flat array: row r is `flat[offsets[r]:offsets[r + 1]]`."""

    flat: np.ndarray  # (N,) ids, or (N, W) float32
    offsets: np.ndarray  # (R + 1,) int64

    @property
    def lengths(self) -> np.ndarray:  # -> (R,)
        """The number of ids in each row."""
        return np.diff(self.offsets)

    def row(self, row: int) -> np.ndarray:  # -> (L,) or (L, W)
        """One row."""
        return self.flat[self.offsets[row] : self.offsets[row + 1]]

    def padded(self, rows: np.ndarray, pad_id: int) -> Padded:  # (B,) -> (B, L) or (B, L, W), (B, L)
        """The chosen rows, filled up at the right to the longest of them."""
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        columns = np.arange(lengths.max(initial=0))
        mask = columns < lengths[:, None]
        width = self.flat.shape[1:]
        ids = np.full((*mask.shape, *width), pad_id, dtype=self.flat.dtype if width else np.int64)
        if len(self.flat):
            inside = self.flat.take(starts[:, None] + columns, axis=0, mode="clip")
            np.copyto(ids, inside, where=mask[..., None] if width else mask)
        return Padded(ids, mask)


def ragged(rows: Sequence[Sequence[int]] | Sequence[np.ndarray]) -> Ragged:
    """Rows of ids, or of vectors, as one flat array."""
    lengths = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    if rows and isinstance(rows[0], np.ndarray):
        return Ragged(np.concatenate(rows), offsets_of(lengths))
    flat = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=int(lengths.sum()))
    return Ragged(flat, offsets_of(lengths))


def offsets_of(lengths: np.ndarray) -> np.ndarray:  # (R,) -> (R + 1,)
    """Where each row of a flat array begins, and where the last one ends."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def pad(rows: Sequence[Sequence[int]], pad_id: int) -> Padded:
    """Rows of ids filled up at the right to the longest of them."""
    return ragged(rows).padded(np.arange(len(rows)), pad_id)


def make_batch(pairs: Sequence[tuple[Sequence[int], Sequence[int]]], pad_ids: PadIds) -> Batch:
    """Pairs of source ids and target ids (both ending with EOS) as one batch."""
    source = pad([source for source, _ in pairs], pad_ids.source)
    target = pad([target for _, target in pairs], pad_ids.target)
    return Batch(*source, *target)


def padding_share(batch: Batch) -> float:
    """Which part of the batch's cells, source and target together, is padding."""
    cells = batch.source_mask.size + batch.target_mask.size
    tokens = int(batch.source_mask.sum()) + int(batch.target_mask.sum())
    return (cells - tokens) / cells if cells else 0.0


def token_batches(lengths: np.ndarray, budget: int) -> list[np.ndarray]:  # (N,) or (N, sides) -> arrays of (B,)
    """Positions in the given order, cut so that rows x longest row stays within the budget on every side.

    Padding is included. A row longer than the budget stands alone; a row of no tokens counts as one.
    """
    longest = np.maximum(lengths.max(axis=1, initial=1) if lengths.ndim > 1 else lengths, 1)
    batches = []
    start = 0
    while start < len(longest):
        most = max(1, budget // int(longest[start]))  # the batch cannot hold more rows than this
        reach = np.maximum.accumulate(longest[start : start + most])
        cells = reach * np.arange(1, len(reach) + 1)  # rises strictly
        end = start + max(1, int(np.searchsorted(cells, budget, side="right")))
        batches.append(np.arange(start, end))
        start = end
    return batches


def length_batches(lengths: np.ndarray, budget: int) -> list[np.ndarray]:  # (N,) or (N, sides) -> arrays of (B,)
    """Positions sorted by length, longest first, and cut by token budget: the fast way through a fixed set.

    What comes out in this order is brought back into the order of the set by `in_order`.
    """
    keys = np.atleast_2d(lengths.T)
    order = np.lexsort(-keys)  # the last side is the first key; equal rows keep their order
    return [order[rows] for rows in token_batches(lengths[order], budget)]


def in_order(groups: Iterable[tuple[np.ndarray, Sequence[Any]]], count: int) -> list[Any]:
    """Values that came in groups of (positions, values), at their positions among `count`."""
    result: list[Any] = [None] * count
    for positions, values in groups:
        for position, value in zip(positions.tolist(), values, strict=True):
            result[position] = value
    return result
