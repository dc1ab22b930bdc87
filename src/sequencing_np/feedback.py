"""Who speaks next: after each output of the decoder a feedback says which tokens it reads now, and for which rows.

Teaching and sampling stand here, beam search in `beam`. A feedback is made for one batch and asked by `dynamic_decode`;
it sees Output and an Arrays, so it knows neither the model nor the array library. All its book-keeping is NumPy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol, TypeVar

import numpy as np

from sequencing_np.arrays import Arrays, Kept
from sequencing_np.errors import SearchError
from sequencing_np.limits import Limits
from sequencing_np.rules import Rules, check_rules
from sequencing_np.special import Special
from sequencing_np.state import Array, Memory, Output

Result = TypeVar("Result", covariant=True)


class Turn(NamedTuple):
    """What a feedback answers."""

    tokens: Array | None  # (R, T)  what the decoder reads next; None: nothing left to say
    rows: Array | None = None  # (R,)  the rows of the cache that go on; None: all, as they are
    sentences: Array | None = None  # (B,)  the rows of the memory that go on; None: all, as they are


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


class Choice(NamedTuple):
    """One id a row and its log-probability, on the host. NaN logits give a NaN log-probability."""

    ids: np.ndarray  # (R,) int64
    log_probs: np.ndarray  # (R,) float64


Pick = Callable[[Arrays, Array, np.ndarray, np.ndarray], Choice]
"""Chooses one id a row from (R, V) logits, never a banned one; (R,) says which sentence a row belongs to."""


def argmax(arrays: Arrays, logits: Array, banned: np.ndarray, sentences: np.ndarray) -> Choice:
    # (R, V), (N,), (R,) -> (R,), (R,)
    """The most probable id of each row; of equal ones the lowest."""
    best = arrays.best(logits, 1, banned)
    return Choice(best.ids[:, 0], best.log_probs[:, 0])


def sentence_keys(seed: int, first: int, count: int) -> np.ndarray:  # -> (count,) uint64
    """A key for each sentence of a text, from the seed and the sentence's place in the text alone."""
    places = np.arange(first, first + count, dtype=np.uint64)
    return mix(mix(places + np.uint64(1)) + mix(np.full(1, seed, dtype=np.uint64)))


def mix(x: np.ndarray) -> np.ndarray:  # (...) uint64 -> (...) uint64
    """The output function of SplitMix64 (Steele et al. 2014): every bit depends on every bit."""
    x = x * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class Sampler:
    """A pick that draws: softmax(logits / temperature), of the ids that `top_k`, `top_p`, `min_p` and `epsilon` keep.

    What a sentence draws at a step is a function of its key and the step: neither its batch mates nor the floor
    change it. What they keep: `Kept`.
    """

    def __init__(
        self,
        keys: np.ndarray,  # (B,) uint64
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        epsilon: float = 0.0,
    ) -> None:
        if not 0 < temperature < 1e6:
            raise SearchError(f"temperature {temperature}: must be above 0; for the likeliest word use greedy search")
        if top_k < 0 or not 0 < top_p <= 1:
            raise SearchError(f"top_k {top_k}, top_p {top_p}: top_k is 0 (all) or more, top_p above 0 and at most 1")
        if not (0 <= min_p <= 1 and 0 <= epsilon <= 1):
            raise SearchError(f"min_p {min_p}, epsilon {epsilon}: both are from 0 (all) to 1 (the likeliest alone)")
        self.keys, self.temperature, self.kept = keys, temperature, Kept(top_k, top_p, min_p, epsilon)
        self.steps = 0

    def __call__(self, arrays: Arrays, logits: Array, banned: np.ndarray, sentences: np.ndarray) -> Choice:
        # (R, V), (N,), (R,) -> (R,), (R,)
        self.steps += 1
        bits = mix(self.keys[sentences] + np.uint64(self.steps))
        uniform = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
        scaled = banned_to(arrays, logits / self.temperature, banned)
        ids = arrays.draw(scaled, uniform, self.kept)
        return Choice(ids, arrays.log_prob(logits[:, None], ids[:, None])[:, 0])


def banned_to(arrays: Arrays, logits: Array, banned: np.ndarray) -> Array:
    # (R, V), (N,) ids or (R, V) bool -> (R, V)
    """The same logits, in place, -inf wherever an id is banned."""
    if len(banned):
        logits[arrays.native(banned) if banned.ndim == 2 else (slice(None), banned)] = -np.inf
    return logits


def banned_ids(special: Special, before_end: bool, no_unknown: bool = False) -> np.ndarray:
    """Ids that no search may choose: PAD and BOS always, EOS while the answer is too short, UNK if it is not wanted."""
    ids = ({special.pad, special.bos} - {special.eos}) | ({special.eos} if before_end else set())
    ids |= {special.unk} if no_unknown else set()
    return np.array(sorted(ids), dtype=np.int64)


def banned_rows(special: Special, size: int, before_end: np.ndarray, no_unknown: bool = False) -> np.ndarray:
    # (R,) bool -> (R, V) bool
    """The same for each row of a batch, of a vocabulary of so many ids."""
    banned = np.zeros((len(before_end), size), dtype=bool)
    banned[:, banned_ids(special, False, no_unknown)] = True
    banned[before_end, special.eos] = True
    return banned


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
        early = len(self.said) < self.least[self.live]
        if not self.rules and (early.all() or not early.any()):
            return banned_ids(self.special, bool(early.all()), self.no_unknown)
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
