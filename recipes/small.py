"""Every recipe end to end on a few pairs, in minutes: `python recipes/small.py [DATA]` (make recipes-small).

Each configuration is taken as it is but for its widths and its time: it learns some pairs of its own data by heart,
with the command that trains it. Then it is measured as a whole run is, and the model answers once more on NumPy alone;
the share of tokens that it foresees must reach a floor. Where a data set is not there, pairs of the same columns are
made on the fly. What is asked here is whether the way from data to table is open, not how good a recipe is.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import multiprocessing
import os
import shutil
import sys
import time
import tomllib
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import made
import prepare
from catalogue import HERE, ROOT, recipes
from measure import measure

from sequencing.__main__ import main as sequencing
from sequencing.loading import load_translator
from sequencing_np import SearchConfig, Translator

SMALL = ROOT / "runs" / "small"
PAIRS, WIDTH, READ = 12, 64, 400  # pairs learnt, by cells so wide; lines read of a set
STEPS = 200
SLOW = {  # steps of those that take longer to find where to look
    "sutskever2014": 600,
    "bahdanau2015": 600,
    "luong2015-concat": 600,
    "luong2015-dot": 600,
    "luong2015-general": 600,
    "nmt_small": 600,
    "nmt_medium": 600,
    "syntactic": 1500,
}
FLOOR = 0.9  # of the tokens of these pairs, the words before them being given
LENGTH = 32  # characters of a pair, about


class Outcome(NamedTuple):
    """What became of a recipe."""

    name: str
    reached: float
    exact: float
    seconds: float
    problem: str

    @property
    def passed(self) -> bool:
        return not self.problem and self.reached >= FLOOR


def steps(name: str) -> int:
    """How long a recipe learns."""
    return SLOW.get(name.rpartition("/")[2], STEPS)


def set_of(file: str) -> str:
    """The name of a data set by its training file: of a packed one the folder, else what stands before .train."""
    path = Path(file)
    return path.parent.name if path.suffix == ".gz" else path.name.removesuffix(".train.tsv")


def few(name: str, file: str, data: Path, out: Path) -> Path:
    """A file of a few pairs of a set: short ones with sources of their own, or some made on the fly."""
    ready, packed = out / f"{name}.train.tsv", data / name / Path(file).name
    if not ready.is_file() and not packed.is_file():
        made.write_splits(name, out, (min(READ, 60), 0, 0))
    found: dict[str, str] = {}
    with ready.open("rb") if ready.is_file() else gzip.open(packed) as lines:  # type: ignore[attr-defined]
        for row in islice(lines, READ):
            source, _, target = row.decode().rstrip("\n").partition("\t")
            found.setdefault(source, target)
    chosen = sorted(found.items(), key=lambda pair: abs(len("".join(pair)) - LENGTH))[:PAIRS]
    path = out / f"{name}.few.tsv"
    made.write(path, map("\t".join, chosen))
    return path


def narrowed(values: Any, by: int) -> Any:
    """Settings of a model with all widths divided, and nothing dropped."""
    if isinstance(values, list):
        return [narrowed(each, by) for each in values]
    if not isinstance(values, dict):
        return values
    found = {key: narrowed(each, by) for key, each in values.items()}
    for key, each in found.items():
        if (key.endswith("size") or key == "projection") and each:
            found[key] = max(each // by, 1)
        elif key.endswith("dropout") or key == "layer_drop":
            found[key] = 0.0
    return found


def widest(values: Any, key: str = "") -> int:
    """The widest stack, convolution or block of a model's settings, without feed-forward layers and one-hot tables."""
    if isinstance(values, dict):
        parts = {k: v for k, v in values.items() if not (k == "embedding_size" and values.get("one_hot"))}
        return max((widest(each, name) for name, each in parts.items()), default=0)
    counts = key in ("size", "embedding_size") and isinstance(values, int)
    return values if counts else 0


def subwords(texts: list[str]) -> int:
    """So many subwords as few texts surely have: bytes, characters, and a merge for every third letter of a word."""
    words = {word for text in texts for word in text.split()}
    return 4 + 256 + 1 + len(set("".join(words))) + sum(map(len, words)) // 3


