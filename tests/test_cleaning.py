"""Cleaning: whole blocks at once give what one text after the other gives, and every row is kept or counted."""

import pickle
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencing.corpora.cleaning import REASONS, CleanConfig, Cleaned, Cleaner, Example, FilterConfig, shortened
from sequencing.corpora.filters import same_numbers
from sequencing.corpora.formats import Block
from sequencing.corpora.measures import Texts, is_control
from sequencing.corpora.scripts import NONE, SCRIPTS, script_of
from sequencing_np.errors import ConfigError, DataError

SPECIAL = (
    " \t\u00a0\u2003\u3000\x0b\x85\u2028\r\0\x1f\x7f\x9f\u00ad\u200b\u200c\u200d\u202e\ufeff\u0301\u0323İΣǅﬁÅ\u212b①"
)
TEXT = st.text(
    st.one_of(st.sampled_from(SPECIAL), st.sampled_from("abAB 12я3.漢"), st.characters(codec="utf-8")), max_size=13
).map(lambda text: text.replace("\n", ""))
ROWS = st.lists(st.tuples(TEXT, TEXT), max_size=9)


def block(rows: list[tuple[str, str]], bad: dict[int, str] | None = None, first: int = 1, corpus: int = 0) -> Block:
    return Block(corpus, "a.tsv", first, [source for source, _ in rows], [target for _, target in rows], bad or {})


def clean(rows: list[tuple[str, str]], filter: FilterConfig | None = None, **config: Any) -> Cleaned:
    return Cleaner(CleanConfig(**config), filter or FilterConfig())(block(rows))


def texts(text: str, **config: Any) -> str:
    """One text, cleaned."""
    (found,) = clean([(f"x{text}x", "y")], **config).sources
    return found[1:-1]


# --- normalisation --------------------------------------------------------------------------------------------------


def one_by_one(text: str, config: CleanConfig, lower: bool) -> tuple[str, set[str]]:
    """What the module does to whole blocks, as plainly as it can be said."""
    steps = set()

    def step(name: str, new: str) -> None:
        nonlocal text
        if new != text:
            steps.add(name)
        text = new

    if config.controls:
        white = "".join(" " if is_control(each) and each.isspace() and each != "\t" else each for each in text)
        step("controls", "".join(each for each in white if each == "\t" or not is_control(each)))
    if config.unicode:
        step("unicode", unicodedata.normalize(config.unicode, text))
    if lower:
        step("lower", text.lower())
        if config.unicode:
            step("unicode", unicodedata.normalize(config.unicode, text))
    if config.spaces:
        step("spaces", "\t".join(re.sub(r"\s+", " ", part).strip() for part in text.split("\t")))
    return text, steps


CONFIGS = st.builds(
    CleanConfig,
    unicode=st.sampled_from(["", "NFC", "NFKC"]),
    spaces=st.booleans(),
    controls=st.booleans(),
    lower=st.sampled_from(["", "source", "target", "both"]),
)


@given(ROWS, CONFIGS)
def test_blocks_are_cleaned_as_single_texts_are(rows: list[tuple[str, str]], config: CleanConfig) -> None:
    expected = []
    for pair in rows:
        lower = config.lower in ("source", "both"), config.lower in ("target", "both")
        expected.append([one_by_one(text, config, low)[0] for text, low in zip(pair, lower, strict=True)])
    found = Cleaner(config, FilterConfig())(block(rows, first=7))
    kept = [row for row, pair in enumerate(expected) if pair[0].strip() and pair[1].strip()]
    assert list(zip(found.sources, found.targets, strict=True)) == [tuple(expected[row]) for row in kept]
    assert found.lines == [7 + row for row in kept]
    assert sum(each.count for each in found.dropped.values()) == len(rows) - len(kept)
    again = Cleaner(config, FilterConfig())(block(list(zip(found.sources, found.targets, strict=True))))
    assert again[:2] == found[:2] and not again.changed, "what is in order stays as it is"


