"""Attention in NumPy: its configuration, its table, and how a decoder looks. Twin of `sequencing.attention`.

`look` keeps what an attention remembers of its own past and folds the rows of a beam onto their sentence: a decoder
asks through it alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sequencing_np.attention_past import LOOKING_BACK
from sequencing_np.attention_scores import EACH
from sequencing_np.attention_scores import Past as Past
from sequencing_np.config import choose, require
from sequencing_np.several_memories import CoarsestAttention, GatedAttention, HierarchicalAttention, ParallelAttention
from sequencing_np.state import Array, Memory, by_row, by_sentence


@dataclass(frozen=True)
class AttentionConfig:
    """Which attention, and how wide."""

    type: str = "general"  # a row of ATTENTIONS
    size: int = 256  # width in which query and keys meet (additive), or of all heads together (multi_head)
    heads: int = 4  # multi_head only
    project_keys: bool = True  # additive: project the memory's keys; False where the encoder has done it
    dropout: float = 0.0  # of the weights, while training
    each: str = "additive"  # what looks at each of several memories: a row of EACH
    window: int = 10  # local and local_m: tokens on each side of the place that are seen
    hard: bool = False  # monotonic only: one place, not chances of each; noise while training makes up for it

    def __post_init__(self) -> None:
        choose(ATTENTIONS, self.type, "type")
        require(
            self.each not in LOOKING_BACK,
            f"each = {self.each!r}: it looks back at alignments, and only those of the first memory are kept; "
            "set attention.each = additive",
        )
        choose(EACH, self.each, "each")
        several_widths = self.type == "hierarchical" and self.each in ("dot", "scaled_dot")
        require(
            not several_widths,
            f"hierarchical attention asks each memory with a longer query, {self.each} needs all of one width; "
            "set attention.each = general",
        )
        require(self.size >= 1 and self.heads >= 1, f"size {self.size}, heads {self.heads}: must be 1 or more")
        require(self.window >= 1, f"window {self.window}: must be 1 or more")
        require(0 <= self.dropout < 1, f"dropout {self.dropout}: must be from 0 to below 1")

    def head_size(self) -> int:
        """The width of one of several heads."""
        rest = self.size % self.heads
        advice = f"set attention.size = {self.size - rest + self.heads}"
        require(rest == 0, f"attention.size {self.size} does not divide into {self.heads} heads; {advice}")
        return self.size // self.heads


class Looked(NamedTuple):
    """What a decoder's look at the memory gives."""

    context: Array  # (R, T, C)
    alignment: Array  # (R, T, S)
    past: Past


def look(attention: Any, query: np.ndarray, memory: Memory, past: Past) -> Looked:  # (R, T, Q) -> (R, T, C), (R, T, S)
    """The attention's answer to each sentence's rows of queries: `by_sentence` makes them queries of the one sentence.

    An attention that looks back is asked step by step, any other one once.
    """
    steps, width = query.shape[1], 1 if past else query.shape[1]
    said = []
    for t in range(0, steps, width):
        asked = by_sentence(query[:, t : t + width], memory)
        answer = attention(asked, memory, *(by_sentence(part, memory) for part in past))
        context, alignment = (by_row(part, memory, width) for part in answer)
        past = attention.after(past, alignment[:, 0]) if past else past
        said.append((context, alignment))
    context, alignment = (
        parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1) for parts in zip(*said, strict=True)
    )
    return Looked(context, alignment, past)


ATTENTIONS: dict[str, Any] = {
    **EACH,
    **LOOKING_BACK,
    "parallel": ParallelAttention,
    "hierarchical": HierarchicalAttention,
    "gated": GatedAttention,
    "coarsest": CoarsestAttention,
}
