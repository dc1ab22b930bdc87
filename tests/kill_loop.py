"""Kills a training again and again, at any moment, and compares what it comes to with one that was left alone.

    python tests/kill_loop.py FOLDER --kills 1000

A real training of a tiny model with all on that is random or remembers, saved after every step. Each life is a fork of
this process, which has PyTorch imported already. Prints one line of JSON: kills, those inside a save, runs that came to
their end, and the files in which they differ from the one that was left alone, times aside.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import numpy as np
import sacrebleu  # noqa: F401  (imported here once, not in every life)
import torch._dynamo  # noqa: F401  (optimisers import it)

from sequencing.kept_models import BEST_MODELS
from sequencing.run_config import RunConfig
from sequencing.train.checkpoint import latest_checkpoint
from sequencing.train.loop import train
from sequencing_np import disk
from small_runs import EVERYTHING, TIMES, small

SLOW = 0.003  # seconds: a disk that takes its time, so that a good part of the kills are inside a save
SUBWORDS = [f"vocab.{side}={{level='subwords', size=280, dropout=0.3}}" for side in ("source", "target")]
SETTINGS = [
    *EVERYTHING,
    *SUBWORDS,
    "train.accumulate=2",
    "train.batch_tokens=400",
    "train.steps=24",
    "train.validate_every=8",
    "train.validate_sentences=10",
    "train.save_minutes=0",
    "train.threads=1",
]


def life(config: RunConfig, run: Path) -> int:
    """A child that trains until it is done or killed; its process number."""
    child = os.fork()
    if child:
        return child
    try:
        os.dup2(os.open(run.with_name("said.txt"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        sound = disk.sync
        disk.sync = lambda file: (time.sleep(SLOW), sound(file))[1]  # type: ignore[func-returns-value]
        train(config, run)
    except BaseException:  # noqa: BLE001  (whatever it is, the parent is told)
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)


def ends(child: int, seconds: float) -> int | None:
    """Wait so long for the child, then kill it; its exit status, None where it was killed."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)


def came_to(run: Path) -> dict[str, str]:
    """A check sum of everything that a run has come to; times do not count."""
    found = latest_checkpoint(run)
    assert found is not None
    sums = {f"{name}.{key}": digest(array) for name, part in found.arrays.items() for key, array in part.items()}
    sums["state"] = digest(json.dumps({key: value for key, value in found.state.items() if key != "seconds"}))
    for log in ("metrics.jsonl", "samples.jsonl"):
        lines = [json.loads(line) for line in (run / log).read_bytes().split(b"\n")[:-1]]
        sums[log] = digest(json.dumps([{k: v for k, v in line.items() if k not in TIMES} for line in lines]))
    for model in (run / "best", run / "last", *(run / BEST_MODELS).glob("[0-9]*")):
        content = (model / "weights.safetensors").read_bytes()
        sums[str(model.relative_to(run))] = hashlib.sha256(content).hexdigest()
    return sums


def digest(what: np.ndarray | str) -> str:
    return hashlib.sha256(what.encode() if isinstance(what, str) else what.tobytes()).hexdigest()


def loop(folder: Path, kills: int, seed: int) -> dict[str, object]:
    """The numbers of so many kills."""
    config = small(folder / "data", *SETTINGS, pairs=300)
    begin = time.monotonic()
    if ends(life(config, folder / "alone"), 300) != 0:
        raise SystemExit("the run that nobody kills does not come to its end")
    whole = time.monotonic() - begin
    wanted, chance, run = came_to(folder / "alone"), random.Random(seed), folder / "run"
    done = inside = runs = failed = 0
    differing: set[str] = set()
    while done < kills or run.exists():  # the last one comes to its end too
        status = ends(life(config, run), chance.uniform(0, 0.6 * whole) if done < kills else 300)
        if status is None:
            done += 1
            inside += any((run / "checkpoints").glob(".*")) or any(run.glob(".*"))
            continue
        failed += status != 0
        if failed > 3:
            break
        if status == 0:
            runs += 1
            sums = came_to(run)
            differing |= {key for key in wanted.keys() | sums if wanted.get(key) != sums.get(key)}
            shutil.rmtree(run)
    numbers = {"kills": done, "inside a save": inside, "runs": runs, "failed starts": failed}
    return {**numbers, "differing": sorted(differing), "seed": seed, "seconds alone": round(whole, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the runs are made; a disk in memory is the fastest")
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    found = loop(given.folder, given.kills, given.seed)
    print(json.dumps({**found, "seconds": round(time.monotonic() - begin, 1)}))
    sys.exit(bool(found["differing"] or found["failed starts"]))


if __name__ == "__main__":
    main()