@given(ROWS)
def test_changes_are_counted(rows: list[tuple[str, str]]) -> None:
    config = CleanConfig()
    counts = Counter(step for pair in rows for text in pair for step in one_by_one(text, config, False)[1])
    assert Cleaner(config, FilterConfig())(block(rows)).changed == counts


def test_what_goes_and_what_stays() -> None:
    assert texts("a\0b\x1b\u200bc\u00add\ufeffe\u202ef") == "abcdef"
    assert texts("a\x0bb\x85c\u2028d\re") == "a b c d e", "white space stays white space"
    assert texts("a\u200cb\u200dc\u0600\u180ed") == "a\u200cb\u200dc\u0600\u180ed"
    assert texts("e\u200b\u0301") == "é", "composed once nothing stands between"
    assert texts("ﬁ①", unicode="NFKC") == "fi1" and texts("e\u0301", unicode="") == "e\u0301"
    assert texts("a \u3000 b") == "a b" and texts("a  b", spaces=False) == "a  b"
    assert texts("a\0b", controls=False) == "a\0b"
    assert clean([("ΑΣ Ä", "ΑΣ Ä")], lower="target")[:2] == (["ΑΣ Ä"], ["ας ä"])


def test_columns_stay_columns() -> None:
    rows = [(" a  b \t\tc ", "x"), ("\t", "y"), ("\ta", "z")]
    assert clean(rows)[:2] == (["a b\t\tc", "\ta"], ["x", "z"])


def test_tags_stand_before_the_source_and_count_for_nothing() -> None:
    cleaner = Cleaner(CleanConfig(), FilterConfig(max_words=2), ["", "<2de>"])
    rows = [("one two", "x"), ("one two three", "x")]
    assert cleaner(block(rows, corpus=1)).sources == ["<2de> one two"]
    assert cleaner(block(rows, corpus=0)).sources == ["one two"]


# --- filters --------------------------------------------------------------------------------------------------------


def share(text: str, scripts: tuple[str, ...]) -> float:
    letters = [number for number in map(script_of, text) if number != NONE]
    return sum(number in {SCRIPTS[name] for name in scripts} for number in letters) / len(letters) if letters else 1.0


def letter_share(text: str) -> float:
    visible = [each for each in text if not each.isspace()]
    return sum(unicodedata.category(each)[0] in "LM" for each in visible) / len(visible) if visible else 1.0


def reason_of(pair: tuple[str, str], f: FilterConfig) -> str | None:
    """The first of REASONS that applies, as plainly as it can be said."""
    words, sizes = [text.split() for text in pair], [len(text) for text in pair]
    fails = {
        "empty": not all(words),
        "identical": f.identical and pair[0] == pair[1],
        "few_words": min(map(len, words)) < f.min_words,
        "many_words": 0 < f.max_words < max(map(len, words)),
        "few_characters": min(sizes) < f.min_characters,
        "many_characters": 0 < f.max_characters < max(sizes),
        "ratio": f.ratio > 0 and max(sizes) > f.ratio * min(sizes),
        "long_word": 0 < f.max_word_length < max((len(word) for side in words for word in side), default=0),
        "letters": min(map(letter_share, pair)) < f.letter_share,
        "source_script": bool(f.source_scripts) and share(pair[0], f.source_scripts) < f.script_share,
        "target_script": bool(f.target_scripts) and share(pair[1], f.target_scripts) < f.script_share,
        "digits": f.digits and not same_numbers(*pair),
    }
    return next((reason for reason in REASONS if fails.get(reason)), None)


SMALL = st.integers(0, 4)
SCRIPT_NAMES = st.lists(st.sampled_from(["Latin", "Cyrillic", "Han"]), max_size=2).map(tuple)
FILTERS = st.builds(
    lambda least, most, **fields: FilterConfig(
        min_words=least[0], min_characters=least[1], max_words=most[0] and most[0] + least[0],
        max_characters=most[1] and most[1] + least[1], **fields,
    ),
    st.tuples(SMALL, SMALL), st.tuples(SMALL, SMALL),
    ratio=st.sampled_from([0.0, 1.0, 1.5, 3.0]), identical=st.booleans(), max_word_length=SMALL,
    letter_share=st.sampled_from([0.0, 0.5, 1.0]), script_share=st.sampled_from([0.0, 0.5, 1.0]),
    source_scripts=SCRIPT_NAMES, target_scripts=SCRIPT_NAMES, digits=st.booleans(),
)  # fmt: skip


