"""A step of several batches is the step of one large batch; what looks like chance in it can be computed again."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sequencing.train.opening import open_session
from sequencing.train.session import Session
from sequencing.train.update import PairwiseSum, chance, update
from small_runs import EVERYTHING, small


def opened(tmp_path: Path, name: str, *settings: str) -> Session:
    session = open_session(small(tmp_path / "data", *settings), tmp_path / name)
    for log in session.logs.values():
        log.close()
    return session


@pytest.mark.parametrize("normalize", ["tokens", "sentences"])
def test_several_batches_are_one(normalize: str, tmp_path: Path) -> None:
    """The gradient of the mean over all their tokens, or sentences, taken by autograd at once."""
    plain = ["optimizer=sgd", "clip=0", "learning_rate=1", "schedule.type=constant", "schedule.warmup=0"]
    settings = ["accumulate=3", f"normalize={normalize}", *plain]
    session = opened(tmp_path, "run", *(f"train.{setting}" for setting in settings))
    stream = session.stream.batches()
    batches = [next(stream).batch for _ in range(3)]
    before = {name: parameter.detach().clone() for name, parameter in session.model.named_parameters()}
    losses = []
    for batch in batches:
        begin = np.full((len(batch.target), 1), session.translator.target_vocab.special.bos)
        tokens = torch.from_numpy(np.concatenate([begin, batch.target[:, :-1]], axis=1))
        memory = session.model.encode(batch.source, batch.source_mask)
        logits = session.model.decoder.step(tokens, session.model.decoder.start(memory))[0].logits
        mask = torch.from_numpy(batch.target_mask)
        target = torch.from_numpy(batch.target)[mask]
        losses.append(torch.nn.functional.cross_entropy(logits[mask], target, reduction="sum"))
    count = sum(int(batch.target_mask.sum()) if normalize == "tokens" else len(batch.target) for batch in batches)
    wanted = torch.autograd.grad(sum(losses) / count, list(session.model.parameters()), allow_unused=True)
    stepped = update(session, batches)
    torch.testing.assert_close(stepped.loss, sum(losses).detach(), rtol=1e-5, atol=1e-5)
    for (name, parameter), gradient in zip(session.model.named_parameters(), wanted, strict=True):
        moved = before[name] - parameter.detach()
        torch.testing.assert_close(
            moved, torch.zeros_like(moved) if gradient is None else gradient, rtol=1e-4, atol=1e-6
        )


def test_chance_is_no_memory(tmp_path: Path) -> None:
    """All that is random at once: a step comes out the same whatever was drawn before it."""
    sessions = [opened(tmp_path, name, *EVERYTHING, "train.accumulate=2") for name in ("one", "two")]
    stream = sessions[0].stream.batches()
    batches = [next(stream).batch for _ in range(2)]
    update(sessions[0], batches)
    torch.rand(7)
    update(sessions[1], batches)
    one, two = (list(session.model.parameters()) for session in sessions)
    assert all(map(torch.equal, one, two))
    sessions[1].step = 1
    for session in sessions:
        update(session, batches)
    assert not all(map(torch.equal, one, two)), "another step draws other numbers"


def test_chance_differs_between_batches() -> None:
    drawn = {float(chance(*key).random()) for key in ((1, 5, 0), (1, 5, 1), (1, 6, 0), (2, 5, 0))}
    assert len(drawn) == 4
    chance(1, 5, 0)
    first = torch.rand(3)
    chance(1, 5, 0)
    assert torch.equal(first, torch.rand(3))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 13])
def test_gradients_are_added_in_pairs(count: int) -> None:
    """Against the sum written as a recursion over halves of a power of two, to the bit."""
    layer = torch.nn.Linear(5, 3)
    layer.requires_grad_(True)
    drawn = [[torch.randn_like(parameter) for parameter in layer.parameters()] for _ in range(count)]

    def halves(parts: list[torch.Tensor]) -> torch.Tensor:
        if len(parts) == 1:
            return parts[0].clone()
        half = 1 << (len(parts) - 1).bit_length() - 1
        return halves(parts[:half]) + halves(parts[half:])

    wanted = [halves(list(parts)) for parts in zip(*drawn, strict=True)]
    summed = PairwiseSum(layer)
    for gradients in drawn:
        for parameter, gradient in zip(layer.parameters(), gradients, strict=True):
            parameter.grad = gradient.clone()
        summed.add()
    summed.put_back()
    assert all(
        torch.equal(parameter.grad, gradient) for parameter, gradient in zip(layer.parameters(), wanted, strict=True)
    )


def test_a_parameter_without_a_part() -> None:
    """Layer drop may leave one out of one batch, or of all."""
    layer = torch.nn.Linear(5, 3)
    summed = PairwiseSum(layer)
    layer.weight.grad = torch.ones(3, 5)
    summed.add()
    layer.weight.grad = torch.ones(3, 5)
    summed.add()
    layer.bias.grad = torch.ones(3)
    summed.add()
    summed.put_back()
    assert layer.weight.grad is not None and torch.equal(layer.weight.grad, torch.full((3, 5), 2.0))
    assert layer.bias.grad is not None and torch.equal(layer.bias.grad, torch.ones(3))
