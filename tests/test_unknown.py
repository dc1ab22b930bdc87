"""unknown: UNK that no search says, and UNK that words of the source replace, on both floors."""

import itertools
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from architectures import WORDS, architecture, model_on, name_of
from reversing_model import LETTERS, reversing, word
from sequencing.__main__ import main as upper
from sequencing.model import Model
from sequencing_np.__main__ import main as ground
from sequencing_np.beam import BeamFeedBack
from sequencing_np.columns import ColumnsVocab
from sequencing_np.config import Origin
from sequencing_np.decode import dynamic_decode
from sequencing_np.errors import DataError, SearchError, UsageError
from sequencing_np.factors import FactoredVocab
from sequencing_np.feedback import SampleFeedBack
from sequencing_np.limits import Limits
from sequencing_np.model import build_model, model_config
from sequencing_np.model_folder import ModelFolder, write_model_folder
from sequencing_np.picking import Sampler, banned_ids, sentence_keys
from sequencing_np.reversal import ReversedVocab
from sequencing_np.search import SearchConfig
from sequencing_np.special import Special, Vocabulary
from sequencing_np.subwords import BYTES, Subwords
from sequencing_np.translate import Translator
from sequencing_np.unknown import read_dictionary, words_of
from sequencing_np.vocab import Vocab
from sequencing_np.weights import nest
from table_decoder import SPECIAL, TableDecoder, random_table
from test_translate import TableModel
from tiny_models import write_model

UNK = SPECIAL.unk

# --- UNK that no search says ----------------------------------------------------------------------------------------


def test_banned_by_hand() -> None:
    assert list(banned_ids(SPECIAL, False, no_unknown=True)) == [0, 1, 2]
    assert list(banned_ids(Special(3, 1, 2, 3), True, no_unknown=True)) == [1, 2, 3]


@pytest.mark.parametrize("floor", ["numpy", "torch"])
@pytest.mark.parametrize("seed", range(5))
def test_the_best_of_all_answers_without_unk(floor: str, seed: int) -> None:
    """Every sequence of at most three words is scored by hand; the search finds the best that has no UNK."""
    table = random_table(seed, 6)
    scores = {}
    for length in (1, 2, 3):
        for said in itertools.product([4, 5], repeat=length - 1):
            words = (*said, SPECIAL.eos)
            steps = [table(0, words[:place]) for place in range(length)]
            scores[said] = (
                sum(step[w] - np.logaddexp.reduce(step) for step, w in zip(steps, words, strict=True)) / length
            )
    decoder = TableDecoder(table, floor)
    feedback = BeamFeedBack(SPECIAL, 50, Limits(0.0, 3), no_unknown=True, n_best=50)
    (found,) = dynamic_decode(decoder, decoder.memory([2]), feedback)
    ended = {tuple(each.tokens): each.score for each in found if each.finished}
    assert set(ended) <= set(scores) and not any(UNK in each.tokens for each in found)
    best = max(scores, key=lambda said: scores[said])
    assert max(ended, key=lambda said: ended[said]) == best
    assert ended[best] == pytest.approx(scores[best])


@pytest.mark.parametrize("floor", ["numpy", "torch"])
def test_draws_without_unk(floor: str) -> None:
    """What is left keeps its shares: a quarter and three quarters of what is drawn."""
    logits = np.log(np.array([1e-9, 0.6, 1e-9, 1e-9, 0.1, 0.3]))
    decoder = TableDecoder(lambda sentence, words: logits, floor)
    pick = Sampler(sentence_keys(1, 0, 2000))
    feedback = SampleFeedBack(SPECIAL, Limits(0.0, 1), pick=pick, no_unknown=True)
    found = [each[0].tokens[0] for each in dynamic_decode(decoder, decoder.memory([1] * 2000), feedback)]
    assert set(found) == {4, 5} and np.mean(np.array(found) == 4) == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize("floor", ["numpy", "torch"])
@pytest.mark.parametrize("index", WORDS[::13], ids=name_of)
def test_no_model_says_it(index: int, floor: str) -> None:
    config, model = architecture(index), model_on(index, floor)
    names = [Vocab([f"w{token}" for token in range(4, size)]) for size in (config.source_size, config.target_size)]
    translator = Translator(model, names[0], names[1], Limits(1.0, 4))
    for search in (SearchConfig(beam=1), SearchConfig(beam=3, n_best=3), SearchConfig(sample=True, temperature=9.0)):
        wanted = SearchConfig(**{**vars(search), "no_unknown": True})
        answers = [answer for each in translator.translate(["w4 x w6", "w5"], wanted) for answer in each.answers]
        assert answers and not any("<unk>" in answer.tokens for answer in answers)


# --- UNK that is replaced -------------------------------------------------------------------------------------------

SOURCES = ["the", "cat", "of"]
TARGETS = ["die", "katze", "von"]


