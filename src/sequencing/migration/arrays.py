"""The arrays of the first framework by their names; what they mean is not known here."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sequencing_np.bytestream import reason
from sequencing_np.errors import ModelError

# Nothing that an answer depends on: counters, the optimiser's moments, the estimate of rewards.
NOT_NEEDED = re.compile(r"global_step|beta[12]_power|(?:.*/)?Adam[^/]*|baseline/.+")
READ = "docs/migration.md says what is read"


class Originals:
    """The arrays of a file; each is taken once, and one that nobody takes is an error."""

    def __init__(self, path: Path) -> None:
        self.path, self.left = path, read_npz(path)

    def matches(self, pattern: re.Pattern[str]) -> Iterator[re.Match[str]]:
        """The names of arrays that nobody has taken."""
        for name in sorted(self.left):
            if match := pattern.fullmatch(name):
                yield match

    def scope(self, ending: str) -> str:
        """What stands before the ending of the one array that has it: a scope that its owner chose."""
        scopes = [match[1] for match in self.matches(re.compile(rf"((?:.+/)?){re.escape(ending)}"))]
        if len(scopes) != 1:
            found = " and ".join(repr(scope + ending) for scope in scopes) or "none"
            raise ModelError(f"{self.path}: one array must be named {ending} in some scope, there is {found}; {READ}")
        return scopes[0]

    def take(self, name: str, *shape: int | None) -> np.ndarray:
        """An array of a shape, None where any size is allowed."""
        if name not in self.left:
            raise ModelError(f"{self.path}: no array {name!r}; {READ}")
        array = self.left.pop(name)
        sizes = zip(shape, array.shape, strict=False)
        if array.ndim != len(shape) or not all(size in (None, own) and own > 0 for size, own in sizes):
            wanted = " x ".join("any" if size is None else str(size) for size in shape)
            raise ModelError(f"{self.path}: {name!r} has the shape {array.shape}, it must be {wanted}; {READ}")
        if array.dtype.kind != "f" or not np.isfinite(array).all():
            raise ModelError(f"{self.path}: {name!r} ({array.dtype}) holds what is no finite number; {READ}")
        return array.astype(np.float32)

    def linear(self, scope: str, inputs: int, outputs: int | None) -> dict[str, np.ndarray]:
        """A map of theirs, x W + b, as one of ours, x W^T + b."""
        weight = self.take(f"{scope}weights", inputs, outputs)
        return {"weight": weight.T, "bias": self.take(f"{scope}biases", weight.shape[1])}

    def rest(self) -> list[str]:
        """The names of what nobody took, which may be what no answer depends on and nothing else."""
        other = [name for name in sorted(self.left) if not NOT_NEEDED.fullmatch(name)]
        if other:
            shown = ", ".join(map(repr, other[:4])) + (" …" if len(other) > 4 else "")
            raise ModelError(f"{self.path}: this model has no place for {len(other)} of its arrays, {shown}; {READ}")
        return sorted(self.left)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an .npz file. Nothing in it is run: an array of objects is an error."""
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("no .npz, which is a zip archive, or a part of one")
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            arrays = {name: archive[name] for name in archive.files}
        if strange := next((name for name, array in arrays.items() if not isinstance(array, np.ndarray)), None):
            raise ValueError(f"{strange!r} in it is no array")
        return arrays
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({reason(error)}); give the .npz of a model") from None
    except (ValueError, EOFError, KeyError, TypeError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise ModelError(f"{path}: not arrays by their names ({error}); give what tools/ckpt2npz.py wrote") from None
