"""rnn: stacks and encoders against PyTorch's own over packed sequences; what follows a cell and bridges by hand."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from architectures import SPECIAL, same
from sequencing.model import ENCODERS
from sequencing.model import Model as TorchModel
from sequencing.residuals import HighwayCombiner
from sequencing_np.bridge import BRIDGES, BridgeSizes
from sequencing_np.cells import CELLS
from sequencing_np.config import Origin
from sequencing_np.errors import ConfigError, ModelError
from sequencing_np.model import build_model, model_config
from sequencing_np.residuals import COMBINERS
from sequencing_np.rnn import RNNEncoderConfig, StackConfig
from sequencing_np.state import Memory, MemorySizes
from sequencing_np.weights import nest

NATIVE = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
LENGTHS = [6, 2, 5, 1]
MASK = np.arange(6) < np.array(LENGTHS)[:, None]
IDS = np.where(MASK, np.random.default_rng(0).integers(4, 13, MASK.shape), SPECIAL.pad)
E, H = 5, 7


def models(encoder: dict[str, Any], decoder: dict[str, Any] | None = None) -> tuple[Any, Any]:
    """Both floors with the same random weights, in float64."""
    values = {"encoder": {"embedding_size": E, **encoder}, "decoder": {"embedding_size": 3, **(decoder or {})}}
    config = model_config({**values, "source_size": 13, "target_size": 17}, Origin("test"))
    torch.manual_seed(3)
    native = TorchModel(config).double().eval().requires_grad_(False)
    for parameter in native.parameters():
        nn.init.normal_(parameter, 0, 0.5)
    return build_model(config, nest(native.weights())), native


def reference(cell: str, layers: int, encoder: Any, bidirectional: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    """What PyTorch's own says of the packed batch with this encoder's weights: outputs, and the final states."""
    theirs = NATIVE[cell](E, H, layers, batch_first=True, bidirectional=bidirectional).double()
    own = dict(encoder.named_parameters())
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            kind, _, end = name.partition("_l")
            layer, _, backward = end.partition("_")
            if bidirectional:
                place = f"layers.{layer}.{'right_to_left' if backward else 'left_to_right'}"
            else:
                place = f"stack.layers.{layer}.cell"
            parameter.copy_(own[f"{place}.{kind}_l0"])
        packed = pack_padded_sequence(
            encoder.embedding(torch.tensor(IDS)), torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False
        )
        outputs, final = theirs(packed)
    padded, _ = pad_packed_sequence(outputs, batch_first=True)
    return padded.numpy(), [state.numpy() for state in (final if isinstance(final, tuple) else (final,))]


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", NATIVE)
def test_left_to_right(cell: str, layers: int) -> None:
    stack = {"cell": cell, "size": H, "layers": layers}
    ground, upper = models({"type": "rnn", "stack": stack})
    outputs, final = reference(cell, layers, upper.encoder, False)
    for model in (ground, upper):
        memory = model.encode(IDS, MASK)
        same(memory.values, outputs)
        same(memory.summary, final[0][-1])
        assert memory.keys is memory.values


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("cell", NATIVE)
def test_both_ways(cell: str, layers: int) -> None:
    stack = {"cell": cell, "size": H, "layers": layers}
    ground, upper = models({"type": "bidirectional_rnn", "stack": stack})
    outputs, final = reference(cell, layers, upper.encoder, True)
    for model in (ground, upper):
        memory = model.encode(IDS, MASK)
        same(memory.values, outputs)
        same(memory.summary, np.concatenate([final[0][-2], final[0][-1]], axis=1))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", NATIVE)
def test_states_after_the_last_token(cell: str, layers: int) -> None:
    """A decoder's stack begins at given states and hands on every layer's own; LSTM hands on both of its two."""
    ground, upper = models({"stack": {"size": 3}}, {"stack": {"cell": cell, "size": H, "layers": layers}})
    theirs = NATIVE[cell](3, H, layers, batch_first=True).double()
    chance = np.random.default_rng(1)
    x = chance.normal(0, 1, (4, 5, 3))
    begin = [chance.normal(0, 1, (layers, 4, H)) for _ in range(CELLS[cell].count)]
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            kind, _, layer = name.partition("_l")
            parameter.copy_(dict(upper.decoder.named_parameters())[f"stack.layers.{layer}.cell.{kind}_l0"])
        given = [torch.tensor(state) for state in begin]
        outputs, final = theirs(torch.tensor(x), tuple(given) if len(given) > 1 else given[0])
    wanted = [state.numpy() for state in (final if isinstance(final, tuple) else (final,))]
    for model, native in ((ground, np.asarray), (upper, torch.tensor)):
        states = tuple(tuple(native(state[layer]) for state in begin) for layer in range(layers))
        found = model.decoder.stack(native(x), states)
        same(found.outputs, outputs)
        for layer in range(layers):
            same(found.states[layer], tuple(state[layer] for state in wanted))


@pytest.mark.parametrize("option", ["residual", "layer_norm", "projection"])
@pytest.mark.parametrize("way", ["rnn", "bidirectional_rnn"])
def test_what_follows_a_cell(way: str, option: str) -> None:
    """One option at a time, over a stack of two layers of which only the second can take a residual."""
    width = H if way == "rnn" else 2 * H
    stack = {"cell": "gru", "size": H, "layers": 2, option: 3 if option == "projection" else True}
    ground, upper = models({"type": way, "stack": stack})
    weights, x = upper.weights(), np.asarray(ground.encoder.embedding(IDS))
    for layer in range(2):
        place = f"encoder.layers.{layer}" if way != "rnn" else f"encoder.stack.layers.{layer}"
        sides = ["left_to_right", "right_to_left"] if way != "rnn" else ["cell"]
        outputs = np.concatenate([gru(weights, f"{place}.{side}", x) for side in sides], axis=2)
        if option == "layer_norm":
            centred = outputs - outputs.mean(-1, keepdims=True)
            outputs = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
            outputs = outputs * weights[f"{place}.end.norm.weight"] + weights[f"{place}.end.norm.bias"]
        elif option == "projection":
            matrix = weights[f"{place}.end.projection.weight"]
            assert matrix.shape == (3, width)
            outputs = outputs @ matrix.T + weights[f"{place}.end.projection.bias"]
        elif layer == 1:
            outputs = outputs + x
        x = outputs
    for model in (ground, upper):
        same(model.encode(IDS, MASK).values, x * MASK[..., None])


def joined(combiner: str, gate: np.ndarray | None, outputs: np.ndarray, carried: list[np.ndarray]) -> np.ndarray:
    """What google/seq2seq's ExtendedMultiRNNCell makes of an output and the inputs it combines; and highways."""
    if combiner == "concat":
        return np.concatenate([outputs, carried[-1]], axis=2)
    carried = [x for x in carried if x.shape[2] == outputs.shape[2]]
    if not carried:
        return outputs
    mean = np.mean(carried, axis=0)
    if combiner == "highway":
        assert gate is not None
        share = 1 / (1 + np.exp(-gate))
        return share * outputs + (1 - share) * mean
    return outputs + (mean if combiner == "mean" else np.sum(carried, axis=0))


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("combiner", COMBINERS)
@pytest.mark.parametrize("way", ["rnn", "bidirectional_rnn"])
def test_layers_that_are_joined(way: str, combiner: str, dense: bool, alike: bool) -> None:
    """Three layers, each with its formula; words are as wide as what a layer says, or not."""
    sides = ["cell"] if way == "rnn" else ["left_to_right", "right_to_left"]
    options = {"residual": True, "residual_combiner": combiner, "residual_dense": dense}
    encoder = {"type": way, "stack": {"size": H, "layers": 3, **options}}
    ground, upper = models({**encoder, "embedding_size": len(sides) * H if alike else E})
    weights, inputs = upper.weights(), [np.asarray(ground.encoder.embedding(IDS))]
    for layer in range(3):
        place = f"encoder.layers.{layer}" if way != "rnn" else f"encoder.stack.layers.{layer}"
        outputs = np.concatenate([gru(weights, f"{place}.{side}", inputs[-1]) for side in sides], axis=2)
        gate, name = None, f"{place}.end.combiner.gate"
        if f"{name}.weight" in weights:
            gate = inputs[-1] @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
        inputs.append(joined(combiner, gate, outputs, inputs if dense else inputs[-1:]))
    for model in (ground, upper):
        same(model.encode(IDS, MASK).values, inputs[-1] * MASK[..., None])
        assert model.encoder.sizes.values == inputs[-1].shape[2]


