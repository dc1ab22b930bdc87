"""policy: every estimator against the exact gradient of the expected reward, on a language that can be enumerated."""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch.nn import functional

from sequencing.distillation import Taught
from sequencing.loss import OfFeatures, OfLogits
from sequencing.policy import OBJECTIVES, Baseline, Chosen, Earned, leave_one_out, log_policy, log_probs, minimum_risk

T, END = 3, 0  # at most three tokens, of END, 1 and 2; a sentence ends with END, or is cut
PREFIXES = [words for size in range(T) for words in itertools.product((1, 2), repeat=size)]
PLACE = {prefix: place for place, prefix in enumerate(PREFIXES)}
SENTENCES = [(*words, END) for words in PREFIXES] + list(itertools.product((1, 2), repeat=T))
GROUPS, N = 20_000, 4


class Language(NamedTuple):
    """All sentences: what they are worth, and where their words stand in the table of logits."""

    logits: torch.Tensor  # (P, 3)
    ids: torch.Tensor  # (L, T)
    places: torch.Tensor  # (L, T)
    own: torch.Tensor  # (L, T)
    rewards: torch.Tensor  # (L, T)  token by token


def language(spread: float = 0.4) -> Language:
    chance = torch.Generator().manual_seed(1)
    logits = torch.randn(len(PREFIXES), 3, generator=chance, dtype=torch.float64)
    ids = torch.tensor([[*words, *[END] * (T - len(words))] for words in SENTENCES])
    places = torch.tensor([[PLACE[words[:t]] if t < len(words) else 0 for t in range(T)] for words in SENTENCES])
    own = torch.tensor([[float(t < len(words)) for t in range(T)] for words in SENTENCES], dtype=torch.float64)
    rewards = torch.rand(len(SENTENCES), T, generator=chance, dtype=torch.float64) * spread + 0.3
    # a reward of a word may depend on the words before it alone
    for t, row in itertools.product(range(T), range(len(SENTENCES))):
        first = next(k for k, words in enumerate(SENTENCES) if words[: t + 1] == SENTENCES[row][: t + 1])
        rewards[row, t] = rewards[first, t]
    return Language(logits, ids, places, own, rewards * own)


def sentence_log_probs(said: Language, logits: torch.Tensor) -> torch.Tensor:  # -> (L,)
    words = torch.log_softmax(logits, dim=1)[said.places].gather(2, said.ids[..., None])[..., 0]
    return (words * said.own).sum(dim=1)


def exact_gradient(said: Language) -> torch.Tensor:
    """Of the expected reward, by autograd over all sentences."""
    logits = said.logits.clone().requires_grad_()
    (sentence_log_probs(said, logits).exp() * said.rewards.sum(dim=1)).sum().backward()
    assert logits.grad is not None
    return logits.grad


def drawn(said: Language) -> torch.Tensor:  # -> (GROUPS, N)
    """Numbers of sentences."""
    share = sentence_log_probs(said, said.logits).exp()
    assert float(share.sum()) == pytest.approx(1)
    chance = torch.Generator().manual_seed(2)
    return torch.multinomial(share, GROUPS * N, replacement=True, generator=chance).view(-1, N)


