"""Which words go wrong: counted by the length of a sentence, by how often a word was learnt, by its place.

A word of a reference is wrong where the cheapest edits that turn the reference into the answer change it or leave it
out. Knows nothing of models, and keeps counts alone, so that a file may be of any length.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sequencing.edits import aligned
from sequencing_np.errors import DataError

LEVELS: dict[str, Callable[[str], list[str]]] = {"words": str.split, "characters": list}
LENGTHS = (0, 1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100)  # where a group begins
FREQUENCIES = (0, 1, 2, 4, 10, 30, 100, 1000, 10_000)


class Group(NamedTuple):
    """A bar: what it counts, and how many of them are wrong."""

    name: str
    wrong: int
    total: int
    sentences: int


class Edits(NamedTuple):
    """What stands between a reference and an answer."""

    right: list[bool]  # of each word of the reference
    distance: int  # changed, left out and added words


class ErrorGroups:
    """Counts answers and references, and tells what was wrong of which."""

    def __init__(self, frequencies: Mapping[str, int] | None = None, level: str = "words") -> None:
        self.frequencies, self.level, self.split = frequencies, level, LEVELS[level]
        self.lengths, self.places, self.seen = (Counts(edges) for edges in (LENGTHS, LENGTHS[1:], FREQUENCIES))
        self.sentences = self.exact = 0

    def add(self, answer: str, reference: str) -> None:
        """Count one answer."""
        words = self.split(reference)
        edits = edits_of(self.split(answer), words)
        self.sentences += 1
        self.exact += answer == reference
        self.lengths.add(len(words), edits.distance, len(words))
        for place, (word, right) in enumerate(zip(words, edits.right, strict=True), 1):
            self.places.add(place, not right, 1)
            if self.frequencies is not None:
                self.seen.add(self.frequencies.get(word, 0), not right, 1)


class Counts:
    """Sums for groups of numbers."""

    def __init__(self, edges: Sequence[int]) -> None:
        self.edges = edges
        self.sums = np.zeros((len(edges), 3), dtype=np.int64)  # wrong, total, times

    def add(self, number: int, wrong: int, total: int) -> None:
        """Count something in the group of a number."""
        self.sums[bisect_right(self.edges, number) - 1] += (wrong, total, 1)

    def groups(self) -> list[Group]:
        """Those in which something was counted."""
        ends = [edge - 1 for edge in self.edges[1:]]
        names = [str(edge) if edge == end else f"{edge:,}–{end:,}" for edge, end in zip(self.edges, ends, strict=False)]
        names.append(f"{self.edges[-1]:,} or more")
        return [Group(name, *row) for name, row in zip(names, self.sums.tolist(), strict=True) if row[2]]


def edits_of(answer: Sequence[str], reference: Sequence[str]) -> Edits:
    """Of a shortest way from the reference to the answer."""
    pairs = aligned(reference, answer)
    right = [word == said for word, said in pairs if word is not None]
    return Edits(right, sum(word != said for word, said in pairs))


def count_words(lines: Iterable[str], level: str = "words") -> Counter[str]:
    """How often each word stands in a text."""
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(LEVELS[level](line))
    return counts


def read_counts(lines: Iterable[str], name: str) -> dict[str, int]:
    """The counts that `sequencing vocab` writes: `token<tab>count` lines."""
    return dict(counted(lines, name))


def counted(lines: Iterable[str], name: str) -> Iterator[tuple[str, int]]:
    """Tokens with their counts; a DataError tells the line that has none."""
    for number, line in enumerate(lines, 1):
        token, tab, count = line.rpartition("\t")
        if not tab or not (count.isascii() and count.isdigit()):
            raise DataError(f"{name}:{number}: {line[:40]!r} is no count; write token<tab>count, as `sequencing vocab`")
        yield token, int(count)
