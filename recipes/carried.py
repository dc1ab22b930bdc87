"""Spelling that is carried over from a sentence to its translation: names, cognates, digits.

What attention to characters is said to help with. `KINDS` finds such words, of those that training sees rarely;
`held_out` takes all sentences of some of them out of the training data, so that they are new. A quarter of the short
sentences are about Tom: `renamed` gives people names that are made, training and test none in common. `share` says how
many of the words the answers have.
"""

from __future__ import annotations

import random
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import SequenceMatcher

from made import one

LONGEST = 30  # characters of a side: short sentences are learnt soon
RARE = 10  # times that a word is seen in training, on both sides together: what is seen more is learnt as a whole
MARKS = ".,;:!?\"'()"
PEOPLE = {"Tom": "Tom", "Mary": "Maria", "Maria": "Maria", "John": "John", "Jane": "Jane"}  # in English, in German


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
MADE = "made_names"  # of sentences whose people were renamed
MEASURED = {**KINDS, MADE: names}


def is_short(row: str) -> bool:
    """Whether both sides have few characters."""
    return all(len(side) <= LONGEST for side in row.split("\t"))


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


def person(chance: random.Random, held: bool) -> str:
    """A name of two or three syllables; a third of all there are is held out."""
    while True:
        syllables = (
            one(chance, "bdfghjklmnprstvwz") + one(chance, "aeiou") for _ in range(2 + int(chance.random() * 2))
        )
        name = ("".join(syllables) + one(chance, ("", "k", "l", "n", "r", "s"))).capitalize()
        if (zlib.crc32(name.encode()) % 3 == 0) == held:
            return name


def renamed(rows: Iterable[str], held: bool) -> list[str]:
    """Those of the rows that have people on both sides, each with a name of its own, held out or not."""
    chance, found = random.Random(f"renamed {held}"), list[str]()
    for row in rows:
        source, target = row.split("\t")
        for english, german in PEOPLE.items():
            if all(re.search(rf"\b{name}\b", side) for name, side in ((english, source), (german, target))):
                new = person(chance, held)
                source, target = re.sub(rf"\b{english}\b", new, source), re.sub(rf"\b{german}\b", new, target)
        if f"{source}\t{target}" != row:
            found.append(f"{source}\t{target}")
    return found


def share(kind: str, rows: Sequence[tuple[str, str]], answers: Iterable[str], seen: Mapping[str, int]) -> float:
    """Which part of the words of a kind, in sources and targets, stand in the answers; `seen` is of training."""
    right = total = 0
    for (source, target), answer in zip(rows, answers, strict=True):
        wanted = MEASURED[kind](source, target, seen)
        total += len(wanted)
        right += len(wanted & set(words(answer)))
    return right / max(total, 1)
