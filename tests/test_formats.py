"""Corpora in every format, packed in every way: the same rows, and every mistake named with file and line."""

import csv
import gzip
import hashlib
import importlib
import io
import json
import lzma
import os
import random
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sequencing.corpora import reading
from sequencing.corpora.cleaning import REASONS
from sequencing.corpora.formats import FORMATS, Block, CorpusConfig, Inputs, ReadOptions, parts_of, read_blocks
from sequencing.corpora.reading import Rows, regrouped
from sequencing_np.errors import ConfigError, DataError, SequencingError
from sequencing_np.text import read_lines

try:
    import zstandard
except ImportError:
    zstandard = None

NEEDS_ZSTD = pytest.mark.skipif(zstandard is None, reason="the package zstandard is not installed")


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3).compress(data)


PACKERS = {"plain": bytes, "gz": lambda data: gzip.compress(data, mtime=0), "xz": lzma.compress, "zst": zstd}
PACKED = [pytest.param(pack, id=name, marks=NEEDS_ZSTD if name == "zst" else ()) for name, pack in PACKERS.items()]
HERE = Path()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], str]:
    def write_bytes(name: str, data: bytes) -> str:
        (tmp_path / name).write_bytes(data)
        return str(tmp_path / name)

    return write_bytes


def blocks(*files: Any, options: ReadOptions | None = None, rows: int = 20_000, **config: Any) -> list[Block]:
    corpus = CorpusConfig("corpus", files, **config)
    return list(read_blocks([corpus], HERE, options or ReadOptions(), rows))


def pairs(*files: Any, **arguments: Any) -> list[tuple[str, str]]:
    found = blocks(*files, **arguments)
    return [pair for block in found for pair in zip(block.sources, block.targets, strict=True)]


def bad(*files: Any, **arguments: Any) -> dict[int, str]:
    """Line -> reason; both sides of such a row are empty."""
    found = {}
    for block in blocks(*files, **arguments):
        for row, reason in block.bad.items():
            assert (block.sources[row], block.targets[row]) == ("", "") and reason in REASONS
            found[block.numbers()[row]] = reason
    return found


# --- all formats ----------------------------------------------------------------------------------------------------

TEXT = st.text(
    st.one_of(st.sampled_from("ab \u2028\u0085\x0b\x1c\0\r\"',\\"), st.characters(codec="utf-8")), max_size=7
).map(lambda text: text.replace("\n", "").replace("\t", "").strip("\r\ufeff"))


def as_csv(rows: list[tuple[str, str]]) -> bytes:
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, quoting=csv.QUOTE_ALL)
    writer.writerows([("en", "de"), *rows])
    return sink.getvalue().encode()


def as_tsv(rows: list[tuple[str, str]]) -> bytes:
    return "".join(f"{source}\t{target}\n" for source, target in rows).encode()


def as_json(rows: list[tuple[str, str]]) -> bytes:
    return json.dumps([{"id": 7, "translation": {"en": source, "de": target}} for source, target in rows]).encode()


def as_jsonl(rows: list[tuple[str, str]]) -> bytes:
    return "".join(json.dumps({"en": source, "n": 1.5, "de": target}) + "\n" for source, target in rows).encode()


def as_files(rows: list[tuple[str, str]], pack: Callable[[bytes], bytes], write: Any) -> list[Any]:
    sides = [("".join(f"{text}\n" for text in side)).encode() for side in zip(*rows, strict=True)]
    files: list[Any] = [(write("a.en", pack(sides[0])), write("a.de", pack(sides[1])))]
    files += [write("a.any", pack(as_tsv(rows))), write("a.csv.gz", pack(as_csv(rows)))]
    return [*files, write("a.json.xz", pack(as_json(rows))), write("a.JSONL.zst", pack(as_jsonl(rows)))]