def always_unk(sentence: int, words: tuple[int, ...]) -> np.ndarray:
    """UNK four times, then the end; the table's decoder looks at one source token after another."""
    return np.eye(7)[SPECIAL.eos if len(words) > 3 else UNK] * 9


def replacing(source: Vocabulary, dictionary: dict[str, str], says: Any = always_unk) -> Translator:
    translator = Translator(TableModel(says), source, Vocab(TARGETS), Limits(0.0, 9))
    translator.replace_unknown(dictionary)
    return translator


@pytest.mark.parametrize("beam", [1, 3])
def test_by_hand(beam: int) -> None:
    """The fourth step looks at the end symbol, of which there is no word: the likeliest word is the first."""
    search = SearchConfig(beam=beam)
    found = replacing(Vocab(SOURCES), {"of": "vom  Rest"}).translate(["Anna of Rome"], search)[0]
    assert found.text == "Anna vom  Rest Rome Anna"
    assert found.answers[0].tokens == ["<unk>"] * 4 + ["</s>"] and found.answers[0].alignment is None
    asked = SearchConfig(beam=beam, alignments=True)
    shown = replacing(Vocab(SOURCES), {}).translate(["Anna of Rome"], asked)[0].answers[0]
    assert shown.alignment is not None and shown.alignment.shape == (5, 4)
    plain = Translator(TableModel(always_unk), Vocab(SOURCES), Vocab(TARGETS), Limits(0.0, 9))
    assert plain.translate(["Anna of Rome"], search)[0].text == "<unk> <unk> <unk> <unk>"


