"""subword_merges: merges with drops, against algorithm 1 of Provilkov et al. 2020: all that may happen, enumerated."""

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencing_np.errors import ConfigError
from sequencing_np.subword_merges import Drops, merge, merge_some

RANKS = {"ab": 4, "bc": 1, "abc": 3, "aa": 2, "bcab": 5, "ca": 0}
WORDS = st.text("abc", max_size=11)
DRAWS = 20_000


def drops(share: float, seed: int = 1) -> Drops:
    return Drops(share, random.Random(seed))


def outcomes(parts: tuple[str, ...], share: float) -> Counter[tuple[str, ...]]:
    """How likely each way to end is: at every step each possible merge is dropped or not, all cases in turn."""
    joined = [(RANKS[a + b], place) for place, (a, b) in enumerate(itertools.pairwise(parts)) if a + b in RANKS]
    found: Counter[tuple[str, ...]] = Counter()
    for dropped in itertools.product([True, False], repeat=len(joined)):
        chance = 1.0
        for one in dropped:
            chance *= share if one else 1 - share
        left = [merge for merge, gone in zip(joined, dropped, strict=True) if not gone]
        if not left:
            found[parts] += chance  # type: ignore[assignment]
            continue
        _, place = min(left)
        after = (*parts[:place], parts[place] + parts[place + 1], *parts[place + 2 :])
        for end, likely in outcomes(after, share).items():
            found[end] += chance * likely  # type: ignore[assignment]
    return found


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("word", ["abc", "aabca", "bcabab"])
def test_each_way_is_as_likely_as_in_the_paper(word: str, share: float) -> None:
    """Within five deviations of what so many draws show."""
    wanted = outcomes(tuple(word), share)
    assert sum(wanted.values()) == pytest.approx(1)
    chance = drops(share)
    met = Counter(tuple(merge_some(word, RANKS, chance)) for _ in range(DRAWS))
    assert set(met) <= set(wanted)
    for way, likely in wanted.items():
        assert abs(met[way] - DRAWS * likely) < 5 * (DRAWS * likely * (1 - likely)) ** 0.5 + 1, way


@given(WORDS)
def test_without_drops_all_is_merged(word: str) -> None:
    assert merge_some(word, RANKS, drops(0)) == merge(word, RANKS)


@given(WORDS, st.floats(0, 0.999), st.integers(0, 10**9))
def test_whatever_is_dropped_the_word_stays(word: str, share: float, seed: int) -> None:
    parts = merge_some(word, RANKS, drops(share, seed))
    assert "".join(parts) == word and all(len(part) == 1 or part in RANKS for part in parts)


def test_where_all_is_dropped_characters_remain() -> None:
    word = "abcabcaabc" * 20
    assert merge_some(word, RANKS, drops(1 - 1e-12)) == list(word)


def test_long_words_are_fast_enough() -> None:
    """In some scripts a sentence has no spaces."""
    assert "".join(merge_some("abcaabc" * 5_000, RANKS, drops(0.1))) == "abcaabc" * 5_000


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_draws(share: float) -> None:
    """k drops have probability share^k (1 - share)."""
    chance = drops(share)
    met = Counter(chance.draw() for _ in range(DRAWS))
    for dropped in range(6):
        likely = share**dropped * (1 - share)
        assert abs(met[dropped] - DRAWS * likely) <= 5 * (DRAWS * likely * (1 - likely)) ** 0.5


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_shares_that_cannot_be(share: float) -> None:
    with pytest.raises(ConfigError, match="must be from 0"):
        drops(share)
