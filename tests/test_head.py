"""head: copying against See et al. 2017, equation 9, in plain loops; what it does to a loss and to a training run."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from architectures import same
from sequencing.head import Copy as UpperCopy
from sequencing.loss import cross_entropy
from sequencing.model import Model as TorchModel
from sequencing_np.config import Origin
from sequencing_np.errors import ConfigError, ModelError
from sequencing_np.head import Copy
from sequencing_np.model import build_model, model_config
from sequencing_np.state import Memory
from sequencing_np.weights import nest

D, V, S, T = 5, 13, 7, 3  # hidden, vocabulary, source, target
LENGTHS = (7, 2, 0)


class Given:
    """Random hidden vectors, logits and alignments of one or two rows a sentence; ids that stand several times."""

    def __init__(self, width: int = 1, seed: int = 0) -> None:
        chance = np.random.default_rng(seed)
        self.mask = np.arange(S) < np.array(LENGTHS)[:, None]
        self.tokens = np.where(self.mask, chance.integers(4, 8, self.mask.shape), 0)
        rows = len(LENGTHS) * width
        self.hidden, self.logits = chance.normal(0, 1, (rows, T, D)), chance.normal(0, 2, (rows, T, V))
        self.owner = np.repeat(np.arange(len(LENGTHS)), width)
        powers = np.exp(chance.normal(0, 1, (rows, T, S))) * self.mask[self.owner][:, None]
        self.alignment = powers / np.maximum(powers.sum(-1, keepdims=True), 1e-300)
        self.weight, self.bias = chance.normal(0, 1, (1, D)), chance.normal(0, 1, 1)
        empty = np.zeros((len(LENGTHS), S, 1))
        self.memory = Memory(empty, empty, self.mask, empty[:, 0], self.tokens)

    def numpy(self) -> np.ndarray:
        twin = Copy(gate={"weight": self.weight, "bias": self.bias})
        return twin(self.hidden, self.logits.copy(), self.alignment, self.memory)

    def torch(self) -> torch.Tensor:
        twin = UpperCopy(D).double()
        twin.gate.weight.data, twin.gate.bias.data = torch.tensor(self.weight), torch.tensor(self.bias)
        memory = Memory(*map(torch.tensor, self.memory[:5]))
        said: torch.Tensor = twin(*map(torch.tensor, (self.hidden, self.logits, self.alignment)), memory)
        return said.detach()

    def by_hand(self) -> np.ndarray:
        result = np.zeros_like(self.logits)
        for row, t in np.ndindex(*self.logits.shape[:2]):
            gate = 1 / (1 + math.exp(-float(self.weight[0] @ self.hidden[row, t] + self.bias[0])))
            powers = [math.exp(x) for x in self.logits[row, t]]
            shares = [gate * power / sum(powers) for power in powers]
            for place in range(S):
                token = self.tokens[self.owner[row], place]
                shares[token] += (1 - gate) * self.alignment[row, t, place]
            result[row, t] = shares
        return result


@pytest.mark.parametrize("width", [1, 2])
def test_the_mixture_by_hand(width: int) -> None:
    """Also where two hypotheses share a sentence, where an id stands several times, and where nothing can be copied."""
    given = Given(width)
    found, wanted = given.numpy(), given.by_hand()
    same(given.torch(), found)
    same(np.exp(found), wanted)
    same(np.exp(found[: 2 * width]).sum(-1), np.ones((2 * width, T)))
    assert np.isfinite(found).all()


def test_what_is_sure_stays_finite() -> None:
    """Extreme logits, gates and alignments, in both widths of numbers, forwards and backwards."""
    tokens = torch.tensor([[4, 4, 4, 5], [0, 0, 0, 0]])
    mask = torch.tensor([[True, True, True, False], [False] * 4])
    for dtype in (torch.float32, torch.float64):
        for shift in (-300.0, 0.0, 300.0):
            twin = UpperCopy(2).to(dtype)
            hidden = torch.full((2, 1, 2), shift, dtype=dtype, requires_grad=True)
            logits = torch.tensor([1e4, 0, 0, 0, -1e4, 3], dtype=dtype).expand(2, 1, 6).clone().requires_grad_()
            alignment = torch.tensor([[[1.0, 0, 0, 0]], [[0.0] * 4]], dtype=dtype, requires_grad=True)
            empty = torch.zeros(2, 4, 1, dtype=dtype)
            said = twin(hidden, logits, alignment, Memory(empty, empty, mask, empty[:, 0], tokens))
            assert torch.isfinite(said).all()
            said.sum().backward()
            for each in (hidden, logits, alignment):
                assert each.grad is not None and torch.isfinite(each.grad).all()
            weights = {name: p.detach().numpy() for name, p in twin.named_parameters()}
            memory = Memory(*(x.numpy() for x in (empty, empty, mask, empty[:, 0], tokens)))
            found = Copy(**nest(weights))(*(x.detach().numpy() for x in (hidden, logits, alignment)), memory)
            np.testing.assert_allclose(found, said.detach().numpy(), rtol=1e-5)


def test_the_gradient_of_the_loss() -> None:
    """Against finite differences, through the loss that overwrites its logits."""
    given = Given(1)
    memory = Memory(*map(torch.tensor, given.memory[:5]))
    twin = UpperCopy(D).double()
    target = torch.tensor([[4, 5, 12], [0, 6, 4], [3, 2, 1]])
    mask = torch.ones_like(target, dtype=torch.bool)

    def loss(*parts: torch.Tensor) -> torch.Tensor:
        return cross_entropy(twin(*parts, memory), target, mask)

    parts = [torch.tensor(x, requires_grad=True) for x in (given.hidden, given.logits, given.alignment)]
    grounds = torch.autograd.grad(loss(*parts), parts)
    chance = np.random.default_rng(8)
    for part, gradient in zip(parts, grounds, strict=True):
        way = torch.tensor(chance.normal(0, 1, part.shape)) * (part.detach() != 0)  # no mass on padding
        moved = ([p.detach() + size * way if p is part else p.detach() for p in parts] for size in (1e-6, -1e-6))
        ends = [loss(*each) for each in moved]
        slope = float((ends[0] - ends[1]).detach()) / 2e-6
        assert slope == pytest.approx(float((gradient * way).sum()), rel=1e-5)


def copying(**sizes: int) -> Any:
    decoder = {"type": "rnn", "copy": True, "embedding_size": 4, "stack": {"size": 3}, "attention": {"size": 2}}
    encoder = {"type": "rnn", "embedding_size": 4, "stack": {"size": 5}}
    decoder["readout_size"] = 3
    return model_config({"encoder": encoder, "decoder": decoder, **sizes}, Origin("test"))


def test_two_vocabularies_cannot_be_copied_between() -> None:
    with pytest.raises(ConfigError, match=r"^copy: 11 source ids and 12 target ids; .* set vocab\.joint = true"):
        TorchModel(copying(source_size=11, target_size=12))
    weights = TorchModel(copying(source_size=11, target_size=11)).weights()
    build_model(copying(source_size=11, target_size=11), nest(weights))
    with pytest.raises(ModelError, match="copy: 11 source ids and 12 target ids"):
        build_model(copying(source_size=11, target_size=12), nest(weights))
