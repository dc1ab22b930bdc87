"""What the best model is chosen by: a function of a user's own, from its name to the manifest of the best model."""

import json
from pathlib import Path
from typing import Any

import pytest

from sequencing.further_metrics import FURTHER
from sequencing.page.figures import select_of
from sequencing.report import write_report
from sequencing.run_config import read_run_config
from sequencing.run_folder import read_run
from sequencing.selection import METRICS, TAKEN, asked_scores, check_select, column, sign
from sequencing.train.loop import train
from sequencing.train.settings import check_settings
from sequencing.watching import Watched
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.manifest import check_manifest
from small_runs import records, small

OWN = """\
def shortness(texts, references):
    assert isinstance(texts, list) and all(isinstance(allowed, list) for allowed in references)
    return -sum(map(len, texts)) / len(texts)

def falling(texts, references, calls=[]):
    calls.append(1)
    return -len(calls)

def loss(texts, references):
    return 1.0

def broken(texts, references):
    return texts[0] / 2

def undefined(texts, references):
    return float("nan")
"""


def own(folder: Path, name: str) -> str:
    (folder / "own.py").write_text(OWN, encoding="utf-8")
    return f"{folder / 'own.py'}:{name}"


def dev_records(run: Path) -> list[dict[str, Any]]:
    return [record for record in records(run / "metrics.jsonl") if record["kind"] == "dev"]


def test_names_and_signs(tmp_path: Path) -> None:
    for name, way in METRICS.items():
        check_select(name)
        assert (column(name), sign(name)) == (name, way)
        assert (name in asked_scores(name, ["a"], [["a"]])) == (name in FURTHER)
    select = own(tmp_path, "shortness")
    check_select(select)
    assert (column(select), sign(select)) == ("shortness", 1)
    assert asked_scores(select, ("ab", "c"), [("ab", "x"), ("y",)]) == {"shortness": -1.5}


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("loss", "the log has a number 'loss' already"), ("nothing", "has no function 'nothing'")],
)
def test_what_cannot_be_chosen_by(name: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=complaint):
        check_settings(small(tmp_path, f"train.select={own(tmp_path, name)}"))


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("broken", r"own\.py:broken failed: TypeError: unsupported operand .* \(.*own\.py:13\)"),
        ("undefined", r"own\.py:undefined returned nan; it must return a finite number"),
    ],
)
def test_what_a_function_must_say(name: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"train\.select: the function .*{complaint}"):
        asked_scores(own(tmp_path, name), ["a"], [["a"]])


def test_a_validation_says_nothing_of_a_name_that_is_taken(tmp_path: Path) -> None:
    train(small(tmp_path / "data", "train.steps=5"), tmp_path / "run")
    (line,) = (line for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines() if '"dev"' in line)
    assert set(json.loads(line)) == TAKEN - {*FURTHER, "ter_signature"}


def test_the_best_model_by_what_is_counted_when_asked_for(tmp_path: Path) -> None:
    """The least TER is the best; it stands in the log, the manifest of `best` and the report."""
    train(small(tmp_path / "data", "train.select=ter", "train.steps=15"), tmp_path / "run")
    dev = dev_records(tmp_path / "run")
    best = min(record["ter"] for record in dev)
    assert len(dev) == 3 and check_manifest(tmp_path / "run" / "best")["ter"] == best
    report = write_report(tmp_path / "run").read_text("utf-8")
    assert "TER on dev" in report and dev[0]["ter_signature"] in report


def test_the_best_model_and_the_end(tmp_path: Path) -> None:
    """The first validation is the best by a number that falls; after two more it ends. Gone on with, it still knows."""
    select = own(tmp_path, "falling")
    settings = [f"train.select={select}", "train.steps=0", "train.patience=2", "train.validate_every=3"]
    train(small(tmp_path / "data", *settings, "train.steps=4"), tmp_path / "run")
    train(small(tmp_path / "data", *settings), tmp_path / "run")
    dev = dev_records(tmp_path / "run")
    assert [(record["best"], record["falling"]) for record in dev] == [(n == 1, -n) for n in range(1, len(dev) + 1)]
    assert len(dev) == 3
    assert check_manifest(tmp_path / "run" / "best")["falling"] == -1
    watched = Watched(tmp_path / "run")
    watched.look()
    assert watched.limits.select == "falling" == select_of([read_run(tmp_path / "run")])


def test_a_path_begins_at_the_configuration(tmp_path: Path) -> None:
    small(tmp_path / "data")
    path = tmp_path / "data" / "run.toml"
    assert read_run_config(path, ["train.select=own.py:shortness"]).train.select == own(tmp_path / "data", "shortness")
    assert read_run_config(path, ["train.select=json:loads"]).train.select == "json:loads"
