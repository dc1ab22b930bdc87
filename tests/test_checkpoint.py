"""checkpoint: what is saved comes back bit for bit; what is damaged is passed over; nothing in it is code."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sequencing.optim import OPTIMIZERS
from sequencing.train.checkpoint import (
    KEEP,
    Checkpoint,
    checkpoint_folders,
    generator_arrays,
    latest_checkpoint,
    optimizer_arrays,
    restore_generators,
    restore_optimizer,
    save_checkpoint,
)
from sequencing.train.loop import train
from sequencing.train.session import Session, open_session
from sequencing.train.update import update
from sequencing.train_config import TrainConfig
from sequencing_np.errors import UsageError
from small_runs import EVERYTHING, files, small

ARRAYS = {
    "weights": {"a.b": np.arange(6, dtype=np.float32).reshape(2, 3), "c": np.float32([np.nan, -0.0, 1e-45])},
    "optimizer": {"0.step": np.array(7.0, dtype=np.float32)},
    "generators": {"cpu": np.arange(256, dtype=np.uint8)},
}
STATE = {"step": 3, "best": None, "float": 0.1 + 0.2, "large": 2**127 + 1, "text": "ä\u2028\x00"}


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(ARRAYS, {**STATE, "step": step})


def same_arrays(one: dict[str, dict[str, np.ndarray]], other: dict[str, dict[str, np.ndarray]]) -> None:
    assert one.keys() == other.keys()
    for name, arrays in one.items():
        assert arrays.keys() == other[name].keys()
        for key, array in arrays.items():
            assert (array.dtype, array.shape) == (other[name][key].dtype, other[name][key].shape)
            assert array.tobytes() == other[name][key].tobytes(), f"{name} {key}"


# --- there and back -------------------------------------------------------------------------------------------------


def test_bit_for_bit(tmp_path: Path) -> None:
    assert latest_checkpoint(tmp_path) is None
    save_checkpoint(tmp_path, 3, checkpoint(3))
    found = latest_checkpoint(tmp_path)
    assert found is not None and found.state == STATE
    same_arrays(found.arrays, ARRAYS)


def test_two_are_kept(tmp_path: Path) -> None:
    for step in (1, 9, 10, 100):
        save_checkpoint(tmp_path, step, checkpoint(step))
        folders = checkpoint_folders(tmp_path)
        assert len(folders) <= KEEP == 2 and int(folders[-1].name) == step
        newest = latest_checkpoint(tmp_path)
        assert newest is not None and newest.state["step"] == step
    assert [int(folder.name) for folder in folders] == [10, 100]
    save_checkpoint(tmp_path, 100, checkpoint(100))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.startswith(".")] == []


def test_no_pickle(tmp_path: Path) -> None:
    """Nothing in a run is code: JSON that reads, arrays that are safetensors, and the report's own kinds of files."""
    train(small(tmp_path / "data"), tmp_path / "run")
    for name, data in files(tmp_path / "run").items():
        assert Path(name).suffix in (".json", ".jsonl", ".safetensors"), name
        assert not data.startswith((b"PK", b"\x80")), name
        if name.endswith(".json"):
            json.loads(data)
        if name.endswith(".safetensors"):
            json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])


def stepped(name: str, steps: int = 3) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    optimizer = OPTIMIZERS[name](model, TrainConfig(weight_decay=0.1, momentum=0.9 if name == "sgd" else 0.0))
    for _ in range(steps):
        learn(model, optimizer)
    return model, optimizer


