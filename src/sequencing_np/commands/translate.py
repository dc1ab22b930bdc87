"""Translate lines of text: one line out for each line in, blank for blank, in their order."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from sequencing_np.answers import Columns, JSONLines, Layout, NBest
from sequencing_np.commands.ensemble import add_draft_options, add_ensemble_options, check_draft, load_together
from sequencing_np.commands.reranking import add_rerank_options, check_rerank, load_rerankers
from sequencing_np.commands.search import (
    add_mbr_options,
    add_sampling_options,
    add_search_options,
    add_shortlist_option,
    search_config,
)
from sequencing_np.commands.streams import (
    MAX_BYTES,
    WINDOW,
    Lines,
    Passing,
    add_output_option,
    write_output,
    write_pieces,
)
from sequencing_np.errors import SearchError, UsageError
from sequencing_np.paragraphs import TOO_LONG, Paragraphs, Splitting
from sequencing_np.search import SearchConfig
from sequencing_np.text_stream import Unanswered
from sequencing_np.translate import Translator
from sequencing_np.unknown import read_dictionary
from sequencing_np.vectors import longest_line
from sequencing_np.wishes import Asked

EXAMPLES = """
examples:
  python -m sequencing_np translate model < in.txt > out.txt
  python -m sequencing_np translate model --input in.txt --output out.txt --beam 1
  python -m sequencing_np translate model --n-best 3 --json < in.txt
  python -m sequencing_np translate model --mbr chrf --beam 10 < in.txt
  python -m sequencing_np translate model --with other third < in.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model folder, as `sequencing export` writes it")
    add_ensemble_options(parser, "MODEL")
    add_draft_options(parser, "MODEL")
    add_rerank_options(parser, "MODEL")
    add_options(parser)


