"""The things that flow: Memory from the encoder, State and Output from the decoder.

They are tuples of arrays with the batch on axis 0 and nothing else, so that one function, `select`, can keep, drop,
repeat or reorder sentences; what is no array and has rows (a cache that grows) registers with it how to. Which library
the arrays belong to is not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from operator import getitem
from typing import Any, NamedTuple

Array = Any  # a numpy.ndarray on the ground floor, a torch.Tensor on the upper one
Take = Callable[[Array, Array], Array]  # rows of an array


class Beams(NamedTuple):
    """Which rows of queries are whose, where a sentence has W of them or fewer. A sentence's are neighbours."""

    rows: Array  # (B W,) those of each sentence, and where it has fewer one of its own again
    places: Array  # (R,) where among them each row stands


class Memory(NamedTuple):
    """What an encoder says, once."""

    keys: Array  # (B, S, K)  where to look
    values: Array  # (B, S, D)  what is found there
    mask: Array  # (B, S)     true on real tokens
    summary: Array  # (B, D)     the sentence in one vector: what a bridge starts a decoder from
    tokens: Array  # (B, S)     the ids that were read: what a copy head repeats
    others: tuple[Any, ...] = ()  # further memories of the same sentences, coarser ones: words over characters
    beams: Beams | tuple[()] = ()  # (): of R rows of queries each sentence owns R / B


class MemorySizes(NamedTuple):
    """The widths of a Memory, known before the first sentence."""

    keys: int
    values: int
    summary: int
    others: tuple[Any, ...] = ()  # the MemorySizes of `Memory.others`


class State(NamedTuple):
    """What a decoder carries from step to step.

    The cache has R rows. The memory may have fewer, B: then every sentence owns neighbouring rows (the hypotheses of a
    beam), R / B of them or as many as `Memory.beams` says, and they share it.
    """

    memory: Any  # a Memory as the attention prepared it; where several layers look, a tuple of one for each
    cache: Any


class Output(NamedTuple):
    """What a decoder says of T tokens at once."""

    logits: Array  # (R, T, V)
    hidden: Array  # (R, T, D)  what the output head reads
    alignment: Array  # (R, T, S)


@singledispatch
def select(tree: Any, rows: Array, take: Take = getitem) -> Any:
    """Keep, drop, repeat or reorder the rows (axis 0) of every array in nested tuples.

    `rows` is an index array of the arrays' own library, whose way to take them is `Arrays.take`.
    """
    return take(tree, rows)


@select.register
def _(tree: tuple, rows: Array, take: Take = getitem) -> tuple[Any, ...]:
    parts = [select(part, rows, take) for part in tree]
    return type(tree)(*parts) if type(tree) is not tuple else tuple(parts)


@select.register
def _(tree: Beams, rows: Array, take: Take = getitem) -> tuple[()]:
    return ()  # other sentences have other rows: `owning` says which


@singledispatch
def owning(tree: Any, beams: Beams | tuple[()]) -> Any:
    """The same memories, in nested tuples, whose sentences own these rows of queries."""
    return tree


@owning.register
def _(tree: tuple, beams: Beams | tuple[()]) -> tuple[Any, ...]:
    return tuple(owning(part, beams) for part in tree)


@owning.register
def _(tree: Memory, beams: Beams | tuple[()]) -> Memory:
    return tree._replace(beams=beams)


def by_sentence(x: Array, memory: Memory, take: Take = getitem) -> Array:  # (R, T, D), Memory -> (B, N, D)
    """The rows of a sentence one behind the other, as more steps of one row, so that the memory is never copied."""
    x = take(x, memory.beams.rows) if memory.beams else x
    return x.reshape(len(memory.mask), -1, x.shape[-1])


def by_row(x: Array, memory: Memory, steps: int, take: Take = getitem) -> Array:  # (B, N, D), Memory -> (R, T, D)
    """The same, each row for itself again."""
    x = x.reshape(-1, steps, x.shape[-1])
    return take(x, memory.beams.places) if memory.beams else x
