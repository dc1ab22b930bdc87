"""What training makes small: cross entropy, smoothed and normalised; and what may be added to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sequencing_np.batch import Batch

NORMALIZERS: dict[str, Callable[[Batch], int]] = {
    "tokens": lambda batch: int(batch.target_mask.sum()),
    "sentences": lambda batch: len(batch.target),
}
"""What the summed loss of a step is divided by: the sum of this over its batches."""


ROWS = 128  # of logits worked on together on a CPU: a slice of all passes stays in the cache


def wide(x: Tensor) -> Tensor:  # (...) -> (...)
    """The numbers in float32 or better: the sums of a loss need it, logits may come in bfloat16."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def at_once(logits: Tensor, count: int) -> int:
    """How many of `count` rows of logits are worked on together."""
    return ROWS if logits.device.type == "cpu" else count


class CrossEntropy(torch.autograd.Function):
    """(N, V) logits, (N,) ids, (N,) mask, smoothing -> the sum over true rows.

    Written out because autograd makes six passes and five large arrays of what can be two of each: the gradient is made
    where the loss is, a few rows at a time, and kept in the logits' own type. Only these few are widened.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, mask: Tensor, smoothing: float) -> Tensor:
        rows = at_once(logits, len(logits))
        gradient = torch.empty_like(logits) if ctx.needs_input_grad[0] else None
        losses, first = [], 0
        for given, ids, real in zip(logits.split(rows), target.split(rows), mask.split(rows), strict=True):
            said = torch.log_softmax(wide(given), dim=1)
            losses.append((smoothing - 1) * said.gather(1, ids[:, None])[:, 0])
            if smoothing:
                losses[-1] -= smoothing * said.mean(dim=1)
            if gradient is not None:
                slope = said.exp_()
                if smoothing:
                    slope.sub_(smoothing / slope.shape[1])
                slope.scatter_add_(1, ids[:, None], slope.new_full((len(slope), 1), smoothing - 1))
                gradient[first : first + rows] = slope.masked_fill_(~real[:, None], 0)
            first += rows
        ctx.save_for_backward(gradient)
        return torch.cat(losses).masked_fill(~mask, 0).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * above.to(gradient.dtype), None, None, None


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
        gradient = torch.empty_like(logits) if ctx.needs_input_grad[0] else None
        losses, first = [], 0
        for given, real in zip(logits.split(rows, dim=1), mask.split(rows), strict=True):
            said = torch.log_softmax(wide(given), dim=2)  # (2, n, V)
            ratio = said[0] - said[1]
            p, q = said.exp_()
            apart = (p[:, None] @ ratio[..., None])[:, 0], (q[:, None] @ ratio[..., None]).neg_()[:, 0]  # (n, 1) each
            losses.append((apart[0] + apart[1])[:, 0])
            if gradient is not None:
                change = p - q
                ends = p.mul_(ratio - apart[0]).add_(change), q.mul_(ratio.neg_().sub_(apart[1])).sub_(change)
                for half, slope in zip(gradient, ends, strict=True):
                    half[first : first + rows] = slope.masked_fill_(~real[:, None], 0)
            first += rows
        ctx.save_for_backward(gradient)
        return torch.cat(losses).masked_fill(~mask, 0).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * above.to(gradient.dtype), None


def disagreement(logits: Tensor, mask: Tensor) -> Tensor:  # (2, B, T, V), (B, T) -> ()
    """How much two answers to the same question differ, in nats, summed over real target tokens.

    It is KL(p || q) + KL(q || p), both halves of Liang et al. 2021, equation 2 ("R-Drop").
    """
    return Disagreement.apply(logits.flatten(1, 2), mask.flatten())


def coverage_loss(alignment: Tensor, mask: Tensor) -> Tensor:  # (B, T, S), (B, T) -> ()
    """Attention spent again on what was attended to before, summed over real target tokens: See et al. 2017, eq. 12."""
    before = alignment.cumsum(dim=1) - alignment
    return (torch.minimum(alignment, before).sum(dim=2) * mask).sum()
