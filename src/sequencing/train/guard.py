"""Which updates are made: none of a gradient that is no number, and what becomes of one that is far too long.

Decided from the norm of the whole gradient, which is the same on all ranks. On an accelerator nothing waits for the
decision: the optimiser obeys it there. What the guard remembers is part of a checkpoint. It knows no batches and no
losses; `spoil` lets a loss that is no number be seen in the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sequencing.optim import Average
from sequencing.train_config import GuardConfig
from sequencing_np.config import choose
from sequencing_np.errors import SearchError


class OnSpike(NamedTuple):
    """What is done with a gradient that is much longer than usual."""

    skips: bool = False
    shrinks: bool = False  # to the usual length


SPIKES = {"none": OnSpike(), "skip": OnSpike(skips=True), "shrink": OnSpike(shrinks=True)}
THEN = {"end": False, "roll_back": True}
"""After too many skipped in a row: whether the last checkpoint is taken up again."""

SLOWER = 0.5  # what the learning rate is multiplied by each time
RETURNS = 5  # times that a run goes back before it ends all the same


class Verdict(NamedTuple):
    """What is to become of an update; tensors, so that nothing waits for the device."""

    made: Tensor  # () true or false
    shrunk: Tensor  # () true or false
    scale: Tensor  # ()  what the gradient is multiplied by, where it is shrunk


class Guard:
    """Judges each update by the norm of its gradient."""

    def __init__(self, config: GuardConfig, device: torch.device | str = "cpu") -> None:
        self.config, self.spikes = config, SPIKES[config.on_spike]
        self.numbers = torch.zeros(3, device=device)  # the usual norm, norms it is the mean of, skipped in a row
        self.returns = 0  # how often the run went back

    @property
    def rate(self) -> float:
        """What the learning rate is multiplied by."""
        return SLOWER**self.returns

    @property
    def device(self) -> torch.device:
        """Where decisions are made."""
        return self.numbers.device

    @property
    def here(self) -> bool:
        """Whether to ask for a decision costs nothing."""
        return self.device.type == "cpu"

    def judge(self, norm: Tensor, largest: float, explained: Tensor | bool = False) -> Verdict:
        """Of the norm that a gradient had before it was clipped to `largest` (0: never).

        One that is no finite number counts against nobody's patience where something else explains it.
        """
        usual, seen, row = self.numbers
        sound = torch.isfinite(norm)
        spike = sound & (seen >= self.config.window) & (norm > self.config.spike * usual)
        made, shrunk = sound & ~(spike & self.spikes.skips), spike & self.spikes.shrinks
        length = norm.clamp(max=largest) if largest else norm
        scale = torch.where(shrunk, (usual / length).clamp(max=1), 1.0)
        bounded = torch.where(spike, self.config.spike * usual, norm)  # one alone does not change what is usual
        count = (seen + 1).clamp(max=self.config.window)
        mean = usual + (bounded - usual) / count
        usual, seen = torch.where(sound, mean, usual), torch.where(sound, count, seen)
        self.numbers = torch.stack([usual, seen, torch.where(made, 0.0, torch.where(~sound & explained, row, row + 1))])
        return Verdict(made, shrunk, scale)

    def exhausted(self) -> bool:
        """Whether as many updates in a row were skipped as may be."""
        return float(self.numbers[2]) >= self.config.patience

    def go_back(self) -> None:
        """Count a return, after the state of the checkpoint was restored."""
        self.returns += 1
        self.numbers[2] = 0

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"numbers": self.numbers.tolist(), "returns": self.returns}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self.numbers, self.returns = self.numbers.new_tensor(state["numbers"]), state["returns"]


def spoil(parameters: Sequence[nn.Parameter], loss: Tensor) -> None:
    """Where this rank's loss is no number, its gradient becomes none: so all ranks hear of it with the sum."""
    given = [(parameter.numel(), number) for number, parameter in enumerate(parameters) if parameter.grad is not None]
    if given:
        least = parameters[min(given)[1]]
        least.grad = torch.where(torch.isfinite(loss), least.grad, torch.nan)  # type: ignore[arg-type]


def move(
    verdict: Verdict, parameters: Sequence[nn.Parameter], optimizer: torch.optim.Optimizer, average: Average | None
) -> None:
    """Make the update, as far as it is to be made.

    On an accelerator the fused optimisers leave everything as it is where a tensor tells them to; the average then
    takes in once more the weights that have not moved. Their first step, which makes their state, is waited for.
    """
    made, here = verdict.made, verdict.made.device.type == "cpu"
    if not here or verdict.shrunk:
        torch._foreach_mul_([each.grad for each in parameters if each.grad is not None], verdict.scale)
    if here or not optimizer.state or not getattr(optimizer, "_step_supports_amp_scaling", False):
        if not made:
            return
        optimizer.step()
    else:
        obeyed(optimizer, made)
    if average:
        average.update()


def obeyed(optimizer: Any, made: Tensor) -> None:
    """A step of a fused optimiser that is made only where the tensor is true, without waiting for it."""
    optimizer.grad_scale, optimizer.found_inf = None, (~made).float()
    try:
        optimizer.step()
    finally:
        del optimizer.grad_scale, optimizer.found_inf


def check_guard(config: GuardConfig) -> None:
    """ConfigError where [train.guard] names what does not exist."""
    choose(SPIKES, config.on_spike, "train.guard.on_spike")
    choose(THEN, config.then, "train.guard.then")


def check_weights(model: nn.Module, step: int, gathered: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> None:
    """SearchError where a weight is no finite number: nothing of it may be saved."""
    if not all(bool(gathered(torch.isfinite(parameter).all())) for parameter in model.parameters()):
        raise diverged(f"after step {step:,} the model has weights that are no finite numbers")


def diverged(what: str) -> SearchError:
    """The end of a run that learns nothing any more."""
    return SearchError(
        f"training diverged: {what}. What was saved before is intact. Give a new run a lower train.learning_rate, a "
        "longer train.schedule.warmup or a smaller train.clip (--init-from takes this one's weights along), or go on "
        'from the last checkpoint at half the rate: train.guard.then = "roll_back"'
    )
