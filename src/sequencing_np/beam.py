"""Beam search: the feedback that keeps several hypotheses of each sentence.

The candidates of a step are ranked on the host, from the `size` best continuations of every row; a finished
hypothesis gives its place up, so a beam of one is greedy search and a beam as large as the language is exhaustive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sequencing_np.arrays import Arrays
from sequencing_np.errors import SearchError
from sequencing_np.feedback import Hypothesis, Turn, banned_ids
from sequencing_np.limits import Limits
from sequencing_np.special import Special
from sequencing_np.state import Memory, Output

Penalty = Callable[[np.ndarray, float], np.ndarray]


def no_penalty(length: np.ndarray, alpha: float) -> np.ndarray:  # (...) -> (...)
    """The plain log-probability; it favours short answers."""
    return np.ones_like(length, dtype=np.float64)


def average(length: np.ndarray, alpha: float) -> np.ndarray:  # (...) -> (...)
    """length ** alpha; with alpha 1 the mean log-probability of a token."""
    return np.maximum(length, 1.0) ** alpha


def gnmt(length: np.ndarray, alpha: float) -> np.ndarray:  # (...) -> (...)
    """((5 + length) / 6) ** alpha: Wu et al. 2016, equation 14."""
    return ((5.0 + length) / 6.0) ** alpha


LENGTH_PENALTIES: dict[str, Penalty] = {"none": no_penalty, "average": average, "gnmt": gnmt}
"""What a log-probability is divided by; `length` counts the end symbol."""


class Step(NamedTuple):
    """What one step chose; R is its number of rows."""

    tokens: np.ndarray  # (R,)
    parents: np.ndarray  # (R,) rows of the step before
    log_probs: np.ndarray  # (R,) of the token alone
    alignment: np.ndarray | None  # (R of the step before, S) attention that the parents paid


class BeamFeedBack:
    """Keeps the `size` likeliest hypotheses of every sentence; sentences that are done leave the batch.

    Hypotheses of one step have one length, so they are compared by their log-probability; finished ones are ranked by
    log-probability / penalty(length). A sentence ends when no place is left, at its length limit, or as soon as
    `n_best` are finished and the best score that any open hypothesis could still reach does not beat them: a
    log-probability never rises, so it is bounded by (log-probability so far) / (largest penalty still possible).
    Equal scores: lower token id first, then the better beam. The result is a list of at most `n_best`
    hypotheses, best first, for each sentence; it is empty where the model answered NaN.
    """

    def __init__(
        self,
        special: Special,
        size: int = 5,
        limits: Limits = Limits(),
        *,
        length_penalty: str = "average",
        alpha: float = 1.0,
        n_best: int = 1,
        alignments: bool = False,
    ) -> None:
        if size < 1 or not 1 <= n_best <= size:
            raise SearchError(f"beam size {size}, n_best {n_best}: size is 1 (greedy) or more, n_best 1 to size")
        if length_penalty not in LENGTH_PENALTIES:
            raise SearchError(f"length_penalty {length_penalty!r}: choose one of {', '.join(LENGTH_PENALTIES)}")
        if not 0 <= alpha < 100:
            raise SearchError(f"alpha {alpha}: must be 0 or more; 1 is usual")
        self.special, self.size, self.limits, self.n_best = special, size, limits, n_best
        self.penalty, self.alpha, self.alignments = LENGTH_PENALTIES[length_penalty], alpha, alignments

    def start(self, arrays: Arrays, memory: Memory) -> Turn:
        self.arrays = arrays
        mask = arrays.host(memory.mask)
        count = len(mask)
        self.limit = self.limits.of(mask)
        self.best_penalty = self.penalty(self.limit.astype(np.float64), self.alpha)
        self.to_beat = np.full(count, -np.inf)  # (B,) score of the n-best'th finished hypothesis
        self.finished: list[list[Hypothesis]] = [[] for _ in range(count)]
        self.steps: list[Step] = []
        self.live = np.arange(count)  # (A,) sentences still in the batch
        self.scores = np.zeros((count, 1))  # (A, W) log-probability of each row; -inf: the place is empty
        self.places = np.full(count, self.size)  # (A,) hypotheses still wanted
        return Turn(arrays.native(np.full((count, 1), self.special.bos, dtype=np.int64)))

    def next(self, output: Output) -> Turn:
        step = len(self.steps)
        sentences, width = self.scores.shape
        logits = output.logits[:, -1]
        banned = banned_ids(self.special, step < self.limits.shortest)
        best = self.arrays.best(logits, min(self.size, logits.shape[1]), banned)
        weights = self.arrays.host(output.alignment)[:, -1] if self.alignments else None
        totals = self.scores.reshape(-1, 1) + best.log_probs
        broken = (np.isnan(totals) & np.isfinite(self.scores).reshape(-1, 1)).reshape(sentences, -1).any(axis=1)
        totals = np.where(np.isnan(totals), -np.inf, totals).reshape(sentences, -1)  # (A, W * k)
        ids = best.ids.reshape(sentences, -1)
        beams = np.repeat(np.arange(width), best.ids.shape[1])[None].repeat(sentences, axis=0)
        order = np.lexsort((beams, ids, -totals), axis=1)[:, : self.size]
        totals, ids, beams = (np.take_along_axis(x, order, axis=1) for x in (totals, ids, beams))
        parents = beams + np.arange(sentences)[:, None] * width
        alone = np.take_along_axis(best.log_probs.reshape(sentences, -1), order, axis=1)
        wanted = (np.arange(totals.shape[1]) < self.places[:, None]) & np.isfinite(totals) & ~broken[:, None]
        ends = wanted & (ids == self.special.eos)
        cut = wanted & ~ends & (step + 1 >= self.limit[self.live])[:, None]
        self.steps.append(Step(ids, parents, alone, weights))
        for place, rank in np.argwhere(ends | cut):
            self.finish(place, rank, totals[place, rank], bool(ends[place, rank]))
        self.places -= (ends | cut).sum(axis=1)
        for place in np.flatnonzero(broken):  # nobody knows what would have been found: no answer
            self.finished[self.live[place]] = []
        return self.go_on(wanted & ~ends & ~cut, totals)

    def finish(self, place: int, rank: int, log_prob: float, ended: bool) -> None:
        """Walk the parents back from a candidate of the last step and keep the hypothesis."""
        tokens, log_probs, weights = [], [], []
        last = self.steps[-1]
        token, parent, alone = last.tokens[place, rank], last.parents[place, rank], last.log_probs[place, rank]
        for step in range(len(self.steps) - 1, -1, -1):
            tokens.append(int(token))
            log_probs.append(float(alone))
            alignment = self.steps[step].alignment
            if alignment is not None:
                weights.append(alignment[parent])
            if step:
                before = self.steps[step - 1]
                token, alone, parent = before.tokens[parent], before.log_probs[parent], before.parents[parent]
        length = len(tokens)
        score = float(log_prob / self.penalty(np.array(float(length)), self.alpha))
        words = tokens[:0:-1] if ended else tokens[::-1]
        alignment = np.stack(weights[::-1]) if weights else None
        found = self.finished[self.live[place]]
        found.append(Hypothesis(words, score, float(log_prob), log_probs[::-1], alignment, ended))
        found.sort(key=lambda hypothesis: -hypothesis.score)
        if len(found) >= self.n_best:
            self.to_beat[self.live[place]] = found[self.n_best - 1].score

    def go_on(self, alive: np.ndarray, totals: np.ndarray) -> Turn:  # (A, C), (A, C) -> Turn
        """The next turn: candidates that are alive, of sentences that can still find something better."""
        bound = np.where(alive, totals, -np.inf).max(axis=1) / self.best_penalty[self.live]
        alive = alive & (bound > self.to_beat[self.live])[:, None]
        stay = np.flatnonzero(alive.any(axis=1))
        if not len(stay):
            return Turn(None)
        alive, totals = alive[stay], totals[stay]
        width = int(alive.sum(axis=1).max())
        order = np.argsort(~alive, axis=1, kind="stable")[:, :width]  # the living first, best first
        last = self.steps[-1]
        take = [np.take_along_axis(part[stay], order, axis=1) for part in (last.tokens, last.parents, last.log_probs)]
        tokens, parents, alone = (part.reshape(-1) for part in take)
        self.steps[-1] = Step(tokens, parents, alone, last.alignment)
        totals, alive = (np.take_along_axis(part, order, axis=1) for part in (totals, alive))
        self.scores = np.where(alive, totals, -np.inf)
        all_stay = len(stay) == len(self.live)
        self.live, self.places = self.live[stay], self.places[stay]
        native = self.arrays.native
        return Turn(native(tokens[:, None]), native(parents), None if all_stay else native(stay))

    def result(self) -> list[list[Hypothesis]]:
        return [found[: self.n_best] for found in self.finished]
