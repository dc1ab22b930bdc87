"""The house: what the file list, the imports and the README promise is compared with what is there.

The README's file tree. Under a heading, one plain fence (three backticks alone) that begins with `src/`. Two spaces a
level; a folder ends in `/`; each line is a name, two or more spaces, and a phrase of two words or more. It lists
every file under `src/` but `py.typed`, and its order is the way of the data: `__all__` follows it.

How its examples run says pages.py.
"""

import ast
import importlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email.parser import BytesParser
from pathlib import Path
from typing import NamedTuple

import pytest

from pages import ROOT, fences, run_page

SRC = ROOT / "src"
README = ROOT / "README.md"

GROUND, UPPER = "sequencing_np", "sequencing"
FLOORS = [GROUND, UPPER]
TWINS = {"arrays", "layers", "attention", "cells", "rnn", "model"}
NATIVE = {"NumpyArrays": "TorchArrays"}  # twins that are named after their library
BORROWED = {"LayerNorm", "RMSNorm"}  # PyTorch's own stand on the upper floor
TRAINING = {"Dropout", "ShortProduct", "Unspoken"}  # nothing to run
HEAVY = {
    "torch", "matplotlib", "sacrebleu", "sentencepiece", "tensorboard", "safetensors", "num2words", "optuna",
}  # fmt: skip

# The original framework's names and the contract's, each reached as `sequencing.NAME` from now on.
KEPT = {
    "Vocab", "build_vocab", "LookUpOp", "StackBidirectionalRNNEncoder", "StackRNNEncoder", "Attention",
    "TrainingFeedBack", "RLTrainingFeedBack", "SampleFeedBack", "BeamFeedBack", "AttentionRNNDecoder", "dynamic_decode",
    "Memory", "State", "Output", "select", "optimistic_restore",
}  # fmt: skip


# --- the source as the tests see it ---------------------------------------------------------------------------------


