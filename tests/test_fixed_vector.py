"""fixed_vector: the decoder against its formulas word by word, over a memory made by hand; settings that cannot be."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sequencing
import sequencing_np
from architectures import same
from sequencing.train.loop import train
from sequencing_np.errors import ConfigError
from sequencing_np.fixed_vector import FixedVectorDecoderConfig
from sequencing_np.rnn import StackConfig
from sequencing_np.state import Memory, MemorySizes, State, select
from sequencing_np.weights import nest
from small_runs import records, small

B, S, T, D, H, V = 4, 5, 7, 3, 11, 13
LENGTHS = [5, 2, 0, 3]
MASK = np.arange(S) < np.array(LENGTHS)[:, None]
SIZES = MemorySizes(2, 2, D)
VARIANTS: dict[str, dict[str, Any]] = {
    "repeat the vector (the Keras guide)": {"embedding_size": H},
    "its teacher-forced form, Cho et al. 2014": {"read_words": True, "bridge": "tanh_projection"},
    "Sutskever et al. 2014": {"read_words": True, "peek": False, "bridge": "projection"},
    "no words, a hidden layer": {"head": "tanh", "head_size": 5, "embedding_size": 5},
}
each_variant = pytest.mark.parametrize("variant", VARIANTS)


def memory(seed: int = 0) -> Memory:
    """A memory of random numbers, whose third sentence has no token."""
    chance = np.random.default_rng(seed)
    values = chance.normal(0, 1, (B, S, 2)) * MASK[..., None]
    return Memory(values, values, MASK, chance.normal(0, 1, (B, D)), np.zeros((B, S), dtype=np.int64))


def native(tree: Memory) -> Memory:
    return Memory(*map(torch.tensor, tree[:5]))


def decoders(layers: int = 1, **settings: Any) -> tuple[Any, Any]:
    """Both floors with the same random weights, in float64."""
    stack = StackConfig(cell="rnn", size=H, layers=layers)
    config = FixedVectorDecoderConfig(
        **{"embedding_size": 5, "stack": stack, "tie_embeddings": not settings.get("read_words", False), **settings}
    )
    torch.manual_seed(1)
    table = sequencing.LookUpOp(V, config.embedding_size)
    upper = sequencing.FixedVectorDecoder(config, SIZES, table).double().eval().requires_grad_(False)
    for parameter in upper.parameters():
        nn.init.normal_(parameter, 0, 0.6)
    weights = {name: parameter.numpy() for name, parameter in upper.named_parameters()}
    return sequencing_np.FixedVectorDecoder(config, SIZES, **nest(weights)), upper


def tokens(rows: int = B) -> np.ndarray:
    return np.random.default_rng(2).integers(0, V, (rows, T))


@each_variant
def test_word_by_word(variant: str) -> None:
    """The formulas in plain loops over sentences and words, with a stack of one Elman cell."""
    settings = VARIANTS[variant]
    ground, upper = decoders(**settings)
    own = {name: parameter.numpy() for name, parameter in upper.named_parameters()}
    cell = {name.rpartition(".")[2]: part for name, part in own.items() if ".cell." in name}
    given, ids = memory(), tokens()
    hidden, logits = np.empty((B, T, H)), np.empty((B, T, V))
    for row in range(B):
        summary, h = given.summary[row], np.zeros(H)
        if "bridge" in settings:
            h = own["bridge.projection.weight"] @ summary + own["bridge.projection.bias"]
            h = np.tanh(h) if settings["bridge"] == "tanh_projection" else h
        for t in range(T):
            x = own["embedding.weight"][ids[row, t]] if settings.get("read_words") else np.zeros(0)
            if settings.get("peek", True):
                x = np.concatenate([x, summary])
            h = np.tanh(cell["weight_ih_l0"] @ x + cell["bias_ih_l0"] + cell["weight_hh_l0"] @ h + cell["bias_hh_l0"])
            hidden[row, t] = h
            if settings.get("head") == "tanh":
                h_out = np.tanh(own["head.hidden.weight"] @ h + own["head.hidden.bias"])
            else:
                h_out = h
            matrix = own.get("head.output.weight", own["embedding.weight"])
            logits[row, t] = matrix @ h_out + own["head.output.bias"]
    even = np.array([[1 / max(n, 1) if s < n else 0 for s in range(S)] for n in LENGTHS])
    for decoder, start, ask in ((ground, given, ids), (upper, native(given), torch.tensor(ids))):
        output, _ = decoder.step(ask, decoder.start(start))
        same(tuple(output), (logits, hidden, np.repeat(even[:, None], T, axis=1)))
        assert not np.asarray(output.alignment)[2].any()


@each_variant
def test_rows_of_a_beam_share_their_sentence(variant: str) -> None:
    """Three rows a sentence over a memory of four are as twelve sentences."""
    ids, rows = tokens(3 * B), np.repeat(np.arange(B), 3)
    for decoder, given, made in zip(
        decoders(layers=2, **VARIANTS[variant]), (memory(), native(memory())), (np.asarray, torch.tensor), strict=True
    ):
        state = decoder.start(given)
        shared, _ = decoder.step(made(ids), State(state.memory, select(state.cache, made(rows))))
        own, _ = decoder.step(made(ids), decoder.start(select(given, made(rows))))
        same(shared, own)


def test_what_is_not_read_is_not_known() -> None:
    """Without words, other words change nothing; without peeking, the summary tells of itself through the bridge."""
    ids = tokens()
    for settings, blind in (({"embedding_size": H}, True), ({"read_words": True}, False)):
        ground, _ = decoders(**settings)
        one, _ = ground.step(ids, ground.start(memory()))
        other, _ = ground.step((ids + 1) % V, ground.start(memory()))
        assert np.array_equal(one.logits, other.logits) == blind
    for settings, blind in (({"peek": False}, True), ({"peek": True}, False)):
        ground, _ = decoders(read_words=True, bridge="projection", **settings)
        (begin, *_), given = ground.start(memory()), memory()
        state = State(begin._replace(summary=given.summary + 1), ground.start(given).cache)
        one, _ = ground.step(ids, ground.start(given))
        other, _ = ground.step(ids, state)
        assert np.array_equal(one.logits, other.logits) == blind


def test_its_dropout() -> None:
    """Of what the head reads, while training and never else."""
    _, upper = decoders(read_words=True, output_dropout=0.5)
    given, ids = native(memory()), torch.tensor(tokens())
    whole, _ = upper.step(ids, upper.start(given))
    torch.manual_seed(3)
    output, _ = upper.train().step(ids, upper.start(given))
    dropped = output.hidden == 0
    assert 0.35 < dropped.double().mean() < 0.65
    torch.testing.assert_close(output.hidden, torch.where(dropped, 0.0, 2 * whole.hidden))


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [
        ({"peek": False, "bridge": "projection"}, r"set decoder\.peek = true"),
        ({"peek": False, "read_words": True}, r"set decoder\.bridge = projection"),
        ({"tie_embeddings": False}, r"set decoder\.read_words = true"),
        ({"bridge": "none"}, "bridge"),
        ({"head": "none"}, "head"),
        ({"head_size": 0}, "head_size 0"),
        ({"embedding_size": 0}, "embedding_size 0"),
        ({"output_dropout": 1.0}, "output_dropout 1.0"),
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, Any], advice: str) -> None:
    with pytest.raises(ConfigError, match=advice):
        FixedVectorDecoderConfig(**wrong)


def test_widths_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match="tie_embeddings: the table has width 5, the head's last layer reads 11"):
        decoders()
    with pytest.raises(ConfigError, match=r"set decoder\.stack\.size = 3"):
        decoders(embedding_size=H, bridge="pass_through")


@pytest.mark.parametrize("words", ["false", "true"])
def test_it_is_trained(tmp_path: Path, words: str) -> None:
    """The loss falls, with the command's own loop: what the stack says need not lie in one piece."""
    decoder = ["type=fixed_vector", "embedding_size=32", "stack={size=32}", f"read_words={words}"]
    settings = ["model.decoder={}", *(f"model.decoder.{setting}" for setting in decoder)]
    train(small(tmp_path, *settings, "train.steps=60", "train.log_every=10"), tmp_path / "run")
    losses = [record["loss"] for record in records(tmp_path / "run" / "metrics.jsonl") if record["kind"] == "train"]
    assert losses[-1] < 0.8 * losses[0]
