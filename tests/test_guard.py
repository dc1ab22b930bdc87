"""Updates that cannot be right are not made, and counted; a run that learns nothing any more ends, or goes back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kill_loop import came_to
from sequencing.optim import OPTIMIZERS, Average
from sequencing.train import update as update_module
from sequencing.train.checkpoint import latest_checkpoint, optimizer_arrays
from sequencing.train.guard import RETURNS, Guard, move, spoil
from sequencing.train.loop import Interrupted, run, train
from sequencing.train.losses import Losses, losses_of
from sequencing.train.opening import open_session
from sequencing.train.session import Session
from sequencing.train.tally import Tally
from sequencing.train.update import update
from sequencing.train_config import GuardConfig, TrainConfig
from sequencing_np.errors import SearchError
from sequencing_np.manifest import check_manifest
from small_runs import EVERYTHING, records, small

torch.set_num_threads(1)


def train_records(run_folder: Path) -> list[dict[str, Any]]:
    return [record for record in records(run_folder / "metrics.jsonl") if record["kind"] == "train"]


def spoil_steps(monkeypatch: pytest.MonkeyPatch, factors: Callable[[int], float], only: str = "both") -> None:
    """The losses of step n (from 0) are multiplied by a number, as a function of n alone."""

    def spoilt(session: Session, *rest: Any) -> Losses:
        sound, factor = losses_of(session, *rest), factors(session.step)
        both = only == "both"
        return Losses(
            sound.whole * (factor if both or only == "whole" else 1),
            sound.cross_entropy * (factor if both or only == "shown" else 1),
        )

    monkeypatch.setattr(update_module, "step_losses", spoilt)


# --- one update -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("only", ["both", "whole", "shown"])
@pytest.mark.parametrize("factor", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_what_is_no_number_touches_nothing(
    optimizer: str, factor: float, only: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights, optimiser and average are the same to the bit, in the first step and later."""
    settings = [f"train.optimizer={optimizer}", "train.momentum=0.9", "train.average=0.9", "train.accumulate=2"]
    session = open_session(small(tmp_path / "data", *settings), tmp_path / "run")
    for log in session.logs.values():
        log.close()
    stream = session.stream.batches()

    def everything() -> list[bytes]:
        parts = [*session.model.weights().values(), *optimizer_arrays(session.optimizer).values()]
        return [part.tobytes() for part in [*parts, *(mean.numpy() for mean in session.average.mean)]]

    spoil_steps(monkeypatch, lambda step: factor if step in (0, 2, 3) else 1, only)
    for step in range(5):
        session.step, before = step, everything()
        stepped = update(session, [next(stream).batch for _ in range(2)])
        assert bool(stepped.made) == (step in (1, 4)) == (everything() != before)
        assert float(session.guard.numbers[2]) == [1, 0, 1, 2, 0][step]
        assert torch.isfinite(stepped.loss) and torch.isfinite(stepped.gradient_norm)


