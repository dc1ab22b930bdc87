"""Does learning from rewards help? `python recipes/rewards/compare.py letters`

A model is taught by its recipe; from it, for each seed, one run goes on with cross entropy and one learns from rewards,
for the same time, by turns. The model of each that dev found best is measured, greedy and with a beam, on dev and once
on test. What was stopped goes on where it was; numbers stay in results.json, and their table in README.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from catalogue import HERE, ROOT, RUNS, searched
from measure import facts
from table import line, machines, placed

from sequencing.data.corpus import Corpus, read_references
from sequencing.evaluate import evaluate
from sequencing.loading import load_translator
from sequencing.records import write_json
from sequencing.run_config import read_run_config
from sequencing_np.search import SearchConfig

FOLDER = HERE / "rewards"
RESULTS = FOLDER / "results.json"
ARMS = ("cross_entropy", "rewards")
BEAMS = (1, 5)


@dataclass(frozen=True)
class Task:
    """What is taught, and how both arms go on from it."""

    recipe: str
    minutes: float
    both: tuple[str, ...]  # settings of both arms
    rewards: tuple[str, ...]  # of the one that learns from rewards
    cross_entropy: tuple[str, ...] = ()
    taught: tuple[str, ...] = ()  # laid over the recipe
    measure: str = "bleu"  # what is compared
    alpha: float = 1.0  # of the beam's length penalty


GOING_ON = ("train.schedule.type=constant", "train.schedule.warmup=50", "train.steps=0", "train.samples=3")
CAPTIONS = Task(
    recipe="students/1-teacher",
    minutes=30,
    both=(*GOING_ON, "train.learning_rate=1e-4", "train.select=bleu", "train.average=0.99"),
    cross_entropy=("train.validate_every=300",),
    rewards=(
        "train.objective.type=leave_one_out",
        "train.objective.reward=bleu",
        "train.batch_tokens=4096",
        "train.validate_every=60",
        "train.label_smoothing=0",
    ),
    alpha=1.4,
)
TASKS = {
    "captions": CAPTIONS,
    "captions-rnn": replace(CAPTIONS, recipe="multi30k-en-de-rnn"),
    "letters": Task(
        recipe="cmudict-g2p-rnn",
        minutes=10,
        both=(*GOING_ON, "train.learning_rate=1e-4", "train.select=exact_match", "train.average=0.99"),
        cross_entropy=("train.validate_every=400",),
        rewards=(
            "train.objective.type=leave_one_out",
            "train.objective.reward=exact",
            "train.objective.all_targets=true",
            "train.objective.cross_entropy=0.1",
            "train.objective.dropout=true",
            "train.validate_every=80",
        ),
        measure="sequence_error_rate",
    ),
}


def train(config: Path, run: Path, *arguments: str) -> None:
    """One run to its end."""
    command = [sys.executable, "-m", "sequencing", "train", str(config), "--run", str(run), *arguments]
    done = subprocess.run(command, cwd=ROOT)
    if done.returncode:
        sys.exit(done.returncode)


def measured(run: Path, task: Task) -> dict[str, Any]:
    """A run's numbers on dev and test, by search."""
    config = read_run_config(run / "config.json")
    translator, found = load_translator(run), {}
    for part in ("dev", "test"):
        held_out = read_references(Corpus(getattr(config.data, part), part, sources=translator.source_vocab.columns))
        for beam in BEAMS:
            search = SearchConfig(beam=beam, alpha=task.alpha)
            found[f"{part}, {searched(beam)}"] = evaluate(translator, *held_out, search).record()
    return {**facts(run), "quality": found}


def known() -> dict[str, Any]:
    """What was measured so far, by task."""
    return json.loads(RESULTS.read_bytes()) if RESULTS.is_file() else {}


def compare(name: str, task: Task, seeds: list[int], settings: list[str], taught: Path | None = None) -> dict[str, Any]:
    """Teach, go on both ways for each seed, measure."""
    folder = RUNS / "rewards" / name
    recipe = HERE / f"{task.recipe}.toml"
    start = taught or folder / "taught"
    if taught is None:
        train(recipe, start, *(["--set", *task.taught] if task.taught else []))
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "taught.json").is_file():
        write_json(folder / "taught.json", measured(start, task))
    names = ["taught"]
    for seed in seeds:
        for arm in ARMS:
            run = folder / f"{arm}-{seed}"
            own = [*task.taught, *task.both, *getattr(task, arm), f"train.minutes={task.minutes}", f"train.seed={seed}"]
            names.append(run.name)
            if not (folder / f"{run.name}.json").is_file():
                train(recipe, run, "--init-from", str(start), "--set", *own, *settings)
                write_json(folder / f"{run.name}.json", measured(run, task))
    found = {name: json.loads((folder / f"{name}.json").read_bytes()) for name in names}
    return {"minutes": task.minutes, "measure": task.measure, **found}


def spread(results: dict[str, Any], arm: str, search: str) -> list[float]:
    """The numbers of an arm's seeds."""
    names = [name for name in results if name == arm or name.startswith(f"{arm}-")]
    return [results[name]["quality"][search][results["measure"]] for name in names]


def shown(values: list[float], rate: bool) -> str:
    """Mean and range."""
    values = [100 * value for value in values] if rate else values
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.2f}–{max(values):.2f})"


def table(results: dict[str, Any]) -> str:
    """Taught, gone on with cross entropy, learnt from rewards: a row each, a column for each search."""
    lines = []
    for name, found in results.items():
        rate, searches = found["measure"].endswith("rate"), list(found["taught"]["quality"])
        heading = f"{name}: {found['measure'].replace('_', ' ')}"
        lines += [line([heading + (", %" if rate else ""), *searches]), "|---" * (len(searches) + 1) + "|"]
        for arm, label in (("taught", "taught"), (ARMS[0], "cross entropy goes on"), (ARMS[1], "rewards")):
            lines.append(line([label, *(shown(spread(found, arm, search), rate) for search in searches)]))
        lines += [*machines({name: found["taught"]}), ""]
    return "\n".join(lines).rstrip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--taught", type=Path, help="a run that was taught already")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="key=value", help="laid over both arms"
    )
    arguments = parser.parse_args()
    task, taught = TASKS[arguments.task], arguments.taught and arguments.taught.resolve()
    results = known()
    results[arguments.task] = compare(arguments.task, task, arguments.seeds, arguments.set, taught)
    write_json(RESULTS, dict(sorted(results.items())))
    page = FOLDER / "README.md"
    page.write_text(placed(page.read_text("utf-8"), "numbers", table(results)), "utf-8")


if __name__ == "__main__":
    main()
