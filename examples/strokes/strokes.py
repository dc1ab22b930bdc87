"""Numbers written with a pen: where it goes, point by point, for as many writers as one likes.

A digit is a few lines in a box of width 0.6 and height 1; a writer slants, stretches, turns and trembles, and is fast
or slow. A number is its digits side by side. What is kept of it are vectors of three numbers: how far the pen moved to
the right and up since the last one, and whether it touched the paper on its way.
"""

from pathlib import Path

import numpy as np

from sequencing_np.vectors import line_of
from sequencing_np.writing import write_lines


def arc(x: float, y: float, width: float, height: float, start: float, end: float) -> list[tuple[float, float]]:
    """Points on an ellipse around (x, y), from one angle to another in degrees."""
    angles = np.radians(np.linspace(start, end, 13))
    return list(zip((x + width * np.cos(angles)).tolist(), (y + height * np.sin(angles)).tolist(), strict=True))


DIGITS: dict[str, list[list[tuple[float, float]]]] = {  # the lines that the pen draws without leaving the paper
    "0": [arc(0.3, 0.5, 0.3, 0.5, 90, 450)],
    "1": [[(0.1, 0.75), (0.35, 1), (0.35, 0)]],
    "2": [[*arc(0.3, 0.72, 0.28, 0.28, 160, -40), (0, 0), (0.6, 0)]],
    "3": [[*arc(0.27, 0.75, 0.28, 0.25, 150, -80), *arc(0.27, 0.26, 0.32, 0.26, 80, -150)]],
    "4": [[(0.4, 1), (0, 0.35), (0.6, 0.35)], [(0.42, 0.6), (0.42, 0)]],
    "5": [[(0.1, 1), (0.07, 0.55), *arc(0.25, 0.3, 0.33, 0.3, 100, -140)], [(0.1, 1), (0.55, 1)]],
    "6": [[(0.5, 1), *arc(0.3, 0.28, 0.3, 0.28, 150, 510)]],
    "7": [[(0, 1), (0.6, 1), (0.2, 0)], [(0.15, 0.5), (0.5, 0.5)]],
    "8": [[*arc(0.3, 0.75, 0.22, 0.25, 60, 270), *arc(0.3, 0.25, 0.3, 0.25, 90, -270),
           *arc(0.3, 0.75, 0.22, 0.25, 270, 430)]],
    "9": [[*arc(0.28, 0.72, 0.28, 0.28, 20, 380), (0.5, 0)]],
}  # fmt: skip


def along(line: list[tuple[float, float]], step: float) -> np.ndarray:  # -> (N, 2)
    """Points of a line, all about so far from each other."""
    points = np.array(line)
    walked = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    places = np.linspace(0, walked[-1], max(2, round(walked[-1] / step) + 1))
    return np.stack([np.interp(places, walked, points[:, axis]) for axis in (0, 1)], axis=1)


def written(number: str, chance: np.random.Generator) -> np.ndarray:  # -> (T, 3)
    """A number as one writer writes it."""
    slant, turn = chance.normal(0.1, 0.15), chance.normal(0, 0.06)
    shape = np.array([[chance.uniform(0.7, 1.3), slant], [turn, chance.uniform(0.8, 1.2)]])
    step, left, path, touching = chance.uniform(0.16, 0.26), 0.0, [np.zeros((1, 2))], [0]
    for digit in number:
        size = chance.uniform(0.8, 1.2)
        for line in DIGITS[digit]:
            points = along(line, step) * size + [left, chance.normal(0, 0.03)]
            path.append((points + chance.normal(0, 0.02, points.shape)) @ shape.T)
            touching += [0] + [1] * (len(points) - 1)
        left += 0.6 * size + chance.uniform(0.15, 0.35)
    moves = np.diff(np.concatenate(path), axis=0)
    return np.column_stack([moves, touching[1:]]).astype(np.float32)


def write_strokes(folder: Path, seed: int = 1, **counts: int) -> None:
    """Writes NAME.tsv of so many numbers of one to four digits for each name; no number stands in two of the files."""
    chance = np.random.default_rng(seed)
    numbers = [str(number) for number in range(10_000)]
    chance.shuffle(numbers)
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in counts.items():
        own, numbers = numbers[:count], numbers[count:]
        write_lines(folder / f"{name}.tsv", (f"{line_of(written(number, chance), 3)}\t{number}" for number in own))
