"""`sequencing fetch`: a corpus of the catalogue becomes a folder, from a server on this machine."""

import gzip
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from file_server import Site, serving
from sequencing.__main__ import main
from sequencing.fetch.catalogue import read_catalogue
from sequencing.process import alone

ENTRY = """
title = "Pairs of the test"
languages = "German and English"
size = "two pairs"
page = "https://example.org/"
attribution = "Nobody, 2026"
licence = { name = "CC0 1.0", allows = "any use at all", address = "https://example.org/cc0" }
"""

CATALOGUE = f"""
[[corpora]]
name = "zipped"
takes = "pair"
example = "de-en"
note = "Shuffle it."
{ENTRY}
[[corpora.files]]
address = "ROOT/{{pair}}.txt.zip"

[[corpora.outputs]]
name = "Pairs.{{first}}"
files = ["{{pair}}.txt.zip"]
member = "Pairs.{{pair}}.{{first}}"

[[corpora.outputs]]
name = "swapped/{{source}}-{{target}}.tsv"
files = ["{{pair}}.txt.zip"]
member = "table.tsv"
convert = "columns"

[[corpora.outputs]]
name = "README"
files = ["{{pair}}.txt.zip"]
member = "README"
optional = true

[[corpora]]
name = "plain"
{ENTRY}
[[corpora.files]]
address = "ROOT/train.de.gz"

[[corpora.files]]
address = "ROOT/train.en.gz"

[[corpora]]
name = "pieces"
{ENTRY}
[[corpora.files]]
address = "ROOT/a.txt"
sha256 = "SUM"

[[corpora.files]]
address = "ROOT/b.txt"

[[corpora.outputs]]
name = "all.tsv"
files = ["a.txt", "b.txt"]
convert = "scan"
"""

PIECE = b"IN: jump OUT: I_JUMP\n"


def packed(members: dict[str, str]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        for name, text in members.items():
            file.writestr(zipfile.ZipInfo(name), text.encode())
    return data.getvalue()


FILES = {
    "/de-en.txt.zip": packed({"Pairs.de-en.de": "eins\nzwei\n", "table.tsv": "a\tb\tc\nd\te\n", "extra": ""}),
    "/train.de.gz": gzip.compress(b"eins\n", mtime=0),
    "/train.en.gz": gzip.compress(b"one\n", mtime=0),
    "/a.txt": PIECE,
    "/b.txt": b"IN: run twice OUT: I_RUN I_RUN",
}


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site(files=dict(FILES))) as served:
        yield served


