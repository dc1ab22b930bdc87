"""Parallel text: TSV files, or pairs of files with one sentence per line, plain, gzip or xz, several in order.

`check` reads every byte once before training begins: equal line counts, UTF-8, whole gzip files, two columns. Pairs
that cannot be used (a side that is empty or only white space, a line over the byte limit) are skipped and counted.
Where each target has several sources, there are as many columns or files more, and the source of a pair is all of them
with tabs between; some of them may be empty, not all.
Knows nothing of tokens, vocabularies or batches; limits in tokens are applied by sampling.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from sequencing.data.hashed_file import HashedFile
from sequencing_np.columns import TAB, counted
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.text import MAX_BYTES, Reading, read_each_line

FilePath = str | os.PathLike[str]
FIRST = 3  # so many positions of whatever is counted are kept to be shown
ENDED = "\n"  # what no line is


class Entry(NamedTuple):
    """A usable pair and where its source stands."""

    source: str
    target: str
    file: str
    line: int


class FilePrint(NamedTuple):
    """What a file is recognised by when training continues; FilePrint(*row) reads the list that JSON makes."""

    file: str
    size: int
    sha256: str
    lines: int


@dataclass(slots=True)
class Counted:
    """How often something was met, and where first, as file:line."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def note(self, file: str, line: int) -> None:
        """Counts one more."""
        self.count += 1
        if len(self.first) < FIRST:
            self.first.append(f"{file}:{line}")


@dataclass(frozen=True)
class CorpusReport:
    """What a corpus holds; `dataclasses.asdict` makes it ready for JSON."""

    name: str
    lines: int  # pairs of lines, unusable ones too
    kept: int
    empty: Counted  # a side is empty or only white space
    too_long: Counted  # a side has more bytes than the limit
    byte_order_marks: int
    carriage_returns: int  # lines that ended in CR LF
    controls: int  # C0 characters but TAB, NUL included
    fingerprint: tuple[FilePrint, ...]

    def summary(self) -> str:
        """The counts as one line for a log."""
        text = f"{self.name}: {self.kept:,} of {self.lines:,} pairs"
        for reason, met in (("with an empty side", self.empty), ("over the byte limit", self.too_long)):
            if met.count:
                text += f"; {met.count:,} {reason} skipped (first: {', '.join(met.first)})"
        return text


class References(NamedTuple):
    """Each different source once, in the order of the corpus, with all its targets."""

    sources: list[str]
    references: list[list[str]]


@dataclass(slots=True)
class Tally:
    """What was met on one way through a corpus."""

    lines: int = 0
    empty: Counted = field(default_factory=Counted)
    too_long: Counted = field(default_factory=Counted)
    readings: list[Reading] = field(default_factory=list)
    prints: list[FilePrint] = field(default_factory=list)


class Corpus:
    """Pairs of lines. `files` are TSV files `"pairs.tsv.gz"` or pairs of files `["text.en.gz", "text.de.gz"]`.

    With several `sources`, TSV files have so many columns before the target, and so many files stand before its file.
    """

    def __init__(
        self,
        files: Sequence[FilePath | Sequence[FilePath]],
        name: str = "corpus",
        max_bytes: int = MAX_BYTES,
        sources: int = 1,
    ) -> None:
        if isinstance(files, (str, os.PathLike)):
            raise ConfigError(f"{name} = {os.fspath(files)!r}: give a list of files, such as [{os.fspath(files)!r}]")
        self.name, self.max_bytes, self.sources = name, max_bytes, sources
        self.parts = [part_paths(part, name, sources) for part in files]
        if not self.parts:
            raise ConfigError(f"{name}: no files; give at least one TSV file or one pair of files")

    def check(self) -> CorpusReport:
        """Reads everything once. Raises DataError for what cannot be read, and when no usable pair is left."""
        tally = Tally()
        kept = sum(1 for _ in self._entries(tally))
        if not kept:
            files = ", ".join(str(path) for part in self.parts for path in part)
            raise DataError(
                f"{self.name}: no usable pair in {files}: {tally.lines} lines, {tally.empty.count} with an empty side, "
                f"{tally.too_long.count} over {self.max_bytes} bytes; give text with at least one pair"
            )
        return CorpusReport(
            name=self.name,
            lines=tally.lines,
            kept=kept,
            empty=tally.empty,
            too_long=tally.too_long,
            byte_order_marks=sum(reading.bom for reading in tally.readings),
            carriage_returns=sum(reading.crlf for reading in tally.readings),
            controls=sum(reading.control for reading in tally.readings),
            fingerprint=tuple(tally.prints),
        )

    def entries(self) -> Iterator[Entry]:
        """The usable pairs and where they stand, read as they are asked for."""
        return self._entries(Tally())

    def pairs(self) -> Iterator[tuple[str, str]]:
        """The usable pairs (source, target), read as they are asked for."""
        return ((entry.source, entry.target) for entry in self.entries())

    def _entries(self, tally: Tally) -> Iterator[Entry]:
        for paths in self.parts:
            read, name = read_tsv if len(paths) == 1 else read_parallel, str(paths[0])
            for number, (source, target) in enumerate(read(paths, self.sources, self.max_bytes, tally), 1):
                tally.lines += 1
                if source is None or target is None:
                    tally.too_long.note(name, number)
                elif not source.strip() or not target.strip():
                    tally.empty.note(name, number)
                else:
                    yield Entry(source, target, name, number)


