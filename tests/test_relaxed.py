"""Own words that are read as mixtures: against the same written out in a plain loop, with autograd; and in runs."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from architectures import DRAWN, SPECIAL, architecture, name_of, sources, torch_model
from sequencing.layers import LookUpOp
from sequencing.relaxed import RELAXED, RelaxedFeedBack
from sequencing.train.loop import train
from sequencing_np.decode import dynamic_decode
from sequencing_np.errors import ConfigError
from sequencing_np.feedback import TrainingFeedBack
from sequencing_np.model import DECODERS
from small_runs import EVERYTHING, records, small
from test_train import same_run, train_until

KINDS = [name for name, relax in RELAXED.items() if relax]
EACH = [next(index for index in DRAWN if architecture(index).decoder.type == row) for row in DECODERS]
TEMPERATURE = 0.7


def taught(target: np.ndarray, rate: float = 0.4, seed: int = 3) -> TrainingFeedBack:
    return TrainingFeedBack(target, SPECIAL, rate, generator=np.random.default_rng(seed))


def made(index: int) -> tuple[Any, Any, np.ndarray]:
    """A model that learns, its memory of four sentences, and targets of five words."""
    model = copy.deepcopy(torch_model(index)).requires_grad_(True)
    target = np.random.default_rng(index).integers(SPECIAL.eos, model.config.target_size, (4, 5))
    return model, model.encode(*sources(model.config)), target


class Given(nn.Module):
    """Reads what it was given, whatever the tokens are."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.vectors


def by_hand(model: Any, memory: Any, target: np.ndarray, coins: np.ndarray, kind: str) -> torch.Tensor:
    """Word by word: the target's vector, or the mean of all vectors under softmax(logits / temperature)."""
    decoder, table, said = model.decoder, model.decoder.embedding.weight, []
    kept, decoder.embedding = decoder.embedding, Given(table)
    state, vectors = decoder.start(memory), table[[SPECIAL.bos] * len(target)]
    for t in range(target.shape[1]):
        decoder.embedding.vectors = vectors[:, None]
        output, state = decoder.step(torch.zeros(len(target), 1, dtype=torch.int64), state)
        said.append(output.logits)
        logits = output.logits[:, 0].clone()
        logits[:, [SPECIAL.pad, SPECIAL.bos]] = -torch.inf
        powers = (logits / TEMPERATURE).exp()
        weights = powers / powers.sum(dim=1, keepdim=True)
        own = weights @ table
        if kind == "straight_through":  # what is read is the word, what the weights learn is as if they were read
            own = table[logits.argmax(dim=1)] + (weights - weights.detach()) @ table.detach()
        vectors = torch.where(torch.tensor(coins[:, t, None]), table[target[:, t]], own)
    decoder.embedding = kept
    return torch.cat(said, dim=1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("index", EACH, ids=name_of)
def test_what_is_read_and_learnt_is_the_formula(index: int, kind: str) -> None:
    model, memory, target = made(index)
    coins = taught(target).coins()
    relax = RELAXED[kind]
    assert relax is not None
    found = dynamic_decode(model.decoder, memory, RelaxedFeedBack(taught(target), relax, TEMPERATURE, False)).logits
    wanted = by_hand(model, memory, target, coins, kind)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(1), dtype=found.dtype)
    inside = list(model.parameters())
    gradients = [
        torch.autograd.grad((said.log_softmax(-1) * weights).sum(), inside, allow_unused=True, retain_graph=True)
        for said in (found, wanted)
    ]
    assert any(part is not None and part.any() for part in gradients[0])
    torch.testing.assert_close(*gradients, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("index", EACH, ids=name_of)
def test_straight_through_reads_what_is_read_without_a_gradient(index: int) -> None:
    model, memory, target = made(index)
    relax = RELAXED["straight_through"]
    assert relax is not None
    found = dynamic_decode(model.decoder, memory, RelaxedFeedBack(taught(target), relax, TEMPERATURE, False))
    torch.testing.assert_close(found, dynamic_decode(model.decoder, memory, taught(target)), rtol=1e-12, atol=1e-12)


def test_a_low_temperature_is_the_likeliest_word() -> None:
    model, memory, target = made(EACH[0])
    feedback = RelaxedFeedBack(taught(target), lambda weights: weights, 1e-6, False)
    found = dynamic_decode(model.decoder, memory, feedback).logits
    wanted = dynamic_decode(model.decoder, memory, taught(target)).logits
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_draws_are_those_of_the_softmax() -> None:
    """With Gumbel noise the likeliest id is a draw, whatever the temperature; banned ones are never drawn."""
    logits = torch.tensor([3.0, 2.0, 0.0, 1.0, 0.5, -1.0]).expand(40_000, -1)
    feedback = RelaxedFeedBack(taught(np.zeros((1, 2), dtype=np.int64)), lambda weights: weights, 0.5, True)
    feedback.banned = torch.tensor([SPECIAL.pad, SPECIAL.bos])
    torch.manual_seed(2)
    weights = feedback.weights(logits)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(len(weights)))
    allowed = logits[0].clone()
    allowed[[SPECIAL.pad, SPECIAL.bos]] = -torch.inf
    share = torch.bincount(weights.argmax(dim=1), minlength=6) / len(weights)
    torch.testing.assert_close(share, torch.softmax(allowed, dim=0), rtol=0, atol=0.015)


def test_weights_of_one_id_are_that_id() -> None:
    """Also where products are short."""
    table, ids = LookUpOp(7, 5), torch.tensor([[3, 0], [6, 3]])
    weights = nn.functional.one_hot(ids, 7).float()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(table(weights), table(ids), rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("draw", ["true", "false"])
def test_in_parts_is_at_once(kind: str, draw: str, tmp_path: Path) -> None:
    """Bit for bit; and it is another run than without."""
    own = [f"train.teacher.relaxed={kind}", f"train.teacher.draw={draw}", "train.teacher.temperature=0.5"]
    settings = [*EVERYTHING, *own, "train.steps=6"]
    train(small(tmp_path / "data", *settings), tmp_path / "one")
    train_until(small(tmp_path / "data", *settings), tmp_path / "two", 3)
    train(small(tmp_path / "data", *settings), tmp_path / "two")
    same_run(tmp_path / "two", tmp_path / "one")
    train(small(tmp_path / "data", *settings, "train.teacher.relaxed=none"), tmp_path / "none")
    logs = [json.dumps(records(tmp_path / name / "metrics.jsonl")) for name in ("one", "none")]
    assert logs[0] != logs[1]


def test_not_in_two_passes(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"relaxed 'soft': is of words that are said one by one; set two_passes = false"
    ):
        small(tmp_path, "train.teacher.relaxed=soft", "train.teacher.two_passes=true")
