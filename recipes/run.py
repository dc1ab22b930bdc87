"""A folder of recipes from data to table: `python recipes/run.py guide`, or `… run.py guide 06-attention`.

Makes the data ready, trains what is not trained yet (a run that was stopped goes on), measures it and fills the tables
of the folder's README.md. `--set` goes to `sequencing train`.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import prepare
import table
from catalogue import DATA, FOLDERS, HERE, ROOT, RUNS, TAUGHT, Experiment, experiments
from distil import distil
from measure import measure

from sequencing.run_config import read_run_config


def make_ready(runs: list[Experiment], data: Path) -> None:
    """The files that the runs read, made of the sets in `data` where one of them is missing."""
    configs = [read_run_config(HERE / f"{run.recipe}.toml", list(run.settings)) for run in runs]
    wanted = [Path(str(file)) for config in configs for file in config.data.train]
    if not all(path.is_file() for path in wanted):
        prepare.prepare(data, DATA)
    missing = [str(path) for path in wanted if not path.is_file()]
    if missing:
        sys.exit(
            f"{missing[0]}: is not there, and {data} has not the set that it is made of; name another folder: --data"
        )


def trained(run: Experiment, more: list[str]) -> Path:
    """The folder of a run, trained to its end."""
    folder, settings = RUNS / run.name, [*run.settings, *more]
    command = [sys.executable, "-m", "sequencing", "train", str(HERE / f"{run.recipe}.toml"), "--run", str(folder)]
    done = subprocess.run([*command, *(["--set", *settings] if settings else [])], cwd=ROOT)
    if done.returncode:
        sys.exit(done.returncode)
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", choices=sorted(FOLDERS), help="the folder of recipes")
    parser.add_argument("names", nargs="*", metavar="NAME", help="some of its runs; all where none is named")
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="the folder of the data sets"
    )
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="key=value", help="laid over each one")
    arguments = parser.parse_args()
    known = {run.label: run for run in experiments(arguments.folder)}
    if wrong := [name for name in arguments.names if name not in known]:
        sys.exit(f"{wrong[0]}: no such run of {arguments.folder}; there are {', '.join(known)}")
    runs = [known[name] for name in arguments.names or known]
    make_ready([run for run in runs if run.recipe not in TAUGHT], arguments.data)
    for run in runs:
        if run.recipe in TAUGHT:
            distil(TAUGHT[run.recipe], run.recipe)
        measure(run.name, trained(run, arguments.set))
        table.update()


if __name__ == "__main__":
    main()
