"""Who speaks next: after each output of the decoder a feedback says which tokens it reads now, and for which rows.

Teaching and sampling stand here, beam search in `beam`. A feedback is made for one batch and asked by `dynamic_decode`;
it sees Output and an Arrays, so it knows neither the model nor the array library. All its book-keeping is NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from sequencing_np.arrays import Arrays
from sequencing_np.errors import SearchError
from sequencing_np.limits import Limits
from sequencing_np.picking import Pick, argmax, banned_ids, banned_rows
from sequencing_np.rules import Rules, check_rules
from sequencing_np.special import Special
from sequencing_np.state import Array, Beams, Memory, Output

Result = TypeVar("Result", covariant=True)


class Turn(NamedTuple):
    """What a feedback answers."""

    tokens: Array | None  # (R, T)  what the decoder reads next; None: nothing left to say
    rows: Array | None = None  # (R,)  the rows of the cache that go on; None: all, as they are
    sentences: Array | None = None  # (B,)  the rows of the memory that go on; None: all, as they are
    beams: Beams | tuple[()] = ()  # whose the rows are; (): each sentence has R / B of them


class FeedBack(Protocol[Result]):
    """The interface of every feedback."""

    def start(self, arrays: Arrays, memory: Memory) -> Turn: ...
    def next(self, output: Output) -> Turn: ...
    def result(self) -> Result: ...


class Hypothesis(NamedTuple):
    """One answer of a search."""

    tokens: list[int]  # without the end symbol
    score: float  # what hypotheses are ranked by: the log-probability over its length penalty
    log_prob: float  # natural logarithm; the end symbol's included when it was reached
    token_log_probs: list[float]  # its summands
    alignment: np.ndarray | None  # (T, S) attention of each token, the end symbol's last; None unless asked for
    finished: bool  # False: cut at the length limit


class Deciding(FeedBack[list[list[Hypothesis]]], Protocol):
    """A search that tells of each sentence the tokens with which every answer that can still be its best begins."""

    def decided(self) -> list[list[int]]: ...


class TrainingFeedBack:
    """Teaches: the decoder reads the target, or now and then its own words instead (scheduled sampling).

    With `teacher_rate` 1 the decoder reads the whole target in one parallel step. Below 1 it goes word by word, and
    each next word is the target's with probability `teacher_rate`, else the decoder's own, chosen by `pick` (Bengio
    et al. 2015). The number of steps is always the target's length, so losses fit at any rate. There may be several
    targets a sentence: `sentences` says whose each of them is. The result is the Output of all steps, (R, T, ...).
    """

    def __init__(
        self,
        target: np.ndarray,  # (R, T) ids that end with EOS, without BOS
        special: Special,
        teacher_rate: float = 1.0,
        *,
        pick: Pick = argmax,
        per_sentence: bool = False,
        generator: np.random.Generator | None = None,
        sentences: np.ndarray | None = None,  # (R,); None: there is one row a sentence
    ) -> None:
        if not 0 <= teacher_rate <= 1:
            raise SearchError(f"teacher_rate {teacher_rate}: must be from 0 (own words) to 1 (the target's)")
        if teacher_rate < 1 and generator is None:
            raise SearchError("scheduled sampling draws: give TrainingFeedBack a generator")
        self.target, self.special, self.teacher_rate, self.pick = target, special, teacher_rate, pick
        self.per_sentence, self.generator, self.sentences = per_sentence, generator, sentences
        self.outputs: list[Output] = []

    def start(self, arrays: Arrays, memory: Memory) -> Turn:
        self.arrays, self.outputs = arrays, []
        begin = np.full((len(self.target), 1), self.special.bos, dtype=np.int64)
        rows = None if self.sentences is None else arrays.native(self.sentences)
        if self.generator is None or self.teacher_rate == 1:
            self.taught = np.ones(0, dtype=bool)
            return Turn(arrays.native(np.concatenate([begin, self.target[:, :-1]], axis=1)), rows, rows)
        self.taught = self.coins()
        return Turn(arrays.native(begin), rows, rows)

    def coins(self) -> np.ndarray:  # -> (R, T)
        """Which of the target's words are read; thrown anew at each call."""
        assert self.generator is not None
        shape = (len(self.target), 1 if self.per_sentence else self.target.shape[1])
        return np.broadcast_to(self.generator.random(shape) < self.teacher_rate, self.target.shape)

    def next(self, output: Output) -> Turn:
        self.outputs.append(output)
        step = len(self.outputs)
        if not self.taught.size or step == self.target.shape[1]:
            return Turn(None)
        gold = self.target[:, step - 1]
        own = self.pick(self.arrays, output.logits[:, -1], banned_ids(self.special, False), np.arange(len(gold))).ids
        return Turn(self.arrays.native(np.where(self.taught[:, step - 1], gold, own)[:, None]))

    def result(self) -> Output:
        join = self.arrays.join
        return Output(*(join([getattr(output, name) for output in self.outputs]) for name in Output._fields))


class Said(NamedTuple):
    """What one step of a search without beams added; R sentences were still in the batch."""

    sentences: np.ndarray  # (R,)
    ids: np.ndarray  # (R,)
    log_probs: np.ndarray  # (R,)
    alignment: np.ndarray | None  # (R, S)


