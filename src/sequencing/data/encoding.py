"""Text to encoded pairs in memory: what a run on text files learns from."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sequencing.data.corpus import Counted, Entry
from sequencing.data.lengths import Lengths, by_length
from sequencing.data.store import SIDES, Encoded, Pairs, StoreCorpus
from sequencing_np.batch import Ragged, offsets_of, ragged
from sequencing_np.errors import DataError
from sequencing_np.vocab import Vocabulary


class Encoding(NamedTuple):
    """A corpus as ids."""

    pairs: Pairs
    dropped: Counted  # pairs of which a side has too many tokens


def encode(
    parts: Sequence[Iterable[Entry]], vocabs: tuple[Vocabulary, Vocabulary], max_length: int, weights: Sequence[float]
) -> Encoding:
    """The pairs of one or more corpora, in memory; what is longer than `max_length` tokens a side is left out."""
    dropped, encoded = Counted(), []
    for number, entries in enumerate(parts):
        sides: list[Any] = [(Vectors if vocab.vector_size else Ids)(vocab) for vocab in vocabs]
        for source, target, file, line in entries:
            try:
                rows = vocabs[0].encode(source), vocabs[1].encode(target)
            except DataError as error:
                raise DataError(f"{file}:{line}: {error}") from None
            if max(map(len, rows)) > max_length:
                dropped.note(file, line)
                continue
            for row, side in zip(rows, sides, strict=True):
                side.add(row)
        encoded.append(Encoded(number, *(side.ragged() for side in sides)))
    corpora = [StoreCorpus(f"part {number + 1}", weight) for number, weight in enumerate(weights)]
    return Encoding(in_memory(encoded, corpora), dropped)


class Ids:
    """Rows of ids, collected in as little memory as they need."""

    def __init__(self, vocab: Vocabulary) -> None:
        self.flat, self.lengths = array("i"), array("q")

    def add(self, row: Sequence[int]) -> None:
        """One row more."""
        self.flat.extend(row)
        self.lengths.append(len(row))

    def ragged(self) -> Ragged:
        """All of them."""
        return Ragged(np.array(self.flat, dtype=np.int32), offsets_of(np.array(self.lengths, dtype=np.int64)))


class Vectors:
    """Rows of vectors, collected."""

    def __init__(self, vocab: Vocabulary) -> None:
        self.rows = [np.zeros((0, len(vocab)), dtype=np.float32)]  # so that none at all have a width, too

    def add(self, row: np.ndarray) -> None:
        """One sequence more."""
        self.rows.append(row)

    def ragged(self) -> Ragged:
        """All of them."""
        flat, offsets = ragged(self.rows)
        return Ragged(flat, offsets[1:])


def in_memory(parts: Sequence[Encoded], corpora: Sequence[StoreCorpus]) -> Pairs:
    """Pairs without a folder."""
    sides = []
    for name in SIDES:
        rows: list[Ragged] = [getattr(part, name) for part in parts]
        ends = np.cumsum([0, *(len(each.flat) for each in rows)])
        offsets = [each.offsets[1:] + end for each, end in zip(rows, ends[:-1], strict=True)]
        flat = [each.flat for each in rows]
        sides.append(Ragged(np.concatenate(flat), np.concatenate([np.zeros(1, dtype=np.int64), *offsets])))
    corpus = np.repeat([part.corpus for part in parts], [len(part.source.offsets) - 1 for part in parts])
    source, target = sides
    return Pairs((source, target), by_length(Lengths(source.lengths, target.lengths, corpus)), corpora)
