"""A run, opened: data checked, vocabularies and model made or restored, logs open. What the loop then turns.

Everything that a checkpoint has to hold is a field of Session; `save` writes it, `open_session` reads it back.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sequencing.data.sampling import START, BatchStream, Position, SamplingOptions
from sequencing.distributed import Ranks
from sequencing.freezing import check_learning, freeze
from sequencing.loading import choose_device
from sequencing.lora import LowRankLinear, adapt, merged
from sequencing.machine import machine
from sequencing.model import Model
from sequencing.optim import OPTIMIZERS, Average, check_validation, learning_rate
from sequencing.recompute import recompute
from sequencing.records import write_json
from sequencing.restore import optimistic_restore
from sequencing.run_config import RunConfig, saved
from sequencing.teacher import Teacher, load_teacher
from sequencing.train.checkpoint import (
    Checkpoint,
    Saver,
    latest_checkpoint,
    optimizer_arrays,
    restore_optimizer,
    save_checkpoint,
)
from sequencing.train.critic import Critic, critic_of
from sequencing.train.guard import Guard, check_weights
from sequencing.train.logging import Log, MetricsLog, Progress, Silence
from sequencing.train.material import Say, as_lists, gather, limits_of, same_data
from sequencing.train.precision import chosen
from sequencing.train.settings import check_settings, same_run
from sequencing.train.tally import Tally
from sequencing.train.trackers import trackers
from sequencing.train.validation import HeldOut, read_held_out
from sequencing.train_config import GuardConfig
from sequencing.vocabularies import completed
from sequencing_np.config import to_dict
from sequencing_np.errors import SequencingError
from sequencing_np.manifest import check_manifest
from sequencing_np.model_folder import ModelFolder, write_model_folder
from sequencing_np.special import Special
from sequencing_np.translate import Translator
from sequencing_np.vocab import Vocabulary


@dataclasses.dataclass
class Session:
    """The state of a run."""

    config: RunConfig
    folder: Path
    translator: Translator  # the model with its vocabularies and limits
    stream: BatchStream
    optimizer: torch.optim.Optimizer
    average: Average | None
    held_out: HeldOut | None
    logs: dict[str, Log]  # metrics, samples and trackers
    progress: Progress
    fingerprint: list[list[Any]]  # of the training files
    step: int = 0
    position: Position = START
    seconds: float = 0.0  # of training so far, over all starts
    best: list[float] | None = None  # the best score of METRICS[select], with its sign, and its -loss to break ties
    worse: int = 0  # validations since then
    plateaus: int = 0  # how often they were many (`train.schedule.plateau_patience`)
    looked: int = 0  # the step of the last validation
    tally: Tally = dataclasses.field(default_factory=Tally)  # sums since the last line of the log
    saver: Saver = dataclasses.field(default_factory=Saver)
    adapted: dict[str, LowRankLinear] = dataclasses.field(default_factory=dict)  # layers with low-rank parts, by name
    teacher: Teacher | None = None
    critic: Critic | None = None  # where it learns from rewards
    ranks: Ranks = dataclasses.field(default_factory=Ranks)
    precision: str = "float32"  # of matrix products: what `auto` stood for when the run began
    guard: Guard = dataclasses.field(default_factory=lambda: Guard(GuardConfig()))

    @property
    def model(self) -> Model:
        return self.translator.model  # type: ignore[return-value]

    @property
    def special(self) -> Special:
        """The special ids of the target."""
        return self.translator.target_vocab.special

    @property
    def learning(self) -> nn.Module:
        """All whose gradients are summed: the model, and a baseline beside it."""
        baseline = self.critic and self.critic.baseline
        return nn.ModuleList([self.model, baseline]) if baseline else self.model

    def close(self) -> None:
        """Close what is open: logs, and processes that count rewards."""
        if self.critic:
            self.critic.close()
        for log in self.logs.values():
            log.close()

    def model_folder(self) -> ModelFolder:
        """The model as it is saved."""
        parts, weights = self.translator, merged(self.model.weights(), self.adapted)
        return ModelFolder(self.model.config, parts.limits, parts.source_vocab, parts.target_vocab, weights)

    def save(self) -> None:
        """Begin to write a checkpoint, then the model folder `last`, of the weights as they are now.

        SearchError, and nothing written, where training diverged.
        """
        check_weights(self.model, self.step)
        tally = self.tally.sums(self.ranks)
        if not self.ranks.first:
            return
        arrays = {
            "weights": self.model.weights(),
            "optimizer": optimizer_arrays(self.optimizer),
        }
        if self.average:
            arrays["average"] = {str(k): mean.cpu().numpy() for k, mean in enumerate(self.average.mean)}
        if self.critic:
            arrays |= self.critic.arrays()
        arrays = {name: copied(part) for name, part in arrays.items()}
        state = {
            "step": self.step,
            "position": list(self.position),
            "seconds": self.seconds,
            "best": self.best,
            "worse": self.worse,
            "plateaus": self.plateaus,
            "select": self.config.train.select,
            "looked": self.looked,
            "tally": tally,
            "guard": self.guard.state(),
            "precision": self.precision,
            "average_steps": self.average.steps if self.average else 0,
            "fingerprint": self.fingerprint,
        }
        with self.averaged():
            last = self.model_folder()
        last = last._replace(weights=copied(last.weights))

        def write() -> None:
            save_checkpoint(self.folder, Checkpoint(arrays, state), self.config.train.keep)
            write_model_folder(self.folder / "last", last, {"step": state["step"]})

        self.saver.begin(write)

    def has_last(self) -> bool:
        """Whether the model folder `last` is whole and of this step."""
        try:
            return bool(check_manifest(self.folder / "last").get("step") == self.step)
        except SequencingError:
            return False

    def restore(self, checkpoint: Checkpoint) -> None:
        """The inverse of `save`."""
        arrays, state = checkpoint
        self.model.load_weights(arrays["weights"])
        restore_optimizer(self.optimizer, arrays["optimizer"])
        if self.average:
            self.average.steps = state["average_steps"]
            for k, mean in enumerate(self.average.mean):
                mean.copy_(torch.from_numpy(arrays["average"][str(k)].copy()))
        if self.critic:
            self.critic.restore(arrays)
        self.step, self.position = state["step"], Position(*state["position"])
        self.seconds, self.looked = state["seconds"], state["looked"]
        self.plateaus = state.get("plateaus", 0)  # older checkpoints have none
        if "guard" in state:  # and neither of these two
            self.guard.restore(state["guard"])
            self.precision = state["precision"]
        if self.ranks.first:
            self.tally.restore(state["tally"])
        if state["select"] == self.config.train.select:  # scores of another metric cannot be compared
            self.best, self.worse = state["best"], state["worse"]

    def learning_rate(self, step: int) -> float:
        """The rate of a step (from 1)."""
        return learning_rate(step, self.config.train, self.plateaus) * self.guard.rate

    def averaged(self) -> Averaged:
        """A context in which the model has its averaged weights, where there is an average."""
        return Averaged(self.average)


def copied(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same numbers, whatever becomes of the tensors that they were taken from."""
    return {name: array.copy() for name, array in arrays.items()}


