"""`python -m sequencing_np`: what it writes, what it says when something is wrong, and how it leaves."""

import gzip
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from sequencing_np import command_line
from sequencing_np.__main__ import COMMANDS, PROGRAM, main
from sequencing_np.answers import decimal, hard_alignment
from sequencing_np.command_line import Command
from sequencing_np.search import SearchConfig
from sequencing_np.translate import Translator
from tiny_models import give_input, write_model

TEXT = "ein zwei drei\n\nfünf und vier\nzwei\n"
LINES = TEXT.split("\n")[:-1]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("models") / "broken", broken=True)


@pytest.fixture
def said(capsys, monkeypatch):
    """Runs main; its exit code, its lines, and its standard error."""

    def run(*arguments: object, text: bytes = TEXT.encode()) -> tuple[int, list[str], str]:
        give_input(monkeypatch, text)
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert out == "" or out.endswith("\n")
        return code, out.split("\n")[:-1], err

    return run


def test_one_line_out_for_each_line_in(said, model) -> None:
    code, lines, err = said("translate", model)
    assert (code, err) == (0, "")
    assert lines == [each.text for each in Translator.load(model).translate(LINES)]
    assert lines[1] == "" and lines[0] and lines[2]


@pytest.mark.parametrize(
    "text", [b"", b"\n" * 1000, b" \n\t\n", b"zwei", b"\xef\xbb\xbfzwei\r\n", "a\u2028b\n\x0c".encode()]
)
def test_the_number_of_lines_is_kept(said, model, text) -> None:
    code, lines, _ = said("translate", model, "--beam", 1, text=text)
    assert code == 0 and len(lines) == text.count(b"\n") + (not text.endswith(b"\n") and text != b"")


def test_windows_and_batches_change_nothing(said, model) -> None:
    once = said("translate", model)
    assert said("translate", model, "--window", 1) == said("translate", model, "--batch-tokens", 1) == once


def test_scores_stand_before_the_text(said, model) -> None:
    lines = said("translate", model, "--scores")[1]
    expected = Translator.load(model).translate(LINES)
    assert lines == [f"{decimal(each.answers[0].score)}\t{each.text}" for each in expected]


def test_alignments_stand_after_the_text(said, model) -> None:
    lines = said("translate", model, "--alignments")[1]
    assert lines[1] == "\t"
    for line in (lines[0], lines[2]):
        text, _, pairs = line.partition("\t")
        for pair in pairs.split():
            source, target = map(int, pair.split("-"))
            assert 0 <= source < 3 and 0 <= target < len(text)


def test_hard_alignment_by_hand() -> None:
    import numpy as np

    from sequencing_np.translation import Answer, Translation

    weights = np.array([[0.1, 0.8, 0.1, 0], [0.7, 0.2, 0.1, 0], [0, 0, 1, 0], [0, 0, 1, 0]])  # a column of padding
    answer = Answer("xyz", 0.0, 0.0, ["x", "y", "z", "</s>"], [0.0] * 4, weights, True)
    assert hard_alignment(Translation("a b", ["a", "b", "</s>"], [answer]), answer) == "1-0 0-1"


def test_n_best_as_moses_writes_it(said, model) -> None:
    code, lines, _ = said("translate", model, "--n-best", 3, "--beam", 4)
    assert code == 0
    rows = [line.split(" ||| ") for line in lines]
    assert [row[0] for row in rows] == ["0"] * 3 + ["1"] + ["2"] * 3 + ["3"] * 3
    best_first = [float(row[2]) for row in rows if row[0] == "0"]
    assert best_first == sorted(best_first, reverse=True)
    fields = {len(line.split(" ||| ")) for line in said("translate", model, "--n-best", 2, "--alignments")[1]}
    assert fields == {4}


