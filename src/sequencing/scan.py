"""Linear recurrences over time, h_t = decay_t h_{t-1} + given_t, with gradients written out.

On a CPU one fused operation a step, in place in the result; elsewhere T steps become log2(T) doublings (Hillis and
Steele 1986). The gradient is the same recurrence from the last step to the first. What decays and why is the cells'.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def stepping(decay: Tensor, given: Tensor, first: Tensor) -> Tensor:  # 2 x (B, T, H), (B, H) -> (B, T, H)
    """The recurrence step by step. Batch first is as fast as time first here, and nothing is copied."""
    states = torch.empty_like(given)
    run(decay.unbind(1), given.unbind(1), first, states.unbind(1))
    return states


def stepping_back(decay: Tensor, above: Tensor) -> Tensor:  # (B, T, H), (B, T, H) -> (B, T, H)
    """The recurrence from the last step to the first: slope_t = decay_{t+1} slope_{t+1} + above_t."""
    slopes = torch.empty_like(above)
    slopes[:, -1] = above[:, -1]
    run(decay.unbind(1)[:0:-1], above.unbind(1)[-2::-1], slopes[:, -1], slopes.unbind(1)[-2::-1])
    return slopes


def run(decay: Sequence[Tensor], given: Sequence[Tensor], before: Tensor, states: Sequence[Tensor]) -> None:
    """Fill the states, all (B, H), in the order in which they are named."""
    for factor, term, state in zip(decay, given, states, strict=True):
        before = torch.addcmul(term, factor, before, out=state)


def doubling(decay: Tensor, given: Tensor, first: Tensor) -> Tensor:  # 2 x (B, T, H), (B, H) -> (B, T, H)
    """The same in log2(T) steps: after each, a state knows twice as many of the steps before it."""
    states = torch.cat([torch.addcmul(given[:, :1], decay[:, :1], first[:, None]), given[:, 1:]], dim=1)
    reach = 1
    while reach < given.shape[1]:
        here = decay[:, reach:]
        states = torch.cat([states[:, :reach], torch.addcmul(states[:, reach:], here, states[:, :-reach])], dim=1)
        decay = torch.cat([decay[:, :reach], here * decay[:, :-reach]], dim=1)
        reach *= 2
    return states


def doubling_back(decay: Tensor, above: Tensor) -> Tensor:  # (B, T, H), (B, T, H) -> (B, T, H)
    """What `stepping_back` says, in log2(T) steps."""
    later = torch.cat([decay[:, :1], decay[:, 1:].flip(1)], dim=1)  # the last step has no later one: times zero
    return doubling(later, above.flip(1), torch.zeros_like(above[:, 0])).flip(1)


class LinearRecurrence(torch.autograd.Function):
    """(B, T, H) decays, (B, T, H) terms, (B, H) state before the first step -> (B, T, H) states."""

    @staticmethod
    def forward(ctx: Any, decay: Tensor, given: Tensor, first: Tensor) -> Tensor:
        # (B, T, H), (B, T, H), (B, H) -> (B, T, H)
        states = (stepping if given.device.type == "cpu" else doubling)(decay, given, first)
        ctx.save_for_backward(decay, states, first)
        return states

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # (B, T, H) -> gradients
        decay, states, first = ctx.saved_tensors
        slopes = (stepping_back if above.device.type == "cpu" else doubling_back)(decay, above)
        decays = torch.empty_like(slopes)
        torch.mul(slopes[:, 0], first, out=decays[:, 0])
        torch.mul(slopes[:, 1:], states[:, :-1], out=decays[:, 1:])
        return decays, slopes, slopes[:, 0] * decay[:, 0]


def linear_recurrence(decay: Tensor, given: Tensor, first: Tensor) -> Tensor:  # (B, T, H), (B, T, H), (B, H)
    """The states h_t = decay_t h_{t-1} + given_t, from h_0 = first."""
    states: Tensor = LinearRecurrence.apply(decay, given, first)
    return states
