"""text: only LF separates lines, every bad byte is named, and a file is written whole or not at all."""

import gzip
import io
import os
import resource
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencing_np.errors import DataError
from sequencing_np.text import Reading, read_each_line, read_lines
from sequencing_np.writing import atomic_write, single_line, write_lines

# D07: everything that other programs take for the end of a line
SEPARATORS = "\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
LINES = st.lists(
    st.text(st.one_of(st.sampled_from(SEPARATORS + "\0\ufeff \t"), st.characters(codec="utf-8")))
    .map(lambda text: text.replace("\n", ""))
    .filter(lambda text: not text.endswith("\r") and not text.startswith("\ufeff"))
)
BAD_UTF8 = {  # D01
    "FF": b"\xff",
    "FE": b"\xfe",
    "lone continuation": b"\x80",
    "overlong slash": b"\xc0\xaf",
    "overlong NUL": b"\xc0\x80",
    "overlong three": b"\xe0\x80\xaf",
    "surrogate": b"\xed\xa0\x80",
    "surrogate pair": b"\xed\xa0\x80\xed\xb0\x80",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "cut two": b"\xc3",
    "cut three": b"\xe2\x82",
    "cut four": b"\xf0\x9f\x98",
}


class Trickle(io.RawIOBase):
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        self.data, self.size = data, size

    def read1(self, size: int, /) -> bytes:
        given, self.data = self.data[: self.size], self.data[self.size :]
        return given


def read(data: bytes, **arguments: Any) -> list[str]:
    return list(read_lines(io.BytesIO(data), **arguments))


@given(LINES, st.booleans(), st.integers(1, 7))
def test_write_then_read_gives_the_same_lines(lines: list[str], packed: bool, size: int) -> None:
    sink = io.BytesIO()
    assert write_lines(sink, lines) == len(lines)
    data = sink.getvalue()
    assert data.count(b"\n") == len(lines)
    data = gzip.compress(data) if packed else data
    assert read(data) == lines
    assert list(read_lines(Trickle(data, size))) == lines
    assert read(data, max_bytes=max((len(line.encode()) for line in lines), default=0)) == lines
    assert [line.text for line in read_each_line(io.BytesIO(data))] == lines


@given(st.binary(), st.integers(1, 5), st.integers(1, 9))
def test_each_line_of_any_bytes_is_a_text_or_an_error(data: bytes, size: int, limit: int) -> None:
    data = b"plain\n" + data
    lines = data.split(b"\n")
    lines = lines if lines[-1] else lines[:-1]
    reading = Reading()
    found = list(read_each_line(Trickle(data, size), max_bytes=limit, reading=reading))
    assert len(found) == len(lines) == reading.lines
    assert not any(line.text for line in found if line.error)
    assert reading.too_long == sum(len(line) > limit for line in lines)
    assert reading.too_long + reading.undecodable == sum(line.error is not None for line in found)
    for number, (line, expected) in enumerate(zip(found, lines, strict=True), start=1):
        if line.error:
            assert f"stream:{number}: " in str(line.error)
        else:
            assert line.text.encode() == expected.removesuffix(b"\r" if data.count(b"\n") >= number else b"")


@pytest.mark.parametrize("where", [0, 1, 2])
@pytest.mark.parametrize("bad", BAD_UTF8.values(), ids=BAD_UTF8)
def test_bad_utf8_is_named_by_file_line_offset_and_bytes(bad: bytes, where: int, tmp_path: Path) -> None:
    lines = ["ä".encode(), b"b", b"c"]
    lines[where] += bad
    path = tmp_path / "corpus.en"
    path.write_bytes(b"\n".join(lines))
    column = len(lines[where]) - len(bad)
    offset = len(b"\n".join(lines[: where + 1])) - len(bad)
    with pytest.raises(DataError) as caught:
        list(read_lines(path))
    text = str(caught.value)
    assert text.startswith(f"{path}:{where + 1}: bytes {bad[:4].hex(' ')} are not UTF-8")
    assert f"byte offset {column} of the line, {offset} of the text" in text
    reading = Reading()
    others = [line.text for line in read_each_line(path, reading=reading) if line.error is None]
    assert others == [["ä", "b", "c"][row] for row in range(3) if row != where]
    assert reading.undecodable == 1


def test_the_lines_before_a_bad_one_are_given() -> None:
    good = []
    with pytest.raises(DataError, match=r"stream:100001: bytes ff are not UTF-8 \(byte offset 4 of the line, 600004 "):
        for line in read_lines(io.BytesIO(b"12345\n" * 100_000 + b"abc \xff\nmore\n")):
            good.append(line)
    assert len(good) == 100_000


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("packed", [False, True])
def test_utf16_and_utf32_are_named(encoding: str, packed: bool) -> None:
    data = "\ufeffHallo\n".encode(encoding)
    with pytest.raises(DataError, match=f"{encoding[:6].upper()} text .*iconv"):
        read(gzip.compress(data) if packed else data)


