"""The figures of runs: large numbers of one, and the best of several side by side."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sequencing.curves import duration_text, number_text
from sequencing.page.markup import grid, text
from sequencing.records import Record, number, visible
from sequencing.run_folder import Run
from sequencing.selection import SIGNATURES


def score(value: float) -> str:
    """A number of a hundred; what is less than all is never rounded up to all."""
    said = f"{value:.1f}"
    return said if value >= 100 or said != "100.0" else f"{math.floor(100 * value) / 100:.2f}"


def percent(value: float) -> str:
    return f"{score(100 * value)} %"


def gigabytes(value: float) -> str:
    return f"{value / 1e9:.2f} GB"


count = "{:,.0f}".format


class Metric(NamedTuple):
    """How a number is called and written, and which way is better: 1, -1, or 0 where none is."""

    label: str
    form: Callable[[float], str]
    better: int = 0


METRICS = {  # in the order in which they are shown
    "exact_match": Metric("exact match", percent, 1),
    "token_accuracy": Metric("token accuracy", percent, 1),
    "bleu": Metric("BLEU", score, 1),
    "chrf": Metric("chrF", score, 1),
    "ter": Metric("TER", score, -1),
    "rouge_1": Metric("ROUGE-1", score, 1),
    "rouge_2": Metric("ROUGE-2", score, 1),
    "rouge_l": Metric("ROUGE-L", score, 1),
    "loss": Metric("loss", number_text, -1),
    "perplexity": Metric("perplexity", number_text, -1),
    "token_error_rate": Metric("token errors", percent, -1),
    "sequence_error_rate": Metric("sentence errors", percent, -1),
    "parameters": Metric("parameters", count),
    "sentences": Metric("sentences", count),
    "sentences_per_second": Metric("sentences/s", count),
    "steps": Metric("steps", count),
    "seconds": Metric("time", duration_text),
    "tokens_per_second": Metric("target tokens/s", count),
    "memory_bytes": Metric("memory", gigabytes),
    "skipped": Metric("skipped steps", count),
    "shrunk": Metric("shrunk steps", count),
}
HIDDEN = {"step", "best"}


def metric(key: str) -> Metric:
    """The row of METRICS, or one for a number of the user's own."""
    return METRICS.get(key, Metric(visible(key).replace("_", " "), number_text))


def training_of(run: Run) -> Record:
    """What the training itself was: its length, speed and size."""
    last = run.last
    speeds = [speed for record in run.train if (speed := number(record.get("tokens_per_second"))) is not None]
    peaks = [peak for record in run.train if (peak := number(record.get("memory_bytes"))) is not None]
    skipped = [steps for record in run.train if (steps := number(record.get("skipped"))) is not None]
    return {
        "parameters": run.parameters,
        "steps": last.get("step"),
        "seconds": last.get("seconds"),
        "tokens_per_second": sum(speeds) / len(speeds) if speeds else None,
        "memory_bytes": max(peaks, default=None),
        "skipped": sum(skipped) or None,
    }


def numbers(run: Run) -> str:
    """Of one run: on test, on dev where it was best, and of the training."""
    dev = {key: value for key, value in run.best.items() if key not in ("seconds", "sentences_per_second")}
    dev = {key: value for key, value in dev.items() if key not in SIGNATURES or value != run.test.get(key)}
    step = number(run.best.get("step")) or 0
    return "".join(
        [
            block("Test", run.test, first=True),
            block(f"Dev, best at step {step:,.0f}", dev, first=not run.test),
            kept(run),
            block("Training", training_of(run), first=False),
        ]
    )


def kept(run: Run) -> str:
    """The models that a run keeps because they did best, and by which number."""
    if not run.kept:
        return ""
    known = [(f"step {each.step:,}", metric(each.select).form(each.number)) for each in run.kept]
    cells = "".join(f"<div><dt>{text(step)}</dt><dd>{text(number)}</dd></div>" for step, number in known)
    title = f"Best models kept, by {metric(run.kept[0].select).label}"
    return f'<div class="card"><h3>{text(title)}</h3><dl>{cells}</dl></div>'


def block(title: str, record: Record, first: bool) -> str:
    """Named numbers in a row: the known ones in the order of METRICS, then the others."""
    cells = []
    for key in ordered(record):
        value = number(record[key])
        if value is not None and not (title == "Test" and key == "parameters"):
            known = metric(key)
            cells.append(f"<div><dt>{text(known.label)}</dt><dd>{text(known.form(value))}</dd></div>")
    said = [record.get(name) for name in SIGNATURES]
    lines = "".join(f'<p class="muted signature">{text(line)}</p>' for line in said if isinstance(line, str))
    kind = "card first" if first else "card"
    return f'<div class="{kind}"><h3>{text(title)}</h3><dl>{"".join(cells)}</dl>{lines}</div>' if cells else ""


def ordered(record: Record) -> list[str]:
    """The keys that may be shown, the known ones first."""
    others = [key for key in record if key not in METRICS and key not in HIDDEN]
    return [key for key in METRICS if key in record] + others


def compared(runs: Sequence[Run], names: Sequence[str]) -> str:
    """Of several runs: a row for each, the best of each column marked. `names` is HTML."""
    groups = [("dev", [run.best for run in runs]), ("test", [run.test for run in runs])]
    columns: list[tuple[str, Metric, list[float | None]]] = []
    for group, records in groups:
        keys = ordered({key: None for record in records for key in record})
        shown = [key for key in keys if key not in ("seconds", "sentences", "sentences_per_second", "parameters")]
        columns += [(group, metric(key), [number(record.get(key)) for record in records]) for key in shown]
    steps = [number(run.best.get("step")) for run in runs]
    columns.append(("dev", Metric("best at step", count), steps))
    training = [training_of(run) for run in runs]
    columns += [("", metric(key), [number(record[key]) for record in training]) for key in training[0]]
    columns = [column for column in columns if any(value is not None for value in column[2])]
    heads = ["run", *(f"{text(known.label)}<br><small>{group}</small>" for group, known, _ in columns)]
    rows = [[name, *(cell(known, values, place) for _, known, values in columns)] for place, name in enumerate(names)]
    return grid(heads, rows)


def cell(known: Metric, values: Sequence[float | None], place: int) -> str:
    """The number of one run among those of all."""
    value, others = values[place], [value for value in values if value is not None]
    if value is None:
        return '<span class="muted">–</span>'
    said = text(known.form(value))
    best = known.better and value * known.better == max(other * known.better for other in others)
    return f"<b>{said}</b>" if best and len(set(others)) > 1 else said
