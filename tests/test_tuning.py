"""Searching for hyper-parameters: spaces and their mistakes; trials drawn, ended early, shared, gone on with.

Most tests put a formula in the place of the training; the slow ones train number words.
"""

import json
import math
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencing.__main__ import main
from sequencing.run_config import read_run_config, saved
from sequencing.selection import METRICS, column
from sequencing.tuning.settings import Range, read_plan
from sequencing.tuning.toml import toml_text
from sequencing_np.errors import ConfigError, DataError, SearchError, UsageError

optuna = pytest.importorskip("optuna")  # an extra of its own

from sequencing.tuning import search as searching  # noqa: E402
from sequencing.tuning.journal import JOURNAL, mend  # noqa: E402
from sequencing.tuning.locks import Lock  # noqa: E402
from sequencing.tuning.search import Stopped, tune  # noqa: E402
from sequencing.tuning.trial import End  # noqa: E402

RUN = """\
[data]
train = ["pairs.tsv"]
dev = ["pairs.tsv"]

[vocab.target]
level = "characters"

[model]
encoder = { type = "bidirectional_rnn", embedding_size = 8, stack = { size = 8 } }
decoder = { type = "rnn", embedding_size = 8, stack = { size = 8 }, readout_size = 8 }

[train]
steps = 40
learning_rate = 0.01
schedule = { warmup = 2 }
validate_every = 10
samples = 0
select = "loss"
"""
TUNE = """
[tune]
trials = 8
startup = 2
pruner = "none"
"""
RATE = '"train.learning_rate" = { low = 1e-4, high = 1e-1, log = true }\n'
SIZE = '"model.encoder.stack.size" = { choices = [8, 16] }\n'
SPACE = f"[tune.space]\n{RATE}{SIZE}"


def write(folder: Path, tail: str = TUNE + SPACE, run: str = RUN) -> Path:
    """A configuration beside the number words of README.md."""
    folder.mkdir(parents=True, exist_ok=True)
    ones = {"one": "ein", "two": "zwei", "three": "drei", "four": "vier", "five": "fünf"}
    tens = {"twenty": "zwanzig", "thirty": "dreißig", "forty": "vierzig"}
    pairs = [f"{ten} {one}\t{ones[one]}und{tens[ten]}\n" for ten in tens for one in ones]
    (folder / "pairs.tsv").write_text("".join(pairs), encoding="utf-8", newline="\n")
    (folder / "tune.toml").write_text(run + tail, encoding="utf-8")
    return folder / "tune.toml"


# --- the file ---------------------------------------------------------------------------------------------------------

scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
)
nested = st.recursive(
    scalars,
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=4), part, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), nested, max_size=4))
def test_toml_is_read_back(values: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text(values)) == values


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ("", "is empty; give at least one setting"),
        ('"train.learning_rat" = { low = 1e-4, high = 1.0 }', "did you mean 'learning_rate'?"),
        ('"train.learning_rate" = { low = 1.0, high = 0.5 }', "low must be below high"),
        ('"train.learning_rate" = { low = 0.0, high = 0.5, log = true }', "must be above 0 with log = true"),
        ('"train.learning_rate" = { low = 0.1, high = 0.5, log = true, step = 0.1 }', "leave one of them out"),
        ('"train.learning_rate" = { low = 0.1, hihg = 0.5 }', "unknown key 'hihg'; did you mean 'high'?"),
        ('"train.learning_rate" = { low = 0.1 }', "the key 'high' is missing"),
        ('"train.learning_rate" = 0.1', "must be a table; write { low = 1e-4"),
        ('"train.learning_rate" = { low = -1.0, high = 0.5 }', "the value -1.0 does not fit: "),
        ('"train.accumulate" = { low = 1, high = 4, step = 0.5 }', "must be a whole number, as the setting is"),
        ('"train.accumulate" = { low = 1, high = 4.5 }', "the value 4.5 does not fit: "),
        ('"train.normalize" = { low = 1, high = 4 }', "the value 1 does not fit: "),
        ('"train.same_bits" = { low = 0, high = 1 }', "the value 0 does not fit: "),
        ('"train.accumulate" = { choices = [] }', "give at least one value"),
        ('"train.accumulate" = { choices = 3 }', "must be a list"),
        ('"train.accumulate" = { choices = [1, 2, 1] }', "1 stands twice"),
        ('"train.accumulate" = { choices = [1, 0] }', "the value 0 does not fit: "),
        ('"train.select" = { choices = ["bleu", "loss"] }', "cannot be compared"),
        ('"model.encoder.stack" = { choices = [{ size = 8 }] }\n' + SIZE, "stands within model.encoder.stack"),
    ],
)
def test_mistakes_in_a_space(tmp_path: Path, space: str, words: str) -> None:
    path = write(tmp_path, f"{TUNE}[tune.space]\n{space}\n")
    with pytest.raises(ConfigError) as raised:
        read_plan(path, [])
    assert words in str(raised.value) and "tune.toml" in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["tune.sampler=tep"], "did you mean 'tpe'?"),
        (["tune.pruner=hyper"], "did you mean 'hyperband'?"),
        (["tune.trials=0"], "trials 0: must be 1 or more"),
        (["tune.trails=1"], "did you mean 'trials'?"),
        (["tune.minutes=-1"], "must be 0 or more"),
        (["tune.sampler=grid"], "a grid needs steps"),
        (["data.dev=[]"], "set data.dev"),
    ],
)
def test_mistakes_in_the_table(tmp_path: Path, settings: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words.replace("?", r"\?")):
        read_plan(write(tmp_path), settings)


def test_mistakes_that_only_the_trainer_knows(tmp_path: Path) -> None:
    path = write(tmp_path, TUNE + '[tune.space]\ntrain.optimizer = { choices = ["adam", "adma"] }\n')
    with pytest.raises(ConfigError, match=r"tune.space.train.optimizer: the value \"adma\" does not fit: .*'adam'"):
        tune(read_plan(path, []), tmp_path / "t")


def test_how_a_space_is_written(tmp_path: Path) -> None:
    """Quoted keys, dotted keys and sections are the same; a number is whole where the setting is."""
    rate, batches = "{ low = 1, high = 2 }", "{ low = 1, high = 9, step = 3 }"
    spaces = [
        f'[tune.space]\n"train.learning_rate" = {rate}\n"train.accumulate" = {batches}\n',
        f"[tune.space]\ntrain.learning_rate = {rate}\ntrain.accumulate = {batches}\n",
        f"[tune.space.train.learning_rate]\nlow = 1\nhigh = 2\n[tune.space.train]\naccumulate = {batches}\n",
    ]
    plans = [read_plan(write(tmp_path / str(k), TUNE + space), []) for k, space in enumerate(spaces)]
    for plan in plans:
        assert plan.space == {"train.learning_rate": Range(1.0, 2.0), "train.accumulate": Range(1, 9, step=3)}
        assert not plan.space["train.learning_rate"].whole and plan.space["train.accumulate"].whole
    assert plans[0].space["train.accumulate"].points() == [1, 4, 7]
    assert Range(0.0, 0.35, step=0.1).points() == [0.0, 0.1, 0.2, 0.3]


def test_train_reads_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "plain.toml").write_text(RUN, encoding="utf-8")
    assert read_run_config(write(tmp_path)) == read_run_config(tmp_path / "plain.toml")


def test_the_file_of_a_trial_is_its_configuration_from_anywhere(tmp_path: Path) -> None:
    tables = '"model.encoder" = { choices = [{ type = "pooling", embedding_size = 8 }, { type = "self_attention" }] }\n'
    plan = read_plan(write(tmp_path / "here", TUNE + SPACE.replace(SIZE, tables)), [])
    values = {"train.learning_rate": 3e-3, "model.encoder": {"type": "pooling", "embedding_size": 8}}
    other = tmp_path / "there.toml"
    other.write_text(toml_text(plan.written(values)), encoding="utf-8")
    config = read_run_config(other)
    assert config == plan.run(values) and saved(config)["model"]["encoder"]["type"] == "pooling"
    assert config.train.learning_rate == 3e-3 and config.data.train == (str(tmp_path / "here" / "pairs.tsv"),)


