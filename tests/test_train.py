"""train: small models learn what they are taught, stop when told, and go on from where they were, bit for bit."""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from sequencing.loading import load_translator
from sequencing.report import write_report
from sequencing.run_config import RunConfig, read_run_config
from sequencing.train.checkpoint import latest_checkpoint
from sequencing.train.loop import Interrupted, run, train
from sequencing.train.losses import losses_of
from sequencing.train.opening import open_session
from sequencing.train.session import Session
from sequencing.train.settings import FREE
from sequencing_np.errors import ConfigError, DataError, SequencingError, UsageError
from sequencing_np.manifest import check_manifest
from sequencing_np.model_folder import read_model_folder
from sequencing_np.search import SearchConfig
from sequencing_np.translate import Translator
from small_runs import EVERYTHING, files, records, small, write_config, write_pairs

ROOT = Path(__file__).resolve().parent.parent

torch.set_num_threads(1)


class Asked(list[int]):
    """Asks for the end when something is so, as a signal would."""

    def __init__(self, when: Callable[[], bool]) -> None:
        super().__init__()
        self.when = when

    def __bool__(self) -> bool:
        return self.when()


# --- learning -------------------------------------------------------------------------------------------------------

LEARNERS = {
    "bidirectional gru, additive": ["model.decoder.attention.type=additive"],
    "lstm, general, input feeding": [
        "model.encoder.stack.cell=lstm",
        "model.decoder.stack.cell=lstm",
        "model.decoder.input_feeding=true",
    ],
    "left to right, dot, the original's readout": [
        "model.encoder.type=rnn",
        "model.decoder.attention.type=dot",
        "model.decoder.readout=previous_word",
        "model.decoder.head=tanh",
        "model.decoder.head_size=32",
    ],
    "elman, multi-head, input feeding": [
        "model.encoder.type=rnn",
        "model.encoder.stack.cell=rnn",
        "model.decoder.stack.cell=rnn",
        "model.decoder.attention.type=multi_head",
        "model.decoder.readout=context",
        "model.decoder.input_feeding=true",
    ],
    "two layers, scaled dot, tied, averaged, smoothed": [
        "model.encoder.stack.layers=2",
        "model.encoder.attention_key_size=32",
        "model.decoder.attention.type=scaled_dot",
        "model.decoder.embedding_size=32",
        "model.decoder.tie_embeddings=true",
        "train.average=0.95",
        "train.label_smoothing=0.05",
    ],
    "scheduled sampling": [
        "train.teacher.type=inverse_sigmoid",
        "train.teacher.scale=60",
        "train.teacher.draw=true",
    ],
    "its own words alone": ["train.teacher.rate=0"],
}


@pytest.fixture(scope="module")
def reversal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Words of two or three symbols, 80 of them held out."""
    folder = tmp_path_factory.mktemp("reversal")
    write_pairs(folder, train=496, dev=80, longest=3)
    write_config(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNERS)
def test_turning_words_around_is_learnt(name: str, reversal: Path, tmp_path: Path) -> None:
    """Held-out words, every letter right (inventory row T-A22: a learning test that measures learning)."""
    settings = [
        "train.steps=600",
        "train.batch_tokens=512",
        "train.schedule.warmup=100",
        "train.validate_every=40",
        "train.select=exact_match",
    ]
    session = open_session(read_run_config(reversal / "run.toml", [*settings, *LEARNERS[name]]), tmp_path / "run")
    with session.progress, contextlib.suppress(Interrupted):
        run(session, Asked(lambda: session.best is not None and session.best[0] == 1.0))
    for log in session.logs.values():
        log.close()
    dev = [record for record in records(tmp_path / "run" / "metrics.jsonl") if record["kind"] == "dev"]
    reached = [record["exact_match"] for record in dev]
    assert max(reached) == 1.0, reached
    assert dev[-1]["loss"] < dev[0]["loss"] / 2
    pairs = [line.split("\t") for line in (reversal / "dev.tsv").read_bytes().decode().split("\n")[:-1]]
    ground = Translator.load(tmp_path / "run" / "best")
    for beam in (1, 3):
        said = ground.translate([source for source, _ in pairs], SearchConfig(beam=beam))
        assert sum(one.text == target for one, (_, target) in zip(said, pairs, strict=True)) >= len(pairs) - (beam > 1)


# --- one run in all its files ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of twelve steps, done; `copy` it before it is changed."""
    folder = tmp_path_factory.mktemp("finished")
    train(small(folder / "data"), folder / "run")
    return folder


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """The same run in a folder of the test's own."""
    shutil.copytree(finished / "run", tmp_path / "run")
    return tmp_path / "run"