Fetch = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def fetch(site, tmp_path, capsys, monkeypatch) -> Fetch:
    """Runs `sequencing fetch` with the catalogue of the site, in an empty folder: exit code, lines, what was said."""
    own = tmp_path / "corpora.toml"
    text = CATALOGUE.replace("ROOT", site.root).replace("SUM", hashlib.sha256(PIECE).hexdigest())
    own.write_text(text, "utf-8")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def call(*arguments: object) -> tuple[int, list[str], str]:
        code = main(["fetch", "--catalogue", str(own), *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out.split("\n")[:-1], err

    return call


def record(folder: str) -> dict:
    return json.loads(Path(folder, "fetched.json").read_bytes())


# --- what it makes --------------------------------------------------------------------------------------------------


def test_a_zip_archive(fetch, site) -> None:
    code, lines, err = fetch("zipped", "--languages", "en-de")
    assert (code, lines) == (0, ["zipped.en-de/Pairs.de", "zipped.en-de/swapped/en-de.tsv"])
    assert Path("zipped.en-de/Pairs.de").read_bytes() == b"eins\nzwei\n"
    assert Path("zipped.en-de/swapped/en-de.tsv").read_bytes() == b"a\tb\nd\te\n"
    assert Path("zipped.en-de/original/de-en.txt.zip").read_bytes() == FILES["/de-en.txt.zip"]
    size = f"{len(FILES['/de-en.txt.zip'])} bytes"
    assert f"\nde-en.txt.zip: {size}, 0 s" in err and "\nzipped.en-de/Pairs.de: 10 bytes, 0 s" in err
    found = {path.relative_to("zipped.en-de").as_posix() for path in Path("zipped.en-de").rglob("*") if path.is_file()}
    expected = {"fetched.json", "LICENCE.txt", "Pairs.de", "swapped/en-de.tsv", "original/de-en.txt.zip"}
    assert found == expected


def test_licence_and_record(fetch, site) -> None:
    _, _, err = fetch("zipped", "--languages", "de-en", "--to", "data")
    licence = Path("data/LICENCE.txt").read_text("utf-8")
    assert err.startswith(licence), "it is shown before anything is fetched"
    for words in (
        "Pairs of the test (zipped de-en)",
        "CC0 1.0: any use at all",
        "https://example.org/cc0",
        "Nobody, 2026",
    ):
        assert words in licence
    assert "Shuffle it." in licence and f"{site.root}/de-en.txt.zip" in licence
    found, data = record("data"), FILES["/de-en.txt.zip"]
    assert found["whole"] and (found["corpus"], found["languages"]) == ("zipped", "de-en")
    file = found["files"]["de-en.txt.zip"]
    assert file["address"] == f"{site.root}/de-en.txt.zip" and file["date"] <= found["date"]
    assert (file["size"], file["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert file["sha256_from"] == "first download" and found["licence"]["name"] == "CC0 1.0"
    assert found["outputs"]["Pairs.de"] == {"size": 10, "sha256": hashlib.sha256(b"eins\nzwei\n").hexdigest()}


def test_files_as_they_come(fetch) -> None:
    assert fetch("plain")[:2] == (0, ["plain/train.de.gz", "plain/train.en.gz"])
    assert gzip.open("plain/train.de.gz").read() == b"eins\n" and not Path("plain/original").exists()


def test_pieces_are_put_together(fetch) -> None:
    assert fetch("pieces")[:2] == (0, ["pieces/all.tsv"])
    assert Path("pieces/all.tsv").read_bytes() == b"jump\tI_JUMP\nrun twice\tI_RUN I_RUN\n"
    found = record("pieces")["files"]
    assert [found[name]["sha256_from"] for name in ("a.txt", "b.txt")] == ["catalogue", "first download"]


# --- again ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", "pieces"])
def test_what_is_there_is_not_fetched_again(fetch, site, name) -> None:
    first, before = fetch(name), len(site.asked)
    again = fetch(name)
    assert again[:2] == first[:2] and "all of it is there" in again[2] and len(site.asked) == before == 2
    shutil.rmtree("pieces/original", ignore_errors=True)
    assert fetch(name)[0] == 0 and len(site.asked) == before, "the originals may be removed"


def test_what_is_missing_or_changed_is_made_again(fetch, site) -> None:
    fetch("pieces")
    before = len(site.asked)
    Path("pieces/all.tsv").write_bytes(b"changed")
    assert fetch("pieces")[0] == 0 and Path("pieces/all.tsv").read_bytes().startswith(b"jump\t")
    Path("pieces/all.tsv").unlink()
    assert fetch("pieces")[0] == 0 and Path("pieces/all.tsv").exists() and len(site.asked) == before
    assert record("pieces")["files"]["b.txt"]["address"] == f"{site.root}/b.txt", "it keeps where it came from"


def test_a_cut_download_goes_on(fetch, site) -> None:
    site.cut, site.cuts = 5, 1
    code, lines, err = fetch("pieces")
    assert (code, lines) == (4, []) and "cut off after 5 of" in err and "call again to go on" in err
    assert not record("pieces")["whole"] and Path("pieces/original/a.txt.part").read_bytes() == PIECE[:5]
    assert fetch("pieces")[0] == 0 and record("pieces")["whole"]
    assert site.ranges_asked() == ["", "bytes=5-", ""]


def test_retries_are_said(fetch, site, monkeypatch) -> None:
    monkeypatch.setattr("sequencing.fetch.download.time.sleep", lambda _: None)
    site.cut, site.cuts = 5, 1
    code, _, err = fetch("pieces", "--retries", 1)
    assert code == 0 and "trying again in 1 s (1 of 1)" in err


def test_a_new_version_at_the_old_address(fetch, site) -> None:
    """What was recorded is compared, whether the file lies there or is fetched anew."""
    fetch("pieces")
    site.files["/b.txt"] = b"IN: other OUT: OTHER\n"
    Path("pieces/original/b.txt").unlink()
    Path("pieces/all.tsv").unlink()
    code, _, err = fetch("pieces")
    assert code == 4 and "as fetched.json, of an earlier download (take a new folder for a new version), says" in err
    assert Path("pieces/original/b.txt.bad").read_bytes() == site.files["/b.txt"] and "b.txt.bad" in err
    Path("pieces/original/b.txt").write_bytes(b"mine")
    code, _, err = fetch("pieces")
    assert code == 4 and "b.txt: has 4 bytes" in err and "remove it to fetch it again" in err
    assert fetch("pieces", "--to", "new")[0] == 0


def test_a_wrong_sum_of_the_catalogue(fetch, site) -> None:
    site.files["/a.txt"] = b"IN: other OUT: OTHER\n"
    code, _, err = fetch("pieces")
    assert code == 4 and "as the catalogue says" in err and hashlib.sha256(PIECE).hexdigest() in err
    assert not Path("pieces/original/a.txt").exists()


def test_a_file_that_was_put_there_by_hand(fetch, site) -> None:
    site.status = 403
    code, _, err = fetch("pieces")
    assert code == 4 and "get the file with a browser, save it as pieces/original/a.txt and call again" in err
    for name in ("a.txt", "b.txt"):
        Path("pieces/original", name).write_bytes(FILES[f"/{name}"])
    before = len(site.asked)
    assert fetch("pieces")[0] == 0 and len(site.asked) == before
    assert record("pieces")["files"]["b.txt"]["sha256_from"] == "found there"


# --- what it refuses ------------------------------------------------------------------------------------------------


def test_folders_of_others(fetch) -> None:
    Path("mine").mkdir()
    Path("mine/precious").write_bytes(b"")
    code, _, err = fetch("pieces", "--to", "mine")
    assert code == 2 and "holds files that were not fetched" in err
    assert [path.name for path in Path("mine").iterdir()] == ["precious"]
    code, _, err = fetch("pieces", "--to", "mine/precious")
    assert code == 2 and "is no folder" in err
    fetch("zipped", "--languages", "de-en", "--to", "data")
    for other in (("pieces",), ("zipped", "--languages", "en-de")):
        code, _, err = fetch(*other, "--to", "data")
        assert code == 2 and "holds zipped de-en" in err


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"{}", b'{"format": 1, "corpus": 3}', b"\xff", b'{"format": true}'])
def test_records_that_are_none(fetch, text) -> None:
    Path("data").mkdir()
    Path("data/fetched.json").write_bytes(text)
    code, _, err = fetch("pieces", "--to", "data")
    assert code == 4 and "data/fetched.json" in err and "give a new one (--to)" in err and "Traceback" not in err


def test_one_at_a_time(fetch) -> None:
    fetch("pieces")
    Path("pieces/all.tsv").unlink()
    with alone(Path("pieces"), "held by the test"):
        code, _, err = fetch("pieces")
    assert code == 2 and "another process is fetching into it" in err
    assert fetch("pieces")[0] == 0


def test_a_link_that_leads_out(fetch, tmp_path) -> None:
    fetch("zipped", "--languages", "de-en", "--to", "data")
    shutil.rmtree("data/swapped")
    (tmp_path / "outside").mkdir()
    Path("data/swapped").symlink_to(tmp_path / "outside")
    code, _, err = fetch("zipped", "--languages", "de-en", "--to", "data")
    assert code == 4 and "leads out of data" in err and not any((tmp_path / "outside").iterdir())


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"no zip archive at all", "no zip archive that can be unpacked"),
        (FILES["/de-en.txt.zip"][:-30], "no zip archive that can be unpacked"),
        (packed({"Pairs.de-en.de": "", "../up": "x"}), "'../up' is not allowed: it leads out of the folder"),
        (packed({"other": ""}), "no 'Pairs.de-en.de' in it; it has other"),
        (packed({"Pairs.de-en.de": "", "table.tsv": "one\n"}), "table.tsv:1: one column instead of two"),
        (b"<!DOCTYPE html>", "a web page instead of the file"),
    ],
)
def test_archives_that_are_none(fetch, site, body, words) -> None:
    site.files["/de-en.txt.zip"] = body
    if body.startswith(b"<"):
        site.headers = {"Content-Type": "text/html"}
    code, lines, err = fetch("zipped", "--languages", "de-en", "--to", "data")
    assert (code, lines) == (4, []) and words in err and "Traceback" not in err
    assert not record("data")["whole"] and not Path("data/swapped/de-en.tsv").exists()
    site.files["/de-en.txt.zip"], site.headers = FILES["/de-en.txt.zip"], {}
    shutil.rmtree("data/original")
    assert fetch("zipped", "--languages", "de-en", "--to", "data")[0] == 0, "a bad file is not the one to compare with"


