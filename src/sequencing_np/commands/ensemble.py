"""The options of several models, that decode together or draft for one another, and what they load, on both floors."""

import argparse
from collections.abc import Callable

from sequencing_np.draft import with_draft
from sequencing_np.ensemble import MEANS, join_models
from sequencing_np.errors import UsageError
from sequencing_np.search import SearchConfig
from sequencing_np.translate import Translator


def add_ensemble_options(parser: argparse.ArgumentParser, metavar: str) -> None:
    """Further models beside the first."""
    group = parser.add_argument_group("several models together")
    group.add_argument(
        "--with",
        dest="others",
        action="extend",
        nargs="+",
        default=[],
        metavar=metavar,
        help="decode together with these models: any families, the same target vocabulary",
    )
    group.add_argument(
        "--ensemble-mode", choices=MEANS, help="what the mean of all models is taken of (default probabilities)"
    )


def add_draft_options(parser: argparse.ArgumentParser, metavar: str) -> None:
    """A small model that works for the first."""
    group = parser.add_argument_group("a draft of a small model")
    draft = "greedy search and draws in fewer steps: this small model of the same target vocabulary proposes words"
    group.add_argument("--draft", metavar=metavar, help=draft)
    group.add_argument("--draft-length", type=int, metavar="N", help="words it proposes at once (default 4)")


def check_draft(search: SearchConfig, arguments: argparse.Namespace) -> None:
    """UsageError where a draft is of no use."""
    if arguments.draft is None:
        if arguments.draft_length is not None:
            raise UsageError("--draft-length is an option of a small model that drafts; add --draft")
        return
    if arguments.others:
        raise UsageError("--draft and --with: a draft is for one model; leave one of them out")
    if search.without_replacement or (search.beam > 1 and not search.sample):
        raise UsageError("--draft helps to say one answer, not to compare several; add --beam 1, or draw with --sample")


def load_together(first: str, arguments: argparse.Namespace, load: Callable[[str], Translator]) -> Translator:
    """The first model, alone, with the others, or with a draft."""
    names = [first, *arguments.others]
    if draft := vars(arguments).get("draft"):
        length = 4 if arguments.draft_length is None else arguments.draft_length
        return with_draft(load(first), load(draft), (first, draft), length)
    if arguments.ensemble_mode is not None and len(names) == 1:
        raise UsageError("--ensemble-mode is an option of several models; add --with")
    if len(names) == 1:
        return load(first)
    return join_models([load(name) for name in names], names, arguments.ensemble_mode or "probabilities")
