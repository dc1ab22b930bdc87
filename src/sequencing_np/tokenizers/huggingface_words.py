"""The pre-tokenizers of a tokenizer.json: from a normalised text to the words that its model cuts."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from sequencing_np.errors import DataError
from sequencing_np.tokenizers.character_classes import GPT2, SPACES, WORDS, members, translated
from sequencing_np.tokenizers.documents import flag, only_keys, text_in
from sequencing_np.tokenizers.huggingface_text import in_bytes, pattern_in

Splitter = Callable[[list[str], bool], list[str]]  # words, and whether the text of the first one begins the whole text
SCHEMES = ("always", "first", "never")
ASCII_PUNCTUATION = "!-/:-@\\[-`{-~"


def matches(pattern: re.Pattern[str], text: str) -> list[tuple[str, bool]]:
    """A text in parts, and of each whether the pattern matched it; none is empty."""
    found, place = [], 0
    for match in pattern.finditer(text):
        begin, end = match.span()
        if begin == end:
            continue
        if place < begin:
            found.append((text[place:begin], False))
        found.append((text[begin:end], True))
        place = end
    return [*found, (text[place:], False)] if place < len(text) else found


def removed(parts: list[tuple[str, bool]]) -> list[str]:
    return [text for text, matched in parts if not matched]


def isolated(parts: list[tuple[str, bool]]) -> list[str]:
    return [text for text, _ in parts]


def with_previous(parts: list[tuple[str, bool]]) -> list[str]:
    """Each match ends a word; of several matches in a row each but the first is a word."""
    words: list[str] = []
    before = False
    for text, matched in parts:
        if matched and not before and words:
            words[-1] += text
        else:
            words.append(text)
        before = matched
    return words


def with_next(parts: list[tuple[str, bool]]) -> list[str]:
    """Each match begins a word; of several matches in a row each but the last is a word."""
    words: list[str] = []
    before = False
    for text, matched in parts:
        if before and not matched:
            words[-1] += text
        else:
            words.append(text)
        before = matched
    return words


def contiguous(parts: list[tuple[str, bool]]) -> list[str]:
    """Matches in a row are one word."""
    words: list[str] = []
    before: bool | None = None
    for text, matched in parts:
        if matched == before:
            words[-1] += text
        else:
            words.append(text)
        before = matched
    return words


BEHAVIORS: dict[str, Callable[[list[tuple[str, bool]]], list[str]]] = {
    "Removed": removed,
    "Isolated": isolated,
    "MergedWithPrevious": with_previous,
    "MergedWithNext": with_next,
    "Contiguous": contiguous,
}


def splitting(pattern: re.Pattern[str], behavior: str, invert: bool = False) -> Splitter:
    """What splits each word at matches of a pattern."""
    join = BEHAVIORS[behavior]

    def split(words: list[str], first: bool) -> list[str]:
        found: list[str] = []
        for word in words:
            parts = matches(pattern, word)
            found += join([(text, not matched) for text, matched in parts] if invert else parts)
        return found

    return split


def behavior_in(document: Mapping[str, Any], default: str | None = None) -> str:
    behavior = text_in(document, "behavior", default)
    if behavior not in BEHAVIORS:
        raise DataError(f"the behavior {behavior!r} is not supported; it can be {', '.join(BEHAVIORS)}")
    return behavior


def scheme_in(document: Mapping[str, Any]) -> str:
    """Where a Metaspace puts its sign in front: older files say so with add_prefix_space."""
    added = flag(document, "add_prefix_space", True)
    scheme = text_in(document, "prepend_scheme", "always" if added else "never")
    if scheme not in SCHEMES or (not added and scheme != "never"):
        raise DataError(f"prepend_scheme is {scheme!r}, add_prefix_space is {added}; it can be {', '.join(SCHEMES)}")
    return scheme


def sign_in(document: Mapping[str, Any]) -> str:
    sign = text_in(document, "replacement")
    if len(sign) != 1 or text_in(document, "str_rep", sign) != sign:
        raise DataError(f"the replacement of Metaspace is {sign!r}; it must be one character")
    return sign


METASPACE = ("type", "replacement", "add_prefix_space", "prepend_scheme", "split", "str_rep")


def metaspace(document: Mapping[str, Any]) -> Splitter:
    """Spaces become a sign, which also stands in front, and begins a word."""
    only_keys(document, METASPACE, "the pre-tokenizer Metaspace")
    sign, scheme = sign_in(document), scheme_in(document)
    inside = splitting(re.compile(re.escape(sign)), "MergedWithNext") if flag(document, "split", True) else None

    def split(words: list[str], first: bool) -> list[str]:
        found = []
        for row, word in enumerate(words):
            word = word.replace(" ", sign)
            wanted = scheme == "always" or (scheme == "first" and first and row == 0)
            found.append(sign + word if wanted and not word.startswith(sign) else word)
        return inside(found, first) if inside else found

    return split


def byte_level(document: Mapping[str, Any]) -> Splitter:
    """Words as GPT-2 finds them, each written in the characters of its bytes."""
    only_keys(document, ("type", "add_prefix_space", "trim_offsets", "use_regex"), "the pre-tokenizer ByteLevel")
    prefix = flag(document, "add_prefix_space")
    inside = splitting(translated(GPT2), "Isolated") if flag(document, "use_regex", True) else None

    def split(words: list[str], first: bool) -> list[str]:
        if prefix:
            words = [word if word.startswith(" ") else f" {word}" for word in words]
        return list(map(in_bytes, inside(words, first) if inside else words))

    return split


def bert(document: Mapping[str, Any]) -> Splitter:
    """Words between spaces, and each sign of punctuation a word."""
    only_keys(document, ("type",), "the pre-tokenizer BertPreTokenizer")
    spaces = splitting(re.compile(f"[{SPACES}]"), "Removed")
    signs = splitting(re.compile(f"[{ASCII_PUNCTUATION}{members('P')}]"), "Isolated")
    return lambda words, first: signs(spaces(words, first), first)


def punctuation(document: Mapping[str, Any]) -> Splitter:
    only_keys(document, ("type", "behavior"), "the pre-tokenizer Punctuation")
    return splitting(re.compile(f"[{ASCII_PUNCTUATION}{members('P')}]"), behavior_in(document, "Isolated"))


def digits(document: Mapping[str, Any]) -> Splitter:
    only_keys(document, ("type", "individual_digits"), "the pre-tokenizer Digits")
    single = flag(document, "individual_digits", False)
    return splitting(re.compile(f"[{members('N')}]"), "Isolated" if single else "Contiguous")


def split_at(document: Mapping[str, Any]) -> Splitter:
    only_keys(document, ("type", "pattern", "behavior", "invert"), "the pre-tokenizer Split")
    return splitting(pattern_in(document), behavior_in(document), flag(document, "invert", False))


def fixed(name: str, pattern: str, behavior: str, invert: bool = False) -> Callable[[Mapping[str, Any]], Splitter]:
    """A pre-tokenizer that has no settings."""

    def make(document: Mapping[str, Any]) -> Splitter:
        only_keys(document, ("type",), f"the pre-tokenizer {name}")
        return splitting(translated(pattern), behavior, invert)

    return make


SPLITTERS: dict[str, Callable[[Mapping[str, Any]], Splitter]] = {
    "ByteLevel": byte_level,
    "Metaspace": metaspace,
    "BertPreTokenizer": bert,
    "Whitespace": fixed("Whitespace", WORDS, "Removed", invert=True),
    "WhitespaceSplit": fixed("WhitespaceSplit", r"\s", "Removed"),
    "Punctuation": punctuation,
    "Digits": digits,
    "Split": split_at,
}
