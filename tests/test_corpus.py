"""Parallel text: everything that can be wrong with it is said before training, with file and line."""

import gzip
import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sequencing.data.corpus import (
    Corpus,
    Counted,
    FilePrint,
    differences,
    overlap,
    read_references,
)
from sequencing.data.numbers import draw, write_numbers
from sequencing_np.errors import ConfigError, DataError


@pytest.fixture
def write(tmp_path):
    def write_bytes(name: str, data: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(data)
        return str(path)

    return write_bytes


SIDE = st.text(
    alphabet=st.one_of(st.sampled_from("ab \u2028\u0085\x0b\x0c\x1c\0\r"), st.characters(exclude_categories=["Cs"])),
    max_size=7,
).map(lambda text: text.replace("\n", "").replace("\t", "").strip("\r\ufeff"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(SIDE, SIDE), min_size=1, max_size=13), st.booleans(), st.booleans())
def test_only_lf_separates_lines_in_every_kind_of_file(write, pairs, packed, ended):
    pack = gzip.compress if packed else bytes
    end = "\n" if ended else ""

    def data(lines):
        return pack(("\n".join(lines) + end).encode())

    pairs.append(("last", "last"))
    usable = [(source, target) for source, target in pairs if source.strip() and target.strip()]
    table = write("pairs.any", data("\t".join(pair) for pair in pairs))
    source = write("source.any", data(pair[0] for pair in pairs))
    target = write("target.any", data(pair[1] for pair in pairs))
    for files in ([table], [[source, target]]):
        corpus = Corpus(files)
        report = corpus.check()
        assert list(corpus.pairs()) == usable
        assert (report.lines, report.kept) == (len(pairs), len(usable))
        assert report.empty.count == len(pairs) - len(usable)


@pytest.mark.parametrize(("source", "target"), [(5, 4), (4, 5), (5, 0), (0, 5), (5, 10)])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_unequal_line_counts_name_both_and_the_first_missing_line(write, source, target, pack):
    names = [write("a.en", pack(b"word\n" * source)), write("a.de", pack(b"wort\n" * target))]
    with pytest.raises(DataError) as caught:
        Corpus([names]).check()
    text = str(caught.value)
    assert f"a.en has {source} lines" in text and f"a.de has {target}" in text
    assert f"line {min(source, target) + 1} is the first that is missing in {names[source > target]}" in text


def test_a_last_line_without_newline_counts(write):
    corpus = Corpus([[write("a.en", b"one\ntwo"), write("a.de", b"eins\nzwei\n")]])
    assert corpus.check().kept == 2


def test_byte_order_marks_and_line_ends_of_windows_are_dropped_and_counted(write):
    corpus = Corpus([write("a.tsv", b"\xef\xbb\xbfone\teins\r\ntwo\tz\0wei\n")])
    report = corpus.check()
    assert list(corpus.pairs()) == [("one", "eins"), ("two", "z\0wei")]
    assert (report.byte_order_marks, report.carriage_returns, report.controls) == (1, 1, 1)


@pytest.mark.parametrize(("line", "columns"), [(b"one", "1 column "), (b"a\tb\tc", "3 columns"), (b"\t\t", "3 col")])
def test_other_than_two_columns_are_refused_with_their_line(write, line, columns):
    path = write("a.tsv", b"one\teins\n" + line + b"\n")
    with pytest.raises(DataError, match=f"a.tsv:2: {columns}"):
        Corpus([path]).check()


def test_quotes_are_letters(write):
    assert list(Corpus([write("a.tsv", b'"one\t"eins"\n')]).pairs()) == [('"one', '"eins"')]


def test_empty_sides_are_skipped_and_counted_with_their_first_places(write):
    path = write("a.tsv", b"one\teins\n\n \t \ntwo\t\n\tzwei\n  \nthree\tdrei\n")
    report = Corpus([path], "train").check()
    assert (report.lines, report.kept) == (7, 2)
    assert report.empty == Counted(5, [f"{path}:2", f"{path}:3", f"{path}:4"])
    assert "2 of 7 pairs; 5 with an empty side skipped" in report.summary()


def test_lines_over_the_byte_limit_are_skipped_and_counted_on_both_sides(write):
    source = write("a.en", b"one\n" + b"x" * 101 + b"\nthree\nfour\n")
    target = write("a.de", b"eins\nzwei\n" + b"y" * 5000 + b"\nvier\n")
    corpus = Corpus([[source, target]], max_bytes=100)
    report = corpus.check()
    assert list(corpus.pairs()) == [("one", "eins"), ("four", "vier")]
    assert report.too_long == Counted(2, [f"{source}:2", f"{source}:3"])
    table = Corpus([write("a.tsv", b"x" * 101 + b"\none\teins\n")], max_bytes=100)
    assert (table.check().too_long.count, list(table.pairs())) == (1, [("one", "eins")])


def test_bad_utf8_is_an_error_even_after_a_line_that_is_too_long(write):
    path = write("a.tsv", b"x" * 101 + b"\none\teins\ntwo\tzw\xffei\n")
    with pytest.raises(DataError, match=r"a\.tsv:3: .*ff"):
        Corpus([path], max_bytes=100).check()


@pytest.mark.parametrize("data", [b"", b"\n" * 7, b" \t \n"])
def test_no_usable_pair_is_an_error_with_the_counts(write, data):
    with pytest.raises(DataError, match=r"train: no usable pair in .*a\.tsv: \d lines, \d with an empty side, 0 over"):
        Corpus([write("a.tsv", data)], "train").check()


def test_a_cut_gzip_file_is_found_at_every_length(write):
    whole = gzip.compress(b"".join(b"word %d\twort %d\n" % (number, number) for number in range(99)), mtime=0)
    for length in range(2, len(whole), 7):
        with pytest.raises(DataError, match=r"a\.gz"):
            Corpus([write("a.gz", whole[:length])]).check()


def test_a_flipped_byte_of_a_gzip_check_sum_is_found(write):
    whole = bytearray(gzip.compress(b"one\teins\n" * 50, mtime=0))
    for place in range(1, 9):
        damaged = bytes(whole[:-place]) + bytes([whole[-place] ^ 1]) + bytes(whole[len(whole) - place + 1 :])
        with pytest.raises(DataError, match=r"a\.gz"):
            Corpus([write("a.gz", damaged)]).check()


def test_several_files_follow_each_other(write):
    first, second = write("1.tsv", b"a\tA\n"), [write("2.en", b"b\nc\n"), write("2.de", b"B\nC\n")]
    corpus = Corpus([first, second])
    assert list(corpus.pairs()) == [("a", "A"), ("b", "B"), ("c", "C")]
    assert [(entry.file, entry.line) for entry in corpus.entries()] == [(first, 1), (second[0], 1), (second[0], 2)]
    assert [facts.lines for facts in corpus.check().fingerprint] == [1, 2, 2]


# --- several sources ------------------------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(SIDE, SIDE, SIDE), max_size=7))
def test_several_sources_stand_before_the_target(write, rows):
    """In a table as in files; what has neither target nor source is skipped, what has one of the sources is not."""
    rows.append(("", "last", "last"))
    usable = [(f"{one}\t{two}", target) for one, two, target in rows if (one + two).strip() and target.strip()]
    table = write("rows.tsv", "".join("\t".join(row) + "\n" for row in rows).encode())
    columns = zip(*rows, strict=True)
    files = [write(f"{n}.any", "".join(f"{text}\n" for text in column).encode()) for n, column in enumerate(columns)]
    for part in (table, files):
        corpus = Corpus([part], sources=2)
        report = corpus.check()
        assert list(corpus.pairs()) == usable
        assert (report.lines, report.kept, report.empty.count) == (len(rows), len(usable), len(rows) - len(usable))


def test_sources_of_other_numbers_are_refused_with_their_line(write):
    path = write("a.tsv", b"a\tb\tc\n \na\tb\n")
    words = r"a\.tsv:3: 2 columns instead of 3; a line of a TSV file is source 1, one tab, source 2, one tab, target; "
    with pytest.raises(
        DataError, match=words + r"parallel files are given as one list: \[source 1, source 2, target\]"
    ):
        Corpus([path], sources=2).check()
    with pytest.raises(DataError, match=r"a\.tsv:1: 3 columns instead of 2; a line of a TSV file is source, one tab, "):
        Corpus([path]).check()
    for files in (["a", "b"], ["a", "b", "c", "d"]):
        words = rf'{len(files)} files; with 2 sources a group is \["source 1 file", "source 2 file", "target file"\]'
        with pytest.raises(ConfigError, match=words):
            Corpus([files], sources=2)


@pytest.mark.parametrize("counts", [(5, 4, 4), (4, 5, 5), (5, 0, 3), (3, 3, 4), (5, 4, 3)])
def test_unequal_counts_of_several_files(write, counts):
    names = [write(f"{n}.txt", b"word\n" * count) for n, count in enumerate(counts)]
    said = f"{names[0]} has {counts[0]} lines, {names[1]} has {counts[1]} and {names[2]} has {counts[2]}: "
    said += f"line {min(counts) + 1} is the first that is missing in {names[counts.index(min(counts))]}"
    with pytest.raises(DataError, match=re.escape(said)):
        Corpus([names], sources=2).check()


def test_a_tab_within_one_of_several_sources_is_named(write):
    files = [write("a", b"a\nb\n"), write("b", b"x\ny\tz\n"), write("c", b"c\td\nd\n")]
    with pytest.raises(DataError, match=r"b:2: the line holds a tab, which stands between two sources"):
        Corpus([files], sources=2).check()
    files[1] = write("b", b"x\n" + b"y" * 101 + b"\n")
    corpus = Corpus([files], sources=2, max_bytes=100)
    assert corpus.check().too_long == Counted(1, [f"{files[0]}:2"])
    assert list(corpus.pairs()) == [("a\tx", "c\td")], "the target is what it is"


def test_what_is_no_readable_file_is_named(write, tmp_path, monkeypatch):
    folder, pipe, loop = tmp_path / "folder", tmp_path / "pipe", tmp_path / "loop"
    folder.mkdir()
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    cases = [(folder, "folder: is a folder"), (pipe, "pipe: is no regular file"), (loop, "loop: cannot be opened")]
    for path, words in [*cases, (tmp_path / "absent", "absent: there is no such file"), ("a\0b", "cannot be opened")]:
        with pytest.raises(DataError, match=words):
            Corpus([path]).check()

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = write("secret.tsv", b"a\tb\n")
    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(DataError, match=r"secret\.tsv: no permission"):
        Corpus([path]).check()


@pytest.mark.parametrize(("files", "words"), [("a.tsv", "list of"), ([], "no files"), ([["a", "b", "c"]], "3 files")])
def test_files_given_in_another_shape_are_refused(files, words):
    with pytest.raises(ConfigError, match=words):
        Corpus(files, "data.train")


def test_fingerprints_are_stable_and_name_the_file_that_changed(write):
    first, second = write("1.tsv", b"a\tA\n"), write("2.tsv", b"b\tB\n")
    before = Corpus([first, second]).check().fingerprint
    assert differences(before, Corpus([first, second]).check().fingerprint) == []
    assert [FilePrint(*row) for row in [list(facts) for facts in before]] == list(before)
    (only,) = differences(before, Corpus([first]).check().fingerprint)
    assert "2.tsv was part of the corpus" in only
    assert len(differences(before, Corpus([second, first]).check().fingerprint)) == 2
    times = Path(second).stat()
    write("2.tsv", b"b\tC\n")
    os.utime(second, ns=(times.st_atime_ns, times.st_mtime_ns))  # same size, same time
    (only,) = differences(before, Corpus([first, second]).check().fingerprint)
    assert only.startswith(f"{second} is not what training began with")
    added = [first, second, write("3.tsv", b"c\tD\n")]
    assert "3.tsv was not part" in differences(before, Corpus(added).check().fingerprint)[-1]


def test_a_planted_overlap_is_counted_with_its_first_places(write):
    train = write("train.tsv", b"".join(b"word %d\tx\n" % number for number in range(40)))
    dev = write("dev.tsv", b"".join(b"word %d\ty\n" % number for number in range(33, 60)))
    assert overlap(Corpus([train]), Corpus([dev])) == Counted(7, [f"{train}:34", f"{train}:35", f"{train}:36"])
    assert overlap(Corpus([dev]), Corpus([write("other.tsv", b"no\tx\n")])) == Counted()


def test_targets_of_one_source_are_its_references(write):
    path = write("words.tsv", b"READ\tR EH D\nRED\tR EH D\nREAD\tR IY D\n")
    sources, references = read_references(Corpus([path]))
    assert sources == ["READ", "RED"]
    assert references == [["R EH D", "R IY D"], ["R EH D"]]


def test_number_words_are_num2words_own_and_disjoint_and_repeatable(tmp_path):
    from num2words import num2words

    split = write_numbers(tmp_path / "a", train=97, dev=11, test=13, seed=5)
    assert [len(numbers) for numbers in split] == [97, 11, 13]
    assert len({number for numbers in split for number in numbers}) == 97 + 11 + 13
    for name, numbers in split._asdict().items():
        pairs = list(Corpus([tmp_path / "a" / f"{name}.tsv"]).pairs())
        assert pairs == [(num2words(number, lang="en"), num2words(number, lang="de")) for number in numbers]
    assert write_numbers(tmp_path / "b", train=97, dev=11, test=13, seed=5) == split
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()
    assert draw(97, 11, 13, seed=6) != split


def test_number_words_cover_short_numbers_in_training_only_by_intent():
    split = draw(train=30_000, dev=500, test=1_000, seed=1)
    assert all(0 <= number < 1_000_000 for numbers in split for number in numbers)
    assert set(range(100)) <= {number for numbers in split for number in numbers}
    assert 400_000 < sum(split.test) / len(split.test) < 600_000
    with pytest.raises(ConfigError, match="together at most"):
        draw(500_000, 1, 0, seed=1)


def test_a_file_where_the_folder_should_be_is_named(write):
    with pytest.raises(ConfigError, match="taken: no folder can be made there"):
        write_numbers(write("taken", b""), train=1, dev=1, test=1)


def test_without_num2words_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "num2words", None)
    with pytest.raises(ConfigError, match="pip install num2words"):
        write_numbers(tmp_path)
