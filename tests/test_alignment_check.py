"""Shifted corpora are found, those that are not shifted are left in peace (D10)."""

import gzip
import random
from itertools import pairwise

import pytest

from pages import ROOT
from sequencing.corpora.alignment_check import FARTHEST, Shift, find_shift

SAMPLES = ["tatoeba-en-de/train.tsv.gz", "tatoeba-en-zh/train.tsv.gz", "cmudict-g2p/train.tsv.gz"]
SAMPLES += ["transliteration-ar-en/train.tsv.gz", "numbers-en-de/train.tsv.gz", "scan/length.train.tsv.gz"]
BY = [by for by in range(-FARTHEST, FARTHEST + 1) if by]


def shifted(pairs: list, by: int) -> list:
    """Source n stands beside target n - by."""
    sources, targets = zip(*pairs, strict=True)
    return list(zip(sources[max(0, -by) :], targets[max(0, by) :], strict=False))


def sample(pairs: list, generator: random.Random, runs: int = 6, rows: int = 60) -> list:
    starts = sorted(generator.randrange(len(pairs) - rows) for _ in range(runs))
    return [pairs[start : start + rows] for start in starts]


def synthetic(generator: random.Random, rows: int = 1500) -> list:
    """Sentences of words that mean nothing, some with a number or a question mark."""
    pairs = []
    for _ in range(rows):
        words = ["w" * generator.randint(1, 9) for _ in range(generator.randint(1, 14))]
        if generator.random() < 0.3:
            words.append(str(generator.randrange(10_000)))
        end = generator.choice([".", "?", "!", ""])
        foreign = [
            word if word.isdigit() else "v" * max(1, len(word) + generator.randint(-2, 3)) for word in words[::-1]
        ]
        pairs.append((" ".join(words) + end, " ".join(foreign) + end))
    return pairs


@pytest.mark.parametrize("first", range(0, 100, 25))
def test_synthetic_text(first: int) -> None:
    for seed in range(first, first + 25):
        generator = random.Random(seed)
        pairs = synthetic(generator)
        assert find_shift(sample(pairs, generator)) is None, seed
        by = generator.choice(BY)
        found = find_shift(sample(shifted(pairs, -by), generator))
        assert found is not None and found.by == by, seed


@pytest.mark.parametrize("name", SAMPLES)
def test_real_text(name: str) -> None:
    path = ROOT.parent / "shared" / "data" / name
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    lines = gzip.decompress(path.read_bytes()).decode().split("\n")[:12_000]
    pairs = [tuple(line.split("\t")) for line in lines if line]
    for seed in range(100 if "tatoeba-en-de" in name else 10):
        generator = random.Random(seed)
        assert find_shift(sample(pairs, generator)) is None, seed
        by = generator.choice(BY)
        found = find_shift(sample(shifted(pairs, -by), generator, runs=8))
        assert found is not None and found.by == by, seed


def test_a_line_that_is_missing_in_the_middle() -> None:
    generator = random.Random(7)
    pairs = synthetic(generator)
    sources, targets = zip(*pairs, strict=True)
    broken = list(zip(sources, targets[:1100] + targets[1101:], strict=False))
    runs = [broken[start : start + 100] for start in range(0, 1400, 100)]
    found = find_shift(runs)
    assert found == Shift(-1, [11, 12, 13])
    assert found.sentence("news").startswith(
        "news: the two sides seem to be shifted: sources are more like the targets that stand 1 row earlier"
    )


def test_what_says_nothing() -> None:
    assert find_shift([]) is None and find_shift([[], []]) is None
    assert find_shift([[("a", "b")]] * 100) is None
    assert find_shift([[("same", "gleich")] * 100] * 3) is None
    generator = random.Random(7)
    sides = [["x" * generator.randint(1, 99) for _ in range(1500)] for _ in range(2)]
    for _ in range(20):
        assert find_shift(sample(list(zip(*sides, strict=True)), generator)) is None, "unrelated sides fit nowhere"


def test_a_dialogue_is_not_shifted() -> None:
    """Each answer is the source of the next pair: the corpus is made so."""
    generator = random.Random(7)
    said = [source for source, _ in synthetic(generator)]
    assert find_shift(sample(list(pairwise(said)), generator)) is None