# --- files that several processes write -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"", b""), (b"{}\n", b"{}\n"), (b'{}\n{"a', b"{}\n"), (b"cut", b""), (b"x\n" + b"y" * 9000, b"x\n")],
)
def test_a_cut_line_is_taken_away(tmp_path: Path, before: bytes, after: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(before)
    mend(path)
    assert path.read_bytes() == after


def test_a_lock_is_one_holders_and_let_go_at_a_kill(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    path = tmp_path / "lock"
    program = f"from sequencing.tuning.locks import *; Lock(Path({str(path)!r})).acquire(); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, env=environment()) as other:
        assert other.stdout and other.stdout.readline()
        assert not Lock(path).tried()
        other.kill()
        other.wait()
    mine = Lock(path)
    assert mine.tried() and mine.tried() and not Lock(path).tried()
    mine.release()
    assert not Lock(path).tried()
    mine.release()
    assert Lock(path).tried()


def environment() -> dict[str, str]:
    source = str(Path(__file__).parent.parent / "src")
    return {**os.environ, "PYTHONPATH": source, "OMP_NUM_THREADS": "1"}


# --- with a formula for a training ------------------------------------------------------------------------------------


class Formula:
    """In the place of `attend`: a loss that falls with the steps and is least at a learning rate of 0.01."""

    def __init__(self, event: Callable[[Any, int], End | None] = lambda config, step: None) -> None:
        self.event, self.steps, self.began = event, 0, []

    def __call__(self, words: list[str], folder: Path, log: Path, news: Any, leaving: Any) -> End:
        config = read_run_config(words[0])
        path = folder / "metrics.jsonl"
        self.began.append(folder.name)
        done = path.read_bytes().count(b"\n") * 10 if path.exists() else 0
        for step in range(done + 10, config.train.steps + 1, 10):
            if (end := self.event(config, step)) is not None:
                return end
            self.steps += 10
            far = abs(math.log10(config.train.learning_rate) + 2)
            record = {"kind": "dev", "step": step, column(config.train.select): far + 10 / step, "seconds": step / 10}
            with path.open("ab") as file:
                file.write(json.dumps(record).encode() + b"\n")
            if news():
                return End(None, judged=True)
            if leaving():
                return End(None)
        return End(0) if not news() else End(None, judged=True)


@pytest.fixture
def formula(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Formula]:
    def put(*event: Any) -> Formula:
        made = Formula(*event)
        monkeypatch.setattr(searching, "attend", made)
        return made

    return put


def result(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "tune.json").read_text("utf-8"))
    assert [trial["number"] for trial in found["trials"]] == list(range(len(found["trials"])))
    return found


def test_it_finds_what_is_better_and_says_so(formula, tmp_path, capsys) -> None:
    formula()
    code = main(["tune", str(write(tmp_path)), "--folder", str(tmp_path / "t"), "--trials", "12"])
    out, err = capsys.readouterr()
    assert code == 0 and len(out.splitlines()) == 13 and err.count("\n") == 12
    found = result(tmp_path / "t")
    losses = [trial["score"] for trial in found["trials"]]
    assert found["best"] == losses.index(min(losses)) and found["better"] == "lower" and found["metric"] == "loss"
    assert out.splitlines()[1].split()[0] == str(found["best"]) and "best so far" in err
    best = read_run_config(tmp_path / "t" / "best.toml")
    assert best.train.learning_rate == found["trials"][found["best"]]["values"]["train.learning_rate"]
    assert min(losses[6:]) < min(losses[:2]), "what was learnt from the first ones"
    sizes = {trial["values"]["model.encoder.stack.size"] for trial in found["trials"]}
    assert sizes == {8, 16} and all(1e-4 <= t["values"]["train.learning_rate"] <= 0.1 for t in found["trials"])


def test_higher_is_better_where_the_metric_says_so(formula, tmp_path, monkeypatch) -> None:
    formula()
    monkeypatch.setitem(METRICS, "loss", 1)
    tune(read_plan(write(tmp_path), []), tmp_path / "t")
    found = result(tmp_path / "t")
    scores = [trial["score"] for trial in found["trials"]]
    assert found["best"] == scores.index(max(scores)) and found["better"] == "higher"
    assert [trial["step"] for trial in found["trials"]] == [10] * 8, "the first validation has the highest number"


def test_a_function_of_ones_own_is_searched_by(formula, tmp_path) -> None:
    """Its file stands beside the configuration, and the trials' configurations say where that is."""
    formula()
    path = write(tmp_path, run=RUN.replace('"loss"', '"own.py:worth"'))
    (tmp_path / "own.py").write_text("def worth(texts, references):\n    return 1\n", encoding="utf-8")
    tune(read_plan(path, ["tune.trials=3"]), tmp_path / "t")
    found = result(tmp_path / "t")
    scores = [trial["score"] for trial in found["trials"]]
    assert (found["metric"], found["better"]) == ("worth", "higher") and found["best"] == scores.index(max(scores))
    assert read_run_config(tmp_path / "t" / "best.toml").train.select == f"{tmp_path / 'own.py'}:worth"


def test_going_on_is_as_if_it_had_never_stopped(formula, tmp_path) -> None:
    """Stopped by the clock, by SIGTERM, and by a kill that cuts the journal's last line."""
    path = write(tmp_path, (TUNE + SPACE).replace("none", "median"))
    formula()
    tune(read_plan(path, []), tmp_path / "whole")

    folder = tmp_path / "parts"
    formula()
    tune(read_plan(path, ["tune.trials=3"]), folder)
    formula(lambda config, step: os.kill(os.getpid(), signal.SIGTERM) if step == 20 else None)
    with pytest.raises(Stopped, match="stopped after 5 of 8 trials; the same command continues"):
        tune(read_plan(path, []), folder)
    states = [trial["state"] for trial in result(folder)["trials"]]
    assert states == ["done", "done", "done", "pruned", "pruned", "begun"]
    with (folder / JOURNAL).open("ab") as file:
        file.write(b'{"op_code":6,"worker_id"')
    (folder / ".0123456789abcdef.part").write_bytes(b"cut")

    def killed(config: Any, step: int) -> None:
        raise MemoryError

    formula(killed)
    with pytest.raises(MemoryError):
        tune(read_plan(path, []), folder)
    with (folder / JOURNAL).open("ab") as file:
        file.write(b"{")
    made = formula()
    tune(read_plan(path, []), folder)
    assert result(folder) == result(tmp_path / "whole") and made.began[0] == "0005"
    assert made.steps == 20 + sum(t["step"] for t in result(folder)["trials"][6:]), "two validations were there already"
    assert (folder / "best.toml").read_bytes() == (tmp_path / "whole" / "best.toml").read_bytes()
    formula(killed)
    assert tune(read_plan(path, []), folder) == tune(read_plan(path, []), tmp_path / "whole"), "nothing is left to do"


def test_the_clock_leaves_a_trial_to_the_next_call(formula, tmp_path) -> None:
    path = write(tmp_path)
    formula(lambda config, step: time.sleep(0.4))
    table = tune(read_plan(path, ["tune.minutes=0.005"]), tmp_path / "t")
    assert len(table) == 2 and " begun " in table[1] and not (tmp_path / "t" / "best.toml").exists()
    made = formula()
    tune(read_plan(path, []), tmp_path / "t")
    assert made.steps == 8 * 40 - 10 and {t["state"] for t in result(tmp_path / "t")["trials"]} == {"done"}


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_what_does_badly_is_ended_early(formula, tmp_path, pruner) -> None:
    plan = read_plan(write(tmp_path), [f"tune.pruner={pruner}", "tune.trials=24", "tune.sampler=random"])
    made = formula()
    tune(plan, tmp_path / "t")
    found = result(tmp_path / "t")
    pruned = [trial for trial in found["trials"] if trial["state"] == "pruned"]
    done = [trial for trial in found["trials"] if trial["state"] == "done"]
    assert pruned and all(trial["step"] < 40 for trial in pruned) and made.steps < 24 * 40
    assert made.steps == sum(trial["step"] for trial in found["trials"]) and len(pruned) + len(done) == 24
    assert found["best"] == min(done, key=lambda trial: trial["score"])["number"]
    if pruner == "median":
        assert not any(trial["state"] == "pruned" for trial in found["trials"][:2]), "startup = 2"


def test_a_grid_is_tried_whole_and_once(formula, tmp_path) -> None:
    space = "[tune.space]\ntrain.learning_rate = { choices = [1e-3, 1e-2] }\n"
    space += "train.accumulate = { low = 1, high = 5, step = 2 }\n"
    plan = read_plan(write(tmp_path, TUNE + space), ["tune.sampler=grid", "tune.trials=100"])
    formula()
    assert plan.size() == 6 and len(tune(plan, tmp_path / "t")) == 7
    values = {tuple(trial["values"].values()) for trial in result(tmp_path / "t")["trials"]}
    assert values == {(rate, batches) for rate in (1e-3, 1e-2) for batches in (1, 3, 5)}


def test_a_trial_that_fails_ends_no_search(formula, tmp_path, capsys) -> None:
    """Diverged ones count as bad; what is killed again and again, or cannot be made, as failed."""
    codes = {1: End(6), 2: End(-9), 3: End(3), 4: End(1)}
    numbers: dict[float, int] = {}

    def event(config: Any, step: int) -> End | None:
        number = numbers.setdefault(config.train.learning_rate, len(numbers))
        return codes.get(number) if step == 20 else None

    made = formula(event)
    tune(read_plan(write(tmp_path), []), tmp_path / "t")
    states = [trial["state"] for trial in result(tmp_path / "t")["trials"]]
    assert states == ["done", "diverged", "failed", "failed", "failed", "done", "done", "done"]
    assert made.began.count("0002") == 3 and "trial 2: failed (killed 3 times, by signal 9)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (4, DataError, "trial 0: .*the same command goes on"),  # every trial would meet it
        (3, ConfigError, "3 trials failed and none came to its end"),
        (6, SearchError, "none of the 8 trials came to its end"),
    ],
)
def test_where_all_trials_fail(formula, tmp_path, code, kind, words) -> None:
    formula(lambda config, step: End(code))
    with pytest.raises(kind, match=words):
        tune(read_plan(write(tmp_path), []), tmp_path / "t")
    if code == 4:
        formula()
        tune(read_plan(write(tmp_path), []), tmp_path / "t")
        assert {trial["state"] for trial in result(tmp_path / "t")["trials"]} == {"done"}


