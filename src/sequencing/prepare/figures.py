"""What a preparation has to say in numbers: one dictionary, fit for JSON, put together from what the stages left.

    pairs read = pairs kept + pairs dropped, by reason, for each corpus

Every dropped pair has one reason, that of the first stage that dropped it. Knows nothing of how it is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from sequencing.corpora.cleaning import REASONS
from sequencing.data.order import OrderOptions, best_layout, padded
from sequencing.data.store import open_store
from sequencing.prepare.cleaning import TRAINING, totals
from sequencing.prepare.encoding import examples
from sequencing.prepare.manifest import STORE
from sequencing.prepare.settings import HELD_OUT, PrepareConfig
from sequencing.prepare.shards import (
    DEV,
    DUPLICATE,
    EXAMPLES,
    IDS,
    LIKE_DEV,
    LIKE_TEST,
    TEST,
    TRAIN,
    Shard,
    open_verdicts,
    read_record,
    read_text,
)
from sequencing_np.batch import token_batches
from sequencing_np.model_folder import VOCABULARIES
from sequencing_np.vocab import Vocabulary, load_vocab

SIDES = ("source", "target")
KINDS = ("words", "characters", "lengths")
KEPT = {TRAIN: "train", DEV: "dev", TEST: "test"}
LIKE = {LIKE_DEV: "in_dev", LIKE_TEST: "in_test"}
DECISIONS = {  # reasons of the stages after cleaning, in words
    "in_dev": "a sentence of it stands in dev",
    "in_test": "a sentence of it stands in test",
    "too_many_tokens": "a side has more tokens than max_length",
}
BUDGET, LOOKED = 8192, 100_000  # tokens a batch; pairs that are looked at as they come
MANY = {"duplicates": 0.2, "dropped": 0.5, "held_out": 0.05, "unknown": 0.02}  # shares above which a warning is given


def words_of(reason: str) -> str:
    """A reason in words."""
    if reason.startswith("duplicate_"):
        return f"an earlier pair has the same {reason.removeprefix('duplicate_').replace('_', ' ')}"
    return DECISIONS.get(reason) or str(REASONS.get(reason, reason))


def verdict_names(config: PrepareConfig) -> dict[int, str]:
    """What the verdicts of dropped pairs are called."""
    return {**LIKE, **{DUPLICATE + place: f"duplicate_{key}" for place, key in enumerate(config.duplicates.keys)}}


def decided(work: Path, shards: Sequence[Shard], config: PrepareConfig) -> dict[str, Any]:
    """How many pairs of each corpus got which verdict, and the first few of those that were dropped."""
    names = {**KEPT, **verdict_names(config)}
    verdicts = open_verdicts(work)
    counts: dict[str, dict[str, int]] = {}
    found: dict[str, dict[str, list[Any]]] = {}
    for shard in shards:
        own = np.asarray(verdicts[shard.pairs])
        place = place_of(shard.record)
        sums, shown = counts.setdefault(place, {}), found.setdefault(place, {})
        lines: list[str] = []
        for verdict, count in enumerate(np.bincount(own).tolist()):
            if not count:
                continue
            name = names[verdict]
            sums[name] = sums.get(name, 0) + count
            known = shown.setdefault(name, [])
            if verdict not in KEPT and len(known) < EXAMPLES:
                lines = lines or read_text(work, shard)
                known += examples(work, shard, np.flatnonzero(own == verdict)[: EXAMPLES - len(known)], lines)
    return {"counts": counts, "examples": found}


def place_of(record: Mapping[str, Any]) -> str:
    """A corpus, as a key: its role and its number."""
    return f"{record['role']} {record['corpus']}"


def figures_of(
    folder: Path, work: Path, shards: Sequence[Shard], config: PrepareConfig, decisions: Mapping[str, Any]
) -> dict[str, Any]:
    """The whole report, but for what the inputs are recognised by and the warnings."""
    encoded = {shard.name: read_record(work / (shard.name + IDS)) for shard in shards if trains(shard)}
    corpora = [
        corpus_figures(role, number, name, shards, encoded, decisions, config)
        for role, number, name in corpus_names(config)
    ]
    vocabs = [load_vocab(folder / name) for name in VOCABULARIES]
    held_out = {name: sum(counts.get(name, 0) for counts in decisions["counts"].values()) for name in HELD_OUT}
    sides = {
        name: side_figures([record["sides"][side] for record in encoded.values()], vocabs[side])
        for side, name in enumerate(SIDES)
    }
    return {
        "split": {TRAINING: sum(record["pairs"] for record in encoded.values()), **held_out},
        "corpora": corpora,
        "dropped": merged(corpus["dropped"] for corpus in corpora),
        "changed": summed(corpus["changed"] for corpus in corpora),
        "sides": sides,
        "joint": vocabs[0].to_json() == vocabs[1].to_json(),
        "padding": padding_of(folder, config.max_length),
    }


def trains(shard: Shard) -> bool:
    return bool(shard.record["role"] == TRAINING)


def corpus_names(config: PrepareConfig) -> list[tuple[str, int, str]]:
    """Role, number and name of each corpus."""
    roles = zip((TRAINING, *HELD_OUT), (config.corpora, config.dev, config.test), strict=True)
    return [(role, number, corpus.name) for role, corpora in roles for number, corpus in enumerate(corpora)]


def corpus_figures(
    role: str,
    number: int,
    name: str,
    shards: Sequence[Shard],
    encoded: Mapping[str, Mapping[str, Any]],
    decisions: Mapping[str, Any],
    config: PrepareConfig,
) -> dict[str, Any]:
    """What became of the rows of one corpus."""
    own = [shard for shard in shards if (shard.record["role"], shard.record["corpus"]) == (role, number)]
    read = totals([shard.record for shard in own])
    place = f"{role} {number}"
    counts, shown = (decisions[kind].get(place, {}) for kind in ("counts", "examples"))
    later = [
        {reason: {"count": counts[reason], "examples": shown[reason]}}
        for reason in verdict_names(config).values()
        if counts.get(reason)
    ]
    later += [{"too_many_tokens": encoded[shard.name]["too_many_tokens"]} for shard in own if shard.name in encoded]
    dropped = merged([read["dropped"], *later])
    files = {shard.record["file"]: None for shard in own}
    kept = read["read"] - sum(found["count"] for found in dropped.values())
    return {
        "name": name, "role": role, "files": list(files), "read": read["read"], "kept": kept,
        "held_out": {part: counts.get(part, 0) for part in HELD_OUT} if role == TRAINING else {},
        "dropped": dropped, "changed": read["changed"],
    }  # fmt: skip


def merged(parts: Iterable[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Reasons with their counts and first examples, of several as one."""
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        for reason, each in part.items():
            if each["count"]:
                into = found.setdefault(reason, {"count": 0, "examples": []})
                into["count"] += each["count"]
                into["examples"] = (into["examples"] + list(each["examples"]))[:EXAMPLES]
    return found


