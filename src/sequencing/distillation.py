"""Learning from a teacher's distribution, and not from one right id alone: what it costs to differ from it.

Word-level distillation: Hinton et al. 2015; Kim and Rush 2016, section 3.1. Knows nothing of who the teacher is.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from sequencing.layers import wide


class Lesson(NamedTuple):
    """What it costs to differ from a teacher, and how that changes with each logit."""

    cost: Tensor  # ()
    slope: Tensor  # (P, N, V), in float32 or better


def lesson(logits: Tensor, taught: Tensor, temperature: float) -> Lesson:  # (P, N, V), (N, V)
    """T^2 KL(teacher || student) in nats, summed over P answers at N places, and its gradient by their logits.

    With q = softmax(taught / T) and p = softmax(logits / T) the divergence is sum q (log q - log p), and its gradient
    (p - q) / T: Hinton et al. 2015, equation 2 and below, whose T^2 keeps its size whatever T is.
    """
    said = torch.log_softmax(wide(logits) / temperature, dim=2)
    known = torch.log_softmax(wide(taught) / temperature, dim=1)
    share = known.exp()
    cost = temperature**2 * (share * (known - said)).sum()
    return Lesson(cost, said.exp_().sub_(share).mul_(temperature))


class Taught(NamedTuple):
    """What a teacher says at N places, as what its last matrix reads, so that never all logits are held at once."""

    features: Tensor  # (N, F), or where there is no last matrix the logits (N, V)
    weight: Tensor | None  # (V, F)
    bias: Tensor | None  # (V,)
    share: float  # of the loss that the teacher has; the right ids have the rest
    temperature: float

    def at(self, part: slice) -> Taught:
        """The same at some of the places."""
        return self._replace(features=self.features[part])

    def logits(self) -> Tensor:  # (N, V)
        """What it says."""
        known = self.features
        if self.weight is not None:
            with torch.autocast(known.device.type, enabled=False):
                known = functional.linear(known, self.weight, self.bias)
        return known

    def lesson(self, logits: Tensor) -> Lesson:  # (P, N, V)
        """What it costs to differ from this."""
        return lesson(logits, self.logits(), self.temperature)
