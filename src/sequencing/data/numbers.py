"""Number words, English to German: a small task with real reordering and compounding that needs no download.

Every line is exactly what num2words writes for a number from 0 to 999,999. Knows nothing of training.

Development and test numbers are drawn uniformly from all of them, without repetition. Training numbers are drawn from
the rest: four fifths uniformly, one fifth with each number of digits (1 to 6) equally likely, because of a thousand
uniform numbers 999 are longer than three digits and the short ones would never be learned.
"""

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from sequencing_np.errors import ConfigError
from sequencing_np.writing import write_lines

LIMIT = 1_000_000  # numbers are below this
DIGITS = 6
SHORT_SHARE = 0.2  # of the training draws: each number of digits equally likely
MOST = LIMIT // 2  # numbers in all, so that drawing without repetition stays quick


class Split(NamedTuple):
    """Disjoint numbers."""

    train: list[int]
    dev: list[int]
    test: list[int]


def write_numbers(folder: str | Path, train: int = 20_000, dev: int = 500, test: int = 1_000, seed: int = 1) -> Split:
    """Writes train.tsv, dev.tsv and test.tsv of disjoint numbers into a folder; the same seed writes the same bytes."""
    words = {language: speller(language) for language in ("en", "de")}
    split = draw(train, dev, test, seed)
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder}: no folder can be made there: {error.strerror}; name another one") from None
    for name, numbers in split._asdict().items():
        lines = (f"{words['en'](number)}\t{words['de'](number)}" for number in numbers)
        write_lines(folder / f"{name}.tsv", lines)
    return split


def speller(language: str) -> Callable[[int], str]:
    """num2words for one language."""
    try:
        from num2words import num2words
    except ImportError:
        raise ConfigError(
            "number words are written by the library num2words, which is not installed; "
            "install it with: pip install num2words"
        ) from None
    return lambda number: num2words(number, lang=language)


def draw(train: int, dev: int, test: int, seed: int) -> Split:
    """Disjoint numbers, as the head of this module describes."""
    if min(train, dev, test) < 0 or train + dev + test > MOST:
        raise ConfigError(
            f"train = {train}, dev = {dev}, test = {test}: numbers must not be negative, and together at most {MOST}"
        )
    # Only random() itself is promised to give the same values in every version of Python.
    uniform = random.Random(seed).random
    taken: set[int] = set()
    test_numbers = fresh(test, anywhere(uniform), taken)
    dev_numbers = fresh(dev, anywhere(uniform), taken)
    return Split(fresh(train, with_short_ones(uniform), taken), dev_numbers, test_numbers)


def anywhere(uniform: Callable[[], float]) -> Iterator[int]:
    """Numbers of which each is equally likely."""
    while True:
        yield int(uniform() * LIMIT)


def with_short_ones(uniform: Callable[[], float]) -> Iterator[int]:
    """Numbers of which each is equally likely, mixed with numbers of which each length is."""
    while True:
        if uniform() < SHORT_SHARE:
            digits = 1 + int(uniform() * DIGITS)
            lowest = 10 ** (digits - 1) if digits > 1 else 0
            yield lowest + int(uniform() * (10**digits - lowest))
        else:
            yield int(uniform() * LIMIT)


def fresh(count: int, numbers: Iterator[int], taken: set[int]) -> list[int]:
    """The first numbers that are not taken yet; takes them."""
    result: list[int] = []
    while len(result) < count:
        number = next(numbers)
        if number not in taken:
            taken.add(number)
            result.append(number)
    return result
