"""How the layers of a recurrent stack are joined, in PyTorch. Twin of `sequencing_np.residuals`.

A combiner joins what a layer says with what it has read, or with what all layers up to it have read. It is not known
here what a layer is. The widths that come out stand on the ground floor.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sequencing.layers import Linear
from sequencing_np.residuals import fitting


class AddCombiner(nn.Module):
    """h + sum of the inputs: He et al. 2016, equation 1. An input of another width is left out."""

    def __init__(self, own: int, read: list[int]) -> None:
        super().__init__()

    def forward(self, outputs: Tensor, inputs: list[Tensor]) -> Tensor:  # (B, T, H), n x (B, T, D) -> (B, T, H)
        for x in fitting(outputs, inputs):
            outputs = outputs + x
        return outputs


class MeanCombiner(nn.Module):
    """h + mean of the inputs, which of one input is the sum. An input of another width is left out."""

    def __init__(self, own: int, read: list[int]) -> None:
        super().__init__()

    def forward(self, outputs: Tensor, inputs: list[Tensor]) -> Tensor:  # (B, T, H), n x (B, T, D) -> (B, T, H)
        carried = fitting(outputs, inputs)
        return outputs + sum(carried) / len(carried) if carried else outputs


class ConcatCombiner(nn.Module):
    """[h; last input]: Huang et al. 2017, equation 2, as the last input holds all that the layers before it said."""

    def __init__(self, own: int, read: list[int]) -> None:
        super().__init__()

    def forward(self, outputs: Tensor, inputs: list[Tensor]) -> Tensor:  # (B, T, H), n x (B, T, D) -> (B, T, H + D)
        return torch.cat([outputs, inputs[-1]], dim=-1)


class HighwayCombiner(nn.Module):
    """g h + (1 - g) mean of the inputs, g = sigmoid(W x + b) of the last input x: Srivastava et al. 2015, equation 3.

    An input of another width is left out; where none is left, there is no gate. The gate's bias starts at -1, so that
    more is carried than changed (their section 2.2).
    """

    def __init__(self, own: int, read: list[int]) -> None:
        super().__init__()
        self.gate = Linear(read[-1], own) if own in read else None
        if self.gate:
            nn.init.constant_(self.gate.bias, -1.0)

    def forward(self, outputs: Tensor, inputs: list[Tensor]) -> Tensor:  # (B, T, H), n x (B, T, D) -> (B, T, H)
        if not self.gate:
            return outputs
        carried = fitting(outputs, inputs)
        return torch.lerp(sum(carried) / len(carried), outputs, torch.sigmoid(self.gate(inputs[-1])))


COMBINERS: dict[str, Any] = {
    "add": AddCombiner,
    "mean": MeanCombiner,
    "concat": ConcatCombiner,
    "highway": HighwayCombiner,
}
