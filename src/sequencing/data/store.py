"""Encoded pairs: in memory, or in a folder of plain arrays that is mapped and never read as a whole.

    source.ids target.ids            the ids of all rows one after the other, EOS at the end of each; little endian
    source.offsets target.offsets    where each row begins, and where the last one ends
    by_length.rows                   the rows sorted by length, see lengths.py
    store.json                       what the rest is, with check sums; written last: without it there is no store

Opening looks at store.json and at the sizes of the files; `verify` reads every byte.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from sequencing.data.lengths import CHUNK, ByLength, Cells, Lengths, by_length
from sequencing_np.batch import Ragged
from sequencing_np.config import Origin, build, parse_json, to_dict
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.manifest import sha256
from sequencing_np.vocab import Vocabulary
from sequencing_np.writing import atomic_write

FORMAT = 1
INFO = "store.json"
SIDES = ("source", "target")
OFFSET = np.dtype("<i8")
ROW: dict[bool, np.dtype] = {
    True: np.dtype("<u4"),
    False: np.dtype("<i8"),
}  # whether 32 bits are enough for a row's number


class StoreCorpus(NamedTuple):
    """A part of the pairs that is seen more or less often than others."""

    name: str
    weight: float = 1.0


class Encoded(NamedTuple):
    """Some consecutive pairs of one corpus, given by its number."""

    corpus: int
    source: Ragged
    target: Ragged


@dataclasses.dataclass(frozen=True)
class FileInfo:
    """What a file is recognised by."""

    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class StoreInfo:
    """What store.json says."""

    format: int
    rows: int
    source_tokens: int
    target_tokens: int
    source_ids: str  # the type of an id, as NumPy calls it
    target_ids: str
    row_numbers: str
    vocabularies: tuple[str, ...]  # check sums of the vocabularies that the ids belong to, source and target
    corpora: tuple[tuple[Any, ...], ...]  # name, weight
    cells: tuple[tuple[int, ...], ...]  # source and target length, corpus, rows: see lengths.Cells
    files: dict[str, Any]  # name -> bytes and sha256


class Pairs:
    """Encoded pairs, their rows by length, and the corpora that they come from."""

    def __init__(
        self,
        sides: tuple[Ragged, Ragged],
        order: ByLength,
        corpora: Sequence[StoreCorpus] = (StoreCorpus("corpus"),),
        folder: Path | None = None,
    ) -> None:
        self.source, self.target = sides
        self.order, self.corpora, self.folder = order, tuple(corpora), folder

    def __len__(self) -> int:
        return len(self.source.offsets) - 1

    def __reduce__(self) -> Any:
        """What is mapped from a folder is mapped again by another process, not sent to it."""
        if self.folder is not None:
            return open_store, (self.folder,)
        return Pairs, ((self.source, self.target), self.order, self.corpora)


class Column:
    """A file that an array is appended to, hashed on its way."""

    def __init__(self, file: BinaryIO, dtype: np.dtype) -> None:
        self.file, self.dtype = file, dtype
        self.digest, self.bytes = hashlib.sha256(), 0

    def append(self, array: np.ndarray) -> None:
        """Write the next numbers; they must fit the type."""
        data = array.astype(self.dtype).tobytes()
        self.file.write(data)
        self.digest.update(data)
        self.bytes += len(data)

    def info(self) -> FileInfo:
        """What the file is recognised by, so far."""
        return FileInfo(self.bytes, self.digest.hexdigest())


def id_type(vocab: Vocabulary) -> np.dtype:
    """The smallest type that holds all ids of a vocabulary."""
    count = len(vocab)
    for size in vocab.factor_sizes:
        count *= size
    return np.dtype("<u2" if count <= 1 << 16 else "<i4")


def vocab_digest(vocab: Vocabulary) -> str:
    """The check sum of a vocabulary, whatever file it stands in."""
    return hashlib.sha256(json.dumps(vocab.to_json(), sort_keys=True).encode()).hexdigest()


def write_store(
    folder: Path,
    parts: Iterable[Encoded],
    corpora: Sequence[StoreCorpus],
    vocabs: tuple[Vocabulary, Vocabulary],
) -> StoreInfo:
    """Write pairs as they come, in memory that grows by some ten bytes a pair.

    What stood in the folder is removed. A folder without store.json is one whose writing was interrupted.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    types = {name: id_type(vocab) for name, vocab in zip(SIDES, vocabs, strict=True)}
    runs: list[tuple[int, int]] = []  # corpus, rows
    with ExitStack() as stack:

        def column(name: str, dtype: np.dtype) -> Column:
            return Column(stack.enter_context((folder / name).open("wb")), dtype)

        ids = {name: column(f"{name}.ids", types[name]) for name in SIDES}
        offsets = {name: column(f"{name}.offsets", OFFSET) for name in SIDES}
        ends = dict.fromkeys(SIDES, 0)
        for each in offsets.values():
            each.append(np.zeros(1))
        for corpus, *sides in parts:
            for name, side in zip(SIDES, sides, strict=True):
                ids[name].append(side.flat)
                offsets[name].append(side.offsets[1:] + ends[name])
                ends[name] += len(side.flat)
            runs.append((corpus, len(sides[0].offsets) - 1))
        for each in (*ids.values(), *offsets.values()):
            each.file.flush()
            os.fsync(each.file.fileno())
    files = {f"{name}.ids": ids[name].info() for name in SIDES}
    files |= {f"{name}.offsets": offsets[name].info() for name in SIDES}
    rows = sum(count for _, count in runs)
    row_type = ROW[rows < 1 << 32]
    cells = write_order(folder, runs, rows, row_type)
    files["by_length.rows"] = FileInfo(rows * row_type.itemsize, sha256(folder / "by_length.rows"))
    info = StoreInfo(
        format=FORMAT,
        rows=rows,
        source_tokens=ends["source"],
        target_tokens=ends["target"],
        source_ids=types["source"].str,
        target_ids=types["target"].str,
        row_numbers=row_type.str,
        vocabularies=tuple(map(vocab_digest, vocabs)),
        corpora=tuple(map(tuple, corpora)),
        cells=tuple(map(tuple, np.stack(cells, axis=1).tolist())),
        files={name: to_dict(file) for name, file in files.items()},
    )
    with atomic_write(folder / INFO) as file:
        file.write(json.dumps(to_dict(info)).encode() + b"\n")
    return info


