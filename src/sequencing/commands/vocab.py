"""Build a vocabulary from text: its tokens with their counts, the most frequent first.

The output is `token<tab>count` lines, or where it ends in .json the vocabulary with all that belongs to it; a
configuration takes either as vocab.source.file and vocab.target.file. Subwords are always JSON.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from sequencing.run_config import LEVELS, SideConfig
from sequencing_np.commands.streams import add_output_option, write_output
from sequencing_np.errors import ConfigError, DataError, UsageError
from sequencing_np.text import read_lines
from sequencing_np.vocab import Vocab, save_vocab, vocab_lines

EXAMPLES = """
examples:
  sequencing vocab train.en.gz --level words --min-count 2 > words.txt
  sequencing vocab train.tsv --column 2 --level characters --output characters.txt
  sequencing vocab train.en train.de --level subwords --size 8000 --output joint.vocab.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    side = SideConfig()
    parser.add_argument("files", metavar="FILE", nargs="+", help="text, gzip or not; -: stdin")
    parser.add_argument("--column", type=int, metavar="N", help="of TSV files: the column with the text, from 1")
    parser.add_argument("--level", choices=LEVELS, default=side.level, help=f"what a token is (default {side.level})")
    parser.add_argument("--delimiter", metavar="D", help="with --level delimited: what stands between two tokens")
    parser.add_argument("--size", type=int, default=side.size, help=f"ids at most, special ones too ({side.size})")
    parser.add_argument("--min-count", type=int, default=1, metavar="N", help="leave rarer tokens out (default 1)")
    add_output_option(parser)


def run(arguments: argparse.Namespace) -> None:
    as_json = arguments.output.endswith(".json")
    if arguments.level == "subwords" and not as_json:
        raise UsageError("--level subwords: lines cannot hold how subwords are merged; give --output NAME.json")
    if (arguments.delimiter is None) == (arguments.level == "delimited"):
        raise UsageError("--delimiter goes with --level delimited, and is needed there")
    if arguments.column is not None and arguments.column < 1:
        raise UsageError(f"--column {arguments.column}: columns count from 1")
    try:
        side = SideConfig(arguments.level, arguments.delimiter or "", arguments.size, arguments.min_count)
    except ConfigError as error:
        raise UsageError(f"--{error}") from None
    from sequencing.vocabularies import build_side

    vocab = build_side(side, texts(arguments.files, arguments.column))
    if as_json:
        save_vocab(vocab, Path(arguments.output))
    else:
        write_output(arguments.output, vocab_lines(cast(Vocab, vocab)))


def texts(files: list[str], column: int | None) -> Iterator[str]:
    """The lines of all files, or one column of them."""
    for name in files:
        for number, line in enumerate(read_lines(name), 1):
            if column is None:
                yield line
                continue
            columns = line.split("\t")
            if len(columns) < column:
                raise DataError(f"{name}:{number}: {len(columns)} columns; --column {column} needs {column} or more")
            yield columns[column - 1]
