"""Spelling that is carried over from a sentence to its translation: names, cognates, digits.

What attention to characters is said to help with. `KINDS` finds such words, of those that training sees rarely;
`held_out` takes all sentences of some of them out of the training data, so that they are new; `share` says how many of
them the answers have.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import SequenceMatcher

RARE = 10  # times that a word is seen in training, on both sides together: what is seen more is learnt as a whole
MARKS = ".,;:!?\"'()"


def words(text: str) -> list[str]:
    """The words of a text without the marks around them."""
    return [word for word in (part.strip(MARKS) for part in text.split()) if word]


def is_rare(word: str, seen: Mapping[str, int]) -> bool:
    """Whether a word is seen too rarely to be learnt as a whole."""
    return seen.get(word, 0) <= RARE


def names(source: str, target: str, seen: Mapping[str, int]) -> set[str]:
    """Rare words with a capital, three letters or more, that stand in both texts."""
    capital = {word for word in words(source) if len(word) > 2 and word[0].isupper() and word.isalpha()}
    return {word for word in capital & set(words(target)) if is_rare(word, seen)}


def numbers(source: str, target: str, seen: Mapping[str, int]) -> set[str]:
    """Rare words with digits that stand in both texts."""
    both = set(words(source)) & set(words(target))
    return {word for word in both if any(map(str.isdigit, word)) and is_rare(word, seen)}


def cognates(source: str, target: str, seen: Mapping[str, int]) -> set[str]:
    """Rare target words of five letters or more that are like a rare source word, and not the same."""
    rare = [word.lower() for word in words(source) if len(word) > 4 and word.isalpha() and is_rare(word, seen)]
    return {
        word
        for word in words(target)
        if len(word) > 4
        and is_rare(word, seen)
        and any(word.lower() != other and alike(word.lower(), other) for other in rare)
    }


def alike(one: str, other: str) -> bool:
    """Whether two words share seven tenths of their letters, in order."""
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    return matcher.real_quick_ratio() >= 0.7 and matcher.quick_ratio() >= 0.7 and matcher.ratio() >= 0.7


KINDS: dict[str, Callable[[str, str, Mapping[str, int]], set[str]]] = {
    "names": names,
    "cognates": cognates,
    "numbers": numbers,
}


def seen_in(rows: Iterable[str]) -> Counter[str]:
    """How often each word stands on either side, the marks around it taken off."""
    return Counter(word for row in rows for side in row.split("\t") for word in words(side))


def held_out(rows: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The rows to learn from, and for each kind those that are kept back: a third of the words, with all their rows."""
    seen, wanted = seen_in(rows), dict[str, str]()  # word -> its kind
    for row in rows:
        source, target = row.split("\t")
        for kind, find in KINDS.items():
            for word in find(source, target, seen):
                if zlib.crc32(word.encode()) % 3 == 0:
                    wanted.setdefault(word, kind)
    rest, held = list[str](), {kind: list[str]() for kind in KINDS}
    for row in rows:
        found = [wanted[word] for side in row.split("\t") for word in words(side) if word in wanted]
        for kind in set(found):
            held[kind].append(row)
        if not found:
            rest.append(row)
    return rest, held


def share(kind: str, rows: Sequence[tuple[str, str]], answers: Iterable[str], seen: Mapping[str, int]) -> float:
    """Which part of the words of a kind, in sources and targets, stand in the answers; `seen` is of training."""
    right = total = 0
    for (source, target), answer in zip(rows, answers, strict=True):
        wanted = KINDS[kind](source, target, seen)
        total += len(wanted)
        right += len(wanted & set(words(answer)))
    return right / max(total, 1)
