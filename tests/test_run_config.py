"""run_config: the rules of a run: every field wrong once, rows of tables, paths, settings, and what is saved.

That every misspelt key and every value of another type is named with its line is shown in test_config.py.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from sequencing import run_config as module
from sequencing.loss import NORMALIZERS
from sequencing.optim import OPTIMIZERS, SCHEDULES, TEACHER_RATES
from sequencing.policy import OBJECTIVES
from sequencing.precision import AUTO, PRECISIONS
from sequencing.relaxed import RELAXED
from sequencing.run_config import LEVELS, DataConfig, RunConfig, located, read_run_config, run_config, saved
from sequencing.selection import METRICS
from sequencing.train.guard import SPIKES, THEN
from sequencing.train.settings import check_settings
from sequencing_np.config import Origin, override
from sequencing_np.errors import ConfigError
from sequencing_np.mbr import NONE, UTILITIES
from sequencing_np.ranking import LENGTH_PENALTIES

MINIMAL = '[data]\ntrain = ["train.tsv"]\n[train]\nsteps = 10\n'

SAMPLES: dict[str, Any] = {  # the setting that names a row -> the table
    "train.optimizer": OPTIMIZERS,
    "train.normalize": NORMALIZERS,
    "train.select": METRICS,
    "train.schedule.type": SCHEDULES,
    "train.teacher.type": TEACHER_RATES,
    "train.teacher.relaxed": RELAXED,
    "train.objective.type": OBJECTIVES,
    "train.precision": PRECISIONS | {AUTO: None},
    "train.guard.on_spike": SPIKES,
    "train.guard.then": THEN,
    "vocab.source.level": dict.fromkeys(LEVELS),
    "vocab.target.level": dict.fromkeys(level for level in LEVELS if level != "vectors"),
    "search.length_penalty": LENGTH_PENALTIES,
    "search.mbr": {NONE: None, **UTILITIES},
}
ROWS = [(setting, row) for setting, table in SAMPLES.items() for row in table]

WRONG: dict[str, list[Any]] = {  # each field of a run's own sections: values of the right type that cannot be
    "data.train": [[], [["a", "b", "c"]], [["a"]]],
    "data.dev": [[["a"]]],
    "data.test": [[["a", "b", "c"]]],
    "data.max_length": [0, -1],
    "data.workers": [-1],
    "data.weights": [[1.0, 2.0], [-1.0], [0.0]],
    "vocab.source.level": ["word", ""],
    "vocab.source.size": [4, 0, -1],
    "vocab.source.min_count": [0, -1],
    "vocab.source.tags": [["a b"], [""], ["x", "x"], ["<unk>"]],
    "vocab.source.factors": [-1],
    "vocab.source.factor_separator": ["", " ", "a b"],
    "vocab.source.dropout": [-0.1, 1.0, 0.1],
    "vocab.source.algorithm": ["bp", "", "unigram"],
    "vocab.source.columns": [0, -1],
    "train.batch_tokens": [0, -1, "", "most"],
    "train.accumulate": [0, -1],
    "train.keep": [1, 0, -1],
    "train.keep_models": [-1],
    "train.keep_best": [-1],
    "train.steps": [-1],
    "train.epochs": [-1],
    "train.minutes": [-0.5],
    "train.patience": [-1],
    "train.optimizer": ["sgdd", ""],
    "train.learning_rate": [0, -1e-3],
    "train.weight_decay": [-0.1],
    "train.betas": [[], [0.9], [0.9, 0.98, 0.99], [1.0, 0.9], [0.9, 1.0], [-0.1, 0.9]],
    "train.momentum": [-0.1, 1.0],
    "train.schedule.type": ["cosin", ""],
    "train.schedule.warmup": [-1],
    "train.schedule.half_life": [0, -1],
    "train.schedule.final": [-0.1, 1.1],
    "train.schedule.decay": [0, 1.1],
    "train.schedule.factor": [0, 1.0],
    "train.schedule.plateau_patience": [0, -1],
    "train.init.least": [-0.1, 1.1],
    "train.lora.rank": [-1, 4],
    "train.lora.alpha": [0, -1.0],
    "train.lora.on": [[]],
    "train.distill.weight": [0, 1.1],
    "train.distill.temperature": [0, -1.0],
    "train.objective.type": ["reinforced", ""],
    "train.objective.reward": ["bleuu", "", "nowhere:f"],
    "train.objective.samples": [0, -1],
    "train.objective.burn_in": [-1, 5],
    "train.objective.increment": [-1],
    "train.objective.cross_entropy": [-0.1],
    "train.objective.entropy": [-0.1],
    "train.objective.near": [-0.1, 0.5],
    "train.objective.longest": [0.9],
    "train.objective.length_guard": [-0.1],
    "train.objective.repetition_guard": [-0.1],
    "train.objective.sharpness": [0, -1.0],
    "train.objective.baseline_size": [0],
    "train.objective.baseline_rate": [0, -1.0],
    "train.objective.workers": [-1],
    "train.clip": [-1],
    "train.guard.patience": [0, -1],
    "train.guard.then": ["stop", ""],
    "train.guard.on_spike": ["roll_back", ""],
    "train.guard.spike": [1.0, -1.0],
    "train.guard.window": [0, -1],
    "train.label_smoothing": [-0.1, 1.0],
    "train.r_drop": [-0.1],
    "train.z_loss": [-0.1],
    "train.coverage": [-0.1],
    "train.normalize": ["token", ""],
    "train.teacher.type": ["sigmoid", ""],
    "train.teacher.rate": [-0.1, 1.1],
    "train.teacher.final": [-0.1, 1.1],
    "train.teacher.scale": [0, -1],
    "train.teacher.relaxed": ["softest", ""],
    "train.teacher.temperature": [0, -1.0],
    "train.average": [-0.1, 1.0],
    "train.validate_every": [0, -1],
    "train.validate_sentences": [0, -1],
    "train.validate_beam": [0, -1],
    "train.bleu_tokenize": ["13b", "word"],
    "train.select": ["blue", "", "nowhere:f"],
    "train.samples": [-1],
    "train.log_every": [0, -1],
    "train.save_minutes": [-1],
    "train.threads": [-1],
    "train.compile": ["yes", "", 1],
    "train.precision": ["half", "", "fp32"],
    "train.seed": [-1],
}
ANYTHING = {  # fields of which every value of their type may be, or is tried elsewhere
    "train.recompute", "train.shard",
    "train.same_bits", "train.trackers", "train.teacher.per_sentence", "train.teacher.draw", "vocab.joint",
    "train.init.from_run", "train.init.freeze", "train.distill.teacher", "vocab.source.delimiter",
    "vocab.source.file", "train.device", "data.prepared", "train.objective.start", "train.objective.dropout",
    "train.objective.with_target", "train.objective.all_targets", "train.teacher.two_passes",
    "vocab.source.reversed",
}  # fmt: skip


def written(folder: Path, text: str = MINIMAL) -> Path:
    (folder / "run.toml").write_bytes(text.encode())
    return folder / "run.toml"


def checked(path: Path, *settings: str) -> RunConfig:
    """Read, and checked as a run's start checks it, before any file of data is opened."""
    config = read_run_config(path, settings)
    check_settings(config)
    return config


