"""A shortest way from one sequence to another, token by token."""

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

Edit = tuple[str | None, str | None]  # wanted, said; None: one of them has nothing there
MOST_CELLS = 4_000_000  # of a table; sequences that would need more are laid beside each other as they are


def aligned(wanted: Sequence[str], said: Sequence[str]) -> list[Edit]:
    """All tokens of both, each beside its own; of equally short ways one that changes and not leaves out and adds."""
    front = common(wanted, said)
    back = common(wanted[front:][::-1], said[front:][::-1])
    end, other_end = len(wanted) - back, len(said) - back
    middle = between(wanted[front:end], said[front:other_end])
    return [*zip(wanted[:front], said, strict=False), *middle, *zip(wanted[end:], said[other_end:], strict=True)]


def common(first: Sequence[str], second: Sequence[str]) -> int:
    """How many tokens both begin with."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(first), len(second)))


def between(wanted: Sequence[str], said: Sequence[str]) -> list[Edit]:
    if not wanted or not said or (len(wanted) + 1) * (len(said) + 1) > MOST_CELLS:
        return list(zip_longest(wanted, said))
    numbers: dict[str, int] = {}
    theirs, ours = (np.array([numbers.setdefault(word, len(numbers)) for word in text]) for text in (wanted, said))
    columns = np.arange(len(ours) + 1)
    table = np.empty((len(theirs) + 1, len(ours) + 1), dtype=np.int64)
    table[0] = columns
    for row, word in enumerate(theirs, 1):  # adding words is a running minimum along the row
        step = np.minimum(table[row - 1, 1:] + 1, table[row - 1, :-1] + (ours != word))
        table[row] = np.minimum.accumulate(np.concatenate([[row], step]) - columns) + columns
    found: list[Edit] = []
    row, column = len(wanted), len(said)
    while row or column:
        cost = table[row, column]
        if row and column and cost == table[row - 1, column - 1] + (wanted[row - 1] != said[column - 1]):
            row, column = row - 1, column - 1
            found.append((wanted[row], said[column]))
        elif row and cost == table[row - 1, column] + 1:
            row -= 1
            found.append((wanted[row], None))
        else:
            column -= 1
            found.append((None, said[column]))
    return found[::-1]
