"""cnn: against PyTorch's own convolution and gate, sentence by sentence and without padding, and by the formulas."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, glu, linear, softmax

import sequencing.cnn as upper
import sequencing_np.cnn as ground
from architectures import FLOORS, SPECIAL, same, twins
from sequencing.model import Model as TorchModel
from sequencing_np.attention import AttentionConfig
from sequencing_np.errors import ConfigError, ModelError
from sequencing_np.model import build_model
from sequencing_np.state import MemorySizes, Output, State
from sequencing_np.weights import nest

E, D = 5, 7
LENGTHS = [6, 2, 3, 1]
CHANCE = np.random.default_rng(0)
MASK = np.arange(6) < np.array(LENGTHS)[:, None]
IDS = np.where(MASK, CHANCE.integers(4, 13, MASK.shape), SPECIAL.pad)
TOKENS = CHANCE.integers(4, 17, (4, 8))


def models(encoder: dict[str, Any], decoder: dict[str, Any] | None = None) -> tuple[Any, Any]:
    """Both floors with the same random weights, in float64; nothing of the dropout may be seen."""
    values = {
        "encoder": {"type": "convolutional", "embedding_size": E, "size": D, "dropout": 0.3, **encoder},
        "decoder": {"type": "convolutional", "embedding_size": E, "size": D, "dropout": 0.3, **(decoder or {})},
    }
    return twins(**values)


def gated(weights: dict[str, Tensor], place: str, x: Tensor, before: int, after: int) -> Tensor:  # (1, T, D)
    """PyTorch's convolution and gate over one sentence with so many zeros at its ends."""
    kernel = weights[f"{place}.weight"].reshape(2 * D, D, -1)
    assert kernel.shape[2] == before + after + 1
    padded = nn.functional.pad(x.transpose(1, 2), (before, after))
    return glu(conv1d(padded, kernel, weights[f"{place}.bias"]), dim=1).transpose(1, 2)


def mapped(weights: dict[str, Tensor], place: str, x: Tensor) -> Tensor:
    return linear(x, weights[f"{place}.weight"], weights[f"{place}.bias"])


def vectors(weights: dict[str, Tensor], part: str, ids: np.ndarray) -> Tensor:  # (T,) -> (1, T, E)
    """Words plus positions; the last row of the table serves what is past its end."""
    table = weights[f"{part}.positions.weight"]
    rows = [weights[f"{part}.embedding.weight"][word] + table[min(t, len(table) - 1)] for t, word in enumerate(ids)]
    return torch.stack(rows)[None]


def encoded(weights: dict[str, Tensor], ids: np.ndarray, layers: int) -> tuple[Tensor, Tensor]:  # 2 x (1, S, E)
    """Section 3.2, for one sentence alone: z, and (z + e) scaled."""
    entering = vectors(weights, "encoder", ids)
    h = mapped(weights, "encoder.inner", entering)
    for layer in range(layers):
        half = weights["encoder.layers.0.weight"].shape[1] // D // 2
        h = (gated(weights, f"encoder.layers.{layer}", h, half, half) + h) * 0.5**0.5
    keys = mapped(weights, "encoder.outer", h)
    return keys, (keys + entering) * 0.5**0.5


def decoded(weights: dict[str, Tensor], tokens: np.ndarray, keys: Tensor, values: Tensor, layers: int) -> Output:
    """Section 3.3 with dot attention, for one sentence alone; the context goes through a map where there is one."""
    entering = vectors(weights, "decoder", tokens)
    x, looks = mapped(weights, "decoder.inner", entering), []
    for layer in range(layers):
        place = f"decoder.layers.{layer}"
        kernel = weights[f"{place}.convolution.weight"].shape[1] // D
        h = gated(weights, f"{place}.convolution", x, kernel - 1, 0)
        query = (mapped(weights, f"{place}.query", h) + entering) * 0.5**0.5
        looks.append(softmax(query @ keys.transpose(1, 2), dim=-1))
        context = looks[-1] @ values * keys.shape[1] ** 0.5
        if f"{place}.context.weight" in weights:
            context = mapped(weights, f"{place}.context", context)
        x = ((h + context) * 0.5**0.5 + x) * 0.5**0.5
    hidden = mapped(weights, "decoder.outer", x)
    return Output(mapped(weights, "decoder.head.output", hidden), hidden, sum(looks, torch.tensor(0.0)) / layers)


