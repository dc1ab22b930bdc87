"""The pooling encoder, in NumPy: no more than averages of neighbouring word vectors. Twin of `sequencing.pooling`.

It has no weights but its tables (and, where asked for, a map of its keys). Beyond its window it knows no context.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sequencing_np.config import require
from sequencing_np.layers import LookUpOp, PositionTable, key_map, masked_mean
from sequencing_np.state import Memory, MemorySizes

Weights = dict[str, Any]


@dataclass(frozen=True)
class PoolingEncoderConfig:
    """PoolingEncoder."""

    type: str = "pooling"
    embedding_size: int = 256
    embedding_dropout: float = 0.0
    window: int = 5  # words averaged for a key, its own in the middle; 1: the word alone
    learned_positions: bool = True  # a learned vector of its position is added to each word's
    max_positions: int = 1024  # rows of that table; later positions share its last row
    attention_key_size: int = 0  # width of the projected keys; 0: the keys are the averages

    def __post_init__(self) -> None:
        for name in ("embedding_size", "window", "max_positions"):
            require(getattr(self, name) >= 1, f"{name} {getattr(self, name)}: must be 1 or more")
        advice = f"must be odd, as many words on the left as on the right; set encoder.window = {self.window + 1}"
        require(self.window % 2 == 1, f"window {self.window}: {advice}")
        require(self.attention_key_size >= 0, f"attention_key_size {self.attention_key_size}: must be 0 or more")
        require(0 <= self.embedding_dropout < 1, f"embedding_dropout {self.embedding_dropout}: from 0 to below 1")


def window_sums(x: np.ndarray, window: int) -> np.ndarray:  # (B, S, D) -> (B, S, D)
    """At each position the sum over the window around it; beyond the ends there is nothing."""
    edge = np.zeros((len(x), window // 2, x.shape[2]), dtype=x.dtype)
    padded = np.concatenate([edge, x, edge], axis=1)
    sums = x.copy()
    for shift in range(window):
        if shift != window // 2:
            sums += padded[:, shift : shift + x.shape[1]]
    return sums


class PoolingEncoder:
    """Keys are averages over windows, values the vectors themselves: Gehring et al. 2016, section 3.1.

    A word's vector is its own plus that of its position. Only real tokens count in an average. The summary is the
    mean of the values.
    """

    def __init__(
        self,
        config: PoolingEncoderConfig,
        *,
        embedding: Weights | None = None,  # an encoder inside another one is given vectors
        positions: Weights | None = None,
        key: Weights | None = None,
    ) -> None:
        require((positions is not None) == config.learned_positions, "the weights and learned_positions contradict")
        size = config.embedding_size
        self.sizes = MemorySizes(config.attention_key_size or size, size, size)
        self.window = config.window
        self.embedding: Any = LookUpOp(**embedding) if embedding else None
        self.positions = PositionTable(config.max_positions, size, **positions) if positions is not None else None
        self.key = key_map(config.attention_key_size, key)

    def __call__(self, source: np.ndarray, mask: np.ndarray) -> Memory:  # (B, S), (B, S) -> Memory
        return self.read(self.embedding(source), mask, self.embedding.words(source))

    def read(self, x: np.ndarray, mask: np.ndarray, tokens: np.ndarray) -> Memory:  # (B, S, E), (B, S), (B, S)
        """What the encoder says of vectors, whatever they stand for."""
        real = mask[..., None].astype(x.dtype)
        values = (x + self.positions(0, x.shape[1]) if self.positions else x) * real
        count = np.maximum(window_sums(real, self.window), 1)
        keys = window_sums(values, self.window) / count * real
        return Memory(self.key(keys) if self.key else keys, values, mask, masked_mean(values, mask), tokens)
