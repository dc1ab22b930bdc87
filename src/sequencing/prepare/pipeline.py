"""A preparation from its inputs to a whole folder: the stages in their order, each of which can be ended at any moment.

A stage that is done leaves a marker in `work`; the next call of the same command begins after it, and in the middle of
cleaning and encoding after the last shard. What comes out is the same to the byte, however often it was ended, whoever
did the work. Knows nothing of how a stage works.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sequencing.data.corpus import FilePrint
from sequencing.data.store import INFO, StoreCorpus, write_store
from sequencing.prepare.alignment import shifts
from sequencing.prepare.cleaning import TRAINING, Cleaning, all_parts
from sequencing.prepare.duplicates import mark_duplicates
from sequencing.prepare.encoding import Encoding, encoded_parts
from sequencing.prepare.engines import ENGINES, itself
from sequencing.prepare.figures import decided, figures_of, warnings_of
from sequencing.prepare.inputs import print_of, read_once, same_inputs
from sequencing.prepare.manifest import CONFIG, STORE, WORK, is_whole, read_prepared, write_prepared
from sequencing.prepare.place import check_place, disk
from sequencing.prepare.progress import Progress
from sequencing.prepare.report import write_reports
from sequencing.prepare.settings import HELD_OUT, PrepareConfig, same_work, what
from sequencing.prepare.shards import (
    DEV,
    TEST,
    Shard,
    chosen_lines,
    finished,
    make_verdicts,
    open_verdicts,
    read_marker,
    write_marker,
)
from sequencing.prepare.split import mark_split
from sequencing.prepare.vocabulary import make_vocabularies
from sequencing.process import alone
from sequencing.records import write_json
from sequencing_np.errors import ConfigError, UsageError
from sequencing_np.model_folder import VOCABULARIES
from sequencing_np.vocab import load_vocab
from sequencing_np.writing import atomic_write

BEGUN, CLEANED, DECIDED, BUILT, ENCODED = (
    f"{name}.json" for name in ("begun", "cleaned", "decided", "vocabularies", "encoded")
)


def prepare(config: PrepareConfig, folder: Path, progress: Progress | None = None) -> dict[str, Any]:
    """Make a prepared folder, or go on where the making was ended; what its report says."""
    progress = progress or Progress()
    if is_whole(folder):
        return already(config, folder, progress)
    work = folder / WORK
    with disk(folder):
        check_place(folder)
        (work / "shards").mkdir(parents=True, exist_ok=True)
        with alone(folder, f"{folder}: another process prepares it at this moment; wait for it, or end it"):
            making = Making(config, folder, progress)
            for stage in (begin, clean, decide, build, encode, store):
                stage(making)
            report = finish(making)
    return report


@dataclass(frozen=True)
class Making:
    """A preparation under way."""

    config: PrepareConfig
    folder: Path
    progress: Progress

    @property
    def work(self) -> Path:
        return self.folder / WORK

    @property
    def shards(self) -> Path:
        return self.work / "shards"

    @cached_property
    def found(self) -> list[Shard]:
        """All shards; asked for once they are done."""
        return finished(self.shards)

    @property
    def rows(self) -> int:
        return sum(shard.rows for shard in self.found)

    def run(self, parts: Any, read: Callable[[Any], Any], work: Callable[[Any], Any]) -> Iterator[Any]:
        """A stage on the engine of the configuration."""
        return ENGINES[self.config.engine].run(parts, read, work, self.config.jobs)


# --- the stages


def begin(making: Making) -> None:
    """Read all inputs whole, and compare them and the configuration with those of an earlier call."""
    config, progress = making.config, making.progress
    marker = making.work / BEGUN
    before = read_marker(marker) if finished(making.shards) else None  # nothing is made yet: it may be mended
    if before is not None:
        same_work(before["configuration"], config, making.folder)
    streams = streams_of(config)
    if streams and not ENGINES[config.engine].reads_here:
        raise ConfigError(
            f"{streams[0]}: can be read by this process alone; with engine {config.engine!r}, save it first"
        )
    prints = input_prints(making)
    if before is None:
        for name in (CLEANED, DECIDED, BUILT, ENCODED):
            (making.work / name).unlink(missing_ok=True)
        content = {"configuration": what(config), "inputs": [list(each) for each in prints]}
        write_marker(marker, content)
    else:
        same_inputs(before["inputs"], prints, making.folder)
        progress.say(f"going on with {making.folder}")


def streams_of(config: PrepareConfig) -> list[str]:
    """Inputs that can be read only once."""
    return [name for part in all_parts(config) for name in part.paths if read_once(name)]


def input_prints(making: Making) -> list[FilePrint]:
    """What the files that can be read twice are recognised by, in the order of the configuration."""
    parts = all_parts(making.config)
    names = [name for name in dict.fromkeys(name for part in parts for name in part.paths) if not read_once(name)]
    found = []
    with making.progress.stage("reading the inputs", len(names), "files") as stage:
        for each in making.run(names, itself, print_of):
            found.append(FilePrint(*each))
            stage.add(1)
    places = {name: number for number, name in enumerate(names)}
    return sorted(found, key=lambda each: places[each.file])


def clean(making: Making) -> None:
    """Blocks to shards."""
    marker = making.work / CLEANED
    if marker.is_file():
        return
    config = making.config
    parts = all_parts(config)
    if streams_of(config):
        shutil.rmtree(making.shards)  # what can be read only once cannot be continued
        making.shards.mkdir()
    columns = config.vocab.source.columns
    cleaning = Cleaning(making.shards, config.read, config.clean, config.filter, config.rows, columns)
    begun = read_marker(making.work / BEGUN) or {}
    lines = {name: count for name, _, _, count in begun["inputs"]}
    total = sum(lines.get(part.paths[0], 0) for part in parts)
    with making.progress.stage("cleaning", total, "pairs") as stage:
        stage.add(sum(int(shard.record["read"]) for shard in finished(making.shards)))
        for rows in making.run(parts, cleaning.read, cleaning.work):
            stage.add(rows)
    same_inputs(begun["inputs"], read_since(begun["inputs"], cleaning.inputs.prints), making.folder)
    write_marker(marker, {"streams": [list(each) for each in cleaning.inputs.prints if each.file not in lines]})


def read_since(before: Sequence[Sequence[Any]], prints: Sequence[FilePrint]) -> list[FilePrint]:
    """What files are recognised by, as this process has read them; as before those that others have read."""
    now = {each.file: each for each in prints}
    found = [FilePrint(*row) for row in before]
    return [now[each.file]._replace(lines=each.lines) if each.file in now else each for each in found]


def decide(making: Making) -> None:
    """Which pairs are duplicates, which are held out, which share a sentence with these."""
    marker = making.work / DECIDED
    if marker.is_file():
        return
    config, shards = making.config, making.found
    training = [shard for shard in shards if shard.record["role"] == TRAINING]
    with making.progress.stage("looking for duplicates", making.rows, "pairs") as stage:
        make_verdicts(making.shards, making.rows)
        mark_duplicates(making.shards, training, config.duplicates)
        stage.add(making.rows)
    names = [corpus.name for corpus in config.corpora]
    eligible = {names.index(name) for name in config.split.corpora or names}
    with making.progress.stage("splitting", making.rows, "pairs") as stage:
        mark_split(making.shards, shards, config.split, eligible)
        stage.add(making.rows)
        for name, verdict in zip(HELD_OUT, (DEV, TEST), strict=True):
            path = making.folder / f"{name}.tsv"
            path.unlink(missing_ok=True)
            if (open_verdicts(making.shards) == verdict).any():
                write_held_out(path, making, verdict)
    write_marker(marker, {**decided(making.shards, shards, config), "shifts": shifts(making.shards, shards)})


def write_held_out(path: Path, making: Making, verdict: int) -> None:
    """The text of the pairs with a verdict, in the order of the input."""
    verdicts = open_verdicts(making.shards)

    def chosen(shard: Shard) -> np.ndarray:
        return np.asarray(verdicts[shard.pairs] == verdict)

    with atomic_write(path) as file:
        for _, _, line in chosen_lines(making.shards, making.found, chosen):
            file.write(line.encode() + b"\n")


def build(making: Making) -> None:
    """The vocabularies."""
    marker = making.work / BUILT
    if marker.is_file():
        return
    with making.progress.stage("building vocabularies", making.rows, "pairs") as stage:
        make_vocabularies(making.folder, making.shards, making.found, making.config, stage.add)
    write_marker(marker, {})


def encode(making: Making) -> None:
    """Training pairs to ids."""
    marker = making.work / ENCODED
    if marker.is_file():
        return
    encoding = Encoding(making.folder, making.shards, making.config.max_length)
    training = [shard for shard in making.found if shard.record["role"] == TRAINING]
    with making.progress.stage("encoding", sum(shard.rows for shard in training), "pairs") as stage:
        for rows in making.run(training, itself, encoding.work):
            stage.add(rows)
    write_marker(marker, {})


def store(making: Making) -> None:
    """Ids to the store."""
    target = making.folder / STORE
    if (target / INFO).is_file():
        return
    training = [shard for shard in making.found if shard.record["role"] == TRAINING]
    corpora = [StoreCorpus(corpus.name, corpus.weight) for corpus in making.config.corpora]
    source, targets = (load_vocab(making.folder / name) for name in VOCABULARIES)
    with making.progress.stage("writing the store", sum(shard.rows for shard in training), "pairs") as stage:

        def parts() -> Iterator[Any]:
            for shard in training:
                yield from encoded_parts(making.shards, [shard])
                stage.add(shard.rows)

        write_store(target, parts(), corpora, (source, targets))


def finish(making: Making) -> dict[str, Any]:
    """The report and the manifest; only then is the work taken away."""
    config, folder = making.config, making.folder
    decisions = read_marker(making.work / DECIDED) or {}
    streams = (read_marker(making.work / CLEANED) or {})["streams"]
    inputs = (read_marker(making.work / BEGUN) or {})["inputs"]
    with making.progress.stage("writing the report"):
        report = figures_of(folder, making.shards, making.found, config, decisions)
        report = {**report, "inputs": inputs + streams}
        report["warnings"] = [*decisions["shifts"], *warnings_of(report, config)]
        write_reports(folder, report, what(config))
        write_json(folder / CONFIG, what(config))
        known = {"configuration": what(config), "inputs": inputs, "streams": streams, "pairs": report["split"]}
        write_prepared(folder, known)
    shutil.rmtree(making.work, ignore_errors=True)
    return report


def already(config: PrepareConfig, folder: Path, progress: Progress) -> dict[str, Any]:
    """What the report of a whole folder says, where it is what this call would make."""
    manifest = read_prepared(folder).manifest
    same_work(manifest["configuration"], config, folder)
    if streams := manifest["streams"]:
        raise UsageError(f"{folder}: is prepared already, from {streams[0][0]}, read only once; give a new folder")
    same_inputs(manifest["inputs"], input_prints(Making(config, folder, progress)), folder)
    shutil.rmtree(folder / WORK, ignore_errors=True)  # left by a call that was ended on its last steps
    progress.say(f"{folder} is prepared already, with this configuration and these inputs: nothing is left to do")
    return dict(json.loads((folder / "report.json").read_bytes()))
