"""By what the hypotheses of a search are ranked: log-probability, length, and how much of the source was looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sequencing_np.errors import SearchError

Penalty = Callable[[np.ndarray, float], np.ndarray]
LEAST = 1e-6  # attention that a source token is taken to have had at least: the logarithm of nothing would end all


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


@dataclass(frozen=True)
class Ranking:
    """score = (log-probability + word_reward x length) / penalty(length) + coverage x sum of log min(attention, 1).

    The reward: He et al. 2016, "Improved Neural Machine Translation with SMT Features"; the coverage: Wu et al. 2016,
    equation 14, over the attention that each source token had from all tokens of the answer.
    """

    length_penalty: str = "average"
    alpha: float = 1.0
    word_reward: float = 0.0
    coverage: float = 0.0

    def __post_init__(self) -> None:
        if self.length_penalty not in LENGTH_PENALTIES:
            choices = ", ".join(LENGTH_PENALTIES)
            raise SearchError(f"length_penalty {self.length_penalty!r}: choose one of {choices}")
        if not 0 <= self.alpha < 100:
            raise SearchError(f"alpha {self.alpha}: must be 0 or more; 1 is usual")
        if not 0 <= self.coverage < np.inf or not np.isfinite(self.word_reward):
            raise SearchError(f"coverage {self.coverage}, word_reward {self.word_reward}: coverage must be 0 or more")

    def penalty(self, length: np.ndarray) -> np.ndarray:  # (...) -> (...)
        return LENGTH_PENALTIES[self.length_penalty](length, self.alpha)

    def score(self, log_prob: np.ndarray, length: np.ndarray, covered: np.ndarray) -> np.ndarray:  # (...) x 3 -> (...)
        """The score; `covered` is what `cover` gives."""
        return (log_prob + self.word_reward * length) / self.penalty(length) + covered

    def cover(self, attention: np.ndarray, mask: np.ndarray) -> np.ndarray:  # (R, S), (R, S) bool -> (R,)
        """What is added for the attention that the source tokens had, 0 at best."""
        return self.coverage * (np.log(np.clip(attention, LEAST, 1.0)) * mask).sum(axis=1)

    def bound(self, log_prob: np.ndarray, length: float, limit: np.ndarray) -> np.ndarray:  # (A,), (A,) -> (A,)
        """No answer that goes on from here, after `length` tokens, scores more: a log-probability never rises."""
        most = np.maximum(self.word_reward * limit, self.word_reward * length) + log_prob
        return most / np.where(most < 0, self.penalty(limit), self.penalty(np.full(len(limit), length + 1.0)))
