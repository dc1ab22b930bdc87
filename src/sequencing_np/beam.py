"""Beam search: the feedback that keeps several hypotheses of each sentence.

The candidates of a step are ranked on the host, from the `size` best continuations of every row; a finished
hypothesis gives its place up, so a beam of one is greedy search and a beam as large as the language is exhaustive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sequencing_np.arrays import Arrays, along
from sequencing_np.beam_rows import BeamRows
from sequencing_np.errors import SearchError
from sequencing_np.feedback import Hypothesis, Turn
from sequencing_np.limits import Limits
from sequencing_np.picking import banned_ids, banned_rows
from sequencing_np.ranking import Ranking
from sequencing_np.rules import Rules, check_rules
from sequencing_np.special import Special
from sequencing_np.state import Memory, Output


class Step(NamedTuple):
    """What one step chose; R is its number of rows."""

    tokens: np.ndarray  # (R,)
    parents: np.ndarray  # (R,) rows of the step before
    log_probs: np.ndarray  # (R,) of the token alone
    alignment: np.ndarray | None  # (R of the step before, S) attention that the parents paid


class Candidates(NamedTuple):
    """What may come next, for each of A sentences; C a sentence."""

    totals: np.ndarray  # (A, C) log-probability of the whole hypothesis; -inf: none
    ids: np.ndarray  # (A, C)
    beams: np.ndarray  # (A, C) which of the sentence's hypotheses it continues
    log_probs: np.ndarray  # (A, C) of the token alone

    def taken(self, order: np.ndarray) -> Candidates:  # (A, K)
        return Candidates(*(along(part, order) for part in self))


class BeamFeedBack:
    """Keeps the `size` likeliest hypotheses of every sentence; sentences that are done leave the batch.

    Hypotheses of one step have one length, so they are compared by their log-probability (and by what they covered);
    finished ones are ranked as `ranking` says. A sentence ends when no place is left, at its length limit, or as soon
    as `n_best` are finished and the best score that any open hypothesis could still reach does not beat them.
    `patience` times `size` hypotheses are finished before no place is left (Kasai et al. 2022).

    With `rules`, one for each sentence, only what keeps them is said and only what fulfils them is an answer. The
    tokens that must be said are candidates however unlikely they are, and the places are dealt out in turn to those
    that have said more and less of them (Post and Vilar 2018, section 3.2).

    Equal scores: lower token id first, then the better beam. The result is a list of at most `n_best` hypotheses, best
    first, for each sentence; it is empty where the model answered NaN, or nothing that keeps the rules was found.
    """

    def __init__(
        self,
        special: Special,
        size: int = 5,
        limits: Limits = Limits(),
        *,
        ranking: Ranking = Ranking(),
        n_best: int = 1,
        patience: float = 1.0,
        rules: Sequence[Rules] | None = None,
        alignments: bool = False,
        no_unknown: bool = False,
    ) -> None:
        if size < 1 or not 1 <= n_best <= size:
            raise SearchError(f"beam size {size}, n_best {n_best}: size is 1 (greedy) or more, n_best 1 to size")
        if not 0 < patience <= 1000:
            raise SearchError(f"patience {patience}: must be above 0 and at most 1000; 1 is usual")
        self.special, self.size, self.limits, self.n_best = special, size, limits, n_best
        self.ranking, self.patience, self.rules, self.alignments = ranking, patience, list(rules or ()), alignments
        self.no_unknown = no_unknown
        self.steered = any(rules.steers for rules in self.rules)

    def start(self, arrays: Arrays, memory: Memory) -> Turn:
        self.arrays = arrays
        self.mask = arrays.host(memory.mask)
        self.begin()
        return Turn(arrays.native(np.full((len(self.mask), 1), self.special.bos, dtype=np.int64)))

    def begin(self) -> None:
        """The state before the first step, of all rows of `mask`."""
        count = len(self.mask)
        self.limit, self.least = self.limits.of(self.mask), self.limits.least_of(self.mask)
        self.late = self.least.max(initial=0)  # from this step on all may end
        if self.rules:
            check_rules(self.rules, count)
            self.limit = np.maximum(self.limit, [rules.least + 1 for rules in self.rules])
        self.states = [rules.start() for rules in self.rules]  # (R) a row each
        self.to_beat = np.full(count, -np.inf)  # (B,) score of the n-best'th finished hypothesis
        self.finished: list[list[Hypothesis]] = [[] for _ in range(count)]
        self.steps: list[Step] = []
        self.live = np.arange(count)  # (A,) sentences still in the batch
        self.scores = np.zeros((count, 1))  # (A, W) log-probability of each hypothesis; -inf: the place is empty
        self.rows = BeamRows(np.arange(count), count, 1)  # which of the A W have a row
        self.places = np.full(count, max(self.n_best, round(self.patience * self.size)))  # (A,) still wanted
        self.paid = np.zeros(self.mask.shape)  # (R, S) attention that the source had from each hypothesis

    def next(self, output: Output) -> Turn:
        step = len(self.steps)
        weights = self.arrays.host(output.alignment)[:, -1] if self.alignments or self.ranking.coverage else None
        if weights is not None and self.ranking.coverage:
            self.paid = self.paid + weights
        found, broken = self.candidates(output.logits[:, -1])
        chosen = found.taken(self.order(found))
        parents = self.rows.at(chosen.beams)
        wanted = self.room(chosen) & np.isfinite(chosen.totals) & ~broken[:, None]
        ends = wanted & (chosen.ids == self.special.eos)
        cut = wanted & ~ends & (step + 1 >= self.limit[self.live])[:, None]
        self.steps.append(Step(chosen.ids, parents, chosen.log_probs, weights if self.alignments else None))
        for place, rank in np.argwhere(ends | cut):
            if ends[place, rank] or self.may_end(place, parents[place, rank], int(chosen.ids[place, rank])):
                self.finish(place, rank, chosen.totals[place, rank], bool(ends[place, rank]))
        self.places -= (ends | cut).sum(axis=1)
        for place in np.flatnonzero(broken):  # nobody knows what would have been found: no answer
            self.finished[self.live[place]] = []
        return self.go_on(wanted & ~ends & ~cut, chosen.totals)

    def candidates(self, logits: Any) -> tuple[Candidates, np.ndarray]:  # (R, V) -> (A, C), (A,) bool
        """The best continuations of every row, and those that the rules want; which sentences the model broke."""
        banned = self.banned(logits.shape[1])
        best = self.arrays.best(logits, min(self.reach(), logits.shape[1]), banned)
        ids, log_probs = best.ids, best.log_probs
        if self.steered:
            more, theirs = self.wanted(logits, ids, banned)
            ids, log_probs = np.concatenate([ids, more], axis=1), np.concatenate([log_probs, theirs], axis=1)
        totals = self.row_scores() + log_probs
        nan = np.isnan(totals)
        return self.laid_out(np.where(nan, -np.inf, totals), ids, log_probs, nan)

    def laid_out(
        self, totals: np.ndarray, ids: np.ndarray, log_probs: np.ndarray, broken: np.ndarray
    ) -> tuple[Candidates, np.ndarray]:  # (R, k) x 4 -> (A, W k), (A,) bool
        """The continuations of every row as those of its sentence; which sentences the model broke."""
        sentences, width = self.scores.shape
        beams = np.repeat(np.arange(width), ids.shape[1])[None].repeat(sentences, axis=0)
        grid = self.rows.grid
        any_broken: np.ndarray = np.any(grid(broken, False), axis=1)
        return Candidates(grid(totals, -np.inf), grid(ids, 0), beams, grid(log_probs, -np.inf)), any_broken

    def row_scores(self) -> np.ndarray:  # -> (R, 1)
        """The log-probability of each row."""
        return self.scores.reshape(-1, 1)[self.rows.filled]

    def room(self, chosen: Candidates) -> np.ndarray:  # (A, K) -> (A, K) bool
        """For which of the chosen there still is a place."""
        return np.arange(chosen.ids.shape[1]) < self.places[:, None]

    def reach(self) -> int:
        """How many continuations of one row may be wanted."""
        return self.size

    def banned(self, size: int) -> np.ndarray:  # -> (N,) ids, or (R, V) bool
        """What may not come next."""
        if not self.rules and len(self.steps) >= self.late:
            return banned_ids(self.special, False, self.no_unknown)
        early = len(self.steps) < self.least[self.live]
        if not self.rules and early.all():
            return banned_ids(self.special, True, self.no_unknown)
        early = len(self.steps) < self.least[self.row_sentences()]
        banned = banned_rows(self.special, size, early, self.no_unknown)
        for rules, state, row in zip(self.row_rules(), self.states, banned, strict=True) if self.rules else ():
            rules.forbid(state, row)
        return banned

    def wanted(self, logits: Any, ids: np.ndarray, banned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        # (R, V), (R, k), (R, V) -> (R, m), (R, m)
        """What the rules want to be said next, as far as it is not among the best; -inf: nothing."""
        rows = [
            [token for token in rules.wanted(state) if token not in own]
            for rules, state, own in zip(self.row_rules(), self.states, ids.tolist(), strict=True)
        ]
        more = np.full((len(rows), max(map(len, rows), default=0)), -1)
        for row, tokens in enumerate(rows):
            more[row, : len(tokens)] = tokens
        log_probs = np.full(more.shape, -np.inf)
        for column in range(more.shape[1]):
            own = self.arrays.log_prob(logits[:, None], np.maximum(more[:, column : column + 1], 0))[:, 0]
            log_probs[:, column] = np.where(more[:, column] >= 0, own, -np.inf)
        log_probs[np.take_along_axis(banned, np.maximum(more, 0), axis=1)] = -np.inf
        return np.maximum(more, 0), log_probs

    def order(self, found: Candidates) -> np.ndarray:  # (A, C) -> (A, size)
        """Which candidates are kept, best first."""
        keys = self.keys(found)
        order = np.lexsort((found.beams, found.ids, -keys), axis=1)
        if self.steered:
            order = self.dealt(found.taken(order), order)
        return order[:, : self.size]

    def keys(self, found: Candidates) -> np.ndarray:  # (A, C) -> (A, C)
        """By what hypotheses of one length are compared."""
        if not self.ranking.coverage:
            return found.totals
        covered = self.rows.grid(self.covered()[:, None], 0)
        penalty = self.ranking.penalty(np.array(len(self.steps) + 1.0))
        return found.totals + penalty * np.take_along_axis(covered, found.beams, axis=1)

    def covered(self) -> np.ndarray:  # -> (R,)
        return self.ranking.cover(self.paid, self.mask[self.row_sentences()])

    def dealt(self, found: Candidates, order: np.ndarray) -> np.ndarray:  # (A, C), (A, C) -> (A, C)
        """The same order, dealt out in turn to those that have said most of what must be said, less, and nothing."""
        dealt, parents = [], self.rows.at(found.beams)
        for place, sentence in enumerate(self.live.tolist()):
            rules, seen = self.rules[sentence], dict[int, int]()
            turns = []
            for rank in range(order.shape[1]):
                if not np.isfinite(found.totals[place, rank]):
                    turns.append((order.shape[1], 0, rank))
                    continue
                state = self.states[parents[place, rank]]
                met = rules.met(rules.next(state, int(found.ids[place, rank])))
                seen[met] = seen.get(met, 0) + 1
                turns.append((seen[met], -met, rank))
            dealt.append([rank for _, _, rank in sorted(turns)])
        return np.take_along_axis(order, np.array(dealt), axis=1)

    def row_sentences(self) -> np.ndarray:  # -> (R,)
        return self.live[self.rows.sentences()]

    def row_rules(self) -> list[Rules]:  # -> (R)
        return [self.rules[sentence] for sentence in self.row_sentences().tolist()] if self.rules else []

    def may_end(self, place: int, parent: int, token: int) -> bool:
        """Whether a hypothesis that is cut at its limit keeps the rules."""
        rules = self.rules[self.live[place]] if self.rules else None
        return rules is None or rules.done(rules.next(self.states[parent], token))

    def finish(self, place: int, rank: int, log_prob: float, ended: bool) -> None:
        """Walk the parents back from a candidate of the last step and keep the hypothesis."""
        tokens, log_probs, weights = [], [], []
        last = self.steps[-1]
        token, parent, alone = last.tokens[place, rank], last.parents[place, rank], last.log_probs[place, rank]
        covered = self.covered()[parent] if self.ranking.coverage else np.array(0.0)
        for step in range(len(self.steps) - 1, -1, -1):
            tokens.append(int(token))
            log_probs.append(float(alone))
            alignment = self.steps[step].alignment
            if alignment is not None:
                weights.append(alignment[parent])
            if step:
                before = self.steps[step - 1]
                token, alone, parent = before.tokens[parent], before.log_probs[parent], before.parents[parent]
        length = np.array(float(len(tokens)))
        score = float(self.ranking.score(np.array(log_prob), length, covered))
        words = tokens[:0:-1] if ended else tokens[::-1]
        alignment = np.stack(weights[::-1]) if weights else None
        found = self.finished[self.live[place]]
        found.append(Hypothesis(words, score, float(log_prob), log_probs[::-1], alignment, ended))
        found.sort(key=lambda hypothesis: -hypothesis.score)
        if len(found) >= self.n_best:
            self.to_beat[self.live[place]] = found[self.n_best - 1].score

    def go_on(self, alive: np.ndarray, totals: np.ndarray) -> Turn:  # (A, C), (A, C) -> Turn
        """The next turn: candidates that are alive, of sentences that can still find something better."""
        length = float(len(self.steps))
        best = np.where(alive, totals, -np.inf).max(axis=1)
        bound = self.ranking.bound(best, length, self.limit[self.live].astype(np.float64))
        alive = alive & (bound > self.to_beat[self.live])[:, None]
        stay = np.flatnonzero(alive.any(axis=1))
        if not len(stay):
            return Turn(None)
        old = self.live
        alive, totals = alive[stay], totals[stay]
        width = int(alive.sum(axis=1).max())
        order = np.argsort(~alive, axis=1, kind="stable")[:, :width]  # the living first, best first
        totals, alive = along(totals, order), along(alive, order)
        self.scores, self.rows = np.where(alive, totals, -np.inf), BeamRows.of(alive)
        last = self.steps[-1]
        take = [along(part[stay], order) for part in (last.tokens, last.parents, last.log_probs)]
        tokens, parents, alone = (part.reshape(-1)[self.rows.filled] for part in take)
        self.steps[-1] = Step(tokens, parents, alone, last.alignment)
        all_stay = len(stay) == len(self.live)
        self.live, self.places = old[stay], self.places[stay]
        if self.ranking.coverage:
            self.paid = self.paid[parents]
        if self.rules:
            rows = zip(self.row_rules(), parents.tolist(), tokens.tolist(), strict=True)
            self.states = [rules.next(self.states[parent], token) for rules, parent, token in rows]
        native = self.arrays.native
        sentences = None if all_stay else native(stay)
        return Turn(native(tokens[:, None]), native(parents), sentences, self.rows.beams(self.arrays))

    def decided(self) -> list[list[int]]:
        """The tokens of each sentence with which every answer that can still be its best begins."""
        return [shared_beginning(each) for each in self.beginnings()]

    def beginnings(self) -> list[list[list[int]]]:
        """What is said of each sentence so far: the best finished hypothesis, and all open ones."""
        found = [[answers[0].tokens] if answers else [] for answers in self.finished]
        for row, sentence in enumerate(self.row_sentences().tolist()):
            tokens, at = [], row
            for step in reversed(self.steps):
                tokens.append(int(step.tokens[at]))
                at = int(step.parents[at])
            found[sentence].append(tokens[::-1])
        return found

    def result(self) -> list[list[Hypothesis]]:
        return [found[: self.n_best] for found in self.finished]


def shared_beginning(sequences: Sequence[list[int]]) -> list[int]:
    """What all sequences begin with."""
    first, last = min(sequences, default=[]), max(sequences, default=[])
    return first[: next((n for n, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))]
