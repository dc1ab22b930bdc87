"""Rows from lines with tabs, from lines of parallel files, and from CSV.

A blank line of a table is a pair of empty texts, so that it is counted like one. Knows nothing of JSON.
"""

import csv
from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

from sequencing.corpora.reading import Input, Lines, Rows, joined, one_line
from sequencing.data.corpus import unequal
from sequencing_np.columns import TAB, counted
from sequencing_np.config import nearest
from sequencing_np.errors import ConfigError, DataError

CSV_ROWS = 4096
ENDS = "\r\n \t"


class Columns(NamedTuple):
    """Which columns or keys hold the texts: their names or numbers as configured, "" for the first and the second."""

    sources: tuple[str, ...]
    target: str
    corpus: str  # for errors

    def places(self, names: Sequence[str], where: str) -> tuple[list[int], int]:
        """Where they stand among the names of a header."""
        defaults = (0, 1)
        found = []
        for text, default in [*((source, 0) for source in self.sources), (self.target, 1)]:
            if text and names.count(text) != 1:
                said = "stands several times" if text in names else "does not stand"
                raise DataError(f"{where}: the column {text!r} {said} in the header; {nearest(text, names)}")
            if not text and default >= len(names):
                raise DataError(
                    f"{where}: the header is {names!r}, one column; two are needed, with a comma between them"
                )
            found.append(names.index(text) if text else defaults[default])
        return self._different(found[:-1], found[-1])

    def numbers(self) -> tuple[list[int], int]:
        """The columns of a table without a header, from 0."""
        found = []
        for text, default in [*((source, 1) for source in self.sources), (self.target, 2)]:
            if text and not (text.isascii() and text.isdigit() and 0 < int(text) < 1000):
                raise ConfigError(
                    f"corpus {self.corpus!r}: {text!r} is no column of a TSV file; give its number, from 1, or several "
                    'with a comma between them: source = "1,3"'
                )
            found.append((int(text) if text else default) - 1)
        return self._different(found[:-1], found[-1])

    def _different(self, sources: list[int], target: int) -> tuple[list[int], int]:
        if target in sources:
            raise ConfigError(
                f"corpus {self.corpus!r}: source and target are the same column, number {target + 1}; name both of them"
            )
        return sources, target


def read_tsv(files: Sequence[Input], columns: Columns) -> Iterator[Rows]:
    """Columns by number. Where none is named there are two; else as many as in the first row that is not blank."""
    (given,) = files
    lines = Lines(given)
    sources, target = columns.numbers()
    least = max(*sources, target) + 1
    named = any((*columns.sources, columns.target))
    width = 0 if named else 2
    while count := lines.ready():
        first = lines.number + 1
        texts, bad = lines.take(count)
        if not width:
            written = (text.count(TAB) + 1 for row, text in enumerate(texts) if row not in bad and text.strip())
            if found := next(written, 0):
                width = max(found, least)
        expected = width or least  # only blank lines so far
        tabs = list(map(str.count, texts, repeat(TAB)))
        if tabs.count(expected - 1) < count:
            for row, number in enumerate(tabs):
                if number == expected - 1:
                    continue
                if row not in bad and (number or texts[row].strip(ENDS)):
                    error = other_columns(given.name, first + row, number + 1, expected, named)
                    given.bad_row(bad, row, "columns", error)
                texts[row] = TAB * (expected - 1)
        cells = TAB.join(texts).split(TAB)
        picked = [cells[column::expected] for column in sources]
        yield Rows(range(first, first + count), joined(picked), cells[target::expected], bad)


def other_columns(name: str, line: int, found: int, expected: int, named: bool) -> DataError:
    """The number of columns is not what it should be, and what may help."""
    advice = "each row must have as many as the first one; set on_bad_row = 'skip' to leave such rows out"
    if not named:
        advice = 'a line of a TSV file is source, one tab, target; name the columns of others: source = "1", target = '
        advice += '"3"; two parallel files are given as a pair: [["text.en", "text.de"]]'
    return DataError(f"{name}:{line}: {counted(found)} instead of {expected}; {advice}")


