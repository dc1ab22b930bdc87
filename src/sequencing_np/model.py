"""The whole model in NumPy, and the tables of what it can be made of. Twin of `sequencing.model`.

A ModelConfig is the one definition of an architecture; both floors build from it. Text and vocabularies are not
known here, only how many ids they have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sequencing_np.arrays import Arrays, NumpyArrays
from sequencing_np.config import Origin, build, choose, require
from sequencing_np.errors import ConfigError, ModelError
from sequencing_np.rnn import RNNEncoderConfig, StackBidirectionalRNNEncoder, StackRNNEncoder
from sequencing_np.rnn_decoder import AttentionRNNDecoder, RNNDecoderConfig
from sequencing_np.self_attention import SelfAttentionEncoder, SelfAttentionEncoderConfig
from sequencing_np.self_attention_decoder import SelfAttentionDecoder, SelfAttentionDecoderConfig
from sequencing_np.state import Memory

ENCODERS: dict[str, Any] = {
    "rnn": StackRNNEncoder,
    "bidirectional_rnn": StackBidirectionalRNNEncoder,
    "self_attention": SelfAttentionEncoder,
}
DECODERS: dict[str, Any] = {
    "rnn": AttentionRNNDecoder,
    "self_attention": SelfAttentionDecoder,
}
CONFIGS: dict[str, dict[str, type]] = {  # what each row is configured by
    "encoder": {
        "rnn": RNNEncoderConfig,
        "bidirectional_rnn": RNNEncoderConfig,
        "self_attention": SelfAttentionEncoderConfig,
    },
    "decoder": {
        "rnn": RNNDecoderConfig,
        "self_attention": SelfAttentionDecoderConfig,
    },
}


@dataclass(frozen=True)
class ModelConfig:
    """An architecture."""

    encoder: Any  # a configuration of a row of ENCODERS
    decoder: Any  # a configuration of a row of DECODERS
    share_embeddings: bool = False  # one table for source and target
    source_size: int = 0  # ids on the source side; the trainer fills it in from the vocabulary
    target_size: int = 0  # ids on the target side


def model_config(values: Mapping[str, Any], origin: Origin, path: tuple[str, ...] = ()) -> ModelConfig:
    """A ModelConfig from nested mappings; each part's `type` chooses the dataclass that reads the rest of it."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{origin.at(path)}: expected a table of settings, got {values!r}")
    values = dict(values)
    parts = {}
    for name, table in CONFIGS.items():
        part = values.pop(name, {})
        if not isinstance(part, Mapping):
            raise ConfigError(f"{origin.at((*path, name))}: expected a table of settings, got {part!r}")
        default = {"encoder": "bidirectional_rnn", "decoder": "rnn"}[name]
        row = choose(table, part.get("type", default), origin.at((*path, name, "type")))
        parts[name] = build(row, {"type": default, **part}, origin, (*path, name))
    return replace(build(ModelConfig, {"encoder": None, "decoder": None, **values}, origin, path), **parts)


class Model:
    """An encoder and a decoder with their weights, ready to run."""

    def __init__(self, config: ModelConfig, *, encoder: dict[str, Any], decoder: dict[str, Any]) -> None:
        if config.share_embeddings:
            require("embedding" not in decoder, "share_embeddings, yet the decoder has a table of its own")
            decoder = {**decoder, "embedding": encoder["embedding"]}
        self.config = config
        self.arrays: Arrays = NumpyArrays()
        self.encoder = ENCODERS[config.encoder.type](config.encoder, **encoder)
        self.decoder = DECODERS[config.decoder.type](config.decoder, self.encoder.sizes, **decoder)
        tables = self.encoder.embedding.weight.shape, self.decoder.embedding.weight.shape
        source = config.source_size, config.encoder.embedding_size
        target = config.target_size, config.decoder.embedding_size
        require(tables == (source, target), f"embeddings of shapes {tables}, the configuration says {source}, {target}")

    def encode(self, source: np.ndarray, mask: np.ndarray) -> Memory:  # (B, S), (B, S) -> Memory
        """What the encoder says of a batch of ids; padding stands at the end and is false in the mask."""
        return self.encoder(source, mask)


def build_model(config: ModelConfig, weights: dict[str, Any]) -> Model:
    """The model with its nested weights, tried on one token; ModelError when they do not fit the configuration."""
    try:
        model = Model(config, **weights)
        memory = model.encode(np.zeros((1, 1), dtype=np.int64), np.ones((1, 1), dtype=bool))
        output, _ = model.decoder.step(np.zeros((1, 1), dtype=np.int64), model.decoder.start(memory))
    except (TypeError, KeyError, ValueError, IndexError, AttributeError, ConfigError) as error:
        raise ModelError(
            f"the weights do not fit the configuration: {error}. They come from another model or version; export again"
        ) from None
    if output.logits.shape[-1] != config.target_size:
        raise ModelError(f"{output.logits.shape[-1]} output units for a vocabulary of {config.target_size} ids")
    return model
