"""Attention in NumPy: where a decoder looks, one class a scoring function. Twin of `sequencing.attention`.

`prepare` does once a sentence what does not depend on the query; calling the attention answers any number of queries.
`begin` is what an attention remembers of its own past, `look` keeps it: a decoder asks through `look` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from sequencing_np.config import choose, require
from sequencing_np.layers import Linear, masked_softmax
from sequencing_np.state import Array, Memory, MemorySizes

Weights = dict[str, Any]


@dataclass(frozen=True)
class AttentionConfig:
    """Which attention, and how wide."""

    type: str = "general"  # a row of ATTENTIONS
    size: int = 256  # width in which query and keys meet (additive), or of all heads together (multi_head)
    heads: int = 4  # multi_head only
    project_keys: bool = True  # additive: project the memory's keys; False where the encoder has done it
    dropout: float = 0.0  # of the weights, while training

    def __post_init__(self) -> None:
        choose(ATTENTIONS, self.type, "type")
        require(self.size >= 1 and self.heads >= 1, f"size {self.size}, heads {self.heads}: must be 1 or more")
        require(0 <= self.dropout < 1, f"dropout {self.dropout}: must be from 0 to below 1")

    def head_size(self) -> int:
        """The width of one of several heads."""
        rest = self.size % self.heads
        advice = f"set attention.size = {self.size - rest + self.heads}"
        require(rest == 0, f"attention.size {self.size} does not divide into {self.heads} heads; {advice}")
        return self.size // self.heads


class Attended(NamedTuple):
    """What an attention answers to T queries."""

    context: Array  # (B, T, C)
    alignment: Array  # (B, T, S)  sums to 1 over the real tokens; the mean of the heads where there are several


Past = tuple[Array, ...]  # of an attention that looks back: (R, S), the sum of its alignments so far; of others: ()


class Looked(NamedTuple):
    """What a decoder's look at the memory gives."""

    context: Array  # (R, T, C)
    alignment: Array  # (R, T, S)
    past: Past


def look(attention: Any, query: np.ndarray, memory: Memory, past: Past) -> Looked:  # (R, T, Q) -> (R, T, C), (R, T, S)
    """The attention's answer where each sentence of the memory owns R / B neighbouring rows of queries.

    Those rows are laid out as more queries of the one sentence, so the memory is never copied for a beam. An
    attention that looks back is asked step by step, any other one once.
    """
    rows, steps, _ = query.shape
    width = 1 if past else steps

    def fold(x: np.ndarray) -> np.ndarray:  # (R, ..., D) -> (B, N, D)
        return x.reshape(len(memory.mask), -1, x.shape[-1])

    said = []
    for t in range(0, steps, width):
        answer = attention(fold(query[:, t : t + width]), memory, *map(fold, past))
        context, alignment = (part.reshape(rows, width, -1) for part in answer)
        past = tuple(before + alignment[:, 0] for before in past)
        said.append((context, alignment))
    context, alignment = (
        parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1) for parts in zip(*said, strict=True)
    )
    return Looked(context, alignment, past)


def attend(scores: np.ndarray, memory: Memory) -> Attended:  # (B, T, S), Memory -> Attended
    """Weights and weighted sum of the values."""
    alignment = masked_softmax(scores, memory.mask[:, None])
    return Attended(alignment @ memory.values, alignment)


class AdditiveAttention:
    """v . tanh(W q + b + K): Bahdanau et al. 2015, appendix A.1.2."""

    def __init__(
        self, config: AttentionConfig, *, query: Weights, energy: np.ndarray, key: Weights | None = None
    ) -> None:
        require((key is not None) == config.project_keys, "the weights and attention.project_keys contradict")
        require(energy.shape == (config.size,), f"attention.size {config.size}, the weights have {energy.shape}")
        self.query, self.energy = Linear(**query), energy
        self.key = Linear(**key, bias=None) if key is not None else None
        require(self.key is None or self.key.weight.shape[1] == config.size, "attention.key does not fit its size")

    @staticmethod
    def context_size(config: AttentionConfig, sizes: MemorySizes) -> int:
        return sizes.values

    def prepare(self, memory: Memory) -> Memory:
        return memory._replace(keys=self.key(memory.keys)) if self.key else memory

    def begin(self, memory: Memory) -> Past:
        return ()

    def __call__(self, query: np.ndarray, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, D), (B, T, S)
        meeting = self.query(query)[:, :, None] + memory.keys[:, None]  # (B, T, S, A)
        return attend(np.tanh(meeting, out=meeting) @ self.energy, memory)


