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
from sequencing_np.piece_table import BYTES, SPACE, PieceTable, check_text
from sequencing_np.special import END, FORMAT, Special, parse
from sequencing_np.subword_merges import Drops, merge, merge_some

__all__ = ["BYTES", "SPACE", "Subwords"]

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
    reversed: bool = False
    delimiter: None = None
    factor_separator: str = ""
    vector_size: int = 0

    def __init__(
        self,
        tokens: Sequence[str],
        ranks: Sequence[int | None] | None = None,
        special: Special = Special(),
        tags: Sequence[str] = (),
    ) -> None:
        self._table = PieceTable(tokens, special, tags)
        self.special, self.tokens, self.tags = special, self._table.tokens, self._table.tags
        given = range(len(tokens)) if ranks is None else _checked(tokens, ranks, tags)
        self._ranks: dict[str, int] = {}
        for token, rank in zip(tokens, given, strict=True):
            text = token.replace(SPACE, " ")
            if rank is not None and len(text) > 1 and text in self._table.ids:
                self._ranks[text] = rank
        self._cache: dict[str, tuple[int, ...]] = {}  # forgotten when full; what is in it never changes an answer
        self._spelt: dict[str, Spelt] = {}  # the same for `sample`

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str, bos: bool = False) -> list[int]:
        """Ids of a text, with EOS at the end. No text can produce a special id."""
        ids = [self.special.bos] if bos else []
        known = self._cache.get
        for tag, stuck, words in self._table.parts(text):
            if tag is not None:
                ids.append(tag)
                ids += self._spell(stuck)
            for word in words:  # no merge crosses the start of a word
                ids += known(word) or self._learn(word)
        ids.append(self.special.eos)
        return ids

    def sample(self, text: str, dropout: float, generator: Random) -> list[int]:
        """Ids of a text with EOS at the end, as `encode` gives them where no merge is dropped; `decode` gives it back.

        Whenever a merge could be made, it is dropped with this probability (BPE-dropout: Provilkov et al. 2020).
        """
        drops = Drops(dropout, generator)
        return self._table.cut(text, lambda word: self._sampled(word, drops))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids before the first EOS; bytes that are no UTF-8 become U+FFFD."""
        return self._table.decode(ids)

    def settled(self, ids: Iterable[int]) -> str:
        """How the text begins whatever ids follow."""
        return self._table.settled(ids)

    def tokens_of(self, ids: Iterable[int]) -> list[str]:
        """The tokens of the ids before the first EOS, UNK as "<unk>"; PAD and BOS are left out."""
        return self._table.tokens_of(ids)

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
            check_text(word)
            parts = merge(word, self._ranks)
            spelt = Spelt(self._table.ids_of(parts), len(word) - len(parts))
            if len(word) <= CACHED_LENGTH:
                if len(self._spelt) >= CACHED_WORDS:
                    self._spelt.clear()
                self._spelt[word] = spelt
        if drops.quiet < spelt.merges:
            return self._table.ids_of(merge_some(word, self._ranks, drops))
        drops.quiet -= spelt.merges
        return spelt.ids

    def _spell(self, word: str) -> list[int]:
        """The ids of a word as it stands."""
        check_text(word)
        return self._table.ids_of(merge(word, self._ranks))

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
