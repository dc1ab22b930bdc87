"""The self-attention decoder, in NumPy. Twin of `sequencing.self_attention_decoder`.

Its blocks mix what was said so far (by self-attention, or by a convolution or a recurrent cell, whose caches do not
grow), look at the memory, and think. Any attention serves for the look. It does not know who chose the tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from sequencing_np.arrays import Arrays, NumpyArrays
from sequencing_np.attention import ATTENTIONS, AttentionConfig, Past, look
from sequencing_np.blocks import BlocksConfig, Scope
from sequencing_np.cells import CELLS
from sequencing_np.config import choose, require
from sequencing_np.head import HEADS, Heard, Speaking, make_copy, make_head
from sequencing_np.layers import Linear, LookUpOp
from sequencing_np.positions import POSITIONS, PositionSizes
from sequencing_np.self_attention import ENCODER_MIXERS, FeedForward, Residual, make_norm
from sequencing_np.state import Array, Memory, MemorySizes, State

Weights = dict[str, Any]


@dataclass(frozen=True)
class SelfAttentionDecoderConfig:
    """SelfAttentionDecoder."""

    type: str = "self_attention"
    embedding_size: int = 256
    embedding_dropout: float = 0.0
    blocks: BlocksConfig = field(default_factory=BlocksConfig)
    mixer: str = "self_attention"  # a row of MIXERS: what the blocks know of the words before
    attention: AttentionConfig = field(default_factory=lambda: AttentionConfig("multi_head"))
    head: str = "linear"  # a row of HEADS
    head_size: int = 256  # width of the head's hidden layer, where it has one
    tie_embeddings: bool = False  # the head's last matrix is the target's table
    copy: bool = False  # what is said may also be a source token, repeated; both sides need one vocabulary

    def __post_init__(self) -> None:
        choose(HEADS, self.head, "head")
        choose(MIXERS, self.mixer, "mixer")
        for name in ("embedding_size", "head_size"):
            require(getattr(self, name) >= 1, f"{name} {getattr(self, name)}: must be 1 or more")
        require(0 <= self.embedding_dropout < 1, f"embedding_dropout {self.embedding_dropout}: from 0 to below 1")
        self.blocks.require_attention(self.mixer, "decoder")


class RecurrentMixer:
    """A recurrent cell in self-attention's place: Kim et al. 2019, section 2.1. Its cache does not grow."""

    def __init__(self, config: BlocksConfig, width: int, *, cell_type: Any, cell: Weights) -> None:
        self.cell, self.width = cell_type(**cell), width

    def begin(self, x: np.ndarray) -> tuple[np.ndarray, ...]:  # (R, ...) -> states x (R, D)
        return (np.zeros((len(x), self.width), dtype=x.dtype),) * self.cell.count

    def __call__(self, x: np.ndarray, scope: Scope, cache: Any) -> tuple[np.ndarray, Any]:  # (R, T, D) -> (R, T, D)
        return self.cell.run(x, cache)


MIXERS: dict[str, Any] = {
    **ENCODER_MIXERS,
    **{name: partial(RecurrentMixer, cell_type=kind) for name, kind in CELLS.items()},
}


class Spoken(NamedTuple):
    """What a block says of T tokens."""

    x: Array  # (R, T, D)
    alignment: Array  # (R, T, S)
    cache: tuple[Any, Past]


