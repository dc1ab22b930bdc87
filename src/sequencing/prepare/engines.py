"""Who does the work: the processes of this machine, or a cluster on Ray Data. Both run the same functions.

A stage is `read`, which makes items of a part (the blocks of a file, say), and `work`, which turns an item into files
in the folder of the work and says a few numbers of it. What matters is in the files, so the order in which items are
done does not. Functions, parts and items must be fit to be sent to another process.
"""

from __future__ import annotations

import logging
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib import import_module
from itertools import chain, islice
from typing import Any, NamedTuple, Protocol

from sequencing.process import cores, settle_worker
from sequencing_np.errors import ConfigError, SequencingError

AHEAD = 2  # items on their way to each process: enough that none waits, few enough for memory

Read = Callable[[Any], Iterable[Any]]
Work = Callable[[Any], Any]


class Run(Protocol):
    """Runs one stage; yields what `work` says, in any order."""

    def __call__(self, parts: Sequence[Any], read: Read, work: Work, jobs: int) -> Iterator[Any]: ...


class Engine(NamedTuple):
    """A row of ENGINES."""

    run: Run
    reads_here: bool  # parts are read by this process, so that standard input is one


def itself(part: Any) -> Iterable[Any]:
    """The `read` of a stage whose parts are its items."""
    return (part,)


def run_local(parts: Sequence[Any], read: Read, work: Work, jobs: int) -> Iterator[Any]:
    """This process reads, `jobs` others work (0: one for each core; 1: this one does all). In order."""
    items: Iterator[Any] = chain.from_iterable(map(read, parts))
    jobs = jobs or cores()
    first = list(islice(items, 2))
    items = chain(first, items)
    if jobs == 1 or len(first) < 2:  # one item is done before another process has begun
        yield from map(work, items)
        return
    # Not forked: a thread of the parent (the bar's, a library's) may hold a lock that no one in the child would free.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, initializer=settle_worker)
    waiting: deque[Future[Any]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > AHEAD * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool:
        raise SequencingError(
            "a process that worked was ended from outside, most often because memory ran out; what is done is kept: "
            "call the same command again, with fewer jobs (--jobs) or smaller shards (rows)"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def run_ray(parts: Sequence[Any], read: Read, work: Work, jobs: int) -> Iterator[Any]:
    """Ray Data reads parts and works on items wherever the cluster has room, or on `jobs` cores of this machine.

    Every node must see the folder of the work and the inputs under the same paths.
    """
    try:
        ray: Any = import_module("ray")
        data: Any = import_module("ray.data")
    except ImportError:
        raise ConfigError(
            "engine 'ray' needs Ray Data, which is not installed: pip install 'ray[data]'; or leave engine out"
        ) from None
    if not parts:
        return
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if not ray.is_initialized():
        ray.init(num_cpus=jobs or None, log_to_driver=False, logging_level="error")
    data.DataContext.get_current().enable_progress_bars = False  # ours is shown
    rows = data.from_items([{"item": Carried(part)} for part in parts], override_num_blocks=len(parts))
    if read is not itself:  # each item becomes a task of its own, wherever it was read
        rows = rows.flat_map(Rows(read)).repartition(target_num_rows_per_block=1)
    for row in rows.map(Row(work)).iter_rows():
        carried = row["item"]
        if carried.error is not None:
            raise carried.error
        yield carried.value


@dataclass(frozen=True)
class Carried:
    """What goes from task to task: a value, or a user's mistake, around which Ray would put words of its own."""

    value: Any
    error: SequencingError | None = None


class Rows:
    """`read` on the rows of Ray Data, which are dictionaries."""

    def __init__(self, read: Read) -> None:
        self.read = read

    def __call__(self, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        try:
            for item in self.read(row["item"].value):
                yield {"item": Carried(item)}
        except SequencingError as error:
            yield {"item": Carried(None, error)}


class Row:
    """`work` on a row of Ray Data."""

    def __init__(self, work: Work) -> None:
        self.work = work

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        carried = row["item"]
        if carried.error is not None:
            return row
        try:
            return {"item": Carried(self.work(carried.value))}
        except SequencingError as error:
            return {"item": Carried(None, error)}


ENGINES = {"local": Engine(run_local, True), "ray": Engine(run_ray, False)}
