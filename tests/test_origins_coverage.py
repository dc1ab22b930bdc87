"""docs/origins-coverage.md and docs/migration.md: every row of the inventory has its line, and what lines name exists.

What stands between backticks in a line of the coverage is one of these, and is looked up:

* `package.module:Object` or `package.module:Object.attribute`;
* `docs/models.md`: a file of the repository;
* `sequencing command` or `sequencing command --option`, in the help of the command;
* `train.steps`: a setting of a run, of a preparation, or of an encoder or a decoder;
* a bare name: one of the WORDS, which nothing can look up.
"""

import argparse
import dataclasses
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple, get_type_hints

import pytest

from pages import DOCS, ROOT
from sequencing.__main__ import COMMANDS
from sequencing.prepare.settings import PrepareConfig
from sequencing.run_config import RunConfig
from sequencing_np.model import CONFIGS, ModelConfig

COUNTS = {"A": 75, "B": 16, "C": 6, "D": 35}  # rows of the inventory, by the program
ROWS = [f"{letter}{number:02}" for letter, count in COUNTS.items() for number in range(1, count + 1)]
STATES = ("here", "half", "open", "no")
WORDS = {"head", "readme"}  # an argument of a class, a row of LAYOUTS


class Line(NamedTuple):
    row: str
    what: str
    state: str
    where: str


def coverage() -> Iterator[Line]:
    for line in (DOCS / "origins-coverage.md").read_text("utf-8").split("\n"):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and re.fullmatch(r"[A-Z]\d+", cells[0]):
            assert len(cells) == 4, f"{line}: row, what, state, where"
            yield Line(*cells)


LINES = list(coverage())


def test_every_row_has_one_line() -> None:
    assert [line.row for line in LINES] == ROWS


def has_setting(config: Any, path: list[str]) -> bool:
    """Whether a dataclass has a field, or its field's dataclass has one, and so on."""
    if not dataclasses.is_dataclass(config) or path[0] not in {field.name for field in dataclasses.fields(config)}:
        return False
    return len(path) == 1 or has_setting(get_type_hints(config)[path[0]], path[1:])


def is_object(span: str) -> bool:
    module, _, path = span.partition(":")
    found: Any = import_module(module)
    for name in path.split("."):
        if not hasattr(found, name) and name not in {**getattr(found, "__annotations__", {})}:
            return False
        found = getattr(found, name, None)
    return True


def is_command(span: str) -> bool:
    words = span.split()[1:]
    options = [word for word in words if word.startswith("--")]
    command = " ".join(word for word in words if not word.startswith("--"))
    if command not in COMMANDS:
        return False
    parser = argparse.ArgumentParser()
    import_module(COMMANDS[command].module).add_arguments(parser)
    return set(options) <= {option for action in parser._actions for option in action.option_strings}


def is_setting(span: str) -> bool:
    first, *rest = span.split(".")
    if first in CONFIGS:
        return any(has_setting(config, rest) for config in CONFIGS[first].values())
    if first == "model":
        return has_setting(ModelConfig, rest)
    return any(has_setting(config, [first, *rest]) for config in (RunConfig, PrepareConfig))


FORMS = {  # what a span looks like -> whether what it names is there
    r"sequencing(_np)?[a-z_.]*:[A-Za-z_.]+": is_object,
    r"[A-Za-z_/]+[A-Za-z_0-9.-]+\.(md|py|toml)": lambda span: (ROOT / span).is_file(),
    r"sequencing [a-z -]+": is_command,
    r"[a-z_]+(\.[a-z_]+)+": is_setting,
}


def is_there(span: str) -> bool:
    for form, look in FORMS.items():
        if re.fullmatch(form, span):
            return look(span)
    return span in WORDS


def spans(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.row)
def test_what_a_line_names_exists(line: Line) -> None:
    assert 2 <= len(line.what.split()) <= 8, line.what
    assert line.state in STATES
    absent = [span for span in spans(line.where) if not is_there(span)]
    assert not absent, f"{line.row} names what is not there: {absent}"
    if line.state in ("here", "half") and not re.search(r"see A\d\d", line.where):
        assert spans(line.where), f"{line.row} is {line.state}, and names nothing"
    if line.state == "half":
        assert re.search(r"\b(no|not|none|nothing|never|open|being built)\b", line.where), f"{line.row}: what lacks?"


def test_the_looking_sees() -> None:
    """What is not there is not found, in each of the forms."""
    good = ["sequencing.cells:CELLS", "sequencing_np.delimited:Vocab.encode", "sequencing_np.state:Output.logits",
            "docs/models.md", "README.md", "sequencing plot attention", "sequencing train --set", "train.teacher.rate",
            "encoder.stack.cell", "split.apart", "model.share_embeddings"]  # fmt: skip
    bad = ["sequencing.cells:CELL", "sequencing_np.delimited:Vocab.encoded", "docs/model.md", "sequencing plot",
           "sequencing train --sets", "train.teacher.rates", "encoder.stacks.cell", "words.alone", "alone"]  # fmt: skip
    assert [span for span in good if not is_there(span)] == []
    assert [span for span in bad if is_there(span)] == []


def test_the_names_of_the_migration_page_exist() -> None:
    page = (DOCS / "migration.md").read_text("utf-8")
    rows = [line for line in page.split("\n") if line.startswith("|")]
    names = [span for span in spans(" ".join(rows)) if re.fullmatch(r"sequencing(_np)?[a-z_.]*:[A-Za-z_.]+", span)]
    assert len(names) > 15
    assert [name for name in names if not is_object(name)] == []
