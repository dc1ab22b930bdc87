"""What earlier versions have saved is read for ever, and says the same; what later ones save is refused unharmed.

Reliability K06 and K07. `store_run.py` made what stands in tests/stored.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sequencing.loading import load_translator
from sequencing.records import write_json
from sequencing.train import checkpoint as checkpoint_module
from sequencing.train import settings as settings_module
from sequencing.train.checkpoint import KIND, RUN, checkpoint_folders, latest_checkpoint, run_id
from sequencing.train.loop import train
from sequencing_np.errors import ModelError, SequencingError
from sequencing_np.manifest import MANIFEST, check_manifest, digest, to_bytes
from sequencing_np.translate import Translator
from sequencing_np.weights import read_safetensors
from small_runs import files, records, small
from store_run import MODELS, SEARCH, STOP, come_to, config

STORED = sorted((Path(__file__).parent / "stored").iterdir())
torch.set_num_threads(1)


def told(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "said.json").read_text(encoding="utf-8"))
    return content


# --- of before ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", STORED, ids=lambda path: path.name)
@pytest.mark.parametrize("floor", [Translator.load, lambda folder: load_translator(folder, "cpu")], ids=["np", "torch"])
def test_a_model_says_what_it_said(floor: Any, stored: Path) -> None:
    known = told(stored)
    assert known["models"], stored
    for name, wanted in known["models"].items():
        found = floor(stored / name).translate(known["lines"], SEARCH)
        assert [[answer.text for answer in each.answers] for each in found] == [[a for a, _ in row] for row in wanted]
        scores = np.array([answer.score for each in found for answer in each.answers])
        np.testing.assert_allclose(scores, [score for row in wanted for _, score in row], atol=1e-4, err_msg=name)


@pytest.mark.parametrize("stored", STORED, ids=lambda path: path.name)
def test_a_run_goes_on_as_it_would_have(stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """To the bits that stand there; and then to the same weights and numbers, as far as machines agree."""
    shutil.copytree(stored / "run", tmp_path / "run")
    kept = latest_checkpoint(tmp_path / "run")
    (folder,) = checkpoint_folders(stored / "run")
    assert kept is not None and kept.state["step"] == STOP
    for name, arrays in kept.arrays.items():
        for key, array in read_safetensors(folder / f"{name}.safetensors").items():
            assert array.tobytes() == arrays[key].tobytes()
    for name in ("train.tsv", "dev.tsv"):
        shutil.copy(stored / name, tmp_path)
    train(config(tmp_path, MODELS["recurrent"]), tmp_path / "run")
    assert f"after step {STOP}" in capsys.readouterr().err
    found, wanted = come_to(tmp_path / "run"), told(stored)["run"]
    assert found["step"] == wanted["step"] and found["weights"].keys() == wanted["weights"].keys()
    for name, numbers in wanted["weights"].items():
        np.testing.assert_allclose(found["weights"][name], numbers, atol=1e-4, err_msg=name)
    lines = {(line["kind"], line["step"]): line for line in found["log"]}
    for line in wanted["log"]:
        assert lines[line["kind"], line["step"]]["loss"] == pytest.approx(line["loss"], abs=1e-4)


# --- of after -------------------------------------------------------------------------------------------------------


def later(folder: Path, version: int) -> None:
    """A manifest as a later version would write it: whole, with things in it that nobody knows yet."""
    content = json.loads((folder / MANIFEST).read_text(encoding="utf-8")) | {"format": version, "unheard of": [1]}
    content["digest"] = digest(content)
    (folder / MANIFEST).write_bytes(to_bytes(content))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    train(small(tmp_path / "data", "train.steps=3", "train.save_minutes=0"), tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("place", [0, -1], ids=["older", "newest"])
def test_a_run_of_a_later_version_is_left_as_it_is(place: int, run: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Also where a checkpoint before it could be read: nobody's steps are lost by going back to it."""
    later(checkpoint_folders(run)[place], KIND.format + 1)
    kept = files(run)
    with pytest.raises(ModelError, match=rf"format {KIND.format + 1}, of a later version; this program reads up to"):
        train(small(run.parent / "data", "train.steps=5", "train.samples=1"), run)
    assert files(run) == kept and not caplog.messages


