"""Names and arrays on disk: safetensors files, read with NumPy alone.

Nothing in them is code, so a stranger's file is safe to load. What the arrays mean is not known here. Format: 8 bytes
little-endian length, a JSON header, then the arrays one after the other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sequencing_np.config import parse_json
from sequencing_np.errors import ConfigError, ModelError
from sequencing_np.writing import atomic_write

WEIGHTS = "weights.safetensors"
MAX_HEADER = 100 << 20

TYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
    "BF16": np.dtype("<u2"),  # the upper half of a float32
}
NAMES = {dtype: name for name, dtype in TYPES.items() if name != "BF16"}


def write_safetensors(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> None:
    """Write named arrays; the file appears whole or not at all."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    begin = 0
    for name in sorted(arrays):
        array = arrays[name]
        kind = NAMES[array.dtype.newbyteorder("<") if array.dtype.itemsize > 1 else array.dtype]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [begin, begin + array.nbytes]}
        begin += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the arrays begin on a multiple of eight
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in sorted(arrays):
            file.write(arrays[name].astype(arrays[name].dtype.newbyteorder("<")).tobytes())


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The named arrays of a file; bfloat16 is widened to float32. ModelError where the file is not in order."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from None
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or not 2 <= length <= min(MAX_HEADER, len(data) - 8):
        raise ModelError(f"{path}: not a safetensors file, or cut short ({len(data)} bytes)")
    try:
        header = parse_json(data[8 : 8 + length].decode(), str(path))
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        check_layout(entries, len(data) - 8 - length)
        return {name: read_array(data, 8 + length, entry) for name, entry in entries.items()}
    except (ConfigError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: damaged: {error}") from None


def check_layout(entries: Mapping[str, Any], size: int) -> None:
    """The arrays lie one after the other and fill the file, so nothing is read twice and nothing is hidden."""
    end = 0
    for first, after in sorted(tuple(entry["data_offsets"]) for entry in entries.values()):
        if first != end:
            raise ValueError("the arrays overlap or leave a hole")
        end = after
    if end != size:
        raise ValueError(f"{size} bytes of arrays, the header speaks of {end}")


def read_array(data: bytes, begin: int, entry: dict[str, Any]) -> np.ndarray:
    """One array of a safetensors file, by its header entry."""
    if entry["dtype"] not in TYPES:
        raise ValueError(f"numbers of the type {entry['dtype']!r}; this program reads {', '.join(TYPES)}")
    dtype, shape = TYPES[entry["dtype"]], [int(size) for size in entry["shape"]]
    first, end = entry["data_offsets"]
    if min(shape, default=0) < 0 or not 0 <= first <= end <= len(data) - begin:
        raise ValueError("an array lies outside the file")
    if math.prod(shape) * dtype.itemsize != end - first:
        raise ValueError(f"an array of shape {shape} does not fit into {end - first} bytes")
    array = np.frombuffer(data, dtype, math.prod(shape), begin + first).reshape(shape)
    if entry["dtype"] == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array


def nest(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Flat dotted names as nested dictionaries; groups named 0, 1, 2 … as lists."""
    tree: dict[str, Any] = {}
    for name, array in arrays.items():
        *groups, leaf = name.split(".")
        branch = tree
        for group in groups:
            branch = branch.setdefault(group, {})
            if not isinstance(branch, dict):
                raise ModelError(f"weight {name!r}: {group!r} is a weight and a group at once")
        if leaf in branch:
            raise ModelError(f"weight {name!r}: is a weight and a group at once")
        branch[leaf] = array
    return listed(tree)


def listed(tree: Any) -> Any:
    """Dictionaries whose keys are 0, 1, 2 … as lists."""
    if not isinstance(tree, dict):
        return tree
    if tree and set(tree) == {str(index) for index in range(len(tree))}:
        return [listed(tree[str(index)]) for index in range(len(tree))]
    return {key: listed(value) for key, value in tree.items()}
