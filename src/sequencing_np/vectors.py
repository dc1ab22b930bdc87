"""Sources that are no text: sequences of vectors (strokes, sensors, sounds), as lines of numbers or as NumPy arrays.

A line holds the numbers of each vector with spaces between, and `;` between two vectors: `0.5 -1; 0.25 3e-2`. What a
model reads of a vector are its numbers, each less its mean and over its deviation in the training data, then a one;
the end of a sequence is a row of its own, zeros and a one at the last place. A row times a table of vectors is then
what a one-hot row times a table is to a word: a look-up. So the table is a linear map with its bias and a vector for
the end, and padding, all zeros, is nothing. Knows nothing of that table: it is in layers.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any, NoReturn, Self

import numpy as np

from sequencing_np.errors import DataError
from sequencing_np.special import END, FORMAT, Special, Vocabulary, check_kind, no_merges

BETWEEN = ";"  # two vectors
EXTRA = 2  # places of a row after its numbers: a one in every vector, a one at the end
MAX_BYTES = 1 << 24  # of a line; a text is never as long
KEYS = ("format", "kind", "mean", "deviation")
FORM = "write the numbers of a vector with spaces between, and ; between two vectors: 0.5 -1; 0.25 3e-2"

Source = str | np.ndarray  # a line, or (T, D)


def parse_vectors(line: str, size: int = 0) -> np.ndarray:  # -> (T, D) float32
    """The vectors of a line, of `size` numbers each (0: as many as the first has). A blank line has none."""
    if not line.strip():
        return np.zeros((0, size), dtype=np.float32)
    rows = [part.split() for part in line.split(BETWEEN)]
    check_widths(list(map(len, rows)), size or len(rows[0]))
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, which is told
            vectors = np.array(rows, dtype=np.float32)
    except ValueError:
        number, text = next((n, text) for n, row in enumerate(rows, 1) for text in row if not is_number(text))
        raise DataError(f"vector {number}: {text[:40]!r} is no number; {FORM}") from None
    return finite(vectors)


def is_number(text: str) -> bool:
    """Whether it is one, if not of 32 bits."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def check_widths(widths: Sequence[int], size: int) -> None:
    """DataError where a vector has not `size` numbers."""
    for number, width in enumerate(widths, 1):
        if width != size or not width:
            wanted = f" instead of {size}" if size else ""
            raise DataError(f"vector {number} has {width} number{'s' * (width != 1)}{wanted}; {FORM}")


def finite(vectors: np.ndarray) -> np.ndarray:  # (T, D) -> (T, D)
    """The same; DataError where a number is NaN, infinite, or too large for 32 bits."""
    wrong = np.argwhere(~np.isfinite(vectors))
    if len(wrong):
        row, column = wrong[0].tolist()
        value = vectors[row, column]
        raise DataError(
            f"vector {row + 1}, number {column + 1} is {value}: not a finite number of 32 bits; leave out or mend it"
        )
    return vectors


def as_vectors(source: Source, size: int) -> np.ndarray:  # -> (T, size) float32
    """The vectors of a line or of an array. DataError where they are not of `size` finite numbers."""
    if isinstance(source, str):
        return parse_vectors(source, size)
    array = np.asarray(source)
    if array.ndim != 2 or array.shape[1] != size or array.dtype.kind not in "fiub":
        raise DataError(
            f"an array of shape {array.shape} and type {array.dtype}; the model reads arrays of numbers of shape "
            f"(vectors, {size})"
        )
    with np.errstate(over="ignore"):
        return finite(array.astype(np.float32))


def line_of(vectors: np.ndarray, digits: int = 6) -> str:  # (T, D)
    """The line that holds these vectors, each number with so many significant digits."""
    return f"{BETWEEN} ".join(" ".join(f"{number:.{digits}g}" for number in row) for row in vectors.tolist())


