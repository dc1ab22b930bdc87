"""mbr: utilities against sacreBLEU, the decision against sums made by hand, and both floors' answers."""

import random
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from sequencing_np.errors import UsageError
from sequencing_np.mbr import UTILITIES, add_utility, bleu, chrf, edit, of_pairs, rank, tokens_13a
from sequencing_np.metrics import edit_distance

WORDS = [
    "a",
    "ab",
    "aba",
    "b",
    "a b",
    ".",
    "3,5",
    "1-2",
    "'s",
    "x-",
    "&amp;",
    "ß",
    "\u3000",
    "\n",
    "<skipped>",
    "😀",
    "-",
]
TEXTS = st.lists(
    st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join) | st.text(max_size=12), min_size=1, max_size=5
)


@given(TEXTS)
@example(["", "a"])
@example(["", "   "])
@example(["aaaa", "aaaaaaa", "aa"])
@example(["a b c d e", "a b c d", "e d c b a", "a x b y c"])
def test_chrf_is_that_of_sacrebleu(texts: list[str]) -> None:
    """Every pair at once gives what sacreBLEU gives one by one, the text with itself included."""
    peer = CHRF()
    expected = [[peer.sentence_score(one, [other]).score for other in texts] for one in texts]
    np.testing.assert_allclose(chrf(texts), expected, rtol=1e-9, atol=1e-9)


@given(TEXTS)
@example(["", "a"])
@example(["a b c d e", "a b c d", "e d c b a", "a x b y c", "a a a a b"])
def test_bleu_is_that_of_sacrebleu(texts: list[str]) -> None:
    peer = BLEU(effective_order=True)
    expected = [[peer.sentence_score(one, [other]).score for other in texts] for one in texts]
    np.testing.assert_allclose(bleu(texts), expected, rtol=1e-9, atol=1e-9)


@given(st.text(alphabet="ab1 .,-'&;\n<>(){}~!@_é\t", max_size=20))
def test_tokens_are_those_of_sacrebleu(text: str) -> None:
    assert tokens_13a(text) == BLEU().tokenizer(text.rstrip()).split()


def test_the_edit_utility_is_a_share_of_the_longer_text() -> None:
    texts = ["kitten", "sitting", "", "kitte"]
    expected = [[100 * (1 - edit_distance(a, b) / max(len(a), len(b), 1)) for b in texts] for a in texts]
    np.testing.assert_allclose(edit(texts), expected)
    assert expected[0][1] == pytest.approx(100 * (1 - 3 / 7))


# --- the decision ---------------------------------------------------------------------------------------------------


@given(st.data(), st.sampled_from(sorted(UTILITIES)))
def test_the_largest_mean_utility(data: st.DataObject, utility: str) -> None:
    """Against the definition: every candidate compared with every other one, duplicates and all."""
    texts = data.draw(st.lists(st.sampled_from(["a b c", "a b", "b c d", "x", "", "a a b"]), min_size=1, max_size=7))
    scores = data.draw(st.lists(st.floats(-9, 0), min_size=len(texts), max_size=len(texts)))
    expected = UTILITIES[utility](texts).mean(axis=1)
    ranked = rank(texts, scores, utility)
    assert [each.expected for each in ranked] == pytest.approx([expected[each.candidate] for each in ranked], abs=1e-8)
    assert sorted(texts[each.candidate] for each in ranked) == sorted(set(texts)), "each text once"
    assert all(one.expected >= other.expected for one, other in pairwise(ranked))
    assert ranked[0].expected == pytest.approx(expected.max(), abs=1e-8)
    for each in ranked:
        assert scores[each.candidate] == max(value for text, value in zip(texts, scores, strict=True)
                                                if text == texts[each.candidate])  # fmt: skip


def test_what_most_say_wins_over_what_is_likeliest() -> None:
    texts = ["the cat sat", "a cat sat down", "a cat sat", "a cat sat"]
    assert texts[rank(texts, [-1.0, -2.0, -2.5, -2.5], "edit")[0].candidate] == "a cat sat"


