"""Make one model of several: the mean of their weights. Often better than the best of them."""

import argparse
from pathlib import Path

from sequencing.commands.model import add_run, folder_of
from sequencing_np.errors import UsageError
from sequencing_np.manifest import MANIFEST

EXAMPLES = """
examples:
  sequencing average runs/one/best runs/one/last --output runs/one/average
  sequencing average runs/seed1 runs/seed2 --checkpoint last --output averaged
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser, several=True)
    parser.add_argument("--output", required=True, metavar="FOLDER", help="the new model folder")


def run(arguments: argparse.Namespace) -> None:
    output = Path(arguments.output)
    if output.exists() and not (output / MANIFEST).is_file() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"--output {output}: exists and is no model folder; give a new or empty folder")
    from sequencing.averaging import average

    average([folder_of(path, arguments) for path in arguments.runs], output)
