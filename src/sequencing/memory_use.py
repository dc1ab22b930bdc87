"""How much memory this process has, had at most, and can have: of a GPU as PyTorch counts it, else as Linux does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import torch

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
LIMITS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Of a group of processes, versions 2 and 1: its limit, what it takes, and what of that are files to be read again."""


def used(device: torch.device) -> int:
    """Bytes that this process has now; 0 where nobody says."""
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else told(PROC / "self/status").get("VmRSS", 0)


def room(device: torch.device, sharing: int = 1) -> int | None:
    """Bytes that this process can have altogether: its own and the free ones, which so many share on a CPU.

    None where nobody says.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    free = told(PROC / "meminfo").get("MemAvailable")
    if device.type != "cpu" or free is None:
        return None
    return used(device) + max(min([free, *left_in_groups()]), 0) // sharing


def left_in_groups() -> list[int]:
    """Bytes that are left in each group of processes (a container's, say) that this one is in and that has a limit."""
    found, folders = [], [CGROUPS, CGROUPS / "memory"]
    for line in lines(PROC / "self/cgroup"):
        _, kinds, path = line.split(":", 2)
        inner = Path(path.lstrip("/"))
        root = CGROUPS / "memory" if "memory" in kinds.split(",") else CGROUPS
        folders += [root / part for part in (inner, *inner.parents)]
    for folder in dict.fromkeys(folders):
        for names in LIMITS:
            limit, taken = ("".join(lines(folder / name)) for name in names[:2])
            if limit.isdigit() and taken.isdigit():
                files = dict(line.split() for line in lines(folder / "memory.stat")).get(names[2], "0")
                found.append(int(limit) - int(taken) + int(files))
    return found


def peak_of(work: Callable[[], object], device: torch.device) -> int:
    """Bytes that this process has at most while `work` is done; where an old peak cannot be forgotten, that counts."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError):
        (PROC / "self/clear_refs").write_bytes(b"5")  # the peak begins anew
    work()
    return told(PROC / "self/status").get("VmHWM", 0)


def told(path: Path) -> dict[str, int]:
    """The sizes in a file of Linux with lines as `MemFree:  12 kB`, in bytes."""
    parts = (line.split() for line in lines(path))
    return {part[0].rstrip(":"): 1024 * int(part[1]) for part in parts if len(part) == 3 and part[2] == "kB"}


def lines(path: Path) -> list[str]:
    """The lines of a file; none where it cannot be read."""
    try:
        return [line.decode(errors="replace") for line in path.read_bytes().split(b"\n") if line]
    except OSError:
        return []
