"""Matrix products in bfloat16 or in integers of 8 bits, for a model that only answers. All between stays in float32.

What goes from one map in bfloat16 to another alone does not. Logits do: they are sums in float32, as bfloat16 has not
digits enough to tell hypotheses apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sequencing.cells import LightCell
from sequencing.layers import Linear, filled
from sequencing.precision import chosen
from sequencing.train_config import AUTO
from sequencing_np.errors import UsageError

FEW = 32  # rows, of which small products have a multiple


class Matrix(NamedTuple):
    """A linear map's numbers."""

    weight: Tensor  # (O, D)
    bias: Tensor | None  # (O,)
    chained: bool = False  # as of Linear


class ShortLinear(nn.Module):
    """A linear map in bfloat16, to float32; one that is `chained` stays in bfloat16."""

    def __init__(self, linear: Linear | Matrix) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach().to(torch.bfloat16), requires_grad=False)
        bias = linear.bias
        self.bias = None if bias is None else nn.Parameter(bias.detach().to(torch.bfloat16), requires_grad=False)
        self.packed, self.chained = packed(self.weight), linear.chained

    def forward(self, x: Tensor) -> Tensor:  # (..., D) -> (..., O)
        flat = x.reshape(-1, x.shape[-1])
        said = product(few(flat, torch.bfloat16), self)[: len(flat)]
        return (said if self.chained else said.float()).view(*x.shape[:-1], -1)


class ShortFactors(nn.Module):
    """A linear map whose factors are rounded to bfloat16, their sums not: what logits need."""

    def __init__(self, linear: nn.Linear | Matrix) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        with rounded_factors():
            self.packed = packed(self.weight.detach())

    def rows(self, ids: Tensor) -> ShortFactors:  # (C,)
        """The map to some of its outputs."""
        return ShortFactors(some(self, ids))

    def forward(self, x: Tensor) -> Tensor:  # (..., D) -> (..., O)
        flat = x.reshape(-1, x.shape[-1])
        with rounded_factors():
            said = product(few(flat), self)[: len(flat)]
        return said.view(*x.shape[:-1], -1)


@contextmanager
def rounded_factors() -> Iterator[None]:
    """Within, a CPU's products of float32 matrices round them to bfloat16."""
    settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before, settings.fp32_precision = settings.fp32_precision, "bf16"
    try:
        yield
    finally:
        settings.fp32_precision = before


def packed(weight: Tensor) -> Tensor | None:  # (O, D)
    """The matrix in the order that oneDNN's products like, which they bring it in at every product otherwise.

    None where they are of another library. These operators of PyTorch are not public: where they are gone, None, too.
    """
    ready = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", bool)
    order = getattr(torch.ops.mkldnn, "_reorder_linear_weight", None)
    return order(weight, FEW) if order and weight.device.type == "cpu" and ready() else None


def product(x: Tensor, of: ShortLinear | ShortFactors) -> Tensor:  # (N, D) -> (N, O)
    """x W^T + b."""
    if of.packed is None:
        return functional.linear(x, of.weight, of.bias)
    return torch.ops.mkldnn._linear_pointwise(x, of.packed, of.bias, "none", [], "")


class ByteLinear(nn.Module):
    """A linear map whose factors are rounded to 8 bits: 127 steps from zero to the largest of a row of either.

    Sums of such products are exact, so what a row comes to does not depend on the rows beside it. oneDNN multiplies
    bytes without a sign, so zero is 128.
    """

    def __init__(self, linear: nn.Linear | Matrix) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        steps = linear.weight.detach().abs().amax(dim=1).clamp(min=LEAST) / 127
        rounded = (linear.weight.detach() / steps[:, None]).round_().to(torch.int8)
        self.packed, self.steps = torch.ops.onednn.qlinear_prepack(rounded, None), steps
        self.zeros = torch.zeros(len(steps), dtype=torch.int32)

    def rows(self, ids: Tensor) -> ByteLinear:  # (C,)
        """The map to some of its outputs."""
        return ByteLinear(some(self, ids))

    def forward(self, x: Tensor) -> Tensor:  # (..., D) -> (..., O)
        flat = x.reshape(-1, x.shape[-1])
        largest = torch.maximum(flat.amax(dim=1, keepdim=True), flat.amin(dim=1, keepdim=True).neg_())
        steps = largest.clamp_(min=LEAST).div_(127)
        rounded = few((flat / steps).round_().to(torch.int8).view(torch.uint8).bitwise_xor_(128))
        own: tuple[Any, ...] = (self.packed, self.steps, self.zeros, None, 1.0, 0, x.dtype, "none", [], "")
        sums = torch.ops.onednn.qlinear_pointwise(rounded, 1.0, 128, *own)[: len(flat)]
        said = sums.mul_(steps) if self.bias is None else torch.addcmul(self.bias, sums, steps, out=sums)
        return said.view(*x.shape[:-1], -1)


def some(linear: Any, ids: Tensor) -> Matrix:  # (C,)
    """The numbers of some of a linear map's outputs."""
    return Matrix(linear.weight[ids], None if linear.bias is None else linear.bias[ids])


LEAST = 1e-30  # instead of zero, by which nothing can be divided


def few(x: Tensor, dtype: torch.dtype | None = None) -> Tensor:  # (N, D) -> (M, D)
    """The rows, and on a CPU rows of zeros after them: there a product is compiled anew for each number of rows."""
    if x.device.type != "cpu":
        return x.to(dtype or x.dtype)
    return filled(x, FEW if len(x) <= 8 * FEW else 2 * FEW, dtype)


KINDS: dict[str, tuple[Any, Any]] = {  # the maps within, and the last one
    "bfloat16": (ShortLinear, ShortFactors),
    "int8": (ByteLinear, ByteLinear),
}


def answering(precision: str, device: torch.device) -> str:
    """In what a model answers there: float32 or a row of KINDS. UsageError where it is none, or the device has it not.

    `auto` is bfloat16 where the device multiplies it.
    """
    choices = ("float32", *KINDS, AUTO)
    if precision not in choices:
        raise UsageError(f"precision {precision!r}: a model answers in {', '.join(choices)}")
    if precision == "int8" and not (device.type == "cpu" and torch.cpu._is_vnni_supported()):
        raise UsageError("precision int8: needs a CPU that multiplies bytes (AVX512-VNNI); take bfloat16 or float32")
    found = chosen(precision, device).name
    return found if found in KINDS else "float32"


def shorten(model: Any, precision: str) -> None:
    """Put a row of KINDS in the place of all linear maps of a model; in float32 it stays as it is.

    Of recurrent cells those that wait for their state keep their products.
    """
    if precision not in KINDS:
        return
    kind, last = KINDS[precision]
    for module in list(model.modules()):
        if isinstance(module, LightCell):
            module.short = kind(Matrix(module.weight_ih_l0, module.bias))
        for name, child in list(module.named_children()):
            if isinstance(child, Linear):
                setattr(module, name, (last if child is getattr(model.decoder.head, "output", None) else kind)(child))