def weights_of(native: TorchModel) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in native.named_parameters()}


# --- against PyTorch's own ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("steps", [1, 2, 6])
def test_a_convolution(kernel: int, steps: int) -> None:
    """The weight is that of a Conv1d with its last two axes joined."""
    native = nn.Conv1d(D, 2 * D, kernel).double().requires_grad_(False)
    x = CHANCE.normal(0, 1, (4, steps + kernel - 1, D))
    wanted = glu(native(torch.tensor(x).transpose(1, 2)), dim=1).transpose(1, 2)
    weights = {"weight": native.weight.flatten(1), "bias": native.bias}
    above = upper.Convolution(D, kernel, 1.0).double()
    above.load_state_dict(weights)
    same(above(torch.tensor(x)).detach(), wanted)
    below = ground.Convolution(D, kernel, **{name: weight.numpy() for name, weight in weights.items()})
    before = x.copy()
    same(below(x), wanted)
    same(x, before, 0)


@pytest.mark.parametrize(("layers", "kernel"), [(1, 3), (2, 1), (2, 5), (3, 3)])
def test_encoder(layers: int, kernel: int) -> None:
    ground, native = models({"layers": layers, "kernel": kernel})
    for model in (ground, native):
        memory = model.encode(IDS, MASK)
        for row, length in enumerate(LENGTHS):
            keys, values = encoded(weights_of(native), IDS[row, :length], layers)
            same((memory.keys[row, :length], memory.values[row, :length]), (keys[0], values[0]))
            same(memory.summary[row], values[0].mean(dim=0))
            assert not np.asarray(memory.keys[row, length:]).any() and not np.asarray(memory.values[row, length:]).any()
        assert model.encoder.sizes == MemorySizes(E, E, E)


@pytest.mark.parametrize(("layers", "kernel", "width"), [(1, 3, E), (2, 1, 3), (2, 4, E), (3, 2, D)])
def test_decoder(layers: int, kernel: int, width: int) -> None:
    """Each layer has an attention of its own; where the context has the convolution's width, it needs no map."""
    encoder = {"layers": 2, "embedding_size": width}
    ground, native = models(encoder, {"layers": layers, "kernel": kernel, "embedding_size": width})
    weights = weights_of(native)
    assert ("decoder.layers.0.context.weight" in weights) == (width != D)
    for model in (ground, native):
        memory = model.encode(IDS, MASK)
        output, _ = model.decoder.step(model.arrays.native(TOKENS), model.decoder.start(memory))
        for row, length in enumerate(LENGTHS):
            wanted = decoded(weights, TOKENS[row], *encoded(weights, IDS[row, :length], 2), layers)
            same((output.logits[row], output.hidden[row]), (wanted.logits[0], wanted.hidden[0]))
            same(output.alignment[row, :, :length], wanted.alignment[0])


def test_projected_keys() -> None:
    ground, native = models({"layers": 2, "attention_key_size": 3}, {"attention": {"type": "general"}})
    weights = weights_of(native)
    for model in (ground, native):
        memory = model.encode(IDS, MASK)
        for row, length in enumerate(LENGTHS):
            keys, values = encoded(weights, IDS[row, :length], 2)
            same(memory.keys[row, :length], mapped(weights, "encoder.key", keys)[0])
            same(memory.values[row, :length], values[0])
        assert model.encoder.sizes == MemorySizes(3, E, E)


# --- positions, and what a decoder carries --------------------------------------------------------------------------


@pytest.mark.parametrize("floor", FLOORS)
def test_positions_past_the_end_share_the_last_row(floor: str) -> None:
    """On both sides, at once and word by word."""
    short = models({"max_positions": 3, "layers": 2}, {"max_positions": 2, "layers": 2})
    weights = weights_of(short[1])
    model = short[FLOORS.index(floor)]
    memory = model.encode(IDS, MASK)
    keys, values = encoded(weights, IDS[0], 2)
    same(memory.values[0], values[0])
    wanted = decoded(weights, TOKENS[0], keys, values, 2)
    state = model.decoder.start(memory)
    for t in range(TOKENS.shape[1]):
        output, state = model.decoder.step(model.arrays.native(TOKENS[:, t : t + 1]), state)
        same(output.logits[0, 0], wanted.logits[0, t])


