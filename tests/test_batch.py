"""Padding, token budgets and order."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencing_np.batch import (
    Batch,
    PadIds,
    in_order,
    length_batches,
    make_batch,
    pad,
    padding_share,
    ragged,
    token_batches,
)

ROWS = st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=7), max_size=11)


@given(ROWS, st.integers(0, 97))
def test_padding_keeps_every_row_and_fills_the_rest(rows, pad_id):
    ids, mask = pad(rows, pad_id)
    width = max(map(len, rows), default=0)
    assert ids.shape == mask.shape == (len(rows), width)
    assert ids.dtype == np.int64 and mask.dtype == bool
    for row, row_ids, row_mask in zip(rows, ids, mask, strict=True):
        assert row_ids[: len(row)].tolist() == row
        assert (row_ids[len(row) :] == pad_id).all()
        assert row_mask.tolist() == [True] * len(row) + [False] * (width - len(row))


@given(ROWS.filter(len), st.data())
def test_a_row_does_not_depend_on_its_batch_mates(rows, data):
    number = data.draw(st.integers(0, len(rows) - 1))
    chosen = np.array([number, *data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=5))])
    ids, mask = ragged(rows).padded(chosen, 13)
    assert ids[0][mask[0]].tolist() == rows[number]


def test_an_id_equal_to_the_padding_id_stays_a_token():
    ids, mask = pad([[5, 5], [5]], 5)
    assert mask.tolist() == [[True, True], [True, False]]
    assert ids.tolist() == [[5, 5], [5, 5]]


def test_batch_of_pairs_has_a_padding_id_for_each_side():
    batch = make_batch([([4, 5, 2], [6, 2]), ([2], [7, 8, 9, 2])], PadIds(source=11, target=13))
    assert batch.source.tolist() == [[4, 5, 2], [2, 11, 11]]
    assert batch.target.tolist() == [[6, 2, 13, 13], [7, 8, 9, 2]]
    assert batch.source_mask.sum() == 4 and batch.target_mask.sum() == 6
    assert padding_share(batch) == pytest.approx(4 / 14)


def test_padding_share_of_nothing_is_nothing():
    empty = pad([], 0)
    assert padding_share(Batch(*empty, *empty)) == 0.0


LENGTHS = st.lists(st.tuples(st.integers(0, 23), st.integers(0, 23)), max_size=60)


@given(LENGTHS, st.integers(1, 101), st.booleans())
def test_token_batches_are_in_order_and_within_the_budget_and_as_long_as_they_can_be(pairs, budget, both):
    lengths = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    lengths = lengths if both else lengths[:, 0]
    batches = token_batches(lengths, budget)
    assert np.concatenate([*batches, np.array([], dtype=np.int64)]).tolist() == list(range(len(lengths)))
    cost = [max(1, lengths[rows].max()) * len(rows) for rows in batches]
    for rows, cells in zip(batches, cost, strict=True):
        assert cells <= budget or len(rows) == 1
    for rows, following in pairwise(batches):
        joined = np.append(rows, following[0])
        assert max(1, lengths[joined].max()) * len(joined) > budget


@given(LENGTHS, st.integers(1, 101))
def test_length_batches_cover_the_set_and_their_order_can_be_restored(pairs, budget):
    lengths = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    batches = length_batches(lengths, budget)
    restored = in_order([(rows, [pairs[row] for row in rows]) for rows in batches], len(pairs))
    assert restored == pairs
    longest = [lengths[rows][:, 1].max() for rows in batches]
    assert longest == sorted(longest, reverse=True)
