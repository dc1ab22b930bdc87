"""A SentencePiece model that others trained, as a vocabulary: the same ids as its own program gives, then EOS.

Knows nothing of its file format: see sentencepiece_file.py. Unlike there, the texts of control symbols are ordinary
texts, but for those that are asked for as tags.
"""

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any, Self

from sequencing_np.errors import DataError
from sequencing_np.piece_table import BYTES, check_text
from sequencing_np.special import END, FORMAT, UNKNOWN, check_kind, check_token, content, tag_pattern
from sequencing_np.tokenizers.documents import find_special, flag, only_keys, read_special, read_tags, without_specials
from sequencing_np.tokenizers.sentencepiece_cuts import CUTTERS, Pieces, found_first
from sequencing_np.tokenizers.sentencepiece_file import TYPES, read_sentencepiece
from sequencing_np.tokenizers.sentencepiece_text import SentencePieceText
from sequencing_np.unigram_cuts import score_of

CACHED_WORDS = 1 << 17
CACHED_LENGTH = 64
KEYS = (
    "format", "kind", "special", "tags", "model", "byte_fallback", "whitespace_as_suffix", "normalizer", "types",
    "pieces", "scores",
)  # fmt: skip
Spelt = tuple[tuple[int, ...], float, float]


class SentencePieceVocab:
    """The pieces of a model. `document` is what to_json gives; `pieces` and `types` are as the file has them.

    Special ids that the model lacks follow its own, tags that are none of its pieces follow those.
    """

    factor_sizes: tuple[int, ...] = ()
    columns: int = 1
    reversed: bool = False
    delimiter: None = None
    factor_separator: str = ""
    vector_size: int = 0

    def __init__(self, document: Mapping[str, Any]) -> None:
        only_keys(document, KEYS, "the vocabulary")
        self._document = dict(document)
        self._names = _pieces(document)
        types = _types(document, len(self._names))
        scores = [score_of(score, f"id {row}") for row, score in enumerate(document["scores"])]
        self._read_bytes(document, types)
        self.special, self.tags = read_special(document, len(self._names)), read_tags(document.get("tags", []))
        self._check_special(types)
        self.tokens = without_specials(self._names, self.special)
        self._place_tags(types)
        hidden = {*types["control"], *types["unknown"], *types["byte"], *self._tag_ids.values()}
        self._ids = {piece: row for row, piece in enumerate(self._names) if row not in hidden}
        pieces = Pieces(
            {piece: scores[row] for piece, row in self._ids.items()},
            [self._names[row] for row in types["user_defined"] if row not in hidden],
            frozenset(self._names[row] for row in types["unused"] if row not in hidden),
            flag(document, "whitespace_as_suffix"),
        )
        for piece in pieces.unused:
            del self._ids[piece]
        model = document.get("model")
        if not isinstance(model, str) or model not in CUTTERS:
            raise DataError(f"the model is {model!r}; it can be {', '.join(CUTTERS)}")
        self._cuts = CUTTERS[model](pieces)
        rules = document.get("normalizer")
        if not isinstance(rules, dict):
            raise DataError(f"'normalizer' is of type {type(rules).__name__}; it must be an object")
        self.normalize = SentencePieceText(rules, pieces.suffix, found_first(pieces.defined))
        self._cache: dict[str, Spelt] = {}  # forgotten when full; what is in it never changes an answer

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str, bos: bool = False) -> list[int]:
        """Ids of a text, with EOS at the end. No text can produce a control symbol."""
        check_text(text)
        ids = [self.special.bos] if bos else []
        head, *rest = self._pattern.split(text) if self._pattern else [text]
        ids += self._encode(self.normalize(head))
        for position, part in enumerate(rest):
            ids += [self._tag_ids[part]] if position % 2 == 0 else self._encode(self.normalize(part))
        ids.append(self.special.eos)
        return ids

    def sample(self, text: str, dropout: float, generator: Random) -> list[int]:
        """The same cut at random: byte pairs with merges dropped, or as Unigram.sample does it."""
        check_text(text)
        cut = self._cuts.sampler(dropout, generator)
        ids: list[int] = []
        for position, part in enumerate(self._pattern.split(text) if self._pattern else [text]):
            if position % 2:
                ids.append(self._tag_ids[part])
                continue
            normalized, words = self.normalize(part), self._cuts.words
            if dropout == 0:
                ids += self._encode(normalized)
                continue
            found = [self._ids_of(cut(word)) for word in (words.findall(normalized) if words else [normalized])]
            ids += self._merged([token_id for word in found for token_id in word])
        ids.append(self.special.eos)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids before the first EOS; bytes that are no UTF-8 become U+FFFD."""
        pieces = [self._bytes[token_id] for token_id in content(ids, self.special, len(self.tokens))]
        return self.normalize.undone(pieces)

    def settled(self, ids: Iterable[int]) -> str:
        """How the text begins whatever ids follow."""
        return self.decode(ids).rstrip("\ufffd")  # they may become a character

    def tokens_of(self, ids: Iterable[int]) -> list[str]:
        """The tokens of the ids before the first EOS, UNK as "<unk>"; PAD and BOS are left out."""
        return [self.tokens[token_id] or UNKNOWN for token_id in content(ids, self.special, len(self.tokens))]

    def pieces(self, text: str) -> list[str]:
        """The text as encode splits it: one piece for each id that encode returns."""
        return [*self.tokens_of(self.encode(text)), END]

    def _encode(self, text: str) -> list[int]:
        """The ids of a normalised text."""
        if not text:
            return []
        words = self._cuts.words
        if words is None:
            return self._merged(self._ids_of(self._cuts.whole(text)))
        ids: list[int] = []
        far, known = 0.0, self._cache.get
        for word in words.findall(text):
            spelt, depth, trust = known(word) or self._learn(word)
            if far > trust:  # so far into a text, the rounding of its sum may decide
                return self._merged(self._ids_of(self._cuts.whole(text)))
            ids += spelt
            far += depth
        return self._merged(ids)

    def _learn(self, word: str) -> Spelt:
        """A word as it is cut, kept for the next time."""
        pieces, depth, trust = self._cuts.cut(word)
        spelt = (tuple(self._ids_of(pieces)), depth, trust)
        if len(word) <= CACHED_LENGTH:
            if len(self._cache) >= CACHED_WORDS:
                self._cache.clear()
            self._cache[word] = spelt
        return spelt

    def _ids_of(self, pieces: Iterable[str]) -> list[int]:
        ids: list[int] = []
        for piece in pieces:
            if piece in self._ids:
                ids.append(self._ids[piece])
            elif self._byte_ids:
                ids += [self._byte_ids[byte] for byte in piece.encode()]
            else:
                ids.append(self.special.unk)
        return ids

    def _merged(self, ids: list[int]) -> list[int]:
        """What is unknown and stands together is one."""
        unk = self.special.unk
        if unk not in ids:
            return ids
        return [token_id for row, token_id in enumerate(ids) if not row or token_id != unk or ids[row - 1] != unk]

    def _read_bytes(self, document: Mapping[str, Any], types: Mapping[str, list[int]]) -> None:
        """The ids of the 256 bytes, where they stand for what has no piece."""
        named = {self._names[row]: row for row in types["byte"]}
        self._byte_ids = [named[name] for name in BYTES if name in named]
        wanted = 256 if flag(document, "byte_fallback") else 0
        if len(self._byte_ids) != wanted or len(named) != wanted:
            raise DataError(
                f"there are {len(named)} pieces of type byte; with this byte_fallback they must be {wanted}"
            )
        if len(types["unknown"]) != 1:
            raise DataError(f"there are {len(types['unknown'])} pieces of type unknown; there must be one")

    def _check_special(self, types: Mapping[str, list[int]]) -> None:
        """What is special is never cut from text."""
        if self.special.unk != types["unknown"][0]:
            raise DataError(
                f"the special id unk is {self.special.unk}; the piece of type unknown has {types['unknown'][0]}"
            )
        for name, token_id in self.special._asdict().items():
            if token_id < len(self._names) and token_id not in types["control"] and name != "unk":
                raise DataError(f"the special id {name} is {token_id}, which is no piece of type control")

    def _place_tags(self, types: Mapping[str, list[int]]) -> None:
        """The ids of tags, and the bytes that each id stands for."""
        own = {piece: row for row, piece in enumerate(self._names)}
        self._pattern, self._tag_ids = tag_pattern(self.tags), {}
        for tag in self.tags:
            row = own.get(tag, len(self.tokens))
            if row in self.special or row in types["byte"]:
                raise DataError(f"the tag {tag!r} is a special id or a byte of the tokenizer; choose another text")
            if row == len(self.tokens):
                self.tokens.append(tag)
            self._tag_ids[tag] = row
        self._bytes = [(token or "").encode() for token in self.tokens]
        for row in types["control"]:
            self._bytes[row] = b""
        for byte, row in enumerate(self._byte_ids):
            self._bytes[row] = bytes([byte])
        for tag, row in self._tag_ids.items():
            self._bytes[row] = tag.encode()
        self._bytes[self.special.unk] = UNKNOWN.encode()

    def to_json(self) -> dict[str, Any]:
        """What from_json reads."""
        return dict(self._document)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as what is saved: processes that share the work get it so."""
        return type(self).from_json, (self.to_json(),)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The vocabulary that to_json wrote; a DataError names the rule that a document breaks."""
        check_kind(document, "sentencepiece")
        return cls(document)


def import_model(data: bytes, tags: Sequence[str] = ()) -> SentencePieceVocab:
    """The vocabulary of the bytes of a `.model` file."""
    document = read_sentencepiece(data)
    names, types = document.pop("names"), document["types"]
    control = {document["pieces"][row]: row for row in types["control"]}
    fixed = {name: control[text] for name, text in names.items() if text in control and text not in tags}
    if len(set(fixed.values())) != len(fixed):
        fixed = {}
    if len(types["unknown"]) == 1:
        fixed["unk"] = types["unknown"][0]
    usable = {text: row for text, row in control.items() if text not in tags}
    special = find_special(usable, fixed, len(document["pieces"]))
    head = {"format": FORMAT, "kind": "sentencepiece", "special": special._asdict(), "tags": list(tags)}
    return SentencePieceVocab.from_json({**head, **document})


def _pieces(document: Mapping[str, Any]) -> list[str]:
    """The pieces of a document, all different."""
    pieces, scores = document.get("pieces"), document.get("scores")
    if not isinstance(pieces, list) or not isinstance(scores, list) or len(pieces) != len(scores):
        raise DataError("'pieces' and 'scores' must be lists of the same length, one entry for each id")
    first: dict[str, int] = {}
    for row, piece in enumerate(pieces):
        if first.setdefault(check_token(piece, f"id {row}"), row) != row:
            raise DataError(f"id {row}: the piece {piece!r} is a duplicate, it has id {first[piece]} already")
    return pieces


def _types(document: Mapping[str, Any], size: int) -> dict[str, list[int]]:
    """The ids of each type but normal; an id has one type."""
    types = document.get("types")
    names = [name for name in TYPES.values() if name != "normal"]
    if not isinstance(types, dict) or sorted(types) != sorted(names):
        raise DataError(f"'types' must give the lists of ids of {', '.join(names)}")
    seen: set[int] = set()
    for name in names:
        if not isinstance(types[name], list):
            raise DataError(f"'types' gives {types[name]!r} for {name}; it must be a list of ids")
        for row in types[name]:
            if type(row) is not int or not 0 <= row < size or row in seen:
                raise DataError(
                    f"'types' has the id {row!r} for {name}; it must be one of {size}, and stand there once"
                )
            seen.add(row)
    return types
