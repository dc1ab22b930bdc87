"""evaluate: quality against sacreBLEU asked directly, and the taught loss against a plain loop."""

import math
from typing import Any

import numpy as np
import pytest
import sacrebleu
import torch
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU, CHRF, TER

from architectures import DRAWN, SPECIAL, name_of, torch_model
from sequencing.data.sampling import eval_batches
from sequencing.evaluate import Evaluation, Quality, Taught, evaluate, measure, teach
from sequencing.further_metrics import FURTHER
from sequencing.page.figures import DRAWN as DRAWN_KEYS
from sequencing.page.numbers import METRICS as SHOWN
from sequencing.selection import METRICS, TAKEN
from sequencing_np.batch import PadIds
from sequencing_np.decode import dynamic_decode
from sequencing_np.errors import DataError, SequencingError
from sequencing_np.feedback import TrainingFeedBack
from sequencing_np.search import SearchConfig
from sequencing_np.translate import Translator
from sequencing_np.translation import Translation
from sequencing_np.vocab import Vocab

SAID = ["the cat sat on the mat .", "he reads a book every single day", "no", "what is this ?", ""]
WANTED = [
    ["the cat sat on a mat .", "a cat was sitting on the mat ."],
    ["he reads one book a day", "every single day he reads a book"],
    ["no", "certainly not"],
    ["what is that ?", "what is this ?"],
    ["nothing", "not a word"],
]


# --- quality --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokenize", [None, "13a", "char", "intl", "none"])
@pytest.mark.parametrize("count", [1, 2])
def test_bleu_and_chrf_are_sacrebleus(count: int, tokenize: str | None) -> None:
    streams = [[texts[k] for texts in WANTED] for k in range(count)]
    found = measure(SAID, [texts[:count] for texts in WANTED], tokenize)
    bleu, chrf = BLEU(tokenize=tokenize), CHRF()
    assert found.bleu == round(bleu.corpus_score(SAID, streams).score, 2) > 0
    assert found.chrf == round(chrf.corpus_score(SAID, streams).score, 2) > 0
    assert found.signature == str(bleu.get_signature()) and found.chrf_signature == str(chrf.get_signature())
    assert f"nrefs:{count}|" in found.signature and f"tok:{tokenize or '13a'}|" in found.signature
    assert sacrebleu.__version__ in found.signature and sacrebleu.__version__ in found.chrf_signature


def test_different_numbers_of_references() -> None:
    """sacreBLEU takes them with gaps; the signature says so."""
    ragged = [texts[: 1 + row % 2] for row, texts in enumerate(WANTED)]
    found = measure(SAID, ragged)
    streams = [[texts[0] for texts in ragged], [texts[1] if len(texts) > 1 else None for texts in ragged]]
    assert found.bleu == round(BLEU().corpus_score(SAID, streams).score, 2)
    assert "nrefs:var" in found.signature
    assert found.exact_match == 0.4, "no, and what is this"


@pytest.mark.parametrize("ragged", [False, True])
def test_ter_is_sacrebleus(ragged: bool) -> None:
    wanted = [texts[: 1 + row % 2] if ragged else texts for row, texts in enumerate(WANTED)]
    given = [[texts[0] for texts in wanted], [texts[1] if len(texts) > 1 else None for texts in wanted]]
    score = TER()
    assert FURTHER["ter"](SAID, wanted) == {
        "ter": round(score.corpus_score(SAID, given).score, 2),
        "ter_signature": str(score.get_signature()),
    }


def test_ter_by_hand() -> None:
    """Snover et al. 2006, section 3: two words that were moved together are one edit."""
    assert FURTHER["ter"](["c d a b"], [["a b c d"]])["ter"] == 25
    assert FURTHER["ter"](["a b x d", "e"], [["a b c d"], ["e"]])["ter"] == 20


@pytest.mark.parametrize(
    ("name", "one", "both"), [("rouge_1", 65.38, 76.67), ("rouge_2", 25.64, 48.67), ("rouge_l", 62.31, 68.97)]
)
def test_rouge_is_that_of_rouge_score(name: str, one: float, both: float) -> None:
    """The package rouge-score 0.1.2 of the same texts, without the punctuation that it drops."""
    drop = str.maketrans("", "", ".?")
    said, wanted = (
        [text.translate(drop) for text in SAID],
        [[text.translate(drop) for text in texts] for texts in WANTED],
    )
    for count, score in ((1, one), (2, both)):
        assert FURTHER[name](said, [texts[:count] for texts in wanted]) == {name: score}


def test_shares_by_hand() -> None:
    found = measure(["a b c", "d"], [["a x c", "a b c d"], ["d"]])
    assert found.exact_match == 0.5 and found.sequence_error_rate == 0.5
    assert found.token_error_rate == 0.2, "one edit over the longer of two equally close references, and one token"
    perfect = measure(["a b c d e"], [["x", "a b c d e"]])
    assert perfect[:5] == (100.0, 100.0, 1.0, 0.0, 0.0)