def read_parallel(files: Sequence[Input], columns: Columns) -> Iterator[Rows]:
    """Line n of one file is the translation of line n of the other. Of several files, the last one is the target."""
    if any((*columns.sources, columns.target)):
        raise ConfigError(f"corpus {columns.corpus!r}: parallel files have no columns; leave out source and target")
    sides = [Lines(given) for given in files]
    while count := min([side.ready() for side in sides]):
        first = sides[0].number + 1
        bad: dict[int, str] = {}
        texts = []
        for side in sides:
            taken, wrong = side.take(count)
            bad |= wrong
            # a tab in a line is white space here, for it stands between columns in what is made of the rows
            texts.append([text.replace(TAB, " ") for text in taken] if TAB in "".join(taken) else taken)
        yield Rows(range(first, first + count), joined(texts[:-1]), texts[-1], bad)
    if any(side.ready() for side in sides):
        counts = [side.number + side.rest() for side in sides]
        raise unequal([Path(given.name) for given in files], counts)


def read_csv(files: Sequence[Input], columns: Columns) -> Iterator[Rows]:
    """Python's csv module, strict: fields between commas, quotes around those that hold commas, quotes or line ends.

    The first row names the columns. Line ends and tabs within a text become spaces.
    """
    (given,) = files
    records = _Records(given)
    header = records.header()
    if header is None:
        return
    sources, target = columns.places(header, f"{given.name}:1")
    for lines, cells, bad in records.blocks(len(header)):
        picked = [one_line([row[column] for row in cells], given, lines, bad) for column in sources]
        yield Rows(lines, joined(picked), one_line([row[target] for row in cells], given, lines, bad), bad)


class _Records:
    """The rows of a CSV file, each with the line that it begins in."""

    def __init__(self, given: Input) -> None:
        self._input, self._lines = given, Lines(given)
        self._wrong: dict[int, str] = {}  # line -> why it is bad
        self._reader = csv.reader(self._feed(), strict=True)

    def _feed(self) -> Iterator[str]:
        while count := self._lines.ready():
            first = self._lines.number + 1
            texts, bad = self._lines.take(count)
            self._wrong = {line: reason for line, reason in self._wrong.items() if line >= self._reader.line_num}
            self._wrong |= {first + row: reason for row, reason in bad.items()}
            for text in texts:
                yield f"{text}\n".replace("\r", " ")  # a lone CR is no line end for us, and none in a row for csv

    def header(self) -> list[str] | None:
        """The names of the columns, None where the file is empty."""
        try:
            row = next(self._reader, None)
        except csv.Error as error:
            raise self._broken(1, error) from None
        if 1 in self._wrong:
            raise DataError(f"{self._input.name}:1: the header cannot be read ({self._wrong[1]}); mend it")
        return row

    def blocks(self, width: int) -> Iterator[tuple[list[int], list[list[str]], dict[int, str]]]:
        """Lines, rows of `width` fields and why some are bad, some thousand at a time."""
        lines: list[int] = []
        rows: list[list[str]] = []
        bad: dict[int, str] = {}
        reader, blank = self._reader, [""] * width
        while True:
            line = reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                self._input.bad_row(bad, len(rows), "syntax", self._broken(line, error))
                row = blank
            lines.append(line)
            if self._wrong:
                reasons = [self._wrong[each] for each in range(line, reader.line_num + 1) if each in self._wrong]
                bad |= {len(rows): reason for reason in reasons[:1]}
            if len(row) != width:
                if (row and any(map(str.strip, row))) and len(rows) not in bad:
                    said = f"{self._input.name}:{line}: {counted(len(row))} instead of the {width} of the header"
                    advice = "put quotes around a field that holds a comma; or set on_bad_row = 'skip'"
                    self._input.bad_row(bad, len(rows), "columns", DataError(f"{said}; {advice}"))
                row = blank
            rows.append(row)
            if len(rows) == CSV_ROWS:
                yield lines, rows, bad
                lines, rows, bad = [], [], {}
        yield lines, rows, bad

    def _broken(self, line: int, error: csv.Error) -> DataError:
        advice = (
            "a field that holds a comma, a quote or a line end stands in quotes, and a quote in it is written twice"
        )
        return DataError(f"{self._input.name}:{line}: no CSV row begins here ({error}); {advice}")
