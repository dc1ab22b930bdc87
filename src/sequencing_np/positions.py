"""Where a token stands, for self-attention, in NumPy: one class a scheme. Twin of `sequencing.positions`.

A scheme can say it in three places: added to the vectors that enter the stack (`enter`), by turning queries and keys
(`turn`), or as a bias on the scores (`bias`). Positions count from 0. It knows nothing of layers or masks.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from sequencing_np.config import require
from sequencing_np.layers import PositionTable

BUCKETS = 32  # of T5's relative positions
FAR = 128  # the distance from which on they share a bucket
BASE = 10_000.0  # the slowest wave of sinusoids and rotations is 2 pi times this long


class PositionSizes(NamedTuple):
    """What a scheme has to fit."""

    width: int  # of the vectors that enter
    heads: int
    learned: int  # rows of a learned table
    causal: bool  # whether queries look back only


def waves(positions: np.ndarray, count: int) -> np.ndarray:  # (1, T), F -> (1, T, F)
    """The angles of `count` waves at each position, in float64."""
    return positions[..., None] * frequencies(count)


@cache
def frequencies(count: int) -> np.ndarray:  # -> (F,)
    """How fast each of them turns."""
    return BASE ** (-np.arange(count) / count)


def slopes(heads: int) -> np.ndarray:  # -> (H,)
    """Press et al. 2022: a geometric sequence from 2^(-8/H); other counts than powers of two interleave the next."""
    power = 2 ** int(np.log2(heads))
    steps = np.arange(1, power + 1)
    further = np.arange(1, 2 * (heads - power), 2)
    return np.concatenate([2.0 ** (-8 * steps / power), 2.0 ** (-4 * further / power)])


def buckets(causal: bool) -> np.ndarray:  # -> (2 FAR + 1,)
    """T5's bucket of each distance key - query from -FAR to FAR: Raffel et al. 2020, section 2.1.

    Near distances have one bucket each, farther ones share them on a logarithmic scale. Without a future all of
    them serve the past.
    """
    distance = np.arange(-FAR, FAR + 1)
    count = BUCKETS if causal else BUCKETS // 2
    near = count // 2
    size = np.maximum(-distance, 0) if causal else np.abs(distance)
    scale = np.log(np.maximum(size, near) / near) / np.log(FAR / near)
    shared = np.minimum(near + (scale * (count - near)).astype(np.int64), count - 1)
    bucket = np.where(size < near, size, shared)
    return bucket if causal else bucket + count * (distance > 0)


class NoPositions:
    """Says nothing: a causal decoder still knows the order, an encoder sees a set."""

    def __init__(self, sizes: PositionSizes) -> None:
        pass

    def enter(self, x: np.ndarray, positions: np.ndarray) -> np.ndarray:  # (R, T, D), (1, T) -> (R, T, D)
        return x

    def turn(self, x: np.ndarray, positions: np.ndarray) -> np.ndarray:  # (R, H, T, D), (1, T) -> (R, H, T, D)
        return x

    def bias(self, queries: np.ndarray, keys: np.ndarray) -> np.ndarray | None:  # (1, T), (1, N) -> (1, H, T, N)
        return None


class SinusoidalPositions(NoPositions):
    """Sines, then cosines, of geometrically slower waves: Vaswani et al. 2017, section 3.5."""

    def __init__(self, sizes: PositionSizes) -> None:
        self.waves = (sizes.width + 1) // 2

    def enter(self, x: np.ndarray, positions: np.ndarray) -> np.ndarray:  # (R, T, D), (1, T) -> (R, T, D)
        angles = waves(positions, self.waves)
        signal = np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)[..., : x.shape[-1]]
        return x + signal.astype(x.dtype)


class LearnedPositions(NoPositions):
    """A row of a learned table, whose last row serves all later positions: Gehring et al. 2017, section 3.1."""

    def __init__(self, sizes: PositionSizes, *, table: dict[str, Any]) -> None:
        self.table = PositionTable(sizes.learned, sizes.width, **table)

    def enter(self, x: np.ndarray, positions: np.ndarray) -> np.ndarray:  # (R, T, D), (1, T) -> (R, T, D)
        return x + self.table(positions[:, :1], x.shape[1])


class RotaryPositions(NoPositions):
    """Pairs of a query's and a key's entries turn with the position: Su et al. 2021, equation 34.

    Entry i is paired with entry i + D/2. Products of queries and keys then depend on the distance alone.
    """

    def turn(self, x: np.ndarray, positions: np.ndarray) -> np.ndarray:  # (R, H, T, D), (1, T) -> (R, H, T, D)
        half = x.shape[-1] // 2
        angles = waves(positions, half)[:, None]
        sine, cosine = np.sin(angles).astype(x.dtype), np.cos(angles).astype(x.dtype)
        first, second = x[..., :half], x[..., half:]
        return np.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)


class AlibiPositions(NoPositions):
    """Scores fall linearly with the distance, in each head at its own slope: Press et al. 2022, section 3."""

    def __init__(self, sizes: PositionSizes) -> None:
        self.slopes = slopes(sizes.heads)[:, None, None]

    def bias(self, queries: np.ndarray, keys: np.ndarray) -> np.ndarray | None:  # (1, T), (1, N) -> (1, H, T, N)
        return -self.slopes * np.abs(keys[:, None] - queries[..., None])[:, None]


class BucketPositions(NoPositions):
    """A learned bias for each head and bucket of distances, one table for all layers: Raffel et al. 2020 (T5)."""

    def __init__(self, sizes: PositionSizes, *, weight: np.ndarray) -> None:  # (BUCKETS, H)
        require(weight.shape == (BUCKETS, sizes.heads), f"a table of distances of shape {weight.shape}")
        self.weight, self.buckets = weight, buckets(sizes.causal)

    def bias(self, queries: np.ndarray, keys: np.ndarray) -> np.ndarray | None:  # (1, T), (1, N) -> (1, H, T, N)
        distance = np.clip(keys[:, None] - queries[..., None], -FAR, FAR)  # (1, T, N)
        return np.moveaxis(self.weight[self.buckets[distance + FAR]], -1, 1)


POSITIONS: dict[str, Any] = {
    "none": NoPositions,
    "sinusoidal": SinusoidalPositions,
    "learned": LearnedPositions,
    "rotary": RotaryPositions,
    "alibi": AlibiPositions,
    "t5": BucketPositions,
}
SCORED = {"rotary", "alibi", "t5"}  # those that act on the scores alone
