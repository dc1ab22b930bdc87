"""Beam search against an exhaustive search and against a plain one, both written here on a table of logits."""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencing_np.beam import BeamFeedBack
from sequencing_np.beam_rows import BeamRows
from sequencing_np.decode import dynamic_decode
from sequencing_np.errors import SearchError
from sequencing_np.feedback import Hypothesis, SampleFeedBack
from sequencing_np.limits import Limits
from sequencing_np.ranking import LENGTH_PENALTIES, Ranking
from sequencing_np.state import Memory, by_row, by_sentence
from table_decoder import ARRAYS, SPECIAL, Table, TableDecoder, random_table

FLOORS = ["numpy", "torch"]
FORMULAS = {"none": lambda n, a: 1.0, "average": lambda n, a: n**a, "gnmt": lambda n, a: ((5 + n) / 6) ** a}


def log_softmax(logits: np.ndarray) -> np.ndarray:  # (V,) -> (V,)
    return logits - np.logaddexp.reduce(logits)


class Found(NamedTuple):
    """One answer of a reference."""

    tokens: tuple[int, ...]  # the end symbol included
    log_prob: float
    score: float


class Search(NamedTuple):
    """How to search."""

    size: int
    limit: int
    shortest: int = 0
    penalty: str = "average"
    alpha: float = 1.0
    n_best: int = 1

    def feedback(self, alignments: bool = False) -> BeamFeedBack:
        limits = Limits(0.0, self.limit, shortest=self.shortest)
        ranking = Ranking(self.penalty, self.alpha)
        return BeamFeedBack(SPECIAL, self.size, limits, ranking=ranking, n_best=self.n_best, alignments=alignments)

    def score(self, log_prob: float, length: int) -> float:
        return log_prob / FORMULAS[self.penalty](length, self.alpha)

    def allowed(self, length: int, size: int) -> list[int]:
        banned = {SPECIAL.pad, SPECIAL.bos, *([SPECIAL.eos] if length < self.shortest else [])}
        return [token for token in range(size) if token not in banned]


def exhaustive(table: Table, sentence: int, search: Search) -> list[Found]:
    """Every answer there is, best first."""
    answers, open_words = [], [((), 0.0)]
    while open_words:
        words, before = open_words.pop()
        log_probs = log_softmax(table(sentence, words))
        for token in search.allowed(len(words), len(log_probs)):
            said, total = (*words, token), before + log_probs[token]
            if token == SPECIAL.eos or len(said) == search.limit:
                answers.append(Found(said, total, search.score(total, len(said))))
            else:
                open_words.append((said, total))
    return sorted(answers, key=lambda found: -found.score)[: search.n_best]


def plain(table: Table, sentence: int, search: Search) -> list[Found]:
    """Beam search without haste: no sentence stops before all its places are taken."""
    beams, done, places = [((), 0.0)], [], search.size
    for length in itertools.count():
        if not beams or not places:
            return sorted(done, key=lambda found: -found.score)[: search.n_best]
        candidates = []
        for rank, (words, before) in enumerate(beams):
            log_probs = log_softmax(table(sentence, words))
            for token in search.allowed(length, len(log_probs)):
                candidates.append((-(before + log_probs[token]), token, rank, words))
        beams = []
        for minus, token, _, words in sorted(candidates)[:places]:
            if minus == np.inf:
                continue
            said = (*words, token)
            if token == SPECIAL.eos or len(said) == search.limit:
                done.append(Found(said, -minus, search.score(-minus, len(said))))
                places -= 1
            else:
                beams.append((said, -minus))


def run(table: Table, search: Search, sentences: int = 3, floor: str = "numpy") -> list[list[Hypothesis]]:
    decoder = TableDecoder(table, floor)
    return dynamic_decode(decoder, decoder.memory([4, 2, 3, 1, 5][:sentences]), search.feedback())


def whole(answer: Hypothesis) -> tuple[int, ...]:
    return (*answer.tokens, *([SPECIAL.eos] if answer.finished else []))