@given(ROWS, FILTERS, st.dictionaries(st.integers(0, 8), st.sampled_from(["undecodable", "too_long", "columns"])))
def test_each_row_is_kept_or_dropped_for_the_first_reason(
    rows: list[tuple[str, str]], filter: FilterConfig, bad: dict[int, str]
) -> None:
    bad = {row: reason for row, reason in bad.items() if row < len(rows)}
    rows = [("", "") if row in bad else pair for row, pair in enumerate(rows)]
    plain = CleanConfig(unicode="", spaces=False, controls=False)
    found = Cleaner(plain, filter)(block(rows, bad))
    reasons = [bad.get(row) or reason_of(pair, filter) for row, pair in enumerate(rows)]
    assert found.lines == [row + 1 for row, reason in enumerate(reasons) if not reason]
    assert [*zip(found.sources, found.targets, strict=True)] == [rows[line - 1] for line in found.lines]
    assert {name: each.count for name, each in found.dropped.items()} == Counter(filter_out(reasons))
    assert list(found.dropped) == [reason for reason in REASONS if reason in found.dropped]
    assert len(found.sources) + sum(each.count for each in found.dropped.values()) == len(rows)
    for name, each in found.dropped.items():
        places = [row for row, reason in enumerate(reasons) if reason == name][:3]
        assert each.examples == [Example("a.tsv", row + 1, *map(shortened, rows[row])) for row in places]


def filter_out(reasons: list[str | None]) -> list[str]:
    return [reason for reason in reasons if reason]


@given(st.lists(TEXT, max_size=9))
def test_measures_are_those_of_single_texts(given_texts: list[str]) -> None:
    measured = Texts(given_texts)
    assert measured.lengths.tolist() == [len(text) for text in given_texts]
    assert measured.words.tolist() == [len(text.split()) for text in given_texts]
    longest = [max(map(len, text.split()), default=0) for text in given_texts]
    assert measured.longest_words().tolist() == longest
    loose = [
        row for row, text in enumerate(given_texts) if any(re.search(r"[^\S ]|  |^ | $", p) for p in text.split("\t"))
    ]
    assert measured.loose() == loose
    assert np.allclose(measured.letter_shares(), [letter_share(text) for text in given_texts])


