"""What a run writes down and others read: records (dicts) as JSON lines, their numbers, and their text made visible.

Written by the logs of training, read by the report and by those who follow a run. Reading forgives: a run may have been
killed in the middle of a line. Knows nothing of what the records mean.
"""

import json
import math
import os
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy

from sequencing_np.writing import atomic_write

Record = Mapping[str, Any]


class Records(NamedTuple):
    """The records of a JSON lines file, and the number of lines that were none (cut by a kill, say)."""

    records: list[dict[str, Any]]
    damaged: int


def read_records(path: Path) -> Records:
    """All the records of a log in order; lines that are no JSON object are counted, not fatal."""
    records: list[dict[str, Any]] = []
    damaged = 0
    with path.open("rb") as file:
        for line in file:
            if not line.strip():
                continue
            record = parsed(line)
            if record is None:
                damaged += 1
            else:
                records.append(record)
    return Records(records, damaged)


def parsed(line: bytes) -> dict[str, Any] | None:
    """The record of a line; None where it holds none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


COMPARED = 64  # bytes before the place, by which a file is known again


class Follower:
    """What is added to a log that another process writes, from call to call. It holds a place, never the file.

    A run that goes on after a stop writes its log anew, shorter: then all of it is read again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity = (0, 0)
        self._place, self._before = 0, b""
        self.changed = 0.0  # when the file was last written, as it says; 0: there is none

    def began_anew(self) -> bool:
        """To be asked before `news`: whether what was read so far is no longer what the file begins with."""
        try:
            with self._path.open("rb") as file:
                facts = os.fstat(file.fileno())
                file.seek(self._place - len(self._before))
                same = file.read(len(self._before)) == self._before
        except OSError:
            identity, self.changed, same = (0, 0), 0.0, False
        else:
            identity, self.changed = (facts.st_dev, facts.st_ino), facts.st_mtime
        if same and (identity == self._identity or not self._place):
            self._identity = identity
            return False
        had_read = self._place > 0
        self._identity, self._place, self._before = identity, 0, b""
        return had_read

    def news(self) -> Iterator[dict[str, Any]]:
        """The records since the last call, one after the other; a line that is not yet whole waits."""
        try:
            file = self._path.open("rb")
        except OSError:
            return
        with file:
            file.seek(self._place)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._place, self._before = self._place + len(line), (self._before + line)[-COMPARED:]
                if (record := parsed(line)) is not None:
                    yield record


def json_line(record: Record) -> bytes:
    """One valid line of JSON, with its line feed; NaN and the infinities become null."""
    simple = plain(record)
    try:
        return json.dumps(simple, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except UnicodeEncodeError:  # a lone surrogate
        return json.dumps(simple, allow_nan=False).encode() + b"\n"


def plain(value: Any) -> Any:
    """The value as JSON knows it: arrays and array scalars as lists and numbers, NaN and the infinities as None."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    simpler = numpy.asarray(value).tolist()
    if simpler is value:
        raise TypeError(f"a record holds a {type(value).__name__}; allowed are numbers, text, arrays, lists and dicts")
    return plain(simpler)


def number(value: Any) -> float | None:
    """A finite number that is no truth value, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        return None
    return float(value)


def visible(text: str) -> str:
    """The text with all that could move the cursor, break the line or turn the direction shown as an escape."""
    return "".join(_escape(c) if unicodedata.category(c) in HIDDEN or c in TURNING else c for c in text)


HIDDEN = {"Cc", "Cs", "Zl", "Zp"}  # controls, lone surrogates, line and paragraph separators
TURNING = {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}  # bidirectional overrides


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def write_json(path: Path, content: Any) -> None:
    """A JSON file, whole or not at all."""
    with atomic_write(path) as file:
        file.write(json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """What stands in nested tables and lists of tables, by dotted names; a table that is empty stands for itself."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from leaves(item, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for place, item in enumerate(value, 1):
            yield from leaves(item, f"{path} {place}")
    else:
        yield path, value
