"""The tree of a search: on a decoder whose sums are made by hand it is the tree that enumeration finds."""

import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import numpy as np
import pytest

from sequencing.inspection.search_tree import CUT, DROPPED, ENDED, KEPT, Step, Tree, Watched, tree_of
from sequencing.inspection.tree_picture import tree_svg
from sequencing_np.beam import BeamFeedBack
from sequencing_np.decode import dynamic_decode
from sequencing_np.errors import UsageError
from sequencing_np.feedback import Hypothesis, SampleFeedBack
from sequencing_np.limits import Limits
from table_decoder import SPECIAL, Table, TableDecoder, random_table

SIZE = 9  # ids: the four special ones and five words
EOS = SPECIAL.eos


def searched(table: Table, size: int, floor: str = "numpy", limits: Limits = Limits(0, 6, 6), **options) -> Tree:
    """The tree of a beam search, or of a greedy one for size 1."""
    decoder = TableDecoder(table, floor)
    inside = BeamFeedBack(SPECIAL, size, limits, **options) if size > 1 else SampleFeedBack(SPECIAL, limits)
    watched = Watched(inside, SPECIAL, size)
    (answers,) = dynamic_decode(decoder, decoder.memory([3]), watched)
    return tree_of(watched.steps, inside.finished[0] if size > 1 else answers, EOS, size)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.log(np.exp(logits - logits.max()).sum()) - logits.max()


def by_hand(table: Table, size: int, longest: int) -> list[set[tuple[tuple[int, ...], str]]]:
    """What each step of a plain beam search without early stop does with its best candidates, by sorting them all."""
    open_, places, steps = [((), 0.0)], size, []
    for step in range(longest):
        candidates = sorted(
            (-(total + value), token, words)
            for words, total in open_
            for token, value in enumerate(log_softmax(table(0, words)))
            if token not in (SPECIAL.pad, SPECIAL.bos)
        )[:size]
        fates, going = set(), []
        for rank, (total, token, words) in enumerate(candidates):
            last = step + 1 == longest
            fate = DROPPED if rank >= places else ENDED if token == EOS else CUT if last else KEPT
            fates.add(((*words, token), fate))
            going += [((*words, token), -total)] if fate == KEPT else []
        steps.append(fates)
        places -= sum(fate in (ENDED, CUT) for _, fate in fates)
        open_ = going
        if not open_:
            break
    return steps


@pytest.mark.parametrize("floor", ["numpy", "torch"])
@pytest.mark.parametrize("seed", range(8))
def test_the_tree_is_the_search_that_is_made_by_hand(seed: int, floor: str) -> None:
    table = random_table(seed, SIZE)
    tree = searched(table, 4, floor, n_best=4)  # with four answers wanted it never stops early
    for number, fates in enumerate(by_hand(table, 4, 6), 1):
        shown = {(tuple(tree.path(place)), node.fate) for place, node in enumerate(tree.nodes) if node.step == number}
        assert {each for each in fates if each[1] != DROPPED} == {each for each in shown if each[1] != DROPPED}
        assert {path for path, _ in fates} <= {path for path, _ in shown}, "what was dropped stands there too"


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("seed", range(6))
def test_every_sum_is_right_and_the_best_path_is_the_answer(seed: int, size: int) -> None:
    table = random_table(seed, SIZE)
    tree = searched(table, size)
    for place, node in enumerate(tree.nodes[1:], 1):
        words = tree.path(place)
        own = [log_softmax(table(0, tuple(words[:step])))[words[step]] for step in range(len(words))]
        assert node.parent < place and node.step == len(words) == tree.nodes[node.parent].step + 1
        assert node.log_prob == pytest.approx(own[-1]) and node.total == pytest.approx(sum(own))
        assert tree.nodes[node.parent].fate == KEPT, "only what was kept has children"
        assert np.isnan(node.score) == (node.fate in (KEPT, DROPPED))
    best = [place for place, node in enumerate(tree.nodes) if node.best]
    assert all(tree.nodes[child].parent == parent for parent, child in pairwise(best)) and best[0] == 0
    answer = tree.answers[0]
    assert tree.path(best[-1]) == [*answer.tokens, *[EOS] * answer.finished]
    assert tree.nodes[best[-1]].score == pytest.approx(answer.score)
    assert tree.nodes[best[-1]].total == pytest.approx(answer.log_prob)
    for step in range(1, 7):
        of_step = [node for node in tree.nodes if node.step == step]
        assert sum(node.fate == KEPT for node in of_step) <= size
        assert sum(node.fate == DROPPED for node in of_step) <= size
    assert sum(node.fate in (ENDED, CUT) for node in tree.nodes) == len(tree.answers) <= size
    assert len({tuple(tree.path(place)) for place in range(len(tree.nodes))}) == len(tree.nodes)


