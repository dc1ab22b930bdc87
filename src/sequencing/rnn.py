"""Recurrent cells, stacks of them, and the recurrent encoders, in PyTorch. Twin of `sequencing_np.rnn`.

A cell runs over T tokens from a state with PyTorch's fused kernels. Past the end of a sentence an encoder's outputs
are zero; the backward direction reads each sentence reversed, which costs less on a CPU than packing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from sequencing.layers import Dropout, Linear, LookUpOp, last, reverse
from sequencing.recurrence import GRURecurrence, LSTMRecurrence, written_out
from sequencing_np.rnn import Ran, RNNEncoderConfig, StackConfig, memory_sizes
from sequencing_np.state import Memory


def initialise(cell: Any, gates: int) -> None:
    """Glorot-uniform input matrices, orthogonal recurrent ones (gate by gate), zero biases."""
    with torch.no_grad():
        for weight in cell.weight_ih_l0.chunk(gates):
            nn.init.xavier_uniform_(weight)
        for weight in cell.weight_hh_l0.chunk(gates):
            nn.init.orthogonal_(weight)
        cell.bias_ih_l0.zero_()
        cell.bias_hh_l0.zero_()


def input_weights(cell: Any) -> tuple[Tensor, Tensor]:
    """Matrix and bias of a cell's input."""
    return cell.weight_ih_l0, cell.bias_ih_l0


class RNNCell(nn.RNN):
    """h = tanh(W x + U h + b): Elman 1990."""

    count = 1  # arrays in its state

    def __init__(self, input_size: int, size: int) -> None:
        super().__init__(input_size, size, batch_first=True)
        initialise(self, 1)

    def run(self, x: Tensor, states: tuple[Tensor, ...]) -> Ran:  # (B, T, D), ((B, H),) -> (B, T, H), ((B, H),)
        outputs, h = self(x, states[0][None])
        return Ran(outputs, (h[0],))


class GRUCell(nn.GRU):
    """Gated recurrent unit in the form whose reset gate acts after the product: Cho et al. 2014, as in cuDNN."""

    count = 1

    def __init__(self, input_size: int, size: int) -> None:
        super().__init__(input_size, size, batch_first=True)
        initialise(self, 3)

    def run(self, x: Tensor, states: tuple[Tensor, ...]) -> Ran:  # (B, T, D), ((B, H),) -> (B, T, H), ((B, H),)
        if written_out(x):
            given = linear(x.transpose(0, 1), *input_weights(self))
            after = GRURecurrence.apply(given, states[0], self.weight_hh_l0, self.bias_hh_l0)
            return Ran(after.transpose(0, 1), (after[-1],))
        outputs, h = self(x, states[0][None])
        return Ran(outputs, (h[0],))


class LSTMCell(nn.LSTM):
    """Long short-term memory with forget gate: Gers et al. 2000.

    The forget gate's bias starts at 1 (Jozefowicz et al. 2015).
    """

    count = 2

    def __init__(self, input_size: int, size: int) -> None:
        super().__init__(input_size, size, batch_first=True)
        initialise(self, 4)
        input_weights(self)[1].data[size : 2 * size] = 1.0

    def run(self, x: Tensor, states: tuple[Tensor, ...]) -> Ran:  # (B, T, D), 2 x (B, H) -> (B, T, H), 2 x (B, H)
        if written_out(x):
            given = linear(x.transpose(0, 1), *input_weights(self))
            after, cells = LSTMRecurrence.apply(given, *states, self.weight_hh_l0, self.bias_hh_l0)
            return Ran(after.transpose(0, 1), (after[-1], cells[-1]))
        outputs, (h, c) = self(x, (states[0][None], states[1][None]))
        return Ran(outputs, (h[0], c[0]))


CELLS: dict[str, Any] = {"rnn": RNNCell, "gru": GRUCell, "lstm": LSTMCell}


def zero_states(x: Tensor, count: int, size: int) -> tuple[Tensor, ...]:  # -> count x (B, H)
    """The states of one cell before the first token."""
    return (x.new_zeros(len(x), size),) * count


class LayerEnd(nn.Module):
    """What follows the cell of a layer: norm, projection, dropout, the sum with the layer's input."""

    def __init__(self, config: StackConfig, size: int) -> None:
        super().__init__()
        self.residual = config.residual
        self.norm = nn.LayerNorm(size) if config.layer_norm else None
        self.projection = Linear(size, config.projection) if config.projection else None
        self.dropout = Dropout(config.output_dropout, config.variational)
        self.size = config.projection or size

    def forward(self, x: Tensor, outputs: Tensor) -> Tensor:  # (B, T, D), (B, T, H) -> (B, T, H)
        if self.norm:
            outputs = self.norm(outputs)
        if self.projection:
            outputs = self.projection(outputs)
        outputs = self.dropout(outputs)
        return outputs + x if self.residual and x.shape == outputs.shape else outputs


