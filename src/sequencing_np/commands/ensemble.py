"""The options of several models that decode together, and what they load, on both floors."""

import argparse
from collections.abc import Callable

from sequencing_np.ensemble import MEANS, join_models
from sequencing_np.errors import UsageError
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


def load_together(first: str, arguments: argparse.Namespace, load: Callable[[str], Translator]) -> Translator:
    """The first model, alone or with the others."""
    names = [first, *arguments.others]
    if arguments.ensemble_mode is not None and len(names) == 1:
        raise UsageError("--ensemble-mode is an option of several models; add --with")
    if len(names) == 1:
        return load(first)
    return join_models([load(name) for name in names], names, arguments.ensemble_mode or "probabilities")
