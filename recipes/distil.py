"""What a teacher says to its training sources, as the data of its student: `python recipes/distil.py TEACHER STUDENT`.

Both are names of recipes, and the teacher's run is there. Written are the files that the student's recipe names: pairs
of a source and the best answer of a beam of five (Kim and Rush 2016, section 3.2); dev and test are the teacher's own.
A call that was ended goes on; a file that is there is kept.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from catalogue import HERE, RUNS, TAUGHT

from sequencing.__main__ import main as sequencing
from sequencing.data.corpus import Corpus
from sequencing.run_config import read_run_config


def distil(teacher: str, student: str) -> None:
    """The student's data, made by the teacher's run."""
    given = read_run_config(RUNS / teacher / "config.json").data
    wanted = read_run_config(HERE / f"{student}.toml").data
    train, dev, test = (Path(str(files[0])) for files in (wanted.train, wanted.dev, wanted.test))
    if train.is_file():
        print(f"{train} is there and is kept")
        return
    sources = train.with_suffix(".sources")
    sources.write_text("".join(f"{source}\n" for source, _ in Corpus(given.train, "train").pairs()), encoding="utf-8")
    options = ["--forward", "--input", str(sources), "--output", str(train), "--beam", "5"]
    if code := sequencing(["backtranslate", str(RUNS / teacher), *options]):
        sys.exit(code)
    for files, copy in ((given.dev, dev), (given.test, test)):
        shutil.copyfile(str(files[0]), copy)
    sources.unlink()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("teacher")
    parser.add_argument("student", choices=sorted(TAUGHT))
    arguments = parser.parse_args()
    distil(arguments.teacher, arguments.student)
