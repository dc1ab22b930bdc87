"""Models of the first framework as model folders: the `.npz` that its NumPy twin runs, and its lists of tokens.

A StackBidirectionalRNNEncoder with an AttentionRNNDecoder, of either era (parts.py). What is named how, and what is not
read, says docs/migration.md. No PyTorch is needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sequencing.migration.arrays import READ, Originals
from sequencing.migration.parts import read_decoder, read_encoder
from sequencing_np.errors import ModelError
from sequencing_np.limits import Limits
from sequencing_np.model import ModelConfig, build_model
from sequencing_np.model_folder import ModelFolder
from sequencing_np.vocab import Vocab, read_vocab
from sequencing_np.weights import nest


class Tokens(NamedTuple):
    """A list of tokens, and what stands between two of them in a text (nothing: every character is one)."""

    file: Path
    delimiter: str = " "


class Migrated(NamedTuple):
    """A model of the first framework."""

    model: ModelFolder
    era: str  # a row of ERAS
    left_out: list[str]  # arrays that no answer depends on


def migrate(weights: Path, source: Tokens, target: Tokens, longest: int, layout: str | None = None) -> Migrated:
    """The model of an `.npz` file with its vocabularies, whose answers have at most `longest` tokens.

    `layout`, a row of LAYOUTS, says where the special ids lie where that is not as in the era of the weights.
    """
    arrays = Originals(weights)
    encoder, reads = read_encoder(arrays)
    values = 2 * encoder.stack.size
    decoder, says, era = read_decoder(arrays, values, encoder.attention_key_size or values)
    left_out = arrays.rest()
    source_vocab = read_tokens(source, len(reads["embedding"]["weight"]), layout or era)
    target_vocab = read_tokens(target, len(says["embedding"]["weight"]), layout or era)
    config = ModelConfig(encoder, decoder, source_size=len(source_vocab), target_size=len(target_vocab))
    flat = dict(flatten({"encoder": reads, "decoder": says}))
    build_model(config, nest(flat))  # tried on one token, before it is written
    folder = ModelFolder(config, Limits(0, longest, longest), source_vocab, target_vocab, flat)
    return Migrated(folder, era, left_out)


def read_tokens(tokens: Tokens, rows: int, layout: str) -> Vocab:
    """A list of tokens as the vocabulary of a table with so many rows; three of them are special ids."""
    vocab = read_vocab(tokens.file, tokens.delimiter, layout)
    if len(vocab) != rows:
        held = len(vocab) - len(set(vocab.special))
        raise ModelError(
            f"{tokens.file}: {held} tokens and {len(vocab) - held} special ids for a table of {rows} vectors; give the "
            f"list that the model was trained with (of a longer one it took the first {rows - 3} alone), or the other "
            f"side's; {READ}"
        )
    return vocab


def flatten(tree: Any, place: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Nested weights by dotted names: the way back from `nest`."""
    if isinstance(tree, np.ndarray):
        yield place, np.ascontiguousarray(tree)
        return
    for key, branch in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield from flatten(branch, f"{place}.{key}" if place else str(key))
