"""The pooling encoder, in PyTorch: no more than averages of neighbouring word vectors. Twin of `sequencing_np.pooling`.

It has no weights but its tables (and, where asked for, a map of its keys). Beyond its window it knows no context.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import avg_pool1d

from sequencing.layers import Linear, LookUpOp, PositionTable, masked_mean
from sequencing_np.pooling import PoolingEncoderConfig
from sequencing_np.state import Memory, MemorySizes


def window_sums(x: Tensor, window: int) -> Tensor:  # (B, S, D) -> (B, S, D)
    """At each position the sum over the window around it; beyond the ends there is nothing."""
    return avg_pool1d(x.transpose(1, 2), window, 1, window // 2).transpose(1, 2) * window


class PoolingEncoder(nn.Module):
    """Keys are averages over windows, values the vectors themselves: Gehring et al. 2016, section 3.1.

    A word's vector is its own plus that of its position. Only real tokens count in an average. The summary is the
    mean of the values.
    """

    def __init__(self, config: PoolingEncoderConfig, embedding: LookUpOp | None) -> None:
        super().__init__()
        size = config.embedding_size
        self.sizes = MemorySizes(config.attention_key_size or size, size, size)
        self.window = config.window
        self.embedding: Any = embedding  # None: an encoder inside another one is given vectors
        self.positions = PositionTable(config.max_positions, size) if config.learned_positions else None
        self.key = Linear(size, config.attention_key_size) if config.attention_key_size else None

    def forward(self, source: Tensor, mask: Tensor) -> Memory:  # (B, S), (B, S) -> Memory
        return self.read(self.embedding(source), mask, self.embedding.words(source))

    def read(self, x: Tensor, mask: Tensor, tokens: Tensor) -> Memory:  # (B, S, E), (B, S), (B, S) -> Memory
        """What the encoder says of vectors, whatever they stand for."""
        real = mask[..., None].to(x.dtype)
        values = (x + self.positions(0, x.shape[1]) if self.positions else x) * real
        count = window_sums(real, self.window).clamp(min=1)
        keys = window_sums(values, self.window) / count * real
        return Memory(self.key(keys) if self.key else keys, values, mask, masked_mean(values, mask), tokens)
