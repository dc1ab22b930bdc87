"""Frozen dataclasses to and from TOML and JSON, strictly.

A key that no field has is an error that names the nearest one; a value of another type is an error that
shows it as it was read; where the text came from a file, the error names the line. What the fields mean
is said by the dataclasses themselves, in the modules they belong to; this module knows none of them. Who runs a model
reads no TOML and makes no mistakes, as a rule: what serves these alone is imported where it is used.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sequencing_np.errors import ConfigError

MAX_BYTES = 1 << 20  # no configuration is larger; a corpus given by mistake is refused before it is parsed
MAX_DEPTH = 32

T = TypeVar("T")


class Origin(NamedTuple):
    """Where values came from, so that an error can name the line."""

    name: str  # the file, as the user called it
    text: str = ""  # its text, or nothing when the values came from elsewhere

    def at(self, path: tuple[str, ...]) -> str:
        """The place of a key, as `file:line: section.key`."""
        dotted = ".".join(path) or "the top level"
        line = line_of(self.text, path)
        return f"{self.name}:{line}: {dotted}" if line else f"{self.name}: {dotted}"


def line_of(text: str, path: tuple[str, ...]) -> int:
    """The line (from 1) of a TOML file on which a key is set, or its section begins; 0 when it is not found."""
    section: tuple[str, ...] = ()
    found = 0
    for number, line in enumerate(text.split("\n"), 1):
        if header := re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line):
            section = tuple(part.strip().strip("\"'") for part in header[1].split("."))
        elif key := re.match(r"\s*([\w\"'.-]+)\s*=", line):
            here = section + tuple(part.strip("\"'") for part in key[1].split("."))
            if here == path:
                return number
            if here == path[: len(here)]:
                found = number
        if section == path and not found:
            found = number
    return found


def nearest(name: str, names: typing.Iterable[str]) -> str:
    """The words that help after an unknown name: the nearest known one, and all of them."""
    import difflib

    known = sorted(names)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}known: {', '.join(known)}"


def build(cls: type[T], values: Any, origin: Origin, path: tuple[str, ...] = ()) -> T:
    """A frozen dataclass from nested mappings; every key must be a field, every value of the field's type.

    Raises ConfigError, naming file, line, key and value.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{origin.at(path)}: expected a table of settings, got {values!r}")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise ConfigError(f"{origin.at((*path, str(key)))}: unknown key {key!r}; {nearest(str(key), fields)}")
    given = {key: coerce(hints[key], value, origin, (*path, key)) for key, value in values.items()}
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in given:
            raise ConfigError(f"{origin.at(path)}: the key {name!r} is missing; set {'.'.join((*path, name))}")
    try:
        return cls(**given)
    except ConfigError as error:  # a rule of the dataclass itself: say where
        raise ConfigError(f"{origin.at(path)}: {error}") from None


def coerce(hint: Any, value: Any, origin: Origin, path: tuple[str, ...]) -> Any:
    """`value` as the type `hint`, or a ConfigError. The only conversions are int to float and list to tuple."""
    if dataclasses.is_dataclass(hint):
        return build(hint, value, origin, path)  # type: ignore[arg-type]
    kind = typing.get_origin(hint)
    if kind in (types.UnionType, typing.Union):
        return coerce_any(typing.get_args(hint), value, origin, path)
    if kind is tuple and isinstance(value, list | tuple):
        item = typing.get_args(hint)[0]
        return tuple(coerce(item, part, origin, path) for part in value)
    if hint is Any or (kind is dict and isinstance(value, Mapping)):
        return value
    if hint is float and type(value) in (int, float):
        if not -1e30 < value < 1e30:  # also refuses nan and inf
            raise ConfigError(f"{origin.at(path)} = {value!r}: must be an ordinary number")
        return float(value)
    if hint in (int, str, bool) and type(value) is hint:
        if hint is int and abs(value) > 1 << 60:
            raise ConfigError(f"{origin.at(path)} = {value!r}: too large")
        return value
    if hint is type(None) and value is None:
        return None
    raise ConfigError(f"{origin.at(path)} = {value!r}: must be {describe(hint)}, not {type(value).__name__}")


def coerce_any(hints: tuple[Any, ...], value: Any, origin: Origin, path: tuple[str, ...]) -> Any:
    """The first of several types that takes the value."""
    for hint in hints:
        try:
            return coerce(hint, value, origin, path)
        except ConfigError:
            continue
    words = " or ".join(describe(hint) for hint in hints)
    raise ConfigError(f"{origin.at(path)} = {value!r}: must be {words}, not {type(value).__name__}")


