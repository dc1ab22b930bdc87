"""A word's characters to subwords: every merge made in its order, or some of them dropped at random.

Two neighbours may be merged where they make a token, which has a rank: the smallest one first, the leftmost on ties.
Knows nothing of ids, bytes or spaces.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Mapping
from itertools import pairwise
from math import inf, log
from random import Random

from sequencing_np.config import require


def merge(word: str, ranks: Mapping[str, float], halves: dict[str, tuple[str, str]] | None = None) -> list[str]:
    """Join neighbours while any two make a token. `halves` gets the last two that were seen to make each token."""
    parts = list(word)
    after = list(range(1, len(parts) + 1))  # the part that follows, a part that was joined to the left is ""
    before = list(range(-1, len(parts) - 1))
    agenda: list[tuple[float, int, int, str]] = []

    def propose(left: int, right: int) -> None:
        joined = parts[left] + parts[right]
        rank = ranks.get(joined)
        if rank is not None:
            heapq.heappush(agenda, (rank, left, right, joined))
            if halves is not None:
                halves[joined] = parts[left], parts[right]

    for left in range(len(parts) - 1):
        propose(left, left + 1)
    while agenda:
        _, left, right, joined = heapq.heappop(agenda)
        if not parts[left] or not parts[right] or len(parts[left]) + len(parts[right]) != len(joined):
            continue  # one of the two has been joined to another since
        parts[left], parts[right] = joined, ""
        after[left] = after[right]
        if before[left] >= 0:
            propose(before[left], left)
        if after[left] < len(parts):
            before[after[left]] = left
            propose(left, after[left])
    return [part for part in parts if part]


class Drops:
    """How many of the best merges are left out, one draw for each merge: Provilkov et al. 2020, algorithm 1.

    Each possible merge is dropped with probability `share`, and the best of the others is made. So none of the best is
    dropped with probability 1 - share, just one with share (1 - share), and so on. For how many draws in a row it will
    be none is drawn at once: a word without a drop then costs a subtraction.
    """

    def __init__(self, share: float, generator: Random) -> None:
        require(0 <= share < 1, f"dropout {share}: must be from 0 (none) to below 1")
        self.generator = generator
        self.log_kept, self.log_share = log(1 - share), log(share) if share else -inf
        self.quiet = self.until_a_drop()  # draws to come of which the answer is 0

    def until_a_drop(self) -> float:
        """Draws before the next one that drops something."""
        return self.times(self.log_kept) if self.log_kept else inf

    def times(self, log_probability: float) -> float:
        """How often something of this probability happens in a row."""
        return log(1 - self.generator.random()) // log_probability

    def draw(self) -> int:
        """How many of the best merges are dropped now."""
        if self.quiet:
            self.quiet -= 1
            return 0
        dropped = 1 + int(self.times(self.log_share))
        self.quiet = self.until_a_drop()
        return dropped


def merge_some(word: str, ranks: Mapping[str, float], drops: Drops) -> list[str]:
    """Join neighbours, each time the first two in the order that are not dropped, until all that make a token are."""
    parts = list(word)
    size, rank_of = len(parts), ranks.get
    after, before = list(range(1, size + 1)), list(range(-1, size - 1))
    own = [*(rank_of(left + right) for left, right in pairwise(parts)), None]  # rank of each part with the next one
    agenda = sorted((rank, left) for left, rank in enumerate(own) if rank is not None)  # all that could be merged now
    while agenda:
        dropped = drops.draw()
        if dropped >= len(agenda):
            break
        _, left = agenda.pop(dropped)
        right = after[left]
        parts[left] += parts[right]
        parts[right] = ""
        after[left] = after[right]
        if after[left] < size:
            before[after[left]] = left
        for place, earlier in ((left, right), (before[left], before[left])):  # both neighbours have another mate now
            if place < 0:
                continue
            if (rank := own[earlier]) is not None:
                del agenda[bisect_left(agenda, (rank, earlier))]
            own[place] = rank = rank_of(parts[place] + parts[after[place]]) if after[place] < size else None
            if rank is not None:
                insort(agenda, (rank, place))
    return [part for part in parts if part]
