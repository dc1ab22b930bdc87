"""What an answer is worth beside its reference: a table of rewards, guards against winning by cheating, and who counts.

A reward sees texts, as a user would read them (`delta_bleu` alone sees ids). Rewards of the table are 1 for the
reference itself. They may be counted by processes beside the model, while it reads its own answers.
"""

from __future__ import annotations

import math
import multiprocessing
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from sequencing.process import settle_worker
from sequencing.train_config import ObjectiveConfig
from sequencing_np.config import choose
from sequencing_np.errors import DataError
from sequencing_np.metrics import delta_bleu, edit_distance
from sequencing_np.own import load_own, said

Texts = Sequence[str]
Scores = Sequence[float]
REPEATED = 2  # tokens in a row that a guard looks for


@cache
def sacrebleu_metric(name: str, tokenize: str) -> Any:
    """sacreBLEU's metric for single sentences."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    return BLEU(tokenize=tokenize or None, effective_order=True) if name == "bleu" else CHRF()


def bleu(texts: Texts, references: Texts, tokenize: str = "") -> Scores:
    """sacreBLEU's sentence BLEU with its own smoothing ("exp") and effective order, over 100."""
    metric = sacrebleu_metric("bleu", tokenize)
    return [
        metric.sentence_score(text, [reference]).score / 100 for text, reference in zip(texts, references, strict=True)
    ]


def chrf(texts: Texts, references: Texts, tokenize: str = "") -> Scores:
    """sacreBLEU's sentence chrF2, over 100."""
    metric = sacrebleu_metric("chrf", "")
    return [
        metric.sentence_score(text, [reference]).score / 100 for text, reference in zip(texts, references, strict=True)
    ]


def gleu(texts: Texts, references: Texts, tokenize: str = "") -> Scores:
    """Wu et al. 2016, section 5.2: the smaller of precision and recall of all n-grams up to four, of words."""
    return [gleu_of(text.split(), reference.split()) for text, reference in zip(texts, references, strict=True)]


def gleu_of(words: Sequence[str], reference: Sequence[str]) -> float:
    """GLEU of one sentence."""
    own, wanted = (sum((grams(side, size) for size in range(1, 5)), Counter()) for side in (words, reference))
    most = max(own.total(), wanted.total())
    return (own & wanted).total() / most if most else 1.0


def grams(tokens: Sequence[Hashable], size: int) -> Counter[tuple[Hashable, ...]]:
    """How often each run of so many tokens stands there."""
    return Counter(tuple(tokens[end - size : end]) for end in range(size, len(tokens) + 1))


def edit(texts: Texts, references: Texts, tokenize: str = "") -> Scores:
    """1 - edits between words, over the longer one's number of them."""
    return [likeness(text.split(), reference.split()) for text, reference in zip(texts, references, strict=True)]


def character_edit(texts: Texts, references: Texts, tokenize: str = "") -> Scores:
    """The same between characters."""
    return [likeness(text, reference) for text, reference in zip(texts, references, strict=True)]


