"""Where a decoder looks in one memory, in PyTorch: one class a scoring function. Twin of the ground floor's.

`prepare` does once a sentence what does not depend on the query; calling the attention answers any number of queries.
`begin` is what an attention remembers of its own past: it is given it back at each call, and `after` says what becomes
of it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sequencing.layers import Dropout, Linear, masked_softmax, wide
from sequencing.scan import linear_recurrence
from sequencing_np.attention import AttentionConfig, Past
from sequencing_np.attention_scores import Attended
from sequencing_np.errors import ConfigError
from sequencing_np.state import Memory, MemorySizes


def attend(scores: Tensor, memory: Memory, dropout: Dropout) -> Attended:  # (B, T, S), Memory -> Attended
    """Weights and weighted sum of the values."""
    alignment = masked_softmax(scores, memory.mask[:, None])
    return Attended(dropout(alignment) @ memory.values, alignment)


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


class AdditiveAttention(OneMemory):
    """v . tanh(W q + b + K): Bahdanau et al. 2015, appendix A.1.2."""

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

    def forward(self, query: Tensor, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, D), (B, T, S)
        meeting = self.query(query)[:, :, None] + memory.keys[:, None]  # (B, T, S, A)
        return attend(torch.tanh(meeting) @ self.energy, memory, self.dropout)


Attention = AdditiveAttention  # its name in the original framework


class CoverageAttention(OneMemory):
    """v . tanh(W q + b + K + w c): See et al. 2017, equations 10 and 11; c is how much each token was looked at."""

    def __init__(self, config: AttentionConfig, query_size: int, sizes: MemorySizes) -> None:
        super().__init__()
        keys_of_size(config, sizes)
        self.query = Linear(query_size, config.size)
        self.key = Linear(sizes.keys, config.size, bias=False) if config.project_keys else None
        self.energy = nn.Parameter(torch.empty(config.size).uniform_(-1, 1) * (3 / config.size) ** 0.5)
        self.coverage = nn.Parameter(torch.empty(config.size).uniform_(-1, 1) * (6 / (1 + config.size)) ** 0.5)
        self.dropout = Dropout(config.dropout)
        self.context_size = sizes.values

    def prepare(self, memory: Memory) -> Memory:
        return memory._replace(keys=self.key(memory.keys)) if self.key else memory

    def begin(self, memory: Memory) -> Past:
        return (memory.values.new_zeros(memory.mask.shape),)

    def after(self, past: Past, alignment: Tensor) -> Past:
        return (past[0] + alignment,)

    def forward(self, query: Tensor, memory: Memory, past: Tensor) -> Attended:
        # (B, T, Q), Memory, (B, T, S) -> (B, T, D), (B, T, S)
        meeting = self.query(query)[:, :, None] + memory.keys[:, None] + past[..., None] * self.coverage
        return attend(torch.tanh(meeting) @ self.energy, memory, self.dropout)


class MonotonicAttention(OneMemory):
    """From where it stopped before, a look goes on from token to token and stops at each with a chance of its own.

    Raffel et al. 2017: the alignment is how likely it stops at each token, equations 11 to 14. The chance is sigmoid of
    g v / |v| . tanh(W q + b + K) + r, section 2.4. With `hard` noise is added while training, section 2.5, and else it
    stops for certain where the chance is above one half, section 2.2. Where the paper finds nothing if it stops
    nowhere, it stops at the last token.
    """

    def __init__(self, config: AttentionConfig, query_size: int, sizes: MemorySizes) -> None:
        super().__init__()
        keys_of_size(config, sizes)
        self.query = Linear(query_size, config.size)
        self.key = Linear(sizes.keys, config.size, bias=False) if config.project_keys else None
        self.energy = nn.Parameter(torch.empty(config.size).uniform_(-1, 1) * (3 / config.size) ** 0.5)
        self.scale = nn.Parameter(torch.full((1,), config.size**-0.5))
        self.offset = nn.Parameter(torch.full((1,), -1.0))
        self.dropout = Dropout(config.dropout)
        self.context_size, self.hard = sizes.values, config.hard

    def prepare(self, memory: Memory) -> Memory:
        return memory._replace(keys=self.key(memory.keys)) if self.key else memory

    def begin(self, memory: Memory) -> Past:
        """It stands at the first token."""
        first = torch.arange(memory.mask.shape[1], device=memory.mask.device) == 0
        return ((memory.mask & first).to(memory.values.dtype),)

    def after(self, past: Past, alignment: Tensor) -> Past:
        return (alignment,)

    def forward(self, query: Tensor, memory: Memory, past: Tensor) -> Attended:
        # (B, T, Q), Memory, (B, T, S) -> (B, T, D), (B, T, S)
        meeting = self.query(query)[:, :, None] + memory.keys[:, None]
        scores = wide(torch.tanh(meeting) @ (self.scale * self.energy / self.energy.norm())) + self.offset
        if self.hard and self.training:
            scores = scores + torch.randn_like(scores)
        chance = (scores > 0).to(scores.dtype) if self.hard and not self.training else torch.sigmoid(scores)
        stop = torch.where(last_token(memory.mask)[:, None], 1.0, chance * memory.mask[:, None])
        alignment = stop * reaching(stop, past.to(stop.dtype))
        return Attended(self.dropout(alignment) @ memory.values, alignment)


def last_token(mask: Tensor) -> Tensor:  # (B, S) -> (B, S)
    """True at the last real token of each sentence."""
    return mask & ~torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1)


def reaching(stop: Tensor, before: Tensor) -> Tensor:  # (B, T, S), (B, T, S) -> (B, T, S)
    """How likely a look comes to each token: Raffel et al. 2017, equation 13."""
    going = torch.cat([torch.zeros_like(stop[..., :1]), 1 - stop[..., :-1]], dim=2)
    come = linear_recurrence(going.transpose(1, 2), before.transpose(1, 2), torch.zeros_like(before[..., 0]))
    return come.transpose(1, 2)


class DotAttention(OneMemory):
    """q . k: Luong et al. 2015, equation 8, "dot". Query and keys have one width."""

    def __init__(self, config: AttentionConfig, query_size: int, sizes: MemorySizes) -> None:
        super().__init__()
        same_width(query_size, sizes.keys, "dot")
        self.dropout = Dropout(config.dropout)
        self.context_size = sizes.values

    def forward(self, query: Tensor, memory: Memory) -> Attended:  # (B, T, K) -> (B, T, D), (B, T, S)
        return attend(query @ memory.keys.transpose(1, 2), memory, self.dropout)


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
        return attend(query @ memory.keys.transpose(1, 2), memory, self.dropout)


class GeneralAttention(OneMemory):
    """q W k: Luong et al. 2015, equation 8, "general"."""

    def __init__(self, config: AttentionConfig, query_size: int, sizes: MemorySizes) -> None:
        super().__init__()
        self.query = Linear(query_size, sizes.keys, bias=False)
        self.dropout = Dropout(config.dropout)
        self.context_size = sizes.values

    def forward(self, query: Tensor, memory: Memory) -> Attended:  # (B, T, Q) -> (B, T, D), (B, T, S)
        return attend(self.query(query) @ memory.keys.transpose(1, 2), memory, self.dropout)


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
        scores = self.query(query) @ memory.keys.transpose(1, 2) - 2 * (distance / self.window) ** 2
        alignment = masked_softmax(scores, memory.mask[:, None] & (distance.abs() <= self.window))
        return Attended(self.dropout(alignment) @ memory.values, alignment)


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
        keys = self.split(self.key(memory.keys)).transpose(2, 3)  # (B, H, D/H, S)
        return memory._replace(keys=keys, values=self.split(self.value(memory.values)))

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
