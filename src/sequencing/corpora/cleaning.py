"""Blocks of rows to the pairs that are kept: text put in order, filters applied, all that is dropped counted.

In this order: what cannot be read is dropped; control characters, Unicode's normal form, case and spaces are put in
order; pairs with an empty side are dropped; a function of the user's own changes or drops a pair; the filters follow.
A pair is dropped for one reason, the first of REASONS that applies, so that the counts add up to the rows.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import ne
from pathlib import Path
from typing import Literal, NamedTuple
from unicodedata import is_normalized, normalize

import numpy as np

from sequencing.corpora.filters import RULES, FilterConfig, Sides
from sequencing.corpora.formats import Block
from sequencing.corpora.measures import CONTROL, Texts, replaced, single_spaced, without_controls
from sequencing.corpora.own_function import call
from sequencing_np.config import nearest, require
from sequencing_np.own import load_own

__all__ = ["REASONS", "CleanConfig", "Cleaned", "Cleaner", "Dropped", "Example", "FilterConfig"]

REASONS: Mapping[str, str] = {
    "undecodable": "bytes that are not UTF-8",
    "too_long": "a line or a text over the limit in bytes",
    "syntax": "a row that is no CSV or JSON",
    "columns": "another number of columns",
    "value": "a key that is missing or holds no text",
    "empty": "a side is empty",
    "function": "dropped by the function of your own",
    **{name: rule.words for name, rule in RULES.items()},
}
EXAMPLES = 3  # so many of a block's dropped pairs are shown for each reason
SHOWN = 80  # so many characters of a text
FORMS: Mapping[str, Literal["NFC", "NFKC"] | None] = {"NFC": "NFC", "NFKC": "NFKC", "": None}
LOWERED: Mapping[str, tuple[bool, bool]] = {  # whether source and target are
    "": (False, False),
    "source": (True, False),
    "target": (False, True),
    "both": (True, True),
}


@dataclass(frozen=True)
class CleanConfig:
    """The table [clean]: what is put in order in every text."""

    unicode: str = "NFC"  # the normal form: NFC, NFKC, or "" for none
    spaces: bool = True  # runs of white space become one space, none is left at the ends
    controls: bool = True  # C0, C1 and invisible format characters go, but ZWJ and ZWNJ; white ones become spaces
    lower: str = ""  # the sides in lower case: "source", "target", "both"
    function: str = ""  # "module:function" or "file.py:function": (source, target) -> (source, target), None to drop

    def __post_init__(self) -> None:
        require(self.unicode in FORMS, f"unicode = {self.unicode!r}: {nearest(self.unicode, FORMS)}")
        require(self.lower in LOWERED, f"lower = {self.lower!r}: {nearest(self.lower, LOWERED)}")


class Example(NamedTuple):
    """A pair that was dropped, shortened."""

    file: str
    line: int
    source: str
    target: str


@dataclass(frozen=True)
class Dropped:
    """How many pairs were dropped for a reason, and the first of them."""

    count: int
    examples: list[Example]


class Cleaned(NamedTuple):
    """What is left of a block."""

    sources: list[str]
    targets: list[str]
    lines: list[int]  # the line of each
    dropped: dict[str, Dropped]  # by reason
    changed: dict[str, int]  # texts that each step changed: controls, unicode, lower, spaces; pairs: function


class Cleaner:
    """Made once, called with each block; the same block always gives the same. It can be pickled."""

    def __init__(
        self, clean: CleanConfig, filter: FilterConfig, tags: Sequence[str] = (), folder: Path = Path()
    ) -> None:
        self._made = (clean, filter, tuple(tags), folder)
        self._clean, self._filter, self._tags = clean, filter, tuple(tags)  # tags: by corpus
        self._function = load_own(clean.function, "function =", folder) if clean.function else None
        self._rules = {name: rule for name, rule in RULES.items() if rule.on(filter)}

    def __reduce__(self) -> tuple[type["Cleaner"], tuple[CleanConfig, FilterConfig, tuple[str, ...], Path]]:
        return Cleaner, self._made

    def __call__(self, block: Block) -> Cleaned:
        """The pairs that are kept, and all that was done."""
        changed: dict[str, int] = {}
        lowered = LOWERED[self._clean.lower]
        sides = Sides(
            *(
                self._in_order(texts, lower, changed)
                for texts, lower in zip((block.sources, block.targets), lowered, strict=True)
            )
        )
        reasons: list[str] = [""] * len(block.sources)
        for row, reason in block.bad.items():
            reasons[row] = reason
        self._note(reasons, "empty", _empty(sides))
        if self._function:
            sides = self._by_function(block, sides, reasons, changed)
            self._note(reasons, "empty", _empty(sides))
        for name, rule in self._rules.items():
            self._note(reasons, name, rule.fails(self._filter, sides))
        return self._kept(block, sides, reasons, changed)

    def _in_order(self, given: list[str], lower: bool, changed: dict[str, int]) -> Texts:
        """One side, put in order. Whole blocks are looked at; only rows that need it are touched."""
        clean, form, texts = self._clean, FORMS[self._clean.unicode], Texts(given)
        if clean.controls and (rows := texts.rows(texts.has(CONTROL))):
            texts = _redone(texts, rows, without_controls, "controls", changed)
        if form and not is_normalized(form, texts.whole):
            texts = _normalized(texts, form, changed)
        if lower and texts.whole.lower() != texts.whole:
            texts = _counted(texts, [text.lower() for text in texts.texts], "lower", changed)
            if form and not is_normalized(form, texts.whole):
                texts = _normalized(texts, form, changed)
        if clean.spaces and (rows := texts.loose()):
            texts = _redone(texts, rows, single_spaced, "spaces", changed)
        return texts

    def _by_function(self, block: Block, sides: Sides, reasons: list[str], changed: dict[str, int]) -> Sides:
        """What the user's function makes of all pairs that are left."""
        assert self._function is not None
        sources, targets = list(sides.source.texts), list(sides.target.texts)
        numbers = block.numbers()
        for row, reason in enumerate(reasons):
            if reason:
                continue
            pair = sources[row], targets[row]
            answer = call(self._function, self._clean.function, pair, f"{block.file}:{numbers[row]}")
            if answer is None:
                reasons[row] = "function"
            elif answer != pair:
                changed["function"] = changed.get("function", 0) + 1
                sources[row], targets[row] = answer
        return Sides(Texts(sources), Texts(targets))

    @staticmethod
    def _note(reasons: list[str], name: str, fails: np.ndarray) -> None:
        for row in np.flatnonzero(fails).tolist():
            reasons[row] = reasons[row] or name

    def _kept(self, block: Block, sides: Sides, reasons: list[str], changed: dict[str, int]) -> Cleaned:
        """The pairs without a reason against them, tagged; the others are counted, and some of them shown."""
        sources, targets = sides.source.texts, sides.target.texts
        numbers = block.numbers()
        lines = list(numbers)
        dropped: dict[str, Dropped] = {}
        rows = [row for row, reason in enumerate(reasons) if reason]
        for row in rows:
            found = dropped.get(reasons[row], Dropped(0, []))
            if found.count < EXAMPLES:
                shown = shortened(sources[row]), shortened(targets[row])
                found.examples.append(Example(block.file, numbers[row], *shown))
            dropped[reasons[row]] = Dropped(found.count + 1, found.examples)
        if rows:
            left = [row for row, reason in enumerate(reasons) if not reason]
            sources, targets = [sources[row] for row in left], [targets[row] for row in left]
            lines = [lines[row] for row in left]
        if self._tags and (tag := self._tags[block.corpus]):
            sources = [f"{tag} {source}" for source in sources]
        ordered = {reason: dropped[reason] for reason in REASONS if reason in dropped}
        return Cleaned(sources, targets, lines, ordered, changed)


def _empty(sides: Sides) -> np.ndarray:  # -> (rows)
    return np.minimum(sides.source.words, sides.target.words) == 0


def _redone(
    texts: Texts, rows: Sequence[int], change: Callable[[str], str], step: str, changed: dict[str, int]
) -> Texts:
    """Some rows changed one by one."""
    return _counted(texts, replaced(texts.texts, rows, [change(texts.texts[row]) for row in rows]), step, changed)


def _normalized(texts: Texts, form: Literal["NFC", "NFKC"], changed: dict[str, int]) -> Texts:
    """All at once: LF stands between two texts, and nothing is composed across it."""
    return _counted(texts, normalize(form, texts.whole).split("\n")[:-1], "unicode", changed)


def _counted(texts: Texts, new: list[str], step: str, changed: dict[str, int]) -> Texts:
    """The new texts; those that differ are counted."""
    if different := sum(map(ne, texts.texts, new)):
        changed[step] = changed.get(step, 0) + different
    return Texts(new)


def shortened(text: str) -> str:
    """The beginning of a text."""
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
