"""optim: schedules, teacher rates, optimisers and averages against their published formulas, written out here."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from sequencing.optim import (
    NEED_STEPS,
    OPTIMIZERS,
    SCHEDULES,
    TEACHER_RATES,
    Average,
    check_schedule,
    clip,
    groups,
    learning_rate,
    teacher_rate,
)
from sequencing.train_config import SamplingConfig, ScheduleConfig, TrainConfig
from sequencing_np.errors import ConfigError

WARMUP, STEPS, HALF, FINAL = 10, 110, 20, 0.25


def configured(kind: str, warmup: int = WARMUP, steps: int = STEPS, rate: float = 3e-3) -> TrainConfig:
    return TrainConfig(steps=steps, learning_rate=rate, schedule=ScheduleConfig(kind, warmup, HALF, FINAL))


# From the step (counted from 1, after the warm-up) to the share of the rate.
FORMULAS: dict[str, Callable[[int], float]] = {
    "constant": lambda step: 1.0,
    "linear": lambda step: 1.0 + (FINAL - 1.0) * (step - WARMUP) / (STEPS - WARMUP),
    "cosine": lambda step: FINAL + (1 - FINAL) * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (STEPS - WARMUP))),
    "inverse_square_root": lambda step: math.sqrt(WARMUP) / math.sqrt(step),  # Vaswani et al. 2017, equation 3, scaled
    "exponential": lambda step: 2.0 ** (-(step - WARMUP) / HALF),
    "wsd": lambda step: 1.0 if step <= 99 else 1.0 - (1 - FINAL) * (step - 99) / 11,  # the last tenth of 110 steps
    "plateau": lambda step: 1.0,
}


def test_every_schedule_has_a_formula() -> None:
    assert set(FORMULAS) == set(SCHEDULES) and set(SCHEDULES) >= NEED_STEPS


@pytest.mark.parametrize("kind", SCHEDULES)
def test_the_rate_of_every_step(kind: str) -> None:
    config = configured(kind)
    for step in range(1, STEPS + 1):
        share = step / WARMUP if step < WARMUP else FORMULAS[kind](step)
        assert learning_rate(step, config) == pytest.approx(3e-3 * share), step


@pytest.mark.parametrize("kind", SCHEDULES)
def test_boundaries(kind: str) -> None:
    """The warm-up begins above zero and ends at the whole rate; after the last step the rate stays what it is."""
    config = configured(kind)
    assert learning_rate(1, config) == pytest.approx(3e-3 / WARMUP)
    assert learning_rate(WARMUP, config) == pytest.approx(3e-3)
    rates = [learning_rate(step, config) for step in range(WARMUP, 5 * STEPS)]
    assert all(0 <= after <= before for before, after in itertools.pairwise(rates))
    if kind in NEED_STEPS:
        assert learning_rate(STEPS, config) == pytest.approx(3e-3 * FINAL) == learning_rate(5 * STEPS, config)


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("warmup", [0, 1])
def test_without_a_warm_up_the_first_step_has_the_whole_rate(kind: str, warmup: int) -> None:
    assert learning_rate(1, configured(kind, warmup)) == pytest.approx(3e-3, rel=0.04)


@pytest.mark.parametrize("kind", SCHEDULES)
@given(step=st.integers(1, 10**7), warmup=st.integers(0, 10**5), steps=st.integers(0, 10**6))
def test_a_rate_is_never_negative_nor_above_what_was_set(kind: str, step: int, warmup: int, steps: int) -> None:
    assert 0 <= learning_rate(step, configured(kind, warmup, steps)) <= 3e-3


@pytest.mark.parametrize("kind", sorted(NEED_STEPS))
def test_schedules_that_need_their_end(kind: str) -> None:
    check_schedule(configured(kind))
    with pytest.raises(ConfigError, match=rf"train.schedule.type = '{kind}' ends at train.steps.*set train.steps"):
        check_schedule(configured(kind, steps=0))


def test_schedules_that_cannot_be() -> None:
    for kind in set(SCHEDULES) - NEED_STEPS:
        check_schedule(configured(kind, steps=0))
    with pytest.raises(ConfigError, match="did you mean 'cosine'"):
        check_schedule(configured("cosin"))
    with pytest.raises(ConfigError, match="half_life = 0"):
        check_schedule(TrainConfig(schedule=ScheduleConfig(half_life=0)))


# --- teacher rates --------------------------------------------------------------------------------------------------

RATES: dict[str, Callable[[int], float]] = {  # Bengio et al. 2015, section 2.4, with k = 50 steps, from 0.9
    "constant": lambda step: 0.9,
    "linear": lambda step: max(0.2, 0.9 - step / 50),
    "exponential": lambda step: 0.9 * math.exp(-1 / 50) ** step,
    "inverse_sigmoid": lambda step: 0.9 * 50 / (50 + math.exp(step / 50)),
}


def test_every_teacher_rate_has_a_formula() -> None:
    assert set(RATES) == set(TEACHER_RATES)


@pytest.mark.parametrize("kind", TEACHER_RATES)
def test_teacher_rates(kind: str) -> None:
    config = SamplingConfig(kind, rate=0.9, final=0.2, scale=50.0)
    for step in range(1, 400):
        assert teacher_rate(step, config) == pytest.approx(RATES[kind](step)), step


@given(st.sampled_from(sorted(TEACHER_RATES)), st.integers(1, 10**9), st.floats(0, 1), st.floats(1e-3, 1e6))
def test_a_teacher_rate_is_a_share_and_never_rises(kind: str, step: int, rate: float, scale: float) -> None:
    config = SamplingConfig(kind, rate=rate, final=0.0, scale=scale)
    assert 0 <= teacher_rate(step + 1, config) <= teacher_rate(step, config) <= 1


def test_a_teacher_speaks_always_unless_told() -> None:
    assert {teacher_rate(step, SamplingConfig()) for step in (1, 10**9)} == {1.0}


# --- optimisers -----------------------------------------------------------------------------------------------------


def small_model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.Linear(5, 2)).double()


def test_matrices_decay_and_vectors_do_not() -> None:
    model = small_model()
    model[0].weight.requires_grad_(False)
    decaying, rest = groups(model, 0.1)
    assert decaying["weight_decay"] == 0.1 and rest["weight_decay"] == 0.0
    assert [id(part) for part in decaying["params"]] == [id(model[2].weight)]  # type: ignore[attr-defined]
    wanted = {id(part) for part in (model[0].bias, model[1].weight, model[1].bias, model[2].bias)}
    assert {id(part) for part in rest["params"]} == wanted  # type: ignore[attr-defined]


def adam_by_hand(weight: Any, gradients: Any, config: TrainConfig, decay: float, coupled: bool) -> Any:
    first = second = torch.zeros_like(weight)
    one, two = config.betas
    for step, gradient in enumerate(gradients, 1):
        if coupled:
            gradient = gradient + decay * weight
        else:
            weight = weight * (1 - config.learning_rate * decay)
        first, second = one * first + (1 - one) * gradient, two * second + (1 - two) * gradient**2
        scaled = (first / (1 - one**step)) / ((second / (1 - two**step)).sqrt() + 1e-9)
        weight = weight - config.learning_rate * scaled
    return weight


def sgd_by_hand(weight: Any, gradients: Any, config: TrainConfig, decay: float, coupled: bool) -> Any:
    speed = torch.zeros_like(weight)
    for gradient in gradients:
        speed = config.momentum * speed + gradient + decay * weight
        weight = weight - config.learning_rate * speed
    return weight


def muon_by_hand(weight: Any, gradients: Any, config: TrainConfig, decay: float, coupled: bool) -> Any:
    """Five rounds of the quintic on the singular values, by their decomposition; vectors as with AdamW."""
    if weight.dim() < 2:
        return adam_by_hand(weight, gradients, config, decay, coupled)
    momentum = torch.zeros_like(weight)
    for gradient in gradients:
        momentum = 0.95 * momentum + 0.05 * gradient
        left, values, right = torch.linalg.svd(0.05 * gradient + 0.95 * momentum, full_matrices=False)
        values = values / values.pow(2).sum().sqrt()
        for _ in range(5):
            values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
        step = 0.2 * max(weight.shape) ** 0.5 * left @ values.diag() @ right
        weight = weight * (1 - config.learning_rate * decay) - config.learning_rate * step
    return weight


BY_HAND = {
    "adam": (adam_by_hand, True),
    "adamw": (adam_by_hand, False),
    "muon": (muon_by_hand, False),
    "sgd": (sgd_by_hand, True),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_five_steps_by_hand(name: str) -> None:
    model = small_model()
    config = TrainConfig(optimizer=name, learning_rate=0.03, weight_decay=0.2, betas=(0.8, 0.9), momentum=0.7)
    optimizer = OPTIMIZERS[name](model, config)
    chance = torch.Generator().manual_seed(1)
    begin = [part.detach().clone() for part in model.parameters()]
    given_ = [[torch.randn(part.shape, generator=chance, dtype=torch.float64) for _ in range(5)] for part in begin]
    for step in range(5):
        for part, gradients in zip(model.parameters(), given_, strict=True):
            part.grad = gradients[step].clone()
        optimizer.step()
    by_hand, coupled = BY_HAND[name]
    for part, first, gradients in zip(model.parameters(), begin, given_, strict=True):
        decay = 0.2 if part.dim() > 1 else 0.0
        torch.testing.assert_close(part.detach(), by_hand(first, gradients, config, decay, coupled))


# --- clipping -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("largest", [0.0, 0.1, 1.0, 100.0])
def test_clipping(largest: float) -> None:
    """One norm over all parameters together; shorter gradients stay as they are, and 0 clips nothing."""
    model = small_model()
    model(torch.ones(4, 3, dtype=torch.float64)).pow(2).sum().backward()
    before = [part.grad.clone() for part in model.parameters() if part.grad is not None]
    norm = math.sqrt(sum(float(gradient.pow(2).sum()) for gradient in before))
    assert 0.1 < norm < 100
    assert float(clip(model.parameters(), largest)) == pytest.approx(norm)
    factor = min(1.0, largest / norm) if largest else 1.0
    for part, gradient in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(part.grad, gradient * factor, rtol=1e-5, atol=0)


# --- the average ----------------------------------------------------------------------------------------------------


def test_the_average_is_a_plain_loop() -> None:
    model = small_model()
    average = Average(model, 0.8)
    wanted = [part.detach().clone() for part in model.parameters()]
    for step in range(1, 60):
        with torch.no_grad():
            for part in model.parameters():
                part.add_(torch.randn(part.shape, dtype=part.dtype))
        average.update()
        decay = min(0.8, (1 + step) / (10 + step))
        wanted = [decay * mean + (1 - decay) * part for mean, part in zip(wanted, model.parameters(), strict=True)]
    for mean, one in zip(average.mean, wanted, strict=True):
        torch.testing.assert_close(mean, one.detach())


def test_swapping_there_and_back() -> None:
    """The model has the average's weights, and then its own again, bit for bit; the optimiser goes on with them."""
    model = small_model()
    optimizer = torch.optim.Adam(model.parameters(), 0.1)
    average = Average(model, 0.9)
    x = torch.ones(4, 3, dtype=torch.float64)

    def learn() -> None:
        optimizer.zero_grad()
        model(x).pow(2).sum().backward()
        optimizer.step()
        average.update()

    learn()
    learn()
    own = [part.detach().clone() for part in model.parameters()]
    mean = [part.clone() for part in average.mean]
    average.swap()
    assert all(torch.equal(part, one) for part, one in zip(model.parameters(), mean, strict=True))
    assert all(torch.equal(part, one) for part, one in zip(average.mean, own, strict=True))
    average.swap()
    assert all(torch.equal(part, one) for part, one in zip(model.parameters(), own, strict=True))
    learn()
    assert not any(torch.equal(part, one) for part, one in zip(model.parameters(), own, strict=True))
