"""Recurrent cells in PyTorch. Twin of `sequencing_np.cells`.

A cell runs over T tokens from a state and returns the state after them: with PyTorch's fused kernels, with gradients
written out, or by a scan where no gate waits for the state. Layers, directions and sentences' ends are not known here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear, logsigmoid

from sequencing.gathering import hold, product
from sequencing.layers import wide
from sequencing.recurrence import GRURecurrence, LSTMRecurrence, written_out
from sequencing.scan import linear_recurrence
from sequencing_np.cells import Ran


def initialise(cell: Any) -> None:
    """Glorot-uniform input matrices, orthogonal recurrent ones (gate by gate), norms of one, zero biases."""
    with torch.no_grad():
        for name, parameter in cell.named_parameters():
            for weight in parameter.chunk(cell.gates):
                if name == "weight_ih_l0":
                    nn.init.xavier_uniform_(weight)
                elif name == "weight_hh_l0":
                    nn.init.orthogonal_(weight)
                elif name.startswith("norm"):
                    weight.fill_(1)
                else:
                    weight.zero_()


def input_products(cell: Any, x: Tensor) -> Tensor:  # (..., D) -> (..., G)
    """What the input brings to each gate."""
    return product(x, cell.weight_ih_l0, cell.bias_ih_l0)


def own_products(cell: Any, given: Tensor) -> tuple[Any, ...]:
    """What a written-out recurrence multiplies the state with: matrix and bias, or what stands for them."""
    held = hold(given, cell.weight_hh_l0, cell.bias_hh_l0)
    return (held.mark, None, held) if held else (cell.weight_hh_l0, cell.bias_hh_l0)


class RNNCell(nn.RNN):
    """h = tanh(W x + U h + b): Elman 1990."""

    count = 1  # arrays in its state
    gates = 1  # products of its input, each as wide as its state

    def __init__(self, input_size: int, size: int) -> None:
        super().__init__(input_size, size, batch_first=True)
        initialise(self)

    def run(self, x: Tensor, states: tuple[Tensor, ...]) -> Ran:  # (B, T, D), ((B, H),) -> (B, T, H), ((B, H),)
        outputs, h = self(x, states[0][None])
        return Ran(outputs, (h[0],))


class GRUCell(nn.GRU):
    """Gated recurrent unit in the form whose reset gate acts after the product: Cho et al. 2014, as in cuDNN."""

    count, gates = 1, 3

    def __init__(self, input_size: int, size: int) -> None:
        super().__init__(input_size, size, batch_first=True)
        initialise(self)

    def run(self, x: Tensor, states: tuple[Tensor, ...]) -> Ran:  # (B, T, D), ((B, H),) -> (B, T, H), ((B, H),)
        if written_out(x):
            given = input_products(self, x.transpose(0, 1))
            after = GRURecurrence.apply(given, states[0], *own_products(self, given))
            return Ran(after.transpose(0, 1), (after[-1],))
        outputs, h = self(x, states[0][None])
        return Ran(outputs, (h[0],))


class ResetFirstGRUCell(nn.Module):
    """Gated recurrent unit whose reset gate acts before the product: Cho et al. 2014, equations 5 to 8 (with biases).

    That of the original framework and of TensorFlow. GRUCell is another function: neither's weights serve the other.
    No kernel of PyTorch's computes it: a new model learns faster with GRUCell.
    """

    count, gates = 1, 3

    def __init__(self, input_size: int, size: int) -> None:
        super().__init__()
        self.weight_ih_l0 = nn.Parameter(torch.empty(self.gates * size, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(self.gates * size, size))
        self.bias_ih_l0 = nn.Parameter(torch.empty(self.gates * size))
        initialise(self)

    def run(self, x: Tensor, states: tuple[Tensor, ...]) -> Ran:  # (B, T, D), ((B, H),) -> (B, T, H), ((B, H),)
        (h,) = states
        own, last = self.weight_hh_l0.split([2 * h.shape[1], h.shape[1]])
        outputs = []
        for given in input_products(self, x).unbind(1):
            gates, new = given.split([len(own), len(last)], dim=1)
            reset, update = torch.sigmoid(gates + linear(h, own)).chunk(2, dim=1)
            new = torch.tanh(new + linear(reset * h, last))
            h = new + update * (h - new)
            outputs.append(h)
        return Ran(torch.stack(outputs, dim=1), (h,))


class LSTMCell(nn.LSTM):
    """Long short-term memory with forget gate: Gers et al. 2000.

    The forget gate's bias starts at 1 (Jozefowicz et al. 2015).
    """

    count, gates = 2, 4

    def __init__(self, input_size: int, size: int) -> None:
        super().__init__(input_size, size, batch_first=True)
        initialise(self)
        bias: Any = self.bias_ih_l0
        bias.data[size : 2 * size] = 1.0

    def run(self, x: Tensor, states: tuple[Tensor, ...]) -> Ran:  # (B, T, D), 2 x (B, H) -> (B, T, H), 2 x (B, H)
        if written_out(x):
            given = input_products(self, x.transpose(0, 1))
            after, cells = LSTMRecurrence.apply(given, *states, *own_products(self, given))
            return Ran(after.transpose(0, 1), (after[-1], cells[-1]))
        outputs, (h, c) = self(x, (states[0][None], states[1][None]))
        return Ran(outputs, (h[0], c[0]))


class LayerNormLSTMCell(nn.Module):
    """LSTM with norms within: Ba et al. 2016, equations 20 to 22. Each product has a norm over all its gates.

    Their biases and that of the gates are one, `bias_ih_l0`. What goes on is the cell before its norm. The forget
    gate's bias starts at 1, as that of LSTMCell. No kernel of PyTorch's computes it: LSTMCell has one.
    """

    count, gates = 2, 4

    def __init__(self, input_size: int, size: int) -> None:
        super().__init__()
        width = self.gates * size
        self.weight_ih_l0 = nn.Parameter(torch.empty(width, input_size))
        self.weight_hh_l0 = nn.Parameter(torch.empty(width, size))
        self.bias_ih_l0, self.norm_ih_l0, self.norm_hh_l0 = (nn.Parameter(torch.empty(width)) for _ in range(3))
        self.norm_c_l0, self.shift_c_l0 = (nn.Parameter(torch.empty(size)) for _ in range(2))
        initialise(self)
        self.bias_ih_l0.data[size : 2 * size] = 1.0

    def run(self, x: Tensor, states: tuple[Tensor, ...]) -> Ran:  # (B, T, D), 2 x (B, H) -> (B, T, H), 2 x (B, H)
        h, c = states
        outputs = []
        given = wide(linear(x, self.weight_ih_l0))
        for own in layer_norm(given, given.shape[2:], self.norm_ih_l0, self.bias_ih_l0).unbind(1):
            hidden = wide(linear(h, self.weight_hh_l0))
            gates = own + layer_norm(hidden, hidden.shape[1:], self.norm_hh_l0)
            enter, forget, new, leave = gates.chunk(self.gates, dim=1)
            c = torch.sigmoid(forget) * c + torch.sigmoid(enter) * torch.tanh(new)
            h = torch.sigmoid(leave) * torch.tanh(layer_norm(c, c.shape[1:], self.norm_c_l0, self.shift_c_l0))
            outputs.append(h)
        return Ran(torch.stack(outputs, dim=1), (h, c))


def scanned(keep: Tensor, new: Tensor, first: Tensor) -> Tensor:  # (B, T, H), (B, T, H), (B, H) -> (B, T, H)
    """h = keep h + (1 - keep) new at every step, from the first state, in its type."""
    keep, new = keep.to(first.dtype), new.to(first.dtype)
    return linear_recurrence(keep, torch.addcmul(new, keep, new, value=-1), first)


class LightCell(nn.Module):
    """A cell whose gates do not wait for its state: one product makes them all.

    A model that only answers may have it in fewer bits, as `short`.
    """

    count, gates = 1, 2
    biases = 2  # how many of the gates have one

    def __init__(self, input_size: int, size: int) -> None:
        super().__init__()
        self.weight_ih_l0 = nn.Parameter(torch.empty(self.gates * size, input_size))
        self.bias_ih_l0 = nn.Parameter(torch.empty(self.biases * size))
        self.short: Any = None
        initialise(self)

    @property
    def bias(self) -> Tensor:  # (G,)
        """Of all gates."""
        return self.bias_ih_l0

    def given(self, x: Tensor) -> tuple[Tensor, ...]:  # (B, T, D) -> gates x (B, T, H)
        """What the input brings to each gate."""
        return (self.short or self.products)(x).chunk(self.gates, dim=2)

    def products(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, G)
        return input_products(self, x)


class SSRUCell(LightCell):
    """Simpler simple recurrent unit: Kim et al. 2019, section 2.1.

    f = sigmoid(W_f x + b), c = f c + (1 - f) W x, and what it says is relu(c).
    """

    biases = 1

    @property
    def bias(self) -> Tensor:  # (G,)
        return torch.cat([self.bias_ih_l0, torch.zeros_like(self.bias_ih_l0)])

    def products(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, G)
        return linear(x, self.weight_ih_l0, self.bias)  # made anew at each step, so nothing can be held of it

    def run(self, x: Tensor, states: tuple[Tensor, ...]) -> Ran:  # (B, T, D), ((B, H),) -> (B, T, H), ((B, H),)
        forget, new = self.given(x)
        cells = scanned(torch.sigmoid(forget), new, states[0])
        return Ran(torch.relu(cells), (cells[:, -1],))


class MinGRUCell(LightCell):
    """h = (1 - z) h + z W x with z = sigmoid(W_z x): Feng et al. 2024, section 3.1 (with biases)."""

    def run(self, x: Tensor, states: tuple[Tensor, ...]) -> Ran:  # (B, T, D), ((B, H),) -> (B, T, H), ((B, H),)
        update, new = self.given(x)
        outputs = scanned(torch.sigmoid(-update), new, states[0])
        return Ran(outputs, (outputs[:, -1],))


class MinLSTMCell(LightCell):
    """h = f' h + i' W x, where f' and i' are the forget and input gates over their sum: Feng et al. 2024, section 3.2.

    f' is computed as sigmoid(log f - log i), which is the same and divides nothing by nothing.
    """

    gates, biases = 3, 3

    def run(self, x: Tensor, states: tuple[Tensor, ...]) -> Ran:  # (B, T, D), ((B, H),) -> (B, T, H), ((B, H),)
        forget, enter, new = self.given(x)
        outputs = scanned(torch.sigmoid(logsigmoid(forget) - logsigmoid(enter)), new, states[0])
        return Ran(outputs, (outputs[:, -1],))


CELLS: dict[str, Any] = {
    "rnn": RNNCell,
    "gru": GRUCell,
    "lstm": LSTMCell,
    "ssru": SSRUCell,
    "min_gru": MinGRUCell,
    "min_lstm": MinLSTMCell,
    "gru_reset_first": ResetFirstGRUCell,
    "lstm_layer_norm": LayerNormLSTMCell,
}
