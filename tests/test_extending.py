"""docs/extending.md and docs/models.md: examples run, a part without a twin is refused in words, nothing is missing.

Whatever a test adds to a table it adds through monkeypatch, so that no other test sees it.
"""

import dataclasses
import re
import sys
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import sequencing.attention
import sequencing.attention_scores
import sequencing.bridge
import sequencing.cells
import sequencing.composed
import sequencing.head
import sequencing.layers
import sequencing.model
import sequencing.positions
import sequencing.residuals
import sequencing.self_attention
import sequencing.self_attention_decoder
import sequencing_np
import sequencing_np.attention
import sequencing_np.attention_scores
import sequencing_np.bridge
import sequencing_np.cells
import sequencing_np.composed
import sequencing_np.head
import sequencing_np.layers
import sequencing_np.model
import sequencing_np.positions
import sequencing_np.residuals
import sequencing_np.self_attention
import sequencing_np.self_attention_decoder
from pages import DOCS, fences, run_page
from sequencing.__main__ import main
from sequencing_np.__main__ import main as runtime_main
from sequencing_np.config import Origin, to_dict
from sequencing_np.errors import ConfigError, ModelError
from sequencing_np.model import CONFIGS, ModelConfig, build_model, model_config, no_twin
from sequencing_np.weights import nest
from tiny_models import write_model

EXTENDING, MODELS = DOCS / "extending.md", DOCS / "models.md"


@pytest.mark.slow
def test_the_examples_of_the_page(tmp_path: Path) -> None:
    assert run_page(EXTENDING, tmp_path) >= 5
    assert (tmp_path / "model").is_dir() and not (tmp_path / "other").exists(), "a refused export writes nothing"


# --- parts that NumPy cannot run ------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where a row stands, and how a model comes to use it."""

    module: str  # of both floors
    table: str
    row: str  # one that is there
    settings: dict[str, Any]  # in which the row's name is "own"


BLOCKS = {"type": "self_attention", "embedding_size": 8}
PLACES = {
    "attention": Place("attention", "ATTENTIONS", "general", {"decoder": {"attention": {"type": "own"}}}),
    "each": Place(
        "attention_scores", "EACH", "general", {"decoder": {"attention": {"type": "parallel", "each": "own"}}}
    ),
    "encoder": Place("model", "ENCODERS", "pooling", {"encoder": {"type": "own"}}),
    "reader": Place("composed", "READERS", "pooling", {"encoder": {"type": "several_sources", "encoders": [
        {"type": "own", "embedding_size": 5}]}}),
    "decoder": Place("model", "DECODERS", "rnn", {"decoder": {"type": "own"}}),
    "encoder's cell": Place("cells", "CELLS", "gru", {"encoder": {"type": "rnn", "stack": {"cell": "own"}}}),
    "both ways": Place("cells", "CELLS", "gru", {"encoder": {"stack": {"cell": "own"}}}),
    "decoder's cell": Place("cells", "CELLS", "lstm", {"decoder": {"stack": {"cell": "own"}}}),
    "fixed vector's cell": Place("cells", "CELLS", "lstm", {"decoder": {
        "type": "fixed_vector", "stack": {"cell": "own", "size": 5}}}),
    "mixer": Place("self_attention_decoder", "MIXERS", "gru", {"decoder": {**BLOCKS, "mixer": "own"}}),
    "encoder's mixer": Place("self_attention", "ENCODER_MIXERS", "light_convolution", {
        "encoder": {**BLOCKS, "mixer": "own"}}),
    "bridge": Place("bridge", "BRIDGES", "projection", {"decoder": {"bridge": "own"}}),
    "readout": Place("head", "READOUTS", "luong", {"decoder": {"readout": "own"}}),
    "head": Place("head", "HEADS", "tanh", {"decoder": {"head": "own"}}),
    "positions": Place("positions", "POSITIONS", "learned", {"encoder": {**BLOCKS, "blocks": {"positions": "own"}}}),
    "norm": Place("layers", "NORMS", "rms_norm", {"encoder": {**BLOCKS, "blocks": {"norm": "own"}}}),
    "activation": Place("layers", "ACTIVATIONS", "silu", {"decoder": {**BLOCKS, "blocks": {"activation": "own"}}}),
}  # fmt: skip