def test_what_is_drawn_lies_on_the_steps(formula, tmp_path) -> None:
    space = "[tune.space]\ntrain.label_smoothing = { low = 0.0, high = 0.27, step = 0.05 }\n"
    space += "train.accumulate = { low = 2, high = 9, step = 3 }\n"
    formula()
    tune(read_plan(write(tmp_path, TUNE + space), ["tune.trials=20"]), tmp_path / "t")
    drawn = [trial["values"] for trial in result(tmp_path / "t")["trials"]]
    assert {values["train.label_smoothing"] for values in drawn} <= {0.0, 0.05, 0.1, 0.15, 0.2, 0.25}
    assert {values["train.accumulate"] for values in drawn} == {2, 5, 8}


def test_values_that_do_not_go_together_are_a_failed_trial(formula, tmp_path) -> None:
    space = '[tune.space]\ntrain.lora.rank = { choices = [0, 4] }\ntrain.init.from_run = { choices = ["", "x"] }\n'
    with pytest.raises(ConfigError, match=r"the value 4 does not fit: .*set init.from_run"):
        read_plan(write(tmp_path, TUNE + space), [])
    run = RUN.replace("[train]", "[train]\ninit.from_run = 'x'")
    formula()
    tune(read_plan(write(tmp_path, TUNE + space, run), ["tune.sampler=grid"]), tmp_path / "t")
    states = {tuple(trial["values"].values()): trial["state"] for trial in result(tmp_path / "t")["trials"]}
    assert states == {(0, ""): "done", (0, "x"): "done", (4, ""): "failed", (4, "x"): "done"}