def test_the_watched_search_says_what_it_says_alone() -> None:
    table, limits = random_table(3, SIZE), Limits(0, 6, 6)
    decoder = TableDecoder(table)
    memory = decoder.memory([3])
    alone = dynamic_decode(decoder, memory, BeamFeedBack(SPECIAL, 3, limits))
    assert dynamic_decode(decoder, memory, Watched(BeamFeedBack(SPECIAL, 3, limits), SPECIAL, 3)) == alone


def test_no_answer_leaves_what_there_was() -> None:
    table = random_table(1, SIZE)
    tree = searched(lambda sentence, words: table(sentence, words) * (np.nan if len(words) == 2 else 1), 3)
    assert tree.answers == [] and not any(node.best for node in tree.nodes)
    assert {node.step for node in tree.nodes if node.fate == KEPT} == {0, 1, 2}
    assert "<svg" in tree_svg(tree, {token: str(token) for token in range(SIZE)}, str)


def test_one_sentence_at_a_time() -> None:
    decoder = TableDecoder(random_table(1, SIZE))
    with pytest.raises(UsageError, match="one at a time"):
        dynamic_decode(decoder, decoder.memory([2, 3]), Watched(BeamFeedBack(SPECIAL, 2), SPECIAL, 2))


# --- the picture ----------------------------------------------------------------------------------------------------

NAME = "{http://www.w3.org/2000/svg}"


def test_the_picture_shows_each_node_and_a_line_to_its_parent() -> None:
    tree = searched(random_table(2, SIZE), 3)
    words = {token: f"<w{token}>" for token in range(SIZE)}
    picture = ElementTree.fromstring(tree_svg(tree, words, lambda ids: " ".join(words[token] for token in ids)))
    groups = list(picture.iter(f"{NAME}g"))
    assert len(groups) == len(tree.nodes) and len(list(picture.iter(f"{NAME}path"))) == len(tree.nodes) - 1
    for group, (place, node) in zip(groups, enumerate(tree.nodes), strict=True):
        classes = set(str(group.get("class")).split())
        assert node.fate in classes and ("best" in classes) == node.best
        title, label, _ = (part.text or "" for part in group if part.tag != f"{NAME}rect")
        if place:
            assert label == words[node.token] and f"{node.total:.4f} in all" in title
            assert title.startswith(" ".join(words[token] for token in tree.path(place)))
    boxes = [(float(str(box.get("x"))), float(str(box.get("y")))) for box in picture.iter(f"{NAME}rect")]
    assert len(set(boxes)) == len(boxes), "no two in one place"


def test_children_stand_right_of_their_parents_and_likelier_ones_above() -> None:
    tree = searched(random_table(5, SIZE), 4)
    picture = ElementTree.fromstring(tree_svg(tree, {token: str(token) for token in range(SIZE)}, str))
    boxes = [(float(str(box.get("x"))), float(str(box.get("y")))) for box in picture.iter(f"{NAME}rect")]
    for place, node in enumerate(tree.nodes[1:], 1):
        assert boxes[place][0] > boxes[node.parent][0]
        for other, rival in enumerate(tree.nodes):
            same_kind = (rival.step, rival.fate == DROPPED) == (node.step, node.fate == DROPPED)
            if same_kind and rival.total > node.total:
                assert boxes[other][1] < boxes[place][1]


def test_a_long_search_is_drawn_to_a_limit() -> None:
    answer = Hypothesis([5] * 99, -1.0, -99.0, [-1.0] * 100, None, True)
    row = np.zeros(1, dtype=np.int64)
    step = (row, row + 5, row - 1.0, np.zeros((1, 0), dtype=np.int64), np.zeros((1, 0)))
    tree = tree_of([Step(*step)] * 99, [answer], EOS, 2)
    picture = ElementTree.fromstring(tree_svg(tree, {5: "x", EOS: "</s>"}, str))
    assert len(tree.nodes) == 101 and len(list(picture.iter(f"{NAME}g"))) == 61
