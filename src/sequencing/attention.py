"""Attention in PyTorch: its table, and how a decoder looks. Twin of `sequencing_np.attention`.

`look` keeps what an attention remembers of its own past and folds the rows of a beam onto their sentence: a decoder
asks through it alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sequencing.arrays import take
from sequencing.attention_past import LOOKING_BACK
from sequencing.attention_scores import EACH
from sequencing.several_memories import CoarsestAttention, GatedAttention, HierarchicalAttention, ParallelAttention
from sequencing_np.attention import Looked, Past
from sequencing_np.state import Memory, by_row, by_sentence


def look(attention: Any, query: Tensor, memory: Memory, past: Past) -> Looked:  # (R, T, Q) -> (R, T, C), (R, T, S)
    """The attention's answer to each sentence's rows of queries: `by_sentence` makes them queries of the one sentence.

    An attention that looks back is asked step by step, any other one once.
    """
    steps, width = query.shape[1], 1 if past else query.shape[1]
    said = []
    for t in range(0, steps, width):
        asked = by_sentence(query[:, t : t + width], memory, take)
        answer = attention(asked, memory, *(by_sentence(part, memory, take) for part in past))
        context, alignment = (by_row(part, memory, width, take) for part in answer)
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
