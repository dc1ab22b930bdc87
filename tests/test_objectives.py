"""Objectives in a real run: exact gradients of a real model, dropout, resuming, and rewards that rise."""

import dataclasses
import itertools
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pages import DOCS, fences, run_page
from sequencing.policy import OBJECTIVES
from sequencing.rewards import REWARDS, Task, scored
from sequencing.run_config import read_run_config, run_config
from sequencing.train import objectives
from sequencing.train.checkpoint import latest_checkpoint
from sequencing.train.loop import run, train
from sequencing.train.losses import losses_of
from sequencing.train.objectives import first_of_their_kind, step_losses, task_of
from sequencing.train.opening import open_session
from sequencing.train.reading import Read, Said, places_of
from sequencing.train.session import Session
from sequencing.train.settings import check_settings
from sequencing.train.update import update
from sequencing.train_config import ObjectiveConfig
from sequencing_np.batch import Batch, PadIds, make_batch
from sequencing_np.config import Origin
from sequencing_np.decode import dynamic_decode
from sequencing_np.errors import ConfigError, SearchError
from sequencing_np.feedback import TrainingFeedBack
from sequencing_np.limits import Limits
from sequencing_np.mixer import Samples
from small_runs import CONFIG, EVERYTHING, records, small, write_config, write_pairs
from test_train import same_run, train_until

torch.set_num_threads(1)
SAMPLED = [name for name, row in OBJECTIVES.items() if row.weights]
TINY = """\
[data]
train = ["train.tsv"]
[vocab]
source.level = "characters"
target.level = "characters"
[model.encoder]
type = "rnn"
embedding_size = 4
stack.size = 5
[model.decoder]
embedding_size = 4
readout_size = 5
stack.size = 5
attention.size = 5
[train]
steps = 5
[train.objective]
reward = "character_edit"
samples = 3
"""


def opened(folder: Path, text: str, *settings: str, name: str = "run") -> Session:
    session = open_session(read_run_config(write_config(folder, text), settings), folder / name)
    for log in session.logs.values():
        log.close()
    return session


def tiny(folder: Path, *settings: str) -> Session:
    """A model that may say two letters, UNK and the end, three of them at most."""
    folder.mkdir(exist_ok=True)
    (folder / "train.tsv").write_bytes(b"a\tb\nab\tba\n")
    session = opened(folder, TINY, *settings)
    session.translator.limits = Limits(0.0, 3)
    session.model.double()
    with torch.no_grad():  # an answer that is far from even
        for parameter in session.model.parameters():
            parameter.mul_(2)
    if session.critic and session.critic.baseline:
        session.critic.baseline.double()
    return session


def batch_of(session: Session, *pairs: tuple[str, str], times: int = 1) -> Batch:
    parts = session.translator
    rows = [(parts.source_vocab.encode(source), parts.target_vocab.encode(target)) for source, target in pairs]
    return make_batch(rows * times, PadIds(0, 0))


