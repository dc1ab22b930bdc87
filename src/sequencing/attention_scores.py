"""Where a decoder looks in one memory, in PyTorch: one class a scoring function. Twin of the ground floor's.

`prepare` does once a sentence what does not depend on the query; calling the attention answers any number of queries.
`begin` is what an attention remembers of its own past: it is given it back at each call, and `after` says what becomes
of it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sequencing.gathering import mixture, product
from sequencing.layers import Dropout, Linear, masked_softmax, wide
from sequencing_np.attention import AttentionConfig, Past
from sequencing_np.attention_scores import Attended
from sequencing_np.errors import ConfigError
from sequencing_np.state import Memory, MemorySizes


def attend(scores: Tensor, memory: Memory, dropout: Dropout) -> Attended:  # (B, T, S), Memory -> Attended
    """Weights and weighted sum of the values."""
    alignment = masked_softmax(scores, memory.mask[:, None])
    return Attended(mixture(dropout(alignment), memory.values), alignment)


def same_width(query: int, keys: int, name: str) -> None:
    """Dot products need one width on both sides."""
    if query != keys:
        raise ConfigError(
            f"{name} attention multiplies queries of width {query} with keys of width {keys}; "
            f"set encoder.attention_key_size = {query}, or use general attention"
        )


def keys_of_size(config: AttentionConfig, sizes: MemorySizes) -> None:
    """Keys that the attention does not project have its own width."""
    if not config.project_keys and sizes.keys != config.size:
        raise ConfigError(
            f"attention.size {config.size} with keys of width {sizes.keys} and project_keys = false; "
            f"set attention.size = {sizes.keys}"
        )


class OneMemory(nn.Module):
    """What an attention is unless it says otherwise: nothing is prepared, nothing remembered."""

    context_size: int  # the width of the context

    def prepare(self, memory: Memory) -> Memory:
        """What does not depend on the query, once a sentence."""
        return memory

    def begin(self, memory: Memory) -> Past:
        """The past before the first query."""
        return ()

    def after(self, past: Past, alignment: Tensor) -> Past:  # Past, (R, S) -> Past
        """The past after a query that was answered so."""
        return ()


class Meeting(OneMemory):
    """Where a query and a key meet in tanh(W q + b + K) of the attention's own width, which v makes a score."""

    def __init__(self, config: AttentionConfig, query_size: int, sizes: MemorySizes) -> None:
        super().__init__()
        keys_of_size(config, sizes)
        self.query = Linear(query_size, config.size)
        self.key = Linear(sizes.keys, config.size, bias=False) if config.project_keys else None
        self.energy = nn.Parameter(torch.empty(config.size).uniform_(-1, 1) * (3 / config.size) ** 0.5)
        self.dropout = Dropout(config.dropout)
        self.context_size = sizes.values

    def prepare(self, memory: Memory) -> Memory:
        return memory._replace(keys=self.key(memory.keys)) if self.key else memory


class AdditiveAttention(Meeting):
    """v . tanh(W q + b + K): Bahdanau et al. 2015, appendix A.1.2."""

    def forward(self, query: Tensor, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, D), (B, T, S)
        meeting = self.query(query)[:, :, None] + memory.keys[:, None]  # (B, T, S, A)
        return attend(torch.tanh(meeting) @ self.energy, memory, self.dropout)


Attention = AdditiveAttention  # its name in the original framework


class DotAttention(OneMemory):
    """q . k: Luong et al. 2015, equation 8, "dot". Query and keys have one width."""

    def __init__(self, config: AttentionConfig, query_size: int, sizes: MemorySizes) -> None:
        super().__init__()
        same_width(query_size, sizes.keys, "dot")
        self.dropout = Dropout(config.dropout)
        self.context_size = sizes.values

    def forward(self, query: Tensor, memory: Memory) -> Attended:  # (B, T, K) -> (B, T, D), (B, T, S)
        return attend(product(query, memory.keys), memory, self.dropout)


class ScaledDotAttention(OneMemory):
    """q . k / sqrt(K): Vaswani et al. 2017, equation 1. Query and keys have one width."""

    def __init__(self, config: AttentionConfig, query_size: int, sizes: MemorySizes) -> None:
        super().__init__()
        same_width(query_size, sizes.keys, "scaled_dot")
        self.dropout = Dropout(config.dropout)
        self.context_size = sizes.values

    def prepare(self, memory: Memory) -> Memory:
        return memory._replace(keys=memory.keys / memory.keys.shape[-1] ** 0.5)

    def forward(self, query: Tensor, memory: Memory) -> Attended:  # (B, T, K) -> (B, T, D), (B, T, S)
        return attend(product(query, memory.keys), memory, self.dropout)