@pytest.mark.parametrize(
    ("source", "target", "same"),
    [
        ("10 of 200", "200 von 10", True), ("in 2019", "anno 2019.", True), ("12", "21", False), ("1 1", "1", False),
        ("1,000,000", "1.000.000", True), ("1000000", "1 000 000", True), ("3.14", "3,14", True),
        ("10:30", "10.30", True),
        ("٣٤", "34", True), ("१०", "10", True), ("3 100 euro", "100 euro 3", True), ("none", "keine", True),
        ("1,00", "100", False), ("1", "", False),
    ],
)  # fmt: skip
def test_numbers_are_compared_as_they_are_meant(source: str, target: str, same: bool) -> None:
    assert same_numbers(source, target) == same_numbers(target, source) == same
    assert bool(clean([(f"a {source}", f"b {target}")], FilterConfig(digits=True)).sources) == same


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"min_words": -1}, "min_words = -1: must be 0"), ({"ratio": 0.5}, "ratio = 0.5: must be 1 or more"),
        ({"script_share": 1.1}, "script_share = 1.1: must be a share"), ({"ratio": float("nan")}, "ratio = nan"),
        ({"min_words": 3, "max_words": 2}, "min_words = 3 is above max_words = 2"),
        ({"source_scripts": ("Latn",)}, "source_scripts: 'Latn': did you mean 'Latin'?"),
    ],
)  # fmt: skip
def test_filters_that_make_no_sense(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        FilterConfig(**config)
    for wrong in ({"unicode": "NFX"}, {"lower": "all"}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            CleanConfig(**wrong)


def test_examples_are_few_and_short() -> None:
    found = clean([("a" * 200, "")] * 7)
    assert found.dropped["empty"].count == 7 and len(found.dropped["empty"].examples) == 3
    assert found.dropped["empty"].examples[0] == Example("a.tsv", 1, "a" * 79 + "…", "")


# --- a function of the user's own -----------------------------------------------------------------------------------

OWN = """
from dataclasses import dataclass

@dataclass
class Rule:
    word: str

def swap(source, target):
    if source == Rule("drop").word:
        return None
    return target.upper(), source

def broken(source, target):
    return str(1 // (source != "two")), "x"

def wrong(source, target):
    return {"text": source, "lf": ("a\\n", "b"), "tab": ("a\\tb", "c"), "half": ("\\ud800", "x"), "one": ("a",)}[source]

def blank(source, target):
    return [source, " " if source == "two" else target]
"""


@pytest.fixture
def own(tmp_path: Path) -> Any:
    (tmp_path / "rules.py").write_bytes(OWN.encode())

    def cleaner(name: str, **filter: Any) -> Cleaner:
        return Cleaner(CleanConfig(function=f"rules.py:{name}"), FilterConfig(**filter), folder=tmp_path)

    return cleaner


def test_a_function_changes_and_drops_pairs(own: Any) -> None:
    rows = [("one", "eins"), ("", "leer"), ("drop", "weg"), ("two", "zwei"), ("SAME", "same")]
    for cleaner in (own("swap"), pickle.loads(pickle.dumps(own("swap")))):
        found = cleaner(block(rows))
        assert found[:3] == (["EINS", "ZWEI", "SAME"], ["one", "two", "SAME"], [1, 4, 5])
        assert {name: each.count for name, each in found.dropped.items()} == {"empty": 1, "function": 1}
        assert found.changed == {"function": 3}
    assert own("swap", identical=True)(block(rows)).lines == [1, 4], "filters see what the function made"
    found = own("blank")(block([("one", "eins"), ("two", "zwei")]))
    assert (found.lines, found.dropped["empty"].count) == ([1], 1)


def test_a_function_of_a_module() -> None:
    assert clean([("a.txt", "")], function="posixpath:join").lines == [], "pairs with an empty side are gone before"
    with pytest.raises(DataError, match=r"the function posixpath:join returned 'a/b'; it must return a pair"):
        clean([("a", "b")], function="posixpath:join")


def test_mistakes_in_a_function(own: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        own("broken")(block([("one", "x"), ("two", "x")], first=41))
    text = str(caught.value)
    assert text.startswith("a.tsv:42: the function rules.py:broken failed: ZeroDivisionError: ")
    assert f"{tmp_path}/rules.py:" in text and isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(DataError, match=r"failed: KeyError: 'none' \(.*rules\.py:\d+\); the pair is \('none', 'x'\)"):
        own("wrong")(block([("none", "x")]))
    for source, words in [
        ("text", "'text'"), ("lf", "line feed"), ("tab", "another number of tabs"),
        ("half", "half a surrogate"), ("one", r"\('a',\)"),
    ]:  # fmt: skip
        with pytest.raises(DataError, match=rf"a\.tsv:1: the function rules\.py:wrong returned .*{words}.*; it must"):
            own("wrong")(block([(source, "x")]))


def test_functions_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_bytes(b"import nowhere_to_be_found\n")
    for name, words in [
        ("rules", "write module:function"), ("none.py:f", "there is no file"),
        ("no_such:f", r"write no_such\.py:function"),
        ("bad.py:f", "cannot be imported: ModuleNotFoundError"), ("os.path:nothing", "has no function 'nothing'"),
        ("os.no_such:f", "there is no module"),
    ]:  # fmt: skip
        with pytest.raises(ConfigError, match=words):
            Cleaner(CleanConfig(function=name), FilterConfig(), folder=tmp_path)
