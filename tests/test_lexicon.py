"""lexicon: IBM Model 1 against a count by hand, invented languages that it must see through, and shortlists of it."""

import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencing import lexicon
from sequencing.__main__ import main
from sequencing.lexicon import covered, learn, shortlist_of
from sequencing_np.errors import UsageError
from sequencing_np.model_folder import read_model_folder
from sequencing_np.shortlist import Shortlist
from sequencing_np.translate import Translator
from tiny_models import SOURCES, TARGETS, write_run

SENTENCES = st.lists(
    st.tuples(st.lists(st.integers(0, 4), max_size=5), st.lists(st.integers(0, 6), max_size=5)), min_size=1, max_size=8
)


def by_hand(pairs: Any, sizes: tuple[int, int], iterations: int) -> dict[tuple[int, int], float]:
    """Brown et al. 1993 as a loop over sentences, target tokens and source tokens."""
    likely: dict[tuple[int, int], float] = defaultdict(lambda: 1.0)
    for _ in range(iterations):
        counts: dict[tuple[int, int], float] = defaultdict(float)
        totals: dict[int, float] = defaultdict(float)
        for source, target in pairs:
            for word in target:
                whole = sum(likely[each, word] for each in (sizes[0], *source))
                for each in (sizes[0], *source):
                    counts[each, word] += likely[each, word] / whole
                    totals[each] += likely[each, word] / whole
        likely = defaultdict(float, {pair: count / totals[pair[0]] for pair, count in counts.items()})
    return likely


@given(SENTENCES, st.integers(1, 4), st.integers(1, 60))
def test_model_one_is_counted_right(pairs: Any, iterations: int, block: int) -> None:
    """However many pairings are looked at together."""
    whole, lexicon.BLOCK = lexicon.BLOCK, block
    try:
        found = learn(pairs, (5, 7), iterations)
    finally:
        lexicon.BLOCK = whole
    expected = by_hand(pairs, (5, 7), iterations)
    keys = list(zip(found.sources.tolist(), found.targets.tolist(), strict=True))
    assert keys == sorted(expected)
    np.testing.assert_allclose(found.probabilities, [expected[key] for key in keys], rtol=1e-12)
    words = [word for _, target in pairs for word in target]
    assert found.counts.tolist() == np.bincount(np.array(words, dtype=int), minlength=7).tolist()


def test_an_invented_language_is_found_out() -> None:
    """Each word has two translations in any order, and a particle comes from no word."""
    chance = random.Random(1)
    pairs = []
    for _ in range(400):
        source = [chance.randrange(10) for _ in range(chance.randint(1, 6))]
        target = [2 * word + chance.randrange(2) for word in source] + [20]
        chance.shuffle(target)
        pairs.append((source, target))
    table = shortlist_of(learn(pairs, (10, 21)), 2, 1)
    assert table.common.tolist() == [20], "the most frequent one"
    for word in range(10):
        assert set(table.of([word]).tolist()) == {2 * word, 2 * word + 1, 20}
    assert covered(table, pairs) == (400, 1.0, pytest.approx(np.mean([len(table.of(source)) for source, _ in pairs])))
    few = shortlist_of(learn(pairs, (10, 21)), 1, 1)
    assert 0.5 < covered(few, pairs).share < 0.9


def test_of_what_was_never_seen_the_common_ones_are_left() -> None:
    table = shortlist_of(learn([([0, 1], [3])], (4, 5)), 2, 9)
    assert table.common.tolist() == [3] and table.starts.tolist() == [0] * 5, "what all have is in no row"
    assert table.of([2]).tolist() == [3] and table.of([2], [1, 3]).tolist() == [1, 3]
    with pytest.raises(UsageError, match="no pairs"):
        learn([], (4, 5))


def test_enough_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexicon, "MOST", 5)
    assert learn([([0], [1])] * 9, (2, 2)).counts.tolist() == [0, 3], "two pairings a pair, until there are five"


# --- as an option of export -----------------------------------------------------------------------------------------


def test_export_makes_one(tmp_path: Path, capsys: Any) -> None:
    run, pairs = write_run(tmp_path / "run"), tmp_path / "pairs.tsv"
    letters = dict(zip(SOURCES, TARGETS, strict=False))
    chance = random.Random(2)
    lines = [[chance.choice(SOURCES) for _ in range(4)] for _ in range(80)]
    pairs.write_text("".join(f"{' '.join(line)}\t{''.join(letters[word] for word in line)}\n" for line in lines))
    options = ["--shortlist", str(pairs), "--likeliest", "1", "--common", "1", "--weights", "int8"]
    assert main(["export", str(run), str(tmp_path / "model"), *options]) == 0
    said = capsys.readouterr().err
    assert "shortlist: " in said and f"of {len(TARGETS) + 4} tokens for a sentence, among them 100.0% of" in said
    table = read_model_folder(tmp_path / "model").shortlist
    assert isinstance(table, Shortlist)
    subject = Translator.load(tmp_path / "model")
    for word in SOURCES:
        assert subject.target_vocab.encode(letters[word])[0] in table.of(subject.source_vocab.encode(word))
    for side, column in (("s", 0), ("t", 1)):
        rows = pairs.read_text().split("\n")[:-1]
        (tmp_path / side).write_text("".join(row.split("\t")[column] + "\n" for row in rows))
    options[1:2] = [str(tmp_path / "s"), str(tmp_path / "t")]
    assert main(["export", str(tmp_path / "model"), str(tmp_path / "two"), *options]) == 0
    again = read_model_folder(tmp_path / "two").shortlist
    assert again is not None and all((one == other).all() for one, other in zip(again, table, strict=True))
    assert main(["export", str(tmp_path / "two"), str(tmp_path / "three")]) == 0
    assert read_model_folder(tmp_path / "three").shortlist is not None, "a copy has it too"


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--likeliest", "3"], 2, "--likeliest is an option of a shortlist; add --shortlist"),
        (["--shortlist", "none.tsv", "--common", "0"], 2, "--common 0: must be 1 or more"),
        (["--shortlist", "none.tsv"], 4, "none.tsv"),
        (["--shortlist", "a", "b", "c"], 3, "has 3 files"),
    ],
)
def test_what_export_refuses(options: list[str], code: int, words: str, tmp_path: Path, capsys: Any) -> None:
    run = write_run(tmp_path / "run")
    assert main(["export", str(run), str(tmp_path / "model"), *options]) == code
    assert words in capsys.readouterr().err and not (tmp_path / "model").exists()
