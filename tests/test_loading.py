"""loading: which folder a path means, which device a name means, and what is refused."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from architectures import DRAWN, SPECIAL, architecture, name_of, sources
from sequencing.cells import CELLS
from sequencing.layers import Linear
from sequencing.loading import choose_device, load_translator, model_folder_of, search_of
from sequencing.model import Model
from sequencing.precision import on_cpu
from sequencing.self_attention import FeedForward
from sequencing.short import ByteLinear, ShortFactors, ShortLinear, shorten
from sequencing_np.beam import BeamFeedBack
from sequencing_np.blocks import BlocksConfig
from sequencing_np.decode import dynamic_decode
from sequencing_np.errors import ModelError, UsageError
from sequencing_np.limits import Limits
from sequencing_np.model_folder import read_model_folder
from sequencing_np.search import SearchConfig
from sequencing_np.translate import Translator
from tiny_models import SOURCES, write_model, write_run

bytes_multiply = pytest.mark.skipif(not torch.cpu._is_vnni_supported(), reason="needs a CPU that multiplies bytes")


def test_best_then_last(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert model_folder_of(run) == model_folder_of(run, "best") == run / "best"
    assert model_folder_of(run, "last") == run / "last" == model_folder_of(run / "last")
    (run / "best").rename(tmp_path / "bare")
    assert model_folder_of(run) == run / "last", "the best of a run without held-out data"
    assert model_folder_of(tmp_path / "bare") == tmp_path / "bare"
    (run / "last").rename(tmp_path / "other")
    write_model(run / "best")
    with pytest.raises(ModelError, match=r"holds no model \(last\); train first"):
        model_folder_of(run, "last")


def test_folders_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder; give a run folder or a model folder"):
        model_folder_of(tmp_path / "none")
    with pytest.raises(ModelError, match=r"holds no model \(best or last\)"):
        model_folder_of(tmp_path)
    with pytest.raises(ModelError):
        load_translator(tmp_path / "none")


def test_a_translator_from_a_run(tmp_path: Path) -> None:
    """Ready to search: no dropout, no gradients, the folder's own weights and limits, the runtime's answers."""
    run = write_run(tmp_path / "run")
    translator = load_translator(run, "cpu", "last")
    parts = read_model_folder(run / "last")
    assert translator.limits == parts.limits
    assert not translator.model.training  # type: ignore[attr-defined]
    assert not any(parameter.requires_grad for parameter in translator.model.parameters())  # type: ignore[attr-defined]
    weights = translator.model.weights()  # type: ignore[attr-defined]
    assert all(np.array_equal(weights[name], array) for name, array in parts.weights.items())
    ground = Translator.load(run / "last")
    for beam in (1, 4):
        one, other = (part.translate(SOURCES, SearchConfig(beam=beam)) for part in (translator, ground))
        assert [said.text for said in one] == [said.text for said in other]


def test_who_asks_keeps_nothing_for_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inference mode, in which a small model says an eighth more sentences a second."""
    translator, seen = load_translator(write_run(tmp_path / "run"), "cpu"), list[bool]()
    decoder: Any = translator.model.decoder
    step = decoder.step
    monkeypatch.setattr(decoder, "step", lambda *given: seen.append(torch.is_inference_mode_enabled()) or step(*given))
    translator.translate(SOURCES, SearchConfig(beam=2))
    translator.score([(source, source) for source in SOURCES])
    "".join(translator.stream_text(SOURCES[0], SearchConfig(beam=1)))
    assert len(seen) > 3 and all(seen) and not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("precision", ["bfloat16", pytest.param("int8", marks=bytes_multiply)])
