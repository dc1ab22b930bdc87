"""Batches made ahead, so that the model does not wait: by a thread, or by processes where making them is slow.

Batch n is the same whoever makes it, so any number of workers gives the same stream.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import groupby

from sequencing.data.sampling import POOL, START, BatchStream, Placed, Position
from sequencing.process import settle_worker
from sequencing_np.errors import SequencingError

AHEAD = 2  # chunks that are ready, or being made, for each worker
CHUNK = 8  # batches that are made at once

Made = Generator[Placed]
Make = Callable[[list[Position]], list[Placed]]


def prefetched(stream: BatchStream, start: Position = START, own: range | None = None, workers: int = 0) -> Made:
    """The batches of `stream.batches(start, own)`, made ahead by so many processes; 0: by a thread of this one."""
    if workers:
        context = multiprocessing.get_context("spawn")  # a fork would copy PyTorch's threads in an unknown state
        pool = ProcessPoolExecutor(workers, context, initializer=begin_worker, initargs=(stream,))
        return given(pool, worked, chunks(stream, start, own), workers)
    thread = ThreadPoolExecutor(1, thread_name_prefix="batches")
    return given(thread, partial(placed, stream), chunks(stream, start, own))


def chunks(stream: BatchStream, start: Position, own: range | None) -> Iterator[list[Position]]:
    """The positions some at a time; what is cut anew together is made together."""
    size = POOL if any(stream.options.dropouts) else CHUNK
    for _, positions in groupby(stream.positions(start, own), lambda position: (position[0], position[1] // size)):
        yield list(positions)


def placed(stream: BatchStream, positions: list[Position]) -> list[Placed]:
    """The batches at some positions."""
    return [stream.placed(position) for position in positions]


def given(executor: Executor, make: Make, tasks: Iterator[list[Position]], workers: int = 1) -> Made:
    """What the executor makes, in the order of the positions."""
    waiting: deque[Future[list[Placed]]] = deque()
    try:
        for positions in tasks:
            waiting.append(executor.submit(make, positions))
            if len(waiting) > AHEAD * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool:
        raise SequencingError(
            "a process that makes batches has ended, killed by somebody or by the system, one of data.workers = "
            f"{workers}; each needs memory of its own. What was saved before is intact: go on with the same command, "
            "with fewer workers or with data.workers = 0"
        ) from None
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


WORK: list[BatchStream] = []  # of a worker process: its stream, received once


def begin_worker(stream: BatchStream) -> None:
    """Prepare a worker process."""
    settle_worker()
    WORK.append(stream)


def worked(positions: list[Position]) -> list[Placed]:
    """The batches at some positions, made in a worker process."""
    return placed(WORK[0], positions)
