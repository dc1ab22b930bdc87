"""What a run tells while it trains: metrics as JSON lines, a live bar, and the machine it runs on.

Every log has one method that matters, `write(record)`; a record is a dict with a "step" and whatever else the loop
wants to say. A log that fails later (full disk, closed terminal) warns once and lets the training go on; one that
cannot even be opened is an error at the start. Knows nothing of models, losses or schedules.
"""

import io
import logging
import math
import os
import sys
import time
from collections.abc import Callable, Iterable
from io import FileIO
from pathlib import Path
from typing import Any, Protocol, TextIO

from sequencing.records import Record, json_line, number, plain, read_records, visible
from sequencing_np.errors import UsageError
from sequencing_np.writing import atomic_write

FILES = ("metrics", "samples")  # logs that a run folder has, NAME.jsonl
LONGEST_SAMPLE = 300
BAR_UNITS = 10_000
SHOWN = {  # how the numbers of a "train" record are said in a line
    "loss": "loss {:.4f}",
    "reward": "reward {:.4f}",
    "entropy": "entropy {:.2f}",
    "tokens_per_second": "{:,.0f} tok/s",
    "learning_rate": "lr {:.1e}",
    "padding": "padding {:.1%}",
    "data_wait": "waits for data {:.1%}",
    "memory_bytes": "memory {:.1f} GB",
    "skipped": "skipped {:,.0f}",
    "shrunk": "shrunk {:,.0f}",
}
GIGABYTE = 1e9


class Log(Protocol):
    """A place that takes records."""

    def write(self, record: Record) -> None: ...

    def truncate_after(self, step: int) -> None: ...

    def close(self) -> None: ...


