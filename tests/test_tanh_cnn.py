"""tanh_cnn: against PyTorch's own convolutions, sentence by sentence and without padding."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv1d

from architectures import SPECIAL, same, twins
from sequencing.tanh_cnn import TanhConvolutions
from sequencing_np.errors import ConfigError, ModelError
from sequencing_np.model import build_model
from sequencing_np.state import MemorySizes
from sequencing_np.tanh_cnn import ConvolutionsConfig, TanhConvolutionalEncoderConfig
from sequencing_np.weights import nest

E = 5
LENGTHS = [6, 2, 3, 1]
MASK = np.arange(6) < np.array(LENGTHS)[:, None]
IDS = np.where(MASK, np.random.default_rng(0).integers(4, 13, MASK.shape), SPECIAL.pad)


def models(**encoder: Any) -> tuple[Any, Any]:
    """Both floors with the same random weights, in float64."""
    values = {"encoder": {"type": "tanh_convolutional", "embedding_size": E, **encoder}}
    return twins(**values)


def stacked(weights: dict[str, np.ndarray], stack: str, x: Tensor) -> Tensor:  # (1, S, E) -> (1, S, D)
    """The loop of google/seq2seq's ConvEncoder over one sentence."""
    x, layer = x.transpose(1, 2), 0
    while f"encoder.{stack}.layers.{layer}.weight" in weights:
        weight, bias = (torch.tensor(weights[f"encoder.{stack}.layers.{layer}.{name}"]) for name in ("weight", "bias"))
        said = conv1d(x, weight.reshape(len(weight), x.shape[1], -1), bias, padding="same")
        if layer > 0:
            said = said + x
        x, layer = torch.tanh(said), layer + 1
    return x.transpose(1, 2)


@pytest.mark.parametrize("places", [1024, 4])
@pytest.mark.parametrize(("key", "value"), [((7, 3, 3), (3, 1, 5)), ((E, 1, 1), (E, 2, 3)), ((3, 2, 5), (7, 3, 1))])
def test_two_stacks(key: tuple[int, int, int], value: tuple[int, int, int], places: int) -> None:
    names = ("size", "layers", "kernel")
    settings = {name: dict(zip(names, shape, strict=True)) for name, shape in (("keys", key), ("values", value))}
    ground, native = models(**settings, max_positions=places)
    weights = native.weights()
    for model in (ground, native):
        memory = model.encode(IDS, MASK)
        for row, length in enumerate(LENGTHS):
            rows = np.minimum(np.arange(length), places - 1)
            table = weights["encoder.embedding.weight"][IDS[row, :length]] + weights["encoder.positions.weight"][rows]
            keys, values = (stacked(weights, stack, torch.tensor(table[None]))[0] for stack in settings)
            same((memory.keys[row, :length], memory.values[row, :length]), (keys, values))
            same(memory.summary[row], values.mean(dim=0))
            assert not np.asarray(memory.keys[row, length:]).any() and not np.asarray(memory.values[row, length:]).any()
        assert model.encoder.sizes == MemorySizes(key[0], value[0], value[0])


def test_projected_keys() -> None:
    ground, native = models(keys={"size": 7, "layers": 1}, values={"size": 3, "layers": 1}, attention_key_size=11)
    weights = native.weights()
    found = [model.encode(IDS, MASK).keys for model in (ground, native)]
    assert ground.encoder.sizes == native.encoder.sizes == MemorySizes(11, 3, 3)
    ground.encoder.key = None
    for keys in found:
        same(keys, ground.encode(IDS, MASK).keys @ weights["encoder.key.weight"].T + weights["encoder.key.bias"])


def test_how_convolutions_begin() -> None:
    """Glorot-uniform over whole windows (Glorot and Bengio 2010, equation 16); biases zero."""
    torch.manual_seed(0)
    first, second = TanhConvolutions(ConvolutionsConfig(64, 2, 3), 32, 0.0).layers
    for layer, read in ((first, 96), (second, 192)):
        limit = (6 / (64 + read)) ** 0.5
        weight = layer.weight.detach()
        assert weight.shape == (64, read) and not layer.bias.detach().any()
        assert 0.99 * limit < float(weight.abs().max()) <= limit
        assert abs(float(weight.std()) / (limit / 3**0.5) - 1) < 0.03


def test_settings_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"kernel 4: must be odd, .* take 5"):
        ConvolutionsConfig(kernel=4)
    for wrong in ({"size": 0}, {"layers": 0}, {"kernel": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            ConvolutionsConfig(**wrong)
    for other in ({"dropout": 1.0}, {"embedding_dropout": -0.1}, {"max_positions": 0}, {"attention_key_size": -1}):
        with pytest.raises(ConfigError, match=next(iter(other))):
            TanhConvolutionalEncoderConfig(**other)  # type: ignore[arg-type]


def test_weights_of_another_depth() -> None:
    _, native = models(keys={"size": 7, "layers": 2}, values={"size": 3, "layers": 1})
    deeper, _ = models(keys={"size": 7, "layers": 3}, values={"size": 3, "layers": 1})
    with pytest.raises(ModelError, match="2 layers of weights, 3 configured"):
        build_model(deeper.config, nest(native.weights()))
    wider, _ = models(keys={"size": 7, "layers": 2, "kernel": 5}, values={"size": 3, "layers": 1})
    with pytest.raises(ModelError, match=r"configured is 5 to 7, kernel 5"):
        build_model(wider.config, nest(native.weights()))
