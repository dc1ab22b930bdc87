"""A run, opened: data checked, vocabularies and model made or restored, logs open. What the loop then turns."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from sequencing.data.sampling import BatchStream, Position, SamplingOptions
from sequencing.distributed.ranks import Ranks
from sequencing.freezing import check_learning, freeze
from sequencing.loading import choose_device
from sequencing.lora import LowRankLinear, adapt
from sequencing.machine import machine
from sequencing.model import Model
from sequencing.optim import OPTIMIZERS, Average, check_validation
from sequencing.precision import chosen
from sequencing.recompute import recompute
from sequencing.records import write_json
from sequencing.restore import optimistic_restore
from sequencing.run_config import RunConfig, saved
from sequencing.teacher import Teacher, load_teacher
from sequencing.train.budget import budget_of, choose_budget
from sequencing.train.checkpoint import Checkpoint, latest_checkpoint
from sequencing.train.compiling import choose_compile
from sequencing.train.critic import critic_of
from sequencing.train.guard import Guard
from sequencing.train.logging import FILES, Log, MetricsLog, Progress, Silence
from sequencing.train.material import Material, Say, as_lists, gather, limits_of, same_data
from sequencing.train.session import Session
from sequencing.train.settings import check_settings, same_run, taught_at_once
from sequencing.train.trackers import trackers
from sequencing.train.validation import read_held_out
from sequencing.train_config import AUTO
from sequencing.vocabularies import completed
from sequencing_np.config import to_dict
from sequencing_np.translate import Translator
from sequencing_np.vocab import Vocabulary


def open_session(
    config: RunConfig, folder: Path, accept_changed_data: bool = False, ranks: Ranks | None = None
) -> Session:
    """A new run in an empty or absent folder, or the continuation of the one that the folder holds.

    With several ranks the first one makes what is not there yet, and the others then find it.
    """
    ranks = ranks or Ranks()
    check_settings(config)
    ranks.own(config.train.accumulate)
    learning = [to_dict(part) for part in (config.train, config.vocab, config.model)]
    ranks.alike("configuration", json.dumps(learning))
    if not ranks.first:
        ranks.in_turn()
    checkpoint = latest_checkpoint(folder)  # whatever is wrong with it shows before anything is written
    if ranks.first:
        same_run(config, folder)
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    progress = Progress(
        config.train.steps or None, config.train.minutes or None, stream=None if ranks.first else Silence()
    )
    material = gather(config, folder, checkpoint is not None or not ranks.first, progress.say)
    if ranks.first:
        ranks.in_turn()
    if checkpoint and not accept_changed_data:
        same_data(checkpoint.state["fingerprint"], material)
    session = assembled(config, folder, material, checkpoint, progress, ranks)
    facts = machine() | {"parameters": sum(parameter.numel() for parameter in session.model.parameters())}
    if ranks.first:
        write_json(folder / "machine.json", facts)
    sizes = " and ".join(f"{len(vocab):,}" for vocab in material.vocabs)
    progress.say(f"model: {facts['parameters']:,} parameters, {sizes} ids")
    go_on(session, checkpoint) if checkpoint else choose_precision(session)
    ranks.alike("precision", session.precision)
    if config.train.batch_tokens == AUTO and not checkpoint:
        choose_budget(session)
    ranks.alike("choice of train.batch_tokens", str(session.batch_tokens))
    if material.dev:
        session.held_out = read_held_out(material.dev, session.translator, config, session.batch_tokens)
    choose_compile(session, checkpoint.state.get("compiled", False) if checkpoint else None)
    ranks.alike("choice of train.compile", str(session.compiled))
    session.cut_logs()
    ranks.alike("data or checkpoint", json.dumps([session.step, *(part[1:] for part in session.fingerprint)]))
    return session


def assembled(
    config: RunConfig, folder: Path, material: Material, checkpoint: Checkpoint | None, progress: Progress, ranks: Ranks
) -> Session:
    """All parts of a run as they are before its first step, but for held-out data."""
    source_vocab, target_vocab = material.vocabs
    tokens = budget_of(config, checkpoint)
    stream = BatchStream(material.pairs, source_vocab, target_vocab, sampling_options(config, tokens))
    torch.manual_seed(config.train.seed)
    device = choose_device(config.train.device)
    model = Model(completed(config.model, source_vocab, target_vocab)).to(device)
    adapted = begin(model, config, material.vocabs, checkpoint is not None, progress.say)
    if config.train.shard:
        ranks.shard(model, taught_at_once(config))
    translator = Translator(model, source_vocab, target_vocab, limits_of(material.pairs))
    check_validation(config.train, material.dev is not None)
    teacher, critic = teacher_of(config, material.vocabs), critic_of(config, model, material.vocabs, material.pairs)
    return Session(
        config,
        folder,
        translator,
        stream,
        OPTIMIZERS[config.train.optimizer](model, config.train),
        Average(model, config.train.average) if config.train.average else None,
        None,
        logs_of(config, folder) if ranks.first else {},
        progress,
        as_lists(material.prints),
        adapted=adapted,
        teacher=teacher,
        critic=critic,
        ranks=ranks,
        batch_tokens=tokens,
        guard=Guard(config.train.guard, device),
    )


def go_on(session: Session, checkpoint: Checkpoint) -> None:
    """From where the checkpoint was saved; data that changed, and not those that only moved, are begun anew."""
    session.restore(checkpoint)
    before, now = ([part[1:] for part in prints] for prints in (checkpoint.state["fingerprint"], session.fingerprint))
    if before != now:
        session.position = Position(session.position.epoch + 1)
        session.progress.say(f"the training data changed; epoch {session.position.epoch} begins with what is there now")
    session.progress.say(f"continuing {session.folder} after step {session.step:,}")


def choose_precision(session: Session) -> None:
    """For a new run, which says what it chose."""
    asked = session.config.train.precision
    precision, why = chosen(asked, session.guard.device)
    session.multiply_in(precision)
    if why:
        session.progress.say(f"train.precision = {asked!r}: {session.precision}, as {why}")


def begin(
    model: Model, config: RunConfig, vocabs: tuple[Vocabulary, Vocabulary], begun: bool, say: Say
) -> dict[str, LowRankLinear]:
    """A new run takes weights of another model; of any run some stay as they are, or get low-rank parts beside them."""
    init, lora = config.train.init, config.train.lora
    if init.from_run and not begun:
        say(f"beginning with {optimistic_restore(model, init.from_run, init.least, vocabs=vocabs).summary()}")
    if config.train.recompute and not recompute(model):
        say("warning: train.recompute = true: the model has no blocks of self-attention, so nothing is computed again")
    freeze(model, init.freeze)
    adapted = adapt(model, lora.rank, lora.alpha, lora.on) if lora.rank else {}
    if init.freeze or adapted:
        say(check_learning(model))
    return adapted


def teacher_of(config: RunConfig, vocabs: tuple[Vocabulary, Vocabulary]) -> Teacher | None:
    """The teacher of a run, if it has one."""
    distill, device = config.train.distill, config.train.device
    if not distill.teacher:
        return None
    return load_teacher(distill.teacher, vocabs, distill.weight, distill.temperature, device)


def logs_of(config: RunConfig, folder: Path) -> dict[str, Log]:
    """Where a run tells what it does."""
    logs: dict[str, Log] = {name: MetricsLog(folder / f"{name}.jsonl") for name in FILES}
    return logs | trackers(config.train.trackers, folder, saved(config))


def sampling_options(config: RunConfig, batch_tokens: int) -> SamplingOptions:
    """What the batch stream has to know."""
    train = config.train
    return SamplingOptions(
        batch_tokens,
        config.data.max_length,
        train.seed,
        train.epochs or None,
        config.vocab.dropouts,
        train.accumulate,
    )
