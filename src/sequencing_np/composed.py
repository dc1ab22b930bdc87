"""Encoders made of encoders, in NumPy: words over characters, several texts. Twin of `sequencing.composed`.

READERS are the encoders that read vectors, whatever they stand for, and so can be a part. A composed encoder says one
memory with others beside it; what looks at them all is in several_memories.py. Text and its symbols are not known
here, only the ids that close a word or a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from sequencing_np.cnn import ConvolutionalEncoder, ConvolutionalEncoderConfig
from sequencing_np.config import choose, require
from sequencing_np.layers import LookUpOp, key_map
from sequencing_np.pooling import PoolingEncoder, PoolingEncoderConfig
from sequencing_np.rnn import (
    AlternatingRNNEncoder,
    RNNEncoderConfig,
    StackBidirectionalRNNEncoder,
    StackRNNEncoder,
)
from sequencing_np.self_attention import SelfAttentionEncoder, SelfAttentionEncoderConfig
from sequencing_np.state import Array, Memory, MemorySizes
from sequencing_np.tanh_cnn import TanhConvolutionalEncoder, TanhConvolutionalEncoderConfig

Weights = dict[str, Any]

READERS: dict[str, Any] = {
    "rnn": StackRNNEncoder,
    "bidirectional_rnn": StackBidirectionalRNNEncoder,
    "alternating_rnn": AlternatingRNNEncoder,
    "self_attention": SelfAttentionEncoder,
    "convolutional": ConvolutionalEncoder,
    "tanh_convolutional": TanhConvolutionalEncoder,
    "pooling": PoolingEncoder,
}
READER_CONFIGS: dict[str, type] = {  # what each row is configured by
    "rnn": RNNEncoderConfig,
    "bidirectional_rnn": RNNEncoderConfig,
    "alternating_rnn": RNNEncoderConfig,
    "self_attention": SelfAttentionEncoderConfig,
    "convolutional": ConvolutionalEncoderConfig,
    "tanh_convolutional": TanhConvolutionalEncoderConfig,
    "pooling": PoolingEncoderConfig,
}
PART = {"part": "encoder"}  # marks a field that holds the configuration of a row of READERS, or several of them


def require_composed(config: Any) -> None:
    """The rules of the fields that every encoder has."""
    require(config.embedding_size >= 1, f"embedding_size {config.embedding_size}: must be 1 or more")
    require(0 <= config.embedding_dropout < 1, f"embedding_dropout {config.embedding_dropout}: from 0 to below 1")
    require(config.attention_key_size >= 0, f"attention_key_size {config.attention_key_size}: must be 0 or more")


def require_width(name: str, part: Any, width: int, why: str) -> None:
    """A part reads vectors of the width that it is given."""
    choose(READERS, part.type, f"{name}.type")
    wrong = f"{name}.embedding_size {part.embedding_size}: {why} have width {width}"
    require(part.embedding_size == width, f"{wrong}; set encoder.{name}.embedding_size = {width}")


@dataclass(frozen=True)
class CharacterWordEncoderConfig:
    """CharacterWordEncoder."""

    type: str = "characters_to_words"
    embedding_size: int = 256  # of the characters
    embedding_dropout: float = 0.0
    characters: Any = field(default_factory=lambda: RNNEncoderConfig("rnn"), metadata=PART)
    words: Any = field(default_factory=RNNEncoderConfig, metadata=PART)
    boundary: int = field(default=0, metadata={"token": " "})  # the id that closes a word; the trainer fills it in
    attention_key_size: int = 0  # width of both memories' projected keys; 0: the keys are those of the parts

    def __post_init__(self) -> None:
        require_composed(self)
        require_width("characters", self.characters, self.embedding_size, "the embedded characters")
        choose(READERS, self.words.type, "words.type")


@dataclass(frozen=True)
class SeveralSourcesEncoderConfig:
    """SeveralSourcesEncoder."""

    type: str = "several_sources"
    embedding_size: int = 256
    embedding_dropout: float = 0.0
    encoders: tuple[Any, ...] = field(default_factory=lambda: (RNNEncoderConfig(), RNNEncoderConfig()), metadata=PART)
    # the id that closes a text, as many texts as there are encoders; the trainer fills it in
    end: int = field(default=3, metadata={"special": "eos", "texts": "encoders"})
    attention_key_size: int = 0  # width of all memories' projected keys; 0: the keys are those of the parts

    def __post_init__(self) -> None:
        require_composed(self)
        require(len(self.encoders) >= 1, "encoders: give at least one, and one for each text of a source")
        for place, part in enumerate(self.encoders):
            require_width(f"encoders.{place}", part, self.embedding_size, "the embedded words")


@dataclass(frozen=True)
class WordValuesEncoderConfig:
    """WordValuesEncoder."""

    type: str = "word_values"
    embedding_size: int = 256  # of what the part reads
    embedding_dropout: float = 0.0  # of both tables
    reader: Any = field(default_factory=RNNEncoderConfig, metadata=PART)
    value_size: int = 256  # of the table of values
    attention_key_size: int = 0  # width of the projected keys; 0: the keys are those of the part

    def __post_init__(self) -> None:
        require_composed(self)
        require(self.value_size >= 1, f"value_size {self.value_size}: must be 1 or more")
        require_width("reader", self.reader, self.embedding_size, "the embedded words")


class Gathered(NamedTuple):
    """Chosen positions of each row, side by side from the left."""

    index: Array  # (B, N)  where they stood
    mask: Array  # (B, N)  true where there is one


def gather(chosen: np.ndarray) -> Gathered:  # (B, S) -> (B, N), N at least 1
    """The true positions of each row in their order."""
    count = chosen.sum(axis=1)
    width = max(int(count.max(initial=0)), 1)
    return Gathered(np.argsort(~chosen, axis=1, kind="stable")[:, :width], np.arange(width) < count[:, None])


def take(x: np.ndarray, gathered: Gathered) -> np.ndarray:  # (B, S, ...), Gathered -> (B, N, ...)
    """What stands at the gathered positions; zeros past them."""
    index, mask = (part.reshape(*part.shape, *[1] * (x.ndim - 2)) for part in gathered)
    return np.take_along_axis(x, index, axis=1) * mask


def word_ends(tokens: np.ndarray, mask: np.ndarray, boundary: int) -> np.ndarray:  # (B, S), (B, S) -> (B, S)
    """True where a word is closed: at each boundary, and at the last real token."""
    last = np.arange(mask.shape[1]) == mask.sum(axis=1, keepdims=True) - 1
    return mask & ((tokens == boundary) | last)


def text_numbers(tokens: np.ndarray, mask: np.ndarray, end: int, count: int) -> np.ndarray:  # (B, S), (B, S) -> (B, S)
    """Which of `count` texts each token belongs to: as many as were closed before it, at most the last."""
    closed = mask & (tokens == end)
    return np.minimum(closed.cumsum(axis=1) - closed, count - 1)


def composed_sizes(parts: Sequence[MemorySizes], key_size: int, summary: int) -> MemorySizes:
    """The widths of a memory made of these."""
    first, *others = (MemorySizes(key_size or part.keys, part.values, part.summary) for part in parts)
    return first._replace(summary=summary, others=tuple(others))


def composed_memory(parts: Sequence[Memory], keys: Any, summary: Array) -> Memory:
    """The first memory with the others beside it; `keys` are maps of each one's keys, or nothing."""
    maps = keys or [lambda x: x] * len(parts)
    first, *others = (part._replace(keys=own(part.keys), others=()) for own, part in zip(maps, parts, strict=True))
    return first._replace(summary=summary, others=tuple(others))


