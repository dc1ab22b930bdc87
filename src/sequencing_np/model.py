"""The whole model in NumPy, and the tables of what it can be made of. Twin of `sequencing.model`.

A ModelConfig is the one definition of an architecture; both floors build from it. Text and vocabularies are not
known here, only how many ids they have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from math import prod
from typing import Any, NoReturn

import numpy as np

from sequencing_np.arrays import Arrays, NumpyArrays
from sequencing_np.cnn import ConvolutionalDecoder, ConvolutionalDecoderConfig
from sequencing_np.composed import (
    PART,
    READER_CONFIGS,
    READERS,
    CharacterWordEncoder,
    CharacterWordEncoderConfig,
    SeveralSourcesEncoder,
    SeveralSourcesEncoderConfig,
    WordValuesEncoder,
    WordValuesEncoderConfig,
)
from sequencing_np.config import Origin, build, choose, nearest, require
from sequencing_np.errors import ConfigError, ModelError
from sequencing_np.factors import LARGEST
from sequencing_np.fixed_vector import FixedVectorDecoder, FixedVectorDecoderConfig
from sequencing_np.rnn_decoder import AttentionRNNDecoder, RNNDecoderConfig
from sequencing_np.self_attention_decoder import SelfAttentionDecoder, SelfAttentionDecoderConfig
from sequencing_np.state import Memory
from sequencing_np.vectors import EXTRA

ENCODERS: dict[str, Any] = {
    **READERS,
    "characters_to_words": CharacterWordEncoder,
    "several_sources": SeveralSourcesEncoder,
    "word_values": WordValuesEncoder,
}
DECODERS: dict[str, Any] = {
    "rnn": AttentionRNNDecoder,
    "fixed_vector": FixedVectorDecoder,
    "self_attention": SelfAttentionDecoder,
    "convolutional": ConvolutionalDecoder,
}
CONFIGS: dict[str, dict[str, type]] = {  # what each row is configured by
    "encoder": {
        **READER_CONFIGS,
        "characters_to_words": CharacterWordEncoderConfig,
        "several_sources": SeveralSourcesEncoderConfig,
        "word_values": WordValuesEncoderConfig,
    },
    "decoder": {
        "rnn": RNNDecoderConfig,
        "fixed_vector": FixedVectorDecoderConfig,
        "self_attention": SelfAttentionDecoderConfig,
        "convolutional": ConvolutionalDecoderConfig,
    },
}


def no_twin(part: str) -> Callable[..., NoReturn]:
    """A row for a part that PyTorch alone can run: with it the part can be configured, trained and saved.

    >>> ATTENTIONS["mine"] = no_twin("attention 'mine'")  # doctest: +SKIP
    """

    def refuse(*arguments: Any, **weights: Any) -> NoReturn:
        raise ModelError(
            f"{part} has no NumPy twin: the model runs on PyTorch alone (sequencing translate). To run it here, write "
            "the twin and put it in the place of no_twin in the table"
        )

    return refuse


@dataclass(frozen=True)
class ModelConfig:
    """An architecture."""

    encoder: Any  # a configuration of a row of ENCODERS
    decoder: Any  # a configuration of a row of DECODERS
    share_embeddings: bool = False  # one table for source and target
    source_size: int = 0  # ids on the source side; the trainer fills it in from the vocabulary
    target_size: int = 0  # ids on the target side
    source_factors: tuple[int, ...] = ()  # values of each factor of the source; filled in as the sizes are
    source_vectors: bool = False  # the source is no ids but rows of source_size numbers (vectors.py); filled in, too

    def __post_init__(self) -> None:
        require(min(self.source_factors, default=1) >= 1, f"source_factors {self.source_factors}: 1 value or more each")
        count = self.source_size * prod(self.source_factors)
        require(count <= LARGEST, f"source_factors {self.source_factors}: {count} source ids; at most {LARGEST}")
        if self.source_vectors:
            require(not self.source_factors, f"source_factors {self.source_factors}: vectors have no factors")
            require(not self.share_embeddings, "share_embeddings: the source is vectors and has no table; leave it out")
            require(self.source_size > EXTRA, f"source_size {self.source_size}: must be {EXTRA + 1} or more")

    @property
    def copies(self) -> bool:
        """Whether the decoder repeats source tokens; one whose configuration does not speak of it does not."""
        return any(field.name == "copy" and self.decoder.copy for field in fields(self.decoder))


def model_config(values: Mapping[str, Any], origin: Origin, path: tuple[str, ...] = ()) -> ModelConfig:
    """A ModelConfig from nested mappings; each part's `type` chooses the dataclass that reads the rest of it."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{origin.at(path)}: expected a table of settings, got {values!r}")
    values = dict(values)
    parts = {}
    for name, table in CONFIGS.items():
        default = {"encoder": "bidirectional_rnn", "decoder": "rnn"}[name]
        parts[name] = part_config(table, values.pop(name, {}), default, origin, (*path, name))
    return replace(build(ModelConfig, {"encoder": None, "decoder": None, **values}, origin, path), **parts)


