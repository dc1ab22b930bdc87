"""What a stopped run needs to go on: weights, optimiser, generators, position. Safetensors and JSON, no pickle.

RUN/checkpoints/STEP/ is a folder like a model folder: every file stands in its manifest with its sha256, and it is
moved into place whole. A damaged one is passed over with a warning and the one before it taken.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from sequencing_np.config import parse_json
from sequencing_np.errors import SequencingError, UsageError
from sequencing_np.manifest import check_manifest, write_manifest
from sequencing_np.model_folder import replace_folder
from sequencing_np.weights import read_safetensors, write_safetensors
from sequencing_np.writing import atomic_write

FOLDER = "checkpoints"
STATE = "state.json"
KEEP = 2


class Checkpoint(NamedTuple):
    """The state of a run after a step."""

    arrays: dict[str, dict[str, np.ndarray]]  # file -> name -> array
    state: dict[str, Any]  # everything that is no array


def save_checkpoint(run: Path, step: int, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, then drop all but the newest. UsageError where the disk does not take it."""
    folder = run / FOLDER / f"{step:09d}"
    fresh = folder.with_name(f".{folder.name}.new")
    try:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        for name, arrays in checkpoint.arrays.items():
            write_safetensors(fresh / f"{name}.safetensors", arrays)
        with atomic_write(fresh / STATE) as file:
            file.write(json.dumps(checkpoint.state, indent=1).encode())
        write_manifest(fresh, {"step": step})
        replace_folder(fresh, folder)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be saved: {error.strerror}; the checkpoint before it is intact") from None
    for old in checkpoint_folders(run)[:-KEEP]:
        shutil.rmtree(old, ignore_errors=True)


def checkpoint_folders(run: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(path for path in (run / FOLDER).glob("[0-9]*") if path.is_dir())


def latest_checkpoint(run: Path) -> Checkpoint | None:
    """The newest checkpoint in order; damaged ones are named in a warning. None where there is none at all."""
    folders = checkpoint_folders(run)
    for folder in reversed(folders):
        try:
            check_manifest(folder)
            state = parse_json((folder / STATE).read_text(encoding="utf-8"), str(folder / STATE))
            arrays = {path.stem: read_safetensors(path) for path in sorted(folder.glob("*.safetensors"))}
            return Checkpoint(arrays, state)
        except SequencingError as error:
            logging.getLogger(__name__).warning("%s; going back to the checkpoint before it", error)
    if folders:
        raise UsageError(f"{run / FOLDER}: no checkpoint is in order; start again in another folder")
    return None


def optimizer_arrays(optimizer: torch.optim.Optimizer) -> dict[str, np.ndarray]:
    """The tensors of an optimiser's state as `index.name`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": value.detach().cpu().numpy()
        for index, entry in state.items()
        for name, value in entry.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, arrays: Mapping[str, np.ndarray]) -> None:
    """The inverse of `optimizer_arrays`, on an optimiser of the same kind and model."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, array in arrays.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = torch.from_numpy(array.copy())
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def generator_arrays() -> dict[str, np.ndarray]:
    """The states of PyTorch's generators."""
    arrays = {"cpu": torch.get_rng_state().numpy()}
    if torch.cuda.is_available():
        arrays["cuda"] = torch.cuda.get_rng_state().numpy()
    return arrays


def restore_generators(arrays: Mapping[str, np.ndarray]) -> None:
    """The inverse of `generator_arrays`."""
    torch.set_rng_state(torch.from_numpy(arrays["cpu"].copy()))
    if "cuda" in arrays and torch.cuda.is_available():
        torch.cuda.set_rng_state(torch.from_numpy(arrays["cuda"].copy()))
