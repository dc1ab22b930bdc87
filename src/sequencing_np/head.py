"""From a decoder's state to logits, in NumPy: readouts, output heads, copying. Twin of `sequencing.head`.

A readout joins the previous word, the decoder's output and the context, and says what input feeding returns to the
cells; a head turns the readout into logits; `Copy` lets a decoder repeat source tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from sequencing_np.arrays import log_softmax, log_sum_exp
from sequencing_np.config import require
from sequencing_np.layers import Linear, relu
from sequencing_np.state import Array, Memory, Output, State, by_row, by_sentence

Weights = dict[str, Any]


class PreviousWordReadout:
    """[previous word; output; context], as it is; the context is fed back."""

    def __init__(self, size: int) -> None:
        pass

    def fed_size(self, context: int) -> int:
        return context

    def __call__(self, word: np.ndarray, output: np.ndarray, context: np.ndarray) -> np.ndarray:
        # (R, T, E), (R, T, H), (R, T, C) -> (R, T, E + H + C)
        return np.concatenate([word, output, context], axis=-1)

    def fed(self, context: np.ndarray, readout: np.ndarray) -> np.ndarray:  # (R, C), (R, D) -> (R, C)
        return context


class ContextAloneReadout:
    """The context, as it is: the decoder's own state chooses where to look and says nothing itself."""

    def __init__(self, size: int) -> None:
        pass

    def fed_size(self, context: int) -> int:
        return context

    def __call__(self, word: np.ndarray, output: np.ndarray, context: np.ndarray) -> np.ndarray:
        # (R, T, E), (R, T, H), (R, T, C) -> (R, T, C)
        return context

    def fed(self, context: np.ndarray, readout: np.ndarray) -> np.ndarray:  # (R, C), (R, D) -> (R, C)
        return context


class ContextReadout:
    """tanh(W [output; context] + b); the context is fed back."""

    def __init__(self, size: int, *, projection: Weights) -> None:
        self.size, self.projection = size, Linear(**projection)

    def fed_size(self, context: int) -> int:
        return context

    def __call__(self, word: np.ndarray, output: np.ndarray, context: np.ndarray) -> np.ndarray:
        # (R, T, E), (R, T, H), (R, T, C) -> (R, T, D)
        return np.tanh(self.projection(np.concatenate([output, context], axis=-1)))

    def fed(self, context: np.ndarray, readout: np.ndarray) -> np.ndarray:  # (R, C), (R, D) -> (R, C)
        return context


class LuongReadout:
    """tanh(W [context; output]): Luong et al. 2015, equation 5; the readout itself is fed back (their section 3.3)."""

    def __init__(self, size: int, *, projection: Weights) -> None:
        self.size, self.projection = size, Linear(**projection, bias=None)

    def fed_size(self, context: int) -> int:
        return self.size

    def __call__(self, word: np.ndarray, output: np.ndarray, context: np.ndarray) -> np.ndarray:
        # (R, T, E), (R, T, H), (R, T, C) -> (R, T, D)
        return np.tanh(self.projection(np.concatenate([context, output], axis=-1)))

    def fed(self, context: np.ndarray, readout: np.ndarray) -> np.ndarray:  # (R, C), (R, D) -> (R, D)
        return readout


class LinearHead:
    """W x + b; with tied embeddings W is the target's table. `output` is the last matrix and `before` what it reads."""

    def __init__(self, *, output: Weights) -> None:
        self.output = Linear(**output)

    def before(self, x: np.ndarray) -> np.ndarray:  # (R, T, D) -> (R, T, D)
        return x

    def __call__(self, x: np.ndarray) -> np.ndarray:  # (R, T, D) -> (R, T, V)
        return self.output(self.before(x))


class TanhHead:
    """A tanh layer, then W x + b."""

    def __init__(self, *, hidden: Weights, output: Weights) -> None:
        self.hidden, self.output = Linear(**hidden), Linear(**output)

    def before(self, x: np.ndarray) -> np.ndarray:  # (R, T, D) -> (R, T, size)
        return np.tanh(self.hidden(x))

    def __call__(self, x: np.ndarray) -> np.ndarray:  # (R, T, D) -> (R, T, V)
        return self.output(self.before(x))


class ReluHead:
    """A rectified layer, a second one of half its width, then W x + b."""

    def __init__(self, *, first: Weights, second: Weights, output: Weights) -> None:
        self.first, self.second, self.output = Linear(**first), Linear(**second), Linear(**output)

    def before(self, x: np.ndarray) -> np.ndarray:  # (R, T, D) -> (R, T, size / 2)
        return relu(self.second(relu(self.first(x))))

    def __call__(self, x: np.ndarray) -> np.ndarray:  # (R, T, D) -> (R, T, V)
        return self.output(self.before(x))


