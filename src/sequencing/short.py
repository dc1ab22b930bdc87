"""Matrix products in bfloat16, for a model that only answers. Everything between them stays in float32.

Logits too: they are sums in float32, as bfloat16 has not digits enough to tell hypotheses apart.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sequencing.layers import Linear, filled

FEW = 32  # rows, of which small products have a multiple


class ShortLinear(nn.Module):
    """A linear map in bfloat16, from float32 to float32."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = nn.Parameter(linear.weight.detach().to(torch.bfloat16), requires_grad=False)
        bias = linear.bias
        self.bias = None if bias is None else nn.Parameter(bias.detach().to(torch.bfloat16), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:  # (..., D) -> (..., O)
        flat = x.reshape(-1, x.shape[-1])
        said = functional.linear(few(flat.to(torch.bfloat16)), self.weight, self.bias)[: len(flat)]
        return said.to(x.dtype).view(*x.shape[:-1], -1)


class ShortFactors(nn.Module):
    """A linear map whose factors are rounded to bfloat16, their sums not: what logits need."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: Tensor) -> Tensor:  # (..., D) -> (..., O)
        flat = x.reshape(-1, x.shape[-1])
        settings = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
        before, settings.fp32_precision = settings.fp32_precision, "bf16"
        try:
            said = functional.linear(few(flat), self.weight, self.bias)[: len(flat)]
        finally:
            settings.fp32_precision = before
        return said.view(*x.shape[:-1], -1)


def few(x: Tensor) -> Tensor:  # (N, D) -> (M, D)
    """The rows, and on a CPU rows of zeros after them: there a product is compiled anew for each number of rows."""
    if x.device.type != "cpu":
        return x
    return filled(x, FEW) if len(x) <= 8 * FEW else filled(x)


def shorten(model: Any) -> None:
    """Put such maps in the place of all linear maps of a model."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Linear):
                kind = ShortFactors if child is getattr(model.decoder.head, "output", None) else ShortLinear
                setattr(module, name, kind(child))