def test_a_pair_that_is_not_there(fetch, site) -> None:
    code, _, err = fetch("zipped", "--languages", "de-fr")
    assert (
        code == 4 and f"{site.root}/de-fr.txt.zip: the server answers 404" in err and "are the languages right?" in err
    )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "give the NAME of a corpus, or --list"),
        (["pieces", "--list"], 2, "give the NAME of a corpus, or --list"),
        (["piece"], 2, "did you mean 'pieces'"),
        (["zipped"], 2, "give --languages"),
        (["pieces", "--languages", "de-en"], 2, "comes as a whole"),
        (["pieces", "--retries", "-1"], 2, "--retries -1: must be from 0"),
        (["pieces", "--timeout", "0"], 2, "--timeout 0: must be above 0"),
        (["pieces", "--timeout", "soon"], 2, "invalid float value"),
        (["pieces", "--catalogue", "nowhere.toml"], 3, "nowhere.toml: cannot be read"),
    ],
)
def test_calls_that_make_no_sense(fetch, site, arguments, code, words) -> None:
    found, lines, err = fetch(*arguments)
    assert (found, lines) == (code, []) and words in err and err.count("\n") == 1
    assert not site.asked and not any(Path().iterdir())


# --- without a network ----------------------------------------------------------------------------------------------


def test_the_list(fetch, capsys) -> None:
    assert main(["fetch", "--list"]) == 0
    lines = capsys.readouterr().out.split("\n")[:-1]
    assert [line.split()[0] for line in lines] == [listed.name for listed in read_catalogue().corpora]
    assert any("multi30k" in line and "none stated" in line for line in lines)
    assert [line.split()[0] for line in fetch("--list")[1]] == ["zipped", "plain", "pieces"]


def test_the_licence_alone(fetch, site) -> None:
    code, lines, err = fetch("zipped", "--languages", "de-en", "--show")
    assert (code, err) == (0, "") and not site.asked and not any(Path().iterdir())
    assert f"from          {site.root}/de-en.txt.zip" in lines
