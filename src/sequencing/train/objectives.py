"""What a batch costs where a model learns from its own answers: they are drawn, valued, and read again with a gradient.

The encoder reads once. All samples are drawn in one batch, without a gradient and without dropout; then one pass over
them, as many words at once as the decoder can, says how likely each word was, and how that changes. What is like chance
in it is drawn from the generator of the step, so a step can be computed again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sequencing.distillation import Taught
from sequencing.head import Unspoken
from sequencing.layers import short
from sequencing.loss import OfFeatures, OfLogits, Wanted
from sequencing.policy import OBJECTIVES, Chosen, Earned, Objective, log_probs
from sequencing.rewards import Task, dense
from sequencing.train.losses import Losses, losses_of
from sequencing.train.session import Session
from sequencing.train.settings import PRECISIONS
from sequencing.train.tally import TOLD
from sequencing.train_config import ObjectiveConfig
from sequencing_np.batch import Batch
from sequencing_np.decode import dynamic_decode
from sequencing_np.feedback import TrainingFeedBack, banned_ids
from sequencing_np.mixer import Drawing, RLTrainingFeedBack, Samples, own_tokens
from sequencing_np.special import Special
from sequencing_np.state import Memory

ALL = 1 << 40  # tokens: the whole of any target
MORE = 10  # tokens that an answer to a short target may be longer than it


def step_losses(session: Session, batch: Batch, coins: np.random.Generator) -> Losses:
    """What a batch costs by the run's objective: what teaching costs, as long as all of its targets is taught."""
    objective = session.config.train.objective
    last = own_tokens(session.step, objective.burn_in, objective.increment) if objective.increment else ALL
    if OBJECTIVES[objective.type].weights is None or not last:
        return losses_of(session, batch, coins)
    return sampled_losses(session, batch, coins, last)


class Read(NamedTuple):
    """Rows that are read with a gradient: m of each sentence, the samples first, then its target where it is needed."""

    ids: np.ndarray  # (B, m, T)
    real: np.ndarray  # (B, m, T)
    own: np.ndarray  # (B, m, T)  what is the model's own, or stands in its place in the target


def sampled_losses(session: Session, batch: Batch, coins: np.random.Generator, last: int) -> Losses:
    """The losses of a batch whose last tokens, so many of each sentence, are the model's own."""
    settings, model, critic = session.config.train, session.model, session.critic
    assert critic is not None
    objective, low, device = settings.objective, PRECISIONS[settings.precision], model.arrays.device
    row, native = OBJECTIVES[objective.type], model.arrays.native
    model.train(objective.dropout)
    with torch.autocast(device.type, low, enabled=low is not None):
        memory = model.encode(batch.source, batch.source_mask)
    start = np.maximum(batch.target_mask.sum(axis=1) - last, 0)
    model.decoder.eval()
    with torch.no_grad(), torch.autocast(device.type, low, enabled=low is not None):  # a cache of weights of its own
        drawn = roll_out(session, batch, memory, start, row, coins)
    model.train(objective.dropout)
    waiting = critic.rewarder.ask(task_of(session, batch, drawn, row.candidates and objective.with_target))
    special = session.translator.target_vocab.special
    read = to_read(batch, drawn, start, objective, row, special.pad)
    count = objective.samples + (row.candidates and objective.with_target)
    with torch.autocast(device.type, low, enabled=low is not None):
        said = Said(model.decoder, memory, read, special)
        own = read.own[:, :count]
        places = np.flatnonzero(spread(own, read))
        at, ids = said.at(places), native(read.ids.reshape(-1)[places])
        near = taught_by(critic.start.model, batch, read, special, places) if critic.start else None
        rewards = torch.from_numpy(dense(waiting(), (len(own), -1, read.ids.shape[2]))).to(device, torch.float32)
        banned = native(banned_ids(special, False))
        mask = torch.from_numpy(own).to(device, torch.float32)
        earned = Earned(returns_of_all(rewards[:, :count]) * mask, rewards[:, :count].sum(dim=2), mask)
        earned = earned._replace(sharpness=objective.sharpness)
        if row.greedy:
            earned = earned._replace(greedy=rewards[:, -1].sum(dim=1))
        if row.candidates:
            likely = said.log_probs(at, ids, banned)
            each = torch.zeros_like(mask, dtype=likely.dtype).masked_scatter(mask > 0, likely)
            fresh = torch.from_numpy(first_of_their_kind(read.ids[:, :count])).to(device)
            earned = earned._replace(log_probs=each.sum(dim=2), fresh=fresh)
        foreseen = said.foreseen(critic.baseline, at, mask) if critic.baseline else None
        if foreseen is not None:
            earned = earned._replace(foreseen=foreseen.detach())
        assert row.weights is not None
        weights = row.weights(earned).flatten()[native(np.flatnonzero(own))]
        share = 1 / count
        chosen = Chosen(ids, weights, banned, objective.entropy * share, objective.near * share, near)
        whole, entropy = said.cost(at, chosen)
        error = rewards.new_zeros(())
        if foreseen is not None:
            error = ((foreseen - earned.returns) ** 2 * mask).sum()
            whole = whole + error / count
        taught, tokens = rewards.new_zeros(()), 0
        for weight, places in taught_places(read, start, objective):
            if len(places):
                wanted = Wanted(native(read.ids.reshape(-1)[places]), settings.label_smoothing)
                cost, cross_entropy = said.cost(said.at(places), wanted)
                whole, taught, tokens = whole + weight * cost, taught + cross_entropy, tokens + len(places)
    told = told_of(batch, drawn, earned, objective.samples, {"taught": tokens, "entropy": entropy, "error": error})
    return Losses(whole, taught, told)


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
    special = session.translator.target_vocab.special
    feedback = RLTrainingFeedBack(batch.target, special, start, limit, pick=pick, samples=each)
    return dynamic_decode(session.model.decoder, memory, feedback)