def test_concatenated_is_dense() -> None:
    """The last input holds every layer's own: google/seq2seq's dense form repeats them, which adds no function."""
    stack = {"size": H, "layers": 3, "residual": True, "residual_combiner": "concat"}
    said = [models({"type": "rnn", "stack": {**stack, "residual_dense": dense}})[0] for dense in (False, True)]
    same(*(model.encode(IDS, MASK) for model in said))
    assert said[0].encoder.sizes.values == E + 3 * H


def test_how_a_highway_begins() -> None:
    """More is carried than changed: a bias of -1."""
    torch.manual_seed(0)
    gate = HighwayCombiner(64, [192, 64]).gate
    assert gate is not None and (gate.bias == -1).all()
    limit = (6 / 128) ** 0.5
    assert 0.99 * limit < float(gate.weight.detach().abs().max()) <= limit
    assert HighwayCombiner(64, [192]).gate is None


def test_gates_that_do_not_fit() -> None:
    stack = {"size": H, "layers": 2, "residual": True, "residual_combiner": "highway"}
    ground, upper = models({"type": "rnn", "stack": stack})
    weights, gate = upper.weights(), "encoder.stack.layers.{}.end.combiner.gate"
    narrow = {**weights, f"{gate.format(1)}.weight": np.zeros((1, H)), f"{gate.format(1)}.bias": np.zeros(1)}
    with pytest.raises(ModelError, match="a gate of width 1 for a layer of 7"):
        build_model(ground.config, nest(narrow))
    more = {**weights, f"{gate.format(0)}.weight": np.zeros((H, E)), f"{gate.format(0)}.bias": np.zeros(H)}
    with pytest.raises(ModelError, match="a gate where the widths of layers have none"):
        build_model(ground.config, nest(more))
    _, plain = models({"type": "rnn", "stack": {**stack, "residual": False}})
    with pytest.raises(ModelError, match=r"stack\.residual contradict"):
        build_model(plain.config, nest(weights))


