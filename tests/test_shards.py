"""Ranks that keep parts of a model come to what one process comes to, but for rounding, and go on exactly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from kill_loop import came_to
from sequencing.train.checkpoint import latest_checkpoint
from sequencing_np.errors import ConfigError
from small_runs import small

ROOT = Path(__file__).parent.parent
BLOCKS = "embedding_size=24, blocks={layers=2, heads=2, feed_forward_size=32, dropout=0.1}"
SETTINGS = [
    f"model.encoder={{type='self_attention', {BLOCKS}}}",
    f"model.decoder={{type='self_attention', {BLOCKS}}}",
    "train.accumulate=2", "train.batch_tokens=300", "train.steps=4", "train.validate_every=2", "train.threads=1",
    "train.average=0.9", "train.weight_decay=0.01", "train.keep_models=1", "train.log_every=1",
]  # fmt: skip


def train_all(runs: list[tuple[int, Path, list[str]]], config: Path) -> None:
    """So many ranks, the folder and the settings of each run, one after another."""
    lines = [{"ranks": ranks, "config": str(config), "run": str(run), "settings": own} for ranks, run, own in runs]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, str(ROOT / "tests" / "forked_ranks.py")]
    given = "".join(json.dumps(line) + "\n" for line in lines).encode()
    done = subprocess.run(words, input=given, capture_output=True, env=environment, timeout=500, check=False)
    said = "".join(path.read_text() for path in sorted(config.parent.glob("*.txt")))
    assert done.returncode == 0, said + done.stderr.decode()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs that the tests compare."""
    folder = tmp_path_factory.mktemp("shards")
    small(folder)
    shards, half = [*SETTINGS, "train.shard=true"], "train.steps=2"
    frozen = ["train.init.from_run=" + json.dumps(str(folder / "one")), "train.steps=2"]
    frozen += ["train.init.freeze=['encoder.*']", "train.lora={rank=2, on=['decoder.blocks.*']}"]
    sampled = ["train.teacher.rate=0.5", "train.teacher.draw=true"]
    plan = {
        "one": (1, SETTINGS),
        "two": (2, shards),
        "parts": [(2, [*shards, half]), (2, shards)],
        "fewer": [(2, [*shards, half]), (1, SETTINGS)],
        "more": [(1, [*SETTINGS, half]), (2, shards)],
        "recomputed": (2, [*shards, "train.recompute=true"]),
        "sampled one": (1, [*SETTINGS, *sampled]),
        "sampled two": (2, [*shards, *sampled]),
        "spoilt one": (1, SETTINGS),
        "spoilt two": (2, shards),
        "frozen one": (1, [*SETTINGS, *frozen]),
        "frozen two": (2, [*shards, *frozen]),
    }
    every = [
        (ranks, folder / name, own)
        for name, starts in plan.items()
        for ranks, own in (starts if isinstance(starts, list) else [starts])
    ]
    train_all(every, folder / "run.toml")
    return folder


PAIRS = [("two", "one"), ("fewer", "one"), ("more", "one"), ("recomputed", "one"), ("sampled two", "sampled one"),
         ("frozen two", "frozen one"), ("spoilt two", "spoilt one")]  # fmt: skip

FAR = {"optimizer": 1e-6}  # means of gradients


@pytest.mark.slow
@pytest.mark.parametrize(("found", "wanted"), PAIRS)
def test_parts_are_the_whole_but_for_rounding(found: str, wanted: str, runs: Path) -> None:
    """Weights, averages, the optimiser's numbers, the logs; Adam makes whole steps of what rounding leaves of zero."""
    one, other = latest_checkpoint(runs / found), latest_checkpoint(runs / wanted)
    assert one is not None and other is not None and one.arrays.keys() == other.arrays.keys()
    for name, arrays in other.arrays.items():
        assert arrays.keys() == one.arrays[name].keys()
        far = FAR.get(name, 2e-3)
        for key, array in arrays.items():
            np.testing.assert_allclose(one.arrays[name][key], array, rtol=0, atol=far, err_msg=f"{name}: {key}")
    for log in ("loss", "gradient_norm"):
        np.testing.assert_allclose(logged(runs / found, log), logged(runs / wanted, log), rtol=1e-3)
    assert (runs / found / "last" / "config.json").read_bytes() == (runs / wanted / "last" / "config.json").read_bytes()


def logged(run: Path, name: str) -> list[float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [np.nan if line[name] is None else line[name] for line in lines if line["kind"] == "train"]


@pytest.mark.slow
def test_a_loss_that_is_no_number_is_seen_by_all(runs: Path) -> None:
    assert logged(runs / "spoilt two", "skipped") == logged(runs / "spoilt one", "skipped") == [0, 1, 0, 0]


@pytest.mark.slow
def test_a_stop_changes_no_bit(runs: Path) -> None:
    found, wanted = came_to(runs / "parts"), came_to(runs / "two")
    different = {key for key in wanted if found[key] != wanted[key]}
    assert found.keys() == wanted.keys()
    assert different <= {"metrics.jsonl", "samples.jsonl", "state", "best"}, "a run that ends looks once more"


def refused(folder: Path, *settings: str) -> str:
    from sequencing.train.settings import check_settings

    with pytest.raises(ConfigError) as caught:
        check_settings(small(folder, "train.shard=true", *settings))
    return str(caught.value)


def test_what_does_not_go_with_it(tmp_path: Path) -> None:
    assert "set train.compile = false" in refused(tmp_path / "compiled", "train.compile=true")
    assert "take 'adamw'" in refused(tmp_path / "turned", "train.optimizer=muon")
    assert "set train.same_bits = false" in refused(tmp_path, "train.same_bits=true")
    assert "'reinforce' is not kept in parts" in refused(tmp_path, "train.objective.type=reinforce")
