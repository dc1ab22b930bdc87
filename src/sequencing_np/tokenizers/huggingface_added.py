"""Added tokens of a tokenizer.json: found in a text before anything is cut, those that no text makes left alone."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from sequencing_np.errors import DataError
from sequencing_np.special import check_token
from sequencing_np.tokenizers.character_classes import SPACES, word_body
from sequencing_np.tokenizers.documents import flag, only_keys

KEYS = ("id", "content", "single_word", "lstrip", "rstrip", "normalized", "special")


class AddedToken(NamedTuple):
    """A token beside those of the model, or one of them that is found first."""

    id: int
    content: str
    single_word: bool = False  # only where no letter or digit stands next to it
    lstrip: bool = False  # with all white space in front
    rstrip: bool = False  # with all white space behind
    normalized: bool = False  # looked for in the normalised text
    special: bool = False  # no text makes it


def read_added(rows: Any) -> list[AddedToken]:
    """The added tokens of a document."""
    if not isinstance(rows, list):
        raise DataError(f"'added_tokens' is of type {type(rows).__name__}; it must be a list")
    found: list[AddedToken] = []
    for row in rows:
        if not isinstance(row, dict):
            raise DataError(f"an added token is {str(row)[:60]!r}; it must be an object")
        only_keys(row, KEYS, "an added token")
        content = check_token(row.get("content"), "an added token")
        if type(row.get("id")) is not int:
            raise DataError(f"the added token {content!r} has the id {row.get('id')!r}; it must be a whole number")
        special = flag(row, "special", False)
        word, left, right = (flag(row, name, False) for name in KEYS[2:5])
        normalized = flag(row, "normalized", not special)
        found.append(AddedToken(row["id"], content, word, left, right, normalized, special))
    return found


class Found(NamedTuple):
    """A part of a text: an added token, or what stands between two."""

    text: str
    id: int | None
    first: bool  # whether the text begins with it


class AddedTokens:
    """Finds some of the tokens, the longest that begins first."""

    def __init__(self, tokens: Iterable[AddedToken], text_of: Callable[[AddedToken], str]) -> None:
        self._by_text: Mapping[str, AddedToken] = {text_of(token): token for token in tokens if text_of(token)}
        longest = sorted(self._by_text, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest))) if longest else None
        bounded = any(token.single_word for token in self._by_text.values())
        self._letter = re.compile(f"[{word_body()}]") if bounded else None
        self._spaces = re.compile(f"[{SPACES}]*")

    def split(self, text: str, first: bool) -> list[Found]:
        """The parts of a text, none of them empty."""
        if self._pattern is None:
            return [Found(text, None, first)] if text else []
        found: list[Found] = []
        place = 0
        for match in self._pattern.finditer(text):
            token = self._by_text[match[0]]
            begin, end = match.span()
            if token.single_word and self._touches(text, begin, end):
                continue
            if token.lstrip:
                while begin > place and self._spaces.fullmatch(text, begin - 1, begin):
                    begin -= 1
            if token.rstrip:
                end = self._spaces.match(text, end).end()  # type: ignore[union-attr]  # it may match nothing
            begin = max(begin, place)
            if place < begin:
                found.append(Found(text[place:begin], None, first and place == 0))
            found.append(Found(match[0], token.id, first and begin == 0))
            place = max(place, end)
        if place < len(text):
            found.append(Found(text[place:], None, first and place == 0))
        return found

    def _touches(self, text: str, begin: int, end: int) -> bool:
        """Whether a letter or digit stands next to a place."""
        letter = self._letter
        if letter is None:
            return False
        before = begin > 0 and letter.match(text, begin - 1) is not None
        return before or letter.match(text, end) is not None
