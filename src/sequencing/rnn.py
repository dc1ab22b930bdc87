"""Stacks of recurrent cells, and the recurrent encoders, in PyTorch. Twin of `sequencing_np.rnn`.

Past the end of a sentence an encoder's outputs are zero; the backward direction reads each sentence reversed, which
costs less on a CPU than packing. What a cell does at a step and how layers are joined, others know.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sequencing.cells import CELLS
from sequencing.layers import Dropout, Linear, LookUpOp, last, reverse
from sequencing.residuals import COMBINERS
from sequencing_np.cells import Ran
from sequencing_np.config import require
from sequencing_np.rnn import NO_TABLE, RNNEncoderConfig, StackConfig, memory_sizes, widths
from sequencing_np.state import Memory


def zero_states(x: Tensor, count: int, size: int) -> tuple[Tensor, ...]:  # -> count x (B, H)
    """The states of one cell before the first token."""
    return (x.new_zeros(len(x), size),) * count


def read_one_hot(config: RNNEncoderConfig, embedding: LookUpOp | None, cells: list[Any]) -> None:
    """With one-hot words a fixed identity, which is no weight, takes the place of the first cells' input matrices."""
    if not config.one_hot:
        return
    require(embedding is not None, NO_TABLE)
    places = torch.eye(config.embedding_size).chunk(len(cells))
    for cell, matrix in zip(cells, places, strict=True):
        del cell.weight_ih_l0
        cell.register_buffer("weight_ih_l0", None, persistent=False)
        cell.weight_ih_l0 = matrix.clone()  # PyTorch's cells notice an assignment, and nothing else


class LayerEnd(nn.Module):
    """What follows the cell of a layer: norm, projection, dropout, what joins it with the inputs so far."""

    def __init__(self, config: StackConfig, read: list[int], size: int) -> None:
        super().__init__()
        self.dense = config.residual_dense
        self.norm = nn.LayerNorm(size) if config.layer_norm else None
        self.projection = Linear(size, config.projection) if config.projection else None
        self.dropout = Dropout(config.output_dropout, config.variational)
        own, read = config.projection or size, read if self.dense else read[-1:]
        self.combiner = COMBINERS[config.residual_combiner](own, read) if config.residual else None

    def forward(self, inputs: list[Tensor], outputs: Tensor) -> Tensor:  # n x (B, T, D), (B, T, H) -> (B, T, H)
        if self.norm:
            outputs = self.norm(outputs)
        if self.projection:
            outputs = self.projection(outputs)
        outputs = self.dropout(outputs)
        return self.combiner(outputs, inputs if self.dense else inputs[-1:]) if self.combiner else outputs


class RecurrentLayer(nn.Module):
    """One direction, from a given state."""

    def __init__(self, config: StackConfig, read: list[int]) -> None:
        super().__init__()
        self.dropout = Dropout(config.input_dropout, config.variational)
        self.cell = CELLS[config.cell](read[-1], config.size)
        self.end = LayerEnd(config, read, config.size)

    def forward(self, inputs: list[Tensor], states: Any) -> Ran:  # n x (B, T, D), states -> (B, T, H), states
        """The last of the inputs is its own, the others are those of the layers before it."""
        outputs, states = self.cell.run(self.dropout(inputs[-1]), states)
        return Ran(self.end(inputs, outputs), states)


class RecurrentStack(nn.Module):
    """Layers one above the other, from given states: one for each, or one that goes from layer to layer."""

    def __init__(self, config: StackConfig, input_size: int) -> None:
        super().__init__()
        self.config = config
        *read, self.size = widths(config, input_size)
        self.layers = nn.ModuleList(RecurrentLayer(config, read[: count + 1]) for count in range(config.layers))

    def forward(self, x: Tensor, states: Any) -> Ran:  # (B, T, D), states -> (B, T, H), states
        if self.config.shared_state:
            return self.run_shared(x, *states)
        inputs, after = [x], []
        for layer, before in zip(self.layers, states, strict=True):
            outputs, state = layer(inputs, before)
            inputs.append(outputs)
            after.append(state)
        return Ran(inputs[-1], tuple(after))

    def run_shared(self, x: Tensor, state: Any) -> Ran:  # (B, T, D), states of a cell -> (B, T, H), ((B, H), …)
        """Token by token, as a layer waits for the state of the one below, and the first for that of the last."""
        said = []
        for t in range(x.shape[1]):
            inputs = [x[:, t : t + 1]]
            for layer in self.layers:
                outputs, state = layer(inputs, state)
                inputs.append(outputs)
            said.append(inputs[-1])
        return Ran(torch.cat(said, dim=1), (state,))


