"""From a decoder's state to logits, in PyTorch: readouts, output heads, copying. Twin of `sequencing_np.head`.

A readout joins the previous word, the decoder's output and the context, and says what input feeding returns to the
cells; a head turns the readout into logits; `Copy` lets a decoder repeat source tokens. A head of your own is any
module with `before`, (R, T, D) to (R, T, F), and a linear map `output` from there to (R, T, V). Those of MIXTURES have
no linear map there; all their logits are held at once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sequencing.arrays import take
from sequencing.layers import Linear, LookUpOp, wide
from sequencing_np.errors import ConfigError
from sequencing_np.head import MIXTURES, Heard, smallest_mass
from sequencing_np.state import Memory, Output, State, by_row, by_sentence


class PreviousWordReadout(nn.Module):
    """[previous word; output; context], as it is; the context is fed back."""

    def __init__(self, word: int, output: int, context: int, size: int) -> None:
        super().__init__()
        self.size, self.fed_size = word + output + context, context

    def forward(self, word: Tensor, output: Tensor, context: Tensor) -> Tensor:
        # (R, T, E), (R, T, H), (R, T, C) -> (R, T, E + H + C)
        return torch.cat([word, output, context], dim=-1)

    def fed(self, context: Tensor, readout: Tensor) -> Tensor:  # (R, T, C), (R, T, D) -> (R, T, C)
        return context


class ContextAloneReadout(nn.Module):
    """The context, as it is: the decoder's own state chooses where to look and says nothing itself."""

    def __init__(self, word: int, output: int, context: int, size: int) -> None:
        super().__init__()
        self.size, self.fed_size = context, context

    def forward(self, word: Tensor, output: Tensor, context: Tensor) -> Tensor:
        # (R, T, E), (R, T, H), (R, T, C) -> (R, T, C)
        return context

    def fed(self, context: Tensor, readout: Tensor) -> Tensor:  # (R, T, C), (R, T, D) -> (R, T, C)
        return context


class ContextReadout(nn.Module):
    """tanh(W [output; context] + b); the context is fed back."""

    def __init__(self, word: int, output: int, context: int, size: int) -> None:
        super().__init__()
        self.size, self.fed_size = size, context
        self.projection = Linear(output + context, size)

    def forward(self, word: Tensor, output: Tensor, context: Tensor) -> Tensor:
        # (R, T, E), (R, T, H), (R, T, C) -> (R, T, D)
        return torch.tanh(self.projection(torch.cat([output, context], dim=-1)))

    def fed(self, context: Tensor, readout: Tensor) -> Tensor:  # (R, T, C), (R, T, D) -> (R, T, C)
        return context


class LuongReadout(nn.Module):
    """tanh(W [context; output]): Luong et al. 2015, equation 5; the readout itself is fed back (their section 3.3)."""

    def __init__(self, word: int, output: int, context: int, size: int) -> None:
        super().__init__()
        self.size, self.fed_size = size, size
        self.projection = Linear(context + output, size, bias=False)

    def forward(self, word: Tensor, output: Tensor, context: Tensor) -> Tensor:
        # (R, T, E), (R, T, H), (R, T, C) -> (R, T, D)
        return torch.tanh(self.projection(torch.cat([context, output], dim=-1)))

    def fed(self, context: Tensor, readout: Tensor) -> Tensor:  # (R, T, C), (R, T, D) -> (R, T, D)
        return readout


def output_layer(inputs: int, outputs: int, table: nn.Parameter | None) -> nn.Linear:
    """The last matrix of a head: its own, or the target's table (Press and Wolf 2017)."""
    layer = Linear(inputs, outputs)
    if table is not None:
        if table.shape[1] != inputs:
            raise ConfigError(
                f"tie_embeddings: the table has width {table.shape[1]}, the head's last layer reads {inputs}; "
                "make them equal (readout_size, head_size, embedding_size)"
            )
        layer.weight = table
    return layer


def linear_rows(layer: Any, ids: Tensor) -> Callable[[Tensor], Tensor]:  # (C,) -> (..., F) to (..., C)
    """A linear map to some of its outputs; what is no plain one has `rows` of its own."""
    weight, bias = layer.weight[ids], None if layer.bias is None else layer.bias[ids]
    return lambda x: functional.linear(x, weight, bias)