@pytest.mark.parametrize(("magic", "name"), [(b"\x28\xb5\x2f\xfd\0", "zstd"), (b"PK\3\4", "zip")])
def test_other_packers_are_named(magic: bytes, name: str) -> None:
    with pytest.raises(DataError, match=f"an? {name} "):
        read(magic + b"\n")


def test_byte_order_mark_is_dropped_at_the_start_only() -> None:
    reading = Reading()
    assert read("\ufeffa\n\ufeffb\nc\ufeff\n".encode(), reading=reading) == ["a", "\ufeffb", "c\ufeff"]
    assert (reading.bom, reading.lines) == (1, 3)
    assert read(gzip.compress("\ufeffa\n".encode())) == ["a"]
    assert read(b"\xef\xbb\xbf") == []


def test_one_carriage_return_before_lf_is_dropped() -> None:
    reading = Reading()
    assert read(b"a\r\nb\r\r\nc\rd\n\r\ne\r", reading=reading) == ["a", "b\r", "c\rd", "", "e\r"]
    assert (reading.crlf, reading.control, reading.lines) == (3, 3, 5)


def test_only_lf_separates_and_controls_are_counted() -> None:
    text = "one\0two\x01\t" + SEPARATORS + "end"
    reading = Reading()
    assert read(f"{text}\n{text}".encode(), reading=reading) == [text, text]
    assert (reading.nul, reading.lines) == (2, 2)
    assert reading.control == 2 * (2 + 6)  # NUL, U+0001 and the six separators below U+0020; TAB is ordinary


def test_empty_things() -> None:
    assert read(b"") == []
    assert read(b"\n") == [""]
    assert read(b"\n\na") == ["", "", "a"]
    assert read(b"\n" * 1000) == [""] * 1000
    assert read(gzip.compress(b"")) == []


