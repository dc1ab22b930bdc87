"""`sequencing inspect`: the page holds what was found out, is well formed and safe; the command refuses nonsense."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from architectures import QUICK, architecture, name_of, source_side, torch_model
from reversing_model import MODELS, reversing, write_reversing
from sequencing.__main__ import main
from sequencing.inspection.sentence import inspect_sentence
from sequencing.inspection.thumbnails import EDGES, SHADES, thumbnail_svg
from sequencing_np.limits import Limits
from sequencing_np.search import SearchConfig
from sequencing_np.translate import Translator
from sequencing_np.vocab import Vocab
from test_report import HOSTILE, Reader
from tiny_models import give_input, write_model

WORDS = ["abcd", "hgfa", "", "aab", "ccc", "defgh"]
TEXT = "".join(f"{word}\n" for word in WORDS).encode()
RIGHT = [word[::-1] for word in WORDS]


@pytest.fixture(scope="module", params=list(MODELS))
def model(request, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reversing(tmp_path_factory.mktemp("reversing") / "model", request.param)


@pytest.fixture
def inspected(capsys, monkeypatch, tmp_path: Path):
    """Runs the command; its exit code, the page if it wrote one, and its standard error."""

    def call(folder: Path, *options: object, text: bytes = TEXT) -> tuple[int, str, str]:
        give_input(monkeypatch, text)
        path = tmp_path / "page.html"
        code = main(["inspect", str(folder), "--output", str(path), *map(str, options)])
        out, err = capsys.readouterr()
        assert (out == f"{path}\n") == path.exists() or code
        return code, path.read_bytes().decode() if path.exists() else "", err

    return call


def write(path: Path, *lines: str) -> Path:
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return path


def test_the_page_holds_all_parts(inspected, model: Path, tmp_path: Path) -> None:
    reference = write(tmp_path / "r", *RIGHT[:4], "cca", RIGHT[5])
    train = write(tmp_path / "t.tsv", "x\tdcba", "y\tbaa aaa")
    options = ("--reference", reference, "--train", train, "--column", 2, "--level", "characters", "--beam", 3)
    code, text, err = inspected(model, *options)
    page = Reader(text)
    assert (code, err) == (0, "")
    for words in (
        *("Inspected: model standard input · beam 3", "Sentence 1", "source abcd answer dcba", "nats", "rank 1"),
        *("Wrong characters by their place", "how often the character was learnt", "A blank line"),
        *("The search", "log-probability", "score", "All answers", "Every head of every layer"),
    ):
        assert words in page.words, words
    several = "self_attention" in json.dumps(json.loads((model / "config.json").read_bytes()))
    assert page.tags.count("details") == 2 * 5 and text.count('class="tree"') == 5
    assert text.count('class="bars"') == 3
    assert text.count('class="thumbnail"') == 5 * (10 if several else 1), "2 heads x (1 + 2 + 2) layers"
    assert text.count('class="attention"') == 5 * (2 if several else 1)
    assert "<dt>sentences</dt><dd>6</dd>" in text


def test_the_page_needs_nothing_but_itself(inspected, model: Path) -> None:
    _, text, _ = inspected(model)
    page = Reader(text)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not any(name in ("src", "href", "srcset") or name.startswith("on") for name, _ in page.attributes)
    assert "url(" not in text and "@import" not in text and "prefers-color-scheme: dark" in text
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}


def test_the_tokens_are_those_of_the_answer_and_of_the_reference(inspected, model: Path, tmp_path: Path) -> None:
    reference = write(tmp_path / "r", "dcbh")
    _, text, _ = inspected(model, "--reference", reference, text=b"abcd\n")
    lists = re.findall(r'<ol class="tokens">(.*?)</ol>', text)
    found = [re.findall(r'<b dir="auto">(.*?)</b>', each) for each in lists]
    assert found == [[*"dcba", "&lt;/s&gt;"], [*"dcbh", "&lt;/s&gt;"]]
    wrong = re.findall(r'<li class="doubt(\d)">', lists[1])[3]
    assert wrong >= "3" and "<em>a " in lists[1] and "<em>" not in lists[0], "the model wants an a there"


def test_errors_are_counted_in_all_sentences_and_a_few_are_shown(inspected, model: Path, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("sequencing.commands.inspect.WINDOW", 2)
    reference, counts = write(tmp_path / "r", *RIGHT[:5], "wrong one"), write(tmp_path / "c", "dcba\t3", "baa\t40")
    code, text, _ = inspected(model, "--reference", reference, "--counts", counts, "--sentences", 2)
    page = Reader(text)
    assert code == 0 and "Sentence 2" in page.words and "Sentence 3" not in page.words
    assert "<dd>6</dd>" in text and "<dd>83.3 %</dd>" in text, "five of six exactly right"
    for words in ("0 50.0 % of 4", "2–3 0.0 % of 1", "30–99 0.0 % of 1"):
        assert words in page.words, words
    _, text, _ = inspected(model, "--sentences", 2)
    assert "Only the first 2 lines are shown." in Reader(text).words and "Errors" not in Reader(text).words


def test_the_search_shown_is_the_one_of_translate() -> None:
    translator = reversing("several heads")
    for beam in (1, 2, 5):
        search = SearchConfig(beam=beam)
        answers = translator.translate(WORDS, search)
        for word, answer in zip(WORDS, answers, strict=True):
            found = inspect_sentence(translator, search, 1, word)
            assert (found.answer.text if found.answer else "") == answer.text
            if found.answer:
                assert found.answer.told.log_prob == pytest.approx(answer.answers[0].log_prob, abs=1e-4)


@pytest.mark.parametrize("index", QUICK, ids=name_of)
def test_every_architecture_can_be_inspected(index: int) -> None:
    config = architecture(index)
    letters = "abcdefghijklmnopqrstuvwxyz"
    source, target = (Vocab(list(letters[: size - 4]), "") for size in (19, config.target_size))
    asked = ["a b c d e" if config.source_vectors else "abcde"]
    known, (line,) = source_side(config, source, asked)
    translator = Translator(torch_model(index), known, target, Limits(0, 5, 5))
    found = inspect_sentence(translator, SearchConfig(beam=2), 1, line, "ba")
    assert found.tree and found.answer and found.reference
    assert len(found.answer.told.chances) == len(found.answer.tokens)
    for look in found.answer.told.looks:
        assert look.weights.shape[1] == (
            look.weights.shape[2] if look.layer.rows == "source" else len(found.answer.tokens)
        )


def test_no_text_becomes_html(inspected, tmp_path: Path) -> None:
    hostile = "".join(c for c in HOSTILE if c.isprintable())
    model = write_model(tmp_path / "<b>&run")
    reference = write(tmp_path / "r", hostile)
    code, text, _ = inspected(model, "--reference", reference, text=f"ein {hostile} zwei\n".encode())
    page = Reader(text)
    assert code == 0 and not {"script", "img"} & set(page.tags) and "<script>alert(1)</script>" in page.words
    assert not any(name.startswith("on") for name, _ in page.attributes) and "Inspected: <b>&run" in page.words


def test_without_output_it_stands_in_the_run(capsys, monkeypatch, tmp_path: Path) -> None:
    run = write_model(tmp_path / "run")
    give_input(monkeypatch, b"ein zwei\n")
    assert main(["inspect", str(run), "--beam", "1"]) == 0
    assert capsys.readouterr().out == f"{run / 'inspection.html'}\n" and (run / "inspection.html").is_file()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--sentences", "0"], 2, "--sentences 0: must be 1 or more"),
        (["--column", "2"], 2, "--column 2: says which column of --train"),
        (["--train", "T"], 2, "needs --reference"),
        (["--reference", "T", "--train", "T", "--counts", "T"], 2, "give one of them"),
        (["--reference", "T", "--train", "T", "--column", "0"], 2, "--column 0"),
        (["--reference", "T", "--train", "T", "--column", "9"], 4, "--column 9 needs 9 or more"),
        (["--reference", "T", "--counts", "T"], 4, "T:1: 'dcba' is no count"),
        (["--reference", "T"], 4, "unequal numbers of lines"),
        (["--reference", "-"], 2, "can be read once only"),
        (["--input", "NOWHERE"], 4, "NOWHERE"),
        (["--beam", "0"], 2, "beam 0"),
        (["--level", "pieces"], 2, "invalid choice: 'pieces'"),
    ],
)
def test_mistakes_are_sentences(inspected, tmp_path: Path, options, code, words) -> None:
    write(tmp_path / "T", "dcba")
    model = write_model(tmp_path / "model")
    options = [str(tmp_path / option) if option == "T" else option for option in options]
    found, text, err = inspected(model, *options)
    assert (found, text) == (code, "") and words in err and err.count("\n") == 1 and "Traceback" not in err


def test_nothing_and_lines_that_are_no_text(inspected, tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    code, text, err = inspected(model, text=b"")
    assert (code, text) == (4, "") and "nothing to inspect" in err
    assert inspected(model, text=b"\xff\n")[:2] == (4, "")


def test_a_model_that_says_nan_gets_its_page_and_is_told(inspected, tmp_path: Path) -> None:
    broken = write_model(tmp_path / "broken", broken=True)
    reference = write(tmp_path / "r", "ab", "ab", "ab")
    code, text, err = inspected(broken, "--reference", reference, text=b"ein zwei\nsechs\nsechs\n")
    assert code == 6 and "2 lines have no answer" in err and "(first: line 2, 3)" in err
    assert "The model said NaN" in Reader(text).words
    code, text, err = inspected(broken, "--reference", reference, "--sentences", 1, text=b"ein zwei\nsechs\nein\n")
    assert code == 6 and "(first: line 2)" in err and "1 lines have no answer" in Reader(text).words


def test_a_thumbnail_has_each_cell_in_its_shade() -> None:
    weights = np.random.default_rng(5).dirichlet([0.3] * 7, size=11)
    text = thumbnail_svg(weights, "<head>")
    drawn = np.zeros_like(weights)
    for shade, path in re.findall(r'<path fill-opacity="([\d.]+)" d="(.*?)"/>', text):
        for column, row, width in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", path):
            assert not drawn[int(row), int(column) : int(column) + int(width)].any(), "painted once"
            drawn[int(row), int(column) : int(column) + int(width)] = float(shade)
    assert np.array_equal(drawn, np.array([0.0, *SHADES])[np.searchsorted(EDGES, weights, side="right")])
    assert "&lt;head&gt;" in text
