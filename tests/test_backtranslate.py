"""backtranslate: pairs in the order of the text, the model's answers on the right side, and a file that goes on."""

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import sacrebleu
import torch

import sequencing.synthetic
from pages import ROOT
from sequencing.commands.backtranslate import file_of
from sequencing.data.corpus import Corpus
from sequencing.loading import load_translator
from sequencing.synthetic import Begun, Form, Made, PairFile, form_of
from sequencing_np.columns import ColumnsVocab
from sequencing_np.errors import DataError, UsageError
from sequencing_np.metrics import edit_distance
from sequencing_np.model_folder import read_model_folder, write_model_folder
from sequencing_np.search import SearchConfig
from sequencing_np.subwords import BYTES, Subwords
from sequencing_np.translate import Translator
from sequencing_np.vocab import Vocab
from tiny_models import SOURCES, give_input, write_model, write_run

torch.set_num_threads(1)

LINES = ["ein zwei drei", "", "fünf und vier", "  ", "zwei", "vier vier ein und unbekannt", "sechs und zwei"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "model", seed=3)


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Runs the command; its exit code, its output, and what it says on standard error."""
    from sequencing.__main__ import main

    def run(*arguments: object, text: bytes = "".join(f"{line}\n" for line in LINES).encode()) -> tuple[int, str, str]:
        give_input(monkeypatch, text)
        code = main(["backtranslate", *map(str, arguments)])
        return code, *capsys.readouterr()

    return run


def answers(folder: Path, lines: list[str], **search: Any) -> list[str]:
    """What the model says, asked on NumPy."""
    return [said.text for said in Translator.load(folder).translate(lines, SearchConfig(**search))]


@pytest.mark.parametrize("utility", ["chrf", "bleu", "edit"])
def test_the_answer_nearest_to_the_target(call: Any, model: Path, utility: str, tmp_path: Path) -> None:
    """Kim and Rush 2016, section 3.3: of the beam's answers the one that sacreBLEU, or an edit distance, likes best."""
    found = Translator.load(model).translate(LINES, SearchConfig(beam=4, n_best=4))
    targets = [found[0].answers[2].text, "", "klm b", "  ", "ihg", "a", "mmmm"]
    pairs = [f"{line}\t{target}" for line, target in zip(LINES, targets, strict=True)]
    text = "".join(f"{pair}\n" for pair in pairs).encode()
    wanted, best = [], 0
    for line, target, each in zip(LINES, targets, found, strict=True):
        texts = [answer.text for answer in each.answers]
        chosen = max(texts, key=lambda text: likeness(text, target, utility)) if line.strip() else ""
        best += chosen == texts[0]
        wanted.append(f"{line}\t{chosen}")
    options = ["--forward", "--nearest", utility, "--beam", 4]
    for window in (1, 1024):
        code, out, err = call(model, *options, "--window", window, text=text)
        assert (code, out, err) == (0, "".join(f"{row}\n" for row in wanted), "")
    assert best < len(LINES), "not always the first"
    (tmp_path / "in").write_bytes(text + b"zwei\n")
    code, _, err = call(model, *options, "--input", tmp_path / "in")
    assert code == 4 and "line 8: holds 0 tabs instead of 1; with --nearest a line is source<tab>target" in err


def likeness(text: str, target: str, utility: str) -> float:
    if utility == "chrf":
        return float(sacrebleu.sentence_chrf(text, [target]).score)
    if utility == "bleu":
        return float(sacrebleu.sentence_bleu(text, [target]).score)
    return -edit_distance(text, target) / max(len(text), len(target))