class MetricsLog:
    """Append-only JSON lines, one `write` system call a record. Always valid JSON: NaN and infinity become null."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._warned = False
        self._open()

    def _open(self) -> None:
        try:
            self._file: FileIO = self._path.open("ab", buffering=0)
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - 1, 0))
                self._torn = file.read(1) not in (b"", b"\n")  # the last line was cut: the next starts afresh
        except OSError as error:
            raise _no_log(self._path, error) from error

    def write(self, record: Record) -> None:
        line = b"\n" * self._torn + json_line(record)
        try:
            written = self._file.write(line) or 0
            problem = "the disk took only a part of the line" if written < len(line) else ""
            self._torn = self._torn if not written else bool(problem)
        except OSError as error:
            problem = str(error.strerror)
        if problem and not self._warned:
            self._warned = True
            logging.getLogger(__name__).warning("%s: %s; records are lost, the run goes on", self._path.name, problem)

    def truncate_after(self, step: int) -> None:
        """Drop, atomically, what was logged after the step that a checkpoint goes on from, and damaged lines."""
        self._file.close()
        keep_records(self._path, lambda record: step_of(record) <= step)
        self._open()

    def close(self) -> None:
        self._file.close()


def keep_records(path: Path, wanted: Callable[[Record], bool]) -> None:
    """Drop, atomically, the other lines of a log, and damaged ones."""
    try:
        records = read_records(path).records
        with atomic_write(path) as file:
            file.writelines(json_line(record) for record in records if wanted(record))
    except OSError as error:
        raise _no_log(path, error) from error


def drop_looks(path: Path, looked: int) -> None:
    """Drop what a validation after the step `looked` has said: dev lines, and samples, which have no kind."""
    keep_records(path, lambda record: record.get("kind", "dev") != "dev" or step_of(record) <= looked)


def step_of(record: Record) -> int:
    """The step of a record; 0 where it has none."""
    return int(number(plain(record.get("step"))) or 0)


def _no_log(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path}: cannot write the log ({error.strerror}). Give a run folder that can be written.")


class Silence(io.StringIO):
    """A stream that nobody reads: that of the ranks that do not speak."""

    def write(self, text: str, /) -> int:
        return len(text)


class Progress:
    """A live bar on a terminal, plain lines elsewhere; records of kind "train", "dev", and samples without a kind.

    The run ends at `total_steps` or after `limit_minutes`, whichever comes first; either may be None. `every` is
    the number of seconds between two plain lines.
    """

    def __init__(
        self,
        total_steps: int | None = None,
        limit_minutes: float | None = None,
        *,
        every: float = 10.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total_steps, self._limit_minutes = total_steps, limit_minutes
        self._every, self._clock = every, clock
        self._stream = sys.stderr if stream is None else stream
        self._start = clock()
        self._last_line = -math.inf
        self._pending = ""
        self._first: tuple[float, float] | None = None  # seconds and fraction of the first record: the pace since then
        self._bar = self._make_bar()
        self._kinds = {"train": self._move, "dev": self._dev, "sample": self._sample}

    def _make_bar(self) -> Any:
        try:
            if not self._stream.isatty() or 0 in _size(self._stream):
                return None
            from tqdm import tqdm
        except (ImportError, ValueError):  # without tqdm, or on a closed stream: plain lines
            return None

        class Bar(tqdm):
            monitor_interval = 0  # no second thread

        endless = self._total_steps is None and self._limit_minutes is None
        layout = "{desc}" if endless else "{percentage:3.0f}% |{bar:12}| {desc}"
        return Bar(total=BAR_UNITS, bar_format=layout, file=self._stream, dynamic_ncols=True, miniters=0)

    def write(self, record: Record) -> None:
        show = self._kinds.get(record.get("kind", "sample"))
        if show is not None:
            show(record)

    def say(self, text: str) -> None:
        """Text above the bar; it may have several lines."""
        self._guard(lambda: self._bar.write(text, file=self._stream) if self._bar is not None else self._print(text))

    def close(self) -> None:
        if self._bar is not None:
            self._guard(self._bar.close)
        elif self._pending:
            self.say(self._pending)
        self._bar, self._pending = None, ""

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _move(self, record: Record) -> None:
        seconds = record.get("seconds", self._clock() - self._start)
        fraction = self._fraction(record["step"], seconds)
        if self._first is None:
            self._first = (seconds, fraction)
        text = self._status(record, seconds, fraction)
        if self._bar is not None:
            self._bar.set_description_str(text, refresh=False)
            self._guard(lambda: self._bar.update(round(fraction * BAR_UNITS) - self._bar.n))
        elif self._clock() - self._last_line >= self._every:
            self._last_line, self._pending = self._clock(), ""
            self.say(text)
        else:
            self._pending = text

    def _fraction(self, step: int, seconds: float) -> float:
        steps = step / self._total_steps if self._total_steps else 0.0
        minutes = seconds / (60 * self._limit_minutes) if self._limit_minutes else 0.0
        return min(max(steps, minutes), 1.0)

    def _status(self, record: Record, seconds: float, fraction: float) -> str:
        parts = [f"step {record['step']:,}" + (f"/{self._total_steps:,}" if self._total_steps else "")]
        parts += shown(record, ("loss",))
        first_seconds, first_fraction = self._first or (0.0, 0.0)
        if fraction > first_fraction:
            left = (1 - fraction) * (seconds - first_seconds) / (fraction - first_fraction)
            parts.append(f"{left / 60:.1f} min left")
        parts += shown(record, [name for name in SHOWN if name != "loss"])
        parts.append(f"{seconds / 60:.1f}" + (f"/{self._limit_minutes:g}" if self._limit_minutes else "") + " min")
        return "  ".join(parts)

    def _dev(self, record: Record) -> None:
        numbers = ((name, number(plain(value))) for name, value in record.items() if name not in ("step", "seconds"))
        shown = "  ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in numbers if value is not None)
        self.say(f"dev at step {record['step']:,}: {shown}{'  (best so far)' if record.get('best') else ''}")

    def _sample(self, record: Record) -> None:
        triple = (("src", "source"), ("prd", "prediction"), ("trg", "target"))
        texts = ((short, visible(str(record.get(name, "")))) for short, name in triple)
        self.say(
            "\n".join(
                f"  {short}  {text[:LONGEST_SAMPLE]}{'…' * (len(text) > LONGEST_SAMPLE)}" for short, text in texts
            )
        )

    def _print(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def _guard(self, act: Callable[[], object]) -> None:
        """A closed or full output ends the display, never the run."""
        try:
            act()
        except (OSError, ValueError):
            if self._bar is not None:
                self._bar.disable = True
            self._bar, self._kinds, self._pending = None, {}, ""


def _size(terminal: TextIO) -> tuple[int, ...]:
    """Columns and lines of a terminal, as far as it has them; some containers' terminals say 0: no bar fits there."""
    try:
        return tuple(os.get_terminal_size(terminal.fileno()))
    except OSError:
        return ()


def shown(record: Record, names: Iterable[str]) -> list[str]:
    """The numbers of a "train" record in words, those that it has; that no step was skipped or shrunk is not said."""
    said = []
    for name in names:
        if name in record:
            value = number(plain(record[name]))
            value = math.nan if value is None else value / GIGABYTE if name == "memory_bytes" else value
            said += [SHOWN[name].format(value)] if value or name not in ("skipped", "shrunk") else []
    return said
