"""A preparation from end to end: what comes out, that it goes on where it was ended, and that nothing half is whole."""

import errno
import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest

from pages import ROOT
from sequencing.__main__ import main
from sequencing.corpora.formats import CorpusConfig
from sequencing.data.store import open_store
from sequencing.prepare import duplicates, pipeline
from sequencing.prepare.engines import ENGINES
from sequencing.prepare.manifest import read_prepared
from sequencing.prepare.pipeline import prepare
from sequencing.prepare.progress import Progress
from sequencing.prepare.settings import PrepareConfig, short_config
from sequencing.process import alone
from sequencing_np.errors import ConfigError, DataError, UsageError
from sequencing_np.text import read_lines
from sequencing_np.vocab import load_vocab

Tree = dict[str, bytes]


class Quiet(Progress):
    """Shows nothing, remembers what is said."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def pairs_of(count: int, seed: int = 1) -> list[tuple[str, str]]:
    """Pairs with many duplicates, some of them only by case and punctuation, and many translations of one source."""
    generator = random.Random(seed)
    nouns = ["dog", "cat", "Bär", "sun", "ice", "owl", "sea", "oak", "ant", "élan", "moon"]
    verbs = ["sees", "eats", "likes", "hears", "is"]
    pairs = []
    for _ in range(count):
        words = [
            generator.choice(nouns),
            generator.choice(verbs),
            *generator.choices(nouns, k=generator.randrange(1, 3)),
        ]
        source, target = " ".join(words), " ".join(words[::-1][generator.random() < 0.2 :])
        target = target if generator.random() < 0.7 else target.upper()
        source += generator.choice(["", "", ".", " !"])
        pairs.append((source.capitalize() if generator.random() < 0.2 else source, target))
    return pairs


def write_pairs(path: Path, pairs: list[tuple[str, str]]) -> Path:
    path.write_bytes("".join(f"{source}\t{target}\n" for source, target in pairs).encode())
    return path


def config_of(path: Path | str, *settings: str) -> PrepareConfig:
    return short_config(CorpusConfig("corpus", (str(path),)), {"jobs": 1, "rows": 97}, settings)


def tree(folder: Path) -> Tree:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def bare(text: str) -> str:
    """A sentence without case, punctuation and spaces, written in another way than the program does it."""
    return "".join(c for c in text.casefold() if unicodedata.category(c)[0] not in "PZC") or text.strip()


@pytest.fixture(autouse=True)
def fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here outlives the machine: no waiting for the disk."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write_pairs(tmp_path / "pairs.tsv", pairs_of(700))


SPLIT = ("split.dev=20", "split.test=30")


# --- what comes out -------------------------------------------------------------------------------------------------


def test_no_sentence_stands_in_two_parts_and_every_pair_is_accounted_for(corpus: Path, tmp_path: Path) -> None:
    """T-B9, against sets of the sentences themselves."""
    report = prepare(config_of(corpus, *SPLIT), tmp_path / "out", Quiet())
    unique = list(dict.fromkeys(pairs_of(700)))
    parts = {
        name: [tuple(line.split("\t")) for line in read_lines(tmp_path / "out" / f"{name}.tsv")]
        for name in ("dev", "test")
    }
    assert [len(parts[name]) for name in ("dev", "test")] == [20, 30]
    assert [pair for pair in unique if pair in set(parts["dev"])] == parts["dev"], "in the order of the corpus"
    sentences = {name: [{bare(pair[side]) for pair in part} for side in range(2)] for name, part in parts.items()}
    for side in range(2):
        assert not sentences["dev"][side] & sentences["test"][side]

    def like(pair: tuple[str, str], name: str) -> bool:
        return any(bare(pair[side]) in sentences[name][side] for side in range(2))

    rest = [pair for pair in unique if pair not in parts["dev"] and pair not in parts["test"]]
    train = [pair for pair in rest if not like(pair, "dev") and not like(pair, "test")]
    in_test = [pair for pair in rest if like(pair, "test")]
    assert report["split"] == {"train": len(train), "dev": 20, "test": 30} and train
    dropped = {reason: found["count"] for reason, found in report["dropped"].items()}
    assert dropped == {
        "duplicate_pair": 700 - len(unique),
        "in_test": len(in_test),
        "in_dev": len(rest) - len(train) - len(in_test),
    }
    check_store(tmp_path / "out", train)


def check_store(folder: Path, train: list[tuple[str, str]]) -> None:
    """The store holds these pairs, in this order."""
    prepared = read_prepared(folder, every_byte=True)
    store, vocabs = open_store(prepared.store), [load_vocab(path) for path in prepared.vocabularies]
    for side, (rows, vocab) in enumerate(zip((store.source, store.target), vocabs, strict=True)):
        assert len(rows.lengths) == len(train)
        for number, pair in enumerate(train):
            ids = rows.flat[rows.offsets[number] : rows.offsets[number + 1]].tolist()
            assert ids == vocab.encode(pair[side])


def test_all_duplicate_keys_one_after_the_other(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "BUCKET", 160)  # ten pairs a bucket
    report = prepare(config_of(corpus, 'duplicates.keys=["pair", "loose_source", "target"]'), tmp_path / "out", Quiet())
    left = list(dict.fromkeys(pairs_of(700)))
    counts = {"duplicate_pair": 700 - len(left)}
    for reason, number in (
        ("duplicate_loose_source", lambda pair: bare(pair[0])),
        ("duplicate_target", lambda pair: pair[1]),
    ):
        first: dict[str, tuple[str, str]] = {}
        for pair in left:
            first.setdefault(number(pair), pair)
        counts[reason], left = len(left) - len(first), list(first.values())
    assert {reason: found["count"] for reason, found in report["dropped"].items()} == counts
    assert all(counts.values())
    check_store(tmp_path / "out", left)


@pytest.mark.parametrize("across", [True, False])
def test_duplicates_across_corpora(tmp_path: Path, across: bool) -> None:
    one, two = (write_pairs(tmp_path / f"{name}.tsv", [("a", "b"), ("c", name), ("a", "b")]) for name in ("one", "two"))
    corpora = [{"name": path.stem, "files": [str(path)], "weight": 2.5} for path in (one, two)]
    config = short_config(
        CorpusConfig("x", ("x",)), {"jobs": 1, "duplicates": {"across": across}}, [f"corpora={toml(corpora)}"]
    )
    report = prepare(config, tmp_path / "out", Quiet())
    assert [corpus["kept"] for corpus in report["corpora"]] == ([2, 1] if across else [2, 2])
    store = open_store(tmp_path / "out" / "train")
    assert [(each.name, each.weight) for each in store.corpora] == [("one", 2.5), ("two", 2.5)]
    assert np.bincount(np.repeat(store.order.cells.corpus, store.order.cells.counts)).tolist() == (
        [2, 1] if across else [2, 2]
    )


def toml(values: Any) -> str:
    """Lists of tables as TOML writes them in one line."""
    if isinstance(values, dict):
        return "{" + ", ".join(f"{key} = {toml(value)}" for key, value in values.items()) + "}"
    if isinstance(values, list):
        return "[" + ", ".join(map(toml, values)) + "]"
    return json.dumps(values)


def test_given_test_text_is_kept_whole_and_its_overlap_is_counted(tmp_path: Path) -> None:
    """D09: seven planted pairs are said to be seven, with their first three lines."""
    train = [(f"source {n}", f"target {n}") for n in range(60)]
    test = [
        ("Source, 3!", "x"),
        ("y", "TARGET 4"),
        *((f"source {n}", f"{n}") for n in (20, 21, 30, 44, 59)),
        ("long " * 9, "z"),
    ]
    dev = [("source 59", "not here"), ("only", "here")]
    values = {"jobs": 1, "filter": {"max_words": 5}}
    for name, pairs in (("test", test), ("dev", dev)):
        values[name] = [{"name": name, "files": [str(write_pairs(tmp_path / f"{name}.tsv", pairs))]}]
    path = write_pairs(tmp_path / "train.tsv", train)
    report = prepare(short_config(CorpusConfig("pairs", (str(path),)), values, []), tmp_path / "out", Quiet())
    assert report["split"] == {"train": 53, "dev": 1, "test": 8}, "what is given is not filtered; test goes before dev"
    assert report["dropped"]["in_test"]["count"] == 8, "seven of train, one of dev"
    places = ", ".join(f"{path}:{line}" for line in (4, 5, 21))
    shares = "share a sentence with the given test text, left out"
    assert f"7 training pairs {shares} (first: {places})" in report["warnings"]
    dev_place = f"{tmp_path / 'dev.tsv'}:1"
    assert f"1 given dev pair {shares.replace('share', 'shares', 1)} (first: {dev_place})" in report["warnings"]
    training = next(corpus for corpus in report["corpora"] if corpus["role"] == "train")
    assert training["dropped"]["in_test"]["count"] == 7
    assert [*read_lines(tmp_path / "out" / "dev.tsv")] == ["only\there"]


def test_too_little_to_hold_out(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"split.dev 4000 and split.test 30: only \d+ and 30 pairs can be held out"):
        prepare(config_of(corpus, "split.dev=4000", "split.test=30"), tmp_path / "out", Quiet())


def test_the_choice_depends_on_the_seed_and_hardly_on_the_rest(tmp_path: Path) -> None:
    pairs = [(f"source {n}", f"target {n}") for n in range(300)]
    chosen = []
    for name, given, seed in (("a", pairs, 1), ("b", pairs[::-1], 1), ("c", pairs[:150], 1), ("d", pairs, 2)):
        path = write_pairs(tmp_path / f"{name}.tsv", given)
        prepare(config_of(path, "split.test=30", f"split.seed={seed}"), tmp_path / name, Quiet())
        chosen.append(set(read_lines(tmp_path / name / "test.tsv")))
    assert chosen[0] == chosen[1] != chosen[3] and len(chosen[0] & chosen[2]) >= 10


def test_tags_and_lengths(tmp_path: Path) -> None:
    files = {"de": [("a b c", "d e"), ("f", "g")], "fr": [("a b c", "h"), ("too many tokens of it", "i")]}
    corpora = [
        {"name": name, "files": [str(write_pairs(tmp_path / f"{name}.tsv", pairs))], "tag": f"<2{name}>"}
        for name, pairs in files.items()
    ]
    config = short_config(CorpusConfig("x", ("x",)), {"jobs": 1, "max_length": 5}, [f"corpora={toml(corpora)}"])
    report = prepare(config, tmp_path / "out", Quiet())
    assert load_vocab(tmp_path / "out" / "source.vocab.json").tags == ("<2de>", "<2fr>")
    found = report["dropped"]["too_many_tokens"]
    assert (found["count"], found["examples"][0][1:3]) == (1, [2, "<2fr> too many tokens of it"])
    check_store(tmp_path / "out", [("<2de> a b c", "d e"), ("<2de> f", "g"), ("<2fr> a b c", "h")])


def test_a_tag_is_no_part_of_a_sentence(tmp_path: Path) -> None:
    train = {
        "name": "fr",
        "files": [str(write_pairs(tmp_path / "fr.tsv", [("Hello", "Salut"), ("b", "c")]))],
        "tag": "<2fr>",
    }
    test = {"name": "de", "files": [str(write_pairs(tmp_path / "de.tsv", [("hello!", "Hallo")]))], "tag": "<2de>"}
    config = short_config(CorpusConfig("x", ("x",)), {"jobs": 1}, [f"corpora=[{toml(train)}]", f"test=[{toml(test)}]"])
    assert prepare(config, tmp_path / "out", Quiet())["split"] == {"train": 1, "dev": 0, "test": 1}
    assert [*read_lines(tmp_path / "out" / "test.tsv")] == ["<2de> hello!\tHallo"]


def test_a_pair_that_cannot_be_encoded_is_named(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "f.tsv", [("a|X b|Y", "c"), ("a|X b", "d")])
    with pytest.raises(DataError, match=r"'b'.*factor"):
        prepare(config_of(path, "vocab.source.factors=1"), tmp_path / "out", Quiet())
    vocabs = prepare(
        config_of(write_pairs(tmp_path / "g.tsv", [("a|X", "c")]), "vocab.source.factors=1"), tmp_path / "one", Quiet()
    )
    assert vocabs["split"]["train"] == 1
    settings = [f'vocab.source.file="{tmp_path}/one/source.vocab.json"', "vocab.source.factors=1"]
    with pytest.raises(DataError, match=rf"^{path}:2: .*'b'"):
        prepare(config_of(path, *settings), tmp_path / "two", Quiet())


def test_nothing_left_to_train_with(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "p.tsv", [("a", "a"), ("", "b")])
    with pytest.raises(DataError, match="no pair is left to train with, of 2 that were read"):
        prepare(config_of(path, "filter.identical=true"), tmp_path / "out", Quiet())


def test_sides_that_are_shifted_are_warned_of(tmp_path: Path) -> None:
    numbers = [str(n * 7919 % 100_003) + "!" * (n % 5) for n in range(1500)]
    for side, lines in (("s", numbers), ("t", numbers[1:] + numbers[:1])):
        (tmp_path / side).write_bytes("".join(f"{side} {line}\n" for line in lines).encode())
    values = {"jobs": 1, "rows": 400}
    config = short_config(CorpusConfig("both", ((str(tmp_path / "s"), str(tmp_path / "t")),)), values, [])
    report = prepare(config, tmp_path / "out", Quiet())
    assert any("shifted" in text and str(tmp_path / "s") in text for text in report["warnings"])


# --- ended and gone on with -----------------------------------------------------------------------------------------


class Killed(BaseException):
    """As if the process had been killed: nothing catches it."""


def places(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> Iterator[int]:
    """Lets `act` happen instead of the k-th writing of a file, for k = 0, 1, 2 …; ends when there are not so many."""
    for number in range(10_000):
        calls = iter(range(10_000))

        def fsync(descriptor: int, calls: Iterator[int] = calls, number: int = number) -> None:
            if next(calls) == number:
                act()

        monkeypatch.setattr(os, "fsync", fsync)
        yield number
        if next(calls) <= number:
            return


def kill() -> None:
    raise Killed


def fill_up() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(("act", "expected"), [(kill, Killed), (fill_up, DataError)])
def test_ended_at_any_write_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act, expected) -> None:
    """D16, K03: nothing half-prepared passes for whole, and what comes out in the end is the same to the byte."""
    path = write_pairs(tmp_path / "p.tsv", pairs_of(60))
    config = config_of(path, "rows=30", "split.test=2")
    prepare(config, tmp_path / "once" / "out", Quiet())
    wanted = tree(tmp_path / "once" / "out")
    folder = tmp_path / "ended" / "out"
    ended = 0
    for number in places(monkeypatch, act):
        shutil.rmtree(folder, ignore_errors=True)
        try:
            prepare(config, folder, Quiet())
        except expected as error:
            ended += 1
            if not (folder / "manifest.json").exists():  # else it was ended after the manifest stood there
                with pytest.raises(DataError, match="was not finished"):
                    read_prepared(folder)
            assert act is kill or "No space left on device" in str(error), number
            prepare(config, folder, Quiet())
        assert tree(folder) == wanted, number
    assert ended >= 15


def process(*arguments: object, **options: Any) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-m", "sequencing", "prepare", *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_killed_between_two_shards(tmp_path: Path) -> None:
    """A real kill -9 of a real pool; the workers leave too, and the rest is made by one process."""
    path = write_pairs(tmp_path / "p.tsv", pairs_of(1500))
    settings = ["rows=30", "split.dev=5"]
    prepare(config_of(path, *settings), tmp_path / "once" / "out", Quiet())
    folder = tmp_path / "killed" / "out"
    running = process(path, "--out", folder, "--jobs", 2, "--set", *settings)
    while len(list(folder.glob("work/shards/*.pairs"))) < 10 and running.poll() is None:
        time.sleep(0.001)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    made = len(list(folder.glob("work/shards/*.pairs")))
    assert 10 <= made < 50 and not (folder / "manifest.json").exists()
    quiet = Quiet()
    prepare(config_of(path, *settings), folder, quiet)
    assert f"going on with {folder}" in quiet.said and tree(folder) == tree(tmp_path / "once" / "out")


def test_a_full_disk_for_real(tmp_path: Path) -> None:
    import resource

    path = write_pairs(tmp_path / "p.tsv", pairs_of(3000))
    folder = tmp_path / "out"

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    running = process(path, "--out", folder, "--jobs", 1, preexec_fn=limit)
    _, err = running.communicate()
    assert running.returncode == 4 and b"cannot be written (File too large)" in err and err.count(b"\n") == 2, err
    assert not (folder / "manifest.json").exists()
    prepare(config_of(path, "rows=20000"), folder, Quiet())
    assert read_prepared(folder).manifest["pairs"]["train"] > 0


def test_processes_and_one_process_make_the_same(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_bytes(
        b"def mend(s, t):\n    return None if 'owl' in s else (s.replace('ant', 'aunt'), t)\n"
    )
    for name, jobs in (("one", 1), ("two", 2)):
        own = f"clean.function={tmp_path / 'own.py'}:mend"
        report = prepare(config_of(corpus, *SPLIT, own, f"jobs={jobs}"), tmp_path / name / "out", Quiet())
        assert report["dropped"]["function"]["count"] > 50 < report["changed"]["function"]
    assert tree(tmp_path / "one" / "out") == tree(tmp_path / "two" / "out")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # those of Ray and what it imports
def test_ray_makes_the_same(corpus: Path, tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'ray[data]'")
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
        for name, engine in (("one", "local"), ("two", "ray")):
            prepare(config_of(corpus, *SPLIT, f"engine={engine}"), tmp_path / name / "out", Quiet())
        bad = write_pairs(tmp_path / "bad.tsv", [("a", "b"), ("c", "d\te")])
        with pytest.raises(DataError, match=r"bad\.tsv:2: 3 columns"):
            prepare(config_of(bad, "engine=ray"), tmp_path / "bad", Quiet())
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert tree(tmp_path / "one" / "out") == tree(tmp_path / "two" / "out")


def test_an_engine_that_is_not_installed(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'ray\[data\]'"):
        prepare(config_of(corpus, "engine=ray"), tmp_path / "out", Quiet())
    assert set(ENGINES) == {"local", "ray"}


# --- what is refused ------------------------------------------------------------------------------------------------


def half_prepared(config: PrepareConfig, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ended after the first stage."""
    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "mark_duplicates", lambda *_: kill())
        with pytest.raises(Killed):
            prepare(config, folder, Quiet())


