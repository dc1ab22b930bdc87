"""Attention pictures: which source token each predicted token looked at, as PNG and as SVG for a page.

A sample is a record of samples.jsonl: source_tokens, prediction_tokens and alignment (T rows of S weights). Source
tokens stand on top, prediction tokens down the side; one hue, light for 0 and dark for 1, the same in every picture.
Knows nothing of models and runs.
"""

import io
import unicodedata
import warnings
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from sequencing.records import Record, number, visible
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.writing import atomic_write

COLOURS = ("#f4f7fb", "#bdd3e9", "#72a2cf", "#2f6da9", "#123f6e")  # weights 0, 1/4, 1/2, 3/4, 1
INK, MUTED = "#1c2430", "#5f6b7a"
EOS = "</s>"
MOST_TOKENS = 120  # of a longer sentence the beginning is drawn
LONGEST_LABEL = 24
FALLBACK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans",
    "PingFang SC",
    "Microsoft YaHei",
    "Arial Unicode MS",
)


class Picture(NamedTuple):
    """What is drawn: a label for each column and row, and the weights (T, S) between 0 and 1."""

    source: list[str]
    prediction: list[str]
    weights: numpy.ndarray

    @property
    def turned(self) -> bool:
        """Whether the labels on top are too wide to lie side by side."""
        return any(label_width(label) > 2 for label in self.source if label != EOS)


def picture_of(sample: Record) -> Picture:
    """The sample made drawable; a last row or column without a token is the end of the sentence."""
    missing = [name for name in ("source_tokens", "prediction_tokens", "alignment") if not sample.get(name)]
    if missing:
        raise DataError(f"a sample without {' and '.join(missing)}: nothing to draw. Give a record of samples.jsonl")
    source, prediction, rows = sample["source_tokens"], sample["prediction_tokens"], sample["alignment"]
    if not all(isinstance(part, list) for part in (source, prediction, rows, *rows)) or len(set(map(len, rows))) != 1:
        raise DataError("a sample whose alignment is no table: give T rows of S weights each, and tokens as lists")
    source = [*source, EOS] if len(rows[0]) == len(source) + 1 else source
    prediction = [*prediction, EOS] if len(rows) == len(prediction) + 1 else prediction
    if (len(prediction), len(source)) != (len(rows), len(rows[0])):
        raise DataError(
            f"a sample with {len(source)} source tokens, {len(prediction)} predicted tokens, but an alignment of "
            f"{len(rows)} x {len(rows[0])}: give one row a predicted token and one column a source token"
        )
    weights = numpy.array([[number(weight) or 0.0 for weight in row[:MOST_TOKENS]] for row in rows[:MOST_TOKENS]])
    return Picture(
        [token_label(token) for token in source[:MOST_TOKENS]],
        [token_label(token) for token in prediction[:MOST_TOKENS]],
        numpy.clip(weights, 0.0, 1.0),
    )


def token_label(token: object) -> str:
    """A token as a person can see it: spaces as ␣, controls as escapes, a lone combining mark on a circle."""
    text = visible(str(token)).replace(" ", "␣") or "∅"
    if unicodedata.category(text[0]) in ("Mn", "Me", "Mc"):
        text = "◌" + text
    return text if len(text) <= LONGEST_LABEL else text[: LONGEST_LABEL - 1] + "…"


def label_width(label: str) -> float:
    """The width of a label in characters of ordinary width: wide (CJK) ones count double, combining ones nothing."""
    return sum(
        0.0 if unicodedata.combining(c) else 1.8 if unicodedata.east_asian_width(c) in "WF" else 1.0 for c in label
    )


def draw_attention(sample: Record, path: Path) -> None:
    """Write the picture of one sample as PNG."""
    picture = picture_of(sample)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            f"drawing a PNG needs matplotlib, which cannot be imported ({error}). Install it with "
            "`pip install matplotlib`; the pictures in report.html do without."
        ) from error
    rows, columns = picture.weights.shape
    left, top = (0.09 * max(map(label_width, labels)) + 0.25 for labels in (picture.prediction, picture.source))
    turned = picture.turned
    top = 0.66 * top + 0.1 if turned else 0.4
    cell_width = 0.34 if turned or columns < 30 else 0.24
    width, height = cell_width * columns, 0.225 * rows
    right, bottom = max(0.75, 0.066 * label_width(picture.source[-1]) * turned), 0.2
    figure = Figure(figsize=(left + width + right, top + height + bottom), dpi=160, facecolor="white")
    total_width, total_height = figure.get_size_inches()
    FigureCanvasAgg(figure)
    box = (left / total_width, bottom / total_height, width / total_width, height / total_height)
    bar_height = min(1.2, height) / total_height
    bar = ((left + width + 0.25) / total_width, bottom / total_height, 0.09 / total_width, bar_height)
    _fill(figure, picture, box, bar, turned)
    data = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # no font here has it: an empty box is shown
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        figure.savefig(data, format="png", metadata={"Software": None})
    with atomic_write(path) as file:
        file.write(data.getbuffer())


