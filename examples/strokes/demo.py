"""Vectors in, text out, on one page: draw strokes, train, measure, and read them without PyTorch, from NumPy arrays.

python examples/strokes/demo.py
"""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from strokes import write_strokes, written

import sequencing_np as sq

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DATA, RUN = ROOT / "runs/strokes", ROOT / "runs/strokes-demo"
SHOWN = ["2718", "9045", "361"]  # the picture; these are not left out of the training numbers, their strokes are new
COLOURS = ["#c0392b", "#2471a3", "#1e8449", "#b9770e"]


def sequencing(*arguments: str) -> None:
    """Show a command and run it."""
    print("$ sequencing", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "sequencing", *arguments], cwd=ROOT, check=True)


def picture(translator: sq.Translator, path: Path) -> None:
    """The strokes of some numbers; the colour of a stroke is that of the digit that looked at it most."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    chance = np.random.default_rng(5)
    sources = [written(number, chance) for number in SHOWN]
    found = translator.translate(sources, sq.SearchConfig(alignments=True))
    figure, axes = pyplot.subplots(1, len(SHOWN), figsize=(3.2 * len(SHOWN), 2.4))
    for each, strokes, said in zip(axes, sources, found, strict=True):
        answer = said.answers[0]
        weights = answer.alignment[: len(said.text), : len(strokes)]
        looked = weights.argmax(axis=0)
        points = np.concatenate([np.zeros((1, 2)), np.cumsum(strokes[:, :2], axis=0)])
        for place, touching in enumerate(strokes[:, 2]):
            start, end = points[place], points[place + 1]
            colour = COLOURS[looked[place] % len(COLOURS)] if touching else "#cccccc"
            width = 1 + 4 * weights[:, place].max() ** 0.5 if touching else 0.6
            each.plot(*zip(start, end, strict=True), color=colour, linewidth=width, solid_capstyle="round")
        for place, digit in enumerate(said.text):
            each.text(0.06 + 0.1 * place, 1.02, digit, color=COLOURS[place % 4], size=16, transform=each.transAxes)
        each.set_aspect("equal")
        each.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    begin = time.monotonic()
    write_strokes(DATA, train=8_000, dev=500, test=1_000)
    print(f"{DATA.relative_to(ROOT)}: 8,000 numbers to learn from, 500 to choose by, 1,000 to measure with")
    sequencing("train", "examples/strokes/strokes.toml", "--run", str(RUN.relative_to(ROOT)))
    sequencing("evaluate", str(RUN.relative_to(ROOT)), "--data", str((DATA / "test.tsv").relative_to(ROOT)))
    sequencing("export", str(RUN.relative_to(ROOT)), str((RUN / "model").relative_to(ROOT)))
    translator = sq.Translator.load(RUN / "model")
    (said,) = translator.translate([written("1984", np.random.default_rng(3))])
    print(f"an array of {said.source}, read by NumPy alone: {said.text}")
    picture(translator, RUN / "strokes.png")
    print(f"{(time.monotonic() - begin) / 60:.1f} minutes. Look at {(RUN / 'strokes.png').relative_to(ROOT)}")


if __name__ == "__main__":
    main()
