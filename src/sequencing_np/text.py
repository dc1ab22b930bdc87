"""Files and streams to lines, checked to the byte. Only LF separates lines; text is strict UTF-8.

Knows nothing of tokens, columns or pairs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sequencing_np.bytestream import PACKINGS, Packing, Source, name_of, read_chunks
from sequencing_np.errors import DataError

MAX_BYTES = 1 << 20
CONTROLS = bytes(code for code in range(32) if code not in b"\t\n")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Reading:
    """What was met while reading. It only counts up, so that one Reading may serve several files."""

    lines: int = 0  # all of them, bad ones too
    bom: int = 0  # byte order marks dropped from the start of a file
    crlf: int = 0  # CR dropped from the end of a line
    nul: int = 0
    control: int = 0  # C0 control characters within lines, NUL and lone CR among them, TAB not
    too_long: int = 0
    undecodable: int = 0


class Line(NamedTuple):
    """One line of a file, or the reason why it is none (its text is then empty)."""

    text: str
    error: DataError | None


class Block(NamedTuple):
    """Good lines, and the reason why the line after them is bad, if it is."""

    texts: list[str]
    error: DataError | None
    repaired: str | None = None  # the bad line with U+FFFD for what is not UTF-8, None where it was too long


def read_lines(
    source: Source, *, name: str | None = None, max_bytes: int = MAX_BYTES, reading: Reading | None = None
) -> Iterator[str]:
    """The lines of a file, of a binary stream, or of standard input ("-"). The first bad line raises a DataError."""
    for block in _Reader(source, name, max_bytes, reading).blocks():
        yield from block.texts
        if block.error:
            raise block.error


def read_each_line(
    source: Source, *, name: str | None = None, max_bytes: int = MAX_BYTES, reading: Reading | None = None
) -> Iterator[Line]:
    """As read_lines, but a bad line comes with its error and the others go on: always one Line per line.

    What no line can be blamed for (a missing file, damaged gzip data, UTF-16) is still raised.
    """
    for block in _Reader(source, name, max_bytes, reading).blocks():
        for text in block.texts:
            yield Line(text, None)
        if block.error:
            yield Line("", block.error)


def read_line_blocks(
    source: Source,
    *,
    name: str | None = None,
    max_bytes: int = MAX_BYTES,
    reading: Reading | None = None,
    packings: Sequence[Packing] = PACKINGS,
) -> Iterator[Block]:
    """As read_each_line, but some thousand lines at a time: the fastest way to read."""
    return _Reader(source, name, max_bytes, reading, packings).blocks()


class _Reader:
    """Cuts chunks of bytes into lines. Many lines are decoded at once; only a failure looks for its line."""

    def __init__(
        self,
        source: Source,
        name: str | None,
        max_bytes: int,
        reading: Reading | None,
        packings: Sequence[Packing] = PACKINGS,
    ) -> None:
        self.name = name or name_of(source)
        self.chunks = read_chunks(source, self.name, packings)
        self.max_bytes = max_bytes
        self.reading = reading or Reading()
        self.line = 0  # lines behind us, bytes behind us
        self.offset = 0

    def blocks(self) -> Iterator[Block]:
        rest = bytearray()  # a line that has not ended yet
        skipping = False  # in a line that is known to be too long
        for chunk in self._without_mark():
            cut = chunk.rfind(b"\n") + 1
            if skipping:
                start = chunk.find(b"\n") + 1 or len(chunk)
                self.offset += start
                chunk, skipping, cut = chunk[start:], not cut, max(0, cut - start)
            if cut:
                ended = bytes(rest) + chunk[:cut]
                rest = bytearray(chunk[cut:])
                yield from self._cut(ended)
            else:
                rest += chunk
            if len(rest) > self.max_bytes:
                yield Block([], self._too_long(len(rest)))
                skipping, rest = True, bytearray()
        if rest:
            yield from self._cut(bytes(rest), ended=False)

    def _without_mark(self) -> Iterator[bytes]:
        for head in self.chunks:
            if head.startswith(BYTE_ORDER_MARK):
                self.reading.bom += 1
                self.offset = len(BYTE_ORDER_MARK)
            yield head[self.offset :]
            break
        yield from self.chunks

    def _cut(self, data: bytes, ended: bool = True) -> Iterator[Block]:
        """The lines of some bytes: all at once, or one by one where one of them may be bad."""
        if len(data) <= self.max_bytes:  # else a line may be too long
            try:
                text = data.decode("utf-8")
            except UnicodeDecodeError:
                pass
            else:
                yield Block(self._counted(data, text, ended), None)
                return
        lines = data.split(b"\n")
        if ended:
            lines.pop()  # what follows the last LF
        for line in lines:
            if len(line) > self.max_bytes:
                yield Block([], self._too_long(len(line) + 1))
                continue
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError as error:
                repaired = (line.removesuffix(b"\r") if ended else line).decode("utf-8", "replace")
                yield Block([], self._undecodable(line, error.start), repaired)
                continue
            end = "\n" if ended else ""
            yield Block(self._counted(line + end.encode(), text + end, ended), None)

    def _counted(self, data: bytes, text: str, ended: bool) -> list[str]:
        """The lines of a text whose bytes are known, written into the books."""
        controls = len(data) - len(data.translate(None, CONTROLS))
        if controls:
            crlf = data.count(b"\r\n")
            self.reading.crlf += crlf
            self.reading.nul += data.count(b"\0")
            self.reading.control += controls - crlf
            text = text.replace("\r\n", "\n")
        texts = text.split("\n")
        if ended:
            texts.pop()
        self._pass(len(texts), len(data))
        return texts

    def _pass(self, lines: int, size: int) -> None:
        self.line += lines
        self.reading.lines += lines
        self.offset += size

    def _undecodable(self, line: bytes, column: int) -> DataError:
        found = f"bytes {line[column : column + 4].hex(' ')} are not UTF-8"
        where = f"byte offset {column} of the line, {self.offset + column} of the text"
        self._pass(1, len(line) + 1)
        self.reading.undecodable += 1
        advice = "text must be UTF-8: find out its encoding and convert it with iconv"
        return DataError(f"{self.name}:{self.line}: {found} ({where}); {advice}")

    def _too_long(self, size: int) -> DataError:
        self._pass(1, size)
        self.reading.too_long += 1
        what = f"the line is longer than the limit of {self.max_bytes} bytes"
        return DataError(f"{self.name}:{self.line}: {what}; break it into several, or raise the limit")
