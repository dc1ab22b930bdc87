"""Metrics against slow definitions and against sacreBLEU."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU

from sequencing_np.errors import DataError, UsageError
from sequencing_np.metrics import (
    ErrorRates,
    Share,
    delta_bleu,
    edit_distance,
    error_rates,
    exact_match,
    longest_common,
    returns_of,
    rouge_l,
    rouge_n,
    sentence_bleu_prefixes,
    token_accuracy,
)

TOKENS = st.lists(st.integers(0, 4), max_size=13)


def slow_distance(first, second):
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        row, above = [i], row
        for j, b in enumerate(second, 1):
            row.append(min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a != b)))
    return row[-1]


def test_exact_match_takes_any_reference_and_every_letter():
    assert exact_match(["a b", "c", "d "], [["x", "a b"], ["c"], ["d"]]) == pytest.approx(2 / 3)


def slow_common(first, second):
    row = [0] * (len(second) + 1)
    for a in first:
        row, above = [0], row
        for j, b in enumerate(second, 1):
            row.append(above[j - 1] + 1 if a == b else max(above[j], row[j - 1]))
    return row[-1]


@given(TOKENS, TOKENS)
def test_longest_common_is_that_of_the_usual_table(first, second):
    assert longest_common(first, second) == slow_common(first, second)


@given(st.text(alphabet="ab", min_size=60, max_size=90), st.text(alphabet="ab", min_size=60, max_size=90))
def test_longest_common_of_sequences_longer_than_a_machine_word(first, second):
    assert longest_common(first, second) == slow_common(first, second)


@pytest.mark.parametrize(
    ("said", "pairs", "longest"),
    [
        ("police kill the gunman", 1 / 3, 3 / 4),
        ("the gunman kill police", 1 / 3, 2 / 4),
        ("the gunman police killed", 2 / 3, 2 / 4),
    ],
)
def test_rouge_of_lin_s_examples(said, pairs, longest):
    """Lin 2004, section 3.1: S2, S3 and S4 against S1. ROUGE-2 cannot tell S2 from S3, nor ROUGE-L S3 from S4."""
    wanted = [[["police", "killed", "the", "gunman"]]]
    assert rouge_n([said.split()], wanted, 2) == pytest.approx(pairs)
    assert rouge_l([said.split()], wanted) == pytest.approx(longest)


def test_rouge_of_several_references_and_of_nothing():
    """Two of five words of one reference, two of three of the other; nothing said earns nothing."""
    assert rouge_n(["ab", ""], [["abc", "a"], ["a", ""]], 1) == pytest.approx((4 / 5 + 0) / 2)
    assert rouge_n(["aab"], [["aaa"]], 1) == pytest.approx(2 * 2 / 6), "an n-gram counts as often as both have it"
    assert rouge_n(["a"], [["a"]], 2) == rouge_l([""], [[""]]) == 0


def test_token_accuracy_counts_real_tokens_only():
    predicted, target = np.array([[1, 2, 3], [4, 0, 0]]), np.array([[1, 5, 3], [4, 0, 0]])
    mask = np.array([[True, True, True], [True, False, False]])
    assert token_accuracy(predicted, target, mask) == Share(3, 4)
    assert token_accuracy(predicted, target, mask).value == 0.75
    assert Share(0, 0).value == 0.0


@given(TOKENS, TOKENS)
def test_edit_distance_is_that_of_the_usual_table(first, second):
    assert edit_distance(first, second) == slow_distance(first, second)


@given(st.text(alphabet="ab", min_size=60, max_size=90), st.text(alphabet="ab", min_size=60, max_size=90))
def test_edit_distance_of_sequences_longer_than_a_machine_word(first, second):
    assert edit_distance(first, second) == slow_distance(first, second)


def test_edit_distance_by_hand():
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == edit_distance("abc", "") == 3
    assert edit_distance(["AA", "R", "D"], ["AA", "D"]) == 1


def test_error_rates_count_the_closest_reference():
    hypotheses = [["AA", "B"], ["K", "AE", "T"]]
    references = [[["AA", "B", "K"], ["AA", "B"]], [["K", "AH", "T", "S"], ["D", "AO", "G"]]]
    assert error_rates(hypotheses, references) == ErrorRates(2 / 6, 1 / 2)


def test_error_rates_do_not_depend_on_the_order_of_references():
    assert error_rates(["ab"], [["abc", "a"]]) == error_rates(["ab"], [["a", "abc"]]) == ErrorRates(1 / 3, 1.0)


def test_error_rates_of_empty_references():
    assert error_rates([""], [[""]]) == ErrorRates(0.0, 0.0)
    assert error_rates(["ab"], [[""]]) == ErrorRates(2.0, 1.0)


@pytest.mark.parametrize("score", [exact_match, error_rates, rouge_l, partial(rouge_n, size=2)])
@pytest.mark.parametrize(
    ("hypotheses", "references", "error", "words"),
    [
        (["a"], [["a"], ["b"]], DataError, "1 hypotheses but references for 2"),
        ([], [], DataError, "nothing to score"),
        (["a"], [[]], DataError, "hypothesis 1 has no reference"),
        (["a"], ["a"], UsageError, "give a list"),
    ],
)
def test_what_would_be_scored_wrongly_is_refused(score, hypotheses, references, error, words):
    with pytest.raises(error, match=words):
        score(hypotheses, references)


def sacrebleu_score(candidate, reference, smoothing):
    """sacreBLEU pads missing orders by smoothing them to 1, so the order is cut to what can occur."""
    order = min(4, len(candidate))
    bleu = BLEU(
        tokenize="none", smooth_method="add-k", smooth_value=smoothing, effective_order=True, max_ngram_order=order
    )
    return bleu.sentence_score(" ".join(map(str, candidate)), [" ".join(map(str, reference))]).score / 100


@given(TOKENS, TOKENS.filter(len), st.sampled_from([1, 2]))
def test_bleu_of_each_prefix_is_sacrebleus(candidate, reference, smoothing):
    scores = sentence_bleu_prefixes(candidate, reference, smoothing=smoothing)
    assert scores.shape == (len(candidate),)
    for end, score in enumerate(scores, 1):
        assert score == pytest.approx(sacrebleu_score(candidate[:end], reference, smoothing), abs=1e-9)


@given(TOKENS, TOKENS)
def test_bleu_is_from_zero_to_one_and_one_for_the_reference_itself(candidate, reference):
    scores = sentence_bleu_prefixes(candidate, reference)
    assert ((scores >= 0) & (scores <= 1)).all()
    if reference:
        assert sentence_bleu_prefixes(reference, reference)[-1] == pytest.approx(1.0)


def test_short_candidates_count_their_last_unigram_once():
    """One wrong and one right token: the precision of single tokens is 1/2 (the original made it 2/2 and more)."""
    assert sentence_bleu_prefixes([9, 5], [5, 7], order=1)[-1] == pytest.approx(0.5)
    assert sentence_bleu_prefixes([5], [5], smoothing=0.0)[0] == pytest.approx(1.0)
    assert sentence_bleu_prefixes([5, 5, 5], [5], order=1)[-1] == pytest.approx(1 / 3)


def test_orders_that_cannot_occur_do_not_help():
    """Two tokens, one right, have no trigrams: the mean is over two orders and not drawn to 1 by two more."""
    assert sentence_bleu_prefixes([5, 9], [5, 7])[-1] == pytest.approx(np.sqrt(1 / 2 * 1 / 2))
    assert sentence_bleu_prefixes([9, 8], [5, 7])[-1] == 0.0


@given(TOKENS.filter(len), TOKENS)
def test_rewards_add_up_to_the_final_bleu(candidate, reference):
    scores = sentence_bleu_prefixes(candidate, reference)
    rewards, returns = delta_bleu(candidate, reference)
    before = np.concatenate([[0.0], scores[:-1]])
    assert np.allclose(rewards, scores - before)
    assert np.allclose(returns, scores[-1] - before)


def test_returns_of_a_batch():
    assert returns_of(np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 5.0]])).tolist() == [[6.0, 5.0, 3.0], [5.0, 5.0, 5.0]]