def test_what_is_known_stays() -> None:
    """The text "<unk>" in a source, and a word of the target that is called so, are ordinary text."""

    def says(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        return np.eye(7)[[4, UNK, 5, SPECIAL.eos][min(len(words), 3)]] * 9

    translator = Translator(TableModel(says), Vocab(SOURCES), Vocab(["<unk>", "y", "z"]), Limits(0.0, 9))
    translator.replace_unknown()
    assert translator.translate(["a <unk> b"], SearchConfig(beam=1))[0].text == "<unk> <unk> y"
    assert translator.translate(["a q b"], SearchConfig(beam=1))[0].text == "<unk> q y"


def test_sources_of_every_kind() -> None:
    """Factors are left out, texts in columns are words with ends between, a reversed source is in its own order."""
    factored = FactoredVocab(Vocab(["<t>", "the"], tags=["<t>"]), [["D", "N"]])
    assert replacing(factored, {"Rom": "Roma"}).translate(["<t> Anna|N Rom|N"])[0].text == "<t> Anna Roma <t>"
    columns = ColumnsVocab(Vocab(SOURCES), 2)
    assert words_of(columns, columns.encode("a b\tc"), columns.pieces("a b\tc")) == ["a", "b", None, "c", None]
    turned = ReversedVocab(columns)
    assert words_of(turned, turned.encode("a b\tc"), columns.pieces("a b\tc")) == ["a", "b", None, "c", None]
    assert replacing(ReversedVocab(Vocab(SOURCES)), {}).translate(["Anna of Rome"])[0].text == "Rome of Anna Anna"


@given(
    st.lists(st.sampled_from("abcxyz"), min_size=1, max_size=6),
    st.dictionaries(st.sampled_from("abcxyz"), st.text("ABC", min_size=1)),
)
def test_a_dictionary_first_then_the_word(words: list[str], dictionary: dict[str, str]) -> None:
    found = replacing(Vocab(SOURCES), dictionary).translate([" ".join(words)], SearchConfig(beam=1))[0]
    looked = [*words, words[0]]  # the end symbol has no word
    assert found.text.split(" ") == [dictionary.get(looked[t % len(looked)], looked[t % len(looked)]) for t in range(4)]


def test_a_model_that_has_learnt_it() -> None:
    """Words are turned round though a quarter of the letters is unknown: the attention knows where they came from."""
    translator = reversing("one head", known=LETTERS[:6])
    words = [word(random.Random(seed)) for seed in range(200)]
    right = {}
    for name in ("before", "after"):
        answers = translator.translate(words, SearchConfig(beam=2))
        right[name] = np.mean([answer.text == answer.source[::-1] for answer in answers])
        if name == "before":
            translator.replace_unknown()
    translator.dictionary = None
    assert right["before"] < 0.45 and right["after"] > 0.85, right


# --- what cannot be -------------------------------------------------------------------------------------------------


def test_levels_that_do_not_fit() -> None:
    pieces, characters = Subwords([*BYTES, "a"]), Vocab(["a"], "")
    for source, target, words in (
        (pieces, Vocab(TARGETS), "the source vocabulary is of pieces"),
        (Vocab(SOURCES), pieces, "the target vocabulary is of pieces"),
        (Vocab(SOURCES), characters, "one side is of words and the other of characters"),
    ):
        with pytest.raises(UsageError, match=rf"{words}.*--no-unknown"):
            Translator(TableModel(always_unk), source, target).replace_unknown()


@pytest.mark.parametrize("floor", ["numpy", "torch"])
@pytest.mark.parametrize("index", WORDS[::9], ids=name_of)
def test_models_that_look_at_no_words(index: int, floor: str) -> None:
    config = architecture(index)
    looks = config.decoder.type != "fixed_vector" and config.decoder.attention.type != "summary"
    names = [Vocab([f"w{token}" for token in range(4, size)]) for size in (config.source_size, config.target_size)]
    translator = Translator(model_on(index, floor), names[0], names[1])
    if looks:
        translator.replace_unknown()
    else:
        with pytest.raises(SearchError, match="does not look at single source tokens"):
            translator.replace_unknown()


@pytest.mark.parametrize("floor", ["numpy", "torch"])
@pytest.mark.parametrize("window", [1, 3, 5, 301])
@pytest.mark.parametrize("row", ["additive", "summary"])
def test_averages_of_neighbours_are_looked_at(row: str, window: int, floor: str) -> None:
    """The average over all words of a short source is the same everywhere, and still each is looked at by itself."""
    encoder = {"type": "pooling", "embedding_size": 3, "window": window}
    decoder = {"embedding_size": 5, "stack": {"size": 7}, "attention": {"type": row, "size": 4}}
    config = model_config({"encoder": encoder, "decoder": decoder, "source_size": 11, "target_size": 13}, Origin("x"))
    model: Any = Model(config).eval()
    model = model if floor == "torch" else build_model(config, nest(model.weights()))
    translator = Translator(model, *(Vocab([f"w{token}" for token in range(4, size)]) for size in (11, 13)))
    if row == "additive":
        translator.replace_unknown()
    else:
        with pytest.raises(SearchError, match="does not look at single source tokens"):
            translator.replace_unknown()


def test_dictionaries(tmp_path: Path) -> None:
    file = tmp_path / "words"
    file.write_bytes("Köln\tCologne \nzu Hause\tat home\nKöln\tCologne\n".encode())
    assert read_dictionary(str(file)) == {"Köln": "Cologne", "zu Hause": "at home"}
    for text, words in (
        (b"a\tb\nab\n", r":2: 'ab' is no entry; write source<TAB>target"),
        (b"a\tb\tc\n", r":1: 'a\\tb\\tc' is no entry"),
        (b"\tb\n", r":1: '\\tb' is no entry"),
        (b"a\tb\nb\tc\na\tc\n", r":3: 'a' has another translation in line 1"),
    ):
        file.write_bytes(text)
        with pytest.raises(DataError, match=words):
            read_dictionary(str(file))


# --- the commands ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of letters, a quarter of them unknown."""
    translator = reversing("one head", known=LETTERS[:6])
    model, vocab = translator.model, translator.source_vocab
    folder = tmp_path_factory.mktemp("unknown")
    write_model_folder(folder / "model", ModelFolder(model.config, translator.limits, vocab, vocab, model.weights()))
    (folder / "in").write_bytes(b"abgc\n\nhhda\n")
    (folder / "dictionary").write_bytes(b"g\tG\n")
    return folder


@pytest.mark.parametrize("main", [ground, upper], ids=["numpy", "torch"])
def test_both_commands(main: Any, words: Path, capsys: Any) -> None:
    def said(*options: str) -> tuple[int, str, str]:
        code = main(["translate", str(words / "model"), "--input", str(words / "in"), "--beam", "2", *options])
        return code, *capsys.readouterr()

    assert said() == (0, "c<unk>ba\n\nad<unk><unk>\n", "")
    assert said("--replace-unknown") == (0, "cgba\n\nadhh\n", "")
    assert said("--replace-unknown", "--dictionary", str(words / "dictionary")) == (0, "cGba\n\nadhh\n", "")
    rows = [json.loads(line) for line in said("--replace-unknown", "--json")[1].split("\n")[:-1]]
    assert rows[0]["translation"] == "cgba" and rows[0]["tokens"] == ["c", "<unk>", "b", "a", "</s>"]
    assert "alignment" not in rows[0]["answers"][0]
    assert "<unk>" not in said("--no-unknown")[1]
    for options, code, text in (
        (["--dictionary", "d"], 2, "add --replace-unknown"),
        (["--replace-unknown", "--no-unknown"], 2, "has none to replace"),
        (["--replace-unknown", "--dictionary", str(words / "none")], 4, "cannot be opened"),
    ):
        found = said(*options)
        assert found[:2] == (code, "") and text in found[2] and found[2].count("\n") == 1


def test_words_in_and_characters_out(tmp_path: Path, capsys: Any) -> None:
    assert ground(["translate", str(write_model(tmp_path / "model")), "--replace-unknown"]) == 2
    assert "one side is of words" in capsys.readouterr().err
