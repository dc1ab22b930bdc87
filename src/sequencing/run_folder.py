"""What the folder of a run says of it: its records, configuration, machine and test, as far as they can be read.

A folder that is no run is an error; a file that is missing or damaged is a note. Knows nothing of how it is shown.
"""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

from sequencing.kept_models import Kept, ranked
from sequencing.records import Record, Records, number, read_records, visible
from sequencing_np.errors import UsageError

ANSWERS = "answers.jsonl"  # of the best model, to the sentences of dev: written anew with it
LOGS = ("metrics.jsonl", "samples.jsonl", ANSWERS)


class Run(NamedTuple):
    """What the folder of a run says of it, as far as it can be read."""

    name: str
    train: list[Record]
    dev: list[Record]
    samples: list[Record]
    answers: list[Record]  # the best model's to dev, a record a sentence
    test: Record
    configuration: Record
    machine: Record
    parameters: float | None
    notes: list[str]
    kept: list[Kept]  # models that did best, the best first

    @property
    def best(self) -> Record:
        """The last validation that was the best so far, or else the last one; empty where there is none."""
        return next((record for record in reversed(self.dev) if record.get("best") is True), (self.dev or [{}])[-1])

    @property
    def last(self) -> Record:
        """The record of the latest step; empty where there is none."""
        return max([*self.train, *self.dev], key=lambda record: record["step"], default={})


def read_run(folder: Path) -> Run:
    if not folder.is_dir() or not any((folder / name).is_file() for name in ("metrics.jsonl", "config.json")):
        problem = "has neither metrics.jsonl nor config.json" if folder.is_dir() else "is no folder"
        raise UsageError(f"{folder} {problem}. Give the folder of a run: the one after `sequencing train … --run`.")
    notes: list[str] = []
    metrics, samples, answers = (_records(folder / name, notes) for name in LOGS)
    with_step = [record for record in metrics if number(record.get("step")) is not None]
    train, dev = ([record for record in with_step if record.get("kind") == kind] for kind in ("train", "dev"))
    if not with_step:
        notes.append("metrics.jsonl has no records yet: the run has not logged its first step.")
    elif not dev:
        notes.append("No validation yet: there are no dev numbers.")
    test, configuration, machine = (_object(folder / f"{name}.json", notes) for name in ("test", "config", "machine"))
    said = (number(part.get("parameters")) for part in (machine, configuration, test))
    parameters = next((value for value in said if value is not None), None)
    if parameters is None:
        parameters = _count_parameters(folder)
    name = visible(folder.resolve().name) or "run"
    return Run(name, train, dev, samples, answers, test, configuration, machine, parameters, notes, ranked(folder))


def _records(path: Path, notes: list[str]) -> list[Record]:
    try:
        records, damaged = read_records(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        records, damaged = Records([], 0)
        notes.append(f"{path.name} cannot be read ({error.strerror}).")
    if damaged:
        notes.append(
            f"{path.name}: {damaged} damaged line{'s' * (damaged > 1)} left out; a stopped run cuts its last line."
        )
    return list(records)


def _object(path: Path, notes: list[str]) -> dict[str, Any]:
    """The JSON object of a file; empty, with a note, where there is a file that holds none."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        notes.append(f"{path.name} is damaged: it holds no JSON object.")
        return {}
    return content


def _count_parameters(folder: Path) -> float | None:
    """The number of weights, from the head of the weights file; None where it cannot be told."""
    for model in ("best", "last"):
        try:
            with (folder / model / "weights.safetensors").open("rb") as file:
                head = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), 1 << 24)))
            shapes = [entry["shape"] for name, entry in head.items() if name != "__metadata__"]
            return float(sum(math.prod(shape) for shape in shapes))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return None
