"""Translate lines of text: one line out for each line in, blank for blank, in their order."""

import argparse
from functools import partial

from sequencing.commands.model import add_device, add_run, load_all, load_beside, load_in_worker
from sequencing_np.commands.ensemble import add_draft_options, add_ensemble_options, check_draft
from sequencing_np.commands.reranking import add_rerank_options, check_rerank, load_rerankers
from sequencing_np.commands.search import search_config
from sequencing_np.commands.translate import add_options, translate

EXAMPLES = """
examples:
  echo "two hundred and five" | sequencing translate runs/demo
  sequencing translate runs/demo --input in.txt --output out.txt --beam 1
  sequencing translate runs/demo --n-best 3 --json < in.txt
  sequencing translate runs/demo --sample --temperature 0.7 --seed 3 < in.txt
  sequencing translate runs/demo --mbr chrf --sample --candidates 50 < in.txt
  sequencing translate runs/one --with runs/two runs/three < in.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_device(parser)
    add_ensemble_options(parser, "RUN")
    add_draft_options(parser, "RUN")
    add_rerank_options(parser, "RUN")
    add_options(parser)


def run(arguments: argparse.Namespace) -> None:
    from sequencing.loading import check_processes, search_of

    search = search_config(search_of(arguments.run), arguments)
    check_draft(search, arguments)
    check_rerank(search, arguments)
    threads = check_processes(arguments.processes, arguments.device)
    translator = load_all(arguments)
    load_rerankers(translator, arguments, partial(load_beside, arguments))
    translate(translator, search, arguments, partial(load_in_worker, arguments, threads))
