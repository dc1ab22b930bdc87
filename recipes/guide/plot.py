"""The guide's comparison of its four models, and beside it the honest one: `python recipes/guide/plot.py`.

Two pictures. In curves.png stands left what the guide drew: accuracy on training pairs, padding counted, pass by pass;
its own curves are dots, read off its picture. Right, the same models on sentences that were held out, words and ends
alone. Every model that the runs have kept is measured; curves.json keeps the numbers. ladder.png shows what each rung
says by itself of held-out sentences, from results.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from catalogue import HERE, RUNS, recipes
from measure import MOST_TRAINING, accuracies, longest_target, pairs_of
from table import known

from sequencing.loading import load_translator
from sequencing.records import write_json
from sequencing.run_config import read_run_config
from sequencing.run_folder import read_run
from sequencing_np.manifest import check_manifest

GUIDE = HERE / "guide"
PASSES = (1, 2, 6, 11, 21, 41, 61, 76, 100)
READ_OFF = {  # the guide's accuracies after these passes, +-0.003
    "01-one-hot": (0.436, 0.490, 0.545, 0.563, 0.574, 0.610, 0.640, 0.657, 0.669),
    "02-one-hot-bidirectional": (0.457, 0.505, 0.557, 0.575, 0.613, 0.652, 0.674, 0.686, 0.708),
    "03-embedding": (0.423, 0.492, 0.541, 0.553, 0.571, 0.587, 0.606, 0.622, 0.636),
    "04-embedding-bidirectional": (0.407, 0.411, 0.496, 0.507, 0.583, 0.636, 0.659, 0.668, 0.686),
}
COLOURS = ("#2f6da9", "#c2571a", "#3f8f4f", "#8a4fa8", "#1c2430", "#a8323e")


def points(run: Path) -> list[dict[str, float]]:
    """Padded training accuracy and held-out accuracy of each model that a run has kept, by passes."""
    config, read = read_run_config(run / "config.json"), read_run(run)
    whole = max((record.get("epoch", 0) for record in read.train), default=0)
    first = next((record["step"] for record in read.train if record.get("epoch") == whole), 0)  # the log has whole ones
    rate = whole / first if whole else 128 / 80_000  # passes a step
    found = []
    for folder in sorted((run / "models").glob("[0-9]*")):
        check_manifest(folder)
        translator = load_translator(folder)
        longest = longest_target(translator, config)
        train = accuracies(translator, pairs_of(config.data.train, 1, MOST_TRAINING), longest)
        held = accuracies(translator, pairs_of(config.data.test, 1), longest)
        step = int(folder.name)
        place = {"step": step, "passes": round(step * rate, 2)}
        found.append({**place, "padded": train["padded"], "held_out": held["token_accuracy"]})
    return found


def draw(curves: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Both pictures side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.8), dpi=140, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    for axes, key, title in zip(
        figure.subplots(1, 2),
        ("padded", "held_out"),
        ("the guide's measure: training pairs, padding counted", "the honest one: held-out sentences, words alone"),
        strict=True,
    ):
        for name, found in curves.items():
            colour = COLOURS[int(name[:2]) - 1]  # each rung its own, whichever are there
            axes.plot([p["passes"] for p in found], [p[key] for p in found], color=colour, label=name, marker=".")
            if key == "padded" and name in READ_OFF:
                axes.plot(PASSES, READ_OFF[name], color=colour, marker="o", markersize=4, linestyle="none", alpha=0.45)
        axes.set_title(title, fontsize=10)
        axes.set_xscale("log", base=10)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel("passes over the training pairs")
        axes.set_ylabel("accuracy")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="upper left")
    figure.savefig(path, metadata={"Software": None})


def draw_ladder(results: dict[str, Any], path: Path) -> None:
    """BLEU and chrF of every rung, the first one on top, with the widest beam that it was searched with."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = sorted(results, reverse=True)
    figure = Figure(figsize=(9, 0.5 + 0.42 * len(names)), dpi=140, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    for axes, key, title, colour in zip(
        figure.subplots(1, 2, sharey=True), ("bleu", "chrf"), ("BLEU", "chrF"), COLOURS, strict=False
    ):
        found = [results[name]["search"][max(results[name]["search"], key=int)][key] for name in names]
        bars = axes.barh(names, found, color=colour, height=0.62)
        axes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
        axes.set_title(f"{title}, held-out sentences", fontsize=10)
        axes.margins(x=0.12)
        axes.tick_params(labelsize=8, left=False)
        axes.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(path, metadata={"Software": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=Path, default=RUNS, metavar="FOLDER", help="where the runs are (runs/recipes)")
    parser.add_argument("--out", type=Path, default=GUIDE, metavar="FOLDER", help="where curves.json and curves.png go")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    kept = arguments.out / "curves.json"
    curves: dict[str, Any] = json.loads(kept.read_bytes()) if kept.is_file() else {}
    for name in recipes("guide"):
        of_words = read_run_config(HERE / f"{name}.toml").vocab.target.level == "words"  # subwords are other tokens
        if of_words and (arguments.runs / name / "models").is_dir():
            curves[name.rpartition("/")[2]] = points(arguments.runs / name)
    if not curves:
        sys.exit(f"{arguments.runs}/guide: holds no models yet; run: python recipes/run.py guide")
    write_json(kept, curves)
    draw(curves, arguments.out / "curves.png")
    print(arguments.out / "curves.png")
    if measured := known(GUIDE):
        draw_ladder(measured, arguments.out / "ladder.png")
        print(arguments.out / "ladder.png")


if __name__ == "__main__":
    main()
