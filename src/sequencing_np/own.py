"""Functions and classes of a user's own, found by "module:function" or "file.py:function", and what is said of them.

A module is looked for in the current folder first, as `python -m` does, then among the installed ones.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from sequencing_np.errors import ConfigError


def search_here() -> None:
    """Let modules of the user's be found in the current folder, and there first, as `python -m` does."""
    here = os.getcwd()  # noqa: PTH109 (sys.path holds texts)
    if not {"", here} & set(sys.path):
        sys.path.insert(0, here)


def load_own(name: str, setting: str, folder: Path = Path(), kind: str = "function") -> Any:
    """What the name stands for; a file is relative to `folder`. ConfigError, which names the setting, where nothing."""
    place, colon, attribute = name.rpartition(":")
    if not (colon and place and attribute):
        raise ConfigError(f"{setting} {name!r}: write module:{kind}, or file.py:{kind}")
    is_file = place.endswith(".py")
    module = from_file(folder / place, f"{setting} {name!r}") if is_file else from_module(name, place, setting, kind)
    found = getattr(module, attribute, None)
    if not callable(found):
        raise ConfigError(f"{setting} {name!r}: {place} has no {kind} {attribute!r}")
    return found


def from_module(name: str, place: str, setting: str, kind: str) -> ModuleType:
    search_here()
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise broken(f"{setting} {name!r}", error) from error
        where = "in the current folder or among the installed ones"
        advice = f"for a file write {place}.py:{kind}"
        raise ConfigError(f"{setting} {name!r}: there is no module {place!r} {where}; {advice}") from None
    except Exception as error:  # it is the user's module: whatever is wrong in it is theirs to mend
        raise broken(f"{setting} {name!r}", error) from error


def from_file(path: Path, called: str) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"{called}: there is no file {path}")
    known = f"own_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(known, path)
    assert spec is not None and spec.loader is not None  # the name ends in .py
    module = sys.modules[known] = importlib.util.module_from_spec(spec)  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[known]
        raise broken(called, error) from error
    return module


def broken(called: str, error: Exception) -> ConfigError:
    return ConfigError(f"{called}: its module cannot be imported: {said(error)}; mend it")


def said(error: Exception) -> str:
    """An exception in a line, with the place that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"
