"""The curves of runs: several lines of one run in a figure, or one line of each of several runs."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sequencing.curves import Point, Series, curve_svg, number_text, time_svg
from sequencing.page.markup import nothing, text
from sequencing.page.numbers import METRICS, metric
from sequencing.records import Record, number
from sequencing.run_folder import Run
from sequencing.selection import column

MOST_OWN = 6  # figures of numbers that are not known here
COLOURS, DASHES = 8, ("", " dashed", " dotted")


class Line(NamedTuple):
    """What is drawn of which records."""

    name: str
    kind: str  # train or dev
    key: str


class Figure(NamedTuple):
    """What stands in one frame."""

    title: str
    lines: tuple[Line, ...]
    factor: float = 1


LOSS = (Line("train", "train", "loss"), Line("dev", "dev", "loss"))
SPENT = (Line("padding", "train", "padding"), Line("waiting", "train", "data_wait"))
SAMPLED = (Line("different", "train", "diversity"), Line("length", "train", "length"))
ROUGE = tuple(Line(name, "dev", f"rouge_{name.lower()}") for name in "12L")
FIGURES = (  # of one run
    Figure("Loss", LOSS),
    Figure("Right on dev, %", (Line("sentences", "dev", "exact_match"), Line("tokens", "dev", "token_accuracy")), 100),
    Figure("BLEU and chrF", (Line("BLEU", "dev", "bleu"), Line("chrF", "dev", "chrf"))),
    Figure("Token errors on dev, %", (Line("errors", "dev", "token_error_rate"),), 100),
    Figure("TER on dev", (Line("TER", "dev", "ter"),)),
    Figure("ROUGE on dev", ROUGE),
    Figure("Reward of samples", (Line("samples", "train", "reward"),)),
    Figure("Baseline error", (Line("squared", "train", "baseline_error"),)),
    Figure("Samples: different, their length, %", SAMPLED, 100),
    Figure("Entropy of a token, nats", (Line("samples", "train", "entropy"),)),
    Figure("Learning rate", (Line("train", "train", "learning_rate"),)),
    Figure("Gradient norm", (Line("train", "train", "gradient_norm"),)),
    Figure("Target tokens/s", (Line("train", "train", "tokens_per_second"),)),
    Figure("Padding and waiting for data, %", SPENT, 100),
    Figure("Memory, GB", (Line("memory", "train", "memory_bytes"),), 1e-9),
    Figure("Skipped steps", (Line("skipped", "train", "skipped"),)),
)
COMPARED = (  # of several runs, a line each
    Figure("Loss on dev", (Line("", "dev", "loss"),)),
    Figure("Loss in training", (Line("", "train", "loss"),)),
    Figure("BLEU on dev", (Line("", "dev", "bleu"),)),
    Figure("chrF on dev", (Line("", "dev", "chrf"),)),
    Figure("Right sentences on dev, %", (Line("", "dev", "exact_match"),), 100),
    Figure("Right tokens on dev, %", (Line("", "dev", "token_accuracy"),), 100),
    Figure("Token errors on dev, %", (Line("", "dev", "token_error_rate"),), 100),
    Figure("TER on dev", (Line("", "dev", "ter"),)),
    *(Figure(f"ROUGE-{line.name} on dev", (line._replace(name=""),)) for line in ROUGE),
    Figure("Reward of samples", (Line("", "train", "reward"),)),
    Figure("Learning rate", (Line("", "train", "learning_rate"),)),
    Figure("Gradient norm", (Line("", "train", "gradient_norm"),)),
    Figure("Target tokens/s", (Line("", "train", "tokens_per_second"),)),
    Figure("Waiting for data, %", (Line("", "train", "data_wait"),), 100),
    Figure("Memory, GB", (Line("", "train", "memory_bytes"),), 1e-9),
    Figure("Skipped steps", (Line("", "train", "skipped"),)),
)
DRAWN = {line.key for figure in (*FIGURES, *COMPARED) for line in figure.lines}
UNDRAWN = {"step", "epoch", *METRICS}


def curves(run: Run) -> str:
    """All figures of one run; the best validation is marked."""
    clock = sorted(points([*run.train, *run.dev], "seconds"))
    figures = []
    for figure in (*FIGURES, *own([run])):
        series: list[Series] = []
        for line in figure.lines:
            drawn = scaled(points(records(run, line.kind), line.key), figure.factor)
            if drawn:
                series.append(Series(line.name, drawn, "second" if series else "first"))
        if series and is_worth_it(figure, series):
            best = number(run.best.get("step")) if any(line.kind == "dev" for line in figure.lines) else None
            legend = "".join(legend_of(each, alone=len(series) == 1) for each in series)
            figures.append(framed(figure.title, legend, curve_svg(figure.title, series, clock, best)))
    return gallery(figures)


def compared_curves(runs: Sequence[Run], names: Sequence[str]) -> str:
    """The same line of all runs in each frame; first the number that the first run was chosen by, also over time."""
    chosen = select_of(runs)
    ordered = sorted((*COMPARED, *own(runs)), key=lambda figure: figure.lines[0].key != chosen)
    figures = []
    for figure in ordered:
        (line,) = figure.lines
        series = [
            Series(name, drawn, style(place))
            for place, (run, name) in enumerate(zip(runs, names, strict=True))
            if (drawn := scaled(points(records(run, line.kind), line.key), figure.factor))
        ]
        if not series or not is_worth_it(figure, series):
            continue
        figures.append(framed(figure.title, "", curve_svg(figure.title, series, [])))
        if line.key == chosen and line.kind == "dev":
            over_time = [
                each._replace(points=timed)
                for each, run in ((each, runs[names.index(each.name)]) for each in series)
                if (timed := scaled(points(run.dev, line.key, "seconds"), figure.factor))
            ]
            if over_time:
                figures.append(framed(f"{figure.title}, over time", "", time_svg(figure.title, over_time)))
    return gallery(figures)


def style(place: int) -> str:
    """The CSS classes of one run among several: a colour, and from the ninth on a kind of line."""
    return f"run{place % COLOURS}{DASHES[place // COLOURS % len(DASHES)]}"


def swatch(place: int) -> str:
    """A piece of the line of a run."""
    return f'<svg class="swatch curve" viewBox="0 0 24 8"><path class="line {style(place)}" d="M1 4H23"/></svg>'


def select_of(runs: Sequence[Run]) -> str:
    """The number by which the first run chose its best model."""
    settings = runs[0].configuration.get("train")
    chosen = settings.get("select") if isinstance(settings, dict) else None
    return {"sequence_error_rate": "exact_match"}.get(str(chosen), column(str(chosen)))


def records(run: Run, kind: str) -> list[Record]:
    return run.train if kind == "train" else run.dev


def own(runs: Sequence[Run]) -> Iterator[Figure]:
    """A figure for each number of the dev records that is not known here: a metric of the user's own."""
    keys = dict.fromkeys(key for run in runs for record in run.dev for key in record if key not in DRAWN | UNDRAWN)
    drawable = [key for key in keys if any(points(run.dev, key) for run in runs)]
    for key in drawable[:MOST_OWN]:
        yield Figure(f"{metric(key).label} on dev", (Line("dev", "dev", key),))


def is_worth_it(figure: Figure, series: Sequence[Series]) -> bool:
    """Skipped steps are drawn where there are any."""
    return figure.lines[0].key != "skipped" or any(point.value for each in series for point in each.points)


def points(found: Sequence[Record], key: str, across: str = "step") -> list[Point]:
    pairs = ((number(record.get(across)), number(record.get(key))) for record in found)
    return [Point(step, value) for step, value in pairs if step is not None and value is not None]


def scaled(found: list[Point], factor: float) -> list[Point]:
    return [Point(step, factor * value) for step, value in found]


def legend_of(line: Series, alone: bool) -> str:
    value = f'<span class="value">{number_text(line.points[-1].value)}</span>'
    return (
        f"<span>last {value}</span>" if alone else f'<span><i class="{line.style}"></i>{text(line.name)} {value}</span>'
    )


def framed(title: str, legend: str, picture: str) -> str:
    return f"<figure><figcaption><b>{text(title)}</b>{legend}</figcaption>{picture}</figure>"


def gallery(figures: Sequence[str]) -> str:
    return f'<div class="grid">{"".join(figures)}</div>' if figures else nothing("Nothing to draw yet.")
