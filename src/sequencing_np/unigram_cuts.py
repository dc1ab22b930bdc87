"""A word cut into pieces by what each piece is worth: the best way of all, or one drawn at random (Kudo 2018).

A way is worth the sum of its pieces' scores, which are logarithms of probabilities. A character that is no piece is
worth what the program that learnt the pieces gives it. Knows nothing of ids, bytes or spaces.
"""

from array import array
from bisect import bisect
from collections.abc import Mapping
from math import exp, inf, log
from random import Random
from typing import Any, NamedTuple

from sequencing_np.errors import DataError

UNKNOWN_PENALTY = 10.0  # what a character without a piece is worth below the worst of the pieces


class Cut(NamedTuple):
    """The best way to cut a word, and where that may be relied on."""

    pieces: list[str]
    depth: float  # how far from zero the sum gets within the word
    trust: float  # how far from zero the sum may be in front of the word, for rounding not to change the way


class Way(NamedTuple):
    """How a piece may end at one place: the starts of all that do, and how likely they are, added up."""

    starts: list[int]
    sums: list[float]


class UnigramCuts:
    """Pieces and their scores. `precision` is that of the sums, of which ties depend: "f" or "d", as for arrays."""

    def __init__(self, scores: Mapping[str, float], unknown: float, precision: str = "f") -> None:
        self.unknown, self.precision = unknown, precision
        self._trie: dict[str, Any] = {}  # by character; under "" stands the score of what ends here
        for piece, score in scores.items():
            node = self._trie
            for character in piece:
                node = node.setdefault(character, {})
            node[""] = score

    def ends(self, word: str, start: int) -> list[tuple[int, float]]:
        """Where the pieces end that begin at a place, and their scores; one character at least always is one."""
        found: list[tuple[int, float]] = []
        node: Any = self._trie
        for end in range(start + 1, len(word) + 1):
            node = node.get(word[end - 1])
            if node is None:
                break
            score = node.get("")
            if score is not None:
                found.append((end, score))
        if not found or found[0][0] > start + 1:
            found.append((start + 1, self.unknown))
        return found

    def best(self, word: str) -> Cut:
        """The best way where all sums are exact, and how much rounding it stands.

        The second best way into each place that the best one goes through bounds by how much all others are worse.
        A sum of k rounded terms is wrong by k / 2 units in the last of 24 places of the largest, and two are compared.
        """
        size = len(word)
        sums, seconds, starts = [0.0] + [-inf] * size, [-inf] * (size + 1), [0] * (size + 1)
        for start in range(size):
            here = sums[start]
            for end, score in self.ends(word, start):
                if (total := here + score) > sums[end]:
                    seconds[end], sums[end], starts[end] = sums[end], total, start
                elif total > seconds[end]:
                    seconds[end] = total
        pieces, margin, end = [], inf, size
        while end > 0:
            margin = min(margin, sums[end] - seconds[end])
            pieces.append(word[starts[end] : end])
            end = starts[end]
        depth = max(map(abs, sums))
        return Cut(pieces[::-1], depth, 0.9 * margin * 2**23 / max(1, size) - depth)

    def exact(self, word: str) -> list[str]:
        """The best way where each sum is rounded as the programs that learn pieces do it; the first found on ties."""
        size = len(word)
        sums, starts = array(self.precision, [0.0]) * (size + 1), [-1] * (size + 1)
        rounded = array(self.precision, [0.0])
        for start in range(size):
            here = sums[start]
            for end, score in self.ends(word, start):
                rounded[0] = here + score
                if starts[end] < 0 or rounded[0] > sums[end]:
                    sums[end], starts[end] = rounded[0], start
        pieces, end = [], size
        while end > 0:
            pieces.append(word[starts[end] : end])
            end = starts[end]
        return pieces[::-1]

    def ways(self, word: str, sharpness: float) -> list[Way]:
        """For each place of a word how a piece may end there, each way as likely as its sum times `sharpness` says.

        Forward filtering: the weight of all ways up to a place is summed before those from it on are.
        """
        size = len(word)
        found: list[list[tuple[float, int]]] = [[] for _ in range(size + 1)]
        weights = [0.0] * (size + 1)  # logarithms
        ways = [Way([], [])]
        for start in range(size):
            if start:
                way, weights[start] = way_of(found[start])
                ways.append(way)
            for end, score in self.ends(word, start):
                found[end].append((weights[start] + sharpness * score, start))
        return [*ways, way_of(found[size])[0]] if size else ways


def way_of(found: list[tuple[float, int]]) -> tuple[Way, float]:
    """What ends at one place, its probabilities added up to 1, and the logarithm of the weight of it all."""
    best = max(weight for weight, _ in found)
    sums, total = [], 0.0
    for weight, _ in found:
        total += exp(weight - best)
        sums.append(total)
    return Way([start for _, start in found], [*(one / total for one in sums[:-1]), 1.0]), best + log(total)


def drawn(word: str, ways: list[Way], generator: Random) -> list[str]:
    """One way to cut a word, drawn from the end backwards."""
    pieces, end = [], len(word)
    while end > 0:
        starts, sums = ways[end]
        start = starts[bisect(sums, generator.random())] if len(starts) > 1 else starts[0]
        pieces.append(word[start:end])
        end = start
    return pieces[::-1]


def score_of(score: object, where: str) -> float:
    """A finite number of 32 bits."""
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not -1e30 <= score <= 1e30:
        raise DataError(f"{where}: the score is {score!r}; it must be a number between -1e30 and 1e30")
    return array("f", [score])[0]
