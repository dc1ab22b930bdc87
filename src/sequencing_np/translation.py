"""What is said to a line: answers as text with all that is known of them, and what is done with them afterwards.

Knows nothing of models and searches.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sequencing_np.mbr import rank
from sequencing_np.search import SearchConfig


class Answer(NamedTuple):
    """One hypothesis as text."""

    text: str
    score: float  # what answers are ranked by: log-probability over length penalty
    log_prob: float  # natural logarithm
    tokens: list[str]  # the end symbol last, where it was reached
    token_log_probs: list[float]
    alignment: np.ndarray | None  # (T, S) attention of each token
    finished: bool  # False: cut at the length limit


class Translation(NamedTuple):
    """What is said to one line."""

    source: str  # the line; of an array how many vectors it holds
    source_tokens: list[str]  # the end symbol last
    answers: list[Answer]  # best first; none where the model answered NaN
    parts: tuple[Translation, ...] = ()  # what was said to each part of it, where it was taken apart

    @property
    def text(self) -> str:
        """The best answer, or nothing."""
        return self.answers[0].text if self.answers else ""


class Scored(NamedTuple):
    """How likely a given target is."""

    log_prob: float  # natural logarithm of the whole target, its end symbol included
    token_log_probs: list[float]


def without_alignments(translation: Translation) -> Translation:
    """For who did not ask for them."""
    return translation._replace(answers=[answer._replace(alignment=None) for answer in translation.answers])


def fitted(alignment: np.ndarray, length: int) -> np.ndarray:  # (T, S) -> (T, length)
    """Without padding; tokens past the first of several texts were not looked at by this attention."""
    kept = alignment[:, :length]
    return np.pad(kept, ((0, 0), (0, length - kept.shape[1])))


def agreed(translation: Translation, search: SearchConfig) -> Translation:
    """The answers that minimum Bayes risk prefers, best first; their scores are expected utilities."""
    answers = translation.answers
    if not answers or not translation.source.strip():
        return translation
    ranked = rank([each.text for each in answers], [each.score for each in answers], search.mbr)
    chosen = [answers[place]._replace(score=expected) for place, expected in ranked[: search.n_best]]
    return translation._replace(answers=chosen)
