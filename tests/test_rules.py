"""Rules of an answer, against an exhaustive search over all answers that keep them, on a table of logits."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sequencing_np.beam import BeamFeedBack
from sequencing_np.decode import dynamic_decode
from sequencing_np.diverse import DiverseBeamFeedBack
from sequencing_np.errors import SearchError
from sequencing_np.feedback import Hypothesis, SampleFeedBack
from sequencing_np.limits import Limits
from sequencing_np.picking import Sampler, sentence_keys
from sequencing_np.ranking import LEAST, Ranking
from sequencing_np.rules import Begin, Exclude, Grammar, Include, NoRepeats, Rule, Rules
from table_decoder import ARRAYS, SPECIAL, Table, TableDecoder, random_table

SIZE, LIMIT = 6, 4  # ids 0 to 5, of which 4 and 5 are words and UNK may be said too
SAID = sorted(set(range(SIZE)) - {SPECIAL.pad, SPECIAL.bos})
LENGTHS = [4, 2, 3]
WORDS = st.integers(4, SIZE - 1)
PHRASES = st.lists(WORDS, min_size=1, max_size=2).map(tuple)
Keeps = Callable[[tuple[int, ...]], bool]


def contains(words: tuple[int, ...], phrase: tuple[int, ...]) -> bool:
    return any(words[begin : begin + len(phrase)] == phrase for begin in range(len(words)))


def no_twice(parts: list[tuple[int, ...]]) -> bool:
    return len(parts) == len(set(parts))


def every_answer(table: Table, sentence: int, limit: int = LIMIT) -> dict[tuple[int, ...], float]:
    """All answers with their log-probabilities, the end symbol included where there is one."""
    found, begun = {}, [((), 0.0)]
    while begun:
        words, before = begun.pop()
        logits = table(sentence, words)
        log_probs = logits - np.logaddexp.reduce(logits)
        for token in SAID:
            said, total = (*words, token), before + float(log_probs[token])
            if token == SPECIAL.eos or len(said) == limit:
                found[said] = total
            else:
                begun.append((said, total))
    return found


def whole(answer: Hypothesis) -> tuple[int, ...]:
    return (*answer.tokens, *([SPECIAL.eos] if answer.finished else []))


def search(table: Table, rules: list[list[Rule]] | None, size: int = 800, floor: str = "numpy", **options):
    decoder = TableDecoder(table, floor)
    own = rules and [Rules(each, SPECIAL.eos) for each in rules]
    feedback = BeamFeedBack(SPECIAL, size, Limits(0.0, LIMIT), rules=own, **options)
    return dynamic_decode(decoder, decoder.memory(LENGTHS), feedback)


def several(forms: list[st.SearchStrategy[tuple[int, ...]]]) -> st.SearchStrategy[tuple[list[tuple[int, ...]], ...]]:
    """For each group of phrases one or two forms."""
    return st.tuples(*(st.lists(each, min_size=1, max_size=2) for each in forms))


def drawn_rules(data: st.DataObject) -> tuple[list[Rule], Keeps]:
    """Some rules, and a test that says whether an answer (without its end symbol) keeps them."""
    rules: list[Rule] = []
    tests: list[Keeps] = []
    if data.draw(st.booleans()):
        groups = data.draw(st.sampled_from([[PHRASES], [PHRASES] * 2]).flatmap(several))
        rules.append(Include(groups))
        tests.append(lambda words: all(any(contains(words, phrase) for phrase in group) for group in groups))
    if data.draw(st.booleans()):
        phrases = data.draw(st.lists(PHRASES, min_size=1, max_size=3))
        rules.append(Exclude(phrases))
        tests.append(lambda words: not any(contains(words, phrase) for phrase in phrases))
    if data.draw(st.booleans()):
        n = data.draw(st.integers(1, 3))
        rules.append(NoRepeats(n))
        tests.append(
            lambda words: len(grams := list(zip(*(words[k:] for k in range(n)), strict=False))) == len(set(grams))
        )
    if data.draw(st.booleans()):
        begin = data.draw(st.lists(WORDS, min_size=1, max_size=1).map(tuple))
        rules.append(Begin(begin))
        tests.append(lambda words: words[: len(begin)] == begin)
    if data.draw(st.integers(0, 3)) == 0:
        allowed = data.draw(st.lists(st.lists(WORDS, max_size=4).map(tuple), min_size=1, max_size=6))
        rules.append(Grammar.of_answers(allowed))
        tests.append(lambda words: words in allowed)
    return rules, lambda words: all(test(words) for test in tests)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_the_best_of_all_answers_that_keep_the_rules_is_found(seed: int, data: st.DataObject) -> None:
    table = random_table(seed, SIZE)
    drawn = [drawn_rules(data) for _ in LENGTHS]
    n_best = data.draw(st.sampled_from([1, 3, 40]))
    found = search(table, [rules for rules, _ in drawn], n_best=n_best, patience=20.0)
    for sentence, (answers, (rules, keeps)) in enumerate(zip(found, drawn, strict=True)):
        limit = max(LIMIT, Rules(rules, SPECIAL.eos).least + 1)
        every = {
            words: log_prob / len(words)
            for words, log_prob in every_answer(table, sentence, limit).items()
            if keeps(words[:-1] if words[-1] == SPECIAL.eos else words)
        }
        wanted = sorted(every, key=lambda words: -every[words])[:n_best]
        assert [whole(answer) for answer in answers] == wanted
        np.testing.assert_allclose([answer.score for answer in answers], [every[words] for words in wanted], rtol=1e-9)


@pytest.mark.parametrize("floor", ARRAYS)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_small_beams_keep_the_rules_and_find_what_must_be_said(floor: str, seed: int, data: st.DataObject) -> None:
    phrase = data.draw(PHRASES)
    excluded = data.draw(st.sampled_from([SPECIAL.unk, 4, 5]).filter(lambda token: token not in phrase))
    rules = [[Include([[phrase]]), Exclude([[excluded]])]] * 3
    for answers in search(random_table(seed, SIZE, 4.0), rules, size=4, floor=floor):
        assert answers
        for answer in answers:
            words = tuple(answer.tokens)
            assert contains(words, phrase) and excluded not in words


@pytest.mark.parametrize("floor", ARRAYS)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_greedy_and_drawn_answers_keep_the_rules(floor: str, seed: int, data: st.DataObject) -> None:
    table = random_table(seed, SIZE)
    begin = data.draw(st.lists(WORDS, max_size=2).map(tuple).filter(lambda words: words != (4, 5)))
    rules = [Rules([Begin(begin), NoRepeats(2), Exclude([(4, 5)])], SPECIAL.eos)] * 3
    picks = {} if data.draw(st.booleans()) else {"pick": Sampler(sentence_keys(seed, 0, 3))}
    decoder = TableDecoder(table, floor)
    feedback = SampleFeedBack(SPECIAL, Limits(0.0, 8), rules=rules, **picks)
    for answers in dynamic_decode(decoder, decoder.memory(LENGTHS), feedback):
        words = tuple(answers[0].tokens) if answers else begin
        assert words[: len(begin)] == begin
        pairs = list(itertools.pairwise(words))
        assert no_twice(pairs) and not contains(words, (4, 5))


def test_what_cannot_be_kept_has_no_answer() -> None:
    impossible: list[list[Rule]] = [[Exclude([[4]]), Include([[[4]]])], [Grammar.of_answers([])], []]
    found = search(random_table(1, SIZE), impossible, size=3)
    assert [len(answers) for answers in found] == [0, 0, 1]
    decoder = TableDecoder(random_table(1, SIZE))
    rules = [Rules(each, SPECIAL.eos) for each in impossible[1:]]
    greedy = dynamic_decode(decoder, decoder.memory([2, 3]), SampleFeedBack(SPECIAL, Limits(0.0, 4), rules=rules))
    assert [len(answers) for answers in greedy] == [0, 1]
    with pytest.raises(SearchError, match="rules for 2 sentences, but there are 3"):
        search(random_table(1, SIZE), impossible[:2])


# --- how answers are ranked


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.floats(-2, 2), st.floats(0, 2), st.sampled_from(["none", "average", "gnmt"]))
def test_reward_and_coverage_find_the_best_of_all(seed: int, reward: float, coverage: float, penalty: str) -> None:
    """The early stop is on; attention is paid to source position (number of the word) mod the longest source."""
    table, ranking = random_table(seed, SIZE), Ranking(penalty, 0.8, reward, coverage)
    divide = {"none": lambda n: 1.0, "average": lambda n: n**0.8, "gnmt": lambda n: ((5 + n) / 6) ** 0.8}[penalty]
    for sentence, answers in enumerate(search(table, None, ranking=ranking, patience=20.0)):
        scores = {}
        for words, log_prob in every_answer(table, sentence).items():
            looked = [sum(k % max(LENGTHS) == place for k in range(len(words))) for place in range(LENGTHS[sentence])]
            covered = sum(np.log(min(max(times, LEAST), 1.0)) for times in looked)
            scores[words] = (log_prob + reward * len(words)) / divide(len(words)) + coverage * covered
        best = max(scores, key=lambda words: scores[words])
        np.testing.assert_allclose(answers[0].score, scores[best], rtol=1e-9)


@given(st.integers(0, 10**6), st.integers(2, 4))
def test_patience_finishes_more_and_finds_no_worse(seed: int, size: int) -> None:
    table = random_table(seed, SIZE)
    short, long = (search(table, None, size=size, patience=patience) for patience in (1.0, 3.0))
    assert all(b[0].score >= a[0].score - 1e-12 for a, b in zip(short, long, strict=True))


@given(st.integers(0, 10**6), st.integers(0, 4), st.floats(0, 1.2))
def test_lengths_relative_to_the_source(seed: int, shortest: int, share: float) -> None:
    limits = Limits(0.0, LIMIT, shortest=shortest, share=share)
    for floor, make in itertools.product(ARRAYS, (BeamFeedBack, SampleFeedBack)):
        decoder = TableDecoder(random_table(seed, SIZE), floor)
        for length, answers in zip(
            LENGTHS, dynamic_decode(decoder, decoder.memory(LENGTHS), make(SPECIAL, limits=limits)), strict=True
        ):
            assert len(answers[0].tokens) >= max(shortest, np.ceil(share * length))


# --- draws


@pytest.mark.parametrize("floor", ARRAYS)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 0.5))
def test_what_is_drawn_is_likely_enough(floor: str, seed: int, min_p: float, epsilon: float) -> None:
    arrays = ARRAYS[floor]
    logits = np.random.default_rng(seed).normal(0, 2, (200, SIZE))
    probs = np.exp(logits - np.logaddexp.reduce(logits, axis=1)[:, None])
    sampler = Sampler(sentence_keys(seed, 0, 200), min_p=min_p, epsilon=epsilon)
    ids = sampler(arrays, arrays.native(logits), np.array([], dtype=np.int64), np.arange(200)).ids
    chosen, best = probs[np.arange(200), ids], probs.max(axis=1)
    assert (chosen >= np.minimum(np.maximum(min_p * best, epsilon), best) - 1e-9).all()
    if min_p == epsilon == 0:
        assert len(set(ids.tolist())) > 3


# --- diverse beams


def diverse(table: Table, size: int, groups: int, diversity: float, n_best: int, floor: str = "numpy"):
    decoder = TableDecoder(table, floor)
    feedback = DiverseBeamFeedBack(SPECIAL, size, Limits(0.0, LIMIT), groups=groups, diversity=diversity, n_best=n_best)
    return dynamic_decode(decoder, decoder.memory(LENGTHS), feedback)


def plain_diverse(table: Table, sentence: int, each: int, groups: int, diversity: float) -> list[tuple[int, ...]]:
    """The algorithm of the paper, a sentence alone, with what finishes giving its place up. No early stop."""
    beams, places = [[((), 0.0)] for _ in range(groups)], [each] * groups
    done: dict[tuple[int, ...], float] = {}
    for step in range(LIMIT):
        said: list[int] = []
        for group in range(groups):
            candidates = []
            for rank, (words, before) in enumerate(beams[group]):
                logits = table(sentence, words)
                log_probs = logits - np.logaddexp.reduce(logits)
                candidates += [
                    (
                        -(before + log_probs[token] - diversity * said.count(token)),
                        token,
                        rank,
                        words,
                        before + log_probs[token],
                    )
                    for token in SAID
                ]
            kept = sorted(candidates)[:each][: places[group]] if places[group] else []
            said += [token for _, token, *_ in sorted(candidates)[:each]] if places[group] else []
            beams[group] = []
            for _, token, _, words, total in kept:
                if token == SPECIAL.eos or step + 1 == LIMIT:
                    done[(*words, token)] = total / (step + 1)
                    places[group] -= 1
                else:
                    beams[group].append(((*words, token), total))
    return sorted(done, key=lambda words: -done[words])


@given(st.integers(0, 10**6), st.sampled_from([(2, 2), (4, 2), (6, 3)]), st.sampled_from([0.0, 0.5, 3.0]))
def test_diverse_beams_are_those_of_the_paper(seed: int, sizes: tuple[int, int], diversity: float) -> None:
    size, groups = sizes
    table = random_table(seed, SIZE)
    for floor in ARRAYS:
        for sentence, answers in enumerate(diverse(table, size, groups, diversity, 1, floor)):
            wanted = plain_diverse(table, sentence, size // groups, groups, diversity)
            if size == groups:  # greedy groups: no early stop can change what the later ones are charged for
                assert whole(answers[0]) == wanted[0]
            assert len(answers) == 1


def test_groups_differ_more_than_a_beam() -> None:
    """Of the likeliest first word every group but one keeps away when it costs enough."""
    table = random_table(3, SIZE, 0.5)
    for answers in diverse(table, 3, 3, 50.0, 3):
        assert len({answer.tokens[0] if answer.tokens else -1 for answer in answers}) == len(answers) == 3


def test_groups_must_divide_the_beam() -> None:
    with pytest.raises(SearchError, match="divide the beam"):
        DiverseBeamFeedBack(SPECIAL, 5, groups=2, diversity=1.0)
