"""feedback: what the decoder reads next, on a table of logits: teaching, coins, forced words, draws."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencing_np.decode import dynamic_decode
from sequencing_np.errors import SearchError
from sequencing_np.feedback import SampleFeedBack, TrainingFeedBack
from sequencing_np.limits import Limits
from sequencing_np.picking import Sampler, argmax, banned_ids, sentence_keys
from sequencing_np.special import Special
from sequencing_np.state import Memory, Output
from table_decoder import ARRAYS, SPECIAL, TableDecoder, random_table

TARGET = np.array([[4, 5, 6, 3], [5, 3, 0, 0], [6, 6, 4, 3]])
each_floor = pytest.mark.parametrize("floor", ARRAYS)


class Listener(TableDecoder):
    """Keeps what it read."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.read: list[np.ndarray] = []

    def step(self, tokens: Any, state: Any) -> Any:
        self.read.append(self.arrays.host(tokens))
        return super().step(tokens, state)


def teach(feedback: TrainingFeedBack, floor: str = "numpy", seed: int = 1) -> tuple[Output, np.ndarray]:
    """The output of a lesson, and all that was read."""
    decoder = Listener(random_table(seed, 7), floor)
    output = dynamic_decode(decoder, decoder.memory([3, 1, 2]), feedback)
    return Output(*map(decoder.arrays.host, output)), np.concatenate(decoder.read, axis=1)


# --- teaching -------------------------------------------------------------------------------------------------------


@each_floor
def test_a_teacher_speaks_once(floor: str) -> None:
    decoder = Listener(random_table(1, 7), floor)
    output = dynamic_decode(decoder, decoder.memory([3, 1, 2]), TrainingFeedBack(TARGET, SPECIAL))
    assert len(decoder.read) == 1 and output.logits.shape == (3, 4, 7)
    np.testing.assert_array_equal(decoder.read[0], [[2, 4, 5, 6], [2, 5, 3, 0], [2, 6, 6, 4]])
    wordless, read = teach(TrainingFeedBack(TARGET, SPECIAL, 1 - 1e-12, generator=np.random.default_rng(0)), floor)
    np.testing.assert_array_equal(read, decoder.read[0])
    for one, other in zip(wordless, output, strict=True):
        np.testing.assert_array_equal(one, other)


@each_floor
def test_without_a_teacher_it_reads_its_own_words(floor: str) -> None:
    output, read = teach(TrainingFeedBack(TARGET, SPECIAL, 0.0, generator=np.random.default_rng(0)), floor)
    logits = output.logits.copy()
    logits[..., [SPECIAL.pad, SPECIAL.bos]] = -np.inf
    np.testing.assert_array_equal(read[:, 0], SPECIAL.bos)
    np.testing.assert_array_equal(read[:, 1:], logits.argmax(-1)[:, :-1])
    assert output.logits.shape == (3, 4, 7)  # T-A16: the target's length, whatever was said


def mixed(rate: float, per_sentence: bool, seed: int, floor: str = "numpy") -> np.ndarray:  # -> (B, T - 1)
    """Where the target's words were read. Its own word is always 1, the target's always 6."""
    table = Listener(lambda sentence, words: np.eye(7)[1] * 9, floor)
    target = np.full((40, 30), 6)
    feedback = TrainingFeedBack(target, SPECIAL, rate, per_sentence=per_sentence, generator=np.random.default_rng(seed))
    dynamic_decode(table, table.memory([1] * 40), feedback)
    read = np.concatenate(table.read, axis=1)[:, 1:]
    assert set(np.unique(read)) <= {1, 6}
    return read == 6


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.9])
def test_coins(rate: float) -> None:
    each_word = mixed(rate, False, 3)
    assert abs(each_word.mean() - rate) < 0.05
    assert 0 < each_word.mean(axis=1).std() < 0.2
    whole = mixed(rate, True, 3)
    assert set(np.unique(whole.mean(axis=1))) <= {0.0, 1.0}
    assert abs(np.mean([mixed(rate, True, seed).mean() for seed in range(9)]) - rate) < 0.1
    np.testing.assert_array_equal(each_word, mixed(rate, False, 3, "torch"))
    assert (each_word != mixed(rate, False, 4)).any()


def test_a_target_of_one_word() -> None:
    for rate in (0.0, 0.5, 1.0):
        feedback = TrainingFeedBack(np.full((3, 1), 3), SPECIAL, rate, generator=np.random.default_rng(0))
        output, read = teach(feedback)
        assert output.logits.shape == (3, 1, 7) and read.tolist() == [[2], [2], [2]]


