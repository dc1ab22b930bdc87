"""A SentencePiece model file to a plain document: the wire format of protocol buffers, read by hand.

A field is a number with the kind of its value, then the value; a message is its fields one after the other. Nothing is
allocated from a size that the file claims: a size beyond the end of the file is an error.
"""

import struct
from base64 import b64encode
from collections.abc import Iterator
from typing import Any, NamedTuple

from sequencing_np.errors import DataError
from sequencing_np.special import FORMAT

VARINT, DOUBLE, BYTES, FLOAT = 0, 1, 2, 5  # kinds of values
SIZES = {DOUBLE: 8, FLOAT: 4}
TYPES = {1: "normal", 2: "unknown", 3: "control", 4: "user_defined", 5: "unused", 6: "byte"}
MODELS = {1: "unigram", 2: "bpe", 3: "word", 4: "char"}

PIECES, TRAINER, NORMALIZER, DENORMALIZER = 1, 2, 3, 5  # fields of the whole message
PIECE, SCORE, TYPE = 1, 2, 3
MODEL_TYPE, SUFFIX, BYTE_FALLBACK = 3, 24, 35  # of the trainer's
NAMES = {46: "bos", 47: "eos", 48: "pad"}
CHARSMAP, DUMMY_PREFIX, REMOVE_SPACES, ESCAPE_SPACES = 2, 3, 4, 5  # of the normaliser's
FLAGS = {
    DUMMY_PREFIX: "add_dummy_prefix",
    REMOVE_SPACES: "remove_extra_whitespaces",
    ESCAPE_SPACES: "escape_whitespaces",
}


class Field(NamedTuple):
    """A value in a message; numbers of 32 and 64 bits are bytes still."""

    number: int
    kind: int
    value: int | bytes


def looks_like_sentencepiece(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a list of pieces: field 1, and in it field 1."""
    return len(head) > 3 and head[0] == 0x0A and head[2] == 0x0A and head[3] <= head[1]


def read_sentencepiece(data: bytes) -> dict[str, Any]:
    """The document of a model, as SentencePieceVocab.from_json reads it, but for the special ids and tags."""
    pieces: list[tuple[str, float, str]] = []
    trainer: dict[int, int | bytes] = {}
    normalizer: dict[int, int | bytes] = {}
    for field in fields(data):
        if field.number == PIECES:
            pieces.append(piece_of(message(field), len(pieces)))
        elif field.number == TRAINER:
            trainer.update((inner.number, inner.value) for inner in fields(message(field)))
        elif field.number == NORMALIZER:
            normalizer.update((inner.number, inner.value) for inner in fields(message(field)))
        elif field.number == DENORMALIZER and any(
            inner.number == CHARSMAP and inner.value for inner in fields(message(field))
        ):
            raise DataError("its denormaliser (denormalizer_spec) rewrites what is decoded, which is not supported")
    model = number_of(trainer, MODEL_TYPE, 1)
    if model not in MODELS:
        raise DataError(f"its model type is {model}; it can be {', '.join(MODELS.values())}")
    charsmap = normalizer.get(CHARSMAP, b"")
    if not isinstance(charsmap, bytes):
        raise DataError("its map of characters is damaged: a number stands where bytes must")
    types: dict[str, list[int]] = {name: [] for name in TYPES.values() if name != "normal"}
    for token_id, (_, _, name) in enumerate(pieces):
        if name != "normal":
            types[name].append(token_id)
    return {
        "format": FORMAT,
        "kind": "sentencepiece",
        "model": MODELS[model],
        "byte_fallback": bool(number_of(trainer, BYTE_FALLBACK, 0)),
        "whitespace_as_suffix": bool(number_of(trainer, SUFFIX, 0)),
        "normalizer": {
            **{name: bool(number_of(normalizer, number, 1)) for number, name in FLAGS.items()},
            "charsmap": b64encode(charsmap).decode(),
        },
        "types": types,
        "pieces": [piece for piece, _, _ in pieces],
        "scores": [score for _, score, _ in pieces],
        "names": {name: text_of(trainer, number, DEFAULTS[name]) for number, name in NAMES.items()},
    }


DEFAULTS = {"bos": "<s>", "eos": "</s>", "pad": "<pad>"}


def piece_of(data: bytes, token_id: int) -> tuple[str, float, str]:
    """Text, score and type of one piece."""
    found = {field.number: field.value for field in fields(data)}
    score, kind = found.get(SCORE, b"\0\0\0\0"), number_of(found, TYPE, 1)
    if not isinstance(score, bytes) or len(score) != 4:
        raise DataError(f"id {token_id}: the score is no number of 32 bits; the file is damaged")
    if kind not in TYPES:
        raise DataError(f"id {token_id}: the type of the piece is {kind}; it can be 1 to {len(TYPES)}")
    return text_of(found, PIECE, ""), struct.unpack("<f", score)[0], TYPES[kind]


def number_of(found: dict[int, int | bytes], number: int, default: int) -> int:
    """A whole number in a message."""
    value = found.get(number, default)
    if not isinstance(value, int):
        raise DataError(f"field {number} is no whole number; the file is damaged")
    return value


def text_of(found: dict[int, int | bytes], number: int, default: str) -> str:
    """A text in a message."""
    value = found.get(number)
    if value is None:
        return default
    try:
        return value.decode("utf-8")  # type: ignore[union-attr]  # a number has no decode
    except (AttributeError, UnicodeDecodeError):
        raise DataError(f"field {number} is no text in UTF-8; the file is damaged") from None


def message(field: Field) -> bytes:
    """The bytes of a message in a message."""
    if not isinstance(field.value, bytes) or field.kind != BYTES:
        raise DataError(f"field {field.number} is no message; the file is damaged")
    return field.value


def fields(data: bytes) -> Iterator[Field]:
    """The fields of a message."""
    position, size = 0, len(data)
    while position < size:
        key, position = varint(data, position)
        number, kind = key >> 3, key & 7
        value: int | bytes
        if kind == VARINT:
            value, position = varint(data, position)
        else:
            if kind == BYTES:
                length, position = varint(data, position)
            elif kind in SIZES:
                length = SIZES[kind]
            else:
                raise DataError(f"byte {position}: a value of the unknown kind {kind}; this is no SentencePiece model")
            if length > size - position:
                raise DataError(f"byte {position}: {length} bytes are announced, {size - position} are left; it is cut")
            value, position = data[position : position + length], position + length
        if not number:
            raise DataError(f"byte {position}: a field has the number 0; this is no SentencePiece model")
        yield Field(number, kind, value)


def varint(data: bytes, position: int) -> tuple[int, int]:
    """A whole number of 7 bits a byte, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise DataError(f"byte {position}: the file ends within a number; it is cut")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise DataError(f"byte {position}: a number has more than 64 bits; this is no SentencePiece model")
