"""How weights move: optimisers, learning rates, teacher rates, clipping, averaging. Tables of plain functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable

import torch
from torch import Tensor, nn

from sequencing.muon import Muon, inner_matrices
from sequencing.precision import PRECISIONS, chosen
from sequencing.train_config import SamplingConfig, ScheduleConfig, TrainConfig
from sequencing_np.config import choose, require


def groups(
    model: nn.Module, weight_decay: float, others: Collection[nn.Parameter] = frozenset()
) -> list[dict[str, object]]:
    """All that is learnt but those others: matrices decay, vectors (biases, norms) do not."""
    parameters = [each for each in model.parameters() if each.requires_grad and each not in others]
    matrices = [parameter for parameter in parameters if parameter.dim() > 1]
    vectors = [parameter for parameter in parameters if parameter.dim() <= 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]


def adam(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Kingma and Ba 2015, with L2 in the gradient where weight_decay is set."""
    betas = (config.betas[0], config.betas[1])
    return torch.optim.Adam(groups(model, config.weight_decay), config.learning_rate, betas, eps=1e-9, fused=True)


def adamw(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Loshchilov and Hutter 2019: the decay outside the gradient."""
    betas = (config.betas[0], config.betas[1])
    return torch.optim.AdamW(groups(model, config.weight_decay), config.learning_rate, betas, eps=1e-9, fused=True)


def muon(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Muon for the matrices between hidden layers, AdamW for the rest; it multiplies in `train.precision`."""
    inner = inner_matrices(model)
    turned = [each for each in model.parameters() if each.requires_grad and each in inner]
    plain = [{**group, "turned": False} for group in groups(model, config.weight_decay, inner)]
    betas, device = (config.betas[0], config.betas[1]), next(model.parameters()).device
    return Muon(
        [{"params": turned, "turned": True, "weight_decay": config.weight_decay}, *plain],
        config.learning_rate,
        betas,
        PRECISIONS[chosen(config.precision, device).name],
    )


def sgd(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Gradient descent, with momentum where it is set."""
    return torch.optim.SGD(groups(model, config.weight_decay), config.learning_rate, config.momentum, fused=True)


OPTIMIZERS: dict[str, Callable[[nn.Module, TrainConfig], torch.optim.Optimizer]] = {
    "adam": adam,
    "adamw": adamw,
    "muon": muon,
    "sgd": sgd,
}


def done(step: int, warmup: int, steps: int) -> float:
    """The share of the way from the end of the warm-up to the last step."""
    return min(max(step - warmup, 0) / max(steps - warmup, 1), 1.0)


def stable_then_decay(step: int, config: ScheduleConfig, steps: int) -> float:
    """The whole rate, then in the last steps down to `final` (warm-up, stable, decay: Hu et al. 2024, "MiniCPM")."""
    begin = max(config.warmup, steps - round(config.decay * steps))
    return 1 - (1 - config.final) * done(step, begin, steps)


SCHEDULES: dict[str, Callable[[int, ScheduleConfig, int, int], float]] = {
    "constant": lambda step, config, steps, plateaus: 1.0,
    "linear": lambda step, config, steps, plateaus: 1 - (1 - config.final) * done(step, config.warmup, steps),
    "cosine": lambda step, config, steps, plateaus: (
        config.final + (1 - config.final) * (1 + math.cos(math.pi * done(step, config.warmup, steps))) / 2
    ),
    "inverse_square_root": lambda step, config, steps, plateaus: (
        (max(config.warmup, 1) / max(step, config.warmup, 1)) ** 0.5
    ),
    "exponential": lambda step, config, steps, plateaus: 0.5 ** (max(step - config.warmup, 0) / config.half_life),
    "wsd": lambda step, config, steps, plateaus: stable_then_decay(step, config, steps),
    "plateau": lambda step, config, steps, plateaus: max(config.final, config.factor**plateaus),
}
"""The share of the learning rate at a step (from 1), after the warm-up; `steps` is the last one, and `plateaus` tells
how often `plateau_patience` validations have passed without a better score."""

NEED_STEPS = {"linear", "cosine", "wsd"}
NEED_VALIDATION = {"plateau"}


def check_schedule(config: TrainConfig) -> None:
    """ConfigError where the schedule does not exist or needs to know its end."""
    choose(SCHEDULES, config.schedule.type, "train.schedule.type")
    require(
        config.steps > 0 or config.schedule.type not in NEED_STEPS,
        f"train.schedule.type = {config.schedule.type!r} ends at train.steps, which is 0; set train.steps",
    )
    require(
        config.schedule.half_life >= 1, f"train.schedule.half_life = {config.schedule.half_life}: must be 1 or more"
    )


def learning_rate(step: int, config: TrainConfig, plateaus: int = 0) -> float:
    """The rate of a step (from 1): a linear warm-up from zero, then the schedule."""
    warmup, schedule = min(step / max(config.schedule.warmup, 1), 1.0), SCHEDULES[config.schedule.type]
    return config.learning_rate * warmup * schedule(step, config.schedule, config.steps, plateaus)


def is_plateau(worse: int, config: ScheduleConfig) -> bool:
    """Whether so many validations since the best score, the last of them worse too, end another plateau."""
    return worse > 0 and worse % config.plateau_patience == 0


def check_validation(config: TrainConfig, held_out: bool) -> None:
    """ConfigError where the schedule waits for scores that will never come."""
    require(
        held_out or config.schedule.type not in NEED_VALIDATION,
        f"train.schedule.type = {config.schedule.type!r} goes by scores on held-out data; set data.dev",
    )


TEACHER_RATES: dict[str, Callable[[int, SamplingConfig], float]] = {
    "constant": lambda step, config: config.rate,
    "linear": lambda step, config: max(config.final, config.rate - step / config.scale),
    "exponential": lambda step, config: config.rate * math.exp(-step / config.scale),
    "inverse_sigmoid": lambda step, config: (
        config.rate * config.scale / (config.scale + math.exp(min(step / config.scale, 700.0)))
    ),
}
"""How often the decoder reads the target's word: Bengio et al. 2015, section 2.4."""


def teacher_rate(step: int, config: SamplingConfig) -> float:
    """The teacher rate of a step (from 1), from 0 to 1."""
    return min(max(TEACHER_RATES[config.type](step, config), 0.0), 1.0)


class Average:
    """An exponential moving average of the weights (Polyak and Juditsky 1992), slower as it grows older."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.own = list(model.parameters())
        self.mean = [parameter.detach().clone() for parameter in self.own]

    def update(self) -> None:
        """Take the present weights in."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self.mean, [parameter.detach() for parameter in self.own], 1 - decay)

    def swap(self) -> None:
        """Exchange the weights of the model with the average; a second call exchanges them back."""
        with torch.no_grad():
            for parameter, mean in zip(self.own, self.mean, strict=True):
                before = parameter.detach().clone()
                parameter.copy_(mean)
                mean.copy_(before)


def clip(parameters: Iterable[nn.Parameter], largest: float) -> Tensor:
    """Scale the gradient down to norm `largest` where it is longer (0: never); returns its norm before."""
    return nn.utils.clip_grad_norm_(parameters, largest or math.inf)
