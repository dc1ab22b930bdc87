"""What makes a prepared folder whole: manifest.json, written last, and what is checked before a folder is used.

    manifest.json        format, sizes and check sums of all files, the configuration, what the inputs are recognised by
    prepare.json         the configuration, every option with its value
    source.vocab.json target.vocab.json
    train/               the store of the training pairs
    dev.tsv test.tsv     held-out text, cleaned; each only where there is some
    report.txt report.json report.html
    work/                while it is being made

Knows nothing of how the files are made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sequencing_np.config import parse_json
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.model_folder import VOCABULARIES
from sequencing_np.text import atomic_write
from sequencing_np.weights import MANIFEST, digest, sha256

FORMAT = 1  # of a prepared folder; raised when an older program could misread a newer folder
KIND = "prepared"
CONFIG, STORE, WORK = "prepare.json", "train", "work"
REPORTS = ("report.txt", "report.json", "report.html")
OWN = {MANIFEST, CONFIG, STORE, WORK, "dev.tsv", "test.tsv", *VOCABULARIES, *REPORTS}


class Prepared(NamedTuple):
    """A whole prepared folder."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def store(self) -> Path:
        """The training pairs."""
        return self.folder / STORE

    @property
    def vocabularies(self) -> tuple[Path, Path]:
        """Of source and target."""
        source, target = (self.folder / name for name in VOCABULARIES)
        return source, target

    def held_out(self, name: str) -> Path | None:
        """The text of "dev" or "test", where there is any."""
        return self.folder / f"{name}.tsv" if f"{name}.tsv" in self.manifest["files"] else None


def files_of(folder: Path) -> Iterator[str]:
    """All files of a folder that its manifest speaks of."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and name.parts[0] not in (MANIFEST, WORK):
            yield name.as_posix()


def write_manifest(folder: Path, extra: Mapping[str, Any]) -> None:
    """Write manifest.json over all other files of the folder."""
    files = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)} for name in files_of(folder)
    }
    content = {"format": FORMAT, "kind": KIND, **extra, "files": files}
    content["digest"] = digest(content)
    with atomic_write(folder / MANIFEST) as file:
        file.write(json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")


def is_whole(folder: Path) -> bool:
    """Whether the preparation of the folder has come to its end."""
    return (folder / MANIFEST).is_file()


def read_prepared(folder: Path, *, every_byte: bool = False) -> Prepared:
    """A prepared folder whose files have the sizes, or with `every_byte` the check sums, that its manifest names."""
    path = folder / MANIFEST
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; give one that `sequencing prepare` has written")
    if not path.is_file():
        unfinished = "its preparation was not finished: call the same `sequencing prepare` again"
        other = "it is none that `sequencing prepare` has written"
        raise DataError(f"{folder}: no {MANIFEST}; {unfinished if (folder / WORK).is_dir() else other}")
    try:
        content = parse_json(path.read_text(encoding="utf-8"), str(path))
        version, kind, files = content["format"], content["kind"], content["files"]
        entries = {str(name): (int(entry["bytes"]), str(entry["sha256"])) for name, entry in files.items()}
    except (ConfigError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: damaged or of another kind ({error}); prepare the text again") from None
    if kind != KIND or version != FORMAT:
        raise DataError(
            f"{path}: {kind!r} of format {version!r}; this program reads {KIND!r} of {FORMAT}: prepare again"
        )
    if content.get("digest") != digest(content):
        raise DataError(f"{path}: changed or damaged, its digest does not fit; prepare the text again")
    for name, (size, checksum) in entries.items():
        file = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise DataError(f"{path}: names {name!r}, which lies outside the folder")
        if not file.is_file() or file.stat().st_size != size or (every_byte and sha256(file) != checksum):
            raise DataError(f"{file}: missing, changed or damaged; prepare the text again")
    return Prepared(folder, content)
