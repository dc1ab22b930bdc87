"""Where a preparation may write, and what is said when it cannot."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sequencing.prepare.manifest import OWN, WORK
from sequencing_np.bytestream import reason
from sequencing_np.disk import DISK_ERRORS
from sequencing_np.errors import DataError, UsageError

UNFINISHED = ".*.part"  # files that were being written when a process was killed


def check_place(folder: Path) -> None:
    """UsageError where a folder holds what this program has not written."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is a file; give a new or empty folder")
    if not folder.is_dir():
        return
    for path in folder.glob(UNFINISHED):
        path.unlink()
    names = sorted(path.name for path in folder.iterdir())
    other = next((name for name in names if name not in OWN or WORK not in names), None)
    if other is not None:
        raise UsageError(f"{folder}: holds {other!r}, no part of a preparation; give a new or empty folder")


@contextmanager
def disk(folder: Path) -> Iterator[None]:
    """A full or failing disk, and a folder that cannot be written, in words."""
    try:
        yield
    except OSError as error:
        named = error.filename is not None and str(error.filename).startswith(str(folder))
        if error.errno not in DISK_ERRORS and not named:
            raise
        free = ""
        with suppress(OSError):
            free = f"; {shutil.disk_usage(folder).free:,} bytes are free there"
        raise DataError(
            f"{folder}: cannot be written ({reason(error)}){free}. What is done is kept: make room, and call the same "
            "command again"
        ) from None
