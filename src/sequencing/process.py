"""What a process asks of its operating system: to keep freed memory, to be told to stop, to end with others, locks."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from types import FrameType
from typing import Any

from sequencing_np.errors import UsageError

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's mallopt
PR_SET_PDEATHSIG = 1  # of Linux: linux/prctl.h


def settle() -> None:
    """To be called before PyTorch is imported: waiting threads soon sleep, and freed memory stays with the process.

    Threads that spin while they wait make a run on a shared machine many times slower; a short spin is also the
    fastest on a quiet one (docs/decisions/0005). Large tensors that go back to the kernel after each step have to be
    faulted in again, page by page, in the next; in huge pages that is five hundred times fewer faults. These are only
    defaults: OMP_WAIT_POLICY, GOMP_SPINCOUNT, THP_MEM_ALLOC_ENABLE and MALLOC_TRIM_THRESHOLD_ in the environment stand.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read by PyTorch
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    if sys.platform != "linux" or "MALLOC_TRIM_THRESHOLD_" in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)
        mallopt(M_TOP_PAD, 1 << 28)


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """While it lasts, SIGINT and SIGTERM are noted in the list instead of obeyed; a second one is obeyed."""
    asked: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        signal.signal(number, before[number])

    try:
        for wanted in (signal.SIGINT, signal.SIGTERM):
            before[wanted] = signal.signal(wanted, note)
    except ValueError:  # not in the main thread: nothing to note
        before.clear()
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def settle_worker() -> None:
    """To be called in a worker process: it leaves Ctrl-C to its parent, and ends when that is gone, killed even."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=leave_with, args=(parent.sentinel,), daemon=True).start()


def leave_with(sentinel: int) -> None:
    """Ends this process once the one of the sentinel has ended."""
    wait([sentinel])
    os._exit(1)


def ending_with_parent() -> Callable[[], None] | None:
    """What a child is to call before its program begins: SIGTERM then comes to it when this process ends, killed even.

    None where the system has nothing of the kind. To be called in the main thread: what counts is the end of it.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None
    if prctl is None:
        return None
    parent = os.getpid()

    def arrange() -> None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
        if os.getppid() != parent:  # it was too late
            os._exit(1)

    return arrange


def cores() -> int:
    """How many processes can run at once."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


@contextmanager
def alone(folder: Path, busy: str) -> Iterator[None]:
    """UsageError, with the words `busy`, while another process holds the folder. It lets go when it ends, killed even.

    Where the system or the disk has no locks of that kind, everybody may go on.
    """
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(busy) from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)
