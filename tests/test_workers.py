"""workers and streaming: several processes say what one says, byte for byte, and none is left, however it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failing_workers import Dying, Mistaken, no_model
from pages import ROOT
from sequencing.__main__ import main as upper
from sequencing.loading import check_processes
from sequencing_np.__main__ import main as ground
from sequencing_np.errors import DataError, ModelError, SearchError, UsageError
from sequencing_np.search import SearchConfig
from sequencing_np.streaming import Begun, in_windows
from sequencing_np.translate import Translator
from sequencing_np.wishes import Asked
from sequencing_np.workers import Workers
from tiny_models import SOURCES, write_model

LINES = [" ".join(SOURCES[(place * step) % 7] for step in range(place % 9)) for place in range(60)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_model(tmp_path_factory.mktemp("workers") / "model")
    (folder.parent / "in").write_bytes("".join(f"{line}\n" for line in LINES).encode())
    return folder


# --- any number of lines --------------------------------------------------------------------------------------------


class Reader:
    """Lines that are counted, and windows that are counted while they are begun and not finished."""

    def __init__(self, count: int, bad: int = -1) -> None:
        self.count, self.bad, self.read, self.open, self.most = count, bad, 0, 0, 0

    def lines(self) -> Iterator[str]:
        for number in range(self.count):
            self.read += 1
            yield str(number)

    def begin(self, part: list[str]) -> Begun[str]:
        if str(self.bad) in part:
            raise DataError(f"line {self.bad}")
        self.open += 1
        self.most = max(self.most, self.open)

        def finish() -> list[str]:
            self.open -= 1
            return part

        return Begun(2, finish)


@given(st.integers(0, 40), st.integers(1, 9), st.integers(0, 12))
def test_in_order_and_bounded(count: int, window: int, ahead: int) -> None:
    reader = Reader(count)
    stream = in_windows(reader.lines(), reader.begin, window, ahead)
    held = max(2, (ahead + 1) // 2) if ahead and window > 1 else 1
    for number, line in enumerate(stream):
        assert line == str(number)
        assert reader.read <= (number // window + held) * window
    assert reader.read == count and reader.open == 0 and reader.most <= held
    assert reader.most == min(held, -(-count // window))


@given(st.integers(0, 30), st.integers(1, 9), st.integers(0, 12))
def test_what_stands_before_an_error_comes_before_it(bad: int, window: int, ahead: int) -> None:
    found = []
    with pytest.raises(DataError, match=f"line {bad}"):
        for line in in_windows(Reader(31, bad).lines(), Reader(31, bad).begin, window, ahead):
            found.append(line)
    assert found == [str(number) for number in range(bad // window * window)]


# --- the same bytes -------------------------------------------------------------------------------------------------

CALL = [sys.executable, "-m", "sequencing_np", "translate"]
OPTIONS = [
    ["--n-best", "3", "--json", "--alignments"],
    ["--sample", "--temperature", "9", "--window", "7", "--batch-tokens", "20", "--scores"],
]


@pytest.mark.parametrize("options", OPTIONS, ids=["n-best", "draws"])
def test_the_same_bytes(model: Path, options: list[str], capfd: Any) -> None:
    call = ["translate", str(model), "--input", str(model.parent / "in"), *options]
    said = []
    for processes in ("1", "3"):
        assert ground([*call, "--processes", processes]) == 0
        said.append(capfd.readouterr())
    assert said[0] == said[1] and said[0].out.count("\n") >= len(LINES)


def test_the_same_bytes_with_pytorch(model: Path, capfd: Any) -> None:
    call = [
        "translate",
        str(model),
        "--input",
        str(model.parent / "in"),
        "--device",
        "cpu",
        "--scores",
        "--window",
        "16",
    ]
    said = []
    for processes in ("1", "2"):
        assert upper([*call, "--processes", processes]) == 0
        said.append(capfd.readouterr())
    assert said[0] == said[1] and said[0].out.count("\n") == len(LINES)


def test_bad_lines_as_with_one(model: Path, capfd: Any) -> None:
    (model.parent / "bad").write_bytes(b"ein\n" * 9 + b"\xff\n")
    call = ["translate", str(model), "--input", str(model.parent / "bad"), "--window", "2", "--processes"]
    said = [(ground([*call, processes]), capfd.readouterr()) for processes in ("1", "2")]
    assert said[0] == said[1] and said[0][0] == 4 and said[0][1].out.count("\n") == 9


# --- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "error", "words"),
    [
        (Dying.load, SearchError, r"ended before its answer \(exit code -9"),
        (Mistaken.load, RuntimeError, r"in a worker process: .*1 // 0.*ZeroDivisionError"),
        (no_model, ModelError, r"model: as it is in a worker"),
    ],
    ids=["killed", "mistake", "no model"],
)
def test_an_error_in_a_worker(model: Path, load: Callable[[Path], Translator], error: Any, words: str) -> None:
    translator = Translator.load(model)
    with Workers(2, partial(load, model)) as workers:
        workers.help(translator)
        with pytest.raises(error, match=f"(?s){words}"):
            list(translator.stream(LINES, SearchConfig(beam=2, batch_tokens=8), window=20))
    assert all(process.exitcode is not None for process, _ in workers.workers)


def children(process: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text("utf-8").split()]


def gone(process: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            if ") Z " in Path(f"/proc/{process}/stat").read_text("utf-8"):
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at /proc")
@pytest.mark.parametrize("end", ["interrupt", "broken pipe", "killed"])
def test_no_process_is_left(model: Path, end: str) -> None:
    """While it answers: Ctrl-C to all of a terminal's processes; the reader leaves; SIGKILL to who asks."""
    call = [*CALL, str(model), "--processes", "2", "--window", "9"]
    process = subprocess.Popen(
        call, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert process.stdin and process.stdout and process.stderr
    text = "".join(f"{line}\n" for line in LINES).encode()
    process.stdin.write(text)
    process.stdin.flush()
    process.stdout.readline()
    helpers = children(process.pid)
    assert len(helpers) >= 2
    if end == "interrupt":
        os.killpg(process.pid, signal.SIGINT)
    elif end == "killed":
        process.kill()
    else:
        process.stdout.close()
        process.stdin.write(text)
        process.stdin.flush()
    code = process.wait(30)
    stderr = process.stderr.read()
    expected = {
        "interrupt": (130, b"sequencing_np: error: interrupted\n"),
        "broken pipe": (141, b""),
        "killed": (-9, b""),
    }
    assert (code, stderr) == expected[end]
    assert all(map(gone, helpers))
    for stream in (process.stdin, process.stdout, process.stderr):
        with suppress(BrokenPipeError):
            stream.close()


def test_numbers_of_processes(model: Path, capfd: Any) -> None:
    assert ground(["translate", str(model), "--processes", "0"]) == 2
    assert "--processes 0: must be 1 or more" in capfd.readouterr().err
    assert check_processes(1, "cpu") >= 1 and check_processes(1000, "cpu") == 1


def test_not_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr("sequencing.loading.choose_device", lambda name: torch.device("cuda"))
    assert check_processes(1, "auto") >= 1
    with pytest.raises(UsageError, match=r"--processes 2: .*add --device cpu"):
        check_processes(2, "auto")


def test_a_part_of_ones_own(model: Path, tmp_path: Path) -> None:
    """--import reaches the workers."""
    (tmp_path / "parts.py").write_bytes(b"import os\nopen(f'seen-{os.getpid()}', 'wb').close()\n")
    done = subprocess.run(
        [*CALL, str(model), "--processes", "2", "--import", "parts", "--json"],
        input=b"ein zwei\n", capture_output=True, cwd=tmp_path, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert json.loads(done.stdout)["source"] == "ein zwei" and len(list(tmp_path.glob("seen-*"))) >= 2


def test_wishes_go_to_the_workers_too(model: Path, tmp_path: Path) -> None:
    translator = Translator.load(model)
    wishes = Asked(["a"], ["b"])
    wanted = list(translator.stream(LINES, SearchConfig(), 16, wishes))
    with Workers(2, partial(Translator.load, model)) as workers:
        workers.help(translator)
        found = list(translator.stream(LINES, SearchConfig(), 16, wishes))
    assert [each.text for each in found] == [each.text for each in wanted]
    assert all("a" in each.text and "b" not in each.text for each in found if each.source.strip() and each.answers)


def test_wishes_are_not_shared_out_among_parts(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(model.parent / "in")
    assert ground(["translate", str(model), "--input", path, "--split", "--include", "a"]) == 2
    assert "cannot be shared out among its parts" in capsys.readouterr().err
