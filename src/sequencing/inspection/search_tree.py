"""A search as a tree: every hypothesis that was kept, who its parent was, what ended, what was dropped.

`Watched` is a feedback around another one: it sees the same outputs and the answers, asks nothing of how these come
about, and so shows any search of one sentence as it went.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from sequencing_np.arrays import Arrays
from sequencing_np.batch import pad
from sequencing_np.decode import dynamic_decode
from sequencing_np.errors import UsageError
from sequencing_np.feedback import Hypothesis, Turn
from sequencing_np.picking import banned_ids
from sequencing_np.search import SearchConfig
from sequencing_np.special import Special
from sequencing_np.state import Memory, Output
from sequencing_np.translate import Translator

KEPT, ENDED, CUT, DROPPED = "kept", "ended", "cut", "dropped"


class Node(NamedTuple):
    """One token of a hypothesis, and with its ancestors all of it."""

    parent: int  # its place among the nodes, before this one; -1: this is the beginning
    step: int  # how many tokens it has, 0 at the beginning
    token: int
    log_prob: float  # of the token alone
    total: float  # of the hypothesis
    fate: str  # KEPT, ENDED by the end symbol, CUT at the length limit, DROPPED for better ones
    score: float  # what ended and cut ones are ranked by, else NaN
    best: bool  # a part of the answer


class Tree(NamedTuple):
    """A search of one sentence."""

    nodes: list[Node]  # the beginning first, parents before their children
    answers: list[Hypothesis]  # all that ended or were cut, best first; none where the model said NaN

    def path(self, place: int) -> list[int]:
        """The tokens from the beginning to a node."""
        tokens: list[int] = []
        while self.nodes[place].parent >= 0:
            tokens.append(self.nodes[place].token)
            place = self.nodes[place].parent
        return tokens[::-1]


class Step(NamedTuple):
    """What one step kept (K hypotheses), and what it chose from (R rows, C candidates each)."""

    parents: np.ndarray  # (K,) rows of the step before
    tokens: np.ndarray  # (K,)
    log_probs: np.ndarray  # (K,)
    candidates: np.ndarray  # (R, C) ids, the likeliest of each row
    candidate_log_probs: np.ndarray  # (R, C)


class Watched:
    """Answers as the feedback inside, which searches for one sentence, and keeps the steps."""

    def __init__(self, feedback: Any, special: Special, size: int, no_unknown: bool = False) -> None:
        self.feedback, self.size = feedback, size
        self.banned = banned_ids(special, before_end=False, no_unknown=no_unknown)
        self.steps: list[Step] = []

    def start(self, arrays: Arrays, memory: Memory) -> Turn:
        if len(memory.mask) != 1:
            raise UsageError(f"a search of {len(memory.mask)} sentences: one at a time can be watched")
        self.arrays = arrays
        turn: Turn = self.feedback.start(arrays, memory)
        return turn

    def next(self, output: Output) -> Turn:
        logits, arrays = output.logits[:, -1], self.arrays
        best = arrays.best(logits, min(self.size, logits.shape[1]), self.banned)
        turn: Turn = self.feedback.next(output)
        tokens, parents = np.zeros(0, dtype=np.int64), np.arange(len(best.ids))
        if turn.tokens is not None:
            tokens = arrays.host(turn.tokens)[:, 0]
            parents = parents if turn.rows is None else arrays.host(turn.rows)
        parents = parents[: len(tokens)]
        log_probs = arrays.log_prob(logits[arrays.native(parents)][:, None], tokens[:, None])[:, 0]
        self.steps.append(Step(parents, tokens, log_probs, best.ids, best.log_probs))
        return turn

    def result(self) -> list[list[Hypothesis]]:
        found: list[list[Hypothesis]] = self.feedback.result()
        return found


def search_tree(translator: Translator, source: Sequence[int], search: SearchConfig) -> Tree:
    """The search that the translator would do for a sentence (ids), as a tree."""
    special = translator.target_vocab.special
    feedback: Any = translator.feedback(search, np.zeros(1, dtype=np.uint64))
    watched = Watched(feedback, special, search.beam, search.no_unknown)
    ids = pad([source], translator.source_vocab.special.pad)
    with translator.model.arrays.asking():
        memory = translator.model.encode(*ids)
        (answers,) = dynamic_decode(translator.model.decoder, memory, watched)
    if answers and search.beam > 1:
        answers = feedback.finished[0]  # more than were asked for
    return tree_of(watched.steps, answers, special.eos, search.beam)


def tree_of(steps: Sequence[Step], answers: list[Hypothesis], eos: int, dropped: int) -> Tree:
    """The tree of a search; of what a step dropped the likeliest `dropped` are shown."""
    nodes = [Node(-1, 0, -1, 0.0, 0.0, KEPT, np.nan, bool(answers))]
    places: dict[tuple[int, int], int] = {}  # (parent, token) -> node

    def add(parent: int, token: int, log_prob: float, fate: str, score: float = np.nan) -> int:
        total = nodes[parent].total + log_prob
        places[parent, token] = len(nodes)
        nodes.append(Node(parent, nodes[parent].step + 1, token, log_prob, total, fate, score, False))
        return len(nodes) - 1

    rows = [[0]]  # the node of each row, before each step
    for step in steps:
        kept = zip(step.parents.tolist(), step.tokens.tolist(), step.log_probs.tolist(), strict=True)
        rows.append([add(rows[-1][row], token, log_prob, KEPT) for row, token, log_prob in kept])
    for number, answer in enumerate(answers):
        path = [0]
        words = [*answer.tokens, eos] if answer.finished else answer.tokens
        for token in words[:-1]:
            path.append(places[path[-1], token])
        path.append(
            add(path[-1], words[-1], answer.token_log_probs[-1], ENDED if answer.finished else CUT, answer.score)
        )
        for place in path[1:] if number == 0 else []:
            nodes[place] = nodes[place]._replace(best=True)
    for step, before in zip(steps, rows, strict=False):
        lost = [
            (-(nodes[before[row]].total + log_prob), token, before[row], log_prob)
            for (row, rank), log_prob in np.ndenumerate(step.candidate_log_probs)
            if (before[row], token := int(step.candidates[row, rank])) not in places and np.isfinite(log_prob)
        ]
        for _, token, parent, log_prob in sorted(lost)[:dropped]:
            add(parent, token, log_prob, DROPPED)
    return Tree(nodes, answers)