class LinearHead(nn.Module):
    """W x + b; with tied embeddings W is the target's table.

    `output` is the last matrix and `before` what it reads: a loss may take both, and never hold the logits of all.
    """

    def __init__(self, inputs: int, size: int, outputs: int, table: nn.Parameter | None = None) -> None:
        super().__init__()
        self.output = output_layer(inputs, outputs, table)

    def before(self, x: Tensor) -> Tensor:  # (R, T, D) -> (R, T, D)
        return x

    def forward(self, x: Tensor) -> Tensor:  # (R, T, D) -> (R, T, V)
        return self.output(self.before(x))


class TanhHead(nn.Module):
    """A tanh layer, then W x + b."""

    def __init__(self, inputs: int, size: int, outputs: int, table: nn.Parameter | None = None) -> None:
        super().__init__()
        self.hidden, self.output = Linear(inputs, size), output_layer(size, outputs, table)

    def before(self, x: Tensor) -> Tensor:  # (R, T, D) -> (R, T, size)
        return torch.tanh(self.hidden(x))

    def forward(self, x: Tensor) -> Tensor:  # (R, T, D) -> (R, T, V)
        return self.output(self.before(x))


class ReluHead(nn.Module):
    """A rectified layer, a second one of half its width, then W x + b."""

    def __init__(self, inputs: int, size: int, outputs: int, table: nn.Parameter | None = None) -> None:
        super().__init__()
        half = max(size // 2, 1)
        self.first, self.second = Linear(inputs, size), Linear(size, half)
        self.output = output_layer(half, outputs, table)

    def before(self, x: Tensor) -> Tensor:  # (R, T, D) -> (R, T, size / 2)
        return torch.relu(self.second(torch.relu(self.first(x))))

    def forward(self, x: Tensor) -> Tensor:  # (R, T, D) -> (R, T, V)
        return self.output(self.before(x))


class Mixture(nn.Module):
    """log sum_k pi_k softmax(W x_k + b): Yang et al. 2018, section 2.3; the numbers that make pi stand behind all x_k.

    It is said as log-probabilities, as those of `Copy` are.
    """

    def __init__(self, count: int, inputs: int, outputs: int, table: nn.Parameter | None) -> None:
        super().__init__()
        layer = output_layer(inputs, outputs, table)
        self.count, self.in_features = count, count * (inputs + 1)
        self.weight, self.bias = layer.weight, layer.bias

    def rows(self, ids: Tensor) -> Callable[[Tensor], Tensor]:  # (C,) -> (..., K (F + 1)) to (..., C)
        """What it says of some ids; all are asked, as their sums are needed."""
        return lambda x: self(x)[..., ids]

    def forward(self, x: Tensor) -> Tensor:  # (..., K (F + 1)) -> (..., V)
        contexts, shares = x[..., : -self.count], x[..., -self.count :]
        logits = functional.linear(contexts.unflatten(-1, (self.count, -1)), self.weight, self.bias)  # (..., K, V)
        said = torch.log_softmax(wide(logits), dim=-1) + torch.log_softmax(wide(shares), dim=-1)[..., None]
        return torch.logsumexp(said, dim=-2)


class MixtureHead(nn.Module):
    """K tanh layers, each before one of the K softmaxes that are mixed; their shares are a softmax of another layer."""

    def __init__(self, inputs: int, size: int, outputs: int, table: nn.Parameter | None = None, *, count: int) -> None:
        super().__init__()
        self.contexts, self.shares = Linear(inputs, count * size), Linear(inputs, count)
        self.output = Mixture(count, size, outputs, table)

    def before(self, x: Tensor) -> Tensor:  # (R, T, D) -> (R, T, K (size + 1))
        return torch.cat([torch.tanh(self.contexts(x)), self.shares(x)], dim=-1)

    def forward(self, x: Tensor) -> Tensor:  # (R, T, D) -> (R, T, V)
        return self.output(self.before(x))


class Copy(nn.Module):
    """The mixture of writing and copying: See et al. 2017, equation 9; the gate reads what the head reads.

    p = g softmax(logits) + (1 - g) times the alignment's mass on the source tokens of each id. It is said as
    log-probabilities, which a further log-softmax leaves as they are. Source and target share their ids.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.gate = Linear(inputs, 1)

    def forward(self, hidden: Tensor, logits: Tensor, alignment: Tensor, memory: Memory) -> Tensor:
        # (R, T, D), (R, T, V), (R, T, S), Memory -> (R, T, V)
        tokens, wide = memory.tokens, torch.promote_types(logits.dtype, torch.float32)
        with torch.autocast(logits.device.type, enabled=False):  # neither logarithms nor masses in bfloat16
            gate = self.gate(hidden.to(self.gate.weight.dtype)).to(wide)
            spoken = functional.log_softmax(logits.to(wide), dim=-1) + functional.logsigmoid(gate)
            parts = (spoken, alignment.to(wide), gate)
            spoken, alignment, gate = (by_sentence(x, memory, take) for x in parts)
            equal = tokens[:, :, None] == tokens[:, None]  # (B, S, S)
            first = ~equal.triu(1).any(dim=1)[:, None]  # (B, 1, S): where an id stands for the first time
            mass = alignment @ equal.to(wide)  # (B, N, S)
            copied = (mass + smallest_mass(np.float64 if wide == torch.float64 else np.float32)).log()
            real = (equal & memory.mask[:, None]).any(dim=2)[:, None]  # (B, 1, S): false for an id of padding alone
            copied = (copied + functional.logsigmoid(-gate)).masked_fill(~real, -torch.inf)
            place = tokens[:, None].expand_as(mass)
            mixed = torch.logaddexp(spoken.gather(2, place), copied)
            mixed = torch.where(first, mixed, mixed.detach())  # an id that stands again says the same, learnt from once
            return by_row(spoken.scatter(2, place, mixed), memory, logits.shape[1], take)


class Speaking(nn.Module):
    """The half of a decoder that speaks: `head` and `copy` make words of what its own `listen` has heard."""

    config: Any
    head: Any
    copy: Copy | None
    listen: Callable[[Tensor, State], tuple[Heard, State]]

    @property
    def linear(self) -> bool:
        """Whether logits are a linear map, the head's `output`, of what its `before` makes, and nothing else."""
        return self.copy is None and self.config.head not in MIXTURES

    def step(self, tokens: Tensor, state: State) -> tuple[Output, State]:  # (R, T), State -> Output, State
        heard, state = self.listen(tokens, state)
        logits = self.head(heard.hidden)
        if self.copy:
            logits = self.copy(heard.hidden, logits, heard.alignment, heard.memory)
        return Output(logits, heard.hidden, heard.alignment), state

    def rewind(self, before: State, after: State, tokens: Tensor) -> State:  # (R, T)
        """The state after `tokens`, the first of those that were read between the two states: they are read again."""
        return self.listen(tokens, before)[1]

    def among(self, ids: Tensor) -> Callable[[Tensor], Tensor]:  # (C,) -> (R, T, D) to (R, T, C)
        """The head for some ids alone."""
        output = self.head.output
        last = output.rows(ids) if hasattr(output, "rows") else linear_rows(output, ids)
        return lambda x: last(self.head.before(x))


class Unspoken:
    """A decoder that stops before its last matrix: for logits it says what that would read."""

    def __init__(self, decoder: Any) -> None:
        self.decoder, self.arrays, self.start = decoder, decoder.arrays, decoder.start

    def step(self, tokens: Tensor, state: State) -> tuple[Output, State]:  # (R, T), State -> Output, State
        heard, state = self.decoder.listen(tokens, state)
        return Output(self.decoder.head.before(heard.hidden), heard.hidden, heard.alignment), state


def make_head(config: Any, inputs: int, embedding: LookUpOp) -> nn.Module:
    """The head that a decoder configures; with tied embeddings its last matrix is the target's table."""
    table = embedding.weight if config.tie_embeddings else None
    head: nn.Module = HEADS[config.head](inputs, config.head_size, len(embedding.weight), table)
    return head


READOUTS: dict[str, Any] = {
    "previous_word": PreviousWordReadout,
    "context_alone": ContextAloneReadout,
    "context": ContextReadout,
    "luong": LuongReadout,
}
HEADS: dict[str, Any] = {
    "linear": LinearHead,
    "tanh": TanhHead,
    "relu": ReluHead,
    **{name: partial(MixtureHead, count=count) for name, count in MIXTURES.items()},
}
