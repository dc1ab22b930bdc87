"""Caches that grow with every word; of either floor.

What self-attention remembers is the largest thing that a search carries. Rows that go on are chosen before each step,
and taken only where the next word is laid behind them: a library that can do both at once copies what was said once a
step. NumPy cannot, and copies it twice.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import getitem

from sequencing_np.state import Array, Take, select

Lay = Callable[[Array, Array | None, Array], Array]  # (R, G, N, D), (M,) or None: all, (M, G, T, D) -> (M, G, N + T, D)


class Growing:
    """Words so far, and which rows of them go on; None: all."""

    def __init__(self, words: Array, rows: Array | None = None) -> None:  # (R, G, N, D), (M,)
        self.words, self.rows = words, rows

    @property
    def count(self) -> int:
        """How many words there are."""
        return self.words.shape[2]

    def longer(self, more: Array, lay: Lay) -> Growing:  # (M, G, T, D)
        """The rows that go on, `more` words behind them."""
        return Growing(lay(self.words, self.rows, more) if self.count else more)

    def shorter(self, count: int) -> Growing:
        """The first `count` words."""
        return Growing(self.words[:, :, :count], self.rows)


@select.register
def _(tree: Growing, rows: Array, take: Take = getitem) -> Growing:  # (L,)
    """Some of the rows that go on; those that truths choose are taken at once."""
    if str(rows.dtype).endswith("bool"):
        return Growing(take(tree.words if tree.rows is None else take(tree.words, tree.rows), rows))
    return Growing(tree.words, rows if tree.rows is None else take(tree.rows, rows))
