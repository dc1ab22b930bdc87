"""Schedules that know more than the step: how many steps there will be, and what validations said."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sequencing.optim import check_schedule, check_validation, is_plateau, learning_rate
from sequencing.train_config import ScheduleConfig, TrainConfig
from sequencing_np.errors import ConfigError

RATE = 2e-3


def rates(steps: int, until: int = 0, **schedule: object) -> list[float]:
    """The rate of each step, from 1."""
    config = TrainConfig(steps=steps, learning_rate=RATE, schedule=ScheduleConfig(**schedule))  # type: ignore[arg-type]
    check_schedule(config)
    return [learning_rate(step, config) for step in range(1, (until or steps) + 1)]


# --- warm-up, stable, decay -----------------------------------------------------------------------------------------


def test_three_stretches() -> None:
    """Hu et al. 2024, section 4.2: up to step 4, the whole rate up to 15, in the last quarter down to a tenth."""
    found = rates(20, type="wsd", warmup=4, decay=0.25, final=0.1)
    up = [RATE * share for share in (0.25, 0.5, 0.75, 1.0)]
    down = [RATE * share for share in (0.82, 0.64, 0.46, 0.28, 0.1)]
    assert found == pytest.approx([*up, *[RATE] * 11, *down])


def test_without_more_it_ends_at_nothing_after_a_tenth() -> None:
    found = rates(1000, type="wsd", warmup=0)
    assert found[:900] == [RATE] * 900 and found[900] < RATE and found[-1] == 0
    assert all(after < before for before, after in pairwise(found[899:]))


@pytest.mark.parametrize("steps", [1, 2, 7, 400, 401, 5000])
@pytest.mark.parametrize("warmup", [0, 1, 400])
def test_a_decay_of_all_steps_is_linear(steps: int, warmup: int) -> None:
    assert rates(steps, type="wsd", warmup=warmup, decay=1.0) == rates(steps, type="linear", warmup=warmup)


@given(st.integers(1, 300), st.integers(1, 300), st.floats(0.01, 1.0), st.integers(0, 50))
def test_a_run_that_is_made_longer_goes_on_as_if_it_had_been(short: int, more: int, decay: float, warmup: int) -> None:
    """What the schedule is for: up to where the rate falls, a run is the beginning of every longer one."""
    settings = {"type": "wsd", "warmup": warmup, "decay": decay}
    stable = min(max(short - round(decay * short), warmup), short)
    assert rates(short, **settings)[:stable] == rates(short + more, short, **settings)[:stable]


def test_it_needs_to_know_its_end() -> None:
    with pytest.raises(
        ConfigError, match=r"train.schedule.type = 'wsd' ends at train.steps, which is 0; set train.steps"
    ):
        rates(0, type="wsd")


# --- plateaus -------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 9), max_size=60),
    st.integers(1, 4),
    st.sampled_from([0.5, 0.3, 0.9]),
    st.sampled_from([0.0, 0.2]),
)
def test_plateaus_are_pytorch_s(losses: list[int], patience: int, factor: float, final: float) -> None:
    """ReduceLROnPlateau without threshold, which waits for one more: the rate after each validation."""
    schedule = ScheduleConfig("plateau", 0, final=final, factor=factor, plateau_patience=patience)
    config = TrainConfig(learning_rate=RATE, schedule=schedule)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], RATE)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=factor, patience=patience - 1, threshold=0, min_lr=RATE * final, eps=0
    )
    best, worse, plateaus = float("inf"), 0, 0
    for step, loss in enumerate(losses, 1):
        theirs.step(loss)
        better = loss < best
        best, worse = min(best, loss), 0 if better else worse + 1
        plateaus += is_plateau(worse, schedule)
        assert learning_rate(step, config, plateaus) == pytest.approx(optimizer.param_groups[0]["lr"])


def test_a_warm_up_comes_first() -> None:
    config = TrainConfig(learning_rate=RATE, schedule=ScheduleConfig("plateau", 4, factor=0.5))
    assert learning_rate(1, config, 1) == RATE / 8 and learning_rate(4, config, 0) == RATE


def test_no_other_schedule_minds() -> None:
    for kind in ("constant", "linear", "cosine", "inverse_square_root", "exponential", "wsd"):
        config = TrainConfig(steps=10, learning_rate=RATE, schedule=ScheduleConfig(kind, 2))
        assert learning_rate(5, config, 0) == learning_rate(5, config, 3)


def test_it_needs_validations() -> None:
    config = TrainConfig(schedule=ScheduleConfig("plateau"))
    check_validation(config, True)
    check_validation(TrainConfig(), False)
    with pytest.raises(
        ConfigError, match=r"train.schedule.type = 'plateau' goes by scores on held-out data; set data.dev"
    ):
        check_validation(config, False)