def _fill(figure: Any, picture: Picture, box: tuple[float, ...], bar: tuple[float, ...], turned: bool) -> None:
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.font_manager import fontManager

    rows, columns = picture.weights.shape
    installed = {font.name for font in fontManager.ttflist}
    text: dict[str, Any] = {
        "family": ["DejaVu Sans", *(font for font in FALLBACK_FONTS if font in installed)],
        "color": INK,
    }
    text |= {"parse_math": False, "fontsize": 9}
    axes = figure.add_axes(box)
    colours = LinearSegmentedColormap.from_list("attention", COLOURS)
    mesh = axes.pcolormesh(picture.weights, cmap=colours, vmin=0, vmax=1, edgecolors="white", linewidth=0.8)
    axes.invert_yaxis()
    axes.xaxis.tick_top()
    turn = {"rotation": 45, "ha": "left", "rotation_mode": "anchor"} if turned else {}
    axes.set_xticks(numpy.arange(columns) + 0.5, picture.source, **text, **turn)
    axes.set_yticks(numpy.arange(rows) + 0.5, picture.prediction, **text)
    axes.tick_params(length=0, pad=4)
    axes.spines[:].set_visible(False)
    scale = figure.colorbar(mesh, cax=figure.add_axes(bar), ticks=[0, 0.5, 1], format="%g")
    scale.outline.set_visible(False)
    scale.ax.tick_params(length=0, labelsize=7.5, labelcolor=MUTED, labelfontfamily="DejaVu Sans", pad=3)


CELL_HEIGHT, CELL_WIDTH, CHARACTER = 15, 22, 7.2  # of the SVG; a character of the 12 pixel font is about so wide


def attention_svg(sample: Record) -> str:
    """The picture of one sample as SVG text: follows the colours of the page it stands in, needs nothing else."""
    picture = picture_of(sample)
    rows, columns = picture.weights.shape
    widest, turned = max(map(label_width, picture.source)), picture.turned
    left = CHARACTER * max(map(label_width, picture.prediction)) + 12
    top = CHARACTER * widest * 0.71 + 16 if turned else 22
    right = max(4.0, CHARACTER * label_width(picture.source[-1]) * 0.71 - CELL_WIDTH / 2 + 8 if turned else 4.0)
    width, height = left + CELL_WIDTH * columns + right, top + CELL_HEIGHT * rows + 4
    parts = [
        f'<svg class="attention" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{_spoken(picture)}" '
        'font-family="system-ui, sans-serif" font-size="12">',
        f'<rect x="{left:.0f}" y="{top:.0f}" width="{CELL_WIDTH * columns}" height="{CELL_HEIGHT * rows}" '
        f'fill="var(--accent, {COLOURS[3]})" fill-opacity="0.06"/>',
        '<g fill="var(--ink, #1c2430)">',
    ]
    for column, label in enumerate(picture.source):
        x, y = left + CELL_WIDTH * (column + 0.5), top - 6
        place = f'transform="translate({x:.0f} {y:.0f})'
        place += ' rotate(-45)"' if turned else '" text-anchor="middle"'
        parts.append(f"<text {place}>{escape(label)}</text>")
    for row, label in enumerate(picture.prediction):
        y = top + CELL_HEIGHT * (row + 0.5) + 4
        parts.append(f'<text x="{left - 6:.0f}" y="{y:.0f}" text-anchor="end">{escape(label)}</text>')
    parts.append(f'</g><g fill="var(--accent, {COLOURS[3]})">')
    for row, column in numpy.argwhere(picture.weights >= 0.02):
        weight = picture.weights[row, column]
        parts.append(
            f'<rect x="{left + CELL_WIDTH * column + 0.5:.1f}" y="{top + CELL_HEIGHT * row + 0.5:.1f}" '
            f'width="{CELL_WIDTH - 1}" height="{CELL_HEIGHT - 1}" fill-opacity="{weight:.2f}"><title>'
            f"{escape(picture.prediction[row])} ← {escape(picture.source[column])} {weight:.2f}</title></rect>"
        )
    return "".join([*parts, "</g></svg>"])


def _spoken(picture: Picture) -> str:
    """The picture in words: each predicted token with the source token it looked at most."""
    best = picture.weights.argmax(axis=1)
    pairs = (f"{token} from {picture.source[column]}" for token, column in zip(picture.prediction, best, strict=True))
    return escape("Attention: " + ", ".join(pairs))
