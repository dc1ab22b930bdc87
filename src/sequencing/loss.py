"""What training makes small: cross entropy, smoothed and normalised; and what may be added to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

NORMALIZERS: dict[str, Callable[[Tensor], Tensor]] = {
    "tokens": lambda mask: mask.sum(),
    "sentences": lambda mask: mask.new_tensor(mask.shape[0], dtype=torch.int64),
}
"""What the summed loss of a batch is divided by, from its target mask (B, T)."""


ROWS = 128  # of logits worked on together on a CPU: a slice of all passes stays in the cache


def wide(x: Tensor) -> Tensor:  # (...) -> (...)
    """The numbers in float32 or better: the sums of a loss need it, logits may come in bfloat16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def at_once(logits: Tensor, count: int) -> int:
    """How many of `count` rows of logits are worked on together."""
    return ROWS if logits.device.type == "cpu" else count


class CrossEntropy(torch.autograd.Function):
    """(N, V) logits, (N,) ids, (N,) mask, smoothing -> the sum over true rows.

    Written out because autograd makes six passes and five large arrays of what can be two of each: the forward keeps
    one number a row, the backward works on a few rows at a time. Only these few are widened where logits are narrow.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, mask: Tensor, smoothing: float) -> Tensor:
        rows = at_once(logits, len(logits))
        totals, losses = [], []
        for part, ids in zip(logits.split(rows), target.split(rows), strict=True):
            given = wide(part)
            totals.append(torch.logsumexp(given, dim=1))
            losses.append(totals[-1] - (1 - smoothing) * given.gather(1, ids[:, None])[:, 0])
            if smoothing:
                losses[-1] -= smoothing * given.mean(dim=1)
        total, loss = torch.cat(totals), torch.cat(losses)  # (N,), (N,)
        ctx.save_for_backward(logits, total, target, mask)
        ctx.smoothing = smoothing
        return loss.masked_fill(~mask, 0).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None, None]:
        logits, total, target, mask = ctx.saved_tensors
        gradient = torch.empty_like(logits)
        rows = at_once(logits, len(logits))
        parts = (x.split(rows) for x in (gradient, logits, total, target, mask))
        for part, given, norm, ids, real in zip(*parts, strict=True):
            slope = torch.sub(wide(given), norm[:, None]).exp_()
            if ctx.smoothing:
                slope.sub_(ctx.smoothing / slope.shape[1])
            slope.scatter_add_(1, ids[:, None], slope.new_full((len(slope), 1), ctx.smoothing - 1))
            part.copy_(slope.mul_(above).masked_fill_(~real[:, None], 0))
        return gradient, None, None, None


def cross_entropy(logits: Tensor, target: Tensor, mask: Tensor, smoothing: float = 0.0) -> Tensor:
    # (B, T, V), (B, T), (B, T) -> ()
    """The sum over real target tokens, in nats.

    With label smoothing the target distribution is (1 - smoothing) on the right id and smoothing / V on every id
    (Szegedy et al. 2016, section 7).
    """
    wanted = target.masked_fill(~mask, 0)  # under the padding stands any number
    return CrossEntropy.apply(logits.flatten(0, 1), wanted.flatten(), mask.flatten(), smoothing)


class Disagreement(torch.autograd.Function):
    """(2, N, V) logits, (N,) mask -> KL(p || q) + KL(q || p) over true rows, p and q being the two distributions.

    Written out for the same reason. With the log-ratio d = log p - log q, the gradient by the first logits is
    p (d - KL(p || q)) + p - q, and by the second the same with p and q exchanged.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, mask: Tensor) -> Tensor:
        rows = at_once(logits, logits.shape[1])
        norms, losses = [], []
        for part in logits.split(rows, dim=1):
            norm = torch.logsumexp(part, dim=2, keepdim=True)
            said = part - norm  # (2, n, V)
            ratio = said[0] - said[1]
            ratio = torch.stack([ratio, -ratio])
            norms.append(norm)
            losses.append(said.exp_().mul_(ratio).sum(dim=2))
        norm, loss = torch.cat(norms, dim=1), torch.cat(losses, dim=1)  # (2, N, 1), (2, N)
        ctx.save_for_backward(logits, norm, loss, mask)
        return loss.masked_fill(~mask, 0).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None]:
        logits, norm, loss, mask = ctx.saved_tensors
        gradient = torch.empty_like(logits)
        rows = at_once(logits, logits.shape[1])
        parts = (*(x.split(rows, dim=1) for x in (gradient, logits, norm, loss)), mask.split(rows))
        for part, given, own, apart, real in zip(*parts, strict=True):
            torch.sub(given, own, out=part)
            ratio = part[0] - part[1]
            p, q = part.exp_()
            change = p - q
            p.mul_(ratio - apart[0][:, None]).add_(change)
            q.mul_(ratio.neg_().sub_(apart[1][:, None])).sub_(change)
            part.mul_(above).masked_fill_(~real[:, None], 0)
        return gradient, None


def disagreement(logits: Tensor, mask: Tensor) -> Tensor:  # (2, B, T, V), (B, T) -> ()
    """How much two answers to the same question differ, in nats, summed over real target tokens.

    It is KL(p || q) + KL(q || p), both halves of Liang et al. 2021, equation 2 ("R-Drop").
    """
    return Disagreement.apply(logits.flatten(1, 2), mask.flatten())


def coverage_loss(alignment: Tensor, mask: Tensor) -> Tensor:  # (B, T, S), (B, T) -> ()
    """Attention spent again on what was attended to before, summed over real target tokens: See et al. 2017, eq. 12."""
    before = alignment.cumsum(dim=1) - alignment
    return (torch.minimum(alignment, before).sum(dim=2) * mask).sum()
