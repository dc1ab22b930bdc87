"""The catalogue: every entry is complete, pinned and allowed; languages fill its texts; one's own file is checked."""

import re
from dataclasses import fields, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pages import DOCS, fences
from sequencing.fetch.archive import fault_of
from sequencing.fetch.catalogue import OWN, TAKES, Listed, MadeFile, RemoteFile, read_catalogue, want
from sequencing.fetch.conversions import CONVERSIONS, ENCODINGS
from sequencing_np.errors import ConfigError, UsageError

CATALOGUE = read_catalogue()
EACH = pytest.mark.parametrize("listed", CATALOGUE.corpora, ids=lambda listed: listed.name)
COMMIT = r"https://raw\.githubusercontent\.com/[^/]+/[^/]+/[0-9a-f]{40}/.+"
VERSION = r"https://object\.pouta\.csc\.fi/OPUS-([A-Za-z0-9-]+)/v[0-9][^/]*/moses/[a-z]+-[a-z]+\.txt\.zip"
MOVING = {"manythings"}  # whose addresses name no version


# --- the project's own ----------------------------------------------------------------------------------------------


@EACH
def test_what_every_entry_says(listed: Listed) -> None:
    for text in (listed.title, listed.languages, listed.size, listed.attribution, listed.licence.name):
        assert text.strip() == text and len(text) >= 2, text
    assert listed.page.startswith(("https://", "http://"))
    assert len(listed.licence.allows.split()) > 1
    assert not listed.licence.address or listed.licence.address.startswith("https://")
    if "none stated" in listed.licence.name:
        assert listed.unverified, "what is not known is said"
    assert listed.takes in TAKES and (not listed.example or want(listed, listed.example))


@EACH
def test_every_address_is_pinned(listed: Listed) -> None:
    for file in want(listed, listed.example or None).files:
        parts = urlsplit(file.address)
        assert parts.scheme == "https" and not parts.query and "{" not in file.address, file.address
        pinned = re.fullmatch(COMMIT, file.address) or re.fullmatch(VERSION, file.address)
        assert pinned or listed.name in MOVING, file.address
        assert not re.search(r"/(master|main|HEAD|latest)/", file.address)
        if "raw.githubusercontent.com" in file.address:
            repository = "/".join(parts.path.split("/")[1:3])
            assert repository.split("/")[0] in listed.page + listed.licence.address or listed.name == "cmudict-split"


@EACH
def test_every_output_is_made_of_something(listed: Listed) -> None:
    wanted = want(listed, listed.example or None)
    names = {file.name for file in wanted.files}
    for output in wanted.outputs:
        assert {*output.files} <= names and not fault_of(output.name)
        assert output.member or not output.files[0].endswith(".zip"), "a zip file is unpacked"
        assert output.convert or output.member, "what is neither converted nor unpacked would be a copy"
    used = {name for output in wanted.outputs for name in output.files}
    assert used == names or not wanted.outputs, "nothing is fetched for nothing"


@EACH
def test_every_choice_can_be_wanted(listed: Listed) -> None:
    seen = set()
    for choice in listed.choices or listed.folders:
        wanted = want(listed, choice)
        assert wanted.folder == f"{listed.name}.{choice}"
        seen.add(tuple(file.address for file in wanted.files))
    assert len(seen) == len(listed.choices or listed.folders)


def test_sums_are_those_of_the_files_themselves() -> None:
    """None is known of any of these very files; one that is filled in must be."""
    assert all(file.sha256 == "" for listed in CATALOGUE.corpora for file in listed.files)


def test_names() -> None:
    names = [listed.name for listed in CATALOGUE.corpora]
    assert {"manythings", "opus-tatoeba", "multi30k", "cmudict", "scan", "cogs", "sigmorphon2021-g2p"} <= set(names)
    assert "master" not in OWN.read_text("utf-8")
    used = {output.convert for listed in CATALOGUE.corpora for output in listed.outputs} - {""}
    assert used == set(CONVERSIONS), "every conversion is that of a corpus"


