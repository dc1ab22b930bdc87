"""Bridges in NumPy: how a decoder's first state comes from the memory's summary. Twin of `sequencing.bridge`.

A bridge yields as many vectors as it is asked for (layers x states of a cell), each (B, H).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sequencing_np.layers import Linear
from sequencing_np.state import Array


@dataclass(frozen=True)
class BridgeSizes:
    """What a bridge has to fill: vectors of width `size`, from a summary of width `summary`."""

    summary: int
    size: int
    layers: int
    states: int  # of the cell of each layer

    @property
    def count(self) -> int:
        """Vectors to fill, layer by layer."""
        return self.layers * self.states

    def by_layer(self, vectors: list[Array]) -> tuple[tuple[Array, ...], ...]:
        """What a bridge yields, as the states of a stack."""
        return tuple(tuple(vectors[k : k + self.states]) for k in range(0, self.count, self.states))


class ZeroBridge:
    """Every state starts at zero."""

    def __init__(self, sizes: BridgeSizes) -> None:
        self.sizes = sizes

    def __call__(self, summary: np.ndarray) -> list[np.ndarray]:  # (B, D) -> count x (B, H)
        return [np.zeros((len(summary), self.sizes.size), dtype=summary.dtype)] * self.sizes.count


class PassThroughBridge:
    """Every state starts as the summary itself; the widths must agree."""

    def __init__(self, sizes: BridgeSizes) -> None:
        self.sizes = sizes

    def __call__(self, summary: np.ndarray) -> list[np.ndarray]:  # (B, H) -> count x (B, H)
        return [summary] * self.sizes.count


class ProjectionBridge:
    """Every state starts as its own linear image of the summary."""

    def __init__(self, sizes: BridgeSizes, *, projection: dict[str, Any]) -> None:
        self.sizes, self.projection = sizes, Linear(**projection)

    def __call__(self, summary: np.ndarray) -> list[np.ndarray]:  # (B, D) -> count x (B, H)
        return np.split(self.projection(summary), self.sizes.count, axis=1)


class TanhProjectionBridge:
    """The same with a tanh: Bahdanau et al. 2015, appendix A.2.2."""

    def __init__(self, sizes: BridgeSizes, *, projection: dict[str, Any]) -> None:
        self.sizes, self.projection = sizes, Linear(**projection)

    def __call__(self, summary: np.ndarray) -> list[np.ndarray]:  # (B, D) -> count x (B, H)
        return np.split(np.tanh(self.projection(summary)), self.sizes.count, axis=1)


class BroadcastBridge:
    """One linear image of the summary for each state of a cell, the same for every layer."""

    def __init__(self, sizes: BridgeSizes, *, projection: dict[str, Any]) -> None:
        self.sizes, self.projection = sizes, Linear(**projection)

    def __call__(self, summary: np.ndarray) -> list[np.ndarray]:  # (B, D) -> count x (B, H)
        return np.split(self.projection(summary), self.sizes.states, axis=1) * self.sizes.layers


BRIDGES: dict[str, Any] = {
    "zero": ZeroBridge,
    "pass_through": PassThroughBridge,
    "projection": ProjectionBridge,
    "tanh_projection": TanhProjectionBridge,
    "broadcast": BroadcastBridge,
}