def test_json_holds_everything(said, model) -> None:
    code, lines, _ = said("translate", model, "--n-best", 2, "--json", "--alignments")
    rows = [json.loads(line) for line in lines]
    assert code == 0 and [row["source"] for row in rows] == LINES
    first = rows[0]
    assert list(first) == ["source", "translation", "score", "log_prob", "tokens", "source_tokens", "answers"]
    assert first["source_tokens"] == ["ein", "zwei", "drei", "</s>"]
    assert len(first["answers"]) == 2
    for answer in first["answers"]:
        assert len(answer["alignment"]) == len(answer["tokens"]) == len(answer["token_log_probs"])
        assert {len(row) for row in answer["alignment"]} == {4}
        assert sum(answer["token_log_probs"]) == pytest.approx(answer["log_prob"], abs=1e-4)
    assert {name: first["answers"][0][name] for name in ("translation", "score", "log_prob", "tokens")} == {
        name: first[name] for name in ("translation", "score", "log_prob", "tokens")
    }
    assert rows[1]["translation"] == "" and rows[1]["answers"][0]["tokens"] == []
    assert "alignment" not in json.loads(said("translate", model, "--json")[1][0])["answers"][0]


def test_files_in_and_out(said, model, tmp_path) -> None:
    (tmp_path / "in.gz").write_bytes(gzip.compress(TEXT.encode()))
    expected = said("translate", model)[1]
    assert said("translate", model, "--input", tmp_path / "in.gz", "--output", tmp_path / "out") == (0, [], "")
    assert (tmp_path / "out").read_bytes() == "".join(f"{line}\n" for line in expected).encode()
    said("translate", model, "--output", tmp_path / "out.gz")
    assert gzip.decompress((tmp_path / "out.gz").read_bytes()) == (tmp_path / "out").read_bytes()


def test_draws_come_back_with_their_seed(said, model) -> None:
    flat = ("translate", model, "--sample", "--temperature", 50, "--seed")
    assert said(*flat, 1) == said(*flat, 1) != said(*flat, 2)
    assert said("translate", model, "--sample", "--top-k", 1) == said("translate", model, "--beam", 1)


def test_score_is_that_of_the_search(said, model, tmp_path) -> None:
    rows = [json.loads(line) for line in said("translate", model, "--json", "--beam", 1)[1]]
    ended = [row for row in rows if row["answers"][0]["finished"] and row["tokens"]]
    assert ended
    (tmp_path / "s").write_bytes("".join(f"{row['source']}\n" for row in ended).encode())
    (tmp_path / "t").write_bytes("".join(f"{row['translation']}\n" for row in ended).encode())
    code, lines, err = said("score", model, "--source", tmp_path / "s", "--target", tmp_path / "t")
    assert (code, err) == (0, "")
    assert [float(line) for line in lines] == pytest.approx([row["log_prob"] for row in ended], abs=1e-4)
    assert (
        said("score", model, "--source", "-", "--target", tmp_path / "t", text=(tmp_path / "s").read_bytes())[1]
        == lines
    )
    detailed = said("score", model, "--source", tmp_path / "s", "--target", tmp_path / "t", "--json")[1]
    for line, row in zip(detailed, ended, strict=True):
        document = json.loads(line)
        assert list(document) == ["source", "target", "log_prob", "tokens", "token_log_probs"]
        assert document["tokens"] == row["tokens"] and len(document["token_log_probs"]) == len(row["tokens"])


# --- what is wrong, and how it is said ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give a command: translate, score. Try 'python -m sequencing_np --help'."),
        (["transalte"], "did you mean 'translate'?"),
        (["--beam", "3"], "--beam"),
        (["translate"], "MODEL. Try 'python -m sequencing_np translate --help'."),
        (["translate", "m", "--beam", "many"], "--beam: invalid int value: 'many'"),
        (["translate", "m", "--beem", "3"], "unrecognized arguments: --beem 3"),
        (["translate", "m", "--bea", "3"], "unrecognized arguments: --bea 3"),
        (["translate", "m", "--beam", "0"], "beam 0: must be from 1 (greedy)"),
        (["translate", "m", "--n-best", "7"], "n_best 7: must be from 1 to the beam size 5"),
        (["translate", "m", "--alpha", "nan"], "alpha nan"),
        (["translate", "m", "--top-k", "3"], "--top-k is an option of drawing answers; add --sample"),
        (["translate", "m", "--sample", "--seed", "-1"], "--seed -1: must be 0 or more"),
        (["translate", "m", "--length-penalty", "gmnt"], "invalid choice: 'gmnt'"),
        (["score", "m", "--source", "s"], "--target"),
    ],
)
def test_usage_errors(said, arguments, words) -> None:
    code, lines, err = said(*arguments)
    assert (code, lines) == (2, [])
    assert err.startswith("sequencing_np: error: ") and words in err and err.count("\n") == 1


