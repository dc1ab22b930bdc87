"""What learning from rewards needs beside the model: who counts them, beside what, who foresees them, and whom to stay
near."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from sequencing.data.store import Pairs
from sequencing.model import Model
from sequencing.policy import OBJECTIVES, Baseline
from sequencing.rewards import Rewarder
from sequencing.run_config import RunConfig
from sequencing.teacher import Teacher, load_teacher
from sequencing.train.checkpoint import optimizer_arrays, restore_optimizer
from sequencing_np.errors import ConfigError
from sequencing_np.vocab import Vocabulary

Arrays = dict[str, dict[str, np.ndarray]]  # file -> name -> array, as a checkpoint has them


class References:
    """The targets that the training data have for one source: all of them are right answers to it.

    A source is known by its text, so that dropped merges change nothing. One with a word unknown has its own target
    alone, as it may be another's.
    """

    def __init__(self, pairs: Pairs, vocabs: tuple[Vocabulary, Vocabulary]) -> None:
        if pairs.source.flat.ndim > 1:
            raise ConfigError(
                "train.objective.all_targets: knows a source by its text, and vectors have none; leave it out"
            )
        self.vocabs = vocabs
        groups: dict[bytes, list[int]] = {}
        for row in range(len(pairs)):
            groups.setdefault(pairs.source.row(row).tobytes(), []).append(row)
        self.targets: dict[str, list[list[int]]] = {}
        for rows in groups.values():
            targets = list(dict.fromkeys(tuple(pairs.target.row(row).tolist()) for row in rows))
            key = self.key(pairs.source.row(rows[0]))
            if key and len(targets) > 1:
                self.targets[key] = [list(target) for target in targets]

    def key(self, source: np.ndarray) -> str:  # (S,)
        """The text of a source; nothing where a word of it is unknown."""
        vocab = self.vocabs[0]
        return "" if vocab.special.unk in source else vocab.decode(source.tolist())

    def of(self, source: np.ndarray, target: list[int]) -> list[list[int]]:  # (S,)
        """All targets of a source, its own first; they end with the end symbol."""
        others = self.targets.get(self.key(source), ())
        return [target, *(other for other in others if other != target)]


class Critic:
    """Rewards; where they are asked for, further references, a baseline with an optimiser of its own, and a model to
    stay near."""

    def __init__(self, config: RunConfig, model: Model, vocabs: tuple[Vocabulary, Vocabulary], pairs: Pairs) -> None:
        objective = config.train.objective
        self.references = References(pairs, vocabs) if objective.all_targets else None
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


def critic_of(config: RunConfig, model: Model, vocabs: tuple[Vocabulary, Vocabulary], pairs: Pairs) -> Critic | None:
    """The critic of a run, if it learns from rewards."""
    return Critic(config, model, vocabs, pairs) if OBJECTIVES[config.train.objective.type].weights else None
