"""Learning from what whole sentences are worth: what each sampled token weighs in the loss, and what that costs.

Every objective here is a sum of weights times -log p over sampled tokens, whose gradient is that of an expected reward
(or of a risk). So a row of OBJECTIVES is a function from rewards to weights: it knows neither models nor texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.linalg import vecdot

from sequencing.arrays import LOG2_E, log_sum_exp, strips
from sequencing.distillation import Taught
from sequencing.layers import wide
from sequencing.loss import Judged, slices


class Earned(NamedTuple):
    """What n samples of each of B sentences earned."""

    returns: Tensor  # (B, n, T)  of each token, what it and all later ones earned
    totals: Tensor  # (B, n)  of the whole sentence
    own: Tensor  # (B, n, T)  1 where the model chose the token, 0 where it was taught, and behind the end
    foreseen: Tensor | None = None  # (B, n, T)  by the learned baseline, without its gradient
    greedy: Tensor | None = None  # (B,)  what the likeliest answer earned
    log_probs: Tensor | None = None  # (B, n)  of the samples, without their gradient
    fresh: Tensor | None = None  # (B, n)  false where an earlier sample of the sentence is the same
    sharpness: float = 1.0


def reinforce(earned: Earned) -> Tensor:  # -> (B, n, T)
    """(R_t - b_t) / n with a learned baseline b: Williams 1992; Ranzato et al. 2016, equation 11."""
    assert earned.foreseen is not None
    return (earned.returns - earned.foreseen) * earned.own / earned.own.shape[1]


def self_critical(earned: Earned) -> Tensor:  # -> (B, n, T)
    """The reward less that of the greedy answer: Rennie et al. 2017, equation 9."""
    assert earned.greedy is not None
    return (earned.totals - earned.greedy[:, None])[..., None] * earned.own / earned.own.shape[1]


def leave_one_out(earned: Earned) -> Tensor:  # -> (B, n, T)
    """The reward less the mean of the other samples': Kool et al. 2019, "Buy 4 REINFORCE Samples, Get a Baseline for
    Free!", equation 8; RLOO in Ahmadian et al. 2024."""
    count = earned.totals.shape[1]
    others = (earned.totals.sum(dim=1, keepdim=True) - earned.totals) / (count - 1)
    return (earned.totals - others)[..., None] * earned.own / count


def minimum_risk(earned: Earned) -> Tensor:  # -> (B, n, T)
    """Shen et al. 2016, equations 8 to 10: the expected reward under Q ~ p ** sharpness over the different candidates.

    Its derivative by log p of a candidate is sharpness Q (reward - expected reward).
    """
    assert earned.log_probs is not None and earned.fresh is not None
    scores = (earned.sharpness * wide(earned.log_probs)).masked_fill(~earned.fresh, -torch.inf)
    share = torch.softmax(scores, dim=1)
    expected = (share * earned.totals).sum(dim=1, keepdim=True)
    return (earned.sharpness * share * (earned.totals - expected))[..., None] * earned.own


class Objective(NamedTuple):
    """A way to learn, and what it needs."""

    weights: Callable[[Earned], Tensor] | None  # None: it learns from the target alone
    samples: int = 1  # at least
    baseline: bool = False  # a learned one
    greedy: bool = False  # the likeliest answer, too
    candidates: bool = False  # how likely the samples are, and which of them differ


OBJECTIVES: dict[str, Objective] = {
    "cross_entropy": Objective(None),
    "reinforce": Objective(reinforce, baseline=True),
    "self_critical": Objective(self_critical, greedy=True),
    "leave_one_out": Objective(leave_one_out, samples=2),
    "minimum_risk": Objective(minimum_risk, samples=2, candidates=True),
}


class Baseline(nn.Module):
    """What will be earned from a token on, foreseen from what the decoder makes of the words before it.

    linear(relu(linear(x))), as the original framework's; x is cut off from the gradient, so that the model does not
    learn to please it. It begins with 0.
    """

    def __init__(self, features: int, size: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(features, size), nn.Linear(size, 1)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, x: Tensor) -> Tensor:  # (..., F) -> (...)
        return self.outer(torch.relu(self.inner(x.detach().to(self.inner.weight.dtype))))[..., 0]


class Risk(NamedTuple):
    """Weights that depend on how likely whole samples are: found for all places of a sentence at once."""

    weights: Callable[[Earned], Tensor]
    earned: Earned  # all but how likely they are
    tokens: Tensor  # (N, k) counted through (B, k, T)
    ends: np.ndarray  # (B,) where the places of each sentence end

    def at(self, part: slice) -> Risk:
        """The same at some of the places."""
        return self._replace(tokens=self.tokens[part])

    def weigh(self, likely: Tensor, there: Tensor) -> Tensor:  # (N, k), (N, k) -> (N, k)
        """The weights, of the log-probabilities."""
        each = likely.new_zeros(self.earned.own.numel())
        each.scatter_add_(0, self.tokens.flatten(), torch.where(there, likely, 0.0).flatten())
        earned = self.earned._replace(log_probs=each.view_as(self.earned.own).sum(dim=2))
        return self.weights(earned).flatten()[self.tokens] * there


