"""The state of a run. All that a checkpoint has to hold is a field of Session: `save` writes, `restore` reads it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sequencing.data.sampling import START, BatchStream, Position
from sequencing.distributed.ranks import Ranks
from sequencing.lora import LowRankLinear, merged
from sequencing.model import Model
from sequencing.optim import Average, learning_rate
from sequencing.precision import PRECISIONS
from sequencing.run_config import RunConfig
from sequencing.teacher import Teacher
from sequencing.train.checkpoint import (
    Checkpoint,
    Saver,
    optimizer_arrays,
    restore_optimizer,
    save_checkpoint,
)
from sequencing.train.critic import Critic
from sequencing.train.guard import Guard, check_weights
from sequencing.train.logging import FILES, Log, Progress, drop_looks
from sequencing.train.loss_scale import LossScale
from sequencing.train.tally import Tally
from sequencing.train.validation import HeldOut
from sequencing.train_config import GuardConfig
from sequencing_np.errors import SequencingError
from sequencing_np.manifest import check_manifest
from sequencing_np.model_folder import ModelFolder, write_model_folder
from sequencing_np.special import Special
from sequencing_np.translate import Translator


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
    best: list[float] | None = None  # the best score of train.select, with its sign, and its -loss to break ties
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
    batch_tokens: int = 0  # of a batch: what `auto` stood for when the run began
    compiled: bool = False  # whether its blocks are: what `auto` stood for
    guard: Guard = dataclasses.field(default_factory=lambda: Guard(GuardConfig()))
    loss_scale: LossScale = dataclasses.field(default_factory=LossScale)

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

    def multiply_in(self, precision: str) -> None:
        """Let matrix products be of a row of PRECISIONS."""
        self.precision, self.loss_scale = precision, LossScale(PRECISIONS[precision], self.guard.device)

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
        ranks = self.ranks
        check_weights(self.model, self.step, ranks.gathered)
        tally = self.tally.sums(ranks)
        if not ranks.concerned:
            return
        with ranks.whole():
            arrays = {"weights": self.model.weights()}
        arrays["optimizer"] = copied(optimizer_arrays(self.optimizer, ranks.gathered))
        if self.average:
            means = (ranks.gathered(mean).cpu().numpy() for mean in self.average.mean)
            arrays["average"] = copied({str(k): mean for k, mean in enumerate(means)})
        if self.critic:
            arrays |= {name: copied(part) for name, part in self.critic.arrays().items()}
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
            "compiled": self.compiled,
            "batch_tokens": self.batch_tokens,
            **self.loss_scale.state(),
            "average_steps": self.average.steps if self.average else 0,
            "fingerprint": self.fingerprint,
        }
        with self.averaged(), ranks.whole():
            last = self.model_folder()
        if not ranks.first:
            return

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
        with self.ranks.whole(changed=True):
            self.model.load_weights(arrays["weights"])
        restore_optimizer(self.optimizer, arrays["optimizer"], self.ranks.part)
        if self.average:
            self.average.steps = state["average_steps"]
            for k, mean in enumerate(self.average.mean):
                mean.copy_(self.ranks.part(mean, torch.from_numpy(arrays["average"][str(k)].copy())))
        if self.critic:
            self.critic.restore(arrays)
        self.step, self.position = state["step"], Position(*state["position"])
        self.seconds, self.looked = state["seconds"], state["looked"]
        self.plateaus = state.get("plateaus", 0)  # older checkpoints have none
        if "guard" in state:  # and neither of these two
            self.guard.restore(state["guard"])
            self.multiply_in(state["precision"])
            self.loss_scale.restore(state)
        if self.ranks.first:
            self.tally.restore(state["tally"])
        if state["select"] == self.config.train.select:  # scores of another metric cannot be compared
            self.best, self.worse = state["best"], state["worse"]

    def cut_logs(self) -> None:
        """Drop what was logged after this step, and validations that this state knows nothing of.

        That before the last save comes after the steps: a run may be killed between what it says and the save.
        """
        for name, log in self.logs.items():
            if name in FILES and self.looked < self.step:
                drop_looks(self.folder / f"{name}.jsonl", self.looked)
            log.truncate_after(self.step)

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
