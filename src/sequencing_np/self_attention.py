"""Self-attention, the feed-forward layer, blocks of both, and the self-attention encoder, in NumPy.

Twin of `sequencing.self_attention`; the decoder stands in `self_attention_decoder`. Vaswani et al. 2017 with what came
after it: pre-norm, RMSNorm, gated feed-forward layers, relative and rotary positions, shared keys and values.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from sequencing_np.blocks import BlocksConfig, Scope
from sequencing_np.config import choose, require
from sequencing_np.growing import Growing
from sequencing_np.layers import ACTIVATIONS, NORMS, Linear, LookUpOp, key_map, masked_mean, masked_softmax, softmax
from sequencing_np.light_convolution import DynamicWeights, FixedWeights, LightConvolution
from sequencing_np.positions import POSITIONS, PositionSizes
from sequencing_np.state import Memory, MemorySizes

Weights = dict[str, Any]


@dataclass(frozen=True)
class SelfAttentionEncoderConfig:
    """SelfAttentionEncoder."""

    type: str = "self_attention"
    embedding_size: int = 256
    embedding_dropout: float = 0.0
    blocks: BlocksConfig = field(default_factory=BlocksConfig)
    mixer: str = "self_attention"  # a row of ENCODER_MIXERS: what the blocks know of the other words
    attention_key_size: int = 0  # width of the projected keys; 0: the keys are the outputs

    def __post_init__(self) -> None:
        require(self.embedding_size >= 1, f"embedding_size {self.embedding_size}: must be 1 or more")
        require(self.attention_key_size >= 0, f"attention_key_size {self.attention_key_size}: must be 0 or more")
        require(0 <= self.embedding_dropout < 1, f"embedding_dropout {self.embedding_dropout}: from 0 to below 1")
        choose(ENCODER_MIXERS, self.mixer, "mixer")
        self.blocks.require_attention(self.mixer, "encoder")
        kernel = self.blocks.kernel
        advice = f"must be odd, as many words on the left as on the right; set encoder.blocks.kernel = {kernel + 1}"
        require(self.mixer == "self_attention" or kernel % 2 == 1, f"kernel {kernel}: {advice}")


def make_norm(config: BlocksConfig, width: int, weights: Weights) -> Any:
    """The configured norm, of the right width."""
    norm = NORMS[config.norm](**weights)
    require(norm.weight.shape == (width,), f"a norm of shape {norm.weight.shape}, the width is {width}")
    return norm


class SelfAttention:
    """Multi-head attention of a sequence to itself: Vaswani et al. 2017, section 3.2.2. One product for q, k and v.

    Its cache are the keys and values so far, (R, G, N, D/H) each.
    """

    def __init__(
        self,
        config: BlocksConfig,
        width: int,
        *,
        input: Weights,
        output: Weights,
        query_norm: Weights | None = None,
        key_norm: Weights | None = None,
    ) -> None:
        self.heads, self.groups = config.heads, config.key_value_heads or config.heads
        self.size = width // config.heads
        self.input, self.output = Linear(**input), Linear(**output)
        units = (self.heads + 2 * self.groups) * self.size
        require(self.input.weight.shape == (width, units), f"mixer.input does not fit a width of {width}")
        require(self.output.weight.shape == (width, width), f"mixer.output does not fit a width of {width}")
        require((query_norm is not None) == config.query_key_norm, "the weights and blocks.query_key_norm contradict")
        norms = (query_norm, key_norm) if query_norm is not None and key_norm is not None else ()
        self.norms = [NORMS["rms_norm"](**weights) for weights in norms]
        require(len(self.norms) == 2 * config.query_key_norm, "the weights and blocks.query_key_norm contradict")
        for norm in self.norms:
            require(norm.weight.shape == (self.size,), f"a norm of shape {norm.weight.shape}, a head has {self.size}")

    def begin(self, x: np.ndarray) -> tuple[Growing, ...]:  # (R, ...) -> 2 x (R, G, 0, D/H)
        empty = Growing(np.zeros((len(x), self.groups, 0, self.size), dtype=x.dtype))
        return empty, empty

    def __call__(self, x: np.ndarray, scope: Scope, cache: Any) -> tuple[np.ndarray, Any]:  # (R, T, D) -> (R, T, D)
        rows, steps, width = x.shape
        parts = self.input(x).reshape(rows, steps, -1, self.size).swapaxes(1, 2)  # (R, H + 2 G, T, D/H)
        last = self.heads + self.groups
        query, key, value = parts[:, : self.heads], parts[:, self.heads : last], parts[:, last:]
        if self.norms:
            query, key = self.norms[0](query), self.norms[1](key)
        scheme, positions = scope.scheme, scope.positions
        query, key = scheme.turn(query, positions), scheme.turn(key, positions)
        keys, values = (own.longer(part, laid) for own, part in zip(cache, (key, value), strict=True))
        query = query * query.dtype.type(self.size**-0.5)
        query = query.reshape(rows, self.groups, -1, self.size)  # heads of one group under each other
        scores = (query @ keys.words.swapaxes(2, 3)).reshape(rows, self.heads, steps, -1)  # (R, H, T, N)
        places = np.arange(scores.shape[3])[None]
        if (bias := scheme.bias(positions, places)) is not None:
            scores = scores + bias.astype(scores.dtype)
        if scope.mask is None and steps == 1:  # the last token sees all
            weights = softmax(scores)
        else:
            seen = places <= positions[0, :, None] if scope.mask is None else scope.mask[:, None, None]
            weights = masked_softmax(scores, seen)
        weights = weights.reshape(rows, self.groups, -1, places.shape[1])
        context = (weights @ values.words).reshape(rows, self.heads, steps, self.size).swapaxes(1, 2)
        return self.output(context.reshape(rows, steps, width)), (keys, values)


def laid(words: np.ndarray, rows: np.ndarray | None, more: np.ndarray) -> np.ndarray:
    # (R, G, N, D), (M,) or None: all, (M, G, T, D) -> (M, G, N + T, D)
    """Some rows of the words, and more words behind them."""
    return np.concatenate((words if rows is None else words.take(rows, axis=0), more), axis=2)


ENCODER_MIXERS: dict[str, Any] = {
    "self_attention": SelfAttention,
    "light_convolution": partial(LightConvolution, weights_type=FixedWeights),
    "dynamic_convolution": partial(LightConvolution, weights_type=DynamicWeights),
}


class FeedForward:
    """Two maps with an activation between them: Vaswani et al. 2017, section 3.3; gated: Shazeer 2020, equation 6."""

    def __init__(self, config: BlocksConfig, *, inner: Weights, outer: Weights) -> None:
        self.gated, self.activation = config.gated, ACTIVATIONS[config.activation]
        self.inner, self.outer = Linear(**inner), Linear(**outer)
        units = config.feed_forward_size * (2 if config.gated else 1)
        require(self.inner.weight.shape[1] == units, f"feed_forward.inner has not {units} units")

    def __call__(self, x: np.ndarray) -> np.ndarray:  # (R, T, D) -> (R, T, D)
        inner = self.inner(x)
        if not self.gated:
            return self.outer(self.activation(inner))
        gate, value = np.split(inner, 2, axis=-1)
        return self.outer(self.activation(gate) * value)


class Residual:
    """The sum of a part of a block with its input, and the norm before or after it."""

    def __init__(self, config: BlocksConfig) -> None:
        self.pre = config.pre_norm

    def before(self, x: np.ndarray, norm: Any) -> np.ndarray:  # (R, T, D) -> (R, T, D)
        return norm(x) if self.pre else x

    def after(self, x: np.ndarray, output: np.ndarray, norm: Any) -> np.ndarray:  # (R, T, D), (R, T, D) -> (R, T, D)
        return x + output if self.pre else norm(x + output)


class EncoderBlock:
    """Self-attention or what stands in its place, then the feed-forward layer."""

    def __init__(
        self,
        config: BlocksConfig,
        width: int,
        mixer_type: Any,
        *,
        mixer: Weights,
        mixer_norm: Weights,
        feed_forward: Weights,
        feed_forward_norm: Weights,
    ) -> None:
        self.residual = Residual(config)
        self.mixer, self.feed_forward = mixer_type(config, width, **mixer), FeedForward(config, **feed_forward)
        self.mixer_norm = make_norm(config, width, mixer_norm)
        self.feed_forward_norm = make_norm(config, width, feed_forward_norm)

    def __call__(self, x: np.ndarray, scope: Scope) -> np.ndarray:  # (B, S, D) -> (B, S, D)
        before, after = self.residual.before, self.residual.after
        mixed, _ = self.mixer(before(x, self.mixer_norm), scope, self.mixer.begin(x))
        x = after(x, mixed, self.mixer_norm)
        return after(x, self.feed_forward(before(x, self.feed_forward_norm)), self.feed_forward_norm)


class SelfAttentionEncoder:
    """Blocks in which every token looks at all tokens; the summary is the mean of what they say."""

    def __init__(
        self,
        config: SelfAttentionEncoderConfig,
        *,
        embedding: Weights | None = None,  # an encoder inside another one is given vectors
        blocks: list[Weights],
        positions: Weights | None = None,
        norm: Weights | None = None,
        key: Weights | None = None,
    ) -> None:
        own, width = config.blocks, config.embedding_size
        require(len(blocks) == own.layers, f"{len(blocks)} layers of weights, {own.layers} configured")
        require((norm is not None) == own.pre_norm, "the weights and blocks.pre_norm contradict each other")
        own.head_size(width, "encoder")
        self.sizes = MemorySizes(config.attention_key_size or width, width, width)
        self.scale = width**0.5
        self.embedding: Any = LookUpOp(**embedding) if embedding else None
        self.positions = POSITIONS[own.positions](
            PositionSizes(width, own.heads, own.max_positions, False), **(positions or {})
        )
        kind = ENCODER_MIXERS[config.mixer]
        self.blocks = [EncoderBlock(own, width, kind, **weights) for weights in blocks]
        self.norm = make_norm(own, width, norm) if norm is not None else None
        self.key = key_map(config.attention_key_size, key)

    def __call__(self, source: np.ndarray, mask: np.ndarray) -> Memory:  # (B, S), (B, S) -> Memory
        x = self.embedding(source)
        return self.read(x * x.dtype.type(self.scale), mask, self.embedding.words(source))

    def read(self, x: np.ndarray, mask: np.ndarray, tokens: np.ndarray) -> Memory:  # (B, S, E), (B, S), (B, S)
        """What the encoder says of vectors, whatever they stand for."""
        places = np.arange(x.shape[1])[None]
        x, scope = self.positions.enter(x, places), Scope(self.positions, places, mask)
        for block in self.blocks:
            x = block(x, scope)
        values = (self.norm(x) if self.norm else x) * mask[..., None]
        return Memory(self.key(values) if self.key else values, values, mask, masked_mean(values, mask), tokens)
