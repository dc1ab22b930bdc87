"""The recurrent decoder with attention, in PyTorch. Twin of `sequencing_np.rnn_decoder`.

Without input feeding the cells run over all given tokens with fused kernels and one call of the attention serves them
all; with it each step waits for the one before. It does not know who chose the tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sequencing.arrays import TorchArrays
from sequencing.attention import ATTENTIONS, look
from sequencing.bridge import BRIDGES
from sequencing.cells import CELLS
from sequencing.gathering import gathered
from sequencing.head import READOUTS, Copy, Speaking, make_head
from sequencing.layers import Dropout, LookUpOp
from sequencing.rnn import RecurrentStack
from sequencing_np.bridge import BridgeSizes
from sequencing_np.head import Heard
from sequencing_np.rnn import widths
from sequencing_np.rnn_decoder import RNNDecoderConfig
from sequencing_np.state import Memory, MemorySizes, State


class AttentionRNNDecoder(Speaking):
    """A recurrent stack that looks at the memory at every step (Luong's order: state, then attention, then word).

    `head` replaces the configured output head by one of your own, which reads vectors of width `readout.size`.
    """

    def __init__(
        self, config: RNNDecoderConfig, sizes: MemorySizes, embedding: LookUpOp, head: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.config, self.embedding = config, embedding
        cell = config.stack
        bridge_sizes = BridgeSizes(sizes.summary, cell.size, cell.states, CELLS[cell.cell].count)
        self.bridge = BRIDGES[config.bridge](bridge_sizes)
        output = widths(cell, config.embedding_size)[-1]
        self.attention = ATTENTIONS[config.attention.type](config.attention, output, sizes)
        context = self.attention.context_size
        self.readout = READOUTS[config.readout](config.embedding_size, output, context, config.readout_size)
        self.fed_size = self.readout.fed_size if config.input_feeding else 0
        self.stack = RecurrentStack(cell, config.embedding_size + self.fed_size)
        self.dropout = Dropout(config.readout_dropout)
        self.head = head or make_head(config, self.readout.size, embedding)
        self.copy = Copy(self.readout.size) if config.copy else None

    @property
    def arrays(self) -> TorchArrays:
        """The array functions for the device on which the weights are now."""
        return TorchArrays(self.embedding.weight.device)

    def start(self, memory: Memory) -> State:
        stack = self.bridge.sizes.by_layer(self.bridge(memory.summary))
        fed = memory.values.new_zeros(len(memory.mask), self.fed_size)
        return State(self.attention.prepare(memory), (stack, fed, self.attention.begin(memory)))

    def listen(self, tokens: Tensor, state: State) -> tuple[Heard, State]:  # (R, T), State -> Heard, State
        words = self.embedding(tokens)
        stack, fed, past = state.cache
        said = []
        width = 1 if self.config.input_feeding else words.shape[1]  # tokens read at once
        with gathered(width < words.shape[1]):
            for t in range(0, words.shape[1], width):
                word = words[:, t : t + width]
                x = torch.cat([word, fed[:, None]], dim=2) if self.config.input_feeding else word
                output, stack = self.stack(x, stack)
                context, alignment, past = look(self.attention, output, state.memory, past)
                readout = self.readout(word, output, context)
                fed = self.readout.fed(context, readout)[:, -1, : self.fed_size]
                said.append((readout, alignment))
        readout, alignment = (self.arrays.join(list(parts)) for parts in zip(*said, strict=True))
        return Heard(self.dropout(readout), alignment, state.memory), State(state.memory, (stack, fed, past))
