"""The normalizers of a tokenizer.json: from a text to the text that is cut."""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sequencing_np.errors import DataError
from sequencing_np.tokenizers.character_classes import PATTERNS, SPACES, members, translated
from sequencing_np.tokenizers.charsmap import CharsMap
from sequencing_np.tokenizers.documents import base64_of, flag, only_keys, text_in
from sequencing_np.tokenizers.graphemes import graphemes

Normalizer = Callable[[str], str]
MOST_STEPS = 32  # of a component, those of sequences in sequences included
LONGEST = 64  # characters that a step may write for what it finds
LARGEST_GROWTH = 256  # characters that steps may make of one
HAN = (
    "\u4e00-\u9fff\u3400-\u4dbf\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f\U0002b920-\U0002ceaf"
    "\uf900-\ufaff\U0002f800-\U0002fa1f"
)
LARGEST_GRAPHEME = 6  # bytes: from here on its characters are rewritten one by one
BYTE_CHARACTERS = [*range(33, 127), *range(161, 173), *range(174, 256)]


def byte_characters() -> list[str]:
    """How each byte is written where tokens are bytes: itself where it can be seen, else a character from 256 on."""
    other = iter(range(256, 512))
    return [chr(byte if byte in BYTE_CHARACTERS else next(other)) for byte in range(256)]


CHARACTER_OF_BYTE = byte_characters()
BYTE_OF_CHARACTER = {character: byte for byte, character in enumerate(CHARACTER_OF_BYTE)}


def in_bytes(text: str) -> str:
    """A text as the characters of its bytes."""
    return "".join([CHARACTER_OF_BYTE[byte] for byte in text.encode()])


def pattern_in(document: Mapping[str, Any]) -> re.Pattern[str]:
    """What "pattern" finds: a text, or a regular expression if it is one of those that are known."""
    found = document.get("pattern")
    if isinstance(found, dict) and set(found) == {"String"}:
        return re.compile(re.escape(text_in(found, "String")))
    if not isinstance(found, dict) or set(found) != {"Regex"}:
        raise DataError(f"'pattern' is {found!r}; it must be an object with String or Regex")
    if found["Regex"] not in PATTERNS:
        raise DataError(f"the regular expression {found['Regex']!r} is not supported; known ones are {PATTERNS}")
    return translated(found["Regex"])


def check_growth(before: int, after: int) -> None:
    """DataError where steps make a text so much longer that no tokenizer means it."""
    if after > LARGEST_GROWTH * (before + 1):
        raise DataError(f"the tokenizer makes {after} characters of {before}; its steps are damaged")


def written(document: Mapping[str, Any], name: str) -> str:
    """What a step writes."""
    text = text_in(document, name)
    if len(text) > LONGEST:
        raise DataError(f"{name!r} has {len(text)} characters; {LONGEST} are the most that are supported")
    return text


def lower(text: str) -> str:
    """Each character alone: a sigma at the end of a word is as any other."""
    return text.lower() if text.isascii() else "".join(map(str.lower, text))


def precompiled(document: Mapping[str, Any]) -> Normalizer:
    """SentencePiece's rules, applied to what readers see as one character."""
    only_keys(document, ("type", "precompiled_charsmap"), "the normalizer Precompiled")
    rules = CharsMap(base64_of(document, "precompiled_charsmap"))

    def rewritten(cluster: str) -> str:
        if len(cluster.encode()) < LARGEST_GRAPHEME and (found := rules.shortest(cluster)) is not None:
            return found
        parts = ((character, rules.shortest(character)) for character in cluster)
        return "".join(character if found is None else found for character, found in parts)

    known: dict[str, str] = {}

    def normalize(text: str) -> str:
        parts = []
        for cluster in graphemes(text):
            found = known.get(cluster)
            if found is None:
                found = rewritten(cluster)
                if len(known) < 1 << 16 and len(cluster) < LARGEST_GRAPHEME:
                    known[cluster] = found
            parts.append(found)
        return "".join(parts)

    return normalize


