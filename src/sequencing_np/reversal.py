"""A text that is read backwards: its tokens are turned round, its end symbol stays the last.

So the beginning of a source stands next to the beginning of its translation (Sutskever et al. 2014, section 3.3), and a
target is said from its end (Liu et al. 2016). The vocabulary is saved with the model, and so whoever runs the model
turns texts round too. Knows nothing of how a text becomes ids: that is left to the vocabulary that is wrapped.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, Self, TypeVar

from sequencing_np.columns import SINGLE, ColumnsVocab
from sequencing_np.errors import DataError
from sequencing_np.special import FORMAT, Vocabulary, check_kind

WRAPPED: dict[str, type[Vocabulary]] = {**SINGLE, "columns": ColumnsVocab}
KEYS = ("format", "kind", "each")

T = TypeVar("T")


def backwards(ids: Sequence[int], eos: int) -> list[int]:
    """The places of ids with each text turned round and each EOS left where it is: done twice, all is as it was."""
    places: list[int] = []
    begin = 0
    for place, token_id in enumerate(ids):
        if token_id == eos:
            places += [*range(place - 1, begin - 1, -1), place]
            begin = place + 1
    return places + list(range(len(ids) - 1, begin - 1, -1))


def reading_order(vocab: Vocabulary, ids: Sequence[int]) -> list[int]:
    """Where each token of a text, in the order in which it is written, stands among the ids of the text."""
    return backwards(ids, vocab.special.eos) if vocab.reversed else list(range(len(ids)))


def written(vocab: Vocabulary, text: str) -> list[str]:
    """The pieces of a text, in the order in which it is written."""
    pieces = vocab.pieces(text)
    return [pieces[place] for place in reading_order(vocab, vocab.encode(text))]


class ReversedVocab:
    """A vocabulary whose texts are read from their end. Its ids, tags, factors and columns are those of `each`.

    `encode`, `sample`, `pieces` and `tokens_of` are in the order in which a model reads, `decode` gives the text.
    """

    reversed: bool = True
    vector_size: int = 0

    def __init__(self, each: Vocabulary) -> None:
        if each.reversed:
            raise DataError("the vocabulary is reversed already; it is wrapped once")
        self.each = each
        self.special, self.tokens, self.tags = each.special, each.tokens, each.tags
        self.factor_sizes, self.columns = each.factor_sizes, each.columns
        self.delimiter, self.factor_separator = each.delimiter, each.factor_separator

    def __len__(self) -> int:
        return len(self.each)

    def encode(self, text: str, bos: bool = False) -> list[int]:
        """Ids of a text from its last token to its first, with EOS at the end."""
        ids = self.each.encode(text)
        return [self.special.bos] * bos + list(self._turned(ids, ids))

    def sample(self, text: str, dropout: float, generator: Random) -> list[int]:
        """The same with merges dropped, where the texts are cut into subwords."""
        ids = self.each.sample(text, dropout, generator)
        return list(self._turned(ids, ids))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids before the first EOS (before the last one of several texts)."""
        ids = list(ids)
        return self.each.decode(self._turned(ids, ids))

    def settled(self, ids: Iterable[int]) -> str:
        """How the text begins whatever ids follow."""
        return ""  # it comes last

    def tokens_of(self, ids: Iterable[int]) -> list[str]:
        """The tokens as they are read; what is unknown as "<unk>", PAD and BOS are left out."""
        return self.each.tokens_of(ids)

    def pieces(self, text: str) -> list[str]:
        """The text as encode splits it: one piece for each id that encode returns, unknown ones as they stand."""
        return list(self._turned(self.each.encode(text), self.each.pieces(text)))

    def _turned(self, ids: Sequence[int], values: Sequence[T]) -> Iterator[T]:
        """Values that stand beside ids, with each text turned round."""
        return (values[place] for place in backwards(ids, self.special.eos))

    def to_json(self) -> dict[str, Any]:
        """What from_json reads."""
        return {"format": FORMAT, "kind": "reversed", "each": self.each.to_json()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The vocabulary that to_json wrote; a DataError names the rule that a document breaks."""
        check_kind(document, "reversed")
        if set(document) != set(KEYS):
            raise DataError(f"the keys are {', '.join(document)}; they must be {', '.join(KEYS)}")
        each = document["each"]
        kind = each.get("kind") if isinstance(each, dict) else None
        if not isinstance(kind, str) or kind not in WRAPPED:
            raise DataError(f"the kind of what is reversed is {kind!r}; it can be {', '.join(WRAPPED)}")
        return cls(WRAPPED[kind].from_json(each))