def likeness(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """1 - edits over the longer length."""
    return 1 - edit_distance(first, second) / max(len(first), len(second), 1)


def phoneme_error(texts: Texts, references: Texts, tokenize: str = "") -> Scores:
    """1 - edits over the reference's number of phonemes (whatever stands between spaces); far too long is below 0."""
    pairs = [(text.split(), reference.split()) for text, reference in zip(texts, references, strict=True)]
    return [1 - edit_distance(own, wanted) / max(len(wanted), 1) for own, wanted in pairs]


def exact(texts: Texts, references: Texts, tokenize: str = "") -> Scores:
    """1 for the reference itself, 0 for anything else."""
    return [float(text == reference) for text, reference in zip(texts, references, strict=True)]


REWARDS: dict[str, Callable[[Texts, Texts, str], Scores]] = {
    "bleu": bleu,
    "chrf": chrf,
    "gleu": gleu,
    "edit": edit,
    "character_edit": character_edit,
    "phoneme_error": phoneme_error,
    "exact": exact,
}
OF_IDS = ("delta_bleu",)  # rewards of each token, from ids: `metrics.delta_bleu`


@cache
def own_function(name: str) -> Any:
    """A function of the user's, from lists of texts and references to numbers; ConfigError where there is none."""
    return load_own(name, "train.objective.reward")


def check_reward(name: str) -> None:
    """ConfigError where there is no such reward, or a function of the user's cannot be found."""
    if ":" in name:
        own_function(name)
    else:
        choose(dict.fromkeys([*REWARDS, *OF_IDS]), name, "train.objective.reward")


def scored(name: str, texts: Texts, references: Texts, tokenize: str = "") -> list[float]:
    """The rewards of some texts; DataError where a user's function fails, or answers what is no reward."""
    if ":" not in name:
        return list(REWARDS[name](texts, references, tokenize))
    function = own_function(name)
    try:
        found = [float(score) for score in function(list(texts), list(references))]
    except Exception as error:
        raise DataError(f"train.objective.reward: the function {name} failed: {said(error)}") from error
    if len(found) != len(texts) or not all(map(math.isfinite, found)):
        wrong = f"{len(found)} numbers" if len(found) != len(texts) else "a number that is not finite"
        raise DataError(
            f"train.objective.reward: the function {name} returned {wrong} for {len(texts)} texts; it must return a "
            "finite number for each"
        )
    return found


# --- guards ---------------------------------------------------------------------------------------------------------


def guarded(
    score: float, ids: Sequence[int], reference: Sequence[int], finished: bool, config: ObjectiveConfig
) -> float:
    """A reward after its guards. What was cut before its end earns nothing.

    `length_guard` times by how much the length differs, as a share of the reference's; `repetition_guard` times the
    share of pairs of tokens that stand there more often than once, and than in the reference.
    """
    if not finished:
        return min(score, 0.0)
    off = abs(len(ids) - len(reference)) / max(len(reference), 1)
    return score - config.length_guard * off - config.repetition_guard * repeated(ids, reference)


def repeated(ids: Sequence[int], reference: Sequence[int]) -> float:
    """The share of pairs of neighbours that are said again, where the reference does not say them as often."""
    own, wanted = grams(ids, REPEATED), grams(reference, REPEATED)
    extra = sum(max(count - max(wanted[pair], 1), 0) for pair, count in own.items())
    return extra / max(own.total(), 1)


# --- who counts -----------------------------------------------------------------------------------------------------


class Task(NamedTuple):
    """Answers that want their rewards, each with one reference or several. Ids are without the end symbol."""

    ids: list[list[int]]
    references: list[list[list[int]]]  # of each answer
    finished: list[bool]
    texts: list[str]
    wanted: list[list[str]]  # the texts of the references

    def at(self, part: slice) -> Task:
        """The same of some of the answers."""
        return Task(self.ids[part], self.references[part], self.finished[part], self.texts[part], self.wanted[part])


Rows = list[list[float]]  # what each token of each answer earned; the end symbol's is the last


def rewarded(task: Task, config: ObjectiveConfig, tokenize: str) -> Rows:
    """The rewards of each token: beside the reference that is best for the whole answer (the first of equals).

    A reward of the whole answer is its last token's.
    """
    answers = [answer for answer, references in enumerate(task.references) for _ in references]
    references = [reference for some in task.references for reference in some]
    scores: Sequence[float] = ()
    if config.reward not in OF_IDS:
        wanted = [text for some in task.wanted for text in some]
        pairs = [(task.texts[answer], text) for answer, text in zip(answers, wanted, strict=True)]
        each = list(dict.fromkeys(pairs))  # samples of a sentence are often the same
        found = scored(config.reward, [text for text, _ in each], [reference for _, reference in each], tokenize)
        known = dict(zip(each, found, strict=True))
        scores = [known[pair] for pair in pairs]
    best: list[list[float]] = [[] for _ in task.ids]
    for place, (answer, reference) in enumerate(zip(answers, references, strict=True)):
        ids, finished = task.ids[answer], task.finished[answer]
        if scores:
            row = [0.0] * (len(ids) + finished - 1) + [guarded(scores[place], ids, reference, finished, config)]
        else:
            row = delta_bleu(ids, reference).rewards.tolist() + [0.0] * finished
            row[-1] += guarded(sum(row), ids, reference, finished, config) - sum(row)
        if not best[answer] or sum(row) > sum(best[answer]):
            best[answer] = row
    return best


class Rewarder:
    """Counts rewards, here or in processes of its own. What they are does not depend on where."""

    def __init__(self, config: ObjectiveConfig, tokenize: str) -> None:
        check_reward(config.reward)
        self.config, self.tokenize = config, tokenize
        self.pool: ProcessPoolExecutor | None = None

    def ask(self, task: Task) -> Callable[[], Rows]:
        """Begin to count; what is returned waits for the answer."""
        workers = self.config.workers
        if not workers:
            return lambda: rewarded(task, self.config, self.tokenize)
        if self.pool is None:
            context = multiprocessing.get_context("spawn")  # a fork would copy PyTorch's threads in an unknown state
            self.pool = ProcessPoolExecutor(workers, context, initializer=settle_worker)
        each = -(-len(task.ids) // workers)
        parts = [task.at(slice(begin, begin + each)) for begin in range(0, len(task.ids), each)]
        asked: list[Future[Rows]] = [self.pool.submit(rewarded, part, self.config, self.tokenize) for part in parts]
        return lambda: [row for future in asked for row in future.result()]

    def close(self) -> None:
        """End the processes."""
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)
        self.pool = None


def dense(rows: Rows, shape: tuple[int, ...]) -> np.ndarray:  # -> (B, n, T)
    """The rewards as one array, 0 behind the end."""
    found = np.zeros((len(rows), shape[-1]))
    for place, row in enumerate(rows):
        found[place, : len(row)] = row
    return found.reshape(shape)
