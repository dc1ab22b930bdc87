"""pooling: by plain loops over the words of each sentence."""

from typing import Any

import numpy as np
import pytest
import torch

from architectures import FLOORS, SPECIAL, same, twins
from sequencing.model import Model as TorchModel
from sequencing_np.config import Origin
from sequencing_np.errors import ConfigError, ModelError
from sequencing_np.model import build_model, model_config
from sequencing_np.pooling import PoolingEncoderConfig
from sequencing_np.state import MemorySizes
from sequencing_np.weights import nest

E = 5
LENGTHS = [7, 2, 3, 1]
MASK = np.arange(7) < np.array(LENGTHS)[:, None]
IDS = np.where(MASK, np.random.default_rng(0).integers(4, 13, MASK.shape), SPECIAL.pad)


def models(encoder: dict[str, Any]) -> tuple[Any, Any]:
    """Both floors with the same random weights, in float64."""
    values = {"encoder": {"type": "pooling", "embedding_size": E, **encoder}, "decoder": {"embedding_size": 3}}
    return twins(**values)


@pytest.mark.parametrize("window", [1, 3, 5, 17])
@pytest.mark.parametrize("learned_positions", [True, False])
def test_averages(window: int, learned_positions: bool) -> None:
    """The table of positions ends after four of them; a window may be wider than the sentence."""
    ground, native = models({"window": window, "learned_positions": learned_positions, "max_positions": 4})
    weights = native.weights()
    assert ("encoder.positions.weight" in weights) == learned_positions
    words = weights["encoder.embedding.weight"]
    table = weights["encoder.positions.weight"] if learned_positions else np.zeros((4, E))
    for model in (ground, native):
        memory = model.encode(IDS, MASK)
        for row, length in enumerate(LENGTHS):
            e = [words[IDS[row, t]] + table[min(t, 3)] for t in range(length)]
            for t in range(7):
                near = [e[u] for u in range(length) if abs(u - t) <= window // 2 and t < length]
                same(memory.keys[row, t], sum(near) / len(near) if near else np.zeros(E))
                same(memory.values[row, t], e[t] if t < length else np.zeros(E))
            same(memory.summary[row], sum(e) / length)
        assert model.encoder.sizes == MemorySizes(E, E, E)


def test_projected_keys() -> None:
    ground, native = models({"attention_key_size": 3})
    weights, plain = native.weights(), models({})[1]
    plain.encoder.embedding, plain.encoder.positions = native.encoder.embedding, native.encoder.positions
    wanted = plain.encode(IDS, MASK).keys.numpy() @ weights["encoder.key.weight"].T + weights["encoder.key.bias"]
    for model in (ground, native):
        memory = model.encode(IDS, MASK)
        same(memory.keys, wanted)
        same(memory.values, plain.encode(IDS, MASK).values)
        assert model.encoder.sizes == MemorySizes(3, E, E)


@pytest.mark.parametrize("floor", FLOORS)
def test_order_is_seen_through_positions_alone(floor: str) -> None:
    """Without positions a sentence and its reverse have the same keys, reversed; in a wide window any order has."""
    every = np.ones((1, 7), dtype=bool)
    for learned_positions in (False, True):
        model = models({"learned_positions": learned_positions})[FLOORS.index(floor)]
        keys = np.asarray(model.encode(IDS[:1], every).keys)
        back = np.asarray(model.encode(IDS[:1, ::-1].copy(), every).keys)
        assert np.allclose(keys, back[:, ::-1], rtol=1e-12) != learned_positions
        wide = models({"learned_positions": learned_positions, "window": 13})[FLOORS.index(floor)]
        shuffled = IDS[:1, [3, 0, 6, 2, 5, 1, 4]]
        keys, other = (np.asarray(wide.encode(ids, every).keys) for ids in (IDS[:1], shuffled))
        same(keys, keys[:, :1].repeat(7, axis=1))
        same(keys, other)  # the same positions for other words: the mean of all is the same in any order


def test_a_sentence_of_nothing() -> None:
    mask = MASK.copy()
    mask[1] = False
    for model in models({}):
        memory = model.encode(IDS, mask)
        for part in (memory.keys, memory.values, memory.summary):
            assert not np.asarray(part[1]).any()


def test_the_table_of_positions_begins_as_the_embeddings_do() -> None:
    torch.manual_seed(5)
    config = {"encoder": {"type": "pooling", "embedding_size": 67}, "source_size": 13, "target_size": 17}
    table = TorchModel(model_config(config, Origin("test"))).encoder.positions.weight.detach()
    assert tuple(table.shape) == (1024, 67)
    assert abs(float(table.std()) * 67**0.5 - 1) < 0.02 and abs(float(table.mean())) < 0.002


@pytest.mark.parametrize(
    "wrong", [{"window": 0}, {"embedding_size": 0}, {"max_positions": 0}, {"attention_key_size": -1},
              {"embedding_dropout": 1.0}]
)  # fmt: skip
def test_settings_that_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        PoolingEncoderConfig(**wrong)


def test_windows_and_weights_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"window 4: must be odd.*set encoder\.window = 5"):
        PoolingEncoderConfig(window=4)
    ground, native = models({"learned_positions": True})
    other, _ = models({"learned_positions": False})
    with pytest.raises(ModelError, match="learned_positions"):
        build_model(other.config, nest(native.weights()))
    with pytest.raises(ModelError, match=r"positions of the shape \(1, 5\), configured \(1024, 5\)"):
        weights = native.weights()
        build_model(
            ground.config, nest({**weights, "encoder.positions.weight": weights["encoder.positions.weight"][:1]})
        )
