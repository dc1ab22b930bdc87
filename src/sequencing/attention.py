"""Attention in PyTorch: its table, and how a decoder looks. Twin of `sequencing_np.attention`.

`look` keeps what an attention remembers of its own past and folds the rows of a beam onto their sentence: a decoder
asks through it alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sequencing.attention_past import LOOKING_BACK
from sequencing.attention_scores import EACH
from sequencing.several_memories import CoarsestAttention, GatedAttention, HierarchicalAttention, ParallelAttention
from sequencing_np.attention import Looked, Past
from sequencing_np.state import Memory


def look(attention: Any, query: Tensor, memory: Memory, past: Past) -> Looked:  # (R, T, Q) -> (R, T, C), (R, T, S)
    """The attention's answer where each sentence of the memory owns R / B neighbouring rows of queries.

    Those rows are laid out as more queries of the one sentence, so the memory is never copied for a beam. An
    attention that looks back is asked step by step, any other one once.
    """
    rows, steps, _ = query.shape
    width = 1 if past else steps

    def fold(x: Tensor) -> Tensor:  # (R, ..., D) -> (B, N, D)
        return x.reshape(len(memory.mask), -1, x.shape[-1])

    said = []
    for t in range(0, steps, width):
        answer = attention(fold(query[:, t : t + width]), memory, *map(fold, past))
        context, alignment = (part.reshape(rows, width, -1) for part in answer)
        past = attention.after(past, alignment[:, 0]) if past else past
        said.append((context, alignment))
    context, alignment = (parts[0] if len(parts) == 1 else torch.cat(parts, dim=1) for parts in zip(*said, strict=True))
    return Looked(context, alignment, past)


ATTENTIONS: dict[str, Any] = {
    **EACH,
    **LOOKING_BACK,
    "parallel": ParallelAttention,
    "hierarchical": HierarchicalAttention,
    "gated": GatedAttention,
    "coarsest": CoarsestAttention,
}
