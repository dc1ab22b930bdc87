"""What a vocabulary is; the four ids that no text can produce, tags that no rule can split, and what is done with them.

Shared by all vocabularies. Knows nothing of how the text between two tags is split.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple, NoReturn, Protocol, Self

from sequencing_np.errors import ConfigError, DataError

FORMAT = 1
UNKNOWN = "<unk>"  # how the unknown token is shown; the text "<unk>" is ordinary text
END = "</s>"  # how the end of a sentence is shown in pictures; the text "</s>" is ordinary text
SHOWN = ("<pad>", UNKNOWN, "<s>", END)  # how special ids are called here and elsewhere


class Special(NamedTuple):
    """Padding, unknown, begin and end of sentence. Two of them differ, except that `pad` may be `eos`."""

    pad: int = 0
    unk: int = 1
    bos: int = 2
    eos: int = 3


class Vocabulary(Protocol):
    """What a model asks of a vocabulary, whatever its tokens are."""

    special: Special
    tokens: list[str | None]  # by id, None at the special ids
    tags: tuple[str, ...]  # those of the tokens that are found first, wherever they stand
    factor_sizes: tuple[int, ...]  # values of each factor; then ids are above the number of tokens, see factors.py
    columns: int  # how many texts a line holds, with tabs between them, see columns.py
    reversed: bool  # whether the ids of a text begin with its last token, see reversal.py
    factor_separator: str  # what stands between a word and its factors; empty where there are none

    @property
    def delimiter(self) -> str | None: ...  # what stands between two tokens; None where they are pieces of words

    vector_size: int  # how many numbers a vector of the source has, see vectors.py; 0: its tokens have ids

    def __len__(self) -> int: ...

    def encode(self, text: str, bos: bool = False) -> list[int]: ...

    def sample(self, text: str, dropout: float, generator: Random) -> list[int]: ...

    def decode(self, ids: Iterable[int]) -> str: ...

    def settled(self, ids: Iterable[int]) -> str: ...

    def tokens_of(self, ids: Iterable[int]) -> list[str]: ...

    def pieces(self, text: str) -> list[str]: ...

    def to_json(self) -> dict[str, Any]: ...

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self: ...


def check_special(special: Special, size: int) -> None:
    """Special ids lie within a vocabulary of `size` ids and are told apart."""
    for name, token_id in special._asdict().items():
        if type(token_id) is not int or not 0 <= token_id < size:
            raise DataError(f"the special id {name} is {token_id!r}, outside the {size} ids of the vocabulary")
    for name in ("unk", "bos", "eos"):
        for other, token_id in special._asdict().items():
            if other != name and token_id == getattr(special, name) and {name, other} != {"pad", "eos"}:
                raise DataError(f"the special ids {other} and {name} are both {token_id}; only pad may be eos")


def no_merges(dropout: float) -> NoReturn:
    """What a vocabulary says whose tokens are not merged from smaller ones."""
    raise ConfigError(f"dropout {dropout}: leaves out merges of subwords, and this vocabulary has none; leave it out")


def check_token(token: object, where: str) -> str:
    """A token is text, not empty, and can be written as UTF-8."""
    if not isinstance(token, str):
        raise DataError(f"{where}: the token {token!r} is no string")
    if not token:
        raise DataError(f"{where}: the token is empty")
    if (surrogate := lone_surrogate(token)) is not None:
        raise DataError(f"{where}: the token {token!r} holds {surrogate}, half a surrogate pair, which is no character")
    return token


def lone_surrogate(text: str) -> str | None:
    """The first half of a surrogate pair in a text, as U+XXXX: UTF-8 cannot write it."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"U+{ord(text[error.start]):04X}"
    return None


