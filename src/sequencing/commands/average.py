"""Make one model of several: the mean of their weights. Often better than the best of them."""

import argparse
from pathlib import Path

from sequencing.commands.model import add_run, folder_of
from sequencing_np.errors import UsageError
from sequencing_np.manifest import MANIFEST

EXAMPLES = """
examples:
  sequencing average runs/one --last 10 --output runs/one/average
  sequencing average runs/one --best 5 --output runs/one/average
  sequencing average runs/one/best runs/one/last --output runs/one/average
  sequencing average runs/seed1 runs/seed2 --checkpoint last --output averaged
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser, several=True)
    parser.add_argument(
        "--last",
        type=int,
        metavar="N",
        help="of each run the models of its last N validations, which it keeps where train.keep_models is set",
    )
    parser.add_argument(
        "--best",
        type=int,
        metavar="N",
        help="of each run the N models that did best on dev, which it keeps where train.keep_best is set",
    )
    parser.add_argument("--output", required=True, metavar="FOLDER", help="the new model folder")


def run(arguments: argparse.Namespace) -> None:
    output = Path(arguments.output)
    if output.exists() and not (output / MANIFEST).is_file() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"--output {output}: exists and is no model folder; give a new or empty folder")
    for option, count in (("--last", arguments.last), ("--best", arguments.best)):
        if count is not None and count < 1:
            raise UsageError(f"{option} {count}: must be 1 or more")
    if arguments.last and arguments.best:
        raise UsageError("--last and --best choose in different ways; give one of them")
    from sequencing.averaging import average
    from sequencing.kept_models import best_models, last_models

    if count := arguments.last or arguments.best:
        chosen = last_models if arguments.last else best_models
        folders = [model for path in arguments.runs for model in chosen(Path(path), count)]
    else:
        folders = [folder_of(path, arguments) for path in arguments.runs]
    average(folders, output)