class Mixture:
    """log sum_k pi_k softmax(W x_k + b): Yang et al. 2018, section 2.3; the numbers that make pi stand behind all x_k.

    It is said as log-probabilities, as those of `Copy` are.
    """

    def __init__(self, count: int, *, weight: np.ndarray, bias: np.ndarray) -> None:
        self.count, self.words = count, Linear(weight=weight, bias=bias)

    def rows(self, ids: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:  # (C,) -> (..., K (F + 1)) to (..., C)
        """What it says of some ids; all are asked, as their sums are needed."""
        return lambda x: self(x)[..., ids]

    def __call__(self, x: np.ndarray) -> np.ndarray:  # (..., K (F + 1)) -> (..., V)
        contexts, shares = x[..., : -self.count], x[..., -self.count :]
        said = log_softmax(self.words(contexts.reshape(*shares.shape, -1)))  # (..., K, V)
        said += log_softmax(shares)[..., None]
        return log_sum_exp(said.swapaxes(-1, -2))


class MixtureHead:
    """K tanh layers, each before one of the K softmaxes that are mixed; their shares are a softmax of another layer."""

    def __init__(self, count: int, *, contexts: Weights, shares: Weights, output: Weights) -> None:
        self.contexts, self.shares = Linear(**contexts), Linear(**shares)
        self.output = Mixture(count, **output)
        found = self.shares.weight.shape[1]
        require(found == count, f"the head mixes {found} softmaxes, and the configuration says {count}")

    def before(self, x: np.ndarray) -> np.ndarray:  # (R, T, D) -> (R, T, K (size + 1))
        return np.concatenate([np.tanh(self.contexts(x)), self.shares(x)], axis=-1)

    def __call__(self, x: np.ndarray) -> np.ndarray:  # (R, T, D) -> (R, T, V)
        return self.output(self.before(x))


class Copy:
    """The mixture of writing and copying: See et al. 2017, equation 9; the gate reads what the head reads.

    p = g softmax(logits) + (1 - g) times the alignment's mass on the source tokens of each id. It is said as
    log-probabilities, which a further log-softmax leaves as they are. Source and target share their ids.
    """

    def __init__(self, *, gate: Weights) -> None:
        self.gate = Linear(**gate)
        require(self.gate.weight.shape[1] == 1, "the gate of a copy has one unit")

    def __call__(self, hidden: np.ndarray, logits: np.ndarray, alignment: np.ndarray, memory: Memory) -> np.ndarray:
        # (R, T, D), (R, T, V), (R, T, S), Memory -> (R, T, V)
        tokens, gate = memory.tokens, self.gate(hidden)
        spoken = log_softmax(logits)
        spoken -= np.logaddexp(0, -gate)  # log g
        spoken, alignment, gate = (by_sentence(x, memory) for x in (spoken, alignment, gate))
        equal = tokens[:, :, None] == tokens[:, None]  # (B, S, S)
        mass = alignment @ equal.astype(alignment.dtype)  # (B, N, S)
        copied = np.log(mass + smallest_mass(mass.dtype)) - np.logaddexp(0, gate)
        real = (equal & memory.mask[:, None]).any(axis=2)[:, None]  # (B, 1, S): false for an id of padding alone
        copied = np.where(real, copied, mass.dtype.type(-np.inf))
        place = np.broadcast_to(tokens[:, None], mass.shape)
        np.put_along_axis(spoken, place, np.logaddexp(np.take_along_axis(spoken, place, 2), copied), 2)
        return by_row(spoken, memory, logits.shape[1])


def smallest_mass(dtype: Any) -> float:
    """What is added to a copied mass: neither its logarithm nor the gradient of that can leave the type's range."""
    return float(np.finfo(dtype).tiny) ** 0.5


class Heard(NamedTuple):
    """What a decoder has made of T tokens before it says anything."""

    hidden: Array  # (R, T, D)  what the head reads
    alignment: Array  # (R, T, S)
    memory: Memory  # what the alignment looked at


class Speaking:
    """The half of a decoder that speaks: `head` and `copy` make words of what its own `listen` has heard."""

    head: Any
    copy: Copy | None = None
    listen: Callable[[np.ndarray, State], tuple[Heard, State]]

    def step(self, tokens: np.ndarray, state: State) -> tuple[Output, State]:  # (R, T), State -> Output, State
        heard, state = self.listen(tokens, state)
        logits = self.head(heard.hidden)
        if self.copy:
            logits = self.copy(heard.hidden, logits, heard.alignment, heard.memory)
        return Output(logits, heard.hidden, heard.alignment), state

    def rewind(self, before: State, after: State, tokens: np.ndarray) -> State:  # (R, T)
        """The state after `tokens`, the first of those that were read between the two states: they are read again."""
        return self.listen(tokens, before)[1]

    def among(self, ids: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:  # (C,) -> (R, T, D) to (R, T, C)
        """The head for some ids alone."""
        output = self.head.output.rows(ids)
        return lambda x: output(self.head.before(x))


def make_head(config: Any, head: Weights | None, embedding: Weights) -> Any:
    """The head that a decoder configures; with tied embeddings its last matrix is the target's table."""
    head = head or {}
    if config.tie_embeddings:
        own = head.get("output", {})
        require("weight" not in own, "tie_embeddings, yet the head has a matrix of its own")
        head = {**head, "output": {**own, "weight": embedding["weight"]}}
    return HEADS[config.head](**head)


def make_copy(config: Any, copy: Weights | None) -> Copy | None:
    """What lets a decoder repeat source tokens, where it is configured to."""
    require((copy is not None) == config.copy, "the weights and decoder.copy contradict each other")
    return Copy(**copy) if copy is not None else None


READOUTS: dict[str, Any] = {
    "previous_word": PreviousWordReadout,
    "context_alone": ContextAloneReadout,
    "context": ContextReadout,
    "luong": LuongReadout,
}
MIXTURES = {"mixture_2": 2, "mixture_4": 4, "mixture_8": 8}
"""Heads that mix softmaxes, and how many: what they say is no linear map of what their last matrix reads."""
HEADS: dict[str, Any] = {
    "linear": LinearHead,
    "tanh": TanhHead,
    "relu": ReluHead,
    **{name: partial(MixtureHead, count) for name, count in MIXTURES.items()},
}
