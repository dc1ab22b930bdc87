"""Stacks of recurrent cells, and the recurrent encoders, in NumPy. Twin of `sequencing.rnn`.

Past the end of a sentence an encoder's outputs are zero, and its summary is what stood at the last real token. What a
cell does at a step and how layers are joined, others know.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sequencing_np.cells import CELLS, Ran
from sequencing_np.config import choose, require
from sequencing_np.layers import LayerNorm, Linear, LookUpOp, key_map, last, reverse
from sequencing_np.residuals import COMBINERS
from sequencing_np.state import Memory, MemorySizes

Weights = dict[str, Any]
NO_TABLE = "one_hot: an encoder inside another one has no table of its own; set one_hot = false there"


@dataclass(frozen=True)
class StackConfig:
    """A stack of recurrent layers. The defaults are the original framework's semantics."""

    cell: str = "gru"  # a row of CELLS
    size: int = 256  # units of a layer, of each direction
    layers: int = 1
    shared_state: bool = False  # one state goes through all layers at a step, and on to the next step
    residual: bool = False  # a layer's input joins its output
    residual_combiner: str = "add"  # a row of COMBINERS: how
    residual_dense: bool = False  # and the inputs of all layers before it, too
    layer_norm: bool = False  # on each layer's output
    projection: int = 0  # width that each layer's output is mapped to; 0: none
    input_dropout: float = 0.0  # of each layer's input
    output_dropout: float = 0.0  # of each layer's output
    variational: bool = False  # one dropout mask a sentence for all steps (Gal and Ghahramani 2016)

    def __post_init__(self) -> None:
        choose(CELLS, self.cell, "cell")
        choose(COMBINERS, self.residual_combiner, "residual_combiner")
        require(self.size >= 1 and self.layers >= 1, f"size {self.size}, layers {self.layers}: must be 1 or more")
        require(self.projection >= 0, f"projection {self.projection}: must be 0 (none) or more")
        for name in ("input_dropout", "output_dropout"):
            value = getattr(self, name)
            require(0 <= value < 1, f"{name} {value}: must be from 0 to below 1")

    @property
    def states(self) -> int:
        """How many layers have a state of their own."""
        return 1 if self.shared_state else self.layers


@dataclass(frozen=True)
class RNNEncoderConfig:
    """StackRNNEncoder, StackBidirectionalRNNEncoder and AlternatingRNNEncoder.

    `one_hot`: the first layer reads words, not vectors. A one-hot word times a cell's input matrix is a column of it,
    so the table holds these columns (all gates, of each direction) and the first cells have no matrix of their own.
    """

    type: str = "bidirectional_rnn"
    embedding_size: int = 256
    embedding_dropout: float = 0.0
    stack: StackConfig = field(default_factory=StackConfig)
    one_hot: bool = False  # embedding_size is then directions x gates x stack.size
    attention_key_size: int = 0  # width of the projected keys; 0: the keys are the outputs

    def __post_init__(self) -> None:
        require(self.embedding_size >= 1, f"embedding_size {self.embedding_size}: must be 1 or more")
        require(self.attention_key_size >= 0, f"attention_key_size {self.attention_key_size}: must be 0 or more")
        require(0 <= self.embedding_dropout < 1, f"embedding_dropout {self.embedding_dropout}: from 0 to below 1")
        require(
            not self.stack.shared_state or self.type not in ("bidirectional_rnn", "alternating_rnn"),
            f"stack.shared_state: a layer of {self.type} has read all of a sentence before the next one begins; "
            "set encoder.stack.shared_state = false",
        )


def widths(config: StackConfig, read: int, directions: int = 1) -> list[int]:
    """The width that each layer of a stack reads, and that of what the stack says."""
    own, found = config.projection or directions * config.size, [read]
    for _ in range(config.layers):
        found.append(COMBINERS[config.residual_combiner].width(own, found[-1]) if config.residual else own)
    return found


