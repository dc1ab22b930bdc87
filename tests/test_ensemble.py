"""ensemble: one model is itself, the mean is the mean, floors agree, and what does not go together is refused."""

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from architectures import WORDS, name_of
from sequencing.__main__ import main as upper_main
from sequencing_np.__main__ import main
from sequencing_np.batch import pad
from sequencing_np.columns import ColumnsVocab
from sequencing_np.decode import dynamic_decode
from sequencing_np.ensemble import MEANS, Ensemble, SideBySide, join_models
from sequencing_np.errors import ModelError, UsageError
from sequencing_np.feedback import TrainingFeedBack
from sequencing_np.limits import Limits
from sequencing_np.search import SearchConfig
from sequencing_np.translate import Translator
from sequencing_np.vectors import VectorVocab
from sequencing_np.vocab import Vocab
from table_decoder import SPECIAL, TableDecoder, random_table
from test_translate import LINES, TableModel, agree, table_translator, translator, vocab
from tiny_models import SOURCES, told, write_model

TRIOS = [WORDS[start : start + 18 : 7] for start in range(0, 21, 5)]  # of three families each
SEARCHES = [SearchConfig(beam=1, alignments=True), SearchConfig(beam=4, n_best=3)]
TEXT = "ein zwei drei\n\nfünf und vier\nzwei\n"


def joint(indexes: Any, floor: str = "numpy", mean: str = "probabilities") -> Translator:
    return join_models([translator(index, floor) for index in indexes], [f"model {index}" for index in indexes], mean)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    top = logits - logits.max(axis=-1, keepdims=True)
    return top - np.log(np.exp(top).sum(axis=-1, keepdims=True))


