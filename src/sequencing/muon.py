"""Muon (Jordan et al. 2024): the matrices between hidden layers move along the orthogonal part of their momentum.

All singular values of such a step are about one, so that no direction of a matrix learns much faster than another. The
steps are as large as Adam's are (Liu et al. 2025, "Muon is scalable for LLM training", equation 4): one learning rate
does for both. Tables of words, the last matrix of a head, vectors and what is no linear map move as with AdamW.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
ROUNDS = 5
QUINTIC = (3.4445, -4.7750, 2.0315)  # of each round: singular values from 0.01 to 1 come to lie between 0.68 and 1.14
SIZE = 0.2  # root mean square of a step at a rate of one, as Adam's mostly is


def orthogonal(matrices: Tensor, precision: torch.dtype | None = None) -> Tensor:  # (N, R, C) -> (N, R, C)
    """U V' of U S V', nearly: five rounds of a Newton-Schulz iteration, which are products alone, in that precision."""
    a, b, c = QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices) / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    x = x.to(precision or x.dtype)
    for _ in range(ROUNDS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.AdamW):
    """AdamW, but for the groups of parameters marked `turned`. All matrices of one shape are turned at once."""

    def __init__(
        self, groups: list[dict[str, object]], rate: float, betas: tuple[float, float], precision: torch.dtype | None
    ) -> None:
        super().__init__(groups, rate, betas, eps=1e-9, fused=True)
        self._step_supports_amp_scaling = False  # a turned matrix moves whatever a tensor says; so the guard asks first
        self.precision = precision

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group["turned"]]
        try:
            super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group["turned"]:
                self.turn([each for each in group["params"] if each.grad is not None], group)

    def turn(self, parameters: Sequence[Tensor], group: dict[str, Any]) -> None:
        """Decay, and the step along the orthogonal part of Nesterov's momentum."""
        shapes: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for parameter in parameters:
            shapes[parameter.shape].append(parameter)
            if not self.state[parameter]:  # with a count, as AdamW looks for one wherever a state is restored
                self.state[parameter] = {"step": torch.zeros(()), "momentum": torch.zeros_like(parameter)}
        for shape, alike in shapes.items():
            gradients = [each.grad for each in alike if each.grad is not None]
            momenta = [self.state[each]["momentum"] for each in alike]
            torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
            ahead = torch.stack(torch._foreach_lerp(gradients, momenta, MOMENTUM))
            steps = orthogonal(ahead, self.precision).unbind()
            torch._foreach_mul_(alike, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(alike, steps, alpha=-group["lr"] * SIZE * max(shape) ** 0.5)


def inner_matrices(model: nn.Module) -> set[nn.Parameter]:
    """Those of linear maps, cells and convolutions, but the last one of a head, which may also be a table of words."""
    found, last = set[nn.Parameter](), set[nn.Parameter]()
    for place, module in model.named_modules():
        own = dict(module.named_parameters(recurse=False))
        mapped = isinstance(module, nn.Linear) or "bias" in own  # a table has none
        inner = {each for name, each in own.items() if each.dim() == 2 and (mapped or name.startswith("weight_"))}
        (last if f".{place}".endswith(".head.output") else found).update(inner)
    return found - last