def gradient(session: Session, loss: torch.Tensor) -> torch.Tensor:
    parameters = list(session.model.parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return torch.cat(
        [(torch.zeros_like(p) if g is None else g).flatten() for p, g in zip(parameters, found, strict=True)]
    )


def expected(session: Session, batch: Batch, start: list[int]) -> torch.Tensor:
    """Minus the expected reward of all sentences after their first words, plus these words' cross entropy."""
    vocab, model = session.translator.target_vocab, session.model.eval()
    allowed = [i for i in range(len(vocab)) if i not in (vocab.special.pad, vocab.special.bos)]
    inner, end, loss = [i for i in allowed if i != vocab.special.eos], vocab.special.eos, torch.zeros(())
    assert session.critic is not None
    for row, begin in enumerate(start):
        target = batch.target[row][batch.target_mask[row]].tolist()
        prefix, most = target[:begin], max(3, begin + 1)
        said = [
            [*prefix, *words, end] for size in range(most - begin) for words in itertools.product(inner, repeat=size)
        ]
        said += [[*prefix, *words] for words in itertools.product(inner, repeat=most - begin)]
        finished = [words[-1] == end for words in said]
        texts = [vocab.decode(words) for words in said]
        bare = [words[:-1] if done else words for words, done in zip(said, finished, strict=True)]
        count = len(said)
        task = Task(bare, [[target[:-1]]] * count, finished, texts, [[vocab.decode(target)]] * count)
        worth = torch.tensor([sum(own) for own in session.critic.rewarder.ask(task)()])
        ids = np.array([[*words, *[0] * (most - len(words))] for words in said])
        memory = model.encode(batch.source[[row] * count], batch.source_mask[[row] * count])
        logits = dynamic_decode(model.decoder, memory, TrainingFeedBack(ids, vocab.special)).logits
        full, own = torch.log_softmax(logits, -1), torch.log_softmax(logits[..., allowed], -1)
        places = torch.tensor([[allowed.index(i) if i in allowed else 0 for i in words] for words in ids.tolist()])
        mask = torch.arange(most) < torch.tensor([len(words) for words in said])[:, None]
        chosen = own.gather(2, places[..., None])[..., 0] * mask
        share = chosen[:, begin:].sum(dim=1).exp()
        assert float(share.detach().sum()) == pytest.approx(1)
        loss = loss - (share * worth).sum()
        if begin:
            loss = loss - full[0, range(begin), prefix].sum()
    return loss


# --- gradients of a real model --------------------------------------------------------------------------------------


@pytest.mark.parametrize("reward", ["character_edit", "delta_bleu"])
@pytest.mark.parametrize("name", ["reinforce", "self_critical", "leave_one_out"])
@pytest.mark.parametrize("last", [1, objectives.ALL], ids=["MIXER", "whole"])
def test_the_gradient_is_that_of_the_expected_reward(last: int, name: str, reward: str, tmp_path: Path) -> None:
    """Against the sum over all sentences, in all directions together and in some; sentences of different lengths."""
    session = tiny(tmp_path, f"train.objective.type={name}", f"train.objective.reward={reward}")
    pairs, times, draws = (("a", "b"), ("ab", "ba")), 40, 25
    batch = batch_of(session, *pairs, times=times)
    wanted = gradient(session, expected(session, batch_of(session, *pairs), [1, 2] if last == 1 else [0, 0]))
    found = []
    for seed in range(draws):
        losses = objectives.sampled_losses(session, batch, np.random.default_rng(seed), last)
        found.append(gradient(session, losses.whole) / times)
    each = torch.stack(found)
    directions = torch.cat(
        [wanted[:, None], torch.randn(len(wanted), 4, generator=torch.Generator().manual_seed(1))], 1
    )
    shown, right = each @ directions.double(), wanted @ directions.double()
    error = shown.std(dim=0) / draws**0.5
    assert (((shown.mean(dim=0) - right) / error).abs() < 4.5).all(), (shown.mean(dim=0), right, error)
    assert error[0] < 0.2 * right[0], "or it would not be told from nothing"


def test_minimum_risk_is_its_formula(tmp_path: Path) -> None:
    """By autograd through the log-probabilities of the candidates that were drawn; the target is one of them."""
    session = tiny(tmp_path, "train.objective.type=minimum_risk", "train.objective.sharpness=0.7")
    batch, special = batch_of(session, ("ab", "ba"), ("a", "b")), session.translator.target_vocab.special
    seen: dict[str, Any] = {}
    kept, row = objectives.to_read, OBJECTIVES["minimum_risk"]

    def reading(*given: Any) -> Any:
        seen["read"] = kept(*given)
        return seen["read"]

    def weighing(earned: Any) -> Any:
        assert row.weights is not None
        seen["earned"] = earned
        return row.weights(earned)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objectives, "to_read", reading)
        patch.setitem(OBJECTIVES, "minimum_risk", row._replace(weights=weighing))
        losses = step_losses(session, batch, np.random.default_rng(3))
    read, earned = seen["read"], seen["earned"]
    assert read.ids.shape[1] == 4 and (read.ids[:, 3, : batch.target.shape[1]] == batch.target).all()
    model, found = session.model, torch.zeros(())
    for row in range(2):
        rows = [row] * 4
        memory = model.encode(batch.source[rows], batch.source_mask[rows])
        logits = dynamic_decode(model.decoder, memory, TrainingFeedBack(read.ids[row], special)).logits
        logits[..., [special.pad, special.bos]] = -1e30
        said = torch.log_softmax(logits, -1).gather(2, torch.tensor(read.ids[row])[..., None])[..., 0]
        log_p = (said * torch.tensor(read.own[row])).sum(dim=1)
        kinds = [tuple(words) for words in read.ids[row].tolist()]
        fresh = torch.tensor([words not in kinds[:place] for place, words in enumerate(kinds)])
        share = torch.where(fresh, (0.7 * log_p).exp(), 0.0)
        found = found - (share / share.sum() * earned.totals[row].double()).sum()
    torch.testing.assert_close(gradient(session, losses.whole), gradient(session, found), rtol=1e-4, atol=1e-6)