def summed(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Counts of several as one."""
    found: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            found[name] = found.get(name, 0) + count
    return found


def side_figures(records: Sequence[Mapping[str, Any]], vocab: Vocabulary) -> dict[str, Any]:
    """Lengths of the training pairs on one side, and how its vocabulary covers them."""
    tokens, unknown = (sum(record[name] for record in records) for name in ("tokens", "unknown"))
    histograms = {
        kind: [sum(column) for column in zip_longest(*(record[kind] for record in records), fillvalue=0)]
        for kind in KINDS
    }
    return {
        "vocabulary": len(vocab),
        "tokens": tokens,
        "unknown": unknown / tokens if tokens else 0.0,
        "tokens_per_word": tokens / words if (words := total_of(histograms["words"])) else 0.0,
        **histograms,
    }


def total_of(histogram: Sequence[int]) -> int:
    """The sum of the values that a histogram counts."""
    return sum(value * count for value, count in enumerate(histogram))


def quantile(histogram: Sequence[int], share: float) -> int:
    """The value that this share of all does not exceed."""
    wanted, below = share * sum(histogram), 0
    for value, count in enumerate(histogram):
        below += count
        if below >= wanted and below:
            return value
    return 0


def padding_of(folder: Path, max_length: int) -> dict[str, Any]:
    """What part of batches is padding: as training makes them, and of pairs as they come."""
    pairs = open_store(folder / STORE)
    options = OrderOptions(BUDGET, max_length, 1, [1.0] * len(pairs.corpora))
    cells = pairs.order.cells
    layout = best_layout(cells, options)
    tokens, cut = int((cells.counts * (cells.source + cells.target)).sum()), padded(cells, layout, BUDGET)
    some = np.stack([side.offsets[: LOOKED + 1] for side in (pairs.source, pairs.target)], axis=1)
    lengths = np.diff(some, axis=0)
    rows = token_batches(lengths.sum(axis=1), BUDGET)
    as_they_come = sum(int(lengths[each].max(axis=0).sum()) * len(each) for each in rows)
    return {
        "batch_tokens": BUDGET,
        "by_length": 1 - tokens / cut if cut else 0.0,
        "as_they_come": 1 - int(lengths.sum()) / as_they_come if as_they_come else 0.0,
    }


def warnings_of(report: Mapping[str, Any], config: PrepareConfig) -> list[str]:
    """What a person should look at before training, in sentences."""
    found: list[str] = []
    given = {f"in_{name}": name for name in HELD_OUT if getattr(config, name)}
    for role, words in ((TRAINING, "training"), ("dev", "given dev")):
        dropped = merged(corpus["dropped"] for corpus in report["corpora"] if corpus["role"] == role)
        for reason, name in given.items():
            if reason in dropped:
                met = dropped[reason]
                places = ", ".join(f"{file}:{line}" for file, line, *_ in met["examples"])
                pairs = f"{words} pair shares" if met["count"] == 1 else f"{words} pairs share"
                text = f"{met['count']:,} {pairs} a sentence with the given {name} text, left out"
                found.append(f"{text} (first: {places})")
    training = [corpus for corpus in report["corpora"] if corpus["role"] == TRAINING]
    for corpus in training:
        for reason, each in corpus["dropped"].items():
            share = each["count"] / corpus["read"]
            if share > (MANY["duplicates"] if reason.startswith("duplicate_") else MANY["dropped"]):
                found.append(f"{corpus['name']}: {share:.0%} of the pairs are dropped, as {words_of(reason)}")
    read = sum(corpus["read"] for corpus in training)
    shared = sum(
        report["dropped"].get(reason, {"count": 0})["count"] for reason in LIKE.values() if reason not in given
    )
    if read and shared / read > MANY["held_out"]:
        found.append(f"{shared:,} pairs are dropped as they share a sentence with what is held out; hold out less text")
    for name, side in report["sides"].items():
        if side["unknown"] > MANY["unknown"]:
            found.append(f"{side['unknown']:.1%} of the {name} tokens are unknown to its vocabulary; raise its size")
    return found
