"""From a run folder or a model folder to a model in PyTorch that translates."""

from __future__ import annotations

from pathlib import Path

import torch

from sequencing.model import Model
from sequencing.short import answering, shorten
from sequencing_np.config import Origin, build, parse_json
from sequencing_np.errors import ConfigError, ModelError, UsageError
from sequencing_np.manifest import MANIFEST
from sequencing_np.model_folder import read_model_folder
from sequencing_np.search import SearchConfig
from sequencing_np.translate import Translator

CHECKPOINTS = ("best", "last")


def choose_device(name: str) -> torch.device:
    """The device of a name; `auto` takes a GPU where there is one. UsageError where there is no such device."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        words = str(error).split("\n")[0]
        raise UsageError(f"device {name!r}: {words}; use auto, cpu, cuda or cuda:1") from None
    return device


def model_folder_of(path: str | Path, checkpoint: str = "best") -> Path:
    """The model folder within a run folder, or the folder itself where it is one."""
    folder = Path(path)
    if (folder / MANIFEST).is_file():
        return folder
    wanted = [checkpoint, *(name for name in CHECKPOINTS if checkpoint == "best" and name != checkpoint)]
    for name in wanted:
        if (folder / name / MANIFEST).is_file():
            return folder / name
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such folder; give a run folder or a model folder")
    raise ModelError(f"{folder}: holds no model ({' or '.join(wanted)}); train first, or give a model folder")


def load_translator(
    path: str | Path, device: str = "auto", checkpoint: str = "best", precision: str = "float32"
) -> Translator:
    """A Translator on PyTorch. ModelError where the files are not in order, UsageError where the device has it not.

    `precision` is that of matrix products: float32, bfloat16, int8, or auto, which takes bfloat16 where the device
    multiplies it. In bfloat16 and int8 an answer may now and then be another one.
    """
    place = choose_device(device)
    numbers = answering(precision, place)
    parts = read_model_folder(model_folder_of(path, checkpoint))
    model = Model(parts.config)
    model.load_weights(parts.weights)
    model.to(place).eval()
    model.requires_grad_(False)
    shorten(model, numbers)
    found = Translator(model, parts.source_vocab, parts.target_vocab, parts.limits)
    found.shortlist = parts.shortlist
    return found


def check_processes(count: int, device: str) -> int:
    """How many threads each of several processes may have. UsageError where they would share a GPU."""
    if count > 1 and choose_device(device).type != "cpu":
        raise UsageError(f"--processes {count}: they are for the cores of a CPU; add --device cpu, or leave it out")
    return max(torch.get_num_threads() // max(count, 1), 1)


def search_of(path: str | Path) -> SearchConfig:
    """The search settings that a run was configured with; the defaults for a bare model folder."""
    file = Path(path) / "config.json"
    if not file.is_file() or (Path(path) / MANIFEST).is_file():
        return SearchConfig()
    try:
        values = parse_json(file.read_text(encoding="utf-8"), str(file))
        return build(SearchConfig, values.get("search", {}), Origin(str(file)), ("search",))
    except (OSError, UnicodeDecodeError, AttributeError, ConfigError) as error:
        raise ModelError(f"{file}: cannot be read: {error}") from None
