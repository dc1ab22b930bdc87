"""Curves in the characters of a terminal, two by four dots each, and text that fits into its columns."""

import math
import unicodedata
from collections.abc import Sequence

from sequencing.curves import Point, number_text

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a braille character: rows from the top, columns
BRAILLE = 0x2800
LOGARITHMIC = 50  # how many times the least value the greatest must be


class Trace:
    """A curve in bounded memory: of more values than it holds, neighbours are averaged."""

    def __init__(self, most: int = 512) -> None:
        self._most, self._stride = most, 1
        self._points: list[Point] = []
        self._open: list[Point] = []  # of the point that is not yet whole

    def add(self, step: float, value: float) -> None:
        self._open.append(Point(step, value))
        if len(self._open) == self._stride:
            self._points.append(mean(self._open))
            self._open = []
        if len(self._points) == self._most:
            self._points = [mean(self._points[place : place + 2]) for place in range(0, self._most, 2)]
            self._stride *= 2

    @property
    def points(self) -> list[Point]:
        return [*self._points, mean(self._open)] if self._open else self._points


def mean(points: Sequence[Point]) -> Point:
    return Point(*(sum(values) / len(points) for values in zip(*points, strict=True)))


def curve_lines(points: Sequence[Point], width: int, height: int) -> list[str]:
    """The curve in so many columns and lines, its axes included; at least 16 columns and 3 lines."""
    low, high = min(point.value for point in points), max(point.value for point in points)
    labels = [number_text(high), number_text(low)]
    margin = max(map(len, labels)) + 1
    across, down = 2 * max(4, width - margin - 1), 4 * max(2, height - 1)
    rows = dots(points, across, down)
    lines = []
    for row in range(down // 4):
        label = labels[0] if row == 0 else labels[1] if row == down // 4 - 1 else ""
        cells = (
            chr(BRAILLE + sum(DOTS[y][x] for y in range(4) for x in range(2) if column + x in rows[4 * row + y]))
            for column in range(0, across, 2)
        )
        lines.append(f"{label:>{margin - 1}} ┤{''.join(cells)}")
    last = f"{points[-1].step:,.0f}"
    lines.append(f"{'':{margin}}└{'step 0'[: across // 2 - len(last)]:─<{across // 2 - len(last)}}{last}")
    return lines


def is_logarithmic(points: Sequence[Point]) -> bool:
    """Whether the values of a curve are so far apart that their logarithms are drawn."""
    low, high = min(point.value for point in points), max(point.value for point in points)
    return low > 0 and high / low > LOGARITHMIC


def dots(points: Sequence[Point], across: int, down: int) -> list[set[int]]:
    """For each row of dots from the top, the columns that are set: neighbours are joined."""
    low, high = min(point.value for point in points), max(point.value for point in points)
    scale = math.log if is_logarithmic(points) else float
    bottom, top, last = scale(low), scale(high), points[-1].step or 1.0
    rows: list[set[int]] = [set() for _ in range(down)]
    before: tuple[int, int] | None = None
    for point in points:
        share = (scale(point.value) - bottom) / (top - bottom) if top > bottom else 0.5
        x, y = round(min(point.step / last, 1.0) * (across - 1)), round((1 - share) * (down - 1))
        first_x, first_y = before or (x, y)
        count = max(abs(x - first_x), abs(y - first_y), 1)
        for part in range(count + 1):
            rows[round(first_y + (y - first_y) * part / count)].add(round(first_x + (x - first_x) * part / count))
        before = x, y
    return rows


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(width_of(character) for character in text)


def width_of(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def clipped(text: str, width: int) -> str:
    """The text in so many columns at most; what is cut is said by an ellipsis."""
    if columns(text) <= width:
        return text
    kept, taken = [], 0
    for character in text:
        taken += width_of(character)
        if taken > width - 1:
            break
        kept.append(character)
    return f"{''.join(kept)}…"


def padded(text: str, width: int) -> str:
    """The text in exactly so many columns."""
    short = clipped(text, width)
    return short + " " * (width - columns(short))
