"""The smallest parts of a model, in PyTorch: look-up, dropout, masked softmax. Twin of `sequencing_np.layers`.

Linear maps and layer norms are PyTorch's own. Initialisation: tables are normal with deviation 1 / sqrt(E), matrices
Glorot-uniform (Glorot and Bengio 2010, equation 16), biases zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from sequencing.gathering import hold
from sequencing_np.vectors import EXTRA


class Linear(nn.Linear):
    """nn.Linear with Glorot-uniform weights and a zero bias."""

    chained = False  # whether what it says goes to another one alone

    def reset_parameters(self) -> None:
        nn.init.xavier_uniform_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:  # (..., D) -> (..., O)
        if held := hold(x, self.weight, self.bias):
            return held.product(x)
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            rows = short(x).flatten(0, -2)
            if torch.is_grad_enabled():
                said = ShortProduct.apply(rows, self.weight, self.bias)
            else:  # then the context keeps what it has made of the weights
                said = functional.linear(filled(rows), self.weight, self.bias)[: len(rows)]
            return said.view(*x.shape[:-1], -1)
        return super().forward(x)


class ShortProduct(torch.autograd.Function):
    """(N, D), (O, D), (O,) -> x W^T + b, on a CPU and in the short type that x has.

    There a product is compiled anew for each number of rows that it meets, which costs several times the product
    itself, and batches have all numbers. So rows are added until their number is one of few.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        full, weight = filled(x), weight.to(x.dtype)
        ctx.save_for_backward(full, weight)
        ctx.has_bias = bias is not None
        return functional.linear(full, weight, None if bias is None else bias.to(x.dtype))[: len(x)]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (x, weight), full = ctx.saved_tensors, filled(above)
        by_x = (full @ weight)[: len(above)] if ctx.needs_input_grad[0] else None
        by_weight = wide(full.t() @ x) if ctx.needs_input_grad[1] else None
        by_bias = wide(above.sum(dim=0)) if ctx.has_bias and ctx.needs_input_grad[2] else None
        return by_x, by_weight, by_bias


STEP = 256  # rows, of which products have a multiple


def filled(x: Tensor, step: int = STEP, dtype: torch.dtype | None = None) -> Tensor:  # (N, D) -> (M, D)
    """The rows, and rows of zeros after them, as many as make their number a multiple of `step`; in another type."""
    dtype = dtype or x.dtype
    if not (missing := -len(x) % step):
        return x.to(dtype)
    full = x.new_empty(len(x) + missing, x.shape[1], dtype=dtype)
    full[: len(x)] = x
    full[len(x) :] = 0
    return full


LayerNorm = nn.LayerNorm


def RMSNorm(size: int) -> nn.RMSNorm:
    """nn.RMSNorm with the epsilon of layer norm."""
    return nn.RMSNorm(size, eps=1e-5)


NORMS: dict[str, Callable[[int], nn.Module]] = {"layer_norm": LayerNorm, "rms_norm": RMSNorm}


def gelu(x: Tensor) -> Tensor:  # (...) -> (...)
    """x times the normal distribution's mass below x, by the tanh formula of Hendrycks and Gimpel 2016."""
    return nn.functional.gelu(x, approximate="tanh")


