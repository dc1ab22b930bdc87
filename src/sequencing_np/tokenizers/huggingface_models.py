"""The models of a tokenizer.json: from a word to ids. Tokens that no text may make are never the answer."""

from collections.abc import Callable, Collection, Mapping
from random import Random
from typing import Any, NoReturn, Protocol

from sequencing_np.config import require
from sequencing_np.errors import DataError
from sequencing_np.piece_table import BYTES
from sequencing_np.special import check_token, no_merges
from sequencing_np.tokenizers.documents import flag, only_keys, text_in
from sequencing_np.tokenizers.pair_merges import Merge, merge_pairs
from sequencing_np.unigram_cuts import UNKNOWN_PENALTY, UnigramCuts, drawn

Document = Mapping[str, Any]
SHARPEST = 1e6
MOST_CHARACTERS = 100  # of a word that WordPiece looks at, where the file does not say


class WordModel(Protocol):
    """What cuts words. `hidden` are ids that are never the answer, `unknown` is what stands for all else."""

    def cut(self, word: str) -> list[int]: ...

    def sampled(self, word: str, dropout: float, generator: Random) -> list[int]: ...


def tokens_of_model(document: Any) -> dict[str, int]:
    """The tokens of a model and their ids."""
    if not isinstance(document, dict) or model_type(document) not in MODELS:
        raise DataError(f"the model {str(document)[:60]} is not supported; its type can be {', '.join(MODELS)}")
    vocab = document.get("vocab")
    if isinstance(vocab, list):
        pairs = [row for row in vocab if isinstance(row, list) and len(row) == 2 and is_number(row[1])]
        if len(pairs) != len(vocab):
            raise DataError("'vocab' must be a list of [token, score]")
        found = {check_token(token, f"id {row}"): row for row, (token, _) in enumerate(pairs)}
        if len(found) != len(vocab):
            raise DataError("'vocab' has a token twice")
        return found
    if not isinstance(vocab, dict):
        raise DataError(f"'vocab' is of type {type(vocab).__name__}; it must have all tokens")
    for token, token_id in vocab.items():
        check_token(token, "'vocab'")
        if type(token_id) is not int or token_id < 0:
            raise DataError(f"the id of the token {token!r} is {token_id!r}; it must be a whole number from 0 on")
    return vocab


def model_type(document: Document) -> Any:
    """The type of a model; the oldest files do not say it."""
    if "type" in document:
        return document["type"] if isinstance(document["type"], str) else None
    return "BPE" if "merges" in document else "Unigram" if isinstance(document.get("vocab"), list) else "WordPiece"


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e30 <= value <= 1e30


def named_unknown(document: Document) -> int | None:
    """The id that the model itself gives to what is unknown."""
    tokens = tokens_of_model(document)
    if model_type(document) == "Unigram":
        row = document.get("unk_id")
        if row is None:
            return None
        if type(row) is not int or not 0 <= row < len(tokens):
            raise DataError(f"unk_id is {row!r}; it must be one of the {len(tokens)} ids")
        return row
    token = document.get("unk_token")
    if token is None:
        return None
    if not isinstance(token, str) or token not in tokens:
        raise DataError(f"unk_token is {token!r}, which is none of the tokens")
    return tokens[token]


class PairModel:
    """Byte-pair encoding with a list of merges."""

    def __init__(self, document: Document, hidden: Collection[int], unknown: int) -> None:
        known = (
            "type", "dropout", "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk",
            "byte_fallback", "ignore_merges", "vocab", "merges",
        )  # fmt: skip
        only_keys(document, known, "the model BPE")
        tokens = tokens_of_model(document)
        self.unknown = None if document.get("unk_token") is None else unknown
        self.prefix = text_in(document, "continuing_subword_prefix", "")
        self.suffix = text_in(document, "end_of_word_suffix", "")
        self.fuse, self.whole = flag(document, "fuse_unk", False), flag(document, "ignore_merges", False)
        fallback = flag(document, "byte_fallback", False)
        self.bytes = [tokens.get(name) for name in BYTES] if fallback else [None] * 256
        self.ids = {token: token_id for token, token_id in tokens.items() if token_id not in hidden}
        self.merges: dict[tuple[int, int], Merge] = {}
        for rank, (left, right) in enumerate(pairs_in(document)):
            joined = left + right[len(self.prefix) :]
            for token in (left, right, joined):
                if token not in tokens:
                    raise DataError(f"merge {rank + 1} speaks of the token {token!r}, which is none of 'vocab'")
            if tokens[joined] not in hidden:
                self.merges[tokens[left], tokens[right]] = Merge(rank, tokens[joined])

    def cut(self, word: str) -> list[int]:
        if self.whole and word in self.ids:
            return [self.ids[word]]
        return merge_pairs(self._symbols(word), self.merges)

    def sampled(self, word: str, dropout: float, generator: Random) -> list[int]:
        """Each merge is left out with this probability (Provilkov et al. 2020)."""
        if self.whole and word in self.ids and not dropout:
            return [self.ids[word]]
        return merge_pairs(self._symbols(word), self.merges, lambda: generator.random() < dropout)

    def _symbols(self, word: str) -> list[int]:
        """The ids of single characters; where there is no byte and nothing unknown, a character is left out."""
        symbols: list[int] = []
        waiting = False  # what is unknown is written before the next that is known
        for place, character in enumerate(word):
            text = self.prefix + character if place and self.prefix else character
            if self.suffix and place == len(word) - 1:
                text += self.suffix
            if text in self.ids:
                if waiting and self.unknown is not None:
                    symbols.append(self.unknown)
                waiting = False
                symbols.append(self.ids[text])
                continue
            spelt = [self.bytes[byte] for byte in text.encode()]
            if None not in spelt:
                symbols += [byte for byte in spelt if byte is not None]
                continue
            if waiting and not self.fuse and self.unknown is not None:
                symbols.append(self.unknown)
            waiting = True
        return [*symbols, self.unknown] if waiting and self.unknown is not None else symbols


