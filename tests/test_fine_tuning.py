"""Fine-tuning as runs do it: what they begin with, what of it learns, from whom, and that all of it goes on."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pages import DOCS, fences
from sequencing.__main__ import main
from sequencing.run_config import RunConfig, read_run_config
from sequencing.train.checkpoint import latest_checkpoint
from sequencing.train.loop import Interrupted, run, train
from sequencing.train.losses import losses_of
from sequencing.train.opening import open_session
from sequencing_np.errors import ConfigError, ModelError, SequencingError
from sequencing_np.model_folder import read_model_folder
from sequencing_np.translate import Translator
from small_runs import files, records, small, write_pairs

torch.set_num_threads(1)

STILL = "train.learning_rate=1e-12"  # what is loaded can still be seen


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that others begin with, and learn from."""
    folder = tmp_path_factory.mktemp("old")
    train(small(folder / "data", "train.steps=6"), folder / "run")
    return folder


def weights(folder: Path) -> dict[str, np.ndarray]:
    return read_model_folder(folder).weights


def close(one: Path, other: Path, name: str) -> bool:
    return np.allclose(weights(one)[name], weights(other)[name], rtol=0, atol=1e-6)


def until(config: RunConfig, folder: Path, steps: int) -> None:
    """Train, and be interrupted after a step."""

    class Asked(list[int]):
        def __bool__(self) -> bool:
            return session.step >= steps

    session = open_session(config, folder)
    with session.progress, pytest.raises(Interrupted):
        run(session, Asked())
    for log in session.logs.values():
        log.close()


def opened(config: RunConfig, folder: Path) -> Any:
    session = open_session(config, folder)
    for log in session.logs.values():
        log.close()
    return session


# --- beginning with another model -----------------------------------------------------------------------------------


def test_a_run_begins_with_another_one(old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its best model; what was loaded is said. The path in a file is relative to that file."""
    shutil.copytree(old / "run", tmp_path / "data" / "before")
    train(small(tmp_path / "data", STILL, "train.steps=1", "train.init.from_run=before"), tmp_path / "run")
    assert all(close(tmp_path / "run" / "last", old / "run" / "best", name) for name in weights(old / "run" / "best"))
    said = capsys.readouterr().err
    assert f"beginning with {tmp_path / 'data' / 'before' / 'best'}: " in said and "(100.0%)" in said
    train(small(tmp_path / "data", STILL, "train.steps=1"), tmp_path / "fresh")
    assert not close(tmp_path / "fresh" / "last", old / "run" / "best", "encoder.embedding.weight")


def test_the_command_line_says_the_same(old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--init-from is relative to where one stands; when the run goes on it is not needed, nor what it named."""
    small(tmp_path / "data")
    shutil.copytree(old / "run", tmp_path / "before")
    monkeypatch.chdir(tmp_path)
    call = ["train", "data/run.toml", "--run", "run", "--set", STILL, "train.batch_tokens=192"]
    assert main([*call, "train.steps=1", "--init-from", "before"]) == 0
    assert close(tmp_path / "run" / "last", old / "run" / "best", "decoder.head.output.weight")
    shutil.rmtree(tmp_path / "before")
    assert main([*call, "train.steps=2"]) == 0 and main([*call, "train.steps=3", "--init-from", "before"]) == 0
    assert main(["train", "data/run.toml", "--run", "other", "--init-from", "before"]) == 5


def test_other_data_have_other_tokens(old: Path, tmp_path: Path) -> None:
    """The vocabularies are those of the new data, unless those of the old run are named."""
    data = tmp_path / "data"
    write_pairs(data, train=150, dev=15)
    for name in ("train", "dev"):
        text = (data / f"{name}.tsv").read_text("utf-8").translate(str.maketrans("ab", "xy"))
        (data / f"{name}.tsv").write_text(text, "utf-8", newline="\n")
    begin = [STILL, "train.steps=1", f"train.init.from_run={old / 'run'}"]
    train(small(data, *begin), tmp_path / "new")
    before, after = read_model_folder(old / "run" / "best"), read_model_folder(tmp_path / "new" / "last")
    assert set(after.target_vocab.tokens) - set(before.target_vocab.tokens) == {"x", "y"}
    for side, name in (("source", "encoder.embedding.weight"), ("target", "decoder.head.output.weight")):
        there, here = (getattr(parts, f"{side}_vocab").tokens for parts in (before, after))
        for token in "cdefgh":
            mine, theirs = after.weights[name][here.index(token)], before.weights[name][there.index(token)]
            np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-6)
    files_of_old = [f"vocab.{side}.file={old / 'run' / f'{side}.vocab.json'}" for side in ("source", "target")]
    train(small(data, *begin, *files_of_old, "train.init.least=1"), tmp_path / "same")
    assert read_model_folder(tmp_path / "same" / "last").target_vocab.tokens == before.target_vocab.tokens


