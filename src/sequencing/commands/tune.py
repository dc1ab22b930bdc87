"""Search for hyper-parameters: train with values drawn from a space, drop early what does badly, keep what is best.

CONFIG is the configuration of a run with a table [tune] beside its others. The same command continues a search that
was stopped, and any number of processes may run it on one folder at once: they share the trials.
"""

import argparse
from pathlib import Path

from sequencing.commands.settings import add_set_option
from sequencing.tuning.settings import read_plan

EXAMPLES = """
examples:
  sequencing tune numbers.toml --folder tuned
  sequencing tune numbers.toml --folder tuned --trials 50 --minutes 60
  sequencing tune numbers.toml --folder tuned --set train.threads=1
  sequencing train tuned/best.toml --run runs/best
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="a TOML file with a table [tune]")
    parser.add_argument(
        "--folder", required=True, metavar="FOLDER", help="where the trials go; made if it is not there"
    )
    parser.add_argument("--trials", metavar="N", help="how many there are to be, earlier calls included (tune.trials)")
    parser.add_argument("--minutes", metavar="M", help="stop this call after as many; a trial is left to the next one")
    add_set_option(parser)


def run(arguments: argparse.Namespace) -> None:
    settings = list(arguments.set)
    for name in ("trials", "minutes"):
        if getattr(arguments, name) is not None:
            settings.append(f"tune.{name}={getattr(arguments, name)}")
    plan = read_plan(arguments.config, settings)  # before PyTorch, so that its mistakes show at once
    from sequencing.tuning.search import tune

    options = [word for module in arguments.imports for word in ("--import", module)]
    for line in tune(plan, Path(arguments.folder), options):
        print(line)
