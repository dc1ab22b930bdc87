"""Text to encoded pairs in memory: what a run on text files learns from."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from sequencing.data.corpus import Counted, Entry
from sequencing.data.lengths import Lengths, by_length
from sequencing.data.store import SIDES, Encoded, Pairs, StoreCorpus
from sequencing_np.batch import Ragged, offsets_of
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
        flat, lengths = (array("i"), array("i")), (array("q"), array("q"))
        for source, target, file, line in entries:
            rows = vocabs[0].encode(source), vocabs[1].encode(target)
            if max(map(len, rows)) > max_length:
                dropped.note(file, line)
                continue
            for ids, all_ids, sizes in zip(rows, flat, lengths, strict=True):
                all_ids.extend(ids)
                sizes.append(len(ids))
        sides = [
            Ragged(np.array(ids, dtype=np.int32), offsets_of(np.array(sizes, dtype=np.int64)))
            for ids, sizes in zip(flat, lengths, strict=True)
        ]
        encoded.append(Encoded(number, *sides))
    corpora = [StoreCorpus(f"part {number + 1}", weight) for number, weight in enumerate(weights)]
    return Encoding(in_memory(encoded, corpora), dropped)


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
