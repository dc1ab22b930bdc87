"""Blocks of self-attention made into a few larger operations by torch.compile.

Sizes are symbols from the start, so one program serves batches of all shapes. Only steps that learn go through it:
validation and search have shapes of their own, one token long, and stay as they are.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from sequencing.recompute import BLOCKS, again
from sequencing.train_config import AUTO
from sequencing_np.config import require

PROGRAMS = 64  # of one function, before it is left as it is: for sizes of one, and one another's equals


def check_compile(value: bool | str) -> None:
    """ConfigError where it is neither true, false nor "auto"."""
    require(isinstance(value, bool) or value == AUTO, f'train.compile = {value!r}: must be true, false or "auto"')


def lacking(device: torch.device) -> str:
    """What a device needs so that programs can be made for it, and is not there; empty where all is."""
    if device.type == "cuda":
        return "" if importlib.util.find_spec("triton") else "the package triton"
    known = [os.environ.get("CXX", ""), "g++", "clang++"]
    return "" if any(name and shutil.which(name) for name in known) else "a C++ compiler (g++, or one named by CXX)"


def compile_blocks(model: nn.Module) -> int:
    """Let the model's blocks of self-attention be compiled when they are next learnt from; how many they are."""
    import torch._dynamo

    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, PROGRAMS)
    return put(model, lambda block, plain: partial(either, block, plain, torch.compile(plain, dynamic=True)))


def leave_blocks(model: nn.Module) -> int:
    """Undo it."""
    return put(model, lambda block, plain: plain)


def put(model: nn.Module, make: Callable[[nn.Module, Callable[..., Any]], Callable[..., Any]]) -> int:
    """Let blocks do what is made of their own `forward`; those that are computed again (`recompute`) still are."""
    blocks: list[Any] = [module for module in model.modules() if type(module) in BLOCKS]
    for block in blocks:
        forward = make(block, type(block).forward.__get__(block))
        outer = vars(block).get("forward")
        is_again = isinstance(outer, partial) and outer.func is again
        block.forward = partial(again, forward) if is_again else forward
    return len(blocks)


def either(block: nn.Module, plain: Callable[..., Any], fast: Callable[..., Any], *given: Any) -> Any:
    """The compiled one where it is learnt from."""
    return (fast if block.training and torch.is_grad_enabled() else plain)(*given)
