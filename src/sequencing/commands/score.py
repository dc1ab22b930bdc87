"""Say how likely a model finds given translations: the natural logarithm of each probability, one a line."""

import argparse

from sequencing.commands.model import add_device, add_run, load_all
from sequencing_np.commands.ensemble import add_ensemble_options
from sequencing_np.commands.score import add_options, score

EXAMPLES = """
examples:
  sequencing score runs/demo --source in.txt --target out.txt
  sequencing score runs/demo --source in.txt --target out.txt --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    add_device(parser)
    add_ensemble_options(parser, "RUN")
    add_options(parser)


def run(arguments: argparse.Namespace) -> None:
    score(load_all(arguments), arguments)