Attention = AdditiveAttention  # its name in the original framework


class DotAttention:
    """q . k: Luong et al. 2015, equation 8, "dot". Query and keys have one width."""

    def __init__(self, config: AttentionConfig) -> None:
        pass

    @staticmethod
    def context_size(config: AttentionConfig, sizes: MemorySizes) -> int:
        return sizes.values

    def prepare(self, memory: Memory) -> Memory:
        return memory

    def begin(self, memory: Memory) -> Past:
        return ()

    def __call__(self, query: np.ndarray, memory: Memory) -> Attended:  # (B, T, K) -> (B, T, D), (B, T, S)
        return attend(query @ memory.keys.swapaxes(1, 2), memory)


class ScaledDotAttention:
    """q . k / sqrt(K): Vaswani et al. 2017, equation 1. Query and keys have one width."""

    def __init__(self, config: AttentionConfig) -> None:
        pass

    @staticmethod
    def context_size(config: AttentionConfig, sizes: MemorySizes) -> int:
        return sizes.values

    def prepare(self, memory: Memory) -> Memory:
        return memory._replace(keys=memory.keys / memory.keys.dtype.type(memory.keys.shape[-1] ** 0.5))

    def begin(self, memory: Memory) -> Past:
        return ()

    def __call__(self, query: np.ndarray, memory: Memory) -> Attended:  # (B, T, K) -> (B, T, D), (B, T, S)
        return attend(query @ memory.keys.swapaxes(1, 2), memory)


class GeneralAttention:
    """q W k: Luong et al. 2015, equation 8, "general"."""

    def __init__(self, config: AttentionConfig, *, query: Weights) -> None:
        self.query = Linear(**query, bias=None)

    @staticmethod
    def context_size(config: AttentionConfig, sizes: MemorySizes) -> int:
        return sizes.values

    def prepare(self, memory: Memory) -> Memory:
        return memory

    def begin(self, memory: Memory) -> Past:
        return ()

    def __call__(self, query: np.ndarray, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, D), (B, T, S)
        return attend(self.query(query) @ memory.keys.swapaxes(1, 2), memory)


class MultiHeadAttention:
    """Several scaled dot attentions side by side: Vaswani et al. 2017, section 3.2.2."""

    def __init__(
        self, config: AttentionConfig, *, query: Weights, key: Weights, value: Weights, output: Weights
    ) -> None:
        self.heads, self.scale = config.heads, config.head_size() ** -0.5
        self.query, self.key, self.value, self.output = (Linear(**w) for w in (query, key, value, output))

    def split(self, x: np.ndarray) -> np.ndarray:  # (B, N, D) -> (B, H, N, D/H)
        return x.reshape(*x.shape[:2], self.heads, -1).swapaxes(1, 2)

    @staticmethod
    def context_size(config: AttentionConfig, sizes: MemorySizes) -> int:
        return config.size

    def prepare(self, memory: Memory) -> Memory:
        keys = np.ascontiguousarray(self.split(self.key(memory.keys)).swapaxes(2, 3))  # (B, H, D/H, S)
        return memory._replace(keys=keys, values=self.split(self.value(memory.values)))

    def begin(self, memory: Memory) -> Past:
        return ()

    def __call__(self, query: np.ndarray, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, D), (B, T, S)
        heads = self.split(self.query(query))
        heads *= heads.dtype.type(self.scale)
        weights = masked_softmax(heads @ memory.keys, memory.mask[:, None, None])  # (B, H, T, S)
        context = (weights @ memory.values).swapaxes(1, 2)
        return Attended(self.output(context.reshape(*context.shape[:2], -1)), weights.mean(axis=1))


ATTENTIONS: dict[str, Any] = {
    "additive": AdditiveAttention,
    "dot": DotAttention,
    "scaled_dot": ScaledDotAttention,
    "general": GeneralAttention,
    "multi_head": MultiHeadAttention,
}
