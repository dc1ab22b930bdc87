"""Text to ids and back: words, characters, or whatever a delimiter separates; and the files that keep vocabularies.

Every vocabulary knows its special ids and saves them: they are never implied. Subwords are in subwords.py. Knows
nothing of batches, models or embedding sizes.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self

from sequencing_np.bytestream import name_of
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.special import END, FORMAT, UNKNOWN, Special, check_token, content, lone_surrogate, parse, place
from sequencing_np.subwords import Subwords
from sequencing_np.text import atomic_write, read_lines

__all__ = [
    "LAYOUTS",
    "VOCABULARIES",
    "Special",
    "Vocab",
    "Vocabulary",
    "build_vocab",
    "load_vocab",
    "read_vocab",
    "save_vocab",
    "vocab_lines",
]

MAX_FILE_BYTES = 1 << 28  # other programs may write JSON in one line
COUNTED = re.compile(r"(.*)\t([0-9]{1,18})", re.DOTALL)


class Vocabulary(Protocol):
    """What a model asks of a vocabulary, whatever its tokens are."""

    special: Special
    tokens: list[str | None]  # by id, None at the special ids

    def __len__(self) -> int: ...

    def encode(self, text: str, bos: bool = False) -> list[int]: ...

    def decode(self, ids: Iterable[int]) -> str: ...

    def tokens_of(self, ids: Iterable[int]) -> list[str]: ...

    def pieces(self, text: str) -> list[str]: ...

    def to_json(self) -> dict[str, Any]: ...

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self: ...


class Vocab:
    """Tokens between delimiters; with the empty delimiter every character is a token.

    `tokens` are the ordinary tokens in the order of their ids; they fill the ids that `special` leaves free. `counts`,
    if known, tells for each of them how often it was seen.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        delimiter: str = " ",
        special: Special = Special(),
        counts: Sequence[int] | None = None,
    ) -> None:
        if not isinstance(delimiter, str) or "\n" in delimiter or lone_surrogate(delimiter):
            raise DataError(f"the delimiter is {delimiter!r}; it must be a text without line feed, or empty")
        self.delimiter, self.special = delimiter, special
        self.tokens = place(tokens, special)
        self.counts: list[int | None] | None = None  # by id, as tokens
        if counts is not None:
            if len(counts) != len(tokens):
                raise DataError(f"there are {len(counts)} counts for {len(tokens)} tokens; give one for each")
            rest = iter(counts)
            self.counts = [None if token is None else next(rest) for token in self.tokens]
        self._ids = {token: token_id for token_id, token in enumerate(self.tokens) if token is not None}

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str, bos: bool = False) -> list[int]:
        """Ids of a text, with EOS at the end. No text can produce a special id other than UNK."""
        get, unk = self._ids.get, self.special.unk
        ids = [get(token, unk) for token in self._split(text)]
        ids.append(self.special.eos)
        return [self.special.bos, *ids] if bos else ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids before the first EOS."""
        return self.delimiter.join(self.tokens_of(ids))

    def tokens_of(self, ids: Iterable[int]) -> list[str]:
        """The tokens of the ids before the first EOS, UNK as "<unk>"; PAD and BOS are left out."""
        return [self.tokens[token_id] or UNKNOWN for token_id in content(ids, self.special, len(self.tokens))]

    def pieces(self, text: str) -> list[str]:
        """The text as encode splits it: one piece for each id that encode returns, unknown ones as they stand."""
        return [*self._split(text), END]

    def _split(self, text: str) -> list[str]:
        """Delimiters at the ends and several in a row separate nothing: no token is empty."""
        if not self.delimiter:
            return list(text)
        return [token for token in text.split(self.delimiter) if token]

    def to_json(self) -> dict[str, Any]:
        """What from_json reads."""
        document: dict[str, Any] = {
            "format": FORMAT,
            "kind": "delimited",
            "delimiter": self.delimiter,
            "special": self.special._asdict(),
            "tokens": self.tokens,
        }
        return document if self.counts is None else {**document, "counts": self.counts}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The vocabulary that to_json wrote; a DataError names the rule that a document breaks."""
        ordinary, special = parse(document, "delimited", ("delimiter", "counts"))
        counts = document.get("counts")
        delimiter: Any = document.get("delimiter")  # checked by Vocab
        if counts is not None:
            size = len(document["tokens"])
            if not isinstance(counts, list) or len(counts) != size:
                raise DataError(f"'counts' must be a list of {size} numbers, one for each id")
            for token_id, count in enumerate(counts):
                if (count is None) != (token_id in special):
                    raise DataError(f"id {token_id}: the count is {count!r}; tokens have one, special ids null")
                if count is not None and (type(count) is not int or count < 0):
                    raise DataError(f"id {token_id}: the count is {count!r}; it must be a whole number, 0 or more")
            counts = [count for count in counts if count is not None]
        return cls(ordinary, delimiter, special, counts)


