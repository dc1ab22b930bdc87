"""Text to ids and back: words, characters, or whatever a delimiter separates.

Every vocabulary knows its special ids and saves them: they are never implied. Knows nothing of files.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any, NoReturn, Self

from sequencing_np.errors import ConfigError, DataError
from sequencing_np.special import (
    END,
    FORMAT,
    UNKNOWN,
    Special,
    content,
    lone_surrogate,
    no_merges,
    parse,
    place,
    tag_pattern,
)


class Vocab:
    """Tokens between delimiters; with the empty delimiter every character is a token.

    `tokens` are the ordinary tokens in the order of their ids; they fill the ids that `special` leaves free. `counts`,
    if known, tells for each of them how often it was seen. `tags` are those of the tokens that are found first,
    wherever they stand in a text, as though delimiters stood around them.
    """

    factor_sizes: tuple[int, ...] = ()
    columns: int = 1
    reversed: bool = False
    factor_separator: str = ""
    vector_size: int = 0

    def __init__(
        self,
        tokens: Sequence[str],
        delimiter: str = " ",
        special: Special = Special(),
        counts: Sequence[int] | None = None,
        tags: Sequence[str] = (),
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
        self._pattern, self.tags = tag_pattern(tags, delimiter), tuple(tags)
        for tag in tags:
            if tag not in self._ids:
                raise DataError(f"the tag {tag!r} has no id; every tag must be one of the tokens")

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str, bos: bool = False) -> list[int]:
        """Ids of a text, with EOS at the end. No text can produce a special id other than UNK."""
        get, unk = self._ids.get, self.special.unk
        ids = [get(token, unk) for token in self._split(text)]
        ids.append(self.special.eos)
        return [self.special.bos, *ids] if bos else ids

    def sample(self, text: str, dropout: float, generator: Random) -> NoReturn:
        """ConfigError: only subwords can be cut in several ways."""
        no_merges(dropout)

    def id_of(self, token: str) -> int:
        """The id of one token, UNK where it has none."""
        return self._ids.get(token, self.special.unk)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids before the first EOS."""
        return self.delimiter.join(self.tokens_of(ids))

    def settled(self, ids: Iterable[int]) -> str:
        """How the text begins whatever ids follow."""
        return self.decode(ids)

    def tokens_of(self, ids: Iterable[int]) -> list[str]:
        """The tokens of the ids before the first EOS, UNK as "<unk>"; PAD and BOS are left out."""
        return [self.tokens[token_id] or UNKNOWN for token_id in content(ids, self.special, len(self.tokens))]

    def pieces(self, text: str) -> list[str]:
        """The text as encode splits it: one piece for each id that encode returns, unknown ones as they stand."""
        return [*self._split(text), END]

    def _split(self, text: str) -> list[str]:
        """Tags, and what the delimiter separates between them."""
        if self._pattern is None:
            return self._between(text)
        tokens: list[str] = []
        for position, part in enumerate(self._pattern.split(text)):
            tokens += [part] if position % 2 else self._between(part)
        return tokens

    def _between(self, text: str) -> list[str]:
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
        if self.tags:
            document["tags"] = list(self.tags)
        return document if self.counts is None else {**document, "counts": self.counts}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The vocabulary that to_json wrote; a DataError names the rule that a document breaks."""
        ordinary, special, tags = parse(document, "delimited", ("delimiter", "counts"))
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
        return cls(ordinary, delimiter, special, counts, tags)


def build_vocab(
    lines: Iterable[str],
    delimiter: str = " ",
    min_count: int = 1,
    max_size: int | None = None,
    special: Special = Special(),
    tags: Sequence[str] = (),
) -> Vocab:
    """The tags, then the tokens of a text, the most frequent first, ties in the order of their code points.

    Tokens seen less than `min_count` times are left out, and the vocabulary has at most `max_size` ids, special ones
    and tags included. Tags are in it whether the text has them or not.
    """
    room = room_for(max_size, special, tags)
    if min_count < 1:
        raise ConfigError(f"min_count is {min_count}; it must be 1 or more")
    split = Vocab(tags, delimiter, Special(), tags=tags)._split
    counter: Counter[str] = Counter()
    for line in lines:
        counter.update(split(line))
    tag_counts = [counter.pop(tag, 0) for tag in tags]
    if not counter:
        raise DataError("the text has no tokens, so it makes no vocabulary; give lines that are not empty")
    kept = [(token, count) for token, count in counter.items() if count >= min_count]
    if not kept:
        most = max(counter.values())
        raise DataError(f"no token is seen {min_count} times, the most frequent one {most} times; lower min_count")
    kept = sorted(kept, key=lambda row: (-row[1], row[0]))[:room]
    tokens, counts = [*tags, *(token for token, _ in kept)], [*tag_counts, *(count for _, count in kept)]
    return Vocab(tokens, delimiter, special, counts, tags)


def room_for(max_size: int | None, special: Special, tags: Sequence[str]) -> int | None:
    """How many tokens besides tags a vocabulary of at most `max_size` ids can hold; None if there is no limit."""
    held = len(set(special)) + len(tags)
    if max_size is not None and max_size <= held:
        what = f"{held} special ids and tags" if tags else f"{held} special ids"
        raise ConfigError(f"max_size is {max_size}; it must be larger than the {what}, which it includes")
    return None if max_size is None else max_size - held