def test_cross_entropy_beside_the_reward(tmp_path: Path) -> None:
    """Its gradient is added with its weight, and with its z-loss."""
    plain = ["train.objective.type=leave_one_out", "train.z_loss=0.2"]
    batch, parts = None, {}
    for name, more in {"none": [], "beside": ["train.objective.cross_entropy=0.3"]}.items():
        session = tiny(tmp_path / name, *plain, *more)
        batch = batch_of(session, ("ab", "ba"), ("a", "b"))
        parts[name] = gradient(session, step_losses(session, batch, np.random.default_rng(1)).whole)
    assert batch is not None
    session.model.eval()
    taught = losses_of(session, batch, np.random.default_rng(1)).whole
    torch.testing.assert_close(parts["beside"], parts["none"] + 0.3 * gradient(session, taught))


def test_nearness_to_the_start(tmp_path: Path) -> None:
    """A model that is its own start is pulled nowhere; one that moved away is pulled back."""
    write_pairs(tmp_path / "data", train=60, dev=15)
    config = small(tmp_path / "data", "train.steps=2")
    train(config, tmp_path / "start")
    near = ["train.objective.near=2", f"train.objective.start={tmp_path / 'start'}"]
    files = [f"vocab.{side}.file={tmp_path / 'start' / 'last' / side}.vocab.json" for side in ("source", "target")]
    base = ["train.objective.type=leave_one_out", f"train.init.from_run={tmp_path / 'start' / 'last'}", *files]
    found = {}
    for name, more in {"far": [], "near": near}.items():
        session = open_session(small(tmp_path / "data", *base, *more), tmp_path / name)
        batch = next(session.stream.batches()).batch
        found[name] = session, gradient(session, step_losses(session, batch, np.random.default_rng(1)).whole)
    torch.testing.assert_close(found["near"][1], found["far"][1], rtol=1e-3, atol=1e-4)
    session = found["near"][0]
    with torch.no_grad():
        session.model.decoder.head.output.bias.add_(torch.linspace(-1, 1, len(session.model.decoder.head.output.bias)))
        found["far"][0].model.load_weights(session.model.weights())
    pulled = [gradient(each, step_losses(each, batch, np.random.default_rng(1)).whole) for each, _ in found.values()]
    assert not torch.allclose(*pulled, rtol=1e-2)
    for session, _ in found.values():
        session.close()


# --- places -----------------------------------------------------------------------------------------------------------