def one_byte(path: Path, other: Path) -> None:
    stat = path.stat()
    path.write_bytes(path.read_bytes()[:-2] + b"#\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def one_line(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes() + b"new\tline\n")


def swapped(path: Path, other: Path) -> None:
    first, second = path.read_bytes(), other.read_bytes()
    path.write_bytes(second)
    other.write_bytes(first)


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("change", [one_byte, one_line, swapped])
def test_inputs_that_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change, finished: bool) -> None:
    """D12: the file is named, and nothing is mixed."""
    path, other = (write_pairs(tmp_path / name, pairs_of(40, seed)) for seed, name in enumerate(("p.tsv", "q.tsv")))
    config = short_config(CorpusConfig("both", (str(path), str(other))), {"jobs": 1}, [])
    if finished:
        prepare(config, tmp_path / "out", Quiet())
    else:
        half_prepared(config, tmp_path / "out", monkeypatch)
    before = tree(tmp_path / "out")
    change(path, other)
    with pytest.raises(DataError, match=rf"{path} had \d+ bytes, 40 lines, sha256"):
        prepare(config, tmp_path / "out", Quiet())
    assert {name: data for name, data in tree(tmp_path / "out").items() if name in before} == before


def test_a_file_that_changes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_pairs(tmp_path / "p.tsv", pairs_of(40))
    real = pipeline.input_prints

    def then_changed(making: pipeline.Making) -> Any:
        found = real(making)
        one_byte(path, path)
        return found

    monkeypatch.setattr(pipeline, "input_prints", then_changed)
    with pytest.raises(DataError, match=r"p\.tsv had"):
        prepare(config_of(path), tmp_path / "out", Quiet())