@pytest.mark.parametrize("kernel", [1, 2, 4, 5])
@pytest.mark.parametrize("floor", FLOORS)
def test_what_is_carried(floor: str, kernel: int) -> None:
    """The last kernel - 1 inputs of each layer, also where fewer tokens came: then zeros stand before them."""
    model = models({}, {"layers": 2, "kernel": kernel})[FLOORS.index(floor)]
    native, start = model.arrays.native, model.decoder.start(model.encode(IDS, MASK))
    assert not any(np.asarray(before).any() for before, _ in start.cache[0])
    whole, after = model.decoder.step(native(TOKENS), start)
    for cuts in ([1] * 8, [2, 5, 1], [7, 1]):
        state, said = start, []
        for part in np.split(TOKENS, np.cumsum(cuts)[:-1], axis=1):
            output, state = model.decoder.step(native(part), state)
            said.append(np.asarray(output.logits))
            assert [tuple(before.shape) for before, _ in state.cache[0]] == [(4, kernel - 1, D)] * 2
        same(np.concatenate(said, axis=1), whole.logits)
        same(state, after)
    assert len(after.memory) == 2 and np.asarray(after.cache[2]).tolist() == [[8]] * 4


@pytest.mark.parametrize("floor", FLOORS)
def test_rows_may_have_read_differently_much(floor: str) -> None:
    """The counter is each row's own."""
    model = models({"layers": 1}, {"layers": 2})[FLOORS.index(floor)]
    native, memory = model.arrays.native, model.encode(IDS[:1], MASK[:1])
    states = []
    for read in (2, 3):
        _, state = model.decoder.step(native(TOKENS[:1, :read]), model.decoder.start(memory))
        states.append(state)
    joined = State(states[0].memory, together([state.cache for state in states], model.arrays))
    output, _ = model.decoder.step(native(TOKENS[[1, 1], :2]), joined)
    for row, state in enumerate(states):
        own, _ = model.decoder.step(native(TOKENS[1:2, :2]), state)
        same(output.logits[row : row + 1], own.logits)


def together(trees: list[Any], arrays: Any) -> Any:
    """The rows of several nested tuples under each other."""
    if isinstance(trees[0], tuple):
        return tuple(together(list(parts), arrays) for parts in zip(*trees, strict=True))
    return arrays.native(np.concatenate([np.asarray(tree) for tree in trees]))


def test_nothing_of_the_future_is_seen() -> None:
    """Not through the convolution, not through the attention: later words change no earlier logits."""
    for model in models({}, {"layers": 3, "kernel": 4}):
        native, state = model.arrays.native, model.decoder.start(model.encode(IDS, MASK))
        changed = TOKENS.copy()
        changed[:, 5:] = 4
        first, second = (model.decoder.step(native(tokens), state)[0].logits for tokens in (TOKENS, changed))
        same(first[:, :5], second[:, :5], 0)
        assert not np.allclose(np.asarray(first)[:, 5:], np.asarray(second)[:, 5:])


# --- how it begins, and how it learns -------------------------------------------------------------------------------


@pytest.mark.parametrize("dropout", [0.0, 0.36])
def test_initialisation(dropout: float) -> None:
    """Section 3.5: sqrt(4 p / n) before a gated linear unit, else sqrt(p / n); p is 1 where nothing is dropped."""
    torch.manual_seed(5)
    kept, sizes = 1 - dropout, MemorySizes(97, 97, 97)
    table = upper.LookUpOp(31, 89)
    encoder = upper.ConvolutionalEncoder(
        ground.ConvolutionalEncoderConfig(embedding_size=89, size=101, layers=2, kernel=5, dropout=dropout), table
    )
    config = ground.ConvolutionalDecoderConfig(
        embedding_size=89, size=101, layers=2, kernel=4, dropout=dropout, attention=AttentionConfig("general")
    )
    decoder = upper.ConvolutionalDecoder(config, sizes, table)
    wanted = {"inner": kept / 89, "outer": 1 / 101, "query": 1 / 101, "context": 1 / 97}
    convolutions = {encoder: 4 * kept / (101 * 5), decoder: 4 * kept / (101 * 4)}
    seen = set()
    for part, variance in convolutions.items():
        for name, parameter in part.named_parameters():
            kind, values = name.removesuffix(".weight").rpartition(".")[2], parameter.detach()
            if name.endswith("bias"):
                assert not values.any(), name
            elif (kind in wanted or kind.isdigit() or kind == "convolution") and ".attention." not in name:
                assert abs(float(values.std()) / wanted.get(kind, variance) ** 0.5 - 1) < 0.03, name
                assert abs(float(values.mean())) < 0.05 * float(values.std()), name
                seen.add("convolution" if kind.isdigit() else kind)
    assert seen == {*wanted, "convolution"}