class LayerEnd:
    """What follows the cell of a layer: norm, projection, what joins it with the inputs so far."""

    def __init__(
        self,
        config: StackConfig,
        *,
        norm: Weights | None = None,
        projection: Weights | None = None,
        combiner: Weights | None = None,
    ) -> None:
        require((norm is not None) == config.layer_norm, "the weights and stack.layer_norm contradict each other")
        require((projection is not None) == bool(config.projection), "the weights and stack.projection contradict")
        require(combiner is None or config.residual, "the weights and stack.residual contradict each other")
        self.dense = config.residual_dense
        self.norm = LayerNorm(**norm) if norm is not None else None
        self.projection = Linear(**projection) if projection is not None else None
        self.combiner = COMBINERS[config.residual_combiner](**(combiner or {})) if config.residual else None

    def __call__(self, inputs: list[np.ndarray], outputs: np.ndarray) -> np.ndarray:
        # n x (B, T, D), (B, T, H) -> (B, T, H)
        if self.norm:
            outputs = self.norm(outputs)
        if self.projection:
            outputs = self.projection(outputs)
        return self.combiner(outputs, inputs if self.dense else inputs[-1:]) if self.combiner else outputs


def memory_sizes(config: RNNEncoderConfig, directions: int, gates: int) -> MemorySizes:
    """The widths of what a recurrent encoder says; its cells have so many gates."""
    stack = config.stack
    width = directions * gates * stack.size
    require(
        not config.one_hot or config.embedding_size == width,
        f"one_hot: the table holds what {width} gates read, embedding_size is {config.embedding_size}; "
        f"set encoder.embedding_size = {width}",
    )
    values = widths(stack, config.embedding_size, directions)[-1]
    summary = values if directions == 1 else directions * stack.size
    return MemorySizes(config.attention_key_size or values, values, summary)


def with_inputs(config: RNNEncoderConfig, layers: list[Weights], *cells: str) -> list[Weights]:
    """The weights of all layers; with one-hot words an identity stands where the first cells had a matrix."""
    if not config.one_hot:
        return layers
    first, rows = dict(layers[0]), config.embedding_size // len(cells)
    for place, name in enumerate(cells):
        require("weight_ih_l0" not in first[name], "one_hot, yet the first layer has an input matrix")
        matrix = np.eye(rows, config.embedding_size, place * rows, dtype=first[name]["bias_ih_l0"].dtype)
        first[name] = {**first[name], "weight_ih_l0": matrix}
    return [first, *layers[1:]]


class RecurrentLayer:
    """One direction, from a given state."""

    def __init__(self, config: StackConfig, *, cell: Weights, end: Weights | None = None) -> None:
        self.cell, self.end = CELLS[config.cell](**cell), LayerEnd(config, **(end or {}))

    def __call__(self, inputs: list[np.ndarray], states: Any) -> Ran:  # n x (B, T, D), states -> (B, T, H), states
        """The last of the inputs is its own, the others are those of the layers before it."""
        outputs, states = self.cell.run(inputs[-1], states)
        return Ran(self.end(inputs, outputs), states)


class RecurrentStack:
    """Layers one above the other, from given states: one for each, or one that goes from layer to layer."""

    def __init__(self, config: StackConfig, *, layers: list[Weights]) -> None:
        require(len(layers) == config.layers, f"{len(layers)} layers of weights, {config.layers} configured")
        self.config = config
        self.layers = [RecurrentLayer(config, **weights) for weights in layers]

    def __call__(self, x: np.ndarray, states: Any) -> Ran:  # (B, T, D), states -> (B, T, H), states
        if self.config.shared_state:
            return self.run_shared(x, *states)
        inputs, after = [x], []
        for layer, before in zip(self.layers, states, strict=True):
            outputs, state = layer(inputs, before)
            inputs.append(outputs)
            after.append(state)
        return Ran(inputs[-1], tuple(after))

    def run_shared(self, x: np.ndarray, state: Any) -> Ran:  # (B, T, D), states of a cell -> (B, T, H), ((B, H), …)
        """Token by token, as a layer waits for the state of the one below, and the first for that of the last."""
        said = []
        for t in range(x.shape[1]):
            inputs = [x[:, t : t + 1]]
            for layer in self.layers:
                outputs, state = layer(inputs, state)
                inputs.append(outputs)
            said.append(inputs[-1])
        return Ran(np.concatenate(said, axis=1), (state,))


class BidirectionalLayer:
    """Both directions over the same input, their outputs side by side."""

    def __init__(
        self, config: StackConfig, *, left_to_right: Weights, right_to_left: Weights, end: Weights | None = None
    ) -> None:
        cell = CELLS[config.cell]
        self.left_to_right, self.right_to_left = cell(**left_to_right), cell(**right_to_left)
        self.size, self.end = config.size, LayerEnd(config, **(end or {}))

    def __call__(self, inputs: list[np.ndarray], mask: np.ndarray) -> Ran:
        # n x (B, S, D), (B, S) -> (B, S, H), (B, 2 size)
        x = inputs[-1]
        begin = (np.zeros((len(x), self.size), dtype=x.dtype),) * self.left_to_right.count
        ahead = self.left_to_right.run(x, begin).outputs
        back = self.right_to_left.run(reverse(x, mask), begin).outputs
        summary = np.concatenate([last(ahead, mask), last(back, mask)], axis=1)
        outputs = np.concatenate([ahead, reverse(back, mask)], axis=2)
        return Ran(self.end(inputs, outputs), summary)


