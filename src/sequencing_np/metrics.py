"""How good an answer is: exact match, token accuracy, error rates, ROUGE, and BLEU of every prefix as a reward.

Works on lines and on sequences of any tokens (ids, words, phonemes). BLEU, chrF and TER of a whole test set are not
here: sacreBLEU counts those upstairs, with its signature.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np

from sequencing_np.errors import DataError, UsageError

Tokens = Sequence[Hashable]


class Share(NamedTuple):
    """A part of a whole, as counts, so that the shares of several batches can be summed before they are divided."""

    correct: int
    total: int

    @property
    def value(self) -> float:
        """The share as a number from 0 to 1; 0 of nothing is 0."""
        return self.correct / self.total if self.total else 0.0


class ErrorRates(NamedTuple):
    """Edits per reference token (phoneme, character or word error rate), and the share of sequences with any error."""

    token_error_rate: float
    sequence_error_rate: float


class Rewards(NamedTuple):
    """What each token of a candidate earned, and what it and all tokens after it earned."""

    rewards: np.ndarray  # (T,)
    returns: np.ndarray  # (T,)


def exact_match(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """The share of hypotheses that equal one of their references, letter for letter."""
    check_references(len(hypotheses), references)
    hits = sum(hypothesis in allowed for hypothesis, allowed in zip(hypotheses, references, strict=True))
    return hits / len(hypotheses)


def token_accuracy(  # (B, T), (B, T), (B, T) -> counts
    predicted: np.ndarray, target: np.ndarray, mask: np.ndarray
) -> Share:
    """How many of the real target tokens were predicted."""
    return Share(int(((predicted == target) & mask).sum()), int(mask.sum()))


def edit_distance(first: Tokens, second: Tokens) -> int:
    """The fewest insertions, deletions and substitutions that turn one sequence into the other.

    A column of the usual table lives in two whole numbers, one bit per token of `first`: where the value rises by one
    from row to row, and where it falls (Myers 1999, in the form of Hyyrö 2003). One token of `second` is one step.
    """
    if not first or not second:
        return len(first) + len(second)
    places: dict[Hashable, int] = {}
    for position, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << position
    everything = (1 << len(first)) - 1
    last = 1 << (len(first) - 1)
    rises, falls, distance = everything, 0, len(first)
    for token in second:
        equal = places.get(token, 0)
        diagonal = (((equal & rises) + rises) ^ rises) | equal
        right_rises = falls | ~(diagonal | rises)
        right_falls = rises & diagonal
        if right_rises & last:
            distance += 1
        elif right_falls & last:
            distance -= 1
        right_rises = right_rises << 1 | 1
        stays = equal | falls
        rises = (right_falls << 1 | ~(stays | right_rises)) & everything
        falls = right_rises & stays & everything
    return distance


def error_rates(hypotheses: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> ErrorRates:
    """Error rates where each hypothesis may have several references and the closest counts.

    Among equally close ones the longest counts, so the order of the references does not matter. Errors per token of
    references that are all empty are counted as if there were one token.
    """
    check_references(len(hypotheses), references)
    edits = tokens = wrong = 0
    for hypothesis, allowed in zip(hypotheses, references, strict=True):
        distance, negative_length = min((edit_distance(hypothesis, each), -len(each)) for each in allowed)
        edits += distance
        tokens -= negative_length
        wrong += distance > 0
    return ErrorRates(edits / max(1, tokens), wrong / len(hypotheses))


def rouge_n(hypotheses: Sequence[Tokens], references: Sequence[Sequence[Tokens]], size: int) -> float:
    """ROUGE-N, as F1 from 0 to 1: common n-grams of `size` tokens (Lin 2004, section 2)."""

    def grams(text: Tokens) -> Counter[tuple[Hashable, ...]]:
        return Counter(tuple(text[begin : begin + size]) for begin in range(len(text) - size + 1))

    def f1(first: Tokens, second: Tokens) -> float:
        one, other = grams(first), grams(second)
        return 2 * (one & other).total() / max(1, one.total() + other.total())

    return mean_of_best(hypotheses, references, f1)


def rouge_l(hypotheses: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> float:
    """ROUGE-L, as F1 from 0 to 1: the longest common subsequence (Lin 2004, section 3.1, with beta = 1)."""

    def f1(first: Tokens, second: Tokens) -> float:
        return 2 * longest_common(first, second) / max(1, len(first) + len(second))

    return mean_of_best(hypotheses, references, f1)


def mean_of_best(
    hypotheses: Sequence[Tokens], references: Sequence[Sequence[Tokens]], score: Callable[[Tokens, Tokens], float]
) -> float:
    """The mean over all hypotheses of the score against the reference with which it is highest."""
    check_references(len(hypotheses), references)
    best = (max(score(said, each) for each in allowed) for said, allowed in zip(hypotheses, references, strict=True))
    return sum(best) / len(hypotheses)


def longest_common(first: Tokens, second: Tokens) -> int:
    """The length of the longest sequence of tokens that both hold in this order, other tokens between them.

    A column of the usual table lives in one whole number, whose zeros are the rows where the value rises (Hyyrö 2004).
    """
    places: dict[Hashable, int] = {}
    for position, token in enumerate(first):
        places[token] = places.get(token, 0) | 1 << position
    everything = (1 << len(first)) - 1
    level = everything
    for token in second:
        equal = level & places.get(token, 0)
        level = (level + equal | level - equal) & everything
    return len(first) - level.bit_count()


def check_references(count: int, references: Sequence[Sequence[object]]) -> None:
    """Refuses what would be scored wrongly: other counts, nothing at all, a reference where a list of them belongs."""
    if count != len(references):
        raise DataError(f"{count} hypotheses but references for {len(references)}: each hypothesis needs its own list")
    if not count:
        raise DataError("nothing to score: give at least one hypothesis with its references")
    for number, allowed in enumerate(references, 1):
        if isinstance(allowed, str):
            raise UsageError(f"reference {number} is the text {allowed!r}; give a list of one or more references")
        if not allowed:
            raise DataError(f"hypothesis {number} has no reference; give at least one")


def sentence_bleu_prefixes(  # (T,), (R,) -> (T,)
    candidate: Tokens, reference: Tokens, order: int = 4, smoothing: float = 1.0
) -> np.ndarray:
    """BLEU from 0 to 1 of each prefix of the candidate: element t is that of its first t + 1 tokens.

    Papineni et al. 2002 for one sentence, with add-k smoothing of the orders above one (Lin and Och 2004, k = 1), so
    that a precision never exceeds 1. Orders longer than the prefix cannot occur and are left out of the mean. Without
    any common token BLEU is 0. A prefix shorter than the reference pays the brevity penalty exp(1 - R / length).
    """
    length = len(candidate)
    correct = np.zeros((order, length))
    possible = np.zeros((order, length))
    for size in range(1, min(order, length) + 1):
        available = Counter(tuple(reference[end - size : end]) for end in range(size, len(reference) + 1))
        for end in range(size, length + 1):
            gram = tuple(candidate[end - size : end])
            if available[gram] > 0:  # each n-gram of the reference is matched once
                available[gram] -= 1
                correct[size - 1, end - 1] = 1
        possible[size - 1, size - 1 :] = 1
    correct, possible = correct.cumsum(axis=1), possible.cumsum(axis=1)
    occurs = possible > 0
    extra = np.where(np.arange(order) > 0, smoothing, 0.0)[:, None]
    precision = np.divide(correct + extra, possible + extra, out=np.ones_like(correct), where=occurs)
    logs = np.log(precision, out=np.full_like(precision, -np.inf), where=precision > 0)
    lengths = np.arange(1, length + 1)
    brevity = np.minimum(0.0, 1.0 - len(reference) / lengths)
    scores: np.ndarray = np.exp(logs.sum(axis=0) / np.maximum(1, occurs.sum(axis=0)) + brevity)
    return scores


def delta_bleu(candidate: Tokens, reference: Tokens, order: int = 4, smoothing: float = 1.0) -> Rewards:
    """By how much each token of the candidate raised or lowered the BLEU of the prefix that it ends."""
    rewards = np.diff(sentence_bleu_prefixes(candidate, reference, order, smoothing), prepend=0.0)
    return Rewards(rewards, returns_of(rewards))


def returns_of(rewards: np.ndarray) -> np.ndarray:  # (..., T) -> (..., T)
    """The sum of each reward and all later ones."""
    return np.flip(np.cumsum(np.flip(rewards, axis=-1), axis=-1), axis=-1)
