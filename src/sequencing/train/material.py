"""What a run learns from: text files, read and encoded, or a folder that was prepared. Either way, the same things."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sequencing.corpora.alignment_check import PLACES, RUN, Pair, find_shift
from sequencing.data.blanks import sentence
from sequencing.data.corpus import Corpus, Entry, FilePrint, differences, overlap
from sequencing.data.encoding import encode
from sequencing.data.store import INFO, Pairs, check_vocabularies, open_store
from sequencing.prepare.manifest import read_prepared
from sequencing.run_config import RunConfig
from sequencing.vocabularies import build_vocabularies, check_factors, check_vectors
from sequencing_np.errors import DataError
from sequencing_np.limits import Limits
from sequencing_np.manifest import sha256
from sequencing_np.model_folder import VOCABULARIES
from sequencing_np.text import MAX_BYTES
from sequencing_np.vectors import MAX_BYTES as VECTOR_BYTES
from sequencing_np.vocab import Vocabulary, load_vocab, save_vocab

Say = Callable[[str], object]


class Material(NamedTuple):
    """Pairs to learn from, and what they were made with."""

    pairs: Pairs
    vocabs: tuple[Vocabulary, Vocabulary]
    dev: Corpus | None
    prints: tuple[FilePrint, ...]  # what the training pairs are recognised by


def gather(config: RunConfig, folder: Path, begun: bool, say: Say) -> Material:
    """The material of a run in `folder`; where it has begun, with the vocabularies that it began with."""
    return (from_prepared if config.data.prepared else from_text)(config, folder, begun, say)


def from_text(config: RunConfig, folder: Path, begun: bool, say: Say) -> Material:
    """Files are checked, vocabularies built, and all pairs encoded, once."""
    sources, data = config.vocab.source.columns, config.data
    most = VECTOR_BYTES if config.vocab.source.level == "vectors" else MAX_BYTES
    train = Corpus(data.train, "train", most, sources)
    report = train.check()
    say(report.summary())
    dev = held_out(data.dev, sources, say, most)
    if dev and (shared := overlap(train, dev)).count:
        say(f"warning: {shared.count} training pairs have a source of dev: {', '.join(shared.first)}")
    for corpus in [train, dev] if dev else [train]:
        check_factors(config.vocab.source, corpus)
    paths = [folder / name for name in VOCABULARIES]
    if not begun or not all(path.is_file() for path in paths):
        for vocab, path in zip(build_vocabularies(config.vocab, train), paths, strict=True):
            save_vocab(vocab, path)
    vocabs = (load_vocab(paths[0]), load_vocab(paths[1]))
    if dev:
        check_vectors(vocabs[0], dev)
    parts = [Corpus([part], "train", most, sources) for part in data.train] if data.weights else [train]
    runs: dict[str, list[list[Pair]]] = {}
    entries = [watched(part.entries(), max(RUN, report.kept // PLACES), runs) for part in parts]
    pairs, dropped = encode(entries, vocabs, data.max_length, data.weights or (1.0,))
    for name, found in runs.items():
        if shift := find_shift(found):
            say(f"warning: {shift.sentence(name)}")
    if dropped.count:
        say(f"{dropped.count:,} pairs of over {data.max_length} tokens left out (first: {', '.join(dropped.first)})")
    say_blanks(pairs, vocabs, say)
    return Material(pairs, vocabs, dev, report.fingerprint)


def watched(entries: Iterable[Entry], stride: int, runs: dict[str, list[list[Pair]]]) -> Iterator[Entry]:
    """The same entries; of each file some runs are kept, to see whether its sides are shifted."""
    for number, entry in enumerate(entries):
        kept = runs.setdefault(entry.file, [])
        if number % stride < RUN:
            if number % stride == 0 or not kept:
                kept.append([])
            kept[-1].append((entry.source, entry.target))
        yield entry


def from_prepared(config: RunConfig, folder: Path, begun: bool, say: Say) -> Material:
    """The store is checked to the byte and mapped; the vocabularies are those that its ids belong to."""
    data, prepared = config.data, read_prepared(Path(config.data.prepared), every_byte=True)
    paths = [folder / name for name in VOCABULARIES]
    known = begun and all(path.is_file() for path in paths)
    source, target = map(load_vocab, paths if known else prepared.vocabularies)
    vocabs = (source, target)
    check_vocabularies(prepared.store, vocabs)
    pairs = open_store(prepared.store)
    say(f"train: {len(pairs):,} pairs of {prepared.folder}")
    cells = pairs.order.cells
    longer = int(cells.counts[np.maximum(cells.source, cells.target) > data.max_length].sum())
    if longer:
        say(f"{longer:,} pairs of over {data.max_length} tokens left out")
    say_blanks(pairs, vocabs, say)
    if not known:
        for vocab, path in zip(vocabs, paths, strict=True):
            save_vocab(vocab, path)
    dev = prepared.held_out("dev")
    given = data.dev or ((str(dev),) if dev else ())
    info = prepared.store / INFO  # it holds the check sums of all the others
    prints = (FilePrint(str(info), info.stat().st_size, sha256(info), len(pairs)),)
    return Material(pairs, vocabs, held_out(given, source.columns, say), prints)


def say_blanks(pairs: Pairs, vocabs: tuple[Vocabulary, Vocabulary], say: Say) -> None:
    """Count, aloud, the pairs that say nothing."""
    if said := sentence(pairs, vocabs):
        say(said)


def held_out(
    files: tuple[str | tuple[str, ...], ...], sources: int, say: Say, max_bytes: int = MAX_BYTES
) -> Corpus | None:
    """The dev set, checked, if there is one."""
    if not files:
        return None
    dev = Corpus(files, "dev", max_bytes, sources)
    say(dev.check().summary())
    return dev


def same_data(before: list[list[object]], material: Material) -> None:
    """DataError where the training pairs are not those that the run began with."""
    changes = differences([FilePrint(*part) for part in before], material.prints)  # type: ignore[arg-type]
    if changes:
        raise DataError(
            f"the training data changed since this run began: {'; '.join(changes)}. Start a new run, "
            "or say --accept-changed-data to go on with what is there now, from the beginning of an epoch"
        )


def limits_of(pairs: Pairs, count: int = 20_000) -> Limits:
    """How long answers may be: a fifth more than the longest for their source among the first training pairs."""
    source, target = (np.diff(side.offsets[: count + 1]) for side in (pairs.source, pairs.target))
    if not len(source):
        return Limits()
    factor = float(np.quantile(target / (source + 2), 0.999)) * 1.2
    return Limits(round(factor, 3), int(2 * factor) + 5, 2 * int(target.max()))


def as_lists(prints: tuple[FilePrint, ...]) -> list[list[object]]:
    """File prints as JSON keeps them."""
    return [list(part) for part in prints]
