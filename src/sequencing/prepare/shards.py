"""The folder of the work: shards of cleaned pairs, their numbers, their ids, and what was decided about each pair.

    00002-000017.pairs   the 18th block of the third part of the input: a line of JSON, the lines `source TAB target`,
                         and a number of each pair for each of COLUMNS, as NumPy saves arrays
    00002-000017.ids     of its training pairs: a line of JSON, and lengths and ids of each side, as NumPy saves arrays
    verdicts             a byte for each pair of all shards, in their order

Each file is whole or not there, and that it is there says that it is done: so work goes on where it was ended. Knows
nothing of why pairs are kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sequencing.records import json_line
from sequencing_np.batch import Ragged, offsets_of
from sequencing_np.errors import DataError
from sequencing_np.writing import atomic_write

PAIRS, IDS, VERDICTS = ".pairs", ".ids", "verdicts"
EXAMPLES = 3  # dropped pairs that are shown for each reason
BLANK = 1 << 22  # bytes that are written at once

# What is decided about a pair. DUPLICATE + n: of an earlier one, by the n-th of the keys.
TRAIN, DEV, TEST, LIKE_DEV, LIKE_TEST, DUPLICATE = 0, 1, 2, 3, 4, 16


class Pairs(NamedTuple):
    """The text of some pairs and where they stood."""

    sources: list[str]
    targets: list[str]
    lines: Sequence[int]


class Shard(NamedTuple):
    """A shard that is done, and its place among all pairs."""

    name: str
    start: int  # the number of its first pair
    record: dict[str, Any]  # its line of JSON

    @property
    def rows(self) -> int:
        return int(self.record["rows"])

    @property
    def part(self) -> int:
        """The number of the part that it was made of."""
        return int(self.name.partition("-")[0])

    @property
    def pairs(self) -> slice:
        """Its place among all pairs."""
        return slice(self.start, self.start + self.rows)


def shard_name(part: int, block: int) -> str:
    """Names in the order of the input."""
    return f"{part:05d}-{block:06d}"


def write_marker(path: Path, record: dict[str, Any]) -> None:
    """The file that says that a stage is done."""
    with atomic_write(path) as file:
        file.write(json_line(record))


def read_marker(path: Path) -> dict[str, Any] | None:
    """What a marker says; None where there is none."""
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        raise damaged(path) from None
    return dict(record)


def damaged(path: Path) -> DataError:
    """For a file of the work that somebody else has changed."""
    return DataError(f"{path}: damaged; take it away and call the same command again")


# --- pairs


def write_shard(work: Path, name: str, texts: Pairs, columns: np.ndarray, record: dict[str, Any]) -> None:
    """Keep the pairs of a block, and what is to be said of it."""
    rows = zip(texts.sources, texts.targets, strict=True)
    text = "".join([f"{source}\t{target}\n" for source, target in rows]).encode()
    with atomic_write(work / (name + PAIRS)) as file:
        file.write(json_line({**record, "rows": len(texts.sources), "bytes": len(text)}))
        file.write(text)
        np.save(file, columns)


def finished(work: Path) -> list[Shard]:
    """The shards that are done, in the order of the input."""
    shards, start = [], 0
    for path in sorted(work.glob(f"*{PAIRS}")):
        with path.open("rb") as file:
            shards.append(Shard(path.name.removesuffix(PAIRS), start, json.loads(file.readline())))
        start += shards[-1].rows
    return shards


def read_columns(work: Path, shard: Shard) -> np.ndarray:  # -> (COLUMNS, n) uint64
    """The numbers of the pairs of a shard."""
    with (work / (shard.name + PAIRS)).open("rb") as file:
        file.seek(len(file.readline()) + shard.record["bytes"])
        return np.asarray(np.load(file, allow_pickle=False))


def read_text(work: Path, shard: Shard) -> list[str]:
    """The lines of a shard, source and target with a tab between."""
    path = work / (shard.name + PAIRS)
    with path.open("rb") as file:
        file.readline()
        lines = file.read(shard.record["bytes"]).decode().split("\n")
    lines.pop()
    if len(lines) != shard.rows:
        raise damaged(path)
    return lines


def split_pair(line: str) -> tuple[str, str]:
    """Source and target of a line of a shard. Tabs in a source stand between its texts."""
    source, _, target = line.rpartition("\t")
    return source, target


def chosen_lines(
    work: Path, shards: Sequence[Shard], choose: Callable[[Shard], np.ndarray]
) -> Iterator[tuple[Shard, int, str]]:
    """The lines of the rows that are true in `choose(shard)`, with their shards and rows."""
    for shard in shards:
        rows = np.flatnonzero(choose(shard))
        if len(rows):
            lines = read_text(work, shard)
            for row in rows.tolist():
                yield shard, row, lines[row]


# --- verdicts


def make_verdicts(work: Path, rows: int) -> None:
    """All pairs as TRAIN. Written, not only reserved: a full disk is an error here, not a signal later."""
    with atomic_write(work / VERDICTS) as file:
        for start in range(0, rows, BLANK):
            file.write(bytes(min(BLANK, rows - start)))


def open_verdicts(work: Path, mode: Any = "r") -> np.ndarray:  # -> (N,) uint8
    """What was decided about each pair, mapped."""
    path = work / VERDICTS
    if not path.stat().st_size:
        return np.zeros(0, dtype=np.uint8)
    return np.memmap(path, dtype=np.uint8, mode=mode)


def keep_verdicts(verdicts: np.ndarray) -> None:
    """Write what is mapped, so that other machines see it and a power cut does not lose it."""
    if isinstance(verdicts, np.memmap):
        verdicts.flush()


# --- ids


def write_ids(path: Path, sides: Sequence[Ragged], record: dict[str, Any]) -> None:
    """The ids of some pairs, and what is to be said of them."""
    with atomic_write(path) as file:
        file.write(json_line(record))
        for side in sides:
            np.save(file, side.lengths.astype(np.int32))
            np.save(file, side.flat)


def read_ids(path: Path) -> tuple[Ragged, Ragged]:
    """The ids that write_ids wrote."""
    sides = []
    with path.open("rb") as file:
        file.readline()
        for _ in range(2):
            lengths = np.load(file, allow_pickle=False)
            sides.append(Ragged(np.load(file, allow_pickle=False), offsets_of(lengths.astype(np.int64))))
    return sides[0], sides[1]


def read_record(path: Path) -> dict[str, Any]:
    """What is said of the ids."""
    with path.open("rb") as file:
        return dict(json.loads(file.readline()))
