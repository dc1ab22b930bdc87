"""Attentions that know where they have looked, or how often, in NumPy. Twin of `sequencing.attention_past`.

`begin` is what is kept for each row before the first query, and `after` what becomes of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sequencing_np.attention_scores import Attended, Meeting, OneMemory, Past, Weights, attend
from sequencing_np.cells import linear_recurrence
from sequencing_np.config import require
from sequencing_np.layers import Linear, masked_softmax, sigmoid
from sequencing_np.state import Memory


class CoverageAttention(Meeting):
    """v . tanh(W q + b + K + w c): See et al. 2017, equations 10 and 11; c is how much each token was looked at."""

    def __init__(self, config: Any, *, coverage: np.ndarray, **meeting: Any) -> None:
        super().__init__(config, **meeting)
        require(coverage.shape == (config.size,), f"attention.size {config.size}, the weights have {coverage.shape}")
        self.coverage = coverage

    def begin(self, memory: Memory) -> Past:
        return (np.zeros(memory.mask.shape, dtype=memory.values.dtype),)

    def after(self, past: Past, alignment: np.ndarray) -> Past:
        return (past[0] + alignment,)

    def __call__(self, query: np.ndarray, memory: Memory, past: np.ndarray) -> Attended:
        # (B, T, Q), Memory, (B, T, S) -> (B, T, D), (B, T, S)
        meeting = past[..., None] * self.coverage  # (B, T, S, A)
        meeting += self.query(query)[:, :, None]
        meeting += memory.keys[:, None]
        return attend(np.tanh(meeting, out=meeting) @ self.energy, memory)


class MonotonicAttention(Meeting):
    """From where it stopped before, a look goes on from token to token and stops at each with a chance of its own.

    Raffel et al. 2017: the alignment is how likely it stops at each token, equations 11 to 14. The chance is sigmoid of
    g v / |v| . tanh(W q + b + K) + r, section 2.4. With `hard` it stops for certain where that is above one half,
    section 2.2. Where the paper finds nothing if it stops nowhere, it stops at the last token.
    """

    def __init__(self, config: Any, *, scale: np.ndarray, offset: np.ndarray, **meeting: Any) -> None:
        super().__init__(config, **meeting)
        shapes = scale.shape, offset.shape
        require(shapes == ((1,), (1,)), f"a scale and an offset are one number each, the weights have {shapes}")
        self.offset, self.hard = offset, config.hard
        self.energy = scale * self.energy / np.sqrt(self.energy @ self.energy)

    def begin(self, memory: Memory) -> Past:
        """It stands at the first token."""
        first = np.zeros(memory.mask.shape, dtype=memory.values.dtype)
        first[:, 0] = memory.mask[:, 0]
        return (first,)

    def after(self, past: Past, alignment: np.ndarray) -> Past:
        return (alignment,)

    def __call__(self, query: np.ndarray, memory: Memory, past: np.ndarray) -> Attended:
        # (B, T, Q), Memory, (B, T, S) -> (B, T, D), (B, T, S)
        meeting = self.query(query)[:, :, None] + memory.keys[:, None]  # (B, T, S, A)
        scores = np.tanh(meeting, out=meeting) @ self.energy + self.offset
        chance = (scores > 0).astype(scores.dtype) if self.hard else sigmoid(scores)
        stop = np.where(last_token(memory.mask)[:, None], chance.dtype.type(1), chance * memory.mask[:, None])
        alignment = stop * reaching(stop, past)
        return Attended(alignment @ memory.values, alignment)


def last_token(mask: np.ndarray) -> np.ndarray:  # (B, S) -> (B, S)
    """True at the last real token of each sentence."""
    return mask & ~np.concatenate([mask[:, 1:], np.zeros_like(mask[:, :1])], axis=1)


def reaching(stop: np.ndarray, before: np.ndarray) -> np.ndarray:  # (B, T, S), (B, T, S) -> (B, T, S)
    """How likely a look comes to each token: Raffel et al. 2017, equation 13."""
    going = np.concatenate([np.zeros_like(stop[..., :1]), 1 - stop[..., :-1]], axis=2)
    come = linear_recurrence(going.swapaxes(1, 2), before.swapaxes(1, 2), np.zeros_like(before[..., 0]))
    return come.swapaxes(1, 2)


class LocalMonotonicAttention(OneMemory):
    """q W k within a window around the place of the step itself: Luong et al. 2015, section 3.2, "local-m".

    The place is p = t, and equation 7 alone weighs what stands in the window. Past the end it is the last token.
    """

    def __init__(self, config: Any, *, query: Weights) -> None:
        self.query, self.window = Linear(**query, bias=None), config.window

    def begin(self, memory: Memory) -> Past:
        """It stands at the first token."""
        return (np.zeros((len(memory.mask), 1), dtype=np.int64),)

    def after(self, past: Past, alignment: np.ndarray) -> Past:
        return (past[0] + 1,)

    def __call__(self, query: np.ndarray, memory: Memory, past: np.ndarray) -> Attended:
        # (B, T, Q), Memory, (B, T, 1) -> (B, T, D), (B, T, S)
        place = np.minimum(past, memory.mask.sum(axis=1)[:, None, None] - 1)
        near = abs(np.arange(memory.mask.shape[1]) - place) <= self.window  # (B, T, S)
        scores = self.query(query) @ memory.keys.swapaxes(1, 2)
        alignment = masked_softmax(scores, memory.mask[:, None] & near)
        return Attended(alignment @ memory.values, alignment)


LOOKING_BACK: dict[str, Any] = {
    "coverage": CoverageAttention,
    "monotonic": MonotonicAttention,
    "local_m": LocalMonotonicAttention,
}