def gradients(said: Language, rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    # (G, n), (G, n, T) -> (G, P 3)
    """Of each group, that of sum weight x log p by the table."""
    slope = functional.one_hot(said.ids, 3) - torch.softmax(said.logits, dim=1)[said.places]  # (L, T, 3)
    found = torch.zeros(len(rows), len(PREFIXES), 3, dtype=torch.float64)
    for sample, t in itertools.product(range(rows.shape[1]), range(T)):
        own = rows[:, sample]
        found[torch.arange(len(rows)), said.places[own, t]] += weights[:, sample, t, None] * slope[own, t]
    return found.flatten(1)


def values(said: Language) -> torch.Tensor:  # -> (L, T)
    """What is to be expected from each word on, given those before it: what a perfect baseline foresees."""
    share = sentence_log_probs(said, said.logits).exp()
    returns = said.rewards.flip(1).cumsum(1).flip(1)
    found = torch.zeros_like(returns)
    for t, row in itertools.product(range(T), range(len(SENTENCES))):
        alike = torch.tensor([words[:t] == SENTENCES[row][:t] and len(words) > t for words in SENTENCES])
        found[row, t] = (share * returns[:, t])[alike].sum() / share[alike].sum() if alike.any() else 0
    return found


def earned(said: Language, rows: torch.Tensor, **more: torch.Tensor) -> Earned:
    rewards = said.rewards[rows]
    returns = rewards.flip(2).cumsum(2).flip(2)
    return Earned(returns * said.own[rows], rewards.sum(dim=2), said.own[rows], **more)


def learnt(said: Language, rows: torch.Tensor) -> torch.Tensor:  # -> (L, T)
    """A Baseline that has seen some samples: its features tell the words before."""
    torch.manual_seed(3)
    baseline = Baseline(len(PREFIXES), 16).double()
    features = functional.one_hot(said.places, len(PREFIXES)).double()
    adam = torch.optim.Adam(baseline.parameters(), 0.02)
    for step in range(300):
        some = rows[step * 16 : step * 16 + 16].flatten()
        returns = said.rewards[some].flip(1).cumsum(1).flip(1)
        loss = ((baseline(features[some]) - returns) ** 2 * said.own[some]).sum() / len(some)
        adam.zero_grad()
        loss.backward()
        adam.step()
    return baseline(features).detach()


def test_estimators_agree_with_the_exact_gradient_and_baselines_lower_the_variance() -> None:
    said = language()
    rows, wanted = drawn(said), exact_gradient(said).flatten()
    best = said.rewards.sum(dim=1)[SENTENCES.index(greedy(said))]
    zeros = torch.zeros(len(said.ids), T, dtype=torch.float64)
    needs = {
        "no baseline": ("reinforce", {"foreseen": zeros[rows]}),
        "learned": ("reinforce", {"foreseen": learnt(said, rows)[rows]}),
        "perfect": ("reinforce", {"foreseen": values(said)[rows]}),
        "self_critical": ("self_critical", {"greedy": best.expand(GROUPS)}),
        "leave_one_out": ("leave_one_out", {}),
    }
    variance = {}
    for name, (objective, more) in needs.items():
        weights = OBJECTIVES[objective].weights
        assert weights is not None
        found = gradients(said, rows, weights(earned(said, rows, **more)))
        error = (found.std(dim=0) / GROUPS**0.5).clamp(min=1e-12)
        z = ((found.mean(dim=0) - wanted) / error).abs().max()
        variance[name] = float(found.var(dim=0).sum())
        bias = float((found.mean(dim=0) - wanted).norm() / wanted.norm())
        print(f"{name:14} bias {bias:.4f} of the gradient, largest z {float(z):.1f}, variance {variance[name]:.5f}")
        assert z < 4.5, name
    plain = variance.pop("no baseline")
    assert all(each < 0.75 * plain for each in variance.values()), (plain, variance)
    assert variance["perfect"] <= variance["learned"] * 1.05


def greedy(said: Language) -> tuple[int, ...]:
    words: tuple[int, ...] = ()
    while len(words) < T and words[-1:] != (END,):
        words = (*words, int(said.logits[PLACE[words]].argmax()))
    return words


def test_leave_one_out_is_biased_if_the_sample_itself_is_in_the_mean() -> None:
    """So the test above can fail: with its own reward in its baseline the gradient is (n - 1) / n of the right one."""
    said = language()
    rows, wanted = drawn(said), exact_gradient(said).flatten()
    one = earned(said, rows)
    weights = (one.totals - one.totals.mean(dim=1, keepdim=True))[..., None] * one.own / N
    found = gradients(said, rows, weights).mean(dim=0)
    assert float((found @ wanted) / (wanted @ wanted)) == pytest.approx((N - 1) / N, abs=0.03)
    assert torch.allclose(weights * N / (N - 1), leave_one_out(one))


# --- minimum risk ---------------------------------------------------------------------------------------------------


def test_minimum_risk_is_the_derivative_of_its_formula() -> None:
    """Shen et al. 2016, equations 8 to 10, by autograd; a candidate that stands twice counts once."""
    chance = torch.Generator().manual_seed(4)
    log_p = (-9 * torch.rand(5, 6, generator=chance, dtype=torch.float64)).requires_grad_()
    rewards = torch.rand(5, 6, generator=chance, dtype=torch.float64)
    fresh = torch.rand(5, 6, generator=chance) > 0.3
    fresh[:, 0] = True
    for sharpness in (0.005, 1.0, 3.0):
        log_p.grad = None
        share = torch.where(fresh, (sharpness * log_p).exp(), 0.0)
        (share / share.sum(dim=1, keepdim=True) * rewards).sum().backward()
        own = torch.ones(5, 6, T, dtype=torch.float64)
        given = Earned(own, rewards, own, log_probs=log_p.detach(), fresh=fresh, sharpness=sharpness)
        assert log_p.grad is not None
        torch.testing.assert_close(minimum_risk(given)[..., 0], log_p.grad)


def test_minimum_risk_over_all_sentences_is_exact() -> None:
    """With every sentence a candidate and sharpness 1 the risk is the expected reward."""
    said = language()
    rows = torch.arange(len(said.ids))[None]
    log_p = sentence_log_probs(said, said.logits)[None]
    given = earned(said, rows)._replace(log_probs=log_p, fresh=torch.ones_like(log_p, dtype=torch.bool))
    found = gradients(said, rows, minimum_risk(given))
    torch.testing.assert_close(found[0], exact_gradient(said).flatten())


# --- what it costs --------------------------------------------------------------------------------------------------

V, F, PLACES = 7, 5, 11
BANNED = torch.tensor([0, 2])


@pytest.mark.parametrize(("cells", "strip"), [(1 << 22, 1 << 18), (1 << 22, 3 * V), (4 * V, 2 * V), (1, 1)])
@pytest.mark.parametrize("near", [0.0, 0.4])
def test_the_slope_is_autograds(near: float, cells: int, strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, entropy and nearness at once, through features and through logits, some places at a time."""
    monkeypatch.setattr("sequencing.loss.CELLS", cells)
    monkeypatch.setattr("sequencing.arrays.NEAR", strip)
    chance = torch.Generator().manual_seed(6)
    made = [torch.randn(shape, generator=chance, dtype=torch.float64) for shape in [(1, PLACES, F), (V, F), (V,)]]
    weights = torch.randn(PLACES, generator=chance, dtype=torch.float64)
    ids = torch.tensor([1, 3, 4, 5, 6])[torch.arange(PLACES) % 5]
    other = torch.randn(PLACES, V, generator=chance, dtype=torch.float64)
    start = Taught(other, None, None, 1.0, 1.0) if near else None
    chosen = Chosen(ids[:, None], weights[:, None], torch.ones(PLACES, 1, dtype=torch.bool), BANNED, 0.3, near, start)
    given, own, third = ([part.clone().requires_grad_() for part in made] for _ in range(3))
    found = OfFeatures.apply(*given, chosen)
    allowed = [1, 3, 4, 5, 6]
    said = torch.log_softmax(functional.linear(*own)[0][:, allowed], dim=1)
    first = torch.log_softmax(other[:, allowed], dim=1)
    entropy = -(said.exp() * said).sum()
    divergence = (said.exp() * (said - first)).sum()
    right = said[torch.arange(PLACES), torch.arange(PLACES) % 5]
    whole = -(weights * right).sum() - 0.3 * entropy + near * divergence
    torch.testing.assert_close(found, (whole, entropy))
    logits = OfLogits.apply(functional.linear(*third), chosen)
    for loss in (found[0], whole, logits[0]):
        (loss * 0.7).backward()
    for one, two, three in zip(given, own, third, strict=True):
        torch.testing.assert_close(one.grad, two.grad)
        torch.testing.assert_close(three.grad, two.grad)
    torch.testing.assert_close(log_probs(functional.linear(*made)[0], ids[:, None], BANNED)[:, 0], right.detach())


def test_the_banned_have_no_part() -> None:
    logits = torch.randn(4, V, generator=torch.Generator().manual_seed(7))
    said = log_policy(logits, BANNED)
    assert torch.isfinite(said).all() and (said.exp()[:, BANNED] == 0).all()
    torch.testing.assert_close(said.exp().sum(dim=1), torch.ones(4))


def test_a_baseline_begins_with_nothing_and_does_not_touch_the_model() -> None:
    x = torch.randn(3, 4, 5, requires_grad=True)
    baseline = Baseline(5, 8)
    found = baseline(x)
    assert found.shape == (3, 4) and not found.any()
    (found - 1).pow(2).sum().backward()
    assert x.grad is None and baseline.outer.bias.grad is not None


def test_every_row_is_tried() -> None:
    assert set(OBJECTIVES) == {"cross_entropy", "reinforce", "self_critical", "leave_one_out", "minimum_risk"}
    assert np.array_equal([row.samples for row in OBJECTIVES.values()], [1, 1, 1, 2, 2])
