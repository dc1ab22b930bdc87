"""mixer: the target first, then the model, several times over one memory; k grows as the two integers say."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencing_np.decode import dynamic_decode
from sequencing_np.errors import SearchError
from sequencing_np.feedback import SampleFeedBack
from sequencing_np.limits import Limits
from sequencing_np.mixer import Drawing, RLTrainingFeedBack, Samples, own_tokens
from sequencing_np.picking import Sampler, argmax, sentence_keys
from table_decoder import ARRAYS, SPECIAL, TableDecoder, random_table

TARGET = np.array([[4, 5, 6, 4, 3], [5, 3, 0, 0, 0], [6, 6, 4, 3, 0]])
LENGTHS = np.array([5, 2, 4])
each_floor = pytest.mark.parametrize("floor", ARRAYS)


def mixed(start: Any, n: int = 1, floor: str = "numpy", pick: Any = argmax, limit: Any = (7, 7, 7), table: Any = None):
    decoder = TableDecoder(table or random_table(2, 7), floor)
    feedback = RLTrainingFeedBack(TARGET, SPECIAL, np.array(start), np.array(limit), pick=pick, samples=n)
    return dynamic_decode(decoder, decoder.memory([3, 1, 2]), feedback), decoder


# --- the schedule ---------------------------------------------------------------------------------------------------


def test_k_by_hand() -> None:
    """Inventory row A41: en2zh's 50,000 and 10,000 of 200,000 steps end at the last fifteen tokens."""
    assert [own_tokens(step, 50_000, 10_000) for step in (0, 50_000, 59_999, 60_000, 200_000)] == [0, 0, 0, 1, 15]


@given(st.integers(0, 10**6), st.integers(0, 10**5), st.integers(1, 10**4))
def test_k_is_the_floor(step: int, burn_in: int, increment: int) -> None:
    assert own_tokens(step, burn_in, increment) == int(np.floor(max(step - burn_in, 0) / increment))


@pytest.mark.parametrize("numbers", [(-1, 5), (0, 0), (3, -1)])
def test_schedules_that_are_none(numbers: tuple[int, int]) -> None:
    with pytest.raises(SearchError, match="increment"):
        own_tokens(1, *numbers)


# --- who speaks -----------------------------------------------------------------------------------------------------


@each_floor
@given(start=st.tuples(*[st.integers(0, 6)] * 3), n=st.integers(1, 4), limit=st.tuples(*[st.integers(1, 9)] * 3))
def test_taught_first_then_its_own(floor: str, start: Any, n: int, limit: Any) -> None:
    """Token by token: the target's up to the start step, then what the table finds likeliest after all before it."""
    table = random_table(2, 7)
    found, _ = mixed(start, n, floor, limit=limit, table=table)
    for sentence, (begin, most) in enumerate(zip(np.minimum(start, LENGTHS), limit, strict=True)):
        for sample in range(n):
            ids = found.ids[sentence, sample][found.real[sentence, sample]].tolist()
            assert ids == found.rows(sentence)[sample]
            assert ids[:begin] == TARGET[sentence, :begin].tolist()
            assert found.own[sentence, sample].tolist() == [begin <= t < len(ids) for t in range(found.ids.shape[2])]
            for t in range(begin, len(ids)):
                logits = np.where(np.isin(np.arange(7), [0, 2]), -np.inf, table(sentence, tuple(ids[:t])))
                assert ids[t] == logits.argmax()
            ended = ids[-1] == SPECIAL.eos
            assert found.finished[sentence, sample] == ended
            assert SPECIAL.eos not in ids[:-1] and (ended or len(ids) == max(most, begin + 1))
            assert (found.ids[sentence, sample][~found.real[sentence, sample]] == SPECIAL.pad).all()


@each_floor
def test_each_sample_is_drawn_alone(floor: str) -> None:
    """n samples in one batch are what n searches with the same keys draw; those that end early do not disturb."""
    keys = sentence_keys(5, 0, 12)
    found, _ = mixed((0, 0, 0), 4, floor, Drawing(keys))
    for sample in range(4):
        decoder = TableDecoder(random_table(2, 7), floor)
        pick = Drawing(keys[np.arange(3) * 4 + sample])
        alone = dynamic_decode(decoder, decoder.memory([3, 1, 2]), SampleFeedBack(SPECIAL, Limits(0.0, 7), pick=pick))
        for sentence, (one,) in enumerate(alone):
            assert found.rows(sentence)[sample] == one.tokens + [SPECIAL.eos] * one.finished
    assert len({tuple(row) for row in found.rows(0)}) > 1


def test_both_floors_draw_the_same() -> None:
    for seed in range(20):
        found = [mixed((2, 0, 1), 5, floor, Drawing(sentence_keys(seed, 0, 15)))[0] for floor in ARRAYS]
        for one, other in zip(*found, strict=True):
            np.testing.assert_array_equal(one, other)


