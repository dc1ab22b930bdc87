"""Say which source token each token of given translations comes from: pairs source-target, a line for each pair.

It is what the model looks at most while the translation is told to it token by token.
"""

import argparse
from collections.abc import Iterator
from itertools import islice

from sequencing.commands.model import add_device, add_run, load
from sequencing_np.commands.streams import MAX_BYTES, WINDOW, ParallelLines, Passing, add_output_option, write_output
from sequencing_np.errors import SearchError, UsageError
from sequencing_np.search import SearchConfig
from sequencing_np.vectors import longest_line

EXAMPLES = """
examples:
  sequencing align runs/demo --source in.txt --target out.txt > links.txt
  sequencing align runs/demo --source in.txt --target out.txt --layer 3 --head 2 --output links.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_device(parser)
    parser.add_argument("--source", required=True, metavar="F", help="what was translated, packed or not; -: stdin")
    parser.add_argument("--target", required=True, metavar="F", help="the translations, line by line; -: stdin")
    add_output_option(parser)
    layer = "the layer whose attention counts, from 1 (default: what the decoder itself says, mostly the last one's)"
    parser.add_argument("--layer", type=int, metavar="N", help=layer)
    parser.add_argument("--head", type=int, metavar="N", help="the head that counts, from 1 (default: their mean)")
    tokens = SearchConfig().batch_tokens
    help_text = f"tokens aligned at once (default {tokens})"
    parser.add_argument("--batch-tokens", type=int, default=tokens, metavar="N", help=help_text)


def run(arguments: argparse.Namespace) -> None:
    for name in ("layer", "head", "batch_tokens"):
        if (value := getattr(arguments, name)) is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value}: must be 1 or more")
    from sequencing.forced_alignment import Look, align, chosen_layer

    translator, look = load(arguments), Look(arguments.layer or 0, arguments.head or 0)
    chosen_layer(translator, look)
    pairs = ParallelLines([arguments.source, arguments.target], longest_line(translator.source_vocab, MAX_BYTES))
    lost: list[int] = []

    def said() -> Iterator[str]:
        number = 0
        rows = ((row[0], row[1]) for row in pairs)
        while window := list(islice(rows, WINDOW)):
            for found in align(translator, window, look, arguments.batch_tokens, number):
                number += 1
                if found is None:
                    lost.append(number)
                yield found or ""
        pairs.finish()

    write_output(arguments.output, Passing(arguments.output).each(said()))
    if lost:
        first = ", ".join(map(str, lost[:3]))
        raise SearchError(f"{len(lost)} pairs have no links, as the model said NaN (first: line {first})")