def test_another_search_or_anything_else_is_left_alone(formula, tmp_path) -> None:
    path = write(tmp_path)
    formula()
    tune(read_plan(path, ["tune.trials=2"]), tmp_path / "t")
    before = (tmp_path / "t" / JOURNAL).read_bytes()
    for setting in ("tune.seed=2", "train.steps=50", "tune.space.train.dropout.low=0"):
        with pytest.raises(ConfigError):
            tune(read_plan(path, [setting]), tmp_path / "t")
    assert (tmp_path / "t" / JOURNAL).read_bytes() == before
    tune(read_plan(path, ["train.threads=1", "tune.trials=3"]), tmp_path / "t")
    with pytest.raises(UsageError, match="is not empty and holds no search"):
        tune(read_plan(path, []), tmp_path)


def test_without_optuna_it_says_what_to_install(tmp_path) -> None:
    (tmp_path / "optuna.py").write_bytes(b"raise ModuleNotFoundError(\"No module named 'optuna'\", name='optuna')\n")
    paths = os.pathsep.join([str(tmp_path), environment()["PYTHONPATH"]])
    words = [sys.executable, "-m", "sequencing", "tune", str(write(tmp_path)), "--folder", str(tmp_path / "t")]
    done = subprocess.run(words, capture_output=True, env={**environment(), "PYTHONPATH": paths}, timeout=60)
    assert done.returncode == 2 and b"pip install 'sequencing-nn[tune]'" in done.stderr


