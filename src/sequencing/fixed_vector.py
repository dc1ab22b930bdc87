"""The decoder without attention, in PyTorch: a recurrent stack and one vector. Twin of `sequencing_np.fixed_vector`.

All it knows of the source is the memory's summary: what the stack begins from (a bridge), what it reads at every step,
or both. It does not know who chose the tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sequencing.arrays import TorchArrays
from sequencing.attention import look
from sequencing.attention_scores import SummaryAttention
from sequencing.bridge import BRIDGES
from sequencing.cells import CELLS
from sequencing.head import Speaking, make_head
from sequencing.layers import Dropout, LookUpOp
from sequencing.rnn import RecurrentStack
from sequencing_np.attention import AttentionConfig
from sequencing_np.bridge import BridgeSizes
from sequencing_np.fixed_vector import FixedVectorDecoderConfig
from sequencing_np.head import Heard
from sequencing_np.state import Memory, MemorySizes, State


class FixedVectorDecoder(Speaking):
    """A recurrent stack over a vector, over words, or over both side by side. All real tokens weigh the same."""

    def __init__(self, config: FixedVectorDecoderConfig, sizes: MemorySizes, embedding: LookUpOp) -> None:
        super().__init__()
        self.config, self.embedding = config, embedding
        cell = config.stack
        bridge_sizes = BridgeSizes(sizes.summary, cell.size, cell.states, CELLS[cell.cell].count)
        self.bridge = BRIDGES[config.bridge](bridge_sizes)
        width = config.embedding_size * config.read_words + sizes.summary * config.peek
        self.stack = RecurrentStack(cell, width)
        self.attention = SummaryAttention(AttentionConfig("summary"), width, sizes)
        self.dropout = Dropout(config.output_dropout)
        self.head, self.copy = make_head(config, self.stack.size, embedding), None

    @property
    def arrays(self) -> TorchArrays:
        """The array functions for the device on which the weights are now."""
        return TorchArrays(self.embedding.weight.device)

    def start(self, memory: Memory) -> State:
        return State(self.attention.prepare(memory), self.bridge.sizes.by_layer(self.bridge(memory.summary)))

    def listen(self, tokens: Tensor, state: State) -> tuple[Heard, State]:  # (R, T), State -> Heard, State
        words = self.embedding(tokens)
        summary, alignment, _ = look(self.attention, words, state.memory, ())  # the words only say how many ask
        read = [words] * self.config.read_words + [summary] * self.config.peek
        output, stack = self.stack(torch.cat(read, dim=2), state.cache)
        return Heard(self.dropout(output), alignment, state.memory), State(state.memory, stack)
