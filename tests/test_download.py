"""Downloads: whole, continued, refused; and how they are shown."""

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from file_server import BODY, Site, serving
from pages import ROOT
from sequencing.fetch import download as module
from sequencing.fetch.download import Download, Manners, download
from sequencing.fetch.meter import Meter, amount, duration
from sequencing.fetch.web import is_loopback
from sequencing_np.errors import ConfigError, DataError

SUM = hashlib.sha256(BODY).hexdigest()
BRIEF = Manners(timeout=5, pause=0.01)


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as served:
        yield served


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.bin"


class Said(Meter):
    """A meter that remembers."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        super().__init__(self.text)

    def __str__(self) -> str:
        return self.text.getvalue()


def refused(wanted: Download, manners: Manners = BRIEF) -> str:
    """What is said of a download that fails; nothing stands under the final name."""
    with pytest.raises(DataError) as caught:
        download(wanted, manners, Said())
    assert not wanted.path.exists()
    return str(caught.value)


def left(path: Path) -> set[str]:
    return {each.name for each in path.parent.iterdir()}


# --- whole files ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [True, False])
def test_a_whole_file(site, path, length) -> None:
    site.length = length
    said = Said()
    got = download(Download(site.address, path), BRIEF, said)
    assert path.read_bytes() == BODY and left(path) == {"file.bin"}
    assert got[:1] + got[2:] == (site.address, len(BODY), SUM) and got.date.endswith("+00:00")
    assert str(said).startswith("file.bin: 255 kB, ")
    wants = site.asked[0][1]
    assert wants["accept-encoding"] == "identity" and wants["user-agent"].startswith("sequencing/")
    assert "range" not in wants


def test_size_and_sum_are_compared(site, path) -> None:
    assert download(Download(site.address, path, len(BODY), SUM), BRIEF, Said()).sha256 == SUM


def test_proxies_of_the_environment_leave_this_machine_alone(site, path, monkeypatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://user:secret@127.0.0.1:9/")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert download(Download(site.address, path), BRIEF, Said()).size == len(BODY)
    text = refused(Download("http://corpus.invalid/x", path.with_name("x")))
    assert "refused" in text and "through the proxy 127.0.0.1, as the environment says" in text
    assert "secret" not in text


def test_loopback() -> None:
    assert all(map(is_loopback, ["localhost", "localhost:80", "127.0.0.1:8080", "[::1]:80", "127.9.9.9"]))
    assert not any(map(is_loopback, ["example.org", "10.0.0.1:80", "localhost.example.org", ""]))


# --- continuing -----------------------------------------------------------------------------------------------------


def cut_once(site: Site, path: Path, at: int = 100_003) -> None:
    site.cut = at
    text = refused(Download(site.address, path))
    assert f"cut off after {at:,} of {len(BODY):,} bytes" in text and "are kept: call again to go on" in text
    assert left(path) == {"file.bin.part", "file.bin.part.json"}
    assert path.with_name("file.bin.part").read_bytes() == BODY[:at]
    site.cut = 0


@pytest.mark.parametrize("at", [1, 100_003, len(BODY) - 1])
def test_goes_on_where_it_was_cut(site, path, at) -> None:
    cut_once(site, path, at)
    assert download(Download(site.address, path), BRIEF, Said()).sha256 == SUM
    assert path.read_bytes() == BODY and left(path) == {"file.bin"}
    assert site.ranges_asked() == ["", f"bytes={at}-"] and site.asked[1][1]["if-range"] == '"one"'


def test_goes_on_by_the_date_where_the_tag_is_weak(site, path) -> None:
    site.tag, site.modified = 'W/"one"', "Thu, 01 Jan 2026 00:00:00 GMT"
    cut_once(site, path)
    site.tag = site.modified  # what this server compares If-Range with
    assert download(Download(site.address, path), BRIEF, Said()).sha256 == SUM
    assert site.asked[1][1]["if-range"] == site.modified


def test_many_cuts_are_many_pieces(site, path) -> None:
    site.cut = 60_000
    said = Said()
    assert download(Download(site.address, path), Manners(5, 10, 0.001), said).sha256 == SUM
    assert site.ranges_asked() == ["", *(f"bytes={60_000 * n}-" for n in range(1, 5))]
    assert str(said).count("trying again in") == 4 and "(1 of 10)" in str(said)


def test_begins_again_where_ranges_are_ignored(site, path) -> None:
    cut_once(site, path)
    site.ranges = False
    said = Said()
    assert download(Download(site.address, path), BRIEF, said).sha256 == SUM
    assert path.read_bytes() == BODY and "sends all of it again" in str(said)


def test_begins_again_where_the_file_has_changed(site, path) -> None:
    cut_once(site, path)
    site.body, site.tag = BODY[::-1], '"two"'
    said = Said()
    download(Download(site.address, path), BRIEF, said)
    assert path.read_bytes() == BODY[::-1] and "sends all of it again" in str(said)
    assert site.ranges_asked() == ["", "bytes=100003-"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lying_range": 1}, "another part of it"),
        ({"body": BODY + b"more"}, "bytes now and had"),
        ({"headers": {"ETag": '"two"'}}, "another version now"),
        ({"body": BODY[:1000]}, "does not know the rest"),
    ],
)
def test_begins_again_where_the_server_errs(site, path, change, words) -> None:
    cut_once(site, path)
    for name, value in change.items():
        setattr(site, name, value)
    said = Said()
    download(Download(site.address, path), BRIEF, said)
    assert path.read_bytes() == site.body and words in str(said) and "it begins again" in str(said)
    assert site.ranges_asked() == ["", "bytes=100003-", ""]


@pytest.mark.parametrize(
    ("notes", "words"),
    [
        (None, "nobody knows"),
        (b"{", "nobody knows"),
        (b'{"address": "http://elsewhere/", "validator": "x", "total": 0}', "another address"),
        (b'{"address": "ADDRESS", "validator": "", "total": 0}', "by what to know this version"),
        (b'{"address": "ADDRESS", "validator": "x", "total": 3}', "of a file of 3"),
    ],
)
def test_what_cannot_be_continued_is_dropped(site, path, notes, words) -> None:
    path.with_name("file.bin.part").write_bytes(b"what is this?")
    if notes is not None:
        path.with_name("file.bin.part.json").write_bytes(notes.replace(b"ADDRESS", site.address.encode()))
    said = Said()
    assert download(Download(site.address, path), BRIEF, said).sha256 == SUM
    assert words in str(said) and site.ranges_asked() == [""]


def test_a_part_that_is_whole_needs_no_server(site, path) -> None:
    """As after a kill between the last byte and the renaming."""
    path.with_name("file.bin.part").write_bytes(BODY)
    notes = {"address": site.address, "validator": '"one"', "total": len(BODY)}
    path.with_name("file.bin.part.json").write_text(json.dumps(notes))
    assert download(Download(site.address, path), BRIEF, Said()).sha256 == SUM
    assert path.read_bytes() == BODY and not site.asked and left(path) == {"file.bin"}


def test_without_a_validator_a_known_sum_is_enough(site, path) -> None:
    site.tag = ""
    site.cut = 5000
    refused(Download(site.address, path, sha256=SUM))
    site.cut = 0
    assert download(Download(site.address, path, sha256=SUM), BRIEF, Said()).sha256 == SUM
    assert site.ranges_asked() == ["", "bytes=5000-"] and "if-range" not in site.asked[1][1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_process_goes_on(site, path, number) -> None:
    site.cut, site.silent = 70_000, 20.0
    code = (
        "import sys; from pathlib import Path; from sequencing.fetch.download import *; from sequencing.fetch.meter "
        "import Meter; download(Download(sys.argv[1], Path(sys.argv[2])), Manners(), Meter())"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", code, site.address, str(path)]
    part = path.with_name("file.bin.part")
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        for _ in range(2000):
            if part.exists() and part.stat().st_size:
                break
            time.sleep(0.01)
        process.send_signal(number)
        process.wait(timeout=20)
    assert not path.exists()
    kept = part.stat().st_size
    assert kept and part.read_bytes() == BODY[:kept]
    site.cut = 0
    assert download(Download(site.address, path), BRIEF, Said()).sha256 == SUM
    assert site.ranges_asked()[1] == f"bytes={kept}-"


# --- what goes wrong ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "answers 404 (Not Found); there is no such file"),
        (403, "get the file with a browser, save it as"),
        (406, "does not like this program"),
        (410, "newer catalogue"),
        (500, "answers 500 (Internal Server Error); call again later, or give --retries N"),
        (503, "answers 503"),
        (429, "too many requests"),
        (204, "answers 204 instead of the file"),
    ],
)
def test_answers_that_are_no_file(site, path, status, words) -> None:
    site.status = status
    text = refused(Download(site.address, path))
    assert site.address in text and words in text and "\n" not in text
    assert left(path) == set()


def test_only_what_may_pass_is_tried_again(site, path) -> None:
    site.status = 404
    refused(Download(site.address, path), Manners(5, 3, 0.001))
    assert len(site.asked) == 1
    site.status = 503
    refused(Download(site.address, path), Manners(5, 3, 0.001))
    assert len(site.asked) == 1 + 4


def test_no_silent_retry(site, path) -> None:
    site.status = 503
    refused(Download(site.address, path), BRIEF)
    assert len(site.asked) == 1


def test_silence(site, path) -> None:
    site.cut, site.silent = 1000, 2.0
    text = refused(Download(site.address, path), Manners(timeout=0.2))
    assert "fell silent (--timeout) after 1,000 bytes; 1.0 kB are kept" in text


def test_nobody_there(path) -> None:
    assert "the connection is refused" in refused(Download("http://127.0.0.1:9/x", path))
    assert "its host is not known" in refused(Download("http://nowhere.invalid/x", path))


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://host/x", "data:,x", "x"])
def test_other_schemes(path, address) -> None:
    assert "must begin with https://HOST/ or http://HOST/" in refused(Download(address, path))


def test_a_wrong_sum_keeps_the_file_aside(site, path) -> None:
    other = hashlib.sha256(b"other").hexdigest()
    text = refused(Download(site.address, path, sha256=other))
    assert f"its sha256 is {SUM} instead of {other}, as the catalogue says" in text and "file.bin.bad" in text
    assert left(path) == {"file.bin.bad"} and path.with_name("file.bin.bad").read_bytes() == BODY
    assert download(Download(site.address, path, sha256=SUM), BRIEF, Said()).sha256 == SUM


def test_a_wrong_size_is_seen_before_the_download(site, path) -> None:
    text = refused(Download(site.address, path, size=7))
    assert f"announces {len(BODY):,} bytes, and it should be 7" in text and left(path) == set()
    site.length = False
    assert "sends more than the 7 bytes" in refused(Download(site.address, path, size=7))
    path.with_name("file.bin.part").unlink()
    assert "instead of 999,999" in refused(Download(site.address, path, size=999_999))


def test_empty_files_and_web_pages(site, path) -> None:
    site.body = b""
    assert "it is empty" in refused(Download(site.address, path))
    site.body, site.headers = b"<html>log in</html>", {"Content-Type": "text/html; charset=utf-8"}
    assert "a web page instead of the file" in refused(Download(site.address, path))
    page = path.with_name("page.html")
    assert download(Download(site.address, page), BRIEF, Said()).size == 19


def test_packed_answers(site, path) -> None:
    site.headers = {"Content-Encoding": "gzip"}
    assert "packs it (gzip)" in refused(Download(site.address, path))
    packed = path.with_name("file.gz")  # some servers call that what a .gz file is
    assert download(Download(site.address, packed), BRIEF, Said()).sha256 == SUM


def test_a_full_disk(site, path, monkeypatch) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    @contextlib.contextmanager
    def opened(wanted: Download, start: int) -> Iterator[io.BytesIO]:
        yield Full()

    with monkeypatch.context() as patch:
        patch.setattr(module, "opened_part", opened)
        text = refused(Download(site.address, path))
    assert "No space left on device" in text and "make room and call again" in text
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    text = refused(Download(site.address, path))
    assert "255 kB are to come and 1.0 kB are free" in text


# --- redirects ------------------------------------------------------------------------------------------------------


def test_redirects_are_followed(site, path) -> None:
    site.location = "/moved?signature=secret"
    with serving(Site(location="/moved")) as other:
        site.location = other.address.replace("/file.bin", "/moved") + "?key=secret"
        other.location = ""
        got = download(Download(site.address, path), BRIEF, Said())
        assert got.sha256 == SUM and got.address == other.address.replace("/file.bin", "/moved")
        other.cut = 10
    assert "secret" not in str(got)


def test_a_redirected_file_goes_on(site, path) -> None:
    site.location = "/moved"
    site.cut, site.cuts = 9999, 1
    refused(Download(site.address, path))
    assert download(Download(site.address, path), BRIEF, Said()).sha256 == SUM
    assert site.ranges_asked() == ["", "", "bytes=9999-", "bytes=9999-"]


@pytest.mark.parametrize(
    ("location", "words"),
    [
        (
            "file:///etc/passwd",
            "leads to 'file:///etc/passwd', which is not followed: an address must begin with https://HOST/",
        ),
        ("ftp://host/file", "must begin with"),
        ("data:text/plain,x", "must begin with"),
        ("/file.bin", "redirect"),
        ("http://[bad/", "makes no sense"),
        ("http://127.0.0.1:none/", "makes no sense"),
        ("http://" + "a" * 70 + ".invalid/", "makes no sense"),
        ("http://user:word@nowhere.invalid/", "leads to 'http://nowhere.invalid/', which is not followed"),
        ("http://nowhere.invalid/", "host is not known"),
    ],
)
def test_redirects_that_are_not_followed(site, path, location, words) -> None:
    site.location = location
    assert re.search(words, refused(Download(site.address, path)))


def test_never_from_https_to_http() -> None:
    from urllib.request import Request

    from sequencing.fetch.web import Redirects

    with pytest.raises(DataError, match="not https; it is not followed"):
        Redirects().redirect_request(
            Request("https://host/x"),
            io.BytesIO(),
            302,
            "",
            None,
            "http://host/y",  # type: ignore[arg-type]
        )


# --- what is shown --------------------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def ticking(*moments: float) -> Callable[[], float]:
    times = iter(moments)
    return lambda: next(times)


def test_a_bar_on_a_terminal() -> None:
    screen = Terminal()
    meter = Meter(screen, clock=ticking(0, 0, 0.1, 10, 20, 30))
    meter.begin("corpus.zip", 1_000_000, 5_000_000)
    meter.move(1_100_000)  # too soon to be drawn
    meter.move(3_000_000)
    meter.move(4_000_000)
    meter.end()
    pictures = screen.getvalue().split("\r\x1b[K")
    assert pictures[0] == "██████████······ corpus.zip:  60% of 5.0 MB, 200 kB/s, 10 s left"
    assert pictures[1].endswith("corpus.zip:  80% of 5.0 MB, 150 kB/s, 7 s left")
    assert pictures[2] == "corpus.zip: 4.0 MB, 30 s, 100 kB/s\n"


def test_lines_in_a_log() -> None:
    log = io.StringIO()
    meter = Meter(log, every=10, clock=ticking(0, 0, 5, 11, 12, 22, 30))
    meter.begin("x", 0, 0)
    for now in (1, 2200, 2300, 4400):
        meter.move(now)
    meter.end()
    assert log.getvalue() == "x: 2.2 kB, 200 bytes/s\nx: 4.4 kB, 200 bytes/s\nx: 4.4 kB, 30 s, 147 bytes/s\n"


def test_a_closed_display_ends_nothing(site, path) -> None:
    closed = io.StringIO()
    closed.close()
    assert download(Download(site.address, path), BRIEF, Meter(closed)).sha256 == SUM


def test_amounts_and_durations() -> None:
    assert [amount(n) for n in (0, 999, 1000, 99_949, 99_951, 999_499, 999_999, 10**16)] == [
        "0 bytes", "999 bytes", "1.0 kB", "99.9 kB", "100 kB", "999 kB", "1.0 MB", "10000 TB",
    ]  # fmt: skip
    assert [duration(s) for s in (0, 59.4, 59.6, 185, 3599.6, 7800)] == [
        "0 s", "59 s", "1:00 min", "3:05 min", "1:00 h", "2:10 h",
    ]  # fmt: skip


def test_manners() -> None:
    for wrong in ({"timeout": 0}, {"timeout": -1}, {"retries": -1}, {"timeout": float("nan")}):
        with pytest.raises(ConfigError):
            Manners(**wrong)
