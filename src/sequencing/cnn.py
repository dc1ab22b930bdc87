"""Convolutions with gated linear units, and the convolutional encoder and decoder, in PyTorch.

Twin of `sequencing_np.cnn`: Gehring et al. 2017, "Convolutional Sequence to Sequence Learning". A convolution is one
matrix product over windows of neighbouring vectors, which in training costs what PyTorch's own costs and in search half
of it.

Initialisation: section 3.5. Matrices are normal with deviation sqrt(p / n), where n is how many numbers a unit reads
and p the share of them that dropout keeps; sqrt(4 p / n) before a gated linear unit. Biases are zero. Weight
normalisation and the scaling of the encoder's gradient, which the paper uses too, are left out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import glu, linear, pad

from sequencing.arrays import TorchArrays
from sequencing.attention import ATTENTIONS, look
from sequencing.head import Copy, Speaking, make_head
from sequencing.layers import Dropout, Linear, LookUpOp, PositionTable, masked_mean
from sequencing_np.attention import Past
from sequencing_np.cnn import HALF, ConvolutionalDecoderConfig, ConvolutionalEncoderConfig, Spoken
from sequencing_np.head import Heard
from sequencing_np.state import Memory, MemorySizes, State


def normal_linear(inputs: int, outputs: int, kept: float = 1.0) -> nn.Linear:
    """nn.Linear as this architecture begins: with a zero bias; dropout keeps a share of its inputs."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, 0, (kept / inputs) ** 0.5)
    nn.init.zeros_(layer.bias)
    return layer


class Convolution(nn.Module):
    """[A; B] = W window + b, then A * sigmoid(B): section 3.2. The caller puts what is beyond the ends around `x`."""

    def __init__(self, size: int, kernel: int, kept: float) -> None:
        super().__init__()
        self.kernel = kernel
        deviation = (4 * kept / (size * kernel)) ** 0.5
        self.weight = nn.Parameter(torch.randn(2 * size, size * kernel) * deviation)  # (out, in, kernel), flattened
        self.bias = nn.Parameter(torch.zeros(2 * size))

    def forward(self, x: Tensor) -> Tensor:  # (R, T + kernel - 1, D) -> (R, T, D)
        windows = x.unfold(1, self.kernel, 1).flatten(2)  # (R, T, D kernel)
        return glu(linear(windows, self.weight, self.bias), dim=-1)


class ConvolutionalEncoder(nn.Module):
    """Keys are what the convolutions say, z, values are that plus what entered, (z + e) sqrt(1/2): section 3.3.

    A word's vector is its own plus that of its position: section 3.1. The summary is the mean of the values.
    """

    def __init__(self, config: ConvolutionalEncoderConfig, embedding: LookUpOp | None) -> None:
        super().__init__()
        width, size, kept = config.embedding_size, config.size, 1 - config.dropout
        self.sizes = MemorySizes(config.attention_key_size or width, width, width)
        self.margin = config.kernel // 2
        self.embedding: Any = embedding  # None: an encoder inside another one is given vectors
        self.positions = PositionTable(config.max_positions, width)
        self.dropout = Dropout(config.dropout)
        self.inner, self.outer = normal_linear(width, size, kept), normal_linear(size, width)
        self.layers = nn.ModuleList(Convolution(size, config.kernel, kept) for _ in range(config.layers))
        self.key = Linear(width, config.attention_key_size) if config.attention_key_size else None

    def forward(self, source: Tensor, mask: Tensor) -> Memory:  # (B, S), (B, S) -> Memory
        return self.read(self.embedding(source), mask, self.embedding.words(source))

    def read(self, x: Tensor, mask: Tensor, tokens: Tensor) -> Memory:  # (B, S, E), (B, S), (B, S) -> Memory
        """What the encoder says of vectors, whatever they stand for."""
        real = mask[..., None].to(x.dtype)
        entering = self.dropout(x + self.positions(0, x.shape[1]))
        h = self.inner(entering)
        for layer in self.layers:
            # padding is zero, as what is beyond the ends
            around = pad(self.dropout(h) * real, (0, 0, self.margin, self.margin))
            h = (layer(around) + h) * HALF
        keys = self.outer(h) * real
        values = (keys + entering * real) * HALF
        return Memory(self.key(keys) if self.key else keys, values, mask, masked_mean(values, mask), tokens)