class SampleFeedBack:
    """Searches one answer a sentence: greedy (`argmax`), or drawn by a `Sampler`; finished sentences leave the batch.

    `prefix` forces the first words of each sentence (they may differ in number); they are scored like the others.
    The result holds a list of one Hypothesis for each sentence, an empty one where the model answered NaN or nothing
    that keeps the `rules` could be said.
    """

    def __init__(
        self,
        special: Special,
        limits: Limits = Limits(),
        *,
        pick: Pick = argmax,
        prefix: Sequence[Sequence[int]] | None = None,
        rules: Sequence[Rules] | None = None,
        alignments: bool = False,
        no_unknown: bool = False,
    ) -> None:
        self.special, self.limits, self.pick, self.alignments = special, limits, pick, alignments
        self.prefix, self.rules, self.no_unknown = prefix, list(rules or ()), no_unknown

    def start(self, arrays: Arrays, memory: Memory) -> Turn:
        self.arrays = arrays
        mask = arrays.host(memory.mask)
        forced = self.prefix if self.prefix is not None else [[]] * len(mask)
        if len(forced) != len(mask):
            raise SearchError(f"{len(forced)} prefixes for {len(mask)} sentences; give each one (it may be empty)")
        self.forced = np.full((len(mask), max(map(len, forced), default=0)), -1)  # (B, P), -1: free
        for row, words in enumerate(forced):
            self.forced[row, : len(words)] = words
        self.limit = np.maximum(self.limits.of(mask), (self.forced >= 0).sum(axis=1) + 1)
        self.least = self.limits.least_of(mask)
        self.late = self.least.max(initial=0)  # from this step on all may end
        if self.rules:
            check_rules(self.rules, len(mask))
            self.limit = np.maximum(self.limit, [rules.least + 1 for rules in self.rules])
        self.states = [rules.start() for rules in self.rules]  # (B) a sentence each
        self.said: list[Said] = []
        self.live = np.arange(len(mask))
        return Turn(arrays.native(np.full((len(mask), 1), self.special.bos, dtype=np.int64)))

    def next(self, output: Output) -> Turn:
        logits, step = output.logits[:, -1], len(self.said)
        ids, log_probs = self.pick(self.arrays, logits, self.banned(logits.shape[1]), self.live)
        if step < self.forced.shape[1]:
            forced = self.forced[self.live, step]
            ids = np.where(forced >= 0, forced, ids)
            log_probs = self.arrays.log_prob(logits[:, None], ids[:, None])[:, 0]
        weights = self.arrays.host(output.alignment)[:, -1] if self.alignments else None
        self.said.append(Said(self.live, ids, log_probs, weights))
        for sentence, token in zip(self.live, ids.tolist(), strict=True) if self.rules else ():
            self.states[sentence] = self.rules[sentence].next(self.states[sentence], token)
        go_on = (ids != self.special.eos) & (step + 1 < self.limit[self.live]) & np.isfinite(log_probs)
        keep = np.flatnonzero(go_on)
        if not len(keep):
            return Turn(None)
        rows = None if len(keep) == len(self.live) else self.arrays.native(keep)
        self.live = self.live[keep]
        return Turn(self.arrays.native(ids[keep, None]), rows, rows)

    def banned(self, size: int) -> np.ndarray:  # -> (N,) ids, or (R, V) bool
        """What may not come next."""
        if not self.rules and len(self.said) >= self.late:
            return banned_ids(self.special, False, self.no_unknown)
        early = len(self.said) < self.least[self.live]
        if not self.rules and early.all():
            return banned_ids(self.special, True, self.no_unknown)
        banned = banned_rows(self.special, size, early, self.no_unknown)
        for row, sentence in enumerate(self.live) if self.rules else ():
            self.rules[sentence].forbid(self.states[sentence], banned[row])
        return banned

    def decided(self) -> list[list[int]]:
        """The tokens of each sentence so far, without the end symbol: nothing is taken back."""
        words: list[list[int]] = [[] for _ in self.limit]
        for said in self.said:
            for sentence, token in zip(said.sentences.tolist(), said.ids.tolist(), strict=True):
                words[sentence] += [token] * (token != self.special.eos)
        return words

    def result(self) -> list[list[Hypothesis]]:
        found: list[list[Hypothesis]] = []
        steps = np.concatenate([said.sentences for said in self.said])
        order = np.argsort(steps, kind="stable")
        ids = np.concatenate([said.ids for said in self.said])[order]
        log_probs = np.concatenate([said.log_probs for said in self.said])[order]
        weights = [said.alignment for said in self.said if said.alignment is not None]
        alignment = np.concatenate(weights)[order] if weights else None
        bounds = np.concatenate([[0], np.cumsum(np.bincount(steps, minlength=len(self.limit)))])
        for begin, end in pairwise(bounds):
            words, own = ids[begin:end].tolist(), log_probs[begin:end].tolist()
            total = float(sum(own))
            ended = words[-1] == self.special.eos
            paid = alignment[begin:end] if alignment is not None else None
            best = Hypothesis(words[:-1] if ended else words, total / len(words), total, own, paid, ended)
            found.append([best] if np.isfinite(total) and self.keeps_rules(len(found), ended) else [])
        return found

    def keeps_rules(self, sentence: int, ended: bool) -> bool:
        """Whether an answer that was cut at its limit keeps the rules; one that ended does."""
        return ended or not self.rules or self.rules[sentence].done(self.states[sentence])
