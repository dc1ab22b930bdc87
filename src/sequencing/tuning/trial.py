"""A trial at work: a run folder, trained by a process of its own, followed while it learns and ended where it must be.

Knows nothing of what is searched, nor of Optuna.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import sequencing
from sequencing.process import ending_with_parent
from sequencing.records import Follower, number, visible
from sequencing.tuning.locks import Lock

POLL = 0.1  # seconds between two looks
GRACE = 120.0  # seconds in which a training that was told to stop may end its step and save
STOPPED = 130  # how `train` leaves when it was told to stop


class Validation(NamedTuple):
    """What a run said of itself at one step."""

    step: int
    score: float
    seconds: float  # of training, over all starts


class Watched:
    """The validations of a run, each of them once, however often the run is continued."""

    def __init__(self, folder: Path, metric: str) -> None:
        self.follower, self.metric, self.seen = Follower(folder / "metrics.jsonl"), metric, -1

    def new(self) -> Iterator[Validation]:
        self.follower.began_anew()  # then all of it comes again, and what was seen is left out
        for record in self.follower.news():
            step, score = (number(record.get(name)) for name in ("step", self.metric))
            if record.get("kind") == "dev" and step is not None and score is not None and step > self.seen:
                self.seen = int(step)
                yield Validation(self.seen, score, number(record.get("seconds")) or 0.0)


class End(NamedTuple):
    """How one start of a training ended."""

    code: int | None  # None: it was ended by us
    judged: bool = False  # because it did too badly; else because the search is to stop


def attend(
    words: Sequence[str],
    folder: Path,
    log: Path,
    news: Callable[[], bool],
    leaving: Callable[[], bool],
) -> End:
    """Train in `folder` by a process; `news` is asked all the while whether it does too badly, `leaving` for a stop.

    Another process may still be in the folder, left by a search that was killed: it is waited for.
    """
    with Lock(folder) as lock:  # the training takes it again; in between nobody else does: see `search.claim`
        if not lock.tried():
            say(f"{folder}: another process still trains in it; waiting for its end")
        while not (lock.depth or lock.tried()):
            if leaving():
                return End(None)
            time.sleep(POLL)
    with log.open("ab") as said:
        process = subprocess.Popen(  # noqa: S603 (this interpreter and this package)
            [sys.executable, "-m", "sequencing", "train", *words],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=environment(),
            start_new_session=True,  # Ctrl-C is for the search, which tells its training
            preexec_fn=ending_with_parent(),
        )
        try:
            while True:
                code = process.poll()
                if news():
                    stop(process)
                    return End(None, judged=True)
                if code is not None:
                    return End(code)
                if leaving():
                    stop(process)
                    return End(None)
                time.sleep(POLL)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def say(text: str) -> None:
    """A line on standard error."""
    print(text, file=sys.stderr, flush=True)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Let it save and leave."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)


def environment() -> dict[str, str]:
    """That of this process, with this very package found first."""
    here = str(Path(str(sequencing.__file__)).parent.parent)
    paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def complaint(log: Path) -> str:
    """The last error that a training said, in one line; else the last line of any kind."""
    try:
        with log.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - 4096, 0))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    errors = [line.partition("error: ")[2] for line in lines if line.startswith("sequencing: error: ")]
    return visible((errors or [line for line in lines if line.strip()] or [""])[-1])
