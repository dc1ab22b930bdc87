"""loss: cross entropy against its formula, written out; what is padding does not count."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sequencing.loss import NORMALIZERS, ROWS, coverage_loss, cross_entropy, disagreement

B, T, V = 3, 5, 7
LENGTHS = [5, 2, 3]
MASK = torch.arange(T) < torch.tensor(LENGTHS)[:, None]


def drawn(seed: int, spread: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and targets; what is written under the padding is no id at all."""
    chance = torch.Generator().manual_seed(seed)
    logits = torch.randn(B, T, V, generator=chance, dtype=torch.float64) * spread
    target = torch.randint(0, V, (B, T), generator=chance).masked_fill(~MASK, 10**6)
    return logits, target


def by_hand(logits: torch.Tensor, target: torch.Tensor, smoothing: float) -> float:
    """The sum of -sum_v q(v) log p(v) with q = (1 - smoothing) on the right id + smoothing / V on every id."""
    total = 0.0
    for row, length in enumerate(LENGTHS):
        for step in range(length):
            values = logits[row, step].tolist()
            log_z = math.log(sum(math.exp(value) for value in values))
            for index, value in enumerate(values):
                share = smoothing / V + (1 - smoothing) * (index == int(target[row, step]))
                total -= share * (value - log_z)
    return total


@given(st.integers(0, 10**6), st.floats(0, 0.99))
def test_the_formula(seed: int, smoothing: float) -> None:
    logits, target = drawn(seed)
    assert float(cross_entropy(logits, target, MASK, smoothing)) == pytest.approx(by_hand(logits, target, smoothing))


