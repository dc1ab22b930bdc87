"""head: copying against See et al. 2017, equation 9, in plain loops; what it does to a loss and to a training run.

Mixtures of softmaxes against Yang et al. 2018, section 2.3, in the same way.
"""

import dataclasses
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from architectures import same
from sequencing.head import Copy as UpperCopy
from sequencing.loss import cross_entropy
from sequencing.model import Model as TorchModel
from sequencing.train.loop import train
from sequencing_np.config import Origin
from sequencing_np.errors import ConfigError, ModelError
from sequencing_np.head import MIXTURES, Copy
from sequencing_np.model import CONFIGS, DECODERS, build_model, model_config
from sequencing_np.state import Memory, State, select
from sequencing_np.weights import nest
from small_runs import records, small
from test_train import same_run, train_until

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


def test_an_id_of_padding_alone_is_never_copied() -> None:
    """However unlikely it is: padding changes nothing. An id that stands as a word too is copied as that word."""
    given = Given()
    given.logits[:, :, 0] = -1e4
    spoken, memory = given.logits, given.memory
    for tokens, free in ((given.tokens, 0), (np.where(given.mask, given.tokens, 4), 0)):
        given.memory = memory._replace(tokens=tokens)
        gate = given.hidden @ given.weight.T + given.bias
        highest = spoken.max(-1, keepdims=True)
        total = highest + np.log(np.exp(spoken - highest).sum(-1, keepdims=True))
        wanted = (spoken - total - np.logaddexp(0, -gate))[..., free]
        same(given.numpy()[..., free], wanted)
        same(given.torch()[..., free], wanted)
    longer = np.where(given.mask, given.tokens, 4)
    same(np.exp(given.numpy()), given.by_hand())
    assert (longer[1:] == 4).any()


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


# --- in the decoders ------------------------------------------------------------------------------------------------

COPYING = [row for row, config in CONFIGS["decoder"].items() if "copy" in {field.name for field in fields(config)}]


def copying_pair(row: str) -> Any:
    """A model that copies, on both floors, in float64 with random weights; two layers where there are several."""
    layers = {"self_attention": {"blocks": {"layers": 2, "heads": 1}}, "convolutional": {"layers": 2, "size": 5}}.get(
        row, {}
    )
    values = {
        "encoder": {"type": "rnn", "embedding_size": 7, "stack": {"size": 5}},
        "decoder": {"type": row, "copy": True, "embedding_size": 3, "attention": {"type": "general"}, **layers},
        "source_size": V,
        "target_size": V,
    }
    native = TorchModel(model_config(values, Origin("test"))).double().eval().requires_grad_(False)
    for parameter in native.parameters():
        parameter.normal_(0, 0.6, generator=torch.Generator().manual_seed(parameter.numel()))
    return build_model(native.config, nest(native.weights())), native


def test_who_copies() -> None:
    """All but the decoder that looks at no words."""
    assert set(DECODERS) - set(COPYING) == {"fixed_vector"}
    for row in DECODERS:
        decoder = {"type": row, **({"copy": True} if row in COPYING else {})}
        assert model_config({"decoder": decoder}, Origin("test")).copies == (row in COPYING)
        assert not model_config({"decoder": {"type": row}}, Origin("test")).copies


