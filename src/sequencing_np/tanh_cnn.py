"""The convolutional encoder of two stacks, in NumPy. Twin of `sequencing.tanh_cnn`.

Gehring et al. 2016, "A Convolutional Encoder Model for Neural Machine Translation", in the form of google/seq2seq. It
does not know who made the vectors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sequencing_np.cnn import window_map, windows
from sequencing_np.config import require
from sequencing_np.layers import LookUpOp, PositionTable, key_map, masked_mean
from sequencing_np.state import Memory, MemorySizes

Weights = dict[str, Any]


@dataclass(frozen=True)
class ConvolutionsConfig:
    """A stack of convolutions."""

    size: int = 256
    layers: int = 6
    kernel: int = 3  # words that a convolution sees, its own in the middle

    def __post_init__(self) -> None:
        for name in ("size", "layers", "kernel"):
            require(getattr(self, name) >= 1, f"{name} {getattr(self, name)}: must be 1 or more")
        advice = f"must be odd, as many words on the left as on the right; take {self.kernel + 1}"
        require(self.kernel % 2 == 1, f"kernel {self.kernel}: {advice}")


@dataclass(frozen=True)
class TanhConvolutionalEncoderConfig:
    """TanhConvolutionalEncoder."""

    type: str = "tanh_convolutional"
    embedding_size: int = 256
    embedding_dropout: float = 0.0
    keys: ConvolutionsConfig = field(default_factory=ConvolutionsConfig)  # the stack that says where to look
    values: ConvolutionsConfig = field(default_factory=lambda: ConvolutionsConfig(layers=3))  # what is found there
    dropout: float = 0.1  # of what enters, and of each convolution's input
    max_positions: int = 1024  # rows of the table of positions; later positions share its last row
    attention_key_size: int = 0  # width of the projected keys; 0: the keys are what their stack says

    def __post_init__(self) -> None:
        for name in ("embedding_size", "max_positions"):
            require(getattr(self, name) >= 1, f"{name} {getattr(self, name)}: must be 1 or more")
        for name in ("embedding_dropout", "dropout"):
            require(0 <= getattr(self, name) < 1, f"{name} {getattr(self, name)}: must be from 0 to below 1")
        require(self.attention_key_size >= 0, f"attention_key_size {self.attention_key_size}: must be 0 or more")


class TanhConvolutions:
    """h = tanh(W window + b + h), the first without the sum: section 3.2."""

    def __init__(self, config: ConvolutionsConfig, width: int, *, layers: list[Weights]) -> None:
        require(len(layers) == config.layers, f"{len(layers)} layers of weights, {config.layers} configured")
        widths = [width] + [config.size] * (config.layers - 1)
        sizes = [(inputs, config.size, config.kernel) for inputs in widths]
        self.layers = [window_map(*shape, **weights) for shape, weights in zip(sizes, layers, strict=True)]
        self.kernel, self.margin = config.kernel, config.kernel // 2

    def __call__(self, x: np.ndarray, real: np.ndarray) -> np.ndarray:  # (B, S, E), (B, S, 1) -> (B, S, D)
        for number, layer in enumerate(self.layers):
            edge = np.zeros((len(x), self.margin, x.shape[2]), dtype=x.dtype)
            said = layer(windows(np.concatenate([edge, x, edge], axis=1), self.kernel))
            x = np.tanh(said + x if number else said) * real  # padding is zero, as what is beyond the ends
        return x


class TanhConvolutionalEncoder:
    """One stack says the keys, another one the values: section 3.2, where they are CNN-a and CNN-c.

    A word's vector is its own plus that of its position. The summary is the mean of the values.
    """

    def __init__(
        self,
        config: TanhConvolutionalEncoderConfig,
        *,
        positions: Weights,
        keys: Weights,
        values: Weights,
        embedding: Weights | None = None,  # an encoder inside another one is given vectors
        key: Weights | None = None,
    ) -> None:
        width, value_size = config.embedding_size, config.values.size
        self.sizes = MemorySizes(config.attention_key_size or config.keys.size, value_size, value_size)
        self.embedding: Any = LookUpOp(**embedding) if embedding else None
        self.positions = PositionTable(config.max_positions, width, **positions)
        self.keys = TanhConvolutions(config.keys, width, **keys)
        self.values = TanhConvolutions(config.values, width, **values)
        self.key = key_map(config.attention_key_size, key)

    def __call__(self, source: np.ndarray, mask: np.ndarray) -> Memory:  # (B, S), (B, S) -> Memory
        return self.read(self.embedding(source), mask, self.embedding.words(source))

    def read(self, x: np.ndarray, mask: np.ndarray, tokens: np.ndarray) -> Memory:  # (B, S, E), (B, S), (B, S)
        """What the encoder says of vectors, whatever they stand for."""
        real = mask[..., None].astype(x.dtype)
        entering = (x + self.positions(0, x.shape[1])) * real
        keys, values = self.keys(entering, real), self.values(entering, real)
        return Memory(self.key(keys) if self.key else keys, values, mask, masked_mean(values, mask), tokens)