def test_the_page_has_the_catalogue() -> None:
    """docs/data.md: a row for each corpus, in its order, with its licence and what it takes."""
    page = (DOCS / "data.md").read_text("utf-8")
    table = page[page.index("## What there is") : page.index("## What a folder holds")]
    rows = re.findall(r"^\| `([^`]+)` \|(.*)\|$", table, flags=re.MULTILINE)
    expected = [(listed.name, row_of(listed)) for listed in CATALOGUE.corpora]
    assert [name for name, _ in rows] == [name for name, _ in expected]
    for (name, found), (_, row) in zip(rows, expected, strict=True):
        assert [cell.strip() for cell in found.split("|")] == row, f"docs/data.md, {name}: the catalogue says {row}"


def test_the_page_has_the_form_of_a_catalogue(tmp_path) -> None:
    """docs/data.md: its example can be read, and its tables name every key and every row."""
    page = DOCS / "data.md"
    (example,) = (fence.body for fence in fences(page) if fence.language == "toml")
    assert want(read(tmp_path, example), None).outputs[0].name == "minutes.tsv"
    text = page.read_text("utf-8")
    own = text[text.index("## A catalogue of one's own") :]
    keys = {field.name for kind in (Listed, MadeFile, RemoteFile) for field in fields(kind)}
    codes = {f"{{{code}}}" for takes in TAKES.values() for code in takes.codes}
    for name in keys | codes | {*TAKES, *CONVERSIONS, *ENCODINGS}:
        assert f"`{name}`" in own, name


def row_of(listed: Listed) -> list[str]:
    """What the page says of an entry."""
    languages = f"`--languages {listed.example}`" if listed.example else "–"
    licence = f"[{listed.licence.name}]({listed.licence.address})" if listed.licence.address else listed.licence.name
    return [listed.title, languages, licence + ("" if not listed.unverified else " (1)")]


# --- languages ------------------------------------------------------------------------------------------------------


def test_pairs_are_found_in_either_order() -> None:
    for languages in ("de-en", "en-de"):
        wanted = want(CATALOGUE.find("opus-tatoeba"), languages)
        (file,) = wanted.files
        assert file.address == "https://object.pouta.csc.fi/OPUS-Tatoeba/v2023-04-12/moses/de-en.txt.zip"
        assert file.name == "Tatoeba.de-en.txt.zip" and wanted.folder == f"opus-tatoeba.{languages}"
        assert [each.name for each in wanted.outputs[:2]] == ["Tatoeba.de-en.de", "Tatoeba.de-en.en"]


def test_manythings() -> None:
    wanted = want(CATALOGUE.find("manythings"), "deu-eng")
    assert wanted.files[0].address == "https://www.manythings.org/anki/deu-eng.zip"
    assert [(each.name, each.member) for each in wanted.outputs[:2]] == [("deu-eng.tsv", "deu.txt"), ("deu.txt",) * 2]


def test_folders_of_a_language() -> None:
    assert "/data/high/eng_us_train.tsv" in want(CATALOGUE.find("sigmorphon2021-g2p"), "eng_us").files[0].address
    assert "/data/medium/dut_dev.tsv" in want(CATALOGUE.find("sigmorphon2021-g2p"), "dut").files[1].address


@pytest.mark.parametrize(
    ("name", "languages", "words"),
    [
        ("scan", "de-en", "scan comes as a whole; leave it out"),
        ("opus-tatoeba", None, "give --languages, two codes SOURCE-TARGET, as in --languages de-en"),
        ("opus-tatoeba", "de", "takes two codes"),
        ("opus-tatoeba", "de-de", "takes two codes"),
        ("opus-tatoeba", "../../x-en", "takes two codes"),
        ("opus-tatoeba", "de-en/..", "takes two codes"),
        ("opus-tatoeba", "", "takes two codes"),
        ("manythings", "deu-fra", "one of them eng"),
        ("multi30k", "en-cs", "it has en-de, de-en, en-fr"),
        ("sigmorphon2021-g2p", "deu", "it has eng_us, arm_e"),
        ("wmt22-general", "en-zh", "it has en-de, de-en"),
    ],
)
def test_languages_that_are_not_there(name, languages, words) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        want(CATALOGUE.find(name), languages)