def test_the_logs(finished: Path) -> None:
    logged = records(finished / "run" / "metrics.jsonl")
    steps = {kind: [record["step"] for record in logged if record["kind"] == kind] for kind in ("train", "dev")}
    assert steps == {"train": [2, 4, 6, 8, 10, 12], "dev": [5, 10, 12]}, "the last step is looked at too"
    for record in logged:
        if record["kind"] == "train":
            assert record["learning_rate"] == pytest.approx(5e-3 * record["step"] / 20)
            assert record["loss"] > 0 and record["gradient_norm"] > 0 and 0 <= record["padding"] < 1
        else:
            assert 0 <= record["exact_match"] <= 1 and 0 <= record["token_accuracy"] <= 1 and record["signature"]
    assert next(record["best"] for record in logged if record["kind"] == "dev")
    assert json.loads((finished / "run" / "machine.json").read_bytes())["parameters"] > 1000


def test_samples_are_held_out_and_show_what_was_looked_at(finished: Path) -> None:
    """Inventory row T-A15: fewer than ten sentences are enough, and none of them is a training sentence."""
    samples = records(finished / "run" / "samples.jsonl")
    lines = (finished / "data" / "dev.tsv").read_bytes().decode().split("\n")
    held_out = [line.split("\t") for line in lines[:2]]
    assert [sample["step"] for sample in samples] == [5, 5, 10, 10, 12, 12]
    for number, sample in enumerate(samples):
        assert [sample["source"], sample["target"]] == held_out[number % 2]
        assert sample["source_tokens"] == [*sample["source"], "</s>"]
        assert "".join(sample["prediction_tokens"]).removesuffix("</s>") == sample["prediction"]
        weights = np.array(sample["alignment"])
        assert weights.shape == (len(sample["prediction_tokens"]), len(sample["source_tokens"]))
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("checkpoint", ["best", "last"])
def test_the_models_are_whole_and_both_floors_say_the_same(finished: Path, checkpoint: str) -> None:
    folder = finished / "run" / checkpoint
    assert check_manifest(folder)["step"] in (5, 10, 12)
    sources = [line.split("\t")[0] for line in (finished / "data" / "train.tsv").read_bytes().decode().split("\n")[:20]]
    for search in (SearchConfig(beam=1), SearchConfig(beam=4, n_best=4)):
        ground = Translator.load(folder, np.float64).translate(sources, search)
        upper = load_translator(finished / "run", "cpu", checkpoint)
        upper.model.double()  # type: ignore[attr-defined]
        for one, other in zip(ground, upper.translate(sources, search), strict=True):
            assert [answer.text for answer in one.answers] == [answer.text for answer in other.answers]
            for a, b in zip(one.answers, other.answers, strict=True):
                assert a.score == pytest.approx(b.score, rel=1e-9)


def test_last_is_the_checkpoint_and_limits_are_the_data_s(finished: Path) -> None:
    found = latest_checkpoint(finished / "run")
    parts = read_model_folder(finished / "run" / "last")
    assert found is not None and found.state["step"] == 12
    assert all(np.array_equal(array, found.arrays["weights"][name]) for name, array in parts.weights.items())
    assert parts.limits.longest == 10, "twice the longest: words of at most four letters, and an end"
    for letters in range(2, 5):
        assert parts.limits.of(np.ones((1, letters + 1), dtype=bool))[0] > letters + 1, "room for every answer"


def test_the_average_is_what_is_validated_and_saved(tmp_path: Path) -> None:
    train(small(tmp_path / "data", "train.average=0.9"), tmp_path / "run")
    found = latest_checkpoint(tmp_path / "run")
    assert found is not None
    last = read_model_folder(tmp_path / "run" / "last").weights
    for mean, (name, own) in zip(found.arrays["average"].values(), found.arrays["weights"].items(), strict=False):
        assert mean.size and own.size and name in last
    session = open_session(small(tmp_path / "data", "train.average=0.9"), tmp_path / "run")
    names = [name for name, _ in session.model.named_parameters()]
    for index, name in enumerate(names):
        np.testing.assert_array_equal(last[name], found.arrays["average"][str(index)])
        assert not np.array_equal(last[name], found.arrays["weights"][name])
    for log in session.logs.values():
        log.close()


