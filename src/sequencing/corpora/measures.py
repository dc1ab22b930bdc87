"""Many texts at once, as one array of characters: how long each is, in which rows something stands, how often.

What a character is, is asked of Unicode once and then remembered. Knows nothing of pairs, or of what is kept.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from sequencing.corpora.scripts import NONE, script_of

KNOWN, SPACE, CONTROL, LETTER, DIGIT = 1, 2, 4, 8, 16
LF, BLANK, TAB = 10, 32, 9
# Format characters that text needs: joiners of letters, the Mongolian vowel separator, signs that enclose numbers
# (Arabic, Syriac, Kaithi), the layout of hieroglyphs and of shorthand.
KEPT_FORMATS = frozenset(
    map(chr, [0x200C, 0x200D, 0x180E, *range(0x0600, 0x0606), 0x06DD, 0x070F, 0x0890, 0x0891, 0x08E2, 0x110BD, 0x110CD])
) | frozenset(map(chr, chain(range(0x13430, 0x13440), range(0x1BCA0, 0x1BCA4))))

Numbers = NDArray[np.int32]
Marks = NDArray[np.bool_]


def is_control(character: str) -> bool:
    """Whether a character has no place in a text: C0, C1 or invisible format. Tab is one, but is not asked for."""
    category = unicodedata.category(character)
    return category == "Cc" or (category == "Cf" and character not in KEPT_FORMATS)


class Characters:
    """What each of all characters is: some flags, and the number of its script. Filled as characters are met."""

    def __init__(self) -> None:
        self.flags = np.zeros(0x110000, np.uint8)
        self.scripts = np.zeros(0x110000, np.uint8)

    def of(self, codes: NDArray[np.uint32]) -> NDArray[np.uint8]:  # (N) -> (N)
        """The flags of some characters."""
        flags = self.flags[codes]
        if not flags.all():
            for code in np.unique(codes[flags == 0]).tolist():
                self._learn(chr(code))
            flags = self.flags[codes]
        return flags

    def _learn(self, character: str) -> None:
        code, category = ord(character), unicodedata.category(character)
        flags = KNOWN | (SPACE * character.isspace())
        flags |= CONTROL * (is_control(character) and character not in "\t\n")
        flags |= LETTER * (category[0] in "LM") | DIGIT * (category == "Nd")
        self.flags[code], self.scripts[code] = flags, script_of(character)


@lru_cache(maxsize=1)
def all_characters() -> Characters:
    """The one table of a process."""
    return Characters()


class Texts:
    """Texts without LF, and what is counted in them. Rows are those of the list."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.whole = "\n".join([*texts, ""])  # each text is closed by LF, so none of them is an empty range

    @cached_property
    def codes(self) -> NDArray[np.uint32]:
        """All characters."""
        return np.frombuffer(self.whole.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))

    @cached_property
    def flags(self) -> NDArray[np.uint8]:
        """What all characters are."""
        return all_characters().of(self.codes)

    @cached_property
    def scripts(self) -> NDArray[np.uint8]:
        """The scripts of all characters."""
        table = all_characters()
        table.of(self.codes)  # now all of them are known
        return table.scripts[self.codes]

    @cached_property
    def ends(self) -> NDArray[np.intp]:
        """Where each text ends: the place of its LF."""
        return np.flatnonzero(self.codes == LF)

    @cached_property
    def lengths(self) -> Numbers:
        """Characters of each text."""
        return np.diff(self.ends, prepend=-1).astype(np.int32) - 1

    def count(self, marks: Marks) -> Numbers:
        """How many of the characters that are marked stand in each text."""
        total = np.concatenate([[0], np.cumsum(marks, dtype=np.int32)[self.ends]])
        return np.diff(total).astype(np.int32)

    def has(self, flag: int) -> Marks:
        """All characters with a flag."""
        return (self.flags & flag).astype(np.bool_)

    @cached_property
    def spaces(self) -> Marks:
        """White space, tabs and the LF at the ends among it."""
        return self.has(SPACE)

    @cached_property
    def words(self) -> Numbers:
        """Words of each text: what white space separates."""
        begins = ~self.spaces
        begins[1:] &= self.spaces[:-1]
        return self.count(begins)

    def longest_words(self) -> Numbers:
        """The length of the longest word of each text."""
        after = np.flatnonzero(self.spaces)
        lengths = np.diff(after, prepend=-1) - 1
        first = np.searchsorted(after, np.concatenate([[0], self.ends[:-1] + 1]))
        return np.maximum.reduceat(lengths, first).astype(np.int32) if len(self.texts) else np.zeros(0, np.int32)

    def rows(self, marks: Marks) -> list[int]:
        """The texts in which a marked character stands."""
        return np.unique(np.searchsorted(self.ends, np.flatnonzero(marks))).tolist()

    def loose(self) -> list[int]:
        """The texts whose words are not separated by single spaces (or by tabs), or that begin or end with one."""
        blank = self.codes == BLANK
        other = self.spaces & ~blank
        other &= (self.codes != TAB) & (self.codes != LF)
        beside = blank.copy()  # blanks that stand first in a text, last in it, or next to more white space
        beside[1:-1] &= self.spaces[:-2] | self.spaces[2:]
        return self.rows(other | beside)

    def shares(self, scripts: Iterable[int]) -> NDArray[np.float64]:
        """Of the letters of each text that belong to a script, how many belong to one of some. 1 where it has none."""
        wanted = np.zeros(256, np.bool_)
        wanted[list(scripts)] = True
        letters = self.count(self.scripts != NONE)
        return np.where(letters, self.count(wanted[self.scripts]) / np.maximum(letters, 1), 1.0)

    def letter_shares(self) -> NDArray[np.float64]:
        """Of the characters of each text that are no white space, how many are letters or their marks. 1 of none."""
        visible = self.count(~self.spaces)
        return np.where(visible, self.count(self.has(LETTER)) / np.maximum(visible, 1), 1.0)


def without_controls(text: str) -> str:
    """White space for control characters that are white space, nothing for the others; tabs stay."""
    found = {ord(each): " " if each.isspace() else None for each in set(text) if each != "\t" and is_control(each)}
    return text.translate(found)


def single_spaced(text: str) -> str:
    """One space between two words and none at the ends; so it is with each of the texts between tabs."""
    return "\t".join(" ".join(column.split()) for column in text.split("\t"))


def replaced(texts: list[str], rows: Sequence[int], new: Iterable[str]) -> list[str]:
    """A list with some rows changed."""
    texts = list(texts)
    for row, text in zip(rows, new, strict=True):
        texts[row] = text
    return texts
