"""The self-attention decoder, in PyTorch. Twin of `sequencing_np.self_attention_decoder`.

Its blocks mix what was said so far (by self-attention, or by a convolution or a recurrent cell, whose caches do not
grow), look at the memory, and think. Any attention serves for the look. It does not know who chose the tokens.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from sequencing.arrays import TorchArrays
from sequencing.attention import ATTENTIONS, look
from sequencing.cells import CELLS
from sequencing.head import Copy, Speaking, make_head
from sequencing.layers import NORMS, Dropout, Linear, LookUpOp, short
from sequencing.positions import POSITIONS
from sequencing.self_attention import ENCODER_MIXERS, FeedForward, Residual, scale_by_depth
from sequencing_np.attention import Past
from sequencing_np.blocks import BlocksConfig, Scope
from sequencing_np.head import Heard
from sequencing_np.positions import PositionSizes
from sequencing_np.self_attention_decoder import SelfAttentionDecoderConfig, Spoken, cut, cuttable
from sequencing_np.state import Memory, MemorySizes, State


class RecurrentMixer(nn.Module):
    """A recurrent cell in self-attention's place: Kim et al. 2019, section 2.1. Its cache does not grow."""

    def __init__(self, config: BlocksConfig, width: int, *, cell_type: Any) -> None:
        super().__init__()
        self.cell, self.width = cell_type(width, width), width

    def begin(self, x: Tensor) -> tuple[Tensor, ...]:  # (R, ...) -> states x (R, D)
        return (x.new_zeros(len(x), self.width),) * self.cell.count

    def writers(self) -> list[Tensor]:
        """The matrices that write to the residual sum: none, the cell's state does."""
        return []

    def forward(self, x: Tensor, scope: Scope, cache: Any) -> tuple[Tensor, Any]:  # (R, T, D) -> (R, T, D)
        return self.cell.run(x, cache)


MIXERS: dict[str, Any] = {
    **ENCODER_MIXERS,
    **{name: partial(RecurrentMixer, cell_type=kind) for name, kind in CELLS.items()},
}


class DecoderBlock(nn.Module):
    """The words before, the memory, the feed-forward layer."""

    def __init__(self, config: SelfAttentionDecoderConfig, sizes: MemorySizes) -> None:
        super().__init__()
        own, width = config.blocks, config.embedding_size
        norm = NORMS[own.norm]
        self.residual = Residual(own)
        self.mixer, self.mixer_norm = MIXERS[config.mixer](own, width), norm(width)
        self.attention_norm = norm(width)
        self.attention = ATTENTIONS[config.attention.type](config.attention, width, sizes)
        context = self.attention.context_size
        self.context = Linear(context, width) if context != width else None
        self.feed_forward, self.feed_forward_norm = FeedForward(own, width), norm(width)

    def writers(self) -> list[Tensor]:
        """The matrices that write to the residual sum."""
        return [*self.mixer.writers(), self.feed_forward.outer.weight]

    def forward(self, x: Tensor, scope: Scope, memory: Memory, cache: tuple[Any, Past]) -> Spoken:
        # (R, T, D), Memory -> (R, T, D), (R, T, S)
        before, after = self.residual.before, self.residual.after
        mixed, kept = self.mixer(before(x, self.mixer_norm), scope, cache[0])
        x = after(x, mixed, self.mixer_norm)
        context, alignment, past = look(self.attention, before(x, self.attention_norm), memory, cache[1])
        x = after(x, self.context(context) if self.context else context, self.attention_norm)
        x = after(x, self.feed_forward(before(x, self.feed_forward_norm)), self.feed_forward_norm)
        return Spoken(x, alignment, (kept, past))


class SelfAttentionDecoder(Speaking):
    """Blocks over the words so far; the alignment is that of the last block.

    Where layer drop skips a block, its cache still grows, so that words may come one by one or all at once.
    """

    def __init__(self, config: SelfAttentionDecoderConfig, sizes: MemorySizes, embedding: LookUpOp) -> None:
        super().__init__()
        self.config, self.embedding = config, embedding
        own, width = config.blocks, config.embedding_size
        own.head_size(width, "decoder")
        self.scale, self.drop = width**0.5, own.layer_drop
        self.positions = POSITIONS[own.positions](PositionSizes(width, own.heads, own.max_positions, True))
        self.dropout = Dropout(own.dropout)
        self.blocks: Any = nn.ModuleList(DecoderBlock(config, sizes) for _ in range(own.layers))
        scale_by_depth(self.blocks, own.pre_norm)
        self.norm = NORMS[own.norm](width) if own.pre_norm else None
        self.head = make_head(config, width, embedding)
        self.copy = Copy(width) if config.copy else None

    @property
    def arrays(self) -> TorchArrays:
        """The array functions for the device on which the weights are now."""
        return TorchArrays(self.embedding.weight.device)

    def start(self, memory: Memory) -> State:
        memories = tuple(block.attention.prepare(memory) for block in self.blocks)
        caches = tuple((block.mixer.begin(memory.summary), block.attention.begin(memory)) for block in self.blocks)
        return State(memories, (caches, memory.mask.new_zeros(len(memory.mask), 1, dtype=torch.int64)))

    def listen(self, tokens: Tensor, state: State) -> tuple[Heard, State]:  # (R, T), State -> Heard, State
        caches, read = state.cache
        places = read[:1] + torch.arange(tokens.shape[1], device=tokens.device)  # every row has read as many tokens
        x = self.dropout(self.positions.enter(short(self.embedding(tokens) * self.scale), places))
        scope, after = Scope(self.positions, places, None), []
        for block, memory, cache in zip(self.blocks, state.memory, caches, strict=True):
            said, alignment, cache = block(x, scope, memory, cache)
            after.append(cache)
            if not (self.training and self.drop and torch.rand(()) < self.drop):
                x = said
        heard = Heard(self.norm(x) if self.norm else x, alignment, state.memory[-1])
        return heard, State(state.memory, (tuple(after), read + tokens.shape[1]))

    def rewind(self, before: State, after: State, tokens: Tensor) -> State:  # (R, T)
        """The state after `tokens`, the first of those that were read between the two states."""
        if not cuttable(self.config, after):
            return super().rewind(before, after, tokens)
        return State(after.memory, cut(before.cache, after.cache, tokens.shape[1]))
