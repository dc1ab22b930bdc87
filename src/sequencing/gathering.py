"""Matrices that many steps multiply with, one after the other: converted once, and learnt from once.

Autograd would narrow the matrix at every step, make a gradient as large as it, and add them all up. Here the steps keep
what they multiplied, and the gradient is one large product over all of them. For training on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


def product_dtype(like: Tensor) -> torch.dtype:
    """The type of matrix products: autocast's where it is on, else the tensor's own."""
    device = like.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else like.dtype


class Held:
    """A matrix, or one for each sentence, in the type of products, and what was multiplied with it."""

    def __init__(self, matrix: Tensor, bias: Tensor | None, kind: torch.dtype) -> None:
        self.matrix = matrix.detach().to(kind)  # (O, D) or (B, O, D)
        self.bias = None if bias is None else bias.detach().to(kind)  # (O,)
        self.pairs: list[tuple[Tensor, Tensor]] = []
        mark: Tensor = Gather.apply(matrix, bias, self)
        self.mark: Tensor | None = mark  # through it the matrix is learnt from
        self.nothing = mark.new_zeros(())  # its gradient
        self.learns = mark.requires_grad

    @cached_property
    def turned(self) -> Tensor:
        """(D, O) or (B, D, O), row after row in memory."""
        return self.matrix.mT.contiguous()

    def product(self, x: Tensor) -> Tensor:  # (..., N, D) -> (..., N, O)
        """x M^T + b, a step."""
        said: Tensor = Step.apply(x, self.mark, self)
        return said

    def keep(self, x: Tensor, above: Tensor) -> Tensor:  # (..., N, D), (..., N, O) -> ()
        """What a step multiplied, and the gradient of what came of it; the gradient of the mark is nothing."""
        if self.learns:
            flat = self.matrix.dim() == 2
            self.pairs.append((x.flatten(0, -2), above.flatten(0, -2)) if flat else (x, above))
        return self.nothing


class Gather(torch.autograd.Function):
    """The matrix and its bias -> a mark that all steps depend on: its turn comes when they are done."""

    @staticmethod
    def forward(ctx: Any, matrix: Tensor, bias: Tensor | None, held: Held) -> Tensor:
        ctx.held, ctx.kinds = held, (matrix.dtype, None if bias is None else bias.dtype)
        return matrix.new_zeros(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        held: Held = ctx.held
        if not held.pairs:
            return None, None, None
        x, above = (torch.cat(parts, dim=-2) for parts in zip(*held.pairs, strict=True))
        held.pairs.clear()
        by_matrix = (above.mT @ x).to(ctx.kinds[0]) if ctx.needs_input_grad[0] else None
        by_bias = above.sum(dim=-2).to(ctx.kinds[1]) if ctx.needs_input_grad[1] else None
        return by_matrix, by_bias, None


class Step(torch.autograd.Function):
    """(..., N, D) -> x M^T + b for the matrix that is held."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mark: Tensor, held: Held) -> Tensor:
        ctx.held, ctx.given = held, x.dtype
        x = x.to(held.matrix.dtype)
        ctx.save_for_backward(x)
        return functional.linear(x, held.matrix, held.bias) if held.matrix.dim() == 2 else x @ held.matrix.mT

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, Tensor, None]:
        (x,), held = ctx.saved_tensors, ctx.held
        by_x = (above @ held.matrix).to(ctx.given) if ctx.needs_input_grad[0] else None
        return by_x, held.keep(x, above), None


class Steps:
    """The matrices of the steps that are being made."""

    def __init__(self) -> None:
        self.held: dict[tuple[int, int, bool], Held] = {}
        self.own: list[Tensor | None] = []  # as long as they are kept, no others have their identities

    def hold(self, matrix: Tensor, bias: Tensor | None, kind: torch.dtype, turned: bool) -> Held:
        """What is held of a matrix, or of its transpose."""
        key = id(matrix), id(bias), turned
        if key not in self.held:
            self.own += [matrix, bias]
            self.held[key] = Held(matrix.mT if turned else matrix, bias, kind)
        return self.held[key]


_steps: ContextVar[Steps | None] = ContextVar("steps", default=None)  # of this thread


@contextmanager
def gathered(several: bool) -> Iterator[None]:
    """While it lasts `several` steps are made, and products with the same matrix belong together."""
    if _steps.get() or not several or not torch.is_grad_enabled():
        yield
        return
    steps = Steps()
    before = _steps.set(steps)
    try:
        yield
    finally:
        _steps.reset(before)
        for held in steps.held.values():
            held.mark = None  # which leads back to it: memory in a circle is not given back


def hold(like: Tensor, matrix: Tensor, bias: Tensor | None = None, turned: bool = False) -> Held | None:
    """A matrix for products with `like`, where several steps are made, and learnt from, on a CPU."""
    steps = _steps.get()
    if steps is None or like.device.type != "cpu" or not torch.is_grad_enabled():
        return None
    return steps.hold(matrix, bias, product_dtype(like), turned)


def product(x: Tensor, matrix: Tensor, bias: Tensor | None = None) -> Tensor:
    # (..., N, D), (O, D) or (B, O, D), (O,) -> (..., N, O)
    """x M^T + b."""
    if held := hold(x, matrix, bias):
        return held.product(x)
    return functional.linear(x, matrix, bias) if matrix.dim() == 2 else x @ matrix.mT


def mixture(weights: Tensor, values: Tensor) -> Tensor:  # (B, N, S), (B, S, D) -> (B, N, D)
    """Sums of each sentence's vectors."""
    held = hold(weights, values, turned=True)
    return held.product(weights) if held else weights @ values