# --- pairs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("forward", [False, True])
@pytest.mark.parametrize(
    "search", [{}, {"beam": 1}, {"beam": 3, "length_penalty": "gnmt"}, {"sample": True, "seed": 3}]
)
def test_pairs(call: Any, model: Path, search: dict[str, Any], forward: bool) -> None:
    """Row n belongs to line n; the answers are those of `translate`, whatever the window."""
    options = [f"--{name.replace('_', '-')}" + ("" if value is True else f"={value}") for name, value in search.items()]
    said = answers(model, LINES, **search)
    wanted = [f"{line}\t{answer}" if forward else f"{answer}\t{line}" for line, answer in zip(LINES, said, strict=True)]
    for window in (1, 3, 1024):
        code, out, err = call(model, *options, *["--forward"] * forward, "--window", window)
        assert (code, out, err) == (0, "".join(f"{row}\n" for row in wanted), "")


def test_the_run_says_how_to_search_and_which_model(call: Any, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    by_run = answers(run / "best", LINES, beam=3, length_penalty="gnmt")
    assert [row.split("\t")[0] for row in call(run)[1].split("\n")[:-1]] == by_run
    last = answers(run / "last", LINES, beam=3, length_penalty="gnmt")
    assert [row.split("\t")[0] for row in call(run, "--checkpoint", "last")[1].split("\n")[:-1]] == last != by_run


@pytest.mark.parametrize("forward", [False, True])
def test_a_tag_stands_before_each_source(call: Any, model: Path, forward: bool) -> None:
    """Between it and a text stands what stands between tokens: nothing between letters, a space between words."""
    plain = [row.split("\t") for row in call(model, *["--forward"] * forward)[1].split("\n")[:-1]]
    tagged = [row.split("\t") for row in call(model, "--tag", "<BT>", *["--forward"] * forward)[1].split("\n")[:-1]]
    between = " " if forward else ""
    assert tagged == [[f"<BT>{between}{source}" if source.strip() else source, target] for source, target in plain]


def test_training_reads_the_pairs_and_passes_over_blank_ones(call: Any, model: Path, tmp_path: Path) -> None:
    """Blank lines, and lines to which the model says nothing; a tag alone is no source."""
    assert call(model, "--tag", "<BT>", "--output", tmp_path / "pairs.tsv")[0] == 0
    corpus = Corpus([tmp_path / "pairs.tsv"])
    report, said = corpus.check(), answers(model, LINES)
    wanted = [line for line, answer in zip(LINES, said, strict=True) if line.strip() and answer.strip()]
    assert (report.lines, report.kept, report.empty.count) == (7, len(wanted), 7 - len(wanted)) and len(wanted) >= 2
    assert [target for _, target in corpus.pairs()] == wanted


def test_what_separates_stays_out_of_an_answer() -> None:
    assert Form(tag="x ").row("eins", "a\tb\nc") == "x a b c\teins"
    assert Form(forward=True, tag="x ").row("eins", "a\tb\nc") == "x eins\ta b c"
    assert Form(tag="x ").row("", "") == "\t" and Form(tag="x ").row("eins", "") == "\teins"


def test_a_line_with_a_tab_is_told(call: Any, model: Path, tmp_path: Path) -> None:
    for forward in ([], ["--forward"]):
        out = tmp_path / "pairs.tsv"
        code, _, err = call(model, *forward, "--output", out, text=b"ein\nzwei\tdrei\n")
        assert code == 4 and "line 2: holds 1 tabs instead of 0; " in err and not list(tmp_path.iterdir())


def test_several_sources(tmp_path: Path, call: Any) -> None:
    """Forward, a line has them all; back, a model that reads several cannot make one of one."""
    parts = read_model_folder(write_model(tmp_path / "model"))
    write_model_folder(tmp_path / "model", parts._replace(source_vocab=ColumnsVocab(parts.source_vocab, 2)))
    code, out, _ = call(tmp_path / "model", "--forward", "--tag", "<X>", text=b"ein\tzwei\ndrei\t\n")
    assert code == 0 and [row.rpartition("\t")[0] for row in out.split("\n")[:-1]] == ["<X> ein\tzwei", "<X> drei\t"]
    code, _, err = call(tmp_path / "model", "--forward", text=b"ein\tzwei\ndrei\n")
    assert code == 4 and "line 2: holds 0 tabs instead of 1" in err
    code, _, err = call(tmp_path / "model")
    assert code == 2 and "the model reads 2 texts a line, so it cannot make a source of a target" in err


def test_what_separates_a_tag(tmp_path: Path) -> None:
    translator = load_translator(write_model(tmp_path / "model"), "cpu")
    pieces = Subwords([*BYTES, "▁a"])
    for vocab, between in ((Vocab(["a"], ","), ","), (Vocab(["a"], ""), ""), (Vocab(["a"]), " "), (pieces, " ")):
        translator.target_vocab = vocab
        assert form_of(translator, False, "<BT>").tag == f"<BT>{between}" and form_of(translator, False, "").tag == ""
    translator.source_vocab = ColumnsVocab(Vocab(["a"], ""), 2)
    assert form_of(translator, True, "<BT>") == Form(True, "<BT>", 2)


@pytest.mark.parametrize(
    ("tag", "words"),
    [("<B T>", "holds white space"), ("</s>", "is how a special id is shown"), ("a\tb", "holds white space")],
)
def test_tags_that_are_none(call: Any, model: Path, tag: str, words: str) -> None:
    code, out, err = call(model, "--tag", tag)
    assert (code, out) == (2, "") and "error: --tag: " in err and words in err


def test_a_model_that_says_nan(call: Any, tmp_path: Path) -> None:
    """Its pairs have no source, the others stand, and the number is told."""
    broken = write_model(tmp_path / "broken", broken=True)
    out = tmp_path / "pairs.tsv"
    code, _, err = call(broken, "--tag", "<BT>", "--output", out, "--window", 2)
    assert code == 6 and "1 of 7 lines have no answer, as the model said NaN; training passes over their pairs" in err
    rows = out.read_text("utf-8").split("\n")[:-1]
    assert rows[-1] == "\tsechs und zwei" and rows[0].startswith("<BT>")
    assert call(broken, "--tag", "<BT>", "--window", 2)[:2] == (6, out.read_text("utf-8"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--window", "0"], 2, "--window 0: must be 1 or more"),
        (["--temperature", "0.5"], 2, "--temperature is an option of drawing answers; add --sample"),
        (["--nearest", "bleu"], 2, "--nearest chooses among targets; add --forward"),
        (["--nearest", "blue", "--forward"], 2, "--nearest 'blue': did you mean 'bleu'"),
        (["--nearest", "bleu", "--forward", "--beam", "1"], 2, "--nearest chooses among the answers of a beam"),
        (["--beam", "0"], 2, "beam 0: must be from 1"),
        (["--input", "none.txt"], 4, "none.txt"),
        (["--output", "none/pairs.tsv"], 4, "there is no folder"),
        (["--output", "."], 4, "is a folder; give the name of a file in it"),
    ],
)
def test_mistakes(
    call: Any, model: Path, tmp_path: Path, monkeypatch: Any, arguments: Any, code: int, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found = call(model, *arguments)
    assert found[0] == code and words in found[2] and not list(tmp_path.iterdir())


def test_what_can_be_a_file(tmp_path: Path) -> None:
    assert file_of(str(tmp_path / "new")) == tmp_path / "new"
    (tmp_path / "link").symlink_to(tmp_path / "target")
    assert file_of(str(tmp_path / "link")) == tmp_path / "target"
    assert [file_of(name) for name in ("-", os.devnull, str(tmp_path), str(tmp_path / "none" / "new"))] == [None] * 4


# --- a file that goes on --------------------------------------------------------------------------------------------

SETTINGS = {"model": "abc", "window": 3}
TEXT = [f"line {number}" for number in range(20)]


def shouting(lines: Iterator[str], first: int) -> Iterator[Made]:
    """In the place of a model: a window of three lines at a time."""
    while part := list(islice(lines, 3)):
        yield Made(part, [f"{first + k}:{line.upper()}\t{line}" for k, line in enumerate(part)], [first + 1])
        first += len(part)


def stopping(after: int) -> Callable[[Iterator[str], int], Iterator[Made]]:
    """The same, ended from outside after so many windows."""

    def make(lines: Iterator[str], first: int) -> Iterator[Made]:
        yield from islice(shouting(lines, first), after)
        raise KeyboardInterrupt

    return make


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.tsv.gz"])
@pytest.mark.parametrize("stops", [(0,), (1,), (2, 0, 3), (1, 1, 1, 1, 1)])
def test_in_parts_is_at_once(name: str, stops: tuple[int, ...], tmp_path: Path) -> None:
    """To the byte, packed or not; what was written after the last note is made again."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    done = PairFile(tmp_path / "one" / name, SETTINGS).write(TEXT, shouting, print)
    wanted = "".join(f"{k}:{line.upper()}\t{line}\n" for k, line in enumerate(TEXT)).encode()
    content = (tmp_path / "one" / name).read_bytes()
    assert (gzip.decompress(content) if name.endswith("gz") else content) == wanted
    assert (done.lines, done.bytes, done.unanswered) == (20, len(content), 7)
    file, said = PairFile(tmp_path / "two" / name, SETTINGS), []
    far = 0
    for stop in stops:
        with pytest.raises(KeyboardInterrupt):
            file.write(TEXT, stopping(stop), said.append)
        far += 3 * stop
        assert file.begun().lines == far and not file.path.exists()
        with file.part.open("ab") as part:
            part.write(b"cut off" * 999)
    assert file.write(TEXT, shouting, said.append) == done
    assert file.path.read_bytes() == content and sorted(path.name for path in file.path.parent.iterdir()) == [name]
    assert said[-1:] == ([f"going on after line {far}"] if far else [])


def test_another_text_or_other_settings(tmp_path: Path) -> None:
    file = PairFile(tmp_path / "pairs.tsv", SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        file.write(TEXT, stopping(2), print)
    kept = file.part.read_bytes()
    for text in (["other", *TEXT[1:]], TEXT[:5], []):
        with pytest.raises(DataError, match=r"pairs.tsv.part: the first 6 lines of the text are not those"):
            file.write(text, shouting, print)
    with pytest.raises(
        UsageError, match=r"part: was begun with another model \('abc', now 'xyz'\); go on with the same"
    ):
        PairFile(file.path, {**SETTINGS, "model": "xyz"}).write(TEXT, shouting, print)
    assert file.part.read_bytes() == kept
    changed = [*TEXT[:6], "new", "lines"]
    assert file.write(changed, shouting, print).lines == 8, "what comes later may be anything"
    assert file.path.read_bytes().split(b"\n")[-3:] == [b"6:NEW\tnew", b"7:LINES\tlines", b""]


@pytest.mark.parametrize("damage", [b"", b"{}", b"[]", b'{"begun": {"lines": 3}}', b"\xff", None])
def test_notes_that_say_nothing(damage: bytes | None, tmp_path: Path) -> None:
    """Then it begins again."""
    file = PairFile(tmp_path / "pairs.tsv", SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        file.write(TEXT, stopping(2), print)
    file.notes.write_bytes(damage) if damage is not None else file.part.write_bytes(b"short")
    assert file.begun() == Begun()
    assert file.write(TEXT, shouting, print).lines == 20
    assert file.path.read_bytes().startswith(b"0:LINE 0\tline 0\n")


def test_two_at_once(tmp_path: Path) -> None:
    file = PairFile(tmp_path / "pairs.tsv", SETTINGS)

    def make(lines: Iterator[str], first: int) -> Iterator[Made]:
        with pytest.raises(UsageError, match=r"pairs.tsv.part: another process writes it at this moment"):
            PairFile(file.path, SETTINGS).write(TEXT, shouting, print)
        yield from shouting(lines, first)

    assert file.write(TEXT, make, print).lines == 20


def test_a_full_disk_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the system's, for the command line to tell; the same call goes on when there is room."""
    file = PairFile(tmp_path / "pairs.tsv", SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        file.write(TEXT, stopping(3), print)
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(sequencing.synthetic.disk, "sync", full)
        with pytest.raises(OSError, match="No space left"):
            file.write(TEXT, shouting, print)
    assert file.begun().lines == 9 and file.write(TEXT, shouting, print).lines == 20


KILLED = """
import os, signal, sys
from itertools import islice
from pathlib import Path
import sequencing.synthetic as synthetic

synthetic.SAVED_EVERY, left = 0.0, int(sys.argv[2])

def make(lines, first):
    global left
    while part := list(islice(lines, 3)):
        yield synthetic.Made(part, [f"{first + k}:{line.upper()}\\t{line}" for k, line in enumerate(part)], [first + 1])
        first, left = first + len(part), left - 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

text = [f"line {number}" for number in range(20)]
synthetic.PairFile(Path(sys.argv[1]), {"model": "abc", "window": 3}).write(text, make, print)
"""


def test_killed_again_and_again(tmp_path: Path) -> None:
    """SIGKILL after each note: the next call goes on there, and the end is as if nothing had been."""
    file, far = PairFile(tmp_path / "pairs.tsv", SETTINGS), 0
    for windows in (1, 3, 2):
        command = [sys.executable, "-c", KILLED, str(file.path), str(windows)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run(command, env=environment, capture_output=True, timeout=60)
        assert done.returncode == -signal.SIGKILL, done.stderr
        far += 3 * windows
        assert file.begun().lines == far and not file.path.exists()
    said: list[str] = []
    assert file.write(TEXT, shouting, said.append).lines == 20 and said == ["going on after line 18"]
    assert file.path.read_bytes() == "".join(f"{k}:{line.upper()}\t{line}\n" for k, line in enumerate(TEXT)).encode()


def test_the_command_goes_on(call: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted at the keyboard; drawn answers are those of the whole text. Another way of asking is refused."""
    text = "".join(f"{SOURCES[k % 7]} {SOURCES[k % 5]}\n" for k in range(40)).encode()
    options = [model, "--sample", "--window", 5]
    assert call(*options, "--output", tmp_path / "one.tsv", text=text)[::2] == (0, "")
    translate, asked = Translator.translate, []

    def interrupted(self: Translator, *arguments: Any) -> Any:
        asked.append(1)
        if len(asked) == 4:
            raise KeyboardInterrupt
        return translate(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Translator, "translate", interrupted)
        assert call(*options, "--output", tmp_path / "two.tsv", text=text)[0] == 130
    code, _, err = call(*options, "--seed", 2, "--output", tmp_path / "two.tsv", text=text)
    assert code == 2 and "was begun with another search.seed (1, now 2); go on with the same, or delete it" in err
    code, _, err = call(model, "--sample", "--window", 5, "--tag", "<BT>", "--output", tmp_path / "two.tsv", text=text)
    assert code == 2 and "was begun with another tag ('', now '<BT>')" in err
    assert call(*options, "--output", tmp_path / "two.tsv", text=text) == (0, "", "going on after line 15\n")
    assert (tmp_path / "two.tsv").read_bytes() == (tmp_path / "one.tsv").read_bytes()
    write_model(tmp_path / "other", seed=2)
    with monkeypatch.context() as patch:
        patch.setattr(Translator, "translate", interrupted)
        asked.clear()
        assert call(*options, "--output", tmp_path / "two.tsv", text=text)[0] == 130
    code, _, err = call(tmp_path / "other", *options[1:], "--output", tmp_path / "two.tsv", text=text)
    assert code == 2 and "was begun with another model (" in err
