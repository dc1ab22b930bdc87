"""Weights in fewer bytes on disk: float16, or int8 with a scale for each row of a matrix; in memory they are float32.

Both floors widen the same bytes to the same float32 numbers, so they still answer alike. What a weight is for is not
known here. NumPy has no product of int8 matrices that pays: see docs/students.md for what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sequencing_np.errors import ModelError

SCALE = "/scale"  # NAME/scale holds what the rows of NAME are multiplied with; names of weights have no slash
KINDS = ("float32", "float16", "int8")
MOST = 127  # of the integers; -128 is not used, so a row and its negation are alike


def compact(weights: Mapping[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    """Float weights as a row of KINDS stores them. ModelError names the weight that float16 cannot hold.

    int8 stores matrices so; vectors (biases, norms) are few and stay float32.
    """
    found = {}
    for name, array in weights.items():
        if array.dtype.kind != "f":
            found[name] = array
        elif kind == "float16":
            found[name] = halved(name, array)
        elif kind == "int8" and array.ndim == 2:
            found[name], found[name + SCALE] = in_rows(array.astype(np.float32))
        else:
            found[name] = array.astype(np.float32)
    return found


def halved(name: str, array: np.ndarray) -> np.ndarray:  # (...) -> (...) float16
    """The nearest float16 numbers; what is below their range becomes zero."""
    largest = float(np.finfo(np.float16).max)
    if array.size and float(np.abs(array).max()) > largest:
        raise ModelError(
            f"weight {name}: float16 holds numbers up to {largest:.0f}, the largest here is {np.abs(array).max():.6g}; "
            "use --weights float32 or int8"
        )
    return array.astype(np.float16)


def in_rows(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:  # (O, I) -> (O, I) int8, (O,) float32
    """Integers and their scales: of each row the number farthest from zero becomes 127 or -127."""
    scale = np.abs(array).max(axis=1, initial=0.0) / np.float32(MOST)
    return np.rint(array / np.where(scale > 0, scale, 1)[:, None]).clip(-MOST, MOST).astype(np.int8), scale


def widened(arrays: Mapping[str, np.ndarray], place: str) -> dict[str, np.ndarray]:
    """Stored weights as numbers to count with: float16 and int8 become float32, all else is as it was.

    ModelError, beginning with `place`, where integers and scales do not fit each other.
    """
    found = {}
    for name, array in arrays.items():
        if name.endswith(SCALE):
            if arrays.get(name.removesuffix(SCALE), array).dtype != np.int8:
                raise ModelError(f"{place}: {name} scales no int8 weight; export the model again")
        elif array.dtype == np.int8:
            scale = arrays.get(name + SCALE)
            fits = scale is not None and scale.dtype == np.float32 and scale.shape == array.shape[:1]
            if scale is None or not fits or array.ndim != 2:
                given = "none" if scale is None else f"{scale.dtype} {scale.shape}"
                raise ModelError(
                    f"{place}: {name}, int8 {array.shape}, needs float32 scales, one for each row of a matrix; it has "
                    f"{given}; export the model again"
                )
            found[name] = array.astype(np.float32) * scale[:, None]
        else:
            found[name] = array.astype(np.float32) if array.dtype == np.float16 else array
    return found
