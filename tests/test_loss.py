"""loss: cross entropy against its formula, written out; what is padding does not count."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import sequencing.loss
from sequencing.loss import NORMALIZERS, OfFeatures, OfLogits, Wanted, coverage_loss, cross_entropy
from sequencing_np.batch import Batch

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
    target = np.zeros((B, T), dtype=np.int64)
    assert NORMALIZERS[name](Batch(target, MASK.numpy(), target, MASK.numpy())) == count


def test_every_normalizer_is_tested() -> None:
    assert set(NORMALIZERS) == {"tokens", "sentences"}


def pairs_drawn(places: int = 11, seed: int = 5) -> torch.Tensor:
    """Two sets of logits."""
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(2, places, V, generator=chance, dtype=torch.float64) * 3


def agreement(logits: torch.Tensor, weight: float = 1.0) -> torch.Tensor:
    """What disagreement alone costs: the whole less the cross entropy."""
    whole, cross = OfLogits.apply(logits, Wanted(torch.zeros(logits.shape[1], dtype=torch.int64), 0.0, weight))
    return whole - cross  # type: ignore[no-any-return]


SLICED = {  # logits made together, and looked at together
    "one slice": (1 << 22, 1 << 18),
    "one slice in strips": (1 << 22, 3 * V),
    "some": (8 * V, 2 * V),
    "one place a slice": (1, 1),
}


@pytest.fixture(params=SLICED.values(), ids=list(SLICED))
def sliced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """However many logits are worked on together, the answer is the same."""
    cells, near = request.param
    monkeypatch.setattr(sequencing.loss, "CELLS", cells)
    monkeypatch.setattr("sequencing.arrays.NEAR", near)
    return int(cells)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_disagreement_is_pytorchs_divergence_both_ways(sliced: int, smoothing: float) -> None:
    """Liang et al. 2021, equations 2 and 4, with both gradients, against PyTorch's own losses."""
    given, own = (pairs_drawn().requires_grad_() for _ in range(2))
    ids = torch.arange(11) % V
    one, other = torch.log_softmax(own, dim=-1)
    divergence = torch.nn.functional.kl_div
    apart = sum(divergence(a, b, reduction="sum", log_target=True) for a, b in ((one, other), (other, one)))
    nll = [torch.nn.functional.cross_entropy(each, ids, reduction="sum", label_smoothing=smoothing) for each in own]
    whole, cross = OfLogits.apply(given, Wanted(ids, smoothing, 1.5))
    torch.testing.assert_close(cross, sum(nll).detach(), rtol=1e-10, atol=0)
    torch.testing.assert_close(whole, sum(nll) + 1.5 * apart, rtol=1e-10, atol=0)
    (whole * 0.7).backward()
    ((sum(nll) + 1.5 * apart) * 0.7).backward()
    torch.testing.assert_close(given.grad, own.grad, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("z_loss", [0.0, 0.4])
@pytest.mark.parametrize("answers", [1, 2])
def test_features_cost_what_their_logits_do(sliced: int, answers: int, z_loss: float) -> None:
    """W x + b and its gradients by x, W and b, against autograd through all logits at once."""
    chance = torch.Generator().manual_seed(6)
    shapes = [(answers, 13, 3), (V, 3), (V,)]
    made = [torch.randn(shape, generator=chance, dtype=torch.float64) for shape in shapes]
    given, own = ([part.clone().requires_grad_() for part in made] for _ in range(2))
    wanted = Wanted(torch.arange(13) % V, 0.1, 0.3 * (answers - 1), z_loss=z_loss)
    found = OfFeatures.apply(*given, wanted)
    logits = torch.nn.functional.linear(*own)
    nll = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), wanted.ids.repeat(answers), reduction="sum", label_smoothing=0.1
    )
    whole = nll + z_loss * torch.logsumexp(logits, dim=-1).square().sum()
    if answers == 2:
        p, q = torch.log_softmax(logits, dim=-1)
        whole = whole + 0.3 * ((p.exp() - q.exp()) * (p - q)).sum()
    torch.testing.assert_close(found, (whole, nll), rtol=1e-10, atol=0)
    found[0].mul(0.7).backward()
    whole.mul(0.7).backward()
    for mine, theirs in zip(given, own, strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-9, atol=1e-12)


def test_disagreement_by_hand() -> None:
    """One in two against three in four: (3/4 - 1/2) log (3/4 : 1/2) + (1/4 - 1/2) log (1/4 : 1/2) = log 3 / 4."""
    assert float(agreement(torch.tensor([[[0.0, 0.0]], [[math.log(3), 0.0]]]))) == pytest.approx(math.log(3) / 4)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_z_loss_is_autograd_s(sliced: int, smoothing: float) -> None:
    """Weight x log(Z)^2 beside the cross entropy, which is told alone."""
    given, own = (pairs_drawn()[:1].requires_grad_() for _ in range(2))
    ids = torch.arange(11) % V
    nll = torch.nn.functional.cross_entropy(own[0], ids, reduction="sum", label_smoothing=smoothing)
    plain = nll + 0.4 * own.exp().sum(dim=-1).log().square().sum()
    whole, cross = OfLogits.apply(given, Wanted(ids, smoothing, z_loss=0.4))
    torch.testing.assert_close((whole, cross), (plain, nll), rtol=1e-10, atol=0)
    whole.backward()
    plain.backward()
    torch.testing.assert_close(given.grad, own.grad, rtol=1e-9, atol=1e-12)


def test_z_loss_by_hand() -> None:
    """Logits log 2 and log 6: Z is 8. What adds up to one costs nothing more; a constant beside it costs its square."""
    ids = torch.zeros(1, dtype=torch.int64)
    for powers, cost in (([2.0, 6.0], math.log(8) ** 2), ([0.25, 0.75], 0.0), ([math.e**3 / 4, 3 * math.e**3 / 4], 9)):
        whole, cross = OfLogits.apply(torch.tensor(powers).log()[None, None], Wanted(ids, z_loss=0.5))
        assert float(cross) == pytest.approx(math.log(4))
        assert float(whole - cross) == pytest.approx(0.5 * cost, abs=1e-6)


def test_who_says_the_same_agrees() -> None:
    """Also where one set of logits is the other plus a constant; then there is nothing to learn."""
    logits = pairs_drawn()
    logits[1] = logits[0] + 7
    logits.requires_grad_()
    ids = torch.zeros(11, dtype=torch.int64)
    whole, cross = OfLogits.apply(logits, Wanted(ids, 0.0, 1.0))
    assert float((whole - cross).detach()) == pytest.approx(0, abs=1e-12)
    whole.backward()
    alone = logits.detach().clone().requires_grad_()
    OfLogits.apply(alone, Wanted(ids))[0].backward()
    torch.testing.assert_close(logits.grad, alone.grad, rtol=0, atol=1e-12)


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


@pytest.mark.parametrize("z_loss", [0.0, 0.4])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_narrow_logits_are_summed_wide(smoothing: float, z_loss: float) -> None:
    """bfloat16 logits cost what the same numbers in float32 do; their gradient is rounded once, at the end."""
    logits, target = drawn(4)
    narrow = logits.to(torch.bfloat16).requires_grad_()
    exact = narrow.detach().float().requires_grad_()
    wanted = Wanted(target[MASK], smoothing, z_loss=z_loss)
    losses = [OfLogits.apply(each[MASK][None], wanted)[0] for each in (narrow, exact)]
    torch.testing.assert_close(*losses)
    for loss in losses:
        loss.backward()
    assert narrow.grad is not None and exact.grad is not None
    torch.testing.assert_close(narrow.grad, exact.grad.to(torch.bfloat16))
