"""checkpoint: what is saved comes back bit for bit; what is damaged is passed over; nothing in it is code."""

import errno
import json
import logging
import os
import shutil
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sequencing_np.manifest
from sequencing.kept_models import keep_best, kept_at, ranked
from sequencing.optim import OPTIMIZERS
from sequencing.process import alone
from sequencing.report import write_report
from sequencing.train.checkpoint import (
    Checkpoint,
    Saver,
    checkpoint_folders,
    latest_checkpoint,
    optimizer_arrays,
    restore_optimizer,
    save_checkpoint,
)
from sequencing.train.loop import train
from sequencing.train.opening import open_session
from sequencing.train.session import Session
from sequencing.train.update import update
from sequencing.train_config import TrainConfig
from sequencing_np.errors import UsageError
from sequencing_np.model_folder import read_model_folder
from small_runs import EVERYTHING, files, records, small
from tiny_models import write_model

ARRAYS = {
    "weights": {"a.b": np.arange(6, dtype=np.float32).reshape(2, 3), "c": np.float32([np.nan, -0.0, 1e-45])},
    "optimizer": {"0.step": np.array(7.0, dtype=np.float32)},
    "average": {"0": np.arange(256, dtype=np.uint8)},
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
    save_checkpoint(tmp_path, checkpoint(3))
    found = latest_checkpoint(tmp_path)
    assert found is not None and found.state == STATE
    same_arrays(found.arrays, ARRAYS)


def test_two_are_kept(tmp_path: Path) -> None:
    for step in (1, 9, 10, 100):
        save_checkpoint(tmp_path, checkpoint(step))
        folders = checkpoint_folders(tmp_path)
        assert len(folders) <= 2 and int(folders[-1].name) == step
        newest = latest_checkpoint(tmp_path)
        assert newest is not None and newest.state["step"] == step
    assert [int(folder.name) for folder in folders] == [10, 100]
    save_checkpoint(tmp_path, checkpoint(100))
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
    save_checkpoint(tmp_path, Checkpoint({"optimizer": optimizer_arrays(optimizer)}, {"step": 3}))
    copy.load_state_dict(model.state_dict())
    torch.manual_seed(2)
    for _ in range(3):
        learn(model, optimizer)
    found = latest_checkpoint(tmp_path)
    assert found is not None
    restore_optimizer(fresh, found.arrays["optimizer"])
    torch.manual_seed(2)
    for _ in range(3):
        learn(copy, fresh)
    for one, other in zip(model.parameters(), copy.parameters(), strict=True):
        assert torch.equal(one, other)
    same_arrays({"": optimizer_arrays(fresh)}, {"": optimizer_arrays(optimizer)})


def opened(tmp_path: Path, name: str) -> Session:
    return open_session(small(tmp_path / "data", *EVERYTHING), tmp_path / name)


def close(session: Session) -> None:
    for log in session.logs.values():
        log.close()


def everything(session: Session) -> tuple[dict[str, dict[str, np.ndarray]], dict[str, Any]]:
    """What a session would save."""
    session.save()
    session.saver.finish()
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
    assert state["step"] == 4 and state["average_steps"] == 4 and state["tally"][1] > 0
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
        save_checkpoint(tmp_path, checkpoint(step))
    return tmp_path


NAMES = ["weights.safetensors", "optimizer.safetensors", "average.safetensors", "state.json", "manifest.json"]


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
    save_checkpoint(two, checkpoint(11))
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
        save_checkpoint(two, checkpoint(9))
    assert files(two) == before
    found = latest_checkpoint(two)
    assert found is not None and found.state["step"] == 8


def test_a_whole_one_survives_a_damaged_one(two: Path) -> None:
    """Reliability K12: what is damaged does not count among those that are kept."""
    damage(checkpoint_folders(two)[-1], "weights.safetensors")
    save_checkpoint(two, checkpoint(9))
    assert [int(folder.name) for folder in checkpoint_folders(two)] == [5, 8, 9]
    save_checkpoint(two, checkpoint(12))
    assert [int(folder.name) for folder in checkpoint_folders(two)] == [9, 12]


def test_one_under_another_name(two: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Reliability K06: an old one that was put back as a newer one is found out."""
    shutil.copytree(two / "checkpoints" / "000000005", two / "checkpoints" / "000000011")
    found = latest_checkpoint(two)
    assert found is not None and found.state["step"] == 8 and "holds step 5" in caplog.messages[0]


@pytest.mark.parametrize("name", NAMES)
def test_files_of_two_mixed(two: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    """Reliability K06. Files that both have alike may be exchanged."""
    older, newer = checkpoint_folders(two)
    same = (older / name).read_bytes() == (newer / name).read_bytes()
    shutil.copy(older / name, newer / name)
    found = latest_checkpoint(two)
    assert found is not None and found.state["step"] == (8 if same else 5) and bool(caplog.messages) != same


def test_the_newest_is_that_of_the_last_step(two: Path) -> None:
    """Reliability K13: whatever the clock says."""
    os.utime(two / "checkpoints" / "000000008", (0, 0))
    found = latest_checkpoint(two)
    assert found is not None and found.state["step"] == 8


# --- beside the training --------------------------------------------------------------------------------------------


def test_saving_does_not_wait_and_the_next_one_does() -> None:
    saver, may_go, order = Saver(), Event(), []

    def slow() -> None:
        may_go.wait(10)
        order.append("slow")

    saver.begin(slow)
    assert not order
    may_go.set()
    saver.begin(lambda: order.append("next"))
    saver.finish()
    assert order == ["slow", "next"]


def test_a_save_that_fails_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """On the way it is a warning, and the last one is an error (reliability K03, K15)."""

    def fail() -> None:
        raise UsageError("the disk is full")

    saver = Saver()
    saver.begin(fail)
    saver.begin(fail)
    with pytest.raises(UsageError, match="the disk is full"):
        saver.finish()
    assert caplog.messages == ["the disk is full. The training goes on"]
    saver.finish()


def test_what_is_saved_is_what_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training goes on while the numbers are written; they are those of the step that was asked for."""
    session = opened(tmp_path, "run")
    before = {name: array.copy() for name, array in session.model.weights().items()}
    may_go = Event()
    sound = Saver.begin
    monkeypatch.setattr(Saver, "begin", lambda self, work: sound(self, lambda: (may_go.wait(10), work())[1]))
    session.save()
    for batch, _ in zip((placed.batch for placed in session.stream.batches()), range(3), strict=False):
        update(session, [batch])
    may_go.set()
    session.saver.finish()
    found = latest_checkpoint(session.folder)
    assert found is not None
    same_arrays({"": found.arrays["weights"]}, {"": before})
    close(session)


def test_a_run_on_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It trains on, and says at its end that nothing was saved; what was there before is whole."""
    config = small(tmp_path / "data", "train.steps=4")
    train(config, tmp_path / "run")
    before = files(tmp_path / "run" / "checkpoints")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sequencing.train.checkpoint.write_safetensors", full)
    with pytest.raises(UsageError, match="No space left"):
        train(small(tmp_path / "data", "train.steps=6", "train.save_minutes=0"), tmp_path / "run")
    assert any("The training goes on" in message for message in caplog.messages)
    assert files(tmp_path / "run" / "checkpoints") == before


def test_a_second_start_is_refused(tmp_path: Path) -> None:
    """Reliability K11: one process a run folder; a lock of a process that is gone is none."""
    config = small(tmp_path / "data", "train.steps=2")
    (tmp_path / "run").mkdir()
    with alone(tmp_path / "run", "busy"), pytest.raises(UsageError, match="another process trains in it"):
        train(config, tmp_path / "run")
    train(config, tmp_path / "run")


def test_models_of_the_last_validations(tmp_path: Path) -> None:
    train(small(tmp_path / "data", "train.steps=12", "train.validate_every=3", "train.keep_models=2"), tmp_path / "run")
    kept = sorted((tmp_path / "run" / "models").iterdir())
    assert [folder.name for folder in kept] == ["000000009", "000000012"]
    last = read_model_folder(tmp_path / "run" / "last").weights
    same_arrays({"": read_model_folder(kept[-1]).weights}, {"": last})


def test_models_that_did_best(tmp_path: Path) -> None:
    """Those of the validations with the best scores, the older of two that are equal; said in the report."""
    settings = ["train.steps=15", "train.validate_every=3", "train.keep_best=2", "train.select=loss"]
    train(small(tmp_path / "data", *settings), tmp_path / "run")
    dev = [record for record in records(tmp_path / "run" / "metrics.jsonl") if record["kind"] == "dev"]
    best = sorted(dev, key=lambda record: record["loss"])[:2]
    kept = ranked(tmp_path / "run")
    assert [(each.step, each.number) for each in kept] == [(record["step"], record["loss"]) for record in best]
    folders = [tmp_path / "run" / "best", kept[0].folder]
    same_arrays(*({"": read_model_folder(folder).weights} for folder in folders))
    report = write_report(tmp_path / "run").read_text("utf-8")
    assert "Best models kept, by loss" in report and f"<dt>step {kept[1].step}</dt>" in report


def test_the_best_models_of_a_run_that_was_killed(tmp_path: Path) -> None:
    """What a later validation has left is made again, or goes; scores of another number, and damaged models, go."""
    run, model = tmp_path / "run", read_model_folder(write_model(tmp_path / "model"))

    def steps(*given: tuple[int, str, list[float]]) -> list[int]:
        for step, select, score in given:
            keep_best(run, model, kept_at(run, step, select, score[0], score), 2)
        return [kept.step for kept in ranked(run)]

    assert steps((3, "bleu", [1.0, 0.0]), (5, "bleu", [1.0, 0.0]), (7, "bleu", [1.0, -1.0])) == [3, 5]
    assert steps((9, "bleu", [2.0, 0.0])) == [9, 3]
    assert steps((7, "bleu", [0.0, 0.0])) == [9, 3, 7], "that of step 9 is not judged before it comes again"
    assert steps((9, "bleu", [2.0, 0.0])) == [9, 3]
    (run / "best_models" / "000000009" / "manifest.json").write_bytes(b"")
    assert steps((11, "bleu", [0.5, 0.0])) == [3, 11]
    assert steps((13, "chrf", [0.0, 0.0])) == [13]
    assert [path.name for path in (run / "best_models").iterdir()] == ["000000013"]


def test_a_mistake_of_the_program_is_told_too() -> None:
    """Whatever goes wrong in the thread, nobody is told that all was saved."""

    def fail() -> None:
        raise KeyError("a type that nobody thought of")

    saver = Saver()
    saver.begin(fail)
    with pytest.raises(KeyError, match="nobody thought of"):
        saver.finish()
    saver.begin(fail)
    with pytest.raises(KeyError):
        saver.begin(fail)


def test_one_that_cannot_be_read_is_passed_over(two: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad sector below the newest one: the one before it is taken."""
    sound = sequencing_np.manifest.sha256

    def bad(path: Path) -> str:
        if "000000008" in str(path):
            raise OSError(errno.EIO, "Input/output error", str(path))
        return sound(path)

    monkeypatch.setattr(sequencing_np.manifest, "sha256", bad)
    found = latest_checkpoint(two)
    assert found is not None and found.state["step"] == 5


def test_a_replacement_that_was_cut_off(tmp_path: Path) -> None:
    """Where two names cannot be exchanged, a kill between two renamings leaves the old one aside: it is put back."""
    save_checkpoint(tmp_path, checkpoint(3))
    folder = tmp_path / "checkpoints" / "000000003"
    folder.rename(folder.with_name(".000000003.old"))
    found = latest_checkpoint(tmp_path)
    assert found is not None and found.state["step"] == 3


def test_a_file_that_is_not_listed_is_not_read(two: Path) -> None:
    """Reliability K05: nobody has a check sum of it."""
    newest = checkpoint_folders(two)[-1]
    shutil.copy(newest / "weights.safetensors", newest / "stray.safetensors")
    found = latest_checkpoint(two)
    assert found is not None and found.arrays.keys() == ARRAYS.keys()
