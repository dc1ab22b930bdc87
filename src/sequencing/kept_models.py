"""Models that a run keeps beside `best` and `last`: those of its last validations, and those that did best.

What is best is told from the models' own manifests, so nothing of it has to be remembered where a run is stopped.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from sequencing_np.errors import ModelError, SequencingError, UsageError
from sequencing_np.manifest import MANIFEST, check_manifest
from sequencing_np.model_folder import ModelFolder, write_model_folder

MODELS, BEST_MODELS = "models", "best_models"  # folders of a run, in which each model is named by its step
BEST_BY = "best_by"  # in the manifest of a best one: by what


class Kept(NamedTuple):
    """A model that did well."""

    folder: Path
    step: int
    select: str  # the name of the number by which it was chosen
    number: float
    score: list[float]  # the number with its sign, and the loss with its own, to break ties


def kept_at(run: Path, step: int, select: str, number: float, score: list[float]) -> Kept:
    """The model of a step, in its place."""
    return Kept(run / BEST_MODELS / f"{step:09d}", step, select, number, score)


def keep_last(run: Path, step: int, model: ModelFolder, select: str, number: float, count: int) -> None:
    """Write the model of a validation, and drop all but the last ones."""
    write_model_folder(run / MODELS / f"{step:09d}", model, {select: number})
    for old in sorted((run / MODELS).glob("[0-9]*"))[:-count]:
        shutil.rmtree(old, ignore_errors=True)


def keep_best(run: Path, model: ModelFolder, now: Kept, count: int) -> None:
    """Write the model of a validation where it is among the best, and drop what no longer is.

    Models of later steps, from before a stop, are left to the validations that make them again; scores of another
    number cannot be compared.
    """
    known = [kept for kept in ranked(run) if kept.select == now.select]
    later = [kept.folder for kept in known if kept.step > now.step]
    before = [kept for kept in known if kept.step < now.step]
    best = sorted([*before, now], key=lambda kept: kept.score, reverse=True)[:count]  # the first of equal ones
    if now in best:
        said = {"select": now.select, "number": now.number, "score": now.score}
        write_model_folder(now.folder, model, {now.select: now.number, "step": now.step, BEST_BY: said})
    for folder in (run / BEST_MODELS).glob("[0-9]*"):
        if folder not in later and folder not in [kept.folder for kept in best]:
            shutil.rmtree(folder, ignore_errors=True)


def ranked(run: Path) -> list[Kept]:
    """The models that a run keeps as its best, the best first; what is no whole model is passed over."""
    found = []
    for folder in sorted((run / BEST_MODELS).glob("[0-9]*")):
        with suppress(SequencingError, OSError, KeyError, TypeError, ValueError):
            manifest = check_manifest(folder, every_byte=False)
            said, step = manifest[BEST_BY], int(manifest["step"])
            score = list(map(float, said["score"]))
            found.append(kept_at(run, step, str(said["select"]), float(said["number"]), score))
    return sorted(found, key=lambda kept: kept.score, reverse=True)


def last_models(run: Path, count: int) -> list[Path]:
    """The models of the last validations of a run, oldest first; UsageError where it has not kept so many."""
    check_run(run)
    kept = sorted(path for path in (run / MODELS).glob("[0-9]*") if (path / MANIFEST).is_file())
    check_count(run, len(kept), count, "--last", "train.keep_models", "the models of {} validations")
    return kept[-count:]


def best_models(run: Path, count: int) -> list[Path]:
    """The models of a run that did best, the best first; UsageError where it has not kept so many."""
    check_run(run)
    kept = ranked(run)
    check_count(run, len(kept), count, "--best", "train.keep_best", "{} best models")
    return [each.folder for each in kept[:count]]


def check_run(run: Path) -> None:
    if not run.is_dir():
        raise ModelError(f"{run}: no such folder; give a run folder")


def check_count(run: Path, kept: int, wanted: int, option: str, setting: str, what: str) -> None:
    if kept < wanted:
        advice = f", or give {option} {kept}" if kept > 1 else ""
        raise UsageError(
            f"{run}: has kept {what.format(kept)}, {option} asks for {wanted}; set {setting} = {wanted} before "
            f"training{advice}"
        )
