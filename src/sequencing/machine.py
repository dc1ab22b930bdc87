"""The machine and the versions that numbers were measured with: no host name, no path, no user."""

import platform
from pathlib import Path
from typing import Any

import numpy

from sequencing.process import cores


def machine() -> dict[str, Any]:
    """The machine and the versions that numbers were measured with: no host name, no path, no user."""
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": None,
        "numpy": numpy.__version__,
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": _cpu_name(),
        "cores": cores(),
        "threads": None,
        "accelerator": None,
    }
    try:
        import torch
    except ImportError:
        return facts
    accelerator = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return facts | {"torch": torch.__version__, "threads": torch.get_num_threads(), "accelerator": accelerator}


def _cpu_name(information: Path = Path("/proc/cpuinfo")) -> str | None:
    try:
        lines = information.read_bytes().split(b"\n")
    except OSError:
        return platform.processor() or None
    names = (line.partition(b":")[2].strip() for line in lines if line.startswith(b"model name"))
    return next(names, b"").decode(errors="replace") or None
