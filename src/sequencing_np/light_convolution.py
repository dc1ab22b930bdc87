"""Light and dynamic convolutions in self-attention's place, in NumPy. Twin of `sequencing.light_convolution`.

Wu et al. 2019, "Pay Less Attention with Lightweight and Dynamic Convolutions". A word is made a mean of those in a
window around it, or of the last ones; all channels of a head share its weights. It does not know who made the words.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sequencing_np.blocks import BlocksConfig, Scope
from sequencing_np.config import require
from sequencing_np.layers import Linear, sigmoid, softmax

Weights = dict[str, Any]


class FixedWeights:
    """The same for every word, learnt: section 3."""

    def __init__(self, config: BlocksConfig, *, scores: np.ndarray) -> None:  # (H, K)
        fits = scores.shape == (config.heads, config.kernel)
        require(fits, f"mixer.weights.scores of shape {scores.shape}, not ({config.heads}, {config.kernel})")
        self.scores = scores

    def __call__(self, x: np.ndarray) -> np.ndarray:  # (R, T, D) -> (1, H, T, K)
        return np.repeat(softmax(self.scores)[None, :, None], x.shape[1], axis=2)


class DynamicWeights:
    """A map of the word itself: section 4."""

    def __init__(self, config: BlocksConfig, *, scores: Weights) -> None:
        self.scores, self.heads = Linear(**scores, bias=None), config.heads
        fits = self.scores.weight.shape[1] == config.heads * config.kernel
        require(fits, f"mixer.weights.scores has not {config.heads} times {config.kernel} units")

    def __call__(self, x: np.ndarray) -> np.ndarray:  # (R, T, D) -> (R, H, T, K)
        scores = self.scores(x).reshape(*x.shape[:2], self.heads, -1)
        return softmax(scores).swapaxes(1, 2)


class LightConvolution:
    """A gated linear unit, the mean of a window for each head, a linear map: section 3.

    What is beyond the ends is zero. In a decoder the window ends with the word; its cache are the last words before.
    """

    def __init__(
        self, config: BlocksConfig, width: int, *, weights_type: Any, input: Weights, output: Weights, weights: Weights
    ) -> None:
        self.heads, self.kernel, self.width = config.heads, config.kernel, width
        self.input, self.output = Linear(**input), Linear(**output)
        require(self.input.weight.shape == (width, 2 * width), f"mixer.input does not fit a width of {width}")
        require(self.output.weight.shape == (width, width), f"mixer.output does not fit a width of {width}")
        self.weights = weights_type(config, **weights)

    def begin(self, x: np.ndarray) -> tuple[np.ndarray]:  # (R, ...) -> (R, K - 1, D)
        return (np.zeros((len(x), self.kernel - 1, self.width), dtype=x.dtype),)

    def __call__(self, x: np.ndarray, scope: Scope, cache: Any) -> tuple[np.ndarray, Any]:  # (R, T, D) -> (R, T, D)
        value, gate = np.split(self.input(x), 2, axis=2)
        x = value * sigmoid(gate)
        left = self.kernel - 1
        if scope.mask is not None:
            x, left = x * scope.mask[..., None], self.kernel // 2
        around = np.concatenate([cache[0][:, :left], x, cache[0][:, left:]], axis=1)
        parts = around.reshape(*around.shape[:2], self.heads, -1).swapaxes(1, 2)  # (R, H, T + K - 1, D/H)
        mixed = (banded(self.weights(x)) @ parts).swapaxes(1, 2).reshape(x.shape)
        return self.output(mixed), (around[:, x.shape[1] :],)


def banded(weights: np.ndarray) -> np.ndarray:  # (R, H, T, K) -> (R, H, T, T + K - 1)
    """Each row moved on by one more place than the one above, zeros around it: windows as a matrix."""
    rows, heads, steps, kernel = weights.shape
    long = np.concatenate([weights, np.zeros((rows, heads, steps, steps), dtype=weights.dtype)], axis=3)
    return long.reshape(rows, heads, -1)[..., : steps * (steps + kernel - 1)].reshape(rows, heads, steps, -1)
