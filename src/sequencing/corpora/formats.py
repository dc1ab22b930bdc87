"""The corpora of `prepare`: which files they are, which format each is in, and their rows in blocks.

A file is read once, from its beginning to its end, so that pipes and standard input will do. Only LF separates lines.
What is packed is known by its first bytes; the format by the shape of the entry and the name of the file.
"""

import glob
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sequencing.corpora.documents import read_json, read_jsonl
from sequencing.corpora.reading import Input, Inputs, ReadOptions, Rows, regrouped
from sequencing.corpora.tables import Columns, read_csv, read_parallel, read_tsv
from sequencing.data.hashed_file import HashedFile, open_once
from sequencing_np.config import nearest, require
from sequencing_np.errors import ConfigError, DataError

__all__ = [
    "FORMATS",
    "Block",
    "CorpusConfig",
    "Format",
    "Inputs",
    "Part",
    "ReadOptions",
    "parts_of",
    "read_blocks",
]

ROWS = 20_000
WILD = "*?["


class Format(NamedTuple):
    """A way to write pairs: in one file or in several side by side, and what reads their rows."""

    several: bool
    names: tuple[str, ...]  # how such a file ends
    read: Callable[[Sequence[Input], Columns], Iterator[Rows]]


FORMATS = {
    "tsv": Format(False, (), read_tsv),
    "parallel": Format(True, (), read_parallel),
    "csv": Format(False, (".csv",), read_csv),
    "json": Format(False, (".json",), read_json),
    "jsonl": Format(False, (".jsonl", ".ndjson"), read_jsonl),
}
PACKED = (".gz", ".xz", ".zst")


@dataclass(frozen=True)
class CorpusConfig:
    """One table [[corpora]]: pairs that are seen with one weight and one tag."""

    name: str
    files: tuple[
        str | tuple[str, ...], ...
    ]  # each a file, a pattern (*), "-", or parallel files ["text.en", "text.de"]
    format: str = "auto"  # a row of FORMATS; auto goes by the shape and the name, and takes anything else for tsv
    source: str = ""  # the column of the source: its name, key or number from 1; of several sources "1,3"; "" the first
    target: str = ""  # the column of the target; "" the second
    weight: float = 1.0  # how often a pair is seen for each time that a pair of weight 1 is
    tag: str = ""  # put in front of each source with a space, as <2de>

    def __post_init__(self) -> None:
        require(bool(self.name.strip()), f"name = {self.name!r}: give the corpus a name")
        require(
            bool(self.files) and all(entry and all(entry) for entry in self.files),
            f"corpus {self.name!r}: files = {list(self.files)!r}; name at least one file, and none without a name",
        )
        known = ("auto", *FORMATS)
        require(self.format in known, f"corpus {self.name!r}: format = {self.format!r}: {nearest(self.format, known)}")
        require(
            math.isfinite(self.weight) and self.weight > 0,
            f"corpus {self.name!r}: weight = {self.weight}; it must be above 0; leave the corpus out otherwise",
        )
        require(
            self.tag == " ".join(self.tag.split()),
            f"corpus {self.name!r}: tag = {self.tag!r}; it must be words with one space between them, such as <2de>",
        )


class Part(NamedTuple):
    """Files that are read side by side, and how."""

    corpus: int  # index of the corpus
    paths: tuple[Path, ...]
    format: str


class Block(NamedTuple):
    """Consecutive rows of one file."""

    corpus: int  # index of the corpus
    file: str  # as errors and reports call it
    first: int  # the line of the first row, from 1; in a JSON array its element
    sources: list[str]
    targets: list[str]  # as long as sources; both "" at a bad row
    bad: dict[int, str]  # row in this block -> reason, a key of REASONS in cleaning.py
    lines: Sequence[int] = ()  # the line of each row, where a row of CSV is longer than one line; else empty

    def numbers(self) -> Sequence[int]:
        """The line of each row."""
        return self.lines or range(self.first, self.first + len(self.sources))


