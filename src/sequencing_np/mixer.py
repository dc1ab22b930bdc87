"""Who speaks next while a model learns from rewards: first the target, then the model itself, several times over.

The curriculum is MIXER's (Ranzato et al. 2016, section 3.2.2): of each sentence the last k tokens are the model's own,
and k grows. What the samples are worth is not known here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from sequencing_np.arrays import Arrays
from sequencing_np.errors import SearchError
from sequencing_np.feedback import Turn
from sequencing_np.picking import Choice, Pick, argmax, banned_ids, mix
from sequencing_np.special import Special
from sequencing_np.state import Array, Memory, Output


def own_tokens(step: int, burn_in: int, increment: int) -> int:
    """k: how many tokens at the end of each sentence are the model's own after so many steps."""
    if increment < 1 or burn_in < 0:
        raise SearchError(f"burn_in {burn_in}, increment {increment}: burn_in is 0 or more, increment 1 or more")
    return max(step - burn_in, 0) // increment


FULL = 0.85  # of the rows: while so many are alive, the others are carried along, which is cheaper than to copy caches


class Drawing:
    """A pick that draws from the whole softmax, the rows `greedy` apart: they take the likeliest.

    Like a Sampler's, a draw is a function of the row's key and the step; it does not sort the ids, so it is fast.
    """

    def __init__(self, keys: np.ndarray, greedy: np.ndarray | None = None) -> None:  # (N,) uint64, (N,) bool
        self.keys, self.greedy = keys, np.zeros(len(keys), dtype=bool) if greedy is None else greedy
        self.steps = 0

    def __call__(self, arrays: Arrays, logits: Array, banned: np.ndarray, sentences: np.ndarray) -> Choice:
        # (R, V), (N,), (R,) -> (R,), (R,)
        self.steps += 1
        bits = mix(self.keys[sentences] + np.uint64(self.steps))
        uniform = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
        drawn = arrays.draw_any(logits, uniform, banned)
        ids, log_probs = drawn.ids[:, 0], drawn.log_probs[:, 0]
        likeliest = np.flatnonzero(self.greedy[sentences])
        if len(likeliest):
            best = argmax(arrays, logits[arrays.native(likeliest)], banned, sentences[likeliest])
            ids[likeliest], log_probs[likeliest] = best
        return Choice(ids, log_probs)


class Samples(NamedTuple):
    """n answers to each sentence; each row ends with EOS unless it was cut, then comes PAD."""

    ids: np.ndarray  # (B, n, T) int64
    real: np.ndarray  # (B, n, T) bool: no padding
    own: np.ndarray  # (B, n, T) bool: chosen by the model, not taught
    finished: np.ndarray  # (B, n) bool: false where it was cut at its limit, or the model answered NaN

    def rows(self, sentence: int) -> list[list[int]]:
        """The answers to one sentence, as lists of ids with their EOS."""
        return [ids[real].tolist() for ids, real in zip(self.ids[sentence], self.real[sentence], strict=True)]


