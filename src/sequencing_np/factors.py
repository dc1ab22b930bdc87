"""Words with factors, `der|DET|masc`, to ids and back (Sennrich and Haddow 2016, section 3).

A token's id is one number, so that nothing on the way to the model has to know of factors. It is a number of mixed
radix, word + words * (first + first_size * (second + ...)): the word is what remains of a division by the number of
words. Of each factor, 0 stands for none (special ids and tags have no factors) and 1 for a value that is not known. So
special ids are what they are without factors, and an unknown word keeps its factors. Knows nothing of tables of
vectors: those are in layers.py.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import prod
from random import Random
from typing import Any, NoReturn, Self

from sequencing_np.delimited import Vocab
from sequencing_np.errors import DataError
from sequencing_np.special import END, FORMAT, UNKNOWN, check_kind, check_token, content, no_merges

BEFORE = ("", UNKNOWN)  # the first two values of every factor: none, and one that is not known
UNSEEN = 1
LARGEST = 1 << 31  # how many ids 32 bits can tell apart, one of them being the sign
KEYS = ("format", "kind", "separator", "words", "factors")


def parts_of(token: str, factors: int, separator: str) -> list[str]:
    """The word and its factors; DataError where there are more, fewer or empty ones."""
    parts = token.split(separator)
    if len(parts) != factors + 1 or "" in parts:
        met = "an empty part" if len(parts) == factors + 1 else f"{len(parts) - 1} of {factors} factors"
        form = separator.join(["word", *(f"factor{number}" for number in range(1, factors + 1))])
        raise DataError(f"the token {token!r} has {met}; write every token as {form}, without empty parts")
    return parts


class FactoredVocab:
    """A vocabulary of words, and the values of each factor. Its length is that of the words; its ids go beyond it."""

    columns: int = 1
    reversed: bool = False
    vector_size: int = 0

    def __init__(self, words: Vocab, factors: Sequence[Sequence[str]], separator: str = "|") -> None:
        check_separator(separator, words.delimiter)
        self.words, self.separator = words, separator
        self.delimiter, self.factor_separator = words.delimiter, separator
        self.special, self.tokens, self.tags = words.special, words.tokens, words.tags
        self._values: list[list[str]] = []
        for number, values in enumerate(factors, start=1):
            for position, value in enumerate(values):
                check_token(value, f"factor {number}, value {position + 1}")
                if separator in value or words.delimiter in value or value in values[:position]:
                    raise DataError(f"factor {number}: the value {value!r} stands twice, or holds what separates")
            self._values.append([*BEFORE, *values])
        if not self._values:
            raise DataError("there are no factors; give the values of each, or use the vocabulary of words alone")
        self._numbers = [
            {value: number for number, value in enumerate(values) if number >= len(BEFORE)} for values in self._values
        ]
        self.factor_sizes: tuple[int, ...] = tuple(map(len, self._values))
        self._count = len(words) * prod(self.factor_sizes)
        if self._count > LARGEST:
            raise DataError(
                f"{len(words)} words with factors of {', '.join(map(str, self.factor_sizes))} values make "
                f"{self._count} ids, more than {LARGEST}; have fewer words (vocab.source.size) or fewer factors"
            )

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, text: str, bos: bool = False) -> list[int]:
        """Ids of a text, with EOS at the end. DataError names a token that has not all its factors."""
        ids = [self.special.bos] if bos else []
        ids += [self.words.id_of(token) if token in self.tags else self._id_of(token) for token in self._split(text)]
        ids.append(self.special.eos)
        return ids

    def sample(self, text: str, dropout: float, generator: Random) -> NoReturn:
        """ConfigError: only subwords can be cut in several ways."""
        no_merges(dropout)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids before the first EOS."""
        return self.words.delimiter.join(self.tokens_of(ids))

    def settled(self, ids: Iterable[int]) -> str:
        """How the text begins whatever ids follow."""
        return self.decode(ids)

    def tokens_of(self, ids: Iterable[int]) -> list[str]:
        """The tokens of the ids before the first EOS, what is unknown as "<unk>"; PAD and BOS are left out."""
        tokens = []
        for token_id in content(ids, self.special, self._count):
            factors, word = divmod(token_id, len(self.words))
            shown = [self.tokens[word] or UNKNOWN]
            for values in self._values if factors else ():
                factors, number = divmod(factors, len(values))
                shown.append(values[number])
            tokens.append(self.separator.join(shown))
        return tokens

    def pieces(self, text: str) -> list[str]:
        """The text as encode splits it: one piece for each id that encode returns, unknown ones as they stand."""
        return [*self._split(text), END]

    def _split(self, text: str) -> list[str]:
        return self.words.pieces(text)[:-1]

    def _id_of(self, token: str) -> int:
        """The id of a word with its factors."""
        word, *factors = parts_of(token, len(self._values), self.separator)
        token_id, unit = self.words.id_of(word), len(self.words)
        for numbers, size, value in zip(self._numbers, self.factor_sizes, factors, strict=True):
            token_id += unit * numbers.get(value, UNSEEN)
            unit *= size
        return token_id

    def to_json(self) -> dict[str, Any]:
        """What from_json reads."""
        return {
            "format": FORMAT,
            "kind": "factored",
            "separator": self.separator,
            "words": self.words.to_json(),
            "factors": [values[len(BEFORE) :] for values in self._values],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The vocabulary that to_json wrote; a DataError names the rule that a document breaks."""
        check_kind(document, "factored")
        if set(document) != set(KEYS):
            raise DataError(f"the keys are {', '.join(document)}; they must be {', '.join(KEYS)}")
        words, factors = document["words"], document["factors"]
        if not isinstance(words, dict):
            raise DataError(f"'words' is of type {type(words).__name__}; it must be a vocabulary")
        if not isinstance(factors, list) or not all(isinstance(values, list) for values in factors):
            raise DataError("'factors' must be a list of lists, the values of each factor")
        return cls(Vocab.from_json(words), factors, document["separator"])


def check_separator(separator: str, delimiter: str) -> None:
    """DataError where factors could not be told from words, or words from each other."""
    if not delimiter:
        raise DataError("characters have no factors; give words, or what a delimiter separates")
    check_token(separator, "the factor separator")
    if set(separator) & set(delimiter) or any(character.isspace() for character in separator):
        raise DataError(
            f"the factor separator is {separator!r}, the delimiter {delimiter!r}; give a separator without white space "
            "and without a character of the delimiter"
        )


class FactorReader:
    """Takes text with factors apart: gives the words, and counts the values of each factor."""

    def __init__(self, factors: int, separator: str = "|", delimiter: str = " ", tags: Sequence[str] = ()) -> None:
        check_separator(separator, delimiter)
        self.separator, self.tags = separator, tags
        self.counters: list[Counter[str]] = [Counter() for _ in range(factors)]
        self._splitter = Vocab(tags, delimiter, tags=tags)

    def words_of(self, line: str) -> str:
        """The line without its factors."""
        kept = []
        for token in self._splitter.pieces(line)[:-1]:
            if token not in self.tags:
                token, *factors = parts_of(token, len(self.counters), self.separator)
                for counter, value in zip(self.counters, factors, strict=True):
                    counter[value] += 1
            kept.append(token)
        return self._splitter.delimiter.join(kept)

    def values(self) -> list[list[str]]:
        """The values of each factor so far, the most frequent first, ties in the order of their code points."""
        rows = (sorted(counter.items(), key=lambda row: (-row[1], row[0])) for counter in self.counters)
        return [[value for value, _ in row] for row in rows]
