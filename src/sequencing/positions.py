"""Where a token stands, for self-attention, in PyTorch: one class a scheme. Twin of `sequencing_np.positions`.

A scheme can say it in three places: added to the vectors that enter the stack (`enter`), by turning queries and keys
(`turn`), or as a bias on the scores (`bias`). Positions count from 0. It knows nothing of layers or masks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sequencing.layers import PositionTable
from sequencing_np.positions import BASE, BUCKETS, FAR, PositionSizes, buckets, slopes


def waves(positions: Tensor, count: int) -> Tensor:  # (1, T), F -> (1, T, F)
    """The angles of `count` waves at each position, in float64."""
    exponents = torch.arange(count, device=positions.device, dtype=torch.float64) / count
    return positions[..., None] * BASE**-exponents


class NoPositions(nn.Module):
    """Says nothing: a causal decoder still knows the order, an encoder sees a set."""

    def __init__(self, sizes: PositionSizes) -> None:
        super().__init__()

    def enter(self, x: Tensor, positions: Tensor) -> Tensor:  # (R, T, D), (1, T) -> (R, T, D)
        return x

    def turn(self, x: Tensor, positions: Tensor) -> Tensor:  # (R, H, T, D), (1, T) -> (R, H, T, D)
        return x

    def bias(self, queries: Tensor, keys: Tensor) -> Tensor | None:  # (1, T), (1, N) -> (1, H, T, N)
        return None


class SinusoidalPositions(NoPositions):
    """Sines, then cosines, of geometrically slower waves: Vaswani et al. 2017, section 3.5."""

    def __init__(self, sizes: PositionSizes) -> None:
        super().__init__(sizes)
        self.waves = (sizes.width + 1) // 2

    def enter(self, x: Tensor, positions: Tensor) -> Tensor:  # (R, T, D), (1, T) -> (R, T, D)
        angles = waves(positions, self.waves)
        signal = torch.cat([angles.sin(), angles.cos()], dim=-1)[..., : x.shape[-1]]
        return x + signal.to(x.dtype)


class LearnedPositions(NoPositions):
    """A row of a learned table, whose last row serves all later positions: Gehring et al. 2017, section 3.1."""

    def __init__(self, sizes: PositionSizes) -> None:
        super().__init__(sizes)
        self.table = PositionTable(sizes.learned, sizes.width)

    def enter(self, x: Tensor, positions: Tensor) -> Tensor:  # (R, T, D), (1, T) -> (R, T, D)
        return x + self.table(positions[:, :1], x.shape[1]).to(x.dtype)


class RotaryPositions(NoPositions):
    """Pairs of a query's and a key's entries turn with the position: Su et al. 2021, equation 34.

    Entry i is paired with entry i + D/2. Products of queries and keys then depend on the distance alone.
    """

    def turn(self, x: Tensor, positions: Tensor) -> Tensor:  # (R, H, T, D), (1, T) -> (R, H, T, D)
        angles = waves(positions, x.shape[-1] // 2)[:, None]
        sine, cosine = angles.sin().to(x.dtype), angles.cos().to(x.dtype)
        first, second = x.chunk(2, dim=-1)
        return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


class AlibiPositions(NoPositions):
    """Scores fall linearly with the distance, in each head at its own slope: Press et al. 2022, section 3."""

    slopes: Tensor

    def __init__(self, sizes: PositionSizes) -> None:
        super().__init__(sizes)
        self.register_buffer("slopes", torch.from_numpy(slopes(sizes.heads))[:, None, None], persistent=False)

    def bias(self, queries: Tensor, keys: Tensor) -> Tensor | None:  # (1, T), (1, N) -> (1, H, T, N)
        return -self.slopes * (keys[:, None] - queries[..., None]).abs()[:, None]


class BucketPositions(NoPositions):
    """A learned bias for each head and bucket of distances, one table for all layers: Raffel et al. 2020 (T5)."""

    buckets: Tensor

    def __init__(self, sizes: PositionSizes) -> None:
        super().__init__(sizes)
        self.weight = nn.Parameter(torch.zeros(BUCKETS, sizes.heads))
        self.register_buffer("buckets", torch.from_numpy(buckets(sizes.causal)), persistent=False)

    def bias(self, queries: Tensor, keys: Tensor) -> Tensor | None:  # (1, T), (1, N) -> (1, H, T, N)
        distance = (keys[:, None] - queries[..., None]).clamp(-FAR, FAR)  # (1, T, N)
        return nn.functional.embedding(self.buckets[distance + FAR], self.weight).movedim(-1, 1)


POSITIONS: dict[str, Any] = {
    "none": NoPositions,
    "sinusoidal": SinusoidalPositions,
    "learned": LearnedPositions,
    "rotary": RotaryPositions,
    "alibi": AlibiPositions,
    "t5": BucketPositions,
}