@each_floor
def test_the_common_words_are_read_at_once_and_the_finished_leave(floor: str) -> None:
    def table(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        return np.eye(7)[3 if len(words) >= (2, 4, 6)[sentence] else 5] * 30.0

    found, decoder = mixed((1, 1, 1), 3, floor, table=table)
    assert decoder.asked == [3, 9, 6, 6, 3, 3]  # one row a sentence, then three each
    assert found.real.sum(axis=2).tolist() == [[3] * 3, [5] * 3, [7] * 3]


def test_all_taught_asks_nobody() -> None:
    found, decoder = mixed((9, 9, 9), 2)
    assert decoder.asked == [] and not found.own.any() and found.finished.all()
    assert found.rows(1) == [[5, 3]] * 2


def test_greedy_rows_beside_drawn_ones() -> None:
    greedy = np.tile([False, False, True], 3)
    found, _ = mixed((0, 0, 0), 3, pick=Drawing(sentence_keys(1, 0, 9), greedy))
    best, _ = mixed((0, 0, 0), 1)
    drawn, _ = mixed((0, 0, 0), 3, pick=Drawing(sentence_keys(1, 0, 9)))
    for sentence in range(3):
        assert found.rows(sentence)[2] == best.rows(sentence)[0]
        assert found.rows(sentence)[:2] == drawn.rows(sentence)[:2]


@each_floor
def test_nan_is_not_learnt_from(floor: str) -> None:
    healthy = random_table(2, 7)

    def table(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        return healthy(sentence, words) * (np.nan if sentence == 1 and words else 1.0)

    found, _ = mixed((0, 1, 0), 2, floor, Drawing(sentence_keys(3, 0, 6)), table=table)
    assert not found.finished[1].any() and not found.own[1].any()


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"start": np.zeros(2)}, {"limit": np.zeros(4)}])
def test_what_does_not_fit(wrong: dict[str, Any]) -> None:
    given = {"start": np.zeros(3), "limit": np.zeros(3), "samples": 1} | wrong
    with pytest.raises(SearchError):
        RLTrainingFeedBack(TARGET, SPECIAL, given["start"], given["limit"], samples=given["samples"])


# --- drawing --------------------------------------------------------------------------------------------------------


@each_floor
def test_draws_follow_the_softmax(floor: str) -> None:
    arrays, rows = ARRAYS[floor], 40_000
    logits = np.tile([3.0, 1.0, 3.0, 0.5, 0.0, 2.0], (rows, 1))
    choice = Drawing(sentence_keys(1, 0, rows))(arrays, arrays.native(logits), np.array([0, 2]), np.arange(rows))
    weights = np.exp(logits[0]) * [0, 1, 0, 1, 1, 1]
    np.testing.assert_allclose(np.bincount(choice.ids, minlength=6) / rows, weights / weights.sum(), atol=0.01)
    expected = logits[0] - np.logaddexp.reduce(logits[0])
    np.testing.assert_allclose(choice.log_probs, expected[choice.ids])


@each_floor
@given(uniform=st.sampled_from([0.0, 0.5, 1 - 2.0**-53]), best=st.integers(0, 6))
def test_what_cannot_be_is_never_drawn(floor: str, uniform: float, best: int) -> None:
    """At the borders of the uniform numbers too; a certain id is drawn for sure."""
    arrays = ARRAYS[floor]
    sure = np.full((3, 7), -np.inf, dtype=np.float32)
    sure[:, best] = 4.0
    assert (arrays.draw_any(arrays.native(sure), np.full(3, uniform), np.zeros(0, dtype=np.int64)).ids == best).all()
    banned = np.array([0, 6])
    drawn = arrays.draw_any(arrays.native(np.zeros((3, 7), dtype=np.float32)), np.full(3, uniform), banned).ids
    assert not np.isin(drawn, banned).any()


def test_samples_know_their_rows() -> None:
    ids, real = np.array([[[4, 3, 0]]]), np.array([[[True, True, False]]])
    assert Samples(ids, real, real, np.ones((1, 1), dtype=bool)).rows(0) == [[4, 3]]


def test_a_draw_is_not_a_samplers() -> None:
    """They invert different orders of the same distribution; each alone is a function of key and step."""
    keys, arrays = sentence_keys(2, 0, 50), ARRAYS["numpy"]
    logits = np.random.default_rng(0).normal(0, 1, (50, 30))
    none, rows = np.zeros(0, dtype=np.int64), np.arange(50)
    first = Drawing(keys)(arrays, logits, none, rows).ids
    np.testing.assert_array_equal(first, Drawing(keys)(arrays, logits, none, rows).ids)
    assert (first != Sampler(keys)(arrays, logits, none, rows).ids).any()