def table(floor: str, module: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = getattr(sys.modules[f"{floor}.{module}"], name)
    return found


def configured(settings: dict[str, Any]) -> ModelConfig:
    """A small model of these settings, as a file would say them."""
    sizes = {"embedding_size": 5}
    values: dict[str, Any] = {"source_size": 11, "target_size": 13}
    for part in ("encoder", "decoder"):
        values[part] = {**sizes, **settings.get(part, {})}
    return model_config(values, Origin("settings"))


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_part_without_a_twin(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be configured, saved and trained; NumPy refuses it by its name."""
    rows = table("sequencing", place.module, place.table)
    monkeypatch.setitem(rows, "own", rows[place.row])
    monkeypatch.setitem(table("sequencing_np", place.module, place.table), "own", no_twin("part 'own'"))
    for kind, name in (("encoder", "ENCODERS"), ("decoder", "DECODERS")):
        if place.table == name:
            monkeypatch.setitem(CONFIGS[kind], "own", CONFIGS[kind][place.row])
    if place.table == "READERS":
        configs = sequencing_np.composed.READER_CONFIGS
        monkeypatch.setitem(configs, "own", configs[place.row])
    config = configured(place.settings)
    assert model_config(to_dict(config), Origin("saved")) == config

    model = sequencing.Model(config)
    memory = model.encode(np.array([[4, 5, 3]]), np.ones((1, 3), dtype=bool))
    output, _ = model.decoder.step(torch.tensor([[2, 6]]), model.decoder.start(memory))
    output.logits.sum().backward()
    with pytest.raises(ModelError, match=r"part 'own' has no NumPy twin: .* PyTorch alone"):
        build_model(config, nest(model.weights()))


# --- rows that nobody added -----------------------------------------------------------------------------------------


def test_a_row_of_nobody() -> None:
    """The error names the row, those that there are, and what to do."""
    for settings in (
        {"encoder": {"type": "own"}},
        {"decoder": {"attention": {"type": "own"}}},
        {"decoder": {"stack": {"cell": "own"}}},
    ):
        with pytest.raises(ConfigError, match=r"= 'own': .*known: .*, .*import that \(--import MODULE\)"):
            configured(settings)


def test_a_row_of_one_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sequencing_np.ATTENTIONS, "own", sequencing_np.ATTENTIONS["general"])
    with pytest.raises(ConfigError, match=r"no table of `sequencing` has the row 'own'.*--import MODULE"):
        sequencing.Model(configured({"decoder": {"attention": {"type": "own"}}}))

    for kind in ("encoder", "decoder"):
        row = {"encoder": "pooling", "decoder": "rnn"}[kind]
        above = getattr(sequencing.model, f"{kind.upper()}S")
        monkeypatch.setitem(CONFIGS[kind], "own", CONFIGS[kind][row])
        monkeypatch.setitem(above, "own", above[row])
        config = configured({kind: {"type": "own"}})
        with pytest.raises(ModelError, match=rf"{kind.upper()}S has no row 'own'; known: .*--import MODULE"):
            build_model(config, nest(sequencing.Model(config).weights()))


def test_a_model_folder_of_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(write_model(tmp_path / "model"))
    for floor in ("sequencing", "sequencing_np"):
        general = table(floor, "attention", "ATTENTIONS")["general"]
        monkeypatch.setitem(table(floor, "attention", "ATTENTIONS"), "own", general)
    parts = sequencing_np.read_model_folder(folder)
    attention = dataclasses.replace(parts.config.decoder.attention, type="own")
    decoder = dataclasses.replace(parts.config.decoder, attention=attention)
    config = dataclasses.replace(parts.config, decoder=decoder)
    sequencing_np.write_model_folder(Path(folder), parts._replace(config=config))
    assert main(["export", folder, str(tmp_path / "before")]) == 0

    for floor in ("sequencing", "sequencing_np"):
        monkeypatch.delitem(table(floor, "attention", "ATTENTIONS"), "own")
    for entry, arguments in (
        (runtime_main, ["translate", folder]),
        (main, ["translate", folder]),
        (main, ["export", folder, str(tmp_path / "after")]),
    ):
        assert entry(arguments) == 5
        said = capsys.readouterr().err
        assert re.search(r"error: .*config\.json: .*'own': .*known: additive, .*--import MODULE", said), said
        assert said.count("\n") == 1
    assert not (tmp_path / "after").exists()


# --- --import -------------------------------------------------------------------------------------------------------

BROKEN = {
    "typo": ("import sequencing_np\n\nsequencing_np.ATTENTION\n", r"typo\.py:3: AttributeError: .*ATTENTION"),
    "half": ("def attention(:\n", r"SyntaxError: .*half\.py, line 1"),
    "needs": ("import no_such_package\n", r"needs\.py:1: ModuleNotFoundError: .*no_such_package"),
    "refuses": ("from sequencing_np import no_twin\nno_twin('cell')()\n", "ModelError: cell has no NumPy twin"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder is an empty one; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place])
    monkeypatch.setattr(sys, "modules", sys.modules.copy())
    return tmp_path


@pytest.mark.parametrize("entry", [main, runtime_main], ids=["sequencing", "sequencing_np"])
@pytest.mark.parametrize("name", BROKEN)
def test_a_module_that_cannot_be_imported(name: str, entry: Any, here: Path, capsys: Any) -> None:
    source, words = BROKEN[name]
    (here / f"{name}.py").write_bytes(source.encode())
    assert entry(["translate", "model", "--import", name]) == 2
    said = capsys.readouterr().err
    assert re.search(rf"error: --import {name}: .*{words}", said) and said.count("\n") == 1, said


@pytest.mark.parametrize("name", ["no_such_module", "parts.py", "folder/parts", "", ".parts"])
def test_a_module_that_is_not_there(name: str, here: Path, capsys: Any) -> None:
    assert runtime_main(["translate", "model", "--import", name]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"sequencing_np: error: --import {name}: ") and said.count("\n") == 1, said


def test_modules_are_imported_before_the_command_runs(here: Path, capsys: Any) -> None:
    for name in ("first", "second"):
        (here / f"own_{name}.py").write_bytes(f"print('{name}')\n".encode())
    assert runtime_main(["translate", "no/model", "--import", "own_first", "--import", "own_second"]) == 5
    assert capsys.readouterr().out == "first\nsecond\n"


# --- the pages are whole --------------------------------------------------------------------------------------------

TABLES = {
    "ENCODERS": "model", "DECODERS": "model", "ATTENTIONS": "attention", "EACH": "attention_scores",
    "READERS": "composed", "CELLS": "cells", "COMBINERS": "residuals", "BRIDGES": "bridge",
    "READOUTS": "head", "HEADS": "head",
    "POSITIONS": "positions", "NORMS": "layers", "ACTIVATIONS": "layers", "MIXERS": "self_attention_decoder",
    "ENCODER_MIXERS": "self_attention",
}  # fmt: skip


def configurations(cls: type, found: list[type]) -> list[type]:
    """A dataclass and those that its fields hold."""
    if cls not in found:
        found.append(cls)
        for field in dataclasses.fields(cls):
            for each in default_of(field) if isinstance(default_of(field), tuple) else (default_of(field),):
                if dataclasses.is_dataclass(each):
                    configurations(type(each), found)
    return found


def default_of(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def shown(value: Any) -> str:
    """A default as the page writes it; nothing for one that is a table of settings itself."""
    if isinstance(value, bool):
        return str(value).lower()
    if value == ():
        return "[]"
    return str(value) if isinstance(value, str | int | float) else ""


def test_every_row_is_on_the_page() -> None:
    page = MODELS.read_text("utf-8")
    for name, module in TABLES.items():
        rows = table("sequencing_np", module, name)
        assert set(rows) == set(table("sequencing", module, name)), name
        absent = [row for row in rows if f"`{row}`" not in page]
        assert not absent, f"docs/models.md lacks {absent} of {name}"
        assert re.search(rf"[`.]{name}`", EXTENDING.read_text("utf-8")), f"docs/extending.md does not name {name}"


def test_every_option_is_on_the_page_with_its_default() -> None:
    page = MODELS.read_text("utf-8")
    classes = configurations(ModelConfig, [])
    for rows in CONFIGS.values():
        for row in rows.values():
            configurations(row, classes)
    assert len(classes) > 12
    for cls in classes:
        found = re.search(rf"^### {cls.__name__}\n(.*?)(?=^##|\Z)", page, flags=re.MULTILINE | re.DOTALL)
        assert found, f"docs/models.md has no section {cls.__name__}"
        said = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", found[1].partition("|---|\n")[2], flags=re.MULTILINE))
        fields = {field.name: default_of(field) for field in dataclasses.fields(cls)}
        assert list(said) == list(fields), f"docs/models.md, {cls.__name__}: the options, in their order"
        for name, value in fields.items():
            assert not shown(value) or said[name] == shown(value), f"docs/models.md, {cls.__name__}.{name}: {value!r}"


def test_the_configuration_on_the_page_is_one() -> None:
    (fence,) = fences(MODELS)
    config = model_config(tomllib.loads(fence.body)["model"], Origin("docs/models.md"))
    sequencing.Model(dataclasses.replace(config, source_size=7, target_size=11))