def task_of(session: Session, batch: Batch, drawn: Samples, with_target: bool) -> Task:
    """The answers, sentence by sentence, as whoever counts rewards wants them."""
    vocab, end = session.translator.target_vocab, session.translator.target_vocab.special.eos
    task = Task([], [], [], [], [])
    for sentence, (target, mask) in enumerate(zip(batch.target, batch.target_mask, strict=True)):
        reference = target[mask].tolist()
        rows, finished = drawn.rows(sentence), drawn.finished[sentence].tolist()
        if with_target:
            rows, finished = [*rows, reference], [*finished, True]
        wanted = vocab.decode(reference)
        for ids, done in zip(rows, finished, strict=True):
            task.ids.append(ids[:-1] if ids[-1] == end else ids)
            task.references.append(reference[:-1])
            task.finished.append(done)
            task.texts.append(vocab.decode(ids))
            task.wanted.append(wanted)
    return task


def to_read(
    batch: Batch, drawn: Samples, start: np.ndarray, objective: ObjectiveConfig, row: Objective, pad: int
) -> Read:
    """The samples, and the target where it is a candidate or taught beside them."""
    samples = (drawn.ids, drawn.real, drawn.own)
    parts = [tuple(part[:, : objective.samples] for part in samples)]
    if (row.candidates and objective.with_target) or objective.cross_entropy:
        own = batch.target_mask & (np.arange(batch.target.shape[1]) >= start[:, None])
        parts.append(tuple(part[:, None] for part in (batch.target, batch.target_mask, own)))
    width = max(part[0].shape[2] for part in parts)
    read = Read(*(np.concatenate([wide(x, width) for x in each], axis=1) for each in zip(*parts, strict=True)))
    return read._replace(ids=np.where(read.real, read.ids, pad))


def wide(x: np.ndarray, width: int) -> np.ndarray:  # (B, n, T) -> (B, n, width)
    """Zeros, or false, behind the end."""
    return np.pad(x, ((0, 0), (0, 0), (0, width - x.shape[2])))


def spread(own: np.ndarray, read: Read) -> np.ndarray:  # (B, n, T) -> (B, m, T)
    """The same places among all rows that are read."""
    found = np.zeros_like(read.own)
    found[:, : own.shape[1]] = own
    return found


def taught_places(read: Read, start: np.ndarray, objective: ObjectiveConfig) -> list[tuple[float, np.ndarray]]:
    """Weights of cross entropy, and where it is taken: before words of one's own (once), and all over the target."""
    before, whole = np.zeros_like(read.real), np.zeros_like(read.real)
    before[:, 0] = np.arange(read.ids.shape[2]) < start[:, None]
    whole[:, -1] = read.real[:, -1]
    places = [(1.0, np.flatnonzero(before))]
    return [*places, (objective.cross_entropy, np.flatnonzero(whole))] if objective.cross_entropy else places


