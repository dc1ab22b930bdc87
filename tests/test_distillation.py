"""distillation: a teacher's distribution by its formula, its gradient against autograd, some places at a time."""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional

import sequencing.loss
from sequencing.distillation import Lesson, Taught, lesson
from sequencing.loss import OfFeatures, OfLogits, Wanted

N, V, F, D = 13, 7, 3, 5


def drawn(*shape: int, seed: int = 1) -> torch.Tensor:
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=chance, dtype=torch.float64) * 2


def plain(logits: torch.Tensor, taught: torch.Tensor, temperature: float) -> torch.Tensor:
    """Temperature squared times PyTorch's own divergence, summed over all answers."""
    known = functional.log_softmax(taught / temperature, dim=-1).expand_as(logits)
    said = functional.log_softmax(logits / temperature, dim=-1)
    return temperature**2 * functional.kl_div(said, known, reduction="sum", log_target=True)


TEMPERATURES = [0.5, 1.0, 4.0]


def test_by_hand() -> None:
    """The teacher says three in four, the student one in two: 3/4 log (3/2) + 1/4 log (1/2)."""
    found = lesson(torch.zeros(1, 1, 2), torch.tensor([[math.log(3), 0.0]]), 1.0)
    assert float(found.cost) == pytest.approx(0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    torch.testing.assert_close(found.slope, torch.tensor([[[-0.25, 0.25]]]))


@pytest.mark.parametrize("temperature", TEMPERATURES)
@pytest.mark.parametrize("answers", [1, 2])
def test_the_gradient_is_autograd_s(answers: int, temperature: float) -> None:
    logits, taught = drawn(answers, N, V).requires_grad_(), drawn(N, V, seed=2)
    wanted = plain(logits, taught, temperature)
    (slope,) = torch.autograd.grad(wanted, logits)
    found = lesson(logits.detach(), taught, temperature)
    torch.testing.assert_close(found, Lesson(wanted.detach(), slope), rtol=1e-10, atol=1e-12)


def test_a_temperature_does_not_change_the_size_of_the_gradient() -> None:
    """Hinton et al. 2015, equation 4: for a high T and logits of mean zero, T^2 the gradient is (z - v) / V."""
    logits, taught = (part - part.mean(dim=-1, keepdim=True) for part in (drawn(1, N, V), drawn(N, V, seed=2)))
    slope = lesson(logits, taught, 1e4).slope
    torch.testing.assert_close(slope, (logits - taught) / V, rtol=1e-3, atol=1e-4)


def test_who_says_the_same_learns_nothing() -> None:
    logits = drawn(1, N, V)
    found = lesson(logits, logits[0] + 5, 2.0)
    assert float(found.cost) == pytest.approx(0, abs=1e-12)
    torch.testing.assert_close(found.slope, torch.zeros_like(logits), rtol=0, atol=1e-12)


def test_narrow_logits_are_summed_wide() -> None:
    logits, taught = drawn(1, N, V).to(torch.bfloat16), drawn(N, V, seed=2).to(torch.bfloat16)
    found, wide = lesson(logits, taught, 1.5), lesson(logits.float(), taught.float(), 1.5)
    assert found.slope.dtype == torch.float32
    torch.testing.assert_close(found, wide, rtol=0, atol=0)


# --- its share of the loss ------------------------------------------------------------------------------------------


SLICED = {  # logits made together, and looked at together
    "one slice": (1 << 22, 1 << 18),
    "one slice in strips": (1 << 22, 3 * V),
    "some": (8 * V, 2 * V),
    "one place a slice": (1, 1),
}


@pytest.fixture(params=SLICED.values(), ids=list(SLICED))
def sliced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    cells, near = request.param
    monkeypatch.setattr(sequencing.loss, "CELLS", cells)
    monkeypatch.setattr("sequencing.arrays.NEAR", near)
    return int(cells)


def whole_by_hand(logits: torch.Tensor, ids: torch.Tensor, taught: Any, share: float, smoothing: float) -> torch.Tensor:
    """(1 - share) cross entropy + share T^2 KL + log(Z)^2 + what two answers differ by, through all logits at once."""
    right = ids.expand(len(logits), -1).flatten()
    flat = logits.flatten(0, 1)
    whole = (1 - share) * functional.cross_entropy(flat, right, reduction="sum", label_smoothing=smoothing)
    whole = whole + share * plain(logits, *taught) + 0.4 * torch.logsumexp(flat, dim=1).square().sum()
    if len(logits) == 2:
        p, q = functional.log_softmax(logits, dim=-1)
        whole = whole + 0.3 * ((p.exp() - q.exp()) * (p - q)).sum()
    return whole


@pytest.mark.parametrize("share", [0.25, 1.0])
@pytest.mark.parametrize("answers", [1, 2])
@pytest.mark.parametrize("late", [False, True], ids=["logits", "features"])
def test_a_teacher_has_its_share(sliced: int, late: bool, answers: int, share: float) -> None:
    """Beside smoothing, agreement and z-loss, through logits or features, of teachers that give either."""
    ids, known = torch.arange(N) % V, (drawn(N, F, seed=4), drawn(V, F, seed=5), drawn(V, seed=6))
    inputs = [drawn(answers, N, D), drawn(V, D, seed=2), drawn(V, seed=3)] if late else [drawn(answers, N, V)]
    for taught in (Taught(*known, share, 2.0), Taught(functional.linear(*known), None, None, share, 2.0)):
        given, own = ([part.clone().requires_grad_() for part in inputs] for _ in range(2))
        wanted = Wanted(ids, 0.1, 0.3 * (answers - 1), taught, z_loss=0.4)
        whole, cross = (OfFeatures if late else OfLogits).apply(*given, wanted)
        logits = functional.linear(*own) if late else own[0]
        by_hand = whole_by_hand(logits, ids, (functional.linear(*known), 2.0), share, 0.1)
        torch.testing.assert_close(whole, by_hand, rtol=1e-10, atol=0)
        alone, _ = OfLogits.apply(logits.detach(), Wanted(ids, 0.1))
        torch.testing.assert_close(cross, alone, rtol=1e-10, atol=0)
        (whole * 0.7).backward()
        (by_hand * 0.7).backward()
        for mine, theirs in zip(given, own, strict=True):
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-9, atol=1e-12)


def test_some_of_the_places() -> None:
    taught = Taught(drawn(N, F), drawn(V, F, seed=2), drawn(V, seed=3), 0.5, 1.5)
    logits = drawn(1, N, V, seed=4)
    parts = [taught.at(part).lesson(logits[:, part]) for part in (slice(0, 5), slice(5, 6), slice(6, N))]
    whole = taught.lesson(logits)
    torch.testing.assert_close(sum(part.cost for part in parts), whole.cost)
    torch.testing.assert_close(torch.cat([part.slope for part in parts], dim=1), whole.slope)