def test_products_in_short_numbers(tmp_path: Path, precision: str) -> None:
    """Nearly the same scores, whoever shares the batch, and logits in float32."""
    run = write_run(tmp_path / "run")
    exact, short = (load_translator(run, "cpu", precision=name) for name in ("float32", precision))
    pairs = [(source, source) for source in SOURCES]
    scores = [[scored.log_prob for scored in translator.score(pairs)] for translator in (exact, short)]
    assert scores[0] != scores[1]
    np.testing.assert_allclose(scores[1], scores[0], rtol=0.05, atol=0.05)
    alone = [short.translate([source])[0].text for source in SOURCES]
    assert alone == [said.text for said in short.translate(SOURCES)]
    memory = short.model.encode(np.array([[4, 3]]), np.ones((1, 2), dtype=bool))
    output, _ = short.model.decoder.step(torch.tensor([[2]]), short.model.decoder.start(memory))
    assert output.logits.dtype == torch.float32


@pytest.mark.parametrize("index", DRAWN, ids=name_of)
def test_every_model_answers_in_bfloat16(index: int) -> None:
    """Nearly the same, at once and token by token, logits and what is looked at in float32; a beam finds answers."""
    torch.manual_seed(index)
    config = architecture(index)
    models = [Model(config).eval().requires_grad_(False) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    shorten(models[1], "bfloat16")
    assert any(isinstance(module, ShortLinear | ShortFactors) for module in models[1].modules())
    tokens = torch.from_numpy(np.random.default_rng(index).integers(1, config.target_size, (4, 4)))
    with torch.inference_mode():
        memories = [model.encode(*sources(config, seed=index)) for model in models]
        exact, short = (
            model.decoder.step(tokens, model.decoder.start(memory))[0]
            for model, memory in zip(models, memories, strict=True)
        )
        decoder = models[1].decoder
        state, parts = decoder.start(memories[1]), []
        for t in range(4):
            output, state = decoder.step(tokens[:, t : t + 1], state)
            parts.append(output.logits)
        found = dynamic_decode(decoder, memories[1], BeamFeedBack(SPECIAL, 3, Limits(1.0, 4), alignments=True))
    assert short.logits.dtype == short.alignment.dtype == torch.float32 and all(found)
    one, other, steps = (logits.log_softmax(-1) for logits in (exact.logits, short.logits, torch.cat(parts, dim=1)))
    assert (one - other).abs().max() < 0.1 and (steps - other).abs().max() < 0.05


@pytest.mark.parametrize("name", ["ssru", "min_gru", "min_lstm"])
@pytest.mark.parametrize("precision", ["bfloat16", pytest.param("int8", marks=bytes_multiply)])
def test_cells_that_do_not_wait_multiply_in_short_numbers(name: str, precision: str) -> None:
    torch.manual_seed(1)
    cell = CELLS[name](24, 16)
    x, before = torch.randn(3, 5, 24), torch.randn(3, 16)
    with torch.no_grad():
        cell.bias_ih_l0.normal_()
        exact = cell.run(x, (before,)).outputs
        shorten(torch.nn.Sequential(cell), precision)
        short = cell.run(x, (before,)).outputs
    assert 0 < (short - exact).abs().max() < 0.1


def test_a_precision_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "run")
    for name in ("float8", "float16"):
        with pytest.raises(UsageError, match=f"'{name}': a model answers in float32, bfloat16, int8, auto"):
            load_translator(run, "cpu", precision=name)
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    with pytest.raises(UsageError, match="int8: needs a CPU that multiplies bytes"):
        load_translator(run, "cpu", precision="int8")


