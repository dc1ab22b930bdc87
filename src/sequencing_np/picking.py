"""Which word it is to be, of all that a decoder finds likely: the likeliest or a drawn one, and never a banned one.

A pick sees logits and an Arrays; which answers the words become is left to the feedbacks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from sequencing_np.arrays import Arrays, Kept
from sequencing_np.errors import SearchError
from sequencing_np.special import Special
from sequencing_np.state import Array


class Choice(NamedTuple):
    """One id a row and its log-probability, on the host. NaN logits give a NaN log-probability."""

    ids: np.ndarray  # (R,) int64
    log_probs: np.ndarray  # (R,) float64


Pick = Callable[[Arrays, Array, np.ndarray, np.ndarray], Choice]
"""Chooses one id a row from (R, V) logits, never a banned one; (R,) says which sentence a row belongs to."""


def argmax(arrays: Arrays, logits: Array, banned: np.ndarray, sentences: np.ndarray) -> Choice:
    # (R, V), (N,), (R,) -> (R,), (R,)
    """The most probable id of each row; of equal ones the lowest."""
    best = arrays.best(logits, 1, banned)
    return Choice(best.ids[:, 0], best.log_probs[:, 0])


def sentence_keys(seed: int, first: int, count: int) -> np.ndarray:  # -> (count,) uint64
    """A key for each sentence of a text, from the seed and the sentence's place in the text alone."""
    places = np.arange(first, first + count, dtype=np.uint64)
    return mix(mix(places + np.uint64(1)) + mix(np.full(1, seed, dtype=np.uint64)))


def mix(x: np.ndarray) -> np.ndarray:  # (...) uint64 -> (...) uint64
    """The output function of SplitMix64 (Steele et al. 2014): every bit depends on every bit."""
    x = x * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Sampler:
    """A pick that draws: softmax(logits / temperature), of the ids that `top_k`, `top_p`, `min_p` and `epsilon` keep.

    What a sentence draws at a step is a function of its key and the step: neither its batch mates nor the floor
    change it. What they keep: `Kept`.
    """

    def __init__(
        self,
        keys: np.ndarray,  # (B,) uint64
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        epsilon: float = 0.0,
    ) -> None:
        if not 0 < temperature < 1e6:
            raise SearchError(f"temperature {temperature}: must be above 0; for the likeliest word use greedy search")
        if top_k < 0 or not 0 < top_p <= 1:
            raise SearchError(f"top_k {top_k}, top_p {top_p}: top_k is 0 (all) or more, top_p above 0 and at most 1")
        if not (0 <= min_p <= 1 and 0 <= epsilon <= 1):
            raise SearchError(f"min_p {min_p}, epsilon {epsilon}: both are from 0 (all) to 1 (the likeliest alone)")
        self.keys, self.temperature, self.kept = keys, temperature, Kept(top_k, top_p, min_p, epsilon)
        self.steps = 0

    def __call__(self, arrays: Arrays, logits: Array, banned: np.ndarray, sentences: np.ndarray) -> Choice:
        # (R, V), (N,), (R,) -> (R,), (R,)
        self.steps += 1
        bits = mix(self.keys[sentences] + np.uint64(self.steps))
        uniform = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
        scaled = banned_to(arrays, logits / self.temperature, banned)
        ids = arrays.draw(scaled, uniform, self.kept)
        return Choice(ids, arrays.log_prob(logits[:, None], ids[:, None])[:, 0])


def banned_to(arrays: Arrays, logits: Array, banned: np.ndarray) -> Array:
    # (R, V), (N,) ids or (R, V) bool -> (R, V)
    """The same logits, in place, -inf wherever an id is banned."""
    if len(banned):
        logits[arrays.native(banned) if banned.ndim == 2 else (slice(None), banned)] = -np.inf
    return logits


def banned_ids(special: Special, before_end: bool, no_unknown: bool = False) -> np.ndarray:
    """Ids that no search may choose: PAD and BOS always, EOS while the answer is too short, UNK if it is not wanted."""
    ids = ({special.pad, special.bos} - {special.eos}) | ({special.eos} if before_end else set())
    ids |= {special.unk} if no_unknown else set()
    return np.array(sorted(ids), dtype=np.int64)


def banned_rows(special: Special, size: int, before_end: np.ndarray, no_unknown: bool = False) -> np.ndarray:
    # (R,) bool -> (R, V) bool
    """The same for each row of a batch, of a vocabulary of so many ids."""
    banned = np.zeros((len(before_end), size), dtype=bool)
    banned[:, banned_ids(special, False, no_unknown)] = True
    banned[before_end, special.eos] = True
    return banned
