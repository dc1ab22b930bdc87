"""loss: cross entropy against its formula, written out; what is padding does not count."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sequencing.loss import NORMALIZERS, coverage_loss, cross_entropy

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
