"""Does learning from rewards help? `python recipes/rewards/compare.py letters`

A model is taught by its recipe; from it, for each seed, one run goes on with cross entropy and one learns from rewards,
for the same time, by turns. The model of each that dev found best is measured, greedy and with a beam, on dev and once
on test. What was stopped goes on where it was. Numbers stay in results.json, their table in README.md; TASK.png shows
what dev said along the way.
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
from sequencing.run_folder import read_run
from sequencing_np.search import SearchConfig

FOLDER = HERE / "rewards"
RESULTS = FOLDER / "results.json"
ARMS = ("cross_entropy", "rewards")
LABELS = {"taught": "taught", "cross_entropy": "cross entropy goes on", "rewards": "rewards"}
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
    measures: tuple[str, ...] = ("bleu", "chrf")  # what is compared


GOING_ON = ("train.schedule.type=constant", "train.schedule.warmup=50", "train.steps=0", "train.samples=3")
EVERYDAY = Task(
    recipe="guide/07-subwords",
    minutes=6,
    taught=(
        *("train.minutes=0", "train.steps=10000", "train.keep_models=0", "train.learning_rate=3e-3"),
        *("train.schedule.type=linear", "train.schedule.warmup=100", "train.schedule.final=0.02"),
        *("vocab.source.size=2000", "model.encoder.embedding_size=64", "model.encoder.stack.size=64"),
        *("vocab.target.size=2000", "model.decoder.embedding_size=64", "model.decoder.stack.size=96"),
        *("model.decoder.attention.size=64", "model.decoder.readout_size=64"),
    ),
    both=(
        *GOING_ON,
        "train.learning_rate=5e-4",
        "train.average=0.998",
        "train.select=chrf",
        "train.validate_sentences=1000",
    ),
    cross_entropy=("train.validate_every=150",),
    rewards=(
        "train.objective.type=leave_one_out",
        f"train.objective.reward={FOLDER / 'overlap.py'}:overlap",
        "train.objective.cross_entropy=0.02",
        "train.batch_tokens=1792",
        "train.validate_every=100",
    ),
)
TASKS = {
    "everyday-rnn": EVERYDAY,
    "everyday-self-attention": replace(
        EVERYDAY,
        recipe="guide/08-self-attention",
        minutes=20,
        taught=(
            *("train.minutes=0", "train.steps=10000", "train.keep_models=0", "train.learning_rate=3e-3"),
            *("train.schedule.type=linear", "train.schedule.warmup=400", "train.schedule.final=0.02"),
            *("vocab.source.size=2000", "model.encoder.embedding_size=64"),
            *("vocab.target.size=2000", "model.decoder.embedding_size=64", "model.decoder.attention.size=64"),
            *("model.encoder.blocks.layers=2", "model.encoder.blocks.feed_forward_size=256"),
            *("model.decoder.blocks.layers=2", "model.decoder.blocks.feed_forward_size=256"),
        ),
    ),
    "letters": Task(
        recipe="cmudict-g2p-rnn",
        minutes=9,
        taught=(
            "train.learning_rate=3e-3",
            *("model.encoder.embedding_size=64", "model.encoder.stack.size=96", "model.encoder.stack.layers=1"),
            *("model.decoder.embedding_size=64", "model.decoder.stack.size=160", "model.decoder.readout_size=96"),
            *("model.encoder.embedding_dropout=0", "model.encoder.stack.output_dropout=0.1"),
            *("model.decoder.embedding_dropout=0", "model.decoder.stack.output_dropout=0.1"),
            "model.decoder.readout_dropout=0.1",
        ),
        both=(
            *GOING_ON,
            "train.learning_rate=3e-4",
            "train.average=0.998",
            "train.select=exact_match",
            "train.validate_sentences=6000",
        ),
        cross_entropy=("train.validate_every=400",),
        rewards=(
            "train.objective.type=leave_one_out",
            "train.objective.reward=exact",
            "train.objective.all_targets=true",
            "train.objective.cross_entropy=0.1",
            "train.batch_tokens=2048",
            "train.validate_every=150",
        ),
        measures=("sequence_error_rate",),
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
            search = SearchConfig(beam=beam)
            found[f"{part}, {searched(beam)}"] = evaluate(translator, *held_out, search).record()
    dev = [{name: record[name] for name in ("seconds", *task.measures)} for record in read_run(run).dev]
    return {**facts(run), "quality": found, "dev": dev}


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
    return {"minutes": task.minutes, "measures": task.measures, **found}


def seeds_of(results: dict[str, Any], arm: str) -> list[dict[str, Any]]:
    """What was measured of an arm, a seed each."""
    return [found for name, found in results.items() if name == arm or name.startswith(f"{arm}-")]


def shown(values: list[float], rate: bool) -> str:
    """Mean and range."""
    values = [100 * value for value in values] if rate else values
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.2f}–{max(values):.2f})"


def table(results: dict[str, Any]) -> str:
    """Taught, gone on with cross entropy, learnt from rewards: a row each, a column for each search."""
    lines = []
    for name, found in results.items():
        searches = list(found["taught"]["quality"])
        for measure in found["measures"]:
            rate = measure.endswith("rate")
            lines += [line([f"{name}: {called(measure)}", *searches]), "|---" * (len(searches) + 1) + "|"]
            for arm, label in LABELS.items():
                runs = [run["quality"] for run in seeds_of(found, arm)]
                cells = [shown([run[search][measure] for run in runs], rate) for search in searches]
                lines.append(line([label, *cells]))
            lines.append("")
        steps = {arm: ", ".join(f"{run['step']:,}" for run in seeds_of(found, arm)) for arm in ARMS}
        lines += [f"Steps in {found['minutes']} minutes: {steps[ARMS[0]]}; with rewards {steps[ARMS[1]]}."]
        lines += [*machines({name: found["taught"]}), ""]
    return "\n".join(lines).rstrip()


def called(measure: str) -> str:
    """A measure as readers know it."""
    name = measure.removesuffix("_rate").replace("_", " ") + (", %" if measure.endswith("rate") else "")
    return {"bleu": "BLEU", "chrf": "chrF"}.get(measure, name)


def draw(found: dict[str, Any], path: Path) -> None:
    """What dev said of each seed, by minutes after the teaching; a line where the taught model stood."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    measures = found["measures"]
    figure = Figure(figsize=(5.5 * len(measures), 3.8), dpi=140, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    for axes, measure in zip(figure.subplots(1, len(measures), squeeze=False)[0], measures, strict=True):
        times = 100 if measure.endswith("rate") else 1
        axes.axhline(
            times * found["taught"]["quality"]["dev, greedy"][measure], color="#8a93a0", linewidth=1, label="taught"
        )
        for arm, colour in zip(ARMS, ("#2f6da9", "#c2571a"), strict=True):
            for number, run in enumerate(seeds_of(found, arm)):
                minutes = [record["seconds"] / 60 for record in run["dev"]]
                values = [times * record[measure] for record in run["dev"]]
                axes.plot(minutes, values, color=colour, alpha=0.8, label=None if number else LABELS[arm])
        axes.set_title(f"{called(measure)}, dev, greedy", fontsize=10)
        axes.set_xlabel("minutes")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    figure.savefig(path, metadata={"Software": None})


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
    found = compare(arguments.task, task, arguments.seeds, arguments.set, taught)
    results = {**known(), arguments.task: found}  # known now: another task may have come to its end meanwhile
    write_json(RESULTS, dict(sorted(results.items())))
    draw(found, FOLDER / f"{arguments.task}.png")
    page = FOLDER / "README.md"
    page.write_text(placed(page.read_text("utf-8"), "numbers", table(results)), "utf-8")


if __name__ == "__main__":
    main()
