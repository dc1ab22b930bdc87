"""Encoded pairs on disk: what comes back, what damage is noticed, and that opening reads next to nothing."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sequencing.data.encoding import in_memory
from sequencing.data.store import (
    INFO,
    Encoded,
    Pairs,
    StoreCorpus,
    check_vocabularies,
    open_store,
    verify,
    write_store,
)
from sequencing_np.batch import ragged
from sequencing_np.errors import DataError
from sequencing_np.vocab import Vocab

SMALL = Vocab(["a", "b", "c"])
LARGE = Vocab([str(number) for number in range(70_000)])
CORPORA = [StoreCorpus("one"), StoreCorpus("two", 2.5)]

ROWS = st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=5), max_size=11)


def parts_of(*groups):
    """Encoded parts from lists of (source, target), of corpora 0, 1, 0, …"""
    sides = ([list(side) for side in zip(*group, strict=True)] or [[], []] for group in groups)
    return [Encoded(number % 2, ragged(source), ragged(target)) for number, (source, target) in enumerate(sides)]


def content(pairs: Pairs):
    sides = []
    for side in (pairs.source, pairs.target):
        sides.append([side.flat[a:b].tolist() for a, b in zip(side.offsets[:-1], side.offsets[1:], strict=True)])
    return list(zip(*sides, strict=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    groups = [[([5, 3], [4, 4, 3])], [([6, 6, 3], [3]), ([3], [5, 3])]]
    write_store(tmp_path / "store", parts_of(*groups), CORPORA, (SMALL, SMALL))
    return tmp_path / "store"


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.tuples(*[st.lists(st.integers(0, 6), min_size=1, max_size=5)] * 2), max_size=7), max_size=4)
)
def test_disk_and_memory_hold_the_same(tmp_path_factory, groups):
    folder = tmp_path_factory.mktemp("store")
    parts = parts_of(*groups)
    info = write_store(folder, iter(parts), CORPORA, (SMALL, SMALL))
    stored = open_store(folder)
    pairs = [pair for group in groups for pair in group]
    assert content(stored) == pairs and len(stored) == len(pairs) == info.rows
    assert stored.corpora == tuple(CORPORA)
    if pairs:
        remembered = in_memory(parts, CORPORA)
        assert content(remembered) == pairs
        assert remembered.order.rows.tolist() == stored.order.rows.tolist()
        for one, other in zip(remembered.order.cells, stored.order.cells, strict=True):
            assert one.tolist() == other.tolist()
    verify(folder)


def test_ids_take_two_bytes_where_they_fit(folder, tmp_path):
    assert open_store(folder).source.flat.dtype == np.uint16
    large = [[([70_003, 3], [65_536, 3])]]
    write_store(tmp_path / "large", parts_of(*large), CORPORA[:1], (LARGE, SMALL))
    stored = open_store(tmp_path / "large")
    assert (stored.source.flat.dtype, stored.target.flat.dtype) == (np.int32, np.uint16)
    assert stored.source.flat.tolist() == [70_003, 3]


def test_opening_maps_and_reads_nothing_else(folder):
    for name in ("source.ids", "by_length.rows"):
        (folder / name).write_bytes(bytes(len((folder / name).read_bytes())))  # its content is not looked at
    assert isinstance(open_store(folder).source.flat.base, np.memmap)


def test_what_is_mapped_is_mapped_again_by_another_process(folder):
    sent = pickle.dumps(open_store(folder))
    assert len(sent) < 500 and content(pickle.loads(sent)) == content(open_store(folder))
    kept = in_memory(parts_of([([5, 3], [4, 3])]), CORPORA[:1])
    assert content(pickle.loads(pickle.dumps(kept))) == content(kept)


@pytest.mark.parametrize("name", ["source.ids", "target.ids", "source.offsets", "target.offsets", "by_length.rows"])
def test_every_flipped_byte_is_found(folder, name):
    data = bytearray((folder / name).read_bytes())
    for place in range(len(data)):
        data[place] ^= 0xFF
        (folder / name).write_bytes(data)
        with pytest.raises(DataError, match=name):
            verify(folder)
        data[place] ^= 0xFF
    (folder / name).write_bytes(data)
    verify(folder)
    for size in (0, len(data) - 1, len(data) + 8):
        (folder / name).write_bytes(bytes(data[:size]).ljust(size, b"\0"))
        with pytest.raises(DataError, match=f"{name}: {size} bytes instead of {len(data)}"):
            open_store(folder)
    (folder / name).unlink()
    with pytest.raises(DataError, match=name):
        open_store(folder)


def test_a_damaged_description_is_an_error_with_its_file(folder):
    whole = (folder / INFO).read_bytes()
    for size in range(len(whole) - 1):
        (folder / INFO).write_bytes(whole[:size])
        with pytest.raises(DataError, match=INFO):
            open_store(folder)
    values = json.loads(whole)
    for key in values:
        (folder / INFO).write_text(json.dumps({**values, key: None}))
        with pytest.raises(DataError, match=INFO):
            open_store(folder)
    (folder / INFO).write_text(json.dumps({**values, "format": 99}))
    with pytest.raises(DataError, match="format 99; this program reads 1"):
        open_store(folder)


def test_without_its_description_there_is_no_store(folder):
    (folder / INFO).unlink()
    with pytest.raises(DataError, match="interrupted: prepare it again"):
        open_store(folder)


def test_writing_that_is_interrupted_leaves_no_store(tmp_path):
    def broken():
        yield from parts_of([([5, 3], [4, 3])])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_store(tmp_path / "store", broken(), CORPORA, (SMALL, SMALL))
    with pytest.raises(DataError, match="no store"):
        open_store(tmp_path / "store")


def test_ids_of_other_vocabularies_are_refused(folder):
    check_vocabularies(folder, (SMALL, SMALL))
    with pytest.raises(DataError, match="target vocabulary"):
        check_vocabularies(folder, (SMALL, Vocab(["a", "c", "b"])))