def build_vocab(
    lines: Iterable[str],
    delimiter: str = " ",
    min_count: int = 1,
    max_size: int | None = None,
    special: Special = Special(),
) -> Vocab:
    """The tokens of a text, the most frequent first, ties in the order of their code points.

    Tokens seen less than `min_count` times are left out, and the vocabulary has at most `max_size` ids, special ones
    included.
    """
    room = _room(max_size, special)
    if min_count < 1:
        raise ConfigError(f"min_count is {min_count}; it must be 1 or more")
    split = Vocab([], delimiter, Special())._split
    counter: Counter[str] = Counter()
    for line in lines:
        counter.update(split(line))
    if not counter:
        raise DataError("the text has no tokens, so it makes no vocabulary; give lines that are not empty")
    kept = [(token, count) for token, count in counter.items() if count >= min_count]
    if not kept:
        most = max(counter.values())
        raise DataError(f"no token is seen {min_count} times, the most frequent one {most} times; lower min_count")
    kept = sorted(kept, key=lambda row: (-row[1], row[0]))[:room]
    return Vocab([token for token, _ in kept], delimiter, special, [count for _, count in kept])


# Where the special ids lie in a vocabulary of n tokens. The last two are those of the original framework, which pads
# with EOS: that of its last version, and that of its README and its NumPy twin.
LAYOUTS: dict[str, Callable[[int], Special]] = {
    "sequencing": lambda n: Special(pad=0, unk=1, bos=2, eos=3),
    "head": lambda n: Special(pad=2, unk=0, bos=1, eos=2),
    "readme": lambda n: Special(pad=n + 2, unk=n, bos=n + 1, eos=n + 2),
}


def read_vocab(
    path: str | os.PathLike[str], delimiter: str = " ", layout: str = "sequencing", max_size: int | None = None
) -> Vocab:
    """A vocabulary from lines of `token` or `token<TAB>count`, in the order of the file.

    `layout` is a row of LAYOUTS and `max_size` caps the number of ids, special ones included.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"the vocabulary layout is {layout!r}; it can be {', '.join(LAYOUTS)}")
    name = name_of(path)
    first: dict[str, int] = {}
    counts: list[int | None] = []
    for number, line in enumerate(read_lines(path), start=1):
        token, count = line, None
        if "\t" in line and line != "\t":  # a tab alone is a token
            if not (found := COUNTED.fullmatch(line)):
                raise DataError(f"{name}:{number}: {line[:60]!r} is neither a token nor token<TAB>count")
            token, count = found[1], int(found[2])
        check_token(token, f"{name}:{number}")
        if first.setdefault(token, number) != number:
            raise DataError(f"{name}:{number}: the token {token!r} is a duplicate of line {first[token]}; remove one")
        counts.append(count)
        if (count is None) != (counts[0] is None):
            raise DataError(f"{name}:{number}: either every line has a count or none; this one differs from line 1")
    if not first:
        raise DataError(f"{name}: the file is empty; a vocabulary has one token on each line")
    room = _room(max_size, LAYOUTS[layout](0))
    tokens, known = list(first)[:room], [count for count in counts if count is not None][:room]
    return Vocab(tokens, delimiter, LAYOUTS[layout](len(tokens)), known or None)


def _room(max_size: int | None, special: Special) -> int | None:
    """How many ordinary tokens a vocabulary of at most `max_size` ids can hold; None if there is no limit."""
    held = len(set(special))
    if max_size is not None and max_size <= held:
        raise ConfigError(f"max_size is {max_size}; it must be larger than the {held} special ids, which it includes")
    return None if max_size is None else max_size - held


def vocab_lines(vocab: Vocab) -> Iterator[str]:
    """Lines that read_vocab reads: `token<TAB>count`, or `token` where counts are not known."""
    counts = vocab.counts or [None] * len(vocab)
    for token, count in zip(vocab.tokens, counts, strict=True):
        if token is not None:
            yield token if count is None else f"{token}\t{count}"


VOCABULARIES: dict[str, type[Vocabulary]] = {
    "delimited": Vocab,
    "subword": Subwords,
}


def save_vocab(vocab: Vocabulary, path: str | os.PathLike[str]) -> None:
    """Write a vocabulary as JSON, one token on each line."""
    with atomic_write(path) as file:
        file.write(json.dumps(vocab.to_json(), ensure_ascii=False, indent=1).encode() + b"\n")


def load_vocab(path: str | os.PathLike[str]) -> Vocabulary:
    """The vocabulary that save_vocab wrote; the kind in the file chooses the row of VOCABULARIES."""
    name = name_of(path)
    text = "\n".join(read_lines(path, max_bytes=MAX_FILE_BYTES))
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: no vocabulary, as it is not JSON ({error})") from None
    if not isinstance(document, dict):
        raise DataError(f"{name}: no vocabulary: the JSON is of type {type(document).__name__}, not an object")
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in VOCABULARIES:
        raise DataError(f"{name}: the kind of the vocabulary is {kind!r}; it can be {', '.join(VOCABULARIES)}")
    try:
        return VOCABULARIES[kind].from_json(document)
    except DataError as error:
        raise DataError(f"{name}: {error}; load a file as `save_vocab` wrote it") from None
