"""A function of the user's own, found by "module:function" or "file.py:function", and what is said when it fails."""

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from sequencing_np.errors import ConfigError, DataError

Pair = tuple[str, str]
OwnFunction = Callable[[str, str], Pair | None]


def load_function(name: str, folder: Path) -> OwnFunction:
    """The function of a name; a file is relative to `folder`. ConfigError where there is none."""
    place, colon, function = name.rpartition(":")
    if not colon or not place or not function:
        raise ConfigError(f"function = {name!r}: write module:function, or file.py:function")
    module = _from_file(folder / place, name) if place.endswith(".py") else _from_module(place, name)
    found = getattr(module, function, None)
    if not callable(found):
        raise ConfigError(f"function = {name!r}: {place} has no function {function!r}")
    return found


def _from_module(place: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{place}.".startswith(f"{error.name}."):
            raise _failed(name, error) from error
        advice = f"for a file beside the configuration write {place}.py:function"
        raise ConfigError(f"function = {name!r}: there is no module {place!r}; {advice}") from None
    except Exception as error:
        raise _failed(name, error) from error


def _from_file(path: Path, name: str) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"function = {name!r}: there is no file {path}")
    known = f"own_function_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(known, path)
    assert spec is not None and spec.loader is not None  # the name ends in .py
    module = sys.modules[known] = importlib.util.module_from_spec(spec)  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[known]
        raise _failed(name, error) from error
    return module


def _failed(name: str, error: Exception) -> ConfigError:
    return ConfigError(f"function = {name!r}: its module cannot be imported: {said(error)}; mend it")


def said(error: Exception) -> str:
    """An exception in a line, with the place that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def call(function: OwnFunction, name: str, pair: Pair, where: str) -> Pair | None:
    """What the function makes of a pair; DataError with the pair's place where it fails or answers something else."""
    try:
        answer: Any = function(*pair)
    except Exception as error:
        raise DataError(f"{where}: the function {name} failed: {said(error)}; the pair is {pair!r}") from error
    if answer is None:
        return None
    if not isinstance(answer, tuple | list) or [type(text) for text in answer] != [str, str]:
        wrong = f"{answer!r:.80}"
    elif any("\n" in text for text in answer):
        wrong = f"{answer!r:.80}, a text with a line feed"
    elif [text.count("\t") for text in answer] != [text.count("\t") for text in pair]:
        wrong = f"{answer!r:.80}, with another number of tabs"
    else:
        try:
            "".join(answer).encode()
        except UnicodeEncodeError:
            wrong = f"{answer!r:.80}, with half a surrogate pair"
        else:
            return answer[0], answer[1]
    raise DataError(f"{where}: the function {name} returned {wrong}; it must return a pair (source, target) or None")
