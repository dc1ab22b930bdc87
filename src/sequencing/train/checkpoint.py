"""What a stopped run needs to go on: weights, optimiser, position. Safetensors and JSON, no pickle.

RUN/checkpoints/STEP/ is a folder like a model folder: every file stands in its manifest with its sha256, and it is
moved into place whole. A damaged one, or one of another run, is passed over with a warning and the one before it taken.
What is random in training is a function of seed and step, so no generator's state is kept.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sequencing.records import write_json
from sequencing_np import disk
from sequencing_np.config import parse_json
from sequencing_np.errors import ModelError, SequencingError, UsageError
from sequencing_np.manifest import Kind, check_manifest, format_of, write_manifest
from sequencing_np.model_folder import put_back, replace_folder
from sequencing_np.weights import read_safetensors, write_safetensors
from sequencing_np.writing import atomic_write

FOLDER = "checkpoints"
STATE = "state.json"
KIND = Kind(
    name="checkpoint",
    format=2,
    error=ModelError,
    what="give a folder below RUN/checkpoints",
    absent="this is no checkpoint, or its writing was interrupted",
    again="it cannot be gone on from",
    oldest=2,
)
RUN = "run.json"  # what tells a run from all others


class Checkpoint(NamedTuple):
    """The state of a run after a step."""

    arrays: dict[str, dict[str, np.ndarray]]  # file -> name -> array
    state: dict[str, Any]  # everything that is no array, the step among it


def save_checkpoint(run: Path, checkpoint: Checkpoint, keep: int = 2) -> None:
    """Write a checkpoint, read it back, then drop all but the newest. UsageError where the disk does not take it."""
    step, known = checkpoint.state["step"], run_id(run)
    folder = run / FOLDER / f"{step:09d}"
    fresh = folder.with_name(f".{folder.name}.new")
    try:
        if not folder.parent.is_dir():
            disk.make_folder(folder.parent)
            disk.sync_folder(run)
        disk.make_folder(fresh)
        for name, arrays in checkpoint.arrays.items():
            write_safetensors(fresh / f"{name}.safetensors", arrays)
        with atomic_write(fresh / STATE) as file:
            file.write(json.dumps(checkpoint.state, indent=1).encode())
        write_manifest(fresh, {"step": step, **({"run": known} if known else {})}, KIND)
        replace_folder(fresh, folder)
        check(folder, known)
    except (OSError, SequencingError) as error:
        shutil.rmtree(fresh, ignore_errors=True)
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"{folder}: cannot be saved: {reason}; the checkpoint before it is intact{room(run, checkpoint)}"
        ) from None
    prune(run, keep)


def room(run: Path, checkpoint: Checkpoint) -> str:
    """What a checkpoint needs and what the disk has left, where that is less."""
    needed = sum(array.nbytes for arrays in checkpoint.arrays.values() for array in arrays.values())
    try:
        free = shutil.disk_usage(run).free
    except OSError:
        return ""
    if free > 2 * needed:
        return ""
    return f". It needs {needed:,} bytes, and {free:,} are free: make room, or give a run folder on another disk"


def prune(run: Path, keep: int) -> None:
    """Drop the checkpoints that are older than so many that are in order."""
    good, known = 0, run_id(run)
    for folder in reversed(checkpoint_folders(run)):
        if good >= keep:
            shutil.rmtree(folder, ignore_errors=True)
            continue
        try:
            check(folder, known)
            good += 1
        except (OSError, SequencingError):
            pass


def checkpoint_folders(run: Path) -> list[Path]:
    """The checkpoints of a run, oldest first."""
    return sorted(path for path in (run / FOLDER).glob("[0-9]*") if path.is_dir())


def run_id(run: Path) -> str:
    """What tells a run from all others; empty where it has nothing yet."""
    try:
        return str(parse_json((run / RUN).read_text(encoding="utf-8"), str(run / RUN))["id"])
    except (OSError, UnicodeDecodeError, KeyError, TypeError, SequencingError):
        return ""


def identify(run: Path) -> None:
    """Give a run what tells it from others: if it is lost, that of its newest checkpoint, and else a new one."""
    if run_id(run):
        return
    known = uuid.uuid4().hex
    for folder in checkpoint_folders(run):
        with contextlib.suppress(OSError, SequencingError):
            known = check(folder).get("run", known)
    write_json(run / RUN, {"id": known})


def refuse_newer(run: Path) -> None:
    """ModelError where a later version of this program has saved: that is no damage, to be passed over."""
    for folder in reversed(checkpoint_folders(run)):
        if (version := format_of(folder)) > KIND.format:
            what = f"{folder}: format {version}, of a later version; this program reads up to {KIND.format}"
            raise ModelError(f"{what}. Go on with the version that wrote it; nothing was changed")


def check(folder: Path, known: str = "") -> dict[str, Any]:
    """The manifest; ModelError where a file differs from it, the folder's name from its step, or the run from `known`.

    Checkpoints of before there were ids are taken.
    """
    content = check_manifest(folder, KIND)
    if known and content.get("run", known) != known:
        raise ModelError(f"{folder}: is of another run, {content['run']}, and this one is {known}")
    step = content.get("step")
    if folder.name != f"{step:09d}":
        raise ModelError(f"{folder}: holds step {step}, so it is not in its place")
    return content


def latest_checkpoint(run: Path) -> Checkpoint | None:
    """The newest checkpoint in order; damaged ones are named in a warning. None where there is none at all.

    ModelError where one of them is of a later version of this program.
    """
    for old in (run / FOLDER).glob(".[0-9]*.old"):  # a replacement that was cut off
        put_back(old.with_name(old.name[1:].removesuffix(".old")))
    refuse_newer(run)
    folders, known = checkpoint_folders(run), run_id(run)
    for folder in reversed(folders):
        try:
            listed = check(folder, known)["files"]
            state = parse_json((folder / STATE).read_text(encoding="utf-8"), str(folder / STATE))
            names = sorted(name for name in listed if name.endswith(".safetensors"))  # what is not listed is not read
            arrays = {Path(name).stem: read_safetensors(folder / name) for name in names}
            return Checkpoint(arrays, state)
        except (OSError, SequencingError) as error:
            logging.getLogger(__name__).warning("%s; going back to the checkpoint before it", error)
    if folders:
        raise UsageError(f"{run / FOLDER}: no checkpoint is in order; start again in another folder")
    return None


class Saver:
    """Saves beside the training, one at a time: the next one waits for the one before.

    One that fails is told in a warning and the training goes on, up to the last: that one is an error.
    """

    def __init__(self) -> None:
        self.thread: Thread | None = None
        self.failure: Exception | None = None

    def begin(self, work: Callable[[], None]) -> None:
        """Do some work in a thread of its own, once that from before is done."""
        error = self.waited()
        if error and not isinstance(error, SequencingError):
            raise error
        if error:
            logging.getLogger(__name__).warning("%s. The training goes on", error)

        def worked() -> None:
            try:
                work()
            except OSError as error:
                self.failure = UsageError(f"{error.filename}: cannot be saved: {error.strerror}")
            except Exception as error:  # noqa: BLE001  (a mistake of the program, too, is told to whoever waits)
                self.failure = error

        self.thread = Thread(target=worked, name="saving")
        self.thread.start()

    def finish(self) -> None:
        """Wait for what is being saved; an error where it could not be."""
        if error := self.waited():
            raise error

    def waited(self) -> Exception | None:
        """Wait, and give back what went wrong."""
        if self.thread:
            self.thread.join()
        self.thread, failure = None, self.failure
        self.failure = None
        return failure


def optimizer_arrays(
    optimizer: torch.optim.Optimizer, gathered: Callable[[Tensor], Tensor] = lambda tensor: tensor
) -> dict[str, np.ndarray]:
    """The tensors of an optimiser's state as `index.name`; `gathered` makes whole ones of those in parts."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": gathered(value.detach()).cpu().numpy()
        for index, entry in state.items()
        for name, value in entry.items()
        if value is not None
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer,
    arrays: Mapping[str, np.ndarray],
    part: Callable[[Tensor, Tensor], Tensor] = lambda like, full: full,
) -> None:
    """The inverse of `optimizer_arrays`, on an optimiser of the same kind and model."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, array in arrays.items():
        index, name = key.split(".", 1)
        full = torch.from_numpy(array.copy())
        state.setdefault(int(index), {})[name] = part(parameters[int(index)], full)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