# --- with real trainings ----------------------------------------------------------------------------------------------


def begin(path: Path, folder: Path, *settings: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "sequencing", "tune", str(path), "--folder", str(folder), "--set", *settings]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())


def wait_for(what: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.02)


def is_free(folder: Path) -> bool:
    with Lock(folder) as lock:
        return lock.tried()


def dev_records(folder: Path) -> list[dict[str, Any]]:
    path = folder / "metrics.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [record for record in map(json.loads, lines) if record["kind"] == "dev"]


@pytest.mark.slow
def test_killed_and_gone_on_with_by_two_processes(tmp_path: Path) -> None:
    """After SIGKILL its training ends too, and the trial is gone on with, not begun anew; SIGTERM leaves them whole."""
    path, folder = write(tmp_path), tmp_path / "t"
    fast = ["tune.trials=3", "train.threads=1"]
    first = folder / "trials" / "0000"
    process = begin(path, folder, *fast, "train.steps=4000", "train.save_minutes=0.001")
    wait_for(lambda: len(dev_records(first)) >= 2)
    process.kill()
    process.communicate()
    if sys.platform == "linux":
        wait_for(lambda: is_free(first), 20)
    trained = dev_records(first)
    assert len(trained) < 400, "it was far from its end"

    with pytest.raises(ConfigError, match=r"train.steps was 4000 and is now 40"):
        tune(read_plan(path, fast), folder)
    again = [begin(path, folder, *fast, "train.steps=4000", "train.save_minutes=9") for _ in range(2)]
    log = folder / "trials" / "0000.log"
    wait_for(lambda: f"continuing {first} after step" in log.read_text("utf-8"))
    wait_for(lambda: bool(dev_records(folder / "trials" / "0001")))
    for each in again:
        each.terminate()
    said = [each.communicate(timeout=60)[1] for each in again]
    assert [each.returncode for each in again] == [130, 130], said
    assert [trial["state"] for trial in result(folder)["trials"]] == ["begun"] * 2
    if sys.platform == "linux":  # it had saved when its search was killed
        assert dev_records(first)[: len(trained)] == trained, "nothing was learnt twice"


