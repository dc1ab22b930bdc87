"""Say how likely a model finds given translations: the natural logarithm of each probability, one a line."""

import argparse
import math
from collections.abc import Iterator
from itertools import islice

from sequencing_np.answers import decimal, scored_json
from sequencing_np.commands.ensemble import add_ensemble_options, load_together
from sequencing_np.commands.streams import MAX_BYTES, WINDOW, ParallelLines, Passing, add_output_option, write_output
from sequencing_np.errors import SearchError, UsageError
from sequencing_np.reversal import written
from sequencing_np.search import SearchConfig
from sequencing_np.translate import Translator
from sequencing_np.vectors import longest_line

EXAMPLES = """
examples:
  python -m sequencing_np score model --source in.txt --target out.txt
  python -m sequencing_np score model --source in.txt --target out.txt --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="a model folder, as `sequencing export` writes it")
    add_ensemble_options(parser, "MODEL")
    add_options(parser)


def run(arguments: argparse.Namespace) -> None:
    score(load_together(arguments.model, arguments, Translator.load), arguments)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What both floors are asked."""
    parser.add_argument("--source", required=True, metavar="F", help="what was translated, packed or not; -: stdin")
    parser.add_argument("--target", required=True, metavar="F", help="the translations, line by line; -: stdin")
    add_output_option(parser)
    parser.add_argument("--json", action="store_true", help="write one JSON object a line, with each token's share")
    tokens = SearchConfig().batch_tokens
    help_text = f"tokens scored at once (default {tokens})"
    parser.add_argument("--batch-tokens", type=int, default=tokens, metavar="N", help=help_text)


def score(translator: Translator, arguments: argparse.Namespace) -> None:
    """Score every pair of lines. SearchError, after the last line, if some scores are NaN."""
    if arguments.batch_tokens < 1:
        raise UsageError(f"--batch-tokens {arguments.batch_tokens}: must be 1 or more")
    longest = longest_line(translator.source_vocab, MAX_BYTES)
    pairs = ParallelLines([arguments.source, arguments.target], longest)
    unscored: list[int] = []

    def said() -> Iterator[str]:
        number = 0
        rows = ((row[0], row[1]) for row in pairs)
        while window := list(islice(rows, WINDOW)):
            found = translator.score(window, arguments.batch_tokens, number)
            for (source, target), scored in zip(window, found, strict=True):
                number += 1
                if math.isnan(scored.log_prob):
                    unscored.append(number)
                if arguments.json:
                    yield scored_json(source, target, written(translator.target_vocab, target), scored)
                else:
                    yield decimal(scored.log_prob)
        pairs.finish()

    write_output(arguments.output, Passing(arguments.output).each(said()))
    if unscored:
        first = ", ".join(map(str, unscored[:3]))
        raise SearchError(f"{len(unscored)} pairs have no score, as the model said NaN (first: line {first})")