def test_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean 'multi30k'"):
        CATALOGUE.find("multi3k")


# --- a catalogue of one's own ---------------------------------------------------------------------------------------

MINE = """
[[corpora]]
name = "mine"
title = "My corpus"
languages = "Upper and Lower Sorbian"
size = "little"
page = "https://example.org/"
attribution = "me"
licence = { name = "CC0", allows = "any use" }

[[corpora.files]]
address = "https://example.org/pairs.zip"
size = 12345
sha256 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

[[corpora.outputs]]
name = "pairs.tsv"
files = ["pairs.zip"]
member = "pairs.txt"
convert = "columns"
"""


def read(tmp_path: Path, text: str) -> Listed:
    path = tmp_path / "mine.toml"
    path.write_bytes(text.encode())
    return read_catalogue(path).corpora[0]


def test_ones_own(tmp_path) -> None:
    listed = read(tmp_path, MINE)
    assert listed.files[0].name == "pairs.zip" and want(listed, None).folder == "mine"
    assert replace(listed.files[0], name="other").name == "other"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "mine"', 'name = "../mine"', "must be small letters"),
        ('title = "My corpus"', 'titel = "My corpus"', "did you mean 'title'"),
        ('title = "My corpus"', "", "the key 'title' is missing"),
        ("https://example.org/pairs.zip", "file:///etc/passwd", "must begin with https://HOST/"),
        ("https://example.org/pairs.zip", "https:///pairs.zip", "must begin with https://HOST/"),
        ("https://example.org/pairs.zip", "https://example.org:99999/pairs.zip", "out of range"),
        ("https://example.org/pairs.zip", "https://me:secret@example.org/pairs.zip", "no user name or password"),
        ("https://example.org/pairs.zip", "https://example.org/pairs one.zip", "without spaces"),
        ("https://example.org/pairs.zip", "https://example.org/", "it is empty"),
        ("https://example.org/pairs.zip", "https://example.org/{pair}/pairs.zip", "{pair}: unknown code"),
        ("size = 12345", "size = -1", "must be 0 (not known) or more"),
        ('sha256 = "0', 'sha256 = "X', "must be 64 digits"),
        ('name = "pairs.tsv"', 'name = "../pairs.tsv"', "leads out of the folder"),
        ('name = "pairs.tsv"', 'name = "/pairs.tsv"', "does not begin in the folder"),
        ('name = "pairs.tsv"', 'name = "fetched.json"', "is kept for"),
        ('name = "pairs.tsv"', 'name = "original/x"', "is kept for"),
        ('files = ["pairs.zip"]', 'files = ["pair.zip"]', "did you mean 'pairs.zip'"),
        ('files = ["pairs.zip"]', "files = []", "give at least one"),
        ('convert = "columns"', 'convert = "column"', "did you mean 'columns'"),
        ('convert = "columns"', 'encoding = "utf-16"', "encoding"),
        ("licence = {", 'takes = "pears"\nlicence = {', "did you mean 'pair'"),
        ("licence = {", 'takes = "pair"\nlicence = {', "an example of --languages"),
        ('size = "little"', 'size = "little"\nexample = "de-en"', "an example of --languages"),
    ],
)
def test_mistakes_in_it_are_named(tmp_path, old, new, words) -> None:
    assert old in MINE
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, MINE.replace(old, new, 1))
    assert words in str(caught.value) and "mine.toml" in str(caught.value)


def test_two_of_one_name(tmp_path) -> None:
    with pytest.raises(ConfigError, match="'mine' stands there twice"):
        read(tmp_path, MINE + MINE)
    with pytest.raises(ConfigError, match="two of its files have one name"):
        read(tmp_path, MINE + '[[corpora.files]]\naddress = "https://example.org/other/pairs.zip"\n')
