"""Several ranks come to what one comes to: to the same bits where they are asked to, more or fewer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from kill_loop import came_to
from sequencing.distributed import Ranks, in_pairs
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