def test_rows_with_the_same_words_before_share_a_place() -> None:
    """Against a look at every token; a row that does not speak at a place takes no part in it."""
    chance = np.random.default_rng(5)
    ids, own = chance.integers(1, 3, (3, 5, 4)), chance.random((3, 4, 4)) < 0.8
    found = places_of(Read(ids, ids > 0, ids > 0), own, True)
    kinds: dict[Any, list[tuple[int, int, int]]] = {}
    for sentence, row, step in np.argwhere(own):
        words = (sentence, *ids[sentence, row, :step])
        kinds.setdefault(words, []).append((sentence, row, step))
    assert len(kinds) == len(found.at) == found.ends[-1] < own.sum()
    flat = sorted(kinds.values(), key=lambda kind: kind[0])
    for place, kind in enumerate(flat):
        assert found.at[place] == np.ravel_multi_index(kind[0], ids.shape)
        assert [row for _, row, _ in kind] == np.flatnonzero(found.there[place]).tolist()
        tokens = [np.ravel_multi_index(token, own.shape) for token in kind]
        assert found.tokens[place, found.there[place]].tolist() == tokens
        assert set(found.tokens[place]) == set(tokens)
        assert np.searchsorted(found.ends, place, side="right") == kind[0][0]
    each = places_of(Read(ids, ids > 0, ids > 0), own, False)
    assert len(each.at) == own.sum() == each.there.sum() and (each.there.sum(axis=1) == 1).all()


@pytest.mark.parametrize("name", SAMPLED)
def test_places_shared_or_not_a_few_at_a_time_or_all(name: str, tmp_path: Path) -> None:
    """The loss and its gradient are the same, in minimum risk too, whose weights hang on whole sentences.

    So they are where rows that say the same are read once, and where each is read.
    """
    more = ["samples=6", "entropy=0.1", "sharpness=0.7", f"type={name}"]
    session = tiny(tmp_path, *(f"train.objective.{setting}" for setting in more))
    batch, found, counts = batch_of(session, ("ab", "ba"), ("a", "b"), times=3), [], []
    lines: list[int] = []
    for shared, cells, near in [(True, 1 << 22, 1 << 18), (False, 1 << 22, 20), (True, 1, 1), (False, 50, 20)]:

        def places(read: Any, own: np.ndarray, _: bool, shared: bool = shared) -> Any:
            counts.append(len(places_of(read, own, shared).at))
            return places_of(read, own, shared)

        def said(decoder: Any, memory: Any, read: Read, special: Any, _: bool, shared: bool = shared) -> Said:
            made = Said(decoder, memory, read, special, shared)
            lines.append(len(made.features))
            return made

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(objectives, "places_of", places)
            patch.setattr(objectives, "Said", said)
            patch.setattr("sequencing.loss.CELLS", cells)
            patch.setattr("sequencing.arrays.NEAR", near)
            losses = step_losses(session, batch, np.random.default_rng(3))
        found.append(torch.cat([gradient(session, losses.whole), losses.whole[None].detach(), losses.told]))
    assert counts[0] < counts[1] and lines[0] < lines[1]
    for each in found[1:]:
        torch.testing.assert_close(each, found[0], rtol=1e-6, atol=1e-8)


# --- finished sentences, dropout, the schedule ----------------------------------------------------------------------


