"""Write the model of a run as a folder that runs without PyTorch: python -m sequencing_np translate MODEL."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from sequencing.commands.model import add_run, folder_of
from sequencing_np.compact import KINDS
from sequencing_np.errors import UsageError
from sequencing_np.model_folder import copy_model_folder, store_weights
from sequencing_np.shortlist import SHORTLIST, Shortlist, write_shortlist
from sequencing_np.translate import Translator

EXAMPLES = """
examples:
  sequencing export runs/demo model
  sequencing export runs/demo model --checkpoint last
  sequencing export runs/demo model --weights int8 --shortlist train.tsv
  sequencing export runs/demo model --shortlist train.en.gz train.de.gz --likeliest 30 --common 200
"""
LIKELIEST, COMMON = 50, 100
TOLD = 2000  # pairs by which the shortlist is described


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("model", metavar="MODEL", help="the folder to write; a model folder there is replaced")
    kinds = "numbers on disk: half or a quarter of the bytes for a little rounding (default: as they are)"
    parser.add_argument("--weights", choices=KINDS, help=kinds)
    group = parser.add_argument_group("a shortlist", "of target tokens for each sentence: `translate --shortlist`")
    pairs = "pairs to make it of, as in training: one file of source<tab>target, or the files of each side"
    group.add_argument("--shortlist", nargs="+", metavar="F", help=pairs)
    likeliest = f"target tokens for each source token (default {LIKELIEST})"
    group.add_argument("--likeliest", type=int, metavar="K", help=likeliest)
    group.add_argument("--common", type=int, metavar="N", help=f"frequent ones for all sentences (default {COMMON})")


def run(arguments: argparse.Namespace) -> None:
    for name in ("likeliest", "common"):
        value = getattr(arguments, name)
        if value is not None and arguments.shortlist is None:
            raise UsageError(f"--{name} is an option of a shortlist; add --shortlist and the pairs to make it of")
        if value is not None and value < 1:
            raise UsageError(f"--{name} {value}: must be 1 or more")
    folder = folder_of(arguments.run, arguments)
    translator = Translator.load(folder)  # what NumPy cannot run is refused here, not where it is meant for
    changes: list[Callable[[Path], None]] = []
    if arguments.weights:
        changes.append(lambda copy: store_weights(copy, arguments.weights))
    if arguments.shortlist:
        table = made(translator, arguments)
        changes.append(lambda copy: write_shortlist(copy / SHORTLIST, table))
    copy_model_folder(folder, Path(arguments.model), changes)


def made(translator: Translator, arguments: argparse.Namespace) -> Shortlist:
    """The shortlist of the given pairs, described on standard error."""
    from sequencing.data.corpus import Corpus
    from sequencing.lexicon import covered, learn, shortlist_of

    source, target = translator.source_vocab, translator.target_vocab
    if source.vector_size:
        raise UsageError("--shortlist: the model reads vectors, and a shortlist is for source tokens; leave it out")
    files = arguments.shortlist
    corpus = Corpus([files[0] if len(files) == 1 else files], "--shortlist", sources=source.columns)
    corpus.check()
    special = set(target.special)

    def pairs() -> Iterator[tuple[list[int], list[int]]]:
        for line, text in corpus.pairs():
            words = [token % len(source) for token in source.encode(line)]
            yield words, [token for token in target.encode(text) if token not in special]

    lexicon = learn(pairs(), (len(source), len(target)))
    table = shortlist_of(lexicon, arguments.likeliest or LIKELIEST, arguments.common or COMMON)
    found = covered(table, islice(pairs(), TOLD))
    with contextlib.suppress(OSError, AttributeError):
        print(
            f"shortlist: {found.length:.0f} of {len(target):,} tokens for a sentence, among them {found.share:.1%} of "
            f"those in the first {found.pairs:,} targets",
            file=sys.stderr,
        )
    return table
