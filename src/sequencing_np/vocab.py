"""The table of vocabularies, and the files that keep them.

What is typed `Vocabulary` may be any row of the table. Knows nothing of batches, models or embedding sizes.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sequencing_np.bytestream import name_of
from sequencing_np.delimited import Vocab, build_vocab, room_for
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.reversal import WRAPPED, ReversedVocab
from sequencing_np.special import Special, Vocabulary, check_token
from sequencing_np.text import read_lines
from sequencing_np.vectors import VectorVocab
from sequencing_np.writing import atomic_write

__all__ = [
    "LAYOUTS",
    "VOCABULARIES",
    "Special",
    "Vocab",
    "Vocabulary",
    "build_vocab",
    "load_vocab",
    "read_vocab",
    "save_vocab",
    "vocab_lines",
]

MAX_FILE_BYTES = 1 << 28  # other programs may write JSON in one line
COUNTED = re.compile(r"(.*)\t([0-9]{1,18})", re.DOTALL)


# Where the special ids lie in a vocabulary of n tokens. The last two are those of the original framework, which pads
# with EOS: that of its last version, and that of its README and its NumPy twin.
LAYOUTS: dict[str, Callable[[int], Special]] = {
    "sequencing": lambda n: Special(pad=0, unk=1, bos=2, eos=3),
    "head": lambda n: Special(pad=2, unk=0, bos=1, eos=2),
    "readme": lambda n: Special(pad=n + 2, unk=n, bos=n + 1, eos=n + 2),
}


def read_vocab(
    path: str | os.PathLike[str],
    delimiter: str = " ",
    layout: str = "sequencing",
    max_size: int | None = None,
    tags: Sequence[str] = (),
) -> Vocab:
    """A vocabulary from lines of `token` or `token<TAB>count`, in the order of the file.

    `layout` is a row of LAYOUTS and `max_size` caps the number of ids, special ones and tags included. Tags that the
    file lacks come first.
    """
    if layout not in LAYOUTS:
        raise ConfigError(f"the vocabulary layout is {layout!r}; it can be {', '.join(LAYOUTS)}")
    name = name_of(path)
    first: dict[str, int] = {}
    counts: list[int | None] = []
    for number, line in enumerate(read_lines(path), start=1):
        token, count = line, None
        if "\t" in line and line != "\t":  # a tab alone is a token
            if not (found := COUNTED.fullmatch(line)):
                raise DataError(f"{name}:{number}: {line[:60]!r} is neither a token nor token<TAB>count")
            token, count = found[1], int(found[2])
        check_token(token, f"{name}:{number}")
        if first.setdefault(token, number) != number:
            raise DataError(f"{name}:{number}: the token {token!r} is a duplicate of line {first[token]}; remove one")
        counts.append(count)
        if (count is None) != (counts[0] is None):
            raise DataError(f"{name}:{number}: either every line has a count or none; this one differs from line 1")
    if not first:
        raise DataError(f"{name}: the file is empty; a vocabulary has one token on each line")
    room = room_for(max_size, LAYOUTS[layout](0), tags)
    rows = list(zip(first, counts, strict=True))
    kept = set(tags).union([token for token in first if token not in tags][:room])
    absent = [(tag, None if counts[0] is None else 0) for tag in tags if tag not in first]
    rows = [*absent, *(row for row in rows if row[0] in kept)]
    known = [count for _, count in rows if count is not None]
    return Vocab([token for token, _ in rows], delimiter, LAYOUTS[layout](len(rows)), known or None, tags)


def vocab_lines(vocab: Vocab) -> Iterator[str]:
    """Lines that read_vocab reads: `token<TAB>count`, or `token` where counts are not known."""
    counts = vocab.counts or [None] * len(vocab)
    for token, count in zip(vocab.tokens, counts, strict=True):
        if token is not None:
            yield token if count is None else f"{token}\t{count}"


VOCABULARIES: dict[str, type[Vocabulary]] = {**WRAPPED, "reversed": ReversedVocab, "vectors": VectorVocab}


def save_vocab(vocab: Vocabulary, path: str | os.PathLike[str]) -> None:
    """Write a vocabulary as JSON, one token on each line."""
    with atomic_write(path) as file:
        file.write(json.dumps(vocab.to_json(), ensure_ascii=False, indent=1).encode() + b"\n")


def load_vocab(path: str | os.PathLike[str]) -> Vocabulary:
    """The vocabulary that save_vocab wrote; the kind in the file chooses the row of VOCABULARIES."""
    name = name_of(path)
    return vocabulary_of(json_object("\n".join(read_lines(path, max_bytes=MAX_FILE_BYTES)), name), name)


def json_object(text: str | bytes, name: str) -> dict[str, Any]:
    """What a vocabulary file holds, whoever wrote it; DataError where that is no JSON object."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: no vocabulary, as it is not JSON ({error})") from None
    if not isinstance(document, dict):
        raise DataError(f"{name}: no vocabulary: the JSON is of type {type(document).__name__}, not an object")
    return document


def vocabulary_of(document: dict[str, Any], name: str) -> Vocabulary:
    """The vocabulary that a document of ours describes."""
    kind = document.get("kind")
    if not isinstance(kind, str) or kind not in VOCABULARIES:
        raise DataError(f"{name}: the kind of the vocabulary is {kind!r}; it can be {', '.join(VOCABULARIES)}")
    try:
        return VOCABULARIES[kind].from_json(document)
    except DataError as error:
        raise DataError(f"{name}: {error}; load a file as `save_vocab` wrote it") from None
