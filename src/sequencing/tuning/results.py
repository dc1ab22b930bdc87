"""What a search has found: its trials as lines, as a table, as tune.json, and the configuration of the best."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sequencing.records import write_json
from sequencing.tuning.journal import Journal, chosen
from sequencing.tuning.toml import inline, toml_text
from sequencing_np.writing import atomic_write

BEST, ALL = "best.toml", "tune.json"


class Row(NamedTuple):
    """A trial."""

    number: int
    state: str  # done, pruned, diverged, failed, begun
    score: float | None  # the best of its validations
    step: int | None  # the one of the score, or at which it was pruned
    seconds: float  # of training
    values: dict[str, Any]
    reason: str = ""  # of a failure

    @property
    def ended(self) -> bool:
        return self.state != "begun"


def rows(journal: Journal) -> list[Row]:
    """All trials so far, by their number."""
    return [row_of(journal, trial) for trial in journal.trials()]


def row_of(journal: Journal, trial: Any) -> Row:
    scores: dict[int, float] = trial.intermediate_values
    attributes: dict[str, Any] = trial.user_attrs if trial.state.is_finished() else {"state": "begun"}
    state = attributes.get("state", "failed")
    best = max(scores, key=lambda step: (journal.sign * scores[step], -step), default=None)
    return Row(
        trial.number,
        state,
        None if best is None else scores[best],
        best if state != "pruned" else max(scores, default=None),
        attributes.get("seconds", 0.0),
        chosen(journal.plan, trial.params),
        attributes.get("reason", ""),
    )


def ranked(found: Sequence[Row], sign: int) -> list[Row]:
    """The best first; those that did not come to their end after all that did."""

    def rank(row: Row) -> tuple[bool, bool, float, int]:
        return row.state != "done", row.score is None, -sign * (row.score or 0.0), row.number

    return sorted(found, key=rank)


def best_of(found: Sequence[Row], sign: int) -> Row | None:
    """The best that came to its end."""
    return next((row for row in ranked(found, sign) if row.state == "done"), None)


def line(row: Row, metric: str, best: Row | None) -> str:
    """What is said when a trial has ended."""
    shown = "" if row.score is None else f"{metric} {row.score:.4g}, "
    at = f" at step {row.step:,}" if row.state == "pruned" and row.step is not None else ""
    values = " ".join(f"{key}={brief(value)}" for key, value in row.values.items())
    reason = f" ({row.reason})" if row.reason else ""
    so_far = f"; best so far {best.score:.4g} (trial {best.number})" if best and best.score is not None else ""
    return f"trial {row.number}: {row.state}{at}{reason}, {shown}{duration(row.seconds)}; {values}{so_far}"


def duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def brief(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else inline(value)


def table(found: Sequence[Row], metric: str, sign: int) -> list[str]:
    """All trials, the best first."""
    keys = list(found[0].values) if found else []
    cells = [["trial", metric, "outcome", "step", "time", *keys]]
    for row in ranked(found, sign):
        score = "" if row.score is None else f"{row.score:.4g}"
        step = "" if row.step is None else f"{row.step:,}"
        values = [brief(value) for value in row.values.values()]
        cells.append([str(row.number), score, row.state, step, duration(row.seconds), *values])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def write_results(journal: Journal, folder: Path, metric: str) -> list[Row]:
    """tune.json and, as soon as a trial has come to its end, best.toml; all trials so far."""
    found = rows(journal)
    best = best_of(found, journal.sign)
    content = {
        "metric": metric,
        "better": "higher" if journal.sign > 0 else "lower",
        "best": best.number if best else None,
        "trials": [row._asdict() for row in found],
    }
    write_json(folder / ALL, content)
    if best and best.score is not None:
        text = toml_text(journal.plan.written(best.values))
        with atomic_write(folder / BEST) as file:
            file.write(f"# trial {best.number}: {metric} {best.score:.4g} on dev\n{text}".encode())
    return found
