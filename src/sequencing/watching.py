"""A run that trains elsewhere, followed through the files of its folder: where it is, and how it is shown.

Only what is added to the logs is read, and of long logs only so much is kept as is shown. The run is never touched: not
even its lock is asked for, as that could refuse a start. Knows nothing of models.
"""

from __future__ import annotations

import json
import time
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

from sequencing.curves import duration_text
from sequencing.page.numbers import metric
from sequencing.records import Follower, Record, number, visible
from sequencing.selection import column
from sequencing.terminal_curves import Trace, clipped, curve_lines, is_logarithmic, padded
from sequencing.train.logging import SHOWN, shown
from sequencing_np.manifest import MANIFEST

RECENT = 20  # "train" records by which the pace is told
JUST_NOW = 10.0  # seconds: so long another machine may be training that holds no lock here
SILENT = 120.0  # seconds without a word, after which it is said
NARROWEST, GAP = 34, 3  # columns of a curve, and between two
LOCKS = Path("/proc/locks")


class Limits(NamedTuple):
    """When a run is over, as its configuration says; 0 where it does not."""

    steps: float = 0
    minutes: float = 0
    epochs: float = 0
    patience: float = 0
    select: str = "bleu"


class Watched:
    """What is known of a run. `look` reads what is new."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._metrics, self._samples = Follower(folder / "metrics.jsonl"), Follower(folder / "samples.jsonl")
        self._configured = 0.0  # when config.json was last written
        self.limits = Limits()
        self.forget()

    def forget(self) -> None:
        """All that was read; it will be read again."""
        self.train: Record = {}
        self.dev: Record = {}
        self.best: Record = {}
        self.worse = 0  # validations since the best
        self.loss, self.chosen = Trace(), Trace()
        self.pace: deque[tuple[float, float]] = deque(maxlen=RECENT)  # steps and seconds
        self.samples: list[Record] = []

    def look(self) -> list[Record]:
        """Read what was added; the last few of the records that are new."""
        self._read_limits()
        if any([self._metrics.began_anew(), self._samples.began_anew()]):
            self.forget()
            self._metrics, self._samples = (Follower(self.folder / f"{name}.jsonl") for name in ("metrics", "samples"))
            self._metrics.began_anew()
        new: deque[Record] = deque(maxlen=RECENT)
        for record in self._metrics.news():
            if number(record.get("step")) is not None:
                self._take(record)
                new.append(record)
        for record in self._samples.news():
            step = number(record.get("step"))
            if step is not None:
                kept = [each for each in self.samples if each["step"] == step]
                self.samples = [*kept, record][-RECENT:]
        return list(new)

    def _take(self, record: Record) -> None:
        step, kind = float(record["step"]), record.get("kind")
        if kind == "train":
            self.train = record
            if (loss := number(record.get("loss"))) is not None:
                self.loss.add(step, loss)
            if (seconds := number(record.get("seconds"))) is not None:
                self.pace.append((step, seconds))
        elif kind == "dev":
            self.dev = record
            self.worse = 0 if record.get("best") is True else self.worse + 1
            self.best = record if record.get("best") is True or not self.best else self.best
            if (value := number(record.get(self.limits.select))) is not None:
                self.chosen.add(step, value)

    def _read_limits(self) -> None:
        path = self.folder / "config.json"
        try:
            changed = path.stat().st_mtime
            if changed == self._configured:
                return
            settings = json.loads(path.read_bytes())["train"]
            numbers = {name: number(settings.get(name)) or 0 for name in ("steps", "minutes", "epochs", "patience")}
            self.limits = Limits(**numbers, select=column(str(settings.get("select", "bleu"))))
            self._configured = changed
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return

    @property
    def step(self) -> float:
        """The newest step that was logged."""
        return max(number(self.train.get("step")) or 0, number(self.dev.get("step")) or 0)

    @property
    def seconds(self) -> float:
        """Of training, as far as it was logged."""
        return max(number(self.train.get("seconds")) or 0, number(self.dev.get("seconds")) or 0)

    def fraction(self) -> float | None:
        """How much of the run is done; None where it has no limit of steps or minutes."""
        limits = self.limits
        parts = [self.step / limits.steps] if limits.steps else []
        parts += [self.seconds / (60 * limits.minutes)] if limits.minutes else []
        return min(max(parts), 1.0) if parts else None

    def left(self) -> float | None:
        """Seconds until the first limit, at the pace of the last records."""
        limits, ways = self.limits, []
        if limits.minutes:
            ways.append(60 * limits.minutes - self.seconds)
        if limits.steps and len(self.pace) > 1:
            (first_step, first_seconds), (last_step, last_seconds) = self.pace[0], self.pace[-1]
            if last_step > first_step:
                ways.append((limits.steps - self.step) * (last_seconds - first_seconds) / (last_step - first_step))
        return max(min(ways), 0.0) if ways else None

    def saved(self) -> float:
        """The step of the model folder `last`; 0 where there is none."""
        try:
            return number(json.loads((self.folder / "last" / MANIFEST).read_bytes()).get("step")) or 0
        except (OSError, ValueError, AttributeError, RecursionError):
            return 0

    def done(self) -> bool:
        """Whether the run has come to its end: one of its limits is reached, and its last model saved."""
        limits, saved = self.limits, self.saved()
        if not saved or saved < self.step:
            return False
        looked = number(self.dev.get("step")) == saved
        return bool(
            (limits.steps and saved >= limits.steps)
            or (limits.minutes and self.seconds >= 60 * limits.minutes)
            or (limits.patience and looked and self.worse >= limits.patience)
            or (limits.epochs and looked and (number(self.train.get("epoch")) or 0) >= limits.epochs - 1)
        ) and not held(self.folder)

    def ends(self) -> tuple[int | None, float | None]:
        """Steps and minutes after which it is over, as far as it is told."""
        return int(self.limits.steps) or None, self.limits.minutes or None

    def silence(self) -> float:
        """Seconds since the last word of the run."""
        return max(0.0, time.time() - self._metrics.changed) if self._metrics.changed else 0.0

    def state(self) -> str:
        """What the run does, in words."""
        if not self._metrics.changed and not self._configured:
            return "has not begun yet"
        if self.done():
            return "done"
        if held(self.folder) is False and self.silence() > JUST_NOW:
            return "nobody trains in it on this machine"
        return "training" if self.step else "begins"

    def title(self) -> str:
        """The run, what it does, and how long it has said nothing."""
        silent = self.silence() > SILENT and not self.done()
        quiet = f", no word for {duration_text(self.silence())}" if silent else ""
        return f"{visible(str(self.folder))}: {self.state()}{quiet}"


def held(folder: Path) -> bool | None:
    """Whether a process of this machine holds the lock of a run's folder; None where that cannot be told."""
    try:
        inode = str(folder.stat().st_ino).encode()
        lines = LOCKS.read_bytes().split(b"\n")
    except OSError:
        return None
    return any(b" FLOCK " in line and inode in line.replace(b":", b" ").split() for line in lines)


