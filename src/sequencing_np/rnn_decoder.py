"""The recurrent decoder with attention, in NumPy. Twin of `sequencing.rnn_decoder`.

Without input feeding the cells run over all given tokens and one call of the attention serves them all; with it each
step waits for the one before. It does not know who chose the tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sequencing_np.arrays import Arrays, NumpyArrays
from sequencing_np.attention import ATTENTIONS, AttentionConfig, look
from sequencing_np.bridge import BRIDGES, BridgeSizes
from sequencing_np.cells import CELLS
from sequencing_np.config import choose, require
from sequencing_np.head import HEADS, READOUTS, Heard, Speaking, make_copy, make_head
from sequencing_np.layers import LookUpOp
from sequencing_np.rnn import RecurrentStack, StackConfig, widths
from sequencing_np.state import Memory, MemorySizes, State

Weights = dict[str, Any]


@dataclass(frozen=True)
class RNNDecoderConfig:
    """AttentionRNNDecoder."""

    type: str = "rnn"
    embedding_size: int = 256
    embedding_dropout: float = 0.0
    stack: StackConfig = field(default_factory=StackConfig)
    attention: AttentionConfig = field(default_factory=AttentionConfig)
    bridge: str = "tanh_projection"  # a row of BRIDGES
    input_feeding: bool = False  # the cells also read what the readout feeds back
    readout: str = "luong"  # a row of READOUTS
    readout_size: int = 256  # width of the readout, where it has one of its own
    readout_dropout: float = 0.0  # of what the head reads
    head: str = "linear"  # a row of HEADS
    head_size: int = 256  # width of the head's hidden layer, where it has one
    tie_embeddings: bool = False  # the head's last matrix is the target's table
    copy: bool = False  # what is said may also be a source token, repeated; both sides need one vocabulary

    def __post_init__(self) -> None:
        for name, table in (("bridge", BRIDGES), ("readout", READOUTS), ("head", HEADS)):
            choose(table, getattr(self, name), name)
        for name in ("embedding_size", "readout_size", "head_size"):
            require(getattr(self, name) >= 1, f"{name} {getattr(self, name)}: must be 1 or more")
        for name in ("embedding_dropout", "readout_dropout"):
            require(0 <= getattr(self, name) < 1, f"{name} {getattr(self, name)}: must be from 0 to below 1")
        require(
            not self.input_feeding or widths(self.stack, 1)[-1] == widths(self.stack, 2)[-1],
            f"input_feeding: with residual_combiner {self.stack.residual_combiner!r} the stack says all that it reads, "
            "and would read a part of what it said; set decoder.input_feeding = false",
        )


class AttentionRNNDecoder(Speaking):
    """A recurrent stack that looks at the memory at every step (Luong's order: state, then attention, then word)."""

    def __init__(
        self,
        config: RNNDecoderConfig,
        sizes: MemorySizes,
        *,
        embedding: Weights,
        stack: Weights,
        head: Weights | None = None,
        attention: Weights | None = None,
        bridge: Weights | None = None,
        readout: Weights | None = None,
        copy: Weights | None = None,
    ) -> None:
        self.arrays: Arrays = NumpyArrays()
        self.config = config
        self.embedding, self.stack = LookUpOp(**embedding), RecurrentStack(config.stack, **stack)
        cell = config.stack
        bridge_sizes = BridgeSizes(sizes.summary, cell.size, cell.states, CELLS[cell.cell].count)
        self.bridge = BRIDGES[config.bridge](bridge_sizes, **(bridge or {}))
        self.attention = ATTENTIONS[config.attention.type](config.attention, **(attention or {}))
        self.readout = READOUTS[config.readout](config.readout_size, **(readout or {}))
        self.head = make_head(config, head, embedding)
        self.copy = make_copy(config, copy)
        context = ATTENTIONS[config.attention.type].context_size(config.attention, sizes)
        self.fed_size = self.readout.fed_size(context) if config.input_feeding else 0

    def start(self, memory: Memory) -> State:
        stack = self.bridge.sizes.by_layer(self.bridge(memory.summary))
        fed = np.zeros((len(memory.mask), self.fed_size), dtype=memory.values.dtype)
        return State(self.attention.prepare(memory), (stack, fed, self.attention.begin(memory)))

    def listen(self, tokens: np.ndarray, state: State) -> tuple[Heard, State]:  # (R, T), State -> Heard, State
        words = self.embedding(tokens)
        stack, fed, past = state.cache
        said = []
        width = 1 if self.config.input_feeding else words.shape[1]  # tokens read at once
        for t in range(0, words.shape[1], width):
            word = words[:, t : t + width]
            x = np.concatenate([word, fed[:, None]], axis=2) if self.config.input_feeding else word
            output, stack = self.stack(x, stack)
            context, alignment, past = look(self.attention, output, state.memory, past)
            readout = self.readout(word, output, context)
            fed = self.readout.fed(context, readout)[:, -1, : self.fed_size]
            said.append((readout, alignment))
        readout, alignment = (self.arrays.join(list(parts)) for parts in zip(*said, strict=True))
        return Heard(readout, alignment, state.memory), State(state.memory, (stack, fed, past))
