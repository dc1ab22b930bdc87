"""What the inputs are recognised by: size, check sum and lines of each file, read whole before anything else is done.

So a damaged file is found before the work begins, and one that changes between two calls before it is mixed with what
was made of the other. What can be read only once (standard input, a pipe) is recognised by nothing before it was read.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path

from sequencing.corpora.unpacking import ALL_PACKINGS
from sequencing.data.corpus import FilePrint
from sequencing.data.hashed_file import HashedFile
from sequencing_np.bytestream import read_chunks
from sequencing_np.errors import DataError


def print_of(path: str) -> FilePrint:
    """Reads a file to its end. DataError where it cannot be read, or unpacked."""
    with HashedFile(Path(path)) as file:
        lines, last = 0, b"\n"
        for chunk in read_chunks(file, file.name, ALL_PACKINGS):
            lines += chunk.count(b"\n")
            last = chunk[-1:] or last
        return FilePrint(file.name, file.size, file.sha256, lines + (last != b"\n"))


def read_once(path: str) -> bool:
    """Whether a file is none that can be read a second time."""
    try:
        mode = Path(path).stat().st_mode
    except OSError:
        return path == "-"
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def same_inputs(before: Sequence[Sequence[object]], now: Sequence[FilePrint], folder: Path) -> None:
    """DataError where a file is not what a preparation was begun with, or there are more or fewer files."""
    old = {str(row[0]): FilePrint(*row) for row in before}  # type: ignore[arg-type]
    new = {each.file: each for each in now}
    said = []
    for name, each in new.items():
        if name not in old:
            said.append(f"{name} was no part of it")
        elif old[name] != each:
            was = old[name]
            said.append(
                f"{name} had {was.size} bytes, {was.lines} lines, sha256 {was.sha256[:12]}, and has now {each.size} "
                f"bytes, {each.lines} lines, sha256 {each.sha256[:12]}"
            )
    said += [f"{name} is no part of it any more" for name in old if name not in new]
    if said:
        raise DataError(
            f"the input is not what the preparation of {folder} was begun with: {'; '.join(said)}. Bring the files "
            f"back, give a new folder, or take {folder} away to begin again"
        )
