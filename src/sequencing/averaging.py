"""One model from several: the arithmetic mean of their weights (Junczys-Dowmunt et al. 2016, section 2.3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sequencing_np.config import to_dict
from sequencing_np.errors import ModelError, UsageError
from sequencing_np.model_folder import read_model_folder, write_model_folder


def average(folders: Sequence[Path], output: Path) -> None:
    """Write the mean of several model folders of one architecture and one vocabulary as a new model folder.

    What was dropped while they were trained may differ; the mean's configuration is that of the first.
    """
    if len(folders) < 2:
        raise UsageError(f"{len(folders)} models to average; give two or more")
    first = read_model_folder(folders[0])
    total = {name: array.astype(np.float64) for name, array in first.weights.items()}
    for folder in folders[1:]:
        other = read_model_folder(folder)
        if answering(to_dict(other.config)) != answering(to_dict(first.config)):
            raise ModelError(f"{folder}: another architecture than {folders[0]}; average models of one run")
        for side in ("source_vocab", "target_vocab"):
            if getattr(other, side).to_json() != getattr(first, side).to_json():
                raise ModelError(f"{folder}: another {side} than {folders[0]}; average models of one run")
        for name, array in other.weights.items():
            total[name] += array
    mean = {name: (array / len(folders)).astype(first.weights[name].dtype) for name, array in total.items()}
    write_model_folder(output, first._replace(weights=mean), {"average_of": len(folders)})


def answering(settings: Any) -> Any:
    """The settings of an architecture without those that count in training alone: shares that are dropped."""
    if isinstance(settings, list):
        return [answering(part) for part in settings]
    if not isinstance(settings, dict):
        return settings
    return {name: answering(value) for name, value in settings.items() if not name.endswith(("dropout", "layer_drop"))}