def run(arguments: argparse.Namespace) -> None:
    search = search_config(SearchConfig(), arguments)
    check_draft(search, arguments)
    check_rerank(search, arguments)
    load = partial(load_together, arguments.model, arguments, Translator.load)
    translator = load()
    load_rerankers(translator, arguments, Translator.load)
    translate(translator, search, arguments, load)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What both floors are asked."""
    parser.add_argument("--input", default="-", metavar="F", help="file to read, packed or not; -: stdin (default)")
    add_output_option(parser)
    window = f"lines sorted and searched together; 1 answers each line at once (default {WINDOW}, at a terminal 1)"
    parser.add_argument("--window", type=int, metavar="N", help=window)
    stream = "write an answer piece by piece as its words are decided; each line is answered at once"
    parser.add_argument("--stream", action="store_true", help=stream)
    processes = "processes that search, each with the model (default 1); the answers are the same"
    parser.add_argument("--processes", type=int, default=1, metavar="N", help=processes)
    group = parser.add_argument_group("what is written")
    group.add_argument(
        "--n-best", type=int, metavar="N", help="N answers a line, as `number ||| text ||| score`; at most the beam"
    )
    group.add_argument("--scores", action="store_true", help="write `score<tab>text`")
    group.add_argument(
        "--alignments",
        action="store_true",
        default=None,
        help="write after another tab, or |||, the pairs source-target of token positions (the source token that each "
        "target token looked at most); with --json the whole matrix, a row for each target token",
    )
    group.add_argument("--json", action="store_true", help="write one JSON object a line")
    long = parser.add_argument_group("paragraphs and long lines")
    long.add_argument(
        "--split", action="store_true", help="translate each sentence of a line alone, and join them again"
    )
    long.add_argument("--longest", type=int, metavar="N", help="source tokens translated at once (default: any number)")
    long.add_argument(
        "--too-long", choices=TOO_LONG, help="what is done with more: split (default; the parts are joined) or refuse"
    )
    unknown = parser.add_argument_group("unknown words")
    unknown.add_argument(
        "--replace-unknown",
        action="store_true",
        help="write in the place of an unknown token the source word that it looked at most (words or characters)",
    )
    unknown.add_argument(
        "--dictionary", metavar="F", help="lines of `source<tab>target`: the source word's translation instead"
    )
    add_search_options(parser)
    add_wish_options(parser)
    add_sampling_options(parser)
    add_mbr_options(parser)
    add_shortlist_option(parser)


def add_wish_options(parser: argparse.ArgumentParser) -> None:
    """What answers may and must say."""
    group = parser.add_argument_group("wishes", "phrases are read as targets are; no answer is given that breaks one")
    group.add_argument("--include", action="append", metavar="TEXT", help="must be said; may be given several times")
    group.add_argument("--exclude", action="append", metavar="TEXT", help="must not be said; the same")
    glossary = "lines `source<tab>target[<tab>another form]`: where the left stands in a line, the right must be said"
    group.add_argument("--glossary", metavar="F", help=glossary)
    keys = 'for each line of the input a JSON object with any of "include", "exclude", "begin" and "allowed"'
    group.add_argument("--wishes", metavar="F", help=keys)


def wishes_of(arguments: argparse.Namespace) -> Asked | None:
    """What is wished for; None where nothing is."""
    given = (arguments.include or [], arguments.exclude or [], arguments.glossary, arguments.wishes)
    return Asked(*given) if any(given) else None


def translate(
    translator: Translator, search: SearchConfig, arguments: argparse.Namespace, load: Callable[[], Translator]
) -> None:
    """Answer every line of the input; other processes `load` the model too, if several are asked for.

    SearchError, after the last line, if some had no answer.
    """
    layout = layout_of(arguments)
    paragraphs = Paragraphs(translator, splitting_of(arguments))
    prepare_unknown(translator, search, arguments)
    lines = Lines(arguments.input, longest_line(translator.source_vocab, MAX_BYTES))
    window = (1 if lines.is_typed() else WINDOW) if arguments.window is None else arguments.window
    for name, value in (("window", window), ("processes", arguments.processes)):
        if value < 1:
            raise UsageError(f"--{name} {value}: must be 1 or more")
    unanswered: list[int] = []
    wishes = wishes_of(arguments)

    def pieces() -> Iterator[Iterator[str]]:
        for number, line in enumerate(lines, 1):
            own = None if wishes is None else wishes(line)
            yield answered(paragraphs.stream_text(line, search, own), number, unanswered)

    def said() -> Iterator[str]:
        stream = Passing(arguments.output).each(paragraphs.stream(lines, search, window, wishes))
        for number, translation in enumerate(stream):
            if not translation.answers:
                unanswered.append(number + 1)
            yield from layout(number, translation)
        lines.finish()
        if wishes is not None:
            wishes.finish()

    if arguments.stream:
        check_stream(arguments)
        write_pieces(pieces())
        lines.finish()
        if wishes is not None:
            wishes.finish()
    else:
        with helped(translator, arguments, load):
            write_output(arguments.output, said())
    if unanswered:
        first = ", ".join(map(str, unanswered[:3]))
        why, advice = "the model said NaN", "Look at the metrics of its training"
        if wishes is not None or search.no_repeats:
            why = "nothing was found that keeps all wishes, or the model said NaN"
            advice = "Wish for less, or search with a larger --beam"
        raise SearchError(
            f"{len(unanswered)} of {lines.count} lines have no answer, as {why} (first: line {first}); they are empty. "
            + advice
        )


def answered(pieces: Iterator[str], number: int, unanswered: list[int]) -> Iterator[str]:
    """The pieces of an answer; where there is none, the number of its line is noted."""
    try:
        yield from pieces
    except Unanswered:
        unanswered.append(number)


def check_stream(arguments: argparse.Namespace) -> None:
    """UsageError where something is asked for that is known when an answer is whole."""
    whole = ("json", "scores", "alignments", "n_best")
    asked = [f"--{name.replace('_', '-')}" for name in whole if getattr(arguments, name)]
    asked += ["--output"] * (arguments.output != "-") + ["--processes"] * (arguments.processes > 1)
    asked += ["--window"] * (arguments.window not in (None, 1))
    if asked:
        raise UsageError(f"--stream writes the words of one line as they come; leave {', '.join(asked)} out")


def helped(
    translator: Translator, arguments: argparse.Namespace, load: Callable[[], Translator]
) -> AbstractContextManager[object]:
    """Within this the translator has the processes that are asked for."""
    if arguments.processes == 1:
        return nullcontext()
    from sequencing_np.workers import Workers  # not for who needs none

    workers = Workers(arguments.processes, load, arguments.imports)
    workers.help(translator)
    return workers


def splitting_of(arguments: argparse.Namespace) -> Splitting:
    """What the options say of long lines."""
    if arguments.too_long is not None and arguments.longest is None:
        raise UsageError("--too-long says what is done with more tokens than --longest; add --longest")
    if arguments.longest is not None and arguments.longest < 1:
        raise UsageError(f"--longest {arguments.longest}: must be 1 or more")
    splitting = Splitting(arguments.split, arguments.longest or 0, arguments.too_long or TOO_LONG[0])
    if splitting.parts and arguments.n_best is not None:
        raise UsageError(
            f"--n-best {arguments.n_best}: lines that are translated in parts have one answer; leave it out"
        )
    return splitting


def prepare_unknown(translator: Translator, search: SearchConfig, arguments: argparse.Namespace) -> None:
    """Let the translator replace unknown tokens, if that is asked for."""
    if not arguments.replace_unknown:
        if arguments.dictionary is not None:
            raise UsageError("--dictionary is an option of replacing unknown words; add --replace-unknown")
        return
    if search.no_unknown:
        raise UsageError("--replace-unknown and --no-unknown: an answer without unknown tokens has none to replace")
    translator.replace_unknown({} if arguments.dictionary is None else read_dictionary(arguments.dictionary))


def layout_of(arguments: argparse.Namespace) -> Layout:
    """The form of the output that the options ask for."""
    if arguments.json:
        return JSONLines()
    if arguments.n_best is not None:
        return NBest(bool(arguments.alignments))
    return Columns(arguments.scores, bool(arguments.alignments))
