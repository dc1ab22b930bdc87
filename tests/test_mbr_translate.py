"""Minimum Bayes risk through the Translator and the command lines: which candidates there are, and what is said."""

import json
from pathlib import Path
from typing import Any

import pytest

from architectures import WORDS, name_of
from sequencing.__main__ import main as upper_main
from sequencing_np.__main__ import main
from sequencing_np.errors import ConfigError
from sequencing_np.mbr import UTILITIES, rank
from sequencing_np.search import SearchConfig
from sequencing_np.translate import Translator
from sequencing_np.translation import Translation
from test_translate import LINES, agree, translator
from tiny_models import told, write_model, write_run

TEXT = "ein zwei drei\n\nfünf und vier\nzwei\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    return told(capsys, monkeypatch, TEXT)


def chosen(pool: Translation, search: SearchConfig) -> list[tuple[str, float]]:
    """What the rule makes of a list of answers."""
    texts = [each.text for each in pool.answers]
    ranked = rank(texts, [each.score for each in pool.answers], search.mbr)[: search.n_best]
    return [(texts[each.candidate], each.expected) for each in ranked]


@pytest.mark.parametrize("utility", UTILITIES)
def test_the_candidates_of_a_beam(utility: str) -> None:
    subject = translator(0)
    search = SearchConfig(beam=6, mbr=utility, candidates=5, n_best=2)
    pools = subject.translate(LINES, SearchConfig(beam=6, n_best=5))
    for found, pool in zip(subject.translate(LINES, search), pools, strict=True):
        if found.source.strip():
            assert [(each.text, each.score) for each in found.answers] == chosen(pool, search)
        else:
            assert found == pool
        assert {each.text for each in found.answers} <= {each.text for each in pool.answers}


def test_the_candidates_that_are_drawn() -> None:
    """The first of them is what one draw is; each depends on the seed, the line's place and its number alone."""
    subject = translator(0)
    search = SearchConfig(beam=1, sample=True, temperature=1.2, mbr="edit", candidates=9, n_best=9, seed=4)
    found = subject.translate(LINES, search)
    one = subject.translate(LINES, SearchConfig(beam=1, sample=True, temperature=1.2, seed=4))
    for pool, draw in zip(found, one, strict=True):
        assert draw.text in [each.text for each in pool.answers]
    assert max(len(pool.answers) for pool in found) > 2, "draws differ"
    fewer = subject.translate(LINES, SearchConfig(**{**vars(search), "candidates": 5, "n_best": 5}))
    for pool, part in zip(found, fewer, strict=True):
        assert {each.text for each in part.answers} <= {each.text for each in pool.answers}


