"""Wishes as text: read from JSON lines and glossaries, turned into rules, and kept by a model at the command line."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sequencing_np.__main__ import main
from sequencing_np.errors import DataError
from sequencing_np.rules import Begin, Exclude, Grammar, Include, NoRepeats
from sequencing_np.search import SearchConfig
from sequencing_np.translate import Translator
from sequencing_np.vocab import Vocab
from sequencing_np.wishes import Glossary, Wishes, read_wishes, rules_of
from tiny_models import told, write_model

TEXT = "ein zwei\n\ndrei vier fünf und\nsechs\nzwei zwei zwei\n"
VOCAB = Vocab(["das", "haus", "ist", "alt"], " ")


def test_wishes_become_rules_over_ids() -> None:
    wishes = Wishes((("das haus", "alt"),), ("ist",), "das", ("das haus", "alt"))
    found = wishes.rules(VOCAB, no_repeats=2)
    assert [type(rule) for rule in found] == [NoRepeats, Include, Exclude, Begin, Grammar]
    das, haus, ist, alt = (VOCAB.encode(word)[0] for word in ("das", "haus", "ist", "alt"))
    no_repeats, include, exclude, begin, grammar = found
    assert isinstance(no_repeats, NoRepeats) and no_repeats.n == 2
    assert isinstance(include, Include) and include.groups == [[(das, haus), (alt,)]]
    assert isinstance(exclude, Exclude) and exclude.phrases == [(ist,)]
    assert isinstance(begin, Begin) and begin.words == (das,)
    assert isinstance(grammar, Grammar) and set(grammar.steps[0]) == {das, alt} and len(grammar.ends) == 2
    assert rules_of([Wishes(), Wishes()], VOCAB) is None
    both = wishes.and_those(Wishes((("ist",),), begin="alt"))
    assert both.include == (("das haus", "alt"), ("ist",)) and both.begin == "das"


@pytest.mark.parametrize("wishes", [Wishes((("katze",),)), Wishes(exclude=("das katze",)), Wishes(begin="katze")])
def test_unknown_words_cannot_be_wished_for(wishes: Wishes) -> None:
    with pytest.raises(DataError, match=r"katze': has words that the model does not know"):
        wishes.rules(VOCAB)
    with pytest.raises(DataError, match="has no words"):
        Wishes(exclude=("",)).rules(VOCAB)


def test_wishes_are_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "wishes.jsonl"
    path.write_text('{"include": ["a", ["b", "c d"]], "exclude": ["e"], "begin": "f", "allowed": ["g"]}\n\n{}\n')
    assert list(read_wishes(path)) == [Wishes((("a",), ("b", "c d")), ("e",), "f", ("g",)), Wishes(), Wishes()]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[]", "must be a JSON object with keys from include, exclude, begin, allowed"),
        ('{"includes": []}', "with keys from include"),
        ('{"include": "a"}', "include: must be a list, not 'a'"),
        ('{"include": [[]]}', "a list of forms is empty"),
        ('{"exclude": [1]}', "1: must be a text"),
        ('{"begin": ["a"]}', "must be a text"),
        ("{", "Expecting"),
    ],
)
def test_wishes_that_are_none(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "wishes.jsonl"
    path.write_text(f"{{}}\n{line}\n")
    with pytest.raises(DataError) as raised:
        list(read_wishes(path))
    assert str(raised.value).startswith(f"{path}:2: ") and words in str(raised.value)


def test_a_glossary_asks_for_what_stands_in_the_line(tmp_path: Path) -> None:
    path = tmp_path / "glossary.tsv"
    path.write_text("house\tHaus\tGebäude\n\nold house\tAltbau\nC++\tC++\n")
    glossary = Glossary.read(path)
    assert glossary.wishes("a house, a House, houses") == Wishes((("Haus", "Gebäude"),))
    assert glossary.wishes("the old house and the house") == Wishes((("Altbau",), ("Haus", "Gebäude")))
    assert glossary.wishes("C++ (C++)") == Wishes((("C++",),)) and glossary.wishes("") == Wishes()
    assert Glossary([]).wishes("house") == Wishes()
    for line in ("house", "house\t", "\tHaus"):
        path.write_text(f"a\tb\n{line}\n")
        with pytest.raises(DataError, match=r"glossary\.tsv:2: must be a source word, a tab and its translation"):
            Glossary.read(path)


# --- a model that keeps them


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    return partial(told(capsys, monkeypatch, TEXT), main)


def letters_of(model: Path) -> list[str]:
    """Letters that the model can say."""
    vocab = Translator.load(model).target_vocab
    return [text for text in "abcdefghijklmnopqrstuvwxyz" if vocab.special.unk not in vocab.encode(text)][:3]


def test_what_is_asked_for_is_said(said: Any, model: Path, tmp_path: Path) -> None:
    one, two, three = letters_of(model)
    lines = TEXT.split("\n")[:-1]
    asked = [bool(line.strip()) for line in lines]
    code, answers, _ = said("translate", model, "--include", one, "--exclude", two, "--beam", 4)
    assert code == 0 and len(answers) == len(lines)
    for answer, was_asked in zip(answers, asked, strict=True):
        assert two not in answer and (one in answer or not was_asked)
    wishes = [{"begin": three}, {"allowed": [one + two, three]}, {}]
    path = tmp_path / "wishes"
    path.write_text("".join(json.dumps(wishes[number % 3]) + "\n" for number in range(len(lines))))
    code, answers, _ = said("translate", model, "--wishes", path)
    free = said("translate", model)[1]
    assert code == 0
    for number, (answer, was_asked) in enumerate(zip(answers, asked, strict=True)):
        if was_asked and number % 3 < 2:
            assert answer.startswith(three) if number % 3 == 0 else answer in (one + two, three)
        else:
            assert answer == free[number]


@pytest.mark.parametrize("lines", [1, 1000])
def test_a_file_of_wishes_has_a_line_for_each(said: Any, model: Path, tmp_path: Path, lines: int) -> None:
    path = tmp_path / "wishes"
    path.write_text("{}\n" * lines)
    code, _, err = said("translate", model, "--wishes", path)
    assert code == 4 and f"{path}: has {'fewer' if lines == 1 else 'more'} lines than the input" in err


def test_what_cannot_be_kept_is_told(said: Any, model: Path) -> None:
    one = letters_of(model)[0]
    code, answers, err = said("translate", model, "--include", one, "--exclude", one)
    assert code == 6 and set(answers) == {""} and "nothing was found that keeps all wishes" in err
    code, _, err = said("translate", model, "--include", one, "--beam", 1)
    assert code == 4 and "found by a beam of 2 or more" in err


def test_no_repeats_in_python(model: Path) -> None:
    translator = Translator.load(model)
    for search in (
        SearchConfig(no_repeats=1),
        SearchConfig(beam=1, no_repeats=1),
        SearchConfig(sample=True, no_repeats=1),
    ):
        for translation in translator.translate(TEXT.split("\n")[:-1], search):
            tokens = translation.answers[0].tokens if translation.answers else []
            assert len(tokens) == len(set(tokens))
