"""translate: text to text, in order, in any batches, with answers as they were found."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from architectures import DRAWN, architecture, model_on, name_of, source_side
from sequencing_np.errors import ConfigError
from sequencing_np.limits import Limits
from sequencing_np.search import SearchConfig
from sequencing_np.state import Memory
from sequencing_np.translate import Translator
from sequencing_np.vocab import Vocab
from table_decoder import TableDecoder, random_table

LIMITS = Limits(1.0, 4)
LINES = ["w4 w5 w6", "", "w7", "w4 nobody w9 w9 w9 w10 w11", "   ", "w7", "w12 w4", "w5 w6 w7 w8 w9 w10", "\u00a0"]
BLANK = [1, 4, 8]


def vocab(size: int) -> Vocab:
    return Vocab([f"w{token}" for token in range(4, size)])


def translator(index: int = 0, floor: str = "numpy", limits: Limits = LIMITS) -> Translator:
    config = architecture(index)
    source, _ = source_side(config, vocab(config.source_size), [])
    return Translator(model_on(index, floor), source, vocab(config.target_size), limits)


class TableModel:
    """A model whose encoder only counts; sentences are told apart by their first id."""

    def __init__(self, table: Any) -> None:
        self.decoder = TableDecoder(table)
        self.arrays = self.decoder.arrays
        self.batches: list[tuple[int, ...]] = []

    def encode(self, source: np.ndarray, mask: np.ndarray) -> Memory:
        self.batches.append(source.shape)
        empty = np.zeros((*mask.shape, 1))
        return Memory(empty, empty, mask, source[:, :1].astype(np.float64), source)


def table_translator(table: Any = None, limits: Limits = LIMITS) -> tuple[Translator, TableModel]:
    model = TableModel(table or random_table(1, 9))
    return Translator(model, vocab(40), vocab(9), limits), model


@pytest.mark.parametrize("floor", ["numpy", "torch"])
@pytest.mark.parametrize("index", DRAWN[::7], ids=name_of)
def test_in_any_batches(index: int, floor: str) -> None:
    """N08: one line at a time, all together, sorted, turned round; greedy, beams and draws."""
    searches = [SearchConfig(beam=1), SearchConfig(beam=3, n_best=3, alignments=True, alpha=0.5)]
    for search in searches if floor == "torch" else [*searches, SearchConfig(beam=2, length_penalty="gnmt", n_best=2)]:
        subject = translator(index, floor)
        _, lines = source_side(architecture(index), Vocab([]), LINES)
        whole = subject.translate(lines, search)
        assert [found.source for found in whole] == lines
        single = [subject.translate([line], search)[0] for line in lines]
        turned = subject.translate(lines[::-1], search)[::-1]
        small = subject.translate(lines, SearchConfig(**{**vars(search), "batch_tokens": 7}))
        streamed = list(subject.stream(iter(lines), search, window=2))
        for found in (single, turned, small, streamed):
            agree(whole, found)


def agree(one: list[Any], other: list[Any]) -> None:
    assert [[a.tokens for a in found.answers] for found in one] == [
        [a.tokens for a in found.answers] for found in other
    ]
    for a, b in zip((a for f in one for a in f.answers), (b for f in other for b in f.answers), strict=True):
        np.testing.assert_allclose(a.token_log_probs, b.token_log_probs, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose([a.score, a.log_prob], [b.score, b.log_prob], rtol=1e-9, atol=1e-9)
        if a.alignment is not None:
            np.testing.assert_allclose(a.alignment, b.alignment, rtol=1e-9, atol=1e-9)


def test_draws_depend_on_the_seed_and_the_place_alone() -> None:
    subject = translator(0)
    search = SearchConfig(beam=1, sample=True, temperature=1.3, seed=3)
    whole = subject.translate(LINES * 3, search)
    agree(whole, subject.translate(LINES * 3, SearchConfig(**{**vars(search), "batch_tokens": 5})))
    agree(whole, list(subject.stream(LINES * 3, search, window=4)))
    agree(whole, translator(0, "torch").translate(LINES * 3, search))
    texts = [found.text for found in whole]
    assert texts != [found.text for found in subject.translate(LINES * 3, SearchConfig(beam=1, sample=True, seed=4))]
    assert len({texts[place] for place in range(3, 27, 9)}) > 1  # the same line elsewhere draws anew


def test_blank_lines_are_answered_without_the_model() -> None:
    """G05."""
    subject, model = table_translator()
    for search in (
        SearchConfig(beam=1),
        SearchConfig(beam=4, n_best=4, alignments=True),
        SearchConfig(beam=1, sample=True),
    ):
        for lines in ([], [""], ["", "  ", "\t", "\u3000"]):
            found = subject.translate(lines, search)
            assert [(one.text, len(one.answers), one.answers[0].finished) for one in found] == [("", 1, True)] * len(
                lines
            )
    assert model.batches == [] and model.decoder.asked == []
    assert subject.score([]) == []
    mixed = translator().translate(LINES)
    assert [mixed[row].text for row in BLANK] == [""] * 3 and mixed[BLANK[0]].source_tokens == ["</s>"]


def test_batches_keep_to_their_budget() -> None:
    subject, model = table_translator()
    lines = [" ".join(["w5"] * length) for length in (1, 9, 3, 30, 2, 2, 5)]
    subject.translate(lines, SearchConfig(beam=2, n_best=1, batch_tokens=40))
    assert sum(rows for rows, _ in model.batches) == len(lines)
    assert all(rows * width * 2 <= 40 or rows == 1 for rows, width in model.batches)
    assert [width for _, width in model.batches] == sorted((width for _, width in model.batches), reverse=True)


@pytest.mark.parametrize("index", DRAWN[::5], ids=name_of)
def test_a_score_is_that_of_the_answer(index: int) -> None:
    subject = translator(index)
    _, lines = source_side(architecture(index), Vocab([]), [line for line in LINES if line.strip()])
    for found in subject.translate(lines, SearchConfig(beam=4, n_best=4)):
        for answer in found.answers:
            if answer.finished and "<unk>" not in answer.tokens:
                assert answer.tokens[-1] == "</s>" and answer.text == " ".join(answer.tokens[:-1])
                (scored,) = subject.score([(found.source, answer.text)])
                np.testing.assert_allclose(scored.log_prob, answer.log_prob, rtol=1e-9, atol=1e-9)
                np.testing.assert_allclose(scored.token_log_probs, answer.token_log_probs, rtol=1e-9, atol=1e-9)
                np.testing.assert_allclose(answer.score, answer.log_prob / len(answer.tokens), rtol=1e-9)


@pytest.mark.parametrize("floor", ["numpy", "torch"])
def test_scores_in_any_batches(floor: str) -> None:
    subject = translator(1, floor)
    pairs = [("w4 w5", "w6"), ("w7", ""), ("", "w4 w5 w6 w7"), ("w9 " * 9, "unknown w5"), ("w4 w5", "w6")]
    whole = subject.score(pairs)
    for one, other in zip(whole, [subject.score([pair])[0] for pair in pairs], strict=True):
        np.testing.assert_allclose(one.token_log_probs, other.token_log_probs, rtol=1e-9)
        np.testing.assert_allclose(one.log_prob, sum(other.token_log_probs), rtol=1e-9)
    for one, other in zip(whole, subject.score(pairs, batch_tokens=3), strict=True):
        np.testing.assert_allclose(one.token_log_probs, other.token_log_probs, rtol=1e-9)
    assert [len(one.token_log_probs) for one in whole] == [2, 1, 5, 3, 2]


def test_tokens_alignments_and_probabilities_have_one_length() -> None:
    subject = translator(2)
    search = SearchConfig(beam=5, n_best=5, alignments=True)
    for found in subject.translate([line for line in LINES if line.strip()], search):
        assert len(found.answers) == 5
        assert [a.score for a in found.answers] == sorted((a.score for a in found.answers), reverse=True)
        assert len({tuple(a.tokens) for a in found.answers}) == 5
        for answer in found.answers:
            assert answer.alignment is not None
            assert answer.alignment.shape == (len(answer.tokens), len(found.source_tokens))
            assert len(answer.token_log_probs) == len(answer.tokens)
            np.testing.assert_allclose(answer.alignment.sum(axis=1), 1)


def test_no_alignments_unless_asked_for() -> None:
    for search in (SearchConfig(beam=1), SearchConfig(beam=2)):
        assert translator().translate(["w4"], search)[0].answers[0].alignment is None
    for search in (SearchConfig(beam=1, alignments=True), SearchConfig(beam=1, sample=True, alignments=True)):
        assert translator().translate(["w4"], search)[0].answers[0].alignment is not None


def test_the_length_limit_and_the_users_own() -> None:
    """G01: an answer that was cut says so."""
    subject, _ = table_translator(lambda sentence, words: np.eye(9)[6] * 20, Limits(2.0, 1))
    for beam in (1, 3):
        (found,) = subject.translate(["w5 w6"], SearchConfig(beam=beam))
        assert found.answers[0].tokens == ["w6"] * 7 and not found.answers[0].finished
        (short,) = subject.translate(["w5 w6"], SearchConfig(beam=beam, max_length=3))
        assert short.text == "w6 w6 w6" and short.answers[0].tokens[-1] != "</s>"
        (longer,) = subject.translate(["w5 w6"], SearchConfig(beam=beam, max_length=50))
        assert len(longer.answers[0].tokens) == 50


def test_nan_of_one_line() -> None:
    """G03."""
    healthy = random_table(1, 9)

    def table(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        return healthy(sentence, words) * (np.nan if sentence == 7 else 1)

    lines = ["w5 w6", "w7 w5", "w8", "w7"]
    for search in (SearchConfig(beam=3), SearchConfig(beam=1), SearchConfig(beam=1, sample=True)):
        found, without = (table_translator(t)[0].translate(lines, search) for t in (table, healthy))
        assert [bool(one.answers) for one in found] == [True, False, True, False] and found[1].text == ""
        assert [found[0].answers, found[2].answers] == [without[0].answers, without[2].answers]


def test_a_stream_is_read_as_it_is_asked() -> None:
    """Memory is bounded: no more than one window is taken from the source before an answer is given."""
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        while True:
            taken += 1
            yield "w5"

    subject, _ = table_translator()
    answers = subject.stream(endless(), SearchConfig(beam=1), window=3)
    assert taken == 0 and next(answers).source == "w5" and taken == 3
    for _ in range(3):
        next(answers)
    assert taken == 6


@given(
    st.lists(st.sampled_from(["w5", "w6 w7", "", "w8 w9 w10", "x"]), max_size=12), st.integers(1, 60), st.integers(1, 5)
)
def test_the_order_is_kept(lines: list[str], batch_tokens: int, window: int) -> None:
    subject, _ = table_translator(lambda sentence, words: np.eye(9)[[sentence % 4 + 4, 3][len(words) > 0]] * 30)
    search = SearchConfig(beam=2, batch_tokens=batch_tokens)
    first = {"": "", "w5": "w5", "w6 w7": "w6", "w8 w9 w10": "w4", "x": "w5"}
    for found in (subject.translate(lines, search), list(subject.stream(lines, search, window))):
        assert [one.text for one in found] == [first[line] for line in lines]


@pytest.mark.parametrize(
    "wrong",
    [
        {"beam": 0}, {"beam": -1}, {"beam": 1001}, {"n_best": 0}, {"n_best": 6}, {"alpha": -1.0},
        {"alpha": float("nan")}, {"length_penalty": "mean"}, {"temperature": 0.0}, {"temperature": float("nan")},
        {"top_k": -1}, {"top_p": 0.0},
        {"top_p": 1.5}, {"batch_tokens": 0}, {"max_length": -1}, {"sample": True, "n_best": 2},
    ],
    ids=str,
)  # fmt: skip
def test_searches_that_cannot_be(wrong: dict[str, Any]) -> None:
    """G07: refused with the range, before anything is searched."""
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SearchConfig(**wrong)
