"""Build a vocabulary from text: its tokens with their counts, the most frequent first; or import one.

The output is `token<tab>count` lines, or where it ends in .json the vocabulary with all that belongs to it; a
configuration takes either as vocab.source.file and vocab.target.file. Subwords and factors are always JSON. A single
file that is a SentencePiece model or a tokenizer.json is not text: it becomes a vocabulary that needs neither program.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from sequencing.run_config import ALGORITHMS, LEVELS, SideConfig
from sequencing_np.commands.streams import add_output_option, write_output
from sequencing_np.errors import ConfigError, DataError, UsageError
from sequencing_np.foreign import import_vocab, is_whole_vocab
from sequencing_np.text import read_lines
from sequencing_np.vocab import Vocab, save_vocab, vocab_lines

EXAMPLES = """
examples:
  sequencing vocab train.en.gz --level words --min-count 2 > words.txt
  sequencing vocab train.tsv --column 2 --level characters --output characters.txt
  sequencing vocab train.en train.de --level subwords --size 8000 --tag '<2de>' --output joint.vocab.json
  sequencing vocab train.en --level subwords --algorithm unigram --output unigram.vocab.json
  sequencing vocab tagged.en --factors 2 --output factored.vocab.json
  sequencing vocab spm.model --output imported.vocab.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    side = SideConfig()
    parser.add_argument("files", metavar="FILE", nargs="+", help="text, packed or not; -: stdin; or a model to import")
    parser.add_argument("--column", type=int, metavar="N", help="of TSV files: the column with the text, from 1")
    levels = [level for level in LEVELS if level != "vectors"]  # those are not learnt from a text
    parser.add_argument("--level", choices=levels, default=side.level, help=f"what a token is (default {side.level})")
    parser.add_argument("--algorithm", choices=ALGORITHMS, default=side.algorithm, help="how subwords are learnt (bpe)")
    parser.add_argument("--delimiter", metavar="D", help="with --level delimited: what stands between two tokens")
    parser.add_argument("--size", type=int, default=side.size, help=f"ids at most, special ones too ({side.size})")
    parser.add_argument("--min-count", type=int, default=1, metavar="N", help="leave rarer tokens out (default 1)")
    parser.add_argument("--lower", action="store_true", help="read the text in lower case, as clean.lower makes it")
    parser.add_argument(
        "--tag", action="append", default=[], metavar="TAG", help="a text that is one token; repeatable"
    )
    parser.add_argument("--factors", type=int, default=0, metavar="N", help="how many stand after each word (0)")
    parser.add_argument("--factor-separator", metavar="S", help="what stands between them (default |)")
    add_output_option(parser)


def run(arguments: argparse.Namespace) -> None:
    foreign = [name for name in arguments.files if name != "-" and is_whole_vocab(name)]
    if foreign:
        import_file(arguments, foreign[0])
        return
    as_json = arguments.output.endswith(".json")
    for name, wanted in (("--level subwords", arguments.level == "subwords"), ("--factors", arguments.factors > 0)):
        if wanted and not as_json:
            raise UsageError(f"{name}: lines of tokens cannot hold what belongs to them; give --output NAME.json")
    if (arguments.delimiter is None) == (arguments.level == "delimited"):
        raise UsageError("--delimiter goes with --level delimited, and is needed there")
    if arguments.column is not None and arguments.column < 1:
        raise UsageError(f"--column {arguments.column}: columns count from 1")
    if arguments.factor_separator is not None and not arguments.factors:
        raise UsageError("--factor-separator goes with --factors, and has no use without")
    if capital := next((tag for tag in arguments.tag if arguments.lower and tag != tag.lower()), None):
        raise UsageError(
            f"--tag {capital}: no text has it with --lower; write it as {capital.lower()}, in the text too"
        )
    try:
        side = side_of(arguments)
    except ConfigError as error:
        raise UsageError(f"--{error}") from None
    from sequencing.vocabularies import build_side

    read = texts(arguments.files, arguments.column)
    vocab = build_side(side, map(str.lower, read) if arguments.lower else read)
    if as_json:
        save_vocab(vocab, Path(arguments.output))
    else:
        write_output(arguments.output, vocab_lines(cast(Vocab, vocab)))


def side_of(arguments: argparse.Namespace) -> SideConfig:
    """The vocabulary that the options describe."""
    default = SideConfig()
    return SideConfig(
        level=arguments.level,
        algorithm=arguments.algorithm,
        delimiter=arguments.delimiter or "",
        size=arguments.size,
        min_count=arguments.min_count,
        tags=tuple(arguments.tag),
        factors=arguments.factors,
        factor_separator=default.factor_separator if arguments.factor_separator is None else arguments.factor_separator,
    )


def import_file(arguments: argparse.Namespace, name: str) -> None:
    """A vocabulary of another program as one of ours. Options that say how to learn one have no use here."""
    if len(arguments.files) > 1:
        raise UsageError(f"{name}: a vocabulary already, no text; import one at a time, and give texts without it")
    if not arguments.output.endswith(".json"):
        raise UsageError(f"{name}: a vocabulary that is imported is JSON; give --output NAME.json")
    default = SideConfig()
    given = {
        "--column": arguments.column is not None,
        "--delimiter": arguments.delimiter is not None,
        "--level": arguments.level not in (default.level, "subwords"),
        "--algorithm": arguments.algorithm != default.algorithm,
        "--size": arguments.size != default.size,
        "--min-count": arguments.min_count != default.min_count,
        "--lower": arguments.lower,
        "--factors": arguments.factors != default.factors,
        "--factor-separator": arguments.factor_separator is not None,
    }
    if wrong := [option for option, set_ in given.items() if set_]:
        raise UsageError(f"{wrong[0]}: {name} is a vocabulary already, nothing is learnt; leave the option out")
    vocab = import_vocab(name, tuple(arguments.tag))
    if set(arguments.tag) != set(vocab.tags):
        raise UsageError(f"--tag: {name} is one of our own, its tags are {list(vocab.tags)}; they stay as they are")
    save_vocab(vocab, Path(arguments.output))


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