SHORT = (0.6, 0.9)  # shares of the rows, the shortest first, that are read together: so little of it is padding
FEW = 64  # rows that are read at once


class Said:
    """What the decoder makes of all rows before its last matrix; with copying, its logits."""

    def __init__(self, decoder: Any, memory: Memory, read: Read, special: Special) -> None:
        self.decoder, self.late = decoder, not decoder.copy
        rows, width = read.ids.shape[0] * read.ids.shape[1], read.ids.shape[2]
        ids, lengths = read.ids.reshape(rows, width), read.real.reshape(rows, width).sum(axis=1)
        sentences = np.repeat(np.arange(len(read.ids)), read.ids.shape[1])
        cuts = [round(rows * share) for share in SHORT] if rows > FEW else []
        self.index = np.zeros((rows, width), dtype=np.int64)  # of each word among the features
        features, heard, count = [], [], 0
        for part in np.split(np.argsort(lengths, kind="stable"), cuts):
            longest = int(lengths[part].max())
            feedback = TrainingFeedBack(ids[part, :longest], special, sentences=sentences[part])
            output = dynamic_decode(Unspoken(decoder) if self.late else decoder, memory, feedback)
            self.index[part, :longest] = count + np.arange(len(part) * longest).reshape(len(part), longest)
            count += len(part) * longest
            features.append(output.logits.flatten(0, 1))
            heard.append(features[-1] if self.late else decoder.head.before(output.hidden).flatten(0, 1))
        self.features, self.heard = torch.cat(features), torch.cat(heard).detach()  # (N, F)

    def at(self, places: np.ndarray) -> Tensor:
        """Where the words at some places of the rows stand among the features."""
        found: Tensor = self.decoder.arrays.native(self.index.reshape(-1)[places])
        return found

    def cost(self, places: Tensor, wanted: Any) -> tuple[Tensor, Tensor]:
        """What `wanted` makes of the places: two sums, the first with its gradient."""
        if not len(places):  # the model says NaN: so does its loss
            nothing = self.features.sum() * torch.nan
            return nothing, nothing.detach()
        features, last = self.features[places][None], self.decoder.head.output
        judged = (
            OfFeatures.apply(features, last.weight, last.bias, wanted)
            if self.late
            else OfLogits.apply(features, wanted)
        )
        return judged[0], judged[1]

    def foreseen(self, baseline: Any, places: Tensor, own: Tensor) -> Tensor:  # (N,), (B, n, T) -> (B, n, T)
        """What the baseline expects to be earned, at the places where `own` is 1."""
        with torch.autocast(self.features.device.type, enabled=False):
            found: Tensor = baseline(self.heard[places])
        return torch.zeros_like(own, dtype=found.dtype).masked_scatter(own > 0, found)

    def log_probs(self, places: Tensor, ids: Tensor, banned: Tensor) -> Tensor:  # (N,), (N,) -> (N,)
        """How likely the ids were; without a gradient."""
        last = self.decoder.head.output if self.late else None
        return log_probs(self.features.detach()[places], last, ids, banned)


@torch.no_grad()
def taught_by(model: Any, batch: Batch, read: Read, special: Special, places: np.ndarray) -> Taught:
    """What another model says at some places of the same rows."""
    said = Said(model.decoder, model.encode(batch.source, batch.source_mask), read, special)
    features, last = said.features[said.at(places)], model.decoder.head.output
    if not said.late:
        return Taught(features, None, None, 1.0, 1.0)
    return Taught(short(features), short(last.weight), short(last.bias), 1.0, 1.0)


def returns_of_all(rewards: Tensor) -> Tensor:  # (..., T) -> (..., T)
    """The sum of each reward and all later ones."""
    return rewards.flip(-1).cumsum(dim=-1).flip(-1)


def first_of_their_kind(ids: np.ndarray) -> np.ndarray:  # (B, n, T) -> (B, n)
    """False where an earlier row of the sentence is the same."""
    same = (ids[:, :, None] == ids[:, None]).all(axis=3)  # (B, n, n)
    return ~np.tril(same, -1).any(axis=2)


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
        "error": sums["error"].detach(),
        "said": int(real.sum()),
        "wanted": tokens * samples,
    }
    parts = [torch.as_tensor(facts[name], dtype=torch.float64, device=earned.own.device) for name in TOLD]
    return torch.stack(parts)
