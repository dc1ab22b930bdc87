"""The order in which an epoch sees the pairs: which rows stand together in which batch, by arithmetic alone.

The rows lie sorted by length (lengths.py). They are cut into batches by a budget of tokens; which rows of one length
stand in which of its places, and in which order the batches come, are permutations that are computed where they are
asked for (permutation.py). So batch number n of an epoch is a function of (seed, epoch, n): nothing is replayed, and
nothing is as large as the corpus.

A pair of a corpus of weight w is seen w times an epoch; of a fraction of a time there is in each epoch as much as keeps
the sum over the epochs right, and other rows take their turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from sequencing.data.lengths import Cells
from sequencing.data.permutation import key_of, permuted

WIDTHS = (1, 2, 3, 4, 6)  # target lengths that may share a strip; that with the least padding is taken
FULL = 0.7  # of the budget: a batch that has so much may end


@dataclass(frozen=True)
class OrderOptions:
    """How batches are cut and drawn."""

    batch_tokens: int  # of source and target together, padding included
    max_length: int  # tokens of a side; longer pairs are left out
    seed: int
    weights: Sequence[float]  # of each corpus
    group: int = 1  # the number of batches of an epoch is a multiple of it


class Layout(NamedTuple):
    """The cells in the order in which they are cut: strip after strip of target lengths, sources up and down by turns.

    Cells of one strip and one source length make a block: within it, any row may stand anywhere.
    """

    cells: np.ndarray  # (C,) numbers of the cells
    block: np.ndarray  # (C,) the block of each
    source: np.ndarray  # (M,) tokens of each block's longest source
    target: np.ndarray  # (M,) and of its longest target


def laid_out(cells: Cells, used: np.ndarray, width: int) -> Layout:
    """The used cells in strips of so many target lengths."""
    strip, source = cells.target[used] // width, cells.source[used]
    order = np.lexsort((np.where(strip % 2, source, -source), strip))
    strip, source, target = strip[order], source[order], cells.target[used][order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (strip[1:] != strip[:-1]) | (source[1:] != source[:-1])
    starts = np.flatnonzero(first)
    longest = np.maximum.reduceat(target, starts) if len(starts) else target
    return Layout(used[order], np.cumsum(first) - 1, source[starts], longest)


def cut(layout: Layout, counts: np.ndarray, budget: int) -> Iterator[tuple[int, int, int]]:
    """Batches as (first place, rows, padded tokens of a row), so that rows x tokens stays within the budget.

    `counts` are the rows of each block. A batch that is nearly full ends where a block does, for others would make
    its rows longer. A row longer than the budget stands alone.
    """
    place = start = source = target = 0
    for block, count in enumerate(counts.tolist()):
        own_source, own_target = int(layout.source[block]), int(layout.target[block])
        while count:
            longer, wider = max(source, own_source), max(target, own_target)
            room = budget // (longer + wider) - (place - start)
            nearly = (place - start) * (source + target) >= FULL * budget and longer + wider > source + target
            if place > start and (room <= 0 or nearly):
                yield start, place - start, source + target
                start, source, target = place, 0, 0
                continue
            taken = min(count, max(room, 1))
            source, target, place, count = longer, wider, place + taken, count - taken
    if place > start:
        yield start, place - start, source + target


def best_layout(cells: Cells, options: OrderOptions) -> Layout:
    """The layout whose batches have the least padding; of each corpus as many rows as its weight says."""
    used = np.flatnonzero(np.maximum(cells.source, cells.target) <= options.max_length)
    weights = np.asarray(options.weights, dtype=np.float64)[cells.corpus[used]]
    used = used[weights > 0]
    layouts = [laid_out(cells, used, width) for width in WIDTHS]
    return min(layouts, key=lambda layout: padded(cells, layout, options.batch_tokens))


def padded(cells: Cells, layout: Layout, budget: int) -> int:
    """The tokens of all batches, padding included, where each row is seen once."""
    counts = np.bincount(layout.block, cells.counts[layout.cells], len(layout.source)).astype(np.int64)
    return sum(rows * tokens for _, rows, tokens in cut(layout, counts, budget))


class Plan:
    """The batches of one epoch."""

    def __init__(self, rows: np.ndarray, cells: Cells, layout: Layout, options: OrderOptions, epoch: int) -> None:
        self.by_length, self.cells, self.layout = rows, cells, layout
        self.seed, self.epoch = options.seed, epoch
        self.starts = (np.cumsum(cells.counts) - cells.counts)[layout.cells]  # in by_length
        self.sizes = cells.counts[layout.cells]
        self.times = seen(layout, cells, options, epoch)  # (C,) places of each cell in this epoch
        self.ends = np.cumsum(self.times)
        counts = np.bincount(layout.block, self.times, len(layout.source)).astype(np.int64)
        self.block_ends = np.cumsum(counts)
        self.block_sizes = counts
        self.batches = grouped([(start, rows) for start, rows, _ in cut(layout, counts, options.batch_tokens)], options)

    def __len__(self) -> int:
        return len(self.batches)

    def rows(self, number: int) -> np.ndarray:  # -> (B,)
        """The rows of a batch, from 0."""
        count = np.array([len(self.batches)])
        drawn = permuted(np.array([number]), count, key_of(self.seed, self.epoch, 0))
        first, size = self.batches[int(drawn[0])]
        return self.at(np.arange(first, first + size))

    def at(self, places: np.ndarray) -> np.ndarray:  # (B,) -> (B,)
        """The rows that stand in these places of the epoch's layout."""
        block = np.searchsorted(self.block_ends, places, side="right")
        begin = self.block_ends[block] - self.block_sizes[block]
        key = key_of(self.seed, self.epoch, 1, block)
        inside = begin + permuted(places - begin, self.block_sizes[block], key)
        cell = np.searchsorted(self.ends, inside, side="right")
        again, member = np.divmod(inside - (self.ends[cell] - self.times[cell]), self.sizes[cell])
        key = key_of(self.seed, self.epoch, 2, cell, again)  # which rows are seen once more, where not all are
        member = permuted(member, self.sizes[cell], key)
        return np.asarray(self.by_length[self.starts[cell] + member], dtype=np.int64)


def seen(layout: Layout, cells: Cells, options: OrderOptions, epoch: int) -> np.ndarray:  # -> (C,)
    """How many rows of each cell an epoch sees."""
    weights = np.asarray(options.weights, dtype=np.float64)[cells.corpus[layout.cells]]
    wanted = weights * cells.counts[layout.cells]
    phase = key_of(options.seed, 3, layout.cells).astype(np.float64) / 2.0**64
    return (np.floor((epoch + 1) * wanted + phase) - np.floor(epoch * wanted + phase)).astype(np.int64)


def grouped(batches: list[tuple[int, int]], options: OrderOptions) -> list[tuple[int, int]]:
    """The batches, the largest halved until their number is a multiple of the group; half of one row is nothing."""
    while len(batches) % options.group:
        largest = max(range(len(batches)), key=lambda number: batches[number][1])
        first, rows = batches[largest]
        batches[largest] = (first, rows - rows // 2)
        batches.append((first + rows - rows // 2, rows // 2))
    return batches
