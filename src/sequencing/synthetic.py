"""Text of one language to pairs to train on, by a model that translates it; a file of them goes on where it was ended.

The text may be what is to be said, and the model makes its sources (back-translation, Sennrich et al. 2016, "Improving
Neural Machine Translation Models with Monolingual Data"); or it is source text, and the model says what is to be
learnt (sequence-level distillation, Kim and Rush 2016, section 3.2), or of its answers the one nearest to a given
target (their section 3.3). Row n belongs to line n.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any, NamedTuple

from sequencing.process import alone
from sequencing_np import disk
from sequencing_np.config import changes, parse_json
from sequencing_np.errors import ConfigError, DataError, UsageError
from sequencing_np.mbr import UTILITIES
from sequencing_np.search import SearchConfig
from sequencing_np.special import Vocabulary, tag_pattern
from sequencing_np.translate import Translator
from sequencing_np.translation import Translation
from sequencing_np.writing import atomic_write

SAVED_EVERY = 5.0  # seconds: what is lost at most where a process is killed, and one window


class Form(NamedTuple):
    """How a line and what the model says to it make a pair."""

    forward: bool = False  # the line is the source, the answer the target; else the other way round
    tag: str = ""  # what stands before each source
    texts: int = 1  # that a line may hold, with tabs between
    nearest: str = ""  # a row of UTILITIES: a line is source and target, and the answer nearest to that is taken

    def row(self, line: str, answer: str) -> str:
        """`source<tab>target`; the source is empty where there is none, and training passes such a pair over."""
        answer = answer.replace("\n", " ").replace("\t", " ")
        source, target = (line, answer) if self.forward else (answer, line)
        return f"{self.tag if source.strip() else ''}{source}\t{target}"

    def check(self, line: str, number: int) -> None:
        """DataError where a line would not be a column of a pair."""
        if self.nearest:
            if line.strip() and line.count("\t") != self.texts:
                raise DataError(
                    f"line {number}: holds {line.count(chr(9))} tabs instead of {self.texts}; with --nearest a line is "
                    "source<tab>target"
                )
        elif line.strip() and line.count("\t") != self.texts - 1:
            raise DataError(
                f"line {number}: holds {line.count(chr(9))} tabs instead of {self.texts - 1}; in the pairs that are "
                "written tabs stand between source and target, so replace them"
            )


def form_of(translator: Translator, forward: bool, tag: str, nearest: str = "") -> Form:
    """The form of the pairs that a model makes; UsageError where it cannot make them, or the tag is none."""
    if not forward and translator.source_vocab.columns > 1:
        raise UsageError(
            f"the model reads {translator.source_vocab.columns} texts a line, so it cannot make a source of a target; "
            "give a model that reads the target's language alone, or --forward"
        )
    if not forward and translator.source_vocab.vector_size:
        raise UsageError(
            "the model reads vectors, so it cannot make a source of a target; give a model that reads the target's "
            "language, or --forward"
        )
    side = translator.source_vocab if forward else translator.target_vocab
    return Form(forward, tag and tag + separator(tag, side), translator.source_vocab.columns, nearest)


def separator(tag: str, vocab: Vocabulary) -> str:
    """What stands between a tag and a text: what does between tokens; where that is not known, a space."""
    document = vocab.to_json()
    found: str = document.get("each", document).get("delimiter", " ")
    try:
        tag_pattern([tag], found)
    except DataError as error:
        raise UsageError(f"--tag: {error}") from None
    return found


def nearest(translation: Translation, target: str, utility: str) -> str:
    """The best answer; with a utility the one that it finds best if the target is right, the first of equal ones."""
    texts = list(dict.fromkeys(answer.text for answer in translation.answers))
    if not utility or len(texts) < 2:
        return translation.text
    if target in texts:
        return target
    return texts[int(UTILITIES[utility]([*texts, target])[:-1, -1].argmax())]


class Made(NamedTuple):
    """The pairs of a window of lines."""

    lines: list[str]
    rows: list[str]
    unanswered: list[int]  # numbers of lines, from 1, to which the model said NaN


def made(
    translator: Translator, lines: Iterator[str], search: SearchConfig, form: Form, window: int, first: int = 0
) -> Iterator[Made]:
    """The pairs of all lines, window by window; `first` lines stood before them."""
    while part := list(islice(lines, window)):
        for number, line in enumerate(part, first + 1):
            form.check(line, number)
        texts, targets = part, [""] * len(part)
        if form.nearest:
            texts, targets = ([line.rpartition("\t")[place] for line in part] for place in (0, 2))
        found = translator.translate(texts, search, first)
        told = [nearest(each, target, form.nearest) for each, target in zip(found, targets, strict=True)]
        rows = [form.row(line, answer) for line, answer in zip(texts, told, strict=True)]
        yield Made(part, rows, [number for number, each in enumerate(found, first + 1) if not each.answers])
        first += len(part)


# --- a file of them -------------------------------------------------------------------------------------------------


class Begun(NamedTuple):
    """How far a file is, as its notes have it."""

    lines: int = 0
    bytes: int = 0
    unanswered: int = 0  # of those lines
    sha256: str = ""  # of those lines


class PairFile:
    """Pairs on their way to a file: NAME.part holds them, NAME.part.json says what they were made of.

    `settings` are what the pairs depend on besides the text.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path, self.settings = path, settings
        self.part, self.notes = (path.with_name(f"{path.name}{end}") for end in (".part", ".part.json"))

    def begun(self) -> Begun:
        """How far it is; UsageError where it was begun with other settings."""
        try:
            values = parse_json(self.notes.read_bytes().decode(), str(self.notes))
            begun, settings = Begun(**values["begun"]), values["settings"]
            if not begun.lines or self.part.stat().st_size < begun.bytes:
                return Begun()
        except (OSError, UnicodeDecodeError, ConfigError, KeyError, TypeError):
            return Begun()
        for key, old, new in changes(settings, self.settings):
            raise UsageError(
                f"{self.part}: was begun with another {key} ({old!r}, now {new!r}); go on with the same, or delete it"
            )
        return begun

    def write(self, lines: Iterable[str], make: Callable[[Iterator[str], int], Iterator[Made]], say: Say) -> Begun:
        """Pairs of all lines, behind those that are there already; then the file gets its name."""
        with self.part.open("ab"):  # there it is, to be locked
            pass
        with alone(self.part, f"{self.part}: another process writes it at this moment; wait for it, or end it"):
            begun = self.begun()
            lines, seen = iter(lines), hashlib.sha256()
            for line in islice(lines, begun.lines):
                note(seen, line)
            if begun.lines:
                if seen.hexdigest() != begun.sha256:
                    raise DataError(
                        f"{self.part}: the first {begun.lines:,} lines of the text are not those that it was made of; "
                        "give that text, or delete it to begin again"
                    )
                say(f"going on after line {begun.lines:,}")
            with self.part.open("r+b") as file:
                file.truncate(begun.bytes)
                file.seek(begun.bytes)
                done = self.append(file, begun, make(lines, begun.lines), seen)
            disk.move(self.part, self.path)
            disk.sync_folder(self.path.parent)
            self.notes.unlink(missing_ok=True)
        return done

    def append(self, file: IO[bytes], begun: Begun, windows: Iterator[Made], seen: Any) -> Begun:
        """Write windows; now and then, and whatever ends it, note how far it is."""
        saved = time.monotonic()
        try:
            for rows in windows:
                data = "".join(f"{row}\n" for row in rows.rows).encode()
                file.write(gzip.compress(data, mtime=0) if self.path.name.endswith(".gz") else data)
                for line in rows.lines:
                    note(seen, line)
                lines, unanswered = begun.lines + len(rows.lines), begun.unanswered + len(rows.unanswered)
                begun = Begun(lines, file.tell(), unanswered, seen.hexdigest())
                if time.monotonic() - saved >= SAVED_EVERY:
                    self.save(file, begun)
                    saved = time.monotonic()
        except BaseException:
            with suppress(OSError):
                if begun.lines:
                    self.save(file, begun)
                else:
                    self.part.unlink()
            raise
        disk.sync(file)
        return begun

    def save(self, file: IO[bytes], begun: Begun) -> None:
        """Note how far it is, once that is on the disk."""
        disk.sync(file)
        with atomic_write(self.notes) as notes:
            notes.write(json.dumps({"settings": self.settings, "begun": begun._asdict()}, indent=1).encode())


Say = Callable[[str], object]


def note(seen: Any, line: str) -> None:
    """Take a line into a check sum."""
    seen.update(line.encode() + b"\n")
