"""How long an answer may be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sequencing_np.config import require


@dataclass(frozen=True)
class Limits:
    """At most `factor` x source tokens + `constant`, and never over `longest`; the end symbols are counted.

    At least `shortest`, and `share` x source tokens, before the end symbol; where the two contradict, this one holds.
    """

    factor: float = 2.0
    constant: int = 20
    longest: int = 1000
    shortest: int = 0  # tokens before the end symbol is allowed
    share: float = 0.0  # the same, as a share of the source tokens

    def __post_init__(self) -> None:
        for name in ("factor", "constant", "longest", "shortest", "share"):
            require(getattr(self, name) >= 0, f"{name} {getattr(self, name)}: must be 0 or more")

    def of(self, source_mask: np.ndarray) -> np.ndarray:  # (B, S) -> (B,)
        """The largest number of tokens of each sentence."""
        limit = np.floor(self.factor * source_mask.sum(axis=1) + self.constant).astype(np.int64)
        return np.maximum(np.minimum(limit, self.longest), self.least_of(source_mask) + 1)

    def least_of(self, source_mask: np.ndarray) -> np.ndarray:  # (B, S) -> (B,)
        """The number of tokens of each sentence before it may end."""
        return np.maximum(np.ceil(self.share * source_mask.sum(axis=1)).astype(np.int64), self.shortest)
