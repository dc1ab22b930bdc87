"""Lines and bytes to files and streams: a file is either complete or not there, or as it was before."""

import contextlib
import gzip
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Protocol, cast

from sequencing_np import disk
from sequencing_np.bytestream import reason
from sequencing_np.errors import DataError


class ByteSink(Protocol):
    """What can be written to: any binary stream."""

    def write(self, data: bytes, /) -> object: ...

    def flush(self) -> object: ...


Destination = str | os.PathLike[str] | ByteSink


def single_line(text: str) -> str:
    """A text that a model made, fit for one line of output: each LF in it becomes a space."""
    return text.replace("\n", " ")


def write_lines(destination: Destination, lines: Iterable[str]) -> int:
    """Write lines to a path (all or nothing; packed if it ends in ".gz"), to a stream, or to standard output ("-").

    A stream is flushed after each line, so that whoever waits for it sees it. Returns the number of lines.
    """
    if not isinstance(destination, (str, os.PathLike)):
        return _write(destination, lines, "stream")
    if destination == "-":
        return _write(cast(ByteSink, sys.stdout.buffer), lines, "standard output")
    name = os.fspath(destination)
    with atomic_write(destination) as file:
        if not name.endswith(".gz"):
            return _write(file, lines, name, each=False)
        with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as packed:
            return _write(packed, lines, name, each=False)


def _write(sink: ByteSink, lines: Iterable[str], name: str, each: bool = True) -> int:
    number = 0
    for number, line in enumerate(lines, start=1):
        if "\n" in line:
            raise DataError(f"{name}:{number}: the text {line[:40]!r} holds a line feed; write it as several lines")
        try:
            sink.write(f"{line}\n".encode())
        except UnicodeEncodeError as error:
            found = f"U+{ord(line[error.start]):04X} at character {error.start}"
            raise DataError(f"{name}:{number}: {found} is half a surrogate pair; UTF-8 has no bytes for it") from None
        if each:
            sink.flush()
    return number


PART = ".part"  # the end of the name of a file that is not yet whole


def sweep(folder: Path) -> None:
    """Delete what an `atomic_write` that was killed has left in a folder in which nobody writes now."""
    for path in folder.glob(f".{'[0-9a-f]' * 16}{PART}"):
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file that stands at `path` once the block has ended well, and leaves no trace if it has not.

    A device, a pipe or a socket cannot be replaced: it is written to as it is. A link stays, what it points to changes.
    """
    target, mode = _target(path)
    if mode is not None and not stat.S_ISREG(mode):
        with _writing(path, target), target.open("wb") as device:
            yield device
        return
    temporary = target.with_name(f".{secrets.token_hex(8)}{PART}")
    try:
        with _writing(path, temporary), disk.create(temporary) as file:
            yield file
            disk.sync(file)
        with _writing(path, temporary):
            if mode is not None:
                temporary.chmod(stat.S_IMODE(mode))
            disk.move(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    disk.sync_folder(target.parent)


def _target(path: str | os.PathLike[str]) -> tuple[Path, int | None]:
    """The file behind a path and its mode, None where there is none yet."""
    try:
        target = Path(path).resolve()
        mode = target.stat().st_mode if target.exists() else None
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links is a RuntimeError until Python 3.13
        raise DataError(f"{os.fspath(path)}: cannot be written ({error})") from None
    if mode is not None and stat.S_ISDIR(mode):
        raise DataError(f"{os.fspath(path)}: is a folder; give the name of a file in it")
    if not target.parent.is_dir():
        raise DataError(f"{os.fspath(path)}: there is no folder {target.parent}; make it first")
    return target, mode


@contextlib.contextmanager
def _writing(path: str | os.PathLike[str], opened: Path) -> Iterator[None]:
    """Errors of a full or failing disk, told apart from those of whoever makes the content."""
    try:
        yield
    except OSError as error:
        if error.errno not in disk.DISK_ERRORS and error.filename != str(opened):
            raise
        raise DataError(f"{os.fspath(path)}: cannot be written ({reason(error)})") from None