@pytest.mark.parametrize("index", WORDS[::9], ids=name_of)
def test_any_batches_and_both_floors(index: int) -> None:
    for search in (
        SearchConfig(beam=4, mbr="chrf", n_best=2, alignments=True),
        SearchConfig(beam=1, sample=True, mbr="bleu", candidates=6, n_best=3),
    ):
        whole = translator(index).translate(LINES, search)
        agree(whole, translator(index, "torch").translate(LINES, search))
        agree(whole, translator(index).translate(LINES, SearchConfig(**{**vars(search), "batch_tokens": 7})))
        agree(whole, list(translator(index).stream(LINES, search, window=2)))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"mbr": "chrff"}, "did you mean 'chrf'"),
        ({"mbr": "os:system"}, "os:system"),  # what is no row yet: a configuration imports nothing
        ({"mbr": "chrf", "beam": 1}, "beam"),
        ({"mbr": "chrf", "beam": 4, "candidates": 5}, "candidates"),
        ({"mbr": "chrf", "candidates": 1}, "2"),
        ({"mbr": "chrf", "sample": True, "candidates": 1}, "candidates 1"),
        ({"mbr": "chrf", "sample": True, "candidates": 3, "n_best": 4}, "n_best 4"),
        ({"mbr": "chrf", "candidates": -1}, "candidates -1"),
        ({"mbr": "chrf", "sample": True, "candidates": 1001}, "candidates 1001"),
        ({"mbr": "chrf", "n_best": 0}, "n_best 0"),
    ],
)
def test_what_cannot_be(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        SearchConfig(**wrong)
    assert words in str(raised.value)


def test_numbers_of_candidates_that_are_not_said() -> None:
    assert SearchConfig(mbr="chrf", beam=7).pool == 7
    assert SearchConfig(mbr="chrf", beam=1, sample=True).pool == SearchConfig(mbr="chrf", sample=True).rows == 32
    assert SearchConfig(candidates=9).pool == 1, "candidates of nothing"


def test_the_command_lines_say_the_same(said: Any, model: Path) -> None:
    search = ("--mbr", "chrf", "--beam", 4, "--n-best", 2)
    code, lines, err = said(main, "translate", model, *search)
    assert (code, err) == (0, "")
    expected = Translator.load(model).translate(TEXT.split("\n")[:-1], SearchConfig(beam=4, mbr="chrf", n_best=2))
    assert [line.split(" ||| ")[1] for line in lines] == [each.text for found in expected for each in found.answers]
    above = said(upper_main, "translate", model, "--device", "cpu", *search)
    assert [line.split(" ||| ")[:2] for line in above[1]] == [line.split(" ||| ")[:2] for line in lines]
    drawn = ("--mbr", "edit", "--sample", "--candidates", 5, "--json")
    one, other = said(main, "translate", model, *drawn), said(upper_main, "translate", model, "--device", "cpu", *drawn)
    assert one[0] == other[0] == 0
    assert [json.loads(line)["translation"] for line in one[1]] == [
        json.loads(line)["translation"] for line in other[1]
    ]


def test_a_run_that_chooses_so(said: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "run")
    plain = said(upper_main, "translate", run, "--beam", 3, "--scores")
    (run / "config.json").write_text(json.dumps({"search": {"beam": 3, "length_penalty": "gnmt", "mbr": "edit"}}))
    risky = said(upper_main, "translate", run, "--scores")
    assert risky[0] == 0 and risky != plain
    assert said(upper_main, "translate", run, "--mbr", "none", "--scores") == plain
    (run / "config.json").write_text(json.dumps({"search": {"mbr": "mine_run:utility"}}))
    (tmp_path / "mine_run.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path)
    code, _, err = said(upper_main, "translate", run)
    assert code == 5 and "mine_run:utility" in err, "a folder never causes an import"


def test_a_utility_in_the_current_folder(said: Any, model: Path, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "mine_here.py").write_text("def longer(candidate, right):\n    return len(candidate)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", ["", *__import__("sys").path])
    monkeypatch.setattr("sequencing_np.mbr.UTILITIES", UTILITIES)
    monkeypatch.delitem(UTILITIES, "mine_here:longer", raising=False)
    try:
        lines = said(main, "translate", model, "--beam", 4, "--mbr", "mine_here:longer")[1]
    finally:
        UTILITIES.pop("mine_here:longer", None)
    pools = Translator.load(model).translate(TEXT.split("\n")[:-1], SearchConfig(beam=4, n_best=4))
    assert [len(line) for line in lines] == [max(len(each.text) for each in pool.answers) for pool in pools]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--mbr", "chrff"], "did you mean 'chrf'"),
        (["--candidates", "5"], "add --mbr"),
        (["--mbr", "chrf", "--beam", "1"], "beam"),
        (["--mbr", "chrf", "--candidates", "9"], "candidates"),
        (["--mbr", "nowhere_at_all:f"], "there is no module"),
    ],
)
def test_mistakes_are_a_line(said: Any, model: Path, options: list[str], words: str) -> None:
    code, lines, err = said(main, "translate", model, *options)
    assert (code, lines) == (2, []) and words in err and err.count("\n") == 1
