"""Text to subword ids and back: the unigram language model (Kudo 2018) as SentencePiece applies it.

A space belongs to the word after it and is shown as U+2581; the text gets one in front, unless a tag stands there, and
what follows a tag begins a word only where it begins with a space. Characters without a token of their own become their
UTF-8 bytes, so that every text comes back as it was. Knows nothing of training: the tokens and their scores come from
sequencing.data.subword_training.
"""

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple, Self

from sequencing_np.config import require
from sequencing_np.errors import DataError
from sequencing_np.piece_table import BYTES, SPACE, PieceTable, check_text
from sequencing_np.special import END, FORMAT, Special, parse
from sequencing_np.unigram_cuts import UNKNOWN_PENALTY, UnigramCuts, Way, drawn, score_of

CACHED_WORDS = 1 << 17
CACHED_SAMPLED = 1 << 14  # what is kept of a word for sampling is larger
CACHED_LENGTH = 64
SHARPEST = 1e6


class Spelt(NamedTuple):
    """A word as it is cut, see Cut."""

    ids: Sequence[int]
    depth: float
    trust: float


class Unigram:
    """Pieces with scores. `tokens` are the ordinary ones in the order of their ids, the 256 bytes among them.

    `scores` holds the logarithm of each token's probability, and None for bytes and tags. Of all ways to cut a text
    the one with the largest sum is taken. U+2581 in a text is no space: it becomes bytes. `tags` are those of the
    tokens that are found first, wherever they stand in a text.
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
        scores: Sequence[float | None],
        special: Special = Special(),
        tags: Sequence[str] = (),
    ) -> None:
        self._table = PieceTable(tokens, special, tags)
        self.special, self.tokens, self.tags = special, self._table.tokens, self._table.tags
        self._scores = _checked(tokens, scores, tags)
        if not self._scores:
            raise DataError("no token has a score; a unigram vocabulary needs one besides bytes and tags")
        self._cuts = UnigramCuts(self._scores, rounded(min(self._scores.values()) - UNKNOWN_PENALTY))
        self._cache: dict[str, Spelt] = {}  # forgotten when full; what is in it never changes an answer
        self._ways: dict[str, list[Way]] = {}  # the same for `sample`, all of it of one sharpness
        self._sharpness = 0.0

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str, bos: bool = False) -> list[int]:
        """Ids of a text, with EOS at the end. No text can produce a special id."""
        ids = [self.special.bos] if bos else []
        known = self._cache.get
        for tag, stuck, words in self._table.parts(text):
            if tag is not None:
                ids.append(tag)
                ids += self._exactly(stuck)
            begin, far = len(ids), 0.0
            for word in words:  # no piece crosses the start of a word
                spelt = known(word) or self._learn(word)
                if far > spelt.trust:  # so far into a line, the rounding of its sum may decide
                    ids[begin:] = self._exactly("".join(f" {word}" for word in words))
                    break
                ids += spelt.ids
                far += spelt.depth
        ids.append(self.special.eos)
        return ids

    def sample(self, text: str, dropout: float, generator: Random) -> list[int]:
        """Ids of a text with EOS at the end, one of all ways to cut it; `decode` gives it back.

        A way of probability p is drawn with probability p ** ((1 - dropout) / dropout), all of them scaled to sum to
        one: 0 is always the best way, as `encode` cuts, 0.5 what the model believes, and towards 1 all ways are alike.
        """
        require(0 <= dropout < 1, f"dropout {dropout}: must be from 0 (none) to below 1")
        if dropout == 0:
            return self.encode(text)
        sharpness = min((1 - dropout) / dropout, SHARPEST)
        if sharpness != self._sharpness:
            self._ways.clear()
            self._sharpness = sharpness
        return self._table.cut(text, lambda word: self._sampled(word, generator))

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

    def _learn(self, word: str) -> Spelt:
        """A word and the space before it, kept for the next time."""
        check_text(word)
        pieces, depth, trust = self._cuts.best(" " + word)
        spelt = Spelt(tuple(self._table.ids_of(pieces)), depth, trust)
        if len(word) <= CACHED_LENGTH:
            if len(self._cache) >= CACHED_WORDS:
                self._cache.clear()
            self._cache[word] = spelt
        return spelt

    def _exactly(self, text: str) -> list[int]:
        """The ids of a text as it stands, with all sums rounded as SentencePiece rounds them."""
        check_text(text)
        return self._table.ids_of(self._cuts.exact(text))

    def _sampled(self, word: str, generator: Random) -> list[int]:
        """The ids of a word as it stands, cut at random."""
        ways = self._ways.get(word)
        if ways is None:
            check_text(word)
            ways = self._cuts.ways(word, self._sharpness)
            if len(word) <= CACHED_LENGTH:
                if len(self._ways) >= CACHED_SAMPLED:
                    self._ways.clear()
                self._ways[word] = ways
        return self._table.ids_of(drawn(word, ways, generator))

    def to_json(self) -> dict[str, Any]:
        """What from_json reads."""
        scored = [self._scores.get((token or "").replace(SPACE, " ")) for token in self.tokens]
        document = {
            "format": FORMAT,
            "kind": "unigram",
            "special": self.special._asdict(),
            "tokens": self.tokens,
            "scores": scored,
        }
        return {**document, "tags": list(self.tags)} if self.tags else document

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as what is saved: processes that share the work get it so."""
        return type(self).from_json, (self.to_json(),)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The vocabulary that to_json wrote; a DataError names the rule that a document breaks."""
        ordinary, special, tags = parse(document, "unigram", ("scores",))
        scores, tokens = document.get("scores"), document["tokens"]
        if not isinstance(scores, list) or len(scores) != len(tokens):
            raise DataError(f"'scores' must be a list of {len(tokens)} entries, one for each id")
        for token_id in special:
            if scores[token_id] is not None:
                raise DataError(f"id {token_id}: the score is {scores[token_id]!r}; a special id has null")
        return cls(
            ordinary, [row for row, token in zip(scores, tokens, strict=True) if token is not None], special, tags
        )


def rounded(score: float) -> float:
    """A number of 32 bits."""
    return score_of(score, "the worst of all scores")


def _checked(tokens: Sequence[str], scores: Sequence[float | None], tags: Sequence[str]) -> dict[str, float]:
    """The scores of pieces by their text: a number for each, None for bytes and tags."""
    if len(scores) != len(tokens):
        raise DataError(f"there are {len(scores)} scores for {len(tokens)} tokens; give one for each")
    found: dict[str, float] = {}
    for token, score in zip(tokens, scores, strict=True):
        if token not in BYTES and token not in tags:
            found[token.replace(SPACE, " ")] = score_of(score, f"the token {token!r}")
        elif score is not None:
            raise DataError(
                f"the score of the token {token!r} is {score!r}; it must be null: it is never cut from text"
            )
    return found