def numbered(weights: Any, count: int) -> list[Weights]:
    """The weights of each of `count` parts; a part that has none is not named among them."""
    named = {str(place): own for place, own in enumerate(weights)} if isinstance(weights, list) else dict(weights or {})
    parts = [named.pop(str(place), {}) for place in range(count)]
    require(not named, f"weights of {sorted(named)}, yet there are {count} parts")
    return parts


def key_maps(size: int, count: int, weights: Any) -> list[Any]:
    """A map of the keys of each memory, where the encoder has them."""
    require((weights is not None) == bool(size), "the weights and attention_key_size contradict each other")
    return [key_map(size, own) for own in numbered(weights, count)] if size else []


class CharacterWordEncoder:
    """Reads characters, then the words that they make: a word's vector is the characters' state where it is closed.

    The memory is that of the characters, the words' stands beside it, and the summary is the words'.
    """

    def __init__(
        self,
        config: CharacterWordEncoderConfig,
        *,
        embedding: Weights | None = None,
        characters: Weights | None = None,
        words: Weights | None = None,
        keys: Any = None,
    ) -> None:
        self.boundary = config.boundary
        self.embedding: Any = LookUpOp(**embedding) if embedding else None
        self.characters = READERS[config.characters.type](config.characters, **(characters or {}))
        self.words = READERS[config.words.type](config.words, **(words or {}))
        width = self.characters.sizes.values
        require_width("words", config.words, width, "the characters' vectors")
        parts = self.characters.sizes, self.words.sizes
        self.sizes = composed_sizes(parts, config.attention_key_size, self.words.sizes.summary)
        self.keys = key_maps(config.attention_key_size, 2, keys)

    def __call__(self, source: np.ndarray, mask: np.ndarray) -> Memory:  # (B, S), (B, S) -> Memory
        return self.read(self.embedding(source), mask, self.embedding.words(source))

    def read(self, x: np.ndarray, mask: np.ndarray, tokens: np.ndarray) -> Memory:  # (B, S, E), (B, S), (B, S)
        """What the encoder says of vectors, whatever they stand for; `tokens` tell where words end."""
        characters = self.characters.read(x, mask, tokens)
        ends = gather(word_ends(tokens, mask, self.boundary))
        words = self.words.read(take(characters.values, ends), ends.mask, take(tokens, ends))
        return composed_memory((characters, words), self.keys, words.summary)


