"""Learn from parallel text, as a configuration says. The same command continues a run that was stopped.

FOLDER gets the resolved configuration, the metrics, the models `best` and `last`, and what is needed to go on.
"""

import argparse
import json
from pathlib import Path

from sequencing.commands.settings import add_set_option
from sequencing.run_config import read_run_config

EXAMPLES = """
examples:
  sequencing train numbers.toml --run runs/numbers
  sequencing train numbers.toml --run runs/slow --set train.learning_rate=3e-4 train.minutes=30
  torchrun --nproc-per-node 2 -m sequencing train numbers.toml --run-folder runs/two --set train.accumulate=2
  sequencing train numbers.toml --run runs/finer --init-from runs/numbers --set train.learning_rate=1e-4
  sequencing train numbers.toml --run runs/mine --set 'data.train=["mine.tsv.gz"]' --set 'data.dev=["dev.tsv"]'
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="a TOML file")
    folder = "the folder of the run, made if it is not there; --run-folder under torchrun, which knows another --run"
    parser.add_argument("--run", "--run-folder", required=True, metavar="FOLDER", help=folder)
    parser.add_argument(
        "--init-from",
        metavar="RUN",
        help="a new run begins with the weights of this run, or model folder, that fit (train.init.from_run)",
    )
    add_set_option(parser)
    parser.add_argument(
        "--accept-changed-data",
        action="store_true",
        help="go on though the training files are not those that the run began with, from the next epoch",
    )


def run(arguments: argparse.Namespace) -> None:
    settings = list(arguments.set)
    if arguments.init_from is not None:
        settings.append(f"train.init.from_run={json.dumps(str(Path(arguments.init_from).resolve()))}")
    config = read_run_config(arguments.config, settings)  # before PyTorch, so that its mistakes show at once
    from sequencing.train.loop import train

    train(config, Path(arguments.run), arguments.accept_changed_data)
