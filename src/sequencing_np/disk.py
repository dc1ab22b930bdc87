"""What is asked of a disk so that what is written survives: files and names that are safe before others depend on them.

Everything that writes a file or a folder whole goes through these few functions, so that a test can be the disk.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import sys
from pathlib import Path
from typing import IO

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)
RENAME_EXCHANGE, HERE = 2, -100  # of Linux: linux/fs.h, AT_FDCWD


def create(path: Path) -> IO[bytes]:
    """A new file; there must be none of this name."""
    return path.open("xb")


def sync(file: IO[bytes]) -> None:
    """Wait until the content of a file is on the disk. What this raises is final: the content may be lost."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system lets folders be opened."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in DISK_ERRORS:
            raise
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """A new, empty folder; whatever had its name is gone."""
    remove(path)
    path.mkdir(parents=True)


def move(source: Path, target: Path) -> None:
    """Give a file or folder another name; a file takes the place of another one."""
    source.replace(target)


def exchange(one: Path, other: Path) -> bool:
    """Let two files or folders have each other's name, at once; False where the system cannot."""
    if sys.platform != "linux":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    names = (os.fsencode(one), os.fsencode(other))
    return rename is not None and rename(HERE, names[0], HERE, names[1], RENAME_EXCHANGE) == 0


def remove(path: Path) -> None:
    """Delete a folder, if there is one."""
    import shutil  # not for who only reads

    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)
