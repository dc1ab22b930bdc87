"""Kills ranks that train together again and again, at any moment, and compares what they come to with a run of one.

    python tests/kill_ranks.py FOLDER --kills 100 --ranks 1 2 4

The agent of torchrun starts all ranks again after each kill, until it has done so often enough; then one with another
number of ranks goes on. Ranks are forks of this process, which has PyTorch imported already. Prints one line of JSON:
kills, runs that came to their end, and what differs from the run that was left alone. What each rank learns from is
written down, so it is also said whether each pair was learnt from once in each epoch.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from kill_loop import SETTINGS, SLOW, came_to
from sequencing.run_config import RunConfig
from sequencing.train import loop
from sequencing.train.checkpoint import latest_checkpoint
from sequencing.train.session import Session
from sequencing.train.tally import Stepped
from sequencing_np import disk
from sequencing_np.batch import Batch
from small_runs import records, small

PAIRS, EPOCHS = 300, 6  # of 4 steps each, as many as SETTINGS say
OWN = ["train.accumulate=4", "train.batch_tokens=200", "train.same_bits=true"]
STARTS = 3  # by one agent
ROUNDED = ("metrics.jsonl", "state")  # sums over ranks stand in these, and those are rounded


def rank(config: RunConfig, run: Path, moments: Sequence[tuple[int, float]]) -> None:
    """A rank that trains, and is killed where it is its turn: of each start, which rank and after how many seconds."""
    own, start = int(os.environ["RANK"]), int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    os.dup2(os.open(run.with_name("said.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    if start < len(moments) and moments[start][0] == own:
        threading.Thread(target=killed, args=(moments[start][1], run.with_name("killed.txt")), daemon=True).start()
    sound = disk.sync
    disk.sync = lambda file: (time.sleep(SLOW), sound(file))[1]  # type: ignore[func-returns-value]
    loop.update = partial(noted, loop.update, run.with_name("seen"))  # type: ignore[assignment]
    loop.train(config, run)


def killed(seconds: float, note: Path) -> None:
    """Ends this process, and leaves a letter."""
    time.sleep(seconds)
    with note.open("a") as file:
        file.write(".")
    os.kill(os.getpid(), signal.SIGKILL)


def noted(update: Any, folder: Path, session: Session, batches: Sequence[Batch]) -> Stepped:
    """`update`, and the sources of each batch in a file of its own; whoever does the step again finds the same."""
    vocab = session.translator.source_vocab
    for share, batch in zip(session.ranks.own(session.config.train.accumulate), batches, strict=True):
        texts = [vocab.decode(row[mask].tolist()) for row, mask in zip(batch.source, batch.source_mask, strict=True)]
        path = folder / f"{session.step:06d}.{share}"
        if path.exists():
            assert path.read_text().split("\n") == texts, f"{path}: another batch than before"
        path.with_suffix(f".{share}.new").write_text("\n".join(texts))
        path.with_suffix(f".{share}.new").replace(path)
    stepped: Stepped = update(session, batches)
    return stepped


def launch(config: RunConfig, run: Path, ranks: int, moments: Sequence[tuple[int, float]]) -> bool:
    """Train with so many ranks; whether it came to its end before the agent was tired of starting it again."""
    run.with_name("seen").mkdir(exist_ok=True)
    agent = LaunchConfig(
        1, 1, ranks, run_id=run.name, rdzv_backend="c10d", rdzv_endpoint="localhost:0", start_method="fork",
        max_restarts=max(len(moments) - 1, 0), monitor_interval=0.02,
    )  # fmt: skip
    try:
        elastic_launch(agent, rank)(config, run, moments)
    except ChildFailedError:
        return False
    return True


def wrong_pairs(folder: Path, config: RunConfig) -> list[str]:
    """The sources that were not learnt from once in each epoch."""
    every = sorted(line.split("\t")[0] for line in Path(config.data.train[0]).read_text().split("\n")[:-1])  # type: ignore[arg-type]
    texts = [text for path in sorted(folder.iterdir()) for text in path.read_text().split("\n")]
    epochs = [sorted(texts[first : first + len(every)]) for first in range(0, len(texts), len(every))]
    return [] if epochs == [every] * EPOCHS else [f"{len(texts)} pairs in {len(epochs)} epochs of {len(every)}"]


def told(run: Path) -> dict[str, Any]:
    """The logs and state of a run, times left out."""
    found = latest_checkpoint(run)
    assert found is not None
    state = {key: value for key, value in found.state.items() if key != "seconds"}
    return {"metrics.jsonl": records(run / "metrics.jsonl"), "state": state}


def near(one: Any, other: Any) -> bool:
    """The same, numbers but for rounding."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(near(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(near, one, other))
    return math.isclose(one, other, rel_tol=1e-5) if isinstance(one, float) else bool(one == other)


def loop_of_kills(folder: Path, kills: int, counts: Sequence[int], seed: int) -> dict[str, object]:
    """The numbers of so many kills."""
    config = small(folder / "data", *SETTINGS, *OWN, pairs=PAIRS)
    begin = time.monotonic()
    if not launch(config, folder / "alone" / "run", 1, []):
        raise SystemExit("the run that nobody kills does not come to its end")
    whole = time.monotonic() - begin
    wanted, chance, run = came_to(folder / "alone" / "run"), random.Random(seed), folder / "killed" / "run"
    note, turns, wrong = run.with_name("killed.txt"), cycle(counts), wrong_pairs(folder / "alone" / "seen", config)
    done = runs = failed = 0
    while done < kills or run.exists():
        ranks = next(turns)
        moments = [(chance.randrange(ranks), chance.uniform(0, 0.6 * whole)) for _ in range(STARTS)]
        before = done
        ended = launch(config, run, ranks, moments if done < kills else [])
        done = sum(len(path.read_text()) for path in [note] if path.exists())
        if ended:
            runs += 1
            sums = came_to(run)
            wrong += [key for key in wanted.keys() | sums if key not in ROUNDED and wanted.get(key) != sums.get(key)]
            wrong += [name for name in ROUNDED if not near(told(run)[name], told(folder / "alone" / "run")[name])]
            wrong += wrong_pairs(run.with_name("seen"), config)
            shutil.rmtree(run)
            shutil.rmtree(run.with_name("seen"))
        else:
            failed += done - before < STARTS
            if failed > 3:
                break
    return {"kills": done, "runs": runs, "failed starts": failed, "differing": sorted(set(wrong)), "seed": seed,
            "seconds alone": round(whole, 2)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the runs are made; a disk in memory is the fastest")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 1, 4], help="one after another")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    given = parser.parse_args()
    for name in ("alone", "killed"):
        (given.folder / name).mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    found = loop_of_kills(given.folder, given.kills, given.ranks, given.seed)
    print(json.dumps({**found, "seconds": round(time.monotonic() - begin, 1)}))
    sys.exit(bool(found["differing"] or found["failed starts"]))


if __name__ == "__main__":
    main()
