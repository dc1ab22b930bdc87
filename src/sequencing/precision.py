"""The type of matrix products; weights, their updates and all sums stay in float32."""

from __future__ import annotations

from typing import NamedTuple

import torch

from sequencing.train_config import AUTO
from sequencing_np.config import choose

PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Precision(NamedTuple):
    """A row of PRECISIONS, and why it was chosen."""

    name: str
    why: str = ""


def check_precision(name: str) -> None:
    """ConfigError where there is no such precision."""
    choose(PRECISIONS | {AUTO: None}, name, "train.precision")


def chosen(name: str, device: torch.device) -> Precision:
    """The precision of that name; for `auto` bfloat16 where the device multiplies it, else float32.

    On a GPU that is too old for bfloat16 `auto` is float16, where that has products of its own.
    """
    slow = device.type == "cpu" and not getattr(torch.cpu, "_is_amx_fp16_supported", bool)()
    if name == "float16" and slow:
        return Precision(name, "asked for; no product is faster in it on this cpu, and with AMX bfloat16 is")
    if name != AUTO:
        return Precision(name)
    multiplies = (on_cuda if device.type == "cuda" else on_cpu)()
    if multiplies:
        return Precision("bfloat16", f"{device} multiplies it: {multiplies}")
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= TENSOR_CORES:
        return Precision("float16", f"{device} multiplies it, and not bfloat16: {torch.cuda.get_device_name(device)}")
    return Precision("float32", f"{device} has no fast products in bfloat16")


TENSOR_CORES = (7, 0)  # the first GPUs that multiply float16 in them


def on_cuda() -> str:
    """By what the GPU multiplies bfloat16; nothing where it does not."""
    return torch.cuda.get_device_name() if torch.cuda.is_bf16_supported(including_emulation=False) else ""


FLAGS = {"_is_amx_tile_supported": "AMX", "_is_avx512_bf16_supported": "AVX512-BF16"}


def on_cpu() -> str:
    """The same of the processor. These questions of PyTorch are not public: where they are gone, the answer is no."""
    return ", ".join(text for name, text in FLAGS.items() if getattr(torch.cpu, name, bool)())
