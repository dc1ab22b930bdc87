"""light_convolution: against PyTorch's own depthwise convolution, word by word against the formula, and mistakes."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import conv1d, glu, linear, pad

import sequencing.light_convolution as upper
import sequencing_np.light_convolution as ground
from architectures import same
from sequencing_np.blocks import BlocksConfig, Scope
from sequencing_np.config import Origin
from sequencing_np.errors import ConfigError, ModelError
from sequencing_np.model import model_config
from sequencing_np.weights import nest

D, H, K = 12, 3, 5
LENGTHS = [7, 2, 4, 1]
MASK = np.arange(7) < np.array(LENGTHS)[:, None]
X = np.random.default_rng(0).normal(size=(4, 7, D))


def floors(kind: str, kernel: int = K) -> tuple[Any, upper.LightConvolution]:
    """Both floors with the same random weights, in float64; nothing of the dropout may be seen."""
    config = BlocksConfig(heads=H, kernel=kernel, attention_dropout=0.3)
    torch.manual_seed(1)
    native = upper.LightConvolution(config, D, weights_type=getattr(upper, kind)).double().eval().requires_grad_(False)
    for parameter in native.parameters():
        parameter.normal_(0, 0.5)
    weights = nest({name: array.numpy() for name, array in native.state_dict().items()})
    return ground.LightConvolution(config, D, weights_type=getattr(ground, kind), **weights), native


def said(kind: str, mask: np.ndarray | None) -> list[np.ndarray]:
    """What both floors make of X."""
    ours, native = floors(kind)
    wide = None if mask is None else torch.tensor(mask)
    on_torch, _ = native(torch.tensor(X), Scope(None, torch.arange(7)[None], wide), native.begin(torch.tensor(X)))
    on_numpy, _ = ours(X, Scope(None, np.arange(7)[None], mask), ours.begin(X))
    return [on_numpy, on_torch.numpy()]


def mapped(native: upper.LightConvolution, place: str, x: Tensor) -> Tensor:
    weights = native.state_dict()
    return linear(x, weights[f"{place}.weight"], weights[f"{place}.bias"])


@pytest.mark.parametrize("causal", [False, True])
def test_fixed_weights_are_a_depthwise_convolution(causal: bool) -> None:
    """Section 3: each sentence alone, a kernel of its own for each channel, the same within a head, made a mean."""
    _, native = floors("FixedWeights")
    scores = native.state_dict()["weights.scores"]
    kernels = torch.softmax(scores, dim=1).repeat_interleave(D // H, dim=0)[:, None]  # (D, 1, K)
    margins = (K - 1, 0) if causal else (K // 2, K // 2)
    for found in said("FixedWeights", None if causal else MASK):
        for row, length in enumerate(LENGTHS):
            x = glu(mapped(native, "input", torch.tensor(X[row, :length])), dim=-1).T[None]
            wanted = mapped(native, "output", conv1d(pad(x, margins), kernels, groups=D)[0].T)
            same(found[row, :length], wanted.numpy())


@pytest.mark.parametrize("causal", [False, True])
def test_dynamic_weights_word_by_word(causal: bool) -> None:
    """Section 4: the weights of a place are a map of what stands there; what is beyond the ends is zero."""
    _, native = floors("DynamicWeights")
    scores = native.state_dict()["weights.scores.weight"].view(H, K, D)
    left = K - 1 if causal else K // 2
    for found in said("DynamicWeights", None if causal else MASK):
        for row, length in enumerate(LENGTHS):
            x = glu(mapped(native, "input", torch.tensor(X[row, :length])), dim=-1)
            mixed = torch.zeros_like(x)
            for t in range(length):
                for channel in range(D):
                    weights = torch.softmax(scores[channel // (D // H)] @ x[t], dim=0)
                    for k in range(K):
                        if 0 <= t - left + k < length:
                            mixed[t, channel] += weights[k] * x[t - left + k, channel]
            same(found[row, :length], mapped(native, "output", mixed).numpy())


@pytest.mark.parametrize("kind", ["FixedWeights", "DynamicWeights"])
def test_a_kernel_of_one_sees_the_word_alone(kind: str) -> None:
    ours, native = floors(kind, kernel=1)
    x = torch.tensor(X)
    wanted = mapped(native, "output", glu(mapped(native, "input", x), dim=-1)).numpy()
    same(ours(X, Scope(None, np.arange(7)[None], None), ours.begin(X))[0], wanted)
    same(native(x, Scope(None, torch.arange(7)[None], None), native.begin(x))[0].numpy(), wanted)


def test_weights_of_another_shape() -> None:
    _, native = floors("FixedWeights")
    weights = nest({name: array.numpy() for name, array in native.state_dict().items()})
    for kernel, heads in ((K + 2, H), (K, 2 * H)):
        with pytest.raises((ConfigError, ModelError), match=r"mixer\.weights\.scores"):
            config = BlocksConfig(heads=heads, kernel=kernel)
            ground.LightConvolution(config, D, weights_type=ground.FixedWeights, **weights)
    with pytest.raises((ConfigError, ModelError), match=r"mixer\.input"):
        ground.LightConvolution(BlocksConfig(heads=H, kernel=K), 2 * D, weights_type=ground.FixedWeights, **weights)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"mixer": "light"}, "light_convolution"),
        ({"mixer": "gru"}, "dynamic_convolution"),
        ({"mixer": "light_convolution", "blocks": {"kernel": 4}}, r"set encoder\.blocks\.kernel = 5"),
        ({"mixer": "dynamic_convolution", "blocks": {"positions": "t5"}}, r"set encoder\.blocks\.positions = none"),
        ({"mixer": "dynamic_convolution", "blocks": {"kernel": 0}}, "1 or more"),
    ],
)
def test_mistakes(settings: dict[str, Any], word: str) -> None:
    values = {"source_size": 9, "target_size": 9, "encoder": {"type": "self_attention", **settings}}
    with pytest.raises(ConfigError, match=word):
        model_config(values, Origin("test"))


@pytest.mark.parametrize(("kind", "shape"), [("FixedWeights", (8, 15)), ("DynamicWeights", (8 * 15, 64))])
def test_how_it_begins(kind: str, shape: tuple[int, int]) -> None:
    """Glorot and Bengio 2010, equation 16: uniform up to sqrt(6 / (in + out)), each half of what is gated by itself."""
    torch.manual_seed(5)
    native = upper.LightConvolution(BlocksConfig(heads=8, kernel=15), 64, weights_type=getattr(upper, kind))
    scores = native.state_dict()["weights.scores" if kind == "FixedWeights" else "weights.scores.weight"]
    assert scores.shape == shape
    for each in (*native.input.weight.chunk(2), native.output.weight, scores):
        matrix = each.detach()
        limit = (6 / sum(matrix.shape)) ** 0.5
        assert 0.9 * limit < matrix.abs().max() <= limit
        assert abs(float(matrix.std()) / (limit / 3**0.5) - 1) < 0.15
    assert not native.input.bias.any() and not native.output.bias.any()