class SeveralSourcesEncoder:
    """Reads several texts that stand one after the other in a row of ids, each with an encoder of its own.

    The memory is that of the first text, those of the others stand beside it; a text that a row lacks is a memory
    without real tokens, and texts past the last encoder belong to the last one. The summary is all of theirs.
    """

    def __init__(
        self,
        config: SeveralSourcesEncoderConfig,
        *,
        embedding: Weights | None = None,
        encoders: Any = None,
        keys: Any = None,
    ) -> None:
        self.end, count = config.end, len(config.encoders)
        self.embedding: Any = LookUpOp(**embedding) if embedding else None
        pairs = zip(config.encoders, numbered(encoders, count), strict=True)
        self.encoders = [READERS[part.type](part, **own) for part, own in pairs]
        sizes = [each.sizes for each in self.encoders]
        self.sizes = composed_sizes(sizes, config.attention_key_size, sum(each.summary for each in sizes))
        self.keys = key_maps(config.attention_key_size, count, keys)

    def __call__(self, source: np.ndarray, mask: np.ndarray) -> Memory:  # (B, S), (B, S) -> Memory
        return self.read(self.embedding(source), mask, self.embedding.words(source))

    def read(self, x: np.ndarray, mask: np.ndarray, tokens: np.ndarray) -> Memory:  # (B, S, E), (B, S), (B, S)
        """What the encoder says of vectors, whatever they stand for; `tokens` tell where texts end."""
        numbers, parts = text_numbers(tokens, mask, self.end, len(self.encoders)), []
        for place, encoder in enumerate(self.encoders):
            own = gather(mask & (numbers == place))
            parts.append(encoder.read(take(x, own), own.mask, take(tokens, own)))
        return composed_memory(parts, self.keys, np.concatenate([part.summary for part in parts], axis=1))


class WordValuesEncoder:
    """Looks by context, finds words: keys and summary are those of another encoder, values come from a second table.

    So what is said at a place does not depend on its neighbours, only where to look does: Russin et al. 2019.
    """

    def __init__(
        self,
        config: WordValuesEncoderConfig,
        *,
        embedding: Weights,
        values: Weights,
        reader: Weights | None = None,
        keys: Any = None,
    ) -> None:
        self.embedding, self.values = LookUpOp(**embedding), LookUpOp(**values)
        shape, wanted = self.values.weight.shape, (len(self.embedding.weight), config.value_size)
        require(shape == wanted, f"a table of values of shape {shape}, configured {wanted}")
        self.reader = READERS[config.reader.type](config.reader, **(reader or {}))
        own = self.reader.sizes
        self.sizes = MemorySizes(config.attention_key_size or own.keys, config.value_size, own.summary)
        self.keys = key_maps(config.attention_key_size, 1, keys)

    def __call__(self, source: np.ndarray, mask: np.ndarray) -> Memory:  # (B, S), (B, S) -> Memory
        words = self.embedding.words(source)
        memory = self.reader.read(self.embedding(source), mask, words)
        memory = memory._replace(values=self.values(self.embedding.plain(source)) * mask[..., None])
        return composed_memory([memory], self.keys, memory.summary)
