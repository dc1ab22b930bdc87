"""Which search is wanted: SearchConfig, and the feedback that does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sequencing_np.beam import BeamFeedBack
from sequencing_np.config import choose, require
from sequencing_np.diverse import DiverseBeamFeedBack
from sequencing_np.feedback import Deciding, SampleFeedBack
from sequencing_np.limits import Limits
from sequencing_np.mbr import NONE, UTILITIES
from sequencing_np.picking import Sampler
from sequencing_np.ranking import LENGTH_PENALTIES, Ranking
from sequencing_np.rules import Rules
from sequencing_np.special import Special
from sequencing_np.stochastic import StochasticBeamFeedBack

DRAWS = 32  # candidates of mbr that are drawn, unless a number is said


@dataclass(frozen=True)
class SearchConfig:
    """What to search for, and how much at once."""

    beam: int = 5  # hypotheses kept; 1 is greedy
    length_penalty: str = "average"  # a row of LENGTH_PENALTIES: what a log-probability is divided by
    alpha: float = 1.0  # its exponent
    word_reward: float = 0.0  # added to the log-probability for each token
    coverage: float = 0.0  # weight of the penalty for source tokens that were not looked at
    patience: float = 1.0  # answers are finished until there are this many times the beam
    groups: int = 1  # of a beam whose groups are to differ
    diversity: float = 0.5  # what it costs a group to say what another has said
    no_repeats: int = 0  # so many tokens in a row come once at most; 0: they may
    n_best: int = 1  # answers wanted, at most `beam` where none are drawn
    sample: bool = False  # draw one answer instead of searching for the best
    without_replacement: bool = False  # draw n_best answers, or mbr's candidates, no two of them alike
    temperature: float = 1.0  # of a draw
    top_k: int = 0  # draw from the k likeliest ids; 0: all
    top_p: float = 1.0  # draw from the nucleus of this mass
    min_p: float = 0.0  # draw from ids with this share of the likeliest one's probability
    epsilon: float = 0.0  # draw from ids with this probability
    seed: int = 1  # of the draws
    batch_tokens: int = 4096  # padded source tokens x hypotheses in one batch
    alignments: bool = False  # keep the attention of each token
    max_length: int = 0  # longest answer in tokens; 0: as the model saw in training
    min_length: int = 0  # shortest answer in tokens
    min_ratio: float = 0.0  # the same, for each token of the source
    max_ratio: float = 0.0  # longest answer for each token of the source; 0: as in training
    no_unknown: bool = False  # never say UNK
    mbr: str = NONE  # a row of UTILITIES: the answer that all candidates together find best
    candidates: int = 0  # of a sentence for mbr; 0: as many as the beam, or 32 draws
    shortlist: bool = False  # say only tokens that the model's shortlist has for the sentence

    def __post_init__(self) -> None:
        require(1 <= self.beam <= 1000, f"beam {self.beam}: must be from 1 (greedy) to 1000")
        choose(LENGTH_PENALTIES, self.length_penalty, "length_penalty")
        require(0 <= self.alpha < 100, f"alpha {self.alpha}: must be 0 or more; 1 is usual")
        require(abs(self.word_reward) < 1e6, f"word_reward {self.word_reward}: must be a number; 0 is none")
        for name in ("coverage", "diversity", "no_repeats", "min_length", "min_ratio", "max_ratio"):
            require(0 <= getattr(self, name) < 1e6, f"{name} {getattr(self, name)}: must be 0 or more")
        require(0 < self.patience <= 1000, f"patience {self.patience}: must be above 0 and at most 1000")
        divided = 1 <= self.groups <= self.beam and self.beam % self.groups == 0
        require(divided, f"groups {self.groups}: must divide the beam, which is {self.beam}")
        self.check_candidates()
        require(0 < self.temperature < 1e6, f"temperature {self.temperature}: must be above 0")
        require(self.top_k >= 0, f"top_k {self.top_k}: must be 0 (all) or more")
        require(0 < self.top_p <= 1, f"top_p {self.top_p}: must be above 0 and at most 1")
        require(0 <= self.min_p <= 1, f"min_p {self.min_p}: must be from 0 (all) to 1")
        require(0 <= self.epsilon <= 1, f"epsilon {self.epsilon}: must be from 0 (all) to 1")
        require(self.batch_tokens >= 1, f"batch_tokens {self.batch_tokens}: must be 1 or more")
        require(self.max_length >= 0, f"max_length {self.max_length}: must be 0 (the model's) or more")

    def check_candidates(self) -> None:
        """Whether there are as many answers as are wanted, and as mbr needs to choose among."""
        choose({NONE: None, **UTILITIES}, self.mbr, "mbr")
        drawn = not self.without_replacement or self.sample
        require(drawn, "without_replacement is a way to draw answers; set sample = true, or leave it out")
        alone = not (self.without_replacement and self.shortlist)
        require(alone, "without_replacement draws among all tokens; leave it or shortlist out")
        require(0 <= self.candidates <= 1000, f"candidates {self.candidates}: must be 0 (the usual) or up to 1000")
        if self.mbr == NONE and self.without_replacement:
            require(1 <= self.n_best <= 1000, f"n_best {self.n_best}: must be from 1 to 1000 draws")
            return
        if self.mbr == NONE:
            require(1 <= self.n_best <= self.beam, f"n_best {self.n_best}: must be from 1 to the beam size {self.beam}")
            several = "sample draws one answer a sentence: n_best must be 1, or set without_replacement = true"
            require(not self.sample or self.n_best == 1, several)
            return
        few = f"{self.pool} candidates of a beam of {self.beam}; set beam = {max(self.pool, 2)} or sample = true"
        require(self.sample or 2 <= self.pool <= self.beam, f"mbr {self.mbr!r}: {few}")
        require(self.pool >= 2, f"candidates {self.candidates}: mbr chooses among 2 or more")
        require(1 <= self.n_best <= self.pool, f"n_best {self.n_best}: must be from 1 to the {self.pool} candidates")

    @property
    def pool(self) -> int:
        """The answers of a sentence that are looked for: those that are wanted, or mbr's candidates."""
        if self.mbr == NONE:
            return self.n_best
        return self.candidates or (DRAWS if self.sample else self.beam)

    @property
    def rows(self) -> int:
        """Hypotheses of a sentence that are searched side by side."""
        if self.sample:
            return self.pool
        return self.beam


