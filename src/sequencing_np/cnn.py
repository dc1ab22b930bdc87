"""Convolutions with gated linear units, and the convolutional encoder and decoder, in NumPy. Twin of `sequencing.cnn`.

Gehring et al. 2017, "Convolutional Sequence to Sequence Learning". A convolution is one matrix product over windows of
neighbouring vectors; it does not know who made the vectors, nor the decoder who chose the tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from sequencing_np.arrays import Arrays, NumpyArrays
from sequencing_np.attention import ATTENTIONS, AttentionConfig, Past, look
from sequencing_np.config import choose, require
from sequencing_np.head import HEADS, Heard, Speaking, make_copy, make_head
from sequencing_np.layers import Linear, LookUpOp, PositionTable, key_map, masked_mean, sigmoid
from sequencing_np.state import Array, Memory, MemorySizes, State

Weights = dict[str, Any]

HALF = 0.5**0.5  # a sum of two times this has the variance of one of them: section 3.5


def require_settings(config: ConvolutionalEncoderConfig | ConvolutionalDecoderConfig) -> None:
    """What both configurations promise."""
    for name in ("embedding_size", "size", "layers", "kernel", "max_positions"):
        require(getattr(config, name) >= 1, f"{name} {getattr(config, name)}: must be 1 or more")
    for name in ("embedding_dropout", "dropout"):
        require(0 <= getattr(config, name) < 1, f"{name} {getattr(config, name)}: must be from 0 to below 1")


@dataclass(frozen=True)
class ConvolutionalEncoderConfig:
    """ConvolutionalEncoder."""

    type: str = "convolutional"
    embedding_size: int = 256
    embedding_dropout: float = 0.0
    size: int = 256  # width between the convolutions
    layers: int = 4
    kernel: int = 3  # words that a convolution sees, its own in the middle
    dropout: float = 0.1  # of what enters, and of each convolution's input
    max_positions: int = 1024  # rows of the table of positions; later positions share its last row
    attention_key_size: int = 0  # width of the projected keys; 0: the keys are the outputs

    def __post_init__(self) -> None:
        require_settings(self)
        advice = f"must be odd, as many words on the left as on the right; set encoder.kernel = {self.kernel + 1}"
        require(self.kernel % 2 == 1, f"kernel {self.kernel}: {advice}")
        require(self.attention_key_size >= 0, f"attention_key_size {self.attention_key_size}: must be 0 or more")


@dataclass(frozen=True)
class ConvolutionalDecoderConfig:
    """ConvolutionalDecoder."""

    type: str = "convolutional"
    embedding_size: int = 256
    embedding_dropout: float = 0.0
    size: int = 256  # width between the convolutions
    layers: int = 4
    kernel: int = 3  # words that a convolution sees, its own the last
    dropout: float = 0.1  # of what enters, of each convolution's input, and of what the head reads
    max_positions: int = 1024  # rows of the table of positions; later positions share its last row
    attention: AttentionConfig = field(default_factory=lambda: AttentionConfig("dot"))  # each layer has its own
    head: str = "linear"  # a row of HEADS
    head_size: int = 256  # width of the head's hidden layer, where it has one
    tie_embeddings: bool = False  # the head's last matrix is the target's table
    copy: bool = False  # what is said may also be a source token, repeated; both sides need one vocabulary

    def __post_init__(self) -> None:
        require_settings(self)
        choose(HEADS, self.head, "head")
        require(self.head_size >= 1, f"head_size {self.head_size}: must be 1 or more")


def sized(inputs: int, outputs: int, weights: Weights) -> Linear:
    """A linear map of these widths; another one might be stretched where it is added to something."""
    layer = Linear(**weights)
    require(layer.weight.shape == (inputs, outputs), f"a map of {layer.weight.shape}, not ({inputs}, {outputs})")
    return layer


def windows(x: np.ndarray, kernel: int) -> np.ndarray:  # (R, T + kernel - 1, D) -> (R, T, kernel D)
    """So many neighbouring vectors side by side, from every position on that has them."""
    steps = x.shape[1] - kernel + 1
    return np.concatenate([x[:, shift : shift + steps] for shift in range(kernel)], axis=2)


def window_map(inputs: int, outputs: int, kernel: int, *, weight: np.ndarray, bias: np.ndarray) -> Linear:
    # weight (O, D kernel): that of a convolution (out, in, kernel), its last two axes joined
    """W window + b."""
    fits = weight.shape == (outputs, inputs * kernel)
    require(fits, f"a convolution of shape {weight.shape}, configured is {inputs} to {outputs}, kernel {kernel}")
    slices = weight.reshape(outputs, inputs, kernel).swapaxes(1, 2)  # whole vectors of a window under each other
    return Linear(weight=slices.reshape(outputs, kernel * inputs), bias=bias)


class Convolution:
    """[A; B] = W window + b, then A * sigmoid(B): section 3.2. The caller puts what is beyond the ends around `x`."""

    def __init__(self, size: int, kernel: int, *, weight: np.ndarray, bias: np.ndarray) -> None:
        self.kernel, self.map = kernel, window_map(size, 2 * size, kernel, weight=weight, bias=bias)

    def __call__(self, x: np.ndarray) -> np.ndarray:  # (R, T + kernel - 1, D) -> (R, T, D)
        value, gate = np.split(self.map(windows(x, self.kernel)), 2, axis=2)
        value *= sigmoid(gate)
        return value


class ConvolutionalEncoder:
    """Keys are what the convolutions say, z, values are that plus what entered, (z + e) sqrt(1/2): section 3.3.

    A word's vector is its own plus that of its position: section 3.1. The summary is the mean of the values.
    """

    def __init__(
        self,
        config: ConvolutionalEncoderConfig,
        *,
        positions: Weights,
        inner: Weights,
        layers: list[Weights],
        outer: Weights,
        embedding: Weights | None = None,  # an encoder inside another one is given vectors
        key: Weights | None = None,
    ) -> None:
        require(len(layers) == config.layers, f"{len(layers)} layers of weights, {config.layers} configured")
        width, size = config.embedding_size, config.size
        self.sizes = MemorySizes(config.attention_key_size or width, width, width)
        self.margin = config.kernel // 2
        self.embedding: Any = LookUpOp(**embedding) if embedding else None
        self.positions = PositionTable(config.max_positions, width, **positions)
        self.inner, self.outer = sized(width, size, inner), sized(size, width, outer)
        self.layers = [Convolution(size, config.kernel, **weights) for weights in layers]
        self.key = key_map(config.attention_key_size, key)

    def __call__(self, source: np.ndarray, mask: np.ndarray) -> Memory:  # (B, S), (B, S) -> Memory
        return self.read(self.embedding(source), mask, self.embedding.words(source))

    def read(self, x: np.ndarray, mask: np.ndarray, tokens: np.ndarray) -> Memory:  # (B, S, E), (B, S), (B, S)
        """What the encoder says of vectors, whatever they stand for."""
        real = mask[..., None].astype(x.dtype)
        entering = x + self.positions(0, x.shape[1])
        h = self.inner(entering)
        edge = np.zeros((len(h), self.margin, h.shape[2]), dtype=h.dtype)
        for layer in self.layers:
            around = np.concatenate([edge, h * real, edge], axis=1)  # padding is zero, as what is beyond the ends
            h = (layer(around) + h) * HALF
        keys = self.outer(h) * real
        values = (keys + entering * real) * HALF
        return Memory(self.key(keys) if self.key else keys, values, mask, masked_mean(values, mask), tokens)


class Spoken(NamedTuple):
    """What a layer of the decoder says of T tokens."""

    x: Array  # (R, T, D)
    alignment: Array  # (R, T, S)
    cache: tuple[Array, Past]  # the last kernel - 1 inputs (R, kernel - 1, D); the attention's past


class DecoderLayer:
    """A causal convolution, its own look at the memory ("multi-step attention", equations 1 and 2), the residual sum.

    As in the authors' program, the layer looks before its residual sum is taken, and the sum of query and word is
    scaled as any other.
    """

    def __init__(
        self,
        config: ConvolutionalDecoderConfig,
        sizes: MemorySizes,
        *,
        convolution: Weights,
        query: Weights,
        attention: Weights | None = None,
        context: Weights | None = None,
    ) -> None:
        kind, size = ATTENTIONS[config.attention.type], config.size
        self.convolution = Convolution(size, config.kernel, **convolution)
        self.query = sized(size, config.embedding_size, query)
        self.attention = kind(config.attention, **(attention or {}))
        found = kind.context_size(config.attention, sizes)
        require((context is None) == (found == size), "the weights and the width of the attention's context contradict")
        self.context = sized(found, size, context) if context is not None else None

    def __call__(
        self, x: np.ndarray, entering: np.ndarray, memory: Memory, scale: np.ndarray, cache: tuple[np.ndarray, Past]
    ) -> Spoken:  # (R, T, D), (R, T, E), Memory, (R, 1, 1) -> (R, T, D), (R, T, S)
        before, past = cache
        read = np.concatenate([before, x], axis=1)
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

    def __init__(
        self,
        config: ConvolutionalDecoderConfig,
        sizes: MemorySizes,
        *,
        embedding: Weights,
        positions: Weights,
        inner: Weights,
        layers: list[Weights],
        outer: Weights,
        head: Weights | None = None,
        copy: Weights | None = None,
    ) -> None:
        require(len(layers) == config.layers, f"{len(layers)} layers of weights, {config.layers} configured")
        self.arrays: Arrays = NumpyArrays()
        self.config, width = config, config.embedding_size
        self.embedding = LookUpOp(**embedding)
        self.positions = PositionTable(config.max_positions, width, **positions)
        self.inner, self.outer = sized(width, config.size, inner), sized(config.size, width, outer)
        self.layers = [DecoderLayer(config, sizes, **weights) for weights in layers]
        self.head = make_head(config, head, embedding)
        self.copy = make_copy(config, copy)

    def start(self, memory: Memory) -> State:
        rows, dtype = len(memory.mask), memory.values.dtype
        before = np.zeros((rows, self.config.kernel - 1, self.config.size), dtype=dtype)
        caches = tuple((before, layer.attention.begin(memory)) for layer in self.layers)
        scale = np.sqrt(memory.mask.sum(axis=1).astype(dtype))[:, None, None]
        memories = tuple(layer.attention.prepare(memory) for layer in self.layers)
        return State(memories, (caches, scale, np.zeros((rows, 1), dtype=np.int64)))

    def listen(self, tokens: np.ndarray, state: State) -> tuple[Heard, State]:  # (R, T), State -> Heard, State
        caches, scale, count = state.cache
        entering = self.embedding(tokens) + self.positions(count, tokens.shape[1])
        x, alignments, after = self.inner(entering), [], []
        for layer, memory, cache in zip(self.layers, state.memory, caches, strict=True):
            x, alignment, cache = layer(x, entering, memory, scale, cache)
            alignments.append(alignment)
            after.append(cache)
        hidden, alignment = self.outer(x), np.mean(alignments, axis=0)
        return Heard(hidden, alignment, state.memory[-1]), State(
            state.memory, (tuple(after), scale, count + tokens.shape[1])
        )
