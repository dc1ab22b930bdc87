"""A tokenizer.json of Hugging Face's tokenizers, as a vocabulary: the ids of its own program, then EOS.

What its post-processor adds is left out: the one symbol at the end is ours. Unlike there, the texts of special tokens
are ordinary texts, but for those that are asked for as tags.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any, Self

from sequencing_np.errors import DataError
from sequencing_np.piece_table import check_text
from sequencing_np.special import END, FORMAT, UNKNOWN, check_kind, content, lone_surrogate
from sequencing_np.tokenizers.documents import find_special, only_keys, read_special, read_tags, without_specials
from sequencing_np.tokenizers.huggingface_added import AddedToken, AddedTokens, Found, read_added
from sequencing_np.tokenizers.huggingface_decoders import DECODER_TYPES, settled
from sequencing_np.tokenizers.huggingface_models import (
    MODELS,
    check_dropout,
    model_type,
    named_unknown,
    tokens_of_model,
)
from sequencing_np.tokenizers.huggingface_text import NORMALIZERS, check_growth, made, steps
from sequencing_np.tokenizers.huggingface_words import SPLITTERS

CACHED_WORDS = 1 << 17
CACHED_LENGTH = 64
PARTS = ("added_tokens", "normalizer", "pre_tokenizer", "model", "decoder")
KEYS = ("format", "kind", "special", "tags", *PARTS)
FILE_KEYS = ("version", "truncation", "padding", "post_processor", *PARTS)


class HuggingFaceVocab:
    """The parts of a tokenizer.json. Special ids that it lacks follow its own, tags that are none of its tokens those.

    `document` is what to_json gives.
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
        model: Any = document.get("model")  # checked by all_tokens
        added = read_added(document.get("added_tokens", []))
        names = all_tokens(model, added)
        self.special, self.tags = read_special(document, len(names)), read_tags(document.get("tags", []))
        self.tokens = without_specials(names, self.special)
        asked = self._tag_tokens(added)
        own = [token for token in added if token.content not in self.tags]
        self._hidden = {*self.special, *(token.id for token in own if token.special)}
        spotted = [token for token in own if token.id not in self._hidden]
        self._model = MODELS[model_type(model)](model, self._hidden | {token.id for token in asked}, self.special.unk)
        self._normalizers = made(document.get("normalizer"), "normalizers", "normalizer", NORMALIZERS)
        self._splitters = made(document.get("pre_tokenizer"), "pretokenizers", "pre-tokenizer", SPLITTERS)
        self._decoders = made(document.get("decoder"), "decoders", "decoder", DECODER_TYPES)
        self._steps = steps(document.get("decoder"), "decoders", "decoder")
        self._decoded = document.get("decoder") is not None
        raw = [token for token in spotted if not token.normalized]
        self._raw = AddedTokens([*raw, *asked], lambda token: token.content)
        self._normal = AddedTokens([token for token in spotted if token.normalized], self._content)
        self._cache: dict[str, tuple[int, ...]] = {}  # forgotten when full; what is in it never changes an answer

    def __len__(self) -> int:
        return len(self.tokens)

    def normalize(self, text: str) -> str:
        """A text as it is cut, between added tokens."""
        size = len(text)
        for step in self._normalizers:
            text = step(text)
            check_growth(size, len(text))
        return text

    def encode(self, text: str, bos: bool = False) -> list[int]:
        """Ids of a text, with EOS at the end. No text can produce a special token."""
        ids = [self.special.bos] if bos else []
        known = self._cache.get
        for found in self._parts(text):
            if found.id is not None:
                ids.append(found.id)
                continue
            for word in self._words(found):
                cached = known(word)
                ids += self._learn(word) if cached is None else cached
        ids.append(self.special.eos)
        return ids

    def sample(self, text: str, dropout: float, generator: Random) -> list[int]:
        """The same cut at random: byte pairs with merges left out, or as Unigram.sample does it."""
        check_dropout(dropout)
        self._model.sampled("", dropout, generator)  # some cannot
        ids: list[int] = []
        for found in self._parts(text):
            if found.id is not None:
                ids.append(found.id)
                continue
            for word in self._words(found):
                ids += self._model.sampled(word, dropout, generator) if dropout else self._model.cut(word)
        ids.append(self.special.eos)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the ids before the first EOS, without special tokens; bytes that are no UTF-8 become U+FFFD."""
        tokens = []
        for token_id in content(ids, self.special, len(self.tokens)):
            if token_id == self.special.unk:
                tokens.append(UNKNOWN)
            elif token_id not in self._hidden:
                tokens.append(self.tokens[token_id] or "")
        if not self._decoded:
            return " ".join(tokens)
        for step in self._decoders:
            tokens = step(tokens)
        return "".join(tokens)

    def settled(self, ids: Iterable[int]) -> str:
        """How the text begins whatever ids follow."""
        return settled(self._steps, list(ids), self.tokens, self.decode)

    def tokens_of(self, ids: Iterable[int]) -> list[str]:
        """The tokens of the ids before the first EOS, UNK as "<unk>"; PAD and BOS are left out."""
        return [self.tokens[token_id] or UNKNOWN for token_id in content(ids, self.special, len(self.tokens))]

    def pieces(self, text: str) -> list[str]:
        """The text as encode splits it: one piece for each id that encode returns."""
        return [*self.tokens_of(self.encode(text)), END]

    def _parts(self, text: str) -> Iterable[Found]:
        """Added tokens and what stands between them, which is normalised."""
        check_text(text)
        for found in self._raw.split(text, True):
            if found.id is not None:
                yield found
            else:
                yield from self._normal.split(self.normalize(found.text), found.first)

    def _words(self, found: Found) -> list[str]:
        words = [found.text]
        for step in self._splitters:
            words = step(words, found.first)
            check_growth(len(found.text), sum(map(len, words)))
        return [word for word in words if word]

    def _learn(self, word: str) -> Sequence[int]:
        """The ids of a word, kept for the next time."""
        ids = tuple(self._model.cut(word))
        if len(word) <= CACHED_LENGTH:
            if len(self._cache) >= CACHED_WORDS:
                self._cache.clear()
            self._cache[word] = ids
        return ids

    def _content(self, token: AddedToken) -> str:
        return self.normalize(token.content)

    def _tag_tokens(self, added: Sequence[AddedToken]) -> list[AddedToken]:
        """Tags as tokens that are found first, with ids of their own or those of added tokens."""
        own = {token.content: token.id for token in added}
        own.update((token, row) for row, token in enumerate(self.tokens) if token is not None)
        found = []
        for tag in self.tags:
            row = own.get(tag, len(self.tokens))
            if row in self.special:
                raise DataError(f"the tag {tag!r} is a special id of the tokenizer; choose another text")
            if row == len(self.tokens):
                self.tokens.append(tag)
            found.append(AddedToken(row, tag))
        return found

    def to_json(self) -> dict[str, Any]:
        """What from_json reads."""
        return dict(self._document)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as what is saved: processes that share the work get it so."""
        return type(self).from_json, (self.to_json(),)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """The vocabulary that to_json wrote; a DataError names the rule that a document breaks."""
        check_kind(document, "huggingface")
        return cls(document)


