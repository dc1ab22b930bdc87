"""Minimum Bayes risk: of several candidates the one that all of them together find best, and what "good" means there.

Kumar and Byrne 2004, "Minimum Bayes-Risk Decoding for Statistical Machine Translation"; with drawn candidates Eikema
and Aziz 2020, "Is MAP Decoding All You Need?". A row of UTILITIES says how good each text would be if each other one
were right; it sees texts alone. Where candidates come from is not known here.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from sequencing_np.config import nearest
from sequencing_np.errors import ConfigError, UsageError
from sequencing_np.metrics import edit_distance
from sequencing_np.own import load_own, said

NONE = "none"  # what stands in the place of a utility where answers are ranked by their score
PIECES = (  # 13a, the tokenizer of BLEU, is these four one after the other
    (re.compile(r"([ -&(-+/:-@\[-`{-~])"), r" \1 "),  # spaces and signs, but for ' - . ,
    (re.compile(r"([^0-9])([.,])"), r"\1 \2 "),
    (re.compile(r"([.,])([^0-9])"), r" \1 \2"),
    (re.compile(r"([0-9])-"), r"\1 - "),
)
WRITTEN = (("<skipped>", ""), ("-\n", ""), ("\n", " "), ("&quot;", '"'), ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"))

Utility = Callable[[Sequence[str]], np.ndarray]
"""N different texts -> (N, N): how good text i is where text j is right."""


class Common(NamedTuple):
    """What N texts have in common, for n-grams of each length."""

    matches: np.ndarray  # (orders, N, N) n-grams of two texts that are the same, each counted as often as in both
    totals: np.ndarray  # (orders, N) n-grams of each text


def common(texts: Sequence[np.ndarray], orders: int) -> Common:  # N x (L,) ids
    """All n-grams are numbered once, whatever the number of pairs; the rest is a product of matrices.

    The second "ab" of a text is a thing of its own, other than the first: then min(count in one, count in the other) is
    the number of things that both have, and of all pairs of texts at once it is a product of 0 and 1.
    """
    lengths = np.array([len(text) for text in texts])
    flat = np.unique(np.concatenate(texts), return_inverse=True)[1].reshape(-1)  # (L of all,)
    owners = np.repeat(np.arange(len(texts)), lengths)
    left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(flat))  # tokens from here to the end of the text
    grams, width = np.zeros_like(flat), int(flat.max(initial=0)) + 1
    matches = np.zeros((orders, len(texts), len(texts)))
    totals = np.maximum(lengths - np.arange(orders)[:, None], 0)
    for order in range(orders):
        starts = np.flatnonzero(left > order)
        if not len(starts):
            break
        longer = grams[starts] * width + flat[starts + order]
        grams[starts] = np.unique(longer, return_inverse=True)[1].reshape(-1)
        matches[order] = shared(owners[starts], grams[starts], len(texts))
        np.fill_diagonal(matches[order], totals[order])
    return Common(matches, totals)


def shared(owners: np.ndarray, grams: np.ndarray, count: int) -> np.ndarray:  # (G,), (G,) -> (N, N) off the diagonal
    """How many n-grams each two of the owners have both."""
    width = int(grams.max()) + 1
    owned, times = np.unique(owners * width + grams, return_counts=True)
    turn = np.arange(len(grams)) - np.repeat(np.cumsum(times) - times, times)  # first, second … of the same
    things = np.repeat(owned % width, times) * int(times.max()) + turn
    _, place, owner_count = np.unique(things, return_inverse=True, return_counts=True)
    kept = (owner_count > 1)[place.reshape(-1)]  # what one text alone has is in no pair
    column = (np.cumsum(owner_count > 1) - 1)[place.reshape(-1)[kept]]
    has = np.zeros((count, int((owner_count > 1).sum())), dtype=np.float32)  # sums of ones are exact up to 2**24
    has[np.repeat(owned // width, times)[kept], column] = 1
    return has @ has.T


def chrf(texts: Sequence[str]) -> np.ndarray:  # N -> (N, N)
    """chrF2 from 0 to 100, as sacreBLEU's of a sentence: Popović 2015; orders 1 to 6 of characters, no white space."""
    squeezed = ["".join(text.split()).encode("utf-32-le", "surrogatepass") for text in texts]
    matches, totals = common([np.frombuffer(text, dtype="<u4") for text in squeezed], 6)
    both = (totals[:, :, None] > 0) & (totals[:, None, :] > 0)
    orders = np.maximum(both.sum(axis=0), 1)
    some = np.maximum(totals, 1)
    precision = (matches / some[:, :, None]).sum(axis=0) / orders
    recall = (matches / some[:, None, :]).sum(axis=0) / orders
    return 100 * 5 * precision * recall / np.where(precision + recall > 0, 4 * precision + recall, 1)