@pytest.mark.parametrize("pack", PACKED)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(rows=st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=11))
def test_every_format_gives_the_same_rows(pack: Any, write: Any, rows: list[tuple[str, str]]) -> None:
    """The name of a file says its format, its first bytes say how it is packed; only LF separates lines (D06, D07)."""
    for file in as_files(rows, pack, write):
        is_csv = isinstance(file, str) and file.endswith(".csv.gz")  # a lone CR is no text of a row there
        assert pairs(file) == ([tuple(text.replace("\r", " ") for text in row) for row in rows] if is_csv else rows)
        assert [len(block.sources) for block in blocks(file, rows=3)] == [3] * (len(rows) // 3) + [len(rows) % 3] * (
            len(rows) % 3 > 0
        )


def test_blocks_say_where_their_rows_stand(write: Any) -> None:
    first, second = write("a.tsv", as_tsv([(str(n), str(n)) for n in range(7)])), write("b.tsv", b"x\ty")
    corpora = [CorpusConfig("one", (first,)), CorpusConfig("two", (second, first))]
    found = list(read_blocks(corpora, HERE, ReadOptions(), rows=5))
    assert [(block.corpus, block.file, block.first, len(block.sources)) for block in found] == [
        (0, first, 1, 5), (0, first, 6, 2), (1, second, 1, 1), (1, first, 1, 5), (1, first, 6, 2),
    ]  # fmt: skip
    assert found[1].sources == ["5", "6"] and list(found[1].numbers()) == [6, 7]


def test_what_was_read_is_printed(write: Any) -> None:
    data = gzip.compress(b"a\tA\r\nb\tB\n")
    files = [write("a.tsv", data), (write("a.en", b"\xef\xbb\xbfa\nb"), write("a.de", b"A\nB\n")), write("b.csv", b"")]
    files.append(write("a.json", b'[{"a": "x", "b": "y"}]'))
    inputs = Inputs()
    list(read_blocks([CorpusConfig("c", tuple(files))], HERE, ReadOptions(), inputs=inputs))
    assert [(print.file, print.lines) for print in inputs.prints] == [
        (files[0], 2), (files[1][0], 2), (files[1][1], 2), (files[2], 0), (files[3], 1),
    ]  # fmt: skip
    assert inputs.prints[0][1:3] == (len(data), hashlib.sha256(data).hexdigest())
    assert inputs.prints[4][1:3] == (22, hashlib.sha256(b'[{"a": "x", "b": "y"}]').hexdigest())
    assert (inputs.reading.bom, inputs.reading.crlf) == (1, 1)


@given(st.lists(st.integers(0, 7), max_size=9), st.integers(1, 11))
def test_rows_are_regrouped_in_order(sizes: list[int], rows: int) -> None:
    parts, number = [], 0
    for size in sizes:
        numbers = list(range(number, number + size))
        texts = [str(n) for n in numbers]
        marked = dict.fromkeys(range(0, size, 3), "columns")
        parts.append(Rows(numbers, list(texts), list(texts), marked))
        number += size
    wrong = {part.lines[row] for part in parts for row in part.bad}
    found = list(regrouped(parts, rows))
    assert [len(part.sources) for part in found[:-1]] == [rows] * (len(found) - 1)
    assert [n for part in found for n in part.lines] == list(range(number))
    assert {part.lines[row] for part in found for row in part.bad} == wrong
    for part in found:
        expected = ["" if n in wrong else str(n) for n in part.lines]
        assert part.sources == part.targets == expected


