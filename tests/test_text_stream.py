"""text_stream: pieces joined are the answer, nothing is taken back, and what is decided is said at once."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from architectures import WORDS, name_of
from huggingface_examples import FILE
from sentencepiece_models import model, with_bytes
from sequencing.__main__ import main as upper_main
from sequencing_np.__main__ import main
from sequencing_np.beam import shared_beginning
from sequencing_np.errors import DataError, SearchError, UsageError
from sequencing_np.factors import FactoredVocab
from sequencing_np.limits import Limits
from sequencing_np.paragraphs import Paragraphs, Splitting
from sequencing_np.reversal import ReversedVocab
from sequencing_np.search import SearchConfig
from sequencing_np.subwords import BYTES, SPACE, Subwords
from sequencing_np.tokenizers.huggingface_vocab import import_tokenizer
from sequencing_np.tokenizers.sentencepiece_vocab import import_model
from sequencing_np.translate import Translator
from sequencing_np.unigram import Unigram
from sequencing_np.vocab import Vocab, Vocabulary
from sequencing_np.wishes import Wishes
from table_decoder import random_table
from test_sentencepiece_vocab import BEGIN, NORMAL
from test_translate import LINES, table_translator, translator, vocab
from tiny_models import told, write_model, write_run

SEARCHES = [
    SearchConfig(beam=1),
    SearchConfig(beam=4),
    SearchConfig(beam=4, groups=2, diversity=1.0),
    SearchConfig(beam=1, sample=True, temperature=1.4, seed=4),
    SearchConfig(beam=1, sample=True, without_replacement=True, n_best=3),
    SearchConfig(beam=5, mbr="edit"),
    SearchConfig(beam=3, no_repeats=2, coverage=0.2, word_reward=0.3),
]


# --- the text of ids that are not the last ----------------------------------------------------------------------------


def vocabularies() -> Iterator[tuple[str, Vocabulary]]:
    pieces = [*BYTES, SPACE, "a", f"{SPACE}a", "aa", "\u00e9"]
    yield "words", Vocab(["a", "b", "\ufffd"])
    yield "characters", Vocab(["a", "b", " "], "")
    yield "subwords", Subwords(pieces, [None] * 258 + [0, 1, None][:3])
    yield "unigram", Unigram(pieces, [None] * 256 + [-1.0] * 5)
    yield "reversed", ReversedVocab(Vocab(["a", "b"]))
    yield "SentencePiece", import_model(model([*BEGIN, *NORMAL]))
    yield "SentencePiece with bytes", import_model(model(with_bytes(NORMAL), trainer={35: 1}))
    yield "SentencePiece with suffixes", import_model(model(with_bytes(NORMAL), trainer={24: 1, 35: 1}))
    for name, example in json.loads(FILE.read_bytes()).items():
        yield name, import_tokenizer(example["tokenizer"])


VOCABS = dict(vocabularies())


@pytest.mark.parametrize("name", VOCABS)
@given(data=st.data())
def test_what_is_settled_stays(name: str, data: Any) -> None:
    vocab = VOCABS[name]
    bytes_first = st.sampled_from([i for i, token in enumerate(vocab.tokens) if token in BYTES] or [4])
    ids = data.draw(st.lists(st.integers(0, len(vocab) - 1) | bytes_first, max_size=12))
    ids = [token for token in ids if token != vocab.special.eos]
    text = vocab.decode(ids)
    for cut in range(len(ids) + 1):
        assert text.startswith(vocab.settled(ids[:cut]))


@pytest.mark.parametrize("name", ["words", "subwords", "unigram", "GPT-2", "Llama 2", "BERT", "T5"])
def test_what_is_settled_is_nearly_all(name: str) -> None:
    vocab = VOCABS[name]
    for text in ("a b a", "ab \u00e9 a", "a \u20ac b"):
        ids = vocab.encode(text)[:-1]
        whole = vocab.decode(ids)
        assert whole.startswith(vocab.settled(ids)) and len(vocab.settled(ids)) >= len(whole) - 1
        assert max(len(vocab.decode(ids[:cut])) - len(vocab.settled(ids[:cut])) for cut in range(len(ids))) <= 3


def test_half_a_character_waits() -> None:
    vocab = VOCABS["subwords"]
    euro = vocab.encode("a\u20acb")[:-1]
    assert [vocab.settled(euro[:cut]) for cut in range(len(euro) + 1)] == ["", "a", "a", "a", "a\u20ac", "a\u20acb"]


# --- pieces ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("floor", ["numpy", "torch"])
@pytest.mark.parametrize("index", WORDS[::8], ids=name_of)
def test_pieces_joined_are_the_answer(index: int, floor: str) -> None:
    subject = translator(index, floor)
    for search in SEARCHES if floor == "numpy" else SEARCHES[:2]:
        for place, (line, found) in enumerate(zip(LINES, subject.translate(LINES, search), strict=True)):
            pieces = list(subject.stream_text(line, search, place))
            assert "".join(pieces) == found.text and "" not in pieces


@given(st.integers(0, 10**6), st.sampled_from(SEARCHES[:5]))
def test_nothing_is_taken_back(seed: int, search: SearchConfig) -> None:
    subject, _ = table_translator(random_table(seed, 9), Limits(0.0, 6))
    assert "".join(subject.stream_text("w7", search)) == subject.translate(["w7"], search)[0].text


def test_a_greedy_word_is_said_before_the_next_is_asked_for() -> None:
    subject, decoder = table_translator(lambda sentence, words: np.eye(9)[3 if len(words) == 4 else 4 + len(words)] * 9)
    said = [(piece, len(decoder.decoder.asked)) for piece in subject.stream_text("w7", SearchConfig(beam=1))]
    assert said == [("w4", 1), (" w5", 2), (" w6", 3), (" w7", 4)]


def test_a_beam_says_what_all_its_hypotheses_share() -> None:
    """After two words all begin with the first one; the second is decided at the end."""

    def table(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        chances = {(): {4: 0.9, 5: 0.1}, (4,): {4: 0.6, 5: 0.4}}.get(words, {3: 1.0})
        return np.log([chances.get(token, 1e-30) for token in range(6)])

    subject, decoder = table_translator(table)
    said = [(piece, len(decoder.decoder.asked)) for piece in subject.stream_text("w7", SearchConfig(beam=2))]
    assert said == [("w4", 2), (" w4", 3)]


@given(st.lists(st.lists(st.integers(0, 2), max_size=5), max_size=4))
def test_what_sequences_begin_with(sequences: list[list[int]]) -> None:
    found = shared_beginning(sequences)
    assert all(words[: len(found)] == found for words in sequences)
    longer = {tuple(words[: len(found) + 1]) for words in sequences}
    assert len(longer) != 1 or len(next(iter(longer))) == len(found)


def test_wishes_hold_and_errors_are_told() -> None:
    subject, _ = table_translator()
    wishes = Wishes(begin="w5 w5")
    found = subject.translate(["w7"], SearchConfig(beam=1), wishes=[wishes])[0].text
    assert "".join(subject.stream_text("w7", SearchConfig(beam=1), wishes=wishes)) == found.strip() != ""
    broken, _ = table_translator(lambda sentence, words: np.full(9, np.nan if words else 1.0))
    for search in (SearchConfig(beam=1), SearchConfig(beam=3), SearchConfig(beam=3, mbr="edit")):
        with pytest.raises(SearchError, match="no answer"):
            list(broken.stream_text("w7", search))
    numbers = Translator(translator(0).model, FactoredVocab(Vocab(["a"]), [["x"]], "|"), vocab(6))
    with pytest.raises(DataError, match="line 3"):
        list(numbers.stream_text("a|b|c", first=2))


@pytest.mark.parametrize("delimiter", [" ", ""])
def test_paragraphs(delimiter: str) -> None:
    subject, _ = table_translator(random_table(3, 9), Limits(0.0, 3))
    subject.target_vocab = Vocab([f"w{token}" for token in range(4, 9)], delimiter)
    for splitting in (Splitting(), Splitting(sentences=True), Splitting(longest=2)):
        lines = ["w7 w8 w9. W10 w11? W12", "", "w8", "w7 w5! W9"]
        for search in (SearchConfig(beam=1), SearchConfig(beam=1, sample=True, seed=5), SearchConfig(beam=3)):
            whole = [found.text for found in Paragraphs(subject, splitting).stream(lines, search)]
            paragraphs = Paragraphs(subject, splitting)
            assert ["".join(paragraphs.stream_text(line, search)) for line in lines] == whole
    with pytest.raises(UsageError, match="cannot be shared out"):
        list(Paragraphs(subject, Splitting(sentences=True)).stream_text("w7", SearchConfig(), Wishes(begin="w5")))


# --- the command lines ------------------------------------------------------------------------------------------------

TEXT = "ein zwei drei\n\nf\u00fcnf und vier\nzwei\n"


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    return told(capsys, monkeypatch, TEXT)


def test_the_command_writes_the_same_bytes(said: Any, tmp_path: Path) -> None:
    folder, run = write_model(tmp_path / "model"), write_run(tmp_path / "run")
    for options in (["--beam", "1"], ["--beam", "4"], ["--sample", "--seed", "3"], ["--mbr", "edit", "--beam", "3"]):
        for program, place in ((main, folder), (upper_main, run)):
            assert said(program, "translate", place, "--stream", *options) == said(
                program, "translate", place, *options
            )


def test_what_cannot_be_streamed(said: Any, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    for options in (["--json"], ["--n-best", "2"], ["--scores"], ["--output", tmp_path / "x"], ["--processes", "2"]):
        code, lines, err = said(main, "translate", folder, "--stream", *options)
        assert (code, lines) == (2, []) and f"leave {options[0]} out" in err


def test_lines_without_an_answer(said: Any, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    folder = write_model(tmp_path / "model", broken=True)
    run = told(capsys, monkeypatch, "ein\nsechs\nzwei\n")
    plain, streamed = (
        run(main, "translate", folder, "--beam", "1"),
        run(main, "translate", folder, "--beam", "1", "--stream"),
    )
    assert plain[0] == streamed[0] == 6 and plain[1] == streamed[1] and plain[2] == streamed[2]