class DecoderLayer(nn.Module):
    """A causal convolution, its own look at the memory ("multi-step attention", equations 1 and 2), the residual sum.

    As in the authors' program, the layer looks before its residual sum is taken, and the sum of query and word is
    scaled as any other.
    """

    def __init__(self, config: ConvolutionalDecoderConfig, sizes: MemorySizes) -> None:
        super().__init__()
        size, width = config.size, config.embedding_size
        self.dropout = Dropout(config.dropout)
        self.convolution = Convolution(size, config.kernel, 1 - config.dropout)
        self.query = normal_linear(size, width)
        self.attention = ATTENTIONS[config.attention.type](config.attention, width, sizes)
        found = self.attention.context_size
        self.context = normal_linear(found, size) if found != size else None

    def forward(
        self, x: Tensor, entering: Tensor, memory: Memory, scale: Tensor, cache: tuple[Tensor, Past]
    ) -> Spoken:  # (R, T, D), (R, T, E), Memory, (R, 1, 1) -> (R, T, D), (R, T, S)
        before, past = cache
        read = torch.cat([before, self.dropout(x)], dim=1)
        h = self.convolution(read)
        query = (self.query(h) + entering) * HALF
        context, alignment, past = look(self.attention, query, memory, past)
        context = context * scale
        h = (h + (self.context(context) if self.context else context)) * HALF
        return Spoken((h + x) * HALF, alignment, (read[:, x.shape[1] :], past))


class ConvolutionalDecoder(Speaking):
    """Causal convolutions over the words so far, each layer with an attention; the alignment is the layers' mean.

    It carries the last kernel - 1 inputs of each layer, zeros at the start, and how many tokens a row has read. What
    an attention finds is scaled by the square root of the number of source tokens, against the averaging's loss of
    variance: section 3.5.
    """

    def __init__(self, config: ConvolutionalDecoderConfig, sizes: MemorySizes, embedding: LookUpOp) -> None:
        super().__init__()
        self.config, self.embedding = config, embedding
        width, size = config.embedding_size, config.size
        self.positions = PositionTable(config.max_positions, width)
        self.dropout = Dropout(config.dropout)
        self.inner, self.outer = normal_linear(width, size, 1 - config.dropout), normal_linear(size, width)
        self.layers: Any = nn.ModuleList(DecoderLayer(config, sizes) for _ in range(config.layers))
        self.head = make_head(config, width, embedding)
        self.copy = Copy(width) if config.copy else None

    @property
    def arrays(self) -> TorchArrays:
        """The array functions for the device on which the weights are now."""
        return TorchArrays(self.embedding.weight.device)

    def start(self, memory: Memory) -> State:
        rows = len(memory.mask)
        before = memory.values.new_zeros(rows, self.config.kernel - 1, self.config.size)
        caches = tuple((before, layer.attention.begin(memory)) for layer in self.layers)
        scale = memory.mask.sum(dim=1).to(memory.values.dtype).sqrt()[:, None, None]
        memories = tuple(layer.attention.prepare(memory) for layer in self.layers)
        return State(memories, (caches, scale, memory.mask.new_zeros(rows, 1, dtype=torch.int64)))

    def listen(self, tokens: Tensor, state: State) -> tuple[Heard, State]:  # (R, T), State -> Heard, State
        caches, scale, count = state.cache
        entering = self.dropout(self.embedding(tokens) + self.positions(count, tokens.shape[1]))
        x, alignments, after = self.inner(entering), [], []
        for layer, memory, cache in zip(self.layers, state.memory, caches, strict=True):
            x, alignment, cache = layer(x, entering, memory, scale, cache)
            alignments.append(alignment)
            after.append(cache)
        heard = Heard(self.dropout(self.outer(x)), torch.stack(alignments).mean(dim=0), state.memory[-1])
        return heard, State(state.memory, (tuple(after), scale, count + tokens.shape[1]))
