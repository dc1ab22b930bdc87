"""What a batch costs where a model learns from its own answers: they are drawn, valued, and read again with a gradient.

The encoder reads once. All samples are drawn in one batch, without a gradient and without dropout; then one pass over
them, as many words at once as the decoder can, says how likely each word was, and how that changes. What is like chance
in it is drawn from the generator of the step, so a step can be computed again.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sequencing.loss import Wanted
from sequencing.policy import OBJECTIVES, Chosen, Earned, Objective, Risk
from sequencing.precision import PRECISIONS
from sequencing.profiling import part
from sequencing.rewards import Task, dense
from sequencing.train.losses import Losses, losses_of
from sequencing.train.reading import Read, Said, first_same, places_of, spread, taught_by, taught_places, to_read
from sequencing.train.session import Session
from sequencing.train.tally import TOLD
from sequencing_np.batch import Batch
from sequencing_np.decode import dynamic_decode
from sequencing_np.mixer import Drawing, RLTrainingFeedBack, Samples, own_tokens
from sequencing_np.picking import banned_ids
from sequencing_np.state import Memory

ALL = 1 << 40  # tokens: the whole of any target
MORE = 5  # tokens that an answer to a short target may be longer than it


def step_losses(session: Session, batch: Batch, coins: np.random.Generator) -> Losses:
    """What a batch costs by the run's objective: what teaching costs, as long as all of its targets is taught."""
    objective = session.config.train.objective
    last = own_tokens(session.step, objective.burn_in, objective.increment) if objective.increment else ALL
    if OBJECTIVES[objective.type].weights is None or not last:
        return losses_of(session, batch, coins)
    return sampled_losses(session, batch, coins, last)


def sampled_losses(session: Session, batch: Batch, coins: np.random.Generator, last: int) -> Losses:
    """The losses of a batch whose last tokens, so many of each sentence, are the model's own."""
    settings, model, critic = session.config.train, session.model, session.critic
    assert critic is not None
    objective, row, special = settings.objective, OBJECTIVES[settings.objective.type], session.special
    low, device = PRECISIONS[session.precision], model.arrays.device
    model.train(objective.dropout)
    with part("  encoder"), torch.autocast(device.type, low, enabled=low is not None):
        memory = model.encode(batch.source, batch.source_mask)
    start = np.maximum(batch.target_mask.sum(axis=1) - last, 0)
    model.decoder.eval()
    own_cache = torch.autocast(device.type, low, enabled=low is not None)  # of weights
    with part("  answers drawn"), torch.no_grad(), own_cache:
        drawn = roll_out(session, batch, memory, start, row, coins)
    model.train(objective.dropout)
    rewards = critic.rewarder.ask(task_of(session, batch, drawn, row.candidates and objective.with_target))
    read = to_read(batch, drawn, start, objective, row, special.pad)
    with torch.autocast(device.type, low, enabled=low is not None):
        with part("  answers read"):
            said = Said(model.decoder, memory, read, special, not objective.dropout)
        own = Own(session, batch, read, said, row)
        with part("  rewards waited for"):
            found = torch.from_numpy(dense(rewards(), (len(drawn.ids), -1, read.ids.shape[2])))
        earned = own.earned(found.to(device, torch.float32))
        with part("  output layer and loss"):
            whole, entropy, error = own.cost(earned)
        taught, tokens = whole.new_zeros(()), 0
        for weight, places in taught_places(read, start, objective):
            if len(places):
                ids = read.ids_at(places, model.arrays)
                wanted = Wanted(ids, settings.label_smoothing, z_loss=settings.z_loss)
                cost, cross_entropy = said.cost(said.at(places), wanted)
                whole, taught, tokens = whole + weight * cost, taught + cross_entropy, tokens + len(places)
    told = told_of(batch, drawn, earned, objective.samples, {"taught": tokens, "entropy": entropy, "error": error})
    return Losses(whole, taught, told)


