"""reranking: scores summed by hand, the best of all answers, both floors, targets that are read backwards."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from architectures import WORDS
from sequencing.__main__ import main as upper_main
from sequencing.forced_alignment import Look as Aligned
from sequencing.forced_alignment import align
from sequencing.run_config import SideConfig, VocabConfig
from sequencing.vocabularies import build_vocabularies
from sequencing_np.__main__ import main
from sequencing_np.errors import ConfigError, DataError, UsageError
from sequencing_np.limits import Limits
from sequencing_np.reranking import Reranker, reranked, with_candidates
from sequencing_np.reversal import ReversedVocab
from sequencing_np.search import SearchConfig
from sequencing_np.translate import Translator
from sequencing_np.translation import Scored
from sequencing_np.wishes import Wishes
from table_decoder import random_table
from test_translate import LINES, TableModel, agree, table_translator, translator, vocab
from tiny_models import told, write_model, write_run

BEAM = SearchConfig(beam=5, n_best=3)


class Opinion:
    """Scores by a function of source and target."""

    def __init__(self, log_prob: Any) -> None:
        self.log_prob = log_prob

    def score(self, pairs: Any, batch_tokens: int = 4096, first: int = 0) -> list[Scored]:
        return [Scored(self.log_prob(*pair), [0.0] * (len(pair[1].split()) + 1)) for pair in pairs]


def turned(subject: Translator) -> Translator:
    """The same model, of texts that are read backwards."""
    return Translator(subject.model, subject.source_vocab, ReversedVocab(subject.target_vocab), subject.limits)


# --- the sum ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", ["none", "average", "gnmt"])
def test_by_hand(penalty: str) -> None:
    """Two rerankers of other sizes, one of them asked the other way round."""
    first, second, third = translator(WORDS[0]), turned(translator(WORDS[3])), translator(WORDS[5])
    search = replace(BEAM, length_penalty=penalty, alpha=0.7)
    plain = first.translate(LINES, replace(search, n_best=5))
    first.rerankers = [Reranker(second, 0.5), Reranker(third, 2.0, backwards=True)]
    divisor = {"none": lambda n: 1, "average": lambda n: n**0.7, "gnmt": lambda n: ((5 + n) / 6) ** 0.7}[penalty]
    for line, before, after in zip(LINES, plain, first.translate(LINES, search), strict=True):
        if not line.strip():
            assert before == after
            continue
        expected = []
        for answer in before.answers:
            (one,), (other,) = second.score([(line, answer.text)]), third.score([(answer.text, line)])
            total = answer.score + 0.5 * one.log_prob / divisor(len(one.token_log_probs))
            total += 2 * other.log_prob / divisor(len(other.token_log_probs))
            expected.append((-total / 3.5, answer.tokens))
        expected.sort(key=lambda pair: pair[0])
        assert [answer.tokens for answer in after.answers] == [tokens for _, tokens in expected[:3]]
        np.testing.assert_allclose([-a.score for a in after.answers], [s for s, _ in expected[:3]], rtol=1e-9)


def test_the_best_of_all_answers() -> None:
    """A beam as wide as the language: the answer that two tables together find best, of all there are."""
    tables = [random_table(seed, 6) for seed in (1, 2)]
    subjects = [Translator(TableModel(table), vocab(40), vocab(6), Limits(0.0, 3)) for table in tables]
    first, second = subjects
    search = SearchConfig(beam=100, length_penalty="none")
    every = first.translate(["w7"], replace(search, n_best=100))[0].answers
    assert len(every) == 1 + 3 + 3 * 3 + 3 * 3 * 3  # those that end, and what is cut
    totals = {a.text: a.log_prob + second.score([("w7", a.text)])[0].log_prob for a in every if "<unk>" not in a.text}
    first.rerankers = [Reranker(second)]
    assert first.translate(["w7"], replace(search, no_unknown=True))[0].text == max(totals, key=lambda t: totals[t])


def test_weights_and_order() -> None:
    subject, _ = table_translator()
    plain = subject.translate(["w7", "", "w5"], replace(BEAM, n_best=5))
    subject.rerankers = [Reranker(Opinion(lambda source, target: -float(len(target))), 0.0)]
    agree(subject.translate(["w7", "", "w5"], replace(BEAM, n_best=5)), plain)  # no say: nothing changes
    subject.rerankers = [Reranker(Opinion(lambda source, target: -9.0))]
    same = subject.translate(["w7"], replace(BEAM, length_penalty="none", n_best=5))
    assert len(same[0].answers) == 5
    subject.rerankers = [Reranker(Opinion(lambda source, target: math.nan if "w5" in target else -1.0), 1.0)]
    for found in subject.translate(["w7", "w5"], replace(BEAM, n_best=5)):
        broken = [answer.score == -math.inf for answer in found.answers]
        assert broken == sorted(broken)
    subject.rerankers = [Reranker(Opinion(lambda source, target: -1e5 * (source != "w8")), 9.0)]
    assert "".join(subject.stream_text("w7", BEAM)) == subject.translate(["w7"], BEAM)[0].text


@pytest.mark.parametrize("sampled", [False, True])
def test_floors_and_batches(sampled: bool) -> None:
    search = SearchConfig(beam=4, n_best=2, sample=sampled, without_replacement=sampled, candidates=4)
    found = []
    for floor in ("numpy", "torch"):
        subject = translator(WORDS[2], floor)
        subject.rerankers = [Reranker(turned(translator(WORDS[6], floor)), 1.5)]
        found += [subject.translate(LINES, search), subject.translate(LINES, replace(search, batch_tokens=7))]
    for other in found[1:]:
        agree(found[0], other)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"beam": 1}, "1 answers of a beam of 1"),
        ({"beam": 3, "candidates": 4}, "4 answers of a beam of 3"),
        ({"beam": 3, "mbr": "chrf"}, "leave one of them out"),
        ({"beam": 3, "sample": True}, "without replacement"),
        ({"beam": 5, "n_best": 4, "candidates": 3}, "n_best 4"),
    ],
)
def test_nothing_to_choose_among(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        with_candidates(SearchConfig(**options))
    for weight in (-1.0, math.nan, math.inf):
        with pytest.raises(UsageError, match="rerank weight"):
            Reranker(Opinion(None), weight)


def test_vectors_are_no_targets() -> None:
    subject, _ = table_translator()
    (said,) = subject.translate(["w7"], BEAM)
    with pytest.raises(DataError, match="vectors cannot be the target"):
        reranked([np.zeros((2, 3))], [said], [Reranker(Opinion(None), backwards=True)], BEAM)


# --- targets that are read backwards ----------------------------------------------------------------------------------


@pytest.mark.parametrize("floor", ["numpy", "torch"])
def test_answers_stand_as_they_are_written(floor: str) -> None:
    """All that is said of tokens is turned round, the end symbol stays last; a score is that of the text."""
    plain, search = translator(WORDS[0], floor), SearchConfig(beam=4, n_best=4, alignments=True)
    subject = turned(plain)
    lines = [line for line in LINES if line.strip()]
    for one, other in zip(plain.translate(lines, search), subject.translate(lines, search), strict=True):
        for a, b in zip(one.answers, other.answers, strict=True):
            end = len(a.tokens) - a.finished
            order = [*range(end)][::-1] + [end] * a.finished
            assert b.tokens == [a.tokens[place] for place in order] and a.score == b.score
            assert b.text.split() == a.text.split()[::-1]
            np.testing.assert_array_equal(b.token_log_probs, np.array(a.token_log_probs)[order])
            assert a.alignment is not None
            np.testing.assert_array_equal(b.alignment, a.alignment[order])
            if b.finished and "<unk>" not in b.tokens:
                (scored,) = subject.score([(one.source, b.text)])
                np.testing.assert_allclose(scored.token_log_probs, b.token_log_probs, rtol=1e-9, atol=1e-9)


def test_alignments_of_given_targets() -> None:
    plain = translator(WORDS[0], "torch")
    pairs = [("w4 w5 w6", "w7 w8 w9"), ("w5", "w9")]
    mirrored = [(source, " ".join(target.split()[::-1])) for source, target in pairs]
    found = align(turned(plain), mirrored, Aligned())
    for (_, target), one, other in zip(pairs, align(plain, pairs, Aligned()), found, strict=True):
        last = len(target.split()) - 1
        links = [tuple(map(int, link.split("-"))) for link in str(one).split()]
        expected = sorted((last - at, to) for to, at in links)
        assert str(other).split() == [f"{to}-{at}" for at, to in expected]


def test_wishes_of_backward_targets() -> None:
    subject = turned(table_translator()[0])
    (found,) = subject.translate(["w7"], SearchConfig(beam=6), wishes=[Wishes(include=(("w5 w8",),), exclude=("w6",))])
    assert "w5 w8" in found.text and "w6" not in found.text
    assert "".join(subject.stream_text("w7")) == subject.translate(["w7"])[0].text
    with pytest.raises(DataError, match="ask for it with include"):
        subject.translate(["w7"], SearchConfig(beam=2), wishes=[Wishes(begin="w5")])


class Texts:
    """A corpus of two pairs."""

    sources = 1

    def pairs(self) -> Any:
        return iter([("a b", "c d"), ("b", "c")])


def test_vocabularies_of_a_run() -> None:
    turn = SideConfig(reversed=True)
    for config in (VocabConfig(target=turn), VocabConfig(target=turn, joint=True)):
        source, target = build_vocabularies(config, Texts())  # type: ignore[arg-type]
        assert target.reversed and not source.reversed
        assert target.decode(target.encode("c d")) == "c d" and target.pieces("c d") == ["d", "c", "</s>"]
    source, target = build_vocabularies(VocabConfig(turn, turn, joint=True), Texts())  # type: ignore[arg-type]
    assert source.reversed and target.reversed
    with pytest.raises(ConfigError, match="but for reversed"):
        build_vocabularies(VocabConfig(target=SideConfig(min_count=2), joint=True), Texts())  # type: ignore[arg-type]


# --- the command lines ------------------------------------------------------------------------------------------------


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    return told(capsys, monkeypatch, "ein zwei drei\n\nf\u00fcnf und vier\nzwei\n")


def test_translate_with_rerankers(said: Any, tmp_path: Path) -> None:
    one, two, three = (write_model(tmp_path / str(seed), seed) for seed in (1, 2, 3))
    run = write_run(tmp_path / "run")
    loaded = [Translator.load(path) for path in (one, two, three)]
    loaded[0].rerankers = [Reranker(loaded[1], 2.0), Reranker(loaded[2], 0.5)]
    lines = ["ein zwei drei", "", "f\u00fcnf und vier", "zwei"]
    expected = loaded[0].translate(lines, SearchConfig(beam=4))
    options = ["--rerank", two, three, "--rerank-weights", "2", "0.5", "--beam", "4"]
    code, found, err = said(main, "translate", one, *options)
    assert (code, found, err) == (0, [each.text for each in expected], "")
    assert said(main, "translate", one, *options, "--stream")[1] == found
    code, lines_out, _ = said(main, "translate", one, *options, "--n-best", "2", "--candidates", "3", "--json")
    assert code == 0 and [len(json.loads(line)["answers"]) for line in lines_out] == [2, 1, 2, 2]
    assert said(upper_main, "translate", run, "--rerank", two, "--device", "cpu")[0] == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rerank", "x", "--rerank-weights", "1", "2"], "2 for 1 models"),
        (["--rerank-weights", "1"], "1 for 0 models"),
        (["--rerank", "x", "--beam", "1"], "a larger beam"),
        (["--rerank-backwards", "x", "--mbr", "chrf"], "leave one of them out"),
        (["--candidates", "3"], "add --mbr or --rerank"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], words: str, said: Any, tmp_path: Path) -> None:
    code, lines, err = said(main, "translate", write_model(tmp_path / "model"), *options)
    assert (code, lines) == (2, []) and words in err
