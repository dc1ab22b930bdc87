"""cells: the classic ones against PyTorch's own, the light ones against their papers' equations in plain loops."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from architectures import same
from sequencing.cells import CELLS as NATIVE_CELLS
from sequencing_np.cells import CELLS, linear_recurrence
from sequencing_np.errors import ConfigError

NATIVE = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
RECURRENT = [*NATIVE, "gru_reset_first", "lstm_layer_norm"]  # their gates wait for the state
LIGHT = [name for name in CELLS if name not in RECURRENT]
B, T, D, H = 3, 7, 5, 11
each_cell = pytest.mark.parametrize("name", CELLS)
each_light_cell = pytest.mark.parametrize("name", LIGHT)
each_of_our_own = pytest.mark.parametrize("name", [*LIGHT, "gru_reset_first", "lstm_layer_norm"])


def cells(name: str, seed: int = 1) -> tuple[Any, Any]:
    """Both floors with the same random weights, biases too, in float64."""
    torch.manual_seed(seed)
    native = NATIVE_CELLS[name](D, H).double()
    for parameter in native.parameters():
        nn.init.normal_(parameter, 0, 0.7)
    return CELLS[name](**weights(native)), native


def weights(cell: nn.Module) -> dict[str, np.ndarray]:
    return {key: parameter.detach().numpy() for key, parameter in cell.named_parameters()}


def drawn(name: str, seed: int = 2) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """An input, and a state before it."""
    chance = np.random.default_rng(seed)
    return chance.normal(0, 1, (B, T, D)), tuple(chance.normal(0, 1, (B, H)) for _ in range(CELLS[name].count))


def logistic(x: float) -> float:
    return 1 / (1 + np.exp(-x))


def by_hand(name: str, own: dict[str, np.ndarray], x: np.ndarray, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The papers' equations, unit by unit: what is said, (B, T, H), and the states, (B, T, H)."""
    matrix, bias = own["weight_ih_l0"], own["bias_ih_l0"]
    said, states = np.empty((B, T, H)), np.empty((B, T, H))
    for row in range(B):
        for unit in range(H):
            h = state[row, unit]
            for t in range(T):
                given = [sum(matrix[gate * H + unit] * x[row, t]) for gate in range(len(matrix) // H)]
                if name == "ssru":  # Kim et al. 2019: W x has no bias
                    forget = logistic(given[0] + bias[unit])
                    h = forget * h + (1 - forget) * given[1]
                else:
                    given = [product + bias[gate * H + unit] for gate, product in enumerate(given)]
                if name == "min_gru":
                    update = logistic(given[0])
                    h = (1 - update) * h + update * given[1]
                elif name == "min_lstm":
                    forget, enter = logistic(given[0]), logistic(given[1])
                    h = forget / (forget + enter) * h + enter / (forget + enter) * given[2]
                states[row, t, unit] = h
                said[row, t, unit] = max(h, 0) if name == "ssru" else h
    return said, states


@pytest.mark.parametrize("name", NATIVE)
def test_the_classic_cells_are_pytorchs_own(name: str) -> None:
    ground, upper = cells(name)
    theirs = NATIVE[name](D, H, batch_first=True).double()
    theirs.load_state_dict(upper.state_dict())
    x, states = drawn(name)
    given = [torch.tensor(state)[None] for state in states]
    with torch.no_grad():
        outputs, final = theirs(torch.tensor(x), tuple(given) if len(given) > 1 else given[0])
    wanted = outputs, tuple(state[0] for state in (final if isinstance(final, tuple) else (final,)))
    same(tuple(ground.run(x, states)), wanted)
    with torch.no_grad():
        same(tuple(upper.run(torch.tensor(x), tuple(map(torch.tensor, states)))), wanted)


@each_light_cell
def test_the_light_cells_are_their_papers(name: str) -> None:
    ground, upper = cells(name)
    x, states = drawn(name)
    said, after = by_hand(name, weights(upper), x, *states)
    same(tuple(ground.run(x, states)), (said, (after[:, -1],)))
    with torch.no_grad():
        same(tuple(upper.run(torch.tensor(x), tuple(map(torch.tensor, states)))), (said, (after[:, -1],)))


def test_the_reset_gate_before_the_product() -> None:
    """Cho et al. 2014, equations 5 to 8, a unit at a time; GRUCell, the reset gate after it, says another thing."""
    ground, upper = cells("gru_reset_first")
    own = weights(upper)
    x, (state,) = drawn("gru_reset_first")
    said = np.empty((B, T, H))
    for row in range(B):
        h = list(state[row])
        for t in range(T):

            def product(gate: int, unit: int, hidden: list[float], x: np.ndarray = x[row, t]) -> float:
                place = gate * H + unit
                return own["weight_ih_l0"][place] @ x + own["weight_hh_l0"][place] @ hidden + own["bias_ih_l0"][place]

            reset = [logistic(product(0, unit, h)) for unit in range(H)]
            update = [logistic(product(1, unit, h)) for unit in range(H)]
            forgotten = [gate * unit for gate, unit in zip(reset, h, strict=True)]
            new = [np.tanh(product(2, unit, forgotten)) for unit in range(H)]
            h = [z * old + (1 - z) * fresh for z, old, fresh in zip(update, h, new, strict=True)]
            said[row, t] = h
    same(tuple(ground.run(x, (state,))), (said, (said[:, -1],)))
    with torch.no_grad():
        same(tuple(upper.run(torch.tensor(x), (torch.tensor(state),))), (said, (said[:, -1],)))
    after = CELLS["gru"](**own, bias_hh_l0=np.zeros(3 * H)).run(x, (state,)).outputs
    assert abs(after - said).max() > 0.1
    for wrong in ({"bias_ih_l0": own["bias_ih_l0"][:-1]}, {"weight_hh_l0": own["weight_hh_l0"][:-3]}):
        with pytest.raises(ConfigError):
            CELLS["gru_reset_first"](**{**own, **wrong})


def test_norms_within_an_lstm() -> None:
    """Ba et al. 2016, equations 20 to 22, a unit at a time; how large the matrices are does not matter."""
    ground, upper = cells("lstm_layer_norm")
    own = weights(upper)
    x, (state, cell) = drawn("lstm_layer_norm")

    def normed(values: list[float], gain: np.ndarray, shift: np.ndarray) -> list[float]:
        mean = sum(values) / len(values)
        deviation = (sum((value - mean) ** 2 for value in values) / len(values) + 1e-5) ** 0.5
        return [g * (value - mean) / deviation + b for g, value, b in zip(gain, values, shift, strict=True)]

    said, cells_after = np.empty((B, T, H)), np.empty((B, H))
    for row in range(B):
        h, c = list(state[row]), list(cell[row])
        for t in range(T):
            given = normed([w @ x[row, t] for w in own["weight_ih_l0"]], own["norm_ih_l0"], own["bias_ih_l0"])
            kept = normed([w @ h for w in own["weight_hh_l0"]], own["norm_hh_l0"], np.zeros(4 * H))
            enter, forget, new, leave = np.split(np.array(given) + np.array(kept), 4)
            c = [
                logistic(f) * old + logistic(i) * np.tanh(g) for f, old, i, g in zip(forget, c, enter, new, strict=True)
            ]
            seen = normed(c, own["norm_c_l0"], own["shift_c_l0"])
            h = [logistic(o) * np.tanh(value) for o, value in zip(leave, seen, strict=True)]
            said[row, t] = h
        cells_after[row] = c
    wanted = said, (said[:, -1], cells_after)
    same(tuple(ground.run(x, (state, cell))), wanted)
    with torch.no_grad():
        same(tuple(upper.run(torch.tensor(x), (torch.tensor(state), torch.tensor(cell)))), wanted)
    larger = {**own, "weight_ih_l0": 50 * own["weight_ih_l0"], "weight_hh_l0": 50 * own["weight_hh_l0"]}
    same(CELLS["lstm_layer_norm"](**larger).run(x, (state, cell)).outputs, said, 1e-4)
    for wrong in ("norm_c_l0", "shift_c_l0", "norm_ih_l0", "bias_ih_l0"):
        with pytest.raises(ConfigError):
            CELLS["lstm_layer_norm"](**{**own, wrong: own[wrong][:1]})


@each_cell
def test_in_parts_is_at_once(name: str) -> None:
    """The state that goes on is the state, not what was said: SSRU says relu(c) and goes on with c."""
    x, states = drawn(name)
    for cell, native in zip(cells(name), (np.asarray, torch.tensor), strict=True):
        begin = tuple(map(native, states))
        with torch.no_grad():
            whole = cell.run(native(x), begin)
            first = cell.run(native(x[:, :3]), begin)
            second = cell.run(native(x[:, 3:]), first.states)
        same((first.outputs, second.outputs, second.states), (whole.outputs[:, :3], whole.outputs[:, 3:], whole.states))


@each_cell
def test_gradients(name: str) -> None:
    """Of every weight, the input and the states, against finite differences."""
    _, upper = cells(name)
    x, states = drawn(name)
    own = dict(upper.named_parameters())

    def run(x: torch.Tensor, *rest: torch.Tensor) -> Any:
        named = {f"cell.{key}": part for key, part in zip(own, rest[upper.count :], strict=True)}
        ran = torch.func.functional_call(Runner(upper), named, (x, rest[: upper.count]))
        return ran.outputs, *ran.states

    parts = [torch.tensor(x[:2, :4]), *(torch.tensor(state[:2]) for state in states)]
    parts += [part.detach().clone() for part in own.values()]
    assert torch.autograd.gradcheck(run, [part.requires_grad_() for part in parts], fast_mode=True)


class Runner(nn.Module):
    """`run` as a forward, so that PyTorch can put other weights in."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: torch.Tensor, states: Any) -> Any:
        return self.cell.run(x, states)


@each_cell
def test_a_run_changes_nothing_that_it_was_given(name: str) -> None:
    ground, _ = cells(name)
    x, states = drawn(name)
    before = [part.copy() for part in (x, *states)]
    outputs, after = ground.run(x, states)
    kept = [part.copy() for part in after]
    outputs += 1  # what was said belongs to the caller: the states stay what they are
    same((x, *states), tuple(before))
    same(after, tuple(kept))


def test_gates_that_are_shut() -> None:
    """minLSTM: both gates at nothing, f / (f + i) is still a number: that of the larger pre-activation."""
    for dtype in ("float32", "float64"):
        native = NATIVE_CELLS["min_lstm"](1, 1)
        with torch.no_grad():
            native.weight_ih_l0.zero_()
            native.bias_ih_l0.copy_(torch.tensor([-1000.0, -1000.0, 3.0]))
        native.to(getattr(torch, dtype))
        x, state = np.ones((1, 1, 1), dtype=dtype), np.ones((1, 1), dtype=dtype)
        assert CELLS["min_lstm"](**weights(native)).run(x, (state,)).outputs.item() == pytest.approx(2)
        assert native.run(torch.tensor(x), (torch.tensor(state),)).outputs.item() == pytest.approx(2)


@each_of_our_own
def test_under_autocast_the_states_keep_their_type(name: str) -> None:
    _, upper = cells(name)
    upper.float()
    x, *states = (torch.tensor(part, dtype=torch.float32) for part in (drawn(name)[0], *drawn(name)[1]))
    exact = upper.run(x, tuple(states))
    with torch.autocast("cpu", torch.bfloat16):
        ran = upper.run(x, tuple(states))
    assert {ran.outputs.dtype, *(state.dtype for state in ran.states)} == {torch.float32}
    torch.testing.assert_close(ran.outputs, exact.outputs, rtol=0.1, atol=0.1)
    assert not torch.equal(ran.outputs, exact.outputs)
    ran.outputs.sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in upper.parameters())


@each_cell
def test_how_a_cell_begins(name: str) -> None:
    """T-A21: Glorot-uniform input matrices and orthogonal recurrent ones, gate by gate; biases at zero, but for the
    forget gate of LSTM, which begins at one."""
    size, width = 64, 192
    torch.manual_seed(5)
    own = weights(NATIVE_CELLS[name](width, size))
    gates = CELLS[name].gates
    assert own["weight_ih_l0"].shape == (gates * size, width)
    limit = (6 / (size + width)) ** 0.5
    for gate in np.split(own["weight_ih_l0"], gates):
        assert 0.99 * limit < abs(gate).max() <= limit
        np.testing.assert_allclose(gate.std(), limit / 3**0.5, rtol=0.03)
        np.testing.assert_allclose(gate.mean(), 0, atol=0.03 * limit)
    for gate in np.split(own["weight_hh_l0"], gates) if name in RECURRENT else []:
        same(gate @ gate.T, np.eye(size), 1e-5)
    bias = sum(part for key, part in own.items() if key.startswith("bias"))
    expected = np.zeros_like(bias)
    if name in ("lstm", "lstm_layer_norm"):
        expected[size : 2 * size] = 1
    same(bias, expected, 0)
    norms = {key for key in own if key.startswith("norm")}
    assert len(norms) == (3 if name == "lstm_layer_norm" else 0) and all((own[key] == 1).all() for key in norms)
    assert not own.get("shift_c_l0", np.zeros(1)).any()


@each_light_cell
def test_weights_that_are_no_cell(name: str) -> None:
    _, upper = cells(name)
    own = weights(upper)
    for wrong in (own["weight_ih_l0"][:-1], own["weight_ih_l0"][None]):
        with pytest.raises(ConfigError):
            CELLS[name](**{**own, "weight_ih_l0": wrong})
    for wrong in (own["bias_ih_l0"][:-1], own["bias_ih_l0"][:1], own["bias_ih_l0"][None]):
        with pytest.raises(ConfigError):
            CELLS[name](**{**own, "bias_ih_l0": wrong})
    with pytest.raises(ConfigError):  # rows that are not whole gates
        CELLS[name](weight_ih_l0=own["weight_ih_l0"][:7], bias_ih_l0=np.zeros(7))


def test_a_recurrence_in_numpy() -> None:
    decay, given = np.array([[[2.0], [3.0], [0.5]]]), np.array([[[1.0], [-1.0], [4.0]]])
    same(linear_recurrence(decay, given, np.array([[5.0]])), np.array([[[11.0], [32.0], [20.0]]]))
