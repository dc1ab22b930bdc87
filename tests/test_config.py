"""config: what is read comes back; what does not belong is named with its line, its nearest neighbour and its value."""

import dataclasses
import json
import types
import typing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from architectures import settings_of
from sequencing.run_config import RunConfig, read_run_config, run_config, saved
from sequencing_np.config import (
    MAX_BYTES,
    Origin,
    build,
    choose,
    line_of,
    nearest,
    override,
    parse_json,
    read_json,
    read_toml,
    to_dict,
)
from sequencing_np.errors import ConfigError
from sequencing_np.limits import Limits
from sequencing_np.model import CONFIGS, ModelConfig, model_config
from sequencing_np.search import SearchConfig

RUN = """\
[data]
train = ["train.tsv.gz", ["a.en", "a.de"]]
dev = ["dev.tsv"]

[model]
share_embeddings = false
[model.encoder]
type = "bidirectional_rnn"
embedding_size = 7
stack = { cell = "gru", size = 11 }
[model.decoder.attention]
type = "additive"

[train]
learning_rate = 2e-3
steps = 100
teacher.type = "constant"
"""


def written(folder: Path, text: str, name: str = "run.toml") -> Path:
    (folder / name).write_bytes(text.encode())
    return folder / name


def parts_of(config: Any, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every dataclass in a configuration by its path."""
    found = {path: config}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            found |= parts_of(value, (*path, field.name))
    return found


def default_run() -> RunConfig:
    return run_config({"data": {"train": ["x.tsv"]}}, Origin("default"))


PLACES = parts_of(default_run())
FIELDS = [
    (*path, field.name)
    for path, part in PLACES.items()
    for field in dataclasses.fields(part)
    if not dataclasses.is_dataclass(getattr(part, field.name))
]


def hint_of(path: tuple[str, ...]) -> Any:
    return typing.get_type_hints(type(PLACES[path[:-1]]))[path[-1]]


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    values: Any = {"data": {"train": ["x.tsv"]}}
    table = values
    for key in path[:-1]:
        table = table.setdefault(key, {})
    table[path[-1]] = value
    return values


# --- there and back -------------------------------------------------------------------------------------------------


def test_a_run_comes_back(tmp_path: Path) -> None:
    """C06."""
    config = read_run_config(written(tmp_path, RUN), ["train.steps=7", "search.beam=3"])
    assert config.train.steps == 7 and config.search.beam == 3 and config.train.learning_rate == 2e-3
    assert config.model.encoder.stack.size == 11 and config.model.decoder.attention.type == "additive"
    assert config.data.train == (str(tmp_path / "train.tsv.gz"), (str(tmp_path / "a.en"), str(tmp_path / "a.de")))
    again = json.loads(json.dumps(saved(config)))
    assert run_config(again, Origin("saved")) == config


@pytest.mark.parametrize(
    "cls",
    [
        SearchConfig,
        Limits,
        *(cls for cls in dict.fromkeys(map(type, PLACES.values())) if cls not in (RunConfig, ModelConfig)),
    ],
)
def test_defaults_come_back(cls: Any) -> None:
    default = next((part for part in PLACES.values() if type(part) is cls), None) or cls()
    assert build(cls, json.loads(json.dumps(to_dict(default))), Origin("x")) == default


@given(st.floats(0, 1e6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_numbers_come_back(factor: float, constant: int, longest: int, shortest: int) -> None:
    limits = Limits(factor, constant, longest, shortest)
    assert build(Limits, parse_json(json.dumps(to_dict(limits)), "x"), Origin("x")) == limits


def test_a_whole_number_is_a_number_and_nothing_else_is_converted() -> None:
    assert build(Limits, {"factor": 3}, Origin("x")).factor == 3.0
    for wrong in ("3", True, None, [3], {"a": 3}):
        with pytest.raises(ConfigError):
            build(Limits, {"factor": wrong}, Origin("x"))
    with pytest.raises(ConfigError, match="a whole number, not float"):
        build(Limits, {"constant": 3.0}, Origin("x"))


# --- what does not belong -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FIELDS, ids=".".join)
def test_a_misspelt_key(path: tuple[str, ...]) -> None:
    """C01: every key with a letter too many names the key that was meant."""
    wrong = (*path[:-1], path[-1] + "x")
    with pytest.raises(ConfigError) as raised:
        run_config(nested(wrong, 1), Origin("run.toml"))
    assert "unknown key" in str(raised.value) and repr(path[-1]) in str(raised.value)
    assert ".".join(wrong) in str(raised.value) and str(raised.value).startswith("run.toml: ")


@pytest.mark.parametrize("path", FIELDS, ids=".".join)
def test_a_value_of_another_type(path: tuple[str, ...]) -> None:
    """C02: for each field every kind of value that is not of its type; shown as it was read."""
    hint = hint_of(path)
    if hint is typing.Any:
        return
    plain = {str: "no", int: 3, float: 0.5, bool: True, type(None): None, dict: {"a": 1}, list: [1.5]}
    known = {str: {str}, int: {int}, float: {int, float}, bool: {bool}, tuple[float, ...]: {list}}
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    fits = set().union(*(known.get(kind, set()) for kind in kinds))
    for kind, value in plain.items():
        if kind not in fits:
            with pytest.raises(ConfigError) as raised:
                run_config(nested(path, value), Origin("run.toml"))
            said = str(raised.value)
            assert path[-1] in said and ".".join(path[:-1]) in said, (kind, said)
            assert repr(value) in said or "1.5" in said, (kind, said)


NUMBERS = [path for path in FIELDS if hint_of(path) in (int, float)]


@pytest.mark.parametrize("path", NUMBERS, ids=".".join)
def test_numbers_that_are_none(path: tuple[str, ...]) -> None:
    wrong = [10**31, -(10**31)] + ([float("nan"), float("inf"), -float("inf")] if hint_of(path) is float else [])
    for value in wrong:
        with pytest.raises(ConfigError, match=path[-1]):
            run_config(nested(path, value), Origin("run.toml"))


def test_names_of_rows_are_checked_where_they_stand() -> None:
    """Every text that names a row of a table: wrong, and one letter off."""
    rows = ["model.encoder.type", "model.decoder.type", "model.encoder.stack.cell", "model.decoder.stack.cell"]
    rows += [f"model.decoder.{name}" for name in ("attention.type", "bridge", "readout", "head")]
    rows += ["vocab.source.level", "search.length_penalty"]
    settings = settings_of(default_run())
    for row in rows:
        for wrong in (settings[row] + "x", "", "qqq"):
            with pytest.raises(ConfigError) as raised:
                run_config(nested(tuple(row.split(".")), wrong), Origin("run.toml"))
            assert "known: " in str(raised.value) and repr(wrong) in str(raised.value)
            assert row.rpartition(".")[0] in str(raised.value)


@pytest.mark.parametrize(
    ("line", "number", "words"),
    [
        ("learning_rate = 2e-3|learning_rat = 2e-3", 15, "did you mean 'learning_rate'"),
        ("steps = 100|steps = '100'", 16, "must be a whole number, not str"),
        ("embedding_size = 7|embeding_size = 7", 9, "did you mean 'embedding_size'"),
        ("[model.decoder.attention]|[model.decoder.atention]", 11, "did you mean 'attention'"),
        ('cell = "gru", size|cell = "gru", sise', 10, "did you mean 'size'"),
        ('teacher.type = "constant"|teacher.typ = 1', 17, "did you mean 'type'"),
        ("[train]|[trian]", 14, "did you mean 'train'"),
        ('dev = ["dev.tsv"]|dev = 3', 3, "dev = 3"),
    ],
)
def test_the_line_is_named(line: str, number: int, words: str, tmp_path: Path) -> None:
    before, after = line.split("|")
    assert before in RUN
    path = written(tmp_path, RUN.replace(before, after))
    with pytest.raises(ConfigError) as raised:
        read_run_config(path)
    assert str(raised.value).startswith(f"{path}:{number}: ") and words in str(raised.value), str(raised.value)


def test_line_of() -> None:
    assert line_of(RUN, ("train", "steps")) == 16 and line_of(RUN, ("train",)) == 14
    assert line_of(RUN, ("model", "decoder", "attention", "type")) == 12
    assert line_of(RUN, ("model", "encoder", "stack", "cell")) == 10
    assert line_of(RUN, ("nothing",)) == 0 and line_of("", ("a",)) == 0


def test_what_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"data: train: give at least one file, or a folder as prepared"):
        run_config({"data": {}}, Origin("x"))
    with pytest.raises(ConfigError, match="'data' is missing"):
        run_config({}, Origin("x"))
    for wrong in (None, 3, [], "x"):
        for part in ("data", "model", "train"):
            with pytest.raises(ConfigError, match="table"):
                run_config({"data": {"train": ["x"]}, part: wrong}, Origin("x"))
        with pytest.raises(ConfigError, match="table"):
            model_config({"encoder": wrong}, Origin("x"))


@pytest.mark.parametrize(("part", "row"), [(part, row) for part, table in CONFIGS.items() for row in table])
def test_every_row_has_a_configuration(part: str, row: str) -> None:
    config = model_config({part: {"type": row}}, Origin("x"))
    assert type(getattr(config, part)) is CONFIGS[part][row] and getattr(config, part).type == row


def test_nearest_and_choose() -> None:
    assert nearest("sise", ["size", "layers"]) == "did you mean 'size'? known: layers, size"
    assert nearest("qq", ["size"]) == "known: size"
    assert choose({"a": 1}, "a", "x") == 1
    for wrong in ("b", None, 3, ["a"]):
        with pytest.raises(ConfigError, match="x = "):
            choose({"a": 1}, wrong, "x")


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"a = 1\na = 2\n", "not valid TOML"),
        (b"a = \n", "not valid TOML"),
        (b"a = " + b"[" * 100000, "too deeply|not valid TOML"),
        (b"a" + b".a" * 4000 + b" = 1", "unknown key|not valid TOML|too deeply"),
        (b"\xff\xfea\x00", "not UTF-8 at byte 0"),
        (b"a = 1\x00", "not valid TOML"),
        (b"#" * (MAX_BYTES + 1), "larger than"),
        (bytes(range(256)) * 10, "not UTF-8|not valid"),
    ],
    ids=["twice", "nothing", "deep", "dotted", "utf-16", "nul", "large", "binary"],
)
def test_files_that_are_no_toml(data: bytes, words: str, tmp_path: Path) -> None:
    """C03, C05."""
    (tmp_path / "run.toml").write_bytes(data)
    with pytest.raises(ConfigError, match=words) as raised:
        read_run_config(tmp_path / "run.toml")
    assert "run.toml" in str(raised.value) and len(str(raised.value)) < 10**6


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ('{"b": {"a": 1, "c": 0, "a": 1}}', "'a' stands twice"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "Infinity"),
        ('{"a": 1e999}', "1e999"),
        ("[" * 100000, "too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "not valid JSON"),
        ("", "not valid JSON"),
        ('{"a": 1} x', "not valid JSON"),
        ("{'a': 1}", "not valid JSON"),
    ],
)
def test_texts_that_are_no_json(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_json(text, "x.json")
    with pytest.raises(ConfigError, match=words):
        read_json(written(tmp_path, text, "x.json"))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path, "is a folder"),
        (tmp_path / "none", "cannot be read"),
        (tmp_path / "a" / "b", "read"),
    ):
        for read in (read_toml, read_json):
            with pytest.raises(ConfigError, match=words):
                read(path)


def test_bom_and_crlf(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_bytes(b"\xef\xbb\xbf" + RUN.replace("\n", "\r\n").encode())
    assert read_run_config(path) == read_run_config(written(tmp_path, RUN, "other.toml"))


# --- settings of the command line -----------------------------------------------------------------------------------


def test_settings_lie_over_the_file() -> None:
    values = {"train": {"steps": 1, "rate": 2.0}, "name": "x"}
    settings = ["train.steps = 7", "model.encoder.size=3", 'name="a=b"', "plain=some words", "list=[1, 2]", "on=true"]
    assert override(values, settings) == {
        "train": {"steps": 7, "rate": 2.0},
        "model": {"encoder": {"size": 3}},
        "name": "a=b",
        "plain": "some words",
        "list": [1, 2],
        "on": True,
    }
    assert values == {"train": {"steps": 1, "rate": 2.0}, "name": "x"}
    assert override({}, ["a=1e-3", "b=", "c=no"]) == {"a": 1e-3, "b": "", "c": "no"}


@pytest.mark.parametrize("setting", ["steps", "=3", " = 3", "name.more=1", "train.steps.more=1"])
def test_settings_that_cannot_be(setting: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        override({"name": "x", "train": {"steps": 1}}, [setting])


def test_a_setting_is_one_value() -> None:
    """A value that TOML would read as more than one is a text; one nested without end is an error."""
    assert override({}, ["a=1\nb=2"]) == {"a": "1\nb=2"}
    with pytest.raises(ConfigError, match="--set"):
        override({}, ["a=" + "[" * 100000])
