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


class Memory(NamedTuple):
    """What an encoder says, once."""

    keys: Array  # (B, S, K)  where to look
    values: Array  # (B, S, D)  what is found there
    mask: Array  # (B, S)     true on real tokens
    summary: Array  # (B, D)     the sentence in one vector: what a bridge starts a decoder from
    tokens: Array  # (B, S)     the ids that were read: what a copy head repeats
    others: tuple[Any, ...] = ()  # further memories of the same sentences, coarser ones: words over characters


class MemorySizes(NamedTuple):
    """The widths of a Memory, known before the first sentence."""

    keys: int
    values: int
    summary: int
    others: tuple[Any, ...] = ()  # the MemorySizes of `Memory.others`


class State(NamedTuple):
    """What a decoder carries from step to step.

    The cache has R rows. The memory may have fewer, B: then every sentence owns R / B neighbouring rows
    (the hypotheses of a beam), and they share it.
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
