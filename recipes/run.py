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
from catalogue import DATA, FOLDERS, HERE, ROOT, RUNS, TAUGHT, recipes
from distil import distil
from measure import measure

from sequencing.run_config import read_run_config


def make_ready(names: list[str], data: Path) -> None:
    """The files that the recipes name, made of the sets in `data` where one of them is missing."""
    wanted = [Path(str(file)) for name in names for file in read_run_config(HERE / f"{name}.toml").data.train]
    if not all(path.is_file() for path in wanted):
        prepare.prepare(data, DATA)
    missing = [str(path) for path in wanted if not path.is_file()]
    if missing:
        sys.exit(
            f"{missing[0]}: is not there, and {data} has not the set that it is made of; name another folder: --data"
        )


def trained(name: str, settings: list[str]) -> Path:
    """The run of a recipe, trained to its end."""
    run = RUNS / name
    command = [sys.executable, "-m", "sequencing", "train", str(HERE / f"{name}.toml"), "--run", str(run)]
    done = subprocess.run([*command, *(["--set", *settings] if settings else [])], cwd=ROOT)
    if done.returncode:
        sys.exit(done.returncode)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", choices=sorted(FOLDERS), help="the folder of recipes")
    parser.add_argument("names", nargs="*", metavar="NAME", help="some of its recipes; all where none is named")
    parser.add_argument(
        "--data", type=Path, default=ROOT.parent / "shared" / "data", help="the folder of the data sets"
    )
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="key=value", help="laid over each one")
    arguments = parser.parse_args()
    known = recipes(arguments.folder)
    names = [f"{arguments.folder}/{name}" for name in arguments.names] or known
    if wrong := [name for name in names if name not in known]:
        sys.exit(f"{wrong[0]}: no such recipe; there are {', '.join(known)}")
    make_ready([name for name in names if name not in TAUGHT], arguments.data)
    for name in names:
        if name in TAUGHT:
            distil(TAUGHT[name], name)
        measure(name, trained(name, arguments.set))
        table.update()


if __name__ == "__main__":
    main()
