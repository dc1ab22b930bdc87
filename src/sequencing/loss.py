"""What training makes small: cross entropy, smoothed and normalised; and what may be added to it.

Padding is not known here: whoever asks leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.linalg import vecdot
from torch.nn import functional

from sequencing.arrays import strips
from sequencing.distillation import Taught
from sequencing.layers import short, wide
from sequencing_np.batch import Batch

NORMALIZERS: dict[str, Callable[[Batch], int]] = {
    "tokens": lambda batch: int(batch.target_mask.sum()),
    "sentences": lambda batch: len(batch.target),
}
"""What the summed loss of a step is divided by: the sum of this over its batches."""


class Wanted(NamedTuple):
    """What is to be said at each of N places, and what else is asked of how it is said."""

    ids: Tensor  # (N,)
    smoothing: float = 0.0  # the share of the target distribution that all ids divide among them
    agreement: float = 0.0  # the weight of how much two answers (P = 2) differ
    taught: Taught | None = None  # what a teacher says there, and its share of the loss
    z_loss: float = 0.0  # the weight of the square of log Z, Z being what the softmax divides by

    def at(self, part: slice) -> Wanted:
        """The same at some of the places."""
        return self._replace(ids=self.ids[part], taught=self.taught and self.taught.at(part))

    def parts(self, x: Tensor, size: int) -> Iterator[slice]:
        """Places looked at together."""
        return slices(x, size)

    def judged(self, logits: Tensor, slope: Tensor) -> Judged:  # (P, N, V), (P, N, V)
        """What logits cost at all of the places; how that changes with each of them comes into `slope`.

        That may be the logits themselves, which are then overwritten.
        """
        parts = [slice(None)] if self.taught else strips(logits)  # a teacher's logits are made of many places at once
        sums = [torch.stack(judged(logits[:, part], self.at(part), slope[:, part])) for part in parts]
        return Judged(*torch.stack(sums).sum(dim=0))


class Judged(NamedTuple):
    """What some logits cost."""

    whole: Tensor  # ()  with all that is asked
    cross_entropy: Tensor  # ()


def judged(logits: Tensor, wanted: Wanted, slope: Tensor) -> Judged:  # (P, N, V), N places, (P, N, V)
    """The losses of P answers at the same places, summed over all; their gradient comes into `slope`.

    Cross entropy in nats; with label smoothing the target distribution is (1 - smoothing) on the right id and
    smoothing / V on every id (Szegedy et al. 2016, section 7). `agreement` adds KL(p || q) + KL(q || p) of two answers
    p and q, both halves of Liang et al. 2021, equation 2 ("R-Drop"); with d = log p - log q its gradient by p's logits
    is p (d - KL(p || q)) + p - q, and by q's the same with both exchanged. `z_loss` adds log(Z)^2, with Z the sum of
    exp(logits) (Chowdhery et al. 2022, section 5); its gradient is 2 log(Z) p. A teacher takes its share from the cross
    entropy, in what is made small alone.
    """
    smoothing, right = wanted.smoothing, wanted.ids.expand(len(logits), -1)[..., None]
    said = wide(logits)
    most = said.amax(dim=2, keepdim=True)
    said = said - most  # log p + log total
    chosen, mean = said.gather(2, right), said.mean(dim=2, keepdim=True) if smoothing else None
    ratio = said[0] - said[1] if wanted.agreement else None
    p = said.exp_()
    total = p.sum(dim=2, keepdim=True)
    log_total = total.log()
    p.mul_(total.reciprocal())
    whole = cross_entropy = (smoothing - 1) * (chosen - log_total).sum()
    if mean is not None:
        whole = cross_entropy = cross_entropy - smoothing * (mean - log_total).sum()
    change = None
    if ratio is not None:
        ratio += log_total[1] - log_total[0]
        one, other = p
        apart = vecdot(one, ratio)[:, None], -vecdot(other, ratio)[:, None]  # (N, 1) each
        whole = whole + wanted.agreement * (apart[0] + apart[1]).sum()
        change = torch.stack([one * (ratio - apart[0]) + (one - other), other * (-ratio - apart[1]) + (other - one)])
    pull = None
    if wanted.z_loss:
        log_z = log_total + most
        whole = whole + wanted.z_loss * log_z.square().sum()
        pull = p * (2 * wanted.z_loss * log_z)
    if smoothing:
        p.sub_(smoothing / p.shape[2])
    p.scatter_add_(2, right, p.new_full(right.shape, smoothing - 1))
    if wanted.taught:
        share, lesson = wanted.taught.share, wanted.taught.lesson(logits)
        whole = whole + share * (lesson.cost - cross_entropy)
        p.lerp_(lesson.slope, share)
    if change is not None:
        p.add_(change, alpha=wanted.agreement)
    slope.copy_(p if pull is None else p.add_(pull))
    return Judged(whole, cross_entropy)


CELLS = 1 << 22  # logits that are made together on a CPU
MORE = 1 << 27  # and elsewhere, so that they do not fill the memory


def slices(x: Tensor, size: int) -> Iterator[slice]:
    """Parts of N places whose logits are not too many at once, of a few sizes: powers of two."""
    most, first = max((CELLS if x.device.type == "cpu" else MORE) // (len(x) * size), 1), 0
    while left := x.shape[1] - first:
        rows = 1 << min(most, left).bit_length() - 1
        yield slice(first, first + rows)
        first += rows


class OfLogits(torch.autograd.Function):
    """(P, N, V) logits -> what they cost: the whole, and the cross entropy alone, which is not to be learnt from.

    Written out because autograd makes six passes and five large arrays of what can be two of each: the gradient is made
    where the loss is, some places at a time, and kept in the logits' own type. Only these few are widened.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, wanted: Wanted) -> tuple[Tensor, Tensor]:
        gradient = torch.empty_like(logits) if ctx.needs_input_grad[0] else None
        parts = []
        for part in wanted.parts(logits, logits.shape[2]):
            slope = torch.empty_like(logits[:, part]) if gradient is None else gradient[:, part]
            parts.append(torch.stack(wanted.at(part).judged(logits[:, part], slope)))
        ctx.save_for_backward(gradient)
        whole, cross_entropy = torch.stack(parts).sum(dim=0)
        ctx.mark_non_differentiable(cross_entropy)
        return whole, cross_entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor, _: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * above.to(gradient.dtype), None


