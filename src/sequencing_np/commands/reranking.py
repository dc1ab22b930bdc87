"""The options of reranking, and the models that they load, on both floors."""

import argparse
from collections.abc import Callable

from sequencing_np.errors import UsageError
from sequencing_np.reranking import Reranker, with_candidates
from sequencing_np.search import SearchConfig
from sequencing_np.translate import Translator


def add_rerank_options(parser: argparse.ArgumentParser, metavar: str) -> None:
    """Models that have a say in which answer is the best."""
    group = parser.add_argument_group("reranking", "answers of the beam, or --candidates of them, by several models")
    more = {"action": "extend", "nargs": "+", "default": [], "metavar": metavar}
    same = "models that score each answer given the source, such as one that was taught targets from their end"
    group.add_argument("--rerank", help=same, **more)  # type: ignore[arg-type]
    group.add_argument("--rerank-backwards", help="models that score the source given each answer", **more)  # type: ignore[arg-type]
    weights = "one for each of these models, first those of --rerank; the first model's is 1 (default 1 each)"
    group.add_argument("--rerank-weights", type=float, nargs="+", metavar="W", help=weights)


def check_rerank(search: SearchConfig, arguments: argparse.Namespace) -> None:
    """UsageError where the options do not go together."""
    count = len(arguments.rerank) + len(arguments.rerank_backwards)
    weights = arguments.rerank_weights
    if weights is not None and len(weights) != count:
        raise UsageError(f"--rerank-weights: {len(weights)} for {count} models of --rerank and --rerank-backwards")
    if count:
        with_candidates(search)


def load_rerankers(translator: Translator, arguments: argparse.Namespace, load: Callable[[str], Translator]) -> None:
    """Let the translator's answers be reranked, if that is asked for."""
    names = [*arguments.rerank, *arguments.rerank_backwards]
    weights = arguments.rerank_weights or [1.0] * len(names)
    translator.rerankers = [
        Reranker(load(name), weight, place >= len(arguments.rerank))
        for place, (name, weight) in enumerate(zip(names, weights, strict=True))
    ]