def test_another_configuration(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half_prepared(config_of(corpus), tmp_path / "half", monkeypatch)
    prepare(config_of(corpus), tmp_path / "whole", Quiet())
    for name in ("half", "whole"):
        with pytest.raises(ConfigError, match=rf"{name}: was begun with filter.ratio = 0.0, and is now .* with 3.0"):
            prepare(config_of(corpus, "filter.ratio=3"), tmp_path / name, Quiet())
        prepare(config_of(corpus, "jobs=1"), tmp_path / name, quiet := Quiet())  # not what, only how
        assert any("going on" in text or "prepared already" in text for text in quiet.said)


def test_other_places(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_bytes(b"!")
    for place, error, text in (
        (tmp_path / "mine", UsageError, "holds 'precious'"),
        (corpus, UsageError, "is a file"),
        (corpus / "below", DataError, "cannot be written"),
    ):
        with pytest.raises(error, match=text):
            prepare(config_of(corpus), place, Quiet())
    assert tree(tmp_path / "mine") == {"precious": b"!"}


def test_a_start_that_made_nothing_may_be_mended(tmp_path: Path) -> None:
    """The mistake is found, the file mended, and the same command or a better one called again."""
    path = tmp_path / "pairs.tsv"
    path.write_bytes(b"")
    with pytest.raises(DataError, match="no pair is left"):
        prepare(config_of(path), tmp_path / "out", Quiet())
    write_pairs(path, [("a", "b"), ("c", "d\te")])
    with pytest.raises(DataError, match=r"pairs\.tsv:2: 3 columns"):
        prepare(config_of(path), tmp_path / "out", Quiet())
    write_pairs(path, [("a", "b"), ("c", "d")])
    report = prepare(config_of(path, "max_length=77"), tmp_path / "out", Quiet())
    assert (
        report["split"]["train"] == 2 and read_prepared(tmp_path / "out").manifest["configuration"]["max_length"] == 77
    )


def test_two_at_once(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "out" / "work").mkdir(parents=True)
    with alone(tmp_path / "out", "held by the test"):
        with pytest.raises(UsageError, match="another process prepares it"):
            prepare(config_of(corpus), tmp_path / "out", Quiet())
    prepare(config_of(corpus), tmp_path / "out", Quiet())


def test_damage_is_seen(corpus: Path, tmp_path: Path) -> None:
    prepare(config_of(corpus, *SPLIT), tmp_path / "out", Quiet())
    folder = tmp_path / "out"
    path = folder / "dev.tsv"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"!")
    read_prepared(folder)
    with pytest.raises(DataError, match=r"dev\.tsv: missing, changed or damaged"):
        read_prepared(folder, every_byte=True)
    path.write_bytes(whole[:-1])
    with pytest.raises(DataError, match=r"dev\.tsv"):
        read_prepared(folder)
    path.write_bytes(whole)
    manifest = folder / "manifest.json"
    text = manifest.read_bytes()
    for damage in (
        text[:-9],
        text.replace(b'"format": 1', b'"format": 2'),
        b"[]",
        text.replace(b'"train": ', b'"train": 1'),
    ):
        manifest.write_bytes(damage)
        with pytest.raises(DataError, match=r"manifest\.json"):
            read_prepared(folder)
    with pytest.raises(DataError, match="no such folder"):
        read_prepared(tmp_path / "nowhere")


@pytest.mark.parametrize("share", [0.3, 0.999])
def test_a_cut_file_is_found_before_the_work_begins(tmp_path: Path, share: float) -> None:
    """D11."""
    packed = gzip.compress("".join(f"{a}\t{b}\n" for a, b in pairs_of(3000)).encode())
    path = tmp_path / "p.tsv.gz"
    path.write_bytes(packed[: int(share * len(packed))])
    with pytest.raises(DataError, match=r"p\.tsv\.gz.*the file is cut"):
        prepare(config_of(path), tmp_path / "out", Quiet())
    assert not list((tmp_path / "out" / "work" / "shards").iterdir())
    path.write_bytes(packed)
    assert prepare(config_of(path), tmp_path / "out", Quiet())["corpora"][0]["read"] == 3000


def test_a_pipe_is_read_once(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """D14. What was made of it before it broke is not mixed with what comes through it next."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def through(data: bytes) -> Thread:
        thread = Thread(target=pipe.write_bytes, args=(data,))
        thread.start()
        return thread

    broken = through(b"a\tb\n" * 97 + b"c\n")
    with pytest.raises(DataError, match="pipe:98"):
        prepare(config_of(pipe), tmp_path / "out", Quiet())
    broken.join()
    sound = through(corpus.read_bytes())
    report = prepare(config_of(pipe), tmp_path / "out", Quiet())
    sound.join()
    assert report["corpora"][0]["read"] == 700 and report["inputs"][0][1] == len(corpus.read_bytes())
    with pytest.raises(ConfigError, match="can be read by this process alone"):
        prepare(config_of(pipe, "engine=ray"), tmp_path / "ray", Quiet())
    with pytest.raises(DataError, match="is a folder"):
        prepare(config_of(tmp_path), tmp_path / "dir", Quiet())


# --- the command line -----------------------------------------------------------------------------------------------


def test_command_line(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["prepare", str(corpus), "--out", str(out), "--dev", "9", "--test", "5", "--jobs", "1"]
    assert main(arguments) == 0
    said, progress = capsys.readouterr()
    assert said.split("\n")[1].split() == ["pairs", "of", "dev", "9"] and f"report: {out / 'report.html'}" in said
    assert "cleaning: 700 pairs" in progress and "Traceback" not in progress
    assert main(arguments) == 0
    again, progress = capsys.readouterr()
    assert again == said and "is prepared already" in progress


def test_command_line_of_a_configuration(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.toml").write_bytes(b'jobs = 1\n[[corpora]]\nname = "p"\nfiles = ["pairs.tsv"]\n[split]\ntest = 4\n')
    monkeypatch.chdir("/")
    assert main(["prepare", str(tmp_path / "c.toml"), "--out", str(tmp_path / "out"), "--set", "split.dev=3"]) == 0
    assert read_prepared(tmp_path / "out").manifest["pairs"] == {"train": 0, "dev": 3, "test": 4} | {
        "train": read_prepared(tmp_path / "out").manifest["pairs"]["train"]
    }
    saved = tmp_path / "out" / "prepare.json"
    assert main(["prepare", str(saved), "--out", str(tmp_path / "again" / "out"), "--jobs", "1"]) == 0
    assert tree(tmp_path / "again" / "out") == tree(tmp_path / "out")


def test_command_line_of_two_sides_and_of_standard_input(corpus: Path, tmp_path: Path) -> None:
    pairs = pairs_of(700)
    for side in range(2):
        (tmp_path / f"side{side}").write_bytes("".join(f"{pair[side]}\n" for pair in pairs).encode())
    files = ["--source", tmp_path / "side0", "--target", tmp_path / "side1"]
    settings = ["--test", "7", "--jobs", "1"]
    assert main(["prepare", *map(str, files), "--out", str(tmp_path / "two"), *settings]) == 0
    running = process("-", "--out", tmp_path / "stdin", *settings, stdin=subprocess.PIPE)
    _, err = running.communicate(corpus.read_bytes())
    assert running.returncode == 0, err
    names = ["train/source.ids", "train/target.ids", "test.tsv", "source.vocab.json"]
    both = [tree(tmp_path / name) for name in ("two", "stdin")]
    assert [both[0][name] for name in names] == [both[1][name] for name in names]
    assert read_prepared(tmp_path / "stdin").manifest["streams"][0][1] == len(corpus.read_bytes())
    running = process("-", "--out", tmp_path / "stdin", *settings, stdin=subprocess.PIPE)
    assert b"is prepared already" in running.communicate(b"other\ttext\n")[1] and running.returncode == 2


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 2, "give a TOML file"),
        (["p.tsv", "--source", "a", "--target", "b"], 2, "give a TOML file"),
        (["--source", "a", "b", "--target", "c"], 2, "--source has 2 files, --target 1"),
        (["c.toml", "p.tsv"], 2, "c.toml is a configuration"),
        (["nothing.toml"], 3, "nothing.toml"),
        (["nothing.tsv"], 4, "nothing.tsv"),
        (["p.tsv", "--set", "split.dve=3"], 3, "did you mean 'dev'"),
        (["p.tsv", "--dev", "-1"], 3, "split: dev -1: must be 0 or more"),
    ],
)
def test_calls_that_make_no_sense(arguments, code, text, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    write_pairs(tmp_path / "p.tsv", pairs_of(5))
    assert main(["prepare", *arguments, "--out", "out", "--jobs", "1"]) == code
    assert text in capsys.readouterr().err and not (tmp_path / "out" / "manifest.json").exists()