def test_the_report(copied: Path) -> None:
    page = write_report(copied).read_bytes().decode()
    sample = records(copied / "samples.jsonl")[-1]
    assert sample["source"] in page and sample["target"] in page and "learning_rate" in page


def test_the_same_seed_is_the_same_run_and_another_is_another(finished: Path, tmp_path: Path) -> None:
    train(small(finished / "data"), tmp_path / "same")
    same_run(tmp_path / "same", finished / "run")
    train(small(finished / "data", "train.seed=4"), tmp_path / "other")
    one, other = (read_model_folder(path / "last").weights for path in (tmp_path / "other", finished / "run"))
    assert not any(np.array_equal(one[name], array) for name, array in other.items() if array.ndim > 1)


# --- what is made small ---------------------------------------------------------------------------------------------


def test_two_passes_are_made_to_agree(tmp_path: Path) -> None:
    """Half of Liang et al. 2021, equation 4: so the cross entropy is the mean of both passes, and what is logged; so is
    what their z-loss adds to it."""
    settings = ["train.r_drop=3", "train.label_smoothing=0.1", "train.z_loss=0.2"]
    session = open_session(small(tmp_path / "data", *settings, "model.decoder.readout_dropout=0.3"), tmp_path / "run")
    batch = next(session.stream.batches()).batch
    model, target, mask = session.model.train(), torch.tensor(batch.target), torch.tensor(batch.target_mask)
    torch.manual_seed(1)
    found = losses_of(session, batch, np.random.default_rng(1))
    torch.manual_seed(1)
    source, real = (np.concatenate([part, part]) for part in (batch.source, batch.source_mask))
    begin = torch.full((len(target) * 2, 1), session.translator.target_vocab.special.bos)
    tokens = torch.cat([begin, torch.cat([target, target])[:, :-1]], dim=1)
    logits = model.decoder.step(tokens, model.decoder.start(model.encode(source, real)))[0].logits
    one, other = logits.double().chunk(2)
    assert not torch.equal(one, other)
    nll = [functional.cross_entropy(x[mask], target[mask], reduction="sum", label_smoothing=0.1) for x in (one, other)]
    p, q = (functional.log_softmax(x[mask], dim=-1) for x in (one, other))
    ways = [functional.kl_div(a, b, reduction="sum", log_target=True) for a, b in ((p, q), (q, p))]
    squares = sum(torch.logsumexp(x[mask], dim=-1).square().sum() for x in (one, other))
    equation = sum(nll) + 3 / 2 * sum(ways) + 0.2 * squares
    torch.testing.assert_close(found.whole.double(), equation / 2, rtol=1e-5, atol=0)
    torch.testing.assert_close(found.cross_entropy.double(), sum(nll) / 2, rtol=1e-5, atol=0)
    for log in session.logs.values():
        log.close()


def test_two_passes_without_dropout_are_one(tmp_path: Path) -> None:
    for name, settings in {"one": [], "two": ["train.r_drop=5"]}.items():
        train(small(tmp_path / "data", *settings, "train.steps=4", "train.log_every=1"), tmp_path / name)
    one, two = (records(tmp_path / name / "metrics.jsonl") for name in ("one", "two"))
    assert [record["loss"] for record in two] == pytest.approx([record["loss"] for record in one], rel=1e-4)


# --- stopped and continued ------------------------------------------------------------------------------------------


def train_until(config: RunConfig, folder: Path, steps: int) -> None:
    """Train, and be interrupted after a step."""
    session = open_session(config, folder)
    with session.progress, pytest.raises(Interrupted, match=f"stopped after step {steps}; the same command continues"):
        run(session, Asked(lambda: session.step >= steps))
    for log in session.logs.values():
        log.close()


