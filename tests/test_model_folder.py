"""model_folder: what is written is what is read, on both floors; nothing that was touched is ever read."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from architectures import DRAWN, QUICK, architecture, name_of, numpy_model, same, source_side, sources, torch_model
from sequencing.loading import load_translator
from sequencing_np.config import to_dict
from sequencing_np.errors import ModelError, SequencingError
from sequencing_np.factors import FactoredVocab
from sequencing_np.limits import Limits
from sequencing_np.manifest import MANIFEST, check_manifest, digest, to_bytes, write_manifest
from sequencing_np.model_folder import (
    CONFIG,
    VOCABULARIES,
    ModelFolder,
    copy_model_folder,
    read_config,
    read_model_folder,
    write_model_folder,
)
from sequencing_np.search import SearchConfig
from sequencing_np.translate import Translator
from sequencing_np.vocab import Vocab, Vocabulary
from sequencing_np.weights import WEIGHTS, write_safetensors

LIMITS = Limits(1.5, 7, 90, 1)


def parts(index: int, dtype: str = "float32") -> ModelFolder:
    """Everything a folder of a random architecture holds; the words are w4, w5, w6 …"""
    config = architecture(index)
    words, target = (
        Vocab([f"w{token}" for token in range(4, size)]) for size in (config.source_size, config.target_size)
    )
    source: Vocabulary = words
    if config.source_factors:
        source = FactoredVocab(words, [[f"f{value}" for value in range(2, size)] for size in config.source_factors])
    source, _ = source_side(config, source, [])
    weights = {name: array.astype(dtype) for name, array in torch_model(index).weights().items()}
    return ModelFolder(config, LIMITS, source, target, weights)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_model_folder(tmp_path / "model", parts(0), {"step": 7})
    return tmp_path / "model"


def listing(place: Path) -> list[str]:
    return sorted(path.relative_to(place).as_posix() for path in place.rglob("*"))


@pytest.mark.parametrize("index", QUICK, ids=name_of)
def test_there_and_back(index: int, tmp_path: Path) -> None:
    written = parts(index, "float64")
    write_model_folder(tmp_path / "model", written)
    read = read_model_folder(tmp_path / "model")
    assert read.config == written.config and read.limits == LIMITS
    assert read.source_vocab.to_json() == written.source_vocab.to_json()
    assert set(read.weights) == set(written.weights)
    for name, array in written.weights.items():
        np.testing.assert_array_equal(read.weights[name], array)
    assert listing(tmp_path) == [
        "model",
        *sorted(f"model/{name}" for name in (CONFIG, MANIFEST, WEIGHTS, *VOCABULARIES)),
    ]
    batch = sources(written.config)
    translator = Translator.load(tmp_path / "model", np.float64)
    same(translator.model.encode(*batch), numpy_model(index).encode(*batch), 0)


@pytest.mark.parametrize("index", DRAWN[::3], ids=name_of)
def test_both_floors_load_it(index: int, tmp_path: Path) -> None:
    write_model_folder(tmp_path / "model", parts(index))
    factors = "".join(f"|f{number}" for number, _ in enumerate(architecture(index).source_factors, start=2))
    lines = ["w4 w9 w5", "w12", "", "w7 w7 unknown w8 w6 w5 w11"]
    lines = [" ".join(f"{word}{factors}" for word in line.split()) for line in lines]
    _, lines = source_side(architecture(index), Vocab([]), lines)
    search = SearchConfig(beam=3, n_best=2, max_length=6)
    ground = Translator.load(tmp_path / "model", np.float32).translate(lines, search)
    upper = load_translator(tmp_path / "model", "cpu").translate(lines, search)
    for one, other in zip(ground, upper, strict=True):
        np.testing.assert_allclose([a.score for a in one.answers], [a.score for a in other.answers], atol=1e-4)


def test_the_same_model_makes_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_model_folder(tmp_path / name, parts(1), {"step": 3})
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_half_precision_is_read(tmp_path: Path) -> None:
    write_model_folder(tmp_path / "model", parts(0, "float16"))
    translator = Translator.load(tmp_path / "model")
    memory = translator.model.encode(*sources(architecture(0)))
    assert memory.values.dtype == np.float32
    same(memory, numpy_model(0).encode(*sources(architecture(0))), 0.05)


# --- damage ---------------------------------------------------------------------------------------------------------


def test_damaged_bytes_are_noticed(folder: Path) -> None:
    """K04, X3: one flipped bit, in 150 places of every file and another bit from place to place; the file is named.

    Every bit of a manifest is flipped in test_weights; the other files are compared with it by their sha256.
    """
    for path in sorted(folder.iterdir()):
        whole = bytearray(path.read_bytes())
        for place in range(0, len(whole), len(whole) // 150 + 1):
            whole[place] ^= 1 << place % 8
            path.write_bytes(whole)
            with pytest.raises(ModelError) as raised:
                check_manifest(folder)
            assert path.name in str(raised.value) or path.name == MANIFEST
            whole[place] ^= 1 << place % 8
        path.write_bytes(whole)
    read_model_folder(folder)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, MANIFEST, *VOCABULARIES])
def test_a_file_cut_emptied_or_gone(folder: Path, name: str) -> None:
    """K05."""
    path = folder / name
    whole = path.read_bytes()
    for length in {*range(0, len(whole) - 1, max(len(whole) // 15, 1)), 0, 1, len(whole) - 2}:
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match=name.replace(".", r"\.")):
            Translator.load(folder)
    path.unlink()
    with pytest.raises(ModelError, match=name.replace(".", r"\.")):
        Translator.load(folder)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, *VOCABULARIES])
def test_files_of_two_models(folder: Path, name: str) -> None:
    """K06."""
    other = parts(3)
    words = [f"x{number}" for number in range(len(other.target_vocab) - 4)]
    write_model_folder(folder.parent / "other", other._replace(target_vocab=Vocab(words)))
    shutil.copy(folder.parent / "other" / name, folder / name)
    with pytest.raises(ModelError, match="differs from manifest"):
        read_model_folder(folder)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, *VOCABULARIES])
def test_a_manifest_that_leaves_a_file_out(folder: Path, name: str) -> None:
    content = json.loads((folder / MANIFEST).read_bytes())
    del content["files"][name]
    content["digest"] = digest(content)
    (folder / MANIFEST).write_bytes(to_bytes(content))
    with pytest.raises(ModelError, match=f"does not list {name}"):
        read_model_folder(folder)


def tampered(folder: Path, name: str, content: Any) -> None:
    """Another file with a manifest that fits: nothing but the reader of that file can notice."""
    (folder / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    write_manifest(folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b"{" * 9999,
        {"model": {}},
        {"limits": {}},
        {"model": 3, "limits": {}},
        None,
        7,
        {"model": {"encoder": {"tipe": "rnn"}}, "limits": {}},
        {"model": {}, "limits": {"factor": "2"}},
    ],
    ids=str,
)
def test_configurations_that_are_none(folder: Path, content: Any) -> None:
    tampered(folder, CONFIG, content)
    with pytest.raises(ModelError, match=r"config\.json"):
        read_model_folder(folder)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"{" * 99999, b'{"format": 1, "kind": "x"}', b"\xff"])
@pytest.mark.parametrize("name", VOCABULARIES)
def test_vocabularies_that_are_none(folder: Path, name: str, content: bytes) -> None:
    tampered(folder, name, content)
    with pytest.raises(SequencingError, match=name.replace(".", r"\.")):
        read_model_folder(folder)


def test_a_vocabulary_of_another_size(folder: Path) -> None:
    vocab = Vocab(["a", "b"])
    for name in VOCABULARIES:
        whole = (folder / name).read_bytes()
        tampered(folder, name, vocab.to_json())
        with pytest.raises(ModelError, match=f"{name}: 6 ids, the model has .*; it belongs to another model"):
            read_model_folder(folder)
        tampered(folder, name, whole)


@pytest.mark.parametrize(
    "path", ["encoder.stack.size", "decoder.stack.layers", "decoder.embedding_size", "source_size"]
)
def test_a_configuration_of_another_model(folder: Path, path: str) -> None:
    """T-A2: settings that do not fit the weights are an error, not another model."""
    config, limits = read_config(folder / CONFIG)
    values = {"model": to_dict(config), "limits": to_dict(limits)}
    table = values["model"]
    *groups, key = path.split(".")
    for group in groups:
        table = table[group]
    table[key] += 1
    tampered(folder, CONFIG, values)
    for load in (Translator.load, load_translator):
        with pytest.raises(SequencingError):
            load(folder)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(folder: Path, wrong: float) -> None:
    """Reliability K10: one of them is enough, and is named."""
    weights = {name: array.copy() for name, array in parts(0).weights.items()}
    name = sorted(weights)[-1]
    weights[name].flat[-1] = wrong
    write_safetensors(folder / WEIGHTS, weights)
    write_manifest(folder)
    for load in (Translator.load, lambda folder: load_translator(folder, "cpu")):
        with pytest.raises(ModelError, match=f"{name} holds what is no finite number"):
            load(folder)


# --- replacing ------------------------------------------------------------------------------------------------------


def test_a_folder_is_replaced_as_a_whole(folder: Path) -> None:
    (folder / "stray").write_bytes(b"x")
    write_model_folder(folder, parts(1))
    assert read_model_folder(folder).config == architecture(1)
    assert listing(folder.parent) == [
        "model",
        *sorted(f"model/{n}" for n in (CONFIG, MANIFEST, WEIGHTS, *VOCABULARIES)),
    ]


def test_what_failed_leaves_the_old_one(folder: Path) -> None:
    broken = parts(1)._replace(weights={"a": np.zeros(3, dtype=np.complex64)})
    with pytest.raises(Exception):
        write_model_folder(folder, broken)
    assert read_model_folder(folder).config == architecture(0)
    write_model_folder(folder, parts(1))  # what it left behind is in nobody's way
    assert read_model_folder(folder).config == architecture(1)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_copies(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "far" / "away"
    copy_model_folder(folder, target)
    copy_model_folder(folder, target)  # a model folder may be replaced
    assert read_model_folder(target).config == read_model_folder(folder).config
    (tmp_path / "empty").mkdir()
    copy_model_folder(folder, tmp_path / "empty")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").write_bytes(b"dear")
    (tmp_path / "file").write_bytes(b"x")
    for taken in ("full", "file"):
        with pytest.raises(ModelError, match="exists and is no model folder"):
            copy_model_folder(folder, tmp_path / taken)
    assert (tmp_path / "full" / "letter").read_bytes() == b"dear" and (tmp_path / "file").read_bytes() == b"x"
    (folder / WEIGHTS).write_bytes(b"")
    with pytest.raises(ModelError, match="differs"):
        copy_model_folder(folder, tmp_path / "new")
    assert not (tmp_path / "new").exists()
