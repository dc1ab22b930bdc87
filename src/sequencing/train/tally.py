"""Sums between two lines of the training log. They are part of a checkpoint: a continued run logs the same numbers."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sequencing.distributed.ranks import Ranks
from sequencing_np.batch import Batch, padding_share

TOLD = ("untaught", "samples", "reward", "different", "own", "entropy", "error", "said", "wanted")
"""Sums over samples: target tokens without cross entropy; samples, their rewards, how many differ from those before
them; tokens that the model chose, their entropy in nats, the baseline's squared error; tokens said, and to be said."""


class Stepped(NamedTuple):
    """What one update did; tensors, so that nothing waits for the device."""

    loss: Tensor  # () nats, label smoothing included, of all its batches; 0 where it was not made
    gradient_norm: Tensor  # () the same
    made: Tensor  # () true or false: whether the weights moved
    shrunk: Tensor  # () true or false: whether its gradient was
    told: Tensor | None = None  # (TOLD,)


class Tally:
    """Sums, and since when."""

    def __init__(self) -> None:
        self.loss: Tensor | float = 0.0
        self.told: Tensor | None = None
        self.norm: Tensor | float = 0.0
        self.tokens: Tensor | int = 0  # of the updates that were made
        self.skipped: Tensor | int = 0
        self.shrunk: Tensor | int = 0
        self.steps, self.padding, self.batches = 0, 0.0, 0
        self.begin, self.timed = time.monotonic(), 0  # this process's own: since when, and how many tokens
        self.waited = 0.0  # seconds in which there was no batch yet

    def add(self, batches: Sequence[Batch], stepped: Stepped) -> None:
        """One step more."""
        self.loss, self.norm = self.loss + stepped.loss, self.norm + stepped.gradient_norm
        if stepped.told is not None:
            self.told = stepped.told if self.told is None else self.told.to(stepped.told.device) + stepped.told
        tokens = sum(int(batch.target_mask.sum()) for batch in batches)
        self.tokens, self.timed = self.tokens + tokens * stepped.made, self.timed + tokens
        self.skipped, self.shrunk = self.skipped + ~stepped.made, self.shrunk + stepped.shrunk
        self.padding, self.batches = self.padding + sum(map(padding_share, batches)), self.batches + len(batches)
        self.steps += 1

    def means(self, ranks: Ranks) -> dict[str, float]:
        """Means over what was added, by all ranks."""
        seconds = max(time.monotonic() - self.begin, 1e-9)
        own = [float(self.loss), float(self.tokens), self.padding, self.batches, self.timed, self.waited / seconds]
        loss, tokens, padding, batches, timed, waited, *told = ranks.total([*own, *self.told_sums()])
        samples = dict(zip(TOLD, told, strict=True))
        taught, made = tokens - samples["untaught"], self.steps - int(self.skipped)
        means = {"loss": loss / taught if taught > 0 else math.nan} if taught > 0 or not samples["samples"] else {}
        return {
            **means,
            **means_of_samples(samples),
            "gradient_norm": float(self.norm) / made if made else math.nan,
            "tokens_per_second": timed / seconds,
            "padding": padding / batches,
            "data_wait": waited / ranks.count,
            "skipped": int(self.skipped),
            **({"shrunk": int(self.shrunk)} if self.shrunk else {}),
        }

    def told_sums(self) -> list[float]:
        """What was told of samples; zeros where nothing was."""
        return [0.0] * len(TOLD) if self.told is None else self.told.tolist()

    def sums(self, ranks: Ranks) -> list[float]:
        """What a checkpoint keeps of it: the sums over all ranks, and those that are the same on all of them."""
        own = [float(self.loss), float(self.tokens), self.padding, self.batches]
        found = ranks.total([*own, *self.told_sums()])
        together, told = found[: len(own)], found[len(own) :]
        alike = [float(self.norm), self.steps, int(self.skipped), int(self.shrunk)]
        return [*together, *alike, *(told if any(told) else [])]

    def restore(self, sums: list[float]) -> None:
        """The inverse of `sums`."""
        self.loss, tokens, self.padding, batches, self.norm, steps, *rest = sums
        skipped, shrunk, *told = rest or (0, 0)  # older checkpoints have none
        self.told = torch.tensor(told, dtype=torch.float64) if told else None
        self.tokens, self.batches, self.steps = int(tokens), int(batches), int(steps)
        self.skipped, self.shrunk = int(skipped), int(shrunk)


def means_of_samples(sums: dict[str, float]) -> dict[str, float]:
    """What the log tells of samples, from the sums TOLD; nothing where there were none."""
    if not sums["samples"]:
        return {}
    own = max(sums["own"], 1.0)
    return {
        "reward": sums["reward"] / sums["samples"],
        "entropy": sums["entropy"] / own,
        "diversity": sums["different"] / sums["samples"],
        "length": sums["said"] / sums["wanted"],
        **({"baseline_error": sums["error"] / own} if sums["error"] else {}),
    }
