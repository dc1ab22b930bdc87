"""Blocks that forget what they did and do it again when the gradient comes: less memory for about a third more work.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost". Only what goes into a block is kept. Chance is the
same the second time, so the gradients are those of a model that forgets nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from sequencing.self_attention import EncoderBlock
from sequencing.self_attention_decoder import DecoderBlock

BLOCKS: tuple[type[nn.Module], ...] = (EncoderBlock, DecoderBlock)


def recompute(model: nn.Module) -> int:
    """Let the model's blocks of self-attention be computed again; how many they are."""
    blocks: list[Any] = [module for module in model.modules() if type(module) in BLOCKS]
    for block in blocks:
        block.forward = partial(again, block.forward)
    return len(blocks)


def again(forward: Callable[..., Any], *given: Any) -> Any:
    """What a block makes of what it is given, kept only where no gradient is asked for."""
    if not torch.is_grad_enabled():
        return forward(*given)
    return checkpoint(forward, *given, use_reentrant=False, preserve_rng_state=True)
