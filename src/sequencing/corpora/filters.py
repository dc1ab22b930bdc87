"""Which pairs are dropped for what they say: a table of rules, each with its own fields, all of them off unless set.

Knows nothing of where a pair stands, and nothing of how its text was cleaned.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np

from sequencing.corpora.measures import DIGIT, Marks, Texts
from sequencing.corpora.scripts import SCRIPTS
from sequencing_np.config import nearest, require

NUMBER = re.compile(r"\d+")
# The same with groups of three: 1,000,000 and 1.000.000 and 1 000 000 are one number.
GROUPED = re.compile(r"(?<!\d)\d{1,3}(?:[.,'’٬ \u00a0\u202f]\d{3})+(?!\d)|\d+")


@dataclass(frozen=True)
class FilterConfig:
    """The table [filter]. Zero, false and an empty list mean: this rule is off."""

    min_words: int = 0  # on either side; words are what white space separates
    max_words: int = 0
    min_characters: int = 0
    max_characters: int = 0
    ratio: float = 0.0  # the longer side has at most so many times the characters of the shorter one
    identical: bool = False  # drop pairs whose sides are the same
    max_word_length: int = 0  # characters
    letter_share: float = 0.0  # of the characters but white space, at least so many are letters
    source_scripts: tuple[str, ...] = ()  # rows of SCRIPTS, such as ["Latin"]; several where a text may mix them
    target_scripts: tuple[str, ...] = ()
    script_share: float = 0.5  # of the letters of a side, at least so many belong to its scripts
    digits: bool = False  # drop pairs whose sides do not hold the same numbers in figures

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if type(value) in (int, float):
                require(math.isfinite(value) and value >= 0, f"{each.name} = {value}: must be 0 (off) or more")
        for name in ("letter_share", "script_share"):
            require(getattr(self, name) <= 1, f"{name} = {getattr(self, name)}: must be a share from 0 to 1")
        require(self.ratio == 0 or self.ratio >= 1, f"ratio = {self.ratio}: must be 1 or more, or 0 (off)")
        for unit in ("words", "characters"):
            least, most = getattr(self, f"min_{unit}"), getattr(self, f"max_{unit}")
            require(
                not most or least <= most, f"min_{unit} = {least} is above max_{unit} = {most}; nothing would be left"
            )
        for name in ("source_scripts", "target_scripts"):
            for script in getattr(self, name):
                require(script in SCRIPTS, f"{name}: {script!r}: {nearest(script, SCRIPTS)}")


class Sides(NamedTuple):
    """Sources and targets, row by row."""

    source: Texts
    target: Texts


class Rule(NamedTuple):
    """What a pair is dropped for: words for the report, whether it is on, and which pairs fail."""

    words: str
    on: Callable[[FilterConfig], bool]
    fails: Callable[[FilterConfig, Sides], Marks]


def _identical(config: FilterConfig, sides: Sides) -> Marks:
    pairs = zip(sides.source.texts, sides.target.texts, strict=True)
    return np.fromiter((source == target for source, target in pairs), np.bool_, len(sides.source.texts))


def _ratio(config: FilterConfig, sides: Sides) -> Marks:
    longer = np.maximum(sides.source.lengths, sides.target.lengths)
    return longer > config.ratio * np.minimum(sides.source.lengths, sides.target.lengths)


def _letters(config: FilterConfig, sides: Sides) -> Marks:
    return np.minimum(sides.source.letter_shares(), sides.target.letter_shares()) < config.letter_share


def _digits(config: FilterConfig, sides: Sides) -> Marks:
    counts = [side.count(side.has(DIGIT)) for side in sides]
    fails = counts[0] != counts[1]
    for row in np.flatnonzero((counts[0] > 0) & ~fails).tolist():
        fails[row] = not same_numbers(sides.source.texts[row], sides.target.texts[row])
    return fails


def same_numbers(source: str, target: str) -> bool:
    """Whether two texts hold the same numbers, in any order, however digits are written and grouped."""
    if not source.isascii() or not target.isascii():
        source, target = western(source), western(target)
    if sorted(NUMBER.findall(source)) == sorted(NUMBER.findall(target)):
        return True
    return _ungrouped(source) == _ungrouped(target)


def _ungrouped(text: str) -> list[str]:
    return sorted("".join(NUMBER.findall(number)) for number in GROUPED.findall(text))


def western(text: str) -> str:
    """The digits of all scripts as 0 to 9."""
    return NUMBER.sub(lambda found: "".join(str(int(digit)) for digit in found[0]), text)


RULES: Mapping[str, Rule] = {
    "identical": Rule("both sides are the same", lambda config: config.identical, _identical),
    "few_words": Rule(
        "a side has too few words",
        lambda config: config.min_words > 0,
        lambda config, sides: np.minimum(sides.source.words, sides.target.words) < config.min_words,
    ),
    "many_words": Rule(
        "a side has too many words",
        lambda config: config.max_words > 0,
        lambda config, sides: np.maximum(sides.source.words, sides.target.words) > config.max_words,
    ),
    "few_characters": Rule(
        "a side has too few characters",
        lambda config: config.min_characters > 0,
        lambda config, sides: np.minimum(sides.source.lengths, sides.target.lengths) < config.min_characters,
    ),
    "many_characters": Rule(
        "a side has too many characters",
        lambda config: config.max_characters > 0,
        lambda config, sides: np.maximum(sides.source.lengths, sides.target.lengths) > config.max_characters,
    ),
    "ratio": Rule("one side is much longer than the other", lambda config: config.ratio > 0, _ratio),
    "long_word": Rule(
        "a word is too long",
        lambda config: config.max_word_length > 0,
        lambda config, sides: np.maximum(*(side.longest_words() for side in sides)) > config.max_word_length,
    ),
    "letters": Rule("a side has too few letters", lambda config: config.letter_share > 0, _letters),
    "source_script": Rule(
        "the source is written in another script",
        lambda config: bool(config.source_scripts),
        lambda config, sides: (
            sides.source.shares(SCRIPTS[name] for name in config.source_scripts) < config.script_share
        ),
    ),
    "target_script": Rule(
        "the target is written in another script",
        lambda config: bool(config.target_scripts),
        lambda config, sides: (
            sides.target.shares(SCRIPTS[name] for name in config.target_scripts) < config.script_share
        ),
    ),
    "digits": Rule("the sides hold different numbers", lambda config: config.digits, _digits),
}