def tiny(name: str, values: dict[str, Any], pairs: Path) -> dict[str, Any]:
    """A configuration with few pairs, few steps and narrow layers; all else is as it is."""
    count, values = steps(name), json.loads(json.dumps(values))
    values["data"].update(train=[str(pairs)], dev=[str(pairs)], test=[str(pairs)])
    vocab = values.get("vocab", {})
    texts = pairs.read_text("utf-8").replace("\n", "\t").split("\t")
    for side, shown in (("source", texts if vocab.get("joint") else texts[::2]), ("target", texts[1::2])):
        if vocab.get(side, {}).get("level") == "subwords":
            vocab[side].update(size=subwords(shown), dropout=0.0)
            vocab[side].pop("file", None)  # of a run that is not there
    values["model"] = narrowed(values["model"], max(1, widest(values["model"]) // WIDTH))
    old = values["train"]
    kept = {
        key: old[key] for key in ("optimizer", "clip", "normalize", "select", "bleu_tokenize", "r_drop") if key in old
    }
    teacher = {**old.get("teacher", {}), "scale": 4.0 * count}
    values["train"] = {
        **kept, "teacher": teacher, "batch_tokens": 640, "steps": count, "learning_rate": 5e-3, "threads": 1, "seed": 1,
        "schedule": {"type": "linear", "warmup": 20, "final": 0.1}, "validate_every": count, "samples": 1,
    }  # fmt: skip
    return values


def run(name: str, pairs: Path) -> Outcome:
    """Train, measure, and answer on NumPy alone."""
    begin, folder = time.monotonic(), SMALL / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    config = folder.parent / f"{folder.name}.json"
    values = tomllib.loads((HERE / f"{name}.toml").read_text("utf-8"))
    config.write_text(json.dumps(tiny(name, values, pairs), indent=1), "utf-8")
    reached, exact, problem = 0.0, 0.0, ""
    try:
        if code := sequencing(["train", str(config), "--run", str(folder)]):
            raise RuntimeError(f"sequencing train ended with {code}")
        record = measure(name, folder)
        reached, exact = (
            record["train"]["token_accuracy"],
            max(each["exact_match"] for each in record["search"].values()),
        )
        problem = differing(folder, pairs)
    except Exception as error:  # noqa: BLE001 (said in the table; the others go on)
        problem = f"{type(error).__name__}: {error}"
    return Outcome(name, reached, exact, time.monotonic() - begin, problem)


def differing(folder: Path, pairs: Path) -> str:
    """What NumPy says otherwise than PyTorch, if anything."""
    texts = [row.partition("\t")[0] for row in pairs.read_text("utf-8").split("\n")[:5]]
    search = SearchConfig(beam=2)
    above, below = (
        load_translator(folder).translate(texts, search),
        Translator.load(folder / "best").translate(texts, search),
    )
    wrong = [one.text for one, other in zip(above, below, strict=True) if one.text != other.text]
    return f"NumPy does not say {wrong[0]!r}" if wrong else ""


def worker(task: tuple[str, Path]) -> Outcome:
    """One recipe in a process of its own; what it says goes to a log."""
    log = (SMALL / f"log-{os.getpid()}.txt").open("ab")
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    return run(*task)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "data", type=Path, nargs="?", default=ROOT.parent / "shared" / "data", help="the data sets' folder"
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="some recipes: guide/06-attention …")
    arguments = parser.parse_args()
    names = [name for name in recipes() if not arguments.only or name in arguments.only]
    shutil.rmtree(SMALL / "data", ignore_errors=True)
    begin, out = time.monotonic(), SMALL / "data"
    with contextlib.redirect_stdout(io.StringIO()):
        absent = prepare.prepare(arguments.data, out, READ)
        files = {name: tomllib.loads((HERE / f"{name}.toml").read_text("utf-8"))["data"]["train"][0] for name in names}
        tasks = [(name, few(set_of(file), file, arguments.data, out)) for name, file in files.items()]
    print(
        f"{len(tasks)} recipes; "
        + (f"not there, so made on the fly: {', '.join(absent)}" if absent else "all data are there")
    )
    cores, failed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, 0
    print(f"{'recipe':38} {'foreseen':>9} {'floor':>6} {'exact':>6} {'seconds':>8}")
    with multiprocessing.get_context("spawn").Pool(min(cores, 4)) as pool:
        for done in pool.imap_unordered(worker, tasks):
            failed += not done.passed
            said = "" if done.passed else f"  {done.problem or 'below its floor'}"
            print(
                f"{done.name:38} {done.reached:9.3f} {FLOOR:6.2f} {done.exact:6.2f} {done.seconds:8.1f}{said}",
                flush=True,
            )
    print(f"{len(tasks) - failed} of {len(tasks)} passed in {time.monotonic() - begin:.0f} s; the runs are in {SMALL}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
