"""Float16 has few small numbers: the loss is multiplied before its gradient is taken, and the gradient divided after.

By a power of two, so that nothing is rounded by it. It is halved when a gradient is no finite number, whose update is
not made, and doubled after many that were (Micikevicius et al. 2018, "Mixed Precision Training", section 3.2). Nothing
waits for the device. What is remembered is part of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

FIRST, MOST = 2.0**16, 2.0**24
GROWTH = 2000  # updates in a row with finite gradients, after which it is doubled


class LossScale:
    """The scale of losses: one where the type of products needs none."""

    def __init__(self, low: torch.dtype | None = None, device: torch.device | str = "cpu") -> None:
        self.needed = low == torch.float16
        self.numbers = torch.tensor([FIRST, 0.0], device=device)  # the scale, finite gradients since it last changed

    def up(self, cost: Tensor) -> Tensor:
        """What to take the gradient of."""
        return cost * self.numbers[0] if self.needed else cost

    def down(self, parameters: Sequence[nn.Parameter]) -> None:
        """Make the gradients what they would be without a scale."""
        if self.needed:
            torch._foreach_mul_([each.grad for each in parameters if each.grad is not None], 1 / self.numbers[0])

    @property
    def explains(self) -> Tensor | bool:
        """Whether a gradient that is no finite number may be due to the scale, and a smaller one helps."""
        return self.numbers[0] > 1 if self.needed else False

    def learn(self, norm: Tensor) -> None:
        """Of the norm of a gradient."""
        if not self.needed:
            return
        scale, row = self.numbers
        sound = torch.isfinite(norm)
        row = torch.where(sound, row + 1, 0.0)
        grown = row >= GROWTH
        scale = torch.where(sound, torch.where(grown, scale * 2, scale), scale / 2).clamp(1, MOST)
        self.numbers = torch.stack([scale, torch.where(grown, 0.0, row)])

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"loss_scale": self.numbers.tolist()} if self.needed else {}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        if self.needed:
            self.numbers = self.numbers.new_tensor(state["loss_scale"])

    def told(self) -> dict[str, float]:
        """What the log says of it."""
        return {"loss_scale": float(self.numbers[0])} if self.needed else {}