class RLTrainingFeedBack:
    """Reads the first `start_step` tokens of each target as they are; what follows is chosen by `pick`, n times.

    Start steps may differ within a batch: where a target has no more tokens than that, it is taught to its end and
    its samples are the target. The tokens that all sentences are taught are read at once and by one row a sentence.
    The samples of a sentence share its memory; a sentence leaves the batch when all its samples are finished. `pick`
    gets the number (sentence x n + sample) of each row. The result is Samples.
    """

    def __init__(
        self,
        target: np.ndarray,  # (B, T) ids that end with EOS, without BOS
        special: Special,
        start_step: np.ndarray,  # (B,)
        limit: np.ndarray,  # (B,) tokens of a sample at most, taught ones and the end symbol included
        *,
        pick: Pick = argmax,
        samples: int = 1,
    ) -> None:
        if samples < 1:
            raise SearchError(f"samples {samples}: must be 1 or more")
        if not len(target) == len(start_step) == len(limit):
            raise SearchError(
                f"{len(target)} targets, {len(start_step)} start steps, {len(limit)} limits: one for each"
            )
        self.target, self.special, self.pick, self.samples = target, special, pick, samples
        lengths = (target == special.eos).argmax(axis=1) + 1
        self.taught = np.clip(start_step, 0, lengths)
        self.limit = np.maximum(limit, self.taught + 1)
        self.whole = self.taught == lengths  # nothing of it is the model's own

    def start(self, arrays: Arrays, memory: Memory) -> Turn:
        self.arrays, count = arrays, len(self.target)
        self.common = self.step = int(self.taught.min(initial=self.target.shape[1]))
        width = int(np.where(self.whole, self.taught, self.limit).max(initial=1))
        shape = (count, self.samples, width)
        self.ids = np.full(shape, self.special.pad, dtype=np.int64)
        taught = np.arange(self.target.shape[1]) < self.taught[:, None]
        longest = min(width, self.target.shape[1])
        self.ids[:, :, :longest] = np.where(taught, self.target, self.special.pad)[:, None, :longest]
        self.real = np.repeat((np.arange(width) < self.taught[:, None])[:, None], self.samples, axis=1)
        self.own = np.zeros(shape, dtype=bool)
        self.finished = np.repeat(self.whole[:, None], self.samples, axis=1)
        self.live = np.arange(count)  # (A,) sentences still in the batch
        self.places = np.zeros((count, 0), dtype=np.int64)  # (A, W) samples that the rows are, -1: none any more
        if self.whole.all():
            return Turn(None)
        begin = np.full((count, 1), self.special.bos, dtype=np.int64)
        return Turn(arrays.native(np.concatenate([begin, self.target[:, : self.common]], axis=1)))

    def next(self, output: Output) -> Turn:
        logits, step, first = output.logits[:, -1], self.step, not self.places.size
        rows = np.arange(len(logits))
        if first:  # each sentence's row becomes its samples
            rows = np.repeat(rows, self.samples)
            logits = logits[self.arrays.native(rows)]
            self.places = np.where(self.whole[:, None], -1, np.arange(self.samples))
        numbers = self.live[:, None] * self.samples + np.maximum(self.places, 0)  # (A, W)
        choice = self.pick(self.arrays, logits, banned_ids(self.special, False), numbers.reshape(-1))
        ids, broken = choice.ids.reshape(numbers.shape), np.isnan(choice.log_probs).reshape(numbers.shape)
        own = np.broadcast_to((step >= self.taught[self.live])[:, None], ids.shape)
        if step < self.target.shape[1]:
            ids = np.where(own, ids, self.target[self.live, step][:, None])
        there = self.places >= 0
        sentences, samples = np.broadcast_to(self.live[:, None], ids.shape)[there], self.places[there]
        self.ids[sentences, samples, step] = ids[there]
        self.real[sentences, samples, step] = True
        self.own[sentences, samples, step] = (own & ~broken)[there]
        self.finished[sentences, samples] = ((ids == self.special.eos) & ~broken)[there]
        self.step += 1
        alive = there & (ids != self.special.eos) & ~broken & (self.step < self.limit[self.live])[:, None]
        return self.go_on(alive, ids, rows.reshape(ids.shape), first)

    def go_on(self, alive: np.ndarray, ids: np.ndarray, rows: np.ndarray, first: bool) -> Turn:
        # (A, W), (A, W), (A, W) -> Turn
        """The next turn: samples that are alive come first in their sentence, and fill it up with dead ones."""
        if not first and alive.sum() >= FULL * alive.size:
            self.places = np.where(alive, self.places, -1)
            return Turn(self.arrays.native(ids.reshape(-1, 1)))
        stay = np.flatnonzero(alive.any(axis=1))
        if not len(stay):
            return Turn(None)
        alive = alive[stay]
        order = np.argsort(~alive, axis=1, kind="stable")[:, : int(alive.sum(axis=1).max())]
        ids, rows, places = (np.take_along_axis(x[stay], order, axis=1) for x in (ids, rows, self.places))
        self.places = np.where(np.take_along_axis(alive, order, axis=1), places, -1)
        all_stay = len(stay) == len(self.live)
        self.live = self.live[stay]
        native = self.arrays.native
        return Turn(native(ids.reshape(-1, 1)), native(rows.reshape(-1)), None if all_stay else native(stay))

    def result(self) -> Samples:
        used = int(self.real.any(axis=(0, 1)).sum())
        return Samples(self.ids[:, :, :used], self.real[:, :, :used], self.own[:, :, :used], self.finished)
