"""The decoder without attention, in NumPy: a recurrent stack and one vector. Twin of `sequencing.fixed_vector`.

All it knows of the source is the memory's summary: what the stack begins from (a bridge), what it reads at every step,
or both. It does not know who chose the tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sequencing_np.arrays import Arrays, NumpyArrays
from sequencing_np.attention import AttentionConfig, look
from sequencing_np.attention_scores import SummaryAttention
from sequencing_np.bridge import BRIDGES, BridgeSizes
from sequencing_np.cells import CELLS
from sequencing_np.config import choose, require
from sequencing_np.head import HEADS, Heard, Speaking, make_head
from sequencing_np.layers import LookUpOp
from sequencing_np.rnn import RecurrentStack, StackConfig
from sequencing_np.state import Memory, MemorySizes, State

Weights = dict[str, Any]


@dataclass(frozen=True)
class FixedVectorDecoderConfig:
    """FixedVectorDecoder. The defaults read the same vector at every step and no words, as the Keras guide does.

    With `read_words` that is Cho et al. 2014; with `read_words`, without `peek` and with the projection bridge it is
    Sutskever et al. 2014. Where no words are read, the table of words is the head's last matrix and nothing else:
    then `embedding_size` is the width of what that matrix reads.
    """

    type: str = "fixed_vector"
    embedding_size: int = 256
    embedding_dropout: float = 0.0
    stack: StackConfig = field(default_factory=StackConfig)
    bridge: str = "zero"  # a row of BRIDGES
    peek: bool = True  # the stack reads the summary at every step
    read_words: bool = False  # the stack reads the previous word
    output_dropout: float = 0.0  # of what the head reads
    head: str = "linear"  # a row of HEADS
    head_size: int = 256  # width of the head's hidden layer, where it has one
    tie_embeddings: bool = True  # the head's last matrix is the target's table

    def __post_init__(self) -> None:
        for name, table in (("bridge", BRIDGES), ("head", HEADS)):
            choose(table, getattr(self, name), name)
        for name in ("embedding_size", "head_size"):
            require(getattr(self, name) >= 1, f"{name} {getattr(self, name)}: must be 1 or more")
        for name in ("embedding_dropout", "output_dropout"):
            require(0 <= getattr(self, name) < 1, f"{name} {getattr(self, name)}: must be from 0 to below 1")
        require(
            self.peek or self.read_words,
            "peek and read_words are both false: the stack would have nothing to read; set decoder.peek = true",
        )
        require(
            self.peek or self.bridge != "zero",
            "peek is false and the bridge is zero: the decoder would know nothing of the source; "
            "set decoder.bridge = projection",
        )
        require(
            self.read_words or self.tie_embeddings,
            "read_words and tie_embeddings are both false: the table of words would serve nobody; "
            "set decoder.read_words = true, or decoder.tie_embeddings = true",
        )


class FixedVectorDecoder(Speaking):
    """A recurrent stack over a vector, over words, or over both side by side. All real tokens weigh the same."""

    def __init__(
        self,
        config: FixedVectorDecoderConfig,
        sizes: MemorySizes,
        *,
        embedding: Weights,
        stack: Weights,
        head: Weights | None = None,
        bridge: Weights | None = None,
    ) -> None:
        self.arrays: Arrays = NumpyArrays()
        self.config = config
        self.embedding, self.stack = LookUpOp(**embedding), RecurrentStack(config.stack, **stack)
        cell = config.stack
        bridge_sizes = BridgeSizes(sizes.summary, cell.size, cell.states, CELLS[cell.cell].count)
        self.bridge = BRIDGES[config.bridge](bridge_sizes, **(bridge or {}))
        self.attention = SummaryAttention(AttentionConfig("summary"))
        self.head = make_head(config, head, embedding)

    def start(self, memory: Memory) -> State:
        return State(self.attention.prepare(memory), self.bridge.sizes.by_layer(self.bridge(memory.summary)))

    def listen(self, tokens: np.ndarray, state: State) -> tuple[Heard, State]:  # (R, T), State -> Heard, State
        words = self.embedding(tokens)
        summary, alignment, _ = look(self.attention, words, state.memory, ())  # the words only say how many ask
        read = [words] * self.config.read_words + [summary] * self.config.peek
        hidden, stack = self.stack(np.concatenate(read, axis=2), state.cache)
        return Heard(hidden, alignment, state.memory), State(state.memory, stack)
