"""Float16: losses are scaled as PyTorch's GradScaler does it; a stop changes nothing; what is skipped is counted."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kill_loop import came_to
from sequencing.layers import Linear
from sequencing.train import loss_scale as module
from sequencing.train.checkpoint import latest_checkpoint
from sequencing.train.guard import Guard
from sequencing.train.loop import Interrupted, run, train
from sequencing.train.loss_scale import FIRST, MOST, LossScale
from sequencing.train.opening import open_session
from sequencing.train_config import GuardConfig
from sequencing_np.errors import SearchError
from small_runs import EVERYTHING, small
from test_guard import spoil_steps, train_records

HALF = "train.precision=float16"
torch.set_num_threads(1)


@given(st.lists(st.sampled_from([1.0, np.inf, np.nan]), min_size=1, max_size=60), st.integers(1, 5))
def test_it_is_what_pytorchs_own_is(gradients: Sequence[float], growth: int) -> None:
    """As long as that stays within our bounds, which it does not know."""
    layer = torch.nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(layer.parameters(), 0.0)
    theirs = torch.amp.GradScaler("cpu", init_scale=FIRST, growth_interval=growth)
    theirs.scale(torch.tensor(1.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GROWTH", growth)
        ours = LossScale(torch.float16)
        for gradient in gradients:
            layer.weight.grad = torch.full((1, 1), gradient)
            theirs.unscale_(optimizer)
            theirs.step(optimizer)
            theirs.update()
            if not 1 <= theirs.get_scale() <= MOST:
                return
            ours.learn(torch.tensor(gradient))
            assert ours.told() == {"loss_scale": theirs.get_scale()}
            other = LossScale(torch.float16)
            other.restore(ours.state())
            assert torch.equal(ours.numbers, other.numbers)


def test_its_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GROWTH", 1)
    scale = LossScale(torch.float16)
    for norm, end, explains in ((np.inf, 1.0, False), (1.0, MOST, True)):
        for _ in range(30):
            scale.learn(torch.tensor(norm))
        assert float(scale.numbers[0]) == end and bool(scale.explains) == explains


@pytest.mark.parametrize("low", [None, torch.bfloat16])
def test_where_none_is_needed_there_is_none(low: torch.dtype | None) -> None:
    scale, cost = LossScale(low), torch.tensor(3.0)
    scale.learn(torch.tensor(np.inf))
    assert scale.up(cost) is cost and scale.explains is False and scale.state() == scale.told() == {}


def gradient(scaled: bool) -> torch.Tensor:
    """Of a cost so small that float16 does not know it."""
    torch.manual_seed(1)
    layer, scale = Linear(3, 2), LossScale(torch.float16 if scaled else None)
    with torch.autocast("cpu", torch.float16):
        cost = layer(torch.ones(5, 3)).float().sum() * 1e-9
    scale.up(cost).backward()
    scale.down(list(layer.parameters()))
    assert layer.weight.grad is not None
    return layer.weight.grad


def test_small_numbers_are_not_lost() -> None:
    assert not gradient(False).any()
    torch.testing.assert_close(gradient(True), torch.full((2, 3), 5e-9), rtol=1e-2, atol=0)


def test_what_it_explains_is_not_held_against_a_run() -> None:
    guard, norm = Guard(GuardConfig()), torch.tensor(torch.inf)
    rows = []
    for explained in (False, torch.tensor(True), torch.tensor(False), True):
        assert not guard.judge(norm, 1.0, explained).made
        rows.append(float(guard.numbers[2]))
    assert rows == [1, 1, 2, 2]


def test_a_run_learns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nearly what it learns in full; it says that this is not the faster way."""
    last = {}
    for precision in ("float16", "float32"):
        settings = [f"train.precision={precision}", "train.steps=40", "train.schedule.warmup=4"]
        train(small(tmp_path / "data", *settings), tmp_path / precision)
        last[precision] = train_records(tmp_path / precision)[-1]
        assert ("no product is faster in it" in capsys.readouterr().err) == (precision == "float16")
    assert last["float16"]["loss"] == pytest.approx(last["float32"]["loss"], rel=0.02)
    assert last["float16"]["loss_scale"] == FIRST and "loss_scale" not in last["float32"]


def test_a_stop_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a scale that falls and grows, and all that is random; to the bit."""
    monkeypatch.setattr(module, "GROWTH", 3)
    spoil_steps(monkeypatch, lambda step: {2: np.inf, 3: np.nan, 9: np.inf}.get(step, 1))
    config = small(tmp_path / "data", *EVERYTHING, HALF, "train.guard.patience=1")
    train(config, tmp_path / "one")
    logged = train_records(tmp_path / "one")
    assert [record["skipped"] for record in logged] == [0, 2, 0, 0, 1, 0]
    halvings = [float(np.log2(FIRST / record["loss_scale"])) for record in logged]
    assert halvings == [0, 2, 2, 1, 2, 2]
    for stop in (3, 8):
        session = open_session(config, tmp_path / "two")

        class Asked(list[int]):
            def __bool__(self, session: Any = session, stop: int = stop) -> bool:
                return bool(session.step >= stop)

        with session.progress, pytest.raises(Interrupted):
            run(session, Asked())
        session.close()
    train(config, tmp_path / "two")
    assert came_to(tmp_path / "two") == came_to(tmp_path / "one")


def test_a_run_that_only_skips_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After as many as no scale explains."""
    spoil_steps(monkeypatch, lambda step: np.nan if step >= 2 else 1)
    settings = [HALF, "train.guard.patience=3", "train.steps=40", "train.validate_every=50"]
    with pytest.raises(SearchError, match=r"diverged: 3 updates in a row were skipped, up to step 21\."):
        train(small(tmp_path / "data", *settings), tmp_path / "run")
    assert latest_checkpoint(tmp_path / "run") is None
