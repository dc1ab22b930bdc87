"""What a teacher says to its training sources, as the data of its student: `python recipes/distil.py TEACHER STUDENT`.

Both are names of recipes, and the teacher's run is there. Written are the files that the student's recipe names: pairs
of a source and the best answer of a beam of five, and of a source and that of a beam of ten which is nearest to the
given target by BLEU (Kim and Rush 2016, sections 3.2 and 3.3); dev and test are the teacher's own.
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
    pairs, sources = train.with_suffix(".pairs"), train.with_suffix(".sources")
    told = list(Corpus(given.train, "train").pairs())
    pairs.write_text("".join(f"{source}\t{target}\n" for source, target in told), encoding="utf-8")
    sources.write_text("".join(f"{source}\n" for source, _ in told), encoding="utf-8")
    best, nearest = train.with_suffix(".best"), train.with_suffix(".nearest")
    say(teacher, sources, best, "--beam", "5")
    say(teacher, pairs, nearest, "--beam", "10", "--nearest", "bleu")
    lines = (best.read_text("utf-8") + nearest.read_text("utf-8")).split("\n")
    train.write_text("\n".join(dict.fromkeys(lines)), encoding="utf-8")
    for files, copy in ((given.dev, dev), (given.test, test)):
        shutil.copyfile(str(files[0]), copy)
    for made in (pairs, sources, best, nearest):
        made.unlink()


def say(teacher: str, given: Path, answers: Path, *options: str) -> None:
    """Lines of a source and what the teacher says to it."""
    if answers.is_file():
        return
    files = ["--forward", "--input", str(given), "--output", str(answers)]
    if code := sequencing(["backtranslate", str(RUNS / teacher), *files, *options]):
        sys.exit(code)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("teacher")
    parser.add_argument("student", choices=sorted(TAUGHT))
    arguments = parser.parse_args()
    distil(arguments.teacher, arguments.student)