def setting(key: str, value: Any) -> str:
    return f"{key}={json.dumps(value)}"


def fields(value: Any, path: str = "") -> list[str]:
    if dataclasses.is_dataclass(value):
        parts = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
        return [name for key, part in parts for name in fields(part, f"{path}.{key}".strip("."))]
    return [path]


# --- what cannot be -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_every_field_wrong(key: str, value: Any, tmp_path: Path) -> None:
    """The error names the field and the value, before anything is written or read."""
    with pytest.raises(ConfigError) as raised:
        checked(written(tmp_path), setting(key, value))
    text = str(raised.value)
    assert key.rpartition(".")[2] in text
    assert any(shown in text for shown in (repr(value), repr(float(value)) if isinstance(value, int) else "..", "file"))
    assert [path.name for path in tmp_path.iterdir()] == ["run.toml"]


def test_every_field_is_tried() -> None:
    config = run_config({"data": {"train": ["x"]}}, Origin("x"))
    own = {name for name in fields(config) if not name.startswith(("model.", "search.", "vocab.target."))}
    assert own == set(WRONG) | ANYTHING


@pytest.mark.parametrize(("key", "row"), ROWS, ids=[f"{key}={row}" for key, row in ROWS])
def test_every_row_is_taken(key: str, row: str, tmp_path: Path) -> None:
    config = checked(written(tmp_path), setting(key, row))
    value: Any = config
    for part in key.split("."):
        value = getattr(value, part)
    assert value == row


