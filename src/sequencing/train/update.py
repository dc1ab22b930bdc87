"""One step of the optimiser: the gradients of its batches, summed, and what is made of them.

What looks like chance in it is a function of (seed, step, number of the batch in the step): nothing has to be kept of
it, and whoever computes a batch again, in another process or after a restart, computes the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from sequencing.data.permutation import key_of
from sequencing.loss import NORMALIZERS
from sequencing.optim import clip
from sequencing.profiling import part
from sequencing.train.guard import move, spoil
from sequencing.train.memory import at_batch, at_update, enough_memory
from sequencing.train.objectives import step_losses
from sequencing.train.session import Session
from sequencing.train.tally import Stepped
from sequencing_np.batch import Batch


def update(session: Session, batches: Sequence[Batch]) -> Stepped:
    """One step, of this rank's batches and those of the others: as many as `train.accumulate` says."""
    settings, model = session.config.train, session.model
    for group in session.optimizer.param_groups:
        group["lr"] = session.learning_rate(session.step + 1)
    model.train()
    session.optimizer.zero_grad(set_to_none=True)
    ranks = session.ranks
    (count,) = ranks.total([sum(map(NORMALIZERS[settings.normalize], batches))])
    here = (session.batch_tokens, session.step + 1, session.guard.device)
    total: Tensor | float = 0.0
    told: Tensor | None = None
    gradients = PairwiseSum(session.learning)
    for share, batch in zip(ranks.own(settings.accumulate), batches, strict=True):
        with enough_memory(lambda batch=batch: at_batch(batch, settings, *here)):  # type: ignore[misc]
            coins = chance(settings.seed, session.step, share)
            with part("forward"):
                losses = ranks.run(lambda batch=batch, coins=coins: step_losses(session, batch, coins))  # type: ignore[misc]
            with part("backward"):
                session.loss_scale.up(losses.whole / count).backward()
            gradients.add()
        total = total + losses.cross_entropy.detach()
        if losses.told is not None:
            told = losses.told if told is None else told + losses.told
    gradients.put_back()
    session.loss_scale.down(ranks.kept(gradients.parameters))
    total = torch.as_tensor(total)
    spoil(ranks.kept(gradients.parameters), total)
    with part("gradients of all ranks, clipped"):
        ranks.add_up(gradients.parameters, settings.same_bits)
        norm = ranks.gathered(clip(model.parameters(), settings.clip).detach())
    verdict = session.guard.judge(norm, settings.clip, session.loss_scale.explains)
    session.loss_scale.learn(norm)
    with part("update"), enough_memory(lambda: at_update(session.step + 1, session.guard.device)):
        move(verdict, gradients.parameters, session.optimizer, session.average)
    made = verdict.made
    if session.critic and told is not None and made:
        session.critic.step()
    return Stepped(torch.where(made, total, 0.0), torch.where(made, norm, 0.0), made, verdict.shrunk, told)


def chance(seed: int, step: int, share: int) -> np.random.Generator:
    """Seeds PyTorch's generators for a batch of a step, and gives a NumPy one for it."""
    key = int(key_of(seed, step, share)[0])
    torch.manual_seed(key)
    return np.random.default_rng(key)


class PairwiseSum:
    """The gradients of several batches, added in pairs: ((a + b) + (c + d)) + …

    In this order whoever has a half, a quarter, … of the batches has a part of the same sum, to the bit.
    """

    def __init__(self, model: nn.Module) -> None:
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.parts: list[tuple[int, list[Tensor | None]]] = []  # sums of 2 ** level batches, the larger ones first

    def add(self) -> None:
        """Take the gradients that the parameters have now."""
        level, own = 0, [parameter.grad for parameter in self.parameters]
        for parameter in self.parameters:
            parameter.grad = None
        while self.parts and self.parts[-1][0] == level:
            level, own = level + 1, added(self.parts.pop()[1], own)
        self.parts.append((level, own))

    def put_back(self) -> None:
        """Give the parameters the sum of all."""
        own = self.parts.pop()[1]
        while self.parts:
            own = added(self.parts.pop()[1], own)
        for parameter, gradient in zip(self.parameters, own, strict=True):
            parameter.grad = gradient


def added(first: list[Tensor | None], second: list[Tensor | None]) -> list[Tensor | None]:
    """The sums; a parameter that took no part has no gradient."""
    both = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    if both:
        torch._foreach_add_([a for a, _ in both], [b for _, b in both])
    return [b if a is None else a for a, b in zip(first, second, strict=True)]
