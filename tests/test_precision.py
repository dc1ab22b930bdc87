"""`auto` takes what the device multiplies, says why, and does not change its mind in the middle of a run."""

from pathlib import Path
from typing import Any

import pytest
import torch

from sequencing import precision
from sequencing.precision import PRECISIONS, chosen
from sequencing.train.checkpoint import latest_checkpoint
from sequencing.train.loop import train
from small_runs import small

CPU = torch.device("cpu")


def flags(monkeypatch: pytest.MonkeyPatch, *true: str) -> None:
    for name in precision.FLAGS:
        monkeypatch.setattr(torch.cpu, name, lambda name=name: name in true)


@pytest.mark.parametrize("name", PRECISIONS)
def test_a_name_is_what_it_says(name: str) -> None:
    assert chosen(name, CPU)[:1] == (name,) == chosen(name, torch.device("cuda"))[:1]
    assert bool(chosen(name, CPU).why) == (name == "float16"), "which is no faster there"


def test_auto_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    flags(monkeypatch)
    assert chosen("auto", CPU) == ("float32", "cpu has no fast products in bfloat16")
    flags(monkeypatch, "_is_avx512_bf16_supported")
    assert chosen("auto", CPU) == ("bfloat16", "cpu multiplies it: AVX512-BF16")
    flags(monkeypatch, *precision.FLAGS)
    assert chosen("auto", CPU) == ("bfloat16", "cpu multiplies it: AMX, AVX512-BF16")
    for name in precision.FLAGS:
        monkeypatch.delattr(torch.cpu, name)
    assert chosen("auto", CPU).name == "float32"


@pytest.mark.parametrize(
    ("supported", "generation", "wanted"),
    [
        (True, (9, 0), ("bfloat16", "cuda:0 multiplies it: A card")),
        (False, (7, 0), ("float16", "cuda:0 multiplies it, and not bfloat16: A card")),
        (False, (6, 1), ("float32", "cuda:0 has no fast products in bfloat16")),
    ],
)
def test_auto_on_a_gpu(supported: bool, generation: Any, wanted: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: generation)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "A card")
    assert chosen("auto", torch.device("cuda", 0)) == wanted


def test_a_run_keeps_what_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Half of it on a machine without: the same weights as in one go."""
    lines = []
    for name, parts in {"one": [6], "two": [3, 6]}.items():
        for steps in parts:
            flags(monkeypatch, *(precision.FLAGS if steps == parts[0] else []))
            train(small(tmp_path / "data", "train.precision=auto", f"train.steps={steps}"), tmp_path / name)
            lines.append(capsys.readouterr().err.count("train.precision = 'auto': bfloat16, as cpu multiplies it"))
    one, two = (latest_checkpoint(tmp_path / name) for name in ("one", "two"))
    assert one is not None and two is not None and lines == [1, 1, 0]
    assert one.state["precision"] == two.state["precision"] == "bfloat16"
    assert all(array.tobytes() == two.arrays["weights"][key].tobytes() for key, array in one.arrays["weights"].items())
    flags(monkeypatch)
    train(small(tmp_path / "data", "train.precision=auto", "train.steps=6"), tmp_path / "other")
    other = latest_checkpoint(tmp_path / "other")
    assert other is not None and other.state["precision"] == "float32"
