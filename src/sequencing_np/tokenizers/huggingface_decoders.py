"""The decoders of a tokenizer.json: from tokens back to the text that they stand for."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sequencing_np.errors import DataError
from sequencing_np.piece_table import BYTES
from sequencing_np.tokenizers.documents import flag, only_keys, text_in
from sequencing_np.tokenizers.huggingface_text import BYTE_OF_CHARACTER, pattern_in
from sequencing_np.tokenizers.huggingface_words import METASPACE, scheme_in, sign_in

Decoder = Callable[[list[str]], list[str]]
CONTRACTIONS = ((" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
                (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"))  # fmt: skip


def byte_level(document: Mapping[str, Any]) -> Decoder:
    """Characters of bytes to those bytes; a token with another character in it is itself."""
    only_keys(document, ("type", "add_prefix_space", "trim_offsets", "use_regex"), "the decoder ByteLevel")

    def decode(tokens: list[str]) -> list[str]:
        data = bytearray()
        for token in tokens:
            codes = [BYTE_OF_CHARACTER.get(character) for character in token]
            known = [code for code in codes if code is not None]
            data += bytes(known) if len(known) == len(codes) else token.encode()
        return [data.decode("utf-8", "replace")]

    return decode


def metaspace(document: Mapping[str, Any]) -> Decoder:
    only_keys(document, METASPACE, "the decoder Metaspace")
    sign, added = sign_in(document), scheme_in(document) != "never"

    def decode(tokens: list[str]) -> list[str]:
        first = [token.replace(sign, "" if added else " ") for token in tokens[:1]]
        return [*first, *(token.replace(sign, " ") for token in tokens[1:])]

    return decode


def word_piece(document: Mapping[str, Any]) -> Decoder:
    only_keys(document, ("type", "prefix", "cleanup"), "the decoder WordPiece")
    prefix, cleanup = text_in(document, "prefix"), flag(document, "cleanup")

    def decode(tokens: list[str]) -> list[str]:
        found = []
        for row, token in enumerate(tokens):
            if row:
                token = token.removeprefix(prefix) if token.startswith(prefix) else f" {token}"
            for apart, together in CONTRACTIONS if cleanup else ():
                token = token.replace(apart, together)
            found.append(token)
        return found

    return decode


def byte_fallback(document: Mapping[str, Any]) -> Decoder:
    """Tokens such as <0x41> in a row are the bytes of a text; where they are none, each is U+FFFD."""
    only_keys(document, ("type",), "the decoder ByteFallback")

    def decode(tokens: list[str]) -> list[str]:
        found: list[str] = []
        waiting = bytearray()

        def flush() -> None:
            if waiting:
                try:
                    found.append(waiting.decode("utf-8"))
                except UnicodeDecodeError:
                    found.extend("\ufffd" * len(waiting))
                waiting.clear()

        for token in tokens:
            if token in BYTES:
                waiting.append(BYTES[token])
                continue
            flush()
            found.append(token)
        flush()
        return found

    return decode


def fuse(document: Mapping[str, Any]) -> Decoder:
    only_keys(document, ("type",), "the decoder Fuse")
    return lambda tokens: ["".join(tokens)]


def strip(document: Mapping[str, Any]) -> Decoder:
    only_keys(document, ("type", "content", "start", "stop"), "the decoder Strip")
    sign, most = text_in(document, "content"), [document.get("start"), document.get("stop")]
    if len(sign) != 1 or not all(type(count) is int and count >= 0 for count in most):
        raise DataError(f"the decoder Strip has content {sign!r} and {most}; it must be a character and two numbers")
    start, stop = (int(str(count)) for count in most)

    def decode(tokens: list[str]) -> list[str]:
        found = []
        for token in tokens:
            begin = min(start, len(token) - len(token.lstrip(sign)))
            end = min(stop, len(token) - len(token.rstrip(sign)))
            found.append(token[begin : max(begin, len(token) - end)])
        return found

    return decode


def replace(document: Mapping[str, Any]) -> Decoder:
    only_keys(document, ("type", "pattern", "content"), "the decoder Replace")
    pattern, content = pattern_in(document), text_in(document, "content")
    return lambda tokens: [pattern.sub(lambda _: content, token) for token in tokens]


def word_ends(document: Mapping[str, Any]) -> Decoder:
    only_keys(document, ("type", "suffix"), "the decoder BPEDecoder")
    suffix = text_in(document, "suffix")
    if not suffix:
        raise DataError("the decoder BPEDecoder has an empty suffix")

    def decode(tokens: list[str]) -> list[str]:
        last = [token.replace(suffix, "") for token in tokens[-1:]]
        return [*(token.replace(suffix, " ") for token in tokens[:-1]), *last]

    return decode


DECODER_TYPES: dict[str, Callable[[Mapping[str, Any]], Decoder]] = {
    "ByteLevel": byte_level,
    "Metaspace": metaspace,
    "WordPiece": word_piece,
    "ByteFallback": byte_fallback,
    "Fuse": fuse,
    "Strip": strip,
    "Replace": replace,
    "BPEDecoder": word_ends,
}


def settled(
    steps: Sequence[Mapping[str, Any]], ids: list[int], names: Sequence[str | None], decode: Callable[[list[int]], str]
) -> str:
    """How what `decode` makes of ids begins whatever ids follow; the steps are those that it is made of."""
    types = [step["type"] for step in steps]
    whole = min((types.index(kind) for kind in ("Fuse", "ByteLevel") if kind in types), default=len(types))
    for step in steps[whole + 1 :]:
        if step["type"] != "Fuse" and (step["type"] != "Strip" or step["stop"]):
            return ""  # what is done to a whole text, and not to its start alone, is known at the end
    if "ByteFallback" in types:
        while ids and names[ids[-1]] in BYTES:  # whether they are a character tells the last of them
            ids = ids[:-1]
    text = decode(ids)
    if "BPEDecoder" in types:  # it looks at the last token in another way
        shorter = decode(ids[:-1])
        text = shorter if text.startswith(shorter) else ""
    return text.rstrip("\ufffd")