# --- laws -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("floor", ["numpy", "torch"])
@pytest.mark.parametrize("index", WORDS[::9], ids=name_of)
def test_a_model_alone_or_twice_is_that_model(index: int, floor: str) -> None:
    alone = translator(index, floor)
    for search in SEARCHES:
        expected = alone.translate(LINES, search)
        assert repr(joint([index], floor).translate(LINES, search)) == repr(expected), "to the last bit"
        for mean in MEANS:
            agree(expected, joint([index] * 2, floor, mean).translate(LINES, search))


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("trio", TRIOS, ids=lambda trio: "-".join(map(str, trio)))
def test_both_floors_and_any_batches(trio: Any, mean: str) -> None:
    above, below = joint(trio, "torch", mean), joint(trio, "numpy", mean)
    for search in [*SEARCHES, SearchConfig(beam=1, sample=True, mbr="edit", candidates=3, n_best=2)]:
        whole = below.translate(LINES, search)
        agree(whole, above.translate(LINES, search))
        agree(whole, below.translate(LINES, replace(search, batch_tokens=7)))
        agree(whole, list(below.stream(LINES, search, window=2)))
    pairs = [(line, "w5 w6 w7") for line in LINES]
    for one, other in zip(below.score(pairs), above.score(pairs, 7), strict=True):
        np.testing.assert_allclose(one.token_log_probs, other.token_log_probs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("trio", TRIOS, ids=lambda trio: "-".join(map(str, trio)))
def test_a_score_is_the_mean_of_what_each_says_when_taught(trio: Any, mean: str) -> None:
    """By hand: every member reads the line with its own vocabulary and is told the answer that all found together."""
    members, subject = [translator(index) for index in trio], joint(trio, mean=mean)
    line = "w4 w15 w18 w22"  # the last of them is unknown to some
    for search in SEARCHES:
        ids = subject.read(line, 1)
        (found,) = subject.search([ids], replace(search, length_penalty="none"), np.zeros(1, dtype=np.uint64))
        for hypothesis in found:
            target = np.array([[*hypothesis.tokens, SPECIAL.eos]])
            said = [log_softmax(taught(member, line, target)) for member in members]
            if mean == "probabilities":
                expected = np.log(np.mean(np.exp(said), axis=0))
            else:
                expected = log_softmax(np.mean(said, axis=0))
            own = np.take_along_axis(expected[0], target[0][:, None], axis=1)[:, 0][: len(hypothesis.token_log_probs)]
            np.testing.assert_allclose(hypothesis.token_log_probs, own, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(hypothesis.log_prob, own.sum(), rtol=1e-9, atol=1e-9)


def taught(member: Translator, line: str, target: np.ndarray) -> np.ndarray:  # (1, T) -> (1, T, V)
    """The logits of a model alone."""
    padded = pad([member.source_vocab.encode(line)], member.source_vocab.special.pad)
    memory = member.model.encode(padded.ids, padded.mask)
    output = dynamic_decode(member.model.decoder, memory, TrainingFeedBack(target, SPECIAL))
    return np.asarray(output.logits)


def test_some_of_them_read_with_other_vocabularies() -> None:
    """Else the tests above would not try it."""
    assert {type(joint(trio).source_vocab) for trio in TRIOS} == {SideBySide, Vocab}


def test_the_best_of_all_answers_is_that_of_the_mean() -> None:
    """A beam as wide as the language, against every answer there is, summed by hand."""
    tables = [random_table(seed, 6) for seed in (1, 2)]
    limits = Limits(0.0, 3, 3)
    models = [TableModel(table) for table in tables]
    parts = [Translator(model, vocab(40), vocab(6), limits) for model in models]
    search = SearchConfig(beam=36, length_penalty="none", n_best=4)
    for mean in MEANS:
        found = join_models(parts, ["one", "two"], mean).translate(["w7"], search)[0].answers
        every = []
        for length in range(4):
            for words in itertools.product([1, 4, 5], repeat=length):
                told = [*words, SPECIAL.eos][:3]
                total = 0.0
                for step, token in enumerate(told):
                    said = [log_softmax(table(7, (2, *told[:step])[1:])) for table in tables]
                    both = np.log(np.mean(np.exp(said), axis=0)) if mean == "probabilities" else np.mean(said, axis=0)
                    total += log_softmax(both)[token]
                every.append(total)
        expected = sorted(set(np.round(every, 9)), reverse=True)[:4]
        np.testing.assert_allclose([answer.log_prob for answer in found], expected, atol=1e-8)


# --- what one member cannot say, or cannot say well -------------------------------------------------------------------


@pytest.mark.parametrize("floor", ["numpy", "torch"])
def test_a_token_that_is_impossible_for_one(floor: str) -> None:
    """The mean of probabilities still allows it, that of their logarithms does not. No warning, no NaN."""

    def shut(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        return np.array([-np.inf, -np.inf, -np.inf, 0.0, -np.inf, 1.0])

    def eager(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        return np.array([-np.inf, 0.0, 0.0, 0.0 if len(words) > 2 else -9.0, 5.0, 0.0])

    said = {}
    for mean in MEANS:
        parts = [Translator(on(floor, table), vocab(40), vocab(6), Limits(0.0, 4, 4)) for table in (shut, eager)]
        (found,) = join_models(parts, ["shut", "eager"], mean).translate(["w7"], SearchConfig(beam=1))
        said[mean] = found.answers[0].tokens
        assert np.isfinite(found.answers[0].log_prob)
    assert "w4" in said["probabilities"] and "w4" not in said["log_probabilities"]


def on(floor: str, table: Any) -> Any:
    """A TableModel of either floor."""
    model = TableModel(table)
    model.decoder = TableDecoder(table, floor)
    model.arrays = model.decoder.arrays
    encode = model.encode
    native = model.arrays.native

    def encoded(source: np.ndarray, mask: np.ndarray) -> Any:
        memory = encode(source, mask)
        return memory._replace(**{name: native(getattr(memory, name)) for name in memory._fields[:5]})

    model.encode = encoded  # type: ignore[method-assign]
    return model


def test_a_member_that_says_nan_leaves_no_answer() -> None:
    def broken(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        return np.full(9, np.nan)

    for mean in MEANS:
        parts = [table_translator()[0], table_translator(broken)[0]]
        (found,) = join_models(parts, ["one", "broken"], mean).translate(["w5"], SearchConfig(beam=3))
        assert found.answers == []


# --- what does not go together --------------------------------------------------------------------------------------


def test_other_targets_are_refused() -> None:
    one = translator(0)
    for target, words in [
        (Vocab(["w4", "w5"]), r"23 and 6 ids"),
        (Vocab([f"w{token}" for token in (*range(4, 9), 99, *range(10, 23))]), r"id 9 is 'w9' and 'w99'"),
        (ColumnsVocab(vocab(23), 2), "23 and 23 ids"),
    ]:
        other = Translator(one.model, one.source_vocab, target)
        with pytest.raises(ModelError, match=rf"runs/a and runs/b have different target vocabularies.*{words}"):
            join_models([one, other], ["runs/a", "runs/b"])


def test_other_texts_a_line_are_refused() -> None:
    one = translator(0)
    other = Translator(one.model, ColumnsVocab(one.source_vocab, 2), one.target_vocab)
    with pytest.raises(ModelError, match="runs/a and runs/b read 1 and 2 texts a line"):
        join_models([one, other], ["runs/a", "runs/b"])


def test_other_vectors_are_refused() -> None:
    one = translator(0)
    same, other = (Translator(one.model, VectorVocab([mean], [1.0]), one.target_vocab) for mean in (0.0, 0.5))
    join_models([same, same], ["runs/a", "runs/b"])
    for second in (other, one):
        with pytest.raises(ModelError, match="runs/a, runs/b: models of vectors decode together if they were taught"):
            join_models([same, second], ["runs/a", "runs/b"])


def test_modes_and_members_that_are_none() -> None:
    with pytest.raises(UsageError, match="did you mean 'probabilities'"):
        Ensemble([translator(0).model], "probability")
    with pytest.raises(UsageError, match="one or more"):
        Ensemble([])


def test_counts_in_a_vocabulary_do_not_matter() -> None:
    one, other = translator(0), translator(0)
    other.target_vocab = Vocab([f"w{token}" for token in range(4, 23)], counts=list(range(19, 0, -1)))
    agree(one.translate(LINES), join_models([one, other], ["a", "b"]).translate(LINES))


def test_the_narrower_limits_hold() -> None:
    one, other = translator(0), translator(0)
    other.limits = Limits(9.0, 9, 3, 1)
    assert join_models([one, other], ["a", "b"]).limits == replace(one.limits, longest=3, shortest=1)


# --- the command lines ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [write_model(folder / str(seed), seed) for seed in (1, 2, 3)]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    return told(capsys, monkeypatch, TEXT)


def test_translate_with_others(said: Any, models: list[Path]) -> None:
    one, two, three = models
    alone = said(main, "translate", one)
    assert said(main, "translate", one, "--with", one) == alone
    loaded, lines_in = [Translator.load(path) for path in models], TEXT.split("\n")[:-1]
    answers = {}
    for mean in MEANS:
        found = join_models(loaded, list(map(str, models)), mean).translate(lines_in)
        expected = [each.text for each in found]
        mode = ("--ensemble-mode", mean)
        code, lines, err = said(main, "translate", one, "--with", two, three, *mode)
        assert (code, lines, err) == (0, expected, "")
        assert said(main, "translate", one, "--with", two, "--with", three, *mode)[1] == lines
        assert said(upper_main, "translate", one, "--with", two, three, *mode, "--device", "cpu")[1] == lines
        answers[mean] = lines
    assert said(main, "translate", one, "--with", two, three)[1] == answers["probabilities"] != alone[1]


def test_score_and_evaluate_with_others(said: Any, models: list[Path], tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("\n".join(SOURCES) + "\n")
    target.write_text("abc\n" * len(SOURCES))
    files = ("--source", source, "--target", target)
    each = [said(main, "score", model, *files, "--json")[1] for model in models[:2]]
    both = said(main, "score", models[0], "--with", models[1], *files, "--json")
    assert both[0] == 0
    for *parts, mean in zip(*each, both[1], strict=True):
        tokens = [np.array(json.loads(part)["token_log_probs"]) for part in parts]
        expected = np.log(np.mean(np.exp(tokens), axis=0))
        np.testing.assert_allclose(json.loads(mean)["token_log_probs"], expected, atol=1e-4)
    above = said(upper_main, "score", models[0], "--with", models[1], *files, "--device", "cpu")
    np.testing.assert_allclose([float(x) for x in above[1]], [json.loads(x)["log_prob"] for x in both[1]], atol=1e-3)
    data = ("--source", source, "--reference", target, "--json", "--device", "cpu")
    alone = json.loads(said(upper_main, "evaluate", models[0], *data)[1][0])
    both = json.loads(said(upper_main, "evaluate", models[0], "--with", models[1], *data)[1][0])
    assert both["sentences"] == alone["sentences"] and both["chrf"] != alone["chrf"]


def test_mistakes_are_a_line(said: Any, models: list[Path], tmp_path: Path) -> None:
    code, _, err = said(main, "translate", models[0], "--ensemble-mode", "probabilities")
    assert code == 2 and "add --with" in err
    code, _, err = said(main, "translate", models[0], "--with", tmp_path / "absent")
    assert code == 5 and "absent" in err and err.count("\n") == 1
    assert said(main, "translate", models[0], "--with")[0] == 2
