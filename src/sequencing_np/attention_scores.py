"""Where a decoder looks in one memory, in NumPy: one class a scoring function. Twin of `sequencing.attention_scores`.

`prepare` does once a sentence what does not depend on the query; calling the attention answers any number of queries.
`begin` is what an attention remembers of its own past: it is given it back at each call, and `after` says what becomes
of it. `config` is an AttentionConfig; that one stands above, beside the table of all attentions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sequencing_np.config import require
from sequencing_np.layers import Linear, masked_softmax, sigmoid
from sequencing_np.state import Array, Memory, MemorySizes

Weights = dict[str, Any]


class Attended(NamedTuple):
    """What an attention answers to T queries."""

    context: Array  # (B, T, C)
    alignment: Array  # (B, T, S)  sums to 1 over the real tokens; the mean of the heads where there are several


Past = tuple[Array, ...]  # of an attention that looks back: (R, ...), what it is to know of its looks; of others: ()


def attend(scores: np.ndarray, memory: Memory) -> Attended:  # (B, T, S), Memory -> Attended
    """Weights and weighted sum of the values."""
    alignment = masked_softmax(scores, memory.mask[:, None])
    return Attended(alignment @ memory.values, alignment)


class OneMemory:
    """What an attention is unless it says otherwise: nothing prepared or remembered, and a context of the values."""

    @staticmethod
    def context_size(config: Any, sizes: MemorySizes) -> int:
        """The width of the context."""
        return sizes.values

    def prepare(self, memory: Memory) -> Memory:
        """What does not depend on the query, once a sentence."""
        return memory

    def begin(self, memory: Memory) -> Past:
        """The past before the first query."""
        return ()

    def after(self, past: Past, alignment: np.ndarray) -> Past:  # Past, (R, S) -> Past
        """The past after a query that was answered so."""
        return ()


def projected_keys(config: Any, key: Weights | None) -> Linear | None:
    """The map of the keys to the attention's own width; none where the encoder has done it."""
    require((key is not None) == config.project_keys, "the weights and attention.project_keys contradict")
    projected = Linear(**key, bias=None) if key is not None else None
    require(projected is None or projected.weight.shape[1] == config.size, "attention.key does not fit its size")
    return projected


class Meeting(OneMemory):
    """Where a query and a key meet in tanh(W q + b + K) of the attention's own width, which v makes a score."""

    def __init__(self, config: Any, *, query: Weights, energy: np.ndarray, key: Weights | None = None) -> None:
        require(energy.shape == (config.size,), f"attention.size {config.size}, the weights have {energy.shape}")
        self.query, self.energy = Linear(**query), energy
        self.key = projected_keys(config, key)

    def prepare(self, memory: Memory) -> Memory:
        return memory._replace(keys=self.key(memory.keys)) if self.key else memory


class AdditiveAttention(Meeting):
    """v . tanh(W q + b + K): Bahdanau et al. 2015, appendix A.1.2."""

    def __call__(self, query: np.ndarray, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, D), (B, T, S)
        meeting = self.query(query)[:, :, None] + memory.keys[:, None]  # (B, T, S, A)
        return attend(np.tanh(meeting, out=meeting) @ self.energy, memory)


Attention = AdditiveAttention  # its name in the original framework


class DotAttention(OneMemory):
    """q . k: Luong et al. 2015, equation 8, "dot". Query and keys have one width."""

    def __init__(self, config: Any) -> None:
        pass

    def __call__(self, query: np.ndarray, memory: Memory) -> Attended:  # (B, T, K) -> (B, T, D), (B, T, S)
        return attend(query @ memory.keys.swapaxes(1, 2), memory)


class ScaledDotAttention(OneMemory):
    """q . k / sqrt(K): Vaswani et al. 2017, equation 1. Query and keys have one width."""

    def __init__(self, config: Any) -> None:
        pass

    def prepare(self, memory: Memory) -> Memory:
        return memory._replace(keys=memory.keys / memory.keys.dtype.type(memory.keys.shape[-1] ** 0.5))

    def __call__(self, query: np.ndarray, memory: Memory) -> Attended:  # (B, T, K) -> (B, T, D), (B, T, S)
        return attend(query @ memory.keys.swapaxes(1, 2), memory)


