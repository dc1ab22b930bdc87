"""A file, opened with a word of advice where that fails, and hashed while it is read."""

import hashlib
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from sequencing_np.bytestream import name_of
from sequencing_np.errors import DataError

STANDARD_INPUT = Path("-")


class HashedFile:
    """The bytes of a file, hashed while they are read: of a regular one, unless `opened` takes others too."""

    def __init__(self, path: Path, opened: Callable[[Path], BinaryIO] | None = None) -> None:
        self.name, self.size = name_of(str(path)), 0
        self._digest = hashlib.sha256()
        self._file = (opened or open_regular)(path)

    def __enter__(self) -> "HashedFile":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not getattr(sys.stdin, "buffer", None):
            self._file.close()

    def read1(self, size: int, /) -> bytes:
        """Some of the next bytes."""
        data = self._file.read(size)
        self.size += len(data)
        self._digest.update(data)
        return data

    @property
    def sha256(self) -> str:
        """The check sum of what was read so far."""
        return self._digest.hexdigest()


def open_regular(path: Path) -> BinaryIO:
    """A regular file opened for reading, or a DataError that says what to do."""
    return _open(
        path, (stat.S_ISREG,), "is no regular file; training reads a corpus several times, so save it to a file"
    )


def open_once(path: Path) -> BinaryIO:
    """What can be read one time: a regular file, a pipe, a terminal, standard input ("-")."""
    if path == STANDARD_INPUT:
        return sys.stdin.buffer
    return _open(path, (stat.S_ISREG, stat.S_ISFIFO, stat.S_ISCHR), "is neither a file nor a pipe; name a file of text")


def _open(path: Path, kinds: tuple[Callable[[int], bool], ...], other: str) -> BinaryIO:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise DataError(f"{path}: is a folder; name the files in it")
        if not any(is_kind(mode) for is_kind in kinds):
            raise DataError(f"{path}: {other}")
        return path.open("rb")
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; look at the path (from: {Path.cwd()})") from None
    except PermissionError:
        raise DataError(f"{path}: no permission to read it; change that (chmod u+r) or the owner") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"{path}: cannot be opened: {reason}; give a readable text file") from None
