"""stochastic: draws without replacement against every answer there is, counted out on tables of logits."""

import itertools
from argparse import Namespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencing_np.arrays import Kept
from sequencing_np.commands.search import search_config
from sequencing_np.decode import dynamic_decode
from sequencing_np.errors import ConfigError, UsageError
from sequencing_np.feedback import Hypothesis
from sequencing_np.limits import Limits
from sequencing_np.picking import Sampler, sentence_keys
from sequencing_np.rules import Begin, Exclude, Rules
from sequencing_np.search import SearchConfig
from sequencing_np.stochastic import StochasticBeamFeedBack, below, gumbel
from table_decoder import ARRAYS, SPECIAL, Table, TableDecoder, random_table
from test_translate import LINES, agree, table_translator, translator

each_floor = pytest.mark.parametrize("floor", ARRAYS)
Words = tuple[int, ...]


def whole(answer: Hypothesis) -> Words:
    return (*answer.tokens, *([SPECIAL.eos] if answer.finished else []))


def draw(table: Table, size: int, keys: np.ndarray, floor: str = "numpy", **options: Any) -> list[list[Hypothesis]]:
    decoder = TableDecoder(table, floor)
    limits, rules = options.pop("limits", Limits(0.0, 3)), options.pop("rules", None)
    feedback = StochasticBeamFeedBack(SPECIAL, size, limits, pick=Sampler(keys, **options), rules=rules)
    return dynamic_decode(decoder, decoder.memory([3] * len(keys)), feedback)


def language(table: Table, limit: int, temperature: float = 1.0, top_k: int = 0) -> dict[Words, float]:
    """Every answer and its logarithmic probability among them, from the logits alone."""
    found, begun = {}, [((), 0.0)]
    while begun:
        words, before = begun.pop()
        logits = table(0, words) / temperature
        logits[[SPECIAL.pad, SPECIAL.bos]] = -np.inf
        if top_k:
            logits[np.argsort(-logits)[top_k:]] = -np.inf
        logits = logits - np.logaddexp.reduce(logits)
        for token in np.flatnonzero(np.isfinite(logits)).tolist():
            said, total = (*words, token), before + logits[token]
            if token == SPECIAL.eos or len(said) == limit:
                found[said] = total
            else:
                begun.append((said, total))
    np.testing.assert_allclose(np.exp(list(found.values())).sum(), 1)
    return found


def same_for_all(seed: int, size: int = 6, spread: float = 1.5) -> Table:
    """Every sentence has the same language."""
    table = random_table(seed, size, spread)
    return lambda sentence, words: table(0, words)


# --- against all answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("temperature", "top_k"), [(1.0, 0), (0.7, 0), (1.6, 2)])
def test_draws_come_as_often_as_without_replacement(temperature: float, top_k: int) -> None:
    """The first two of 3000 sentences: the pair (a, b) has the probability p(a) p(b) / (1 - p(a)); chi-squared."""
    table, count = same_for_all(3, 5), 3000
    known = language(table, 2, temperature, top_k)
    found = draw(table, 2, sentence_keys(7, 0, count), limits=Limits(0.0, 2), temperature=temperature, top_k=top_k)
    seen: dict[tuple[Words, Words], int] = {}
    for one, other in found:
        seen[whole(one), whole(other)] = seen.get((whole(one), whole(other)), 0) + 1
    pairs = list(itertools.permutations(known, 2))
    assert set(seen) <= set(pairs)
    p = {words: np.exp(log_prob) for words, log_prob in known.items()}
    expected = np.array([count * p[a] * p[b] / (1 - p[a]) for a, b in pairs])
    np.testing.assert_allclose(expected.sum(), count)
    often = expected >= 5
    counts = np.array([seen.get(pair, 0) for pair in pairs], dtype=float)
    counts, expected = (np.append(x[often], x[~often].sum()) for x in (counts, expected))
    free = len(counts) - 1
    chi = ((counts - expected) ** 2 / np.maximum(expected, 1e-9)).sum()
    assert len(counts) > 3 and chi < free + 4 * np.sqrt(2 * free), (chi, free)


