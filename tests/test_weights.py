"""weights: against the safetensors package both ways, damaged and hostile files, names and groups, manifests."""

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from sequencing_np.errors import ModelError
from sequencing_np.manifest import MANIFEST, check_manifest, digest, to_bytes, write_manifest
from sequencing_np.weights import nest, read_safetensors, write_safetensors

ARRAYS: dict[str, np.ndarray] = {
    "a.weight": np.arange(15, dtype=np.float32).reshape(3, 5),
    "a.bias": np.array([1.5, -np.inf, np.nan], dtype=np.float64),
    "half": np.array([[1.0, 65504.0], [6e-8, -2.0]], dtype=np.float16),
    "ids": np.array([-(2**62), 7], dtype=np.int64),
    "short": np.array([2**31 - 1], dtype=np.int32),
    "bytes": np.arange(7, dtype=np.uint8),
    "mask": np.array([True, False, True]),
    "scalar": np.array(3.0, dtype=np.float32),
    "none": np.zeros((0, 5), dtype=np.float32),
    "ü.名": np.ones(1, dtype=np.float32),
}


def equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert set(one) == set(other)
    for name in one:
        assert one[name].dtype == other[name].dtype and one[name].shape == other[name].shape, name
        np.testing.assert_array_equal(one[name], other[name])


# --- safetensors ----------------------------------------------------------------------------------------------------


def test_the_package_reads_what_we_write(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "w", ARRAYS, {"made": "here"})
    equal(safetensors.numpy.load_file(tmp_path / "w"), ARRAYS)
    equal(read_safetensors(tmp_path / "w"), ARRAYS)
    with safetensors.safe_open(tmp_path / "w", "np") as file:
        assert file.metadata() == {"made": "here"}
    length = int.from_bytes((tmp_path / "w").read_bytes()[:8], "little")
    assert length % 8 == 0


def test_we_read_what_the_package_writes(tmp_path: Path) -> None:
    safetensors.numpy.save_file(ARRAYS, tmp_path / "w", {"made": "there"})
    equal(read_safetensors(tmp_path / "w"), ARRAYS)


def test_every_half_precision_number(tmp_path: Path) -> None:
    """All 65,536 bfloat16 and float16 numbers, as PyTorch understands them."""
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    tensors = {"bf16": bits.view(torch.bfloat16), "f16": bits.clone().view(torch.float16)}
    safetensors.torch.save_file(tensors, tmp_path / "w")
    found = read_safetensors(tmp_path / "w")
    assert found["bf16"].dtype == np.float32 and found["f16"].dtype == np.float16
    np.testing.assert_array_equal(found["bf16"], tensors["bf16"].float().numpy())
    np.testing.assert_array_equal(found["f16"], tensors["f16"].numpy())


def test_arrays_of_any_layout(tmp_path: Path) -> None:
    """Transposed, strided, of the other byte order: what is read is what was meant."""
    whole = np.arange(24, dtype=np.float32).reshape(4, 6)
    arrays = {"turned": whole.T, "strided": whole[::2, 1::3], "big": whole.astype(">f4"), "wide": whole.astype(">i8")}
    write_safetensors(tmp_path / "w", arrays)
    found = read_safetensors(tmp_path / "w")
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_the_same_arrays_make_the_same_file(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "one", ARRAYS)
    write_safetensors(tmp_path / "two", dict(reversed(ARRAYS.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    """K05: every length, and bytes too many."""
    write_safetensors(tmp_path / "w", {"a": np.arange(9, dtype=np.float32), "b": np.ones((2, 3))})
    whole, path = (tmp_path / "w").read_bytes(), tmp_path / "cut"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match="cut"):
            read_safetensors(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(ModelError, match="damaged"):
        read_safetensors(path)


def entry(first: Any, end: Any, shape: Any = (1,), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [first, end]}


HOSTILE: dict[str, Any] = {
    "list": [],
    "text": "x",
    "entry is a list": {"a": [1, 2]},
    "no type": {"a": {"shape": [1], "data_offsets": [0, 8]}},
    "unknown type": {"a": entry(0, 8, [2], "F99")},
    "type is a list": {"a": entry(0, 8, [2], ["F32"])},
    "outside": {"a": entry(0, 400, [100])},
    "far outside": {"a": entry(0, 2**63, [2**61])},
    "negative": {"a": entry(-8, 0, [2])},
    "backwards": {"a": entry(8, 0, [2])},
    "one offset": {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0]}},
    "three offsets": {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4, 8]}},
    "another size": {"a": entry(0, 8, [3])},
    "product overflows": {"a": entry(0, 8, [2**32, 2**32, 2])},
    "negative shape": {"a": entry(0, 8, [-1, -2])},
    "shape is no list": {"a": entry(0, 8, 2)},
    "fractions": {"a": entry(0.0, 8.0, [2])},
    "overlap": {"a": entry(0, 8, [2]), "b": entry(0, 8, [2])},
    "half an overlap": {"a": entry(0, 4), "b": entry(2, 6), "c": entry(6, 8, [0])},
    "hole": {"a": entry(4, 8)},
    "hole at the end": {"a": entry(0, 4)},
    "nothing of the data": {},
}


