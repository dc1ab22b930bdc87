"""Several texts in one line, with tabs between them, to ids and back: each text is encoded alone and closed by EOS.

So a line is one row of ids, and the EOS in it tell where its texts end. A text may be empty, then it is an EOS alone.
Knows nothing of how one text becomes ids: that is left to the vocabulary of one text that is wrapped.
"""

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any, Self

from sequencing_np.delimited import Vocab
from sequencing_np.errors import DataError
from sequencing_np.factors import FactoredVocab
from sequencing_np.later import later
from sequencing_np.special import END, FORMAT, Vocabulary, check_kind
from sequencing_np.subwords import Subwords
from sequencing_np.unigram import Unigram

SINGLE: dict[str, type[Vocabulary]] = {  # the vocabularies of one text: what columns can be made of
    "delimited": Vocab,
    "factored": FactoredVocab,
    "subword": Subwords,
    "unigram": Unigram,
    "sentencepiece": later("sequencing_np.tokenizers.sentencepiece_vocab", "SentencePieceVocab"),
    "huggingface": later("sequencing_np.tokenizers.huggingface_vocab", "HuggingFaceVocab"),
}
TAB = "\t"
KEYS = ("format", "kind", "columns", "each")


class ColumnsVocab:
    """A vocabulary of lines of `columns` texts. Its ids, tags and factors are those of `each`, the one of a text."""

    reversed: bool = False
    vector_size: int = 0

    def __init__(self, each: Vocabulary, columns: int) -> None:
        if type(columns) is not int or columns < 2:
            raise DataError(f"the number of columns is {columns!r}; it must be 2 or more, one text needs no columns")
        self.each, self.columns = each, columns
        self.special, self.tokens = each.special, each.tokens
        self.tags, self.factor_sizes = each.tags, each.factor_sizes
        self.delimiter, self.factor_separator = each.delimiter, each.factor_separator

    def __len__(self) -> int:
        return len(self.each)

    def encode(self, text: str, bos: bool = False) -> list[int]:
        """Ids of all texts, with EOS at the end of each. DataError where a line has more or fewer texts."""
        ids = [self.special.bos] if bos else []
        for column in self._split(text):
            ids += self.each.encode(column)
        return ids

    def sample(self, text: str, dropout: float, generator: Random) -> list[int]:
        """The same with merges dropped, where the texts are cut into subwords."""
        return [token_id for column in self._split(text) for token_id in self.each.sample(column, dropout, generator)]

    def decode(self, ids: Iterable[int]) -> str:
        """The texts of the ids before the last EOS, with tabs between them; those that are lacking are empty."""
        return TAB.join(map(self.each.decode, self._texts(ids)))

    def settled(self, ids: Iterable[int]) -> str:
        """How the text begins whatever ids follow."""
        return ""  # where one text ends and the next begins is known at the end

    def tokens_of(self, ids: Iterable[int]) -> list[str]:
        """The tokens of all texts, "</s>" between two texts; what is unknown as "<unk>", PAD and BOS are left out."""
        first, *rest = map(self.each.tokens_of, self._texts(ids))
        return [*first, *(token for tokens in rest for token in (END, *tokens))]

    def pieces(self, text: str) -> list[str]:
        """The texts as encode splits them: one piece for each id that encode returns, unknown ones as they stand."""
        return [piece for column in self._split(text) for piece in self.each.pieces(column)]

    def _split(self, text: str) -> list[str]:
        """The texts of a line; a blank line is so many empty ones."""
        columns = text.split(TAB) if text.strip() else [""] * self.columns
        if len(columns) != self.columns:
            raise DataError(
                f"{counted(len(columns))} instead of {self.columns}; write {self.columns} texts in a line, one tab "
                "between two of them; one of them may be empty"
            )
        return columns

    def _texts(self, ids: Iterable[int]) -> list[list[int]]:
        """The ids of each text; what stands after the last one is padding."""
        texts: list[list[int]] = [[] for _ in range(self.columns)]
        place = 0
        for token_id in ids:
            if token_id != self.special.eos:
                texts[place].append(token_id)
            elif (place := place + 1) == self.columns:
                break
        return texts

    def to_json(self) -> dict[str, Any]:
        """What from_json reads."""
        return {"format": FORMAT, "kind": "columns", "columns": self.columns, "each": self.each.to_json()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The vocabulary that to_json wrote; a DataError names the rule that a document breaks."""
        check_kind(document, "columns")
        if set(document) != set(KEYS):
            raise DataError(f"the keys are {', '.join(document)}; they must be {', '.join(KEYS)}")
        each = document["each"]
        if not isinstance(each, dict):
            raise DataError(f"'each' is of type {type(each).__name__}; it must be a vocabulary")
        kind = each.get("kind")
        if not isinstance(kind, str) or kind not in SINGLE:
            raise DataError(f"the kind of each column is {kind!r}; it can be {', '.join(SINGLE)}")
        return cls(SINGLE[kind].from_json(each), document["columns"])


def counted(columns: int) -> str:
    """A number of columns in words."""
    return f"{columns} column{'s' * (columns > 1)}"