@given(
    st.lists(
        st.tuples(st.text("ab ", max_size=9), st.lists(st.text("ab ", max_size=9), min_size=1, max_size=3)),
        min_size=1,
        max_size=5,
    )
)
def test_ranges(pairs: list[tuple[str, list[str]]]) -> None:
    found = measure([said for said, _ in pairs], [wanted for _, wanted in pairs])
    assert 0 <= found.bleu <= 100 and 0 <= found.chrf <= 100
    assert 0 <= found.exact_match <= 1 and 0 <= found.sequence_error_rate <= 1 and found.token_error_rate >= 0
    assert found.exact_match <= 1 - found.sequence_error_rate + 1e-9, "letter for letter, or token for token"


@pytest.mark.parametrize(
    ("said", "wanted", "words"),
    [
        ([], [], "give at least one sentence"),
        (["a"], [["a"], ["b"]], "1 .*2|2 .*1"),
        (["a"], [[]], "no reference"),
        (["a"], ["a"], "list of one or more references"),
    ],
    ids=["nothing", "unequal", "none", "text"],
)
def test_what_cannot_be_measured(said: list[str], wanted: Any, words: str) -> None:
    with pytest.raises(SequencingError, match=words):
        measure(said, wanted)


# --- a test set -----------------------------------------------------------------------------------------------------


def parrot() -> Translator:
    """Says what it was asked, and counts how often it was."""

    class Parrot(Translator):
        def translate(self, lines: Any, search: Any = None) -> list[Translation]:
            self.asked = search
            return [self.say(line, self.source_vocab.encode(line), []) for line in lines]

    vocab = Vocab(["a", "b"])
    return Parrot(torch_model(0), vocab, vocab)


def test_evaluate_asks_once_and_records() -> None:
    translator, search = parrot(), SearchConfig(beam=3)
    found = evaluate(translator, ["a", "b b"], [["a"], ["b"]], search)
    assert isinstance(found, Evaluation) and translator.asked is search  # type: ignore[attr-defined]
    assert found.sentences == 2 and [said.text for said in found.translations] == ["", ""]
    assert found.sentences_per_second == pytest.approx(2 / max(found.seconds, 1e-9))
    record = found.record()
    assert set(record) == {*Quality._fields, "sentences", "seconds", "sentences_per_second"}
    assert record["exact_match"] == 0.0 and record["sequence_error_rate"] == 1.0


def test_unequal_sides() -> None:
    with pytest.raises(DataError, match="2 sources and 1 references"):
        evaluate(parrot(), ["a", "b"], [["a"]], SearchConfig())


def test_metrics_are_what_a_validation_writes() -> None:
    assert set(METRICS) <= {*Quality._fields, *Taught._fields, *FURTHER}
    less = {"loss", "token_error_rate", "sequence_error_rate", "ter"}
    assert {name for name, sign in METRICS.items() if sign < 0} == less


@pytest.mark.parametrize("name", FURTHER)
def test_further_metrics_are_chosen_by_and_shown(name: str) -> None:
    assert name in METRICS and SHOWN[name].better == METRICS[name] and name in DRAWN_KEYS
    assert set(FURTHER[name](["a b"], [["a b"]])) <= TAKEN
    with pytest.raises(SequencingError, match="no reference"):
        FURTHER[name](["a"], [[]])


# --- the taught loss ------------------------------------------------------------------------------------------------


def pairs_of(model: Any, count: int = 23) -> list[tuple[list[int], list[int]]]:
    chance = np.random.default_rng(1)
    config = model.config

    def sentence(size: int) -> list[int]:
        return [*chance.integers(4, size, chance.integers(0, 9)).tolist(), SPECIAL.eos]

    return [(sentence(config.source_size), sentence(config.target_size)) for _ in range(count)]


def by_hand(model: Any, pairs: list[tuple[list[int], list[int]]]) -> tuple[float, float]:
    """One sentence at a time, one token at a time, nothing padded."""
    loss, right, tokens = 0.0, 0, 0
    for source, target in pairs:
        ids = np.array([source])
        memory = model.encode(ids, np.ones(ids.shape, dtype=bool))
        output = dynamic_decode(model.decoder, memory, TrainingFeedBack(np.array([target]), SPECIAL))
        for logits, wanted in zip(output.logits[0].tolist(), target, strict=True):
            log_z = math.log(sum(math.exp(value) for value in logits))
            loss += log_z - logits[wanted]
            right += max(range(len(logits)), key=logits.__getitem__) == wanted
            tokens += 1
    return loss / tokens, right / tokens


@pytest.mark.parametrize("index", DRAWN[:4], ids=name_of)
def test_teach_is_a_plain_loop(index: int) -> None:
    """Whatever the batches are: the loss is one over all tokens, not a mean of means."""
    model = torch_model(index)
    pairs = pairs_of(model)
    loss, accuracy = by_hand(model, pairs)
    for budget in (1, 17, 10**6):
        taught = teach(model, list(eval_batches(pairs, budget, PadIds(SPECIAL.pad, SPECIAL.pad))), SPECIAL)
        assert taught.loss == pytest.approx(loss) and taught.token_accuracy == pytest.approx(accuracy)
        assert 0 <= taught.token_accuracy <= 1


def test_teach_leaves_no_trace() -> None:
    model = torch_model(0)
    before = {name: array.copy() for name, array in model.weights().items()}
    state = torch.get_rng_state()
    teach(model, list(eval_batches(pairs_of(model, 3), 64, PadIds(0, 0))), SPECIAL)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(np.array_equal(array, before[name]) for name, array in model.weights().items())
