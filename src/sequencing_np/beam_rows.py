"""Which hypotheses of a batch have a row: towards their ends sentences have fewer and fewer that are still open.

A beam counts in places, the same number for each sentence; decoders compute rows, and none for a place that is empty.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from sequencing_np.arrays import Arrays
from sequencing_np.state import Beams


class BeamRows(NamedTuple):
    """The R rows of A sentences with W places each."""

    filled: np.ndarray  # (R,) places that have a row, among all A W
    number: int  # A
    width: int  # W

    @staticmethod
    def of(alive: np.ndarray) -> BeamRows:  # (A, W) bool
        """A row for each place that is alive."""
        return BeamRows(np.flatnonzero(alive), *alive.shape)

    def sentences(self) -> np.ndarray:  # -> (R,)
        """Whose each row is, of A."""
        return self.filled // self.width

    def at(self, beams: np.ndarray) -> np.ndarray:  # (A, C) -> (A, C)
        """The rows of places of each sentence; of an empty place any."""
        places = beams + np.arange(self.number)[:, None] * self.width
        return np.minimum(np.searchsorted(self.filled, places), len(self.filled) - 1)

    def grid(self, parts: np.ndarray, nothing: Any) -> np.ndarray:  # (R, k) -> (A, W k)
        """What there is of each row beside that of its sentence's others, and `nothing` where a place has no row."""
        places = self.number * self.width
        if len(parts) < places:
            whole = np.full((places, parts.shape[1]), nothing, dtype=parts.dtype)
            whole[self.filled] = parts
            parts = whole
        return parts.reshape(self.number, -1)

    def beams(self, arrays: Arrays) -> Beams | tuple[()]:
        """The same for a decoder; the places of a sentence that have a row come first."""
        if len(self.filled) == self.number * self.width:
            return ()
        each = np.bincount(self.sentences(), minlength=self.number)[:, None]
        rows = np.cumsum(each)[:, None] - each + np.minimum(np.arange(self.width), each - 1)
        return Beams(arrays.native(rows.reshape(-1)), arrays.native(self.filled))
