"""Rows from JSON: one object a line (JSON Lines), or one array of objects that may be longer than memory.

Texts are found by key; a dot leads into an object: "translation.en". Knows nothing of tables.
"""

import codecs
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sequencing.corpora.reading import Input, Lines, Rows, joined, one_line
from sequencing.corpora.tables import Columns
from sequencing.corpora.unpacking import ALL_PACKINGS
from sequencing_np.bytestream import read_chunks
from sequencing_np.config import nearest
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.text import BYTE_ORDER_MARK

ELEMENTS = 4096
LONGEST = 4  # times the limit of a text: as many characters may an element of an array have
BLANK = " \t\r\n"
MISSING = object()


class Keys(NamedTuple):
    """The keys of the sources and of the target."""

    sources: tuple[str, ...]
    target: str


def read_jsonl(files: Sequence[Input], columns: Columns) -> Iterator[Rows]:
    """An object a line. A blank line is a pair of empty texts."""
    (given,) = files
    lines = Lines(given)
    keys: Keys | None = None
    while count := lines.ready():
        first = lines.number + 1
        texts, bad = lines.take(count)
        documents: list[Any] = []
        for row, text in enumerate(texts):
            try:
                documents.append(json.loads(text))
            except (ValueError, RecursionError) as error:
                documents.append(None)
                if row not in bad and text.strip():
                    said = str(error) if isinstance(error, json.JSONDecodeError) else "too deep, or too long a number"
                    advice = "each line must be one JSON object"
                    if text.lstrip().startswith("["):
                        advice += '; for an array of objects set format = "json"'
                    where = f"{given.name}:{first + row}: no JSON ({said})"
                    given.bad_row(bad, row, "syntax", DataError(f"{where}; {advice}"))
                elif row not in bad:
                    bad[row] = ""  # blank
        keys = keys or first_keys(columns, documents)
        yield rows_of(documents, range(first, first + count), keys, given, bad)


def read_json(files: Sequence[Input], columns: Columns) -> Iterator[Rows]:
    """An array of objects; the number of a row is that of its element, from 1."""
    (given,) = files
    keys: Keys | None = None
    first = 1
    documents: list[Any] = []
    for document in elements(given):
        documents.append(document)
        if len(documents) == ELEMENTS:
            keys = keys or first_keys(columns, documents)
            yield rows_of(documents, range(first, first + len(documents)), keys, given, {})
            first, documents = first + len(documents), []
    keys = keys or first_keys(columns, documents)
    yield rows_of(documents, range(first, first + len(documents)), keys, given, {})
    given.done(first + len(documents) - 1)


def first_keys(columns: Columns, documents: Sequence[Any]) -> Keys | None:
    """The keys as configured; where they are left open, the first and the second text of the first object."""
    texts: list[str] = []
    if "" in (*columns.sources, columns.target):
        objects = [document for document in documents if isinstance(document, dict)]
        if not objects:
            return None
        texts = list(text_keys(objects[0]))
    sources = tuple(name or (texts[0] if texts else "") for name in columns.sources)
    target = columns.target or (texts[1] if len(texts) > 1 else "")
    if target and target in sources:
        raise ConfigError(
            f"corpus {columns.corpus!r}: source and target are the same key {target!r}; name both of them"
        )
    return Keys(sources, target)


def text_keys(document: dict[str, Any], depth: int = 8) -> Iterator[str]:
    """The keys of all texts of an object, in order."""
    for key, value in document.items():
        if isinstance(value, str):
            yield key
        elif isinstance(value, dict) and depth:
            yield from (f"{key}.{inner}" for inner in text_keys(value, depth - 1))


def rows_of(documents: list[Any], lines: Sequence[int], keys: Keys | None, given: Input, bad: dict[int, str]) -> Rows:
    """The texts of some objects. `bad` has reasons already, an empty one where the row is blank, not bad."""
    names = (*keys.sources, keys.target) if keys else ("", "")
    columns = [values(documents, name, lines, given, bad) for name in names]
    bad = {row: reason for row, reason in bad.items() if reason}
    columns = [one_line(texts, given, lines, bad) for texts in columns]
    return Rows(lines, joined(columns[:-1]), columns[-1], bad)


def values(documents: list[Any], name: str, lines: Sequence[int], given: Input, bad: dict[int, str]) -> list[str]:
    """The text that each object has under a key."""
    texts = []
    for row, document in enumerate(documents):
        value = document.get(name, MISSING) if isinstance(document, dict) else MISSING
        if value is MISSING and row not in bad:
            value = inner(document, name)
        if not isinstance(value, str):
            if row not in bad:
                where = f"{given.name}:{lines[row]}: {lacking(document, name, value)}"
                given.bad_row(bad, row, "value", DataError(f"{where}; or set on_bad_row = 'skip'"))
            value = ""
        texts.append(value)
    return texts