def same_run(one: Path, other: Path) -> None:
    """Weights, average, optimiser, generators, positions, models and logs are the same to the bit."""
    found, wanted = latest_checkpoint(one), latest_checkpoint(other)
    assert found is not None and wanted is not None
    assert found.arrays.keys() == wanted.arrays.keys()
    for name, arrays in wanted.arrays.items():
        assert arrays.keys() == found.arrays[name].keys()
        for key, array in arrays.items():
            assert array.tobytes() == found.arrays[name][key].tobytes(), f"{name}: {key}"
    for key, value in wanted.state.items():
        assert key == "seconds" or found.state[key] == value, key
    for log in ("metrics.jsonl", "samples.jsonl"):
        assert records(one / log) == records(other / log)
    for name in ("best/weights.safetensors", "last/weights.safetensors", "last/config.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    kept = [files(run / "best_models") for run in (one, other)]
    assert kept[0] == kept[1], "the models that did best"


def test_killed_between_the_last_look_and_its_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What that look has said is said again, once: the checkpoint before it was of the same step."""
    once, twice = (small(tmp_path / "data", *EVERYTHING, "train.steps=7", f"train.save_minutes={n}") for n in (9, 0))
    train(once, tmp_path / "one")

    def killed(session: Session) -> None:
        if session.step == session.looked == 7:
            raise KeyboardInterrupt
        save(session)

    save = Session.save
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Session, "save", killed)
        train(twice, tmp_path / "two")
    found = latest_checkpoint(tmp_path / "two")
    assert found is not None and (found.state["step"], found.state["looked"]) == (7, 5)
    assert records(tmp_path / "two" / "metrics.jsonl")[-1]["step"] == 7
    train(once, tmp_path / "two")
    same_run(tmp_path / "two", tmp_path / "one")
    dev = [record["step"] for record in records(tmp_path / "two" / "metrics.jsonl") if record["kind"] == "dev"]
    assert dev == [5, 7]


@pytest.fixture(scope="module")
def at_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve steps with everything on that is random or remembers, over several windows and epochs."""
    folder = tmp_path_factory.mktemp("at_once")
    train(small(folder / "data", *EVERYTHING), folder / "run")
    found = latest_checkpoint(folder / "run")
    assert found is not None and found.state["position"][0] >= 0
    return folder


@pytest.mark.parametrize("stops", [(1,), (5,), (7,), (12,), (3, 4, 10)], ids=str)
def test_in_parts_is_at_once(at_once: Path, stops: tuple[int, ...], tmp_path: Path) -> None:
    """Inventory row T-A14. Also where a line of the log or a validation lies across the stop, or at the very end."""
    config = small(at_once / "data", *EVERYTHING)
    for stop in stops:
        train_until(config, tmp_path / "run", stop)
    train(config, tmp_path / "run")
    same_run(tmp_path / "run", at_once / "run")


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["train.optimizer=sgd", "train.momentum=0.9"],
        ["train.optimizer=muon", "train.weight_decay=0.1"],
        ["model.decoder.input_feeding=true"],
        ["train.r_drop=5", "model.decoder.readout_dropout=0.2", "train.teacher.rate=0.6", "train.teacher.draw=true"],
    ],
    ids=str,
)
def test_plain_runs_in_parts(settings: list[str], tmp_path: Path) -> None:
    config = small(tmp_path / "data", "train.optimizer=adamw", *settings)
    train(config, tmp_path / "one")
    train_until(config, tmp_path / "two", 6)
    train(config, tmp_path / "two")
    same_run(tmp_path / "two", tmp_path / "one")


def test_killed_between_two_checkpoints(at_once: Path, tmp_path: Path) -> None:
    """What was logged after the last checkpoint is logged again, not twice; a later `best` does no harm."""
    config = small(at_once / "data", *EVERYTHING)
    train_until(config, tmp_path / "run", 4)
    session = open_session(config, tmp_path / "run")
    with session.progress, pytest.raises(KeyboardInterrupt):
        run(session, Killed(lambda: session.step >= 11))
    for log in session.logs.values():
        log.close()
    with (tmp_path / "run" / "metrics.jsonl").open("ab") as log:
        log.write(b'{"kind": "train", "ste')
    assert json.loads((tmp_path / "run" / "best" / "manifest.json").read_bytes())["step"] in (5, 10)
    train(config, tmp_path / "run")
    same_run(tmp_path / "run", at_once / "run")


class Killed(Asked):
    """Ends the process, as far as a test can."""

    def __bool__(self) -> bool:
        if self.when():
            raise KeyboardInterrupt
        return False


