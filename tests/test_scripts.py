"""Scripts of letters, compared with Unicode's own table (by the package regex) and with words of many languages."""

import unicodedata

import numpy as np
import pytest

from sequencing.corpora.measures import Texts
from sequencing.corpora.scripts import NONE, OTHER, SCRIPTS, script_of

NAMES = {number: name for name, number in SCRIPTS.items()}
UNICODE_NAMES = {"Canadian": "Canadian_Aboriginal", "Odia": "Oriya", "Olchiki": "Ol_Chiki"}
WORDS = {
    "Arabic": "السلام عليكم", "Armenian": "Բարեւ ձեզ", "Bengali": "নমস্কার", "Cyrillic": "Здравствуйте, їжак",
    "Devanagari": "नमस्ते", "Ethiopic": "ሰላም", "Georgian": "გამარჯობა", "Greek": "Γειά σου, ἄνθρωπε", "Gujarati": "નમસ્તે",
    "Gurmukhi": "ਸਤ ਸ੍ਰੀ ਅਕਾਲ", "Han": "你好，世界", "Hangul": "안녕하세요", "Hebrew": "שָׁלוֹם", "Hiragana": "こんにちは",
    "Kannada": "ನಮಸ್ಕಾರ", "Katakana": "コンニチワー", "Khmer": "សួស្តី", "Lao": "ສະບາຍດີ", "Latin": "Grüß Gott, ŝafo ﬁ",
    "Malayalam": "നമസ്കാരം",
    "Mongolian": "ᠮᠣᠩᠭᠣᠯ", "Myanmar": "မင်္ဂလာပါ", "Sinhala": "ආයුබෝවන්", "Tamil": "வணக்கம்", "Telugu": "నమస్కారం",
    "Thai": "สวัสดี", "Tibetan": "བཀྲ་ཤིས",
}  # fmt: skip


@pytest.mark.parametrize("name", WORDS)
def test_words_belong_to_their_script_alone(name: str) -> None:
    for form in ("NFC", "NFD"):
        texts = Texts([unicodedata.normalize(form, WORDS[name]), f"123 {WORDS[name]} …!?"])
        for other in WORDS:
            assert np.array_equal(texts.shares([SCRIPTS[other]]), [other == name] * 2), (name, other)


def test_what_is_no_letter_has_no_script() -> None:
    assert {script_of(character) for character in "0٣१ .,!？。\t\n\u200d\u0301\ufe0f€+´😀"} == {NONE}
    assert script_of("𐌰") == OTHER  # Gothic
    assert Texts(["", " 12", "12 a"]).shares([SCRIPTS["Greek"]]).tolist() == [1.0, 1.0, 0.0]
    assert Texts(["ab я", "abя1"]).shares([SCRIPTS["Latin"]]).tolist() == pytest.approx([2 / 3, 2 / 3])
    assert Texts(["漢字かな"]).shares([SCRIPTS["Han"], SCRIPTS["Hiragana"]]).tolist() == [1.0]


def test_scripts_are_those_of_unicode() -> None:
    """All letters and marks: of those of Unicode's first plane not one in five hundred differs, all of them rare."""
    regex = pytest.importorskip("regex", reason="the package regex is not installed")
    shared = regex.compile(r"[\p{Script=Common}\p{Script=Inherited}]")
    ours = {name: regex.compile(rf"\p{{Script={UNICODE_NAMES.get(name, name)}}}") for name in SCRIPTS}
    checked = 0
    different = []
    for character in map(chr, range(0x10000)):
        if unicodedata.category(character)[0] in "LM":
            checked += 1
            number = script_of(character)
            if number == NONE:
                same = bool(shared.match(character))
            elif number == OTHER:
                same = not any(each.match(character) for each in ours.values()) and not shared.match(character)
            else:
                same = bool(ours[NAMES[number]].match(character))
            if not same:
                different.append(character)
    assert checked > 40_000 and len(different) < checked / 500
    assert not [
        character
        for character in different
        if ord(character) < 0x370 or (character.isalpha() and ord(character) < 0x1D00)
    ]
