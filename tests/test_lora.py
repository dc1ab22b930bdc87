"""lora: W x + b + (alpha / r) B A x, only that learns, and what is saved is an ordinary model of the same answers."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from architectures import DRAWN, Case, architecture, name_of, sources
from sequencing.freezing import freeze
from sequencing.lora import LowRankLinear, adapt, merged
from sequencing.loss import OfFeatures, OfLogits, Wanted
from sequencing.model import Model
from sequencing.optim import OPTIMIZERS
from sequencing.train_config import TrainConfig
from sequencing_np.errors import ConfigError

RANK, ALPHA = 2, 3.0


def adapted(index: int, on: tuple[str, ...] = ("*",)) -> tuple[Model, dict[str, LowRankLinear]]:
    """One of the random architectures in float64, adapted, no part of it zero."""
    torch.manual_seed(index)
    model = Model(architecture(index)).double().eval()
    layers = adapt(model, 1, ALPHA, on)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.4)
    return model, layers


def fits(index: int) -> bool:
    """Whether an architecture has a linear layer that is larger than its parts of rank 1."""
    tables = [layer.weight for layer in Model(architecture(index)).modules() if isinstance(layer, nn.Linear)]
    return any(min(table.shape) > 2 for table in tables)


# --- one layer ------------------------------------------------------------------------------------------------------


def layer(bias: bool = True) -> LowRankLinear:
    torch.manual_seed(2)
    made = LowRankLinear(nn.Linear(7, 5, bias).double(), RANK, ALPHA)
    with torch.no_grad():
        made.up.weight.normal_()
    return made


@pytest.mark.parametrize("bias", [True, False])
def test_the_formula(bias: bool) -> None:
    """Hu et al. 2021, equation 3, in plain loops; and the matrix that both are together."""
    made = layer(bias)
    x = torch.randn(7, dtype=torch.float64)
    w, a, b = (part.detach().tolist() for part in (made.base.weight, made.down.weight, made.up.weight))
    offset = made.base.bias.tolist() if bias else [0.0] * 5
    inner = [sum(a[k][i] * float(x[i]) for i in range(7)) for k in range(RANK)]
    wanted = [
        sum(w[o][i] * float(x[i]) for i in range(7)) + offset[o] + 1.5 * sum(b[o][k] * inner[k] for k in range(RANK))
        for o in range(5)
    ]
    np.testing.assert_allclose(made(x).tolist(), wanted, rtol=1e-12)
    whole = [[w[o][i] + 1.5 * sum(b[o][k] * a[k][i] for k in range(RANK)) for i in range(7)] for o in range(5)]
    np.testing.assert_allclose(made.weight.tolist(), whole, rtol=1e-12)
    assert (made.bias is made.base.bias) and (made.bias is not None) == bias
    assert "rank=2, scale=1.5" in repr(made)


def test_it_begins_as_it_was() -> None:
    """B is zero, so the first answer is the old one; A is not, so that B learns at once."""
    base = nn.Linear(7, 5).double()
    made = LowRankLinear(base, RANK, ALPHA)
    x = torch.randn(3, 7, dtype=torch.float64)
    assert torch.equal(made(x), base(x)) and torch.equal(made.weight, base.weight)
    made(x).sum().backward()
    assert made.up.weight.grad is not None and bool(made.up.weight.grad.any())
    assert base.weight.grad is None and base.bias.grad is None
    deviation = float(LowRankLinear(nn.Linear(64, 99), 32, 1).down.weight.detach().std())
    assert deviation == pytest.approx(1 / 8, rel=0.1)


def test_asked_for_its_matrix_it_learns_the_same() -> None:
    """The output layer's matrix is read by the loss: the parts learn through it as through the answer."""
    gradients = []
    x, ids = torch.randn(1, 11, 7, dtype=torch.float64), torch.arange(11) % 5
    for late in (False, True):
        made = layer()
        wanted = Wanted(ids)
        whole, _ = OfFeatures.apply(x, made.weight, made.bias, wanted) if late else OfLogits.apply(made(x), wanted)
        whole.backward()
        assert made.base.weight.grad is None
        gradients.append((made.down.weight.grad, made.up.weight.grad))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_short_products_leave_the_matrix_wide() -> None:
    made = LowRankLinear(nn.Linear(7, 5), RANK, ALPHA)
    with torch.autocast("cpu", torch.bfloat16):
        assert made.weight.dtype == torch.float32 and made(torch.randn(3, 7)).dtype == torch.bfloat16


# --- a model --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [index for index in DRAWN[::2] if fits(index)], ids=name_of)
def test_merged_is_an_ordinary_model_of_the_same_answers(index: int) -> None:
    model, layers = adapted(index)
    plain = Model(architecture(index)).double().eval()
    names = list(plain.weights())
    weights = merged(model.weights(), layers)
    assert set(weights) == set(names), "the ordinary names, and no others"
    plain.load_weights(weights)
    said = [answer(each, index) for each in (model, plain)]
    torch.testing.assert_close(*said, rtol=1e-9, atol=1e-9)
    assert not torch.allclose(said[0], answer(without(model, layers), index))


