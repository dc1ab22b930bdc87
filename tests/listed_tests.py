"""Tables in docstrings that say which test would catch what: rows `NAME words`, under each `| module::test`."""

import ast
from pathlib import Path

TESTS = Path(__file__).resolve().parent
LATER = "later: "  # what this project does not have yet; its test comes with it


def rows_of(text: str, *begin: str) -> dict[str, list[str]]:
    """Row -> what would catch it. A row's name begins with one of `begin`."""
    rows: dict[str, list[str]] = {}
    name = ""
    for line in text.split("\n"):
        words = line.split(maxsplit=1)
        if words and words[0].startswith(begin):
            name = words[0]
        elif words and words[0] == "|":
            rows.setdefault(name, []).append(words[1])
    return rows


def absent(entries: list[str]) -> list[str]:
    """Those of the tests that are not there."""
    missing = []
    for entry in entries:
        if entry.startswith(LATER):
            continue
        module, test = entry.split("::")
        tree = ast.parse((TESTS / f"{module}.py").read_bytes())
        if test not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
            missing.append(entry)
    return missing