@pytest.mark.parametrize("key", SAMPLES)
def test_a_row_that_is_none_names_the_nearest(key: str, tmp_path: Path) -> None:
    for row in SAMPLES[key]:
        with pytest.raises(ConfigError, match=f"did you mean '{row}'"):
            checked(written(tmp_path), setting(key, row + "x"))


@pytest.mark.parametrize("end", ["steps=3", "epochs=1", "minutes=0.1"])
def test_a_training_has_an_end(end: str, tmp_path: Path) -> None:
    path = written(tmp_path, '[data]\ntrain = ["x"]\n')
    with pytest.raises(ConfigError, match=r"never end: set train.steps, train.epochs, train.minutes or train.patience"):
        checked(path)
    checked(path, f"train.{end}")
    with pytest.raises(ConfigError, match="never end"):
        checked(path, "train.patience=3")  # without held-out data
    checked(path, "train.patience=3", 'data.dev=["y"]')


def test_a_rule_names_its_section_and_line(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL + "label_smoothing = 1.5\n")
    with pytest.raises(ConfigError) as raised:
        read_run_config(path)
    assert str(raised.value).startswith(f"{path}:3: train: label_smoothing 1.5: must be from 0 to below 1")


def test_the_nearest_key_and_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL + "lable_smoothing = 0.1\n")
    with pytest.raises(ConfigError) as raised:
        read_run_config(path)
    assert str(raised.value).startswith(f"{path}:5: train.lable_smoothing: unknown key 'lable_smoothing'; did you mean")
    assert "'label_smoothing'" in str(raised.value)