def answer(model: Model, index: int) -> torch.Tensor:
    """The logits of two steps."""
    with torch.inference_mode():
        batch = sources(architecture(index), seed=index)
        memory = model.encode(*batch)
        case = Case(model.config, model, batch, memory)
        return case.model.decoder.step(torch.tensor([[4, 5]] * 4), case.model.decoder.start(memory))[0].logits


def without(model: Model, layers: dict[str, LowRankLinear]) -> Model:
    """The same, its low-rank parts zero."""
    with torch.no_grad():
        for each in layers.values():
            each.up.weight.zero_()
    return model


@pytest.mark.parametrize("index", [index for index in DRAWN[::5] if fits(index)], ids=name_of)
def test_the_parts_come_back(index: int) -> None:
    """What a checkpoint holds is all there is: names, and numbers to the bit."""
    one, _ = adapted(index)
    other, _ = adapted(index)
    kept = {name: array.copy() for name, array in one.weights().items()}
    without(other, {})
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_weights(kept)
    assert all(np.array_equal(array, kept[name]) for name, array in other.weights().items())
    assert torch.equal(answer(one, index), answer(other, index))


def two() -> nn.Module:
    torch.manual_seed(3)
    made = nn.Module()
    made.encoder = nn.ModuleDict({"table": nn.Embedding(11, 7), "layer": nn.Linear(7, 7), "small": nn.Linear(7, 2)})
    made.encoder["square"] = nn.Linear(4, 4)
    made.decoder = nn.ModuleDict(
        {"layers": nn.ModuleList([nn.Linear(7, 7), nn.Linear(7, 7)]), "output": nn.Linear(7, 11)}
    )
    made.decoder["output"].weight = made.encoder["table"].weight
    return made


def test_which_layers() -> None:
    """All that fit; not the tied one, which is a table, nor one that is as small as its parts would be."""
    assert list(adapt(two(), 2, ALPHA, ("*",))) == ["encoder.layer", "decoder.layers.0", "decoder.layers.1"]
    assert list(adapt(two(), 1, ALPHA, ("*",)))[:3] == ["encoder.layer", "encoder.small", "encoder.square"]
    assert list(adapt(two(), 2, ALPHA, ("decoder.*.1", "encoder.l*"))) == ["encoder.layer", "decoder.layers.1"]
    assert list(adapt(two(), 3, ALPHA, ("*",))), "rank 3: 3 (7 + 7) = 42 numbers and not 49"
    whole = two()
    layers = adapt(whole, 2, ALPHA, ("decoder.layers.*",))
    decoder: Any = whole.decoder
    assert [decoder["layers"][k] for k in (0, 1)] == list(layers.values())


def test_only_the_parts_move_and_what_is_not_frozen() -> None:
    """Freezing comes first: "*" is the paper's way, and the low-rank parts learn all the same."""
    for patterns, others in (
        ((), {"encoder.table.weight", "encoder.small.weight", "encoder.small.bias", "decoder.output.bias"}),
        (("*",), set()),
        (("*", "!decoder.output.bias"), {"decoder.output.bias"}),
    ):
        whole = two()
        freeze(whole, patterns)
        layers = adapt(whole, 2, ALPHA, ("*",))
        moves = OPTIMIZERS["adamw"](whole, TrainConfig(weight_decay=0.1))
        before = {name: parameter.detach().clone() for name, parameter in whole.named_parameters()}
        encoder: Any = whole.encoder
        decoder: Any = whole.decoder
        for _ in range(2):  # A begins to move when B is no longer zero
            x = encoder["layer"](encoder["table"](torch.arange(11)))
            y = decoder["output"](decoder["layers"][1](decoder["layers"][0](x)))
            (y.pow(2).sum() + encoder["small"](x).pow(2).sum()).backward()
            moves.step()
        moved = {name for name, parameter in whole.named_parameters() if not torch.equal(parameter, before[name])}
        assert moved == others | {f"{name}.{part}.weight" for name in layers for part in ("down", "up")}


@pytest.mark.parametrize(
    ("rank", "on", "words"),
    [
        (2, ("*", "encodr.*"), r"train.lora.on: 'encodr\.\*' fits no linear layer's name; nearest: encoder\.\*"),
        (2, ("encoder.table",), "fits no linear layer's name"),
        (
            2,
            ("encoder.small", "decoder.output"),
            r"of the 2 linear layers that on = \['encoder.small', 'decoder.output'\]",
        ),
        (2, ("encoder.square",), "no larger than its parts of rank 2 would be"),
        (4, ("*",), "each is a table of embeddings or no larger than its parts of rank 4 would be; lower rank"),
    ],
)
def test_what_cannot_be_adapted(rank: int, on: tuple[str, ...], words: str) -> None:
    whole = two()
    with pytest.raises(ConfigError, match=words):
        adapt(whole, rank, ALPHA, on)
    assert not any(isinstance(each, LowRankLinear) for each in whole.modules())


def test_nothing_is_merged_where_nothing_is_adapted() -> None:
    model = Model(architecture(0))
    weights = model.weights()
    assert merged(weights, {}) == weights