class GeneralAttention(OneMemory):
    """q W k: Luong et al. 2015, equation 8, "general"."""

    def __init__(self, config: Any, *, query: Weights) -> None:
        self.query = Linear(**query, bias=None)

    def __call__(self, query: np.ndarray, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, D), (B, T, S)
        return attend(self.query(query) @ memory.keys.swapaxes(1, 2), memory)


class LocalAttention(OneMemory):
    """q W k within a window around a place that the query foretells: Luong et al. 2015, section 3.2, "local-p".

    The place is p = S sigmoid(v . tanh(W q)), equation 9; a Gaussian around it weighs what stands in the window,
    equation 10, with half the window's reach as deviation. Here weights add up to one again after it.
    """

    def __init__(self, config: Any, *, query: Weights, place: Weights, energy: np.ndarray) -> None:
        self.query, self.place, self.energy = Linear(**query, bias=None), Linear(**place, bias=None), energy
        self.window = config.window
        shapes = energy.shape, self.place.weight.shape[1:]
        require(shapes == ((config.size,),) * 2, f"attention.size {config.size}, the weights have {shapes}")

    def __call__(self, query: np.ndarray, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, D), (B, T, S)
        count = memory.mask.sum(axis=1)[:, None].astype(query.dtype)
        place = count * sigmoid(np.tanh(self.place(query)) @ self.energy)  # (B, T)
        distance = np.arange(memory.mask.shape[1], dtype=query.dtype) - place[..., None]
        scores = self.query(query) @ memory.keys.swapaxes(1, 2) - 2 * (distance / self.window) ** 2
        alignment = masked_softmax(scores, memory.mask[:, None] & (abs(distance) <= self.window))
        return Attended(alignment @ memory.values, alignment)


class MultiHeadAttention(OneMemory):
    """Several scaled dot attentions side by side: Vaswani et al. 2017, section 3.2.2."""

    def __init__(self, config: Any, *, query: Weights, key: Weights, value: Weights, output: Weights) -> None:
        self.heads, self.scale = config.heads, config.head_size() ** -0.5
        self.query, self.key, self.value, self.output = (Linear(**w) for w in (query, key, value, output))

    def split(self, x: np.ndarray) -> np.ndarray:  # (B, N, D) -> (B, H, N, D/H)
        return x.reshape(*x.shape[:2], self.heads, -1).swapaxes(1, 2)

    @staticmethod
    def context_size(config: Any, sizes: MemorySizes) -> int:
        return config.size

    def prepare(self, memory: Memory) -> Memory:
        keys = np.ascontiguousarray(self.split(self.key(memory.keys)).swapaxes(2, 3))  # (B, H, D/H, S)
        return memory._replace(keys=keys, values=self.split(self.value(memory.values)))

    def __call__(self, query: np.ndarray, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, D), (B, T, S)
        heads = self.split(self.query(query))
        heads *= heads.dtype.type(self.scale)
        weights = masked_softmax(heads @ memory.keys, memory.mask[:, None, None])  # (B, H, T, S)
        context = (weights @ memory.values).swapaxes(1, 2)
        return Attended(self.output(context.reshape(*context.shape[:2], -1)), weights.sum(axis=1) / self.heads)


class SummaryAttention(OneMemory):
    """No look at single tokens: the summary at every step, as in Cho et al. 2014. All real tokens weigh the same."""

    def __init__(self, config: Any) -> None:
        pass

    @staticmethod
    def context_size(config: Any, sizes: MemorySizes) -> int:
        return sizes.summary

    def prepare(self, memory: Memory) -> Memory:
        """The keys become the shares of all tokens, (B, S)."""
        even = memory.mask / np.maximum(memory.mask.sum(axis=1, keepdims=True), 1)
        return memory._replace(keys=even.astype(memory.summary.dtype))

    def __call__(self, query: np.ndarray, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, D), (B, T, S)
        shape, even = query.shape[:2], memory.keys
        alignment = np.broadcast_to(even[:, None], (*shape, even.shape[1]))
        return Attended(np.broadcast_to(memory.summary[:, None], (*shape, memory.summary.shape[1])), alignment)


EACH: dict[str, Any] = {  # what may look at each of several memories
    "additive": AdditiveAttention,
    "dot": DotAttention,
    "scaled_dot": ScaledDotAttention,
    "general": GeneralAttention,
    "local": LocalAttention,
    "multi_head": MultiHeadAttention,
    "summary": SummaryAttention,
}