class VectorVocab:
    """What makes rows of vectors as `encode` makes ids of texts. Its length is the width of a row."""

    factor_sizes: tuple[int, ...] = ()
    columns: int = 1
    tags: tuple[str, ...] = ()
    reversed: bool = False
    delimiter: None = None
    factor_separator: str = ""
    special = Special(pad=0, unk=2, bos=3, eos=1)  # a row's last number is its id: 0 for a vector, 1 for the end

    def __init__(self, mean: Sequence[float], deviation: Sequence[float]) -> None:
        self.mean, self.deviation = np.array(mean, dtype=np.float64), np.array(deviation, dtype=np.float64)
        fits = self.mean.ndim == self.deviation.ndim == 1 and self.mean.shape == self.deviation.shape
        if not fits or not len(self.mean):
            raise DataError("'mean' and 'deviation' must be lists of as many numbers as a vector has, at least one")
        if not np.isfinite([self.mean, self.deviation]).all() or (self.deviation <= 0).any():
            raise DataError("'mean' must be finite numbers, and 'deviation' finite numbers above 0")
        self.vector_size = len(self.mean)
        self.tokens: list[str | None] = [f"number {n + 1}" for n in range(self.vector_size)]
        self.tokens += ["vector", END]

    def __len__(self) -> int:
        return self.vector_size + EXTRA

    def encode(self, text: Source, bos: bool = False) -> Any:  # -> (T + 1, D + 2) float32
        """The rows of a line or an array, that of the end last."""
        vectors = as_vectors(text, self.vector_size)
        rows = np.zeros((len(vectors) + 1, len(self)), dtype=np.float32)
        with np.errstate(over="ignore"):
            rows[:-1, : self.vector_size] = (vectors - self.mean) / self.deviation
        rows[:-1, -2] = rows[-1, -1] = 1
        finite(rows)
        return rows

    def sample(self, text: str, dropout: float, generator: Random) -> NoReturn:
        """ConfigError: only subwords can be cut in several ways."""
        no_merges(dropout)

    def decode(self, ids: Iterable[int]) -> NoReturn:
        """DataError: there are no ids."""
        raise DataError("vectors have no ids, and no text that could be made of them")

    settled = decode
    tokens_of = decode

    def pieces(self, text: Source) -> list[str]:
        """What stands for each row in a picture: the number of its vector, from 1, and the end."""
        return [*map(str, range(1, len(as_vectors(text, self.vector_size)) + 1)), END]

    def to_json(self) -> dict[str, Any]:
        """What from_json reads."""
        numbers = {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}
        return {"format": FORMAT, "kind": "vectors", **numbers}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The vocabulary that to_json wrote; a DataError names the rule that a document breaks."""
        check_kind(document, "vectors")
        if set(document) != set(KEYS):
            raise DataError(f"the keys are {', '.join(document)}; they must be {', '.join(KEYS)}")
        for key in KEYS[2:]:
            numbers = document[key]
            if not isinstance(numbers, list) or any(type(number) not in (int, float) for number in numbers):
                raise DataError(f"{key!r} must be a list of numbers")
        return cls(document["mean"], document["deviation"])


class Spread:
    """Mean and deviation of each number over many vectors, in one pass (Chan et al. 1983, equation 2.1)."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.squares = np.zeros(0)

    def add(self, vectors: np.ndarray) -> None:  # (T, D)
        """Some vectors more."""
        if not len(vectors):
            return
        vectors = vectors.astype(np.float64)
        mean = vectors.mean(axis=0)
        squares = ((vectors - mean) ** 2).sum(axis=0)
        if not self.count:
            self.count, self.mean, self.squares = len(vectors), mean, squares
            return
        total, apart = self.count + len(vectors), mean - self.mean
        self.squares = self.squares + squares + apart**2 * (self.count * len(vectors) / total)
        self.mean, self.count = self.mean + apart * (len(vectors) / total), total

    def vocab(self) -> VectorVocab:
        """The vocabulary of such vectors; a number that is always the same keeps its size."""
        if not self.count:
            raise DataError("there are no vectors, so nothing is known of their width; give lines that are not blank")
        deviation = np.sqrt(self.squares / self.count)
        small = deviation <= 1e-6 * np.maximum(np.abs(self.mean), 1e-30)
        return VectorVocab(self.mean.tolist(), np.where(small, 1.0, deviation).tolist())


def is_blank(source: Source) -> bool:
    """Whether a line, or an array, holds nothing that a model could be asked."""
    return not source.strip() if isinstance(source, str) else not len(source)


def shown(source: Source, vocab: Vocabulary) -> str:
    """A source as people read it: of vectors, how many there are."""
    if isinstance(source, str) and not vocab.vector_size:
        return source
    return f"{len(vocab.pieces(source)) - 1} vectors"  # type: ignore[arg-type]


def longest_line(vocab: Vocabulary, usual: int) -> int:
    """How many bytes a line of sources may have."""
    return MAX_BYTES if vocab.vector_size else usual
