"""Every flipped bit, every cut and every exchange of files is found out, and the file is named (reliability X3).

`SEQUENCING_ALL_FLIPS=1` flips every bit of the model's large files too, not one in each byte.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sequencing.train.checkpoint import Checkpoint, check, checkpoint_folders, save_checkpoint
from sequencing_np.errors import ModelError
from sequencing_np.manifest import MANIFEST
from sequencing_np.model_folder import read_model_folder, write_model_folder
from test_model_folder import parts

EVERY = "SEQUENCING_ALL_FLIPS" in os.environ


def saved_checkpoint(tmp_path: Path) -> Path:
    arrays = {"weights": {"a": np.float32([1, 2])}, "optimizer": {"0.step": np.float32(7)}}
    save_checkpoint(tmp_path, Checkpoint(arrays, {"step": 3, "best": [0.5]}))
    return checkpoint_folders(tmp_path)[-1]


def saved_model(tmp_path: Path) -> Path:
    write_model_folder(tmp_path / "model", parts(0), {"step": 3})
    return tmp_path / "model"


KINDS: dict[str, tuple[Callable[[Path], Path], Callable[[Path], object]]] = {
    "checkpoint": (saved_checkpoint, check),
    "model": (saved_model, read_model_folder),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Callable[[Path], object]]:
    make, load = KINDS[request.param]
    folder = make(tmp_path)
    load(folder)
    return folder, load


def found_out(folder: Path, load: Callable[[Path], object], name: str) -> None:
    """The error names the file."""
    try:
        load(folder)
    except ModelError as error:
        assert name in str(error), error
        return
    raise AssertionError(f"{name}: nobody noticed")


def test_flipped_bits(kind: tuple[Path, Callable[[Path], object]]) -> None:
    folder, load = kind
    flips = 0
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        all_bits = EVERY or path.name == MANIFEST or len(data) < 400
        with path.open("r+b", buffering=0) as file:
            for place, byte in enumerate(data):
                for bit in range(8) if all_bits else (place % 8,):
                    file.seek(place)
                    file.write(bytes([byte ^ 1 << bit]))
                    found_out(folder, load, path.name)
                    flips += 1
                file.seek(place)
                file.write(bytes([byte]))
    load(folder)
    assert flips > 5000


def test_cuts_and_additions(kind: tuple[Path, Callable[[Path], object]]) -> None:
    folder, load = kind
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        for length in range(0, len(data), 1 if len(data) < 2000 else 7):
            path.write_bytes(data[:length])
            found_out(folder, load, path.name)
        path.write_bytes(data + b"\n")
        found_out(folder, load, path.name)
        path.unlink()
        found_out(folder, load, path.name)
        path.write_bytes(data)
    load(folder)


def test_exchanged_files(kind: tuple[Path, Callable[[Path], object]]) -> None:
    folder, load = kind
    names = sorted(path.name for path in folder.iterdir())
    for one in names:
        for other in names:
            first, second = (folder / one).read_bytes(), (folder / other).read_bytes()
            if first == second:
                continue
            (folder / one).write_bytes(second)
            (folder / other).write_bytes(first)
            with pytest.raises(ModelError):
                load(folder)
            (folder / one).write_bytes(first)
            (folder / other).write_bytes(second)
    load(folder)
