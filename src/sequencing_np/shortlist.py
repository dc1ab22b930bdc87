"""Which target tokens a sentence may need: those that its source tokens are likely translated to, and the commonest.

A search that looks at these alone has a few hundred logits a step in place of a whole vocabulary's (Jean et al. 2015,
section 3.2; L'Hostis et al. 2016). The table is made from training data, upstairs, and lies in the model's folder.
How a search goes is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sequencing_np.errors import ModelError
from sequencing_np.weights import read_safetensors, write_safetensors

SHORTLIST = "shortlist.safetensors"


class Shortlist(NamedTuple):
    """A row of target ids for each source id, and those that every sentence has besides."""

    starts: np.ndarray  # (V of the source + 1,) int64: row s is likely[starts[s] : starts[s + 1]]
    likely: np.ndarray  # (N,) int32
    common: np.ndarray  # (n,) int32

    def of(self, sources: Sequence[int], more: Iterable[int] = ()) -> np.ndarray:  # -> (c,) int64
        """The target ids that a sentence may need, in order; `more` are added. Ids with factors count as their words.

        What it may need depends on this sentence alone.
        """
        return np.unique(self.named(sources, more))

    def named(self, sources: Sequence[int], more: Iterable[int] = ()) -> np.ndarray:  # -> (n,) int64
        """The same ids in any order, some of them several times."""
        words = {source % (len(self.starts) - 1) for source in sources}
        rows = [self.likely[self.starts[word] : self.starts[word + 1]] for word in words]
        return np.concatenate([*rows, self.common, np.fromiter(more, np.int64)]).astype(np.int64)


def write_shortlist(path: Path, table: Shortlist) -> None:
    """The table as a file; it appears whole or not at all."""
    write_safetensors(path, table._asdict())


def read_shortlist(path: Path, source_size: int, target_size: int) -> Shortlist:
    """The table of a model with so many ids. ModelError where it is another's, or none."""
    arrays = read_safetensors(path)
    types = {"starts": np.int64, "likely": np.int32, "common": np.int32}
    found = {name: (array.dtype, array.ndim) for name, array in arrays.items()}
    if found != {name: (np.dtype(dtype), 1) for name, dtype in types.items()}:
        raise ModelError(f"{path}: holds {', '.join(sorted(found)) or 'nothing'}, no shortlist; export the model again")
    table = Shortlist(**arrays)
    if len(table.starts) != source_size + 1:
        raise ModelError(f"{path}: {len(table.starts) - 1} rows, the model has {source_size} source ids; export again")
    whole = table.starts[0] == 0 and table.starts[-1] == len(table.likely) and (np.diff(table.starts) >= 0).all()
    ids = np.concatenate([table.likely, table.common])
    if not whole or ids.min(initial=0) < 0 or ids.max(initial=0) >= target_size:
        raise ModelError(f"{path}: rows that overlap, or ids that are none of {target_size}; export the model again")
    return table
