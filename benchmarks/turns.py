"""Measuring by turns (A, B, A, B, …), so that a busy machine troubles all alike."""

import time
from collections.abc import Callable

Tasks = dict[str, Callable[[], object]]


def by_turns(tasks: Tasks, repeats: int, clock: Callable[[], float] = time.perf_counter) -> dict[str, list[float]]:
    """Seconds of each task, `repeats` times each, after one run that does not count."""
    for task in tasks.values():
        task()
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(repeats):
        for name, task in tasks.items():
            begin = clock()
            task()
            seconds[name].append(clock() - begin)
    return seconds
