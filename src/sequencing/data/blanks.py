"""Pairs that say nothing: sides of unknown words alone, or without a token. There is little to learn from them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sequencing.data.store import SIDES, Pairs
from sequencing_np.batch import Ragged
from sequencing_np.vocab import Vocabulary

ROWS = 1 << 16  # looked at together
MANY = 0.05  # a share of all pairs that is worth a warning


class Blanks(NamedTuple):
    """Rows of one side."""

    unknown: int  # of unknown words alone
    empty: int  # of nothing but the end


def blanks(side: Ragged, vocab: Vocabulary) -> Blanks:
    """How many rows of a side say nothing."""
    special, unknown, empty = vocab.special, 0, 0
    for first in range(0, len(side.offsets) - 1, ROWS):
        offsets = side.offsets[first : first + ROWS + 1]
        words = np.asarray(side.flat[offsets[0] : offsets[-1]])
        if vocab.factor_sizes:
            words = words % len(vocab.tokens)
        given = sums(words != special.eos, offsets)
        known = sums((words != special.eos) & (words != special.unk), offsets)
        empty += int((given == 0).sum())
        unknown += int(((known == 0) & (given > 0)).sum())
    return Blanks(unknown, empty)


def sums(truths: np.ndarray, offsets: np.ndarray) -> np.ndarray:  # (N,), (R + 1,) -> (R,)
    """How many are true in each row."""
    running = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(truths)])
    return running[offsets[1:] - offsets[0]] - running[offsets[:-1] - offsets[0]]


def sentence(pairs: Pairs, vocabs: tuple[Vocabulary, Vocabulary]) -> str:
    """What is to be said of them, a warning where they are many; nothing where there are none."""
    found, parts, worst = dict(zip(SIDES, map(blanks, (pairs.source, pairs.target), vocabs), strict=True)), [], 0
    for side, (unknown, empty) in found.items():
        parts += [f"{unknown:,} have a {side} of unknown words alone"] if unknown else []
        parts += [f"{empty:,} have an empty {side}"] if empty else []
        worst = max(worst, unknown, empty)
    if not parts:
        return ""
    head = "warning: " if worst >= MANY * len(pairs) else ""
    advice = "; look at how the text is cut into tokens, or at vocab.source.file" if head else ""
    return f"{head}of {len(pairs):,} pairs {', '.join(parts)}{advice}"
