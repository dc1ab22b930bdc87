"""Text to subword ids and back: byte-pair encoding (Sennrich et al. 2016) as SentencePiece applies it.

A space belongs to the word after it and is shown as U+2581; the text gets one in front, unless a tag stands there, and
what follows a tag begins a word only where it begins with a space. Characters without a token of their own become their
UTF-8 bytes, so that every text comes back as it was. Knows nothing of training: the tokens and the ranks of their
merges come from sequencing.data.subword_training.
"""

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple, Self

from sequencing_np.errors import DataError
from sequencing_np.special import END, FORMAT, UNKNOWN, Special, content, lone_surrogate, parse, place, tag_pattern
from sequencing_np.subword_merges import Drops, merge, merge_some

SPACE = "\u2581"
BYTES = {f"<0x{byte:02X}>": byte for byte in range(256)}
CACHED_WORDS = 1 << 17
CACHED_LENGTH = 64


class Spelt(NamedTuple):
    """A word of which no merge is dropped."""

    ids: Sequence[int]
    merges: int


class Subwords:
    """Byte-pair tokens. `tokens` are the ordinary ones in the order of their ids, the 256 bytes among them.

    `ranks` tells for each token of several characters how early it is merged, small before large, and is None for
    bytes and characters; without it, tokens are merged in the order of their ids. U+2581 in a text is no space: it has
    no token and becomes bytes (SentencePiece would bring it back as a space). `tags` are those of the tokens that are
    found first, wherever they stand in a text; nothing is merged with them, and their rank is None.
    """

    factor_sizes: tuple[int, ...] = ()
    columns: int = 1

    def __init__(
        self,
        tokens: Sequence[str],
        ranks: Sequence[int | None] | None = None,
        special: Special = Special(),
        tags: Sequence[str] = (),
    ) -> None:
        self.special = special
        self.tokens = place(tokens, special)
        self._pattern, self.tags = tag_pattern(tags, SPACE), tuple(tags)
        self._tag_ids: dict[str, int] = {}
        given = iter(range(len(tokens)) if ranks is None else _checked(tokens, ranks, tags))
        self._ids: dict[str, int] = {}
        self._ranks: dict[str, int] = {}
        self._byte_ids = [0] * 256
        self._bytes = [b""] * len(self.tokens)
        self._bytes[special.unk] = UNKNOWN.encode()
        missing = set(BYTES)
        for token_id, token in enumerate(self.tokens):
            if token is None:
                continue
            rank = next(given)
            if token in BYTES:
                missing.remove(token)
                self._byte_ids[BYTES[token]] = token_id
                self._bytes[token_id] = bytes([BYTES[token]])
                continue
            if token in tags:
                self._tag_ids[token], self._bytes[token_id] = token_id, token.encode()
                continue
            if " " in token or SPACE in token[1:]:
                raise DataError(f"id {token_id}: the token {token!r} holds a space that is not U+2581 at its start")
            text = token.replace(SPACE, " ")
            self._ids[text] = token_id
            self._bytes[token_id] = text.encode()
            if rank is not None and len(text) > 1:
                self._ranks[text] = rank
        if missing:
            raise DataError(f"the byte token {min(missing)} is missing; all 256 from <0x00> to <0xFF> must be there")
        for tag in tags:
            if tag not in self._tag_ids:
                raise DataError(f"the tag {tag!r} has no id of its own; it must be one of the tokens, and no byte")
        self._cache: dict[str, tuple[int, ...]] = {}  # forgotten when full; what is in it never changes an answer
        self._spelt: dict[str, Spelt] = {}  # the same for `sample`

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str, bos: bool = False) -> list[int]:
        """Ids of a text, with EOS at the end. No text can produce a special id."""
        ids = [self.special.bos] if bos else []
        known = self._cache.get
        head, *rest = self._pattern.split(text) if self._pattern else [text]
        for word in head.split(" ") if head else ():  # no merge crosses the start of a word
            ids += known(word) or self._learn(word)
        for position, part in enumerate(rest):
            if position % 2 == 0:
                ids.append(self._tag_ids[part])
                continue
            stuck, *words = part.split(" ")  # the first follows its tag without a space
            ids += self._spell(stuck)
            for word in words:
                ids += known(word) or self._learn(word)
        ids.append(self.special.eos)
        return ids

    def sample(self, text: str, dropout: float, generator: Random) -> list[int]:
        """Ids of a text with EOS at the end, as `encode` gives them where no merge is dropped; `decode` gives it back.

        Whenever a merge could be made, it is dropped with this probability (BPE-dropout: Provilkov et al. 2020).
        """
        drops = Drops(dropout, generator)
        ids: list[int] = []
        head, *rest = self._pattern.split(text) if self._pattern else [text]
        for word in head.split(" ") if head else ():
            ids += self._sampled(" " + word, drops)
        for position, part in enumerate(rest):
            if position % 2 == 0:
                ids.append(self._tag_ids[part])
                continue
            stuck, *words = part.split(" ")
            ids += self._sampled(stuck, drops)
            for word in words:
                ids += self._sampled(" " + word, drops)
        ids.append(self.special.eos)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids before the first EOS; bytes that are no UTF-8 become U+FFFD."""
        pieces = [self._bytes[token_id] for token_id in content(ids, self.special, len(self.tokens))]
        return b"".join(pieces).decode("utf-8", "replace").removeprefix(" ")

    def tokens_of(self, ids: Iterable[int]) -> list[str]:
        """The tokens of the ids before the first EOS, UNK as "<unk>"; PAD and BOS are left out."""
        return [self.tokens[token_id] or UNKNOWN for token_id in content(ids, self.special, len(self.tokens))]

    def pieces(self, text: str) -> list[str]:
        """The text as encode splits it: one piece for each id that encode returns."""
        return [*self.tokens_of(self.encode(text)), END]

    def _learn(self, word: str) -> Sequence[int]:
        """The ids of a word and the space before it, kept for the next time."""
        ids = self._spell(" " + word)
        if len(word) <= CACHED_LENGTH:
            if len(self._cache) >= CACHED_WORDS:
                self._cache.clear()
            self._cache[word] = tuple(ids)
        return ids

    def _sampled(self, word: str, drops: Drops) -> Sequence[int]:
        """The ids of a word as it stands, merges dropped."""
        spelt = self._spelt.get(word)
        if spelt is None:
            self._check(word)
            parts = merge(word, self._ranks)
            spelt = Spelt(self._ids_of(parts), len(word) - len(parts))
            if len(word) <= CACHED_LENGTH:
                if len(self._spelt) >= CACHED_WORDS:
                    self._spelt.clear()
                self._spelt[word] = spelt
        if drops.quiet < spelt.merges:
            return self._ids_of(merge_some(word, self._ranks, drops))
        drops.quiet -= spelt.merges
        return spelt.ids

    def _spell(self, word: str) -> list[int]:
        """The ids of a word as it stands."""
        self._check(word)
        return self._ids_of(merge(word, self._ranks))

    def _check(self, word: str) -> None:
        if (surrogate := lone_surrogate(word)) is not None:
            raise DataError(f"the text {word[:40]!r} holds {surrogate}, half a surrogate pair, which is no character")

    def _ids_of(self, parts: Iterable[str]) -> list[int]:
        """The ids of what a word was merged to."""
        ids: list[int] = []
        for part in parts:
            if part in self._ids:
                ids.append(self._ids[part])
            else:
                ids += [self._byte_ids[byte] for byte in part.encode()]
        return ids

    def to_json(self) -> dict[str, Any]:
        """What from_json reads."""
        ranks = [None if token is None else self._ranks.get(token.replace(SPACE, " ")) for token in self.tokens]
        document = {
            "format": FORMAT,
            "kind": "subword",
            "special": self.special._asdict(),
            "tokens": self.tokens,
            "ranks": ranks,
        }
        return {**document, "tags": list(self.tags)} if self.tags else document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The vocabulary that to_json wrote; a DataError names the rule that a document breaks."""
        ordinary, special, tags = parse(document, "subword", ("ranks",))
        ranks, tokens = document.get("ranks"), document["tokens"]
        if not isinstance(ranks, list) or len(ranks) != len(tokens):
            raise DataError(f"'ranks' must be a list of {len(tokens)} entries, one for each id")
        for token_id in special:
            if ranks[token_id] is not None:
                raise DataError(f"id {token_id}: the rank is {ranks[token_id]!r}; a special id has null")
        ranks = [rank for rank, token in zip(ranks, tokens, strict=True) if token is not None]
        return cls(ordinary, ranks, special, tags)


def _checked(tokens: Sequence[str], ranks: Sequence[int | None], tags: Sequence[str]) -> Sequence[int | None]:
    """Ranks: a number of its own for each token that is merged, None for the others."""
    if len(ranks) != len(tokens):
        raise DataError(f"there are {len(ranks)} ranks for {len(tokens)} tokens; give one for each")
    owners: dict[int, str] = {}
    for token, rank in zip(tokens, ranks, strict=True):
        merged = len(token) > 1 and token not in BYTES and token not in tags
        if (rank is None) == merged or (rank is not None and (type(rank) is not int or rank < 0)):
            rule = "must be a whole number, 0 or more" if merged else "must be null: it is never merged"
            raise DataError(f"the rank of the token {token!r} is {rank!r}; it {rule}")
        if rank is not None and owners.setdefault(rank, token) != token:
            raise DataError(f"the tokens {owners[rank]!r} and {token!r} have the same rank {rank}; each has its own")
    return ranks
