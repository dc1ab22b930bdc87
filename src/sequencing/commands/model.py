"""Which model a command is about: the options, and what they load."""

import argparse
from functools import partial
from pathlib import Path

from sequencing.process import settle
from sequencing_np.translate import Translator


def add_run(parser: argparse.ArgumentParser, several: bool = False) -> None:
    """The folder of a run or of a model, and which of a run's models is meant."""
    help_text = "the folder of a run, or a model folder"
    if several:
        parser.add_argument("runs", metavar="RUN_OR_MODEL", nargs="+", help=help_text)
    else:
        parser.add_argument("run", metavar="RUN", help=help_text)
    parser.add_argument(
        "--checkpoint", choices=("best", "last"), default="best", help="which model of the run (default best)"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Where the model runs, and in which numbers."""
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1 ...")
    precision = "of matrix products: float32 (default), bfloat16, int8; auto: bfloat16 where the device multiplies it"
    parser.add_argument("--precision", default="float32", help=precision)


def load(arguments: argparse.Namespace) -> Translator:
    """The model that was asked for."""
    return load_beside(arguments, arguments.run)


def load_all(arguments: argparse.Namespace) -> Translator:
    """The model that was asked for, together with those of --with."""
    from sequencing_np.commands.ensemble import load_together

    return load_together(arguments.run, arguments, partial(load_beside, arguments))


def load_beside(arguments: argparse.Namespace, run: str) -> Translator:
    """Another model, from where and on what the first is asked for."""
    from sequencing.loading import load_translator

    return load_translator(run, arguments.device, arguments.checkpoint, arguments.precision)


def load_in_worker(arguments: argparse.Namespace, threads: int) -> Translator:
    """The same for one of several processes, which has so many threads."""
    settle()
    import torch

    torch.set_num_threads(threads)
    arguments.device = "cpu"
    return load_all(arguments)


def folder_of(run: str, arguments: argparse.Namespace) -> Path:
    """The folder of the model that was asked for."""
    from sequencing.loading import model_folder_of

    return model_folder_of(run, arguments.checkpoint)