@pytest.mark.slow
def test_two_processes_share_the_trials_and_the_best_trains(tmp_path: Path) -> None:
    path, folder = write(tmp_path), tmp_path / "t"
    both = [begin(path, folder, "tune.trials=3", "train.steps=20", "train.threads=1") for _ in range(2)]
    said = [each.communicate(timeout=120) for each in both]
    assert [each.returncode for each in both] == [0, 0], said
    assert said[0][0] == said[1][0] and said[0][0].count(b"\n") == 4, "both end with the whole table"
    lines = [[line for line in err.split(b"\n") if line.startswith(b"trial ")] for _, err in said]
    assert sorted(line[6:7] for part in lines for line in part) == [b"0", b"1", b"2"], "each trial by one of them"
    found = result(folder)
    for trial in found["trials"]:
        scores = [record["loss"] for record in dev_records(folder / "trials" / f"{trial['number']:04d}")]
        assert trial["state"] == "done" and trial["score"] == min(scores) and len(scores) == 2
        left = {each.name for each in (folder / "trials" / f"{trial['number']:04d}").iterdir() if each.is_dir()}
        assert left == {"best", "last"}
    assert main(["train", str(folder / "best.toml"), "--run", str(tmp_path / "best")]) == 0
    best = folder / "trials" / f"{found['best']:04d}"
    assert [r["loss"] for r in dev_records(tmp_path / "best")] == [r["loss"] for r in dev_records(best)]
    assert (tmp_path / "best/last/weights.safetensors").read_bytes() == (best / "last/weights.safetensors").read_bytes()


LIVES = """
import os, random, signal, sys, time
from pathlib import Path
from sequencing.tuning import search
from sequencing.tuning.settings import read_plan
from test_tuning import Formula

path, folder, once = Path(sys.argv[1]), Path(sys.argv[2]), random.Random(7)
search.attend = Formula(lambda config, step: time.sleep(0.005))
killed = 0
while True:
    life = os.fork()
    if not life:
        sys.stderr = open(os.devnull, "w")
        search.tune(read_plan(path, []), folder)
        os._exit(0)
    time.sleep(once.uniform(0.0, 0.1 * 1.05**killed))  # longer and longer: it comes to an end on any machine
    os.kill(life, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(life, 0)[1])
    if code == 0:
        break
    assert code == -signal.SIGKILL, code
    killed += 1
print(killed)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="each life is a fork of a process that has PyTorch")
def test_killed_at_any_moment_it_finds_the_same(formula, tmp_path: Path) -> None:
    """The search, that is, with a formula for its trainings."""
    path = write(tmp_path, (TUNE + SPACE).replace("none", "median").replace("trials = 8", "trials = 14"))
    formula()
    tune(read_plan(path, []), tmp_path / "whole")
    paths = os.pathsep.join([environment()["PYTHONPATH"], str(Path(__file__).parent)])
    words = [sys.executable, "-c", LIVES, str(path), str(tmp_path / "killed")]
    done = subprocess.run(words, capture_output=True, env={**environment(), "PYTHONPATH": paths}, timeout=120)
    assert done.returncode == 0 and int(done.stdout) >= 10, done.stderr.decode()
    assert result(tmp_path / "killed") == result(tmp_path / "whole")
    assert (tmp_path / "killed/best.toml").read_bytes() == (tmp_path / "whole/best.toml").read_bytes()