def modules() -> dict[str, Path]:
    """Dotted name -> file, of both packages."""
    files = sorted(SRC.rglob("*.py"))
    return {".".join(path.relative_to(SRC).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


def place(path: Path, node: ast.AST) -> str:
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


class Import(NamedTuple):
    target: str  # sequencing_np.text.read_lines, say: perhaps a module, perhaps a name in one
    place: str


def imports(name: str, path: Path) -> Iterator[Import]:
    """All imports in a file, also those inside functions, under TYPE_CHECKING and through import_module("…")
    or later("…", …)."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, place(path, node))
        elif isinstance(node, ast.ImportFrom):
            head = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join(head + ([node.module] if node.module else []))
            for alias in node.names:
                yield Import(f"{origin}.{alias.name}", place(path, node))
        elif isinstance(node, ast.Call) and called(node) in {"import_module", "__import__", "later"} and node.args:
            argument = node.args[0]
            if isinstance(argument, ast.Constant) and not str(argument.value).startswith("."):
                yield Import(str(argument.value), place(path, node))


def called(call: ast.Call) -> str:
    """The last word of what is called: `gzip.open(…)` -> open."""
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def defined(path: Path) -> dict[str, ast.stmt]:
    """What a file itself defines at the top: classes, functions, tables and constants."""
    found: dict[str, ast.stmt] = {}
    for node in parsed(path).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found.update({target.id: node for target in node.targets if isinstance(target, ast.Name)})
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
    return found


# --- README: the tree and the examples ------------------------------------------------------------------------------


def readme_tree() -> dict[str, str]:
    """File below src/ -> its phrase, in the order of the page."""
    trees = [fence for fence in fences(README) if fence.body.startswith("src/")]
    assert len(trees) == 1, "README.md: exactly one fence begins with src/, the file tree"
    found: dict[str, str] = {}
    folders: list[str] = []
    for number, line in enumerate(trees[0].body.rstrip("\n").split("\n"), start=trees[0].line + 1):
        match = re.fullmatch(r"((?:  )*)(\S+?)(/?)(?: {2,}(\S.*))?", line)
        assert match, f"README.md:{number}: {line!r}: two spaces a level, a name, two spaces or more, a phrase"
        depth, name, is_folder, phrase = len(match[1]) // 2, match[2], bool(match[3]), match[4] or ""
        assert depth <= len(folders), f"README.md:{number}: {line!r} stands deeper than a folder allows"
        del folders[depth:]
        if is_folder:
            folders.append(name)
        else:
            path = "/".join([*folders[1:], name])
            assert path not in found, f"README.md:{number}: {path} is listed twice"
            assert len(phrase.split()) >= 2, f"README.md:{number}: {path} has no phrase"
            found[path] = phrase
    return found


def test_readme_tree_lists_every_file_and_no_other() -> None:
    real = {path.relative_to(SRC).as_posix() for path in SRC.rglob("*") if path.is_file()}
    real = {name for name in real if "__pycache__" not in name and ".egg-info" not in name}
    real -= {f"{floor}/py.typed" for floor in FLOORS}
    listed = set(readme_tree())
    assert not real - listed, f"not in the README's tree: {sorted(real - listed)}"
    assert not listed - real, f"in the README's tree, but no file: {sorted(listed - real)}"


def test_readme_examples_run(tmp_path: Path) -> None:
    assert run_page(README, tmp_path), "README.md: none of its examples is run"


# --- one arrow, no circle -------------------------------------------------------------------------------------------


def test_ground_floor_names_numpy_and_the_standard_library_only() -> None:
    allowed = sys.stdlib_module_names | {"numpy", GROUND}
    wrong = [
        f"{each.place}: {each.target}"
        for name, path in modules().items()
        if name.split(".")[0] == GROUND
        for each in imports(name, path)
        if each.target.split(".")[0] not in allowed
    ]
    assert not wrong, wrong


def test_ground_floor_imports_where_torch_cannot(ground_floor) -> None:
    names = sorted(name for name in modules() if name.split(".")[0] == GROUND and not name.endswith("__main__"))
    done = ground_floor("-c", f"import {', '.join(names)}\nfrom {GROUND} import *\nprint('all here')")
    assert done.stdout.split() == [b"all", b"here"]
    refused = ground_floor("-c", "import torch", code=1)
    assert b"only NumPy and the standard library are here" in refused.stderr


def test_no_modules_in_a_circle() -> None:
    known = modules()
    arrows: dict[str, set[str]] = {}
    for name, path in known.items():
        targets = {each.target for each in imports(name, path)}
        # `from a.b import c` reaches the module a.b.c where there is one, and else a.b
        arrows[name] = {target if target in known else target.rpartition(".")[0] for target in targets} & set(known)
    while free := {name for name, targets in arrows.items() if not targets & set(arrows)}:
        arrows = {name: targets for name, targets in arrows.items() if name not in free}
    assert not arrows, f"these import each other, or stand above such a circle: {sorted(arrows)}"


# --- the front doors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("floor", FLOORS)
def test_all_is_complete(floor: str) -> None:
    package = importlib.import_module(floor)
    names = list(package.__all__)
    assert len(set(names)) == len(names), "a name stands twice in __all__"
    absent = [name for name in names if not hasattr(package, name)]
    assert not absent, f"in {floor}.__all__, but not to be had: {absent}"
    bound = {name for name, value in vars(package).items() if not name.startswith("_") and type(value) is not type(ast)}
    assert not bound - set(names), f"public in {floor}/__init__.py, but not in __all__: {sorted(bound - set(names))}"
    assert set(names) <= set(dir(package)), f"dir({floor}) hides {sorted(set(names) - set(dir(package)))}"


def test_names_that_are_kept() -> None:
    missing = KEPT - set(importlib.import_module(UPPER).__all__)
    assert not missing, f"a contract: {sorted(missing)}"


@pytest.mark.parametrize("floor", FLOORS)
def test_all_follows_the_flow(floor: str) -> None:
    """Names stand in groups, a file each, in the order of the README's tree (the ground floor's come first)."""
    homes: dict[str, list[str]] = {}  # public name -> the files that define it, own floor first
    order = list(readme_tree())
    for file in sorted(order, key=lambda file: (file.split("/")[0] != floor, order.index(file))):
        if file.endswith(".py") and not file.endswith("__main__.py"):
            for name in defined(SRC / file):
                homes.setdefault(name, []).append(file)
    names = [name for name in importlib.import_module(floor).__all__ if not name.startswith("__")]
    homeless = [name for name in names if name not in homes]
    assert not homeless, f"in {floor}.__all__, but defined in no file: {homeless}"
    positions = [order.index(homes[name][0]) for name in names]
    late = [
        f"{name} ({homes[name][0]}) stands after {before} ({homes[before][0]})"
        for before, name, first, second in zip(names, names[1:], positions, positions[1:], strict=False)
        if first > second
    ]
    assert not late, f"{floor}.__all__ leaves the order of the README's tree: {late}"


@pytest.mark.parametrize(
    "arguments",
    [["-c", f"import {UPPER}"], ["-m", UPPER, "--help"], ["-m", GROUND, "--help"]],
    ids=["import", "help", "ground floor's help"],
)
def test_front_door_is_light(arguments: list[str]) -> None:
    """What is loaded, not how long it takes: the latter depends on the machine."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(SRC)},
    )
    rows = [line for line in done.stderr.split("\n") if line.startswith("import time:")]
    others = [line for line in done.stderr.split("\n") if not line.startswith("import time:")]
    assert done.returncode == 0, "\n".join(others)
    loaded = {line.rpartition("|")[2].strip().split(".")[0] for line in rows}
    assert not loaded & HEAVY, f"{' '.join(arguments)} loads {sorted(loaded & HEAVY)}"


