"""What our vocabularies of subwords share: the ids of pieces, of the 256 bytes and of tags, and the way back.

A space belongs to the word after it and is shown as U+2581. Knows nothing of how a word is cut into pieces.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from sequencing_np.errors import DataError
from sequencing_np.special import UNKNOWN, Special, content, lone_surrogate, place, tag_pattern

SPACE = "\u2581"
BYTES = {f"<0x{byte:02X}>": byte for byte in range(256)}


class Part(NamedTuple):
    """What stands before, between or after the tags of a text."""

    tag: int | None  # the id of the tag in front of it
    stuck: str  # what follows the tag without a space; empty where no tag stands in front
    words: list[str]  # each of them has a space in front, which is left out here


class PieceTable:
    """Pieces and their ids. `tokens` are the ordinary ones in the order of their ids, the 256 bytes among them.

    `tags` are those of the tokens that are found first, wherever they stand in a text; nothing is joined with them.
    """

    def __init__(self, tokens: Sequence[str], special: Special, tags: Sequence[str]) -> None:
        self.special = special
        self.tokens = place(tokens, special)
        self.pattern, self.tags = tag_pattern(tags, SPACE), tuple(tags)
        self.ids: dict[str, int] = {}  # by the text of a piece, with a space where the token has U+2581
        apart: dict[str, int] = dict.fromkeys([*BYTES, *tags], -1)
        for token_id, token in enumerate(self.tokens):
            if token is None:
                continue
            if token in apart:
                apart[token] = token_id
                continue
            if " " in token or token.rfind(SPACE) > 0:
                raise DataError(f"id {token_id}: the token {token!r} holds a space that is not U+2581 at its start")
            self.ids[token.replace(SPACE, " ")] = token_id
        self.byte_ids = [apart.pop(token) for token in BYTES]
        if -1 in self.byte_ids:
            missing = min(token for token, byte in BYTES.items() if self.byte_ids[byte] < 0)
            raise DataError(f"the byte token {missing} is missing; all 256 from <0x00> to <0xFF> must be there")
        self.tag_ids = {tag: token_id for tag, token_id in apart.items() if token_id >= 0}
        for tag in self.tags:
            if tag not in self.tag_ids:
                raise DataError(f"the tag {tag!r} has no id of its own; it must be one of the tokens, and no byte")

    def parts(self, text: str) -> Iterator[Part]:
        """A text at its tags and spaces. An empty text has no words, else one more than it has spaces."""
        head, *rest = self.pattern.split(text) if self.pattern else [text]
        yield Part(None, "", head.split(" ") if head else [])
        for tag, part in zip(rest[::2], rest[1::2], strict=True):
            stuck, *words = part.split(" ")
            yield Part(self.tag_ids[tag], stuck, words)

    def cut(self, text: str, spell: Callable[[str], Sequence[int]]) -> list[int]:
        """The ids of a text: tags have their own, each word, the space before it included, those that `spell` gives."""
        ids: list[int] = []
        for tag, stuck, words in self.parts(text):
            if tag is not None:
                ids.append(tag)
                ids += spell(stuck)
            for word in words:
                ids += spell(" " + word)
        ids.append(self.special.eos)
        return ids

    def ids_of(self, pieces: Iterable[str]) -> list[int]:
        """The ids of what a word was cut into; a piece without an id becomes its bytes."""
        ids: list[int] = []
        for piece in pieces:
            if piece in self.ids:
                ids.append(self.ids[piece])
            else:
                ids += [self.byte_ids[byte] for byte in piece.encode()]
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids before the first EOS; bytes that are no UTF-8 become U+FFFD."""
        pieces = [self.bytes_of(self.tokens[token_id]) for token_id in content(ids, self.special, len(self.tokens))]
        return b"".join(pieces).decode("utf-8", "replace").removeprefix(" ")

    def bytes_of(self, token: str | None) -> bytes:
        """What a token stands for in a text; None is UNK."""
        if token is None:
            return UNKNOWN.encode()
        if token in BYTES:
            return bytes([BYTES[token]])
        return (token if token in self.tag_ids else token.replace(SPACE, " ")).encode()

    def settled(self, ids: Iterable[int]) -> str:
        """How the text begins whatever ids follow."""
        return self.decode(ids).rstrip("\ufffd")  # they may become a character

    def tokens_of(self, ids: Iterable[int]) -> list[str]:
        """The tokens of the ids before the first EOS, UNK as "<unk>"; PAD and BOS are left out."""
        return [self.tokens[token_id] or UNKNOWN for token_id in content(ids, self.special, len(self.tokens))]


def check_text(text: str) -> None:
    """DataError where a text holds what UTF-8 cannot write."""
    if (surrogate := lone_surrogate(text)) is not None:
        raise DataError(f"the text {text[:40]!r} holds {surrogate}, half a surrogate pair, which is no character")
