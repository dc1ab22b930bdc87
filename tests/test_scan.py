"""scan: both ways through time against plain loops, every gradient against autograd's own and finite differences."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sequencing import scan
from sequencing.scan import doubling, doubling_back, linear_recurrence, stepping, stepping_back

B, H = 3, 5
LENGTHS = [1, 2, 3, 4, 7, 8, 13]
each_way = pytest.mark.parametrize("way", [stepping, doubling])
each_length = pytest.mark.parametrize("steps", LENGTHS)


def drawn(steps: int, seed: int = 0, rows: int = B, size: int = H) -> list[Tensor]:
    """Decays (some of them zero, one or negative), terms and a first state, all of which want gradients."""
    torch.manual_seed(seed)
    decay = torch.randn(rows, steps, size, dtype=torch.float64)
    decay[torch.rand(decay.shape) < 0.2] = 0.0
    decay[torch.rand(decay.shape) < 0.2] = 1.0
    parts = [decay, torch.randn_like(decay), torch.randn(rows, size, dtype=torch.float64)]
    return [part.requires_grad_() for part in parts]


def plain(decay: Tensor, terms: Tensor, first: Tensor) -> Tensor:  # (B, T, H), (B, T, H), (B, H) -> (B, T, H)
    """The formula, step by step; autograd finds its gradients."""
    states = []
    for t in range(terms.shape[1]):
        first = decay[:, t] * first + terms[:, t]
        states.append(first)
    return torch.stack(states, dim=1)


@each_way
@each_length
def test_states(way: Callable[..., Tensor], steps: int) -> None:
    with torch.no_grad():
        parts = drawn(steps)
        torch.testing.assert_close(way(*parts), plain(*parts))


@pytest.mark.parametrize("way", [stepping_back, doubling_back])
@each_length
def test_slopes(way: Callable[..., Tensor], steps: int) -> None:
    """slope_t = decay_{t+1} slope_{t+1} + above_t: the gradient of the terms."""
    decay, terms, first = drawn(steps, 1)
    above = torch.randn(B, steps, H, dtype=torch.float64)
    (expected,) = torch.autograd.grad((plain(decay, terms, first) * above).sum(), [terms])
    with torch.no_grad():
        torch.testing.assert_close(way(decay, above), expected)


@settings(max_examples=30)
@given(
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 19), st.integers(1, 7)),
    seed=st.integers(0, 10**6),
    doubled=st.booleans(),
)
def test_all_gradients(sizes: tuple[int, int, int], seed: int, doubled: bool) -> None:
    rows, steps, size = sizes
    parts = drawn(steps, seed, rows, size)
    above = torch.randn(rows, steps, size, dtype=torch.float64)
    with pytest.MonkeyPatch.context() as patch:
        if doubled:  # the way of other devices, on this one
            patch.setattr(scan, "stepping", doubling)
            patch.setattr(scan, "stepping_back", doubling_back)
        ours = torch.autograd.grad((linear_recurrence(*parts) * above).sum(), parts)
    theirs = torch.autograd.grad((plain(*parts) * above).sum(), parts)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("doubled", [False, True])
def test_against_finite_differences(doubled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if doubled:
        monkeypatch.setattr(scan, "stepping", doubling)
        monkeypatch.setattr(scan, "stepping_back", doubling_back)
    assert torch.autograd.gradcheck(linear_recurrence, drawn(5, 2, 2, 3))


def test_parts_that_do_not_learn_and_strides_that_are_not_plain() -> None:
    """Slices and transposed arrays come in, as the cells give them; a gradient for one part alone is the same."""
    steps = 7
    decay, terms, first = drawn(steps, 3)
    wide = torch.cat([decay.detach(), terms.detach()], dim=2).transpose(0, 1).contiguous().transpose(0, 1)
    parts = [*wide.split(H, dim=2), first.detach()]
    for place in range(3):
        own = [part.clone().requires_grad_() if number == place else part for number, part in enumerate(parts)]
        (one,) = torch.autograd.grad(linear_recurrence(*own).square().sum(), [own[place]])
        (other,) = torch.autograd.grad(plain(*own).square().sum(), [own[place]])
        torch.testing.assert_close(one, other)


def test_only_the_last_state_is_used() -> None:
    parts = drawn(11, 4)
    ours = torch.autograd.grad(linear_recurrence(*parts)[:, -1].sum(), parts)
    theirs = torch.autograd.grad(plain(*parts)[:, -1].sum(), parts)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_a_second_derivative_is_refused() -> None:
    parts = drawn(3, 5)
    (slope,) = torch.autograd.grad(linear_recurrence(*parts).square().sum(), parts[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()
