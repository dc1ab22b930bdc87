"""Encoders made of encoders, in PyTorch: words over characters, several texts. Twin of `sequencing_np.composed`.

READERS are the encoders that read vectors, whatever they stand for, and so can be a part. A part's `embedding_dropout`
is that of the vectors it is given.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sequencing.cnn import ConvolutionalEncoder
from sequencing.layers import Dropout, Linear, LookUpOp
from sequencing.pooling import PoolingEncoder
from sequencing.rnn import AlternatingRNNEncoder, StackBidirectionalRNNEncoder, StackRNNEncoder
from sequencing.self_attention import SelfAttentionEncoder
from sequencing.tanh_cnn import TanhConvolutionalEncoder
from sequencing_np.composed import (
    CharacterWordEncoderConfig,
    Gathered,
    SeveralSourcesEncoderConfig,
    WordValuesEncoderConfig,
    composed_memory,
    composed_sizes,
    require_width,
)
from sequencing_np.errors import ConfigError
from sequencing_np.state import Memory, MemorySizes

READERS: dict[str, Any] = {
    "rnn": StackRNNEncoder,
    "bidirectional_rnn": StackBidirectionalRNNEncoder,
    "alternating_rnn": AlternatingRNNEncoder,
    "self_attention": SelfAttentionEncoder,
    "convolutional": ConvolutionalEncoder,
    "tanh_convolutional": TanhConvolutionalEncoder,
    "pooling": PoolingEncoder,
}


def gather(chosen: Tensor) -> Gathered:  # (B, S) -> (B, N), N at least 1
    """The true positions of each row in their order."""
    count = chosen.sum(dim=1)
    width = max(int(count.max()), 1)
    index = (~chosen).to(torch.uint8).argsort(dim=1, stable=True)[:, :width]
    return Gathered(index, torch.arange(width, device=chosen.device) < count[:, None])


def take(x: Tensor, gathered: Gathered) -> Tensor:  # (B, S, ...), Gathered -> (B, N, ...)
    """What stands at the gathered positions; zeros past them."""
    index, mask = (part.reshape(*part.shape, *[1] * (x.dim() - 2)) for part in gathered)
    return x.gather(1, index.expand(*gathered.index.shape, *x.shape[2:])) * mask


def word_ends(tokens: Tensor, mask: Tensor, boundary: int) -> Tensor:  # (B, S), (B, S) -> (B, S)
    """True where a word is closed: at each boundary, and at the last real token."""
    last = torch.arange(mask.shape[1], device=mask.device) == mask.sum(dim=1, keepdim=True) - 1
    return mask & ((tokens == boundary) | last)


def text_numbers(tokens: Tensor, mask: Tensor, end: int, count: int) -> Tensor:  # (B, S), (B, S) -> (B, S)
    """Which of `count` texts each token belongs to: as many as were closed before it, at most the last."""
    closed = (mask & (tokens == end)).long()
    return (closed.cumsum(dim=1) - closed).clamp(max=count - 1)


def part_of(name: str, config: Any) -> Any:
    """The encoder inside another one; its advice gets the path that it has there."""
    try:
        return READERS[config.type](config, None)
    except ConfigError as error:
        raise ConfigError(str(error).replace("set encoder.", f"set encoder.{name}.")) from None


def key_maps(size: int, parts: list[MemorySizes]) -> nn.ModuleList | None:
    """A map of the keys of each memory, where the encoder has them."""
    return nn.ModuleList(Linear(part.keys, size) for part in parts) if size else None


class CharacterWordEncoder(nn.Module):
    """Reads characters, then the words that they make: a word's vector is the characters' state where it is closed.

    The memory is that of the characters, the words' stands beside it, and the summary is the words'.
    """

    def __init__(self, config: CharacterWordEncoderConfig, embedding: LookUpOp | None) -> None:
        super().__init__()
        self.boundary = config.boundary
        self.embedding: Any = embedding
        self.characters = part_of("characters", config.characters)
        require_width("words", config.words, self.characters.sizes.values, "the characters' vectors")
        self.words = part_of("words", config.words)
        parts = [self.characters.sizes, self.words.sizes]
        self.sizes = composed_sizes(parts, config.attention_key_size, self.words.sizes.summary)
        self.keys = key_maps(config.attention_key_size, parts)
        self.character_dropout = Dropout(config.characters.embedding_dropout)
        self.word_dropout = Dropout(config.words.embedding_dropout)

    def forward(self, source: Tensor, mask: Tensor) -> Memory:  # (B, S), (B, S) -> Memory
        return self.read(self.embedding(source), mask, self.embedding.words(source))

    def read(self, x: Tensor, mask: Tensor, tokens: Tensor) -> Memory:  # (B, S, E), (B, S), (B, S) -> Memory
        """What the encoder says of vectors, whatever they stand for; `tokens` tell where words end."""
        characters = self.characters.read(self.character_dropout(x), mask, tokens)
        ends = gather(word_ends(tokens, mask, self.boundary))
        vectors = self.word_dropout(take(characters.values, ends))
        words = self.words.read(vectors, ends.mask, take(tokens, ends))
        return composed_memory((characters, words), self.keys, words.summary)


class SeveralSourcesEncoder(nn.Module):
    """Reads several texts that stand one after the other in a row of ids, each with an encoder of its own.

    The memory is that of the first text, those of the others stand beside it; a text that a row lacks is a memory
    without real tokens, and texts past the last encoder belong to the last one. The summary is all of theirs.
    """

    def __init__(self, config: SeveralSourcesEncoderConfig, embedding: LookUpOp | None) -> None:
        super().__init__()
        self.end = config.end
        self.embedding: Any = embedding
        parts = enumerate(config.encoders)
        self.encoders = nn.ModuleList(part_of(f"encoders.{place}", part) for place, part in parts)
        self.dropouts = nn.ModuleList(Dropout(part.embedding_dropout) for part in config.encoders)
        sizes: list[Any] = [each.sizes for each in self.encoders]
        self.sizes = composed_sizes(sizes, config.attention_key_size, sum(each.summary for each in sizes))
        self.keys = key_maps(config.attention_key_size, sizes)

    def forward(self, source: Tensor, mask: Tensor) -> Memory:  # (B, S), (B, S) -> Memory
        return self.read(self.embedding(source), mask, self.embedding.words(source))

    def read(self, x: Tensor, mask: Tensor, tokens: Tensor) -> Memory:  # (B, S, E), (B, S), (B, S) -> Memory
        """What the encoder says of vectors, whatever they stand for; `tokens` tell where texts end."""
        numbers, parts = text_numbers(tokens, mask, self.end, len(self.encoders)), []
        for place, (encoder, dropout) in enumerate(zip(self.encoders, self.dropouts, strict=True)):
            own = gather(mask & (numbers == place))
            reader: Any = encoder
            parts.append(reader.read(dropout(take(x, own)), own.mask, take(tokens, own)))
        return composed_memory(parts, self.keys, torch.cat([part.summary for part in parts], dim=1))


class WordValuesEncoder(nn.Module):
    """Looks by context, finds words: keys and summary are those of another encoder, values come from a second table.

    So what is said at a place does not depend on its neighbours, only where to look does: Russin et al. 2019.
    """

    def __init__(self, config: WordValuesEncoderConfig, embedding: LookUpOp) -> None:
        super().__init__()
        self.embedding = embedding
        own_table = len(embedding.weight), config.value_size, config.embedding_dropout
        self.values = LookUpOp(*own_table, vectors=embedding.vectors)
        self.reader = part_of("reader", config.reader)
        self.dropout = Dropout(config.reader.embedding_dropout)
        own = self.reader.sizes
        self.sizes = MemorySizes(config.attention_key_size or own.keys, config.value_size, own.summary)
        self.keys = key_maps(config.attention_key_size, [own])

    def forward(self, source: Tensor, mask: Tensor) -> Memory:  # (B, S), (B, S) -> Memory
        words = self.embedding.words(source)
        memory = self.reader.read(self.dropout(self.embedding(source)), mask, words)
        memory = memory._replace(values=self.values(self.embedding.plain(source)) * mask[..., None])
        return composed_memory([memory], self.keys, memory.summary)