class RecurrentLayer(nn.Module):
    """One direction, from a given state."""

    def __init__(self, config: StackConfig, input_size: int) -> None:
        super().__init__()
        self.dropout = Dropout(config.input_dropout, config.variational)
        self.cell = CELLS[config.cell](input_size, config.size)
        self.end = LayerEnd(config, config.size)

    def forward(self, x: Tensor, states: Any) -> Ran:  # (B, T, D), states -> (B, T, H), states
        outputs, states = self.cell.run(self.dropout(x), states)
        return Ran(self.end(x, outputs), states)


class RecurrentStack(nn.Module):
    """Layers one above the other, from given states."""

    def __init__(self, config: StackConfig, input_size: int) -> None:
        super().__init__()
        self.config = config
        self.size = config.projection or config.size
        inputs = [input_size] + [self.size] * (config.layers - 1)
        self.layers = nn.ModuleList(RecurrentLayer(config, size) for size in inputs)

    def forward(self, x: Tensor, states: Any) -> Ran:  # (B, T, D), states -> (B, T, H), states
        after = []
        for layer, before in zip(self.layers, states, strict=True):
            x, state = layer(x, before)
            after.append(state)
        return Ran(x, tuple(after))


class BidirectionalLayer(nn.Module):
    """Both directions over the same input, their outputs side by side."""

    def __init__(self, config: StackConfig, input_size: int) -> None:
        super().__init__()
        self.size = config.size
        self.dropout = Dropout(config.input_dropout, config.variational)
        self.left_to_right = CELLS[config.cell](input_size, config.size)
        self.right_to_left = CELLS[config.cell](input_size, config.size)
        self.end = LayerEnd(config, 2 * config.size)

    def forward(self, x: Tensor, mask: Tensor) -> Ran:  # (B, S, D), (B, S) -> (B, S, H), (B, 2 size)
        begin = zero_states(x, self.left_to_right.count, self.size)
        read = self.dropout(x)
        ahead = self.left_to_right.run(read, begin).outputs
        back = self.right_to_left.run(reverse(read, mask), begin).outputs
        summary = torch.cat([last(ahead, mask), last(back, mask)], dim=1)
        outputs = torch.cat([ahead, reverse(back, mask)], dim=2)
        return Ran(self.end(x, outputs), summary)


class StackRNNEncoder(nn.Module):
    """A left-to-right stack; the summary is its top layer's last output."""

    def __init__(self, config: RNNEncoderConfig, embedding: LookUpOp | None) -> None:
        super().__init__()
        self.sizes = memory_sizes(config, 1)
        self.embedding: Any = embedding  # None: an encoder inside another one is given vectors
        self.stack = RecurrentStack(config.stack, config.embedding_size)
        self.key = Linear(self.sizes.values, config.attention_key_size) if config.attention_key_size else None

    def forward(self, source: Tensor, mask: Tensor) -> Memory:  # (B, S), (B, S) -> Memory
        return self.read(self.embedding(source), mask, source)

    def read(self, x: Tensor, mask: Tensor, tokens: Tensor) -> Memory:  # (B, S, E), (B, S), (B, S) -> Memory
        """What the encoder says of vectors, whatever they stand for."""
        config = self.stack.config
        begin = (zero_states(x, CELLS[config.cell].count, config.size),) * config.layers
        outputs = self.stack(x, begin).outputs * mask[..., None]
        return Memory(self.key(outputs) if self.key else outputs, outputs, mask, last(outputs, mask), tokens)


class StackBidirectionalRNNEncoder(nn.Module):
    """Each layer reads both ways and feeds both directions of the next; the summary is the top layer's two ends."""

    def __init__(self, config: RNNEncoderConfig, embedding: LookUpOp | None) -> None:
        super().__init__()
        self.sizes = memory_sizes(config, 2)
        self.embedding: Any = embedding  # None: an encoder inside another one is given vectors
        width = config.stack.projection or 2 * config.stack.size
        inputs = [config.embedding_size] + [width] * (config.stack.layers - 1)
        self.layers = nn.ModuleList(BidirectionalLayer(config.stack, size) for size in inputs)
        self.key = Linear(self.sizes.values, config.attention_key_size) if config.attention_key_size else None

    def forward(self, source: Tensor, mask: Tensor) -> Memory:  # (B, S), (B, S) -> Memory
        return self.read(self.embedding(source), mask, source)

    def read(self, x: Tensor, mask: Tensor, tokens: Tensor) -> Memory:  # (B, S, E), (B, S), (B, S) -> Memory
        """What the encoder says of vectors, whatever they stand for."""
        outputs, summary = x, None
        for layer in self.layers:
            outputs, summary = layer(outputs, mask)
        outputs = outputs * mask[..., None]
        return Memory(self.key(outputs) if self.key else outputs, outputs, mask, summary, tokens)
