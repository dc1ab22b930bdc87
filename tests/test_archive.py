"""Zip archives of strangers: what is unpacked, and what is not."""

import io
import os
import stat
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencing.fetch import archive as module
from sequencing.fetch.archive import fault_of, open_archive
from sequencing_np.errors import DataError


def packed(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return path


def refused(path: Path) -> str:
    with pytest.raises(DataError) as caught, open_archive(path) as archive:
        for name in archive.names:
            for _ in archive.chunks(name):
                pass
    return str(caught.value)


def test_members(tmp_path) -> None:
    text = b"eins\nzwei\n" * 100_000
    path = packed(tmp_path / "a.zip", {"README": b"", "sub/": b"", "sub/text.de": text})
    with open_archive(path) as archive:
        assert archive.names == ["README", "sub/text.de"]
        assert b"".join(archive.chunks("sub/text.de")) == text and archive.size_of("sub/text.de") == len(text)
        assert list(archive.chunks("README")) == []


# T07
OUTSIDE = [
    "/etc/passwd", "//host/share", "../up", "a/../../up", "a/..", "..", "..\\up", "a\\..\\..\\up", "\\root", "C:\\up",
    "c:up", "C:/up", "~/up", "~root", "a\0b", "a\nb", "\x1b[2J", "", " ", ".", "./a", "a/./b", "a//b", "a:stream",
    "nul", "a/CON", "com1.txt", "a. ", "a/b.", "a/b ",
]  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_paths_outside(tmp_path, name) -> None:
    assert fault_of(name)
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("N" * max(len(name), 1), b"text")
    raw = data.getvalue().replace(b"N" * max(len(name), 1), name.encode() or b"\0")  # zipfile itself tidies names up
    path = tmp_path / "a.zip"
    path.write_bytes(raw)
    text = refused(path)
    assert "is not allowed" in text or "no zip archive" in text, text
    assert "\0" not in text and "\n" not in text and "\x1b" not in text


@given(st.text(max_size=12, alphabet="ab..//\\:~ \0Cé"))
def test_what_is_allowed_stays_in_its_folder(name: str) -> None:
    if not fault_of(name):
        folder = "/somewhere/folder"
        assert os.path.commonpath([folder, os.path.normpath(f"{folder}/{name}")]) == folder
        assert not Path(name).is_absolute() and os.path.normpath(name) == name


@pytest.mark.parametrize(
    "name", ["a", "Tatoeba.de-en.de", "sub/deep/text.en", "a b", "ärger", "..a", "a..b", "_about.txt"]
)
def test_paths_inside(name) -> None:
    assert fault_of(name) == ""


def test_links(tmp_path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        link = zipfile.ZipInfo("link")
        link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        file.writestr(link, "/etc/passwd")
    assert "'link' is a link" in refused(path)


def test_bombs(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "SMALLEST_BOMB", 1 << 16)
    path = packed(tmp_path / "a.zip", {"zeros": bytes(1 << 20)})
    assert "more than 250 times as many" in refused(path)
    monkeypatch.setattr(module, "MOST_ENTRIES", 3)
    assert "it has 4 entries; 3 are allowed" in refused(packed(tmp_path / "b.zip", dict.fromkeys("abcd", b"x")))


def test_a_member_that_lies_of_its_size(tmp_path) -> None:
    """The size in the directory is made smaller: what is unpacked is never more than was said."""
    text = b"abcdefgh" * 5000
    path = packed(tmp_path / "a.zip", {"text": text})
    size = len(text).to_bytes(4, "little")
    raw = path.read_bytes()
    assert raw.count(size) == 2
    path.write_bytes(raw.replace(size, (100).to_bytes(4, "little")))
    assert "a.zip" in refused(path)


def test_entries_over_one_another(tmp_path) -> None:
    path = packed(tmp_path / "a.zip", {"a": os.urandom(5000), "b": os.urandom(5000)})
    raw = path.read_bytes()
    first = raw.index(b"PK\x01\x02")
    second = raw.index(b"PK\x01\x02", first + 4)
    size = (4000).to_bytes(4, "little")
    end = raw.index(b"PK\x05\x06")
    large = bytearray(raw)
    for entry in (first, second):
        assert entry < end
        large[entry + 20 : entry + 24] = (1 << 20).to_bytes(4, "little")
    path.write_bytes(bytes(large))
    assert size and "lie over one another" in refused(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_one_name_twice(tmp_path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("Text", b"1")
        file.writestr("text", b"2")
    assert "two entries 'text'" in refused(path)


def test_passwords(tmp_path) -> None:
    path = packed(tmp_path / "a.zip", {"text": b"x"})
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x03\x04") + 6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(raw)
    assert "locked with a password" in refused(path)


def test_every_cut_and_many_changes(tmp_path) -> None:
    """Damage is an error of ours, or does no harm; never another exception."""
    text = bytes(range(20)) + b"text" * 9
    whole = packed(tmp_path / "whole.zip", {"a": text, "b": text}).read_bytes()
    path = tmp_path / "damaged.zip"
    damaged = [whole[:cut] for cut in range(0, len(whole), 7)]
    damaged += [whole[:n] + bytes([whole[n] ^ bit]) + whole[n + 1 :] for n in range(len(whole)) for bit in (1, 0x80)]
    for data in damaged:
        path.write_bytes(data)
        try:
            with open_archive(path) as archive:
                for name in archive.names:
                    assert b"".join(archive.chunks(name)) == text
        except DataError as error:
            assert str(path) in str(error)
