"""Attention to several memories of one sentence, in PyTorch. Twin of `sequencing_np.several_memories`.

The memories are the memory itself and its `others`, from fine to coarse: characters and words, or several texts. Each
has an attention of its own, a row of EACH (`coarsest` asks the last one alone); the alignment that is said is that of
the first memory, whose positions are the source's tokens. With one memory alone they work as well.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sequencing.attention_scores import EACH, AdditiveAttention
from sequencing.layers import Linear, masked_softmax
from sequencing_np.attention import AttentionConfig, Past
from sequencing_np.attention_scores import Attended
from sequencing_np.errors import ConfigError
from sequencing_np.several_memories import memories
from sequencing_np.state import Memory, MemorySizes


def all_sizes(config: AttentionConfig, sizes: MemorySizes) -> tuple[MemorySizes, ...]:
    """The widths of each memory; ConfigError where their keys are not projected and would have to agree."""
    found = (sizes, *sizes.others)
    widths = {each.keys for each in found}
    if EACH[config.each] is AdditiveAttention and not config.project_keys and len(widths) > 1:
        raise ConfigError(
            f"project_keys = false, and the memories' keys have the widths {sorted(widths)}; "
            f"set encoder.attention_key_size = {config.size}"
        )
    return found


class Attentions(nn.ModuleList):
    """One attention for each memory."""

    def contexts(self) -> list[int]:
        """The width of the context that each gives."""
        return [attention.context_size for attention in self]  # type: ignore[misc]

    def beside(self, memory: Memory) -> list[tuple[nn.Module, Memory]]:
        """Each attention with its memory, from fine to coarse."""
        return list(zip(self, memories(memory), strict=True))

    def prepare(self, memory: Memory) -> Memory:
        first, *others = (attention.prepare(each) for attention, each in self.beside(memory))  # type: ignore[operator]
        return first._replace(others=tuple(others))


class SeveralMemories(nn.Module):
    """Asks each memory with an attention of its own."""

    attentions: Attentions
    context_size: int  # the width of the context

    def prepare(self, memory: Memory) -> Memory:
        """Each memory as its own attention prepares it."""
        return self.attentions.prepare(memory)

    def begin(self, memory: Memory) -> Past:
        """The past before the first query: nothing."""
        return ()


class ParallelAttention(SeveralMemories):
    """Each memory is asked the same; the contexts stand side by side."""

    def __init__(self, config: AttentionConfig, query_size: int, sizes: MemorySizes) -> None:
        super().__init__()
        self.attentions = Attentions(EACH[config.each](config, query_size, each) for each in all_sizes(config, sizes))
        self.context_size = sum(self.attentions.contexts())

    def forward(self, query: Tensor, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, C), (B, T, S)
        said = [attention(query, each) for attention, each in self.attentions.beside(memory)]
        return Attended(torch.cat([each.context for each in said], dim=2), said[0].alignment)


AvAttention = ParallelAttention  # its name in the original framework


class CoarsestAttention(nn.Module):
    """The last of the memories alone, of words say and not of the characters that they are made of.

    Where there are others, the first memory is asked nothing: in the alignment all its real tokens weigh the same.
    """

    def __init__(self, config: AttentionConfig, query_size: int, sizes: MemorySizes) -> None:
        super().__init__()
        self.attention = EACH[config.each](config, query_size, (sizes, *sizes.others)[-1])
        self.context_size: int = self.attention.context_size
        self.blind = bool(sizes.others)  # to the source's tokens

    def prepare(self, memory: Memory) -> Memory:
        """The one memory that is asked, as its attention prepares it."""
        *others, last = memories(memory)
        last = self.attention.prepare(last)
        return memory._replace(others=(*others[1:], last)) if others else last

    def begin(self, memory: Memory) -> Past:
        """The past before the first query: nothing."""
        return ()

    def forward(self, query: Tensor, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, C), (B, T, S)
        answer: Attended = self.attention(query, memories(memory)[-1])
        if not memory.others:
            return answer
        even = query.new_zeros(*query.shape[:2], memory.mask.shape[1])
        return Attended(answer.context, masked_softmax(even, memory.mask[:, None]))


class HierarchicalAttention(SeveralMemories):
    """From the coarsest memory to the finest: what was found so far is a part of the next query.

    The top-down order of attention via attention (AAAI 2018): words first, then characters. The contexts stand side
    by side in the order in which they were found.
    """

    def __init__(self, config: AttentionConfig, query_size: int, sizes: MemorySizes) -> None:
        super().__init__()
        built: list[Any] = []
        for each in reversed(all_sizes(config, sizes)):
            found = sum(attention.context_size for attention in built)
            built.append(EACH[config.each](config, query_size + found, each))
        self.attentions = Attentions(reversed(built))
        self.context_size = sum(self.attentions.contexts())

    def forward(self, query: Tensor, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, C), (B, T, S)
        asked, alignment = query, None
        for attention, each in reversed(self.attentions.beside(memory)):
            context, alignment = attention(asked, each)
            asked = torch.cat([asked, context], dim=2)
        return Attended(asked[..., query.shape[2] :], alignment)


class GatedAttention(SeveralMemories):
    """Contexts of one width, mixed: each mapped by its own matrix, the shares a softmax of the query's linear image.

    A memory without any real token has no share.
    """

    def __init__(self, config: AttentionConfig, query_size: int, sizes: MemorySizes) -> None:
        super().__init__()
        self.attentions = Attentions(EACH[config.each](config, query_size, each) for each in all_sizes(config, sizes))
        self.gate = Linear(query_size, len(self.attentions))
        self.values = nn.ModuleList(Linear(width, config.size) for width in self.attentions.contexts())
        self.context_size = config.size

    def forward(self, query: Tensor, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, C), (B, T, S)
        said = [attention(query, each) for attention, each in self.attentions.beside(memory)]
        real = torch.stack([each.mask.any(dim=1) for each in memories(memory)], dim=1)  # (B, M)
        shares = masked_softmax(self.gate(query), real[:, None])  # (B, T, M)
        images = [own(each.context) for own, each in zip(self.values, said, strict=True)]
        context = sum(image * shares[..., [place]] for place, image in enumerate(images))
        return Attended(context, said[0].alignment)
