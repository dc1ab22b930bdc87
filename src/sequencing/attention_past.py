"""Attentions that know where they have looked, or how often, in PyTorch. Twin of the ground floor's.

`begin` is what is kept for each row before the first query, and `after` what becomes of it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sequencing.attention_scores import Meeting, OneMemory, attend
from sequencing.gathering import mixture, product
from sequencing.layers import Dropout, Linear, masked_softmax, wide
from sequencing.scan import linear_recurrence
from sequencing_np.attention import AttentionConfig, Past
from sequencing_np.attention_scores import Attended
from sequencing_np.state import Memory, MemorySizes


class CoverageAttention(Meeting):
    """v . tanh(W q + b + K + w c): See et al. 2017, equations 10 and 11; c is how much each token was looked at."""

    def __init__(self, config: AttentionConfig, query_size: int, sizes: MemorySizes) -> None:
        super().__init__(config, query_size, sizes)
        self.coverage = nn.Parameter(torch.empty(config.size).uniform_(-1, 1) * (6 / (1 + config.size)) ** 0.5)

    def begin(self, memory: Memory) -> Past:
        return (memory.values.new_zeros(memory.mask.shape),)

    def after(self, past: Past, alignment: Tensor) -> Past:
        return (past[0] + alignment,)

    def forward(self, query: Tensor, memory: Memory, past: Tensor) -> Attended:
        # (B, T, Q), Memory, (B, T, S) -> (B, T, D), (B, T, S)
        meeting = self.query(query)[:, :, None] + memory.keys[:, None] + past[..., None] * self.coverage
        return attend(torch.tanh(meeting) @ self.energy, memory, self.dropout)


class MonotonicAttention(Meeting):
    """From where it stopped before, a look goes on from token to token and stops at each with a chance of its own.

    Raffel et al. 2017: the alignment is how likely it stops at each token, equations 11 to 14. The chance is sigmoid of
    g v / |v| . tanh(W q + b + K) + r, section 2.4. With `hard` noise is added while training, section 2.5, and else it
    stops for certain where the chance is above one half, section 2.2. Where the paper finds nothing if it stops
    nowhere, it stops at the last token.
    """

    def __init__(self, config: AttentionConfig, query_size: int, sizes: MemorySizes) -> None:
        super().__init__(config, query_size, sizes)
        self.scale = nn.Parameter(torch.full((1,), config.size**-0.5))
        self.offset = nn.Parameter(torch.full((1,), -1.0))
        self.hard = config.hard

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
        return Attended(mixture(self.dropout(alignment), memory.values), alignment)


def last_token(mask: Tensor) -> Tensor:  # (B, S) -> (B, S)
    """True at the last real token of each sentence."""
    return mask & ~torch.cat([mask[:, 1:], torch.zeros_like(mask[:, :1])], dim=1)


def reaching(stop: Tensor, before: Tensor) -> Tensor:  # (B, T, S), (B, T, S) -> (B, T, S)
    """How likely a look comes to each token: Raffel et al. 2017, equation 13."""
    going = torch.cat([torch.zeros_like(stop[..., :1]), 1 - stop[..., :-1]], dim=2)
    come = linear_recurrence(going.transpose(1, 2), before.transpose(1, 2), torch.zeros_like(before[..., 0]))
    return come.transpose(1, 2)


class LocalMonotonicAttention(OneMemory):
    """q W k within a window around the place of the step itself: Luong et al. 2015, section 3.2, "local-m".

    The place is p = t, and equation 7 alone weighs what stands in the window. Past the end it is the last token.
    """

    def __init__(self, config: AttentionConfig, query_size: int, sizes: MemorySizes) -> None:
        super().__init__()
        self.query = Linear(query_size, sizes.keys, bias=False)
        self.dropout = Dropout(config.dropout)
        self.context_size, self.window = sizes.values, config.window

    def begin(self, memory: Memory) -> Past:
        """It stands at the first token."""
        return (torch.zeros(len(memory.mask), 1, dtype=torch.int64, device=memory.mask.device),)

    def after(self, past: Past, alignment: Tensor) -> Past:
        return (past[0] + 1,)

    def forward(self, query: Tensor, memory: Memory, past: Tensor) -> Attended:
        # (B, T, Q), Memory, (B, T, 1) -> (B, T, D), (B, T, S)
        place = torch.minimum(past, memory.mask.sum(dim=1)[:, None, None] - 1)
        distance = torch.arange(memory.mask.shape[1], device=place.device) - place  # (B, T, S)
        scores = product(self.query(query), memory.keys)
        alignment = masked_softmax(scores, memory.mask[:, None] & (distance.abs() <= self.window))
        return Attended(mixture(self.dropout(alignment), memory.values), alignment)


LOOKING_BACK: dict[str, Any] = {
    "coverage": CoverageAttention,
    "monotonic": MonotonicAttention,
    "local_m": LocalMonotonicAttention,
}