def describe(hint: Any) -> str:
    """A type in a user's words."""
    if typing.get_origin(hint) is tuple:
        return f"a list of {describe(typing.get_args(hint)[0])}"
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return " or ".join(describe(part) for part in typing.get_args(hint))
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "nothing"}
    return words.get(hint, "a table")


def choose(table: Mapping[str, Any], name: Any, place: str) -> Any:
    """The row of a table, or a ConfigError that names the nearest one."""
    if not isinstance(name, str) or name not in table:
        own = "if a module of your own adds it, import that (--import MODULE)"
        raise ConfigError(f"{place} = {name!r}: {nearest(str(name), table)}; {own}")
    return table[name]


def to_dict(config: Any) -> Any:
    """Nested dictionaries, lists and plain values of a dataclass, ready for JSON; `build` reads them back."""
    if dataclasses.is_dataclass(config):
        return {field.name: to_dict(getattr(config, field.name)) for field in dataclasses.fields(config)}
    if isinstance(config, tuple | list):
        return [to_dict(part) for part in config]
    return config


def require(condition: bool, message: str) -> None:
    """For the rules of a dataclass: raises ConfigError with the message unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def read_toml(path: str | Path) -> tuple[dict[str, Any], Origin]:
    """The tables of a TOML file and their origin; ConfigError names file and line of a mistake."""
    import tomllib

    text = read_text(Path(path))
    try:
        return shallow(tomllib.loads(text), str(path)), Origin(str(path), text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except RecursionError:
        raise too_deep(str(path)) from None


def shallow(value: Any, name: str) -> Any:
    """The value itself, when it is nested no deeper than a configuration can be."""
    parts = [value]
    for _ in range(MAX_DEPTH):
        inner = [part.values() if isinstance(part, dict) else part for part in parts if isinstance(part, dict | list)]
        parts = [part for several in inner for part in several]
    if any(isinstance(part, dict | list) for part in parts):
        raise too_deep(name)
    return value


def too_deep(name: str) -> ConfigError:
    return ConfigError(f"{name}: nested too deeply; a configuration has at most {MAX_DEPTH} levels")


def read_json(path: str | Path) -> tuple[Any, Origin]:
    """The value of a JSON file and its origin; duplicate keys, NaN and deep nesting are refused."""
    text = read_text(Path(path))
    return parse_json(text, str(path)), Origin(str(path))


def parse_json(text: str, name: str) -> Any:
    """Strict JSON: duplicate keys, NaN, infinities, huge numbers and deep nesting raise ConfigError."""

    def refuse_constant(word: str) -> None:
        raise ConfigError(f"{name}: {word} is no ordinary number")

    def ordinary(number: str) -> float:
        if abs(value := float(number)) == float("inf"):
            refuse_constant(number)
        return value

    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ConfigError(f"{name}: the key {twice!r} stands twice in one object")
        return dict(pairs)

    try:
        hooks: dict[str, Any] = {
            "parse_float": ordinary,
            "parse_constant": refuse_constant,
            "object_pairs_hook": refuse_duplicates,
        }
        return shallow(json.loads(text, **hooks), name)
    except ValueError as error:
        raise ConfigError(f"{name}: not valid JSON: {error}") from None
    except RecursionError:
        raise too_deep(name) from None


def read_text(path: Path) -> str:
    """A small UTF-8 file, or a ConfigError that says what is wrong with it."""
    try:
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder; give a file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES} bytes; this is no configuration")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from None


def override(values: dict[str, Any], settings: typing.Iterable[str]) -> dict[str, Any]:
    """Nested values with `key.path=value` settings laid over them; values read as TOML, else as text."""
    result: dict[str, Any] = json.loads(json.dumps(values, default=str))
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {setting!r}: write key=value, for example train.learning_rate=1e-3")
        parts = key.strip().split(".")
        table = result
        for part in parts[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise ConfigError(f"--set {setting!r}: {part!r} is a value, not a table")
        try:
            table[parts[-1]] = parse_setting(text.strip())
        except RecursionError:
            raise too_deep(f"--set {setting[:80]!r}") from None
    return shallow(result, "--set")


def parse_setting(text: str) -> Any:
    """A value as TOML would read it; what is no TOML value is taken as a text."""
    import tomllib

    try:
        values = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return values["value"] if len(values) == 1 else text  # a line break would begin another key


def changes(old: Any, new: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any, Any]]:
    """The keys whose values differ between two nested tables, with what they were and what they are now."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        if old != new:
            yield ".".join(path), old, new
        return
    for key in [*old, *(key for key in new if key not in old)]:
        yield from changes(old.get(key), new.get(key), (*path, key))