@pytest.mark.parametrize("row", COPYING)
def test_decoders_mix_what_their_head_says(row: str) -> None:
    """Against the head alone and the alignment that is said, in plain loops; two rows share a memory, as beams do."""
    given, tokens = Given(), np.random.default_rng(3).integers(4, V, (4, T))
    ids, mask = given.tokens[:2], given.mask[:2]
    for model in copying_pair(row):
        state = model.decoder.start(model.encode(ids, mask))
        state = State(state.memory, select(state.cache, model.arrays.native(np.array([0, 0, 1, 1]))))
        output, _ = model.decoder.step(model.arrays.native(tokens), state)
        written, gates = (np.asarray(part(output.hidden)) for part in (model.decoder.head, model.decoder.copy.gate))
        alignment, said = np.asarray(output.alignment), np.exp(np.asarray(output.logits))
        for r, t in np.ndindex(*tokens.shape):
            gate, powers = 1 / (1 + math.exp(-gates[r, t, 0])), [math.exp(x) for x in written[r, t]]
            shares = [gate * power / sum(powers) for power in powers]
            for token, share in zip(ids[r // 2], alignment[r, t], strict=True):
                shares[token] += (1 - gate) * share
            np.testing.assert_allclose(said[r, t], shares, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("row", COPYING)
def test_the_mixture_is_not_rounded_to_bfloat16(row: str) -> None:
    """Where matrix products are, the mixture is float32: it holds the gate's share and the alignment's, and learns."""
    given, model = Given(), copying_pair(row)[1].float().train().requires_grad_(True)
    tokens = torch.randint(4, V, (2, T), generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = model.decoder.step(tokens, model.decoder.start(model.encode(given.tokens[:2], given.mask[:2])))
        assert torch.nn.functional.linear(torch.ones(2, 2), torch.ones(2, 2)).dtype == torch.bfloat16
    assert output.logits.dtype == torch.float32
    gate = torch.sigmoid(model.decoder.copy.gate(output.hidden.float())[..., 0])
    paid = output.alignment.double().sum(-1)  # bfloat16 on some devices: one up to its rounding
    wanted = gate.double() + (1 - gate.double()) * paid
    torch.testing.assert_close(output.logits.double().exp().sum(-1), wanted, rtol=0, atol=2e-6)
    output.logits[..., 4].sum().backward()
    for name, parameter in model.decoder.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
    assert model.decoder.copy.gate.weight.grad.any()


def test_the_mixture_in_bfloat16_is_that_of_what_it_was_given() -> None:
    """Its inputs may be rounded, itself it rounds nothing: it says what it says of the same numbers in float64."""
    given, twin = Given(2), UpperCopy(D)
    memory = Memory(*map(torch.tensor, given.memory[:5]))
    rounded = [torch.tensor(x).bfloat16() for x in (given.hidden, given.logits, given.alignment)]
    with torch.autocast("cpu", torch.bfloat16):
        found = twin(*rounded, memory)
    wanted = twin.double()(*(x.double() for x in rounded), memory)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)


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


# --- mixtures of softmaxes ------------------------------------------------------------------------------------------


def mixing_pair(name: str, row: str = "rnn", **settings: Any) -> Any:
    """A model whose head mixes, on both floors, in float64 with random weights."""
    values = {
        "encoder": {"type": "rnn", "embedding_size": 7, "stack": {"size": 4}},
        "decoder": {"type": row, "head": name, "head_size": 4, "embedding_size": 4, **settings},
        "source_size": V,
        "target_size": V,
    }
    native = TorchModel(model_config(values, Origin("test"))).double().eval()
    with torch.no_grad():
        for parameter in native.parameters():
            parameter.normal_(0, 0.9, generator=torch.Generator().manual_seed(parameter.numel()))
    return build_model(native.config, nest(native.weights())), native


def mixed_by_hand(head: Any, x: np.ndarray, count: int) -> np.ndarray:  # (R, T, D) -> (R, T, V)
    """The probabilities of Yang et al. 2018, section 2.3, in plain loops."""
    parts = {name: part.detach().numpy() for name, part in head.named_parameters()}
    result = np.zeros((*x.shape[:2], V))
    for r, t in np.ndindex(*x.shape[:2]):
        shares = np.exp(parts["shares.weight"] @ x[r, t] + parts["shares.bias"])
        contexts = np.tanh(parts["contexts.weight"] @ x[r, t] + parts["contexts.bias"]).reshape(count, -1)
        for share, context in zip(shares / shares.sum(), contexts, strict=True):
            powers = np.exp(parts["output.weight"] @ context + parts["output.bias"])
            result[r, t] += share * powers / powers.sum()
    return result


@pytest.mark.parametrize("name", MIXTURES)
@pytest.mark.parametrize("tied", [False, True])
def test_softmaxes_are_mixed_as_by_hand(name: str, tied: bool) -> None:
    """On both floors, and among some ids alone."""
    below, above = mixing_pair(name, tie_embeddings=tied)
    assert (above.decoder.head.output.weight is above.decoder.embedding.weight) == tied
    x = np.random.default_rng(1).normal(0, 1, (2, T, above.decoder.readout.size))
    wanted, ids = mixed_by_hand(above.decoder.head, x, MIXTURES[name]), np.array([2, 5, 12])
    for decoder, given in ((below.decoder, x), (above.decoder, torch.tensor(x))):
        said = decoder.head(given)
        np.testing.assert_allclose(np.exp(decoder.arrays.host(said)), wanted, rtol=1e-9)
        few = decoder.among(decoder.arrays.native(ids))(given)
        np.testing.assert_allclose(np.exp(decoder.arrays.host(few)), wanted[..., ids], rtol=1e-9)


def test_a_mixture_can_say_what_one_softmax_cannot() -> None:
    """With vectors of one number, log-probabilities of places lie on a line; mixed ones do not (the bottleneck)."""
    ranks = {}
    for name in ("tanh", "mixture_4"):
        _, above = mixing_pair(name, head_size=1)
        x = torch.randn(1, 40, above.decoder.readout.size, generator=torch.Generator().manual_seed(2)).double()
        said = torch.log_softmax(above.decoder.head(x)[0], dim=-1).detach()
        ranks[name] = int(torch.linalg.matrix_rank(said - said.mean(dim=0), rtol=1e-6))
    assert ranks["tanh"] <= 2 < ranks["mixture_4"], ranks


@pytest.mark.parametrize("row", DECODERS)
def test_the_gradient_of_a_mixture(row: str) -> None:
    """Against finite differences through the whole decoder and the loss that overwrites its logits."""
    _, model = mixing_pair("mixture_2", row)
    assert not model.decoder.linear
    given = Given()
    tokens = torch.randint(4, V, (2, T), generator=torch.Generator().manual_seed(1))

    def loss() -> torch.Tensor:
        memory = model.encode(given.tokens[:2], given.mask[:2])
        logits = model.decoder.step(tokens, model.decoder.start(memory))[0].logits
        return cross_entropy(logits, tokens, torch.ones_like(tokens, dtype=torch.bool), 0.1)

    head = dict(model.decoder.head.named_parameters())
    for parameter, gradient in zip(head.values(), torch.autograd.grad(loss(), list(head.values())), strict=True):
        way = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)).double()
        ends = []
        for size in (1e-6, -2e-6):
            with torch.no_grad():
                parameter += size * way
                ends.append(float(loss()))
        with torch.no_grad():
            parameter += 1e-6 * way
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(float((gradient * way).sum()), rel=1e-4, abs=1e-7)


def test_extreme_logits_are_mixed_without_overflow() -> None:
    below, above = mixing_pair("mixture_2")
    x = np.full((1, 1, above.decoder.readout.size), 1e4)
    for decoder, given in ((below.decoder, x), (above.decoder, torch.tensor(x))):
        assert np.isfinite(decoder.arrays.host(decoder.head(given))).all()


def test_a_head_of_another_number_is_refused() -> None:
    _, above = mixing_pair("mixture_2")
    decoder = dataclasses.replace(above.config.decoder, head="mixture_4")
    with pytest.raises(ModelError, match="the head mixes 2 softmaxes, and the configuration says 4"):
        build_model(dataclasses.replace(above.config, decoder=decoder), nest(above.weights()))


def test_a_run_with_a_mixture(tmp_path: Path) -> None:
    """With a teacher that mixes, and from its own answers, too; a stopped run goes on to the same bits."""
    settings = ["model.decoder.head=mixture_2", "model.decoder.head_size=16", "train.steps=4"]
    train(small(tmp_path / "data", *settings), tmp_path / "one")
    train_until(small(tmp_path / "data", *settings), tmp_path / "two", 2)
    train(small(tmp_path / "data", *settings), tmp_path / "two")
    same_run(tmp_path / "two", tmp_path / "one")
    train(small(tmp_path / "data", *settings, f"train.distill.teacher={tmp_path / 'one'}"), tmp_path / "taught")
    own = ["train.objective.type=reinforce", "train.objective.cross_entropy=0.1", "train.objective.samples=2"]
    train(small(tmp_path / "data", *settings, *own), tmp_path / "rewarded")
    for name in ("taught", "rewarded"):
        losses = [record["loss"] for record in records(tmp_path / name / "metrics.jsonl") if record["kind"] == "train"]
        assert losses and np.isfinite(losses).all()
