"""How the four kinds of SentencePiece models cut a text that is normalised: byte pairs, unigram, words, characters.

Each is given all pieces with their scores and cuts a text into pieces, or into single characters that are none. Knows
nothing of ids.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from math import inf
from random import Random
from typing import Any, NamedTuple, Protocol

from sequencing_np.config import require
from sequencing_np.piece_table import SPACE
from sequencing_np.special import no_merges
from sequencing_np.subword_merges import Drops, merge, merge_some
from sequencing_np.unigram_cuts import UNKNOWN_PENALTY, Cut, UnigramCuts, drawn, score_of

SHARPEST = 1e6
BONUS = 0.1  # of each byte but one of what the user has defined


class Pieces(NamedTuple):
    """What can be cut from a text: pieces and their scores, and which of them are of another type than normal."""

    scores: Mapping[str, float]
    defined: Sequence[str]  # by the user: always found first
    unused: frozenset[str]  # may be passed through, but not be the answer
    suffix: bool  # a space belongs to the word before it


class Cutter(Protocol):
    """One kind of model. What `words` finds in a text is cut as if it stood alone, but for the rounding of sums."""

    @property
    def words(self) -> re.Pattern[str] | None: ...

    def cut(self, word: str) -> Cut: ...

    def whole(self, text: str) -> list[str]: ...

    def sampler(self, dropout: float, generator: Random) -> Callable[[str], list[str]]: ...


def found_first(symbols: Sequence[str]) -> re.Pattern[str] | None:
    """What splits a text at symbols, the longest first."""
    longest = sorted(symbols, key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest))})") if symbols else None


def apart(pieces: Pieces) -> re.Pattern[str] | None:
    """What finds words that no piece crosses the start (or where spaces follow, the end) of; None: there are none."""
    inside = re.compile(f"{SPACE}[^{SPACE}]" if pieces.suffix else f"[^{SPACE}]{SPACE}", re.DOTALL)
    if any(map(inside.search, pieces.scores)):
        return None
    return re.compile(f"[^{SPACE}]+{SPACE}*|{SPACE}+" if pieces.suffix else f"{SPACE}*[^{SPACE}]+|{SPACE}+", re.DOTALL)


class BytePairCuts:
    """Byte pairs: the best score first. What the user has defined is neither cut nor merged."""

    def __init__(self, pieces: Pieces) -> None:
        self._ranks: dict[str, Any] = {piece: -score for piece, score in pieces.scores.items()}
        self._defined = found_first(pieces.defined)
        self._unused = pieces.unused
        self.words = None if pieces.unused else apart(pieces)

    def cut(self, word: str) -> Cut:
        return Cut(self.whole(word), 0.0, inf)

    def whole(self, text: str) -> list[str]:
        if not self._unused:
            return self._between(text, lambda part: merge(part, self._ranks))
        halves: dict[str, tuple[str, str]] = {}
        return self._apart(self._between(text, lambda part: merge(part, self._ranks, halves)), halves)

    def sampler(self, dropout: float, generator: Random) -> Callable[[str], list[str]]:
        """Each merge is dropped with this probability (Provilkov et al. 2020); pieces that are unused may remain."""
        drops = Drops(dropout, generator)
        return lambda text: self._between(text, lambda part: merge_some(part, self._ranks, drops))

    def _between(self, text: str, cut: Callable[[str], list[str]]) -> list[str]:
        if self._defined is None:
            return cut(text)
        found: list[str] = []
        for position, part in enumerate(self._defined.split(text)):
            found += [part] if position % 2 else cut(part)
        return found

    def _apart(self, found: list[str], halves: Mapping[str, tuple[str, str]]) -> list[str]:
        """Unused pieces taken to the last two that were seen to make them, those again, and so on."""
        result: list[str] = []
        waiting = found[::-1]
        while waiting:
            piece = waiting.pop()
            if piece in self._unused and piece in halves:
                waiting += halves[piece][::-1]
            else:
                result.append(piece)
        return result


class LanguageModelCuts:
    """Unigram: the largest sum of scores. What the user has defined is worth more than what was learnt."""

    def __init__(self, pieces: Pieces) -> None:
        defined = set(pieces.defined)
        normal = [score for piece, score in pieces.scores.items() if piece not in defined | pieces.unused]
        scores = {piece: score for piece, score in pieces.scores.items() if piece not in pieces.unused}
        for piece in pieces.defined:
            scores[piece] = score_of(len(piece.encode()) * BONUS - BONUS, piece)
        unknown = min(normal) if normal else 0.0
        self._cuts = UnigramCuts(scores, score_of(unknown - UNKNOWN_PENALTY, "the worst of all scores"))
        self.words = apart(pieces)

    def cut(self, word: str) -> Cut:
        return self._cuts.best(word)

    def whole(self, text: str) -> list[str]:
        return self._cuts.exact(text)

    def sampler(self, dropout: float, generator: Random) -> Callable[[str], list[str]]:
        """A way of probability p with probability p ** ((1 - dropout) / dropout), as Unigram does it."""
        require(0 <= dropout < 1, f"dropout {dropout}: must be from 0 (none) to below 1")
        if not dropout:
            return self.whole
        sharpness = min((1 - dropout) / dropout, SHARPEST)
        return lambda text: drawn(text, self._cuts.ways(text, sharpness), generator)


class WordCuts:
    """Words are the pieces."""

    def __init__(self, pieces: Pieces) -> None:
        self.words = re.compile(f"{SPACE}[^{SPACE}]*|[^{SPACE}]+", re.DOTALL)  # whichever side spaces belong to

    def cut(self, word: str) -> Cut:
        return Cut([word], 0.0, inf)

    def whole(self, text: str) -> list[str]:
        return [text]

    def sampler(self, dropout: float, generator: Random) -> Callable[[str], list[str]]:
        no_merges(dropout)


class CharacterCuts:
    """Characters are the pieces, and what the user has defined."""

    words = None

    def __init__(self, pieces: Pieces) -> None:
        self._defined = found_first(pieces.defined)

    def cut(self, word: str) -> Cut:
        return Cut(self.whole(word), 0.0, inf)

    def whole(self, text: str) -> list[str]:
        if self._defined is None:
            return list(text)
        parts = enumerate(self._defined.split(text))
        return [piece for place, part in parts for piece in ([part] if place % 2 else part)]

    def sampler(self, dropout: float, generator: Random) -> Callable[[str], list[str]]:
        no_merges(dropout)


CUTTERS: dict[str, Callable[[Pieces], Cutter]] = {
    "bpe": BytePairCuts,
    "unigram": LanguageModelCuts,
    "word": WordCuts,
    "char": CharacterCuts,
}
