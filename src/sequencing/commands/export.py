"""Write the model of a run as a folder that runs without PyTorch: python -m sequencing_np translate MODEL."""

import argparse
from functools import partial
from pathlib import Path

from sequencing.commands.model import add_run, folder_of
from sequencing_np.compact import KINDS
from sequencing_np.model_folder import copy_model_folder, store_weights
from sequencing_np.translate import Translator

EXAMPLES = """
examples:
  sequencing export runs/demo model
  sequencing export runs/demo model --checkpoint last
  sequencing export runs/demo model --weights int8
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("model", metavar="MODEL", help="the folder to write; a model folder there is replaced")
    kinds = "numbers on disk: half or a quarter of the bytes for a little rounding (default: as they are)"
    parser.add_argument("--weights", choices=KINDS, help=kinds)


def run(arguments: argparse.Namespace) -> None:
    folder = folder_of(arguments.run, arguments)
    Translator.load(folder)  # what NumPy cannot run is refused here, not on the machine that it is meant for
    change = partial(store_weights, kind=arguments.weights) if arguments.weights else None
    copy_model_folder(folder, Path(arguments.model), change)
