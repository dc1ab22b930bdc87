"""Locks of files and folders, let go by the system when their process ends, killed even.

Where the system has no locks of that kind, everybody has them.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

try:
    import fcntl
except ImportError:  # no flock on this system
    fcntl = None  # type: ignore[assignment]


class Lock:
    """The lock of a file or folder; taken again by whoever has it, it takes as many releases."""

    def __init__(self, path: Path) -> None:
        self.path, self.descriptor, self.depth = path, -1, 0

    def tried(self) -> bool:
        """Take it, if nobody has it."""
        return self._take(wait=False)

    def acquire(self) -> bool:
        """Take it, as soon as nobody has it."""
        return self._take(wait=True)

    def release(self) -> None:
        self.depth -= 1
        if not self.depth and self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.depth:
            self.depth = 1
            self.release()

    def _take(self, wait: bool) -> bool:
        if not self.depth and fcntl is not None:
            flags = os.O_RDONLY if self.path.is_dir() else os.O_RDWR | os.O_CREAT
            self.descriptor = os.open(self.path, flags, 0o666)
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                os.close(self.descriptor)
                self.descriptor = -1
                return False
            except OSError:  # a file system without locks
                pass
        self.depth += 1
        return True