class BidirectionalLayer(nn.Module):
    """Both directions over the same input, their outputs side by side."""

    def __init__(self, config: StackConfig, read: list[int]) -> None:
        super().__init__()
        self.size = config.size
        self.dropout = Dropout(config.input_dropout, config.variational)
        self.left_to_right = CELLS[config.cell](read[-1], config.size)
        self.right_to_left = CELLS[config.cell](read[-1], config.size)
        self.end = LayerEnd(config, read, 2 * config.size)

    def forward(self, inputs: list[Tensor], mask: Tensor) -> Ran:  # n x (B, S, D), (B, S) -> (B, S, H), (B, 2 size)
        begin = zero_states(inputs[-1], self.left_to_right.count, self.size)
        read = self.dropout(inputs[-1])
        ahead = self.left_to_right.run(read, begin).outputs
        back = self.right_to_left.run(reverse(read, mask), begin).outputs
        summary = torch.cat([last(ahead, mask), last(back, mask)], dim=1)
        outputs = torch.cat([ahead, reverse(back, mask)], dim=2)
        return Ran(self.end(inputs, outputs), summary)


class StackRNNEncoder(nn.Module):
    """A left-to-right stack; the summary is its top layer's last output."""

    def __init__(self, config: RNNEncoderConfig, embedding: LookUpOp | None) -> None:
        super().__init__()
        self.sizes = memory_sizes(config, 1, CELLS[config.stack.cell].gates)
        self.embedding: Any = embedding  # None: an encoder inside another one is given vectors
        self.stack = RecurrentStack(config.stack, config.embedding_size)
        read_one_hot(config, embedding, [self.stack.layers[0].cell])
        self.key = Linear(self.sizes.values, config.attention_key_size) if config.attention_key_size else None

    def forward(self, source: Tensor, mask: Tensor) -> Memory:  # (B, S), (B, S) -> Memory
        return self.read(self.embedding(source), mask, self.embedding.words(source))

    def read(self, x: Tensor, mask: Tensor, tokens: Tensor) -> Memory:  # (B, S, E), (B, S), (B, S) -> Memory
        """What the encoder says of vectors, whatever they stand for."""
        config = self.stack.config
        begin = (zero_states(x, CELLS[config.cell].count, config.size),) * config.states
        outputs = self.stack(x, begin).outputs * mask[..., None]
        return Memory(self.key(outputs) if self.key else outputs, outputs, mask, last(outputs, mask), tokens)


class StackBidirectionalRNNEncoder(nn.Module):
    """Each layer reads both ways and feeds both directions of the next; the summary is the top layer's two ends."""

    def __init__(self, config: RNNEncoderConfig, embedding: LookUpOp | None) -> None:
        super().__init__()
        self.sizes = memory_sizes(config, 2, CELLS[config.stack.cell].gates)
        self.embedding: Any = embedding  # None: an encoder inside another one is given vectors
        *read, _ = widths(config.stack, config.embedding_size, 2)
        layers = (BidirectionalLayer(config.stack, read[: count + 1]) for count in range(config.stack.layers))
        self.layers: Any = nn.ModuleList(layers)
        read_one_hot(config, embedding, [self.layers[0].left_to_right, self.layers[0].right_to_left])
        self.key = Linear(self.sizes.values, config.attention_key_size) if config.attention_key_size else None

    def forward(self, source: Tensor, mask: Tensor) -> Memory:  # (B, S), (B, S) -> Memory
        return self.read(self.embedding(source), mask, self.embedding.words(source))

    def read(self, x: Tensor, mask: Tensor, tokens: Tensor) -> Memory:  # (B, S, E), (B, S), (B, S) -> Memory
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

    def read(self, x: Tensor, mask: Tensor, tokens: Tensor) -> Memory:  # (B, S, E), (B, S), (B, S) -> Memory
        inputs, outputs = [x], x
        begin = zero_states(x, CELLS[self.stack.config.cell].count, self.stack.config.size)
        for layer in self.stack.layers:
            outputs = layer(inputs, begin).outputs
            before = inputs if self.stack.config.residual_dense else []
            inputs = [reverse(each, mask) for each in (*before, outputs)]  # what the next layer reads
        values = (outputs if len(self.stack.layers) % 2 else inputs[-1]) * mask[..., None]
        return Memory(self.key(values) if self.key else values, values, mask, last(outputs, mask), tokens)