def test_blocks_of_long_lines_are_smaller(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a block of lines that are all as long as they may be does not fill the memory (D08)."""
    monkeypatch.setattr(reading, "BLOCK_CHARACTERS", 1 << 20)
    rows = [("x" * 100_000, "y" * 100_000)] * 30
    source, target = (write(f"a.{n}", "".join(f"{row[n]}\n" for row in rows).encode()) for n in (0, 1))
    for file in ((source, target), write("a.tsv", as_tsv(rows))):
        found = blocks(file)
        assert len(found) > 3 and max(len(block.sources) for block in found) < 12
        assert sum(len(block.sources) for block in found) == 30


# --- bytes that are no text -----------------------------------------------------------------------------------------

BAD_UTF8 = [
    b"\xff", b"\xfe", b"\x80", b"\xc0\xaf", b"\xc0\x80", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xed\xa0\x80\xed\xb0\x80",
    b"\xf4\x90\x80\x80", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98",
]  # fmt: skip


@pytest.mark.parametrize("where", [0, 1, 2])
@pytest.mark.parametrize("side", [0, 1])
def test_bad_utf8_stops_skips_the_pair_or_is_replaced(write: Any, where: int, side: int) -> None:
    """D01: file, line, offset and bytes; with skip both sides lose the same line."""
    for wrong in BAD_UTF8:
        rows = [[b"a", b"A"], [b"b", b"B"], [b"c", b"C"]]
        rows[where][side] += wrong
        files = [write(f"a.{n}", b"\n".join(row[n] for row in rows)) for n in (0, 1)]
        table = write("a.tsv", b"\n".join(b"\t".join(row) for row in rows))
        for entry, culprit, column in [(tuple(files), files[side], 1), (table, table, 1 + 2 * side)]:
            offset = len(Path(culprit).read_bytes().partition(wrong)[0])
            words = rf"{re.escape(culprit)}:{where + 1}: bytes {wrong[0]:02x}[0-9a-f ]* are not UTF-8 "
            with pytest.raises(DataError, match=words + rf"\(byte offset {column} of the line, {offset} of the text\)"):
                blocks(entry)
            skipped = pairs(entry, options=ReadOptions(on_bad_utf8="skip"))
            assert [n for n in range(3) if skipped[n] == ("", "")] == [where]
            assert bad(entry, options=ReadOptions(on_bad_utf8="skip")) == {where + 1: "undecodable"}
            replaced = pairs(entry, options=ReadOptions(on_bad_utf8="replace"))
            assert [pair for n, pair in enumerate(replaced) if n != where] == [
                (row[0].decode(), row[1].decode()) for n, row in enumerate(rows) if n != where
            ]
            assert replaced[where][side].startswith("abc"[where] if not side else "ABC"[where])
            assert "\ufffd" in replaced[where][side] and "\ufffd" not in replaced[where][1 - side]
            assert not bad(entry, options=ReadOptions(on_bad_utf8="replace"))


@pytest.mark.parametrize(
    ("name", "data", "place"),
    [
        ("a.csv", b'x,y\na,"b\nc\xff"\nd,e\n', "2"),
        ("a.json", b'[{"x": "a", "y": "b"},\n {"x": "c\xff", "y": "d"}, {"x": "e", "y": "f"}]', "2"),
        ("b.json", b'[{"x": "a", "y": "b"}, {"x": "\\ud800c", "y": "d"}]', "2"),
        ("a.jsonl", b'{"x": "a", "y": "b"}\n{"x": "a\xff", "y": "b"}\n', "2"),
        ("b.jsonl", b'{"x": "a", "y": "b"}\n{"x": "a", "y": "b\\udc00"}\n', "2"),
    ],
)
def test_bad_utf8_and_half_pairs_in_quotes(write: Any, name: str, data: bytes, place: str) -> None:
    """D15: a lone surrogate is an error of the data when it is read, not when it is encoded."""
    file = write(name, data)
    with pytest.raises(DataError, match=rf"{name}:\d: .*(ff|FF|D800|DC00).* not UTF-8|half a surrogate"):
        blocks(file)
    assert bad(file, options=ReadOptions(on_bad_utf8="skip")) == {int(place): "undecodable"}
    replaced = pairs(file, options=ReadOptions(on_bad_utf8="replace"))
    assert "\ufffd" in "".join(replaced[int(place) - (1 if name != "a.csv" else 2)])
    "".join(text for pair in replaced for text in pair).encode()


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le"])
def test_utf16_is_named(write: Any, encoding: str) -> None:
    data = "\ufeffa\tb\n".encode(encoding)
    for name in ("a.tsv", "a.csv", "a.json", "a.jsonl"):
        with pytest.raises(DataError, match=f"{encoding[:6].upper()} text"):
            blocks(write(name, data))


def test_lines_over_the_limit_are_dropped_on_both_sides(write: Any) -> None:
    options = ReadOptions(max_bytes=30)
    source = write("a.en", b"one\n" + b"x" * 31 + b"\nthree\nfour\n")
    target = write("a.de", b"eins\nzwei\n" + b"y" * 5000 + b"\nvier\n")
    assert bad((source, target), options=options) == {2: "too_long", 3: "too_long"}
    assert pairs((source, target), options=options)[3] == ("four", "vier")
    assert bad(write("a.csv", b'a,b\nx,"' + b"12345678\n" * 5 + b'"\nx,y\n'), options=options) == {2: "too_long"}
    assert bad(write("a.jsonl", b'{"a":"' + b"x" * 31 + b'"}\n'), options=options) == {1: "too_long"}
    array = b'[{"a": "' + "ä".encode() * 16 + b'", "b": ""}, {"a": "1", "b": "2"}]'
    assert bad(write("a.json", array), options=options) == {1: "too_long"}
    with pytest.raises(DataError, match="element longer than the limit"):
        blocks(write("b.json", b'[{"a": "' + b"x" * 1_000_000), options=options)


# --- tables ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "words"), [("one", "1 column"), ("a\tb\tc", "3 columns"), ("\t\t", "3 columns")])
def test_other_columns_are_named_or_skipped(write: Any, line: str, words: str) -> None:
    file = write("a.tsv", f"one\teins\n\n{line}\n \ntwo\tzwei\n".encode())
    with pytest.raises(DataError, match=rf"a\.tsv:3: {words} instead of 2; .*source = \"1\""):
        blocks(file)
    assert bad(file, options=ReadOptions(on_bad_row="skip")) == {3: "columns"}
    assert pairs(file, options=ReadOptions(on_bad_row="skip"))[::4] == [("one", "eins"), ("two", "zwei")]


def test_columns_of_a_table_are_picked_by_number(write: Any) -> None:
    file = write("a.tsv", b"\n1\ten\tde\tCC BY\n2\tEN\tDE\tCC BY\n")
    assert pairs(file, source="2", target="3")[1:] == [("en", "de"), ("EN", "DE")]
    assert pairs(file, source="3", target="2")[1:] == [("de", "en"), ("DE", "EN")]
    assert pairs(file, source="1, 3", target="2")[1:] == [("1\tde", "en"), ("2\tDE", "EN")]
    with pytest.raises(DataError, match=r"a\.tsv:2: 4 columns instead of 5"):
        blocks(file, source="2", target="5")
    short = write("b.tsv", b"a\tb\tc\na\tb\n")
    with pytest.raises(DataError, match=r"b\.tsv:2: 2 columns instead of 3; each row must have as many"):
        blocks(short, source="1", target="3")
    for source, target, words in [("x", "2", "'x' is no column"), ("0", "", "'0' is"), ("2", "", "same column")]:
        with pytest.raises(ConfigError, match=words):
            blocks(file, source=source, target=target)


@pytest.mark.parametrize(("source", "target"), [(5, 4), (4, 5), (5, 0), (0, 5), (5, 10), (50_000, 70_001)])
@pytest.mark.parametrize("pack", PACKED)
def test_unequal_line_counts(write: Any, source: int, target: int, pack: Any) -> None:
    """D02."""
    names = write("a.en", pack(b"word\n" * source)), write("a.de", pack(b"wort\n" * target))
    with pytest.raises(DataError) as caught:
        blocks(names)
    text = str(caught.value)
    assert f"a.en has {source} lines" in text and f"a.de has {target}" in text
    assert f"line {min(source, target) + 1} is the first that is missing in {names[source > target]}" in text


def test_parallel_files(write: Any) -> None:
    one, two, three = write("1", b"a\nb\tB\n"), write("2", b"x\ny"), write("3", b"1\n2\n")
    assert pairs((one, two)) == [("a", "x"), ("b B", "y")], "a tab stands between columns only, and there are none"
    assert pairs((one, two, three)) == [("a\tx", "1"), ("b B\ty", "2")]
    with pytest.raises(ConfigError, match="no columns"):
        blocks((one, two), source="1")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(st.tuples(*[st.text(st.sampled_from("ab,\"'\n \tä;"), max_size=9)] * 3), max_size=9))
def test_csv_is_what_the_csv_module_reads(write: Any, rows: list[tuple[str, str, str]]) -> None:
    sink = io.StringIO(newline="")
    csv.writer(sink, lineterminator="\n").writerows([("id", "the source", "de"), *rows])
    file = write("a.csv", sink.getvalue().encode())
    reader = csv.reader(io.StringIO(sink.getvalue(), newline=""))
    expected, starts = [], []
    next(reader)
    while True:
        line = reader.line_num + 1
        cells = next(reader, None)
        if cells is None:
            break
        cells = cells or [""] * 3
        expected.append(tuple(re.sub("[\n\t]", " ", cells[n]) for n in (1, 2)))
        starts.append(line)
    assert pairs(file, source="the source", target="de") == expected
    found = blocks(file, source="the source", target="de", rows=4)
    assert [n for block in found for n in block.numbers()] == starts


def test_mistakes_in_csv(write: Any) -> None:
    good = b"id,en,de\n1,a,A\n"
    for data, words, reason in [
        (good + b"2,b\n", r"a\.csv:3: 2 columns instead of the 3 of the header", "columns"),
        (good + b'2,"b"x,B\n', r"a\.csv:3: no CSV row begins here", "syntax"),
        (good + b'2,"b\nc,d\n\n', r"a\.csv:3: no CSV row begins here \(unexpected end of data\)", "syntax"),
        (good + b'2,"' + b"x\n" * 100_000, r"a\.csv:3: no CSV row .*field larger than field limit", "syntax"),
    ]:
        with pytest.raises(DataError, match=words):
            blocks(write("a.csv", data), source="en", target="de")
        found = bad(write("a.csv", data), source="en", target="de", options=ReadOptions(on_bad_row="skip"))
        assert found.get(3) == reason
    for columns, words in [({"source": "fr"}, "'fr' does not stand in the header; .*known: de, en, id"), ({}, None)]:
        with pytest.raises((DataError, ConfigError), match=words or "same column"):
            blocks(write("a.csv", good), target="id", **columns)
    with pytest.raises(DataError, match=r"one column; two are needed"):
        blocks(write("a.csv", b"en;de\na;A\n"))
    with pytest.raises(DataError, match="'en' stands several times"):
        blocks(write("a.csv", b"en,en\n"), source="en", target="de")
    assert pairs(write("a.csv", good + b"\n3,c,C"), source="en,id", target="de")[1:] == [("\t", ""), ("c\t3", "C")]


# --- JSON -----------------------------------------------------------------------------------------------------------


def test_keys_of_json(write: Any) -> None:
    document = {"n": 1, "t": {"en": "a\nb", "de": {"x.y": "c\td"}}, "a.b": "dotted"}
    for name, data in [("a.json", json.dumps([document], indent=2)), ("a.jsonl", json.dumps(document))]:
        file = write(name, data.encode())
        assert pairs(file) == [("a b", "c d")], "the first two texts, in a line each"
        assert pairs(file, source="a.b", target="t.en") == [("dotted", "a b")]
        assert pairs(file, source="a.b,t.en") == [("dotted\ta b", "c d")]
        with pytest.raises(DataError, match=rf"{name}:1: no key 't\.fr'; did you mean 't\.en'\?"):
            blocks(file, source="t.fr", target="a.b")
        with pytest.raises(DataError, match=rf"{name}:1: the value of 'n' is int, not a text"):
            blocks(file, source="n", target="a.b")
        with pytest.raises(ConfigError, match=r"the same key 'a\.b'"):
            blocks(file, source="a.b", target="a.b")


@pytest.mark.parametrize(
    ("line", "words", "reason"),
    [
        ("{", "no JSON (Expecting property name", "syntax"),
        ('{"a": "x", "b": "y"} x', "no JSON (Extra data", "syntax"),
        ("[" * 100_000, "no JSON (too deep", "syntax"),
        ('{"a": ' + "1" * 5000 + "}", "no JSON (too deep, or too long a number", "syntax"),
        ("[1]", "list instead of an object", "value"),
        ("null", "NoneType instead of an object", "value"),
        ('{"a": "x"}', "no key 'b'", "value"),
        ('{"a": "x", "b": null}', "the value of 'b' is NoneType", "value"),
    ],
)
def test_bad_lines_of_json(write: Any, line: str, words: str, reason: str) -> None:
    file = write("a.jsonl", f'{{"a": "x", "b": "y"}}\n\n{line}\n{{"a": "u", "b": "v"}}\n'.encode())
    with pytest.raises(DataError, match=re.escape(f"a.jsonl:3: {words}")):
        blocks(file)
    assert bad(file, options=ReadOptions(on_bad_row="skip")) == {3: reason}
    assert pairs(file, options=ReadOptions(on_bad_row="skip")) == [("x", "y"), ("", ""), ("", ""), ("u", "v")]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "the file is empty"),
        ('\n{"a": "x"}', ':2: the file does not begin with [; for one object a line set format = "jsonl"'),
        ('[{"a": "x", "b": "y"},\n{"a": }]', ":2: no JSON (Expecting value)"),
        ('[{"a": "x", "b": "y"}\n{"a": "x", "b": "y"}]', "neither , nor ] follows"),
        ('[{"a": "x", "b": "y"}', "the file ends within the array"),
        ('[{"a": "x", "b": "y"}] []', "more text follows"),
        ("[" * 100_000, "nested too deeply"),
        ("[1]", "int instead of an object"),
    ],
)
def test_what_is_no_array(write: Any, data: str, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        blocks(write("a.json", data.encode()))


def test_long_arrays_are_read_a_piece_at_a_time(write: Any) -> None:
    rows = [(f"source {n} " + "ä" * (n % 97), f"target {n}") for n in range(9973)]
    data = json.dumps([{"s": source, "t": target} for source, target in rows], ensure_ascii=False, indent=1)
    file = write("a.json", b"\xef\xbb\xbf" + data.encode())
    assert pairs(file) == rows
    assert [block.first for block in blocks(file, rows=5000)] == [1, 5001]
    assert pairs(write("b.json", b" [\n ] \n")) == []


# --- packed files ---------------------------------------------------------------------------------------------------

LINES = [f"line {row * 7919 % 1000}\ttext {row}" for row in range(1000)]
WHOLE = "".join(f"{line}\n" for line in LINES).encode()


@pytest.mark.parametrize("pack", PACKED[1:])
def test_cut_and_damaged_files_name_the_last_good_line(write: Any, pack: Any) -> None:
    """D11. A file that is cut or damaged anywhere is an error, or what was changed means nothing."""
    packed = pack(WHOLE)
    for percent in range(1, 100, 3):
        cut = packed[: max(6, len(packed) * percent // 100)]
        with pytest.raises(DataError, match=r"a\.txt: the (gzip|xz|zstd) data ends too early.*last good line is \d+;"):
            blocks(write("a.txt", cut))
    generator = random.Random(7)
    damaged = 0
    for _ in range(150):
        data = bytearray(packed)
        data[generator.randrange(6, len(data))] ^= 1 << generator.randrange(8)
        try:
            found = pairs(write("a.txt", bytes(data)))
        except DataError as error:
            damaged += 1
            assert re.search(r"a\.txt", str(error))
        else:
            assert pack is zstd or found == [tuple(line.split("\t")) for line in LINES]  # zstd has no check sum here
    assert damaged > 50


@pytest.mark.parametrize("pack", PACKED[1:])
def test_members_padding_and_garbage(write: Any, pack: Any) -> None:
    rows = [tuple(line.split("\t")) for line in LINES]
    assert pairs(write("a.tsv", pack(WHOLE) + pack(WHOLE))) == rows * 2
    assert pairs(write("a.tsv", pack(WHOLE) + bytes(100) + pack(WHOLE) + bytes(8))) == rows * 2
    assert pairs(write("a.tsv", pack(b""))) == []
    with pytest.raises(DataError, match=r"a\.tsv: the .* data (is damaged|ends too early)"):
        blocks(write("a.tsv", pack(WHOLE) + b"garbage"))


def test_xz_is_read_wherever_lines_are(write: Any) -> None:
    assert list(read_lines(write("a.txt", lzma.compress(WHOLE)))) == LINES
    with pytest.raises(DataError, match="an xz file in a packed file"):
        list(read_lines(write("a.txt", gzip.compress(lzma.compress(WHOLE)))))


@NEEDS_ZSTD
def test_zstd_bombs_and_skipped_frames(write: Any) -> None:
    skipped = b"\x53\x2a\x4d\x18\x04\0\0\0abcd"
    assert pairs(write("a", skipped + zstd(b"a\tb\n") + skipped)) == [("a", "b")]
    bomb = zstd(bytes(100 << 20))
    assert bad(write("a", bomb)) == {1: "too_long"}
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=29)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(DataError, match=r"the zstd data is damaged .*too much memory"):
        blocks(write("a", packer.compress(b"a\tb\n" * 1000) + packer.flush()))


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python reads zstd files itself")
def test_zstd_without_its_package(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(ConfigError, match=r"pip install 'sequencing-nn\[prepare\]'"):
        blocks(write("a.txt", b"\x28\xb5\x2f\xfd\0\0\0\0"))


# --- files ----------------------------------------------------------------------------------------------------------


def test_what_is_no_file(write: Any, tmp_path: Path) -> None:
    """D14."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    (tmp_path / "folder").mkdir()
    cases = [("folder", "is a folder"), ("loop", "cannot be opened"), ("none", "there is no such file")]
    for name, words in [*cases, ("a\0b", "cannot be"), ("*\0", "cannot be looked for|no file matches")]:
        for entry in (name, (name, write("a", b""))):
            with pytest.raises(DataError, match=words):
                list(read_blocks([CorpusConfig("c", (entry,))], tmp_path, ReadOptions()))


def test_pipes_and_standard_input(tmp_path: Path, write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(gzip.compress(WHOLE),))
    writer.start()
    assert len(pairs(str(pipe))) == 1000
    writer.join()
    stdin = io.TextIOWrapper(io.BytesIO(lzma.compress(b"a\nb\n")))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert pairs(("-", write("a.de", b"A\nB\n"))) == [("a", "A"), ("b", "B")]
    assert not stdin.buffer.closed
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\tA\nb\n")))
    with pytest.raises(DataError, match="standard input:2: 1 column instead of 2"):
        blocks("-")
    with pytest.raises(ConfigError, match="named 2 times"):
        blocks("-", ("-", "a"))


def test_patterns(tmp_path: Path, write: Any) -> None:
    for name in ("b.en", "a.en", "b.de", "a.de", "c[1].tsv"):
        write(name, f"{name}\n".encode() if "tsv" not in name else b"x\ty\n")
    (tmp_path / "z.en").mkdir()

    def files(*entries: Any) -> list[tuple[str, ...]]:
        return [tuple(path.name for path in part.paths) for part in parts_of([CorpusConfig("c", entries)], tmp_path)]

    assert files(("*.en", "*.de")) == [("a.en", "a.de"), ("b.en", "b.de")]
    assert files("[ab].*") == [("a.de",), ("a.en",), ("b.de",), ("b.en",)]
    assert files("c[1].tsv", "**/*.tsv", str(tmp_path / "b.?n")) == [("c[1].tsv",), ("c[1].tsv",), ("b.en",)]
    with pytest.raises(DataError, match=r"corpus 'c': no file matches '\*\.fr' in"):
        files("*.fr")
    with pytest.raises(DataError, match=r"\*\.en matches 2, a\.\* matches 2, \*\.tsv matches 1"):
        files(("*.en", "a.*", "*.tsv"))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"format": "xml"}, "format = 'xml': .*known: auto, csv"),
        ({"name": " "}, "give the corpus a name"),
        ({"files": ()}, "name at least one file"),
        ({"weight": 0.0}, "weight = 0.0; it must be above 0"),
        ({"weight": float("nan")}, "weight = nan"),
        ({"tag": "<2de> "}, "tag = '<2de> '"),
        ({"files": ((),)}, "name at least one file"),
        ({"files": ("a", "")}, "none without a name"),
        ({"files": (("a", ""),)}, "none without a name"),
        ({"format": "parallel"}, "this format wants files side by side"),
        ({"format": "csv", "files": (("a", "b"),)}, "this format wants single files"),
    ],
)
def test_configurations_that_make_no_sense(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parts_of([CorpusConfig(**{"name": "c", "files": ("a",), **config})], HERE)


def test_options_that_make_no_sense() -> None:
    for option in ({"on_bad_utf8": "ignore"}, {"on_bad_row": "replace"}, {"max_bytes": 0}):
        with pytest.raises(ConfigError, match=next(iter(option))):
            ReadOptions(**option)  # type: ignore[arg-type]


# --- anything -------------------------------------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        b"a",
        b"\t",
        b"\n",
        b"\r\n",
        b",",
        b'"',
        b"{",
        b"}",
        b"[",
        b"]",
        b":",
        b'"a"',
        b'{"a": "b", "c": "d"}',
        b"\\ud800",
        b"\xff",
        b"\xe2\x80\xa8",
        b"\xef\xbb\xbf",
        b"\0",
        b"1e999",
        b"NaN",
        b"null",
        b" ",
    ]
)
ANYTHING = st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=14).map(b"".join))
OPTIONS = st.builds(
    ReadOptions,
    on_bad_utf8=st.sampled_from(sorted(reading.ON_BAD_UTF8)),
    on_bad_row=st.sampled_from(sorted(reading.ON_BAD_ROW)),
    max_bytes=st.sampled_from([1, 7, 1 << 20]),
)


