"""How long an answer may be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sequencing_np.config import require


@dataclass(frozen=True)
class Limits:
    """At most `factor` x source tokens + `constant`, and never over `longest`; the end symbols are counted."""

    factor: float = 2.0
    constant: int = 20
    longest: int = 1000
    shortest: int = 0  # tokens before the end symbol is allowed

    def __post_init__(self) -> None:
        require(self.factor >= 0, f"factor {self.factor}: must be 0 or more")
        for name in ("constant", "longest", "shortest"):
            require(getattr(self, name) >= 0, f"{name} {getattr(self, name)}: must be 0 or more")

    def of(self, source_mask: np.ndarray) -> np.ndarray:  # (B, S) -> (B,)
        """The largest number of tokens of each sentence."""
        limit = np.floor(self.factor * source_mask.sum(axis=1) + self.constant).astype(np.int64)
        return np.maximum(np.minimum(limit, self.longest), self.shortest + 1)
