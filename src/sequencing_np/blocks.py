"""The settings of a stack of blocks, and what the mixer of a block is told of the tokens that it is given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from sequencing_np.config import choose, require
from sequencing_np.layers import ACTIVATIONS, NORMS
from sequencing_np.positions import POSITIONS, SCORED
from sequencing_np.state import Array


@dataclass(frozen=True)
class BlocksConfig:
    """A stack of self-attention blocks; its width is the embedding's."""

    layers: int = 3
    heads: int = 4
    key_value_heads: int = 0  # heads of keys and values (Ainslie et al. 2023); 0: as many as heads; 1: all share one
    feed_forward_size: int = 1024
    activation: str = "relu"  # a row of ACTIVATIONS
    gated: bool = False  # Shazeer 2020: with sigmoid GLU, with gelu GEGLU, with silu SwiGLU
    norm: str = "layer_norm"  # a row of NORMS
    pre_norm: bool = True  # norms before the sublayers and one at the end; false: after each sum, as first published
    query_key_norm: bool = (
        False  # RMSNorm on each head's queries and keys (Henry et al. 2020, as in Dehghani et al. 2023)
    )
    positions: str = "sinusoidal"  # a row of POSITIONS
    max_positions: int = 1024  # learned positions that are told apart
    kernel: int = 7  # words that a convolution in self-attention's place sees
    dropout: float = 0.1  # of what enters the stack and of each sublayer's output
    attention_dropout: float = 0.0  # of the weights of self-attention, or of a convolution in its place
    activation_dropout: float = 0.0  # inside the feed-forward layer
    layer_drop: float = 0.0  # share of whole layers skipped while training (Fan et al. 2020)

    def __post_init__(self) -> None:
        for name, table in (("activation", ACTIVATIONS), ("norm", NORMS), ("positions", POSITIONS)):
            choose(table, getattr(self, name), name)
        for name in ("layers", "heads", "feed_forward_size", "max_positions", "kernel"):
            require(getattr(self, name) >= 1, f"{name} {getattr(self, name)}: must be 1 or more")
        for name in ("dropout", "attention_dropout", "activation_dropout", "layer_drop"):
            require(0 <= getattr(self, name) < 1, f"{name} {getattr(self, name)}: must be from 0 to below 1")
        shared = self.key_value_heads or self.heads
        fits = shared >= 1 and self.heads % shared == 0
        require(fits, f"key_value_heads {self.key_value_heads}: must divide the {self.heads} heads; 0 is one for each")

    def head_size(self, width: int, place: str) -> int:
        """The width of one head; ConfigError where the stack's width does not divide, or not into pairs."""
        unit = self.heads * (2 if self.positions == "rotary" else 1)
        advice = f"set {place}.embedding_size = {width + -width % unit}"
        kind = "heads, each of pairs for rotary positions" if self.positions == "rotary" else "heads"
        require(width % unit == 0, f"embedding_size {width} does not divide into {self.heads} {kind}; {advice}")
        return width // self.heads

    def require_attention(self, mixer: str, place: str) -> None:
        """ConfigError where a setting is of self-attention's scores or heads, and what mixes the words has none."""
        if mixer == "self_attention":
            return
        for name, is_set, off in (
            ("positions", self.positions in SCORED, "none"),
            ("query_key_norm", self.query_key_norm, "false"),
            ("key_value_heads", self.key_value_heads > 0, "0"),
        ):
            require(
                not is_set,
                f"{name} = {str(getattr(self, name)).lower()} is a setting of self-attention, which mixer {mixer!r} "
                f"takes the place of; set {place}.blocks.{name} = {off}",
            )


class Scope(NamedTuple):
    """What a mixer is told of the tokens it is given."""

    scheme: Any  # a row of POSITIONS, built
    positions: Array  # (1, T) where the tokens stand
    mask: Array | None  # (B, N) true on real tokens; None: each token sees those before it and itself
