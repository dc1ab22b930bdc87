"""Several ranks come to what one comes to: to the same bits where they are asked to, more or fewer."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
import torch
import torch.distributed as group

from kill_loop import came_to
from sequencing.distributed.joining import own
from sequencing.distributed.ranks import Ranks, in_pairs
from sequencing.kept_models import BEST_MODELS
from sequencing.train.checkpoint import latest_checkpoint
from sequencing_np.errors import ConfigError
from small_runs import EVERYTHING, small

ROOT = Path(__file__).parent.parent
SETTINGS = [*EVERYTHING, "train.accumulate=4", "train.batch_tokens=300", "train.steps=6", "train.validate_every=3",
            "train.threads=1", "train.same_bits=true"]  # fmt: skip


def start(config: Path, run: Path, ranks: int, *settings: str) -> subprocess.Popen[bytes]:
    """`sequencing train` by so many ranks."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    launcher = [*launcher, "--monitor-interval=0.1", "-m"] if ranks > 1 else [sys.executable, "-m"]
    words = [*launcher, "sequencing", "train", str(config), "--run-folder", str(run)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*words, "--set", *settings], stderr=subprocess.PIPE, env=environment)


def trained(config: Path, run: Path, ranks: int, *settings: str) -> None:
    process = start(config, run, ranks, *settings)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said.decode()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data and the run of a single process."""
    folder = tmp_path_factory.mktemp("ranks")
    small(folder)
    trained(folder / "run.toml", folder / "alone", 1, *SETTINGS)
    return folder


@pytest.mark.slow
def test_two_ranks_are_one_to_the_bit(alone: Path, tmp_path: Path) -> None:
    """All that is random or remembers at once, logs and models too; the number of ranks changes on the way."""
    trained(alone / "run.toml", tmp_path / "run", 2, *SETTINGS, "train.steps=4")
    trained(alone / "run.toml", tmp_path / "run", 1, *SETTINGS, "train.steps=5")
    trained(alone / "run.toml", tmp_path / "run", 2, *SETTINGS)
    found, wanted = came_to(tmp_path / "run"), came_to(alone / "alone")
    for each in (found, wanted):  # the ends at 4 and 5 are judged, too, and what is best of more is another matter
        for key in [key for key in each if key.startswith(BEST_MODELS)]:
            del each[key]
    different = {key for key in wanted if found[key] != wanted[key]}
    assert different <= {"metrics.jsonl", "samples.jsonl", "state", "best"}, "a run that ends looks once more"
    assert found.keys() == wanted.keys() and "last" not in different


@pytest.mark.slow
def test_two_ranks_that_learn_from_rewards_are_one(alone: Path, tmp_path: Path) -> None:
    """The baseline and its optimiser too; one begins, two go on."""
    objective = ["type=reinforce", "reward=character_edit", "samples=2", "burn_in=2", "increment=1", "dropout=true"]
    own = ["train.teacher.rate=1.0", *(f"train.objective.{setting}" for setting in objective)]
    trained(alone / "run.toml", tmp_path / "one", 1, *SETTINGS, *own)
    trained(alone / "run.toml", tmp_path / "two", 1, *SETTINGS, *own, "train.steps=4")
    trained(alone / "run.toml", tmp_path / "two", 2, *SETTINGS, *own)
    found, wanted = (latest_checkpoint(tmp_path / name) for name in ("two", "one"))
    assert found is not None and wanted is not None
    assert {"baseline", "baseline_optimizer"} < found.arrays.keys()
    for name, arrays in wanted.arrays.items():
        for key, array in arrays.items():
            assert array.tobytes() == found.arrays[name][key].tobytes(), f"{name}: {key}"


@pytest.mark.slow
def test_ranks_that_add_as_they_like(alone: Path, tmp_path: Path) -> None:
    """Without `same_bits` the weights are the same but for rounding."""
    trained(alone / "run.toml", tmp_path / "run", 2, *SETTINGS, "train.same_bits=false")
    found, wanted = (latest_checkpoint(path) for path in (tmp_path / "run", alone / "alone"))
    assert found is not None and wanted is not None
    for name, array in wanted.arrays["weights"].items():
        np.testing.assert_allclose(found.arrays["weights"][name], array, rtol=0, atol=2e-3)


def latest_step(run: Path) -> int:
    return max((int(path.name) for path in (run / "checkpoints").glob("[0-9]*")), default=0)


@pytest.mark.slow
def test_a_rank_that_is_told_to_stop_stops_all(alone: Path, tmp_path: Path) -> None:
    """SIGTERM to one of them: all save at the same step and leave; the same command goes on to the same bits."""
    process = start(alone / "run.toml", tmp_path / "run", 2, *SETTINGS, "train.save_minutes=0", "train.steps=100000")
    until = time.monotonic() + 120
    while latest_step(tmp_path / "run") < 2 and time.monotonic() < until:
        time.sleep(0.02)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    os.kill(int(children[-1]), signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode != 0 and b"the same command continues" in said, said.decode()
    found = latest_checkpoint(tmp_path / "run")
    assert found is not None and found.state["step"] >= 2


@pytest.mark.slow
def test_killed_ranks_come_to_the_same_bits(tmp_path: Path) -> None:
    """SIGKILL to any rank at any moment; torchrun starts them again, then fewer or more go on."""
    folder = Path("/dev/shm") / tmp_path.name if Path("/dev/shm").is_dir() else tmp_path
    words = [sys.executable, str(ROOT / "tests" / "kill_ranks.py"), str(folder), "--kills", "5", "--ranks", "2", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        found = json.loads(done.stdout)
        assert found["kills"] >= 5 and found["runs"] >= 1 and not found["differing"], found
    finally:
        if folder != tmp_path:
            shutil.rmtree(folder, ignore_errors=True)


def test_names_of_the_dead_are_not_believed() -> None:
    """One store over three starts; in the second a rank dies while they look for each other."""
    store = group.HashStore()
    store.set_timeout(timedelta(seconds=1))
    starts = [met(store, range(3)), met(store, [2, 0]), met(store, [1, 2, 0])]
    assert [len(start) for start in starts] == [3, 0, 3]
    assert all(len(set(start.values())) == 1 for start in starts if start), "all of a start share a part of the store"
    assert not set(starts[0].values()) & set(starts[2].values())


def met(store: group.Store, ranks: Iterable[int]) -> dict[int, bytes]:
    """What each rank of three finds under a name in its part of the store, where rank 0 has written something."""
    found: dict[int, bytes] = {}

    def join(rank: int) -> None:
        with contextlib.suppress(TimeoutError, RuntimeError):
            part = own(store, rank, 3, patience=timedelta(seconds=0.5))
            if rank == 0:
                part.set("word", uuid4().hex)
            found[rank] = part.get("word")

    threads = [Thread(target=join, args=(rank,)) for rank in ranks]
    for thread in threads:
        thread.start()
        time.sleep(0.03)
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize(("shares", "count"), [(4, 1), (4, 2), (4, 4), (6, 3)])
def test_each_batch_is_somebodys(shares: int, count: int) -> None:
    own = [share for rank in range(count) for share in Ranks(rank, count).own(shares)]
    assert own == list(range(shares))


def test_batches_that_cannot_be_shared() -> None:
    with pytest.raises(ConfigError, match=r"train.accumulate = 3: 2 ranks cannot share.*multiple of 2"):
        Ranks(0, 2).own(3)


def test_sums_in_pairs() -> None:
    parts = [torch.randn(7) for _ in range(4)]
    assert torch.equal(in_pairs(parts), (parts[0] + parts[1]) + (parts[2] + parts[3]))


def test_one_of_one_asks_nobody() -> None:
    ranks, gradient = Ranks(), torch.ones(3)
    parameter: Any = torch.zeros(3, requires_grad=True)
    parameter.grad = gradient
    ranks.add_up([parameter], same_bits=True)
    assert parameter.grad is gradient and ranks.total([1, 2]) == [1, 2] and ranks.first
    ranks.alike("thing", json.dumps({}))
    ranks.in_turn()
