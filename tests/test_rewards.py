"""rewards: against sacreBLEU and slow definitions; guards; functions of the user's; processes that count."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF

from sequencing.rewards import (
    REWARDS,
    Rewarder,
    Task,
    check_reward,
    dense,
    gleu_of,
    repeated,
    rewarded,
    scored,
)
from sequencing.train_config import ObjectiveConfig
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.metrics import sentence_bleu_prefixes

TEXTS = ["the cat sat on the mat", "a cat", "", "dogs bark, loudly!"]
WANTED = ["the cat sat on a mat", "a dog barked here", "silence", "dogs bark, loudly!"]
WORDS = st.lists(st.sampled_from("abc"), max_size=8)


@pytest.mark.parametrize("name", REWARDS)
def test_the_reference_itself_is_worth_one(name: str) -> None:
    assert scored(name, WANTED, WANTED) == pytest.approx([1.0] * len(WANTED)), name
    found = scored(name, TEXTS, WANTED)
    assert all(score < 1 + 1e-9 for score in found) and found[3] == pytest.approx(1) and found[2] < 0.01


def test_bleu_and_chrf_are_sacrebleus() -> None:
    for name, metric in (("bleu", BLEU(effective_order=True)), ("chrf", CHRF())):
        wanted = [metric.sentence_score(a, [b]).score / 100 for a, b in zip(TEXTS, WANTED, strict=True)]
        assert scored(name, TEXTS, WANTED) == wanted
    characters = BLEU(effective_order=True, tokenize="char").sentence_score("abcx", ["abcd"]).score / 100
    assert scored("bleu", ["abcx"], ["abcd"], "char") == [characters] != scored("bleu", ["abcx"], ["abcd"])


@given(WORDS, WORDS)
def test_gleu_is_the_smaller_of_precision_and_recall(words: list[str], reference: list[str]) -> None:
    """In plain loops: each n-gram of one side crosses one out of the other."""

    def runs(side: list[str]) -> list[tuple[str, ...]]:
        return [tuple(side[i : i + n]) for n in range(1, 5) for i in range(len(side) - n + 1)]

    left, hits = runs(reference), 0
    for gram in runs(words):
        if gram in left:
            left.remove(gram)
            hits += 1
    sizes = [len(runs(side)) for side in (words, reference)]
    wanted = min(hits / size if size else float(not any(sizes)) for size in sizes) if any(sizes) else 1.0
    assert gleu_of(words, reference) == pytest.approx(wanted)


def test_edits_by_hand() -> None:
    assert scored("edit", ["a b c d"], ["a x c"]) == [pytest.approx(1 - 2 / 4)]
    assert scored("character_edit", ["kitten"], ["sitting"]) == [pytest.approx(1 - 3 / 7)]
    assert scored("phoneme_error", ["K AE T S", "a b c d e"], ["K AH T", "x"]) == [pytest.approx(1 / 3), -4.0]
    assert scored("exact", ["a", "a "], ["a", "a"]) == [1.0, 0.0]


def task(rows: list[list[int]], references: list[list[int]], finished: list[bool]) -> Task:
    texts = [[" ".join(map(str, ids)) for ids in side] for side in (rows, references)]
    return Task(rows, [[ids] for ids in references], finished, texts[0], [[text] for text in texts[1]])


def test_delta_bleu_is_what_each_token_adds() -> None:
    """Inventory row A46: what it and all later ones earned is the final BLEU less that of the words before it."""
    rows, references = [[4, 5, 6], [9, 5], []], [[4, 5, 7, 6], [5, 9], [4]]
    found = rewarded(task(rows, references, [True, True, True]), ObjectiveConfig(reward="delta_bleu"), "")
    for own, ids, reference in zip(found, rows, references, strict=True):
        assert len(own) == len(ids) + 1 and own[-1] == 0, "the end symbol adds nothing"
        scores = np.concatenate([[0.0], sentence_bleu_prefixes(ids, reference)])
        np.testing.assert_allclose(np.cumsum(own[:-1]), scores[1:], atol=1e-12)
        returns = np.cumsum(own[::-1])[::-1][: len(ids)]
        np.testing.assert_allclose(returns, scores[-1] - scores[:-1], atol=1e-12)


@pytest.mark.parametrize("name", ["exact", "delta_bleu"])
def test_a_sentence_that_was_cut_earns_nothing(name: str) -> None:
    config = ObjectiveConfig(reward=name)
    whole, cut = (rewarded(task([[4, 5]], [[4, 5]], [end]), config, "")[0] for end in (True, False))
    assert sum(whole) == pytest.approx(1) and sum(cut) == pytest.approx(0)
    assert len(whole) == 3 and len(cut) == 2, "it has no end symbol"
    worse = rewarded(task([[4] * 9], [[5]], [False]), ObjectiveConfig(reward="phoneme_error"), "")[0]
    assert sum(worse) == pytest.approx(-8), "and no less than nothing is made of what is below it"


def test_guards_by_hand() -> None:
    config = ObjectiveConfig(reward="exact", length_guard=0.5, repetition_guard=2.0)
    long, same, babble = [4, 5, 6, 7], [4, 5], [4, 4, 4, 4, 4]
    rows = rewarded(task([long, same, babble], [[4, 5]] * 3, [True] * 3), config, "")
    assert [sum(row) for row in rows] == pytest.approx([-0.5 * 2 / 2, 1.0, -0.5 * 3 / 2 - 2.0 * 3 / 4])
    assert repeated([4, 4, 4], [4, 4, 4]) == 0, "what the reference says again may be said again"
    assert repeated([4, 4, 4], [4, 4]) == 1 / 2
    assert repeated([], [4]) == repeated([4], []) == 0


@pytest.mark.parametrize("name", ["chrf", "exact", "delta_bleu"])
def test_of_several_references_the_best_counts(name: str) -> None:
    rows, references = [[4, 5, 6], [7, 8]], [[[9], [4, 5, 7], [4, 5, 6]], [[4], [7, 9]]]
    several = Task(
        rows,
        references,
        [True, True],
        [" ".join(map(str, ids)) for ids in rows],
        [[" ".join(map(str, ids)) for ids in some] for some in references],
    )
    config = ObjectiveConfig(reward=name, length_guard=0.3)
    each = [
        [rewarded(task([ids], [one], [True]), config, "")[0] for one in some]
        for ids, some in zip(rows, references, strict=True)
    ]
    assert rewarded(several, config, "") == [max(some, key=sum) for some in each]


# --- functions of the user's ----------------------------------------------------------------------------------------

OWN = """\
import os

