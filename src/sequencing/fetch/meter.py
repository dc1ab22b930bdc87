"""How far a download is: a bar with rate and time left on a terminal, plain lines elsewhere.

Knows nothing of where the bytes come from. A display that fails ends the display, never the download.
"""

import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

REDRAW = 0.2  # seconds between two pictures of the bar
BAR = 16  # characters
UNITS = ("bytes", "kB", "MB", "GB", "TB")


class Meter:
    """Counts bytes. `every` is the number of seconds between two plain lines."""

    def __init__(
        self, stream: TextIO | None = None, every: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._every, self._clock = every, clock
        self._terminal = False
        try:
            self._terminal = self._stream is not None and self._stream.isatty()
        except ValueError:  # closed
            self._stream = None
        self._drawn = False
        self.begin("", 0, 0)

    def begin(self, name: str, start: int, total: int) -> None:
        """A file begins at byte `start`; it will have `total` bytes, 0 where nobody knows."""
        self._name, self._first, self._now, self._total = name, start, start, total
        self._started = self._last = self._clock()

    def move(self, now: int) -> None:
        """So many bytes of the file are there now."""
        self._now = now
        moment = self._clock()
        if moment - self._last >= (REDRAW if self._terminal else self._every):
            self._last = moment
            self._show(moment - self._started)

    def end(self) -> None:
        """The file is there."""
        seconds = self._clock() - self._started
        self.say(f"{self._name}: {amount(self._now)}, {duration(seconds)}{self._rate(seconds)}")

    def say(self, text: str) -> None:
        """A line of its own; a bar that stands there is wiped away."""
        self._write(f"{self._wipe()}{text}\n")
        self._drawn = False

    def _show(self, seconds: float) -> None:
        got = self._now - self._first
        left = ""
        share = f"{amount(self._now)}"
        if self._total:
            share = f"{self._now / self._total:4.0%} of {amount(self._total)}"
            if got > 0 and seconds > 0:
                left = f", {duration((self._total - self._now) * seconds / got)} left"
        text = f"{self._name}: {share}{self._rate(seconds)}{left}"
        if not self._terminal:
            self.say(text)
            return
        if self._total:
            full = min(BAR, round(BAR * self._now / self._total))
            text = f"{'█' * full}{'·' * (BAR - full)} {text}"
        width = max(shutil.get_terminal_size().columns - 1, 20)
        self._write(f"{self._wipe()}{text[:width]}")
        self._drawn = True

    def _rate(self, seconds: float) -> str:
        got = self._now - self._first
        return f", {amount(got / seconds)}/s" if got > 0 and seconds > 0 else ""

    def _wipe(self) -> str:
        return "\r\x1b[K" if self._drawn else ""

    def _write(self, text: str) -> None:
        if self._stream is None:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._stream = None


def amount(size: float) -> str:
    """Bytes as a person says them: 999 bytes, 1.5 MB."""
    power = 0
    while size >= 999.5 and power + 1 < len(UNITS):
        size, power = size / 1000, power + 1
    return f"{size:.0f} bytes" if not power else f"{size:.{1 if size < 99.95 else 0}f} {UNITS[power]}"


def duration(seconds: float) -> str:
    """Seconds as a person says them: 7 s, 3:05 min, 2:10 h."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.0f} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600}:{whole % 3600 // 60:02} h"