def learn(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(torch.randn(7, 3)).pow(2).sum().backward()
    optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimiser_goes_on(name: str, tmp_path: Path) -> None:
    copy, fresh = stepped(name, 0)
    model, optimizer = stepped(name)
    arrays = {"optimizer": optimizer_arrays(optimizer), "generators": generator_arrays()}
    save_checkpoint(tmp_path, 3, Checkpoint(arrays, {}))
    copy.load_state_dict(model.state_dict())
    for _ in range(3):
        learn(model, optimizer)
    found = latest_checkpoint(tmp_path)
    assert found is not None
    restore_optimizer(fresh, found.arrays["optimizer"])
    restore_generators(found.arrays["generators"])
    for _ in range(3):
        learn(copy, fresh)
    for one, other in zip(model.parameters(), copy.parameters(), strict=True):
        assert torch.equal(one, other)
    same_arrays({"": optimizer_arrays(fresh)}, {"": optimizer_arrays(optimizer)})


def test_generators() -> None:
    torch.manual_seed(4)
    kept = {name: array.copy() for name, array in generator_arrays().items()}
    first = torch.randn(5)
    torch.manual_seed(99)
    restore_generators(kept)
    assert torch.equal(torch.randn(5), first)


def opened(tmp_path: Path, name: str) -> Session:
    return open_session(small(tmp_path / "data", *EVERYTHING), tmp_path / name)


def close(session: Session) -> None:
    for log in session.logs.values():
        log.close()


def everything(session: Session) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]:
    """What a session would save."""
    session.save()
    found = latest_checkpoint(session.folder)
    assert found is not None
    return found.arrays, {key: value for key, value in found.state.items() if key != "seconds"}


def test_a_session_comes_back_whole(tmp_path: Path) -> None:
    """Weights, average, optimiser, position: and the steps after it are the same steps."""
    session = opened(tmp_path, "run")
    stream = session.stream.batches()
    for placed, _ in zip(stream, range(4), strict=False):
        session.tally.add([placed.batch], update(session, [placed.batch]))
        session.step, session.position = session.step + 1, placed.position
    arrays, state = everything(session)
    assert set(arrays) == {"weights", "optimizer", "average"}
    assert state["step"] == 4 and state["average_steps"] == 4 and state["tally"][2] > 0
    close(session)
    again = opened(tmp_path, "run")
    again_arrays, again_state = everything(again)
    same_arrays(arrays, again_arrays)
    assert state == again_state
    (batch, _) = next(session.stream.batches(session.position))
    (other, _) = next(again.stream.batches(again.position))
    assert all(np.array_equal(one, two) for one, two in zip(batch, other, strict=True))
    close(again)


# --- what is damaged ------------------------------------------------------------------------------------------------


def damage(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(bytes(data))


@pytest.fixture
def two(tmp_path: Path) -> Path:
    for step in (5, 8):
        save_checkpoint(tmp_path, step, checkpoint(step))
    return tmp_path


NAMES = ["weights.safetensors", "optimizer.safetensors", "generators.safetensors", "state.json", "manifest.json"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("how", ["flipped", "cut", "empty", "missing"])
def test_a_damaged_one_is_passed_over(two: Path, name: str, how: str, caplog: pytest.LogCaptureFixture) -> None:
    newest = checkpoint_folders(two)[-1]
    if how == "flipped":
        damage(newest, name)
    elif how == "missing":
        (newest / name).unlink()
    else:
        data = (newest / name).read_bytes()
        (newest / name).write_bytes(data[: len(data) // 2] if how == "cut" else b"")
    with caplog.at_level(logging.WARNING):
        found = latest_checkpoint(two)
    assert found is not None and found.state["step"] == 5
    (warned,) = caplog.messages
    assert name in warned and "000000008" in warned and warned.endswith("going back to the checkpoint before it")


def test_an_unfinished_one_is_none(two: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A process that dies while it writes leaves a hidden folder; the next save clears it away."""
    shutil.copytree(checkpoint_folders(two)[-1], two / "checkpoints" / ".000000011.new")
    found = latest_checkpoint(two)
    assert found is not None and found.state["step"] == 8 and caplog.messages == []
    save_checkpoint(two, 11, checkpoint(11))
    assert sorted(path.name for path in (two / "checkpoints").iterdir()) == ["000000008", "000000011"]


def test_all_damaged(two: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder in checkpoint_folders(two):
        damage(folder, "weights.safetensors")
    with pytest.raises(UsageError, match="checkpoints: no checkpoint is in order; start again in another folder"):
        latest_checkpoint(two)
    assert len(caplog.messages) == 2


def test_a_checkpoint_that_cannot_be_written(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(two)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("sequencing.train.checkpoint.write_safetensors", full)
    with pytest.raises(UsageError, match=r"000000009: cannot be saved: No space left.*before it is intact"):
        save_checkpoint(two, 9, checkpoint(9))
    assert files(two) == before
    found = latest_checkpoint(two)
    assert found is not None and found.state["step"] == 8