def all_tokens(model: Any, added: Sequence[AddedToken]) -> list[str]:
    """The tokens of a model and those that are added, by id; every id has one."""
    found = {token_id: token for token, token_id in tokens_of_model(model).items()}
    for token in added:
        if found.setdefault(token.id, token.content) != token.content:
            raise DataError(f"the added token {token.content!r} has the id {token.id}, as has {found[token.id]!r}")
    ids = {text: token_id for token_id, text in found.items()}
    if len(found) < len(tokens_of_model(model)) or len(ids) < len(found):
        raise DataError("two tokens have the same id, or two ids the same token")
    if sorted(found) != list(range(len(found))):
        gap = next(row for row, token_id in enumerate(sorted(found)) if row != token_id)
        raise DataError(f"id {gap}: a gap; each id from 0 to {len(found) - 1} must have a token")
    return [found[row] for row in range(len(found))]


def looks_like_tokenizer(document: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a tokenizer.json."""
    return "model" in document and "kind" not in document


def import_tokenizer(document: Mapping[str, Any], tags: Sequence[str] = ()) -> HuggingFaceVocab:
    """The vocabulary of what a tokenizer.json holds."""
    only_keys(document, FILE_KEYS, "tokenizer.json")
    if (surrogate := lone_surrogate(json.dumps(document, ensure_ascii=False))) is not None:
        raise DataError(f"tokenizer.json holds {surrogate}, half a surrogate pair, which is no character")
    model: Any = document.get("model")  # checked by all_tokens
    added = read_added(document.get("added_tokens") or [])
    names = all_tokens(model, added)
    unknown = named_unknown(model)
    fixed = {} if unknown is None else {"unk": unknown}
    ids = {name: row for row, name in enumerate(names) if name not in tags}
    special = find_special(ids, fixed, len(names))
    head = {"format": FORMAT, "kind": "huggingface", "special": special._asdict(), "tags": list(tags)}
    parts = {name: document.get(name) for name in PARTS}
    return HuggingFaceVocab.from_json({**head, **parts, "added_tokens": document.get("added_tokens") or []})