def vowels(texts, references):
    return [sum(map(text.count, "aeiou")) for text in texts]

def short(texts, references):
    return [1.0]

def broken(texts, references):
    return [float("nan")] * len(texts)

def angry(texts, references):
    raise ValueError("no")

def places(texts, references):
    return range(len(texts))
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_bytes(OWN.encode())
    return tmp_path / "own.py"


def test_a_function_of_ones_own(own: Path) -> None:
    check_reward(f"{own}:vowels")
    assert scored(f"{own}:vowels", TEXTS, WANTED) == [6.0, 2.0, 0.0, 4.0]


def test_answers_that_are_the_same_are_asked_about_once(own: Path) -> None:
    """`places` says where in the list a text stood."""
    asked = task([[4], [5], [4], [4]], [[4], [4], [4], [6]], [True] * 4)
    rows = rewarded(asked, ObjectiveConfig(reward=f"{own}:places"), "")
    assert [row[-1] for row in rows] == [0.0, 1.0, 0.0, 2.0]


@pytest.mark.parametrize(("name", "words"), [("short", "1 numbers"), ("broken", "not finite"), ("angry", "ValueError")])
def test_a_function_that_fails_is_named(name: str, words: str, own: Path) -> None:
    with pytest.raises(DataError, match=words) as raised:
        scored(f"{own}:{name}", TEXTS, WANTED)
    assert f"own.py:{name}" in str(raised.value)


@pytest.mark.parametrize("name", ["bleuu", "nowhere:f", "own.py:f", "math:", "sequencing.rewards:nothing"])
def test_a_reward_that_is_none(name: str) -> None:
    with pytest.raises(ConfigError, match=r"train\.objective\.reward"):
        check_reward(name)


# --- who counts -----------------------------------------------------------------------------------------------------


def test_processes_count_the_same(own: Path) -> None:
    rows = [list(row) for row in itertools.product([4, 5, 6], repeat=3)]
    asked = task(rows, rows[::-1], [row[0] != 4 for row in rows])
    for name in ("bleu", "delta_bleu", f"{own}:vowels"):
        alone = Rewarder(ObjectiveConfig(reward=name), "").ask(asked)()
        helped = Rewarder(ObjectiveConfig(reward=name, workers=2), "")
        try:
            assert helped.ask(asked)() == alone
            assert helped.pool is not None
        finally:
            helped.close()
        assert helped.pool is None


def test_errors_come_back_from_processes(own: Path) -> None:
    rewarder = Rewarder(ObjectiveConfig(reward=f"{own}:angry", workers=1), "")
    try:
        waiting = rewarder.ask(task([[4]], [[4]], [True]))
        with pytest.raises(DataError, match="ValueError: no"):
            waiting()
    finally:
        rewarder.close()


def test_dense() -> None:
    rows: Any = [[1.0], [1.0, 2.0], [], [3.0]]
    assert dense(rows, (2, -1, 3)).tolist() == [[[1, 0, 0], [1, 2, 0]], [[0, 0, 0], [3, 0, 0]]]