def write_order(folder: Path, runs: Sequence[tuple[int, int]], rows: int, row_type: np.dtype) -> Cells:
    """Sort the rows of a store by length, on disk."""
    path = folder / "by_length.rows"
    if not rows:
        path.write_bytes(b"")
        nothing = np.zeros(0, dtype=np.int64)
        return by_length(Lengths(nothing, nothing, nothing)).cells
    source, target = (np.diff(mapped(folder / f"{name}.offsets", OFFSET)).astype(np.int32) for name in SIDES)
    numbers, counts = np.array(runs, dtype=np.int64).T
    corpus = np.repeat(numbers.astype(np.int16), counts)
    with path.open("wb") as file:  # in full, so that a full disk is an error and not the end of the process
        for start in range(0, rows, CHUNK):
            file.write(bytes(min(CHUNK, rows - start) * row_type.itemsize))
        file.flush()
        os.fsync(file.fileno())
    placed = np.memmap(path, dtype=row_type, mode="r+", shape=(rows,))
    cells = by_length(Lengths(source, target, corpus), placed).cells
    placed.flush()
    return cells


def mapped(path: Path, dtype: np.dtype) -> np.ndarray:
    """The numbers in a file, read when they are looked at."""
    if not path.stat().st_size:
        return np.zeros(0, dtype=dtype)  # nothing cannot be mapped
    return np.asarray(np.memmap(path, dtype=dtype, mode="r"))


def read_info(folder: Path) -> StoreInfo:
    """What a store says of itself; DataError where it is none, damaged, or of another version."""
    path = folder / INFO
    if not path.is_file():
        raise DataError(f"{folder}: no {INFO}; this is no store, or its writing was interrupted: prepare it again")
    try:
        values = parse_json(path.read_text(encoding="utf-8"), str(path))
        if values.get("format") != FORMAT:
            raise DataError(f"{path}: format {values.get('format')!r}; this program reads {FORMAT}: prepare it again")
        info = build(StoreInfo, values, Origin(str(path)))
        for name in file_types(info):
            build(FileInfo, info.files.get(name), Origin(str(path)), ("files", name))
    except (ConfigError, OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{path}: damaged: {error}; prepare it again") from None
    return info


def file_types(info: StoreInfo) -> dict[str, np.dtype]:
    """The files of a store and the type of their numbers."""
    return {
        "source.ids": np.dtype(info.source_ids),
        "target.ids": np.dtype(info.target_ids),
        "source.offsets": OFFSET,
        "target.offsets": OFFSET,
        "by_length.rows": np.dtype(info.row_numbers),
    }


def open_store(folder: Path) -> Pairs:
    """A store, mapped. Nothing but store.json is read. DataError where a file is missing or of another size."""
    info = read_info(folder)
    types = file_types(info)
    counts = {
        "source.ids": info.source_tokens,
        "target.ids": info.target_tokens,
        "source.offsets": info.rows + 1,
        "target.offsets": info.rows + 1,
        "by_length.rows": info.rows,
    }
    arrays = {}
    for name, count in counts.items():
        path, wanted = folder / name, count * types[name].itemsize
        size = path.stat().st_size if path.is_file() else None
        if size != wanted:
            raise DataError(f"{path}: {size} bytes instead of {wanted}; the store is damaged, prepare it again")
        arrays[name] = mapped(path, types[name])
    sides = tuple(Ragged(arrays[f"{name}.ids"], arrays[f"{name}.offsets"]) for name in SIDES)
    cells = Cells(*np.array(info.cells, dtype=np.int64).reshape(-1, len(Cells._fields)).T)
    corpora = [StoreCorpus(*corpus) for corpus in info.corpora]
    return Pairs((sides[0], sides[1]), ByLength(arrays["by_length.rows"], cells), corpora, folder)


def verify(folder: Path) -> None:
    """Read every byte of a store; DataError names the file that is not what was written."""
    for name, entry in read_info(folder).files.items():
        path = folder / name
        if not path.is_file() or sha256(path) != entry["sha256"]:
            raise DataError(f"{path}: missing, changed or damaged; prepare it again")


def check_vocabularies(folder: Path, vocabs: tuple[Vocabulary, Vocabulary]) -> None:
    """DataError where the ids of a store are those of other vocabularies."""
    for name, vocab, digest in zip(SIDES, vocabs, read_info(folder).vocabularies, strict=True):
        if vocab_digest(vocab) != digest:
            raise DataError(f"{folder}: its ids are not those of the {name} vocabulary; prepare it again with this one")
