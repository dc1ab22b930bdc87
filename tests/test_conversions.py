"""Lines of public corpora become lines of two columns."""

import gzip

import pytest

from sequencing.fetch.conversions import CONVERSIONS, ENCODINGS, Format, converted
from sequencing_np.errors import DataError


def lines(convert: str, data: bytes, encoding: str = "utf-8", **codes: str) -> list[str]:
    chunks = [data[n : n + 3] for n in range(0, len(data), 3)]  # cut anywhere
    return list(converted(chunks, "f.txt", Format(convert, encoding, codes)))


@pytest.mark.parametrize(
    ("convert", "line", "expected"),
    [
        ("lines", "a\tb", "a\tb"),
        ("columns", "a\tb\tc", "a\tb"),
        ("columns", "A cat .\tcat ( x _ 1 )\tin_distribution", "A cat .\tcat ( x _ 1 )"),
        ("scan", "IN: jump twice OUT: I_JUMP I_JUMP", "jump twice\tI_JUMP I_JUMP"),
        ("cmudict", "A  AH0", "A\tAH0"),
        ("cmudict", "A(1)  EY1", "A\tEY1"),
        ("cmudict", "D'ARTAGNAN  D AH0 R # French", "D'ARTAGNAN\tD AH0 R"),
        ("cmudict", "'CAUSE  K AH Z", "'CAUSE\tK AH Z"),
        ("cmudict_without_stress", "ABOUT(2)  AH0 B AW1 T", "ABOUT\tAH B AW T"),
        ("sigmorphon_inflection", "bo\tV;NEG;ABS(2,DU)\tmub", "b o <V> <NEG> <ABS(2,DU)>\tm u b"),
        ("sigmorphon_inflection", "a b\tV\tc d", "a _ b <V>\tc _ d"),
    ],
)
def test_lines(convert, line, expected) -> None:
    assert lines(convert, f"{line}\n".encode()) == [expected]


def test_manythings_in_both_directions() -> None:
    data = b"Go.\tGeh.\tCC-BY 2.0 (France) Attribution: tatoeba.org\nHi.\tHallo!\n"
    assert lines("manythings", data, source="eng", target="deu") == ["Go.\tGeh.", "Hi.\tHallo!"]
    assert lines("manythings", data, source="deu", target="eng") == ["Geh.\tGo.", "Hallo!\tHi."]


def test_comments_are_no_pairs() -> None:
    assert lines("cmudict", b";;; # CMUdict\n\nA  AH0\n;;;\n") == ["A\tAH0"]


def test_latin_1_line_by_line() -> None:
    data = b"D\xc9J\xc0  D EY2\nD\xc3\x89J\xc3\x80  D EY2\nA  AH0"
    assert lines("cmudict", data, "utf-8 or latin-1") == ["DÉJÀ\tD EY2", "DÉJÀ\tD EY2", "A\tAH0"]
    with pytest.raises(DataError, match=r"f\.txt:1: bytes c9 4a c0 20 are not UTF-8"):
        lines("cmudict", data)


@pytest.mark.parametrize("data", [b"", b"a", b"a\n", b"a\nb", b"a\n\nb\n"])
def test_lines_are_kept(data) -> None:
    expected = data.decode().removesuffix("\n").split("\n") if data else []
    for encoding in ENCODINGS:
        assert lines("lines", data, encoding) == expected


def test_packed_text_is_unpacked() -> None:
    assert lines("scan", gzip.compress(b"IN: a OUT: b\n")) == ["a\tb"]


@pytest.mark.parametrize(
    ("convert", "line", "words"),
    [
        ("columns", "one", "one column instead of two or more: 'one'"),
        ("scan", "jump twice", "not of the form 'IN: command OUT: actions'"),
        ("cmudict", "WORD", "a word without phones"),
        ("sigmorphon_inflection", "a\tb", "2 columns instead of lemma, features, form"),
        ("manythings", "one", "one column"),
    ],
)
def test_other_lines_are_named(convert, line, words) -> None:
    good = {"columns": "a\tb", "scan": "IN: a OUT: b", "cmudict": "A  AH0", "manythings": "a\tb"}.get(
        convert, "a\tV\tb"
    )
    with pytest.raises(DataError) as caught:
        lines(convert, f"{good}\n{line}\n".encode(), source="eng")
    assert str(caught.value).startswith(f"f.txt:2: {words}")


def test_scan_as_it_was(shared_data) -> None:
    rows = gzip.open(shared_data("scan") / "simple.test.tsv.gz").read().decode().split("\n")[:-1]
    original = "".join(f"IN: {source} OUT: {target}\n" for source, target in (row.split("\t") for row in rows))
    assert lines("scan", original.encode()) == rows


def test_inflection_as_it_is_used(shared_data) -> None:
    """The characters and features of real lines, put together again by hand, give the same lines."""
    rows = gzip.open(shared_data("sigmorphon2023-inflection") / "tur.dev.tsv.gz").read().decode().split("\n")[:-1]
    original = []
    for row in rows:
        source, target = row.split("\t")
        lemma, _, features = source.partition(" <")
        spelt = [text.replace(" ", "").replace("_", " ") for text in (lemma, target)]
        original.append(f"{spelt[0]}\t{features[:-1].replace('> <', ';')}\t{spelt[1]}\n")
    assert lines("sigmorphon_inflection", "".join(original).encode()) == rows


def test_every_conversion_is_tested() -> None:
    assert set(CONVERSIONS) == {
        "lines", "columns", "manythings", "scan", "cmudict", "cmudict_without_stress", "sigmorphon_inflection",
    }  # fmt: skip
