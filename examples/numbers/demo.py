"""The main job on one page: make data, train, look at the attention, measure, export, translate without PyTorch.

Run by `make demo`; each step is a command that is shown before it runs, so that it can be repeated by hand.
"""

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path

from sequencing.data.numbers import write_numbers

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DATA = Path("runs/numbers")
RUN = Path("runs/demo")
SENTENCE = "three hundred and twenty-one"  # drei hundert ein und zwanzig: the one before the twenty
LINES = [
    SENTENCE,
    "two hundred and five thousand and one",
    "one thousand, nine hundred and eighty-four",
    "seventeen",
    "eight hundred thousand",
]
WITHOUT_TORCH = (
    "import runpy, sys; sys.modules['torch'] = None; sys.argv = ['sequencing_np', *sys.argv[1:]]; "
    "runpy.run_module('sequencing_np', run_name='__main__')"
)


def say(text: str) -> None:
    """A heading."""
    print(f"\n== {text}", flush=True)


def run(arguments: list[str], **options: object) -> str:
    """Show a command and run it; its standard output is returned, its standard error shown as it comes."""
    print("$ " + shlex.join(arguments), flush=True)
    if arguments[0] == "sequencing":
        arguments = [sys.executable, "-m", *arguments]
    done = subprocess.run(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True, encoding="utf-8", **options)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


def main() -> None:
    say("1 of 6: number words in English and German, 0 to 999,999, written by num2words")
    begin = time.monotonic()
    if not (ROOT / DATA / "test.tsv").exists():
        write_numbers(ROOT / DATA, train=30_000, dev=500, test=1_000, seed=1)
    print(f"{DATA}: 30,000 pairs to learn from, 500 to choose by, 1,000 to measure with, all different")

    say("2 of 6: train")
    print(run(["sequencing", "train", "examples/numbers/numbers.toml", "--run", str(RUN)]), end="")

    say("3 of 6: measure, on numbers never seen before")
    source, target = (ROOT / DATA / f"test.{side}" for side in ("en", "de"))
    pairs = [line.split("\t") for line in (ROOT / DATA / "test.tsv").read_bytes().decode().rstrip("\n").split("\n")]
    for path, texts in ((source, [pair[0] for pair in pairs]), (target, [pair[1] for pair in pairs])):
        path.write_bytes("".join(text + "\n" for text in texts).encode())
    files = [str(path.relative_to(ROOT)) for path in (source, target)]
    result = run(
        [
            "sequencing",
            "evaluate",
            str(RUN),
            "--source",
            files[0],
            "--reference",
            files[1],
            "--tokenize",
            "char",
            "--json",
        ]
    )
    (ROOT / RUN / "test.json").write_text(result, encoding="utf-8", newline="\n")
    numbers = json.loads(result)
    print(f"{round(1000 * numbers['exact_match'])} of 1,000 numbers exactly right, chrF {numbers['chrf']:.2f}")

    say("4 of 6: look at what it looks at")
    run(["sequencing", "plot", "attention", str(RUN), SENTENCE, "--output", str(RUN / "attention.png")])
    run(["sequencing", "report", str(RUN)])

    say("5 of 6: export for the runtime")
    run(["sequencing", "export", str(RUN), str(RUN / "model")])

    say("6 of 6: translate with NumPy alone; PyTorch cannot be imported in this process")
    command = [sys.executable, "-c", WITHOUT_TORCH, "translate", str(RUN / "model")]
    print(f"$ python -m sequencing_np translate {RUN / 'model'}", flush=True)
    answers = subprocess.run(
        command, cwd=ROOT, input="".join(line + "\n" for line in LINES), text=True, encoding="utf-8",
        stdout=subprocess.PIPE, check=True,
    ).stdout  # fmt: skip
    for line, answer in zip(LINES, answers.rstrip("\n").split("\n"), strict=True):
        print(f"  {line:44} {answer}")

    print(f"""
All of it took {(time.monotonic() - begin) / 60:.1f} minutes. Look at {RUN}/report.html and {RUN}/attention.png.

Three commands to try next:
  .venv/bin/sequencing train examples/numbers/numbers.toml --run runs/mine --set 'data.train=["{ROOT}/my.tsv"]'
  echo "nineteen thousand and eighty-four" | .venv/bin/sequencing translate {RUN} --n-best 3 --json
  .venv/bin/sequencing report runs/mine""")


if __name__ == "__main__":
    main()
