"""Look into a model while it translates, and write one page: its search as a tree, where every head looks, how sure it
is of each token, and with references which words go wrong. Prints the page's path.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from sequencing.commands.model import add_device, add_run, load
from sequencing.commands.vocab import texts
from sequencing_np.commands.search import add_search_options, search_config
from sequencing_np.commands.streams import MAX_BYTES, WINDOW, ParallelLines, write_output
from sequencing_np.errors import DataError, SearchError, UsageError
from sequencing_np.search import SearchConfig
from sequencing_np.text import read_lines
from sequencing_np.translate import Translator
from sequencing_np.vectors import longest_line
from sequencing_np.writing import atomic_write

if TYPE_CHECKING:
    from sequencing.inspection.error_groups import ErrorGroups

EXAMPLES = """
examples:
  echo "two hundred and five" | sequencing inspect runs/demo
  sequencing inspect runs/demo --input dev.en --reference dev.de --train train.de --sentences 5
  sequencing inspect runs/demo --input dev.en --reference dev.de --counts words.txt --output dev.html
"""

SENTENCES = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("--input", default="-", metavar="F", help="file to read, packed or not; -: stdin (default)")
    parser.add_argument("--reference", metavar="F", help="its translations, line by line")
    parser.add_argument("--output", metavar="F", help="the page to write (default RUN/inspection.html)")
    drawn = f"how many are shown, from the first (default {SENTENCES}); errors are counted in all"
    parser.add_argument("--sentences", type=int, default=SENTENCES, metavar="N", help=drawn)
    group = parser.add_argument_group("errors", "what is counted where there are references")
    group.add_argument("--level", choices=("words", "characters"), default="words", help="what is right or wrong")
    group.add_argument("--train", action="append", default=[], metavar="F", help="text that was learnt, target side")
    group.add_argument("--column", type=int, metavar="N", help="where --train is TSV: the target's column, from 1")
    group.add_argument(
        "--counts", metavar="F", help="instead of --train: token<tab>count, as `sequencing vocab` writes"
    )
    add_device(parser)
    add_search_options(parser)


def run(arguments: argparse.Namespace) -> None:
    check(arguments)
    from sequencing.inspection.error_groups import ErrorGroups
    from sequencing.inspection.page import Names, page
    from sequencing.inspection.sentence import inspect_sentence, names
    from sequencing.loading import search_of

    search = search_config(search_of(arguments.run), arguments)
    files = [arguments.input, *([arguments.reference] if arguments.reference else [])]
    translator = load(arguments)
    lines = ParallelLines(files, longest_line(translator.source_vocab, MAX_BYTES))
    groups = ErrorGroups(learnt(arguments), arguments.level) if arguments.reference else None
    rows = iter(lines)
    shown = list(islice(rows, arguments.sentences))
    found = [inspect_sentence(translator, search, number, *row) for number, row in enumerate(shown, 1)]
    unanswered = [each.number for each in found if each.tree and not each.answer]
    if groups:
        for each, row in zip(found, shown, strict=True):
            groups.add(each.answer.text if each.answer else "", row[1])
        unanswered += count_others(translator, search, rows, groups)
    notes = [] if groups or next(rows, None) is None else [f"Only the first {len(found)} lines are shown."]
    lines.finish()
    if not found:
        raise DataError(f"{arguments.input}: the file is empty; nothing to inspect")
    if unanswered:
        notes.append(f"{len(unanswered)} lines have no answer, as the model said NaN.")
    vocab = translator.target_vocab
    title = f"Inspected: {Path(arguments.run).resolve().name}"
    subtitle = f"{arguments.input if arguments.input != '-' else 'standard input'} · beam {search.beam}"
    content = page(title, subtitle, notes, found, groups, Names(partial(names, vocab), vocab.decode))
    path = Path(arguments.run, "inspection.html") if arguments.output is None else Path(arguments.output)
    with atomic_write(path) as file:
        file.write(content.encode("utf-8", errors="replace"))
    write_output("-", [str(path)])
    if unanswered:
        first = ", ".join(map(str, unanswered[:3]))
        raise SearchError(f"{len(unanswered)} lines have no answer, as the model said NaN (first: line {first})")


def check(arguments: argparse.Namespace) -> None:
    """UsageError where options do not go together."""
    if arguments.sentences < 1:
        raise UsageError(f"--sentences {arguments.sentences}: must be 1 or more")
    if arguments.column is not None and (arguments.column < 1 or not arguments.train):
        raise UsageError(f"--column {arguments.column}: says which column of --train holds the target, from 1")
    if arguments.train and arguments.counts:
        raise UsageError("--train and --counts both say how often words were learnt: give one of them")
    if (arguments.train or arguments.counts) and not arguments.reference:
        raise UsageError("--train and --counts are for counting errors, which needs --reference")


def learnt(arguments: argparse.Namespace) -> dict[str, int] | None:
    """How often each word was learnt; None where nobody says."""
    from sequencing.inspection.error_groups import count_words, read_counts

    if arguments.counts:
        return read_counts(read_lines(arguments.counts), arguments.counts)
    if arguments.train:
        return count_words(texts(arguments.train, arguments.column), arguments.level)
    return None


def count_others(
    translator: Translator, search: SearchConfig, rows: Iterator[tuple[str, ...]], groups: ErrorGroups
) -> list[int]:
    """Count the errors of all further pairs; the lines that have no answer."""
    unanswered = []
    while window := list(islice(rows, WINDOW)):
        said = translator.translate([row[0] for row in window], search, groups.sentences)
        for translation, row in zip(said, window, strict=True):
            groups.add(translation.text, row[1])
            if not translation.answers:
                unanswered.append(groups.sentences)
    return unanswered