def hostile(header: bytes, data: bytes = b"\0" * 8) -> bytes:
    return len(header).to_bytes(8, "little") + header + data


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers(name: str, tmp_path: Path) -> None:
    """K10."""
    (tmp_path / "w").write_bytes(hostile(json.dumps(HOSTILE[name]).encode()))
    with pytest.raises(ModelError, match="damaged"):
        read_safetensors(tmp_path / "w")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        b"\xff" * 64,
        (2**63).to_bytes(8, "little") + b"{}",
        (0).to_bytes(8, "little") + b"{}",
        hostile(b"{}"[:1]),
        hostile(b"\xff\xfe"),
        hostile(b"[" * 100000),
        hostile(b'{"a": NaN}'),
        hostile(b'{"a": 1, "a": 2}'),
        hostile(b'{"a": ' + b"9" * 5000 + b"}"),
    ],
)
def test_files_that_are_no_safetensors(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "w").write_bytes(data)
    with pytest.raises(ModelError, match=r"/w: "):
        read_safetensors(tmp_path / "w")


@given(st.binary(max_size=300), st.integers(0, 40))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes, length: int) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    for content in (data, length.to_bytes(8, "little") + data):
        path.write_bytes(content)
        with contextlib.suppress(ModelError):
            read_safetensors(path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(ModelError, match="cannot be read"):
            read_safetensors(path)


# --- names and groups -----------------------------------------------------------------------------------------------


def test_nest() -> None:
    one, two = np.ones(1), np.zeros(2)
    tree = nest({"a.layers.1.w": one, "a.layers.0.w": two, "a.b": one, "c": two})
    assert tree["a"]["layers"][0]["w"] is two and tree["a"]["layers"][1]["w"] is one
    assert tree["a"]["b"] is one and tree["c"] is two
    many = nest({f"l.{index}.w": np.full(1, index) for index in range(12)})
    assert [int(layer["w"][0]) for layer in many["l"]] == list(range(12))
    assert nest({}) == {}
    assert set(nest({"l.0.w": one, "l.2.w": one})["l"]) == {"0", "2"}  # a gap is no list


@pytest.mark.parametrize("names", [["a.b", "a.b.c"], ["a.b.c", "a.b"], ["a", "a.b.c.d"]])
def test_a_name_that_is_a_group_too(names: list[str]) -> None:
    with pytest.raises(ModelError, match="at once"):
        nest({name: np.ones(1) for name in names})


# --- manifests ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    (place / "inner").mkdir(parents=True)
    (place / "a.json").write_bytes(b'{"x": 1}\n')
    (place / "inner" / "b").write_bytes(bytes(range(40)))
    write_manifest(place, {"step": 7, "quality": {"bleu": 12.5}, "words": "ü 名"})
    return place


def test_a_manifest_speaks_of_every_file(folder: Path) -> None:
    content = check_manifest(folder)
    assert set(content["files"]) == {"a.json", "inner/b"} and content["step"] == 7 and content["words"] == "ü 名"


def test_every_flipped_bit_is_noticed(folder: Path) -> None:
    """K04: in the files, and in the manifest itself with what it says besides."""
    (folder / "inner" / "b").unlink()
    write_manifest(folder, {"step": 7, "words": "ü"})
    for path in (folder / "a.json", folder / MANIFEST):
        whole = bytearray(path.read_bytes())
        for place in range(len(whole)):
            for bit in range(8):
                whole[place] ^= 1 << bit
                path.write_bytes(whole)
                with pytest.raises(ModelError):
                    check_manifest(folder)
                whole[place] ^= 1 << bit
        path.write_bytes(whole)
    check_manifest(folder)


def test_every_cut_of_a_manifest(folder: Path) -> None:
    whole = (folder / MANIFEST).read_bytes()
    for length in range(0, len(whole) - 1, 7):
        (folder / MANIFEST).write_bytes(whole[:length])
        with pytest.raises(ModelError, match=MANIFEST):
            check_manifest(folder)


def test_files_missing_swapped_or_lengthened(folder: Path) -> None:
    one, other = folder / "a.json", folder / "inner" / "b"
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    with pytest.raises(ModelError, match=r"a\.json: differs"):
        check_manifest(folder)
    one.write_bytes(first + b"\n")
    with pytest.raises(ModelError, match=r"a\.json: differs"):
        check_manifest(folder)
    one.unlink()
    with pytest.raises(ModelError, match=r"a\.json: missing"):
        check_manifest(folder)
    (folder / MANIFEST).unlink()
    with pytest.raises(ModelError, match=r"no manifest\.json"):
        check_manifest(folder)
    with pytest.raises(ModelError, match="no such folder"):
        check_manifest(folder / "none")


def rewritten(folder: Path, change: dict[str, Any]) -> None:
    content = {**json.loads((folder / MANIFEST).read_bytes()), **change}
    (folder / MANIFEST).write_bytes(to_bytes(content))


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "inner/../../outside", ".."])
def test_names_that_lead_outside(folder: Path, name: str) -> None:
    """K09."""
    (folder.parent / "outside").write_bytes(b"")
    content = json.loads((folder / MANIFEST).read_bytes())
    content["files"] = {
        name: {"bytes": 0, "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}
    }
    rewritten(folder, {**content, "digest": digest(content)})
    with pytest.raises(ModelError, match="outside the folder"):
        check_manifest(folder)


@pytest.mark.parametrize("version", [0, 2, "1", None, 1.5])
def test_another_format(folder: Path, version: Any) -> None:
    """K07."""
    rewritten(folder, {"format": version})
    with pytest.raises(ModelError, match=f"format {version!r}; this program reads"):
        check_manifest(folder)


@pytest.mark.parametrize(
    "change", [{"files": []}, {"files": {"a": 1}}, {"files": None}, {"files": {"a": {"bytes": "x"}}}]
)
def test_manifests_of_another_shape(folder: Path, change: dict[str, Any]) -> None:
    rewritten(folder, change)
    with pytest.raises(ModelError, match="damaged"):
        check_manifest(folder)
