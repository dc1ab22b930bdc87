"""Permutations that are computed: each is one, and all are equally likely."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sequencing.data.permutation import key_of, permuted


@given(st.integers(1, 3000), st.integers(0, 2**64 - 1))
def test_permuted_is_a_permutation(size, key):
    places = permuted(np.arange(size), np.full(size, size), key_of(key))
    assert sorted(places.tolist()) == list(range(size))


def test_permutations_of_three_are_equally_likely():
    found = Counter(tuple(permuted(np.arange(3), np.full(3, 3), key_of(7, key)).tolist()) for key in range(6000))
    assert len(found) == 6
    assert sum((count - 1000) ** 2 / 1000 for count in found.values()) < 20.5  # chi-square, 5 degrees, 1 in 1,000


def test_permutations_of_many_ranges_at_once_are_those_of_each():
    sizes = np.array([1, 2, 5, 97, 4096])
    index = np.array([0, 1, 3, 50, 4095])
    keys = key_of(5, np.arange(5))
    alone = [permuted(index[k : k + 1], sizes[k : k + 1], keys[k : k + 1])[0] for k in range(5)]
    assert permuted(index, sizes, keys).tolist() == alone
