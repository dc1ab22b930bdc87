"""What makes a folder whole: manifest.json, written last, with the size and the sha256 of its files and its own digest.

Which folders there are, and what is said where one is not in order, their owners say: each is a Kind.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sequencing_np.config import parse_json
from sequencing_np.errors import ConfigError, ModelError, SequencingError
from sequencing_np.writing import atomic_write

MANIFEST = "manifest.json"


class Kind(NamedTuple):
    """What a folder is, and the words for one that is not in order."""

    name: str  # of the kind, as its manifest has it; empty: it has none
    format: int  # raised when an older program could misread a newer folder; older formats are read for ever
    error: type[SequencingError]
    what: str  # "give a model folder …"
    absent: str  # where there is no manifest
    again: str  # what to do
    missing: str = "missing"
    differs: str = f"differs from {MANIFEST} (changed or damaged)"
    oldest: int = 1  # format that is read

    def reads(self, version: int) -> bool:
        """Whether folders of this format are read."""
        return self.oldest <= version <= self.format


MODEL = Kind(
    name="",
    format=1,
    error=ModelError,
    what=f"give a model folder (it holds {MANIFEST} and weights.safetensors)",
    absent="this is no model folder, or its writing was interrupted",
    again="copy the model folder again",
)


def sha256(path: Path) -> str:
    """The check sum of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(content: Mapping[str, Any]) -> str:
    """The check sum of what a manifest says besides it."""
    said = {key: value for key, value in content.items() if key != "digest"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def format_of(folder: Path) -> int:
    """The format that the manifest of a folder says, if it is whole; else 0. All formats tell it in the same way."""
    try:
        content = parse_json((folder / MANIFEST).read_text(encoding="utf-8"), "")
        return int(content["format"]) if content["digest"] == digest(content) else 0
    except (ConfigError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return 0


def to_bytes(content: Mapping[str, Any]) -> bytes:
    """A manifest as it stands on disk, to the byte."""
    return json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n"


def files_of(folder: Path) -> list[str]:
    """All files of a folder but its manifest."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST)
    return [path.relative_to(folder).as_posix() for path in paths]


def write_manifest(
    folder: Path, extra: Mapping[str, Any] | None = None, kind: Kind = MODEL, names: Iterable[str] | None = None
) -> None:
    """Write manifest.json over all other files of the folder, or those of these names; it makes the folder whole."""
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
        for name in (files_of(folder) if names is None else names)
    }
    named = {"kind": kind.name} if kind.name else {}
    content = {"format": kind.format, **named, **(extra or {}), "files": files}
    content["digest"] = digest(content)
    with atomic_write(folder / MANIFEST) as file:
        file.write(to_bytes(content))


def check_manifest(folder: Path, kind: Kind = MODEL, every_byte: bool = True) -> dict[str, Any]:
    """The manifest, after every file was compared with it, or its size alone; an error names the first that differs."""
    path = folder / MANIFEST
    if not folder.is_dir():
        raise kind.error(f"{folder}: no such folder; {kind.what}")
    if not path.is_file():
        raise kind.error(f"{folder}: no {MANIFEST}; {kind.absent}")
    try:
        data = path.read_bytes()
        content = parse_json(data.decode(), str(path))
        version, files = content["format"], content["files"]
        entries = {str(name): (int(entry["bytes"]), str(entry["sha256"])) for name, entry in files.items()}
    except (ConfigError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise kind.error(f"{path}: damaged: {error}; {kind.again}") from None
    if not (isinstance(version, int) and kind.reads(version)):
        known = " to ".join(map(str, sorted({kind.oldest, kind.format})))
        raise kind.error(f"{path}: format {version!r}; this program reads {known}: use the version that wrote it")
    if content.get("kind", "") != kind.name:
        raise kind.error(f"{path}: of another kind, {content.get('kind')!r}; {kind.what}")
    if content.get("digest") != digest(content) or data != to_bytes(content):
        raise kind.error(f"{path}: changed or damaged, its digest does not fit; {kind.again}")
    for name, (size, checksum) in entries.items():
        file = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise kind.error(f"{path}: names {name!r}, which lies outside the folder")
        if not file.is_file():
            raise kind.error(f"{file}: {kind.missing}; {kind.again}")
        if file.stat().st_size != size or (every_byte and sha256(file) != checksum):
            raise kind.error(f"{file}: {kind.differs}; {kind.again}")
    return content