def test_a_stack_that_says_what_it_reads_is_not_fed() -> None:
    stack = {"size": H, "residual": True, "residual_combiner": "concat"}
    with pytest.raises(ConfigError, match=r"input_feeding: .*'concat'.* set decoder\.input_feeding = false"):
        models({"type": "rnn"}, {"stack": stack, "input_feeding": True})
    models({"type": "rnn"}, {"stack": {**stack, "residual_combiner": "mean"}, "input_feeding": True})


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_directions_that_alternate(layers: int) -> None:
    """Zhou et al. 2016: PyTorch's LSTM over each sentence alone, which is turned round before every further layer."""
    dense = {"residual": True, "residual_combiner": "mean", "residual_dense": True} if layers == 3 else {}
    stack = {"cell": "lstm", "size": E, "layers": layers, **dense}
    ground, upper = models({"type": "alternating_rnn", "stack": stack})
    own = dict(upper.encoder.stack.named_parameters())
    cells = [nn.LSTM(E, E, batch_first=True).double().requires_grad_(False) for _ in range(layers)]
    for layer, cell in enumerate(cells):
        cell.load_state_dict({name: own[f"layers.{layer}.cell.{name}"] for name in cell.state_dict()})
    for row, length in enumerate(LENGTHS):
        inputs = [upper.encoder.embedding(torch.tensor(IDS[row : row + 1, :length]))]
        for layer, cell in enumerate(cells):
            x = inputs[-1].flip(1) if layer % 2 else inputs[-1]
            outputs, (end, _) = cell(x)
            outputs = outputs.flip(1) if layer % 2 else outputs
            inputs.append(outputs + torch.stack(inputs).mean(0) if dense else outputs)
        for model in (ground, upper):
            memory = model.encode(IDS, MASK)
            same(memory.values[row, :length], inputs[-1][0])
            assert not np.asarray(memory.values[row, length:]).any()
            same(memory.summary[row], inputs[-1][0, 0 if layers % 2 == 0 else -1])
            if not dense:
                same(memory.summary[row], end[0, 0])


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_state_that_all_layers_share(cell: str) -> None:
    """PyTorch's cells one by one: at each step through all layers, each going on from the state of the one below."""
    stack = {"cell": cell, "size": H, "layers": 3, "shared_state": True}
    ground, upper = models({"type": "rnn", "stack": stack}, {"stack": stack})
    own = dict(upper.encoder.stack.named_parameters())
    kind = {"lstm": nn.LSTMCell, "gru": nn.GRUCell}[cell]
    cells = [kind(E if layer == 0 else H, H).double().requires_grad_(False) for layer in range(3)]
    for layer, each in enumerate(cells):
        each.load_state_dict({name: own[f"layers.{layer}.cell.{name}_l0"] for name in each.state_dict()})
    for row, length in enumerate(LENGTHS):
        words = upper.encoder.embedding(torch.tensor(IDS[row : row + 1, :length]))
        state: Any = None
        for t in range(length):
            x = words[:, t]
            for each in cells:
                state = each(x, state)
                x = state[0] if cell == "lstm" else state
            for model in (ground, upper):
                same(model.encode(IDS, MASK).values[row, t], x[0])
        for model in (ground, upper):
            same(model.encode(IDS, MASK).summary[row], x[0])
    for model in (ground, upper):
        cache, *_ = model.decoder.start(model.encode(IDS, MASK)).cache
        assert [len(layer) for layer in cache] == [CELLS[cell].count]