# --- how it is shown


class Frame(NamedTuple):
    """The lines of a picture, the first of which is its title."""

    lines: list[str]

    def fitting(self, width: int, height: int) -> list[str]:
        return [clipped(line, width) for line in self.lines[: max(height, 1)]]


def frame(run: Watched, width: int, height: int, curves: bool = True) -> Frame:
    """The run in so many columns and lines; where they are few, there are fewer and smaller curves and samples."""
    lines = [run.title(), *progress_lines(run, width)]
    free = height - len(lines) - 1
    pictures = curves_of(run, width, min(10, free - 4)) if curves and free >= 10 else []
    lines += ["", *pictures] if pictures else []
    lines += sample_lines(run, height - len(lines) - 1)
    return Frame(lines)


def progress_lines(run: Watched, width: int) -> list[str]:
    """How far it is, and its latest numbers."""
    lines = []
    step, limits, fraction, left = run.step, run.limits, run.fraction(), run.left()
    if step:
        epoch = number(run.train.get("epoch"))
        parts = [f"step {step:,.0f}" + (f"/{limits.steps:,.0f}" if limits.steps else "")]
        parts += [f"epoch {epoch:g}"] if epoch is not None else []
        parts += [duration_text(run.seconds) + (f" of {duration_text(60 * limits.minutes)}" if limits.minutes else "")]
        parts += [f"{duration_text(left)} left"] if left is not None and (fraction or 0) < 1 else []
        lines.append((f"{bar(fraction, min(20, width // 4))} " if fraction is not None else "") + "  ".join(parts))
    if run.train:
        lines.append("  ".join(shown(run.train, SHOWN)))
    if run.dev:
        chosen = {key: run.dev[key] for key in (run.limits.select,) if key in run.dev}
        lines.append(f"dev at step {number(run.dev['step']):,.0f}: {dev_text({**chosen, **run.dev})}")
        if run.best is not run.dev:
            chosen = {key: run.best[key] for key in (run.limits.select,) if key in run.best}
            lines.append(f"best at step {number(run.best['step']):,.0f}: {dev_text(chosen)}")
    return lines


def dev_text(record: Record) -> str:
    """The numbers of a "dev" record."""
    numbers = ((key, number(value)) for key, value in record.items() if key not in ("step", "seconds"))
    return "  ".join(f"{metric(key).label} {metric(key).form(value)}" for key, value in numbers if value is not None)


def bar(fraction: float, width: int) -> str:
    eighths = round(fraction * width * 8)
    full, part = divmod(eighths, 8)
    cells = "█" * full + (" ▏▎▍▌▋▊▉"[part] if part else "")
    return f"{100 * fraction:3.0f}% ▕{cells:<{width}}▏"


def curves_of(run: Watched, width: int, height: int) -> list[str]:
    """The loss and the number that the best model is chosen by, side by side where both fit."""
    chosen = metric(run.limits.select).label
    named = [("loss in training", run.loss.points), (f"{chosen} on dev", run.chosen.points)]
    drawn = [(title, points) for title, points in named if len(points) > 1]
    fit = max(1, min(len(drawn), (width + GAP) // (NARROWEST + GAP)))
    each = min((width + GAP) // fit - GAP, 72)
    panels = [
        [title + ", logarithmic" * is_logarithmic(points), *curve_lines(points, each, height - 1)]
        for title, points in drawn[:fit]
    ]
    lines = zip(*panels, strict=True) if panels else ()
    return [(" " * GAP).join(padded(part, each) for part in line).rstrip() for line in lines]


def sample_lines(run: Watched, free: int) -> list[str]:
    """The last samples, as many as fit."""
    lines: list[str] = []
    for sample in run.samples[: max(0, free // 4)]:
        triple: Any = (("src", "source"), ("prd", "prediction"), ("trg", "target"))
        lines += ["", *(f"{short}  {visible(str(sample.get(name, '')))}" for short, name in triple)]
    return lines
