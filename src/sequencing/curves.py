"""Curves over the steps or the time of runs as SVG text, for a page that brings the colours.

Knows nothing of runs and records.
"""

import math
from html import escape
from itertools import pairwise
from typing import NamedTuple

WIDTH, HEIGHT = 400, 224
LEFT, RIGHT, TOP, BOTTOM = 54, 24, 10, 42
MOST_POINTS = 240  # a longer series is averaged down to so many
FEW_POINTS = 40  # up to so many, each point is a dot with its value


class Point(NamedTuple):
    step: float
    value: float


class Series(NamedTuple):
    """One line: its name, its points in the order of steps, and the CSS classes that colour it."""

    name: str
    points: list[Point]
    style: str = "first"


class Place(NamedTuple):
    """What runs from left to right: named ticks on an axis from 0."""

    axis: "Axis"
    names: list[str]


class Axis(NamedTuple):
    """Where a value stands between 0 and 1, and which values are named."""

    low: float
    high: float
    logarithmic: bool
    ticks: list[float]

    def place(self, value: float) -> float:
        if self.logarithmic:
            return (math.log(value) - math.log(self.low)) / (math.log(self.high) - math.log(self.low))
        return (value - self.low) / (self.high - self.low)


def curve_svg(title: str, series: list[Series], clock: list[Point], best: float | None = None) -> str:
    """The series in one frame; `clock` gives the seconds at some steps, `best` is a step to mark."""
    steps, names = _ticks(max(point.step for line in series for point in line.points))
    names = [name if tick else "step 0" for tick, name in zip(steps.ticks, names, strict=True)]
    return _svg(f"{title} over steps", series, Place(steps, names), clock, best)


def time_svg(title: str, series: list[Series]) -> str:
    """The series in one frame, over seconds where others are over steps."""
    last = max(point.step for line in series for point in line.points)
    unit, seconds = next(((unit, size) for unit, size in UNITS if last < 100 * size), UNITS[-1])
    scaled = [line._replace(points=[Point(step / seconds, value) for step, value in line.points]) for line in series]
    axis, names = _ticks(last / seconds)
    return _svg(f"{title} over time, {unit}", scaled, Place(axis, [f"{name} {unit}" for name in names]), [])


UNITS = (("s", 1), ("min", 60), ("h", 3600), ("days", 86400))


def _ticks(last: float) -> Place:
    whole = axis_of([0.0, last], wanted=4)
    ticks = [tick for tick in whole.ticks if tick <= last]
    return Place(whole._replace(high=last or 1.0, ticks=ticks), [number_text(tick) for tick in ticks])


def _svg(title: str, series: list[Series], place: Place, clock: list[Point], best: float | None = None) -> str:
    steps = place.axis
    values = axis_of([point.value for line in series for point in line.points], wanted=5, may_be_logarithmic=True)
    parts = [
        f'<svg class="curve" viewBox="0 0 {WIDTH} {HEIGHT}" xmlns="http://www.w3.org/2000/svg" role="img" '
        f'aria-label="{escape(_spoken(title, series))}">',
        *(_value_tick(tick, _y(values, tick)) for tick in values.ticks),
        *(
            _step_tick(name, _x(steps, tick), seconds_at(tick, clock) if tick else None)
            for tick, name in zip(steps.ticks, place.names, strict=True)
        ),
    ]
    if best is not None and steps.low <= best <= steps.high:
        x = _x(steps, best)
        parts.append(
            f'<path class="best" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}"><title>best: step {best:,.0f}</title></path>'
        )
    for line in series:
        places = [(_x(steps, step), _y(values, value)) for step, value in _thin(line.points)]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        name = f"<title>{escape(line.name)}: last {number_text(line.points[-1].value)}</title>"
        parts.append(f'<path class="line {line.style}" d="M{path}">{name}</path>' if len(places) > 1 else "")
        if len(line.points) <= FEW_POINTS:
            parts += [
                f'<circle class="{line.style}" cx="{x:.1f}" cy="{y:.1f}" r="2.6"><title>'
                f"{escape(line.name)} {number_text(point.value)} at {point.step:,.4g}</title></circle>"
                for (x, y), point in zip(places, line.points, strict=True)
            ]
    return "".join([*parts, "</svg>"])


def axis_of(values: list[float], wanted: int, may_be_logarithmic: bool = False) -> Axis:
    """An axis with round ticks around the values; logarithmic where they span more than two powers of ten."""
    low, high = min(values), max(values)
    if may_be_logarithmic and low > 0 and high / low > 100:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        stride = math.ceil((last - first) / wanted)
        return Axis(10.0**first, 10.0**last, True, [10.0**power for power in range(first, last + 1, stride)])
    if high - low <= 1e-9 * max(abs(high), abs(low)):
        low, high = (low - abs(low) / 2, high + abs(high) / 2) if low else (0.0, 1.0)
    rough = (high - low) / wanted
    unit = 10.0 ** math.floor(math.log10(rough))
    stride_size = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    first_tick, last_tick = math.floor(low / stride_size + 1e-9), math.ceil(high / stride_size - 1e-9)
    ticks = [stride_size * count for count in range(first_tick, last_tick + 1)]
    return Axis(ticks[0], ticks[-1], False, ticks)


def number_text(value: float) -> str:
    """A number with at most three or four digits that count."""
    if value and not 1e-4 <= abs(value) < 1e6:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}" if abs(value) >= 1 else f"{value:.3g}"


def duration_text(seconds: float) -> str:
    """Seconds in the unit in which people say them."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def seconds_at(step: float, clock: list[Point]) -> float | None:
    """The seconds at a step, on the straight line between the two steps that are known; None outside of them."""
    known = [Point(0.0, 0.0), *clock]
    for before, after in pairwise(known):
        if before.step <= step <= after.step:
            share = (step - before.step) / (after.step - before.step) if after.step > before.step else 1.0
            return before.value + share * (after.value - before.value)
    return None


def _x(axis: Axis, step: float) -> float:
    return LEFT + axis.place(step) * (WIDTH - LEFT - RIGHT)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - axis.place(value) * (HEIGHT - TOP - BOTTOM)


def _value_tick(tick: float, y: float) -> str:
    line = f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
    return f'{line}<text class="tick" x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{number_text(tick)}</text>'


def _step_tick(label: str, x: float, seconds: float | None) -> str:
    y = HEIGHT - BOTTOM
    time = "" if seconds is None else f'<text class="time" x="{x:.1f}" y="{y + 30}">{duration_text(seconds)}</text>'
    return f'<g text-anchor="middle"><text class="tick" x="{x:.1f}" y="{y + 16}">{label}</text>{time}</g>'


def _thin(points: list[Point]) -> list[Point]:
    """At most MOST_POINTS points, each the average of its neighbours."""
    if len(points) <= MOST_POINTS:
        return points
    cuts = [round(index * len(points) / MOST_POINTS) for index in range(MOST_POINTS + 1)]
    groups = [points[start:end] for start, end in pairwise(cuts)]
    return [Point(*(sum(values) / len(group) for values in zip(*group, strict=True))) for group in groups]


def _spoken(title: str, series: list[Series]) -> str:
    ends = (
        f"{line.name} from {number_text(line.points[0].value)} to {number_text(line.points[-1].value)}"
        for line in series
    )
    return f"{title}: {'; '.join(ends)}"