@pytest.mark.parametrize("way", ["bidirectional_rnn", "alternating_rnn"])
def test_a_state_that_cannot_be_shared(way: str) -> None:
    with pytest.raises(ConfigError, match=rf"a layer of {way} .* set encoder\.stack\.shared_state = false"):
        models({"type": way, "stack": {"shared_state": True}})


def gru(weights: dict[str, np.ndarray], place: str, x: np.ndarray) -> np.ndarray:  # (B, S, D) -> (B, S, H)
    """A GRU token by token, backwards where its name says so."""
    w, u, b, c = (weights[f"{place}.{name}_l0"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    outputs = np.zeros((*x.shape[:2], H))
    for row, length in enumerate(LENGTHS):
        h = np.zeros(H)
        for t in range(length)[:: -1 if place.endswith("right_to_left") else 1]:
            given, own = w @ x[row, t] + b, u @ h + c
            reset, update = (1 / (1 + np.exp(-(given[k : k + H] + own[k : k + H]))) for k in (0, H))
            new = np.tanh(given[2 * H :] + reset * own[2 * H :])
            outputs[row, t] = h = (1 - update) * new + update * h
    return outputs


def test_projected_keys() -> None:
    ground, upper = models({"stack": {"size": H}, "attention_key_size": 3})
    weights = upper.weights()
    for model in (ground, upper):
        memory = model.encode(IDS, MASK)
        expected = np.asarray(memory.values) @ weights["encoder.key.weight"].T + weights["encoder.key.bias"]
        same(memory.keys, expected)
        assert model.encoder.sizes == MemorySizes(3, 2 * H, 2 * H)


@pytest.mark.parametrize("name", BRIDGES)
def test_bridges(name: str) -> None:
    """T-A4: for every cell, with as many vectors as its stack has states."""
    sizes = {"pass_through": 2 * H}.get(name, 11)
    decoder = {"bridge": name, "stack": {"cell": "lstm", "size": sizes, "layers": 2}}
    ground, upper = models({"stack": {"size": H}}, decoder)
    for model in (ground, upper):
        memory = model.encode(IDS, MASK)
        stack, *_ = model.decoder.start(memory).cache
        summary, weights = np.asarray(memory.summary), upper.weights()
        if name not in ("zero", "pass_through"):
            image = summary @ weights["decoder.bridge.projection.weight"].T + weights["decoder.bridge.projection.bias"]
        parts = [part for layer in stack for part in layer]
        assert [len(layer) for layer in stack] == [2, 2]
        for number, part in enumerate(parts):
            expected = np.zeros((4, sizes)) if name == "zero" else summary
            if name.endswith("projection"):
                expected = image[:, number * sizes : (number + 1) * sizes]
                expected = np.tanh(expected) if name.startswith("tanh") else expected
            elif name == "broadcast":  # h is the first half of one projection, c the second, in every layer
                assert image.shape == (4, 2 * sizes)
                expected = image[:, :sizes] if number % 2 == 0 else image[:, sizes:]
            same(part, expected)


def test_a_bridge_that_cannot_pass_through() -> None:
    with pytest.raises(ConfigError, match=r"set decoder\.stack\.size = 14"):
        models({"stack": {"size": H}}, {"bridge": "pass_through", "stack": {"size": 11}})
    assert [part.shape for part in BRIDGES["zero"](BridgeSizes(3, 5, 2, 1))(np.zeros((4, 3)))] == [(4, 5)] * 2


def test_a_memory_is_masked_with_zeros() -> None:
    for way in ("rnn", "bidirectional_rnn"):
        ground, _ = models({"type": way, "stack": {"size": H, "layer_norm": True}})
        memory = ground.encode(IDS, MASK)
        assert isinstance(memory, Memory) and not memory.values[~MASK].any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"cell": "grru"},
        {"size": 0},
        {"layers": 0},
        {"projection": -1},
        {"input_dropout": 1.0},
        {"residual_combiner": "sum"},
    ],
)
def test_stacks_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        StackConfig(**wrong)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("way", ["rnn", "bidirectional_rnn", "alternating_rnn"])
def test_one_hot_words(way: str, cell: str) -> None:
    """As an encoder that reads words as real one-hot vectors through its input matrices."""
    both = way == "bidirectional_rnn"
    sides = ["layers.0.left_to_right", "layers.0.right_to_left"] if both else ["stack.layers.0.cell"]
    stack = {"cell": cell, "size": H, "layers": 2}
    width = len(sides) * CELLS[cell].gates * H
    ground, upper = models({"type": way, "stack": stack, "one_hot": True, "embedding_size": width})
    weights = upper.weights()
    assert not [side for side in sides if f"encoder.{side}.weight_ih_l0" in weights]
    table = weights["encoder.embedding.weight"]
    plain = {**weights, "encoder.embedding.weight": np.eye(13)}
    for side, columns in zip(sides, np.split(table, len(sides), axis=1), strict=True):
        plain[f"encoder.{side}.weight_ih_l0"] = columns.T
    _, other = models({"type": way, "stack": stack, "embedding_size": 13})
    other.load_weights(plain)
    wanted = other.encode(IDS, MASK)
    for model in (ground, upper, copy.deepcopy(upper)):
        same(model.encode(IDS, MASK), wanted)
    upper.requires_grad_(True)  # gradients are wanted: the other way through the cells
    same(upper.encode(IDS, MASK).values.detach(), wanted.values)
    upper.encode(IDS, MASK).values.sum().backward()
    assert upper.encoder.embedding.weight.grad.any() and set(upper.state_dict()) == set(weights)


def test_one_hot_words_of_another_width() -> None:
    for way, width in (("rnn", 21), ("bidirectional_rnn", 42), ("alternating_rnn", 21)):
        with pytest.raises(ConfigError, match=rf"one_hot: .* set encoder\.embedding_size = {width}"):
            models({"type": way, "stack": {"size": H}, "one_hot": True})
        config = RNNEncoderConfig(way, width, stack=StackConfig(size=H), one_hot=True)
        with pytest.raises(ConfigError, match="no table of its own"):
            ENCODERS[way](config, None)
    ground, upper = models({"type": "rnn", "stack": {"size": H}, "one_hot": True, "embedding_size": 21})
    unknown = {**upper.weights(), "encoder.stack.layers.0.cell.weight_ih_l0": np.eye(21)}
    with pytest.raises(ModelError, match="one_hot, yet the first layer has an input matrix"):
        build_model(ground.config, nest(unknown))
