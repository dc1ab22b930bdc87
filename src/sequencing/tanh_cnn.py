"""The convolutional encoder of two stacks, in PyTorch. Twin of `sequencing_np.tanh_cnn`.

Gehring et al. 2016, "A Convolutional Encoder Model for Neural Machine Translation", in the form of google/seq2seq. It
does not know who made the vectors. Convolutions begin as matrices do that read whole windows.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn, tanh
from torch.nn.functional import pad

from sequencing.layers import Dropout, Linear, LookUpOp, PositionTable, masked_mean
from sequencing_np.state import Memory, MemorySizes
from sequencing_np.tanh_cnn import ConvolutionsConfig, TanhConvolutionalEncoderConfig


class TanhConvolutions(nn.Module):
    """h = tanh(W window + b + h), the first without the sum: section 3.2."""

    def __init__(self, config: ConvolutionsConfig, width: int, dropout: float) -> None:
        super().__init__()
        widths = [width] + [config.size] * (config.layers - 1)
        self.layers = nn.ModuleList(Linear(inputs * config.kernel, config.size) for inputs in widths)
        self.dropout, self.kernel, self.margin = Dropout(dropout), config.kernel, config.kernel // 2

    def forward(self, x: Tensor, real: Tensor) -> Tensor:  # (B, S, E), (B, S, 1) -> (B, S, D)
        for number, layer in enumerate(self.layers):
            around = pad(self.dropout(x) if number else x, (0, 0, self.margin, self.margin))
            said = layer(around.unfold(1, self.kernel, 1).flatten(2))  # (out, in, kernel), its last two axes joined
            x = tanh(said + x if number else said) * real  # padding is zero, as what is beyond the ends
        return x


class TanhConvolutionalEncoder(nn.Module):
    """One stack says the keys, another one the values: section 3.2, where they are CNN-a and CNN-c.

    A word's vector is its own plus that of its position. The summary is the mean of the values.
    """

    def __init__(self, config: TanhConvolutionalEncoderConfig, embedding: LookUpOp | None) -> None:
        super().__init__()
        width, value_size = config.embedding_size, config.values.size
        self.sizes = MemorySizes(config.attention_key_size or config.keys.size, value_size, value_size)
        self.embedding: Any = embedding  # None: an encoder inside another one is given vectors
        self.positions = PositionTable(config.max_positions, width)
        self.dropout = Dropout(config.dropout)
        self.keys = TanhConvolutions(config.keys, width, config.dropout)
        self.values = TanhConvolutions(config.values, width, config.dropout)
        self.key = Linear(config.keys.size, config.attention_key_size) if config.attention_key_size else None

    def forward(self, source: Tensor, mask: Tensor) -> Memory:  # (B, S), (B, S) -> Memory
        return self.read(self.embedding(source), mask, self.embedding.words(source))

    def read(self, x: Tensor, mask: Tensor, tokens: Tensor) -> Memory:  # (B, S, E), (B, S), (B, S) -> Memory
        """What the encoder says of vectors, whatever they stand for."""
        real = mask[..., None].to(x.dtype)
        entering = self.dropout(x + self.positions(0, x.shape[1])) * real
        keys, values = self.keys(entering, real), self.values(entering, real)
        return Memory(self.key(keys) if self.key else keys, values, mask, masked_mean(values, mask), tokens)
