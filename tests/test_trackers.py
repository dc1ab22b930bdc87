"""Trackers: TensorBoard's files, a class of one's own, and that none of them holds a run up or ends it."""

import logging
import math
import sys
import threading
from pathlib import Path

import pytest

from sequencing.records import leaves
from sequencing.train import trackers as module
from sequencing.train.loop import train
from sequencing.train.trackers import TensorBoard, check_trackers, trackers
from sequencing_np.errors import ConfigError
from small_runs import small

OWN = """\
import json
class Own:
    def __init__(self, folder, settings):
        self.file = open(folder / "own.txt", "a")
        self.file.write(f"{settings['train']['seed']}\\n")
    def truncate_after(self, step): self.file.write(f"after {step}\\n")
    def write(self, record): self.file.write(f"{record['kind']} {record['step']}\\n")
    def close(self): self.file.close()
class Broken(Own):
    def __init__(self, folder, settings): pass
    def truncate_after(self, step): pass
    def write(self, record): raise OSError("nobody is at home")
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_tracker.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_tracker", raising=False)
    return "my_tracker"


def test_ones_own_sees_what_the_log_sees(tmp_path: Path, own: str) -> None:
    config = small(tmp_path / "data", f'train.trackers=["{own}:Own"]', "train.steps=4", "train.log_every=2")
    train(config, tmp_path / "run")
    lines = (tmp_path / "run" / "own.txt").read_text().split("\n")
    assert lines == ["3", "after 0", "train 2", "train 4", "dev 4", ""]


def test_one_that_breaks_is_told_once_and_the_run_goes_on(
    tmp_path: Path, own: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        train(small(tmp_path / "data", f'train.trackers=["{own}:Broken"]', "train.log_every=1"), tmp_path / "run")
    assert caplog.text.count("failed (OSError: nobody is at home); the run goes on without it") == 1
    assert (tmp_path / "run" / "last" / "manifest.json").is_file()


def test_one_that_hangs_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    released = threading.Event()

    class Hanging(TensorBoard):
        def __init__(self, folder: Path, settings: dict[str, object]) -> None:
            released.wait(20)

    monkeypatch.setattr(module, "PATIENCE", 0.05)
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    monkeypatch.setattr(module, "PACKAGES", {"hanging": "json"})
    monkeypatch.setattr(module, "TRACKERS", {"hanging": Hanging})
    log = trackers(["hanging"], tmp_path, {})["hanging"]
    with caplog.at_level(logging.WARNING):
        for step in range(5):
            log.write({"kind": "train", "step": step})
        log.close()
    released.set()
    assert caplog.text.count("the run goes on") == 1 and "3 records behind" in caplog.text


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_holds_the_numbers_and_forgets_what_a_resume_repeats(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = TensorBoard(tmp_path, {})
    for step in range(1, 5):
        log.write({"kind": "train", "step": step, "loss": 0.5, "note": "text", "nothing": math.nan, "flag": True})
    log.truncate_after(2)
    log.write({"kind": "train", "step": 3, "loss": 0.25})
    log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert events.Tags()["scalars"] == ["train/loss"]
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(1, 0.5), (2, 0.5), (3, 0.25)]


def test_what_cannot_be_had_is_told_before_the_run(tmp_path: Path, own: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match="pip install tensorboard"):
        check_trackers(["tensorboard"])
    with pytest.raises(ConfigError, match="did you mean 'wandb'"):
        check_trackers(["wandbb"])
    with pytest.raises(ConfigError, match=r"my_tracker:Missing.*has no Class"):
        check_trackers([f"{own}:Missing"])


def test_settings_are_flattened_by_their_names() -> None:
    assert dict(leaves({"a": {"b": 1, "c": {"d": [2]}}, "e": ""})) == {"a.b": 1, "a.c.d": [2], "e": ""}
