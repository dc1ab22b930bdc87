"""Attention to several memories of one sentence, in NumPy. Twin of `sequencing.several_memories`.

The memories are the memory itself and its `others`, from fine to coarse: characters and words, or several texts. Each
has an attention of its own, a row of EACH (`coarsest` asks the last one alone); the alignment that is said is that of
the first memory, whose positions are the source's tokens. With one memory alone they work as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from typing import Any

import numpy as np

from sequencing_np.attention_scores import EACH, Attended, OneMemory, Past
from sequencing_np.config import require
from sequencing_np.layers import Linear, masked_softmax
from sequencing_np.state import Memory, MemorySizes

Weights = dict[str, Any]


def memories(memory: Memory) -> tuple[Memory, ...]:
    """The memory and the coarser ones of the same sentences."""
    return (memory, *memory.others)


def context_sizes(config: Any, sizes: MemorySizes) -> list[int]:
    """The width of the context that each memory gives."""
    return [EACH[config.each].context_size(config, each) for each in (sizes, *sizes.others)]


class Attentions:
    """One attention for each memory. Those without weights are all the same one."""

    def __init__(self, config: Any, weights: list[Weights] | None) -> None:
        row = EACH[config.each]
        self.rows = [row(config, **own) for own in weights] if weights is not None else None
        self.only = row(config) if weights is None else None

    def beside(self, memory: Memory) -> list[tuple[Any, Memory]]:
        """Each attention with its memory, from fine to coarse."""
        found = memories(memory)
        rows: Iterable[Any] = repeat(self.only, len(found)) if self.rows is None else self.rows
        return list(zip(rows, found, strict=True))

    def prepare(self, memory: Memory) -> Memory:
        first, *others = (attention.prepare(each) for attention, each in self.beside(memory))
        return first._replace(others=tuple(others))


class SeveralMemories:
    """Asks each memory with an attention of its own; the contexts stand side by side unless it says otherwise."""

    def __init__(self, config: Any, *, attentions: list[Weights] | None = None) -> None:
        self.attentions = Attentions(config, attentions)

    @staticmethod
    def context_size(config: Any, sizes: MemorySizes) -> int:
        """The width of the context."""
        return sum(context_sizes(config, sizes))

    def prepare(self, memory: Memory) -> Memory:
        """Each memory as its own attention prepares it."""
        return self.attentions.prepare(memory)

    def begin(self, memory: Memory) -> Past:
        """The past before the first query: nothing."""
        return ()


class ParallelAttention(SeveralMemories):
    """Each memory is asked the same; the contexts stand side by side."""

    def __call__(self, query: np.ndarray, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, C), (B, T, S)
        said = [attention(query, each) for attention, each in self.attentions.beside(memory)]
        return Attended(np.concatenate([each.context for each in said], axis=2), said[0].alignment)


AvAttention = ParallelAttention  # its name in the original framework


class CoarsestAttention(OneMemory):
    """The last of the memories alone, of words say and not of the characters that they are made of.

    Where there are others, the first memory is asked nothing: in the alignment all its real tokens weigh the same.
    """

    def __init__(self, config: Any, *, attention: Weights | None = None) -> None:
        self.attention = EACH[config.each](config, **(attention or {}))

    @staticmethod
    def context_size(config: Any, sizes: MemorySizes) -> int:
        """The width of the context."""
        return context_sizes(config, sizes)[-1]

    def prepare(self, memory: Memory) -> Memory:
        """The one memory that is asked, as its attention prepares it."""
        *others, last = memories(memory)
        last = self.attention.prepare(last)
        return memory._replace(others=(*others[1:], last)) if others else last

    def __call__(self, query: np.ndarray, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, C), (B, T, S)
        answer: Attended = self.attention(query, memories(memory)[-1])
        if not memory.others:
            return answer
        even = np.zeros((*query.shape[:2], memory.mask.shape[1]), dtype=query.dtype)
        return Attended(answer.context, masked_softmax(even, memory.mask[:, None]))


class HierarchicalAttention(SeveralMemories):
    """From the coarsest memory to the finest: what was found so far is a part of the next query.

    The top-down order of attention via attention (AAAI 2018): words first, then characters. The contexts stand side
    by side in the order in which they were found.
    """

    def __call__(self, query: np.ndarray, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, C), (B, T, S)
        asked, alignment = query, None
        for attention, each in reversed(self.attentions.beside(memory)):
            context, alignment = attention(asked, each)
            asked = np.concatenate([asked, context], axis=2)
        return Attended(asked[..., query.shape[2] :], alignment)


class GatedAttention(SeveralMemories):
    """Contexts of one width, mixed: each mapped by its own matrix, the shares a softmax of the query's linear image.

    A memory without any real token has no share.
    """

    def __init__(
        self, config: Any, *, gate: Weights, values: list[Weights], attentions: list[Weights] | None = None
    ) -> None:
        super().__init__(config, attentions=attentions)
        self.size = config.size
        self.gate, self.values = Linear(**gate), [Linear(**own) for own in values]
        widths = [own.weight.shape[1] for own in self.values]
        require(widths == [config.size] * len(widths), f"attention.size {config.size}, the weights have {widths}")
        require(self.gate.weight.shape[1] == len(widths), "the gate has not one unit for each memory")

    @staticmethod
    def context_size(config: Any, sizes: MemorySizes) -> int:
        return config.size

    def __call__(self, query: np.ndarray, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, C), (B, T, S)
        said = [attention(query, each) for attention, each in self.attentions.beside(memory)]
        real = np.stack([each.mask.any(axis=1) for each in memories(memory)], axis=1)  # (B, M)
        shares = masked_softmax(self.gate(query), real[:, None])  # (B, T, M)
        context = np.zeros((*query.shape[:2], self.size), dtype=query.dtype)
        for own, each, share in zip(self.values, said, np.moveaxis(shares, 2, 0), strict=True):
            context += own(each.context) * share[..., None]
        return Attended(context, said[0].alignment)