def bert(document: Mapping[str, Any]) -> Normalizer:
    """What BERT does: controls out, Chinese characters words of their own, accents off, lower case."""
    names = ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
    only_keys(document, ("type", *names), "the normalizer BertNormalizer")
    clean, chinese, lowercase = flag(document, names[0]), flag(document, names[1]), flag(document, names[3])
    strip = flag(document, names[2], lowercase)
    spaces = re.compile(f"[{SPACES}]")
    controls = re.compile(f"(?![\t\n\r])[\0\ufffd{members('Cc', 'Cf', 'Co')}]")
    han = re.compile(f"([{HAN}])")

    def normalize(text: str) -> str:
        if clean:
            text = spaces.sub(" ", controls.sub("", text))
        if chinese:
            text = han.sub(r" \1 ", text)
        if strip and not text.isascii():
            decomposed = unicodedata.normalize("NFD", text)
            text = "".join([character for character in decomposed if unicodedata.category(character) != "Mn"])
        return lower(text) if lowercase else text

    return normalize


def replacing(document: Mapping[str, Any]) -> Normalizer:
    only_keys(document, ("type", "pattern", "content"), "the normalizer Replace")
    pattern, content = pattern_in(document), written(document, "content")
    return lambda text: pattern.sub(lambda _: content, text)


def prepending(document: Mapping[str, Any]) -> Normalizer:
    only_keys(document, ("type", "prepend"), "the normalizer Prepend")
    front = written(document, "prepend")
    return lambda text: front + text if text else text


def stripping(document: Mapping[str, Any]) -> Normalizer:
    names = ("strip_left", "strip_right")
    only_keys(document, ("type", *names), "the normalizer Strip")
    left, right = (flag(document, name) for name in names)
    ends = [pattern for wanted, pattern in ((left, rf"\A[{SPACES}]+"), (right, rf"[{SPACES}]+\Z")) if wanted]

    def normalize(text: str) -> str:
        characters = re.sub(f"[{SPACES}]", " ", text)
        begin = len(text) - len(characters.lstrip(" ")) if left else 0
        end = len(characters.rstrip(" ")) if right else len(text)
        return text[begin : max(begin, end)]

    return normalize if ends else str


def without_marks(text: str) -> str:
    """A text without combining marks."""
    return text if text.isascii() else "".join([c for c in text if unicodedata.category(c)[0] != "M"])


def plain(function: Normalizer) -> Callable[[Mapping[str, Any]], Normalizer]:
    """A normalizer that has no settings."""

    def make(document: Mapping[str, Any]) -> Normalizer:
        only_keys(document, ("type",), f"the normalizer {document['type']}")
        return function

    return make


def unicode_form(document: Mapping[str, Any]) -> Normalizer:
    only_keys(document, ("type",), f"the normalizer {document['type']}")
    form: Any = document["type"]
    return lambda text: unicodedata.normalize(form, text)


NORMALIZERS: dict[str, Callable[[Mapping[str, Any]], Normalizer]] = {
    **dict.fromkeys(("NFC", "NFD", "NFKC", "NFKD"), unicode_form),
    "Lowercase": plain(lower),
    "StripAccents": plain(without_marks),
    "ByteLevel": plain(in_bytes),
    "Strip": stripping,
    "Replace": replacing,
    "Prepend": prepending,
    "BertNormalizer": bert,
    "Precompiled": precompiled,
}


def steps(document: Any, inner: str, what: str) -> list[Mapping[str, Any]]:
    """The parts of a component, those of sequences in it in their order; nothing where it is null."""
    found: list[Mapping[str, Any]] = []
    waiting = [document] if document is not None else []
    for _ in range(10 * MOST_STEPS):
        if not waiting:
            break
        step = waiting.pop(0)
        if not isinstance(step, dict) or not isinstance(step.get("type"), str):
            raise DataError(f"a {what} is {str(step)[:60]}; it must be an object with a type")
        if step["type"] != "Sequence":
            found.append(step)
            continue
        only_keys(step, ("type", inner), f"the {what} Sequence")
        if not isinstance(step.get(inner), list):
            raise DataError(f"the {what} Sequence has no list {inner!r}")
        waiting = [*step[inner], *waiting]
    if waiting or len(found) > MOST_STEPS:
        raise DataError(f"the {what} has more than {MOST_STEPS} steps")
    return found


def made(
    document: Any, inner: str, what: str, table: Mapping[str, Callable[[Mapping[str, Any]], Any]]
) -> Sequence[Any]:
    """The steps of a component, each made by its row of a table."""
    result = []
    for step in steps(document, inner, what):
        if step["type"] not in table:
            raise DataError(
                f"the {what} {step['type']!r} is not supported; it can be {', '.join(['Sequence', *table])}"
            )
        result.append(table[step["type"]](step))
    return result
