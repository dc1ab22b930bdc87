"""Lines into a command and out of it: any number of them in bounded memory, and a count while they pass.

Knows nothing of what is done with them.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import TypeVar

from sequencing_np.errors import DataError, UsageError
from sequencing_np.text import read_lines
from sequencing_np.writing import single_line, write_lines

MAX_BYTES = 1 << 16  # of a line that a model is asked about
WINDOW = 1024  # lines that are sorted and searched together

T = TypeVar("T")


def add_output_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--output", default="-", metavar="F", help="file to write when all is done (gzip if it ends in .gz); -: stdout"
    )


class Lines:
    """The lines of a file or of standard input ("-").

    A bad line ends them, and its error waits for `finish`: what stood before it can be answered first.
    """

    def __init__(self, source: str, max_bytes: int = MAX_BYTES) -> None:
        if source == "-" and sys.stdin is None:
            raise UsageError("standard input is closed; give a file")
        self.source, self.max_bytes = source, max_bytes
        self.count = 0
        self.error: DataError | None = None

    def __iter__(self) -> Iterator[str]:
        try:
            for line in read_lines(self.source, max_bytes=self.max_bytes):
                self.count += 1
                yield line
        except DataError as error:
            self.error = error

    def finish(self) -> None:
        """Raises the DataError that ended the lines, if one did."""
        if self.error is not None:
            raise self.error

    def is_typed(self) -> bool:
        """Whether a person sits there and waits for an answer to each line."""
        return self.source == "-" and sys.stdin.isatty()


class ParallelLines:
    """The lines of several files side by side; unequal numbers of lines are an error, told by `finish`."""

    def __init__(self, names: list[str], max_bytes: int = MAX_BYTES) -> None:
        if names.count("-") > 1:
            raise UsageError("standard input (-) can be read once only; give files")
        self.files = [Lines(name, max_bytes) for name in names]

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        iterators = [iter(file) for file in self.files]
        for row in zip_longest(*iterators):
            if None in row:
                for iterator in iterators:  # to the end, for their numbers of lines
                    for _ in iterator:
                        pass
                return
            yield row

    def finish(self) -> None:
        """Raises what was wrong with the lines, if anything was."""
        for file in self.files:
            file.finish()
        counts = [file.count for file in self.files]
        if len(set(counts)) > 1:
            said = ", ".join(f"{file.source} {file.count}" for file in self.files)
            raise DataError(f"unequal numbers of lines: {said}; line n of one must belong to line n of the other")


class Passing:
    """Counts what passes, on standard error if that is a terminal and the output is not."""

    def __init__(self, output: str) -> None:
        in_sight = output == "-" and sys.stdout is not None and sys.stdout.isatty()
        self.shown = sys.stderr is not None and sys.stderr.isatty() and not in_sight
        self.start = self.last = time.monotonic()
        self.count = 0

    def each(self, items: Iterable[T]) -> Iterator[T]:
        """The same items, counted."""
        for item in items:
            yield item
            self.count += 1
            if self.shown and time.monotonic() - self.last >= 0.2:
                self.show("")
        if self.shown:
            self.show("\n")

    def show(self, end: str) -> None:
        self.last = time.monotonic()
        rate = self.count / max(self.last - self.start, 1e-9)
        with contextlib.suppress(OSError):
            print(f"\r{self.count:,} lines, {rate:,.1f} lines/s ", end=end, file=sys.stderr, flush=True)


def write_output(output: str, lines: Iterable[str]) -> None:
    """Write lines as they come to standard output ("-"), or to a file that stands there when all are written."""
    if output == "-" and sys.stdout is None:
        raise UsageError("standard output is closed; give --output")
    write_lines(output, lines)


def write_pieces(lines: Iterable[Iterable[str]]) -> None:
    """Write lines to standard output, each piece of them as it comes."""
    if sys.stdout is None:
        raise UsageError("standard output is closed; leave --stream out and give --output")
    out = sys.stdout.buffer
    for pieces in lines:
        for piece in pieces:
            out.write(single_line(piece).encode())
            out.flush()
        out.write(b"\n")
        out.flush()
