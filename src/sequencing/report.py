"""The one page of a run: its numbers, curves, held-out sentences, attention, configuration and machine, as HTML.

Reads the files of a run folder and nothing else; what is missing or damaged is said on the page. The page needs no
script and no network, and all text from the data is escaped. Knows nothing of models; writes no other file.
"""

import json
import math
import re
from collections.abc import Callable, Iterable
from difflib import SequenceMatcher
from html import escape
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from string import Template

from sequencing.curves import Point, Series, curve_svg, duration_text, number_text
from sequencing.plot import attention_svg
from sequencing.records import Record, number, visible
from sequencing.run_folder import Run, read_run
from sequencing_np.errors import DataError
from sequencing_np.writing import atomic_write

MOST_SENTENCES, MOST_STEPS, MOST_PICTURES, LONGEST_COMPARED = 8, 7, 4, 1000


def _score(value: float) -> str:
    """A number of a hundred; what is less than all is never rounded up to all."""
    text = f"{value:.1f}"
    return text if value >= 100 or text != "100.0" else f"{math.floor(100 * value) / 100:.2f}"


def _percent(value: float) -> str:
    return f"{_score(100 * value)} %"


METRICS: dict[str, tuple[str, Callable[[float], str]]] = {  # in the order in which they are shown
    "exact_match": ("exact match", _percent),
    "token_accuracy": ("token accuracy", _percent),
    "bleu": ("BLEU", _score),
    "chrf": ("chrF", _score),
    "loss": ("loss", number_text),
    "perplexity": ("perplexity", number_text),
    "parameters": ("parameters", "{:,.0f}".format),
    "sentences": ("sentences", "{:,.0f}".format),
    "sentences_per_second": ("sentences/s", "{:,.0f}".format),
    "seconds": ("time", duration_text),
}
CURVES = (  # title, (name, kind, key) of each line, factor
    ("Loss", (("train", "train", "loss"), ("dev", "dev", "loss")), 1),
    ("Right on dev, %", (("sentences", "dev", "exact_match"), ("tokens", "dev", "token_accuracy")), 100),
    ("BLEU and chrF", (("BLEU", "dev", "bleu"), ("chrF", "dev", "chrf")), 1),
    ("Learning rate", (("train", "train", "learning_rate"),), 1),
    ("Gradient norm", (("train", "train", "gradient_norm"),), 1),
    ("Target tokens/s", (("train", "train", "tokens_per_second"),), 1),
)


def write_report(run: Path, output: Path | None = None) -> Path:
    """Write the page of the run, by default into its folder as report.html, and return its path."""
    page = _page(read_run(run))
    path = run / "report.html" if output is None else output
    with atomic_write(path) as file:
        file.write(page.encode("utf-8", errors="replace"))
    return path


# --- the page


def _page(run: Run) -> str:
    last = max([*run.train, *run.dev], key=lambda record: record["step"], default={})
    seconds, epoch = number(last.get("seconds")), number(last.get("epoch", (run.train or [{}])[-1].get("epoch")))
    known = [
        f"{last['step']:,.0f} step{'s' * (last['step'] != 1)}" if last else "no steps yet",
        "" if seconds is None else f"in {duration_text(seconds)}",
        "" if epoch is None else f"· epoch {epoch:g}",
    ]
    places = {
        "title": _text(run.name),
        "subtitle": " ".join(part for part in known if part),
        "notes": "".join(f'<p class="note">{_text(note)}</p>' for note in run.notes),
        "numbers": _numbers(run, last),
        "curves": _curves(run),
        "samples": _samples(run),
        "attention": _attention(run),
        "configuration": _configuration(run),
        "machine": _table(run.machine, 'class="card machine"') or _none("machine.json is missing."),
        "colophon": f"Made from {len(run.train):,} training and {len(run.dev):,} validation records by Sequencing.",
    }
    return Template(files("sequencing").joinpath("report.html.tmpl").read_bytes().decode()).substitute(places)


def _text(value: object) -> str:
    return escape(visible(str(value)))


