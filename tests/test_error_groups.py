"""Errors by groups: the edits are the fewest, each word is counted once, and the bars say the numbers."""

import xml.etree.ElementTree as ElementTree
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencing.inspection.bars import Bar, bars_svg
from sequencing.inspection.error_groups import ErrorGroups, Group, count_words, edits_of, read_counts
from sequencing_np.errors import DataError
from sequencing_np.metrics import edit_distance

TEXTS = st.lists(st.sampled_from("abcd"), max_size=9)


@given(TEXTS, TEXTS)
def test_the_edits_are_the_fewest_and_what_is_right_stands_in_both(answer: list[str], reference: list[str]) -> None:
    edits = edits_of(answer, reference)
    assert edits.distance == edit_distance(answer, reference)
    kept = [word for word, right in zip(reference, edits.right, strict=True) if right]
    rest = iter(answer)
    assert all(word in rest for word in kept), "in their order"
    wrong = len(reference) - len(kept)
    assert wrong <= edits.distance and abs(len(answer) - len(reference)) <= edits.distance


def test_a_word_left_out_and_one_changed() -> None:
    assert edits_of(["the", "cat", "sat"], ["the", "black", "cat", "sat"]).right == [True, False, True, True]
    assert edits_of(["the", "dog", "sat", "down"], ["the", "cat", "sat"]).right == [True, False, True]
    assert edits_of([], ["a", "b"]) == ([False, False], 2) and edits_of(["a"], []) == ([], 1)


@given(st.lists(st.tuples(TEXTS, TEXTS), max_size=9))
def test_every_word_is_in_one_group_of_each_kind(pairs: list[tuple[list[str], list[str]]]) -> None:
    groups = ErrorGroups({"a": 1, "b": 5, "c": 5000}, "words")
    for answer, reference in pairs:
        groups.add(" ".join(answer), " ".join(reference))
    words = sum(len(reference) for _, reference in pairs)
    for counts in (groups.lengths, groups.places, groups.seen):
        assert sum(group.total for group in counts.groups()) == words
    assert sum(group.sentences for group in groups.lengths.groups()) == len(pairs) == groups.sentences
    assert sum(group.wrong for group in groups.lengths.groups()) == sum(edit_distance(*pair) for pair in pairs)
    wrong = [sum(group.wrong for group in counts.groups()) for counts in (groups.places, groups.seen)]
    assert wrong[0] == wrong[1] <= sum(group.wrong for group in groups.lengths.groups())
    expected = Counter({"a": "1", "b": "4–9", "c": "1,000–9,999", "d": "0"}[w] for _, ref in pairs for w in ref)
    assert {group.name: group.total for group in groups.seen.groups()} == expected


def test_groups_of_characters_by_place() -> None:
    groups = ErrorGroups(level="characters")
    groups.add("abxd", "abcd")
    groups.add("ab", "ab")
    assert groups.places.groups() == [
        *(Group("1", 0, 2, 2), Group("2", 0, 2, 2), Group("3", 1, 1, 1), Group("4", 0, 1, 1)),
    ]
    assert groups.lengths.groups() == [Group("2", 0, 2, 1), Group("4", 1, 4, 1)]
    assert groups.seen.groups() == [] and groups.exact == 1


def test_counts_of_a_text_and_of_a_vocabulary() -> None:
    assert count_words(["b a b", "", "b"]) == {"b": 3, "a": 1}
    assert count_words(["ab b"], "characters") == {"a": 1, "b": 2, " ": 1}
    assert read_counts(["b\t3", "a\tb\t1"], "counts.txt") == {"b": 3, "a\tb": 1}
    for line in ("b", "b\t", "b\t-1", "b\tmany", "b\t²"):
        with pytest.raises(DataError, match=r"counts\.txt:2: .* is no count; write token<tab>count"):
            read_counts(["a\t1", line], "counts.txt")


def test_bars_are_as_long_as_their_values() -> None:
    name = "{http://www.w3.org/2000/svg}"
    bars = [Bar("1", 50, "4 of 8"), Bar("<2>", 25, "1 of 4"), Bar("3", 0, "0 of 9")]
    picture = ElementTree.fromstring(bars_svg("Errors & more", bars))
    lengths = [float(str(rect.get("width"))) for rect in picture.iter(f"{name}rect")]
    assert lengths[0] == pytest.approx(2 * lengths[1]) and lengths[2] == 0
    text = " ".join(picture.itertext())
    assert all(words in text for words in ("<2>", "25.0 %", "1 of 4", "0 of 9"))
    assert "Errors & more: 1: 50.0 % of 4 of 8" in str(picture.get("aria-label"))
    ElementTree.fromstring(bars_svg("none", []))
    above = ElementTree.fromstring(bars_svg("above", [Bar("1", 250, "5 of 2"), Bar("2", 100, "1 of 1")]))
    assert len({rect.get("width") for rect in above.iter(f"{name}rect")}) == 1