def test_ties_go_to_the_best_score_then_to_the_first() -> None:
    ranked = rank(["abc", "xyz", "uvw", "xyz"], [-3.0, -2.0, -2.0, -1.0], "edit")
    assert [each.candidate for each in ranked] == [3, 2, 0], "xyz comes twice; uvw and abc are equally good"
    assert [each.candidate for each in rank(["ab", "cd"], [-2.0, -2.0], "edit")] == [0, 1]
    assert [each.candidate for each in rank(["cd", "ab"], [-2.0, -2.0], "edit")] == [0, 1]


@given(st.permutations(range(6)))
def test_the_order_of_draws_does_not_matter(order: list[int]) -> None:
    texts = ["a b c", "a b", "b c d", "a c", "c b a", "a b d"]
    scores = [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0]
    whole = [texts[each.candidate] for each in rank(texts, scores, "edit")]
    turned = rank([texts[place] for place in order], [scores[place] for place in order], "edit")
    assert [texts[order[each.candidate]] for each in turned] == whole


def test_a_hundred_candidates_take_no_quadratic_counting() -> None:
    """The n-grams are counted once a candidate: a utility of 200 texts reads each of them once."""

    class Counted(str):
        reads = 0

        def split(self, *arguments: object) -> list[str]:  # type: ignore[override]
            Counted.reads += 1
            return super().split(*arguments)  # type: ignore[arg-type]

    chance = random.Random(1)
    texts = [Counted(" ".join(chance.choices(WORDS, k=20))) for _ in range(200)]
    matrix = chrf(texts)
    assert matrix.shape == (200, 200) and Counted.reads == 200
    assert matrix[3, 7] == pytest.approx(CHRF().sentence_score(str(texts[3]), [str(texts[7])]).score)


# --- a utility of one's own -----------------------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module with functions that serve and functions that do not."""
    (tmp_path / "mine_mbr.py").write_text(
        "def longer(candidate, right):\n    return len(candidate) - len(right)\n"
        "def fails(candidate, right):\n    return 1 / 0\n"
        "def nan(candidate, right):\n    return float('nan')\n"
        "def text(candidate, right):\n    return 'good'\n"
        "number = 3\n"
    )
    (tmp_path / "bad_mbr.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("sequencing_np.mbr.UTILITIES", dict(UTILITIES))
    for name in ("mine_mbr", "bad_mbr"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return "mine_mbr"


def test_a_function_of_ones_own(own: str) -> None:
    add_utility(f"{own}:longer")
    ranked = rank(["ab", "abcd", "abc"], [-1.0, -2.0, -3.0], f"{own}:longer")
    assert [each.candidate for each in ranked] == [1, 2, 0]
    assert [each.expected for each in ranked] == pytest.approx([1.0, 0.0, -1.0])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("chrff", "did you mean 'chrf'"),
        ("", "known: bleu, chrf, edit, none"),
        ("absent_mbr:f", "there is no module"),
        ("mine_mbr:absent", "has no function 'absent'"),
        ("mine_mbr:number", "has no function 'number'"),
        ("mine_mbr:", "write module:function"),
        (":f", "write module:function"),
        ("bad_mbr:f", "ZeroDivisionError"),
    ],
)
def test_utilities_that_are_none(own: str, name: str, words: str) -> None:
    with pytest.raises(UsageError) as raised:
        add_utility(name)
    assert words in str(raised.value) and repr(name) in str(raised.value)


@pytest.mark.parametrize(("name", "words"), [("fails", "ZeroDivisionError"), ("nan", "nan"), ("text", "could not")])
def test_utilities_that_fail(own: str, name: str, words: str) -> None:
    add_utility(f"{own}:{name}")
    with pytest.raises(UsageError, match=f"mine_mbr:{name}.*{words}"):
        rank(["a", "b"], [-1.0, -1.0], f"{own}:{name}")


def test_a_row_of_ones_own_in_python() -> None:
    def shorter(candidate: str, right: str) -> float:
        return -float(len(candidate))

    assert of_pairs(shorter)(["a", "abc"]).tolist() == [[-1, -1], [-3, -3]]
