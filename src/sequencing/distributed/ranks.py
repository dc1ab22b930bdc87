"""Who does which batches of a step, and how the gradients of several processes become one.

The rest of the program asks `Ranks`, which is one of one where nobody else is there. Rank 0 writes the folder.

A step is `train.accumulate` batches, whatever the number of ranks, and each rank does as many of them, in a row. Their
gradients are added in pairs; with `train.same_bits` the ranks' sums are added in pairs too, so that 1, 2 or 4 ranks
come to the same bits. Without it they are added as the library likes, which is faster with many ranks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TypeVar

import torch
import torch.distributed as group
from torch import Tensor, nn

from sequencing_np.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from sequencing.distributed.shards import Shards

Made = TypeVar("Made")


class Ranks:
    """This process among those that train together."""

    def __init__(self, rank: int = 0, count: int = 1, device: torch.device | None = None) -> None:
        self.rank, self.count, self.device = rank, count, device or torch.device("cpu")
        self.shards: Shards | None = None  # where each rank keeps a part of the model alone

    @property
    def first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    @property
    def concerned(self) -> bool:
        """Whether it has a part in what is written: it writes, or keeps some of the model."""
        return self.first or self.shards is not None

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
        if self.count == 1 or self.shards:  # or they were added where they are kept
            return
        own = torch.cat([(zeros(each) if each.grad is None else each.grad).flatten() for each in parameters])
        if same_bits:
            own = in_pairs(self.all_of(own))
        else:
            group.all_reduce(own)
        sizes = [each.numel() for each in parameters]
        for each, part in zip(parameters, own.split(sizes), strict=True):
            each.grad = part.view_as(each)

    def all_of(self, own: Tensor) -> list[Tensor]:
        """The tensors that the ranks have, in their order."""
        parts = [torch.empty_like(own) for _ in range(self.count)]
        group.all_gather(parts, own)
        return parts

    def shard(self, model: nn.Module, alike: bool) -> None:
        """Let each rank keep a part of the model alone; `alike`: whether all use each layer as often in a batch."""
        if self.count > 1:
            from sequencing.distributed.shards import Shards  # here, because it takes a second

            self.shards = Shards(model, alike, self.count, self.device)

    def run(self, work: Callable[[], Made]) -> Made:
        """What `work` makes with the model, and a gradient can be taken of."""
        return self.shards.run(work) if self.shards else work()

    def whole(self, changed: bool = False) -> AbstractContextManager[None]:
        """A context in which this rank has the whole model; all enter it. What is `changed` in it stays."""
        return self.shards.whole(changed) if self.shards else nullcontext()

    def gathered(self, tensor: Tensor) -> Tensor:
        """The tensor of which each rank has a part; all ask."""
        return self.shards.gathered(tensor) if self.shards else tensor

    def part(self, like: Tensor, full: Tensor) -> Tensor:
        """This rank's part of a tensor that all have, cut as `like` is."""
        return self.shards.part(like, full) if self.shards else full

    def kept(self, parameters: Sequence[nn.Parameter]) -> Sequence[nn.Parameter]:
        """Those of which this rank has anything."""
        return self.shards.kept(parameters) if self.shards else parameters

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
        rows = self.all_of(own)
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
