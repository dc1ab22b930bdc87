"""The few functions in which array libraries differ, for NumPy. `sequencing.arrays` is the twin for PyTorch.

A model carries the one that fits its weights, and the loop, the feedbacks and the Translator ask for nothing
else. "Host" means NumPy arrays in ordinary memory: searches do their book-keeping there, on a few numbers a row.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np

from sequencing_np.state import Array

BLOCK = 64  # columns looked at together when the best of many are sought
NEAR = 1 << 18  # logits that all passes over them find in a core's own cache


class Best(NamedTuple):
    """The best continuations of each row, best first; equal ones by lower id. Both on the host."""

    log_probs: np.ndarray  # (R, k) float64
    ids: np.ndarray  # (R, k) int64


class Kept(NamedTuple):
    """Among which ids a draw is made; the likeliest always is one of them."""

    most: int = 0  # so many of the likeliest; 0: all
    mass: float = 1.0  # the smallest set of the likeliest that has this probability (Holtzman et al. 2020)
    share: float = 0.0  # at least this share of the likeliest one's probability: min-p (Nguyen et al. 2024)
    least: float = 0.0  # at least this probability: epsilon (Hewitt et al. 2022, section 3.1)


class Arrays(Protocol):
    """What a search needs from an array library."""

    def asking(self) -> AbstractContextManager[Any]: ...
    def native(self, host: np.ndarray) -> Array: ...
    def host(self, array: Array) -> np.ndarray: ...
    def join(self, parts: list[Array]) -> Array: ...
    def take(self, array: Array, rows: Array) -> Array: ...
    def best(self, logits: Array, k: int, banned: np.ndarray) -> Best: ...
    def log_prob(self, logits: Array, ids: np.ndarray) -> np.ndarray: ...
    def draw(self, logits: Array, uniform: np.ndarray, kept: Kept) -> np.ndarray: ...
    def draw_any(self, logits: Array, uniform: np.ndarray, banned: np.ndarray) -> Best: ...
    def narrow(self, logits: Array, kept: Kept) -> Array: ...
    def log_softmax(self, logits: Array) -> Array: ...
    def log_mean_exp(self, parts: list[Array]) -> Array: ...


class NumpyArrays:
    """`Arrays` for NumPy."""

    def asking(self) -> AbstractContextManager[Any]:
        """A context in which a model answers and learns nothing.

        Numbers may overflow in silence: a sentence for which they do has no answer, which is told.
        """
        return np.errstate(over="ignore", invalid="ignore")

    def native(self, host: np.ndarray) -> np.ndarray:
        return host

    def host(self, array: np.ndarray) -> np.ndarray:
        return array

    def join(self, parts: list[np.ndarray]) -> np.ndarray:  # T x (R, 1, D) -> (R, T, D)
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def take(self, array: np.ndarray, rows: np.ndarray) -> np.ndarray:  # (R, ...), (N,) -> (N, ...)
        return array.take(rows, axis=0)

    def best(self, logits: np.ndarray, k: int, banned: np.ndarray) -> Best:  # (R, V) -> (R, k), (R, k)
        """The k most probable ids of each row, those in `banned` left out after the softmax.

        `banned` holds ids, (N,), or says of each row which it may not say, (R, V) bool.
        """
        ids = top_ids(logits, k)
        chosen = along(logits, ids)
        total = log_sum_exp(logits, chosen[:, :1])
        if len(banned) and (banned.ndim == 2 or (ids[..., None] == banned).any()):
            logits = logits.copy()
            logits[banned if banned.ndim == 2 else (slice(None), banned)] = -np.inf
            ids = top_ids(logits, k)
            chosen = along(logits, ids)
        return Best((chosen - total[:, None]).astype(np.float64), ids)

    def log_prob(self, logits: np.ndarray, ids: np.ndarray) -> np.ndarray:  # (R, T, V), (R, T) -> (R, T)
        """The log-probability of the given ids."""
        chosen = np.take_along_axis(logits, ids[..., None], axis=-1)[..., 0]
        return (chosen - log_sum_exp(logits)).astype(np.float64)

    def draw(self, logits: np.ndarray, uniform: np.ndarray, kept: Kept) -> np.ndarray:  # (R, V), (R,) -> (R,)
        """One id a row by inverting the cumulative distribution at `uniform`, most probable ids first."""
        order, cumulative, keep = self._ranked(logits, kept)
        reach = (cumulative * keep).max(axis=1) * uniform
        rank = np.minimum((cumulative <= reach[:, None]).sum(axis=1), np.maximum(keep.sum(axis=1) - 1, 0))
        return np.take_along_axis(order, rank[:, None], axis=1)[:, 0]

    def _ranked(self, logits: np.ndarray, kept: Kept) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # (R, V) -> (R, V) x 3
        """The ids of each row, likeliest first, the mass up to each of them, and which are kept."""
        order = np.argsort(-logits, axis=1, kind="stable")
        ranked = np.take_along_axis(logits, order, axis=1)
        probs = np.exp(ranked - log_sum_exp(ranked)[:, None])
        cumulative = np.cumsum(probs, axis=1)
        least = np.maximum(np.maximum(kept.least, kept.share * probs[:, :1]), np.finfo(probs.dtype).tiny)
        keep = (cumulative - probs < kept.mass) & (probs >= np.minimum(least, probs[:, :1]))
        if kept.most:
            keep[:, kept.most :] = False
        return order, cumulative, keep

    def narrow(self, logits: np.ndarray, kept: Kept) -> np.ndarray:  # (R, V) -> (R, V)
        """The logits of the ids that are kept, -inf for the others."""
        order, _, keep = self._ranked(logits, kept)
        mask = np.zeros_like(keep)
        np.put_along_axis(mask, order, keep, axis=1)
        return np.where(mask, logits, -np.inf).astype(logits.dtype)

    def draw_any(self, logits: np.ndarray, uniform: np.ndarray, banned: np.ndarray) -> Best:
        # (R, V), (R,), (N,) -> (R, 1), (R, 1)
        """One id a row by inverting the cumulative distribution at `uniform`, in the order of the ids."""
        probs = np.exp(logits - log_sum_exp(logits)[:, None]).astype(np.float64)
        probs[:, banned] = 0
        cumulative = np.cumsum(probs, axis=1)
        reach = np.minimum(cumulative[:, -1] * uniform, np.nextafter(cumulative[:, -1], 0))
        ids = np.minimum((cumulative <= reach[:, None]).sum(axis=1), logits.shape[1] - 1)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):  # of a row with NaN comes NaN, which a search understands
            return Best(np.log(np.take_along_axis(probs, ids, axis=1)) + 0 * cumulative[:, -1:], ids)

    def log_softmax(self, logits: np.ndarray) -> np.ndarray:  # (..., V) -> (..., V)
        """The log-probability of every id."""
        return log_softmax(logits)

    def log_mean_exp(self, parts: list[np.ndarray]) -> np.ndarray:  # N x (...) -> (...)
        """log of the mean of the exponentials, element by element."""
        top = parts[0]
        for part in parts[1:]:
            top = np.maximum(top, part)
        floor = np.where(np.isneginf(top), 0, top)  # what no part has at all
        total = sum((np.exp(part - floor) for part in parts[1:]), np.exp(parts[0] - floor))
        with np.errstate(divide="ignore"):
            mean: np.ndarray = np.log(total / len(parts)) + floor
        return mean


def along(x: np.ndarray, columns: np.ndarray) -> np.ndarray:  # (R, C), (R, k) -> (R, k)
    """The columns of each row: take_along_axis, which has so much to ask that it takes several times as long."""
    return x[np.arange(len(x))[:, None], columns]


def log_softmax(logits: np.ndarray) -> np.ndarray:  # (..., V) -> (..., V)
    """Log-probabilities over the last axis."""
    return logits - log_sum_exp(logits)[..., None]


def log_sum_exp(logits: np.ndarray, top: np.ndarray | None = None) -> np.ndarray:  # (..., V), (..., 1) -> (...)
    """log of the sum of exponentials over the last axis, safe against overflow; NaN where the largest is infinite.

    `top` is the largest, where it is known. A few rows at a time, which stay near the processor between the passes.
    """
    top = logits.max(axis=-1, keepdims=True) if top is None else top
    rows, tops = logits.reshape(-1, logits.shape[-1]), top.reshape(-1, 1)
    total, step = np.empty(len(rows), dtype=logits.dtype), max(NEAR // rows.shape[1], 1)
    with np.errstate(invalid="ignore"):
        for first in range(0, len(rows), step):
            part = slice(first, first + step)
            powers = rows[part] - tops[part]
            np.exp(powers, out=powers).sum(axis=1, out=total[part])
        return np.log(total).reshape(top.shape[:-1]) + top[..., 0]


def top_ids(scores: np.ndarray, k: int) -> np.ndarray:  # (R, V) -> (R, k)
    """The ids of the k largest scores, largest first, equal scores by lower id. Rows with NaN give any ids."""
    rows, width = scores.shape
    if k == 1:
        return scores.argmax(axis=1)[:, None]  # the first of equal maxima, which is the lowest id
    if k >= width:
        return np.argsort(-scores, axis=1, kind="stable")[:, :k]
    candidates = candidate_ids(scores, k + 1) if width > 16 * BLOCK else np.tile(np.arange(width), (rows, 1))
    values = along(scores, candidates)
    part = np.argpartition(-values, k, axis=1)[:, : k + 1]
    ids, values = along(candidates, part), along(values, part)
    order = np.lexsort((ids, -values), axis=1)
    ids, values = along(ids, order), along(values, order)
    for row in np.flatnonzero(values[:, k - 1] == values[:, k]):  # a tie across the border: look at all
        ids[row, :k] = np.argsort(-scores[row], kind="stable")[:k]
    return ids[:, :k]


def candidate_ids(scores: np.ndarray, k: int) -> np.ndarray:  # (R, V) -> (R, k * BLOCK + rest)
    """Ids among which the k largest scores surely are: the k blocks of columns with the largest maxima.

    Partitioning a whole vocabulary costs as much as a decoder step; partitioning block maxima does not.
    """
    rows, width = scores.shape
    blocks = width // BLOCK
    maxima = scores[:, : blocks * BLOCK].reshape(rows, blocks, BLOCK).max(axis=2)
    if k < blocks:
        chosen = np.argpartition(-maxima, k - 1, axis=1)[:, :k]
    else:
        chosen = np.tile(np.arange(blocks), (rows, 1))
    ids = (chosen[:, :, None] * BLOCK + np.arange(BLOCK)).reshape(rows, -1)
    rest = np.tile(np.arange(blocks * BLOCK, width), (rows, 1))
    return np.concatenate([ids, rest], axis=1)
