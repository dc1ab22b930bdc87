"""Sums between two lines of the training log. They are part of a checkpoint: a continued run logs the same numbers."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from sequencing.distributed import Ranks
from sequencing_np.batch import Batch, padding_share
from sequencing_np.errors import SearchError


class Stepped(NamedTuple):
    """What one update did; tensors, so that nothing waits for the device."""

    loss: Tensor  # () nats, label smoothing included, of all its batches
    gradient_norm: Tensor  # ()


class Tally:
    """Sums, and since when."""

    def __init__(self) -> None:
        self.loss: Tensor | float = 0.0
        self.norm: Tensor | float = 0.0
        self.tokens, self.steps, self.padding, self.batches = 0, 0, 0.0, 0
        self.begin, self.timed = time.monotonic(), 0  # this process's own: since when, and how many tokens
        self.waited = 0.0  # seconds in which there was no batch yet

    def add(self, batches: Sequence[Batch], stepped: Stepped) -> None:
        """One step more."""
        self.loss, self.norm = self.loss + stepped.loss, self.norm + stepped.gradient_norm
        tokens = sum(int(batch.target_mask.sum()) for batch in batches)
        self.tokens, self.timed = self.tokens + tokens, self.timed + tokens
        self.padding, self.batches = self.padding + sum(map(padding_share, batches)), self.batches + len(batches)
        self.steps += 1

    def check(self, step: int) -> None:
        """SearchError where the loss has become infinite or no number: nothing of it may be saved."""
        if not math.isfinite(float(self.loss)) or not math.isfinite(float(self.norm)):
            raise SearchError(
                f"training diverged: at step {step:,} the loss or its gradient is not a finite number. "
                "Lower train.learning_rate, lengthen train.schedule.warmup or set train.clip; what was saved is intact"
            )

    def means(self, ranks: Ranks) -> dict[str, float]:
        """Means over what was added, by all ranks."""
        seconds = max(time.monotonic() - self.begin, 1e-9)
        numbers = [float(self.loss), self.tokens, self.padding, self.batches, self.timed, self.waited / seconds]
        loss, tokens, padding, batches, timed, waited = ranks.total(numbers)
        return {
            "loss": loss / tokens,
            "gradient_norm": float(self.norm) / self.steps,
            "tokens_per_second": timed / seconds,
            "padding": padding / batches,
            "data_wait": waited / ranks.count,
        }

    def sums(self, ranks: Ranks) -> list[float]:
        """What a checkpoint keeps of it: the sums over all ranks, and those that are the same on all of them."""
        together = ranks.total([float(self.loss), self.tokens, self.padding, self.batches])
        return [*together, float(self.norm), self.steps]

    def restore(self, sums: list[float]) -> None:
        """The inverse of `sums`."""
        self.loss, tokens, self.padding, batches, self.norm, steps = sums
        self.tokens, self.batches, self.steps = int(tokens), int(batches), int(steps)
