"""Symbols merged two by two as lists of pairs say: each pair has a rank and what it becomes, small ranks first.

That is byte-pair encoding where a file lists its merges; subword_merges.py has it for files that list their tokens.
"""

import heapq
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple


class Merge(NamedTuple):
    """What two neighbours become, and how early."""

    rank: int
    symbol: int


def merge_pairs(
    symbols: Sequence[int], merges: Mapping[tuple[int, int], Merge], dropped: Callable[[], bool] | None = None
) -> list[int]:
    """Merge neighbours, the smallest rank first and the leftmost on ties, while any two can be.

    `dropped` says each time whether a merge is left out; it may be made after the next one that is not.
    """
    parts: list[int | None] = list(symbols)  # None: merged into what stands before
    size = len(parts)
    after, before = list(range(1, size + 1)), list(range(-1, size - 1))
    agenda = []
    for place, pair in enumerate(pairwise(symbols)):
        if (found := merges.get(pair)) is not None:
            agenda.append((found.rank, place, found.symbol))
    heapq.heapify(agenda)
    skipped: list[tuple[int, int, int]] = []

    def propose(left: int, right: int) -> None:
        pair = parts[left], parts[right]
        if (found := merges.get(pair)) is not None:  # type: ignore[arg-type]  # neighbours are never None
            heapq.heappush(agenda, (found.rank, left, found.symbol))

    while agenda:
        top = heapq.heappop(agenda)
        if dropped is not None:
            if dropped():
                skipped.append(top)
                continue
            for one in skipped:
                heapq.heappush(agenda, one)
            skipped.clear()
        _, left, symbol = top
        right = after[left]
        if parts[left] is None or right >= size:
            continue
        found = merges.get((parts[left], parts[right]))  # type: ignore[arg-type]
        if found is None or found.symbol != symbol:
            continue  # one of the two has been merged with another since
        parts[left], parts[right] = symbol, None
        after[left] = after[right]
        if before[left] >= 0:
            propose(before[left], left)
        if after[left] < size:
            before[after[left]] = left
            propose(left, after[left])
    return [part for part in parts if part is not None]