# --- twins ----------------------------------------------------------------------------------------------------------


def twins() -> list[str]:
    """Files that stand on both floors under the same name."""
    both = [{path.relative_to(SRC / floor).as_posix() for path in (SRC / floor).rglob("*.py")} for floor in FLOORS]
    return sorted(name for name in both[0] & both[1] if not name.endswith(("__init__.py", "__main__.py")))


def bases(node: ast.ClassDef) -> set[str]:
    """Bases and decorators by their last words: Protocol[Result] -> Protocol, dataclass(frozen=True) -> dataclass."""
    words = [ast.unparse(each).split("[")[0].split("(")[0] for each in [*node.bases, *node.decorator_list]]
    return {word.rpartition(".")[2] for word in words}


class Names(NamedTuple):
    classes: set[str]  # classes with behaviour
    tables: set[str]  # CAPITAL names that are given a dict
    records: set[str]  # interfaces and records


def public_names(path: Path) -> Names:
    names = Names(set(), set(), set())
    for name, node in defined(path).items():
        if name.startswith("_"):
            continue
        if isinstance(node, ast.ClassDef):
            is_record = bases(node) & {"Protocol", "NamedTuple", "dataclass"}
            (names.records if is_record else names.classes).add(name)
        elif name.isupper() and isinstance(getattr(node, "value", None), ast.Dict):
            names.tables.add(name)
    return names


def test_twins_are_all_here() -> None:
    missing = TWINS - {name.removesuffix(".py") for name in twins()}
    assert not missing, f"on one floor only: {sorted(missing)}"


@pytest.mark.parametrize("file", twins())
def test_twins_have_the_same_names(file: str) -> None:
    """Classes with behaviour stand on both floors, and so does every table of the upper one. Interfaces and records
    (Protocol, NamedTuple, dataclass) stand once; a name that the upper file imports from its twin is the same name."""
    ground, upper = public_names(SRC / GROUND / file), public_names(SRC / UPPER / file)
    twin = ".".join(Path(GROUND, file).with_suffix("").parts)
    name = ".".join(Path(UPPER, file).with_suffix("").parts)
    targets = [each.target for each in imports(name, SRC / UPPER / file)]
    taken = {target.rpartition(".")[2] for target in targets if target.startswith(f"{twin}.")}
    runs = {NATIVE.get(each, each) for each in ground.classes - BORROWED}
    trains = upper.classes - TRAINING
    assert not runs - trains - taken, f"{file}: only on the ground floor: {sorted(runs - trains - taken)}"
    assert not trains - runs, f"{file}: only on the upper floor: {sorted(trains - runs)}"
    assert not upper.tables - ground.tables, f"{file}: only above: {sorted(upper.tables - ground.tables)}"
    assert not upper.records & ground.records, f"{file}: twice, import it: {sorted(upper.records & ground.records)}"


# --- bytes, not lines that a library chose --------------------------------------------------------------------------


def mode_of(call: ast.Call) -> str | None:
    """The mode of an open(…): its text, "r" where none is given, None where it is not a constant."""
    function = call.func
    on_a_module = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)
    takes_a_path = isinstance(function, ast.Name) or (on_a_module and function.value.id in {"gzip", "io", "bz2"})
    position = 1 if takes_a_path else 0  # Path.open(mode), but open(path, mode)
    given = [word.value for word in call.keywords if word.arg == "mode"] + call.args[position : position + 1]
    if not given:
        return "r"
    return str(given[0].value) if isinstance(given[0], ast.Constant) else None