class Averaged:
    """Swaps the average in and out again."""

    def __init__(self, average: Average | None) -> None:
        self.average = average

    def __enter__(self) -> None:
        if self.average:
            self.average.swap()

    def __exit__(self, *_: object) -> None:
        if self.average:
            self.average.swap()


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
    else:
        same_run(config, folder)
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    progress = Progress(
        config.train.steps or None, config.train.minutes or None, stream=None if ranks.first else Silence()
    )
    checkpoint = latest_checkpoint(folder)
    material = gather(config, folder, checkpoint is not None or not ranks.first, progress.say)
    if ranks.first:
        ranks.in_turn()
    if checkpoint and not accept_changed_data:
        same_data(checkpoint.state["fingerprint"], material)
    source_vocab, target_vocab = material.vocabs
    stream = BatchStream(material.pairs, source_vocab, target_vocab, sampling_options(config))
    torch.manual_seed(config.train.seed)
    device = choose_device(config.train.device)
    model = Model(completed(config.model, source_vocab, target_vocab)).to(device)
    adapted = begin(model, config, material.vocabs, checkpoint is not None, progress.say)
    translator = Translator(model, source_vocab, target_vocab, limits_of(material.pairs))
    held_out = read_held_out(material.dev, translator, config) if material.dev else None
    check_validation(config.train, held_out is not None)
    teacher = teacher_of(config, material.vocabs)
    logs = logs_of(config, folder) if ranks.first else {}
    session = Session(
        config,
        folder,
        translator,
        stream,
        OPTIMIZERS[config.train.optimizer](model, config.train),
        Average(model, config.train.average) if config.train.average else None,
        held_out,
        logs,
        progress,
        as_lists(material.prints),
        adapted=adapted,
        teacher=teacher,
        critic=critic_of(config, model, material.vocabs),
        ranks=ranks,
        guard=Guard(config.train.guard, device),
    )
    facts = machine() | {"parameters": sum(parameter.numel() for parameter in model.parameters())}
    if ranks.first:
        write_json(folder / "machine.json", facts)
    progress.say(f"model: {facts['parameters']:,} parameters, {len(source_vocab):,} and {len(target_vocab):,} ids")
    if checkpoint:
        session.restore(checkpoint)
        if checkpoint.state["fingerprint"] != session.fingerprint and accept_changed_data:
            session.position = Position(session.position.epoch + 1)
            progress.say(f"the training data changed; epoch {session.position.epoch} begins with what is there now")
        progress.say(f"continuing {folder} after step {session.step:,}")
    else:
        session.precision, why = chosen(config.train.precision, device)
        if why:
            progress.say(f"train.precision = {config.train.precision!r}: {session.precision}, as {why}")
    ranks.alike("precision", session.precision)
    for log in logs.values():
        log.truncate_after(session.step)
    ranks.alike("data or checkpoint", json.dumps([session.step, *(part[1:] for part in session.fingerprint)]))
    return session


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
    logs: dict[str, Log] = {name: MetricsLog(folder / f"{name}.jsonl") for name in ("metrics", "samples")}
    return logs | trackers(config.train.trackers, folder, saved(config))


def sampling_options(config: RunConfig) -> SamplingOptions:
    """What the batch stream has to know."""
    train = config.train
    return SamplingOptions(
        train.batch_tokens,
        config.data.max_length,
        train.seed,
        train.epochs or None,
        config.vocab.dropouts,
        train.accumulate,
    )