def test_by_hand() -> None:
    """Two ids as likely as one another: each token costs log 2."""
    logits, target = torch.zeros(2, 3, 2), torch.tensor([[0, 1, 1], [1, 0, 0]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    assert float(cross_entropy(logits, target, mask)) == pytest.approx(4 * math.log(2))
    assert float(cross_entropy(logits, target, mask, 0.3)) == pytest.approx(4 * math.log(2)), "even already"


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("wrong", [0.0, 1e9, float("nan"), float("inf")])
def test_padding_does_not_count(wrong: float, smoothing: float) -> None:
    """Whatever the model says after the end changes no loss; what is a number there gets no gradient."""
    logits, target = drawn(1)
    clean = cross_entropy(logits, target, MASK, smoothing)
    spoilt = torch.where(MASK[..., None], logits, torch.tensor(wrong, dtype=torch.float64)).requires_grad_()
    loss = cross_entropy(spoilt, target, MASK, smoothing)
    assert float(loss.detach()) == float(clean)
    loss.backward()
    gradient = spoilt.grad
    assert gradient is not None and bool(gradient[MASK].all())
    if np.isfinite(wrong):
        assert not gradient[~MASK].any()


def test_the_gradient_is_softmax_less_target() -> None:
    logits, target = drawn(2)
    logits.requires_grad_()
    smoothing = 0.2
    cross_entropy(logits, target, MASK, smoothing).backward()
    wanted = torch.softmax(logits.detach(), -1) - smoothing / V
    rows, steps = torch.nonzero(MASK, as_tuple=True)
    wanted[rows, steps, target[MASK]] -= 1 - smoothing
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[MASK], wanted[MASK])


def test_a_loss_does_not_depend_on_batch_mates() -> None:
    logits, target = drawn(3)
    alone = [cross_entropy(logits[[row]], target[[row]], MASK[[row]], 0.1) for row in range(B)]
    assert float(cross_entropy(logits, target, MASK, 0.1)) == pytest.approx(float(sum(alone)))


@pytest.mark.parametrize(("name", "count"), [("tokens", sum(LENGTHS)), ("sentences", B)])
def test_normalizers(name: str, count: int) -> None:
    """Both of the original's (inventory row A45): real target tokens, or sentences."""
    assert float(NORMALIZERS[name](MASK)) == count
    assert float(torch.tensor(2.5) / NORMALIZERS[name](MASK)) == np.float32(2.5) / np.float32(count)


def test_every_normalizer_is_tested() -> None:
    assert set(NORMALIZERS) == {"tokens", "sentences"}


def pairs_drawn(rows: int = B, steps: int = T, seed: int = 5) -> torch.Tensor:
    """Two sets of logits."""
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(2, rows, steps, V, generator=chance, dtype=torch.float64) * 3


@pytest.mark.parametrize(("rows", "steps"), [(B, T), (3, ROWS // 2 + 5)], ids=["one slice", "two slices"])
def test_disagreement_is_pytorchs_divergence_both_ways(rows: int, steps: int) -> None:
    """Liang et al. 2021, equation 2, with both gradients, against torch.nn.functional.kl_div."""
    lengths = torch.tensor([steps, 2, steps // 2])
    mask = torch.arange(steps) < lengths[:, None]
    given, own = (pairs_drawn(rows, steps).requires_grad_() for _ in range(2))
    one, other = torch.log_softmax(own, dim=-1)[:, mask]
    divergence = torch.nn.functional.kl_div
    ways = ((one, other), (other, one))
    wanted = sum(divergence(a, b, reduction="sum", log_target=True) for a, b in ways)
    found = disagreement(given, mask)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=0)
    (found * 0.7).backward()
    (wanted * 0.7).backward()  # type: ignore[union-attr]
    torch.testing.assert_close(given.grad, own.grad, rtol=1e-9, atol=1e-12)


def test_disagreement_by_hand() -> None:
    """One in two against three in four: (3/4 - 1/2) log (3/4 : 1/2) + (1/4 - 1/2) log (1/4 : 1/2) = log 3 / 4."""
    logits = torch.tensor([[[[0.0, 0.0]]], [[[math.log(3), 0.0]]]])
    assert float(disagreement(logits, torch.ones(1, 1, dtype=torch.bool))) == pytest.approx(math.log(3) / 4)


def test_who_says_the_same_agrees() -> None:
    """Also where one set of logits is the other plus a constant; then there is nothing to learn."""
    logits = pairs_drawn()
    logits[1] = logits[0] + 7
    logits.requires_grad_()
    apart = disagreement(logits, MASK)
    apart.backward()
    assert float(apart.detach()) == pytest.approx(0, abs=1e-12)
    assert logits.grad is not None and float(logits.grad.abs().max()) < 1e-12


@pytest.mark.parametrize("wrong", [1e9, float("nan"), float("inf")])
def test_padding_cannot_disagree(wrong: float) -> None:
    clean, spoilt = pairs_drawn(), pairs_drawn()
    spoilt[0, ~MASK] = wrong
    spoilt.requires_grad_()
    apart = disagreement(spoilt, MASK)
    assert float(apart.detach()) == float(disagreement(clean, MASK))
    apart.backward()
    assert spoilt.grad is not None and not spoilt.grad[:, ~MASK].any() and bool(spoilt.grad[:, MASK].all())


def test_coverage_by_hand() -> None:
    """See et al. 2017, equation 12, in plain loops; what is said after the end does not count."""
    alignment = torch.softmax(torch.randn(B, T, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64), -1)
    total = 0.0
    for row, length in enumerate(LENGTHS):
        seen = [0.0] * 4
        for step in range(length):
            now = alignment[row, step].tolist()
            total += sum(min(a, c) for a, c in zip(now, seen, strict=True))
            seen = [c + a for a, c in zip(now, seen, strict=True)]
    assert float(coverage_loss(alignment, MASK)) == pytest.approx(total)
    spoilt = alignment.masked_fill(~MASK[..., None], 7.0)
    assert float(coverage_loss(spoilt, MASK)) == pytest.approx(total)


def test_coverage_costs_nothing_where_each_token_is_looked_at_once() -> None:
    once = torch.eye(4, dtype=torch.float64)[None]
    assert float(coverage_loss(once, torch.ones(1, 4, dtype=torch.bool))) == 0
    again = once[:, [0, 0, 0, 1]]
    assert float(coverage_loss(again, torch.ones(1, 4, dtype=torch.bool))) == 2


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_narrow_logits_are_summed_wide(smoothing: float) -> None:
    """bfloat16 logits cost what the same numbers in float32 do; their gradient is rounded once, at the end."""
    logits, target = drawn(4)
    narrow = logits.to(torch.bfloat16).requires_grad_()
    exact = narrow.detach().float().requires_grad_()
    losses = [cross_entropy(each, target, MASK, smoothing) for each in (narrow, exact)]
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.backward()
    assert narrow.grad is not None and exact.grad is not None
    torch.testing.assert_close(narrow.grad, exact.grad.to(torch.bfloat16))
