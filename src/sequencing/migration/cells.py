"""Cells of the first framework as ours: its matrices hold input and state in one, and its gates have another order."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from sequencing.migration.arrays import READ, Originals
from sequencing_np.errors import ModelError
from sequencing_np.rnn import StackConfig

ENCODER_CELL = re.compile(r"((?:.+/)?)cell_(\d+)/bidirectional_rnn/(?:fw|bw)/([^/]+)/.+")
DECODER_CELL = re.compile(r"((?:.+/)?multi_rnn_cell/)cell_(\d+)/([^/]+)/.+")

Weights = dict[str, np.ndarray]


def split(kernel: np.ndarray, inputs: int, order: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """[input; state] x gates as two matrices, gates x input and gates x state, with the gates in this order."""
    gates = np.split(kernel.T, len(order))
    rows = np.concatenate([gates[gate] for gate in order])
    return rows[:, :inputs], rows[:, inputs:]


def lstm(arrays: Originals, scope: str, inputs: int, size: int) -> Weights:
    """Theirs: input, new, forget, output; 1 is added to the forget gate when it runs. Ours: input, forget, new, …"""
    order = (0, 2, 1, 3)
    own, hidden = split(arrays.take(f"{scope}kernel", inputs + size, 4 * size), inputs, order)
    gates = np.split(arrays.take(f"{scope}bias", 4 * size), 4)
    gates[2] = gates[2] + 1
    bias = np.concatenate([gates[gate] for gate in order])
    return {"weight_ih_l0": own, "weight_hh_l0": hidden, "bias_ih_l0": bias, "bias_hh_l0": np.zeros_like(bias)}


def gru(arrays: Originals, scope: str, inputs: int, size: int) -> Weights:
    """Reset and update gate in one matrix, the candidate in another; the reset gate acts before the product."""
    gates = split(arrays.take(f"{scope}gates/kernel", inputs + size, 2 * size), inputs, (0, 1))
    new = split(arrays.take(f"{scope}candidate/kernel", inputs + size, size), inputs, (0,))
    own, hidden = (np.concatenate(both) for both in zip(gates, new, strict=True))
    biases = arrays.take(f"{scope}gates/bias", 2 * size), arrays.take(f"{scope}candidate/bias", size)
    return {"weight_ih_l0": own, "weight_hh_l0": hidden, "bias_ih_l0": np.concatenate(biases)}


def rnn(arrays: Originals, scope: str, inputs: int, size: int) -> Weights:
    """tanh of one product."""
    own, hidden = split(arrays.take(f"{scope}kernel", inputs + size, size), inputs, (0,))
    bias = arrays.take(f"{scope}bias", size)
    return {"weight_ih_l0": own, "weight_hh_l0": hidden, "bias_ih_l0": bias, "bias_hh_l0": np.zeros_like(bias)}


class Cell(NamedTuple):
    """How a cell of theirs becomes one of ours."""

    ours: str  # a row of CELLS
    bias: str  # the array that tells the size
    gates: int  # in it
    read: Callable[[Originals, str, int, int], Weights]


ORIGINAL_CELLS = {  # by the names of their scopes
    "basic_rnn_cell": Cell("rnn", "bias", 1, rnn),
    "gru_cell": Cell("gru_reset_first", "candidate/bias", 1, gru),
    "basic_lstm_cell": Cell("lstm", "bias", 4, lstm),
    "lstm_cell": Cell("lstm", "bias", 4, lstm),
}


class Stack(NamedTuple):
    """The cells of an encoder or a decoder, as the names of their arrays tell."""

    scope: str  # what stands before `cell_0`
    name: str  # of the scope of each cell, a row of ORIGINAL_CELLS
    config: StackConfig

    @property
    def read(self) -> Callable[[Originals, str, int, int], Weights]:
        """What reads one of them."""
        return ORIGINAL_CELLS[self.name].read


def stack_of(arrays: Originals, pattern: re.Pattern[str], whose: str, place: str = "") -> Stack:
    """Which cells, how many and how wide; `place` stands between `cell_0/` and the name of a cell."""
    found = list(arrays.matches(pattern))
    scopes, names = sorted({match[1] for match in found}), sorted({match[3] for match in found})
    if len(scopes) != 1:
        raise ModelError(f"{arrays.path}: {whose} has cells in {len(scopes)} scopes ({', '.join(scopes)}); {READ}")
    if len(names) > 1 or names[0] not in ORIGINAL_CELLS:
        known = ", ".join(ORIGINAL_CELLS)
        raise ModelError(f"{arrays.path}: {whose} has the cells {', '.join(names)}; one of {known} can be read")
    cell = ORIGINAL_CELLS[names[0]]
    bias = f"{scopes[0]}cell_0/{place}{names[0]}/{cell.bias}"
    if bias not in arrays.left:
        raise ModelError(f"{arrays.path}: no array {bias!r}; {READ}")
    size, layers = arrays.left[bias].size // cell.gates, len({match[2] for match in found})
    return Stack(scopes[0], names[0], StackConfig(cell.ours, max(size, 1), layers))
