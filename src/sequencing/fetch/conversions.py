"""Lines of public corpora to lines of `source<TAB>target`: one function a format, and a table of them.

A function gets a line and the codes that the user gave; it answers with the new line, or with None for a line that
holds no pair (a comment). What it cannot read is a ValueError with the reason; the caller knows the file and the line.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from sequencing_np.errors import DataError
from sequencing_np.text import read_lines

Codes = Mapping[str, str]  # {source}, {target} … of a catalogue's texts
Conversion = Callable[[str, Codes], str | None]

SCAN = re.compile(r"IN: (.+?) OUT: (.+)")
VARIANT = re.compile(r"\(\d+\)$")
FEATURE = re.compile(r"(?:\((?:\([^()]*\)|[^()])*\)|[^;()])+")  # between semicolons, not those within brackets
STRESS = re.compile(r"\d")


def as_it_is(line: str, codes: Codes) -> str:
    """For files that are put together from several, or unpacked."""
    return line


def first_two(line: str, codes: Codes) -> str:
    """The first two of several columns."""
    columns = line.split("\t")
    if len(columns) < 2:
        raise ValueError("one column instead of two or more")
    return "\t".join(columns[:2])


def english_first(line: str, codes: Codes) -> str:
    """ManyThings: English, the other language, perhaps an attribution; turned round where English is the target."""
    source, target = first_two(line, codes).split("\t")
    return f"{source}\t{target}" if codes["source"] == "eng" else f"{target}\t{source}"


def scan(line: str, codes: Codes) -> str:
    """SCAN: `IN: jump twice OUT: I_JUMP I_JUMP`."""
    found = SCAN.fullmatch(line.strip())
    if found is None:
        raise ValueError("not of the form 'IN: command OUT: actions'")
    return f"{found[1]}\t{found[2]}"


def dictionary(line: str, codes: Codes) -> str | None:
    """CMUdict: `WORD(1)  F OW1 N Z`; a number in brackets counts the pronunciations of a word; `;;;` is a comment."""
    if line.startswith(";;;") or not line.strip():
        return None
    word, *phones = line.split()
    if not phones:
        raise ValueError("a word without phones")
    if "#" in phones:  # what follows is a comment
        phones = phones[: phones.index("#")]
    return f"{VARIANT.sub('', word)}\t{' '.join(phones)}"


def dictionary_without_stress(line: str, codes: Codes) -> str | None:
    """CMUdict without the digits that say which vowel is stressed."""
    entry = dictionary(line, codes)
    if entry is None:
        return None
    word, phones = entry.split("\t")
    return f"{word}\t{STRESS.sub('', phones)}"


def inflection(line: str, codes: Codes) -> str:
    """SIGMORPHON: `gehen  V;PST;NOM(1,SG)  ging` becomes `g e h e n <V> <PST> <NOM(1,SG)>` and `g i n g`."""
    columns = line.split("\t")
    if len(columns) != 3:
        raise ValueError(f"{len(columns)} columns instead of lemma, features, form")
    lemma, features, form = (column.replace(" ", "_") for column in columns)
    return f"{' '.join(lemma)} {' '.join(f'<{each}>' for each in FEATURE.findall(features))}\t{' '.join(form)}"


CONVERSIONS: dict[str, Conversion] = {
    "lines": as_it_is,
    "columns": first_two,
    "manythings": english_first,
    "scan": scan,
    "cmudict": dictionary,
    "cmudict_without_stress": dictionary_without_stress,
    "sigmorphon_inflection": inflection,
}


class Chunks:
    """Chunks of bytes as a binary stream that read_lines takes."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)

    def read1(self, size: int, /) -> bytes:
        """The next chunk that is not empty, or nothing at the end."""
        return next((chunk for chunk in self._chunks if chunk), b"")


def each_line_utf8(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same text in UTF-8, where each line that is not UTF-8 is Latin-1: every byte is a letter there."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (as_utf8(line) + b"\n" for line in lines)
    yield as_utf8(rest)


def as_utf8(line: bytes) -> bytes:
    """A line in UTF-8 as it is, any other read as Latin-1."""
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return line.decode("latin-1").encode()
    return line


ENCODINGS: dict[str, Callable[[Iterable[bytes]], Iterable[bytes]]] = {
    "utf-8": iter,
    "utf-8 or latin-1": each_line_utf8,
}


class Format(NamedTuple):
    """How a file is read."""

    convert: str  # a row of CONVERSIONS
    encoding: str  # a row of ENCODINGS
    codes: Codes


def converted(chunks: Iterable[bytes], name: str, form: Format) -> Iterator[str]:
    """The new lines of a file, packed or not; DataError names the first line that cannot be read."""
    conversion = CONVERSIONS[form.convert]
    lines = read_lines(Chunks(ENCODINGS[form.encoding](chunks)), name=name)
    for number, text in enumerate(lines, 1):
        try:
            line = conversion(text, form.codes)
        except ValueError as error:
            advice = "the file is not what the catalogue says, perhaps a newer one"
            raise DataError(f"{name}:{number}: {error}: {text[:60]!r}; {advice}") from None
        if line is not None:
            yield line