class OfFeatures(torch.autograd.Function):
    """(P, N, D), (V, D), (V,) -> the same of W x + b, without ever holding the logits of all places.

    The gradients by x, W and b are made of each part's logits at once; those of W and b are summed in float32.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, wanted: Wanted) -> tuple[Tensor, Tensor]:
        needed = any(ctx.needs_input_grad[:3])
        by_x = torch.empty_like(x) if needed else None
        by_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        by_bias = torch.zeros_like(bias) if ctx.needs_input_grad[2] else None
        short_x, short_weight, short_bias = short(x), short(weight), short(bias)
        parts = []
        with torch.autocast(x.device.type, enabled=False):
            for part in wanted.parts(x, len(weight)):
                logits = functional.linear(short_x[:, part], short_weight, short_bias)
                slope = logits  # which takes their place
                parts.append(torch.stack(wanted.at(part).judged(logits, slope)))
                if by_x is not None:
                    by_x[:, part] = slope @ short_weight
                    if by_weight is not None:
                        by_weight += slope.flatten(0, 1).t() @ short_x[:, part].flatten(0, 1)
                    if by_bias is not None:
                        by_bias += slope.sum(dim=(0, 1))
        ctx.save_for_backward(by_x, by_weight, by_bias)
        whole, cross_entropy = torch.stack(parts).sum(dim=0)
        ctx.mark_non_differentiable(cross_entropy)
        return whole, cross_entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        return *(part if part is None else part * above.to(part.dtype) for part in ctx.saved_tensors), None


def cross_entropy(logits: Tensor, target: Tensor, mask: Tensor, smoothing: float = 0.0) -> Tensor:
    # (B, T, V), (B, T), (B, T) -> ()
    """The sum over real target tokens, in nats."""
    whole, _ = OfLogits.apply(logits[mask][None], Wanted(target[mask], smoothing))
    return whole


def coverage_loss(alignment: Tensor, mask: Tensor) -> Tensor:  # (B, T, S), (B, T) -> ()
    """Attention spent again on what was attended to before, summed over real target tokens: See et al. 2017, eq. 12."""
    before = alignment.cumsum(dim=1) - alignment
    return (torch.minimum(alignment, before).sum(dim=2) * mask).sum()
