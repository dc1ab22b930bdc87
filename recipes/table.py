"""Puts measured numbers into the READMEs: `python recipes/table.py`.

The numbers of every run under runs/recipes go to results.json of the recipe's folder, where they stay when the run is
deleted; the tables of README.md are made of that file, between marks, and nothing in them is written by hand. What was
never run says so.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from catalogue import COLUMNS, FOLDERS, HERE, RUNS, SENTENCES, experiments, rows

from sequencing.records import write_json

RESULTS = "results.json"
BY_BEAM = ("dev", "search", "carried")  # what is measured once for each search
NOT_RUN = "not yet run"


def known(folder: Path) -> dict[str, Any]:
    """The numbers that a folder of recipes keeps, by run."""
    path = folder / RESULTS
    return json.loads(path.read_bytes()) if path.is_file() else {}


def collected(name: str, folder: Path, runs: Path) -> dict[str, Any]:
    """The numbers that a folder keeps, with those of the runs that are there laid over them."""
    found = known(folder)
    for run in experiments(name):
        path = runs / run.name / RESULTS
        if path.is_file():
            found[run.label] = json.loads(path.read_bytes())
    return dict(sorted(found.items()))


def value(result: Mapping[str, Any], place: str, beam: int) -> Any:
    """The number at a place such as `train.padded`; what is searched for has a beam in between."""
    found: Any = result
    for part in place.split("."):
        found = found.get(part, {}) if isinstance(found, dict) else None
        if part in BY_BEAM:
            found = found.get(str(beam), {}) if isinstance(found, dict) else None
    return found if isinstance(found, int | float) else None


def cells(result: Mapping[str, Any] | None, columns: tuple[str, ...], beam: int) -> list[str]:
    """A row of numbers as text."""
    if result is None:
        return [NOT_RUN, *[""] * (len(columns) - 1)]
    found = []
    for column in columns:
        place, _, form = COLUMNS[column]
        number = value(result, place, beam)
        text = "" if number is None else form.format(number).replace("%", " %")
        found.append("under 1" if column == "passes" and text == "0" else text)  # whole ones are counted
    return found


def line(parts: list[str]) -> str:
    """A line of a table."""
    return "| " + " | ".join(part.replace("|", "\\|") for part in parts) + " |"


def numbers(folder: str, results: Mapping[str, Any]) -> str:
    """The table of a folder, and where its numbers were measured."""
    columns = FOLDERS[folder].columns
    found = [line(["", *(COLUMNS[column][1] for column in columns)]), "|---" * (len(columns) + 1) + "|"]
    for row in rows(folder):
        found.append(line([row.label, *cells(results.get(row.run), columns, row.beam)]))
    return "\n".join([*found, *machines(results)])


def machines(results: Mapping[str, Any]) -> list[str]:
    """One sentence for each kind of machine and seed."""
    found: dict[str, list[str]] = {}
    for name, result in results.items():
        machine = result["machine"]
        where = machine["accelerator"] or f"{machine['threads']} of {machine['cores']} cores, {machine['cpu']}"
        found.setdefault(f"{where}; torch {machine['torch']}; seed {result['seed']}", []).append(name)
    return ["", *(f"Measured on {where}: {', '.join(names)}." for where, names in found.items())] if found else []


def sentences(folder: str, results: Mapping[str, Any]) -> str:
    """The guide's sentences under every row."""
    sources, right, guide = zip(*SENTENCES, strict=True)
    found = [line(["", *sources]), "|---" * (len(SENTENCES) + 1) + "|", line(["right", *right])]
    found.append(line(["the guide's best, 300 epochs", *guide]))
    for row in rows(folder):
        result = results.get(row.run)
        said = result["sentences"].get(str(row.beam)) if result else None
        found.append(line([row.label, *(said or [NOT_RUN, *[""] * (len(SENTENCES) - 1)])]))
    return "\n".join(found)


TABLES: dict[str, Callable[[str, Mapping[str, Any]], str]] = {"numbers": numbers, "sentences": sentences}


def filled(page: str, folder: str, results: Mapping[str, Any]) -> str:
    """A page with its tables made anew."""
    for name, table in TABLES.items():
        page = placed(page, name, table(folder, results)) if f"<!-- {name} -->" in page else page
    return page


def placed(page: str, name: str, table: str) -> str:
    """A page with a table between `<!-- NAME -->` and `<!-- end of NAME -->`."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, _, rest = page.partition(begin)
    return f"{before}{begin}\n{table}\n{end}{rest.partition(end)[2]}"


def update(runs: Path = RUNS) -> None:
    """Collect what was measured, and fill all pages."""
    for name in FOLDERS:
        folder = HERE / name
        results = collected(name, folder, runs)
        if results:
            write_json(folder / RESULTS, results)
        page = folder / "README.md"
        page.write_bytes(filled(page.read_text(encoding="utf-8"), name, results).encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=Path, default=RUNS, metavar="FOLDER", help="where the runs are (runs/recipes)")
    update(parser.parse_args().runs)