def _none(why: str) -> str:
    return f'<p class="muted">{_text(why)}</p>'


def _numbers(run: Run, last: Record) -> str:
    dev = {key: value for key, value in run.best.items() if key != "signature" or value != run.test.get(key)}
    groups = [("Test", run.test, True), (f"Dev, best at step {run.best.get('step', 0):,}", dev, not run.test)]
    blocks = []
    for title, record, first in groups:
        shown = {key: value for key, value in record.items() if key != "parameters"}
        blocks.append(_number_block(title, shown, ("step", "seconds") if record is dev else ("step",), first))
    speeds = [speed for record in run.train if (speed := number(record.get("tokens_per_second"))) is not None]
    training = {
        "parameters": run.parameters,
        "seconds": last.get("seconds"),
        "target tokens/s": sum(speeds) / len(speeds) if speeds else None,
        "steps": last.get("step"),
    }
    blocks.append(_number_block("Training", training, (), False))
    return "".join(blocks)


def _number_block(title: str, record: Record, hidden: tuple[str, ...], first: bool) -> str:
    """Named numbers in a row: the known ones in the order of METRICS, then the others."""
    keys = [key for key in METRICS if key in record] + [key for key in record if key not in METRICS]
    cells = []
    for key in keys:
        value = number(record[key])
        if value is not None and key not in hidden:
            label, form = METRICS.get(key, (key.replace("_", " "), number_text))
            cells.append(f"<div><dt>{_text(label)}</dt><dd>{_text(form(value))}</dd></div>")
    signature = record.get("signature")
    line = f'<p class="muted signature">{_text(signature)}</p>' if isinstance(signature, str) else ""
    kind = "card first" if first else "card"
    return f'<div class="{kind}"><h3>{_text(title)}</h3><dl>{"".join(cells)}</dl>{line}</div>' if cells else ""


def _curves(run: Run) -> str:
    records = {"train": run.train, "dev": run.dev}
    clock = sorted(_points([*run.train, *run.dev], "seconds"))
    figures = []
    for title, lines, factor in CURVES:
        series: list[Series] = []
        for name, kind, key in lines:
            points = [Point(step, factor * value) for step, value in _points(records[kind], key)]
            if points:
                series.append(Series(name, points, "second" if series else "first"))
        if series:
            best = number(run.best.get("step")) if any(kind == "dev" for _, kind, _ in lines) else None
            legend = "".join(_legend(line, alone=len(series) == 1) for line in series)
            picture = curve_svg(title, series, clock, best)
            figures.append(f"<figure><figcaption><b>{title}</b>{legend}</figcaption>{picture}</figure>")
    return f'<div class="grid">{"".join(figures)}</div>' if figures else _none("Nothing to draw yet.")


def _legend(line: Series, alone: bool) -> str:
    value = f'<span class="value">{number_text(line.points[-1].value)}</span>'
    return f"<span>last {value}</span>" if alone else f'<span><i class="{line.style}"></i>{line.name} {value}</span>'


def _points(records: list[Record], key: str) -> list[Point]:
    pairs = ((number(record.get("step")), number(record.get(key))) for record in records)
    return [Point(step, value) for step, value in pairs if step is not None and value is not None]


def _samples(run: Run) -> str:
    by_source: dict[tuple[str, str], list[Record]] = {}
    for record in run.samples:
        by_source.setdefault((str(record.get("source", "")), str(record.get("target", ""))), []).append(record)
    cards = [_sample_card(*texts, records) for texts, records in list(by_source.items())[:MOST_SENTENCES]]
    key = (
        '<p class="muted">What the model wrote, step by step, compared with the target: <del>too much or wrong</del>, '
        "<ins>left out</ins>.</p>"
    )
    return f'{key}<div class="samples">{"".join(cards)}</div>' if cards else _none("No samples yet.")