def test_a_feedback_may_teach_twice() -> None:
    feedback = TrainingFeedBack(TARGET, SPECIAL)
    for one, other in zip(teach(feedback)[0], teach(feedback)[0], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_rates_that_are_none(rate: float) -> None:
    with pytest.raises(SearchError, match="teacher_rate"):
        TrainingFeedBack(TARGET, SPECIAL, rate, generator=np.random.default_rng(0))


def test_coins_need_a_generator() -> None:
    with pytest.raises(SearchError, match="generator"):
        TrainingFeedBack(TARGET, SPECIAL, 0.5)


# --- answering ------------------------------------------------------------------------------------------------------


def answer(floor: str = "numpy", table: Any = None, **options: Any) -> list[Any]:
    decoder = TableDecoder(table or random_table(2, 7), floor)
    limits = options.pop("limits", Limits(0.0, 6))
    return dynamic_decode(decoder, decoder.memory([3, 1, 2]), SampleFeedBack(SPECIAL, limits, **options))


@each_floor
def test_greedy_takes_the_likeliest(floor: str) -> None:
    table = random_table(2, 7)
    for sentence, (found,) in enumerate(answer(floor)):
        words: tuple[int, ...] = ()
        for token, log_prob in zip(
            [*found.tokens, *([3] if found.finished else [])], found.token_log_probs, strict=True
        ):
            logits = table(sentence, words)
            allowed = np.where(np.isin(np.arange(7), [0, 2]), -np.inf, logits)
            assert token == allowed.argmax()
            np.testing.assert_allclose(log_prob, logits[token] - np.logaddexp.reduce(logits))
            words = (*words, token)
        np.testing.assert_allclose(found.log_prob, sum(found.token_log_probs))
        np.testing.assert_allclose(found.score, found.log_prob / len(words))


@each_floor
def test_forced_words_of_different_number(floor: str) -> None:
    """They are said, scored as a teacher would, and what follows is what the model says after them."""
    table = random_table(2, 7)
    prefix = [[4, 4, 4], [], [6]]
    found = answer(floor, prefix=prefix, alignments=True)
    free = answer(floor)
    assert found[1][0][:4] == free[1][0][:4]
    for sentence, ((one,), words) in enumerate(zip(found, prefix, strict=True)):
        assert one.tokens[: len(words)] == words
        said = [*one.tokens, *([3] if one.finished else [])]
        for step, token in enumerate(said):
            logits = table(sentence, tuple(said[:step]))
            np.testing.assert_allclose(one.token_log_probs[step], logits[token] - np.logaddexp.reduce(logits))
            if step >= len(words):
                assert token == np.where(np.isin(np.arange(7), [0, 2]), -np.inf, logits).argmax()
        assert one.alignment.shape == (len(said), 3)


def test_forced_ends_and_forced_beyond_the_limit() -> None:
    found = answer(prefix=[[4, 3, 5], [5] * 9, []], limits=Limits(0.0, 2))
    assert found[0][0].tokens == [4] and found[0][0].finished
    assert found[1][0].tokens[:9] == [5] * 9 and len(found[1][0].token_log_probs) <= 10
    assert len(found[2][0].token_log_probs) <= 2
    with pytest.raises(SearchError, match="2 prefixes for 3 sentences"):
        answer(prefix=[[], []])


def test_no_end_before_the_shortest() -> None:
    def table(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        return np.array([9.0, 0, 9, 8, 1, 0, 0])

    for shortest in (0, 1, 4):
        for (found,) in answer(table=table, limits=Limits(0.0, 7, shortest=shortest)):
            assert found.tokens == [4] * shortest and found.finished


def test_pad_may_be_eos() -> None:
    """Layouts of the original framework end with what they pad with; then an answer can still end."""
    assert list(banned_ids(Special(3, 1, 2, 3), False)) == [2]
    assert list(banned_ids(Special(3, 1, 2, 3), True)) == [2, 3]
    assert list(banned_ids(SPECIAL, False)) == [0, 2] and list(banned_ids(SPECIAL, True)) == [0, 2, 3]


@each_floor
def test_the_finished_leave_the_batch(floor: str) -> None:
    def table(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        return np.eye(7)[3 if len(words) == (2, 0, 4)[sentence] else 5] * 30

    decoder = TableDecoder(table, floor)
    found = dynamic_decode(decoder, decoder.memory([3, 1, 2]), SampleFeedBack(SPECIAL, Limits(0.0, 9), alignments=True))
    assert decoder.asked == [3, 2, 2, 1, 1]
    assert [one[0].tokens for one in found] == [[5, 5], [], [5] * 4]
    assert [one[0].alignment.shape for one in found] == [(3, 3), (1, 3), (5, 3)]


# --- drawing --------------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.sampled_from([0.3, 1.0, 5.0]), st.sampled_from([0, 2]), st.sampled_from([0.5, 1.0]))
def test_both_floors_draw_the_same_words(seed: int, temperature: float, top_k: int, top_p: float) -> None:
    keys = sentence_keys(seed, 0, 512)
    found = [answer(floor, pick=Sampler(keys, temperature, top_k, top_p)) for floor in ARRAYS]
    for (one,), (other,) in zip(*found, strict=True):
        assert one.tokens == other.tokens
        np.testing.assert_allclose(one.token_log_probs, other.token_log_probs)


@each_floor
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature(temperature: float, floor: str) -> None:
    """Draws follow softmax(logits / temperature) without the banned; what is scored is the model's own probability."""
    arrays = ARRAYS[floor]
    logits = np.tile([3.0, 1.0, 3.0, 0.5, 0.0, 2.0], (20000, 1))
    before = logits.copy()
    keys = sentence_keys(1, 0, len(logits))
    choice = Sampler(keys, temperature)(arrays, arrays.native(logits), np.array([0, 2]), np.arange(len(logits)))
    weights = np.exp(before[0] / temperature) * [0, 1, 0, 1, 1, 1]
    shares = np.bincount(choice.ids, minlength=6) / len(logits)
    np.testing.assert_allclose(shares, weights / weights.sum(), atol=0.02)
    assert shares[0] == shares[2] == 0
    expected = before[0] - np.logaddexp.reduce(before[0])
    np.testing.assert_allclose(choice.log_probs, expected[choice.ids])
    np.testing.assert_array_equal(logits, before)


@given(st.integers(0, 2**63), st.integers(0, 1000), st.integers(1, 50))
def test_keys_depend_on_the_place_alone(seed: int, first: int, count: int) -> None:
    keys = sentence_keys(seed, first, count)
    assert len(set(keys.tolist())) == count
    np.testing.assert_array_equal(keys[1:], sentence_keys(seed, first + 1, count - 1))
    assert keys[0] != sentence_keys(seed + 1, first, 1)[0]


@each_floor
def test_a_cold_draw_is_greedy(floor: str) -> None:
    cold = answer(floor, pick=Sampler(sentence_keys(0, 0, 512), 1e-4))
    nucleus = answer(floor, pick=Sampler(sentence_keys(0, 0, 512), 1.0, 0, 1e-6))
    first = answer(floor, pick=Sampler(sentence_keys(0, 0, 512), 1.0, 1))
    for found in zip(cold, nucleus, first, answer(floor, pick=argmax), strict=True):
        assert len({tuple(one[0].tokens) for one in found}) == 1


@each_floor
def test_nan_while_drawing(floor: str) -> None:
    healthy = random_table(2, 7)

    def table(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        return healthy(sentence, words) * (np.nan if sentence == 1 and words else 1.0)

    found = answer(floor, table, pick=Sampler(sentence_keys(3, 0, 512)), limits=Limits(0.0, 6, shortest=2))
    assert found[1] == [] and found[0] and found[2]


@pytest.mark.parametrize("options", [(0.0, 0, 1.0), (-1.0, 0, 1.0), (1.0, -1, 1.0), (1.0, 0, 0.0), (1.0, 0, 1.1)])
@pytest.mark.parametrize("wrong", [None, float("nan")])
def test_draws_that_cannot_be(options: tuple[float, int, float], wrong: float | None) -> None:
    temperature, top_k, top_p = options if wrong is None else (wrong, *options[1:])
    with pytest.raises(SearchError):
        Sampler(sentence_keys(0, 0, 512), temperature, top_k, top_p)


# --- the loop and its limits ----------------------------------------------------------------------------------------


@given(st.floats(0, 5), st.integers(0, 30), st.integers(0, 30), st.integers(0, 5), st.integers(0, 40))
def test_limits(factor: float, constant: int, longest: int, shortest: int, length: int) -> None:
    mask = np.arange(50)[None] < length
    limit = Limits(factor, constant, longest, shortest).of(mask)[0]
    assert limit == max(min(int(factor * length + constant), longest), shortest + 1)


def test_prefixes_are_not_needed_for_an_empty_memory_of_one() -> None:
    """A sentence without a real token is searched like any other; its limit is the constant."""
    memory = Memory(
        np.zeros((1, 2, 1)), np.zeros((1, 2, 1)), np.zeros((1, 2), dtype=bool), np.zeros((1, 1)), np.zeros((1, 2))
    )
    decoder = TableDecoder(lambda sentence, words: np.eye(7)[5])
    for feedback in (SampleFeedBack(SPECIAL, Limits(2.0, 3)),):
        assert dynamic_decode(decoder, memory, feedback)[0][0].tokens == [5] * 3


def test_every_pick_obeys_the_ban() -> None:
    for floor, seed in itertools.product(ARRAYS, range(20)):
        arrays = ARRAYS[floor]
        logits = np.random.default_rng(seed).normal(0, 3, (11, 7))
        banned = np.array([0, 2, 3])
        for pick in (argmax, Sampler(sentence_keys(seed, 0, 512))):
            assert not np.isin(pick(arrays, arrays.native(logits), banned, np.arange(11)).ids, banned).any()