class Chosen(NamedTuple):
    """What was said at N places by the model itself, and what each of it weighs. The twin of `loss.Wanted`.

    At one place k samples of a sentence may have spoken, whose words before are the same.
    """

    ids: Tensor  # (N, k)
    weights: Tensor | None  # (N, k)  0 where a sample did not speak there; None: `risk` tells them
    there: Tensor  # (N, k)  whether it did
    banned: Tensor  # ids that no search may say: the policy is the softmax over the others
    entropy: float = 0.0  # the weight of the entropy, which is to be large
    near: float = 0.0  # the weight of the divergence from the model of `start`, which is to be small
    start: Taught | None = None  # what that model says there
    risk: Risk | None = None

    def at(self, part: slice) -> Chosen:
        """The same at some of the places."""
        weights = None if self.weights is None else self.weights[part]
        start, risk = self.start and self.start.at(part), self.risk and self.risk.at(part)
        return self._replace(ids=self.ids[part], weights=weights, there=self.there[part], start=start, risk=risk)

    def parts(self, x: Tensor, size: int) -> Iterator[slice]:
        """Places looked at together; with a risk, whole sentences."""
        if self.risk is None:
            yield from slices(x, size)
            return
        first = 0
        for part in slices(x, size):
            end = int(max(self.risk.ends[self.risk.ends <= part.stop], default=0))
            if end > first:
                yield slice(first, end)
                first = end

    def judged(self, logits: Tensor, slope: Tensor) -> Judged:  # (1, N, V), (1, N, V)
        """Sum of weight x -log p(id), less entropy H(p), plus near KL(p || start); and the sum of H.

        The gradient by the logits comes into `slope`, which may be the logits themselves: weight (p - 1 at the id),
        entropy p (log p + H), near p (log p - log q - KL).
        """
        known = self
        if self.risk:
            known = self._replace(weights=self.risk.weigh(log_probs(logits[0], self.ids, self.banned), self.there))
        sums = [torch.stack(known.at(part).slopes(logits[0, part], slope[0, part])) for part in strips(logits)]
        return Judged(*torch.stack(sums).sum(dim=0))

    def slopes(self, logits: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:  # (N, V), (N, V)
        """The two sums of a few places; the gradient comes into `slope`."""
        assert self.weights is not None
        said = spoken(logits, self.banned)
        said.sub_(said.amax(dim=1, keepdim=True))
        p = torch.mul(said, LOG2_E).exp2_()
        total = p.sum(dim=1, keepdim=True)
        log_total, weights = total.log(), self.weights.to(said.dtype)
        count = self.there.sum(dim=1, keepdim=True).to(said.dtype)
        surprise = vecdot(p, said)[:, None] / total - log_total  # -H
        uncertainty = -(count * surprise).sum()
        whole = -(weights * (said.gather(1, self.ids) - log_total)).sum() - self.entropy * uncertainty
        change = None
        if self.entropy or (self.start and self.near):
            p.div_(total)
            said.sub_(log_total)
            total = torch.ones_like(total)
        if self.entropy:
            change = p * (said - surprise) * (self.entropy * count)
        if self.start and self.near:
            apart = said - log_policy(self.start.logits(), self.banned)
            divergence = vecdot(p, apart)[:, None]
            whole = whole + self.near * (count * divergence).sum()
            pull = p * (apart - divergence) * (self.near * count)
            change = pull if change is None else change.add_(pull)
        p.mul_(weights.sum(dim=1, keepdim=True) / total)
        same = self.ids[:, :, None] == self.ids[:, None]  # (N, k, k): an id said twice is written twice, the same
        p.scatter_(1, self.ids, p.gather(1, self.ids) - (same * weights[:, None]).sum(dim=2))
        slope.copy_(p if change is None else p.add_(change))
        return whole, uncertainty


def spoken(logits: Tensor, banned: Tensor) -> Tensor:  # (..., V), (M,) -> (..., V)
    """A copy, with a finite number far below all others for the ids that may not be said, so that 0 x it is 0."""
    logits = wide(logits)
    return logits.index_fill(-1, banned, torch.finfo(logits.dtype).min / 4)


def log_policy(logits: Tensor, banned: Tensor) -> Tensor:  # (..., V), (M,) -> (..., V)
    """log softmax over the ids that may be said."""
    return torch.log_softmax(spoken(logits, banned), dim=-1)


def log_probs(logits: Tensor, ids: Tensor, banned: Tensor) -> Tensor:  # (N, V), (N, k), (M,) -> (N, k)
    """log p of the ids, the policy being the softmax over those that may be said."""
    found = []
    for part in strips(logits):
        said = spoken(logits[part], banned)
        found.append(said.gather(1, ids[part]) - log_sum_exp(said, said.amax(dim=1, keepdim=True))[:, None])
    return torch.cat(found)
