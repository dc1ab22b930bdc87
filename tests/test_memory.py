"""Where memory is not enough, a person is told which batch it was, and what to set."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sequencing.train import loop, update
from sequencing.train.checkpoint import latest_checkpoint
from sequencing.train.loop import train
from sequencing.train.losses import losses_of
from sequencing.train.memory import enough_memory, lacks_memory
from sequencing_np.errors import ConfigError
from small_runs import small

ERRORS = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:80] data. DefaultCPUAllocator: not enough memory: you tried"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
]


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_a_batch_that_is_too_large(error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fourth one; what was saved before is gone on from with what the error advises."""
    seen: list[Any] = []

    def greedy(session: Any, batch: Any, coins: Any) -> Any:
        seen.append(batch)
        if len(seen) == 4:
            raise error
        return losses_of(session, batch, coins)

    monkeypatch.setattr(update, "step_losses", greedy)
    with pytest.raises(ConfigError) as raised:
        train(small(tmp_path / "data", "train.save_minutes=0", "train.steps=5"), tmp_path / "run")
    (rows, source), target = seen[-1].source.shape, seen[-1].target.shape[1]
    text = str(raised.value)
    assert f"(cpu) in step 4, at a batch of {rows} pairs of {source} source and {target} target tokens" in text
    assert "train.batch_tokens = 192" in text and "train.recompute = true" in text and "saved before is intact" in text
    found = latest_checkpoint(tmp_path / "run")
    assert found is not None and found.state["step"] == 3
    train(small(tmp_path / "data", "train.recompute=true", "train.steps=5"), tmp_path / "run")


def test_at_the_update_and_in_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*_: Any) -> Any:
        return np.empty(1 << 60, dtype=np.uint8)

    with monkeypatch.context() as patch, pytest.raises(ConfigError, match=r"in step 1, where the optimiser makes room"):
        patch.setattr(update, "move", greedy)
        train(small(tmp_path / "data"), tmp_path / "one")
    with monkeypatch.context() as patch, pytest.raises(ConfigError, match=r"validation after step 5\. Lower train.val"):
        patch.setattr(loop, "validate", greedy)
        train(small(tmp_path / "data"), tmp_path / "two")


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes"), enough_memory(lambda: "never said"):
        raise RuntimeError("shapes do not fit")
    assert not lacks_memory(ValueError("no"))


def test_real_ones_are_known() -> None:
    """What PyTorch and NumPy say where the system gives them nothing."""
    for make in (lambda: torch.empty(1 << 60, dtype=torch.uint8), lambda: np.empty(1 << 60, dtype=np.uint8)):
        with pytest.raises((MemoryError, RuntimeError)) as raised:
            make()
        assert lacks_memory(raised.value)
