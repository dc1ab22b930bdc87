"""Sentences as numbers: what differs, what does not; and duplicates in buckets against a set."""

import hashlib
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sequencing.prepare import duplicates
from sequencing.prepare.duplicates import bucket_count, bucket_of, later_ones, mark_duplicates
from sequencing.prepare.keys import COLUMN, COLUMNS, DUPLICATES, keys, loose, loose_keys, mixed, pair_keys
from sequencing.prepare.settings import DuplicatesConfig
from sequencing.prepare.shards import DUPLICATE, Pairs, finished, make_verdicts, open_verdicts, write_shard

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.lists(TEXT, max_size=8))
def test_an_exact_key_is_the_hash_of_the_text(texts: list[str]) -> None:
    expected = [int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") for text in texts]
    assert keys(texts).tolist() == expected


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Hello, world!", "hello world", True),
        ("Hello , world !", "„HELLO“ … world", True),
        ("Straße", "STRASSE", True),
        ("don't", "dont", True),
        ("ab c", "a bc", True),
        ("2 + 2", "2 - 2", False),  # a sign of arithmetic is no punctuation
        ("कि", "की", False),  # vowel signs are marks, not letters, and tell words apart
        ("é", "e", False),
        ("?", "!", False),  # where nothing else is left, punctuation counts
        ("😀", "😁", False),
        ("?", " ? ", True),
    ],
)
def test_loose_keys(one: str, other: str, same: bool) -> None:
    first, second = loose_keys([one, other])
    assert (first == second) == same


@given(TEXT)
def test_a_loose_key_leaves_out_what_it_says(text: str) -> None:
    left = loose(text)
    kept = [c for c in text.casefold() if unicodedata.category(c)[0] not in "PZC"]
    assert left == ("".join(kept) or text.strip())
    assert loose(left) in (left, left.casefold())


@given(st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=50), st.integers(0, 2**40))
def test_mixing_keeps_different_numbers_different(numbers: list[int], seed: int) -> None:
    found = mixed(np.array(numbers, dtype=np.uint64), seed).tolist()
    assert len(set(found)) == len(numbers)
    mask = (1 << 64) - 1
    for number, mix in zip(numbers, found, strict=True):  # splitmix64, in whole numbers
        z = (number + (seed + 1) * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        assert mix == z ^ (z >> 31)


def test_the_key_of_a_pair_knows_its_sides_apart() -> None:
    columns = np.zeros((len(COLUMNS), 4), dtype=np.uint64)
    columns[COLUMN["source"]], columns[COLUMN["target"]] = [1, 2, 1, 1], [2, 1, 2, 1]
    first, turned, again, other = pair_keys(columns).tolist()
    assert first == again and len({first, turned, other}) == 3


@given(st.lists(st.integers(0, 12), max_size=60))
def test_later_ones(numbers: list[int]) -> None:
    entries = np.zeros(len(numbers), dtype=duplicates.ENTRY)
    entries["key"], entries["row"] = numbers, range(100, 100 + len(numbers))
    expected = [100 + place for place, number in enumerate(numbers) if number in numbers[:place]]
    assert later_ones(entries).tolist() == expected


@given(st.integers(0, 2**64 - 1), st.integers(0, 9))
def test_buckets_are_the_first_bits(key: int, bits: int) -> None:
    assert bucket_of(np.array([key], dtype=np.uint64), 1 << bits).tolist() == [key >> (64 - bits) if bits else 0]


def test_as_many_buckets_as_fit_into_memory() -> None:
    fits = duplicates.BUCKET // duplicates.ENTRY.itemsize
    counts = [bucket_count(rows) for rows in (0, 1, fits, fits + 1, 3 * fits, 10**12)]
    assert counts == [1, 1, 1, 2, 4, duplicates.MOST]


ROWS = st.lists(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=6), min_size=1, max_size=5)


@settings(max_examples=25)
@given(ROWS, st.lists(st.sampled_from(sorted(DUPLICATES)), max_size=3, unique=True), st.booleans())
def test_marked_as_a_set_would(tmp_path_factory, blocks, names, across) -> None:
    """Any shards of any corpora, any keys, so few entries a bucket that there are several."""
    work = tmp_path_factory.mktemp("work")
    rows = []
    for number, block in enumerate(blocks):
        texts = Pairs([f"a{source}" for source, _ in block], [f"b{target}" for _, target in block], range(len(block)))
        columns = np.zeros((len(COLUMNS), len(block)), dtype=np.uint64)
        for name, side in (("source", 0), ("target", 1), ("loose_source", 0), ("loose_target", 1)):
            columns[COLUMN[name]] = keys(texts[side])
        write_shard(work, f"{number:05d}-000000", texts, columns, {"corpus": number % 2})
        rows += [(number % 2, *pair) for pair in zip(*texts[:2], strict=True)]
    expected = [0] * len(rows)
    for place, name in enumerate(names):
        seen = set()
        for row, (corpus, source, target) in enumerate(rows):
            if expected[row]:
                continue
            part = {"source": source, "target": target}.get(name.removeprefix("loose_"), (source, target))
            found = (part, None if across else corpus)
            expected[row] = DUPLICATE + place if found in seen else 0
            seen.add(found)
    make_verdicts(work, len(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(duplicates, "BUCKET", 48)
        mark_duplicates(work, finished(work), DuplicatesConfig(tuple(names), across))
    assert open_verdicts(work).tolist() == expected
    assert not Path(work / "buckets").exists()