def inner(document: Any, name: str) -> Any:
    """What a key leads to: one that stands as it is written, or else the way that its dots describe."""
    if not isinstance(document, dict):
        return MISSING
    if name in document:
        return document[name]
    parts = name.split(".")
    ways = (inner(document.get(".".join(parts[:cut])), ".".join(parts[cut:])) for cut in range(1, len(parts)))
    return next((value for value in ways if value is not MISSING), MISSING)


def lacking(document: Any, name: str, value: Any) -> str:
    """What is wrong with a row that has no text under a key."""
    if not isinstance(document, dict):
        return f"{type(document).__name__} instead of an object; write {{{json.dumps(name or 'source')}: …}}"
    if value is MISSING:
        named = f"no key {name!r}" if name else "too few texts to guess which ones are meant"
        return f"{named}; {nearest(name, text_keys(document))}"
    return f"the value of {name!r} is {type(value).__name__}, not a text; name a key that holds a text"


def elements(given: Input) -> Iterator[Any]:
    """The elements of an array, one by one. What is not UTF-8 becomes halves of surrogate pairs, found later."""
    buffer = _Buffer(given)
    if not buffer.skip_blank():
        raise DataError(f"{given.name}: the file is empty; it must hold an array of objects: [{{…}}, {{…}}]")
    if buffer.next() != "[":
        raise buffer.broken('the file does not begin with [; for one object a line set format = "jsonl"')
    if buffer.skip_blank() and buffer.peek() == "]":
        buffer.next()
    else:
        while True:
            buffer.skip_blank()
            yield buffer.element()
            buffer.skip_blank()
            mark = buffer.next()
            if mark == "]":
                break
            if mark != ",":
                raise buffer.broken("neither , nor ] follows an element" if mark else "the file ends within the array")
    if buffer.skip_blank():
        raise buffer.broken("more text follows the array")


class _Buffer:
    """Characters of a file that are not used yet, read as they are needed."""

    def __init__(self, given: Input) -> None:
        self._input = given
        self._chunks = read_chunks(given.file, given.name, ALL_PACKINGS)
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._json = json.JSONDecoder()
        self._text, self._place, self._line = "", 0, 1  # line: of the first character of the text
        self._ended = self._begun = False

    def _more(self, size: int = 1) -> bool:
        """Reads until `size` characters more are at hand, if there are any."""
        self._line += self._text.count("\n", 0, self._place)
        parts, self._place = [self._text[self._place :]], 0
        while size > 0 and not self._ended:
            data = next(self._chunks, b"")
            if not self._begun:
                self._begun, mark = True, data.startswith(BYTE_ORDER_MARK)
                self._input.inputs.reading.bom += mark
                data = data[len(BYTE_ORDER_MARK) * mark :]
                self._ended = not data
            else:
                self._ended = not data
            parts.append(self._decoder.decode(data, final=self._ended))
            size -= len(parts[-1])
        found = sum(map(len, parts[1:])) > 0
        self._text = "".join(parts)
        return found

    def skip_blank(self) -> bool:
        """Goes to the next character that is not white space; false at the end."""
        while True:
            while self._place < len(self._text):
                if self._text[self._place] not in BLANK:
                    return True
                self._place += 1
            if not self._more():
                return False

    def peek(self) -> str:
        """The next character, "" at the end."""
        return self._text[self._place : self._place + 1]

    def next(self) -> str:
        """The next character, which is used up."""
        mark = self.peek()
        self._place += 1
        return mark

    def element(self) -> Any:
        """The value that begins here; more is read until it is whole, or longer than it may be."""
        while True:
            try:
                value, self._place = self._json.raw_decode(self._text, self._place)
                return value
            except json.JSONDecodeError as error:
                length = len(self._text) - self._place
                place, said = error.pos - self._place, error.msg
                if length > LONGEST * self._input.options.max_bytes or not self._more(length):
                    self._place = min(place, len(self._text))
                    raise self.broken(f"no JSON ({said}), or an element longer than the limit") from None
            except (ValueError, RecursionError):
                raise self.broken("an element is nested too deeply, or a number in it is too long") from None

    def broken(self, what: str) -> DataError:
        """The file is no array of objects from this place on."""
        line = self._line + self._text.count("\n", 0, self._place)
        return DataError(f"{self._input.name}:{line}: {what}; the file must be one JSON array of objects")