@given(st.integers(0, 10**6), st.sampled_from([0.5, 2.0]), st.sampled_from([0.6, 1.0, 2.0]), st.integers(1, 9))
def test_fewer_draws_are_the_first_of_more(seed: int, spread: float, temperature: float, size: int) -> None:
    """A beam as wide as the language draws all of it once; a narrow one finds its beginning exactly."""
    table, keys = same_for_all(seed, 6, spread), sentence_keys(seed, 0, 3)
    known = language(table, 3, temperature)
    everything = draw(table, 200, keys, temperature=temperature)
    for found, few in zip(everything, draw(table, size, keys, temperature=temperature), strict=True):
        assert {whole(answer) for answer in found} == set(known) and len(found) == len(known)
        assert [whole(answer) for answer in few] == [whole(answer) for answer in found[:size]]
        np.testing.assert_allclose([a.score for a in few], [a.score for a in found[:size]], rtol=1e-9, atol=1e-9)
        assert [a.score for a in found] == sorted((a.score for a in found), reverse=True)
        for answer in few:
            log_probs = [np.log(np.exp(table(0, whole(answer)[:n])) / np.exp(table(0, whole(answer)[:n])).sum())
                         for n in range(len(whole(answer)))]  # fmt: skip
            own = [log_prob[token] for log_prob, token in zip(log_probs, whole(answer), strict=True)]
            np.testing.assert_allclose(answer.token_log_probs, own, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(answer.log_prob, sum(own), rtol=1e-9, atol=1e-9)
    assert len({tuple(map(whole, found)) for found in everything}) > 1  # sentences draw on their own


def test_scores_are_log_probabilities_with_gumbel_noise() -> None:
    """Score minus log-probability of every answer: standard Gumbel, and nothing in common between answers."""
    table, count = same_for_all(1, 5), 1500
    known = language(table, 2)
    found = draw(table, 50, sentence_keys(1, 0, count), limits=Limits(0.0, 2))
    noise = np.array([[each[words] for words in known] for each in ({whole(a): a.score for a in f} for f in found)])
    noise -= np.array(list(known.values()))
    sorted_noise = np.sort(noise, axis=0)
    distance = np.abs(np.exp(-np.exp(-sorted_noise)) - (np.arange(count)[:, None] + 0.5) / count).max(axis=0)
    assert (distance < 1.95 / np.sqrt(count)).all(), distance  # Kolmogorov and Smirnov, one in a thousand
    common = np.corrcoef(noise.T) - np.eye(len(known))
    assert np.abs(common).max() < 0.12


@given(st.integers(0, 10**6), st.floats(-5, 5), st.integers(1, 9))
def test_the_largest_of_all_children_is_the_parent(seed: int, top: float, count: int) -> None:
    noisy = np.random.default_rng(seed).normal(0, 3, (1, count))
    found = below(noisy, np.array([[top]]))
    assert found.max() == top and found.argmax() == noisy.argmax()
    assert (np.diff(found[0][np.argsort(noisy[0])]) >= 0).all()
    by_hand = -np.log(np.exp(-top) - np.exp(-noisy.max()) + np.exp(-noisy))
    np.testing.assert_allclose(found, by_hand, rtol=1e-6, atol=1e-6)


def test_estimates_from_the_scores() -> None:
    """Section 4.2: answers above the k-th score, each over the chance to be above it, are an unbiased mean."""
    table, count = same_for_all(5, 5, 1.0), 1500
    known = language(table, 2)
    expected = sum(np.exp(log_prob) * len(words) for words, log_prob in known.items())
    means = []
    for found in draw(table, 4, sentence_keys(2, 0, count), limits=Limits(0.0, 2)):
        threshold = found[-1].score
        chances = [-np.expm1(-np.exp(known[whole(answer)] - threshold)) for answer in found[:-1]]
        terms = zip(found[:-1], chances, strict=True)
        means.append(sum(np.exp(known[whole(a)]) / q * len(whole(a)) for a, q in terms))
    assert abs(np.mean(means) - expected) < 4 * np.std(means) / np.sqrt(count)


def test_noise_is_a_number() -> None:
    bits = np.array([0, 2**64 - 1, 2**63, 1], dtype=np.uint64)
    assert np.isfinite(gumbel(bits)).all() and (np.diff(gumbel(np.sort(bits))) >= 0).all()


# --- floors, batches, rules, what is broken ---------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(1, 9), st.sampled_from([{}, {"top_k": 3}, {"top_p": 0.8}, {"min_p": 0.2}]))
def test_both_floors_and_any_batches(seed: int, size: int, options: dict[str, Any]) -> None:
    table, keys = random_table(seed, 9), sentence_keys(seed, 0, 5)
    together = draw(table, size, keys, **options)
    for one, other in zip(together, draw(table, size, keys, "torch", **options), strict=True):
        assert [whole(answer) for answer in one] == [whole(answer) for answer in other]
        np.testing.assert_allclose([a.score for a in one], [a.score for a in other], rtol=1e-9)
    for row in range(5):
        (alone,) = draw(lambda sentence, words, row=row: table(row, words), size, keys[row : row + 1], **options)
        assert list(map(whole, alone)) == list(map(whole, together[row]))


@each_floor
def test_rules_hold_and_the_rest_shares_their_probability(floor: str) -> None:
    table, keys = same_for_all(4, 6), sentence_keys(4, 0, 40)
    rules = [Rules([Begin([4]), Exclude([[5, 5]])], SPECIAL.eos)] * 40
    for found in draw(table, 100, keys, floor, rules=rules):
        words = [whole(answer) for answer in found]
        kept = {said for said in language(table, 3) if said[0] == 4 and (5, 5) not in itertools.pairwise(said)}
        assert len(words) == len(kept) and set(words) == kept


@each_floor
@pytest.mark.parametrize("step", [0, 1])
def test_a_broken_sentence_breaks_no_other(step: int, floor: str) -> None:
    healthy = random_table(2, 7)

    def table(sentence: int, words: Words) -> np.ndarray:
        return healthy(sentence, words) * (np.nan if sentence == 1 and len(words) >= step else 1.0)

    keys = sentence_keys(3, 0, 3)
    with np.errstate(invalid="ignore"):
        found, alone = draw(table, 4, keys, floor), draw(healthy, 4, keys, floor)
    assert found[1] == [] and [found[0], found[2]] == [alone[0], alone[2]]


@each_floor
def test_narrowed_logits(floor: str) -> None:
    arrays, logits = ARRAYS[floor], np.log([[0.1, 0.4, 0.2, 0.3], [0.25, 0.25, 0.25, 0.25]])
    for kept, expected in [
        (Kept(), [[1, 1, 1, 1], [1, 1, 1, 1]]),
        (Kept(most=2), [[0, 1, 0, 1], [1, 1, 0, 0]]),
        (Kept(mass=0.75), [[0, 1, 1, 1], [1, 1, 1, 0]]),
        (Kept(share=0.6), [[0, 1, 0, 1], [1, 1, 1, 1]]),
        (Kept(least=0.3 - 1e-9), [[0, 1, 0, 1], [1, 1, 1, 1]]),
    ]:
        found = arrays.host(arrays.narrow(arrays.native(logits), kept))
        np.testing.assert_array_equal(found, np.where(expected, logits, -np.inf))


# --- text -----------------------------------------------------------------------------------------------------------


def test_draws_of_lines() -> None:
    subject = translator(0)
    search = SearchConfig(beam=1, sample=True, without_replacement=True, n_best=6, seed=3)
    found = subject.translate(LINES, search)
    for each in found:
        assert len({tuple(answer.tokens) for answer in each.answers}) == len(each.answers)
    assert [len(each.answers) for each in found if each.source.strip()] == [6] * 6
    agree(found, translator(0, "torch").translate(LINES, search))
    agree(found, subject.translate(LINES, SearchConfig(**{**vars(search), "batch_tokens": 5})))
    agree(found, list(subject.stream(LINES, search, window=4)))
    few = subject.translate(LINES, SearchConfig(**{**vars(search), "n_best": 2}))
    agree([each._replace(answers=each.answers[:2]) for each in found], few)


def test_draws_as_candidates_of_mbr() -> None:
    subject, model = table_translator()
    search = SearchConfig(beam=1, sample=True, without_replacement=True, mbr="edit", candidates=5, n_best=5)
    (found,) = subject.translate(["w7"], search)
    assert len({answer.text for answer in found.answers}) == 5
    assert max(model.decoder.asked) <= 5


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"without_replacement": True}, "set sample = true"),
        ({"without_replacement": True, "sample": True, "n_best": 0}, "n_best 0"),
        ({"without_replacement": True, "sample": True, "n_best": 1001}, "n_best 1001"),
        ({"sample": True, "n_best": 2}, "without_replacement = true"),
    ],
)
def test_draws_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        SearchConfig(**options)


def test_what_a_run_says_of_draws_is_for_draws_alone() -> None:
    """As with `sample`: what the command line does not ask for is off, and validation searches for the best."""
    drawing = SearchConfig(sample=True, without_replacement=True, n_best=7)
    found = search_config(drawing, Namespace(beam=3))
    assert (found.sample, found.without_replacement, found.n_best, found.beam) == (False, False, 1, 3)
    asked = search_config(SearchConfig(), Namespace(sample=True, without_replacement=True, n_best=9))
    assert asked.without_replacement and asked.pool == asked.rows == 9
    with pytest.raises(UsageError, match="--without-replacement is an option of drawing answers; add --sample"):
        search_config(SearchConfig(), Namespace(without_replacement=True))
