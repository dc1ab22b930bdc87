"""How long sentences are, as a picture: the share of pairs of each length, a stepped line for each side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from sequencing.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axis, axis_of, number_text

MOST_STEPS = 48  # lengths that are many are counted together
SHOWN = 0.995  # of the pairs; the longest few would press the others together
STYLES = ("first", "second")


def histogram_svg(title: str, sides: Mapping[str, Sequence[int]]) -> str:
    """The sides in one frame; `sides` gives how many texts have length 0, 1, 2 …"""
    most = max(longest(counts) for counts in sides.values())
    width = max(1, -(-(most + 1) // MOST_STEPS))
    bars = {name: shares(counts, width, most) for name, counts in sides.items()}
    steps = len(next(iter(bars.values())))
    across = Axis(0.0, float(steps * width), False, axis_of([0.0, float(steps * width)], wanted=5).ticks)
    up = axis_of([0.0, max(max(values) for values in bars.values())], wanted=4)
    parts = [
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" xmlns="http://www.w3.org/2000/svg" role="img" '
        f'aria-label="{escape(spoken(title, sides))}">'
    ]
    for tick in up.ticks:
        y = down(up, tick)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{number_text(tick)} %</text>'
        )
    for tick in across.ticks:
        if tick <= across.high:
            x, y = right(across, tick), HEIGHT - BOTTOM + 16
            parts.append(f'<text class="tick" x="{x:.1f}" y="{y}" text-anchor="middle">{number_text(tick)}</text>')
    for style, values in zip(STYLES, bars.values(), strict=False):
        path = f"M{LEFT} {HEIGHT - BOTTOM}"
        for place, value in enumerate(values):
            path += f"V{down(up, value):.1f}H{right(across, (place + 1) * width):.1f}"
        parts.append(f'<path class="line {style}" d="{path}V{HEIGHT - BOTTOM}"/>')
    return "".join([*parts, "</svg>"])


def longest(counts: Sequence[int]) -> int:
    """The length that all but a few do not exceed."""
    below, wanted = 0, SHOWN * sum(counts)
    for length, count in enumerate(counts):
        below += count
        if below >= wanted:
            return length
    return 0


def shares(counts: Sequence[int], width: int, most: int) -> list[float]:
    """Of a hundred texts, how many have lengths 0 to width - 1, width to 2 width - 1 …"""
    whole = sum(counts) or 1
    return [100 * sum(counts[start : start + width]) / whole for start in range(0, most + 1, width)]


def spoken(title: str, sides: Mapping[str, Sequence[int]]) -> str:
    """The picture in words."""
    means = (
        f"{name} {sum(length * count for length, count in enumerate(counts)) / (sum(counts) or 1):.1f}"
        for name, counts in sides.items()
    )
    return f"{title}; mean length: {', '.join(means)}"


def right(axis: Axis, value: float) -> float:
    return LEFT + axis.place(value) * (WIDTH - LEFT - RIGHT)


def down(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - axis.place(value) * (HEIGHT - TOP - BOTTOM)
