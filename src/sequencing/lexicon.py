"""Which target tokens each source token is translated to, counted in pairs of ids; from that a model's Shortlist.

IBM Model 1 (Brown et al. 1993, section 4.1): every target token comes from one source token of its sentence, or from
none, whatever their order. Expectation and maximisation in turn; the first has every pairing equally likely.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from sequencing_np.errors import UsageError
from sequencing_np.shortlist import Shortlist

Pair = tuple[Sequence[int], Sequence[int]]
ITERATIONS = 5
BLOCK = 2_000_000  # pairings that are looked at together
MOST = 100_000_000  # and altogether: more than that teach little that is new, and each takes 4 bytes


class Text(NamedTuple):
    """Sentences one after the other."""

    ids: np.ndarray  # (N,)
    lengths: np.ndarray  # (sentences,)


class Lexicon(NamedTuple):
    """The probability of a target token for a source token, of those that ever stood together."""

    sources: np.ndarray  # (M,) in order; the source's size: no source token
    targets: np.ndarray  # (M,)
    probabilities: np.ndarray  # (M,) sum to one over a source token's rows
    counts: np.ndarray  # (V of the target,) how often each stands there
    sizes: tuple[int, int]  # ids of source and target


def read_pairs(pairs: Iterable[Pair], null: int) -> tuple[Text, Text]:
    """Pairs of ids, the special source token `null` put before each source, until there are MOST pairings."""
    sources, targets, lengths, pairings = [], [], [], 0
    for source, target in pairs:
        sources.append(np.array([null, *source], np.int32))
        targets.append(np.array(target, np.int32))
        lengths.append((len(source) + 1, len(target)))
        pairings += lengths[-1][0] * lengths[-1][1]
        if pairings >= MOST:
            break
    if not lengths:
        raise UsageError("a shortlist of no pairs; give text with at least one")
    each = np.array(lengths)
    return Text(np.concatenate(sources), each[:, 0]), Text(np.concatenate(targets), each[:, 1])


class Pairings(NamedTuple):
    """All pairings of some sentences."""

    sources: np.ndarray  # (P,) source ids
    targets: np.ndarray  # (P,) target ids
    places: np.ndarray  # (P,) which target token of all


def pairings(source: Text, target: Text) -> Iterable[Pairings]:
    """All pairings, in blocks of whole sentences."""
    counts = source.lengths * target.lengths
    begins = [np.concatenate([[0], np.cumsum(side.lengths)[:-1]]) for side in (source, target)]
    block = np.cumsum(counts) // BLOCK
    for number in range(int(block[-1]) + 1):
        rows = np.flatnonzero(block == number)
        own, widths = counts[rows], target.lengths[rows]
        within = np.arange(own.sum()) - np.repeat(np.cumsum(own) - own, own)
        width = np.repeat(np.maximum(widths, 1), own)
        places = np.repeat(begins[1][rows], own) + within % width
        yield Pairings(source.ids[np.repeat(begins[0][rows], own) + within // width], target.ids[places], places)


def learn(pairs: Iterable[Pair], sizes: tuple[int, int], iterations: int = ITERATIONS) -> Lexicon:
    """The lexicon of pairs of ids below `sizes`."""
    source, target = read_pairs(pairs, sizes[0])
    keys = np.zeros(0, np.int64)
    for block in pairings(source, target):
        keys = np.union1d(keys, block.sources.astype(np.int64) * sizes[1] + block.targets)
    blocks = [
        (
            np.searchsorted(keys, block.sources.astype(np.int64) * sizes[1] + block.targets).astype(np.int32),
            block.places,
        )
        for block in pairings(source, target)
    ]
    of, probabilities = keys // sizes[1], np.ones(len(keys))
    for _ in range(iterations):
        expected = np.zeros(len(keys))
        for rows, places in blocks:
            share, first = probabilities[rows], int(places.min(initial=0))
            share /= np.bincount(places - first, share)[places - first]
            expected += np.bincount(rows, share, minlength=len(keys))
        probabilities = expected / np.bincount(of, expected)[of]
    return Lexicon(of, keys % sizes[1], probabilities, np.bincount(target.ids, minlength=sizes[1]), sizes)


def shortlist_of(lexicon: Lexicon, likeliest: int, common: int) -> Shortlist:
    """The `likeliest` target tokens of each source token; the `common` most frequent ones are for all."""
    frequent = np.argsort(-lexicon.counts, kind="stable")[:common]
    frequent = np.sort(frequent[lexicon.counts[frequent] > 0]).astype(np.int32)
    order = np.lexsort((lexicon.targets, -lexicon.probabilities, lexicon.sources))
    sources, targets = lexicon.sources[order], lexicon.targets[order]
    kept = ~np.isin(targets, frequent) & (sources < lexicon.sizes[0])
    sources, targets = sources[kept], targets[kept]
    rows = np.bincount(sources, minlength=lexicon.sizes[0])
    rank = np.arange(len(sources)) - np.repeat(np.cumsum(rows) - rows, rows)
    kept = rank < likeliest
    starts = np.concatenate([[0], np.cumsum(np.bincount(sources[kept], minlength=lexicon.sizes[0]))])
    return Shortlist(starts.astype(np.int64), targets[kept].astype(np.int32), frequent)


class Covered(NamedTuple):
    """How a shortlist fits pairs."""

    pairs: int
    share: float  # of their target tokens that are on the lists
    length: float  # tokens on the list of a sentence


def covered(table: Shortlist, pairs: Iterable[Pair]) -> Covered:
    """How many of the target tokens (without special ones) are on the list of their sentence."""
    count = found = tokens = length = 0
    for source, target in pairs:
        own = table.of(source)
        count, length = count + 1, length + len(own)
        tokens, found = tokens + len(target), found + int(np.isin(target, own).sum())
    return Covered(count, found / max(tokens, 1), length / max(count, 1))
