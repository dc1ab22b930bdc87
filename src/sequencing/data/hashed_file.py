"""A regular file, opened with a word of advice where that fails, and hashed while it is read."""

import hashlib
import stat
from pathlib import Path
from typing import BinaryIO

from sequencing_np.errors import DataError


class HashedFile:
    """The bytes of a regular file, hashed while they are read."""

    def __init__(self, path: Path) -> None:
        self.name, self.size = str(path), 0
        self._digest = hashlib.sha256()
        self._file = open_regular(path)

    def __enter__(self) -> "HashedFile":
        return self

    def __exit__(self, *_: object) -> None:
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
    """A file opened for reading, or a DataError that says what to do."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise DataError(f"{path}: is a folder; name the files in it")
        if not stat.S_ISREG(mode):
            raise DataError(f"{path}: is no regular file; training reads a corpus several times, so save it to a file")
        return path.open("rb")
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such file; look at the path (from: {Path.cwd()})") from None
    except PermissionError:
        raise DataError(f"{path}: no permission to read it; change that (chmod u+r) or the owner") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"{path}: cannot be opened: {reason}; give a readable text file") from None
