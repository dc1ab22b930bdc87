"""The command `sequencing`: what its calls promise, its exit codes, and that nothing loads before it is needed."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

import sequencing
import sequencing_np
from pages import DOCS, ROOT, run_page
from sequencing.__main__ import COMMANDS, MISSING, main
from sequencing_np.__main__ import main as runtime_main
from sequencing_np.translate import Translator
from sequencing_np.vocab import load_vocab, read_vocab
from tiny_models import TARGETS, give_input, write_model, write_run

TEXT = "ein zwei drei\n\nfünf und vier\nzwei\nvier vier ein und unbekannt\n"
LINES = TEXT.split("\n")[:-1]


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def said(capsys, monkeypatch):
    """Runs main; its exit code, its lines, and its standard error."""

    def call(*arguments: object, text: bytes = TEXT.encode()) -> tuple[int, list[str], str]:
        give_input(monkeypatch, text)
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert out == "" or out.endswith("\n")
        return code, out.split("\n")[:-1], err

    return call


def process(*arguments: object, **options: object) -> "subprocess.CompletedProcess[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, env=environment, timeout=120, **options)


def write(path: Path, *lines: str) -> Path:
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    return path


# --- translate, score, export: both floors --------------------------------------------------------------------------


@pytest.mark.parametrize("beam", [1, 3, 5])
def test_both_floors_write_the_same_bytes(capfdbinary, monkeypatch, run, tmp_path, beam) -> None:
    assert main(["export", str(run), str(tmp_path / "model")]) == 0
    outputs = []
    for entry, folder in ((main, run), (runtime_main, tmp_path / "model")):
        give_input(monkeypatch, TEXT.encode())
        path = tmp_path / f"out{len(outputs)}"
        search = ["--length-penalty", "gnmt", "--beam", str(beam), "--alignments"]
        assert entry(["translate", str(folder), "--output", str(path), *search]) == 0
        outputs.append(path.read_bytes())
    assert outputs[0] == outputs[1] and outputs[0].count(b"\n") == len(LINES)


@pytest.mark.parametrize("seed", range(7))
def test_both_floors_agree_on_other_models(said, monkeypatch, capsys, tmp_path, seed) -> None:
    folder = write_model(tmp_path / "model", seed)
    above = [json.loads(line) for line in said("translate", folder, "--n-best", 2, "--json")[1]]
    give_input(monkeypatch, TEXT.encode())
    assert runtime_main(["translate", str(folder), "--n-best", "2", "--json"]) == 0
    below = [json.loads(line) for line in capsys.readouterr().out.split("\n")[:-1]]
    assert [row["translation"] for row in above] == [row["translation"] for row in below]
    for one, other in zip(above, below, strict=True):
        assert [answer["tokens"] for answer in one["answers"]] == [answer["tokens"] for answer in other["answers"]]
        assert one["score"] == pytest.approx(other["score"], abs=1e-3)


def test_score_on_both_floors(said, capsys, run, tmp_path) -> None:
    source, target = write(tmp_path / "s", *LINES), write(tmp_path / "t", "abc", "", "ab", "k", "l m")
    code, lines, err = said("score", run, "--source", source, "--target", target)
    assert (code, err, len(lines)) == (0, "", len(LINES))
    assert runtime_main(["score", str(run / "best"), "--source", str(source), "--target", str(target)]) == 0
    below = capsys.readouterr().out.split()
    assert [float(line) for line in lines] == pytest.approx([float(line) for line in below], abs=1e-3)


def test_the_run_says_how_to_search(said, run) -> None:
    as_run = said("translate", run, "--json")
    assert as_run == said("translate", run, "--beam", 3, "--length-penalty", "gnmt", "--json")
    assert as_run != said("translate", run, "--length-penalty", "none", "--json")
    assert said("translate", run, "--n-best", 4)[0] == 2, "more answers than the run's beam"


def test_best_or_last(said, run) -> None:
    best, last = (said("translate", run, "--checkpoint", name)[1] for name in ("best", "last"))
    assert best == said("translate", run)[1] == said("translate", run / "best", "--beam", 3)[1] != last
    assert last == said("translate", run / "last", "--beam", 3, "--length-penalty", "gnmt")[1]


def test_export_writes_what_the_runtime_loads(said, run, tmp_path) -> None:
    assert said("export", run, tmp_path / "model") == (0, [], "")
    assert {path.name for path in (tmp_path / "model").iterdir()} >= {"manifest.json", "weights.safetensors"}
    assert said("export", run, tmp_path / "model", "--checkpoint", "last")[0] == 0, "a model is replaced"
    assert Translator.load(tmp_path / "model").translate(LINES) != Translator.load(run / "best").translate(LINES)
    write(tmp_path / "mine", "precious")
    code, _, err = said("export", run, tmp_path)
    assert code == 5 and "is no model folder" in err and (tmp_path / "mine").exists()


# --- evaluate -------------------------------------------------------------------------------------------------------


def test_evaluate(said, run, tmp_path) -> None:
    answers = said("translate", run)[1]
    source, reference = write(tmp_path / "s", *LINES), write(tmp_path / "r", *answers)
    code, lines, err = said("evaluate", run, "--source", source, "--reference", reference, "--json")
    assert (code, err, len(lines)) == (0, "", 1)
    found = json.loads(lines[0])
    assert {"bleu", "chrf", "exact_match", "signature", "sentences_per_second", "sentences"} <= set(found)
    assert found["exact_match"] == 1 and found["sentences"] == len(LINES) and "version:" in found["signature"]
    wrong = write(tmp_path / "w", *(["wrong"] * len(LINES)))
    call = ("evaluate", run, "--source", source, "--reference", wrong)
    assert json.loads(said(*call, "--json")[1][0])["exact_match"] == 0
    assert json.loads(said(*call, "--reference", reference, "--json")[1][0])["exact_match"] == 1
    more = json.loads(said(*call, "--metrics", "ter", "rouge_l", "--json")[1][0])
    assert set(more) - set(found) == {"ter", "ter_signature", "rouge_l"} and (more["ter"] > 50) and more["rouge_l"] == 0
    code, lines, _ = said(*call, "--output", tmp_path / "out")
    assert {line.split()[0] for line in lines} == set(found)
    assert (tmp_path / "out").read_bytes() == reference.read_bytes()


def test_evaluate_groups_the_targets_of_a_source(said, run, tmp_path) -> None:
    answers = said("translate", run, text=b"zwei\nein\n")[1]
    data = write(tmp_path / "d.tsv", "zwei\twrong", f"ein\t{answers[1]}", f"zwei\t{answers[0]}")
    found = json.loads(said("evaluate", run, "--data", data, "--json")[1][0])
    assert (found["sentences"], found["exact_match"]) == (2, 1)


def test_evaluate_refuses(said, run, tmp_path) -> None:
    three, two, none = write(tmp_path / "3", *"abc"), write(tmp_path / "2", *"ab"), write(tmp_path / "0")
    code, _, err = said("evaluate", run, "--source", three, "--reference", two)
    assert code == 4 and f"{three} 3, {two} 2" in err
    assert said("evaluate", run, "--source", none, "--reference", none)[0] == 4
    assert said("evaluate", run, "--source", three)[0] == 2
    assert said("evaluate", run, "--source", three, "--data", two)[0] == 2
    broken = write_model(tmp_path / "broken", broken=True)
    code, lines, err = said("evaluate", broken, "--source", "-", "--reference", two, "--json", text=b"sechs\nein\n")
    assert code == 6 and len(lines) == 1 and "1 of 2 sentences have no answer" in err


# --- vocab, average, report, plot -----------------------------------------------------------------------------------


def test_vocab_of_lines(said, tmp_path) -> None:
    assert said("vocab", "-", text=b"b a b\nc b a\n")[1] == ["b\t3", "a\t2", "c\t1"]
    assert said("vocab", "-", "--min-count", 2, "--size", 5, text=b"b a b\nc b a\n")[1] == ["b\t3"]
    cased = "Öl öl ÖL A\na <2de> B\n".encode()
    lowered = ["<2de>\t1", "öl\t3", "a\t2", "b\t1"]
    assert said("vocab", "-", "--lower", "--tag", "<2de>", text=cased) == (0, lowered, "")
    code, _, err = said("vocab", "-", "--lower", "--tag", "<2DE>", text=cased)
    assert code == 2 and "write it as <2de>" in err
    characters = tmp_path / "characters.txt"
    data = write(tmp_path / "d.tsv", "x\tab", "y\tac")
    assert said("vocab", data, "--column", 2, "--level", "characters", "--output", characters) == (0, [], "")
    assert read_vocab(characters, "").tokens[4:] == ["a", "b", "c"]
    assert said("vocab", data, "--column", 3)[0] == 4
    assert said("vocab", "-", "--level", "delimited", "--delimiter", "+", text=b"a+b+a\n")[1] == ["a\t2", "b\t1"]


def test_vocab_as_json(said, tmp_path) -> None:
    pytest.importorskip("sentencepiece")
    text = write(tmp_path / "text", *(f"{one}{other} {other}" for one in TARGETS for other in "abc"))
    path = tmp_path / "subwords.json"
    assert said("vocab", text, "--level", "subwords", "--size", 280, "--output", path)[0] == 0
    vocab = load_vocab(path)
    assert vocab.decode(vocab.encode("ab k")) == "ab k"
    assert said("vocab", text, "--output", tmp_path / "words.json")[0] == 0 and load_vocab(tmp_path / "words.json")


@pytest.mark.parametrize(
    "options",
    [["--level", "subwords"], ["--level", "delimited"], ["--delimiter", "x"], ["--column", "0"], ["--size", "3"]],
)
def test_vocab_refuses(said, options) -> None:
    assert said("vocab", "-", *options)[0] == 2


def test_average(said, run, tmp_path) -> None:
    assert said("average", run / "best", run / "last", "--output", tmp_path / "mean") == (0, [], "")
    assert said("translate", tmp_path / "mean")[0] == 0
    assert said("average", run, run, "--output", tmp_path / "mean")[0] == 0, "a model is replaced"
    assert Translator.load(tmp_path / "mean").translate(LINES)[0].text == said("translate", run / "best")[1][0]
    assert said("average", run, "--output", tmp_path / "one")[0] == 2
    write(tmp_path / "mine", "precious")
    assert said("average", run, run, "--output", tmp_path)[0] == 2 and (tmp_path / "mine").exists()


def test_report(said, run, tmp_path) -> None:
    page = tmp_path / "page.html"
    assert said("report", run, "--output", page) == (0, [str(page)], "")
    assert page.read_bytes().startswith(b"<!")
    assert said("report", tmp_path / "nowhere")[0] == 2


def test_plot_attention(said, tmp_path) -> None:
    pytest.importorskip("matplotlib")
    run = write_run(tmp_path / "run")
    picture = tmp_path / "picture.png"
    assert said("plot", "attention", run, "ein zwei", "--output", picture) == (0, [str(picture)], "")
    assert picture.read_bytes().startswith(b"\x89PNG")
    drawing = tmp_path / "picture.svg"
    assert said("plot", "attention", run, "-", "--output", drawing, text=b"drei vier\nrest\n")[0] == 0
    assert b"drei" in drawing.read_bytes() and b"rest" not in drawing.read_bytes()
    code, _, err = said("plot", "attention", run)
    assert code == 4 and "samples.jsonl: no validation sample" in err
    sample = {"step": 1, "source_tokens": ["a"], "prediction_tokens": ["b"], "alignment": [[1.0]]}
    write(run / "samples.jsonl", json.dumps(sample), '{"cut')
    assert said("plot", "attention", run)[1] == [str(run / "attention.png")]
    assert (run / "attention.png").is_file()
    assert said("plot", "attention", run, " ")[0] == said("plot", "attention", run, "a", "--output", "x.gif")[0] == 2


# --- train ----------------------------------------------------------------------------------------------------------

CONFIG = """
[data]
train = ["pairs.tsv"]
dev = ["pairs.tsv"]
[model.encoder]
embedding_size = 5
stack.size = 7
[model.decoder]
embedding_size = 3
stack.size = 11
[vocab.target]
level = "characters"
[train]
steps = 4
validate_every = 2
batch_tokens = 128
"""


@pytest.fixture
def config(tmp_path) -> Path:
    write(tmp_path / "pairs.tsv", *(f"{word}\t{word[::-1]}" for word in ("ein", "zwei", "drei", "vier")))
    return write(tmp_path / "tiny.toml", CONFIG)


def test_train_then_translate_and_export(said, config, tmp_path) -> None:
    run = tmp_path / "runs" / "tiny"
    code, lines, _ = said("train", config, "--run", run, "--set", "train.steps=2", "--set", "train.seed=3")
    assert (code, lines) == (0, [])
    assert json.loads((run / "config.json").read_bytes())["train"]["seed"] == 3
    assert said("train", config, "--run", run, "--set", "train.steps=4", "train.seed=3")[0] == 0, "it goes on"
    code, lines, _ = said("translate", run, text=b"ein\n\nzwei\n")
    assert code == 0 and len(lines) == 3
    assert said("export", run, tmp_path / "model")[0] == 0
    assert runtime_main(["score", str(tmp_path / "model"), "--source", str(config), "--target", str(config)]) == 0


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.stepz=3", "did you mean 'steps'"),
        ("train.steps=many", "must be a whole number"),
        ("nonsense", "write key=value"),
    ],
)
def test_train_refuses_settings(said, config, tmp_path, setting, words) -> None:
    code, _, err = said("train", config, "--run", tmp_path / "run", "--set", setting)
    assert code == 3 and words in err and err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_train_refuses_data(said, config, tmp_path) -> None:
    (tmp_path / "pairs.tsv").write_bytes(b"ein\tnie\nzwei\n")
    code, _, err = said("train", config, "--run", tmp_path / "run")
    assert code == 4 and "pairs.tsv:2: 1 column" in err and "Traceback" not in err
    assert said("train", tmp_path / "none.toml", "--run", tmp_path / "run")[0] == 3
    assert said("train", config)[0] == 2


# --- the front door -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give a command: fetch, prepare, train, "),
        (["trian"], "did you mean 'train'?"),
        (["plot"], "'plot' is half a command: plot attention"),
        (["plot", "attenton"], "'plot' is half a command: plot attention"),
        (["translate"], "required: RUN. Try 'sequencing translate --help'."),
        (["plot", "attention"], "required: RUN. Try 'sequencing plot attention --help'."),
        (["translate", "run", "--checkpoint", "first"], "invalid choice: 'first'"),
    ],
)
def test_usage_errors(said, arguments, words) -> None:
    code, lines, err = said(*arguments)
    assert (code, lines) == (2, [])
    assert err.startswith("sequencing: error: ") and words in err and err.count("\n") == 1


def test_no_model_no_device(said, run, tmp_path) -> None:
    code, _, err = said("translate", tmp_path / "nowhere")
    assert code == 5 and "give a run folder or a model folder" in err
    assert said("translate", run, "--device", "abacus")[0] == 2


@pytest.mark.parametrize("words", ["", *COMMANDS])
def test_help(said, words) -> None:
    code, lines, err = said(*words.split(), "--help")
    assert (code, err) == (0, "")
    assert not words or any(f"sequencing {words} " in line for line in lines[lines.index("examples:") :])


def test_version(said) -> None:
    import tomllib

    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert said("--version") == (0, [f"sequencing {version}"], "")
    assert sequencing.__version__ == sequencing_np.__version__ == version


def test_every_name_is_lazy_and_there() -> None:
    for package in (sequencing, sequencing_np):
        assert all(getattr(package, name) is not None for name in package.__all__)
        with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
            _ = package.nonsense
    assert sequencing.LookUpOp.__module__ == "sequencing.layers"
    assert sequencing.Vocab is sequencing_np.Vocab


def test_no_name_is_that_of_a_module() -> None:
    """A module, once imported, is an attribute of its package, and would hide the name."""
    for package in (sequencing, sequencing_np):
        folder = Path(str(package.__file__)).parent
        assert not {path.stem for path in folder.iterdir()} & set(package.__all__)


@pytest.mark.parametrize(
    "code",
    [
        "import sequencing; dir(sequencing)",
        "from sequencing.__main__ import main; assert main(['--help']) == 0",
        "from sequencing.__main__ import main; assert main(['train']) == 2",
        "from sequencing.__main__ import main; assert main(['train', 'nowhere.toml', '--run', 'x']) == 3",
    ],
)
def test_the_front_door_is_light(code) -> None:
    """Neither PyTorch nor, before a command runs, NumPy."""
    heavy = {"torch", "matplotlib", "sacrebleu"} | ({"numpy"} if "train" not in code else set())
    done = process("-c", f"{code}\nimport sys; loaded = {heavy!r} & set(sys.modules); assert not loaded, loaded")
    assert done.returncode == 0, done.stderr.decode()


def test_missing_pytorch_is_a_sentence(run, tmp_path) -> None:
    (tmp_path / "torch.py").write_bytes(b"raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT / "src")])}
    command = [sys.executable, "-m", "sequencing", "translate", str(run)]
    done = subprocess.run(command, input=b"", capture_output=True, env=environment, timeout=60)
    assert done.returncode == 2 and done.stderr.decode() == f"sequencing: error: {MISSING['torch']}\n"
    assert "training needs PyTorch: pip install 'sequencing-nn[train]'" in done.stderr.decode()


def test_streams_of_a_process(run) -> None:
    done = process("-W", "error", "-m", "sequencing", "translate", run, input=TEXT.encode())
    expected = process("-m", "sequencing_np", "translate", run / "best", "--beam", 3, "--length-penalty", "gnmt",
                       input=TEXT.encode())  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout == expected.stdout
    assert done.stdout.count(b"\n") == len(LINES)


@pytest.mark.slow
def test_the_examples_of_the_page_run(tmp_path) -> None:
    """docs/commands.md."""
    page = DOCS / "commands.md"
    assert run_page(page, tmp_path)
    for command in COMMANDS:
        assert f"$ sequencing {command} " in page.read_text("utf-8"), f"no example of {command}"


def test_the_page_names_every_option() -> None:
    page = (DOCS / "commands.md").read_text("utf-8")
    assert "**`--import MODULE`**" in page, "the option of all commands"
    for words, command in COMMANDS.items():
        parser = argparse.ArgumentParser()
        import_module(command.module).add_arguments(parser)
        (section,) = re.findall(rf"^## {words}\n(.*?)(?=^## |\Z)", page, flags=re.MULTILINE | re.DOTALL)
        shared = page[page.index("## What several commands share") : page.index("## train")]
        options = {option for action in parser._actions for option in action.option_strings} - {"-h", "--help"}
        assert not (missing := {option for option in options if f"`{option}" not in section + shared}), (words, missing)


def test_interrupted_by_the_keyboard(run) -> None:
    command = [sys.executable, "-m", "sequencing_np", "translate", str(run / "best"), "--window", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdin and process.stdout
        process.stdin.write(b"zwei\n")
        process.stdin.flush()
        assert process.stdout.readline().endswith(b"\n"), "answered while the input stays open"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, b"", b"sequencing_np: error: interrupted\n")
