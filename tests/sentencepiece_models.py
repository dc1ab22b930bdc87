"""SentencePiece models made by hand: the wire format written as plainly as sentencepiece_file.py reads it."""

import struct
from collections.abc import Iterable, Mapping

TYPES = {"normal": 1, "unknown": 2, "control": 3, "user_defined": 4, "unused": 5, "byte": 6}
MODELS = {"unigram": 1, "bpe": 2, "word": 3, "char": 4}
BEGIN = [("<unk>", 0.0, "unknown"), ("<s>", 0.0, "control"), ("</s>", 0.0, "control")]


def varint(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def field(number: int, value: int | float | bytes) -> bytes:
    """A whole number, a number of 32 bits, or bytes."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def model(
    pieces: Iterable[tuple[str, float, str]], kind: str = "unigram", trainer: Mapping[int, int | bytes] | None = None,
    normalizer: Mapping[int, int | bytes] | None = None,
) -> bytes:  # fmt: skip
    """A model with these pieces; `trainer` and `normalizer` are further fields of theirs."""
    data = b"".join(
        field(1, field(1, piece.encode()) + field(2, float(score)) + field(3, TYPES[name]))
        for piece, score, name in pieces
    )
    settings = b"".join(field(number, value) for number, value in {3: MODELS[kind], **(trainer or {})}.items())
    rules = b"".join(field(number, value) for number, value in (normalizer or {}).items())
    return data + field(2, settings) + field(3, rules)


def with_bytes(pieces: Iterable[tuple[str, float, str]]) -> list[tuple[str, float, str]]:
    """The usual first three, the 256 bytes, then the pieces."""
    return [*BEGIN, *((f"<0x{byte:02X}>", 0.0, "byte") for byte in range(256)), *pieces]