class DecoderBlock:
    """The words before, the memory, the feed-forward layer."""

    def __init__(
        self,
        config: SelfAttentionDecoderConfig,
        sizes: MemorySizes,
        *,
        mixer: Weights,
        mixer_norm: Weights,
        attention_norm: Weights,
        feed_forward: Weights,
        feed_forward_norm: Weights,
        attention: Weights | None = None,
        context: Weights | None = None,
    ) -> None:
        own, width = config.blocks, config.embedding_size
        kind = ATTENTIONS[config.attention.type]
        self.residual = Residual(own)
        self.mixer, self.attention = (
            MIXERS[config.mixer](own, width, **mixer),
            kind(config.attention, **(attention or {})),
        )
        self.feed_forward = FeedForward(own, **feed_forward)
        norms = (mixer_norm, attention_norm, feed_forward_norm)
        self.mixer_norm, self.attention_norm, self.feed_forward_norm = (make_norm(own, width, norm) for norm in norms)
        narrow = kind.context_size(config.attention, sizes) == width
        require((context is None) == narrow, "the weights and the width of the attention's context contradict")
        self.context = Linear(**context) if context is not None else None
        fits = self.context is None or self.context.weight.shape[1] == width
        require(fits, f"the block's context does not fit a width of {width}")

    def __call__(self, x: np.ndarray, scope: Scope, memory: Memory, cache: tuple[Any, Past]) -> Spoken:
        # (R, T, D), Memory -> (R, T, D), (R, T, S)
        before, after = self.residual.before, self.residual.after
        mixed, kept = self.mixer(before(x, self.mixer_norm), scope, cache[0])
        x = after(x, mixed, self.mixer_norm)
        context, alignment, past = look(self.attention, before(x, self.attention_norm), memory, cache[1])
        x = after(x, self.context(context) if self.context else context, self.attention_norm)
        x = after(x, self.feed_forward(before(x, self.feed_forward_norm)), self.feed_forward_norm)
        return Spoken(x, alignment, (kept, past))


class SelfAttentionDecoder(Speaking):
    """Blocks over the words so far; the alignment is that of the last block."""

    def __init__(
        self,
        config: SelfAttentionDecoderConfig,
        sizes: MemorySizes,
        *,
        embedding: Weights,
        blocks: list[Weights],
        positions: Weights | None = None,
        norm: Weights | None = None,
        head: Weights | None = None,
        copy: Weights | None = None,
    ) -> None:
        self.arrays: Arrays = NumpyArrays()
        self.config = config
        own, width = config.blocks, config.embedding_size
        require(len(blocks) == own.layers, f"{len(blocks)} layers of weights, {own.layers} configured")
        require((norm is not None) == own.pre_norm, "the weights and blocks.pre_norm contradict each other")
        own.head_size(width, "decoder")
        self.scale = width**0.5
        self.embedding = LookUpOp(**embedding)
        fitting = PositionSizes(width, own.heads, own.max_positions, True)
        self.positions = POSITIONS[own.positions](fitting, **(positions or {}))
        self.blocks = [DecoderBlock(config, sizes, **weights) for weights in blocks]
        self.norm = make_norm(own, width, norm) if norm is not None else None
        self.head = make_head(config, head, embedding)
        self.copy = make_copy(config, copy)

    def start(self, memory: Memory) -> State:
        memories = tuple(block.attention.prepare(memory) for block in self.blocks)
        caches = tuple((block.mixer.begin(memory.summary), block.attention.begin(memory)) for block in self.blocks)
        return State(memories, (caches, np.zeros((len(memory.mask), 1), dtype=np.int64)))

    def listen(self, tokens: np.ndarray, state: State) -> tuple[Heard, State]:  # (R, T), State -> Heard, State
        caches, read = state.cache
        places = read[:1] + np.arange(tokens.shape[1])  # every row has read as many tokens
        x = self.embedding(tokens)
        x = self.positions.enter(x * x.dtype.type(self.scale), places)
        scope, after = Scope(self.positions, places, None), []
        for block, memory, cache in zip(self.blocks, state.memory, caches, strict=True):
            x, alignment, cache = block(x, scope, memory, cache)
            after.append(cache)
        hidden = self.norm(x) if self.norm else x
        return Heard(hidden, alignment, state.memory[-1]), State(state.memory, (tuple(after), read + tokens.shape[1]))

    def rewind(self, before: State, after: State, tokens: np.ndarray) -> State:  # (R, T)
        """The state after `tokens`, the first of those that were read between the two states."""
        if not cuttable(self.config, after):
            return super().rewind(before, after, tokens)
        return State(after.memory, cut(before.cache, after.cache, tokens.shape[1]))


def cuttable(config: SelfAttentionDecoderConfig, state: State) -> bool:
    """Whether all that a state holds of each word is its own: neither a cell nor an attention looks back."""
    return config.mixer == "self_attention" and not any(past for _, past in state.cache[0])


def cut(before: Any, after: Any, count: int) -> Any:
    """A cache without what came after the first `count` words behind another one; of either floor."""
    length = before[0][0][0][0].count + count
    kept = tuple((tuple(part.shorter(length) for part in own), past) for own, past in after[0])
    return kept, before[1] + count