class LanguageModel:
    """Unigram: the largest sum of scores in each word."""

    def __init__(self, document: Document, hidden: Collection[int], unknown: int) -> None:
        only_keys(document, ("type", "unk_id", "vocab", "byte_fallback"), "the model Unigram")
        tokens = tokens_of_model(document)
        rows = document["vocab"]
        if not isinstance(rows, list) or not rows:
            raise DataError("'vocab' of the model Unigram must be a list of [token, score] with one at least")
        self.unknown = unknown
        fallback = flag(document, "byte_fallback", False)
        self.bytes = [tokens.get(name) for name in BYTES] if fallback else [None] * 256
        self.ids = {token: token_id for token, token_id in tokens.items() if token_id not in hidden}
        worst = min(float(score) for _, score in rows)
        scores = {token: float(rows[token_id][1]) for token, token_id in self.ids.items()}
        self._cuts = UnigramCuts(scores, worst - UNKNOWN_PENALTY, "d")

    def cut(self, word: str) -> list[int]:
        return self._ids_of(self._cuts.exact(word))

    def sampled(self, word: str, dropout: float, generator: Random) -> list[int]:
        """A way of probability p with probability p ** ((1 - dropout) / dropout), as Unigram does it."""
        if not dropout:
            return self.cut(word)
        return self._ids_of(drawn(word, self._cuts.ways(word, min((1 - dropout) / dropout, SHARPEST)), generator))

    def _ids_of(self, pieces: list[str]) -> list[int]:
        """What is unknown and stands together is one, unless bytes spell it."""
        ids: list[int] = []
        before = False
        for piece in pieces:
            known = self.ids.get(piece)
            if known is not None:
                ids.append(known)
            else:
                spelt = [self.bytes[byte] for byte in piece.encode()]
                if None not in spelt:
                    ids += [byte for byte in spelt if byte is not None]
                elif not before:
                    ids.append(self.unknown)
            before = known is None
        return ids


class PrefixModel:
    """WordPiece: the longest token that a word begins with, then the longest that the rest does, and so on."""

    def __init__(self, document: Document, hidden: Collection[int], unknown: int) -> None:
        known = ("type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab")
        only_keys(document, known, "the model WordPiece")
        self.ids = {token: row for token, row in tokens_of_model(document).items() if row not in hidden}
        self.prefix = text_in(document, "continuing_subword_prefix", "##")
        most = document.get("max_input_chars_per_word", MOST_CHARACTERS)
        if type(most) is not int or most < 0:
            raise DataError(f"max_input_chars_per_word is {most!r}; it must be a whole number")
        self.most, self.unknown = most, unknown
        self.longest = max(map(len, self.ids), default=0)

    def cut(self, word: str) -> list[int]:
        if len(word) > self.most:
            return [self.unknown]
        ids: list[int] = []
        begin = 0
        while begin < len(word):
            front = self.prefix if begin else ""
            for end in range(min(len(word), begin + self.longest), begin, -1):
                found = self.ids.get(front + word[begin:end])
                if found is not None:
                    ids.append(found)
                    begin = end
                    break
            else:
                return [self.unknown]
        return ids

    def sampled(self, word: str, dropout: float, generator: Random) -> NoReturn:
        no_merges(dropout)


class WordLevelModel:
    """Each word is a token."""

    def __init__(self, document: Document, hidden: Collection[int], unknown: int) -> None:
        only_keys(document, ("type", "unk_token", "vocab"), "the model WordLevel")
        self.ids = {token: row for token, row in tokens_of_model(document).items() if row not in hidden}
        self.unknown = unknown

    def cut(self, word: str) -> list[int]:
        return [self.ids.get(word, self.unknown)]

    def sampled(self, word: str, dropout: float, generator: Random) -> NoReturn:
        no_merges(dropout)


MODELS: dict[str, Callable[[Document, Collection[int], int], WordModel]] = {
    "BPE": PairModel,
    "Unigram": LanguageModel,
    "WordPiece": PrefixModel,
    "WordLevel": WordLevelModel,
}


def check_dropout(dropout: float) -> None:
    require(0 <= dropout < 1, f"dropout {dropout}: must be from 0 (none) to below 1")


def pairs_in(document: Document) -> list[tuple[str, str]]:
    """The merges of a model, written as a list of two or with a space between them."""
    merges = document.get("merges")
    if not isinstance(merges, list):
        raise DataError(f"'merges' is of type {type(merges).__name__}; it must be the list of all merges")
    found = []
    for number, merge in enumerate(merges, 1):
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
            raise DataError(f"merge {number} is {str(merge)[:60]!r}; it must be two tokens")
        found.append((parts[0], parts[1]))
    return found
