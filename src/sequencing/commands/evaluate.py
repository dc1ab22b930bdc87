"""Translate held-out text and measure the answers: BLEU and chrF (sacreBLEU, with signature), exact match, error rates.

References come from files, line by line with the source (give --reference again for a second one), or from a TSV file
in which a source may stand several times: all its targets are then right. Where a source is several texts, tabs stand
between them in either file.
"""

import argparse
import json
from functools import partial

from sequencing.commands.model import add_device, add_run, load_all, load_beside
from sequencing.data.corpus import Corpus, References, read_references
from sequencing.further_metrics import FURTHER
from sequencing_np.commands.ensemble import add_draft_options, add_ensemble_options, check_draft
from sequencing_np.commands.reranking import add_rerank_options, check_rerank, load_rerankers
from sequencing_np.commands.search import (
    add_mbr_options,
    add_sampling_options,
    add_search_options,
    add_shortlist_option,
    search_config,
)
from sequencing_np.commands.streams import MAX_BYTES, ParallelLines, write_output
from sequencing_np.errors import DataError, SearchError, UsageError
from sequencing_np.text import MAX_BYTES as CORPUS_BYTES
from sequencing_np.vectors import longest_line
from sequencing_np.vocab import Vocabulary
from sequencing_np.writing import single_line

EXAMPLES = """
examples:
  sequencing evaluate runs/demo --source test.en --reference test.de --json
  sequencing evaluate runs/demo --source test.en --reference first.de --reference second.de --beam 1
  sequencing evaluate runs/letters --data test.tsv.gz --output answers.txt
"""

METRICS_HELP = f"count these too: {', '.join(FURTHER)}; ter takes a while"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_device(parser)
    add_ensemble_options(parser, "RUN")
    add_draft_options(parser, "RUN")
    add_rerank_options(parser, "RUN")
    parser.add_argument("--source", metavar="F", help="text to translate, packed or not; -: stdin")
    parser.add_argument("--reference", action="append", default=[], metavar="F", help="its translations, line by line")
    parser.add_argument("--data", action="append", default=[], metavar="F.tsv", help="instead: source<tab>target lines")
    parser.add_argument("--json", action="store_true", help="write one JSON object")
    parser.add_argument("--output", metavar="F", help="write the answers, one a line")
    parser.add_argument("--tokenize", metavar="NAME", help="sacreBLEU's tokenizer: 13a (default), intl, zh, char ...")
    parser.add_argument("--metrics", nargs="+", choices=FURTHER, default=[], metavar="NAME", help=METRICS_HELP)
    add_search_options(parser)
    add_sampling_options(parser)
    add_mbr_options(parser)
    add_shortlist_option(parser)


def run(arguments: argparse.Namespace) -> None:
    check_files(arguments)
    from sequencing.evaluate import evaluate
    from sequencing.loading import search_of

    search = search_config(search_of(arguments.run), arguments)
    check_draft(search, arguments)
    check_rerank(search, arguments)
    translator = load_all(arguments)
    load_rerankers(translator, arguments, partial(load_beside, arguments))
    held_out = read_held_out(arguments, translator.source_vocab)
    evaluation = evaluate(translator, *held_out, search, arguments.tokenize)
    if arguments.output:
        write_output(arguments.output, (single_line(said.text) for said in evaluation.translations))
    record = evaluation.record()
    for name in arguments.metrics:
        record |= FURTHER[name]([said.text for said in evaluation.translations], held_out.references)
    width = max(map(len, record)) + 2
    lines = [json.dumps(record, ensure_ascii=False)]
    write_output("-", lines if arguments.json else [f"{name:<{width}}{value}" for name, value in record.items()])
    if unanswered := sum(not said.answers for said in evaluation.translations):
        raise SearchError(f"{unanswered} of {evaluation.sentences} sentences have no answer, as the model said NaN")


def check_files(arguments: argparse.Namespace) -> None:
    """UsageError where files lack, or are too many."""
    if arguments.data and (arguments.source is not None or arguments.reference):
        raise UsageError("--data holds sources and references: give either it, or --source and --reference")
    if not arguments.data and (arguments.source is None or not arguments.reference):
        raise UsageError("give --source and --reference, or --data. Try 'sequencing evaluate --help'.")


def read_held_out(arguments: argparse.Namespace, vocab: Vocabulary) -> References:
    """Sources, each with its references; the source vocabulary tells of how many texts a source is, and how long."""
    if arguments.data:
        return read_references(Corpus(arguments.data, "--data", longest_line(vocab, CORPUS_BYTES), vocab.columns))
    lines = ParallelLines([arguments.source, *arguments.reference], longest_line(vocab, MAX_BYTES))
    rows = list(lines)
    lines.finish()
    if not rows:
        raise DataError(f"{arguments.source}: the file is empty; nothing to evaluate")
    return References([row[0] for row in rows], [list(row[1:]) for row in rows])