def tag_pattern(tags: Sequence[str], delimiter: str = "") -> re.Pattern[str] | None:
    """What splits a text into [text, tag, text, tag, …, text]; at one place the longest tag is found. None: no tags.

    A tag has no character of the delimiter: wherever tokens are joined, no new tag appears.
    """
    for position, tag in enumerate(tags):
        check_token(tag, f"tag {position + 1}")
        if any(character.isspace() for character in tag):
            raise DataError(f"the tag {tag!r} holds white space; write it without, like <2de>")
        if tag in SHOWN:
            raise DataError(f"the tag {tag!r} is how a special id is shown; choose another text")
        if set(tag) & set(delimiter):
            raise DataError(f"the tag {tag!r} holds a character of the delimiter {delimiter!r}; choose another text")
        if tag in tags[:position]:
            raise DataError(f"the tag {tag!r} stands twice among the tags; remove one")
    longest_first = sorted(tags, key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first))})") if tags else None


def place(ordinary: Sequence[str], special: Special) -> list[str | None]:
    """Tokens by id: the ordinary ones in their order, None at the special ids."""
    size = len(ordinary) + len(set(special))
    check_special(special, size)
    held = set(special)
    rest = iter(ordinary)
    tokens = [None if token_id in held else next(rest) for token_id in range(size)]
    if are_tokens(ordinary):
        return tokens
    first: dict[str, int] = {}
    for token_id, token in enumerate(tokens):
        if token_id not in held:
            earlier = first.setdefault(check_token(token, f"id {token_id}"), token_id)
            if earlier != token_id:
                raise DataError(f"id {token_id}: the token {token!r} is a duplicate, it has id {earlier} already")
    return tokens


def are_tokens(texts: Sequence[str]) -> bool:
    """Whether check_token takes them all and they differ, asked of all at once: a vocabulary has many."""
    try:
        "".join(texts).encode()
        return "" not in (different := set(texts)) and len(different) == len(texts)
    except (TypeError, UnicodeEncodeError):
        return False


def content(ids: Iterable[int], special: Special, size: int) -> Iterator[int]:
    """The ids up to the first EOS, without PAD and BOS."""
    for token_id in ids:
        if token_id == special.eos:
            return
        if token_id in (special.pad, special.bos):
            continue
        if not 0 <= token_id < size:
            raise DataError(f"the id {token_id} is outside the {size} ids of the vocabulary; is it that of this model?")
        yield token_id


def check_kind(document: Mapping[str, Any], kind: str) -> None:
    """DataError where a vocabulary is of another format or kind."""
    if document.get("format") != FORMAT or type(document["format"]) is not int:
        raise DataError(f"the format is {document.get('format')!r}, this version reads format {FORMAT}")
    if document.get("kind") != kind:
        raise DataError(f"the kind is {document.get('kind')!r}, not {kind!r}")


class Parsed(NamedTuple):
    """What every vocabulary file holds."""

    ordinary: list[str]
    special: Special
    tags: list[Any]  # checked by tag_pattern


def parse(document: Mapping[str, Any], kind: str, keys: Iterable[str]) -> Parsed:
    """Check what every vocabulary file holds. `keys` are those that this kind has besides, all of which may lack."""
    check_kind(document, kind)
    known = ("format", "kind", "special", "tokens", "tags", *keys)
    if unknown := sorted(set(document) - set(known)):
        raise DataError(f"unknown key {unknown[0]!r}; the keys of a vocabulary are {', '.join(known)}")
    ids, tokens = document.get("special"), document.get("tokens")
    if not isinstance(ids, dict) or set(ids) != set(Special._fields):
        raise DataError(f"'special' is {ids!r}; it must give the ids of {', '.join(Special._fields)} and no others")
    if not isinstance(tokens, list):
        raise DataError(f"'tokens' is of type {type(tokens).__name__}; it must be the list of all tokens by id")
    if not isinstance(tags := document.get("tags", []), list):
        raise DataError(f"'tags' is of type {type(tags).__name__}; it must be the list of all tags")
    special = Special(**ids)
    check_special(special, len(tokens))
    empty = {token_id for token_id, token in enumerate(tokens) if token is None}
    for token_id in sorted(empty.symmetric_difference(special)):
        if token_id in empty:
            raise DataError(f"id {token_id}: a gap; only special ids ({', '.join(map(str, special))}) have no token")
        raise DataError(f"id {token_id}: the token {tokens[token_id]!r} stands at a special id, where null must stand")
    return Parsed([token for token in tokens if token is not None], special, tags)
