"""Bars with their numbers as SVG text, for a page that brings the colours. Knows nothing of what is counted."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, LABEL, VALUE, ROW = 400, 100, 142, 21  # of the picture, of what stands left and right of the bars, of a bar


class Bar(NamedTuple):
    """One row: its name, a value from 0 to 100 (what is above is drawn to the end), and what it is made of."""

    name: str
    value: float
    note: str


def bars_svg(title: str, bars: Sequence[Bar]) -> str:
    """The bars below each other, the longest as long as there is room."""
    most = min(max((bar.value for bar in bars), default=0.0), 100.0) or 1.0
    room = WIDTH - LABEL - VALUE
    spoken = "; ".join(f"{bar.name}: {bar.value:.1f} % of {bar.note}" for bar in bars)
    parts = [
        f'<svg class="bars" viewBox="0 0 {WIDTH} {ROW * len(bars) + 4}" xmlns="http://www.w3.org/2000/svg" role="img" '
        f'aria-label="{escape(f"{title}: {spoken}")}" font-family="system-ui, sans-serif" font-size="12">'
    ]
    for row, bar in enumerate(bars):
        y, length = ROW * row + 2, room * min(bar.value / most, 1.0)
        parts.append(
            f'<text x="{LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(bar.name)}</text>'
            f'<rect x="{LABEL}" y="{y + 2}" width="{length:.1f}" height="{ROW - 5}" rx="2"/>'
            f'<text x="{LABEL + length + 6:.1f}" y="{y + 14}">{bar.value:.1f} %'
            f'<tspan class="note" dx="6">{escape(bar.note)}</tspan></text>'
        )
    return "".join([*parts, "</svg>"])
