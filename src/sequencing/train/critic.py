"""What learning from rewards needs beside the model: who counts them, who foresees them, and whom to stay near."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from sequencing.model import Model
from sequencing.policy import OBJECTIVES, Baseline
from sequencing.rewards import Rewarder
from sequencing.run_config import RunConfig
from sequencing.teacher import Teacher, load_teacher
from sequencing.train.checkpoint import optimizer_arrays, restore_optimizer
from sequencing_np.vocab import Vocabulary

Arrays = dict[str, dict[str, np.ndarray]]  # file -> name -> array, as a checkpoint has them


class Critic:
    """Rewards; where they are asked for, a baseline with an optimiser of its own, and a model to stay near."""

    def __init__(self, config: RunConfig, model: Model, vocabs: tuple[Vocabulary, Vocabulary]) -> None:
        objective = config.train.objective
        self.rewarder = Rewarder(objective, config.train.bleu_tokenize)
        self.baseline: Baseline | None = None
        self.optimizer: torch.optim.Optimizer | None = None
        self.start: Teacher | None = None
        if OBJECTIVES[objective.type].baseline:
            torch.manual_seed(config.train.seed)
            last = model.decoder.head.output
            self.baseline = Baseline(last.in_features, objective.baseline_size).to(last.weight.device)
            self.optimizer = torch.optim.Adam(self.baseline.parameters(), objective.baseline_rate)
        if objective.near:
            place = "train.objective.start"
            self.start = load_teacher(objective.start, vocabs, 1.0, 1.0, config.train.device, place)

    def step(self) -> None:
        """Let the baseline learn from the gradients that it has."""
        if self.optimizer:
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def arrays(self) -> Arrays:
        """What a checkpoint holds of it."""
        if not self.baseline or not self.optimizer:
            return {}
        weights = {name: parameter.detach().cpu().numpy() for name, parameter in self.baseline.named_parameters()}
        return {"baseline": weights, "baseline_optimizer": optimizer_arrays(self.optimizer)}

    def restore(self, arrays: Mapping[str, dict[str, np.ndarray]]) -> None:
        """The inverse of `arrays`."""
        if self.baseline and self.optimizer:
            weights = {name: torch.from_numpy(array.copy()) for name, array in arrays["baseline"].items()}
            self.baseline.load_state_dict(weights)
            restore_optimizer(self.optimizer, arrays["baseline_optimizer"])

    def close(self) -> None:
        """End its processes."""
        self.rewarder.close()


def critic_of(config: RunConfig, model: Model, vocabs: tuple[Vocabulary, Vocabulary]) -> Critic | None:
    """The critic of a run, if it learns from rewards."""
    return Critic(config, model, vocabs) if OBJECTIVES[config.train.objective.type].weights else None