def test_line_limit() -> None:
    data = b"four\n" + b"x" * 11 + b"\nten letter\n" + b"y" * 5_000_000 + b"\nlast"
    with pytest.raises(DataError, match=r"stream:2: the line is longer than the limit of 10 bytes; "):
        read(data, max_bytes=10)
    reading = Reading()
    found = list(read_each_line(io.BytesIO(data), max_bytes=10, reading=reading))
    assert [line.text for line in found] == ["four", "", "ten letter", "", "last"]
    assert (reading.too_long, reading.lines) == (2, 5)


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux does")
@pytest.mark.parametrize("packed", [False, True])
def test_a_line_without_end_takes_no_memory(packed: bool, tmp_path: Path) -> None:
    path = tmp_path / "endless"
    with path.open("wb") as file:
        if packed:
            with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as archive:
                for _ in range(300):
                    archive.write(bytes(1 << 20))
        else:
            file.truncate(300 << 20)
    program = """
        import resource, sys
        from sequencing_np.text import read_each_line
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        errors = [str(line.error) for line in read_each_line(sys.argv[1])]
        assert len(errors) == 1 and ":1: the line is longer" in errors[0], errors
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert int(done.stdout) < 64 * 1024


PACKED = gzip.compress("".join(f"line {row * 7919 % 1000}\n" for row in range(1000)).encode(), mtime=0)
UNPACKED = gzip.decompress(PACKED).decode().split("\n")[:-1]


@pytest.mark.parametrize("percent", range(1, 100))
def test_cut_gzip_names_the_last_good_line(percent: int) -> None:
    good = []
    with pytest.raises(DataError) as caught:
        for line in read_lines(io.BytesIO(PACKED[: max(3, len(PACKED) * percent // 100)]), name="cut.gz"):
            good.append(line)
    assert f"cut.gz: the gzip data ends too early, the file is cut; the last good line is {len(good)};" in str(
        caught.value
    )
    assert good == UNPACKED[: len(good)]


@pytest.mark.parametrize("place", range(1, 9))
def test_wrong_check_sum(place: int) -> None:
    data = bytearray(PACKED)
    data[-place] ^= 1
    with pytest.raises(DataError, match=r"the gzip data is damaged \(incorrect (data|length) check\)"):
        read(bytes(data))


@given(st.integers(0, len(PACKED) - 1), st.integers(1, 255))
def test_any_flipped_byte_is_an_error_or_harmless(place: int, flip: int) -> None:
    data = bytearray(PACKED)
    data[place] ^= flip
    try:
        assert read(bytes(data)) == UNPACKED  # a byte of the header that means nothing
    except DataError as error:
        assert str(error)


@given(st.integers(1, 50))
def test_gzip_members_padding_and_garbage(size: int) -> None:
    assert list(read_lines(Trickle(PACKED + PACKED, size * 10))) == UNPACKED * 2
    assert list(read_lines(Trickle(PACKED + b"\0" * 100, size))) == UNPACKED
    assert list(read_lines(Trickle(PACKED + b"\0" * 100 + PACKED, size))) == UNPACKED * 2
    with pytest.raises(DataError, match="damaged"):
        list(read_lines(Trickle(PACKED + b"garbage", size)))


def test_gzip_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "plain.gz").write_bytes(b"a\n")
    (tmp_path / "packed.txt").write_bytes(gzip.compress(b"b\n"))
    assert list(read_lines(tmp_path / "plain.gz")) == ["a"]
    assert list(read_lines(str(tmp_path / "packed.txt"))) == ["b"]


def test_things_that_are_no_files(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path, words in [(tmp_path, "directory"), (tmp_path / "none", "No such file"), (loop, "symbolic links")]:
        with pytest.raises(DataError, match=rf"{path.name}: cannot be (opened|read) \(.*{words}"):
            list(read_lines(path))
    with pytest.raises(DataError, match="null"):
        list(read_lines("a\0b"))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_no_permission(tmp_path: Path) -> None:
    path = tmp_path / "closed"
    path.touch(mode=0)
    with pytest.raises(DataError, match="Permission denied"):
        list(read_lines(path))


def test_pipe_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(PACKED,))
    writer.start()
    assert list(read_lines(pipe)) == UNPACKED
    writer.join()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\n\xff\n")))
    lines = read_lines("-")
    assert next(lines) == "a"
    with pytest.raises(DataError, match="standard input:2: "):
        next(lines)


def test_short_lines_are_given_at_once() -> None:
    """A person who types a line is answered before the next one."""
    readable, writable = os.pipe()
    with os.fdopen(readable, "rb") as stream, os.fdopen(writable, "wb", buffering=0) as keyboard:
        lines = read_lines(stream)
        for typed in ["a", "", "bc"]:
            keyboard.write(f"{typed}\n".encode())
            assert next(lines) == typed


def test_write_lines_to_paths(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    path = tmp_path / "out.txt"
    assert write_lines(path, ["ä", "", "b\r"]) == 3
    assert path.read_bytes() == "ä\n\nb\r\n".encode()
    assert write_lines(str(tmp_path / "out.gz"), ["a"] * 9) == 9
    first = (tmp_path / "out.gz").read_bytes()
    write_lines(tmp_path / "out.gz", ["a"] * 9)
    assert gzip.decompress(first) == b"a\n" * 9 and (tmp_path / "out.gz").read_bytes() == first
    write_lines("-", ["ö"])
    assert capfdbinary.readouterr().out == "ö\n".encode()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out.gz", "out.txt"]


def test_what_no_line_can_hold() -> None:
    with pytest.raises(DataError, match=r"stream:2: the text 'b\\nc' holds a line feed"):
        write_lines(io.BytesIO(), ["a", "b\nc"])
    with pytest.raises(DataError, match=r"stream:1: U\+D800 at character 1"):
        write_lines(io.BytesIO(), ["a\ud800"])
    assert single_line("b\nc") == "b c"


def test_a_failed_write_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"old")
    path.chmod(0o640)
    for error in (KeyboardInterrupt, PermissionError, DataError):
        with pytest.raises(error), atomic_write(path) as file:
            file.write(b"half")
            file.flush()
            raise error("stop")
    assert path.read_bytes() == b"old"
    with atomic_write(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" and path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_write_through_links_and_into_devices(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_write(tmp_path / "link") as file:
        file.write(b"x")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == b"x"
    before = Path("/dev/null").stat().st_rdev
    assert write_lines("/dev/null", ["a"]) == 1
    assert Path("/dev/null").stat().st_rdev == before and not Path("/dev/null").is_file()


def test_write_errors(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path, words in [(tmp_path, "is a folder"), (tmp_path / "no" / "x", "there is no folder"), (loop, "loop")]:
        with pytest.raises(DataError, match=words):
            write_lines(path, ["a"])
    if Path("/dev/full").exists():
        with pytest.raises(DataError, match="/dev/full: cannot be written \\(No space left"):
            write_lines("/dev/full", ["a" * 100_000])
    with pytest.raises(DataError, match="cannot be written"):
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
        try:
            write_lines(tmp_path / "big", ["a" * 100_000])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert list(tmp_path.iterdir()) == [loop]
