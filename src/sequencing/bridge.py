"""Bridges in PyTorch: how a decoder's first state comes from the memory's summary. Twin of `sequencing_np.bridge`.

A bridge yields as many vectors as it is asked for (layers x states of a cell), each (B, H).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sequencing.layers import Linear
from sequencing_np.bridge import BridgeSizes
from sequencing_np.errors import ConfigError


class ZeroBridge(nn.Module):
    """Every state starts at zero."""

    def __init__(self, sizes: BridgeSizes) -> None:
        super().__init__()
        self.sizes = sizes

    def forward(self, summary: Tensor) -> list[Tensor]:  # (B, D) -> count x (B, H)
        return [summary.new_zeros(len(summary), self.sizes.size)] * self.sizes.count


class PassThroughBridge(nn.Module):
    """Every state starts as the summary itself; the widths must agree."""

    def __init__(self, sizes: BridgeSizes) -> None:
        super().__init__()
        if sizes.summary != sizes.size:
            raise ConfigError(
                f"the pass_through bridge hands a summary of width {sizes.summary} to cells of width {sizes.size}; "
                f"set decoder.stack.size = {sizes.summary}, or use the projection bridge"
            )
        self.sizes = sizes

    def forward(self, summary: Tensor) -> list[Tensor]:  # (B, H) -> count x (B, H)
        return [summary] * self.sizes.count


class ProjectionBridge(nn.Module):
    """Every state starts as its own linear image of the summary."""

    def __init__(self, sizes: BridgeSizes) -> None:
        super().__init__()
        self.sizes, self.projection = sizes, Linear(sizes.summary, sizes.size * sizes.count)

    def forward(self, summary: Tensor) -> list[Tensor]:  # (B, D) -> count x (B, H)
        return list(self.projection(summary).split(self.sizes.size, dim=1))


class TanhProjectionBridge(nn.Module):
    """The same with a tanh: Bahdanau et al. 2015, appendix A.2.2."""

    def __init__(self, sizes: BridgeSizes) -> None:
        super().__init__()
        self.sizes, self.projection = sizes, Linear(sizes.summary, sizes.size * sizes.count)

    def forward(self, summary: Tensor) -> list[Tensor]:  # (B, D) -> count x (B, H)
        return list(torch.tanh(self.projection(summary)).split(self.sizes.size, dim=1))


class BroadcastBridge(nn.Module):
    """One linear image of the summary for each state of a cell, the same for every layer."""

    def __init__(self, sizes: BridgeSizes) -> None:
        super().__init__()
        self.sizes, self.projection = sizes, Linear(sizes.summary, sizes.size * sizes.states)

    def forward(self, summary: Tensor) -> list[Tensor]:  # (B, D) -> count x (B, H)
        return list(self.projection(summary).split(self.sizes.size, dim=1)) * self.sizes.layers


BRIDGES: dict[str, Any] = {
    "zero": ZeroBridge,
    "pass_through": PassThroughBridge,
    "projection": ProjectionBridge,
    "tanh_projection": TanhProjectionBridge,
    "broadcast": BroadcastBridge,
}