def test_a_format_that_is_damaged_is_no_later_one(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = checkpoint_folders(run)[-1] / MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"format": 2', b'"format": 3'))
    found = latest_checkpoint(run)
    assert found is not None and found.state["step"] == 2 and "going back to the checkpoint before it" in caplog.text


@pytest.mark.parametrize("version", [0, 2, "1", None, 1.5])
def test_a_model_of_another_version_is_refused(version: Any, run: Path) -> None:
    later(run / "last", version)
    for load in (lambda: Translator.load(run / "last"), lambda: load_translator(run / "last", "cpu")):
        with pytest.raises(ModelError, match=rf"format {version!r}; this program reads 1: use the version that wrote"):
            load()


def test_all_known_formats_are_read(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_module, "KIND", KIND._replace(format=4))
    found = latest_checkpoint(run)
    assert found is not None and found.state["step"] == 3
    with pytest.raises(ModelError, match="format 2; this program reads 3 to 4"):
        check_manifest(checkpoint_folders(run)[0], KIND._replace(oldest=3, format=4))


# --- of another run -------------------------------------------------------------------------------------------------


@pytest.fixture
def other(tmp_path: Path, run: Path) -> Path:
    train(small(tmp_path / "data", "train.steps=5", "train.save_minutes=0"), tmp_path / "other")
    return tmp_path / "other"


def test_a_checkpoint_of_another_run_is_passed_over(run: Path, other: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The same settings, data and seed: and yet another run."""
    assert run_id(run) != run_id(other)
    shutil.copytree(other / "checkpoints" / "000000005", run / "checkpoints" / "000000005")
    found = latest_checkpoint(run)
    assert found is not None and found.state["step"] == 3
    assert f"is of another run, {run_id(other)}, and this one is {run_id(run)}" in caplog.text
    train(small(run.parent / "data", "train.steps=5", "train.save_minutes=0"), run)
    assert records(run / "metrics.jsonl")[-1] == records(other / "metrics.jsonl")[-1]
    assert {check_manifest(folder, KIND)["run"] for folder in checkpoint_folders(run)} == {run_id(run)}


@pytest.mark.parametrize("damage", [None, b"", b"{}", b"[]", b"\xff"])
def test_a_run_that_has_lost_its_id(damage: bytes | None, run: Path) -> None:
    """It takes that of its checkpoints again."""
    known = run_id(run)
    (run / RUN).unlink()
    if damage is not None:
        (run / RUN).write_bytes(damage)
    train(small(run.parent / "data", "train.steps=4"), run)
    assert run_id(run) == known


def test_checkpoints_of_before_there_were_ids(run: Path) -> None:
    for folder in checkpoint_folders(run):
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        del content["run"]
        content["digest"] = digest(content)
        (folder / MANIFEST).write_bytes(to_bytes(content))
    (run / RUN).unlink()
    train(small(run.parent / "data", "train.steps=4"), run)
    newest = checkpoint_folders(run)[-1]
    assert newest.name == "000000004" and check_manifest(newest, KIND)["run"] == run_id(run) != ""


def test_a_start_that_was_killed_may_be_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever file was the last to be written."""
    for count in range(2):
        left = [count]

        def killed(path: Path, content: Any, left: list[int] = left) -> None:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            write_json(path, content)

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            for module in (settings_module, checkpoint_module):
                patch.setattr(module, "write_json", killed)
            train(small(tmp_path / "data", "train.steps=1"), tmp_path / str(count))
        train(small(tmp_path / "data", "train.steps=1"), tmp_path / str(count))
        assert run_id(tmp_path / str(count))


def test_a_whole_run_may_be_copied(run: Path) -> None:
    shutil.copytree(run, run.with_name("copy"))
    train(small(run.parent / "data", "train.steps=4"), run.with_name("copy"))
    try:
        found = latest_checkpoint(run.with_name("copy"))
    except SequencingError as error:
        pytest.fail(str(error))
    assert found is not None and found.state["step"] == 4
