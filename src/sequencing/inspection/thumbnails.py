"""A map of attention as a small SVG without labels: many heads side by side stay a light page. Knows no model."""

from __future__ import annotations

from html import escape

import numpy as np

from sequencing.plot import MOST_TOKENS

EDGES = np.array([0.03, 0.08, 0.15, 0.25, 0.4, 0.6, 0.8])  # of the shades; below the first nothing is drawn
SHADES = (0.06, 0.12, 0.2, 0.33, 0.5, 0.7, 0.95)
CELL, WIDEST = 7, 300  # pixels of a cell, and of a picture


def thumbnail_svg(weights: np.ndarray, title: str) -> str:  # (T, S)
    """The map: a row for each who looks, a column for each that is looked at."""
    weights = weights[:MOST_TOKENS, :MOST_TOKENS]
    rows, columns = weights.shape
    width = min(CELL * columns, WIDEST)
    levels = np.searchsorted(EDGES, np.nan_to_num(weights), side="right")
    paths = [
        f'<path fill-opacity="{shade}" d="{cells(levels == level)}"/>'
        for level, shade in enumerate(SHADES, 1)
        if (levels == level).any()
    ]
    return (
        f'<svg class="thumbnail" viewBox="0 0 {columns} {rows}" width="{width}" height="{width * rows / columns:.0f}" '
        f'xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(title)}">'
        f'<title>{escape(title)}</title><rect width="{columns}" height="{rows}" fill-opacity="0.05"/>'
        f"{''.join(paths)}</svg>"
    )


def cells(chosen: np.ndarray) -> str:  # (T, S) -> a path
    """The chosen cells as rectangles; neighbours in a row are one."""
    edges = np.diff(np.pad(chosen, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, ends = np.argwhere(edges == 1), np.argwhere(edges == -1)
    return "".join(
        f"M{column} {row}h{end - column}v1h{column - end}z"
        for (row, column), (_, end) in zip(starts.tolist(), ends.tolist(), strict=True)
    )