def test_every_weight_learns_and_dropout_is_for_training() -> None:
    _, native = models({"layers": 2, "attention_key_size": E}, {"layers": 2})
    tokens = torch.tensor(TOKENS)

    def logits() -> Tensor:
        logits: Tensor = native.decoder.step(tokens, native.decoder.start(native.encode(IDS, MASK)))[0].logits
        return logits

    same(logits(), logits(), 0)
    native.train().requires_grad_(True)
    assert not torch.equal(logits(), logits())
    logits().logsumexp(-1).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in native.parameters())


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_where_dropout_stands(dropout: float) -> None:
    """On what enters and on each convolution's input; at the end on what the head reads."""
    _, native = models({"layers": 3, "dropout": dropout}, {"layers": 2, "dropout": dropout})
    shapes: list[list[int]] = []
    for module in native.modules():
        if isinstance(module, upper.Dropout) and module.share:
            module.register_forward_hook(lambda _, __, x: shapes.append(list(x.shape)))
    native.decoder.step(torch.tensor(TOKENS), native.decoder.start(native.encode(IDS, MASK)))
    encoder = [[4, 6, E], *[[4, 6, D]] * 3]
    decoder = [[4, 8, E], *[[4, 8, D]] * 2, [4, 8, E]]
    assert shapes == (encoder + decoder if dropout else [])


# --- what cannot be -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 0}, {"layers": 0}, {"kernel": 0}, {"max_positions": 0}, {"dropout": 1.0}, {"embedding_size": 0},
        {"embedding_dropout": -0.1},
    ],
)  # fmt: skip
def test_settings_that_cannot_be(wrong: dict[str, Any]) -> None:
    for config in (ground.ConvolutionalEncoderConfig, ground.ConvolutionalDecoderConfig):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            config(**wrong)


def test_kernels_and_widths_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"kernel 4: must be odd.*set encoder\.kernel = 5"):
        ground.ConvolutionalEncoderConfig(kernel=4)
    with pytest.raises(ConfigError, match="attention_key_size"):
        ground.ConvolutionalEncoderConfig(attention_key_size=-1)
    with pytest.raises(ConfigError, match="head"):
        ground.ConvolutionalDecoderConfig(head="linera")
    with pytest.raises(ConfigError, match="head_size"):
        ground.ConvolutionalDecoderConfig(head_size=0)
    assert ground.ConvolutionalDecoderConfig(kernel=4).attention.type == "dot"
    with pytest.raises(ConfigError, match=r"set encoder\.attention_key_size = 3"):
        models({}, {"embedding_size": 3})
    models({"attention_key_size": 3}, {"embedding_size": 3})


def test_weights_that_only_fit_each_other() -> None:
    """A map and its bias of one unit could be stretched over the width they are added to."""
    ground, native = models({"layers": 2}, {"layers": 2})
    weights = native.weights()
    for place in ("encoder.inner", "decoder.inner", "decoder.layers.0.query", "decoder.layers.1.context"):
        single = {f"{place}.{name}": weights[f"{place}.{name}"][:1] for name in ("weight", "bias")}
        with pytest.raises(ModelError):
            build_model(ground.config, nest({**weights, **single}))
    fewer = {name: weight for name, weight in weights.items() if ".layers.1." not in name}
    with pytest.raises(ModelError, match="1 layers of weights, 2 configured"):
        build_model(ground.config, nest(fewer))
