"""Make pairs to train on from text of one language: back-translation, and with --forward distillation.

The text is what is to be said; the model, which translates the other way round, makes a source for each line, and
`source<tab>target` lines are written in the order of the text. With --forward the text is source text, and the target
is what the model says. Blank lines make pairs that training passes over. A file that was not finished is gone on with
by the same command.
"""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from sequencing.commands.model import add_device, add_run, folder_of, load
from sequencing_np.commands.search import (
    add_mbr_options,
    add_sampling_options,
    add_search_options,
    add_shortlist_option,
    search_config,
)
from sequencing_np.commands.streams import MAX_BYTES, WINDOW, Lines, Passing, add_output_option, write_output
from sequencing_np.config import nearest as among
from sequencing_np.config import to_dict
from sequencing_np.errors import SearchError, UsageError
from sequencing_np.manifest import check_manifest
from sequencing_np.mbr import NONE, UTILITIES
from sequencing_np.search import SearchConfig
from sequencing_np.vectors import longest_line

EXAMPLES = """
examples:
  sequencing backtranslate runs/de-en --input mono.de.gz --output synthetic.tsv.gz --tag "<BT>" --beam 1
  sequencing backtranslate runs/de-en --input mono.de --output synthetic.tsv --sample
  sequencing backtranslate runs/big --forward --input train.en --output distilled.tsv --beam 5
  sequencing backtranslate runs/big --forward --input train.tsv --nearest bleu --output distilled.tsv --beam 10
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_device(parser)
    parser.add_argument("--input", default="-", metavar="F", help="text to read, packed or not; -: stdin (default)")
    add_output_option(parser)
    parser.add_argument("--tag", default="", metavar="TAG", help="a word to put before each source, such as <BT>")
    parser.add_argument("--forward", action="store_true", help="the text is the source, what the model says the target")
    near = (
        "with --forward: the input is source<tab>target; of the beam's answers the one nearest to the target is taken"
    )
    parser.add_argument("--nearest", metavar="UTILITY", help=f"{near}, by {', '.join(UTILITIES)}")
    parser.add_argument("--window", type=int, default=WINDOW, metavar="N", help=f"lines searched together ({WINDOW})")
    add_search_options(parser)
    add_sampling_options(parser)
    add_mbr_options(parser)
    add_shortlist_option(parser)


def run(arguments: argparse.Namespace) -> None:
    if arguments.window < 1:
        raise UsageError(f"--window {arguments.window}: must be 1 or more")
    from sequencing.loading import search_of
    from sequencing.synthetic import Made, PairFile, form_of, made

    search = search_config(search_of(arguments.run), arguments)
    if arguments.nearest is not None:
        search = all_of_the_beam(search, arguments)
    translator = load(arguments)
    form = form_of(translator, arguments.forward, arguments.tag, arguments.nearest or "")
    longest = longest_line(translator.source_vocab, MAX_BYTES)
    lines, passing = Lines(arguments.input, longest), Passing(arguments.output)
    unanswered: list[int] = []

    def windows(rest: Iterator[str], first: int) -> Iterator[Made]:
        for window in made(translator, rest, search, form, arguments.window, first):
            yield window
            unanswered.extend(window.unanswered)
            passing.count += len(window.rows)
            if passing.shown:
                passing.show("")
        if passing.shown:
            passing.show("\n")
        lines.finish()

    if (path := file_of(arguments.output)) is None:
        write_output(arguments.output, (row for window in windows(iter(lines), 0) for row in window.rows))
        count = len(unanswered)
    else:
        model = check_manifest(folder_of(arguments.run, arguments), every_byte=False)["digest"]
        settings = {"model": model, "search": to_dict(search), **form._asdict(), "window": arguments.window}
        count = PairFile(path, settings).write(lines, windows, say).unanswered
    if count:
        raise SearchError(
            f"{count} of {lines.count} lines have no answer, as the model said NaN; training passes over their pairs. "
            "Look at the metrics of its training"
        )


def all_of_the_beam(search: SearchConfig, arguments: argparse.Namespace) -> SearchConfig:
    """The search for answers among which the nearest to a target is chosen. UsageError where there are not several."""
    if not arguments.forward:
        raise UsageError("--nearest chooses among targets; add --forward, and give source<tab>target lines")
    if arguments.nearest not in UTILITIES:
        raise UsageError(f"--nearest {arguments.nearest!r}: {among(arguments.nearest, UTILITIES)}")
    if search.beam == 1 or search.sample or search.mbr != NONE:
        raise UsageError("--nearest chooses among the answers of a beam; give --beam 2 or more, no --sample, no --mbr")
    return replace(search, n_best=search.beam)


def file_of(output: str) -> Path | None:
    """The file that the pairs go to; None for a stream, and for what can be none, which is told when it is tried."""
    path = Path(output).resolve()
    return path if output != "-" and path.parent.is_dir() and (path.is_file() or not path.exists()) else None


def say(text: str) -> None:
    """A note on standard error."""
    with contextlib.suppress(OSError, AttributeError):
        print(text, file=sys.stderr, flush=True)