def agree(answers: list[Hypothesis], wanted: list[Found]) -> None:
    assert [whole(answer) for answer in answers] == [found.tokens for found in wanted]
    for answer, found in zip(answers, wanted, strict=True):
        np.testing.assert_allclose(answer.log_prob, found.log_prob, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(answer.score, found.score, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(sum(answer.token_log_probs), found.log_prob, rtol=1e-9, atol=1e-12)


# --- against references ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", LENGTH_PENALTIES)
@given(seed=st.integers(0, 10**6), alpha=st.sampled_from([0.0, 0.6, 1.0, 2.5]), data=st.data())
def test_a_beam_as_large_as_the_language_finds_the_best(penalty: str, seed: int, alpha: float, data) -> None:
    """The early stop is on: it must lose none of the n best."""
    limit = data.draw(st.integers(1, 5))
    shortest = data.draw(st.integers(0, limit - 1))
    search = Search(400, limit, shortest, penalty, alpha, data.draw(st.sampled_from([1, 2, 7, 60])))
    table = random_table(seed, 6, data.draw(st.sampled_from([0.3, 2.0, 6.0])))
    for sentence, answers in enumerate(run(table, search)):
        agree(answers, exhaustive(table, sentence, search))


@pytest.mark.parametrize("floor", FLOORS)
@pytest.mark.parametrize("penalty", LENGTH_PENALTIES)
@given(seed=st.integers(0, 10**6), alpha=st.sampled_from([0.0, 0.6, 1.0, 2.5]), data=st.data())
def test_any_beam_is_the_plain_search(penalty: str, floor: str, seed: int, alpha: float, data) -> None:
    size = data.draw(st.integers(1, 9))
    limit = data.draw(st.integers(1, 9))
    shortest = data.draw(st.integers(0, limit - 1))
    search = Search(size, limit, shortest, penalty, alpha, data.draw(st.integers(1, size)))
    table = random_table(seed, data.draw(st.sampled_from([5, 7, 11])), data.draw(st.sampled_from([0.3, 2.0])))
    for sentence, answers in enumerate(run(table, search, floor=floor)):
        agree(answers, plain(table, sentence, search))


@pytest.mark.parametrize("penalty", LENGTH_PENALTIES)
def test_the_formulas(penalty: str) -> None:
    for length, alpha in itertools.product([1, 2, 7, 100], [0.0, 0.5, 1.0, 3.0]):
        expected = FORMULAS[penalty](length, alpha)
        np.testing.assert_allclose(LENGTH_PENALTIES[penalty](np.array(float(length)), alpha), expected, rtol=1e-12)


def test_by_hand() -> None:
    """Two words, 4 and 5. The likeliest first word is a trap: what follows it is unlikely."""
    chances = {(): {4: 0.6, 5: 0.4}, (4,): {3: 0.3, 4: 0.35, 5: 0.35}, (5,): {3: 0.9, 4: 0.1}}

    def table(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        given = chances.get(words, {3: 1.0})
        return np.log([given.get(token, 1e-30) for token in range(6)])

    greedy = run(table, Search(1, 4, penalty="none"), 1)[0][0]
    assert greedy.tokens == [4, 4]
    np.testing.assert_allclose(np.exp(greedy.log_prob), 0.6 * 0.35)
    best = run(table, Search(2, 4, penalty="none", n_best=2), 1)[0]
    assert [answer.tokens for answer in best] == [[5], [4, 4]]
    np.testing.assert_allclose([np.exp(answer.log_prob) for answer in best], [0.36, 0.21])
    np.testing.assert_allclose(best[0].token_log_probs, np.log([0.4, 0.9]))
    longer = run(table, Search(3, 4, penalty="average", alpha=1.0, n_best=3), 1)[0]
    assert [answer.tokens for answer in longer] == [[5], [4, 4], [4, 5]]
    np.testing.assert_allclose([a.score for a in longer], [np.log(0.36) / 2, np.log(0.21) / 3, np.log(0.21) / 3])


def test_a_long_answer_wins_by_its_mean() -> None:
    """T-A11: with the penalty inside the search a long answer is not crowded out by finished short ones."""

    def table(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        end = 0.3 if not words else (0.97 if len(words) == 6 else 0.02)
        return np.log([1e-30, 1e-30, 1e-30, end, 1 - end])

    assert run(table, Search(3, 9, penalty="none"), 1)[0][0].tokens == [4] * 6
    assert run(table, Search(3, 9, penalty="average"), 1)[0][0].tokens == [4] * 6

    def shorter(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        end = 0.5 if not words else (0.97 if len(words) == 6 else 0.1)
        return np.log([1e-30, 1e-30, 1e-30, end, 1 - end])

    assert run(shorter, Search(3, 9, penalty="none"), 1)[0][0].tokens == []
    assert run(shorter, Search(3, 9, penalty="average"), 1)[0][0].tokens == [4] * 6


# --- stopping -------------------------------------------------------------------------------------------------------


def test_stops_as_soon_as_nothing_better_can_come() -> None:
    def table(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        return np.log([1e-30, 1e-30, 1e-30, 0.98, 0.01, 0.01] if len(words) > 1 else [1e-30] * 4 + [0.9, 0.1])

    decoder = TableDecoder(table)
    answers = dynamic_decode(decoder, decoder.memory([3, 5]), BeamFeedBack(SPECIAL, 4, Limits(0.0, 50)))
    assert [found[0].tokens for found in answers] == [[4, 4]] * 2
    assert len(decoder.asked) < 6
    patient = TableDecoder(table)
    dynamic_decode(patient, patient.memory([3, 5]), BeamFeedBack(SPECIAL, 4, Limits(0.0, 50), n_best=4))
    assert len(patient.asked) >= len(decoder.asked)


def test_finished_sentences_leave_the_batch() -> None:
    """G10, T-A12: the rows of a step are those of the sentences that still search."""

    def table(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        end = 0.999 if len(words) >= (1, 6, 3)[sentence] else 1e-9
        return np.log([1e-30, 1e-30, 1e-30, end, (1 - end) * 0.7, (1 - end) * 0.3])

    decoder = TableDecoder(table)
    answers = dynamic_decode(decoder, decoder.memory([3, 5, 2]), BeamFeedBack(SPECIAL, 2, Limits(0.0, 30)))
    assert [len(found[0].tokens) for found in answers] == [1, 6, 3]
    assert decoder.asked == sorted(decoder.asked[:1]) + sorted(decoder.asked[1:], reverse=True)
    assert max(decoder.asked) <= 6 and decoder.asked[-1] <= 2


@pytest.mark.parametrize("floor", FLOORS)
def test_a_place_that_is_empty_has_no_row(floor: str) -> None:
    """Five sentences together have as many rows as each alone."""
    table, search = random_table(7, 9), Search(6, 9, n_best=6)
    decoder = TableDecoder(table, floor)
    answers = dynamic_decode(decoder, decoder.memory([4, 2, 3, 1, 5]), search.feedback())
    for sentence, found in enumerate(answers):
        agree(found, plain(table, sentence, search))
    alone = np.zeros(len(decoder.asked))
    for sentence in range(5):
        one = TableDecoder(lambda _, words, sentence=sentence: table(sentence, words), floor)
        dynamic_decode(one, one.memory([3]), search.feedback())
        alone[: len(one.asked)] += one.asked
    assert decoder.asked == alone.tolist()
    assert (alone % 5).any(), "all had the same number"


@given(counts=st.lists(st.integers(1, 4), min_size=1, max_size=5), width=st.integers(4, 5))
def test_rows_and_places(counts: list[int], width: int) -> None:
    """Against loops: a row for each place that is alive; what has none is filled, or never looked at."""
    alive = np.arange(width) < np.array(counts)[:, None]
    rows = BeamRows.of(alive)
    owners = [(sentence, place) for sentence, count in enumerate(counts) for place in range(count)]
    assert rows.sentences().tolist() == [sentence for sentence, _ in owners]
    at = rows.at(np.tile(np.arange(width), (len(counts), 1)))
    assert [at[owner] for owner in owners] == list(range(len(owners)))
    grid = rows.grid(np.array([[row, 10 + row] for row in range(len(owners))]), -1)
    wanted = [[owners.index((s, p)) if (s, p) in owners else -1 for p in range(width)] for s in range(len(counts))]
    assert grid.reshape(len(counts), width, 2)[..., 0].tolist() == wanted
    beams = rows.beams(ARRAYS["numpy"])
    assert bool(beams) != alive.all()
    memory = Memory(*[np.zeros((len(counts), 1))] * 5, beams=beams)
    said = np.arange(len(owners) * 6).reshape(-1, 2, 3)
    laid = by_sentence(said, memory)
    assert laid.shape == (len(counts), width * 2, 3)
    for row, (sentence, place) in enumerate(owners):
        same = laid[sentence, 2 * place : 2 * place + 2]
        assert (same == said[row]).all()
    assert (by_row(laid, memory, 2) == said).all()


@pytest.mark.parametrize("floor", FLOORS)
@pytest.mark.parametrize("size", [1, 3])
def test_a_model_that_never_ends(size: int, floor: str) -> None:
    """G01: cut at a x source + b tokens, and said so."""

    def table(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        return np.array([0.0, 0.1, 0.0, -np.inf, 0.5, 0.4])

    decoder = TableDecoder(table, floor)
    limits = Limits(1.5, 2, longest=8)
    for feedback in (BeamFeedBack(SPECIAL, size, limits, n_best=size), SampleFeedBack(SPECIAL, limits)):
        found = dynamic_decode(decoder, decoder.memory([1, 4, 9]), feedback)
        for answers, limit in zip(found, [3, 8, 8], strict=True):
            assert answers and all(len(answer.tokens) == limit and not answer.finished for answer in answers)
            assert all(len(answer.token_log_probs) == limit for answer in answers)
            assert answers[0].tokens == [4] * limit


def test_every_step_may_be_the_last() -> None:
    """At the limit both what ended there and what was cut there are answers."""
    found = run(random_table(3, 6), Search(9, 1, n_best=4), 1)[0]
    assert sorted(whole(answer) for answer in found) == [(1,), (3,), (4,), (5,)]
    assert sorted(answer.finished for answer in found) == [False, False, False, True]


# --- ties, broken models, small languages ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 5, 30])
def test_ties(size: int) -> None:
    """G04: score, then lower token id, then the better beam; the same on both floors and in any batch."""

    def table(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        return np.zeros(7)

    search = Search(size, 4, n_best=min(size, 4))
    wanted = [found.tokens for found in plain(table, 0, search)]
    for floor, sentences in itertools.product(FLOORS, [1, 2, 5]):
        for answers in run(table, search, sentences, floor):
            assert [whole(answer) for answer in answers] == wanted


@pytest.mark.parametrize("floor", FLOORS)
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("step", [0, 2])
def test_a_broken_sentence_breaks_no_other(step: int, wrong: float, floor: str) -> None:
    """G03: NaN and infinities of one sentence. It gets no answer, the others the answers that they get without it."""
    healthy = random_table(1, 7)

    def table(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        logits = healthy(sentence, words)
        return logits * 0 + wrong if sentence == 1 and len(words) >= step else logits

    for search in (Search(4, 6, 3, n_best=3), Search(1, 6, 3)):
        found, alone = run(table, search, 3, floor), run(healthy, search, 3, floor)
        assert found[1] == []
        assert [found[0], found[2]] == [alone[0], alone[2]]
    decoder = TableDecoder(table, floor)
    greedy = dynamic_decode(decoder, decoder.memory([4, 2, 3]), SampleFeedBack(SPECIAL, Limits(0.0, 6, shortest=3)))
    assert greedy[1] == [] and greedy[0] and greedy[2]


@pytest.mark.parametrize("floor", FLOORS)
def test_one_nan_among_the_logits_is_enough(floor: str) -> None:
    """Also after an answer of that sentence had been found: nobody knows what the search would have found."""
    healthy = random_table(2, 6, 0.1)

    def table(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        logits = healthy(sentence, words).copy()
        logits[0] = np.nan if sentence == 0 and len(words) == 3 else logits[0]
        return logits

    found = run(table, Search(6, 8, n_best=6), 2, floor)
    assert found[0] == [] and found[1]


@pytest.mark.parametrize("floor", FLOORS)
def test_a_beam_wider_than_the_language(floor: str) -> None:
    """G02, G07: fewer answers than wanted where there are no more, and none of them twice."""
    table = random_table(5, 5)
    search = Search(50, 3, penalty="none", n_best=50)
    for sentence, answers in enumerate(run(table, search, floor=floor)):
        agree(answers, exhaustive(table, sentence, search))
        assert len(answers) == 1 + 2 + 2 * 2 + 2 * 2 * 2  # three ends, and what is cut
        assert len({whole(answer) for answer in answers}) == len(answers)


@pytest.mark.parametrize("floor", FLOORS)
def test_extreme_logits(floor: str) -> None:
    """N06."""
    healthy = random_table(6, 7, 1e30)
    for answers in run(lambda sentence, words: healthy(sentence, words), Search(4, 5, n_best=2), floor=floor):
        assert answers and all(np.isfinite(answer.log_prob) and answer.log_prob <= 0 for answer in answers)


def test_alignments_go_with_their_words() -> None:
    decoder = TableDecoder(random_table(8, 7))
    feedback = Search(5, 7, n_best=5).feedback(alignments=True)
    for answers in dynamic_decode(decoder, decoder.memory([4, 2, 3]), feedback):
        for answer in answers:
            assert answer.alignment is not None
            np.testing.assert_array_equal(answer.alignment, np.eye(4)[np.arange(len(whole(answer))) % 4])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "beam size 0"),
        ({"size": -3}, "beam size -3"),
        ({"size": 3, "n_best": 4}, "n_best 4"),
        ({"size": 3, "n_best": 0}, "n_best 0"),
        ({"length_penalty": "avarage"}, "none, average, gnmt"),
        ({"alpha": -0.1}, "alpha -0.1"),
        ({"alpha": float("nan")}, "alpha nan"),
        ({"alpha": float("inf")}, "alpha inf"),
    ],
)
def test_what_cannot_be_searched(options: dict[str, object], words: str) -> None:
    with pytest.raises(SearchError, match=words):
        ranking = {name: options.pop(name) for name in ("length_penalty", "alpha") if name in options}
        BeamFeedBack(SPECIAL, ranking=Ranking(**ranking), **options)  # type: ignore[arg-type]
