"""Zip archives of strangers: looked through before anything is unpacked, and unpacked into streams that others open.

An archive with one hostile entry is refused as a whole. Knows nothing of what its files hold.
"""

import contextlib
import lzma
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from sequencing_np.bytestream import CHUNK
from sequencing_np.errors import DataError

SMALLEST_BOMB = 64 << 20  # bytes; below it, no ratio is suspicious
RATIO = 250  # the most that an archive may grow by: text shrinks to a fifth or a twentieth, rarely to a hundredth
MOST_ENTRIES = 10_000
ENCRYPTED = 0x1
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


def fault_of(name: str) -> str:
    """Why a path may not be written below a folder, in words; empty where it may."""
    parts = re.split(r"[/\\]", name)
    rules = (
        (not name.strip(), "it is empty"),
        ("\0" in name, "it holds a NUL character"),
        (any(not character.isprintable() for character in name), "it holds a control character"),
        (name[:1] in ("/", "\\", "~"), "it does not begin in the folder"),
        (re.match(r"[A-Za-z]:", name) is not None, "it begins with a drive letter"),
        (":" in name, "it holds a colon"),
        (".." in parts, "it leads out of the folder (..)"),
        ("\\" in name, "it holds a backslash"),
        ("." in parts or "" in parts, "a part of it is empty or a dot"),
        (any(part.partition(".")[0].strip().lower() in RESERVED for part in parts), "a system has reserved it"),
        (any(part != part.rstrip(" .") for part in parts), "a part of it ends in a space or a dot"),
    )
    return next((words for broken, words in rules if broken), "")


DAMAGE: tuple[type[Exception], ...] = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(NotImplementedError, RuntimeError, EOFError, OSError, ValueError, IndexError),  # IndexError: an empty name
)


@contextlib.contextmanager
def open_archive(path: Path) -> Iterator["Archive"]:
    """A zip file that has been looked through; DataError where it is damaged or does what no corpus does."""
    with contextlib.ExitStack() as stack:
        with readable(path):
            archive = Archive(path, stack.enter_context(zipfile.ZipFile(path)))
        yield archive


@contextlib.contextmanager
def readable(path: Path) -> Iterator[None]:
    """What zipfile says of a damaged archive as a DataError; around nothing that writes."""
    try:
        yield
    except DAMAGE as error:
        advice = f"remove {path} and fetch it again, or look at it with unzip -t"
        why = str(error) or type(error).__name__
        raise DataError(f"{path}: no zip archive that can be unpacked ({why}); {advice}") from None


class Archive:
    """A zip file and its members."""

    def __init__(self, path: Path, opened: zipfile.ZipFile) -> None:
        self.path, self._zip = path, opened
        self._unpack = opened.open  # always bytes
        self.check()
        self.names = [entry.filename for entry in opened.infolist() if not entry.is_dir()]

    def check(self) -> None:
        """DataError for a name, a link or a size that nobody should unpack."""
        entries, size = self._zip.infolist(), self.path.stat().st_size
        if len(entries) > MOST_ENTRIES:
            raise self._refusal(f"it has {len(entries):,} entries; {MOST_ENTRIES:,} are allowed")
        seen: set[str] = set()
        for entry in entries:
            given = entry.orig_filename  # zipfile cuts the other one at a NUL
            fault = fault_of(given.rstrip("/") if given.endswith("/") and len(given) > 1 else given)
            if fault:
                raise self._refusal(f"the path of its entry {given[:80]!r} is not allowed: {fault}")
            if stat.S_ISLNK(entry.external_attr >> 16):
                raise self._refusal(f"its entry {given[:80]!r} is a link")
            if entry.flag_bits & ENCRYPTED:
                raise self._refusal(f"its entry {given[:80]!r} is locked with a password")
            if given.lower() in seen:
                raise self._refusal(f"it has two entries {given[:80]!r}")
            seen.add(given.lower())
        unpacked, packed = sum(entry.file_size for entry in entries), sum(entry.compress_size for entry in entries)
        if unpacked > max(SMALLEST_BOMB, RATIO * size):
            raise self._refusal(f"{size:,} bytes would become {unpacked:,}, more than {RATIO} times as many")
        if packed > size:
            raise self._refusal("its entries lie over one another")

    def chunks(self, member: str) -> Iterator[bytes]:
        """The bytes of a member, its size and check sum compared."""
        entry = self._zip.getinfo(member)
        unpacked = 0
        with contextlib.ExitStack() as stack:
            with readable(self.path):
                stream = stack.enter_context(self._unpack(entry))
            while True:
                with readable(self.path):
                    chunk = stream.read(CHUNK)
                if not chunk:
                    break
                unpacked += len(chunk)
                if unpacked > entry.file_size:
                    raise self._refusal(f"its entry {member!r} is larger than it says")
                yield chunk
        if unpacked != entry.file_size:
            raise DataError(f"{self.path}: {member}: {unpacked:,} bytes instead of {entry.file_size:,}; it is damaged")

    def size_of(self, member: str) -> int:
        """Bytes of a member when it is unpacked, as the archive says."""
        return self._zip.getinfo(member).file_size

    def _refusal(self, why: str) -> DataError:
        return DataError(f"{self.path}: this archive is not unpacked: {why}; look at it with unzip -l")
