"""Following a run: what is read of its growing files, what is shown of it, and curves of characters."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencing.curves import Point
from sequencing.records import Follower
from sequencing.terminal_curves import Trace, clipped, columns, curve_lines, padded
from sequencing.watching import Watched, frame, held


def train(step: int) -> dict[str, object]:
    return {"kind": "train", "step": step, "epoch": 1, "seconds": 2.0 * step, "loss": 4.0 / step}


def dev(step: int, best: bool = True) -> dict[str, object]:
    return {"kind": "dev", "step": step, "seconds": 2.0 * step, "bleu": float(step), "loss": 1.0, "best": best}


def add(path: Path, *records: dict[str, object]) -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    settings = {"train": {"steps": 100, "select": "bleu"}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    return tmp_path


# --- a log that grows


def test_what_is_new_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    follower = Follower(path)
    assert not follower.began_anew() and list(follower.news()) == []
    add(path, {"step": 1}, {"step": 2})
    assert not follower.began_anew() and [record["step"] for record in follower.news()] == [1, 2]
    with path.open("a") as file:
        file.write('{"step"')
    assert not follower.began_anew() and list(follower.news()) == []
    with path.open("a") as file:
        file.write(": 3}\nrubbish\n")
    assert not follower.began_anew() and list(follower.news()) == [{"step": 3}]


@pytest.mark.parametrize("replaced", [True, False])
def test_a_log_that_is_written_anew_is_read_again(tmp_path: Path, replaced: bool) -> None:
    path = tmp_path / "log.jsonl"
    add(path, {"step": 1}, {"step": 2}, {"step": 3})
    follower = Follower(path)
    follower.began_anew()
    assert len(list(follower.news())) == 3
    if replaced:
        add(tmp_path / "new", {"step": 1}, {"step": 20})
        (tmp_path / "new").replace(path)
    else:
        path.write_text('{"step": 1}\n')
    assert follower.began_anew()
    assert [record["step"] for record in follower.news()] == ([1, 20] if replaced else [1])


def test_a_follower_sees_each_whole_line_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    follower = Follower(path)

    def new() -> list[dict[str, object]]:
        follower.began_anew()
        return list(follower.news())

    assert new() == []
    path.write_bytes(b'{"step": 1}\nno json\n{"step"')
    assert new() == [{"step": 1}]
    with path.open("ab") as file:
        file.write(b": 2}\n[3]\n")
    assert new() == [{"step": 2}] and new() == []
    (tmp_path / "new").write_bytes(b'{"step": 1}\n' * 9)
    (tmp_path / "new").replace(path)  # as a run that goes on does
    assert new() == [{"step": 1}] * 9


# --- a run


def test_a_run_is_followed(run: Path) -> None:
    watched = Watched(run)
    watched.look()
    assert watched.state() == "begins" or watched.state().startswith("nobody")
    add(run / "metrics.jsonl", train(10), train(20), dev(20), train(30), dev(30, best=False))
    assert [record["step"] for record in watched.look()][-1] == 30
    assert (watched.step, watched.seconds, watched.fraction(), watched.left()) == (30, 60.0, 0.3, 140.0)
    assert watched.best["step"] == 20 and watched.worse == 1
    text = "\n".join(frame(watched, 100, 30).fitting(100, 30))
    for words in (
        "step 30/100",
        "30%",
        "2.3 min left",
        "dev at step 30",
        "best at step 20: BLEU 20",
        "loss in training",
    ):
        assert words in text, (words, text)


def test_a_run_that_went_back_is_read_again(run: Path) -> None:
    add(run / "metrics.jsonl", train(10), train(20), dev(20))
    watched = Watched(run)
    watched.look()
    (run / "new").write_text(json.dumps(train(10)) + "\n")
    (run / "new").replace(run / "metrics.jsonl")
    watched.look()
    assert watched.step == 10 and watched.dev == {}


def test_what_a_run_says_stays_in_its_lines(run: Path) -> None:
    add(run / "metrics.jsonl", train(10), dev(10))
    add(run / "samples.jsonl", {"step": 10, "source": "a\x1b[2Jb" + "長" * 200, "prediction": "x", "target": "y"})
    watched = Watched(run)
    watched.look()
    for width, height in ((20, 3), (80, 24), (200, 60)):
        lines = frame(watched, width, height).fitting(width, height)
        assert len(lines) <= height and all(columns(line) <= width for line in lines)
        assert "\x1b" not in "".join(lines)


def test_the_lock_of_a_run_is_seen_and_never_taken(tmp_path: Path) -> None:
    if held(tmp_path) is None:
        pytest.skip("this system does not tell who holds a lock")
    assert held(tmp_path) is False
    holder = (
        "import fcntl, os, sys, time; d = os.open(sys.argv[1], os.O_RDONLY); fcntl.flock(d, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", holder, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()
        assert held(tmp_path) is True
        process.stdin.close()
    assert held(tmp_path) is False


# --- curves in characters


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60), st.integers(16, 90), st.integers(3, 20))
def test_a_curve_fits_its_frame(values: list[float], width: int, height: int) -> None:
    lines = curve_lines([Point(step + 1, value) for step, value in enumerate(values)], width, height)
    assert len(lines) <= max(height, 3) and len({columns(line) for line in lines}) == 1
    assert any(0x2801 <= ord(character) <= 0x28FF for line in lines for character in line)


def test_a_rising_curve_rises() -> None:
    lines = curve_lines([Point(step, float(step)) for step in range(1, 41)], 40, 9)[:-1]
    begins = [next(place for place, sign in enumerate(line.split("┤")[1]) if sign != chr(0x2800)) for line in lines]
    assert begins == sorted(begins, reverse=True) and begins[0] > begins[-1] + 20


@given(st.integers(1, 4000))
def test_a_trace_keeps_the_mean_in_bounded_memory(count: int) -> None:
    trace = Trace(64)
    for step in range(count):
        trace.add(step, float(step % 7))
    assert len(trace.points) <= 65 and trace.points[0].step <= trace.points[-1].step <= count - 1


@given(st.text(), st.integers(1, 30))
def test_text_fits_its_columns(text: str, width: int) -> None:
    assert columns(clipped(text, width)) <= width
    assert columns(padded(text, width)) == width
