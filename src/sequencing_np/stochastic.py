"""Sampling without replacement: the feedback that draws several answers of a sentence, no two of them alike.

Stochastic beam search: Kool, van Hoof and Welling 2019, "Stochastic Beams and Where to Find Them", algorithm 1. Every
answer there is gets its log-probability plus Gumbel noise; the largest are a sample in the order of draws. A beam finds
them, as the noise of a beginning is the largest of all its endings. The noise is a function of a sentence's key and of
the words: neither batch mates, the floor nor the number of draws change it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sequencing_np.arrays import Kept
from sequencing_np.beam import BeamFeedBack, Candidates
from sequencing_np.feedback import Hypothesis, Turn
from sequencing_np.limits import Limits
from sequencing_np.picking import Sampler, banned_to, mix
from sequencing_np.ranking import Ranking
from sequencing_np.special import Special


class StochasticBeamFeedBack(BeamFeedBack):
    """`size` draws of each sentence without replacement, from what a Sampler of the same settings would draw from.

    What is forbidden has no probability, and the rest shares it out. The score of an answer is its perturbed
    log-probability, by which they are sorted: the first n answers are what `size` n would draw, and with the k-th score
    as threshold they make unbiased estimates (section 4.2 there). Where rules lead into a dead end, or a language has
    fewer answers, there are fewer.
    """

    def __init__(
        self, special: Special, size: int, limits: Limits = Limits(), *, pick: Sampler, **options: Any
    ) -> None:
        super().__init__(special, size, limits, ranking=Ranking("none"), n_best=size, **options)
        self.own, self.temperature, self.kept = pick.keys, pick.temperature, pick.kept

    def begin(self) -> None:
        super().begin()
        self.seeds = mix(self.own)  # (R,) of the noise of what comes after each row
        self.drawn = np.zeros(len(self.mask))  # (R,) log-probability of having drawn what was said
        self.scores = gumbel(self.seeds)[:, None]  # (A, W) perturbed

    def candidates(self, logits: Any) -> tuple[Candidates, np.ndarray]:  # (R, V) -> (A, C), (A,) bool
        """The continuations of every row whose noise is largest; which sentences the model broke."""
        arrays = self.arrays
        scaled = banned_to(arrays, logits / self.temperature, self.banned(logits.shape[1]))
        if self.kept != Kept():
            scaled = arrays.narrow(scaled, self.kept)
        tokens = mix(np.arange(1, logits.shape[1] + 1, dtype=np.uint64))
        children = self.seeds[:, None] + tokens  # (R, V)
        noise = gumbel(mix(children))
        nothing = np.zeros(0, dtype=np.int64)
        ids = arrays.best(scaled + arrays.native(noise), min(self.size, len(tokens)), nothing).ids
        rows = np.arange(len(ids))[:, None]
        place = arrays.native(rows), arrays.native(ids)
        said = arrays.host(arrays.log_softmax(logits)[place]).astype(np.float64)
        own = arrays.host(arrays.log_softmax(scaled)[place]).astype(np.float64)
        before = self.row_scores()
        self.ids, self.more = ids, self.drawn[:, None] + own
        self.children = mix(children[rows, ids])
        alive = np.isfinite(own)
        totals = np.full(ids.shape, -np.inf)
        totals[alive] = below(np.where(alive, self.more + noise[rows, ids], -np.inf), before)[alive]
        return self.laid_out(totals, ids, said, np.isnan(said))

    def room(self, chosen: Candidates) -> np.ndarray:  # (A, K) -> (A, K) bool
        """Answers that are finished compete on: a place is had by who has fewer than `size` better ones beside it."""
        better = np.tile(np.arange(chosen.ids.shape[1]), (len(self.live), 1))
        for row, sentence in enumerate(self.live):
            scores = np.array([answer.score for answer in self.finished[sentence]])
            better[row] += (scores[:, None] > chosen.totals[row]).sum(axis=0)
        return better < self.size

    def go_on(self, alive: np.ndarray, totals: np.ndarray) -> Turn:  # (A, C), (A, C) -> Turn
        turn = super().go_on(alive, totals)
        if turn.tokens is not None:
            tokens, parents = self.steps[-1].tokens, self.steps[-1].parents
            column = (self.ids[parents] == tokens[:, None]).argmax(axis=1)
            self.drawn, self.seeds = self.more[parents, column], self.children[parents, column]
        return turn

    def result(self) -> list[list[Hypothesis]]:
        """The answers in the order of the draws; their log-probabilities are the model's own."""
        found = super().result()
        return [[answer._replace(log_prob=float(sum(answer.token_log_probs))) for answer in each] for each in found]


def gumbel(bits: np.ndarray) -> np.ndarray:  # (...) uint64 -> (...)
    """Standard Gumbel noise, float64, made of random bits."""
    uniform = ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52  # neither 0 nor 1
    return -np.log(-np.log(uniform))


def below(noisy: np.ndarray, top: np.ndarray) -> np.ndarray:  # (R, k), (R, 1) -> (R, k)
    """Gumbel variables under the condition that the largest of a row is `top` (section 3 there, in the form of B.3)."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        behind = noisy - noisy.max(axis=1, keepdims=True)
        v = top - noisy + np.where(behind > -np.log(2), np.log(-np.expm1(behind)), np.log1p(-np.exp(behind)))
        return top - np.maximum(v, 0) - np.log1p(np.exp(-np.abs(v)))