def test_what_is_frozen_stays_to_the_bit(old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin = [f"train.init.from_run={old / 'run'}", 'train.init.freeze=["encoder.*", "!*.bias_hh_l0"]']
    train(small(tmp_path / "data", *begin, "train.average=0.9", "train.weight_decay=0.1"), tmp_path / "run")
    before, after = weights(old / "run" / "best"), weights(tmp_path / "run" / "last")
    stays = {name for name in before if name.startswith("encoder.") and not name.endswith("bias_hh_l0")}
    assert stays and {name for name in before if np.array_equal(before[name], after[name])} == stays
    learn = sum(array.size for name, array in before.items() if name not in stays)
    assert f"{learn:,} of {sum(array.size for array in before.values()):,} numbers learn" in capsys.readouterr().err


# --- low-rank parts -------------------------------------------------------------------------------------------------


def test_a_model_of_low_rank_parts_is_an_ordinary_one(old: Path, tmp_path: Path) -> None:
    """Both floors read it, under the ordinary names; it differs by matrices of that rank, where it was adapted."""
    begin = [f"train.init.from_run={old / 'run'}", 'train.init.freeze=["*"]']
    lora = ["train.lora.rank=2", 'train.lora.on=["decoder.*"]', "train.learning_rate=0.05", "train.schedule.warmup=0"]
    config = small(tmp_path / "data", *begin, *lora)
    train(config, tmp_path / "run")
    before, after = weights(old / "run" / "best"), weights(tmp_path / "run" / "last")
    assert before.keys() == after.keys()
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert {"decoder.head.output.weight", "decoder.attention.query.weight"} <= moved
    for name in moved:
        assert name.startswith("decoder.") and name.endswith(".weight")
        sizes = np.linalg.svd(after[name] - before[name], compute_uv=False)
        assert sizes[1] > 1e-3 > 1e-5 > sizes[2], name
    session = opened(config, tmp_path / "run")
    session.model.eval()
    lines = ["abc", "hgf", "aa"]
    with torch.inference_mode():
        native = [said.text for said in session.translator.translate(lines)]
    assert [said.text for said in Translator.load(tmp_path / "run" / "last").translate(lines)] == native
    train(
        small(tmp_path / "data", STILL, "train.steps=1", f"train.init.from_run={tmp_path / 'run' / 'last'}"),
        tmp_path / "next",
    )
    assert close(tmp_path / "next" / "last", tmp_path / "run" / "last", "decoder.head.output.weight")


# --- a teacher ------------------------------------------------------------------------------------------------------


def test_what_a_batch_costs_beside_a_teacher(old: Path, tmp_path: Path) -> None:
    """Against PyTorch's own losses through all logits; with two passes under one teacher too."""
    distill = [f"train.distill.teacher={old / 'run'}", "train.distill.weight=0.3", "train.distill.temperature=2"]
    teacher: Any = None
    for name, more in {"one": [], "two": ["train.r_drop=1e-9", "train.label_smoothing=0.1"]}.items():
        session = opened(small(tmp_path / "data", *distill, *more), tmp_path / name)
        batch, smoothing = next(session.stream.batches()).batch, session.config.train.label_smoothing
        said = []
        for model in (session.model.eval(), session.teacher.model):
            begin = np.full((len(batch.target), 1), session.translator.target_vocab.special.bos)
            tokens = torch.from_numpy(np.concatenate([begin, batch.target[:, :-1]], axis=1))
            memory = model.encode(batch.source, batch.source_mask)
            mask = torch.from_numpy(batch.target_mask)
            said.append(model.decoder.step(tokens, model.decoder.start(memory))[0].logits[mask])
        ids = torch.from_numpy(batch.target)[mask]
        nll = torch.nn.functional.cross_entropy(said[0], ids, reduction="sum", label_smoothing=smoothing)
        known, own = (torch.log_softmax(logits / 2, -1) for logits in (said[1], said[0]))
        apart = 4 * torch.nn.functional.kl_div(own, known, reduction="sum", log_target=True)
        found = losses_of(session, batch, np.random.default_rng(1))
        torch.testing.assert_close(found.whole, 0.7 * nll + 0.3 * apart, rtol=1e-4, atol=0)
        torch.testing.assert_close(found.cross_entropy, nll.detach(), rtol=1e-4, atol=0)
        teacher = session.teacher
    assert not any(each.requires_grad for each in teacher.model.parameters())


def test_a_teacher_alone_is_learnt(old: Path, tmp_path: Path) -> None:
    """With the whole loss a student comes nearer to its teacher, whose answers the training pairs need not have."""
    distill = [f"train.distill.teacher={old / 'run'}", "train.distill.weight=1"]
    distances = []
    for steps in (1, 60):
        config = small(tmp_path / "data", *distill, f"train.steps={steps}", "train.validate_every=60", "data.dev=[]")
        train(config, tmp_path / str(steps))
        session = opened(config, tmp_path / str(steps))
        session.model.eval()
        batch = next(session.stream.batches()).batch
        losses = losses_of(session, batch, np.random.default_rng(1))
        distances.append(float(losses.whole.detach()))
    assert 0 < distances[1] < 0.5 * distances[0]


# --- all of it, in parts --------------------------------------------------------------------------------------------


def test_in_parts_is_at_once(old: Path, tmp_path: Path) -> None:
    """Begun with another run, frozen, adapted, averaged, taught, on plateaus: to the bit. Its beginning may be gone."""
    shutil.copytree(old / "run", tmp_path / "before")
    config = small(
        tmp_path / "data",
        f"train.init.from_run={tmp_path / 'before'}",
        'train.init.freeze=["encoder.*"]',
        "train.lora.rank=3",
        f"train.distill.teacher={old / 'run'}",
        "train.average=0.9",
        "train.accumulate=2",
        "model.decoder.readout_dropout=0.2",
        "train.schedule.type=plateau",
        "train.schedule.plateau_patience=1",
        "train.validate_every=2",
        "train.steps=14",
        "train.select=loss",
        "train.learning_rate=2",
        "train.schedule.warmup=0",
    )
    train(config, tmp_path / "one")
    until(config, tmp_path / "two", 5)
    shutil.rmtree(tmp_path / "before")
    until(config, tmp_path / "two", 10)
    train(config, tmp_path / "two")
    wanted, found = (latest_checkpoint(tmp_path / name) for name in ("one", "two"))
    assert wanted is not None and found is not None
    assert {"decoder.head.output.base.weight", "decoder.head.output.down.weight"} <= wanted.arrays["weights"].keys()
    for name, arrays in wanted.arrays.items():
        assert arrays.keys() == found.arrays[name].keys()
        assert all(array.tobytes() == found.arrays[name][key].tobytes() for key, array in arrays.items()), name
    assert all(key == "seconds" or found.state[key] == value for key, value in wanted.state.items())
    for name in ("best/weights.safetensors", "last/weights.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    logs = [records(tmp_path / name / "metrics.jsonl") for name in ("one", "two")]
    assert logs[0] == logs[1]
    assert wanted.state["plateaus"] >= 2, "it is about plateaus"
    plateaus = 0
    rates = {record["step"]: record["learning_rate"] for record in logs[0] if record["kind"] == "train"}
    worse = 0
    for record in logs[0]:
        if record["kind"] == "train":
            assert record["learning_rate"] == pytest.approx(2 * 0.5**plateaus), record["step"]
        else:
            worse = 0 if record["best"] else worse + 1
            plateaus += worse > 0
    assert len(set(rates.values())) > 2


# --- what cannot be -------------------------------------------------------------------------------------------------

NO_RUN = "none: no such folder"
MISTAKES: list[tuple[list[str], type[SequencingError], str]] = [
    (["train.init.from_run=none"], ModelError, NO_RUN),
    (
        ["train.init.from_run=OLD", "model.decoder.stack.size=77", "train.init.least=0.9"],
        ModelError,
        "At least 90% must",
    ),
    (['train.init.freeze=["encodre.*"]'], ConfigError, r"'encodre\.\*' fits no weight's name; nearest: encoder\.\*"),
    (['train.init.freeze=["*"]'], ConfigError, "all weights stay as they are"),
    (["train.lora.rank=2"], ConfigError, "lora.rank 2: adds to what was learnt before; set init.from_run"),
    (["train.init.from_run=OLD", "train.lora.rank=2", 'train.lora.on=["x"]'], ConfigError, "'x' fits no linear layer"),
    (["train.init.from_run=OLD", "train.lora.rank=99"], ConfigError, "parts of rank 99 would be; lower rank"),
    (["train.distill.teacher=none"], ModelError, NO_RUN),
    (["train.distill.teacher=OLD", "vocab.target.level=words"], ConfigError, "its target vocabulary is another one"),
    (
        ["train.schedule.type=plateau", "data.dev=[]"],
        ConfigError,
        "'plateau' goes by scores on held-out data; set data.dev",
    ),
]


@pytest.mark.parametrize(("settings", "error", "words"), MISTAKES)
def test_mistakes(settings: list[str], error: type[SequencingError], words: str, old: Path, tmp_path: Path) -> None:
    """Each is told before the first step, and once mended the same folder will do."""
    own = [setting.replace("=OLD", f"={old / 'run'}") for setting in settings]
    with pytest.raises(error, match=words):
        train(small(tmp_path / "data", *own), tmp_path / "run")
    train(small(tmp_path / "data", "train.steps=1"), tmp_path / "run")


@pytest.mark.parametrize(
    ("setting", "key"),
    [
        ('train.init.freeze=["decoder.*"]', "train.init.freeze"),
        ("train.lora.alpha=3", "train.lora.alpha"),
        ("train.distill.weight=0.4", "train.distill.weight"),
        ("train.schedule.factor=0.1", "train.schedule.factor"),
    ],
)
def test_what_a_run_goes_on_with(setting: str, key: str, old: Path, tmp_path: Path) -> None:
    shutil.copytree(old, tmp_path / "old")
    kept = files(tmp_path / "old" / "run")
    with pytest.raises(ConfigError, match=f"holds a run with other settings: {key} was"):
        train(small(old / "data", setting), tmp_path / "old" / "run")
    assert files(tmp_path / "old" / "run") == kept
    train(
        small(old / "data", "train.steps=6", "train.init.from_run=elsewhere", "train.init.least=0.1"),
        tmp_path / "old" / "run",
    )


# --- the page -------------------------------------------------------------------------------------------------------


def test_the_page_s_settings_are_real(tmp_path: Path) -> None:
    shown = [fence for fence in fences(DOCS / "fine_tuning.md") if fence.language == "toml"]
    for number, fence in enumerate(shown):
        path = tmp_path / f"{number}.toml"
        data = "" if "[data]" in fence.body else 'data.train = ["x"]\n'
        path.write_bytes(f"model = {{}}\n{data}{fence.body}".encode())
        read_run_config(path)
    assert len(shown) >= 4
