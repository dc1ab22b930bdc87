"""What training makes small: cross entropy, smoothed and normalised."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

NORMALIZERS: dict[str, Callable[[Tensor], Tensor]] = {
    "tokens": lambda mask: mask.sum(),
    "sentences": lambda mask: mask.new_tensor(mask.shape[0], dtype=torch.int64),
}
"""What the summed loss of a batch is divided by, from its target mask (B, T)."""


def cross_entropy(logits: Tensor, target: Tensor, mask: Tensor, smoothing: float = 0.0) -> Tensor:
    # (B, T, V), (B, T), (B, T) -> ()
    """The sum over real target tokens, in nats.

    With label smoothing the target distribution is (1 - smoothing) on the right id and smoothing / V on every id
    (Szegedy et al. 2016, section 7).
    """
    wanted = target.masked_fill(~mask, -100)  # the id that cross_entropy passes over
    return functional.cross_entropy(
        logits.flatten(0, 1), wanted.flatten(), reduction="sum", ignore_index=-100, label_smoothing=smoothing
    )
