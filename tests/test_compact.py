"""compact: what float16 and int8 keep of weights, what is refused, and model folders that hold them."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sequencing.__main__ import main
from sequencing.loading import load_translator
from sequencing_np.compact import KINDS, SCALE, compact, widened
from sequencing_np.errors import ModelError
from sequencing_np.manifest import MANIFEST, write_manifest
from sequencing_np.model_folder import WEIGHTS, read_model_folder
from sequencing_np.translate import Translator
from sequencing_np.weights import read_safetensors, write_safetensors
from tiny_models import write_run

FLOATS = st.floats(-1e4, 1e4, width=32)
MATRICES = arrays.arrays(np.float32, st.tuples(st.integers(0, 7), st.integers(0, 11)), elements=FLOATS)
LINES = ["ein zwei drei", "fünf und vier", "zwei"]


@given(MATRICES)
def test_int8_rounds_by_half_a_step_at_most(matrix: np.ndarray) -> None:
    stored = compact({"w": matrix}, "int8")
    assert stored["w"].dtype == np.int8 and stored["w" + SCALE].shape == matrix.shape[:1]
    found = widened(stored, "here")["w"]
    step = np.abs(matrix).max(axis=1, initial=0).astype(np.float64) / 127
    assert found.dtype == np.float32 and found.shape == matrix.shape
    assert (np.abs(found.astype(np.float64) - matrix) <= 0.5001 * step[:, None] + 1e-30).all()
    again = compact({"w": found}, "int8")
    np.testing.assert_array_equal(again["w"], stored["w"], "what was rounded stays as it is")


def test_int8_is_what_pytorch_makes_of_it() -> None:
    """torch.quantize_per_channel with the same scales."""
    matrix = np.random.default_rng(3).normal(size=(5, 13)).astype(np.float32)
    stored = compact({"w": matrix}, "int8")
    scales = torch.from_numpy(stored["w" + SCALE])
    with torch.no_grad():
        theirs = torch.fake_quantize_per_channel_affine(
            torch.from_numpy(matrix), scales, torch.zeros(5, dtype=torch.int32), 0, -127, 127
        )
    np.testing.assert_allclose(widened(stored, "here")["w"], theirs.numpy(), rtol=1e-6)


@given(MATRICES)
def test_float16_is_the_nearest(matrix: np.ndarray) -> None:
    found = widened(compact({"w": matrix}, "float16"), "here")["w"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, torch.from_numpy(matrix).half().float().numpy())


def test_what_is_left_as_it_is() -> None:
    weights: dict[str, Any] = {"b": np.array([0.1, 3e38], np.float32), "n": np.arange(3), "w": np.zeros((2, 3))}
    for kind in ("float32", "int8"):
        stored = compact(weights, kind)
        assert (stored["b"] == weights["b"]).all() and stored["n"] is weights["n"]
    assert not widened(compact(weights, "int8"), "here")["w"].any(), "rows of zeros"
    with pytest.raises(ModelError, match=r"weight b: float16 holds numbers up to 65504, .*; use --weights float32"):
        compact(weights, "float16")


BAD: dict[str, dict[str, np.ndarray]] = {
    "no scales": {"w": np.zeros((2, 3), np.int8)},
    "too few": {"w": np.zeros((2, 3), np.int8), "w" + SCALE: np.ones(1, np.float32)},
    "too many axes": {"w": np.zeros((2, 3), np.int8), "w" + SCALE: np.ones((2, 1), np.float32)},
    "of another type": {"w": np.zeros((2, 3), np.int8), "w" + SCALE: np.ones(2, np.float64)},
    "no matrix": {"w": np.zeros(2, np.int8), "w" + SCALE: np.ones(2, np.float32)},
    "of nothing": {"w" + SCALE: np.ones(2, np.float32)},
    "of floats": {"w": np.zeros((2, 3), np.float32), "w" + SCALE: np.ones(2, np.float32)},
}


@pytest.mark.parametrize("name", BAD)
def test_scales_that_do_not_fit(name: str) -> None:
    with pytest.raises(ModelError, match=r"^here: w.*export the model again"):
        widened(BAD[name], "here")


# --- model folders --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_both_floors_answer_alike(kind: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert main(["export", str(run), str(tmp_path / "model"), "--weights", kind]) == 0
    below, above = Translator.load(tmp_path / "model"), load_translator(tmp_path / "model")
    for name, array in read_model_folder(tmp_path / "model").weights.items():
        assert array.dtype == np.float32, name
        own = dict(above.model.named_parameters())[name]  # type: ignore[attr-defined]
        np.testing.assert_array_equal(own.numpy(), array, "the same numbers on both floors")
    found = [each.text for each in below.translate(LINES)]
    assert found == [each.text for each in above.translate(LINES)]
    if kind == "float32":
        assert found == [each.text for each in Translator.load(run / "best").translate(LINES)]


def test_an_export_keeps_what_the_manifest_said_and_goes_back(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    write_manifest(run / "best", {"step": 7})
    sizes = {}
    for kind in KINDS:
        assert main(["export", str(run), str(tmp_path / kind), "--weights", kind]) == 0
        assert json.loads((tmp_path / kind / MANIFEST).read_bytes())["step"] == 7
        sizes[kind] = sum(array.nbytes for array in read_safetensors(tmp_path / kind / WEIGHTS).values())
    assert sizes["float16"] * 2 == sizes["float32"] and sizes["int8"] < sizes["float16"]
    assert main(["export", str(tmp_path / "int8"), str(tmp_path / "same")]) == 0
    assert (tmp_path / "same" / WEIGHTS).read_bytes() == (tmp_path / "int8" / WEIGHTS).read_bytes()
    assert main(["export", str(tmp_path / "int8"), str(tmp_path / "wide"), "--weights", "float32"]) == 0
    one, other = (read_model_folder(tmp_path / name).weights for name in ("int8", "wide"))
    assert all((one[name] == other[name]).all() for name in one) and set(one) == set(other)


def test_every_damage_is_noticed(tmp_path: Path) -> None:
    """A flipped bit by the check sum; with a manifest that fits it, a scale that is missing or no number."""
    run, model = write_run(tmp_path / "run"), tmp_path / "model"
    assert main(["export", str(run), str(model), "--weights", "int8"]) == 0
    whole = bytearray((model / WEIGHTS).read_bytes())
    for place in range(0, len(whole), 97):
        whole[place] ^= 4
        (model / WEIGHTS).write_bytes(whole)
        with pytest.raises(ModelError, match="differs"):
            Translator.load(model)
        whole[place] ^= 4
    (model / WEIGHTS).write_bytes(whole)
    stored = read_safetensors(model / WEIGHTS)
    scale = next(name for name in stored if name.endswith(SCALE))
    for changed, words in (
        ({name: array for name, array in stored.items() if name != scale}, "needs float32 scales"),
        ({**stored, scale: np.full_like(stored[scale], np.nan)}, "no finite number"),
    ):
        shutil.copytree(model, tmp_path / "bad", dirs_exist_ok=True)
        write_safetensors(tmp_path / "bad" / WEIGHTS, changed)
        write_manifest(tmp_path / "bad")
        for load in (Translator.load, load_translator):
            with pytest.raises(ModelError, match=words):
                load(tmp_path / "bad")
