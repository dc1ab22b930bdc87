"""What has come of a file that is not whole yet, and the notes that say what it is a part of.

NAME.part holds the bytes, NAME.part.json says from where they are and which version of the file they belong to. Knows
nothing of HTTP.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from sequencing.fetch.meter import amount
from sequencing_np.config import parse_json
from sequencing_np.errors import ConfigError
from sequencing_np.writing import atomic_write


@dataclass(frozen=True)
class Download:
    """A file that is wanted."""

    address: str
    path: Path
    size: int = 0  # bytes; 0: not known
    sha256: str = ""  # empty: not known
    said_by: str = "the catalogue"  # whose size and sum these are

    @property
    def part(self) -> Path:
        """What has come of it so far."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def notes(self) -> Path:
        """What that is a part of."""
        return self.path.with_name(f"{self.path.name}.part.json")


class Notes(NamedTuple):
    """Which file a part belongs to: `validator` is a strong ETag or a date by which the server knows its version."""

    address: str
    validator: str
    total: int  # bytes; 0: not known


class Stale(Exception):
    """What is there cannot be continued; says why."""


def what_is_there(wanted: Download) -> tuple[int, Notes]:
    """Bytes that can be continued, and of what. Stale where there are some that cannot."""
    kept = size_of(wanted.part)
    if not kept:
        return 0, Notes(wanted.address, "", 0)
    try:
        values = parse_json(wanted.notes.read_bytes().decode(), str(wanted.notes))
        notes = Notes(str(values["address"]), str(values["validator"]), int(values["total"]))
    except (OSError, UnicodeDecodeError, ConfigError, KeyError, TypeError, ValueError):
        raise Stale(f"{amount(kept)} lie there of which nobody knows what they are a part of") from None
    if notes.address != wanted.address:
        raise Stale(f"{amount(kept)} lie there that came from another address") from None
    if not notes.validator and not wanted.sha256:
        raise Stale("the server did not say by what to know this version of the file again")
    total = notes.total or wanted.size
    if total and kept > total:
        raise Stale(f"{kept:,} bytes lie there of a file of {total:,}")
    return kept, notes


def keep_notes(wanted: Download, notes: Notes) -> None:
    with atomic_write(wanted.notes) as file:
        file.write(json.dumps(notes._asdict(), indent=1).encode())


def clear(wanted: Download) -> None:
    """Forget the part."""
    wanted.part.unlink(missing_ok=True)
    wanted.notes.unlink(missing_ok=True)


def size_of(path: Path) -> int:
    """Bytes of a file, 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


@contextlib.contextmanager
def opened_part(wanted: Download, start: int) -> Iterator[IO[bytes]]:
    """The part, ready for byte `start`; on the disk when it is closed, also after an error."""
    with wanted.part.open("ab") as file:
        file.truncate(start)
        try:
            yield file
        finally:
            with contextlib.suppress(OSError):
                file.flush()
                os.fsync(file.fileno())
