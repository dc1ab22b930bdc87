"""The answers of a search in the order of what several models say of them as wholes.

A model that was taught targets from their end says of an answer what one that goes from left to right cannot foresee
(Liu et al. 2016, "Agreement on Target-bidirectional Neural Machine Translation"); one of the other direction says how
well the source follows from it (the noisy channel: Yee et al. 2019). They share texts and nothing else. Where answers
come from is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from sequencing_np.errors import DataError, UsageError
from sequencing_np.mbr import NONE
from sequencing_np.ranking import Ranking
from sequencing_np.search import DRAWS, SearchConfig
from sequencing_np.translation import Scored, Translation
from sequencing_np.vectors import Source, is_blank


class Scorer(Protocol):
    """What is asked of a model: a Translator is one."""

    def score(self, pairs: Sequence[tuple[Source, str]], batch_tokens: int = 4096, first: int = 0) -> list[Scored]: ...


@dataclass(frozen=True)
class Reranker:
    """A model that has a say, and how much; `backwards`: how likely it finds the source where the answer is given."""

    scorer: Scorer
    weight: float = 1.0
    backwards: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.weight < 1e6:
            raise UsageError(f"rerank weight {self.weight}: must be 0 or more; 1 is as much as the first model's")


def with_candidates(search: SearchConfig) -> SearchConfig:
    """The search with as many answers as are reranked. UsageError where there are none to choose among."""
    if search.mbr != NONE:
        raise UsageError("reranking and minimum Bayes risk both choose among the answers; leave one of them out")
    if search.sample and not search.without_replacement:
        raise UsageError("reranking chooses among several answers: search with a beam, or draw without replacement")
    count = search.candidates or (DRAWS if search.sample else search.beam)
    if count < 2 or (count > search.beam and not search.sample):
        raise UsageError(f"reranking chooses among {count} answers of a beam of {search.beam}; take a larger beam")
    if search.n_best > count:
        raise UsageError(f"n_best {search.n_best}: there are {count} answers to rerank; set more candidates")
    return replace(search, n_best=count)


def reranked(
    lines: Sequence[Source], said: Sequence[Translation], rerankers: Sequence[Reranker], search: SearchConfig
) -> list[Translation]:
    """The `n_best` best answers to each line by the weighted mean of what all models say, the first one's weight is 1.

    Every model's share is a log-probability over the length penalty of the search, with its own number of tokens.
    Equally good ones stay in their order; an answer of which a model says NaN comes last.
    """
    ranking = Ranking(search.length_penalty, search.alpha)
    asked = [(row, answer) for row, each in enumerate(said) if not is_blank(lines[row]) for answer in each.answers]

    def share(scored: Scored) -> float:
        length = np.array(float(len(scored.token_log_probs)))
        return float(scored.log_prob / ranking.penalty(length))

    own = [Scored(answer.log_prob, answer.token_log_probs) for _, answer in asked]
    scores = [share(each) if search.sample else answer.score for each, (_, answer) in zip(own, asked, strict=True)]
    for reranker in rerankers:
        pairs = [pair(lines[row], answer.text, reranker.backwards) for row, answer in asked]
        try:
            found = reranker.scorer.score(pairs, search.batch_tokens)
        except DataError as error:
            raise DataError(f"an answer that is reranked cannot be read by the other model: {error}") from None
        scores = [score + reranker.weight * share(each) for score, each in zip(scores, found, strict=True)]
    whole = 1 + sum(reranker.weight for reranker in rerankers)
    rows: list[list[tuple[float, int]]] = [[] for _ in said]
    for place, ((row, _), score) in enumerate(zip(asked, scores, strict=True)):
        rows[row].append((-math.inf if math.isnan(score) else score / whole, place))
    result = []
    for each, own_scores in zip(said, rows, strict=True):
        best = sorted(own_scores, key=lambda pair: -pair[0])[: search.n_best]  # stable
        answers = [asked[place][1]._replace(score=score) for score, place in best]
        result.append(each._replace(answers=answers) if own_scores else each)
    return result


def pair(line: Source, answer: str, backwards: bool) -> tuple[Source, str]:
    """What a model is asked about: source and target."""
    if not backwards:
        return line, answer
    if not isinstance(line, str):
        raise DataError("vectors cannot be the target of a model that reranks backwards; leave it out")
    return answer, line