def test_a_setting_that_does_not_belong(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'optimizer'"):
        read_run_config(written(tmp_path), ["train.optimiser=adam"])
    with pytest.raises(ConfigError, match="write key=value"):
        read_run_config(written(tmp_path), ["train.steps"])


def test_factors_need_a_separator_and_a_level(tmp_path: Path) -> None:
    path = written(tmp_path)
    for level in ("characters", "subwords"):
        with pytest.raises(ConfigError, match="factors 1: the level must be one of words, delimited"):
            checked(path, f"vocab.source.level={level}", "vocab.source.factors=1")
    delimited = ("vocab.source.level=delimited", "vocab.source.factors=1")
    with pytest.raises(ConfigError, match="factors 1: set delimiter"):
        checked(path, *delimited)
    with pytest.raises(ConfigError, match=r"factor_separator '\|': the delimiter has a character of it"):
        checked(path, *delimited, "vocab.source.delimiter='||'")
    assert checked(path, *delimited, "vocab.source.delimiter=','").vocab.source.separator == ","
    with pytest.raises(ConfigError, match=r"target\.factors 2: only source text can have factors"):
        checked(path, "vocab.target.factors=2")
    with pytest.raises(ConfigError, match=r"size 6: must be at least 7 \(four special ids, tags and a token\)"):
        checked(path, "vocab.source.size=6", 'vocab.source.tags=["<a>", "<b>"]')
    with pytest.raises(ConfigError, match="holds a character of the delimiter"):
        checked(path, "vocab.target.level=delimited", "vocab.target.delimiter='>'", 'vocab.target.tags=["<a>"]')
    checked(path, "vocab.target.delimiter='>'", 'vocab.target.tags=["<a>"]')  # words have no use for it


def test_z_loss_is_of_logits(tmp_path: Path) -> None:
    copying = ("vocab.joint=true", "model.decoder.copy=true")
    for settings in (copying, ("model.decoder.head=mixture_2",)):
        checked(written(tmp_path), *settings)
        with pytest.raises(ConfigError, match=r"train\.z_loss = 0\.1: a decoder that copies or mixes"):
            checked(written(tmp_path), *settings, "train.z_loss=0.1")


def test_columns_are_of_the_source_and_of_the_data(tmp_path: Path) -> None:
    path = written(tmp_path, MINIMAL + "[vocab]\nsource.columns = 2\n")
    assert checked(path, 'data.dev=[["a", "b", "c"], "d.tsv"]').data.dev[0] == tuple(f"{tmp_path}/{n}" for n in "abc")
    form = r"run\.toml:1: data: test: \('a', 'b'\): parallel files come in groups of 3, 2 sources and the target"
    with pytest.raises(ConfigError, match=form):
        checked(path, 'data.test=[["a", "b"]]')
    with pytest.raises(ConfigError, match=r"test: \('a', 'b', 'c'\): parallel files come in twos, \[source, target\]"):
        checked(path, "vocab.source.columns=1", 'data.test=[["a", "b", "c"]]')
    with pytest.raises(ConfigError, match=r"target\.columns 2: only a source can be several texts"):
        checked(path, "vocab.target.columns=2")
    delimited = ("vocab.source.level=delimited", "vocab.source.delimiter='\t'")
    with pytest.raises(ConfigError, match="columns 2: tabs stand between columns; set another delimiter"):
        checked(path, *delimited)
    checked(path, *delimited, "vocab.source.columns=1")


# --- paths ----------------------------------------------------------------------------------------------------------


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the program stands, also where the configuration is called by a relative path; --set as in the file."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    text = '[data]\ntrain = ["a.tsv", ["b.en", "../b.de"]]\ndev = ["/data/dev.tsv"]\n'
    text += '[vocab]\nsource.file = "source.txt"\ntarget.file = "/data/target.txt"\n'
    written(folder, text)
    monkeypatch.chdir(tmp_path)
    config = read_run_config("recipes/run.toml", ['data.test=["test.tsv"]'])
    assert config.data.train == (f"{folder}/a.tsv", (f"{folder}/b.en", f"{folder}/../b.de"))
    assert config.data.dev == ("/data/dev.tsv",) and config.data.test == (f"{folder}/test.tsv",)
    assert config.vocab.source.file == f"{folder}/source.txt" and config.vocab.target.file == "/data/target.txt"
    assert read_run_config(written(tmp_path), []).vocab.source.file == "", "no file is no path"


def test_located_keeps_the_rest() -> None:
    data = DataConfig(("a",), max_length=7, weights=(11.0,))
    assert located(DataConfig(prepared="b"), Path("/x")) == DataConfig(prepared="/x/b")
    assert located(data, Path("/x")) == DataConfig(("/x/a",), max_length=7, weights=(11.0,))


# --- there and back -------------------------------------------------------------------------------------------------


def test_what_is_saved_reads_back_equal(tmp_path: Path) -> None:
    settings = [setting(key, list(table)[-1]) for key, table in SAMPLES.items()]
    settings += ["model.decoder.input_feeding=true", "model.encoder.stack.cell=lstm", "train.betas=[0.8, 0.9]"]
    config = read_run_config(written(tmp_path), [*settings, 'data.dev=[["a", "b"]]'])
    values = json.loads(json.dumps(saved(config)))
    assert run_config(values, Origin("config.json")) == config
    assert run_config(override(values, ["train.steps=99"]), Origin("x")).train.steps == 99


def test_configurations_cannot_be_changed() -> None:
    """Inventory row T-A13: nobody edits a caller's settings in place."""
    config = run_config({"data": {"train": ["x"]}}, Origin("x"))
    for part in (config, config.data, config.train, config.train.schedule, config.model, config.model.encoder):
        with pytest.raises(dataclasses.FrozenInstanceError):
            part.changed = 1  # type: ignore[attr-defined]
    hash(config)


def test_reading_a_configuration_needs_no_pytorch() -> None:
    text = Path(module.__file__).read_bytes().decode()
    assert "import torch" not in text and "from .optim" not in text
