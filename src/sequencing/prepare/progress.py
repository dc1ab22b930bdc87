"""How far a preparation is: a bar with rate and time left on a terminal, plain lines elsewhere; stage by stage."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from sequencing.curves import duration_text

LAYOUT = "{desc} {percentage:3.0f}% |{bar:16}| {n_fmt}/{total_fmt}{unit}  {rate_fmt}  {remaining} left"


class Stage:
    """Counts what is done of one stage."""

    def __init__(self, name: str, total: int, unit: str, show: Progress) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.done = 0
        self._show, self._start = show, show.clock()
        self._last, self._bar = self._start, show.make_bar(self)

    def add(self, count: int) -> None:
        """So many more are done."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
            return
        now = self._show.clock()
        if now - self._last >= self._show.every:
            self._last = now
            self._show.say(f"{self.name}: {self._far(now)}")

    def close(self) -> None:
        """Say how it was."""
        if self._bar is not None:
            self._bar.close()
        seconds = self._show.clock() - self._start
        count = f"{self.done:,} {self.unit} in " if self.unit else ""
        self._show.say(f"{self.name}: {count}{duration_text(seconds)}{self._rate(seconds)}")

    def _rate(self, seconds: float) -> str:
        shown = seconds >= 1 and self.done >= 10 * seconds
        return f", {self.done / seconds:,.0f} {self.unit}/s" if shown else ""

    def _far(self, now: float) -> str:
        seconds = now - self._start
        of = f" of {self.total:,}" if self.total else ""
        left = ""
        if self.done and self.total > self.done:
            left = f", {duration_text(seconds * (self.total - self.done) / self.done)} left"
        return f"{self.done:,}{of} {self.unit}{self._rate(seconds)}{left}"


class Progress:
    """The stages of a preparation, shown one after the other. `every` seconds a plain line says how far one is."""

    def __init__(
        self, *, every: float = 10.0, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.every, self.clock = every, clock
        self.stream = sys.stderr if stream is None else stream

    @contextmanager
    def stage(self, name: str, total: int = 0, unit: str = "") -> Iterator[Stage]:
        """One stage of `total` units; nothing is said of one that fails."""
        stage = Stage(name, total, unit, self)
        yield stage
        stage.close()

    def say(self, text: str) -> None:
        """A line. That nobody listens any more is no reason to stop."""
        try:
            self.stream.write(text + "\n")
            self.stream.flush()
        except (OSError, ValueError):
            self.say = lambda text: None  # type: ignore[method-assign]

    def make_bar(self, stage: Stage) -> Any:
        """A bar where there is a terminal with room for one."""
        try:
            if not self.stream.isatty() or 0 in os.get_terminal_size(self.stream.fileno()):
                return None
            from tqdm import tqdm
        except (ImportError, OSError, ValueError):
            return None

        class Bar(tqdm):
            monitor_interval = 0  # no second thread

        return Bar(
            total=stage.total or None, desc=stage.name, unit=f" {stage.unit}", unit_scale=True, file=self.stream,
            dynamic_ncols=True, leave=False, bar_format=LAYOUT if stage.total else None,
        )  # fmt: skip