def test_options_of_the_command_itself(said, model) -> None:
    assert said("translate", model, "--window", 0)[0] == said("score", model, "--source", "-", "--target", "-")[0] == 2
    assert said("score", model, "--source", "s", "--target", "t", "--batch-tokens", 0)[0] == 2


def test_no_model(said, tmp_path) -> None:
    code, lines, err = said("translate", tmp_path / "nowhere")
    assert (code, lines) == (5, []) and "no such folder" in err and err.count("\n") == 1


def test_damaged_model(said, tmp_path) -> None:
    folder = write_model(tmp_path / "model")
    (folder / "source.vocab.json").write_bytes(b"{}")
    assert said("translate", folder)[0] == 5


def test_a_bad_line_stops_after_the_answers_before_it(said, model) -> None:
    code, lines, err = said("translate", model, text=b"zwei\nein\n\xff\xfe\nzwei\n")
    assert code == 4 and len(lines) == 2
    assert err.startswith("sequencing_np: error: standard input:3: bytes ff fe are not UTF-8") and err.count("\n") == 1


def test_a_line_too_long(said, model) -> None:
    code, lines, err = said("translate", model, text=b"zwei\n" + b"x" * 100_000 + b"\nzwei\n")
    assert code == 4 and len(lines) == 1 and "standard input:2: the line is longer than" in err


def test_a_bad_line_leaves_the_old_output(said, model, tmp_path) -> None:
    (tmp_path / "out").write_bytes(b"old")
    assert said("translate", model, "--output", tmp_path / "out", text=b"zwei\n\xff\n")[0] == 4
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and (tmp_path / "out").read_bytes() == b"old"


def test_files_that_are_not_there(said, model, tmp_path) -> None:
    code, _, err = said("translate", model, "--input", tmp_path / "none")
    assert code == 4 and f"{tmp_path / 'none'}: cannot be opened" in err
    assert said("translate", model, "--output", tmp_path / "none" / "out")[0] == 4
    assert not (tmp_path / "none").exists()


def test_unequal_files(said, model, tmp_path) -> None:
    (tmp_path / "s").write_bytes(b"ein\nzwei\ndrei\n")
    (tmp_path / "t").write_bytes(b"a\n")
    code, _, err = said("score", model, "--source", tmp_path / "s", "--target", tmp_path / "t")
    assert code == 4 and f"unequal numbers of lines: {tmp_path / 's'} 3, {tmp_path / 't'} 1;" in err


def test_no_answer_is_an_empty_line_and_code_6(said, broken, tmp_path) -> None:
    text = b"zwei\nsechs\n\nein sechs\n"
    for options in (["--beam", 1], ["--beam", 3]):
        code, lines, err = said("translate", broken, *options, text=text)
        assert code == 6 and len(lines) == 4 and lines[0] and lines[1] == lines[2] == lines[3] == ""
        assert "2 of 4 lines have no answer" in err and "line 2, 4" in err and err.count("\n") == 1
    assert said("translate", broken, "--output", tmp_path / "out", text=text)[0] == 6
    assert (tmp_path / "out").read_bytes().count(b"\n") == 4
    rows = [json.loads(line) for line in said("translate", broken, "--json", text=text)[1]]
    assert rows[1]["translation"] == "" and rows[1]["score"] is None and rows[1]["answers"] == []
    assert said("translate", broken, "--scores", text=text)[1][1] == "nan\t"
    assert said("translate", broken, "--n-best", 2, text=text)[1][2] == "1 |||  ||| nan"
    (tmp_path / "t").write_bytes(b"a\n" * 4)
    code, lines, _ = said("score", broken, "--source", "-", "--target", tmp_path / "t", text=text)
    assert code == 6 and [math.isnan(float(line)) for line in lines] == [False, True, False, True]


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (BrokenPipeError(), 141, ""),
        (MemoryError("8 GiB"), 1, "not enough memory (8 GiB)"),
        (PermissionError(13, "Permission denied", "/x"), 4, "/x: Permission denied"),
        (OSError(28, "No space left on device"), 4, "the output: No space left on device"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2, "pip install it"),
        (SystemExit(75), 75, ""),
    ],
)
def test_every_other_way_to_leave(capsys, monkeypatch, error, code, words) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(command_line, "dispatch", fail)
    monkeypatch.setattr(command_line, "silence", lambda stream: None)
    assert command_line.run(PROGRAM._replace(missing={"torch": "pip install it"}), []) == code
    err = capsys.readouterr().err
    assert err == (f"sequencing_np: error: {err[len('sequencing_np: error: ') :]}" if words else "")
    assert words in err and err.count("\n") == bool(words)


