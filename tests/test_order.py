"""The order of an epoch: permutations, budgets, weights, and little padding."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sequencing.data.lengths import Lengths, by_length
from sequencing.data.order import OrderOptions, Plan, best_layout, cut, laid_out


def plan_of(source, target, corpus=None, epoch=0, budget=60, weights=(1.0,), **options):
    sides = [np.array(side, dtype=np.int64) for side in (source, target, corpus or [0] * len(source))]
    rows, cells = by_length(Lengths(*sides))
    chosen = OrderOptions(budget, options.pop("max_length", 99), options.pop("seed", 3), weights, **options)
    return Plan(rows, cells, best_layout(cells, chosen), chosen, epoch)


def rows_of(plan):
    return [plan.rows(number).tolist() for number in range(len(plan))]


SIZES = st.lists(st.tuples(st.integers(1, 23), st.integers(1, 19)), min_size=1, max_size=150)


@given(SIZES, st.integers(2, 97), st.integers(0, 3), st.integers(1, 5))
def test_each_row_once_an_epoch_within_the_budget_and_in_whole_groups(sizes, budget, epoch, group):
    source, target = zip(*sizes, strict=True)
    batches = rows_of(plan_of(source, target, epoch=epoch, budget=budget, group=group))
    assert sorted(row for batch in batches for row in batch) == list(range(len(sizes)))
    assert len(batches) % group == 0
    for batch in batches:
        longest = max((source[row] for row in batch), default=0) + max((target[row] for row in batch), default=0)
        assert len(batch) * longest <= budget or len(batch) == 1


def test_rows_that_are_too_long_are_left_out():
    batches = rows_of(plan_of([3, 9, 4, 4], [5, 5, 9, 8], max_length=8))
    assert sorted(row for batch in batches for row in batch) == [0, 3]


@settings(max_examples=40)
@given(st.lists(st.sampled_from([0, 1, 1, 1, 2]), min_size=3, max_size=60), st.sampled_from([0.0, 0.3, 1.0, 1.5, 2.75]))
def test_a_corpus_is_seen_as_often_as_its_weight_says(corpora, weight):
    count = len(corpora)
    source, target = [2 + k % 5 for k in range(count)], [1 + k % 3 for k in range(count)]
    seen = Counter()
    epochs = 20
    for epoch in range(epochs):
        plan = plan_of(source, target, [int(c == 1) for c in corpora], epoch, weights=(1.0, weight))
        seen.update(row for batch in rows_of(plan) for row in batch)
    for row in range(count):
        if corpora[row] == 1 and weight not in (0.0, 1.0):
            assert seen[row] >= 1 or weight * epochs < 4 * count, "other rows take their turn"
        else:
            assert seen[row] == epochs * (weight if corpora[row] == 1 else 1)
    members = sum(corpus == 1 for corpus in corpora)
    cells = len({(source[k], target[k]) for k in range(count) if corpora[k] == 1})
    total = sum(seen[row] for row in range(count) if corpora[row] == 1)
    assert abs(total - epochs * weight * members) <= cells


def test_copies_within_an_epoch_are_of_all_rows_before_any_comes_again():
    seen = Counter(row for batch in rows_of(plan_of([4] * 10, [4] * 10, weights=(2.5,))) for row in batch)
    assert sorted(seen.values()) == [2] * 5 + [3] * 5
    again = Counter(row for batch in rows_of(plan_of([4] * 10, [4] * 10, weights=(2.5,), epoch=1)) for row in batch)
    assert {row for row in seen if seen[row] == 3} != {row for row in again if again[row] == 3}


def test_order_is_another_in_each_epoch_and_with_each_seed_and_the_same_again():
    sizes = [4] * 200
    first, second = (rows_of(plan_of(sizes, sizes, epoch=epoch)) for epoch in (0, 1))
    assert first == rows_of(plan_of(sizes, sizes))
    assert first != second and first != rows_of(plan_of(sizes, sizes, seed=4))
    assert {frozenset(batch) for batch in first} != {frozenset(batch) for batch in second}, "other mates too"


def test_order_is_the_same_on_every_machine():
    """Written down once: a change of this order would make stopped runs continue wrongly."""
    assert rows_of(plan_of([3, 3, 4, 5, 3, 4, 4], [2, 2, 2, 3, 2, 3, 3], budget=14, seed=5)) == ORDER


ORDER = [[4, 0], [6, 5], [2, 1], [3]]


def test_corpora_of_one_length_are_mixed():
    corpus = [0] * 300 + [1] * 300
    batches = rows_of(plan_of([5] * 600, [5] * 600, corpus, budget=600, weights=(1.0, 1.0)))
    shares = [np.mean([row >= 300 for row in batch]) for batch in batches]
    assert len(shares) == 10 and max(abs(share - 0.5) for share in shares) < 0.25


def test_little_padding_on_lengths_as_they_are():
    """Under 3 % of a corpus of everyday size, with batches of a thousand tokens a side."""
    random = np.random.default_rng(1)
    target = np.clip(random.gamma(8, 1.8, 100_000), 3, 60).astype(np.int64)
    source = np.clip(target * random.normal(1, 0.2, len(target)), 3, 60).astype(np.int64)
    rows, cells = by_length(Lengths(source, target, np.zeros_like(source)))
    options = OrderOptions(4096, 256, 1, (1.0,))
    plan = Plan(rows, cells, best_layout(cells, options), options, 0)
    some = [plan.rows(number) for number in range(0, len(plan), 5)]
    padded = sum(len(batch) * (source[batch].max() + target[batch].max()) for batch in some)
    assert 1 - sum((source[batch] + target[batch]).sum() for batch in some) / padded < 0.03


def test_batches_fill_their_budget():
    cells = by_length(Lengths(*(np.array([side] * 100) for side in (4, 6, 0)))).cells
    layout = laid_out(cells, np.array([0]), 1)
    assert list(cut(layout, np.array([100]), 75)) == [(start, 7, 10) for start in range(0, 98, 7)] + [(98, 2, 10)]


@pytest.mark.parametrize("count", [0, 1, 5000])
def test_by_length_agrees_with_a_sort(count):
    random = np.random.default_rng(count)
    source, target, corpus = (random.integers(low, high, count) for low, high in ((1, 40), (1, 30), (0, 3)))
    rows, cells = by_length(Lengths(source, target, corpus))
    wanted = np.lexsort((np.arange(count), corpus, source, target))
    assert rows.tolist() == wanted.tolist()
    assert cells.counts.sum() == count
    for side, sizes in ((source, cells.source), (target, cells.target), (corpus, cells.corpus)):
        assert np.repeat(sizes, cells.counts).tolist() == side[wanted].tolist()