def test_finished_sentences_get_no_gradient(tmp_path: Path) -> None:
    """What stands behind an end is read as padding; were it anything else, nothing would change."""
    session = tiny(tmp_path, "train.objective.type=leave_one_out", "train.objective.entropy=0.1")
    batch = batch_of(session, ("ab", "ba"), ("a", "b"), times=5)
    kept, found = objectives.to_read, []

    def other(*given: Any) -> Any:
        read = kept(*given)
        assert not read.real.all(), "some sentences ended before others"
        return read._replace(ids=np.where(read.real, read.ids, 5))

    for change in (kept, other):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(objectives, "to_read", change)
            found.append(gradient(session, step_losses(session, batch, np.random.default_rng(2)).whole))
    torch.testing.assert_close(*found, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dropout", [False, True])
def test_dropout_is_explicit(dropout: bool, tmp_path: Path) -> None:
    """Inventory row T-A13: never where answers are drawn; where they are learnt from, as the setting says."""
    drop = ["model.decoder.readout_dropout=0.5", "model.decoder.embedding_dropout=0.5"]
    settings = ["train.objective.type=leave_one_out", "train.objective.reward=character_edit", *drop]
    session = open_session(
        small(tmp_path, *settings, f"train.objective.dropout={str(dropout).lower()}"), tmp_path / "run"
    )
    batch, modes, drawn = next(session.stream.batches()).batch, [], []
    step, roll = session.model.decoder.listen, objectives.roll_out

    def listen(*given: Any) -> Any:
        modes.append((torch.is_grad_enabled(), session.model.decoder.training))
        return step(*given)

    def kept(*given: Any) -> Any:
        drawn.append(roll(*given))
        return drawn[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session.model.decoder, "listen", listen)
        patch.setattr(objectives, "roll_out", kept)
        for seed in (1, 2):
            torch.manual_seed(seed)
            found = step_losses(session, batch, np.random.default_rng(7)).whole
            drawn.append(found.detach())
    assert set(modes) == {(False, False), (True, dropout)}
    assert (drawn[0].ids == drawn[2].ids).all(), "what is drawn does not depend on dropout"
    assert bool(torch.equal(drawn[1], drawn[3])) == (not dropout)
    session.close()


def test_before_it_speaks_it_is_taught(tmp_path: Path) -> None:
    """Until k is one the run is that of cross entropy, to the bit; then it logs rewards, and what is taught costs."""
    schedule = ["train.objective.burn_in=4", "train.objective.increment=3", "train.log_every=1"]
    settings = [*EVERYTHING[:4], "train.label_smoothing=0.1", "train.objective.reward=character_edit"]
    train(small(tmp_path / "data", *settings, *schedule, "train.objective.type=reinforce"), tmp_path / "mixed")
    train(small(tmp_path / "data", *settings, "train.log_every=1"), tmp_path / "taught")
    mixed, taught = (
        [record for record in records(tmp_path / name / "metrics.jsonl") if record["kind"] == "train"]
        for name in ("mixed", "taught")
    )
    assert mixed[:7] == taught[:7] and mixed[7] != taught[7]
    for record in mixed[7:]:
        assert record["step"] >= 8 and 0 <= record["reward"] <= 1 and record["loss"] > 0
        assert record["baseline_error"] > 0 and 0 < record["diversity"] <= 1 and record["entropy"] > 0
    assert not any("reward" in record for record in taught)


# --- runs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLED)
def test_in_parts_is_at_once(name: str, tmp_path: Path) -> None:
    """Bit for bit, the baseline and its optimiser too, also across the step at which the model begins to speak."""
    more = ["cross_entropy=0.2", "entropy=0.01", "dropout=true", "burn_in=2", "increment=2", f"type={name}"]
    own = ["train.accumulate=2", "train.steps=8", *(f"train.objective.{setting}" for setting in more)]
    settings = [*EVERYTHING[:5], *own]
    config = small(tmp_path / "data", *settings)
    train(config, tmp_path / "one")
    for stop in (3, 6):
        train_until(config, tmp_path / "two", stop)
    train(config, tmp_path / "two")
    same_run(tmp_path / "two", tmp_path / "one")
    found = latest_checkpoint(tmp_path / "one")
    assert found is not None and ("baseline" in found.arrays) == (name == "reinforce")
    if name == "reinforce":
        assert found.arrays["baseline"]["outer.weight"].any() and found.arrays["baseline_optimizer"]


@pytest.mark.parametrize(
    "settings",
    [
        ["model.decoder.copy=true", "vocab.joint=true"],
        ["model.decoder.type=self_attention", "model.decoder.blocks.heads=2", "train.precision=bfloat16"],
        ["model.decoder.input_feeding=true", "train.objective.workers=1"],
        ["model.decoder.type=convolutional", "model.decoder.attention.type=general", "train.objective.reward=edit"],
        ["model.decoder.attention.type=coverage"],
    ],
    ids=str,
)
def test_other_decoders(settings: list[str], tmp_path: Path) -> None:
    """With copying, several words at once, step by step, in bfloat16, with processes that count."""
    own = []
    if settings[0].startswith("model.decoder.type="):
        text = "[model.decoder]\nembedding_size = 16\n"
        head, _, tail = CONFIG.partition("[model.decoder]")
        own = [head + text + "[train]" + tail.partition("[train]")[2]]
    write_pairs(tmp_path / "data", train=60, dev=15)
    base = ["train.batch_tokens=192", "train.steps=3", "train.objective.type=reinforce", "train.objective.samples=2"]
    path = write_config(tmp_path / "data", *own)
    config = read_run_config(path, [*base, *settings])
    train(config, tmp_path / "one")
    found = [record for record in records(tmp_path / "one" / "metrics.jsonl") if record["kind"] == "train"]
    assert found and all(np.isfinite(record["gradient_norm"]) for record in found)


def test_the_reward_rises(tmp_path: Path) -> None:
    """From a model that was taught a little: what its own answers earn rises, and so does what is right on dev."""
    write_pairs(tmp_path / "data", train=496, dev=80, longest=3)
    path = write_config(tmp_path / "data")
    taught = ["train.steps=60", "train.batch_tokens=512", "train.validate_every=60", "train.schedule.warmup=10"]
    train(read_run_config(path, taught), tmp_path / "taught")
    learn = ["train.objective.type=leave_one_out", "train.objective.reward=character_edit", "train.log_every=10"]
    start = [f"train.init.from_run={tmp_path / 'taught'}", "train.steps=40", "train.learning_rate=2e-3"]
    config = read_run_config(path, [*taught, *learn, *start])
    train(config, tmp_path / "rewarded")
    found = {name: records(tmp_path / name / "metrics.jsonl") for name in ("taught", "rewarded")}
    rewards = [record["reward"] for record in found["rewarded"] if record["kind"] == "train"]
    chrf = {name: [record["chrf"] for record in each if record["kind"] == "dev"] for name, each in found.items()}
    assert rewards[-1] > rewards[0] + 0.1, rewards
    assert chrf["rewarded"][-1] > chrf["taught"][-1] + 3, chrf
    shown = {name: records(tmp_path / name / "samples.jsonl") for name in found}
    assert not any("drawn" in sample for sample in shown["taught"])
    for sample in shown["rewarded"]:
        assert len(sample["drawn"]) == ObjectiveConfig().samples
        for draw in sample["drawn"]:
            assert draw["reward"] == pytest.approx(
                scored("character_edit", [draw["text"]], [sample["target"]])[0], abs=1e-4
            )


def test_all_targets_of_a_source_are_right(tmp_path: Path) -> None:
    """Whichever of its targets a model says earns all; the others' sources, and unknown ones, do not help."""
    rows = ["ab\tba", "ab\tab", "ab\tba", "ba\taa", "xb\tbb", "yb\tab"]  # x and y are once there: unknown
    (tmp_path / "train.tsv").write_text("\n".join(rows) + "\n")
    settings = ["type=leave_one_out", "all_targets=true", "reward=exact"]
    text = TINY.replace('source.level = "characters"', 'source = { level = "characters", min_count = 2 }')
    session = opened(tmp_path, text, *(f"train.objective.{setting}" for setting in settings))
    vocab, source = session.translator.target_vocab, session.translator.source_vocab
    assert session.critic is not None and session.critic.references is not None

    def targets(left: str, right: str) -> list[str]:
        ids = np.array(source.encode(left))
        return [vocab.decode(ids) for ids in session.critic.references.of(ids, vocab.encode(right))]  # type: ignore[union-attr]

    assert targets("ab", "ab") == ["ab", "ba"] and targets("ab", "ba") == ["ba", "ab"]
    assert targets("ba", "aa") == ["aa"] and targets("xb", "bb") == ["bb"], "two sources that look alike when unknown"
    batch = batch_of(session, ("ab", "ab"), ("xb", "bb"))
    answers = np.array([[vocab.encode(text) for text in ("ab", "ba", "bb")]] * 2)
    real = np.ones_like(answers, dtype=bool)
    task = task_of(session, batch, Samples(answers, real, real, real.all(axis=2)), with_target=False)
    assert session.critic.rewarder.ask(task)() == [[0, 0, worth] for worth in (1.0, 1.0, 0.0, 0.0, 0.0, 1.0)]


def test_a_model_that_says_nan_has_diverged(tmp_path: Path) -> None:
    """It is told as in any other run, and nothing of it is saved."""
    config = small(tmp_path / "data", "train.objective.type=leave_one_out", "train.objective.reward=edit")
    session = open_session(config, tmp_path / "run")
    with torch.no_grad():
        session.model.decoder.head.output.bias.fill_(torch.nan)
    with session.progress, pytest.raises(SearchError, match="diverged"):
        run(session, [])
    session.close()
    assert latest_checkpoint(tmp_path / "run") is None


def test_a_step_costs_the_same_whatever_was_before(tmp_path: Path) -> None:
    """No hidden memory: two sessions, one of which drew other numbers before, come to the same weights."""
    settings = ["train.objective.type=reinforce", "train.objective.samples=2", "train.objective.dropout=true"]
    sessions = [open_session(small(tmp_path / "data", *EVERYTHING[:4], *settings), tmp_path / name) for name in "ab"]
    batch = next(sessions[0].stream.batches()).batch
    update(sessions[0], [batch])
    torch.rand(5)
    update(sessions[1], [batch])
    assert all(map(torch.equal, *(session.learning.parameters() for session in sessions)))
    for session in sessions:
        session.close()


PAGE = DOCS / "whole_sequences.md"


@pytest.mark.slow
def test_the_page_s_example_runs(tmp_path: Path) -> None:
    assert run_page(PAGE, tmp_path) == 2


def test_the_page_s_settings_are_real_and_all_are_named() -> None:
    for fence in fences(PAGE):
        if fence.language == "toml" and not fence.file:
            values = tomllib.loads(fence.body)
            config = run_config({"data": {"train": ["x"]}, "train": {"steps": 9, **values["train"]}}, Origin("page"))
            check_settings(config)
    text = PAGE.read_text("utf-8")
    for name in [*OBJECTIVES, *REWARDS, *(field.name for field in dataclasses.fields(ObjectiveConfig))]:
        assert f"`{name}" in text or f"\n{name} = " in text, name


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["type=leave_one_out", "samples=1"], "give 2 or more"),
        (["type=reinforce", "near=0.1"], "objective.start"),
        (["type=reinforce", "burn_in=5"], "set increment too"),
        (["type=reinforced"], "did you mean 'reinforce'"),
        (["reward=chrF"], "chrf"),
    ],
    ids=str,
)
def test_what_cannot_be_learnt(settings: list[str], words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        check_settings(small(tmp_path, *(f"train.objective.{setting}" for setting in settings)))


@pytest.mark.parametrize("setting", ["r_drop=1", "coverage=1", "teacher.rate=0.5", "distill.teacher=x"])
def test_what_belongs_to_teaching(setting: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="own answers; leave one of them out"):
        check_settings(small(tmp_path, "train.objective.type=reinforce", f"train.{setting}"))


def test_workers_may_change_and_the_objective_may_not(tmp_path: Path) -> None:
    settings = ["train.objective.type=self_critical", "train.steps=2", "train.objective.samples=1"]
    train(small(tmp_path / "data", *settings), tmp_path / "run")
    settings[1] = "train.steps=3"
    train(small(tmp_path / "data", *settings, "train.objective.workers=1"), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"train\.objective\.reward was 'bleu'"):
        train(small(tmp_path / "data", *settings, "train.objective.reward=chrf"), tmp_path / "run")


def test_first_of_their_kind() -> None:
    ids = np.array([[[4, 3], [5, 3], [4, 3], [4, 3]], [[1, 1], [1, 2], [2, 1], [1, 2]]])
    assert first_of_their_kind(ids).tolist() == [[True, True, False, False], [True, True, True, False]]
