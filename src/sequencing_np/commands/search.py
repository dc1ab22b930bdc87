"""The options of a search: each is one field of SearchConfig, on both floors.

What is not given stays as it is in the configuration they are laid over. Knows nothing of files.
"""

import argparse
from dataclasses import fields, replace

from sequencing_np.errors import ConfigError, UsageError
from sequencing_np.mbr import NONE, UTILITIES, add_utility
from sequencing_np.ranking import LENGTH_PENALTIES
from sequencing_np.search import SearchConfig

SAMPLING = ("without_replacement", "temperature", "top_k", "top_p", "min_p", "epsilon", "seed")


def add_search_options(parser: argparse.ArgumentParser) -> None:
    """Options of beam and greedy search."""
    group = parser.add_argument_group("search", "what is not given is as in the run, or else as SearchConfig has it")
    group.add_argument("--beam", type=int, metavar="K", help="hypotheses kept; 1 is greedy search")
    group.add_argument("--length-penalty", choices=LENGTH_PENALTIES, help="what a log-probability is divided by")
    group.add_argument("--alpha", type=float, metavar="A", help="exponent of the length penalty")
    group.add_argument("--word-reward", type=float, metavar="R", help="added to the log-probability for each token")
    group.add_argument("--coverage", type=float, metavar="B", help="weight of what looking at no source token costs")
    group.add_argument("--patience", type=float, metavar="P", help="finish P times as many answers as the beam holds")
    group.add_argument("--groups", type=int, metavar="G", help="of the beam, that are to differ")
    group.add_argument("--diversity", type=float, metavar="D", help="what it costs a group to say what another said")
    group.add_argument("--no-repeats", type=int, metavar="N", help="no N tokens in a row come twice; 0: they may")
    group.add_argument("--max-length", type=int, metavar="N", help="tokens of the longest answer; 0: as in training")
    group.add_argument("--min-length", type=int, metavar="N", help="tokens of the shortest answer")
    group.add_argument(
        "--max-ratio", type=float, metavar="X", help="tokens of the longest answer for each of the source"
    )
    group.add_argument("--min-ratio", type=float, metavar="X", help="tokens of the shortest, for each of the source")
    group.add_argument("--no-unknown", action="store_true", default=None, help="never say the unknown token")
    group.add_argument("--batch-tokens", type=int, metavar="N", help="source tokens x beam searched at once")


def add_sampling_options(parser: argparse.ArgumentParser) -> None:
    """Options of answers that are drawn."""
    group = parser.add_argument_group("sampling")
    group.add_argument("--sample", action="store_true", default=None, help="draw an answer, do not search for the best")
    alike = "draw --n-best answers, or --candidates of --mbr, no two of them alike"
    group.add_argument("--without-replacement", action="store_true", default=None, help=alike)
    group.add_argument("--temperature", type=float, metavar="T", help="below 1 sharper, above 1 flatter")
    group.add_argument("--top-k", type=int, metavar="K", help="draw from the K likeliest tokens; 0: from all")
    group.add_argument("--top-p", type=float, metavar="P", help="draw from the likeliest tokens of mass P")
    group.add_argument(
        "--min-p", type=float, metavar="P", help="from tokens with P times the likeliest one's probability"
    )
    group.add_argument("--epsilon", type=float, metavar="P", help="from tokens with at least this probability")
    group.add_argument("--seed", type=int, metavar="N", help="of the draws")


def add_mbr_options(parser: argparse.ArgumentParser) -> None:
    """Options of answers that are chosen by what all candidates have in common."""
    group = parser.add_argument_group("minimum Bayes risk")
    row = f"choose the candidate that the others find best by {', '.join(UTILITIES)} or a module:function of your own"
    group.add_argument("--mbr", metavar="UTILITY", help=f"{row}; {NONE}: do not")
    group.add_argument("--candidates", type=int, metavar="N", help="answers of the beam, or with --sample draws")


def add_shortlist_option(parser: argparse.ArgumentParser) -> None:
    """Fewer tokens to choose among."""
    group = parser.add_argument_group("fewer tokens")
    text = "say only tokens that the model's shortlist has for a line (see `sequencing export --shortlist`)"
    group.add_argument("--shortlist", action="store_true", default=None, help=text)


def search_config(base: SearchConfig, arguments: argparse.Namespace) -> SearchConfig:
    """The configuration with the given options laid over it: one answer a line unless more are asked for."""
    given = {name: value for name, value in vars(arguments).items() if name in FIELDS and value is not None}
    for name in SAMPLING:
        if name in given and "sample" not in given:
            raise UsageError(f"--{name.replace('_', '-')} is an option of drawing answers; add --sample")
    if "mbr" in given:
        add_utility(given["mbr"])
    reranks = vars(arguments).get("rerank") or vars(arguments).get("rerank_backwards")
    if "candidates" in given and given.get("mbr", base.mbr) == NONE and not reranks:
        raise UsageError("--candidates is an option of choosing among answers; add --mbr or --rerank")
    if given.get("seed", 0) < 0:
        raise UsageError(f"--seed {given['seed']}: must be 0 or more")
    try:
        unasked = {} if "mbr" in vars(arguments) else {"mbr": NONE}  # what cannot be switched off is off
        off = {"n_best": 1, "sample": False, "without_replacement": False, "alignments": False, **unasked}
        return replace(base, **{**off, **given})
    except ConfigError as error:
        raise UsageError(f"the search options: {error}") from None


FIELDS = {field.name for field in fields(SearchConfig)}