def text_mode_mistakes(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path)):
        of_stdin = isinstance(node, ast.Attribute) and getattr(node.value, "attr", "") == "stdin"
        if of_stdin and node.attr not in {"buffer", "isatty", "fileno"}:
            yield f"{place(path, node)}: sys.stdin.{node.attr}: read sys.stdin.buffer"
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        if name == "splitlines":
            yield f"{place(path, node)}: splitlines cuts at CR, U+2028 and others too: split at LF"
        elif name in {"open", "fdopen", "NamedTemporaryFile"} and "b" not in (mode_of(node) or ""):
            binary_by_default = name == "NamedTemporaryFile" and mode_of(node) == "r"
            on_os = isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "os"
            if not binary_by_default and not (name == "open" and on_os):
                yield f"{place(path, node)}: {name} without a constant binary mode: text mode changes line ends"
        elif name in {"read_text", "write_text"}:
            words = {word.arg for word in node.keywords}
            if "encoding" not in words and len(node.args) < (1 if name == "read_text" else 2):
                yield f"{place(path, node)}: {name} without encoding=: it differs between machines"


def test_files_are_read_as_bytes() -> None:
    wrong = [each for path in modules().values() for each in text_mode_mistakes(path)]
    assert not wrong, wrong


def test_the_text_mode_test_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    bad = ["open(p)", 'p.open("r")', 'gzip.open(p, "rt")', "text.splitlines()", "p.read_text()", "sys.stdin.read()"]
    good = ['open(p, "rb")', 'p.open("wb")', 'gzip.open(p, mode="rb")', "os.open(p, 0)", 'p.read_text("utf-8")']
    for line in bad + good:
        (tmp_path / "one.py").write_text(line, "utf-8")
        assert bool(list(text_mode_mistakes(tmp_path / "one.py"))) == (line in bad), line


# --- the distribution -----------------------------------------------------------------------------------------------


def bare(requirement: str) -> str:
    return re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower()


def required(requirements: list[str]) -> list[str]:
    """What is needed without any extra."""
    return [bare(each) for each in requirements if "extra ==" not in each]


def test_project_requires_numpy_only() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert [bare(each) for each in project["dependencies"]] == ["numpy"]
    assert project["name"] == "sequencing-nn"


def test_installed_distribution_requires_numpy_only() -> None:
    try:
        requirements = importlib.metadata.requires("sequencing-nn")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("sequencing-nn is not installed in this environment, its source is on the path")
    assert required(requirements or []) == ["numpy"]


def test_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both packages, all their files and nothing else; the command; NumPy alone required."""
    backend = pytest.importorskip("hatchling.build", reason="hatchling, which builds the wheel, is in the extra `dev`")
    copy = tmp_path / "copy"
    shutil.copytree(SRC, copy / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, copy / name)
    monkeypatch.chdir(copy)
    wheel = zipfile.ZipFile(tmp_path / backend.build_wheel(str(tmp_path)))
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert names == {path.relative_to(copy / "src").as_posix() for path in (copy / "src").rglob("*") if path.is_file()}
    assert {f"{floor}/py.typed" for floor in FLOORS} <= names
    (information,) = {name.split("/")[0] for name in wheel.namelist()} - set(FLOORS)
    metadata = BytesParser().parsebytes(wheel.read(f"{information}/METADATA"))
    assert required(metadata.get_all("Requires-Dist", [])) == ["numpy"]
    assert (metadata["Name"], metadata["License-Expression"]) == ("sequencing-nn", "MIT")
    assert b"sequencing = sequencing.__main__:main" in wheel.read(f"{information}/entry_points.txt")
    assert f"{information}/licenses/LICENSE" in wheel.namelist()


def test_constraints_name_every_direct_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = {bare(each) for group in project["optional-dependencies"].values() for each in group} - {"sequencing-nn"}
    lines = [line for line in (ROOT / "constraints.txt").read_text("utf-8").split("\n") if line[:1] not in {"", "#"}]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line) for line in lines), "NAME==VERSION, no build"
    missing = (wanted | {"numpy"}) - {bare(line) for line in lines}
    assert not missing, f"not in constraints.txt: {sorted(missing)}"


# --- the pages ------------------------------------------------------------------------------------------------------


def test_errors_page_names_every_error_and_its_code() -> None:
    errors = importlib.import_module(f"{GROUND}.errors")
    tree = {name: kind.exit_code for name, kind in vars(errors).items() if isinstance(kind, type)}
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \|", page, flags=re.MULTILINE)
    assert {name: int(code) for code, name in rows} == tree


def test_decisions_are_numbered_and_weigh() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [int(path.name[:4]) for path in pages] == list(range(1, len(pages) + 1))
    for path in pages:
        heads = re.findall(r"^## (\w+)", path.read_text("utf-8"), flags=re.MULTILINE)
        assert heads[:3] == ["Question", "Choice", "Price"], f"{path.name}: {heads}"


def test_links_in_the_pages_lead_somewhere() -> None:
    for page in [README, ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
            if "://" not in target and not target.startswith("mailto:"):
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)}: no {target}"