def read_blocks(
    corpora: Sequence[CorpusConfig], folder: Path, options: ReadOptions, rows: int = ROWS, inputs: Inputs | None = None
) -> Iterator[Block]:
    """All rows of all corpora, in order, in blocks of one file and at most `rows` rows.

    Paths are relative to `folder`. What was read stands in `inputs` in the end. Raises DataError for what cannot be
    read, ConfigError for what cannot be meant; that no file is missing is known before the first block is read.
    """
    parts = parts_of(corpora, folder)
    return _blocks(corpora, parts, options, rows, inputs or Inputs())


def _blocks(
    corpora: Sequence[CorpusConfig], parts: Sequence[Part], options: ReadOptions, rows: int, inputs: Inputs
) -> Iterator[Block]:
    for part in parts:
        config = corpora[part.corpus]
        columns = Columns(tuple(name.strip() for name in config.source.split(",")), config.target.strip(), config.name)
        with ExitStack() as stack:
            files = [stack.enter_context(HashedFile(path, open_once)) for path in part.paths]
            given = [Input(file, options, inputs) for file in files]
            for lines, sources, targets, bad in regrouped(FORMATS[part.format].read(given, columns), rows):
                consecutive = lines[-1] - lines[0] == len(lines) - 1
                yield Block(part.corpus, given[0].name, lines[0], sources, targets, bad, () if consecutive else lines)


def parts_of(corpora: Sequence[CorpusConfig], folder: Path) -> list[Part]:
    """The files of all corpora, patterns resolved. Raises where one is missing, or standard input is named twice."""
    parts = []
    for index, config in enumerate(corpora):
        place = f"corpus {config.name!r}"
        for entry in config.files:
            names = (entry,) if isinstance(entry, str) else entry
            kind = format_of(config, names)
            matched = [matches(name, folder, place) for name in names]
            if len({len(paths) for paths in matched}) > 1:
                said = ", ".join(f"{name} matches {len(paths)}" for name, paths in zip(names, matched, strict=True))
                raise DataError(f"{place}: {said}; patterns of parallel files must match equally many, paired in order")
            parts += [Part(index, paths, kind) for paths in zip(*matched, strict=True)]
    often = Counter(path for part in parts for path in part.paths)
    if often[Path("-")] > 1:
        raise ConfigError(f"standard input (-) is named {often[Path('-')]} times; it can be read once")
    return parts


def format_of(config: CorpusConfig, names: Sequence[str]) -> str:
    """The format of an entry: as configured, or by its shape and the end of its name."""
    several = len(names) > 1
    if config.format == "auto" and several:
        return "parallel"
    if config.format == "auto":
        name = names[0].lower() if names else ""
        for end in PACKED:
            name = name.removesuffix(end)
        return next((kind for kind, row in FORMATS.items() if row.names and name.endswith(row.names)), "tsv")
    if FORMATS[config.format].several != several:
        wanted = 'files side by side: [["text.en", "text.de"]]' if not several else "single files"
        raise ConfigError(
            f"corpus {config.name!r}: {list(names)!r} with format = {config.format!r}; this format wants {wanted}"
        )
    return config.format


def matches(name: str, folder: Path, place: str) -> list[Path]:
    """The file of a name, or the files that match a pattern, sorted."""
    if name == "-":
        return [Path("-")]
    path = folder / name
    try:
        if not any(mark in name for mark in WILD) or path.exists():
            return [path]
        found = [folder / each for each in glob.glob(name, root_dir=folder, recursive=True)]  # noqa: PTH207 (from /)
        files = sorted(each for each in found if not each.is_dir())
    except (OSError, ValueError) as error:
        raise DataError(f"{place}: {name!r} cannot be looked for ({error})") from None
    if not files:
        raise DataError(f"{place}: no file matches {name!r} in {folder}; look at the pattern and the folder")
    return files