def test_a_loss_that_is_no_number_is_seen_by_all() -> None:
    """Without it, the gradients are what they were, to the bit and to the sign of a zero."""
    layer = torch.nn.Linear(3, 2)
    parameters = list(layer.parameters())
    layer.weight.grad, layer.bias.grad = torch.randn(2, 3), torch.tensor([-0.0, 0.0])
    spoil(parameters, torch.tensor(1e30))
    assert torch.signbit(layer.bias.grad).tolist() == [True, False] and layer.bias.grad.tolist() == [0, 0]
    layer.bias.grad = None
    spoil(parameters, torch.tensor(torch.inf))
    assert layer.bias.grad is None and torch.isnan(layer.weight.grad).all()


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_optimisers_obey_on_the_device(optimizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way of an accelerator, on a CPU: a tensor tells the fused optimisers; as many steps as were made, no more."""

    class Elsewhere:
        """A tensor that says it is on another device."""

        def __init__(self, value: torch.Tensor) -> None:
            self.value, self.device = value, torch.device("cuda")

        def __bool__(self) -> bool:
            return bool(self.value)

        def __invert__(self) -> torch.Tensor:
            return ~self.value

    results = []
    for device in ("here", "elsewhere"):
        torch.manual_seed(1)
        layer = torch.nn.Linear(5, 3)
        chosen = OPTIMIZERS[optimizer](layer, TrainConfig(momentum=0.9, weight_decay=0.01))
        guard, parameters = Guard(GuardConfig()), list(layer.parameters())
        for step in range(6):
            for parameter in parameters:
                parameter.grad = torch.randn_like(parameter) * (np.nan if step in (0, 2, 3) else 1)
            verdict = guard.judge(torch.nn.utils.get_total_norm([p.grad for p in parameters]), 1.0)
            away: Any = verdict._replace(made=Elsewhere(verdict.made)) if device == "elsewhere" else verdict
            move(away, parameters, chosen, None)
        results.append([*optimizer_arrays(chosen).values(), *(p.detach().numpy() for p in parameters)])
    assert all(one.tobytes() == other.tobytes() for one, other in zip(*results, strict=True))


# --- spikes ---------------------------------------------------------------------------------------------------------


def judged(norms: list[float], **settings: Any) -> tuple[Guard, list[tuple[bool, bool, float]]]:
    guard = Guard(GuardConfig(**settings))
    verdicts = [guard.judge(torch.tensor(norm), 0.0) for norm in norms]
    return guard, [(bool(one.made), bool(one.shrunk), float(one.scale)) for one in verdicts]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38, 51.0])
def test_skip(bad: float) -> None:
    _, found = judged([5.0] * 4 + [bad, 5.0], on_spike="skip", spike=10.0, window=4)
    assert [made for made, _, _ in found] == [True] * 4 + [False, True]
    _, found = judged([5.0] * 3 + [bad], on_spike="skip", spike=10.0, window=4)
    assert found[-1][0] == bool(np.isfinite(bad)), "too early to know what is usual"
    _, found = judged([5.0] * 4 + [bad], on_spike="none", window=4)
    assert found[-1] == (bool(np.isfinite(bad)), False, 1.0)


def test_shrink_to_the_usual_norm() -> None:
    """Also of a gradient that was clipped before: it becomes no longer than usual, and never longer than it is."""
    guard, found = judged([4.0, 6.0, 5.0, 5.0, 100.0], on_spike="shrink", spike=10.0, window=4)
    assert found[-1] == (True, True, pytest.approx(5 / 100)) and found[-2] == (True, False, 1.0)
    assert float(guard.numbers[0]) == pytest.approx(5 + (50 - 5) / 4), "one spike counts as the border"
    guard.numbers[0] = 5.0
    assert float(guard.judge(torch.tensor(100.0), 8.0).scale) == pytest.approx(5 / 8)
    guard.numbers[0] = 5.0
    assert float(guard.judge(torch.tensor(100.0), 1.0).scale) == 1


def test_the_gradient_is_shrunk() -> None:
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(layer.weight)
    guard = Guard(GuardConfig(on_spike="shrink", spike=2.0, window=1))
    sgd = OPTIMIZERS["sgd"](layer, TrainConfig(learning_rate=0.1))
    moved = []
    for gradient in (1.0, 8.0):
        layer.weight.grad, before = torch.full((1, 1), gradient), float(layer.weight.detach())
        move(guard.judge(torch.tensor(gradient), 0.0), [layer.weight], sgd, None)
        moved.append(before - float(layer.weight.detach()))
    assert moved == pytest.approx([0.1, 0.1])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(width=32), min_size=1, max_size=40), st.sampled_from(["none", "skip", "shrink"]))
def test_whatever_comes_the_guard_stays_sound(norms: list[float], on_spike: str) -> None:
    """What is usual stays a number; a stop anywhere changes no decision."""
    norms = [abs(norm) if abs(norm) < 1e30 else np.inf for norm in norms]
    config: dict[str, Any] = {"on_spike": on_spike, "spike": 3.0, "window": 3}
    whole, wanted = judged(norms, **config)
    assert torch.isfinite(whole.numbers).all()
    half, found = judged(norms[: len(norms) // 2], **config)
    other = Guard(GuardConfig(**config))
    other.restore(half.state())
    for norm in norms[len(norms) // 2 :]:
        one = other.judge(torch.tensor(norm), 0.0)
        found.append((bool(one.made), bool(one.shrunk), float(one.scale)))
    assert found == wanted and torch.equal(other.numbers, whole.numbers)
    for norm, (made, shrunk, scale) in zip(norms, wanted, strict=True):
        assert (made or not np.isfinite(norm) or on_spike == "skip") and (not made or np.isfinite(norm))
        assert 0 < scale <= 1 and (scale == 1 or shrunk)


# --- a run ----------------------------------------------------------------------------------------------------------


def test_skipped_steps_are_counted_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """The means are those of the steps that were made; where none was, there is no number."""
    spoil_steps(monkeypatch, lambda step: np.nan if step in (3, 8, 9) else 1)
    train(small(tmp_path / "data", "train.batch_tokens=192", "train.log_every=2"), tmp_path / "run")
    logged = train_records(tmp_path / "run")
    assert [record["skipped"] for record in logged] == [0, 1, 0, 0, 2, 0]
    assert [record["loss"] is None for record in logged] == [False, False, False, False, True, False]
    assert all(0 < record["loss"] < 5 and record["gradient_norm"] > 0 for record in logged if record["skipped"] < 2)
    one = open_session(small(tmp_path / "data", "train.steps=1", "train.log_every=1"), tmp_path / "one")
    stream = one.stream.batches()
    tally, batches = Tally(), [[next(stream).batch] for _ in range(4)]
    monkeypatch.undo()
    spoil_steps(monkeypatch, lambda step: np.nan if step == 2 else 1)
    found = []
    for one.step, batch in enumerate(batches):
        found.append(update(one, batch))
        tally.add(batch, found[-1])
    tokens = sum(int(batch[0].target_mask.sum()) for step, batch in enumerate(batches) if step != 2)
    assert tally.means(one.ranks)["loss"] == pytest.approx(sum(float(each.loss) for each in found) / tokens)
    for log in one.logs.values():
        log.close()


@pytest.mark.parametrize("stops", [(5,), (4, 6, 9)], ids=str)
def test_a_stop_beside_a_skipped_step_changes_nothing(
    stops: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With all that is random or remembers, and spikes: to the bit, the guard's own numbers and the log included."""
    spoil_steps(monkeypatch, lambda step: {4: np.nan, 5: np.inf, 7: 1e4, 9: 1e3}.get(step, 1))
    guard = "train.guard={on_spike='shrink', window=3, spike=4.0}"
    config = small(tmp_path / "data", *EVERYTHING, "train.clip=0", guard)
    train(config, tmp_path / "one")
    logged = train_records(tmp_path / "one")
    assert sum(record["skipped"] for record in logged) == 2 and sum(record.get("shrunk", 0) for record in logged) == 2
    for stop in stops:
        stopped(config, tmp_path / "two", stop)
    train(config, tmp_path / "two")
    assert came_to(tmp_path / "two") == came_to(tmp_path / "one")


def stopped(config: Any, folder: Path, step: int) -> None:
    """Train, and be told to stop after a step."""
    session = open_session(config, folder)

    class Asked(list[int]):
        def __bool__(self) -> bool:
            return session.step >= step

    with session.progress, pytest.raises(Interrupted):
        run(session, Asked())
    for log in session.logs.values():
        log.close()


def test_enough_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was saved before is whole, and of before."""
    spoil_steps(monkeypatch, lambda step: np.nan if step >= 6 else 1)
    with pytest.raises(SearchError, match=r"diverged: 3 updates in a row were skipped, up to step 9\. What was saved"):
        train(small(tmp_path / "data", "train.guard.patience=3"), tmp_path / "run")
    assert latest_checkpoint(tmp_path / "run") is None and not (tmp_path / "run" / "last").exists()
    assert check_manifest(tmp_path / "run" / "best")["step"] == 5


def test_weights_that_are_no_numbers_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A finite gradient and a rate beyond all bounds: the weights are gone before the next loss shows it."""
    spoil_steps(monkeypatch, lambda step: 1e12)
    settings = ["train.optimizer=sgd", "train.learning_rate=1e29", "train.schedule.warmup=0", "train.clip=0"]
    with pytest.raises(SearchError, match="diverged: after step 1 the model has weights that are no finite numbers"):
        train(small(tmp_path / "data", *settings, "train.save_minutes=0"), tmp_path / "run")
    assert latest_checkpoint(tmp_path / "run") is None


def test_going_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """From the last checkpoint at half the rate, with other batches; said, and the log has each step once."""
    back: list[int] = []
    spoil_steps(monkeypatch, lambda step: np.nan if step >= 7 and not back else 1)
    sound = Guard.go_back
    monkeypatch.setattr(Guard, "go_back", lambda guard: (back.append(1), sound(guard))[1])
    settings = ["train.guard={patience=2, then='roll_back'}", "train.log_every=1", "train.average=0.9"]
    config = small(tmp_path / "data", *settings)
    stopped(config, tmp_path / "run", 6)
    train(config, tmp_path / "run")
    said = capsys.readouterr().err
    assert (
        "2 updates in a row were skipped, up to step 9; going back to step 6, on with the next batches at 0.5" in said
    )
    logged = train_records(tmp_path / "run")
    assert [record["step"] for record in logged] == list(range(1, 13)) and not any(r["skipped"] for r in logged)
    halved = [record["learning_rate"] / (5e-3 * record["step"] / 20) for record in logged]
    assert halved == pytest.approx([1] * 6 + [0.5] * 6)
    found = latest_checkpoint(tmp_path / "run")
    assert found is not None and found.state["guard"]["returns"] == 1
    alone = open_session(config, tmp_path / "alone")
    places = [placed.position for placed, _ in zip(alone.stream.batches(), range(15), strict=False)]
    assert tuple(found.state["position"]) == tuple(places[12 + 3 - 1]), "three batches were seen and forgotten"
    for log in alone.logs.values():
        log.close()


def test_a_stop_after_going_back_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = []
    for name, stop in {"one": None, "two": 9}.items():
        left = [1]  # the steps after the checkpoint go wrong until the run has gone back once
        sound = Guard.go_back
        with monkeypatch.context() as patch:
            spoil_steps(patch, lambda step, left=left: np.nan if step >= 6 and left else 1)
            patch.setattr(Guard, "go_back", lambda guard, left=left, sound=sound: (left.clear(), sound(guard))[1])
            config = small(tmp_path / "data", *EVERYTHING, "train.guard={patience=2, then='roll_back'}")
            stopped(config, tmp_path / name, 6)
            if stop:
                stopped(config, tmp_path / name, 8)  # asked again and again, but it went back first
            train(config, tmp_path / name)
        folders.append(tmp_path / name)
    assert came_to(folders[0]) == came_to(folders[1])


def test_going_back_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    spoil_steps(monkeypatch, lambda step: np.nan if step >= 6 else 1)
    settings = ["train.guard={patience=1, then='roll_back'}", "train.validate_every=50"]
    with pytest.raises(SearchError, match="diverged"):  # there is nothing to go back to
        train(small(tmp_path / "data", *settings), tmp_path / "none")
    stopped(small(tmp_path / "data", *settings), tmp_path / "run", 6)
    with pytest.raises(SearchError, match="diverged"):
        train(small(tmp_path / "data", *settings), tmp_path / "run")
    assert capsys.readouterr().err.count("going back to step 6") == RETURNS


def test_the_average_knows_only_what_was_made() -> None:
    layer = torch.nn.Linear(2, 2)
    average, guard = Average(layer, 0.9), Guard(GuardConfig())
    sgd = OPTIMIZERS["sgd"](layer, TrainConfig())
    for parameter in layer.parameters():
        parameter.grad = torch.full_like(parameter, torch.nan)
    move(guard.judge(torch.tensor(torch.nan), 0.0), list(layer.parameters()), sgd, average)
    assert average.steps == 0
