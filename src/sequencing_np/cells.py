"""Recurrent cells in NumPy. Twin of `sequencing.cells`.

A cell runs over T tokens from a state and returns the state after them. Layers, directions and sentences' ends are
not known here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sequencing_np.config import require
from sequencing_np.layers import LayerNorm, Linear, relu, sigmoid
from sequencing_np.state import Array


class Ran(NamedTuple):
    """What a cell or a stack says of T tokens, and its state after them."""

    outputs: Array  # (B, T, H)
    states: Any  # of a cell: a tuple of (B, H); of a stack: one such tuple a layer


def require_cell(input: np.ndarray, hidden: np.ndarray, *biases: np.ndarray) -> None:
    """The weights of a cell have one row for each unit of each gate, all of them."""
    shapes = [input.shape[:1], hidden.shape[:1], *(bias.shape for bias in biases)]
    require(len(set(shapes)) == 1, f"the weights of a cell disagree about its units: {shapes}")


def require_gates(weight: np.ndarray, gates: int) -> None:
    """A matrix holds all gates, of equal width."""
    require(len(weight) % gates == 0, f"{len(weight)} rows of weights for the {gates} gates of a cell")


class RNNCell:
    """h = tanh(W x + U h + b): Elman 1990."""

    count = 1  # arrays in its state
    gates = 1  # products of its input, each as wide as its state

    def __init__(
        self, *, weight_ih_l0: np.ndarray, weight_hh_l0: np.ndarray, bias_ih_l0: np.ndarray, bias_hh_l0: np.ndarray
    ) -> None:
        require_cell(weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0)
        self.input = Linear(weight=weight_ih_l0, bias=bias_ih_l0 + bias_hh_l0)
        self.hidden = Linear(weight=weight_hh_l0, bias=None)

    def run(self, x: np.ndarray, states: tuple[np.ndarray]) -> Ran:  # (B, T, D), ((B, H),) -> (B, T, H), ((B, H),)
        outputs = self.input(x)
        (h,) = states
        for t in range(x.shape[1]):
            h = np.tanh(outputs[:, t] + self.hidden(h))
            outputs[:, t] = h
        return Ran(outputs, (h,))


class GRUCell:
    """Gated recurrent unit in the form whose reset gate acts after the product: Cho et al. 2014, as in cuDNN."""

    count, gates = 1, 3

    def __init__(
        self, *, weight_ih_l0: np.ndarray, weight_hh_l0: np.ndarray, bias_ih_l0: np.ndarray, bias_hh_l0: np.ndarray
    ) -> None:
        require_cell(weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0)
        self.input = Linear(weight=weight_ih_l0, bias=bias_ih_l0)
        self.hidden = Linear(weight=weight_hh_l0, bias=bias_hh_l0)
        self.size = weight_hh_l0.shape[1]

    def run(self, x: np.ndarray, states: tuple[np.ndarray]) -> Ran:  # (B, T, D), ((B, H),) -> (B, T, H), ((B, H),)
        (h,) = states
        size = self.size
        given = self.input(x)
        outputs = np.empty((len(x), x.shape[1], size), dtype=given.dtype)
        for t in range(x.shape[1]):
            own = self.hidden(h)
            gates = sigmoid(given[:, t, : 2 * size] + own[:, : 2 * size])
            new = own[:, 2 * size :]
            new *= gates[:, :size]
            new += given[:, t, 2 * size :]
            np.tanh(new, out=new)
            h = new + gates[:, size:] * (h - new)
            outputs[:, t] = h
        return Ran(outputs, (h,))


class ResetFirstGRUCell:
    """Gated recurrent unit whose reset gate acts before the product: Cho et al. 2014, equations 5 to 8 (with biases).

    That of the original framework and of TensorFlow. GRUCell is another function: neither's weights serve the other.
    """

    count, gates = 1, 3

    def __init__(self, *, weight_ih_l0: np.ndarray, weight_hh_l0: np.ndarray, bias_ih_l0: np.ndarray) -> None:
        require_cell(weight_ih_l0, weight_hh_l0, bias_ih_l0)
        require_gates(weight_ih_l0, self.gates)
        self.size = len(weight_ih_l0) // self.gates
        self.input = Linear(weight=weight_ih_l0, bias=bias_ih_l0)
        self.hidden = Linear(weight=weight_hh_l0[: 2 * self.size], bias=None)
        self.reset = Linear(weight=weight_hh_l0[2 * self.size :], bias=None)

    def run(self, x: np.ndarray, states: tuple[np.ndarray]) -> Ran:  # (B, T, D), ((B, H),) -> (B, T, H), ((B, H),)
        (h,) = states
        size = self.size
        given = self.input(x)
        outputs = np.empty((len(x), x.shape[1], size), dtype=given.dtype)
        for t in range(x.shape[1]):
            gates = sigmoid(given[:, t, : 2 * size] + self.hidden(h))
            new = np.tanh(given[:, t, 2 * size :] + self.reset(gates[:, :size] * h))
            h = new + gates[:, size:] * (h - new)
            outputs[:, t] = h
        return Ran(outputs, (h,))


class LSTMCell:
    """Long short-term memory with forget gate: Gers et al. 2000."""

    count, gates = 2, 4

    def __init__(
        self, *, weight_ih_l0: np.ndarray, weight_hh_l0: np.ndarray, bias_ih_l0: np.ndarray, bias_hh_l0: np.ndarray
    ) -> None:
        require_cell(weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0)
        self.input = Linear(weight=weight_ih_l0, bias=bias_ih_l0 + bias_hh_l0)
        self.hidden = Linear(weight=weight_hh_l0, bias=None)
        self.size = weight_hh_l0.shape[1]

    def run(self, x: np.ndarray, states: tuple[np.ndarray, np.ndarray]) -> Ran:  # (B, T, D), 2 x (B, H) -> (B, T, H)
        h, c = states
        size = self.size
        given = self.input(x)
        outputs = np.empty((len(x), x.shape[1], size), dtype=given.dtype)
        for t in range(x.shape[1]):
            gates = self.hidden(h)
            gates += given[:, t]
            enter, forget, new, leave = (gates[:, k * size : (k + 1) * size] for k in range(4))
            c = sigmoid(forget) * c + sigmoid(enter) * np.tanh(new)
            h = sigmoid(leave) * np.tanh(c)
            outputs[:, t] = h
        return Ran(outputs, (h, c))


class LayerNormLSTMCell:
    """LSTM with norms within: Ba et al. 2016, equations 20 to 22. Each product has a norm over all its gates.

    Their biases and that of the gates are one, `bias_ih_l0`. What goes on is the cell before its norm.
    """

    count, gates = 2, 4

    def __init__(
        self,
        *,
        weight_ih_l0: np.ndarray,
        weight_hh_l0: np.ndarray,
        bias_ih_l0: np.ndarray,
        norm_ih_l0: np.ndarray,
        norm_hh_l0: np.ndarray,
        norm_c_l0: np.ndarray,
        shift_c_l0: np.ndarray,
    ) -> None:
        require_cell(weight_ih_l0, weight_hh_l0, bias_ih_l0, norm_ih_l0, norm_hh_l0)
        require_gates(weight_ih_l0, self.gates)
        self.size = len(weight_ih_l0) // self.gates
        require(norm_c_l0.shape == (self.size,), f"a norm of shape {norm_c_l0.shape} for {self.size} units of a cell")
        self.input, self.hidden = Linear(weight=weight_ih_l0, bias=None), Linear(weight=weight_hh_l0, bias=None)
        self.input_norm = LayerNorm(weight=norm_ih_l0, bias=bias_ih_l0)
        self.hidden_norm = LayerNorm(weight=norm_hh_l0, bias=np.zeros_like(norm_hh_l0))
        self.cell_norm = LayerNorm(weight=norm_c_l0, bias=shift_c_l0)

    def run(self, x: np.ndarray, states: tuple[np.ndarray, np.ndarray]) -> Ran:  # (B, T, D), 2 x (B, H) -> (B, T, H)
        h, c = states
        given = self.input_norm(self.input(x))
        outputs = np.empty((len(x), x.shape[1], self.size), dtype=given.dtype)
        for t in range(x.shape[1]):
            gates = given[:, t] + self.hidden_norm(self.hidden(h))
            enter, forget, new, leave = np.split(gates, self.gates, axis=1)
            c = sigmoid(forget) * c + sigmoid(enter) * np.tanh(new)
            h = sigmoid(leave) * np.tanh(self.cell_norm(c))
            outputs[:, t] = h
        return Ran(outputs, (h, c))


def linear_recurrence(decay: np.ndarray, given: np.ndarray, first: np.ndarray) -> np.ndarray:
    # (B, T, H), (B, T, H), (B, H) -> (B, T, H)
    """The states h_t = decay_t h_{t-1} + given_t, from h_0 = first."""
    states = np.empty_like(given)
    for t in range(given.shape[1]):
        first = decay[:, t] * first
        first += given[:, t]
        states[:, t] = first
    return states


class LightCell:
    """A cell whose gates do not wait for its state: one product makes them all."""

    count, gates = 1, 2

    def __init__(self, *, weight_ih_l0: np.ndarray, bias_ih_l0: np.ndarray) -> None:
        require_gates(weight_ih_l0, self.gates)
        self.input = Linear(weight=weight_ih_l0, bias=bias_ih_l0)

    def given(self, x: np.ndarray) -> list[np.ndarray]:  # (B, T, D) -> gates x (B, T, H)
        """What the input brings to each gate."""
        return np.split(self.input(x), self.gates, axis=2)


class SSRUCell(LightCell):
    """Simpler simple recurrent unit: Kim et al. 2019, section 2.1.

    f = sigmoid(W_f x + b), c = f c + (1 - f) W x, and what it says is relu(c).
    """

    def __init__(self, *, weight_ih_l0: np.ndarray, bias_ih_l0: np.ndarray) -> None:
        both = np.concatenate([bias_ih_l0, np.zeros_like(bias_ih_l0)])  # W x has none
        super().__init__(weight_ih_l0=weight_ih_l0, bias_ih_l0=both)

    def run(self, x: np.ndarray, states: tuple[np.ndarray]) -> Ran:  # (B, T, D), ((B, H),) -> (B, T, H), ((B, H),)
        forget, new = self.given(x)
        forget = sigmoid(forget)
        cells = linear_recurrence(forget, (1 - forget) * new, *states)
        return Ran(relu(cells), (cells[:, -1],))


class MinGRUCell(LightCell):
    """h = (1 - z) h + z W x with z = sigmoid(W_z x): Feng et al. 2024, section 3.1 (with biases)."""

    def run(self, x: np.ndarray, states: tuple[np.ndarray]) -> Ran:  # (B, T, D), ((B, H),) -> (B, T, H), ((B, H),)
        update, new = self.given(x)
        update = sigmoid(update)
        outputs = linear_recurrence(1 - update, update * new, *states)
        return Ran(outputs, (outputs[:, -1].copy(),))


class MinLSTMCell(LightCell):
    """h = f' h + i' W x, where f' and i' are the forget and input gates over their sum: Feng et al. 2024, section 3.2.

    f' is computed as sigmoid(log f - log i), which is the same and divides nothing by nothing.
    """

    gates = 3

    def run(self, x: np.ndarray, states: tuple[np.ndarray]) -> Ran:  # (B, T, D), ((B, H),) -> (B, T, H), ((B, H),)
        forget, enter, new = self.given(x)
        forget = sigmoid(np.logaddexp(0, -enter) - np.logaddexp(0, -forget))
        outputs = linear_recurrence(forget, (1 - forget) * new, *states)
        return Ran(outputs, (outputs[:, -1].copy(),))


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