@pytest.mark.parametrize("error", [ValueError("ours"), ModuleNotFoundError("x", name="x"), OSError("what")])
def test_a_mistake_of_ours_is_shown_whole(capsys, monkeypatch, error) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(command_line, "dispatch", fail)
    assert command_line.run(PROGRAM, []) == 1
    first, *rest = capsys.readouterr().err.split("\n")
    assert "please report it" in first and rest[0] == "Traceback (most recent call last):"


def test_an_error_stays_one_line(said, tmp_path) -> None:
    err = said("translate", tmp_path / "a\nb\x1b[31m")[2]
    assert err.count("\n") == 1 and "\x1b" not in err


def test_help_of_every_command(said) -> None:
    for words in ["", *COMMANDS]:
        code, lines, err = said(*words.split(), "--help")
        assert code == 0 and err == ""
        assert not words or any(line.startswith(f"  {PROGRAM.call} {words} ") for line in lines), "an example"
    assert said("--version")[1][0].startswith("sequencing_np ")


def test_a_row_is_imported_when_it_runs(said, monkeypatch) -> None:
    monkeypatch.setitem(PROGRAM.commands, "absent", Command("sequencing_np.commands.absent", "not there"))
    assert said("--help")[0] == 0
    assert said("absent")[0] == 1


# --- in processes of their own --------------------------------------------------------------------------------------


def test_streams_where_numpy_is_all_there_is(ground_floor, model, broken) -> None:
    expected = [each.text for each in Translator.load(model).translate(LINES, SearchConfig(beam=3))]
    done = ground_floor("-m", "sequencing_np", "translate", model, "--beam", 3, input=TEXT.encode())
    assert done.stdout.decode().split("\n")[:-1] == expected and done.stderr == b""
    assert ground_floor("-m", "sequencing_np", "translate", broken, input=b"sechs\n", code=6).stdout == b"\n"


def test_endless_input_and_a_reader_who_leaves(model) -> None:
    """`yes | sequencing_np translate | head`: the first lines come while the input goes on, and nothing is said."""
    command = f"yes 'ein zwei' | '{sys.executable}' -W error -m sequencing_np translate '{model}' --beam 1 | head -n 3"
    done = subprocess.run(["bash", "-c", f"{command}; echo ${{PIPESTATUS[1]}}"], capture_output=True, timeout=60)
    lines = done.stdout.decode().split("\n")
    assert len(set(lines[:3])) == 1 and lines[3:] == ["141", ""] and done.stderr == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk(model) -> None:
    with Path("/dev/full").open("wb") as full:
        command = [sys.executable, "-m", "sequencing_np", "translate", str(model)]
        done = subprocess.run(command, input=b"zwei\n", stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert done.returncode == 4 and done.stderr == b"sequencing_np: error: the output: No space left on device\n"


@pytest.mark.parametrize(
    ("given", "used"), [("pop('OPENBLAS_NUM_THREADS', 0)", b"1"), ("update(OPENBLAS_NUM_THREADS='2')", b"2")]
)
def test_one_thread_unless_told(ground_floor, given: str, used: bytes) -> None:
    """Spinning threads make translating beside another program many times slower, so they have to be asked for."""
    begin = f"import os, sys; os.environ.{given}; import sequencing_np.__main__ as m; assert 'numpy' not in sys.modules"
    code = f"{begin}; m.main(['--help']); print(os.environ['OPENBLAS_NUM_THREADS'])"
    assert ground_floor("-c", code).stdout.endswith(used + b"\n")