@pytest.mark.parametrize("kind", FORMATS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(data=ANYTHING, other=ANYTHING, options=OPTIONS, names=st.sampled_from(["", "a", "1", "2,1", "a.b", ","]),
       rows=st.integers(1, 3))  # fmt: skip
def test_any_bytes_are_rows_or_an_error(
    write: Any, kind: str, data: bytes, other: bytes, options: ReadOptions, names: str, rows: int
) -> None:
    """Whatever the bytes: rows that are texts of one line, or an error that a user can mend."""
    file = write("fuzz", data)
    entry = (file, write("other", other)) if FORMATS[kind].several else file
    try:
        for block in blocks(entry, options=options, rows=rows, format=kind, source=names):
            assert len(block.sources) == len(block.targets) == len(block.numbers()) <= rows
            for row, (source, target) in enumerate(zip(block.sources, block.targets, strict=True)):
                assert "\n" not in source + target and "\t" not in target
                assert not (row in block.bad and source + target)
                (source + target).encode()
            assert set(block.bad.values()) <= set(REASONS)
    except SequencingError as error:
        assert str(error)


@pytest.mark.parametrize("pack", PACKED[1:])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(cut=st.integers(1, 400), place=st.integers(0, 400), flip=st.integers(0, 255), more=st.binary(max_size=9))
def test_any_packed_bytes_are_rows_or_an_error(
    write: Any, pack: Any, cut: int, place: int, flip: int, more: bytes
) -> None:
    data = bytearray(pack(WHOLE[:997]) + more)[: cut + 1]
    data[place % len(data)] ^= flip
    try:
        blocks(write("fuzz", bytes(data)), options=ReadOptions("skip", "skip"))
    except SequencingError as error:
        assert str(error)
