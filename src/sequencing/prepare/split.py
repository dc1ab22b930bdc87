"""Parts the pairs into train, dev and test, so that no sentence stands in two of them.

What is held out is chosen by a number that depends on the seed and the source sentence alone: all pairs of one source
go together, and a corpus that grows keeps most of its choice. Where a sentence stands on both sides, test goes before
dev, and dev before train: the other pair is dropped and counted. Case, punctuation and spaces do not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sequencing.prepare.keys import APART, COLUMN, mixed, pair_keys
from sequencing.prepare.settings import SplitConfig
from sequencing.prepare.shards import (
    DEV,
    LIKE_DEV,
    LIKE_TEST,
    TEST,
    TRAIN,
    Shard,
    keep_verdicts,
    open_verdicts,
    read_columns,
)
from sequencing_np.errors import DataError

Sentences = dict[str, np.ndarray]  # by row of APART: the sorted loose keys of what is held out


class Ranked(NamedTuple):
    """Pairs that may be held out, the first ones first."""

    order: np.ndarray  # (n, 3) uint64: by source, by pair, by place
    columns: np.ndarray  # (COLUMNS, n) uint64


def mark_split(work: Path, shards: Sequence[Shard], config: SplitConfig, eligible: set[int]) -> None:
    """Give each pair its part of the split; `eligible` are the numbers of the corpora from which is held out."""
    verdicts = open_verdicts(work, "r+")
    by_role = {role: [shard for shard in shards if shard.record["role"] == role] for role in ("train", "dev", "test")}
    test = sentences(work, by_role["test"], config.apart)
    for shard in by_role["test"]:
        verdicts[shard.pairs] = TEST
    for shard in by_role["dev"]:
        verdicts[shard.pairs] = np.where(known(read_columns(work, shard), test), LIKE_TEST, DEV)
    dev = sentences(work, by_role["dev"], config.apart)
    if config.dev or config.test:
        pool = [shard for shard in by_role["train"] if shard.record["corpus"] in eligible]
        chosen = choose(work, pool, config, (dev, test))
        for part, verdict in zip(chosen, (DEV, TEST), strict=True):
            verdicts[part.order[:, 2].astype(np.int64)] = verdict
        dev, test = (
            joined(before, part.columns, config.apart) for before, part in zip((dev, test), chosen, strict=True)
        )
    for shard in by_role["train"]:
        columns, own = read_columns(work, shard), verdicts[shard.pairs]
        training = own == TRAIN
        like_test = training & known(columns, test)
        own[training & known(columns, dev) & ~like_test] = LIKE_DEV
        own[like_test] = LIKE_TEST
    keep_verdicts(verdicts)


def choose(
    work: Path, shards: Sequence[Shard], config: SplitConfig, given: tuple[Sentences, Sentences]
) -> tuple[Ranked, Ranked]:
    """The pairs of dev and of test. DataError where there are too few."""
    wanted = config.dev + config.test
    looked = 2 * wanted + 100  # more than wanted, as some share a sentence with those before them
    while True:
        first, complete = ranked(work, shards, config.seed, given, looked)
        test = picked(first, np.arange(min(config.test, len(first.order))))
        free = ~known(first.columns, joined({}, test.columns, config.apart))
        free[: len(test.order)] = False
        dev = picked(first, np.flatnonzero(free)[: config.dev])
        if len(test.order) == config.test and len(dev.order) == config.dev:
            return dev, test
        if complete:
            raise DataError(
                f"split.dev {config.dev} and split.test {config.test}: only {len(dev.order)} and {len(test.order)} "
                "pairs can be held out without a sentence in both; ask for fewer, or give more text"
            )
        looked *= 4


def ranked(
    work: Path, shards: Sequence[Shard], seed: int, given: tuple[Sentences, Sentences], count: int
) -> tuple[Ranked, bool]:
    """The first `count` pairs that share no sentence with given text, and whether these are all."""
    verdicts = open_verdicts(work)
    kept, complete = Ranked(np.zeros((0, 3), np.uint64), np.zeros((len(COLUMN), 0), np.uint64)), True
    for shard in shards:
        columns = read_columns(work, shard)
        free = (verdicts[shard.pairs] == TRAIN) & ~known(columns, given[0]) & ~known(columns, given[1])
        rows = np.flatnonzero(free)
        columns = columns[:, rows]
        order = np.stack(
            [
                mixed(columns[COLUMN["loose_source"]], seed),
                mixed(pair_keys(columns), seed),
                (rows + shard.start).astype(np.uint64),
            ],
            axis=1,
        )
        both = Ranked(np.concatenate([kept.order, order]), np.concatenate([kept.columns, columns], axis=1))
        kept = picked(both, np.lexsort(both.order.T[::-1])[:count])
        complete = complete and len(both.order) <= count
    return kept, complete


def picked(pairs: Ranked, rows: np.ndarray) -> Ranked:
    """Some of the pairs, in this order."""
    return Ranked(pairs.order[rows], pairs.columns[:, rows])


def sentences(work: Path, shards: Sequence[Shard], apart: Sequence[str]) -> Sentences:
    """The sentences of all pairs of some shards that are held out."""
    found: Sentences = {}
    verdicts = open_verdicts(work)
    for shard in shards:
        held_out = verdicts[shard.pairs] != LIKE_TEST
        found = joined(found, read_columns(work, shard)[:, held_out], apart)
    return found


def joined(before: Sentences, columns: np.ndarray, apart: Sequence[str]) -> Sentences:
    """Sentences with those of more pairs."""
    none = np.zeros(0, dtype=np.uint64)
    return {name: np.union1d(before.get(name, none), APART[name](columns)) for name in apart}


def known(columns: np.ndarray, held_out: Sentences) -> np.ndarray:  # (COLUMNS, n) -> (n,) bool
    """Which pairs have a sentence that is among those held out."""
    found = np.zeros(columns.shape[1], dtype=bool)
    for name, keys in held_out.items():
        if len(keys):
            own = APART[name](columns)
            found |= keys[np.minimum(np.searchsorted(keys, own), len(keys) - 1)] == own
    return found