def feedback_of(
    search: SearchConfig, special: Special, own: Limits, keys: np.ndarray, rules: Sequence[Rules] | None = None
) -> Deciding:  # keys (B,)
    """The feedback that a SearchConfig asks for; `own` are the model's limits, the keys are for draws."""
    limits = limits_of(search, own)
    common: dict[str, Any] = {"rules": rules, "alignments": search.alignments, "no_unknown": search.no_unknown}
    if search.sample:
        pick = Sampler(keys, search.temperature, search.top_k, search.top_p, search.min_p, search.epsilon)
        if search.without_replacement:
            return StochasticBeamFeedBack(special, search.pool, limits, pick=pick, **common)
        return SampleFeedBack(special, limits, pick=pick, **common)
    if search.beam == 1:
        return SampleFeedBack(special, limits, **common)
    ranking = Ranking(search.length_penalty, search.alpha, search.word_reward, search.coverage)
    options = {**common, "ranking": ranking, "n_best": search.pool, "patience": search.patience}
    if search.groups > 1:
        options |= {"groups": search.groups, "diversity": search.diversity}
        return DiverseBeamFeedBack(special, search.beam, limits, **options)
    return BeamFeedBack(special, search.beam, limits, **options)


def limits_of(search: SearchConfig, own: Limits) -> Limits:
    """How long answers may be: as the model says, but for what the search does."""
    least = {"shortest": max(own.shortest, search.min_length), "share": max(own.share, search.min_ratio)}
    limits = replace(own, **least)  # type: ignore[arg-type]
    if search.max_ratio:
        limits = replace(limits, factor=search.max_ratio, constant=0)
    if search.max_length and search.max_ratio:
        return replace(limits, longest=search.max_length)
    if search.max_length:
        return replace(limits, factor=0.0, constant=search.max_length, longest=search.max_length)
    return limits