def part_paths(part: FilePath | Sequence[FilePath], name: str, sources: int = 1) -> list[Path]:
    """The one path of a part of a corpus, or those of its sources and its target."""
    if isinstance(part, (str, os.PathLike)):
        return [Path(part)]
    if len(part) != sources + 1:
        group = "a pair" if sources == 1 else f"with {sources} sources a group"
        files = ", ".join(f'"{side} file"' for side in sides(sources))
        raise ConfigError(f"{name}: {list(part)!r} has {len(part)} files; {group} is [{files}]")
    return [Path(path) for path in part]


def sides(sources: int) -> list[str]:
    """What the columns of a TSV file are called: source and target, or source 1, source 2 … and target."""
    return [*(f"source {n}" if sources > 1 else "source" for n in range(1, sources + 1)), "target"]


Row = tuple[str | None, str | None]  # source and target; None is a line over the byte limit


def read_tsv(paths: Sequence[Path], sources: int, max_bytes: int, tally: Tally) -> Iterator[Row]:
    """The columns of each line of one TSV file: the sources with tabs between them, and the target."""
    (path,) = paths
    example = 'two parallel files are given as a pair: ["text.en", "text.de"]'
    if sources > 1:
        example = f"parallel files are given as one list: [{', '.join(sides(sources))}]"
    with HashedFile(path) as file:
        for number, text in enumerate(lines_of(file, max_bytes, tally), 1):
            if text is None:
                yield None, None
            elif text.count(TAB) == sources:
                source, _, target = text.rpartition(TAB)
                yield source, target
            elif TAB not in text and not text.strip():
                yield "", ""
            else:
                raise DataError(
                    f"{path}:{number}: {counted(text.count(TAB) + 1)} instead of {sources + 1}; a line of a TSV file "
                    f"is {', one tab, '.join(sides(sources))}; {example}"
                )


def read_parallel(paths: Sequence[Path], sources: int, max_bytes: int, tally: Tally) -> Iterator[Row]:
    """The lines of several files side by side: the sources with tabs between them, and the target."""
    with ExitStack() as stack:
        files = [stack.enter_context(HashedFile(path)) for path in paths]
        lines = [lines_of(file, max_bytes, tally) for file in files]
        for count, row in enumerate(zip_longest(*lines, fillvalue=ENDED)):
            if ENDED in row:
                more = [0 if text == ENDED else 1 + sum(1 for _ in rest) for rest, text in zip(lines, row, strict=True)]
                raise unequal(paths, [count + rest for rest in more])
            yield joined(row[:sources], paths, count + 1), row[-1]


def joined(sources: Sequence[str | None], paths: Sequence[Path], number: int) -> str | None:
    """The sources of one target with tabs between them; None where one is over the byte limit."""
    if len(sources) == 1:
        return sources[0]
    texts = [text for text in sources if text is not None]
    for text, path in zip(sources, paths, strict=False):
        if text and TAB in text:
            raise DataError(f"{path}:{number}: the line holds a tab, which stands between two sources; take it out")
    return TAB.join(texts) if len(texts) == len(sources) else None


def unequal(paths: Sequence[Path], counts: Sequence[int]) -> DataError:
    """Says which file misses which line."""
    short = counts.index(min(counts))
    said = [f"{path} has {count}" for path, count in zip(paths, counts, strict=True)]
    said[0] += " lines"
    return DataError(
        f"{', '.join(said[:-1])} and {said[-1]}: line {min(counts) + 1} is the first that is missing in "
        f"{paths[short]}; line n of one file must be the translation of line n of the other"
    )


def lines_of(file: HashedFile, max_bytes: int, tally: Tally) -> Iterator[str | None]:
    """The lines of a file, None for one that is too long; leaves the file's print in the tally at the end."""
    reading, place = Reading(), len(tally.prints)
    tally.readings.append(reading)
    tally.prints.append(FilePrint(file.name, 0, "", 0))
    for text, error in read_each_line(file, name=file.name, max_bytes=max_bytes, reading=reading):
        if error is None:
            yield text
        elif reading.undecodable:  # the first such line ends the reading, so this is it
            raise error
        else:
            yield None
    tally.prints[place] = FilePrint(file.name, file.size, file.sha256, reading.lines)


def differences(old: Sequence[FilePrint], new: Sequence[FilePrint]) -> list[str]:
    """A sentence for each file that is not what it was. A file may have moved, as long as its bytes are the same."""
    found = []
    for before, after in zip(old, new, strict=False):
        if before[1:] != after[1:]:
            change = f"{before.size} bytes, {before.lines} lines, sha256 {before.sha256[:12]} before; "
            change += f"{after.size} bytes, {after.lines} lines, sha256 {after.sha256[:12]} now"
            found.append(f"{after.file} is not what training began with: {change}")
    found += [f"{missing.file} was part of the corpus and is not any more" for missing in old[len(new) :]]
    found += [f"{added.file} was not part of the corpus before" for added in new[len(old) :]]
    return found


def overlap(train: Corpus, dev: Corpus) -> Counted:
    """The training pairs whose source the development set has too. Holds the sources of `dev` only."""
    sources = {source for source, _ in dev.pairs()}
    found = Counted()
    for entry in train.entries():
        if entry.source in sources:
            found.note(entry.file, entry.line)
    return found


def read_references(corpus: Corpus) -> References:
    """Targets grouped by source, for words with several right answers."""
    groups: dict[str, list[str]] = {}
    for source, target in corpus.pairs():
        groups.setdefault(source, []).append(target)
    return References(list(groups), list(groups.values()))
