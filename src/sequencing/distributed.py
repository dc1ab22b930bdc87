"""Several processes that train one model: who does which batches of a step, and how their gradients become one.

`torchrun --nproc-per-node N -m sequencing train …` starts them, on one machine or many; each has its rank. This file
alone knows of them: the rest asks `Ranks`, which is one of one where nobody else is there. Rank 0 writes the folder.

A step is `train.accumulate` batches, whatever the number of ranks, and each rank does as many of them, in a row. Their
gradients are added in pairs; with `train.same_bits` the ranks' sums are added in pairs too, so that 1, 2 or 4 ranks
come to the same bits. Without it they are added as the library likes, which is faster with many ranks.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as group
from torch import Tensor

from sequencing.process import cores
from sequencing_np.errors import ConfigError, UsageError

PATIENCE = timedelta(minutes=30)  # that ranks wait for one another: rank 0 validates while the others wait


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
        group.all_reduce(sums)
        return sums.tolist()

    def add_up(self, parameters: Sequence[Tensor], same_bits: bool) -> None:
        """Let each parameter's gradient be the sum over all ranks."""
        if self.count == 1:
            return
        own = torch.cat([(zeros(each) if each.grad is None else each.grad).flatten() for each in parameters])
        if same_bits:
            parts = [torch.empty_like(own) for _ in range(self.count)]
            group.all_gather(parts, own)
            own = in_pairs(parts)
        else:
            group.all_reduce(own)
        sizes = [each.numel() for each in parameters]
        for each, part in zip(parameters, own.split(sizes), strict=True):
            each.grad = part.view_as(each)

    def in_turn(self) -> None:
        """Wait until all have come here."""
        if self.count > 1:
            group.barrier()

    def alike(self, what: str, mine: str) -> None:
        """UsageError on all ranks where one of them has another `what` than rank 0."""
        if self.count == 1:
            return
        digest = hashlib.sha256(mine.encode()).digest()
        own = torch.tensor([float(byte) for byte in digest], dtype=torch.float64, device=self.device)
        rows = [torch.empty_like(own) for _ in range(self.count)]
        group.all_gather(rows, own)
        others = [str(rank) for rank, row in enumerate(rows) if not torch.equal(row, rows[0])]
        if others:
            raise UsageError(f"rank {', '.join(others)} has another {what} than rank 0; start all ranks with the same")


def zeros(parameter: Tensor) -> Tensor:
    """The gradient of a parameter that took no part."""
    return torch.zeros_like(parameter)


def in_pairs(parts: list[Tensor]) -> Tensor:
    """((a + b) + (c + d)) + …: the order in which `PairwiseSum` adds, with these as the parts of its tree."""
    if len(parts) == 1:
        return parts[0]
    half = 1 << (len(parts) - 1).bit_length() - 1
    return in_pairs(parts[:half]) + in_pairs(parts[half:])


@contextmanager
def together() -> Iterator[Ranks]:
    """Join the ranks that torchrun has started; one of one where it has not."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Ranks()
        return
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    neighbours = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(max(cores() // neighbours, 1))
    group.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Ranks(rank, count, device)
    finally:
        group.destroy_process_group()
