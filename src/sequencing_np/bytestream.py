"""Files and streams to chunks of bytes: opened, unpacked if they are gzip or xz, refused if known to be no UTF-8.

A file is known by its first bytes, never by its name. Knows nothing of lines, except that it counts them to say how far
a damaged file could be read.
"""

import contextlib
import os
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from sequencing_np.errors import DataError

CHUNK = 1 << 18
XZ_MEMORY = 1 << 29  # as much may a file ask for; xz -9 needs an eighth of it

# UTF-32 stands before UTF-16 because one begins like the other.
FOREIGN = {
    b"\xff\xfe\x00\x00": "UTF-32 text (little endian); convert it: iconv -f UTF-32 -t UTF-8",
    b"\x00\x00\xfe\xff": "UTF-32 text (big endian); convert it: iconv -f UTF-32 -t UTF-8",
    b"\xff\xfe": "UTF-16 text (little endian); convert it: iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "UTF-16 text (big endian); convert it: iconv -f UTF-16 -t UTF-8",
    b"\xfd7zX": "an xz file in a packed file; unpack it with xz -d",
    b"\x28\xb5\x2f\xfd": "a zstd file; unpack it with zstd -d, or pack it with gzip",
    b"PK\x03\x04": "a zip archive; unpack it with unzip",
}


class ByteStream(Protocol):
    """What can be read: any buffered binary stream (a file opened "rb", `sys.stdin.buffer`, `io.BytesIO`)."""

    def read1(self, size: int, /) -> bytes: ...


Source = str | os.PathLike[str] | ByteStream


class Damaged(Exception):
    """Packed data that cannot be unpacked, and why. Never leaves this module."""


class Member(Protocol):
    """What unpacks one member of a packed file (a stream of xz, a frame of zstd), in pieces of bounded size."""

    @property
    def eof(self) -> bool:
        """The member has ended."""
        ...

    @property
    def needs_input(self) -> bool:
        """Nothing comes out of it any more without new bytes."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What follows the end."""
        ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        """Takes new bytes, or none where none are needed. Raises Damaged."""
        ...


class Packing(NamedTuple):
    """A way to pack files: how it is called, how a file of it begins, what unpacks a member, what tests a file."""

    name: str
    magic: tuple[bytes, ...]
    start: Callable[[], Member]
    test: str


class GzipMember:
    """A member of a gzip file."""

    def __init__(self) -> None:
        self._stream = zlib.decompressobj(wbits=31)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        try:
            unpacked = self._stream.decompress(self._stream.unconsumed_tail + data, max_length)
        except zlib.error as error:
            raise Damaged(str(error).partition(": ")[2] or str(error)) from None
        self.needs_input = not self._stream.unconsumed_tail and len(unpacked) < max_length
        return unpacked


class XzMember:
    """A stream of an xz file."""

    def __init__(self) -> None:
        try:
            import lzma
        except ImportError:
            raise DataError("this Python was built without xz (lzma); unpack xz files with xz -d") from None
        self._stream: Any = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY)
        self._error = lzma.LZMAError

    @property
    def eof(self) -> bool:
        return bool(self._stream.eof)

    @property
    def needs_input(self) -> bool:
        return bool(self._stream.needs_input)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._stream.unused_data)

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        try:
            return bytes(self._stream.decompress(data, max_length))
        except self._error as error:
            raise Damaged(str(error)) from None


PACKINGS = (
    Packing("gzip", (b"\x1f\x8b",), GzipMember, "gzip -t"),
    Packing("xz", (b"\xfd7zXZ\0",), XzMember, "xz -t"),
)


def name_of(source: Source) -> str:
    """How errors call a source: its path, or a word for a stream."""
    if isinstance(source, (str, os.PathLike)):
        return "standard input" if source == "-" else os.fspath(source)
    return "stream"


def reason(error: OSError | ValueError) -> str:
    """What the operating system says, in a few words and without the path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def read_chunks(source: Source, name: str, packings: Sequence[Packing] = PACKINGS) -> Iterator[bytes]:
    """The bytes of a path, a stream or standard input ("-"), unpacked. The first chunk is enough to know a file by."""
    with contextlib.ExitStack() as stack:
        if not isinstance(source, (str, os.PathLike)):
            stream = source
        elif source == "-":
            stream = cast(ByteStream, sys.stdin.buffer)
        else:
            try:
                stream = stack.enter_context(Path(source).open("rb"))
            except (OSError, ValueError) as error:
                raise DataError(f"{name}: cannot be opened ({reason(error)}); give a readable text file") from None
        chunks = _raw(stream, name)
        head = _head(chunks)
        for packing in packings:
            if head.startswith(packing.magic):
                chunks = _unpacked(head, chunks, name, packing)
                head = _head(chunks)
                break
        for magic, meaning in FOREIGN.items():
            if head.startswith(magic):
                raise DataError(f"{name}:1: bytes {magic.hex(' ')} at byte offset 0 say that this is {meaning}")
        yield head
        yield from chunks


def _raw(stream: ByteStream, name: str) -> Iterator[bytes]:
    try:
        while chunk := stream.read1(CHUNK):
            yield chunk
    except OSError as error:
        raise DataError(f"{name}: cannot be read ({reason(error)})") from None


def _head(chunks: Iterator[bytes]) -> bytes:
    """Six bytes or more if there are; but a person who types a short line is answered at once."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= 6 or head.endswith(b"\n"):
            break
    return head


def _unpacked(head: bytes, chunks: Iterator[bytes], name: str, packing: Packing) -> Iterator[bytes]:
    """Members one after the other; every check sum is compared, and no chunk that comes out is a large one."""
    lines = 0
    data = head
    try:
        while data:
            member = packing.start()
            while not member.eof:
                if member.needs_input and not data and not (data := next(chunks, b"")):
                    raise Damaged
                unpacked = member.decompress(data, CHUNK)
                data = b""
                lines += unpacked.count(b"\n")
                if unpacked:
                    yield unpacked
            data = member.unused_data.lstrip(b"\0")  # zero bytes after a member are padding
            while not data and (padding := next(chunks, b"")):
                data = padding.lstrip(b"\0")
    except Damaged as error:
        problem = f"data is damaged ({error})" if error.args else "data ends too early, the file is cut"
        advice = f"get or pack the file again ({packing.test} tests it)"
        raise DataError(f"{name}: the {packing.name} {problem}; the last good line is {lines}; {advice}") from None
