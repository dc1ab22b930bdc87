"""Where the time of a training step goes: its parts, and the operators of PyTorch that they are made of.

`part` names a stretch of code for PyTorch's profiler and costs nothing while none is on. The gradient of the output
layer is made where the loss is (loss.py), so it counts there and not as "backward".
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.profiler import ProfilerActivity, profile, record_function

MARK = "sequencing: "


def part(name: str) -> record_function:
    """A context: what is done in it counts as this part of a step."""
    return record_function(MARK + name)


class Spent(NamedTuple):
    """Time of a part or an operator."""

    name: str
    milliseconds: float  # a step
    share: float  # of the step
    calls: float  # a step


class Profile(NamedTuple):
    """Where the time of some steps went."""

    milliseconds: float  # of a step, from its begin to its end, without the profiler
    profiled: float  # of a step with it
    parts: list[Spent]  # as they come
    operators: list[Spent]  # without what they call, the longest first


def profiled(step: Callable[[], Any], steps: int, warm: int, device: torch.device, trace: Path | None) -> Profile:
    """Time `step`, `warm` times uncounted, then `steps` times plain and `steps` times under PyTorch's profiler.

    On a GPU an operator's time is that of its kernels, and a part's that of the kernels begun in it. `trace` gets what
    was seen, for chrome://tracing or https://ui.perfetto.dev.
    """
    cuda = device.type == "cuda"
    seconds(step, warm, device)
    plain = seconds(step, steps, device)
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]) as seen:
        slowed = seconds(step, steps, device)
    if trace is not None:
        seen.export_chrome_trace(str(trace))
    events = seen.key_averages()
    parts = [event for event in events if event.key.startswith(MARK)]
    others = [event for event in events if not event.key.startswith(MARK)]
    whole = 1e6 * slowed

    def spent(name: str, microseconds: float, calls: int) -> Spent:
        return Spent(name, microseconds / steps / 1000, microseconds / whole, calls / steps)

    def own(event: Any) -> float:
        return float(event.self_device_time_total if cuda else event.self_cpu_time_total)

    return Profile(
        1000 * plain / steps,
        1000 * slowed / steps,
        [
            spent(event.key.removeprefix(MARK), event.device_time_total if cuda else event.cpu_time_total, event.count)
            for event in parts
        ],
        sorted((spent(event.key, own(event), event.count) for event in others), key=lambda each: -each.milliseconds),
    )


def seconds(step: Callable[[], Any], times: int, device: torch.device) -> float:
    """How long it takes so many times, whatever the device still has to do included."""
    begin = time.perf_counter()
    for _ in range(times):
        step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin
