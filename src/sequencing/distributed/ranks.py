"""Who does which batches of a step, and how the gradients of several processes become one.

The rest of the program asks `Ranks`, which is one of one where nobody else is there. Rank 0 writes the folder.

A step is `train.accumulate` batches, whatever the number of ranks, and each rank does as many of them, in a row. Their
gradients are added in pairs; with `train.same_bits` the ranks' sums are added in pairs too, so that 1, 2 or 4 ranks
come to the same bits. Without it they are added as the library likes, which is faster with many ranks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as group
from torch import Tensor

from sequencing_np.errors import ConfigError, SequencingError, UsageError


class Ranks:
    """This process among those that train together."""

    def __init__(self, rank: int = 0, count: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.count, self.device = rank, count, device or torch.device("cpu")

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def own(self, shares: int) -> range:
        """Which of the batches of a step are this rank's."""
        if shares % self.count:
            raise ConfigError(
                f"train.accumulate = {shares}: {self.count} ranks cannot share so many batches of a step; set it to a "
                f"multiple of {self.count} (a step of fewer or smaller batches: lower train.batch_tokens)"
            )
        each = shares // self.count
        return range(self.rank * each, (self.rank + 1) * each)

    def total(self, numbers: Sequence[float]) -> list[float]:
        """The sums of some numbers over all ranks."""
        if self.count == 1:
            return list(numbers)
        sums = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        with self.heard():
            group.all_reduce(sums)
        return sums.tolist()

    def add_up(self, parameters: Sequence[Tensor], same_bits: bool) -> None:
        """Let each parameter's gradient be the sum over all ranks."""
        if self.count == 1:
            return
        own = torch.cat([(zeros(each) if each.grad is None else each.grad).flatten() for each in parameters])
        if same_bits:
            own = in_pairs(self.all_of(own))
        else:
            with self.heard():
                group.all_reduce(own)
        sizes = [each.numel() for each in parameters]
        for each, part in zip(parameters, own.split(sizes), strict=True):
            each.grad = part.view_as(each)

    def all_of(self, own: Tensor) -> list[Tensor]:
        """The tensors that the ranks have, in their order."""
        parts = [torch.empty_like(own) for _ in range(self.count)]
        with self.heard():
            group.all_gather(parts, own)
        return parts

    @contextmanager
    def heard(self) -> Iterator[None]:
        """SequencingError where the others cannot be heard any more: one that ends takes all along."""
        try:
            yield
        except RuntimeError as error:
            raise lost(self.rank, error) from None

    def in_turn(self) -> None:
        """Wait until all have come here."""
        if self.count > 1:
            with self.heard():
                group.barrier()

    def alike(self, what: str, mine: str) -> None:
        """UsageError on all ranks where one of them has another `what` than rank 0."""
        if self.count == 1:
            return
        digest = hashlib.sha256(mine.encode()).digest()
        own = torch.tensor([float(byte) for byte in digest], dtype=torch.float64, device=self.device)
        rows = self.all_of(own)
        others = [str(rank) for rank, row in enumerate(rows) if not torch.equal(row, rows[0])]
        if others:
            raise UsageError(f"rank {', '.join(others)} has another {what} than rank 0; start all ranks with the same")


def lost(rank: int, error: Exception) -> SequencingError:
    """What the ranks say that are left."""
    return SequencingError(
        f"rank {rank} cannot reach the others: one of them has ended, as what it said above or the system's log tells, "
        f"or the network fails ({str(error).partition('. ')[0]}). What was saved before is intact: the same command "
        "goes on from there, and torchrun --max-restarts N does by itself"
    )


def zeros(parameter: Tensor) -> Tensor:
    """The gradient of a parameter that took no part."""
    return torch.zeros_like(parameter)


def in_pairs(parts: list[Tensor]) -> Tensor:
    """((a + b) + (c + d)) + …: the order in which `PairwiseSum` adds, with these as the parts of its tree."""
    if len(parts) == 1:
        return parts[0]
    half = 1 << (len(parts) - 1).bit_length() - 1
    return in_pairs(parts[:half]) + in_pairs(parts[half:])