@pytest.mark.parametrize("rows", [1, 31, 64, 300])
def test_products_in_bfloat16(rows: int) -> None:
    """Exact products of rounded factors, whether or not the matrix lies as oneDNN likes it; the sum is rounded last."""
    torch.manual_seed(rows)
    linear, x = Linear(24, 40), torch.randn(rows, 24)
    with torch.no_grad():
        linear.bias.normal_()
        short_x, weight, bias = (part.bfloat16().double() for part in (x, linear.weight, linear.bias))
        sums = short_x @ weight.T
        for ready in (True, False):
            inner, factors = ShortLinear(linear), ShortFactors(linear)
            if not ready:
                inner.packed = factors.packed = None
            torch.testing.assert_close(inner(x).double(), sums + bias, rtol=2**-8, atol=2**-8)
            assert inner(x).dtype == torch.float32 and torch.equal(inner(x), inner(x).bfloat16().float())
            inner.chained = True
            assert inner(x).dtype == torch.bfloat16
            assert inner(x.bfloat16()).dtype == torch.bfloat16
            some = torch.arange(39, -1, -2)
            torch.testing.assert_close(factors.rows(some)(x), factors(x)[:, some], rtol=0.02, atol=0.02)
            if on_cpu():
                torch.testing.assert_close(factors(x).double(), sums + linear.bias, rtol=1e-5, atol=1e-5)


def test_a_feed_forward_layer_stays_short_between_its_maps() -> None:
    """With rectified units that changes nothing, as the second map rounds what it reads."""
    torch.manual_seed(1)
    layer, x = FeedForward(BlocksConfig(feed_forward_size=48), 24), torch.randn(2, 3, 24)
    with torch.no_grad():
        exact = layer(x)
        layer.decoder = SimpleNamespace(head=None)
        shorten(layer, "bfloat16")
        assert layer.inner.chained and not layer.outer.chained
        said = layer(x)
        layer.inner.chained = False
        assert torch.equal(said, layer(x)) and 0 < (said - exact).abs().max() < 0.1


@bytes_multiply
def test_a_product_of_bytes() -> None:
    """Against integers in NumPy; rows of zeros, of any size, alone and together, with a bias and without."""
    chance = np.random.default_rng(1)
    for rows, inputs, outputs, bias in ((1, 3, 5, True), (40, 64, 300, True), (300, 33, 7, False)):
        linear = Linear(inputs, outputs, bias=bias)
        x = (chance.normal(size=(rows, inputs)) * chance.lognormal(0, 3, (rows, 1))).astype(np.float32)
        x[rows // 2] = 0
        weight = linear.weight.detach().numpy()
        of_x, of_weight = (np.maximum(np.abs(part).max(axis=1, keepdims=True), 1e-30) / 127 for part in (x, weight))
        sums = np.rint(x / of_x).astype(np.int64) @ np.rint(weight / of_weight).astype(np.int64).T
        wanted = sums * of_x.astype(np.float64) * of_weight.T
        with torch.no_grad():
            if bias:
                linear.bias.normal_()
                wanted = wanted + linear.bias.numpy()
            short = ByteLinear(linear)
            said = short(torch.from_numpy(x))
            assert all(
                torch.equal(short(torch.from_numpy(row[None]))[0], part) for row, part in zip(x, said, strict=True)
            )
            some = torch.tensor([outputs - 1, 0, 2])
            assert torch.equal(short.rows(some)(torch.from_numpy(x)), said[:, some])
        np.testing.assert_allclose(said, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


def test_damaged_weights(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ModelError, match=r"weights\.safetensors: differs from manifest\.json"):
        load_translator(folder)


def test_how_a_run_searches(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert search_of(run) == SearchConfig(beam=3, length_penalty="gnmt")
    assert search_of(run / "best") == SearchConfig(), "a bare model folder has no settings of its own"
    assert search_of(tmp_path / "none") == SearchConfig()
    for content in (b"[]", b"{", b"\xff", b'{"search": {"beem": 3}}', b'{"search": 3}', b'{"search": {"beam": 0}}'):
        (run / "config.json").write_bytes(content)
        with pytest.raises(ModelError, match=r"config\.json: cannot be read"):
            search_of(run)
    (run / "config.json").write_bytes(json.dumps({}).encode())
    assert search_of(run) == SearchConfig()


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "cuda:999", "", "cpu:x", "tpu"):
        with pytest.raises(UsageError, match=f"device '{name}'.*use auto, cpu, cuda or cuda:1"):
            choose_device(name)