def _sample_card(source: str, target: str, records: list[Record]) -> str:
    """The table of one sentence; neighbours with the same prediction share a row; of many rows some are left out."""
    runs = [list(group) for _, group in groupby(records, key=lambda record: str(record.get("prediction", "")))]
    if len(runs) > MOST_STEPS:
        runs = [runs[round(index * (len(runs) - 1) / (MOST_STEPS - 1))] for index in range(MOST_STEPS)]
    rows = [
        f'<tr><th scope="row">{name}</th><td dir="auto">{_text(text)}</td></tr>'
        for name, text in (("source", source), ("target", target))
    ]
    for group in runs:
        steps = dict.fromkeys(_text(_step_text(record.get("step"))) for record in (group[0], group[-1]))
        prediction = str(group[0].get("prediction", ""))
        right = ' class="right"' if prediction == target else ""
        shown = f'<td dir="auto"{right}>{_difference(prediction, target)}</td>'
        rows.append(f'<tr><th scope="row">{" – ".join(steps)}</th>{shown}</tr>')
    return f'<div class="card"><table>{"".join(rows)}</table></div>'


def _step_text(step: object) -> str:
    value = number(step)
    return "?" if value is None else f"{value:,.0f}"


def _difference(prediction: str, target: str) -> str:
    """The prediction as HTML: what the target does not have is <del>, what only the target has is <ins>."""
    ours, theirs = (_pieces(text[:LONGEST_COMPARED], target) for text in (prediction, target))
    matcher = SequenceMatcher(None, ours, theirs, autojunk=False)
    if prediction and matcher.ratio() < 0.5:  # nothing to compare: the common letters are chance
        return f"<del>{_text(prediction)}</del>"
    parts = []
    for _, start, end, other_start, other_end in matcher.get_opcodes():
        wrong, missing = "".join(ours[start:end]), "".join(theirs[other_start:other_end])
        if wrong == missing:
            parts.append(_text(wrong))
            continue
        parts.append(f"<del>{_text(wrong)}</del>" if wrong else "")
        parts.append(f"<ins>{_text(missing)}</ins>" if missing else "")
    return "".join(parts) or '<span class="muted">(empty)</span>'


def _pieces(text: str, target: str) -> list[str]:
    """Words where the target is a sentence, characters where it is a word or two."""
    return re.findall(r"\s+|\S+", text) if target.count(" ") >= 2 else list(text)


def _attention(run: Run) -> str:
    last = max((step for record in run.samples if (step := number(record.get("step"))) is not None), default=None)
    figures: list[str] = []
    for record in run.samples:
        if number(record.get("step")) == last and len(figures) < MOST_PICTURES:
            try:
                figures.append(f"<figure>{attention_svg(record)}</figure>")
            except DataError:  # a sample of a model without attention
                continue
    key = (
        f"After step {_step_text(last)}: each row is a token the model wrote, each column a token it read; "
        "the stronger the colour, the more it looked there."
    )
    return (
        f'<p class="muted">{key}</p><div class="pictures">{"".join(figures)}</div>'
        if figures
        else _none("No attention to draw.")
    )


def _configuration(run: Run) -> str:
    groups: dict[str, dict[str, object]] = {}
    for name, value in run.configuration.items():
        flat = dict(_flat(value, "")) if isinstance(value, dict) else {name: value}
        groups.setdefault(name if isinstance(value, dict) else "run", {}).update(flat)
    cards = (_table(group, 'class="card"', name) for name, group in groups.items())
    return f'<div class="settings">{"".join(cards)}</div>' if groups else _none("config.json is missing.")


def _flat(value: object, path: str) -> Iterable[tuple[str, object]]:
    if not isinstance(value, dict) or not value:
        yield path, value
        return
    for name, item in value.items():
        yield from _flat(item, f"{path}.{name}" if path else str(name))


def _table(record: Record, attributes: str, title: str = "") -> str:
    rows = (
        f'<tr><th scope="row">{_text(name)}</th><td>{_text(_setting(value))}</td></tr>'
        for name, value in record.items()
        if value is not None
    )
    body, head = "".join(rows), f"<h3>{_text(title)}</h3>" if title else ""
    return f"<div {attributes}>{head}<table>{body}</table></div>" if body else ""


def _setting(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
