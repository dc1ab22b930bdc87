"""How the layers of a recurrent stack are joined, in NumPy. Twin of `sequencing.residuals`.

A combiner joins what a layer says with what it has read, or with what all layers up to it have read. It is not known
here what a layer is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sequencing_np.config import require
from sequencing_np.layers import Linear, sigmoid


def fitting(outputs: Any, inputs: list[Any]) -> list[Any]:
    """Those of the inputs, of either library, that are as wide as the outputs."""
    return [x for x in inputs if x.shape == outputs.shape]


class AddCombiner:
    """h + sum of the inputs: He et al. 2016, equation 1. An input of another width is left out."""

    @staticmethod
    def width(own: int, read: int) -> int:
        """The width of what comes out, where the layer says `own` numbers and has read `read`."""
        return own

    def __call__(self, outputs: np.ndarray, inputs: list[np.ndarray]) -> np.ndarray:
        # (B, T, H), n x (B, T, D) -> (B, T, H)
        for x in fitting(outputs, inputs):
            outputs = outputs + x
        return outputs


class MeanCombiner:
    """h + mean of the inputs, which of one input is the sum. An input of another width is left out."""

    @staticmethod
    def width(own: int, read: int) -> int:
        return own

    def __call__(self, outputs: np.ndarray, inputs: list[np.ndarray]) -> np.ndarray:
        # (B, T, H), n x (B, T, D) -> (B, T, H)
        carried = fitting(outputs, inputs)
        return outputs + sum(carried) / len(carried) if carried else outputs


class ConcatCombiner:
    """[h; last input]: Huang et al. 2017, equation 2, as the last input holds all that the layers before it said."""

    @staticmethod
    def width(own: int, read: int) -> int:
        return own + read

    def __call__(self, outputs: np.ndarray, inputs: list[np.ndarray]) -> np.ndarray:
        # (B, T, H), n x (B, T, D) -> (B, T, H + D)
        return np.concatenate([outputs, inputs[-1]], axis=-1)


class HighwayCombiner:
    """g h + (1 - g) mean of the inputs, g = sigmoid(W x + b) of the last input x: Srivastava et al. 2015, equation 3.

    An input of another width is left out; where none is left, there is no gate.
    """

    def __init__(self, *, gate: dict[str, Any] | None = None) -> None:
        self.gate = Linear(**gate) if gate is not None else None

    @staticmethod
    def width(own: int, read: int) -> int:
        return own

    def __call__(self, outputs: np.ndarray, inputs: list[np.ndarray]) -> np.ndarray:
        # (B, T, H), n x (B, T, D) -> (B, T, H)
        carried = fitting(outputs, inputs)
        require(
            bool(carried) == (self.gate is not None), "the weights have a gate where the widths of layers have none"
        )
        if not self.gate:
            return outputs
        share = self.gate(inputs[-1])
        require(share.shape == outputs.shape, f"a gate of width {share.shape[-1]} for a layer of {outputs.shape[-1]}")
        carry = sum(carried) / len(carried)
        return carry + sigmoid(share) * (outputs - carry)


COMBINERS: dict[str, Any] = {
    "add": AddCombiner,
    "mean": MeanCombiner,
    "concat": ConcatCombiner,
    "highway": HighwayCombiner,
}
