"""A model on disk: what the trainer saves and the runtime loads, checked to the byte.

config.json (architecture and length limits), weights.safetensors, source.vocab.json, target.vocab.json, manifest.json.
Which library runs the model is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sequencing_np import disk
from sequencing_np.compact import compact, widened
from sequencing_np.config import Origin, build, parse_json, to_dict
from sequencing_np.errors import ConfigError, ModelError
from sequencing_np.limits import Limits
from sequencing_np.manifest import MANIFEST, check_manifest, write_manifest
from sequencing_np.model import ModelConfig, model_config
from sequencing_np.shortlist import SHORTLIST, Shortlist, read_shortlist, write_shortlist
from sequencing_np.vocab import Vocabulary, load_vocab, save_vocab
from sequencing_np.weights import WEIGHTS, read_safetensors, write_safetensors
from sequencing_np.writing import atomic_write

CONFIG = "config.json"
VOCABULARIES = ("source.vocab.json", "target.vocab.json")


class ModelFolder(NamedTuple):
    """Everything a model folder holds."""

    config: ModelConfig
    limits: Limits  # how long an answer may be, as seen in training
    source_vocab: Vocabulary
    target_vocab: Vocabulary
    weights: dict[str, np.ndarray]
    shortlist: Shortlist | None = None


def read_model_folder(folder: str | Path) -> ModelFolder:
    """A model folder whose files all agree with its manifest. ModelError names the file that does not."""
    folder = Path(folder)
    put_back(folder)
    listed = check_manifest(folder)["files"]
    for name in (CONFIG, WEIGHTS, *VOCABULARIES):
        if name not in listed:
            raise ModelError(f"{folder / MANIFEST}: does not list {name}; this is no model folder")
    config, limits = read_config(folder / CONFIG)
    texts = [(folder / name).read_bytes() for name in VOCABULARIES]
    source = load_vocab(folder / VOCABULARIES[0])
    target = source if texts[0] == texts[1] else load_vocab(folder / VOCABULARIES[1])  # a joint one is read once
    for vocab, size, name in zip((source, target), (config.source_size, config.target_size), VOCABULARIES, strict=True):
        if len(vocab) != size:
            raise ModelError(f"{folder / name}: {len(vocab)} ids, the model has {size}; it belongs to another model")
    for vocab, factors, name in zip((source, target), (config.source_factors, ()), VOCABULARIES, strict=True):
        if vocab.factor_sizes != factors:
            raise ModelError(
                f"{folder / name}: factors of {list(vocab.factor_sizes)} values, the model has {list(factors)}; it "
                "belongs to another model"
            )
    for vocab, vectors, name in zip((source, target), (config.source_vectors, False), VOCABULARIES, strict=True):
        if bool(vocab.vector_size) != vectors:
            own, read = ("text", "vectors") if vectors else ("vectors", "text")
            raise ModelError(f"{folder / name}: is of {own}, on this side the model has {read}; it is another model's")
    weights = widened(read_safetensors(folder / WEIGHTS), str(folder / WEIGHTS))
    for name, array in weights.items():
        if not np.isfinite(array).all():
            raise ModelError(f"{folder / WEIGHTS}: {name} holds what is no finite number; its training went wrong")
    sizes = (config.source_size, config.target_size)
    shortlist = read_shortlist(folder / SHORTLIST, *sizes) if SHORTLIST in listed else None
    return ModelFolder(config, limits, source, target, weights, shortlist)


def read_config(path: Path) -> tuple[ModelConfig, Limits]:
    """The architecture and the length limits of a model folder."""
    try:
        values = parse_json(path.read_text(encoding="utf-8"), str(path))
        origin = Origin(str(path))
        return model_config(values["model"], origin, ("model",)), build(Limits, values["limits"], origin, ("limits",))
    except (OSError, UnicodeDecodeError, KeyError, TypeError, ConfigError) as error:
        raise ModelError(f"{path}: cannot be read as a model's configuration: {error}") from None


def write_model_folder(folder: Path, model: ModelFolder, extra: Mapping[str, Any] | None = None) -> None:
    """Write all files beside the folder's place, then move them there: it is whole or as it was before.

    `extra` goes into the manifest (the step, the measured quality).
    """
    fresh = folder.with_name(f".{folder.name}.new")
    disk.make_folder(fresh)
    content = {"model": to_dict(model.config), "limits": to_dict(model.limits)}
    with atomic_write(fresh / CONFIG) as file:
        file.write(json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")
    write_safetensors(fresh / WEIGHTS, model.weights)
    for vocab, name in zip((model.source_vocab, model.target_vocab), VOCABULARIES, strict=True):
        save_vocab(vocab, fresh / name)
    if model.shortlist is not None:
        write_shortlist(fresh / SHORTLIST, model.shortlist)
    write_manifest(fresh, extra)
    replace_folder(fresh, folder)


def store_weights(folder: Path, kind: str) -> None:
    """Write the weights of a folder anew, as a row of compact.KINDS; its manifest is the caller's matter."""
    path = folder / WEIGHTS
    write_safetensors(path, compact(widened(read_safetensors(path), str(path)), kind))


def replace_folder(fresh: Path, folder: Path) -> None:
    """Put a finished folder in the place of another one; the old one is removed only after the new one stands.

    Where the system cannot exchange two names at once, there is a moment without a folder of this name: who finds the
    old one set aside puts it back (`put_back`).
    """
    old = folder.with_name(f".{folder.name}.old")
    put_back(folder)
    disk.remove(old)
    if not folder.exists():
        disk.move(fresh, folder)
    elif disk.exchange(fresh, folder):
        old = fresh
    else:
        disk.move(folder, old)
        disk.move(fresh, folder)
    disk.sync_folder(folder.parent)
    with suppress(OSError):  # what is left of it does no harm and goes when the next one comes
        disk.remove(old)


def put_back(folder: Path) -> None:
    """Mend a replacement that was cut off between its two renamings: the folder as it was before stands again."""
    old = folder.with_name(f".{folder.name}.old")
    if old.is_dir() and not folder.exists():
        with suppress(OSError):  # on a disk that cannot be written to
            disk.move(old, folder)


def copy_model_folder(folder: Path, target: Path, changes: Sequence[Callable[[Path], None]] = ()) -> None:
    """Copy a checked model folder to a new place; ModelError when something else stands there.

    `changes` write other files into the copy before it is put there.
    """
    import shutil  # not for who only reads

    manifest = check_manifest(folder)
    if target.exists() and not (target / MANIFEST).is_file() and (not target.is_dir() or any(target.iterdir())):
        raise ModelError(f"{target}: exists and is no model folder; give a new or empty folder")
    fresh = target.with_name(f".{target.name}.new")
    disk.remove(fresh)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(folder, fresh)
    check_manifest(fresh)
    for change in changes:
        change(fresh)
    if changes:
        own = ("format", "files", "digest")
        write_manifest(fresh, {key: value for key, value in manifest.items() if key not in own})
    replace_folder(fresh, target)
