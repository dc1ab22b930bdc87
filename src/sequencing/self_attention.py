"""Self-attention, the feed-forward layer, blocks of both, and the self-attention encoder, in PyTorch.

Twin of `sequencing_np.self_attention`; the decoder stands in `self_attention_decoder`. Self-attention runs on PyTorch's
fused kernel.

Initialisation: matrices Glorot-uniform, each of query, key and value by itself. Pre-norm stacks divide the matrices
that write to the residual sum by sqrt(number of sublayers) (Radford et al. 2019, section 2.3); post-norm stacks divide
all matrices of layer l by sqrt(l) (Zhang et al. 2019, equation 8: depth-scaled).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from sequencing.layers import ACTIVATIONS, NORMS, Dropout, Linear, LookUpOp, masked_mean, short, softmax, unseen, wide
from sequencing.light_convolution import DynamicWeights, FixedWeights, LightConvolution
from sequencing.positions import POSITIONS
from sequencing_np.blocks import BlocksConfig, Scope
from sequencing_np.growing import Growing
from sequencing_np.positions import PositionSizes
from sequencing_np.self_attention import SelfAttentionEncoderConfig
from sequencing_np.state import Memory, MemorySizes


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself: Vaswani et al. 2017, section 3.2.2. One product for q, k and v.

    Its cache are the keys and values so far, (R, G, N, D/H) each.
    """

    def __init__(self, config: BlocksConfig, width: int) -> None:
        super().__init__()
        self.heads, self.groups = config.heads, config.key_value_heads or config.heads
        self.size, self.dropout = width // config.heads, Dropout(config.attention_dropout)
        self.input = Linear(width, (self.heads + 2 * self.groups) * self.size)
        for part in self.split(self.input.weight.detach()):
            nn.init.xavier_uniform_(part)
        self.output = Linear(width, width)
        self.query_norm = NORMS["rms_norm"](self.size) if config.query_key_norm else None
        self.key_norm = NORMS["rms_norm"](self.size) if config.query_key_norm else None

    def split(self, rows: Tensor) -> tuple[Tensor, ...]:  # ((H + 2 G) D/H, ...) -> queries, keys, values
        """The three parts of the input's rows."""
        return rows.split([self.heads * self.size] + 2 * [self.groups * self.size])

    def writers(self) -> list[Tensor]:
        """The matrices that write to the residual sum."""
        return [self.output.weight]

    def begin(self, x: Tensor) -> tuple[Growing, ...]:  # (R, ...) -> 2 x (R, G, 0, D/H)
        empty = Growing(x.new_zeros(len(x), self.groups, 0, self.size))
        return empty, empty

    def forward(self, x: Tensor, scope: Scope, cache: Any) -> tuple[Tensor, Any]:  # (R, T, D) -> (R, T, D)
        parts = self.input(x).unflatten(2, (-1, self.size)).transpose(1, 2)  # (R, H + 2 G, T, D/H)
        query, key, value = parts.split([self.heads, self.groups, self.groups], dim=1)
        if self.query_norm and self.key_norm:
            query, key = self.query_norm(query), self.key_norm(key)
        query, key = (scope.scheme.turn(part, scope.positions) for part in (query, key))
        keys, values = (own.longer(part, laid) for own, part in zip(cache, (key, value), strict=True))
        context = self.look(query, keys.words, values.words, visible(scope, keys.count, query))
        return self.output(context.transpose(1, 2).flatten(2)), (keys, values)

    def look(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        # (R, H, T, D), (R, G, N, D), (R, G, N, D), (..., T, N) -> (R, H, T, D)
        """PyTorch's fused kernel; on a CPU step by step where it is slow: short sequences are learnt from, one asks."""
        learnt = torch.is_grad_enabled()
        if query.device.type == "cpu" and (learnt or query.shape[2] == 1) and query.shape[2] * key.shape[2] <= SHORT:
            return by_steps(query, key, value, mask, self.dropout)
        share = self.dropout.share if self.training else 0.0
        return scaled_dot_product_attention(query, key, value, mask, share, enable_gqa=self.groups < self.heads)


def laid(words: Tensor, rows: Tensor | None, more: Tensor) -> Tensor:
    # (R, G, N, D), (M,) or None: all, (M, G, T, D) -> (M, G, N + T, D)
    """Some rows of the words, and more words behind them: where one asks, both straight to their places."""
    if rows is None or torch.is_grad_enabled():
        return torch.cat([words if rows is None else words.index_select(0, rows), more], dim=2)
    count = words.shape[2]
    long = more.new_empty(*more.shape[:2], count + more.shape[2], more.shape[3])
    torch.index_select(words, 0, rows, out=long[:, :, :count])
    long[:, :, count:] = more
    return long


SHORT = 128 * 128  # queries times keys: more of them are better not stored
NEVER = -1e30  # instead of minus infinity, of which rows that see nothing would make NaN


def by_steps(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: Dropout) -> Tensor:
    # (R, H, T, D), (R, G, N, D), (R, G, N, D), (..., T, N) -> (R, H, T, D)
    """Scores, softmax, dropout, sum; the queries that share a head of keys are taken together."""
    (rows, heads, length, size), groups = query.shape, key.shape[1]
    query = (query * size**-0.5).reshape(rows, groups, -1, size)
    scores = wide(query @ key.transpose(2, 3)).view(rows, heads, length, -1)
    if mask is not None:
        bias = unseen(mask, scores.dtype) if mask.dtype == torch.bool else mask.to(scores.dtype).clamp(min=NEVER)
        scores = scores + bias
    weights = dropout(softmax(scores))
    return (weights.reshape(rows, groups, -1, weights.shape[-1]) @ value).view(rows, heads, length, size)


def visible(scope: Scope, count: int, query: Tensor) -> Tensor | None:  # N, (R, H, T, D) -> (1 or B, 1 or H, T, N)
    """Which of the N keys a query sees, as true and false, or as a bias that is -inf where it must not look.

    None: all of them, as one more word does.
    """
    places = torch.arange(count, device=query.device)[None]
    if scope.mask is None and query.shape[2] == 1:
        bias = scope.scheme.bias(scope.positions, places)
        return None if bias is None else bias.to(query.dtype)
    if scope.mask is None:
        seen = (places <= scope.positions[0, :, None])[None, None]
    else:
        seen = scope.mask[:, None, None]
    bias = scope.scheme.bias(scope.positions, places)
    return seen if bias is None else bias.to(query.dtype).masked_fill(~seen, -torch.inf)


ENCODER_MIXERS: dict[str, Any] = {
    "self_attention": SelfAttention,
    "light_convolution": partial(LightConvolution, weights_type=FixedWeights),
    "dynamic_convolution": partial(LightConvolution, weights_type=DynamicWeights),
}


class FeedForward(nn.Module):
    """Two maps with an activation between them: Vaswani et al. 2017, section 3.3; gated: Shazeer 2020, equation 6."""

    def __init__(self, config: BlocksConfig, width: int) -> None:
        super().__init__()
        self.gated, self.activation = config.gated, ACTIVATIONS[config.activation]
        self.inner = Linear(width, config.feed_forward_size * (2 if config.gated else 1))
        for part in self.inner.weight.detach().split(config.feed_forward_size):
            nn.init.xavier_uniform_(part)
        self.inner.chained = True
        self.outer = Linear(config.feed_forward_size, width)
        self.dropout = Dropout(config.activation_dropout)

    def forward(self, x: Tensor) -> Tensor:  # (R, T, D) -> (R, T, D)
        inner = self.inner(x)
        if not self.gated:
            return self.outer(self.dropout(self.activation(inner)))
        gate, value = inner.chunk(2, dim=-1)
        return self.outer(self.dropout(self.activation(gate) * value))


class Residual(nn.Module):
    """The sum of a part of a block, after dropout, with its input, and the norm before or after it."""

    def __init__(self, config: BlocksConfig) -> None:
        super().__init__()
        self.pre, self.dropout = config.pre_norm, Dropout(config.dropout)

    def before(self, x: Tensor, norm: nn.Module) -> Tensor:  # (R, T, D) -> (R, T, D)
        return norm(x) if self.pre else x

    def after(self, x: Tensor, output: Tensor, norm: nn.Module) -> Tensor:  # (R, T, D), (R, T, D) -> (R, T, D)
        output = x + self.dropout(output)
        return output if self.pre else norm(output)


class EncoderBlock(nn.Module):
    """Self-attention or what stands in its place, then the feed-forward layer."""

    def __init__(self, config: BlocksConfig, width: int, mixer_type: Any) -> None:
        super().__init__()
        self.residual = Residual(config)
        self.mixer, self.mixer_norm = mixer_type(config, width), NORMS[config.norm](width)
        self.feed_forward, self.feed_forward_norm = FeedForward(config, width), NORMS[config.norm](width)

    def writers(self) -> list[Tensor]:
        """The matrices that write to the residual sum."""
        return [*self.mixer.writers(), self.feed_forward.outer.weight]

    def forward(self, x: Tensor, scope: Scope) -> Tensor:  # (B, S, D) -> (B, S, D)
        before, after = self.residual.before, self.residual.after
        mixed, _ = self.mixer(before(x, self.mixer_norm), scope, self.mixer.begin(x))
        x = after(x, mixed, self.mixer_norm)
        return after(x, self.feed_forward(before(x, self.feed_forward_norm)), self.feed_forward_norm)


def scale_by_depth(blocks: Any, pre_norm: bool) -> None:
    """The initialisation's dependence on depth, as the head of this file says."""
    sublayers = sum(len(block.writers()) for block in blocks)
    block: Any
    for depth, block in enumerate(blocks, start=1):
        matrices = block.writers() if pre_norm else [weight for weight in block.parameters() if weight.dim() == 2]
        for weight in matrices:
            weight.data /= (sublayers if pre_norm else depth) ** 0.5


class SelfAttentionEncoder(nn.Module):
    """Blocks in which every token looks at all tokens; the summary is the mean of what they say."""

    def __init__(self, config: SelfAttentionEncoderConfig, embedding: LookUpOp | None) -> None:
        super().__init__()
        own, width = config.blocks, config.embedding_size
        own.head_size(width, "encoder")
        self.sizes = MemorySizes(config.attention_key_size or width, width, width)
        self.scale, self.drop = width**0.5, own.layer_drop
        self.embedding: Any = embedding  # None: an encoder inside another one is given vectors
        self.positions = POSITIONS[own.positions](PositionSizes(width, own.heads, own.max_positions, False))
        self.dropout = Dropout(own.dropout)
        self.blocks = nn.ModuleList(EncoderBlock(own, width, ENCODER_MIXERS[config.mixer]) for _ in range(own.layers))
        scale_by_depth(self.blocks, own.pre_norm)
        self.norm = NORMS[own.norm](width) if own.pre_norm else None
        self.key = Linear(width, config.attention_key_size) if config.attention_key_size else None

    def forward(self, source: Tensor, mask: Tensor) -> Memory:  # (B, S), (B, S) -> Memory
        return self.read(self.embedding(source) * self.scale, mask, self.embedding.words(source))

    def read(self, x: Tensor, mask: Tensor, tokens: Tensor) -> Memory:  # (B, S, E), (B, S), (B, S) -> Memory
        """What the encoder says of vectors, whatever they stand for."""
        places = torch.arange(x.shape[1], device=x.device)[None]
        x, scope = self.dropout(self.positions.enter(short(x), places)), Scope(self.positions, places, mask)
        for block in self.blocks:
            if not (self.training and self.drop and torch.rand(()) < self.drop):
                x = block(x, scope)
        values = (self.norm(x) if self.norm else x) * mask[..., None].to(x.dtype)
        return Memory(self.key(values) if self.key else values, values, mask, masked_mean(values, mask), tokens)