class Own:
    """The tokens that the model chose: what they earned, and what that makes them cost."""

    def __init__(self, session: Session, batch: Batch, read: Read, said: Said, row: Objective) -> None:
        objective, critic, arrays = session.config.train.objective, session.critic, session.model.arrays
        assert critic is not None
        self.objective, self.row, self.said, self.arrays = objective, row, said, arrays
        self.count = objective.samples + (row.candidates and objective.with_target)  # rows of a sentence that earn
        own = read.own[:, : self.count]
        places = places_of(read, own, not objective.dropout)
        self.at, self.there, self.tokens = said.at(places.at), arrays.native(places.there), arrays.native(places.tokens)
        self.ends = places.ends
        self.ids = arrays.native(read.ids[:, : self.count].reshape(-1)[places.tokens])
        self.mask = torch.from_numpy(own).to(arrays.device, torch.float32)  # (B, n, T)
        self.fresh = torch.from_numpy(first_of_their_kind(read.ids[:, : self.count])).to(arrays.device)
        self.banned = arrays.native(banned_ids(session.special, False))
        self.near = taught_by(critic.start.model, batch, read, session.special, places.at) if critic.start else None
        self.foreseen = None
        if critic.baseline:
            self.foreseen = said.foreseen(critic.baseline, said.at(np.flatnonzero(spread(own, read))), self.mask)

    def earned(self, rewards: Tensor) -> Earned:  # (B, n + 1 with the likeliest answer, T)
        """What an objective may want to know of the samples."""
        own, row = rewards[:, : self.count], self.row
        earned = Earned(returns_of_all(own) * self.mask, own.sum(dim=2), self.mask, sharpness=self.objective.sharpness)
        if row.greedy:
            earned = earned._replace(greedy=rewards[:, -1].sum(dim=1))
        if self.foreseen is not None:
            earned = earned._replace(foreseen=self.foreseen.detach())
        return earned._replace(fresh=self.fresh) if row.candidates else earned

    def cost(self, earned: Earned) -> tuple[Tensor, Tensor, Tensor]:
        """The loss, the baseline's error in it; the entropy, and that error alone, which are only told."""
        assert self.row.weights is not None
        weights = risk = None
        if self.row.candidates:
            risk = Risk(self.row.weights, earned, self.tokens, self.ends)
        else:
            weights = self.row.weights(earned).flatten()[self.tokens] * self.there
        entropy, near = self.objective.entropy / self.count, self.objective.near / self.count
        chosen = Chosen(self.ids, weights, self.there, self.banned, entropy, near, self.near, risk)
        whole, uncertainty = self.said.cost(self.at, chosen)
        if self.foreseen is None:
            return whole, uncertainty, whole.new_zeros(())
        error = ((self.foreseen - earned.returns) ** 2 * self.mask).sum()
        return whole + error / self.count, uncertainty, error.detach()


def roll_out(
    session: Session, batch: Batch, memory: Memory, start: np.ndarray, row: Objective, coins: np.random.Generator
) -> Samples:
    """The samples of each sentence, and behind them the likeliest answer where it is needed."""
    objective, limits = session.config.train.objective, session.translator.limits
    each = objective.samples + row.greedy
    greedy = np.zeros((len(start), each), dtype=bool)
    greedy[:, objective.samples :] = True
    pick = Drawing(coins.integers(2**64, size=greedy.size, dtype="uint64"), greedy.reshape(-1))
    lengths = batch.target_mask.sum(axis=1)
    limit = np.minimum(limits.of(batch.source_mask), np.floor(objective.longest * lengths).astype(np.int64) + MORE)
    special = session.special
    feedback = RLTrainingFeedBack(batch.target, special, start, limit, pick=pick, samples=each)
    return dynamic_decode(session.model.decoder, memory, feedback)


def task_of(session: Session, batch: Batch, drawn: Samples, with_target: bool) -> Task:
    """The answers, sentence by sentence, as whoever counts rewards wants them."""
    vocab, end = session.translator.target_vocab, session.translator.target_vocab.special.eos
    further = session.critic and session.critic.references
    task = Task([], [], [], [], [])
    for sentence, (source, source_mask, target, mask) in enumerate(zip(*batch, strict=True)):
        own = target[mask].tolist()
        references = further.of(source[source_mask], own) if further else [own]
        rows, finished = drawn.rows(sentence), drawn.finished[sentence].tolist()
        if with_target:
            rows, finished = [*rows, own], [*finished, True]
        wanted = [vocab.decode(reference) for reference in references]
        bare = [reference[:-1] for reference in references]
        for ids, done in zip(rows, finished, strict=True):
            task.ids.append(ids[:-1] if ids[-1] == end else ids)
            task.references.append(bare)
            task.finished.append(done)
            task.texts.append(vocab.decode(ids))
            task.wanted.append(wanted)
    return task


def returns_of_all(rewards: Tensor) -> Tensor:  # (..., T) -> (..., T)
    """The sum of each reward and all later ones."""
    return rewards.flip(-1).cumsum(dim=-1).flip(-1)


def first_of_their_kind(ids: np.ndarray) -> np.ndarray:  # (B, n, T) -> (B, n)
    """False where an earlier row of the sentence is the same."""
    return first_same(ids) == np.arange(ids.shape[1])


def told_of(batch: Batch, drawn: Samples, earned: Earned, samples: int, sums: dict[str, Any]) -> Tensor:
    """The sums that the log tells the means of: TOLD."""
    ids, real = drawn.ids[:, :samples], drawn.real[:, :samples]
    tokens = int(batch.target_mask.sum())
    facts = {
        "untaught": tokens - sums["taught"],
        "samples": ids.shape[0] * samples,
        "reward": earned.totals[:, :samples].sum(),
        "different": int(first_of_their_kind(ids).sum()),
        "own": earned.own.sum(),
        "entropy": sums["entropy"],
        "error": sums["error"],
        "said": int(real.sum()),
        "wanted": tokens * samples,
    }
    parts = [torch.as_tensor(facts[name], dtype=torch.float64, device=earned.own.device) for name in TOLD]
    return torch.stack(parts)
