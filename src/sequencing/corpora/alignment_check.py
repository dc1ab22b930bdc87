"""Whether the two sides of a corpus are shifted against each other by a few lines, told from a sample of its rows.

A line and its translation are alike in length, in punctuation and in the numbers they hold. Where sources are more
like the targets some rows further on than like their own, the files are shifted, or a line is missing in one of them.
Knows nothing of files or languages.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PLACES, RUN = 10, 100  # that many runs of a corpus, of so many rows each, are enough to tell
FARTHEST = 3  # shifts of up to so many rows are looked for
LEAST = 30  # so many rows must be compared before anything is said
SURE = 5.0  # standard errors by which another place must be better, over the whole sample
SURE_OF_A_RUN = 6.5  # the same for one run, of which there are many
DIALOGUE = 0.95  # where so many sources are a target nearby word for word, that is how the corpus is made
MOST = 3.0  # no mark counts more than so many standard deviations
NUMBER = re.compile(r"\d+")
ALIKE = 2.0  # what the same numbers on both sides are worth
UNLIKE = -1.0  # and what other numbers cost
MARKS = (
    "?？؟;",
    "!！",
    ",，、،",
    ".。।",
    ":：",
    "\"'„“”«»「」",
    "()（）",
    "-–—",
)  # one row: written alike or for each other

Pair = tuple[str, str]
Measures = NDArray[np.float64]


class Shift(NamedTuple):
    """Source n belongs to target n + `by`, in some of the runs."""

    by: int
    runs: list[int]  # the index of each run in which it is so

    def sentence(self, corpus: str) -> str:
        """What to tell the user."""
        side = "later" if self.by > 0 else "earlier"
        rows = f"{abs(self.by)} row{'s' * (abs(self.by) > 1)}"
        return (
            f"{corpus}: the two sides seem to be shifted: sources are more like the targets that stand {rows} {side} "
            f"than like their own, in {len(self.runs)} of the places looked at; is a line missing in one of the files?"
        )


class _Run(NamedTuple):
    """What is compared of consecutive pairs, row by row."""

    pairs: Sequence[Pair]
    source: Measures  # (rows, measures)
    target: Measures
    numbers: tuple[list[frozenset[str]], list[frozenset[str]]]


def find_shift(runs: Sequence[Sequence[Pair]]) -> Shift | None:
    """The shift of a corpus, from runs of consecutive pairs (ten runs of a hundred pairs will do), or None."""
    if not any(runs):
        return None
    measured = _measured(runs)
    gains = {by: _gains(measured, by) for by in range(-FARTHEST, FARTHEST + 1) if by}
    sure = {by: certainty(np.concatenate(of_runs)) for by, of_runs in gains.items()}
    best = max(sure, key=lambda by: sure[by])
    if sure[best] > SURE:
        return Shift(best, [run for run, gain in enumerate(gains[best]) if len(gain) and gain.mean() > 0])
    # a line may be missing in the middle: then it is so from some run on
    places = {
        by: [run for run, gain in enumerate(of_runs) if certainty(gain) > SURE_OF_A_RUN]
        for by, of_runs in gains.items()
    }
    best = max(places, key=lambda by: len(places[by]))
    return Shift(best, places[best]) if places[best] else None


def certainty(gains: Measures) -> float:
    """By how many standard errors the mean of some gains is above zero."""
    if len(gains) < LEAST:
        return 0.0
    return float(gains.mean()) / max(float(gains.std()) / len(gains) ** 0.5, 1e-9)


def measures(text: str) -> list[int]:
    """What translations have in common: length, kinds of punctuation, how many digits."""
    return [len(text), *(sum(map(text.count, row)) for row in MARKS), sum(map(len, NUMBER.findall(text)))]


def _measured(runs: Sequence[Sequence[Pair]]) -> list[_Run]:
    """All runs, with measures that have mean 0 and spread 1 over all of them."""
    sides: list[list[Measures]] = []
    ends = np.cumsum([len(run) for run in runs])[:-1]
    for side in (0, 1):
        values = np.log1p(np.array([measures(pair[side]) for run in runs for pair in run], np.float64))
        values = (values - values.mean(0)) / np.maximum(values.std(0), 1e-9)
        sides.append(np.split(np.clip(values, -MOST, MOST), ends))
    return [
        _Run(run, source, target, (_numbers(run, 0), _numbers(run, 1)))
        for run, source, target in zip(runs, *sides, strict=True)
    ]


def _numbers(run: Sequence[Pair], side: int) -> list[frozenset[str]]:
    return [frozenset(NUMBER.findall(pair[side])) for pair in run]


def _gains(runs: Sequence[_Run], by: int) -> list[Measures]:
    """How much better each source fits the target `by` rows on than its own, for each run."""
    same = total = 0
    gains = []
    for run in runs:
        first, last = max(0, -by), min(len(run.pairs), len(run.pairs) - by)
        gains.append(_likeness(run, first, last, by) - _likeness(run, first, last, 0))
        same += sum(run.pairs[row][0] == run.pairs[row + by][1] for row in range(first, last))
        total += max(0, last - first)
    return gains if same <= DIALOGUE * total else [np.zeros(0) for _ in runs]


def _likeness(run: _Run, first: int, last: int, by: int) -> Measures:  # -> (last - first)
    """How well the sources of some rows fit the targets `by` rows on."""
    if last <= first:
        return np.zeros(0)
    apart = np.square(run.source[first:last] - run.target[first + by : last + by]).sum(1)
    pairs = zip(run.numbers[0][first:last], run.numbers[1][first + by : last + by], strict=True)
    numbers = [(ALIKE if ours & theirs else UNLIKE) if ours and theirs else 0.0 for ours, theirs in pairs]
    return np.array(numbers) - apart / 2
