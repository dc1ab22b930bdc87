"""What a person is told where memory was not enough: which batch it was, and what to set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from sequencing.train_config import TrainConfig
from sequencing_np.batch import Batch
from sequencing_np.errors import ConfigError

SIGNS = ("can't allocate memory", "not enough memory", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What PyTorch says of it, on a CPU and elsewhere, where its error is of no kind of its own."""


@contextmanager
def enough_memory(what: Callable[[], str]) -> Iterator[None]:
    """ConfigError, with words made only then, where the memory does not hold what is done inside."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        raise ConfigError(f"out of memory {what()}. What was saved before is intact") from None


def lacks_memory(error: BaseException) -> bool:
    """Whether it says that memory was not enough."""
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or any(sign in str(error) for sign in SIGNS)


def at_batch(batch: Batch, config: TrainConfig, tokens: int, step: int, device: torch.device) -> str:
    """Where it was, and what helps."""
    (rows, source), target = batch.source.shape, batch.target.shape[1]
    recompute = "" if config.recompute else "Go on with train.recompute = true (blocks of self-attention), or b"
    return (
        f"({device}) in step {step:,}, at a batch of {rows:,} pairs of {source:,} source and {target:,} target tokens "
        f"({rows * (source + target):,} in all, train.batch_tokens = {tokens:,}). "
        f"{recompute or 'B'}egin a new run with a lower train.batch_tokens (with as much more train.accumulate a step "
        "stays as large) or data.max_length"
    )


def at_update(step: int, device: torch.device) -> str:
    """The same of the weights' update."""
    return (
        f"({device}) in step {step:,}, where the optimiser makes room for its own numbers: the model is too large for "
        "it. Make it smaller, or take train.optimizer = 'sgd', which needs less"
    )


def at_validation(config: TrainConfig, tokens: int, step: int, device: torch.device) -> str:
    """The same of held-out data."""
    return (
        f"({device}) in the validation after step {step:,}. Lower train.validate_beam = {config.validate_beam}, "
        f"search.batch_tokens or train.batch_tokens = {tokens:,} (the last one in a new run)"
    )
