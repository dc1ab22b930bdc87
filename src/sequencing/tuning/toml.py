"""Nested tables as TOML text that `tomllib` reads back; the standard library only reads it."""

import json
import re
from typing import Any

BARE = re.compile(r"[A-Za-z0-9_-]+")


def toml_text(values: dict[str, Any]) -> str:
    """A whole file: plain keys first, then a section for each table."""
    return "\n".join(lines(values, ())).strip("\n") + "\n"


def lines(values: dict[str, Any], path: tuple[str, ...]) -> list[str]:
    """The lines of a section and of those below it."""
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    plain = [f"{key(name)} = {inline(value)}" for name, value in values.items() if name not in tables]
    head = [f"[{'.'.join(map(key, path))}]"] if path and (plain or not tables) else []
    below = [line for name, table in tables.items() for line in lines(table, (*path, name))]
    return [*head, *plain, *([""] if head or plain else []), *below]


def inline(value: Any) -> str:
    """A value within a line, tables too."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key(name)} = {inline(part)}" for name, part in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(inline, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def key(name: str) -> str:
    """A key, in quotation marks where it has to be."""
    return name if BARE.fullmatch(name) else inline(name)