def bleu(texts: Sequence[str]) -> np.ndarray:  # N -> (N, N)
    """Sentence BLEU from 0 to 100 over 13a tokens, as sacreBLEU's `sentence_bleu`.

    Orders that a text is too short for are left out; the k-th order without a match counts as 1 / 2**k matches (Chen
    and Cherry 2014, method 3). Without any common token it is 0.
    """
    known: dict[str, int] = {}
    rows = [[known.setdefault(token, len(known)) for token in tokens_13a(text)] for text in texts]
    matches, totals = common([np.array(row, dtype=np.int64) for row in rows], 4)
    totals = totals[:, :, None]  # of the candidate
    unmatched = np.cumsum((matches == 0) & (totals > 0), axis=0)
    precision = np.where(matches > 0, matches, 0.5**unmatched) / np.maximum(totals, 1)
    orders = np.maximum((totals > 0).sum(axis=0), 1)
    logs = np.where(totals > 0, np.log(precision), 0.0).sum(axis=0) / orders
    lengths = np.array([len(row) for row in rows], dtype=np.float64)
    brevity = np.minimum(0.0, 1 - lengths[None, :] / np.maximum(lengths, 1)[:, None])
    return np.where(matches[0] > 0, 100 * np.exp(logs + brevity), 0.0)


def tokens_13a(text: str) -> list[str]:
    """The tokens over which BLEU is counted by default: those of NIST's mteval-v13a."""
    text = text.rstrip()
    for written, meant in WRITTEN:
        text = text.replace(written, meant)
    text = f" {text} "
    for pattern, apart in PIECES:
        text = pattern.sub(apart, text)
    return text.split()


def edit(texts: Sequence[str]) -> np.ndarray:  # N -> (N, N)
    """From 0 to 100: the share of the longer text's characters that need no edit (Levenshtein 1966)."""
    likeness = np.full((len(texts), len(texts)), 100.0)
    for row, one in enumerate(texts):
        for column, other in enumerate(texts[:row]):
            share = 1 - edit_distance(one, other) / max(len(one), len(other), 1)
            likeness[row, column] = likeness[column, row] = 100 * share
    return likeness


UTILITIES: dict[str, Utility] = {"chrf": chrf, "bleu": bleu, "edit": edit}


def of_pairs(function: Callable[[str, str], float], name: str = "the utility") -> Utility:
    """A row of UTILITIES from a function of (candidate, text taken to be right)."""

    def utility(texts: Sequence[str]) -> np.ndarray:
        return np.array([[told(one, other) for other in texts] for one in texts])

    def told(one: str, other: str) -> float:
        try:
            answer: Any = function(one, other)
            value = float(answer)
        except Exception as error:  # it is the user's function: whatever is wrong in it is theirs to mend
            raise UsageError(f"{name} failed on {one!r:.80}, {other!r:.80}: {said(error)}") from error
        if not math.isfinite(value):
            raise UsageError(f"{name} returned {answer!r:.80} for {one!r:.80}, {other!r:.80}; it must be a number")
        return value

    return utility


def add_utility(name: str) -> None:
    """Make `module:function`, or `file.py:function`, a row of UTILITIES; UsageError where there is none.

    The name of a row is left as it is.
    """
    if name in UTILITIES or name == NONE:
        return
    if ":" not in name:
        rows = nearest(name, [NONE, *UTILITIES])
        raise UsageError(f"mbr {name!r}: {rows}; or write module:function for one's own")
    try:
        function = load_own(name, "mbr")
    except ConfigError as error:
        raise UsageError(str(error)) from error
    UTILITIES[name] = of_pairs(function, f"mbr {name!r}")


class Ranked(NamedTuple):
    """A candidate's place, and how good it is to be expected to be."""

    candidate: int
    expected: float


def rank(texts: Sequence[str], scores: Sequence[float], utility: str) -> list[Ranked]:
    """The different texts among the candidates, those of the largest expected utility first.

    Every candidate counts once: draws come as often as they are probable, and a beam's answers weighed by their
    probability chose worse than the beam itself (docs/commands.md). Of candidates with one text, and of equally good
    ones, that of the best score stands first, then the earlier one.
    """
    order = sorted(range(len(texts)), key=lambda place: -scores[place])  # stable
    first: dict[str, int] = {}
    for place in order:
        first.setdefault(texts[place], place)
    times = Counter(texts)
    weights = np.array([times[text] for text in first]) / len(texts)
    expected = (UTILITIES[utility](list(first)) * weights).sum(axis=1).round(9)  # sums in another order are the same
    places = list(first.values())
    best = np.argsort(-expected, kind="stable")
    return [Ranked(places[row], float(expected[row])) for row in best]


def candidate_keys(keys: np.ndarray, count: int, mix: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    # (B,) -> (B * count,)
    """A key for each draw of each sentence; the first draw has the sentence's own, so that it is what one draw is."""
    return (keys[:, None] ^ mix(np.arange(count, dtype=np.uint64))).reshape(-1)


def groups(flat: Sequence[list[Any]], count: int) -> Iterator[list[Any]]:
    """What was found for each sentence, where `count` neighbours belong to one."""
    for start in range(0, len(flat), count):
        yield [found for each in flat[start : start + count] for found in each]
