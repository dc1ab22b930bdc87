"""Files and streams to chunks of bytes: opened, unpacked if they are gzip, refused if they are known to be no UTF-8.

A file is known by its first bytes, never by its name. Knows nothing of lines, except that it counts them to say how far
a damaged file could be read.
"""

import contextlib
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, cast

from sequencing_np.errors import DataError

CHUNK = 1 << 18
GZIP_MAGIC = b"\x1f\x8b"

# UTF-32 stands before UTF-16 because one begins like the other.
FOREIGN = {
    b"\xff\xfe\x00\x00": "UTF-32 text (little endian); convert it: iconv -f UTF-32 -t UTF-8",
    b"\x00\x00\xfe\xff": "UTF-32 text (big endian); convert it: iconv -f UTF-32 -t UTF-8",
    b"\xff\xfe": "UTF-16 text (little endian); convert it: iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "UTF-16 text (big endian); convert it: iconv -f UTF-16 -t UTF-8",
    b"\xfd7zX": "an xz file; unpack it with xz -d, or pack it with gzip",
    b"\x28\xb5\x2f\xfd": "a zstd file; unpack it with zstd -d, or pack it with gzip",
    b"PK\x03\x04": "a zip archive; unpack it with unzip",
}


class ByteStream(Protocol):
    """What can be read: any buffered binary stream (a file opened "rb", `sys.stdin.buffer`, `io.BytesIO`)."""

    def read1(self, size: int, /) -> bytes: ...


Source = str | os.PathLike[str] | ByteStream


def name_of(source: Source) -> str:
    """How errors call a source: its path, or a word for a stream."""
    if isinstance(source, (str, os.PathLike)):
        return "standard input" if source == "-" else os.fspath(source)
    return "stream"


def reason(error: OSError | ValueError) -> str:
    """What the operating system says, in a few words and without the path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def read_chunks(source: Source, name: str) -> Iterator[bytes]:
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
        if head.startswith(GZIP_MAGIC):
            chunks = _unpacked(head, chunks, name)
            head = _head(chunks)
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
    """Four bytes or more if there are; but a person who types a short line is answered at once."""
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= 4 or head.endswith(b"\n"):
            break
    return head


def _unpacked(head: bytes, chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Gzip members one after the other; every check sum is compared, and no chunk that comes out is a large one."""
    lines = 0
    member = zlib.decompressobj(wbits=31)
    started = True  # the member has taken bytes and has not ended
    data: bytes = head
    try:
        while data:
            while data or (started and not member.eof):
                if not started:
                    member, started = zlib.decompressobj(wbits=31), True
                unpacked = member.decompress(data, CHUNK)
                data = member.unconsumed_tail
                lines += unpacked.count(b"\n")
                if unpacked:
                    yield unpacked
                if member.eof:
                    data, started = member.unused_data.lstrip(b"\0"), False  # zero bytes after a member are padding
                elif not data and not unpacked:
                    break  # nothing left to unpack without more input
            data = next(chunks, b"")
            if not started:
                padding = data
                while padding and not (data := padding.lstrip(b"\0")):
                    padding = next(chunks, b"")
        if not started:
            return
        problem = "the gzip data ends too early, the file is cut"
    except zlib.error as error:
        problem = f"the gzip data is damaged ({str(error).partition(': ')[2] or error})"
    advice = "get or pack the file again (gzip -t tests it)"
    raise DataError(f"{name}: {problem}; the last good line is {lines}; {advice}")
