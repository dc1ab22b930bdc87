"""What training makes small: cross entropy, smoothed and normalised."""

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


class CrossEntropy(torch.autograd.Function):
    """(N, V) logits, (N,) ids, (N,) mask, smoothing -> the sum over true rows.

    Written out because autograd makes six passes and five large arrays of what can be two of each: the forward keeps
    one number a row, the backward works on a few rows at a time.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, mask: Tensor, smoothing: float) -> Tensor:
        slices = logits.split(ROWS if logits.device.type == "cpu" else len(logits))
        total = torch.cat([torch.logsumexp(part, dim=1) for part in slices])  # (N,)
        loss = total - (1 - smoothing) * logits.gather(1, target[:, None])[:, 0]
        if smoothing:
            loss -= smoothing * logits.mean(dim=1)
        ctx.save_for_backward(logits, total, target, mask)
        ctx.smoothing = smoothing
        return loss.masked_fill(~mask, 0).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, None, None, None]:
        logits, total, target, mask = ctx.saved_tensors
        gradient = torch.empty_like(logits)
        rows = ROWS if logits.device.type == "cpu" else len(logits)
        parts = (x.split(rows) for x in (gradient, logits, total, target, mask))
        for part, given, norm, ids, real in zip(*parts, strict=True):
            torch.sub(given, norm[:, None], out=part).exp_()
            if ctx.smoothing:
                part.sub_(ctx.smoothing / part.shape[1])
            part.scatter_add_(1, ids[:, None], part.new_full((len(part), 1), ctx.smoothing - 1))
            part.mul_(above).masked_fill_(~real[:, None], 0)
        return gradient, None, None, None


def cross_entropy(logits: Tensor, target: Tensor, mask: Tensor, smoothing: float = 0.0) -> Tensor:
    # (B, T, V), (B, T), (B, T) -> ()
    """The sum over real target tokens, in nats.

    With label smoothing the target distribution is (1 - smoothing) on the right id and smoothing / V on every id
    (Szegedy et al. 2016, section 7).
    """
    wanted = target.masked_fill(~mask, 0)  # under the padding stands any number
    return CrossEntropy.apply(logits.flatten(0, 1), wanted.flatten(), mask.flatten(), smoothing)


def coverage_loss(alignment: Tensor, mask: Tensor) -> Tensor:  # (B, T, S), (B, T) -> ()
    """Attention spent again on what was attended to before, summed over real target tokens: See et al. 2017, eq. 12."""
    before = alignment.cumsum(dim=1) - alignment
    return (torch.minimum(alignment, before).sum(dim=2) * mask).sum()
