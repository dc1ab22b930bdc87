"""recurrence: the written-out recurrences against PyTorch's own: outputs, last states and every gradient."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from sequencing import cells, recurrence
from sequencing.cells import CELLS
from sequencing.recurrence import GRURecurrence, LSTMRecurrence, product_dtype, written_out

WRITTEN = {"gru": GRURecurrence, "lstm": LSTMRecurrence}
each_cell = pytest.mark.parametrize("cell", WRITTEN)


def drawn(cell: str, sizes: tuple[int, int, int, int], seed: int, dtype: Any = torch.float64) -> tuple[Any, Any, Any]:
    """A cell with random weights and biases, its input and its first states, all of which want gradients."""
    rows, steps, width, size = sizes
    torch.manual_seed(seed)
    module = CELLS[cell](width, size).to(dtype)
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0, 0.7)
    x = torch.randn(rows, steps, width, dtype=dtype, requires_grad=True)
    states = tuple(torch.randn(rows, size, dtype=dtype, requires_grad=True) for _ in range(module.count))
    return module, x, states


def native(module: nn.Module, x: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What PyTorch's own forward says: outputs and last states."""
    first = tuple(state[None] for state in states)
    outputs, final = module(x, first if len(first) > 1 else first[0])
    return outputs, *(state[0] for state in (final if len(first) > 1 else (final,)))


def gradients(said: tuple[Tensor, ...], wanted: list[Tensor], seed: int) -> tuple[Tensor, ...]:
    """Of a random sum over all that was said: every output, every last state."""
    torch.manual_seed(seed)
    total = torch.stack([(part * torch.randn(part.shape, dtype=part.dtype)).sum() for part in said]).sum()
    return torch.autograd.grad(total, wanted)


def compare(cell: str, sizes: tuple[int, int, int, int], seed: int) -> None:
    module, x, states = drawn(cell, sizes, seed)
    outputs, after = module.run(x, states)
    assert "Recurrence" in str(outputs.grad_fn.next_functions), "this is not the recurrence under test"
    ours, theirs = (outputs, *after), native(module, x, states)
    wanted = [x, *states, *module.parameters()]
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)
    for one, other in zip(gradients(ours, wanted, seed), gradients(theirs, wanted, seed), strict=True):
        torch.testing.assert_close(one, other)


@each_cell
@settings(max_examples=25)
@given(
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 7), st.integers(1, 11)),
    seed=st.integers(0, 10**6),
)
def test_outputs_states_and_all_gradients(cell: str, sizes: tuple[int, int, int, int], seed: int) -> None:
    compare(cell, sizes, seed)


@each_cell
def test_a_long_sequence(cell: str) -> None:
    compare(cell, (3, 200, 2, 5), 1)


@each_cell
def test_against_finite_differences(cell: str) -> None:
    """Knows nothing of PyTorch's cells."""
    torch.manual_seed(2)
    gates = {"gru": 3, "lstm": 4}[cell]
    shapes = [(4, 2, gates * 3), *[(2, 3)] * {"gru": 1, "lstm": 2}[cell], (gates * 3, 3), (gates * 3,)]
    given_ = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(WRITTEN[cell].apply, given_)


@each_cell
def test_gradients_that_are_not_asked_for(cell: str) -> None:
    """Only the last state is used, or only the outputs; the other gets no gradient and does no harm."""
    module, x, states = drawn(cell, (2, 5, 3, 4), 1)
    for part in range(1 + module.count):
        ours = module.run(x, states)
        one, other = (ours.outputs, *ours.states)[part], native(module, x, states)[part]
        wanted = [x, *states, *module.parameters()]
        for mine, theirs in zip(gradients((one,), wanted, 3), gradients((other,), wanted, 3), strict=True):
            torch.testing.assert_close(mine, theirs)


@each_cell
def test_frozen_weights_and_inputs(cell: str) -> None:
    """Where only one of the arguments learns, its gradient is still right."""
    for index in range(4):
        module, x, states = drawn(cell, (2, 5, 3, 4), 1)
        parts = [x, states[0], module.weight_hh_l0, module.bias_hh_l0]
        for place, part in enumerate(parts):
            part.requires_grad_(place == index)
        module.weight_ih_l0.requires_grad_(False)
        module.bias_ih_l0.requires_grad_(False)
        outputs = module.run(x, states).outputs
        (one,) = gradients((outputs,), [parts[index]], 4)
        (other,) = gradients((native(module, x, states)[0],), [parts[index]], 4)
        torch.testing.assert_close(one, other)


@each_cell
def test_gradients_add_up_over_several_runs(cell: str) -> None:
    """Step by step, as with input feeding: the state goes from call to call and the gradient back through all."""
    module, x, states = drawn(cell, (2, 6, 3, 4), 5)
    wanted = [x, *states, *module.parameters()]
    said, after = [], states
    for step in range(6):
        ran = module.run(x[:, step : step + 1], after)
        said.append(ran.outputs)
        after = ran.states
    ours = gradients((torch.cat(said, dim=1), *after), wanted, 6)
    theirs = gradients(native(module, x, states), wanted, 6)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


@each_cell
def test_in_float32_it_is_near_float64(cell: str) -> None:
    module, x, states = drawn(cell, (4, 9, 5, 7), 3, torch.float32)
    exact, exact_x, exact_states = drawn(cell, (4, 9, 5, 7), 3, torch.float64)
    exact.load_state_dict({name: part.double() for name, part in module.state_dict().items()})
    with torch.no_grad():
        exact_x.copy_(x.double())
        for one, other in zip(exact_states, states, strict=True):
            one.copy_(other.double())
    torch.testing.assert_close(module.run(x, states).outputs, exact.run(exact_x, exact_states).outputs.float())


@each_cell
def test_under_autocast_products_are_short_and_states_are_not(cell: str) -> None:
    module, x, states = drawn(cell, (3, 6, 5, 8), 4, torch.float32)
    exact = module.run(x, states).outputs
    wanted = [x, *states, *module.parameters()]
    whole = gradients((exact,), wanted, 1)
    assert product_dtype(x) == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert product_dtype(x) == torch.bfloat16
        said = module.run(x, states)
    short = gradients((said.outputs,), wanted, 1)
    assert said.outputs.dtype == said.states[0].dtype == torch.float32
    torch.testing.assert_close(said.outputs, exact, rtol=0.1, atol=0.1)
    for one, other in zip(short, whole, strict=True):
        assert one.dtype == torch.float32
        assert float((one - other).norm()) < 0.1 * float(other.norm()) + 0.1
    assert not torch.equal(said.outputs, exact)


def test_used_where_gradients_are_wanted_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Spy:
        @staticmethod
        def apply(*arguments: Any) -> Any:
            asked.append("written out")
            return GRURecurrence.apply(*arguments)

    monkeypatch.setattr(cells, "GRURecurrence", Spy)
    module, x, states = drawn("gru", (2, 3, 5, 7), 1)
    said = module.run(x, states).outputs
    assert asked == ["written out"]
    for quiet in (torch.no_grad, torch.inference_mode):
        with quiet():
            torch.testing.assert_close(module.run(x, states).outputs, said.detach())
    assert asked == ["written out"], "a search runs PyTorch's own kernels"
    assert written_out(x) and not written_out(torch.empty(1, device="meta"))
    assert set(WRITTEN) == {name[:-10].lower() for name in vars(recurrence) if name.endswith("Recurrence")}