def test_damaged_newest_checkpoint(at_once: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = small(at_once / "data", *EVERYTHING)
    train_until(config, tmp_path / "run", 3)
    train_until(config, tmp_path / "run", 9)
    newest = tmp_path / "run" / "checkpoints" / "000000009" / "optimizer.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1])
    train(config, tmp_path / "run")
    assert any("000000009" in message for message in caplog.messages)
    same_run(tmp_path / "run", at_once / "run")


def test_periodic_checkpoints_change_nothing(at_once: Path, tmp_path: Path) -> None:
    train(small(at_once / "data", *EVERYTHING, "train.save_minutes=0"), tmp_path / "run")
    same_run(tmp_path / "run", at_once / "run")


def command(config: Path, folder: Path, *settings: str) -> list[str]:
    return [
        sys.executable,
        "-W",
        "error",
        "-m",
        "sequencing",
        "train",
        str(config),
        "--run",
        str(folder),
        "--set",
        *settings,
    ]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_same_command_goes_on(number: signal.Signals, tmp_path: Path) -> None:
    small(tmp_path / "data")
    folder = tmp_path / "run"
    settings = ["train.steps=100000", "train.log_every=1", "train.threads=1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    words = command(tmp_path / "data" / "run.toml", folder, *settings)
    process = subprocess.Popen(words, stderr=subprocess.PIPE, env=environment)
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until and process.poll() is None:
            if (folder / "metrics.jsonl").exists() and (folder / "metrics.jsonl").read_bytes().count(b"\n") > 3:
                break
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, said.decode()
    assert b"the same command continues" in said and b"Traceback" not in said
    found = latest_checkpoint(folder)
    assert found is not None and 0 < found.state["step"] < 100000
    step = found.state["step"]
    assert records(folder / "metrics.jsonl")[-1]["step"] == step
    if number == signal.SIGINT:
        return
    settings[0] = f"train.steps={step + 2}"
    words = command(tmp_path / "data" / "run.toml", folder, *settings)
    done = subprocess.run(words, capture_output=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    assert f"continuing {folder} after step {step:,}".encode() in done.stderr
    after = latest_checkpoint(folder)
    assert after is not None and after.state["step"] == step + 2


@pytest.mark.skipif(importlib.util.find_spec("sentencepiece") is None, reason="sentencepiece is not installed")
def test_runs_with_subword_dropout_in_parts(tmp_path: Path) -> None:
    """Each epoch reads other subwords, a run that was stopped the same ones; what is held out is read as it is."""
    sides = [f"vocab.{side}={{level='subwords', size=300, dropout=0.3}}" for side in ("source", "target")]
    config = small(tmp_path / "data", *sides, "train.batch_tokens=600")
    train(config, tmp_path / "one")
    found = latest_checkpoint(tmp_path / "one")
    assert found is not None and found.state["position"][0] >= 1, "more than one epoch"
    for stop in (2, 5, 9):
        train_until(config, tmp_path / "two", stop)
    train(config, tmp_path / "two")
    same_run(tmp_path / "two", tmp_path / "one")
    session = open_session(config, tmp_path / "one")
    lengths = [0, 0]
    for batch, position in takewhile(lambda placed: placed.position.epoch < 2, session.stream.batches()):
        lengths[position.epoch] += int(batch.source_mask.sum())
    lines = (tmp_path / "data" / "train.tsv").read_bytes().decode().split("\n")[:-1]
    whole = sum(len(session.translator.source_vocab.encode(line.split("\t")[0])) for line in lines)
    assert lengths[0] != lengths[1] and min(lengths) > whole
    held_out = [line.split("\t") for line in (tmp_path / "data" / "dev.tsv").read_bytes().decode().split("\n")[:-1]]
    wanted = sum(len(session.translator.target_vocab.encode(target)) for _, target in held_out)
    assert session.held_out is not None
    assert sum(int(group.batch.target_mask.sum()) for group in session.held_out.batches) == wanted
    for log in session.logs.values():
        log.close()


# --- finished, changed, refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["train.steps=12", "train.epochs=1", "train.patience=1"])
def test_a_finished_run_says_so_and_changes_nothing(
    end: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["train.steps=0", "train.validate_every=3", "train.learning_rate=1e-9", end]
    config = small(tmp_path / "data", *settings, pairs=100)
    train(config, tmp_path / "run")
    before = files(tmp_path / "run")
    capsys.readouterr()
    train(config, tmp_path / "run")
    assert "is done: " in capsys.readouterr().err
    assert files(tmp_path / "run") == before


def test_a_finished_run_goes_on_when_its_end_is_moved(at_once: Path, tmp_path: Path) -> None:
    config = small(at_once / "data", *EVERYTHING, "train.steps=5")
    train(config, tmp_path / "run")
    train(small(at_once / "data", *EVERYTHING), tmp_path / "run")
    same_run(tmp_path / "run", at_once / "run")


def test_patience_stops(tmp_path: Path) -> None:
    """The first validation is the best there is; two more without a better one, and it ends."""
    settings = ["train.steps=0", "train.patience=2", "train.validate_every=3", "train.learning_rate=1e-12"]
    train(small(tmp_path / "data", *settings, "train.select=exact_match"), tmp_path / "run")
    dev = [record for record in records(tmp_path / "run" / "metrics.jsonl") if record["kind"] == "dev"]
    assert [(record["step"], record["best"]) for record in dev] == [(3, True), (6, False), (9, False)]


def test_epochs_and_minutes_stop(tmp_path: Path) -> None:
    train(small(tmp_path / "data", "train.steps=0", "train.epochs=2", "train.log_every=1", pairs=60), tmp_path / "one")
    epochs = [record["epoch"] for record in records(tmp_path / "one" / "metrics.jsonl") if record["kind"] == "train"]
    assert sorted(set(epochs)) == [0, 1] and epochs.count(0) == epochs.count(1)
    train(small(tmp_path / "data", "train.steps=0", "train.minutes=1e-9"), tmp_path / "two")
    found = latest_checkpoint(tmp_path / "two")
    assert found is not None and found.state["step"] == 1


def test_the_best_is_kept_by_what_was_selected(tmp_path: Path) -> None:
    """The loss falls with each look at this rate, so each is the best; of the error rates less is better too."""
    train(small(tmp_path / "data", "train.select=loss"), tmp_path / "run")
    dev = [record for record in records(tmp_path / "run" / "metrics.jsonl") if record["kind"] == "dev"]
    assert [record["loss"] for record in dev] == sorted((record["loss"] for record in dev), reverse=True)
    assert all(record["best"] for record in dev)
    manifest = check_manifest(tmp_path / "run" / "best")
    assert manifest["step"] == 12 and manifest["loss"] == dev[-1]["loss"]


def test_another_selection_begins_anew(tmp_path: Path) -> None:
    """A BLEU of 30 is no loss of 30."""
    train(small(tmp_path / "data", "train.select=token_accuracy", "train.steps=5"), tmp_path / "run")
    train(small(tmp_path / "data", "train.select=loss", "train.steps=10"), tmp_path / "run")
    assert [record["best"] for record in records(tmp_path / "run" / "metrics.jsonl") if record["kind"] == "dev"] == [
        True,
        True,
    ]


def test_without_held_out_data_the_last_is_all_there_is(tmp_path: Path) -> None:
    train(small(tmp_path / "data", "data.dev=[]"), tmp_path / "run")
    assert not (tmp_path / "run" / "best").exists()
    assert {record["kind"] for record in records(tmp_path / "run" / "metrics.jsonl")} == {"train"}
    assert load_translator(tmp_path / "run", "cpu").translate(["ab"])[0].source_tokens == ["a", "b", "</s>"]


FROZEN = {
    "train.seed": ("3", "4"),
    "train.learning_rate": ("0.005", "0.001"),
    "train.batch_tokens": ("192", "193"),
    "train.teacher.rate": ("1.0", "0.5"),
    "train.precision": ("'float32'", "'bfloat16'"),
    "model.encoder.stack.size": ("32", "31"),
    "vocab.source.min_count": ("1", "2"),
    "data.max_length": ("20", "21"),
}


@pytest.mark.parametrize("key", FROZEN)
def test_a_changed_setting_is_refused(key: str, finished: Path, copied: Path) -> None:
    before, now = FROZEN[key]
    kept = files(copied)
    setting = f"{key}={now}"
    with pytest.raises(ConfigError, match=rf"holds a run with other settings: {key} was {before} and is now {now}\. "):
        train(small(finished / "data", setting), copied)
    assert files(copied) == kept


CHANGED = {
    "steps": 13, "epochs": 9, "minutes": 9.0, "patience": 9, "validate_every": 2, "validate_sentences": 3,
    "validate_beam": 2, "samples": 1, "log_every": 1, "save_minutes": 1.0, "keep": 3,
    "keep_models": 1, "keep_best": 2, "trackers": '["tensorboard"]', "threads": 1,
    "device": "cpu", "bleu_tokenize": "char", "select": "chrf",
    "guard": "{patience=3}", "recompute": "true", "shard": "true",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FREE))
def test_a_free_setting_passes(name: str, finished: Path, copied: Path) -> None:
    train(small(finished / "data", f"train.{name}={CHANGED[name]}"), copied)
    value: Any = json.loads((copied / "config.json").read_bytes())["train"][name]
    assert value["patience"] == 3 if name == "guard" else str(value).lower() == str(CHANGED[name]).replace('"', "'")
    torch.set_num_threads(1)


def test_the_search_and_the_held_out_files_may_change(finished: Path, copied: Path) -> None:
    train(small(finished / "data", "search.beam=2", "data.dev=[]"), copied)
    assert json.loads((copied / "config.json").read_bytes())["search"]["beam"] == 2


def test_changed_training_data_is_refused(tmp_path: Path) -> None:
    config = small(tmp_path / "data")
    train_until(config, tmp_path / "run", 3)
    kept = files(tmp_path / "run")
    with (tmp_path / "data" / "train.tsv").open("ab") as file:
        file.write(b"ab\tba\n")
    with pytest.raises(DataError, match=r"training data changed since this run began: .*train\.tsv.*Start a new run"):
        train(config, tmp_path / "run")
    assert files(tmp_path / "run") == kept


def test_training_data_may_move(at_once: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run goes on in the middle of its epoch."""
    train_until(small(tmp_path / "data", *EVERYTHING), tmp_path / "run", 3)
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    train(small(tmp_path / "elsewhere", *EVERYTHING), tmp_path / "run")
    assert "changed" not in capsys.readouterr().err
    found, wanted = latest_checkpoint(tmp_path / "run"), latest_checkpoint(at_once / "run")
    assert found is not None and wanted is not None and found.state["position"] == wanted.state["position"]
    for name, array in wanted.arrays["weights"].items():
        assert array.tobytes() == found.arrays["weights"][name].tobytes(), name


@pytest.mark.parametrize("name", ["notes.txt", "config.json", "model/weights.safetensors"])
def test_a_folder_that_is_no_run_is_left_as_it_was(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_bytes(b'{"mine": 1}')
    with pytest.raises(SequencingError, match="mine"):
        train(small(tmp_path / "data"), folder)
    assert files(folder) == {name: b'{"mine": 1}'}


def test_a_model_folder_is_no_run(finished: Path, copied: Path) -> None:
    kept = files(copied / "best")
    with pytest.raises(SequencingError):
        train(small(finished / "data"), copied / "best")
    assert files(copied / "best") == kept


def test_a_run_cannot_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "run").write_bytes(b"")
    with pytest.raises(UsageError, match="cannot be made"):
        train(small(tmp_path / "data"), tmp_path / "run")


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        (['data.train=["none.tsv"]'], DataError),
        (["model.decoder.tie_embeddings=true"], ConfigError),
        (["train.device=tpu"], UsageError),
        (["data.max_length=1"], SequencingError),
    ],
    ids=str,
)
def test_a_start_that_failed_may_be_mended(settings: list[str], error: Any, tmp_path: Path) -> None:
    """Nothing was learnt yet, so the same folder takes the settings that are right, and the text that is."""
    with pytest.raises(error):
        train(small(tmp_path / "data", *settings), tmp_path / "run")
    train(small(tmp_path / "data"), tmp_path / "run")
    train(small(tmp_path / "data"), tmp_path / "clean")
    same_run(tmp_path / "run", tmp_path / "clean")


def test_held_out_sources_in_the_training_data_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pairs(tmp_path / "data", train=50, dev=5, tsv="ab\tba\n")
    train(small(tmp_path / "data", "train.steps=1"), tmp_path / "run")
    assert "warning: 1 training pairs have a source of dev" in capsys.readouterr().err


def test_short_products(tmp_path: Path) -> None:
    """bfloat16: weights stay in float32, numbers stay numbers."""
    train(small(tmp_path / "data", "train.precision=bfloat16"), tmp_path / "run")
    logged = [record for record in records(tmp_path / "run" / "metrics.jsonl") if record["kind"] == "train"]
    assert all(0 < record["loss"] < 5 for record in logged)
    assert all(array.dtype == np.float32 for array in read_model_folder(tmp_path / "run" / "last").weights.values())
