"""What makes a prepared folder whole: manifest.json, written last, and what is checked before a folder is used.

    manifest.json        format, sizes and check sums of the files (train/store.json has those of the store), the
                         configuration, what the inputs are recognised by
    prepare.json         the configuration, every option with its value
    source.vocab.json target.vocab.json
    train/               the store of the training pairs
    dev.tsv test.tsv     held-out text, cleaned; each only where there is some
    report.txt report.json report.html
    work/                while it is being made

Knows nothing of how the files are made.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sequencing.data.store import INFO, verify
from sequencing_np.errors import DataError
from sequencing_np.manifest import MANIFEST, Kind, check_manifest, files_of, write_manifest
from sequencing_np.model_folder import VOCABULARIES

CONFIG, STORE, WORK = "prepare.json", "train", "work"
REPORTS = ("report.txt", "report.json", "report.html")
PREPARED = Kind(
    name="prepared",
    format=1,
    error=DataError,
    what="give one that `sequencing prepare` has written",
    absent="it is none that `sequencing prepare` has written",
    again="prepare the text again",
    missing="missing, changed or damaged",
    differs="missing, changed or damaged",
)
UNFINISHED = "its preparation was not finished: call the same `sequencing prepare` again"
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


def write_prepared(folder: Path, extra: Mapping[str, Any]) -> None:
    """Write the manifest of a finished folder. For what is in the store, the store's own description vouches."""
    inside = {f"{STORE}/{INFO}"}
    names = [name for name in files_of(folder) if name.partition("/")[0] not in (WORK, STORE) or name in inside]
    write_manifest(folder, extra, PREPARED, names)


def is_whole(folder: Path) -> bool:
    """Whether the preparation of the folder has come to its end."""
    return (folder / MANIFEST).is_file()


def read_prepared(folder: Path, *, every_byte: bool = False) -> Prepared:
    """A prepared folder whose files have the sizes, or with `every_byte` the check sums, that its manifest names."""
    unfinished = (folder / WORK).is_dir()
    kind = PREPARED._replace(absent=UNFINISHED) if unfinished else PREPARED
    content = check_manifest(folder, kind, every_byte)
    if every_byte:
        verify(folder / STORE)
    return Prepared(folder, content)
