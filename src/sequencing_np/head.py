"""From a decoder's state to logits, in NumPy: readouts and output heads. Twin of `sequencing.head`.

A readout joins the previous word, the decoder's output and the context, and says what input feeding returns to the
cells; a head turns the readout into logits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sequencing_np.layers import Linear, relu

Weights = dict[str, Any]


class PreviousWordReadout:
    """[previous word; output; context], as it is; the context is fed back."""

    def __init__(self, size: int) -> None:
        pass

    def fed_size(self, context: int) -> int:
        return context

    def __call__(self, word: np.ndarray, output: np.ndarray, context: np.ndarray) -> np.ndarray:
        # (R, T, E), (R, T, H), (R, T, C) -> (R, T, E + H + C)
        return np.concatenate([word, output, context], axis=-1)

    def fed(self, context: np.ndarray, readout: np.ndarray) -> np.ndarray:  # (R, C), (R, D) -> (R, C)
        return context


class ContextReadout:
    """tanh(W [output; context] + b); the context is fed back."""

    def __init__(self, size: int, *, projection: Weights) -> None:
        self.size, self.projection = size, Linear(**projection)

    def fed_size(self, context: int) -> int:
        return context

    def __call__(self, word: np.ndarray, output: np.ndarray, context: np.ndarray) -> np.ndarray:
        # (R, T, E), (R, T, H), (R, T, C) -> (R, T, D)
        return np.tanh(self.projection(np.concatenate([output, context], axis=-1)))

    def fed(self, context: np.ndarray, readout: np.ndarray) -> np.ndarray:  # (R, C), (R, D) -> (R, C)
        return context


class LuongReadout:
    """tanh(W [context; output]): Luong et al. 2015, equation 5; the readout itself is fed back (their section 3.3)."""

    def __init__(self, size: int, *, projection: Weights) -> None:
        self.size, self.projection = size, Linear(**projection, bias=None)

    def fed_size(self, context: int) -> int:
        return self.size

    def __call__(self, word: np.ndarray, output: np.ndarray, context: np.ndarray) -> np.ndarray:
        # (R, T, E), (R, T, H), (R, T, C) -> (R, T, D)
        return np.tanh(self.projection(np.concatenate([context, output], axis=-1)))

    def fed(self, context: np.ndarray, readout: np.ndarray) -> np.ndarray:  # (R, C), (R, D) -> (R, D)
        return readout


class LinearHead:
    """W x + b; with tied embeddings W is the target's table."""

    def __init__(self, *, output: Weights) -> None:
        self.output = Linear(**output)

    def __call__(self, x: np.ndarray) -> np.ndarray:  # (R, T, D) -> (R, T, V)
        return self.output(x)


class TanhHead:
    """A tanh layer, then W x + b."""

    def __init__(self, *, hidden: Weights, output: Weights) -> None:
        self.hidden, self.output = Linear(**hidden), Linear(**output)

    def __call__(self, x: np.ndarray) -> np.ndarray:  # (R, T, D) -> (R, T, V)
        return self.output(np.tanh(self.hidden(x)))


class ReluHead:
    """A rectified layer, a second one of half its width, then W x + b."""

    def __init__(self, *, first: Weights, second: Weights, output: Weights) -> None:
        self.first, self.second, self.output = Linear(**first), Linear(**second), Linear(**output)

    def __call__(self, x: np.ndarray) -> np.ndarray:  # (R, T, D) -> (R, T, V)
        return self.output(relu(self.second(relu(self.first(x)))))


READOUTS: dict[str, Any] = {"previous_word": PreviousWordReadout, "context": ContextReadout, "luong": LuongReadout}
HEADS: dict[str, Any] = {"linear": LinearHead, "tanh": TanhHead, "relu": ReluHead}
