"""Several processes that search for one Translator, each with the model for itself.

Text becomes ids, ids become batches and answers become text where it is asked. What a worker gets is a batch of ids,
and so every batch, every number and every answer is what one process makes of it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from queue import SimpleQueue
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np

from sequencing_np.command_line import import_parts
from sequencing_np.errors import SearchError, SequencingError
from sequencing_np.feedback import Hypothesis
from sequencing_np.rules import Rules
from sequencing_np.search import SearchConfig
from sequencing_np.translate import Translator

BATCHES_AHEAD = 2  # for each process, so that none waits while answers are written


class Reply(NamedTuple):
    """What a worker says to a batch."""

    found: list[list[Hypothesis]]
    error: BaseException | None = None


class Worker(NamedTuple):
    """A process, and where it listens."""

    process: BaseProcess
    connection: Connection


def serve(connection: Connection, load: Callable[[], Translator], imports: Sequence[str]) -> None:
    """Answer batches until nobody asks any more. An error is an answer, that of the beginning too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks is interrupted, and ends this
    translator, failed = None, None
    try:
        import_parts(imports)
        translator = load()
    except Exception as error:  # noqa: BLE001 (whatever it is, who asks must know)
        failed = told(error)
    with contextlib.suppress(EOFError, OSError):  # who asks has gone
        while True:
            request = connection.recv()
            connection.send(Reply([], failed) if translator is None else answered(translator, request))


def answered(translator: Translator, request: Any) -> Reply:
    """The hypotheses of a batch, or why there are none."""
    try:
        return Reply(translator.search(*request))
    except Exception as error:  # noqa: BLE001
        return Reply([], told(error))


def told(error: Exception) -> Exception:
    """An error as another process can be told it; one of ours is told with the place where it arose."""
    if isinstance(error, SequencingError | MemoryError):
        return error
    return RuntimeError(f"in a worker process: {''.join(traceback.format_exception(error)).rstrip()}")


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Within the block no interrupt (Ctrl-C) comes, and processes that are started there never see one."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Workers:
    """`count` processes; each calls `load` for its Translator, after the modules `imports` that it may need.

    Within a `with` block they search for a translator (`help`); at its end, however it ends, they are gone. A thread
    for each of them hands it a batch and waits for the answer.
    """

    def __init__(self, count: int, load: Callable[[], Translator], imports: Sequence[str] = ()) -> None:
        self.count = count
        self.idle: SimpleQueue[Worker] = SimpleQueue()
        self.workers: list[Worker] = []
        self.threads = ThreadPoolExecutor(count)
        spawn = multiprocessing.get_context("spawn")
        try:
            for _ in range(count):
                here, there = spawn.Pipe()
                process = spawn.Process(target=serve, args=(there, load, tuple(imports)), daemon=True)
                self.workers.append(Worker(process, here))
                with uninterrupted():
                    process.start()
                there.close()  # so that the end of either is seen by the other
                self.idle.put(self.workers[-1])
        except BaseException:
            self.close()
            raise

    def help(self, translator: Translator) -> None:
        """Search for a translator from now on."""
        translator.ask, translator.ahead = self.ask, BATCHES_AHEAD * self.count

    def ask(
        self,
        sources: Sequence[Sequence[int]],
        search: SearchConfig,
        keys: np.ndarray,
        rules: Sequence[Rules] | None = None,
    ) -> Callable[[], list[list[Hypothesis]]]:
        """Give a batch to whoever is free first; what comes back waits for the answer."""
        return self.threads.submit(self.hand_over, (sources, search, keys, rules)).result

    def hand_over(self, request: Any) -> list[list[Hypothesis]]:
        """One batch, as `Translator.search` takes it, through one worker. SearchError where the worker is no more."""
        worker = self.idle.get()
        try:
            worker.connection.send(request)
            reply: Reply = worker.connection.recv()
        except (EOFError, OSError):
            worker.process.join(5)
            raise SearchError(
                f"a worker process ended before its answer (exit code {worker.process.exitcode}; -9 is often a lack of "
                "memory); give fewer --processes, or lower --batch-tokens or --beam"
            ) from None
        finally:
            self.idle.put(worker)
        if reply.error is not None:
            raise reply.error
        return reply.found

    def close(self) -> None:
        """End all processes, whatever they are at."""
        self.threads.shutdown(wait=False, cancel_futures=True)
        for process, _ in self.workers:
            if process.pid is not None:
                process.terminate()
                process.join()
        self.threads.shutdown()  # those that waited have seen the end of their process
        for _, connection in self.workers:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