def part_config(table: Mapping[str, type], part: Any, default: str, origin: Origin, path: tuple[str, ...]) -> Any:
    """A part from a mapping, its `type` a row of the table; the encoders that it is made of are read the same way."""
    if not isinstance(part, Mapping):
        raise ConfigError(f"{origin.at(path)}: expected a table of settings, got {part!r}")
    part = {"type": default, **part}
    row: Any = choose(table, part["type"], origin.at((*path, "type")))
    for field in fields(row):
        if field.metadata != PART or field.name not in part:
            continue
        usual: Any = field.default_factory()  # type: ignore[operator]
        given, place = part[field.name], (*path, field.name)
        if not isinstance(usual, tuple):
            part[field.name] = part_config(READER_CONFIGS, given, usual.type, origin, place)
        elif isinstance(given, list | tuple):
            inner = (
                part_config(READER_CONFIGS, each, usual[0].type, origin, (*place, str(number)))
                for number, each in enumerate(given)
            )
            part[field.name] = tuple(inner)
    return build(row, part, origin, path)


def check_copy(config: ModelConfig) -> None:
    """ConfigError where a decoder copies ids that mean something else on its side."""
    require(
        not (config.copies and config.source_vectors),
        "copy: the source is vectors, and they cannot be copied into a text; set decoder.copy = false",
    )
    require(
        not config.copies or config.source_size == config.target_size,
        f"copy: {config.source_size} source ids and {config.target_size} target ids; copying needs one vocabulary for "
        "both sides: set vocab.joint = true, or decoder.copy = false",
    )


class Model:
    """An encoder and a decoder with their weights, ready to run."""

    def __init__(self, config: ModelConfig, *, encoder: dict[str, Any], decoder: dict[str, Any]) -> None:
        check_copy(config)
        if config.share_embeddings:
            require("embedding" not in decoder, "share_embeddings, yet the decoder has a table of its own")
            decoder = {**decoder, "embedding": {"weight": encoder["embedding"]["weight"]}}  # factors are the source's
        self.config = config
        self.arrays: Arrays = NumpyArrays()
        self.encoder = ENCODERS[config.encoder.type](config.encoder, **encoder)
        self.decoder = DECODERS[config.decoder.type](config.decoder, self.encoder.sizes, **decoder)
        tables = self.encoder.embedding.weight.shape, self.decoder.embedding.weight.shape
        source = config.source_size, config.encoder.embedding_size
        target = config.target_size, config.decoder.embedding_size
        require(tables == (source, target), f"embeddings of shapes {tables}, the configuration says {source}, {target}")
        own = (self.encoder.embedding, self.decoder.embedding)
        factors = [[table.weight.shape for table in embedding.factors] for embedding in own]
        wanted = [[(values, config.encoder.embedding_size) for values in config.source_factors], []]
        require(factors == wanted, f"factor tables of shapes {factors}, the configuration says {wanted}")

    def encode(self, source: np.ndarray, mask: np.ndarray) -> Memory:  # (B, S), (B, S) -> Memory
        """What the encoder says of a batch of ids; padding stands at the end and is false in the mask.

        Where sources are vectors, of a batch of their rows (B, S, W).
        """
        memory: Memory = self.encoder(source, mask)
        return memory


def check_rows(config: ModelConfig) -> None:
    """ModelError where a part can be configured, yet nothing here runs it."""
    for part, table in (("encoder", ENCODERS), ("decoder", DECODERS)):
        row = getattr(config, part).type
        if row not in table:
            raise ModelError(
                f"sequencing_np.{part.upper()}S has no row {row!r}; {nearest(row, table)}; import the module that adds "
                "it (--import MODULE), or give it the row no_twin(...)"
            )


def build_model(config: ModelConfig, weights: dict[str, Any]) -> Model:
    """The model with its nested weights, tried on one token; ModelError when they do not fit the configuration."""
    check_rows(config)
    try:
        model = Model(config, **weights)
        row = np.zeros((1, 1, config.source_size)) if config.source_vectors else np.zeros((1, 1), dtype=np.int64)
        memory = model.encode(row, np.ones((1, 1), dtype=bool))
        output, _ = model.decoder.step(np.zeros((1, 1), dtype=np.int64), model.decoder.start(memory))
    except (TypeError, KeyError, ValueError, IndexError, AttributeError, ConfigError) as error:
        raise ModelError(
            f"the weights do not fit the configuration: {error}. They come from another model or version; export again"
        ) from None
    if output.logits.shape[-1] != config.target_size:
        raise ModelError(f"{output.logits.shape[-1]} output units for a vocabulary of {config.target_size} ids")
    return model
