"""sentences and paragraphs: nothing of a text is lost, order is kept, and what is too long is split or refused."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reversing_model import reversing, write_reversing
from sequencing.__main__ import main as upper
from sequencing_np.__main__ import main as ground
from sequencing_np.columns import ColumnsVocab
from sequencing_np.errors import ConfigError, DataError, UsageError
from sequencing_np.factors import FactoredVocab
from sequencing_np.limits import Limits
from sequencing_np.paragraphs import Paragraphs, Splitting
from sequencing_np.search import SearchConfig
from sequencing_np.sentences import cut, join, sentences
from sequencing_np.special import Vocabulary
from sequencing_np.translate import Translator
from sequencing_np.vocab import Vocab
from test_translate import TableModel
from tiny_models import write_model

# --- a text ---------------------------------------------------------------------------------------------------------

WRITTEN = [  # texts with | between their sentences
    "One sentence.",
    "Is it? | Yes! | It is.",
    "No stop at all",
    "Mr. Smith met Dr. Jones at 3.15 p.m. on Fifth St. near here. | They spoke.",
    "He said no. | Then he left.",
    "See No. 5 and Fig. 3 here. | All right.",
    "J. S. Bach wrote it. | It is old.",
    "Wow! said she. | And left.",
    "So ... maybe. | Perhaps ... | Sure.",
    '"Stop!" | "Why?" | (It was late.) | Nobody spoke.',
    "It was 1990. | Then it was over.",
    "Am 3. Mai kam er, z. B. mit Anna. | Am 12. März ging er. | Usw.",
    "¿Qué hay? | ¡Nada! | ¿Nada?",
    "Il dit : « Bonjour. » | Puis il partit.",
    "»Halt!« | »Wer da?«, fragte er. | »Ich.«",
    "Он пришёл. | Она ушла!",
    "你好。|我是学生！|你呢？",
    "他说：“走吧。”|我们走了。",
    "「はい。」と言った。|そして帰った。",
    "그는 왔다. | 그녀는 갔다.",
    "यह एक वाक्य है। | यह दूसरा है।",
    "ما اسمك؟ | اسمي علي.",
    "Go to example.com or 3.5 of it. | Done.",
]


@pytest.mark.parametrize("written", WRITTEN)
def test_sentences_of_many_scripts(written: str) -> None:
    wanted = [part.strip() for part in written.split("|")]
    assert sentences(written.replace("|", "")) == wanted
    assert sentences(f"  {written.replace('|', '')}\t ") == wanted


TEXT = st.text(st.sampled_from("ab A.!?。！”) \u3000\t,，1你"), max_size=60)


@given(TEXT)
def test_nothing_is_lost(text: str) -> None:
    found = sentences(text)
    assert "".join(found).replace(" ", "").replace("\t", "").replace("\u3000", "") == re.sub(r"\s", "", text)
    assert all(part and part == part.strip() for part in found) and bool(found) == bool(text.strip())


@given(TEXT, st.integers(1, 12))
def test_parts_fit_and_nothing_is_lost(text: str, longest: int) -> None:
    parts = cut(text, lambda part: len(part) <= longest)
    pieces = re.findall(r"[^\s。！，]+[。！，]*[”)]*|[。！，]+[”)]*", text)
    if parts is None:
        assert max(map(len, pieces)) > longest or re.search(r"[。！，][”)]", text)
    else:
        assert re.sub(r"\s", "", "".join(parts)) == re.sub(r"\s", "", text)
        assert all(0 < len(part) <= longest for part in parts)


def test_where_a_text_is_cut() -> None:
    def words(text: str) -> int:
        return len(text.split())

    text = "One two three, four five six. Seven eight nine ten eleven twelve"
    assert cut(text, lambda part: words(part) <= 8) == [
        "One two three, four five six.",
        "Seven eight nine ten eleven twelve",
    ]
    assert cut(text, lambda part: words(part) <= 5) == [
        "One two three,",
        "four five six.",
        "Seven eight nine ten eleven",
        "twelve",
    ]
    assert cut(text, lambda part: words(part) <= 1) == text.split()
    assert cut("今天，我们走。明天来", lambda part: len(part) <= 6) == ["今天，", "我们走。", "明天来"]
    assert cut("a bcdefg h", lambda part: len(part) <= 4) is None
    assert cut("", lambda part: False) == []


def test_a_long_text_is_asked_about_seldom() -> None:
    asked = []

    def fits(part: str) -> bool:
        asked.append(len(part))
        return len(part) <= 100

    text = "word " * 4000
    parts = cut(text, fits)
    assert parts is not None and len(parts) == 200 and sum(asked) < 60 * len(text)


def test_together_again() -> None:
    assert join(["One.", "", "Two."]) == "One. Two." and join([]) == ""
    assert join(["你好。", "我来", "了", "OK。", "“好”"]) == "你好。我来了 OK。“好”"
    assert join(["왔다", "갔다."]) == "왔다 갔다."


# --- lines for a model ----------------------------------------------------------------------------------------------


def echo(sentence: int, words: tuple[int, ...]) -> np.ndarray:
    """Says two words after the first id of its sentence, and ends."""
    return np.eye(9)[[4 + sentence % 5, 5, 3][min(len(words), 2)]] * 9


def of_words(source: Vocabulary | None = None) -> Translator:
    return Translator(
        TableModel(echo), source or Vocab(["Aa.", "Bb.", "Cc.", "D"]), Vocab(list("vwxyz")), Limits(0.0, 9)
    )


LINES = ["Aa. Bb. Cc.", "", "  ", "Bb.", "Cc. x D y Aa."]


def test_paragraphs_by_hand() -> None:
    search = SearchConfig(beam=2, alignments=True)
    translator = of_words()
    found = list(Paragraphs(translator, Splitting(sentences=True)).stream(LINES, search, window=2))
    assert [each.source for each in found] == LINES
    parts = [translator.translate([part], search)[0] for part in ("Aa.", "Bb.", "Cc.")]
    whole = found[0]
    assert whole.text == " ".join(part.text for part in parts) and [part.source for part in whole.parts] == [
        "Aa.",
        "Bb.",
        "Cc.",
    ]
    assert whole.source_tokens == ["Aa.", "</s>", "Bb.", "</s>", "Cc.", "</s>"]
    answer = whole.answers[0]
    assert answer.log_prob == pytest.approx(sum(part.answers[0].log_prob for part in parts))
    assert len(answer.tokens) == len(answer.token_log_probs) == 9 and answer.finished
    assert answer.score == pytest.approx(np.mean([part.answers[0].score for part in parts]))
    assert answer.alignment is not None and answer.alignment.shape == (9, 6)
    for place, part in enumerate(parts):
        own = answer.alignment[3 * place : 3 * place + 3]
        np.testing.assert_array_equal(own[:, 2 * place : 2 * place + 2], part.answers[0].alignment)
        assert own.sum() == pytest.approx(part.answers[0].alignment.sum())
    for place in (1, 2, 3):
        assert found[place].text == translator.translate([LINES[place]], search)[0].text and not found[place].parts


@given(st.lists(st.lists(st.sampled_from(["Aa.", "Bb.", "Cc. ", "D", "x"]), max_size=7), max_size=9), st.integers(1, 5))
def test_as_the_parts_alone_in_any_windows(lines: list[list[str]], window: int) -> None:
    """Greedy and drawn answers are those to all sentences of the text, one after another."""
    texts = [" ".join(line) for line in lines]
    translator = of_words()
    for search in (SearchConfig(beam=1), SearchConfig(sample=True, temperature=30.0, seed=7)):
        found = list(Paragraphs(translator, Splitting(sentences=True)).stream(texts, search, window))
        alone = [sentences(text) or [text] for text in texts]
        flat = iter(translator.translate([part for parts in alone for part in parts], search))
        assert [each.text for each in found] == [join([next(flat).text for _ in parts]) for parts in alone]


def test_tags_hold_for_each_part() -> None:
    vocab = Vocab(["<2de>", "<2d>", "Aa.", "Bb."], tags=["<2de>", "<2d>"])
    found = list(
        Paragraphs(of_words(vocab), Splitting(sentences=True)).stream(
            ["<2de> Aa. Bb.", "Aa. <2d> Bb."], SearchConfig(beam=1)
        )
    )
    assert [[part.source for part in each.parts] for each in found] == [["<2de> Aa.", "<2de> Bb."], ["Aa.", "<2d> Bb."]]
    longest = Splitting(longest=3)
    found = list(Paragraphs(of_words(vocab), longest).stream(["<2d><2de> Aa. Bb."], SearchConfig(beam=1)))
    assert [part.source for part in found[0].parts] == ["<2d><2de> Aa.", "<2d><2de> Bb."]


def test_too_long_is_split_or_refused() -> None:
    translator, search = of_words(), SearchConfig(beam=1)
    split = Paragraphs(translator, Splitting(longest=3))
    found = list(split.stream(["a b c", "a b c d e", "a b, c d e f"], search))
    assert [[part.source for part in each.parts] for each in found] == [[], ["a b c", "d e"], ["a b,", "c d e", "f"]]
    both = Paragraphs(translator, Splitting(sentences=True, longest=3))
    found = list(both.stream(["Aa. Bb. Cc. D", "a b c dd. Bb."], search))
    assert [[part.source for part in each.parts] for each in found] == [
        ["Aa.", "Bb.", "Cc.", "D"],
        ["a b c", "dd.", "Bb."],
    ]
    refuse = Paragraphs(translator, Splitting(longest=3, too_long="refuse"))
    assert len(list(refuse.stream(["a b c"] * 5, search))) == 5
    for paragraphs in (refuse, Paragraphs(translator, Splitting(True, 3, "refuse"))):
        said = []
        with pytest.raises(DataError, match=r"line 4: 4 tokens, the longest may have 3: 'a b c d'; cut it"):
            for each in paragraphs.stream(["a"] * 3 + ["a b c d"], search, window=2):
                said.append(each)
        assert len(said) == 2
    letters = Translator(TableModel(echo), Vocab(list("abc"), ""), Vocab(list("vwxyz")))
    with pytest.raises(DataError, match=r"line 1: 5 tokens, .* neither white space nor punctuation .*'abcab'"):
        list(Paragraphs(letters, Splitting(longest=3)).stream(["abcab"], search))


def test_what_cannot_be_split() -> None:
    for source, words in (
        (ColumnsVocab(Vocab(["a"]), 2), "a source is 2 texts with tabs between"),
        (FactoredVocab(Vocab(["a"]), [["X"]]), "words have factors"),
        (Vocab(["a"], "|"), r"tokens stand between '\|'"),
    ):
        for splitting in (Splitting(sentences=True), Splitting(longest=4)):
            with pytest.raises(UsageError, match=rf"{words}.*--too-long refuse"):
                Paragraphs(of_words(source), splitting)
        Paragraphs(of_words(source), Splitting(longest=4, too_long="refuse"))
    with pytest.raises(UsageError, match="n_best 2"):
        Paragraphs(of_words(), Splitting(sentences=True)).begin(["a"], SearchConfig(n_best=2))
    with pytest.raises(ConfigError, match="longest -1"):
        Splitting(longest=-1)
    with pytest.raises(ConfigError, match="did you mean 'refuse'"):
        Splitting(too_long="refus")


def test_no_answer_to_a_part_is_none_to_the_whole(tmp_path: Path, capsys: Any) -> None:
    folder = write_model(tmp_path / "model", broken=True)
    (tmp_path / "in").write_bytes(b"ein zwei drei\nzwei sechs drei vier\n")
    assert ground(["translate", str(folder), "--input", str(tmp_path / "in"), "--longest", "2"]) == 6
    out, err = capsys.readouterr()
    assert out.count("\n") == 2 and out.split("\n")[1] == "" and "1 of 2 lines have no answer" in err


# --- the commands ---------------------------------------------------------------------------------------------------


def test_both_commands_say_the_same(tmp_path: Path, capfd: Any) -> None:
    """A model that turns words of up to seven letters round, and a text of such words on one line."""
    folder = write_reversing(tmp_path / "model", "one head")
    words = ["abcd", "hgf", "ceb", "dahc"]
    (tmp_path / "in").write_bytes(f"{' '.join(words)}\n\nabc\n".encode())
    call = ["translate", str(folder), "--input", str(tmp_path / "in"), "--beam", "2", "--longest", "4", "--alignments"]
    said = []
    for main, more in ((ground, []), (ground, ["--processes", "2"]), (upper, ["--device", "cpu"])):
        assert main([*call, *more]) == 0
        said.append(capfd.readouterr().out)
    assert said[0] == said[1] == said[2]
    lines = said[0].split("\n")
    text, _, pairs = lines[0].partition("\t")
    expected = reversing("one head").translate(words, SearchConfig(beam=2))
    assert text == join([each.text for each in expected]) and lines[1] == "\t"
    for pair in pairs.split():  # each word is looked at from its end, after the words before it
        source, target = map(int, pair.split("-"))
        assert 0 <= source < 14 and 0 <= target < 14
    assert len({pair.split("-")[1] for pair in pairs.split()}) == len(pairs.split()) >= 10
    assert ground([*call, "--json"]) == 0
    row = json.loads(capfd.readouterr().out.split("\n")[0])
    assert row["source"] == " ".join(words) and row["source_tokens"].count("</s>") == 4
    assert len(row["answers"][0]["alignment"]) == len(row["tokens"])
    for options, words_of_error in (
        (["--too-long", "refuse"], "add --longest"),
        (["--longest", "0"], "--longest 0: must be 1 or more"),
        (["--split", "--n-best", "1"], "--n-best 1: lines that are translated in parts have one answer"),
    ):
        assert ground(["translate", str(folder), *options]) == 2
        assert words_of_error in capfd.readouterr().err
    assert ground([*call, "--too-long", "refuse"]) == 4
    assert "line 1: 17 tokens, the longest may have 4" in capfd.readouterr().err