class StackRNNEncoder:
    """A left-to-right stack; the summary is its top layer's last output."""

    def __init__(
        self,
        config: RNNEncoderConfig,
        *,
        embedding: Weights | None = None,  # an encoder inside another one is given vectors
        stack: Weights,
        key: Weights | None = None,
    ) -> None:
        self.embedding: Any = LookUpOp(**embedding) if embedding else None
        require(embedding is not None or not config.one_hot, NO_TABLE)
        self.stack = RecurrentStack(config.stack, **{**stack, "layers": with_inputs(config, stack["layers"], "cell")})
        self.sizes = memory_sizes(config, 1, CELLS[config.stack.cell].gates)
        self.key = key_map(config.attention_key_size, key)

    def __call__(self, source: np.ndarray, mask: np.ndarray) -> Memory:  # (B, S), (B, S) -> Memory
        return self.read(self.embedding(source), mask, self.embedding.words(source))

    def read(self, x: np.ndarray, mask: np.ndarray, tokens: np.ndarray) -> Memory:  # (B, S, E), (B, S), (B, S)
        """What the encoder says of vectors, whatever they stand for."""
        config = self.stack.config
        begin = ((np.zeros((len(x), config.size), dtype=x.dtype),) * CELLS[config.cell].count,) * config.states
        outputs = self.stack(x, begin).outputs * mask[..., None]
        return Memory(self.key(outputs) if self.key else outputs, outputs, mask, last(outputs, mask), tokens)


class StackBidirectionalRNNEncoder:
    """Each layer reads both ways and feeds both directions of the next; the summary is the top layer's two ends."""

    def __init__(
        self,
        config: RNNEncoderConfig,
        *,
        embedding: Weights | None = None,  # an encoder inside another one is given vectors
        layers: list[Weights],
        key: Weights | None = None,
    ) -> None:
        count = config.stack.layers
        require(len(layers) == count, f"{len(layers)} layers of weights, {count} configured")
        self.embedding: Any = LookUpOp(**embedding) if embedding else None
        require(embedding is not None or not config.one_hot, NO_TABLE)
        layers = with_inputs(config, layers, "left_to_right", "right_to_left")
        self.layers = [BidirectionalLayer(config.stack, **weights) for weights in layers]
        self.sizes = memory_sizes(config, 2, CELLS[config.stack.cell].gates)
        self.key = key_map(config.attention_key_size, key)

    def __call__(self, source: np.ndarray, mask: np.ndarray) -> Memory:  # (B, S), (B, S) -> Memory
        return self.read(self.embedding(source), mask, self.embedding.words(source))

    def read(self, x: np.ndarray, mask: np.ndarray, tokens: np.ndarray) -> Memory:  # (B, S, E), (B, S), (B, S)
        """What the encoder says of vectors, whatever they stand for."""
        inputs, summary = [x], None
        for layer in self.layers:
            outputs, summary = layer(inputs, mask)
            inputs.append(outputs)
        outputs = inputs[-1] * mask[..., None]
        return Memory(self.key(outputs) if self.key else outputs, outputs, mask, summary, tokens)


class AlternatingRNNEncoder(StackRNNEncoder):
    """The first layer reads from left to right, the second what it said from right to left, and so on.

    Zhou et al. 2016, of whose two columns this is one. The summary is the last that the top layer says.
    """

    def read(self, x: np.ndarray, mask: np.ndarray, tokens: np.ndarray) -> Memory:  # (B, S, E), (B, S), (B, S)
        inputs, outputs = [x], x
        begin = (np.zeros((len(x), self.stack.config.size), dtype=x.dtype),) * CELLS[self.stack.config.cell].count
        for layer in self.stack.layers:
            outputs = layer(inputs, begin).outputs
            before = inputs if self.stack.config.residual_dense else []
            inputs = [reverse(each, mask) for each in (*before, outputs)]  # what the next layer reads
        values = (outputs if len(self.stack.layers) % 2 else inputs[-1]) * mask[..., None]
        return Memory(self.key(values) if self.key else values, values, mask, last(outputs, mask), tokens)
