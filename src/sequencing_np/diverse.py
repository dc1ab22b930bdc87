"""Diverse beam search: groups of hypotheses that keep away from what the groups before them say."""

from __future__ import annotations

from typing import Any

import numpy as np

from sequencing_np.arrays import Arrays
from sequencing_np.beam import BeamFeedBack, Candidates
from sequencing_np.errors import SearchError
from sequencing_np.feedback import Hypothesis, Turn
from sequencing_np.limits import Limits
from sequencing_np.special import Special
from sequencing_np.state import Memory


class DiverseBeamFeedBack(BeamFeedBack):
    """`groups` searches of `size` / `groups` hypotheses each (Vijayakumar et al. 2018, algorithm 1, Hamming diversity).

    In each step the groups choose one after the other; a token costs `diversity` for each time that a group before has
    chosen it in this step. Only the choice pays: answers have their own log-probabilities. A sentence is searched as
    `groups` sentences side by side. The result is the `n_best` best of all groups, none of them twice.
    """

    def __init__(
        self, special: Special, size: int, limits: Limits = Limits(), *, groups: int, diversity: float, **options: Any
    ) -> None:
        if groups < 1 or size % groups:
            raise SearchError(f"beam size {size}, groups {groups}: the groups must divide the beam")
        if not 0 <= diversity < np.inf:
            raise SearchError(f"diversity {diversity}: must be 0 or more; 0.5 is usual")
        wanted, rules = options.pop("n_best", 1), options.pop("rules", None)
        each = size // groups
        rules = [own for own in rules or () for _ in range(groups)]
        super().__init__(special, each, limits, n_best=min(wanted, each), rules=rules, **options)
        self.groups, self.diversity, self.wanted_answers = groups, diversity, wanted

    def start(self, arrays: Arrays, memory: Memory) -> Turn:
        self.arrays = arrays
        rows = np.repeat(np.arange(len(memory.mask)), self.groups)
        self.mask = arrays.host(memory.mask)[rows]
        self.begin()
        tokens = arrays.native(np.full((len(rows), 1), self.special.bos, dtype=np.int64))
        return Turn(tokens, arrays.native(rows), arrays.native(rows))

    def reach(self) -> int:
        """As many more as the groups before can have made dear."""
        return self.size * self.groups

    def order(self, found: Candidates) -> np.ndarray:  # (A, C) -> (A, size)
        """Which candidates are kept: group after group."""
        chosen = np.full((self.live.max() // self.groups + 1, self.groups, self.size), -1)  # by the groups so far
        width = min(self.size, found.ids.shape[1])
        order = np.zeros((len(self.live), width), dtype=np.int64)
        for group in range(self.groups):
            rows = np.flatnonzero(self.live % self.groups == group)
            sentences = self.live[rows] // self.groups
            before = chosen[sentences].reshape(len(rows), 1, self.groups * self.size)
            dear = found.totals.copy()
            dear[rows] -= self.diversity * (found.ids[rows][:, :, None] == before).sum(axis=2)
            order[rows] = super().order(found._replace(totals=dear))[rows, :width]
            ids = np.take_along_axis(found.ids[rows], order[rows], axis=1)
            alive = np.isfinite(np.take_along_axis(found.totals[rows], order[rows], axis=1))
            chosen[sentences, group, :width] = np.where(alive, ids, -1)
        return order

    def beginnings(self) -> list[list[list[int]]]:
        found = super().beginnings()
        bounds = range(0, len(found), self.groups)
        return [[words for group in found[begin : begin + self.groups] for words in group] for begin in bounds]

    def result(self) -> list[list[Hypothesis]]:
        found = super().result()
        answers = []
        for begin in range(0, len(found), self.groups):
            several = [answer for group in found[begin : begin + self.groups] for answer in group]
            alone = {(tuple(answer.tokens), answer.finished): answer for answer in several[::-1]}
            answers.append(sorted(alone.values(), key=lambda answer: -answer.score)[: self.wanted_answers])
        return answers