def relu(x: Tensor) -> Tensor:  # (...) -> (...)
    """max(x, 0), in the place of x where nothing is learnt from it."""
    return torch.relu(x) if torch.is_grad_enabled() else torch.relu_(x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {  # x belongs to them
    "relu": relu,
    "gelu": gelu,
    "silu": nn.functional.silu,
    "sigmoid": torch.sigmoid,
}


class Dropout(nn.Module):
    """Zeroes a share of the entries while training and scales the rest up (Srivastava et al. 2014).

    `variational`: one mask a sentence, the same at every step (Gal and Ghahramani 2016). On a CPU eight decisions
    come from one random number, so the share is rounded to a multiple of 1/256 and the scale is exact for it; not where
    it is compiled, with numbers of its own.
    """

    def __init__(self, share: float, variational: bool = False) -> None:
        super().__init__()
        self.share, self.variational = share, variational

    def forward(self, x: Tensor) -> Tensor:  # (B, T, D) -> (B, T, D)
        if not self.training or self.share == 0:
            return x
        shape = torch.Size((x.shape[0], 1, *x.shape[2:])) if self.variational else x.shape
        return x * keep_mask(shape, self.share, x)

    def extra_repr(self) -> str:
        return f"{self.share}, variational={self.variational}"


def keep_mask(shape: torch.Size, share: float, like: Tensor) -> Tensor:  # -> shape
    """Zeros with probability `share`, else 1 / (1 - share), of the dtype and device of `like`."""
    if like.device.type != "cpu" or torch.compiler.is_compiling():  # which could not look into NumPy
        return (torch.rand(shape, device=like.device, dtype=like.dtype) >= share).to(like.dtype) / (1 - share)
    border = min(max(round(share * 256), 1), 255)
    seed = int(torch.empty((), dtype=torch.int64).random_())
    words = np.random.SFC64(seed).random_raw((shape.numel() + 7) // 8)  # five times as fast as PyTorch's own generator
    keep = (words.view(np.uint8)[: shape.numel()] >= border).view(np.uint8)
    scale = torch.tensor(256 / (256 - border), dtype=like.dtype)
    bits = scale.view(getattr(torch, f"int{8 * like.itemsize}")).numpy()  # NumPy has no bfloat16, but its bits
    return torch.from_numpy(keep * bits).view(like.dtype).view(shape)


class LookUpOp(nn.Module):
    """A row of the table for each id, with dropout; where words have factors, plus a row of each factor's table.

    Then an id is of mixed radix, the word first, and `factors` tells how many values each factor has.

    With `vectors` rows of numbers are read (see `sequencing_np.vectors`): they are multiplied with the table, of which
    the rows for their numbers begin so much smaller that a vector comes out as large as a word does. So are weights of
    all ids, which stand for a mixture of words.
    """

    def __init__(
        self, count: int, size: int, dropout: float = 0.0, factors: tuple[int, ...] = (), vectors: bool = False
    ) -> None:
        super().__init__()
        self.vectors = vectors
        self.weight = nn.Parameter(torch.randn(count, size) * size**-0.5)
        if vectors:
            with torch.no_grad():
                self.weight[: count - EXTRA] *= max(count - EXTRA, 1) ** -0.5
        self.factors = nn.ModuleList(LookUpOp(values, size) for values in factors)
        self.sizes = (count, *factors)
        self.dropout = Dropout(dropout)

    def words(self, ids: Tensor) -> Tensor:  # (...) -> (...)
        """The words' own ids: what remains of ids that hold factors too. The last number of a row is its id."""
        if self.vectors:
            return ids[..., -1].long()
        return ids % len(self.weight) if self.factors else ids

    def plain(self, source: Tensor) -> Tensor:  # (...) -> (...)
        """What another table reads that has no factors: the words, or rows of numbers as they are."""
        return source if self.vectors else self.words(source)

    def forward(self, ids: Tensor) -> Tensor:  # (...) or (..., V) -> (..., E)
        if self.vectors or ids.is_floating_point():
            with torch.autocast(ids.device.type, enabled=False):  # numbers that were measured stay in full
                return self.dropout(ids.to(self.weight.dtype) @ self.weight)
        if not self.factors:
            return self.dropout(nn.functional.embedding(ids, self.weight))
        count, *sizes = self.sizes
        vectors = nn.functional.embedding(ids % count, self.weight)
        for size, table in zip(sizes, self.factors, strict=True):
            ids = ids // count
            vectors = vectors + table(ids % size)
            count = size
        return self.dropout(vectors)


class PositionTable(nn.Module):
    """A learned vector for each position; positions past the table's end share its last row. Drawn as a LookUpOp is."""

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, size) * size**-0.5)

    def forward(self, first: Tensor | int, length: int) -> Tensor:  # (R, 1), L -> (R, L, E); 0, L -> (L, E)
        positions = first + torch.arange(length, device=self.weight.device)
        return nn.functional.embedding(positions.clamp(max=len(self.weight) - 1), self.weight)


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:  # (..., S), (..., S) -> (..., S)
    """Softmax over the real positions, in float32 or better; a row without any is all zeros."""
    scores = wide(scores)
    return softmax(scores + unseen(mask, scores.dtype)) * mask.to(scores.dtype)


VECTOR = 16  # numbers that a CPU takes at once


def softmax(scores: Tensor) -> Tensor:  # (..., S) -> (..., S)
    """PyTorch's softmax over the last axis, which on a CPU is ten times as slow for rows shorter than a vector."""
    size = scores.shape[-1]
    if size >= VECTOR or scores.device.type != "cpu":
        return torch.softmax(scores, dim=-1)
    return torch.softmax(functional.pad(scores, (0, VECTOR - size), value=-torch.inf), dim=-1)[..., :size]


def unseen(mask: Tensor, dtype: torch.dtype) -> Tensor:  # (...) -> (...)
    """What is added to scores so that nothing is left of those where the mask is false.

    PyTorch is ten times as slow where truths meet numbers (`masked_fill`, `where`), so masks become numbers while they
    are small.
    """
    return (1 - mask.to(dtype)) * (torch.finfo(dtype).min / 2)


def wide(x: Tensor) -> Tensor:  # (...) -> (...)
    """The numbers in float32 or better, where they come in bfloat16: sums of many need it."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def short(x: Tensor) -> Tensor:  # (...) -> (...)
    """The vectors in the type of matrix products, where autocast has a shorter one: then all passes are short."""
    device = x.device.type
    return x.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else x


def reverse(x: Tensor, mask: Tensor) -> Tensor:  # (B, S, ...), (B, S) -> (B, S, ...)
    """Each sentence's real tokens in reverse; the padding stays at its end."""
    length = mask.sum(dim=1, keepdim=True)
    position = torch.arange(mask.shape[1], device=mask.device)[None]
    order = torch.where(position < length, length - 1 - position, position)
    return x.gather(1, order.reshape(*order.shape, *[1] * (x.dim() - 2)).expand_as(x))


def last(x: Tensor, mask: Tensor) -> Tensor:  # (B, S, D), (B, S) -> (B, D)
    """The vector at each sentence's last real token; zeros for a sentence without any."""
    length = mask.sum(dim=1)
    rows = torch.arange(len(x), device=x.device)
    return x[rows, (length - 1).clamp(min=0)] * (length > 0)[:, None]


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:  # (B, S, D), (B, S) -> (B, D)
    """The mean of the real tokens' vectors; zeros for a sentence without any. `x` is zero at padding."""
    return x.sum(dim=1) / mask.sum(dim=1).clamp(min=1)[:, None].to(x.dtype)