class GeneralAttention(OneMemory):
    """q W k: Luong et al. 2015, equation 8, "general"."""

    def __init__(self, config: AttentionConfig, query_size: int, sizes: MemorySizes) -> None:
        super().__init__()
        self.query = Linear(query_size, sizes.keys, bias=False)
        self.dropout = Dropout(config.dropout)
        self.context_size = sizes.values

    def forward(self, query: Tensor, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, D), (B, T, S)
        return attend(product(self.query(query), memory.keys), memory, self.dropout)


class LocalAttention(OneMemory):
    """q W k within a window around a place that the query foretells: Luong et al. 2015, section 3.2, "local-p".

    The place is p = S sigmoid(v . tanh(W q)), equation 9; a Gaussian around it weighs what stands in the window,
    equation 10, with half the window's reach as deviation. Here weights add up to one again after it.
    """

    def __init__(self, config: AttentionConfig, query_size: int, sizes: MemorySizes) -> None:
        super().__init__()
        self.query = Linear(query_size, sizes.keys, bias=False)
        self.place = Linear(query_size, config.size, bias=False)
        self.energy = nn.Parameter(torch.empty(config.size).uniform_(-1, 1) * (3 / config.size) ** 0.5)
        self.dropout = Dropout(config.dropout)
        self.context_size, self.window = sizes.values, config.window

    def forward(self, query: Tensor, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, D), (B, T, S)
        foretold = wide(torch.tanh(self.place(query)) @ self.energy)
        place = memory.mask.sum(dim=1)[:, None] * torch.sigmoid(foretold)  # (B, T)
        distance = torch.arange(memory.mask.shape[1], device=place.device) - place[..., None]
        scores = product(self.query(query), memory.keys) - 2 * (distance / self.window) ** 2
        alignment = masked_softmax(scores, memory.mask[:, None] & (distance.abs() <= self.window))
        return Attended(mixture(self.dropout(alignment), memory.values), alignment)


class MultiHeadAttention(OneMemory):
    """Several scaled dot attentions side by side: Vaswani et al. 2017, section 3.2.2."""

    def __init__(self, config: AttentionConfig, query_size: int, sizes: MemorySizes) -> None:
        super().__init__()
        self.heads, self.scale = config.heads, config.head_size() ** -0.5
        self.query = Linear(query_size, config.size)
        self.key, self.value = Linear(sizes.keys, config.size), Linear(sizes.values, config.size)
        self.output = Linear(config.size, config.size)
        self.dropout = Dropout(config.dropout)
        self.context_size = config.size

    def split(self, x: Tensor) -> Tensor:  # (B, N, D) -> (B, H, N, D/H)
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def prepare(self, memory: Memory) -> Memory:
        keys, values = (self.split(part) for part in (self.key(memory.keys), self.value(memory.values)))
        keys = keys.transpose(2, 3)  # (B, H, D/H, S)
        if not torch.is_grad_enabled():  # many steps will look, and each would bring them in order
            keys, values = keys.contiguous(), values.contiguous()
        return memory._replace(keys=keys, values=values)

    def forward(self, query: Tensor, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, D), (B, T, S)
        scores = (self.split(self.query(query)) * self.scale) @ memory.keys
        weights = masked_softmax(scores, memory.mask[:, None, None])  # (B, H, T, S)
        context = (self.dropout(weights) @ memory.values).transpose(1, 2)
        return Attended(self.output(context.flatten(2)), weights.mean(dim=1))


class SummaryAttention(OneMemory):
    """No look at single tokens: the summary at every step, as in Cho et al. 2014. All real tokens weigh the same."""

    def __init__(self, config: AttentionConfig, query_size: int, sizes: MemorySizes) -> None:
        super().__init__()
        self.context_size = sizes.summary

    def prepare(self, memory: Memory) -> Memory:
        """The keys become the shares of all tokens, (B, S)."""
        even = memory.mask.to(memory.summary.dtype) / memory.mask.sum(dim=1, keepdim=True).clamp(min=1)
        return memory._replace(keys=even)

    def forward(self, query: Tensor, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, D), (B, T, S)
        shape, even = query.shape[:2], memory.keys
        context = memory.summary[:, None].expand(*shape, -1)
        return Attended(context, even[:, None].expand(*shape, -1))


EACH: dict[str, Any] = {  # what may look at each of several memories
    "additive": AdditiveAttention,
    "dot": DotAttention,
    "scaled_dot": ScaledDotAttention,
    "general": GeneralAttention,
    "local": LocalAttention,
    "multi_head": MultiHeadAttention,
    "summary": SummaryAttention,
}
