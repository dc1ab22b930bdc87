"""vectors: lines and arrays of numbers to rows; models learn from them, both floors say the same, runs go on."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from architectures import same
from pages import DOCS, ROOT, run_page
from sequencing.__main__ import main
from sequencing.corpora.formats import CorpusConfig
from sequencing.data.corpus import Entry
from sequencing.data.encoding import encode
from sequencing.data.sampling import BatchStream, SamplingOptions
from sequencing.loading import load_translator
from sequencing.prepare.settings import short_config
from sequencing.run_config import read_run_config
from sequencing.synthetic import form_of
from sequencing.train.loop import train
from sequencing_np.__main__ import main as ground_main
from sequencing_np.batch import PadIds, make_batch, pad, padding_share
from sequencing_np.errors import ConfigError, DataError, ModelError, UsageError
from sequencing_np.manifest import write_manifest
from sequencing_np.model_folder import read_model_folder, write_model_folder
from sequencing_np.search import SearchConfig
from sequencing_np.translate import Translator
from sequencing_np.vectors import Spread, VectorVocab, line_of, parse_vectors
from sequencing_np.vocab import build_vocab, save_vocab
from small_runs import CONFIG as SMALL
from small_runs import EVERYTHING, files, records, write_config
from tiny_models import write_model

SIZE = 5  # of the vectors of these tests: the largest of the five numbers is the letter
LETTERS = "abcde"

# --- numbers and rows -----------------------------------------------------------------------------------------------


def test_by_hand() -> None:
    vocab = VectorVocab([1.0, 0.0], [2.0, 1.0])
    assert (len(vocab), vocab.vector_size, vocab.columns, vocab.tags) == (4, 2, 1, ())
    wanted = [[0, -1, 1, 0], [1, 0.5, 1, 0], [0, 0, 0, 1]]
    for source in ("1 -1; 3 .5", "  1   -1;3 5e-1 ", np.array([[1, -1], [3, 0.5]])):
        np.testing.assert_array_equal(vocab.encode(source), np.array(wanted, dtype=np.float32))
        assert vocab.pieces(source) == ["1", "2", "</s>"]
    assert vocab.encode("").tolist() == vocab.encode(np.zeros((0, 2))).tolist() == [[0, 0, 0, 1]]
    ids, mask = pad([vocab.encode("1 -1; 3 .5"), vocab.encode("3 .5")], 0)
    assert ids.dtype == np.float32 and ids.shape == (2, 3, 4) and mask.tolist() == [[True] * 3, [True, True, False]]
    assert not ids[1, 2].any() and ids[..., -1].tolist() == [[0, 0, 1], [0, 1, 0]]


NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)
SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 4))


@given(arrays(np.float32, SHAPES, elements=NUMBERS))
def test_a_line_holds_its_vectors(vectors: np.ndarray) -> None:
    np.testing.assert_array_equal(parse_vectors(line_of(vectors, 9)), vectors)
    np.testing.assert_array_equal(parse_vectors(line_of(vectors, 9), vectors.shape[1]), vectors)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_spread_is_that_of_all_vectors(lengths: list[int], seed: int) -> None:
    """Whatever parts they come in: NumPy's mean and deviation of all at once."""
    chance = np.random.default_rng(seed)
    parts = [chance.normal([100, -3], [0.5, 20], (length, 2)).astype(np.float32) for length in [*lengths, 2]]
    spread = Spread()
    for part in parts:
        spread.add(part)
    together = np.concatenate(parts).astype(np.float64)
    vocab = spread.vocab()
    np.testing.assert_allclose(vocab.mean, together.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(vocab.deviation, together.std(axis=0), rtol=1e-6)
    rows = np.concatenate([vocab.encode(part)[:-1, :2] for part in parts])
    np.testing.assert_allclose([rows.mean(axis=0), rows.std(axis=0)], [[0, 0], [1, 1]], atol=1e-4)


def test_a_number_that_never_changes() -> None:
    spread = Spread()
    spread.add(np.array([[7.1, 1], [7.1, 3]]))
    assert spread.vocab().deviation.tolist() == [1.0, 1.0]
    np.testing.assert_allclose(spread.vocab().encode("7.1 1")[0, :2], [0, -1], atol=1e-6)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("1 2; 3", "vector 2 has 1 number instead of 2"),
        ("1 2; 3 4 5", "vector 2 has 3 numbers instead of 2"),
        ("1 2;; 3 4", "vector 2 has 0 numbers instead of 2"),
        ("1 2;", "vector 2 has 0 numbers instead of 2"),
        ("1 2; 3 x4", "vector 2: 'x4' is no number"),
        ("1,5 2", "vector 1: '1,5' is no number"),
        ("1 2; nan 4", "vector 2, number 1 is nan: not a finite number"),
        ("1 -inf", "vector 1, number 2 is -inf"),
        ("1 1e39", "vector 1, number 2 is inf"),
    ],
)
def test_lines_that_are_no_vectors(line: str, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        VectorVocab([0.0, 0.0], [1.0, 1.0]).encode(line)


@pytest.mark.parametrize(
    "array",
    [np.zeros(2), np.zeros((3, 1)), np.zeros((1, 3, 2)), np.array([["a", "b"]]), np.zeros((1, 2), dtype=complex)],
)
def test_arrays_that_are_no_vectors(array: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"the model reads arrays of numbers of shape \(vectors, 2\)"):
        VectorVocab([0.0, 0.0], [1.0, 1.0]).encode(array)
    with pytest.raises(DataError, match="vector 1, number 2 is"):
        VectorVocab([0.0, 0.0], [1.0, 1.0]).encode(np.array([[0, 1e39]]))


DOCUMENT = VectorVocab([0.5, 2], [1, 3.0]).to_json()
BROKEN: dict[str, dict[str, Any]] = {
    "the format is 2": {"format": 2},
    "the kind is 'delimited'": {"kind": "delimited"},
    "the keys are": {"tokens": []},
    "'mean' must be a list of numbers": {"mean": ["1", 2]},
    "'deviation' must be a list of numbers": {"deviation": [True, 2]},
    "as many numbers": {"mean": [1.0]},
    "at least one": {"mean": [], "deviation": []},
    "above 0": {"deviation": [1.0, 0.0]},
    "must be finite": {"mean": [1.0, float("nan")]},
}


@pytest.mark.parametrize(("words", "change"), BROKEN.items())
def test_broken_documents(words: str, change: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=words):
        VectorVocab.from_json({**DOCUMENT, **change})
    for key in DOCUMENT:
        with pytest.raises(DataError):
            VectorVocab.from_json({name: value for name, value in DOCUMENT.items() if name != key})


# --- batches --------------------------------------------------------------------------------------------------------


def test_batches_hold_the_rows_of_their_sentences() -> None:
    """Through the stream of training as through make_batch; padding counts positions, not numbers."""
    chance = np.random.default_rng(3)
    vocab, target = VectorVocab([0.0] * 3, [1.0] * 3), build_vocab(["a b c"])
    texts = [line_of(chance.normal(size=(length, 3))) for length in (4, 1, 7, 2, 9)]
    entries = [Entry(text, "a b"[: 1 + 2 * (n % 2)], "x", n) for n, text in enumerate(texts, 1)]
    pairs, dropped = encode([entries], (vocab, target), 8, (1.0,))
    assert (len(pairs), dropped.count, dropped.first) == (4, 1, ["x:5"])
    stream = BatchStream(pairs, vocab, target, SamplingOptions(batch_tokens=14, max_epochs=1))
    seen = []
    for batch, _ in stream.batches():
        for row, mask in zip(batch.source, batch.source_mask, strict=True):
            seen.append(row[mask].tolist())
            assert not row[~mask].any()
    assert sorted(seen) == sorted(vocab.encode(text).tolist() for text in texts[:4])
    batch = make_batch([(vocab.encode(text), [4, 3]) for text in texts[:2]], PadIds(0, 0))
    assert padding_share(batch) == 3 / (2 * 5 + 2 * 2)
    empty, _ = encode([[]], (vocab, target), 8, (1.0,))
    assert len(empty) == 0 and empty.source.flat.shape == (0, 5)


# --- models ---------------------------------------------------------------------------------------------------------


def write_letters(folder: Path) -> list[tuple[np.ndarray, str]]:
    """Sequences of vectors and the letters of their largest numbers; two of the numbers are large, far from zero."""
    chance, rows = np.random.default_rng(7), []
    scale, shift = np.array([1, 1, 1, 50, 0.02]), np.array([0, 0, 0, 300, -4])
    for name, count in (("train", 900), ("dev", 40)):
        rows = []
        for _ in range(count):
            letters = chance.integers(0, SIZE, chance.integers(1, 4))
            vectors = np.eye(SIZE)[letters] + 0.1 * chance.normal(size=(len(letters), SIZE))
            rows.append((vectors * scale + shift, "".join(LETTERS[letter] for letter in letters)))
        lines = [f"{line_of(vectors)}\t{text}\n" for vectors, text in rows]
        (folder / f"{name}.tsv").write_bytes("".join(lines).encode())
    return rows


ENCODERS = {  # a row of each family, and what else is said of it
    "rnn": "stack.size = 32",
    "bidirectional_rnn": "stack.size = 32",
    "bidirectional_rnn, one-hot": "one_hot = true\nstack.size = 16",
    "self_attention": "blocks = { layers = 1, heads = 2 }",
    "convolutional": "size = 32",
    "pooling": "window = 1",
    "word_values": "value_size = 16\nreader = { type = 'rnn', embedding_size = 16, stack = { size = 32 } }",
}


def config_of(encoder: str, folder: Path) -> Path:
    """A run over those files with this encoder."""
    before, _, after = SMALL.replace('source.level = "characters"', 'source.level = "vectors"').partition("[model.enc")
    rest = after[after.index("[model.decoder]") :]
    size = 96 if "one-hot" in encoder else 16
    part = f'[model.encoder]\ntype = "{encoder.split(",")[0]}"\nembedding_size = {size}\n{ENCODERS[encoder]}\n\n'
    return write_config(folder, before + part + rest)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vectors")
    write_letters(folder)
    return folder


def dev_of(folder: Path) -> list[tuple[str, str]]:
    """The held-out pairs."""
    lines = (folder / "dev.tsv").read_text("utf-8").split("\n")[:-1]
    return [(line.split("\t")[0], line.split("\t")[1]) for line in lines]


LEARN = ["train.learning_rate=1e-2", "train.batch_tokens=1024"]
STEPS = {"self_attention": 180, "convolutional": 180}  # of the others 100


@pytest.mark.parametrize("encoder", ENCODERS)
def test_each_encoder_learns_and_both_floors_say_the_same(encoder: str, data: Path, tmp_path: Path) -> None:
    """Every held-out sequence right, on either floor, from lines and from arrays, through a model folder."""
    torch.set_num_threads(1)
    steps = STEPS.get(encoder, 100)
    settings = [f"train.steps={steps}", f"train.validate_every={steps}", *LEARN]
    train(read_run_config(config_of(encoder, data), settings), tmp_path / "run")
    parts = read_model_folder(tmp_path / "run" / "last")
    assert parts.config.source_vectors and parts.config.source_size == len(parts.source_vocab) == SIZE + 2
    lines, targets = zip(*dev_of(data), strict=True)
    translators = [Translator.load(tmp_path / "run" / "last"), load_translator(tmp_path / "run" / "last", "cpu")]
    for search in (SearchConfig(beam=1), SearchConfig(beam=3, n_best=2, alignments=True)):
        for translator in translators:
            assert [said.text for said in translator.translate(lines, search)] == list(targets)
            again = translator.translate([*map(parse_vectors, lines), np.zeros((0, SIZE)), " "], search)
            assert [said.text for said in again] == [*targets, "", ""]
    assert again[0].source == f"{lines[0].count(';') + 1} vectors"
    assert again[0].source_tokens == [*map(str, range(1, lines[0].count(";") + 2)), "</s>"]
    assert again[0].answers[0].alignment.shape == (len(targets[0]) + 1, lines[0].count(";") + 2)
    scores = [[each.log_prob for each in translator.score(dev_of(data)[:7])] for translator in translators]
    same(np.array(scores[0]), np.array(scores[1]), 1e-4)
    samples = records(tmp_path / "run" / "samples.jsonl")
    assert {"source": f"{lines[0].count(';') + 1} vectors"}.items() <= samples[0].items()


# --- runs and commands ----------------------------------------------------------------------------------------------

SMALLEST = ["train.batch_tokens=192", "train.validate_every=6", "data.workers=0"]


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of twelve steps, with everything that is random; it has learnt next to nothing."""
    folder = tmp_path_factory.mktemp("run") / "run"
    torch.set_num_threads(1)
    train(read_run_config(config_of("bidirectional_rnn", data), [*SMALLEST, *EVERYTHING]), folder)
    return folder


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stopped_run_goes_on_to_the_same_bytes(run: Path, data: Path, tmp_path: Path, workers: int) -> None:
    settings = [*SMALLEST, *EVERYTHING, f"data.workers={workers}"]
    for steps in (5, 12):
        train(read_run_config(config_of("bidirectional_rnn", data), [*settings, f"train.steps={steps}"]), tmp_path)
    assert files(tmp_path / "last") == files(run / "last")


def test_a_number_of_a_file_that_is_none_is_told(data: Path, tmp_path: Path) -> None:
    config = config_of("bidirectional_rnn", data)
    first = (data / "dev.tsv").read_text("utf-8").split("\n")[0]
    for line, words in (
        ("1 2 3 4 5; 1 2 3 4", "vector 2 has 4 numbers instead of 5"),
        ("1 2 3", "vector 1 has 3 numbers instead of 5"),
        ("1 2 3 4 five", "vector 1: 'five' is no number"),
        ("1 2 3 4 nan", "vector 1, number 5 is nan"),
    ):
        (data / "bad.tsv").write_bytes(f"{first}\n{line}\tab\n".encode())
        for name in ("train", "dev"):
            with pytest.raises(DataError, match=rf"bad\.tsv:2: {re.escape(words)}"):
                train(read_run_config(config, [f'data.{name}=["bad.tsv"]']), tmp_path / name)


def test_a_given_vocabulary(run: Path, data: Path, tmp_path: Path) -> None:
    """A saved one scales as it did; one of words is refused, and one of vectors where text is wanted."""
    config, given = config_of("bidirectional_rnn", data), run / "source.vocab.json"
    train(read_run_config(config, [*SMALLEST, "train.steps=1", f"vocab.source.file={given}"]), tmp_path / "run")
    assert (tmp_path / "run" / "source.vocab.json").read_bytes() == given.read_bytes()
    wrong = [f"vocab.source.file={run / 'target.vocab.json'}"], [f"vocab.target.file={given}"]
    wrong = (*wrong, [f"vocab.source.file={given}", "vocab.source.level=words"])
    for settings, words in zip(wrong, ("is of text", "is of vectors", "is of vectors"), strict=True):
        with pytest.raises(ConfigError, match=words):
            train(read_run_config(config, [*SMALLEST, *settings]), tmp_path / "wrong")


REFUSED = {
    "vocab.target.level=vectors": r"target\.level .vectors.: what is answered is text",
    "vocab.joint=true": "joint: vectors have no vocabulary that text could share",
    'vocab.source.tags=["<a>"]': "a line of numbers has no tags",
    "vocab.source.columns=2": "no columns",
    "vocab.source.factors=1": "factors 1: the level must be one of words, delimited",
    "model.share_embeddings=true": "share_embeddings: the source is vectors",
    "model.decoder.copy=true": "copy: the source is vectors",
    "model.encoder={type='characters_to_words'}": "the encoder characters_to_words looks for ' '",
}


@pytest.mark.parametrize(("setting", "words"), REFUSED.items())
def test_what_vectors_cannot_have(setting: str, words: str, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        train(read_run_config(config_of("bidirectional_rnn", data), [*SMALLEST, setting]), tmp_path / "run")


def test_only_text_is_prepared_and_translated_back(run: Path, data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"vocab\.source\.level 'vectors': only text can be prepared"):
        short_config(CorpusConfig("x", files=(str(data / "dev.tsv"),)), {"vocab": {"source": {"level": "vectors"}}}, [])
    with pytest.raises(UsageError, match="the model reads vectors, so it cannot make a source"):
        form_of(load_translator(run, "cpu"), False, "")


def test_a_text_model_refuses_arrays(tmp_path: Path) -> None:
    translator = Translator.load(write_model(tmp_path / "model"))
    with pytest.raises(DataError, match="line 2: an ndarray; the model reads text"):
        translator.translate(["ein", np.zeros((2, 3))])


def test_a_vocabulary_of_another_model(run: Path, tmp_path: Path) -> None:
    parts = read_model_folder(run / "last")
    write_model_folder(tmp_path / "model", parts)
    words = build_vocab([" ".join(f"w{n}" for n in range(SIZE + 2 - 4))])
    save_vocab(words, tmp_path / "model" / "source.vocab.json")
    write_manifest(tmp_path / "model")
    with pytest.raises(ModelError, match=r"source\.vocab\.json: is of text, on this side the model has vectors"):
        read_model_folder(tmp_path / "model")


def test_the_commands(run: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Lines of numbers go through every command that text goes through; both floors say the same."""
    pairs = dev_of(data)[:6]
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes("".join(f"{line}\n" for line, _ in pairs).encode())
    target.write_bytes("".join(f"{text}\n" for _, text in pairs).encode())
    assert main(["export", str(run), str(tmp_path / "model")]) == 0
    files = ["--source", str(source), "--target", str(target)]
    said = []
    for command in (
        ["translate", "--input", str(source), "--alignments"],
        ["translate", "--input", str(source), "--json"],
        ["score", *files],
    ):
        capfd.readouterr()
        assert main([command[0], str(tmp_path / "model"), "--device", "cpu", *command[1:]]) == 0
        upper = capfd.readouterr().out
        assert ground_main([command[0], str(tmp_path / "model"), *command[1:]]) == 0
        said.append((upper, capfd.readouterr().out))
    assert said[0][0] == said[0][1] and said[0][0].count("\n") == len(pairs)
    for upper, ground in (said[1], said[2]):
        numbers = [re.findall(r"-?[0-9]+\.[0-9]+", text) for text in (upper, ground)]
        np.testing.assert_allclose(*(np.array(part, dtype=float) for part in numbers), atol=2e-4)
    assert [json.loads(line)["source"] for line in said[1][0].splitlines()] == [line for line, _ in pairs]
    page = str(tmp_path / "page.html")
    for command in (
        ["evaluate", "--data", str(data / "dev.tsv"), "--device", "cpu"],
        ["evaluate", "--source", str(source), "--reference", str(target), "--device", "cpu"],
        ["align", *files, "--device", "cpu"],
        ["inspect", "--input", str(source), "--reference", str(target), "--output", page, "--device", "cpu"],
        ["backtranslate", "--forward", "--input", str(source), "--device", "cpu"],
        ["report"],
    ):
        assert main([command[0], str(run), *command[1:]]) == 0, command
    picture = ["plot", "attention", str(run), pairs[0][0], "--output", str(tmp_path / "a.svg"), "--device", "cpu"]
    assert main(picture) == 0
    source.write_bytes(b"1 2 3 4 5\n1 2 3 4 5; 1 2\n")
    capfd.readouterr()
    assert ground_main(["translate", str(tmp_path / "model"), "--input", str(source)]) == 4
    assert "line 2: vector 2 has 2 numbers instead of 5" in capfd.readouterr().err
    long = "; ".join(["1 2 3 4 5"] * 9000)
    source.write_bytes(f"{long}\n".encode())
    assert ground_main(["translate", str(tmp_path / "model"), "--input", str(source), "--beam", "1"]) == 0


def test_short_products_leave_the_numbers_in_full(data: Path, tmp_path: Path) -> None:
    """In bfloat16 what was measured is multiplied in 32 bits: what comes out of the table is that of float32."""
    config = read_run_config(
        config_of("self_attention", data), [*SMALLEST, "train.steps=2", "train.precision=bfloat16"]
    )
    train(config, tmp_path / "run")
    translator = load_translator(tmp_path / "run", "cpu")
    rows = torch.from_numpy(translator.source_vocab.encode(dev_of(data)[0][0]))
    table = translator.model.encoder.embedding  # type: ignore[attr-defined]
    with torch.autocast("cpu", torch.bfloat16):
        found = table(rows)
    torch.testing.assert_close(found, rows @ table.weight, rtol=1e-6, atol=1e-6)


# --- the page and the example ---------------------------------------------------------------------------------------


def test_the_examples_of_the_page(tmp_path: Path) -> None:
    assert run_page(DOCS / "vectors.md", tmp_path) == 3


def test_the_example_writes_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strokes that stand where the digits are, in files without a common number; its configuration is read."""
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "strokes"))
    import strokes

    strokes.write_strokes(tmp_path, train=30, dev=20)
    seen: list[str] = []
    for name, count in (("train", 30), ("dev", 20)):
        lines = (tmp_path / f"{name}.tsv").read_text("utf-8").split("\n")[:-1]
        assert len(lines) == count
        for line in lines:
            source, number = line.split("\t")
            moves = parse_vectors(source, 3)
            assert set(moves[:, 2].tolist()) == {0.0, 1.0}
            lifted = int((moves[:, 2] == 0).sum())
            assert lifted == sum(len(strokes.DIGITS[digit]) for digit in number), "the pen is lifted before each line"
            assert moves[:, 0].sum() > 0.3 * (len(number) - 1), "digits stand side by side"
            seen.append(number)
    assert len(set(seen)) == 50
    config = read_run_config(ROOT / "examples" / "strokes" / "strokes.toml")
    assert config.vocab.source.level == "vectors"
