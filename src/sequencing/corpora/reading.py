"""What all formats of a corpus share: what to do about bad lines, lines in blocks, rows in blocks, what was read.

A row is a source and a target, each without LF. A tab in a source stands between the texts of several columns; a tab
within one text has become a space. Knows nothing of columns, keys or files.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sequencing.corpora.unpacking import ALL_PACKINGS
from sequencing.data.corpus import FilePrint
from sequencing.data.hashed_file import HashedFile
from sequencing_np.columns import TAB
from sequencing_np.config import nearest, require
from sequencing_np.errors import DataError
from sequencing_np.text import MAX_BYTES, Reading, read_line_blocks

ON_BAD_UTF8 = {
    "error": "stop at the first byte that is not UTF-8",
    "skip": "leave out the pair, both sides of it",
    "replace": "take U+FFFD for what is not UTF-8",
}
ON_BAD_ROW = {
    "error": "stop at the first row that has no two texts",
    "skip": "leave out the row",
}
BLOCK_CHARACTERS = 1 << 24  # a block ends early rather than that it holds many more


@dataclass(frozen=True)
class ReadOptions:
    """What to do about lines that cannot be read. A line over `max_bytes` is always left out, and counted."""

    on_bad_utf8: str = "error"  # a row of ON_BAD_UTF8
    on_bad_row: str = "error"  # a row of ON_BAD_ROW: other columns, no JSON, a key that is missing
    max_bytes: int = MAX_BYTES  # of a line, and of a text

    def __post_init__(self) -> None:
        for name, table in (("on_bad_utf8", ON_BAD_UTF8), ("on_bad_row", ON_BAD_ROW)):
            value = getattr(self, name)
            require(value in table, f"{name} = {value!r}: {nearest(value, table)}")
        require(self.max_bytes >= 1, f"max_bytes = {self.max_bytes}: must be 1 or more")


@dataclass(slots=True)
class Inputs:
    """What was read: complete when the last block was given."""

    prints: list[FilePrint] = field(default_factory=list)  # in the order in which the files ended
    reading: Reading = field(default_factory=Reading)  # of all files together


class Rows(NamedTuple):
    """Consecutive rows of one file, the line of each, and why some of them are none."""

    lines: Sequence[int]
    sources: list[str]
    targets: list[str]
    bad: dict[int, str]  # row -> reason


class Input(NamedTuple):
    """A file that is being read, and how."""

    file: HashedFile
    options: ReadOptions
    inputs: Inputs

    @property
    def name(self) -> str:
        """How errors call it."""
        return self.file.name

    def done(self, lines: int) -> None:
        """The file has been read to its end."""
        self.inputs.prints.append(FilePrint(self.name, self.file.size, self.file.sha256, lines))

    def bad_row(self, bad: dict[int, str], row: int, reason: str, error: DataError) -> None:
        """Leaves out a row that cannot be read, or stops, as the options say."""
        if self.options.on_bad_row == "error":
            raise error
        bad.setdefault(row, reason)


class Lines:
    """The lines of a file, handed out some at a time; a bad one is empty or repaired, and its reason stands beside."""

    def __init__(self, given: Input) -> None:
        self.input, self.number = given, 0  # lines handed out so far
        self._texts: list[str] = []
        self._bad: dict[int, str] = {}
        self._place = 0
        self._ended = False
        options = given.options
        self._blocks = read_line_blocks(
            given.file,
            name=given.name,
            max_bytes=options.max_bytes,
            reading=given.inputs.reading,
            packings=ALL_PACKINGS,
        )

    def ready(self) -> int:
        """How many lines can be taken at once: 0 at the end of the file."""
        while self._place == len(self._texts) and not self._ended:
            self._place, self._bad = 0, {}
            block = next(self._blocks, None)
            if block is None:
                self._texts, self._ended = [], True
                self.input.done(self.number)
                break
            self._texts = block.texts
            if block.error is not None:
                self._note(block.error, block.repaired)
        return len(self._texts) - self._place

    def _note(self, error: DataError, repaired: str | None) -> None:
        if repaired is None:
            self._bad[len(self._texts)] = "too_long"
        elif self.input.options.on_bad_utf8 == "error":
            raise error
        elif self.input.options.on_bad_utf8 == "skip":
            self._bad[len(self._texts)] = "undecodable"
        self._texts.append(repaired or "")

    def take(self, count: int) -> tuple[list[str], dict[int, str]]:
        """The next lines and what is bad of them, by place."""
        start, self._place = self._place, self._place + count
        self.number += count
        bad = {row - start: reason for row, reason in self._bad.items() if start <= row < self._place}
        return self._texts[start : self._place], bad

    def rest(self) -> int:
        """The number of lines that are left, which are read and forgotten."""
        left = 0
        while ready := self.ready():
            self.take(ready)
            left += ready
        return left


def one_line(texts: list[str], given: Input, lines: Sequence[int], bad: dict[int, str]) -> list[str]:
    """Texts that come from quotes or JSON, fit for a line: LF and TAB are spaces, no half pairs, none too long."""
    whole = "".join(texts)
    if "\n" in whole or TAB in whole:
        texts = [text.replace("\r\n", " ").replace("\n", " ").replace(TAB, " ") for text in texts]
    try:
        whole.encode()
    except UnicodeEncodeError:
        texts = [whole_pairs(text, given, lines[row], row, bad) for row, text in enumerate(texts)]
    limit = given.options.max_bytes
    if len(whole.encode(errors="replace")) > limit:
        for row, text in enumerate(texts):
            if len(text) * 4 > limit and len(text.encode()) > limit:
                bad.setdefault(row, "too_long")
    return texts


def whole_pairs(text: str, given: Input, line: int, row: int, bad: dict[int, str]) -> str:
    """A text without halves of surrogate pairs, which UTF-8 has no bytes for."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = ord(text[error.start])
        # what is no UTF-8 in a file of JSON is carried to here as such a half, see documents.py
        found = f"byte {half - 0xDC00:02x} is not UTF-8" if 0xDC80 <= half <= 0xDCFF else "is half a surrogate pair"
        what = f"U+{half:04X} at character {error.start} of the text {found}; UTF-8 has no bytes for it"
        if given.options.on_bad_utf8 == "error":
            raise DataError(f"{given.name}:{line}: {what}; mend the text, or set on_bad_utf8") from None
        if given.options.on_bad_utf8 == "skip":
            bad.setdefault(row, "undecodable")
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def joined(columns: Sequence[list[str]]) -> list[str]:
    """The texts of one or several columns, with tabs between those of one row."""
    return columns[0] if len(columns) == 1 else list(map(TAB.join, zip(*columns, strict=True)))


def regrouped(parts: Iterable[Rows], rows: int) -> Iterator[Rows]:
    """The same rows in blocks of `rows`, the last one smaller. Rows that are bad are empty on both sides."""
    lines: list[int] = []
    sources: list[str] = []
    targets: list[str] = []
    bad: dict[int, str] = {}
    size = 0
    for part in parts:
        for row, reason in part.bad.items():
            bad[len(sources) + row] = reason
            part.sources[row] = part.targets[row] = ""
        lines += part.lines
        sources += part.sources
        targets += part.targets
        size += sum(map(len, part.sources)) + sum(map(len, part.targets))
        while len(sources) >= rows or size > BLOCK_CHARACTERS:
            first = {row: reason for row, reason in bad.items() if row < rows}
            yield Rows(lines[:rows], sources[:rows], targets[:rows], first)
            lines, sources, targets = lines[rows:], sources[rows:], targets[rows:]
            bad = {row - rows: reason for row, reason in bad.items() if row >= rows}
            size = sum(map(len, sources)) + sum(map(len, targets))
    if sources:
        yield Rows(lines, sources, targets, bad)
