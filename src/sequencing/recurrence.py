"""GRU and LSTM over time with gradients written out, for training on a CPU.

Autograd adds one weight gradient a step; here the steps keep their gate gradients, and each weight gradient is one
large product over all of them, and over all runs where the matrix is held (gathering.py). Under autocast the products
run in its type, everything else in the states' own. The input products (W x + b) are the caller's; on a GPU the cells
use cuDNN instead of this module.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import linear

from sequencing.gathering import Held, product_dtype


class GRURecurrence(torch.autograd.Function):
    """(T, B, 3H) input products, (B, H) state, (3H, H) matrix, (3H,) bias -> (T, B, H) states; gates r, z, n."""

    @staticmethod
    def forward(
        ctx: Any, given: Tensor, h: Tensor, weight: Tensor, bias: Tensor | None, held: Held | None = None
    ) -> Tensor:  # (T, B, 3H), (B, H), (3H, H), (3H,) -> (T, B, H)
        kind, size = product_dtype(given), h.shape[1]
        matrix, offset = narrowed(weight, bias, held, kind)
        steps, rows, _ = given.shape
        states = h.new_empty(steps + 1, rows, size)
        gates = h.new_empty(steps, rows, 3 * size)  # r, z, n after their non-linearities
        candidate = h.new_empty(steps, rows, size)  # the part of n that r scales
        states[0] = h
        for t in range(steps):
            own = linear(states[t].to(kind), matrix, offset).to(h.dtype)
            both, new = gates[t, :, : 2 * size], gates[t, :, 2 * size :]
            torch.add(given[t, :, : 2 * size], own[:, : 2 * size], out=both).sigmoid_()
            candidate[t] = own[:, 2 * size :]
            torch.addcmul(given[t, :, 2 * size :], both[:, :size], candidate[t], out=new).tanh_()
            torch.lerp(new, states[t], both[:, size:], out=states[t + 1])
        ctx.held = held
        ctx.save_for_backward(states, gates, candidate, matrix)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor | None, ...]:  # (T, B, H) -> gradients
        states, gates, candidate, matrix = ctx.saved_tensors
        steps, _, size = candidate.shape
        kind, back = matrix.dtype, ctx.held.turned if ctx.held else matrix.t().contiguous()
        reset, update, new = gates.split(size, dim=2)
        given = torch.empty_like(gates)  # gradient of the input products
        own = torch.empty_like(gates)  # gradient of the state products
        # everything that does not wait for later steps, for all steps at once
        slope = (1 - new * new).mul_(1 - update)  # dh -> d(n before tanh)
        turn = (states[:-1] - new).mul_(update).mul_(1 - update)  # dh -> d(z before sigmoid)
        inner = candidate * reset * (1 - reset)  # d(n before tanh) -> d(r before sigmoid)
        dh = torch.zeros_like(above[0])
        for t in range(steps - 1, -1, -1):
            dh = dh + above[t]
            torch.mul(dh, slope[t], out=given[t, :, 2 * size :])
            torch.mul(given[t, :, 2 * size :], inner[t], out=given[t, :, :size])
            torch.mul(dh, turn[t], out=given[t, :, size : 2 * size])
            own[t, :, : 2 * size] = given[t, :, : 2 * size]
            torch.mul(given[t, :, 2 * size :], reset[t], out=own[t, :, 2 * size :])
            dh = torch.addcmul(linear(own[t].to(kind), back).to(dh.dtype), dh, update[t])
        return given, dh, *learnt(own, states, kind, ctx.held)


class LSTMRecurrence(torch.autograd.Function):
    """(T, B, 4H) input products, (B, H) state, (B, H) cell, (4H, H) matrix, (4H,) bias -> states and cells.

    Gates i, f, g, o.
    """

    @staticmethod
    def forward(
        ctx: Any, given: Tensor, h: Tensor, c: Tensor, weight: Tensor, bias: Tensor | None, held: Held | None = None
    ) -> tuple[Tensor, Tensor]:  # (T, B, 4H), (B, H), (B, H), (4H, H), (4H,) -> (T, B, H), (T, B, H)
        kind, size = product_dtype(given), h.shape[1]
        matrix, offset = narrowed(weight, bias, held, kind)
        steps, rows, _ = given.shape
        states, cells = h.new_empty(steps + 1, rows, size), h.new_empty(steps + 1, rows, size)
        gates = h.new_empty(steps, rows, 4 * size)
        squashed = h.new_empty(steps, rows, size)  # tanh of the cells
        states[0], cells[0] = h, c
        for t in range(steps):
            torch.add(given[t], linear(states[t].to(kind), matrix, offset), out=gates[t])
            enter, forget, new, leave = gates[t].split(size, dim=1)
            gates[t, :, : 2 * size].sigmoid_()
            new.tanh_()
            leave.sigmoid_()
            torch.mul(forget, cells[t], out=cells[t + 1]).addcmul_(enter, new)
            torch.tanh(cells[t + 1], out=squashed[t])
            torch.mul(leave, squashed[t], out=states[t + 1])
        ctx.held = held
        ctx.save_for_backward(states, cells, gates, squashed, matrix)
        return states[1:], cells[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor, above_cells: Tensor) -> tuple[Tensor | None, ...]:
        # (T, B, H), (T, B, H) -> gradients
        states, cells, gates, squashed, matrix = ctx.saved_tensors
        steps, rows, size = squashed.shape
        kind, back = matrix.dtype, ctx.held.turned if ctx.held else matrix.t().contiguous()
        enter, forget, new, leave = gates.split(size, dim=2)
        given = torch.empty_like(gates)
        # everything that does not wait for later steps, for all steps at once
        to_cell = (1 - squashed * squashed).mul_(leave)  # dh -> dc
        to_leave = squashed * leave * (1 - leave)  # dh -> d(o before sigmoid)
        slopes = torch.cat(  # dc -> d(i, f, g before their non-linearities)
            [new * enter * (1 - enter), cells[:-1] * forget * (1 - forget), enter * (1 - new * new)], dim=2
        ).view(steps, rows, 3, size)
        dh, dc = torch.zeros_like(above[0]), torch.zeros_like(above[0])
        for t in range(steps - 1, -1, -1):
            dh = dh + above[t]
            dc = (dc + above_cells[t]).addcmul_(dh, to_cell[t])
            torch.mul(slopes[t], dc[:, None], out=given[t, :, : 3 * size].view(rows, 3, size))
            torch.mul(dh, to_leave[t], out=given[t, :, 3 * size :])
            dc = dc * forget[t]
            dh = linear(given[t].to(kind), back).to(dc.dtype)
        return given, dh, dc, *learnt(given, states, kind, ctx.held)


def narrowed(
    weight: Tensor, bias: Tensor | None, held: Held | None, kind: torch.dtype
) -> tuple[Tensor, Tensor | None]:  # (G, H), (G,) -> (G, H), (G,)
    """Matrix and bias in the type of products; a mark stands for them where they are held."""
    return (held.matrix, held.bias) if held else (weight.to(kind), None if bias is None else bias.to(kind))


def learnt(gates: Tensor, states: Tensor, kind: torch.dtype, held: Held | None) -> tuple[Tensor | None, ...]:
    # (T, B, G), (T + 1, B, H) -> (G, H), (G,), None
    """Gradients of matrix and bias, of those of the products; where they are held, those are kept instead."""
    flat, before = gates.flatten(0, 1), states[:-1].flatten(0, 1).to(kind)
    short = flat.to(kind)
    if held:
        return held.keep(before, short), None, None
    return (short.t() @ before).to(gates.dtype), flat.sum(dim=0), None


def written_out(x: Tensor) -> bool:
    """Whether these functions serve better than PyTorch's kernels: gradients are wanted, on a CPU."""
    return x.device.type == "cpu" and torch.is_grad_enabled()
