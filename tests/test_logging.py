"""The logs of a run: JSON lines that survive a kill, the bar, the plain lines, the machine."""

import io
import json
import logging
import math
import os
import platform
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest

from sequencing.machine import machine
from sequencing.records import json_line, read_records, visible
from sequencing.train.logging import MetricsLog, Progress
from sequencing_np.errors import UsageError


def train(step: int, seconds: float = 0.0) -> dict[str, object]:
    return {"kind": "train", "step": step, "seconds": seconds, "loss": 0.5, "learning_rate": 1e-3} | {
        "tokens_per_second": 3850.4
    }


SAMPLE = {"step": 3, "source": "two", "prediction": "zwei\x1b[2J\n", "target": "zwei"}


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


# --- metrics.jsonl


def test_each_record_is_on_disk_at_once(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    for step in range(3):
        log.write({"step": step, "text": "zweihundertfünf\u2028"})
        assert len((tmp_path / "metrics.jsonl").read_bytes().split(b"\n")) == step + 2
    log.close()
    assert [record["text"] for record in read_records(tmp_path / "metrics.jsonl").records] == [
        "zweihundertfünf\u2028"
    ] * 3


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (math.nan, None),
        (-math.inf, None),
        (numpy.float32(0.5), 0.5),
        (numpy.float64(math.nan), None),
        (numpy.int64(7), 7),
        (numpy.bool_(True), True),
        (numpy.array([[0.5, math.inf]], dtype=numpy.float32), [[0.5, None]]),
        ((1, {"a": math.nan}), [1, {"a": None}]),
        (Path("a"), "a"),
        ("\ud800", "\ud800"),
        (True, True),
        (None, None),
    ],
)
def test_every_line_is_valid_json(value: object, written: object) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(name)

    assert json.loads(json_line({"value": value}), parse_constant=refuse) == {"value": written}


def test_a_record_of_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="holds a object"):
        json_line({"value": object()})


def test_a_cut_last_line_does_not_swallow_the_next_record(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2, "lo')
    log = MetricsLog(path)
    log.write({"step": 3})
    log.close()
    assert read_records(path) == ([{"step": 1}, {"step": 3}], 1)


def test_a_resumed_run_has_no_duplicates(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    log.write({"note": "no step"})
    for step in range(1, 8):
        log.write(train(step))
    with path.open("ab") as file:
        file.write(b'{"step": 3, "cu')
    log.truncate_after(4)
    log.write(train(5))
    log.close()
    records = read_records(path)
    assert [record.get("step") for record in records.records] == [None, 1, 2, 3, 4, 5]
    assert records.damaged == 0
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_truncating_at_the_last_step_changes_no_byte(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    for step in range(5):
        log.write(train(step) | {"text": "ü"})
    before = path.read_bytes()
    log.truncate_after(4)
    log.close()
    assert path.read_bytes() == before


def test_damaged_lines_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a": 1}\n\n[1]\n\xff\xfe\n' + b"[" * 100_000 + b'\n{"b": NaN}\n')
    assert read_records(path).damaged == 3
    assert len(read_records(path).records) == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_told_once_and_the_run_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "metrics.jsonl"
    path.symlink_to("/dev/full")
    log = MetricsLog.__new__(MetricsLog)
    log._path, log._warned, log._torn = path, False, False
    log._file = io.FileIO("/dev/full", "wb")
    with caplog.at_level(logging.WARNING):
        log.write(train(1))
        log.write(train(2))
    log.close()
    assert len(caplog.records) == 1
    assert "the run goes on" in caplog.text


def test_a_log_that_cannot_be_opened_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write the log"):
        MetricsLog(tmp_path / "missing" / "metrics.jsonl")


# --- the bar and the plain lines


def test_plain_lines_come_every_few_seconds_without_carriage_returns() -> None:
    now = [0.0]
    stream = io.StringIO()
    progress = Progress(100, 3.0, every=10.0, stream=stream, clock=lambda: now[0])
    for step in range(1, 36):
        now[0] = float(step)
        progress.write(train(step, now[0]))
    progress.close()
    lines = stream.getvalue().split("\n")
    assert "\r" not in stream.getvalue()
    assert [line.split()[1] for line in lines if line] == ["1/100", "11/100", "21/100", "31/100", "35/100"]
    assert lines[-2] == "step 35/100  loss 0.5000  1.1 min left  3,850 tok/s  lr 1.0e-03  0.6/3 min"


@pytest.mark.parametrize(
    ("steps", "minutes", "fraction"),
    [(100, None, 0.2), (None, 4.0, 0.25), (100, 1.0, 1.0), (None, None, 0.0), (10, None, 1.0)],
)
def test_the_bar_follows_whichever_limit_comes_first(steps: int | None, minutes: float | None, fraction: float) -> None:
    with Progress(steps, minutes, stream=io.StringIO()) as progress:
        assert progress._fraction(20, 60.0) == fraction
        progress.write(train(20, 60.0))


def test_samples_stand_above_the_bar_and_cannot_move_the_cursor() -> None:
    stream = Terminal()
    with Progress(10, stream=stream) as progress:
        progress.write(train(1, 1.0))
        progress.write(SAMPLE)
        progress.write({"kind": "dev", "step": 2, "loss": 0.25, "exact_match": 0.5, "best": True, "signature": "x"})
        progress.write(train(5, 2.0))
    text = stream.getvalue()
    assert "\x1b[2J" not in text
    assert "  src  two\n  prd  zwei\\x1b[2J\\x0a\n  trg  zwei\n" in text
    assert "dev at step 2: loss 0.25  exact match 0.5  (best so far)\n" in text
    last = text.rstrip("\n").split("\r")[-1]
    assert last.startswith(" 50% |") and "step 5/10" in last


def test_a_number_that_is_none_is_shown_as_nan() -> None:
    stream = io.StringIO()
    with Progress(stream=stream) as progress:
        progress.write(train(1) | {"loss": math.nan})
    assert "loss nan" in stream.getvalue()


def broken_pipe(_: str) -> int:
    raise BrokenPipeError


@pytest.mark.parametrize("make", [io.StringIO, Terminal])
@pytest.mark.parametrize("end", ["close", "break"])
def test_a_closed_terminal_does_not_end_the_run(
    make: Callable[[], io.StringIO], end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = make()
    progress = Progress(10, every=0.0, stream=stream)
    progress.write(train(1))
    if end == "close":
        stream.close()
    else:
        monkeypatch.setattr(stream, "write", broken_pipe)
    for step in range(2, 5):
        progress.write(train(step))
        progress.write(SAMPLE)
    progress.close()


def test_visible_keeps_text_and_shows_what_hides() -> None:
    assert visible("zwei 中 é ␣") == "zwei 中 é ␣"
    assert visible("a\0\x1b\u2028\u202e\ud800\n") == "a\\x00\\x1b\\u2028\\u202e\\ud800\\x0a"


# --- the machine


def test_the_machine_has_no_name_and_no_path() -> None:
    facts = machine()
    assert facts["python"] == platform.python_version()
    assert facts["numpy"] == numpy.__version__
    assert facts["threads"] >= 1
    assert 1 <= facts["cores"] <= (os.cpu_count() or 1)
    text = json.dumps(facts)
    assert platform.node() not in text
    assert str(Path.cwd()) not in text
