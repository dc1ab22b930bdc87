"""columns: each text is encoded as it is alone; models learn from both, and both floors and commands say the same."""

import json
import random
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pages import DOCS, fences
from sentencepiece_models import BEGIN, model
from sequencing.__main__ import main
from sequencing.loading import load_translator
from sequencing.run_config import read_run_config, run_config
from sequencing.train.loop import train
from sequencing_np.columns import SINGLE, ColumnsVocab
from sequencing_np.config import Origin
from sequencing_np.delimited import Vocab, build_vocab
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.factors import FactoredVocab
from sequencing_np.model_folder import read_model_folder
from sequencing_np.search import SearchConfig
from sequencing_np.special import END, Special, Vocabulary
from sequencing_np.subwords import BYTES, Subwords
from sequencing_np.tokenizers.huggingface_vocab import import_tokenizer
from sequencing_np.tokenizers.sentencepiece_vocab import import_model
from sequencing_np.translate import Translator
from sequencing_np.unigram import Unigram
from sequencing_np.vocab import VOCABULARIES
from small_runs import CONFIG as SMALL
from small_runs import write_config

EACH: dict[str, Vocabulary] = {
    "words": build_vocab(["a b <t> c"], tags=["<t>"]),
    "characters": Vocab(["a", " ", "<t>"], "", Special(4, 0, 3, 4), tags=["<t>"]),  # padded with EOS
    "factored": FactoredVocab(build_vocab(["a b <t>"], tags=["<t>"]), [["X", "Y"]]),
    "subwords": Subwords([*BYTES, "a", "\u2581", "\u2581a", "<t>"], tags=["<t>"]),
    "unigram": Unigram([*BYTES, "a", "\u2581", "<t>"], [*[None] * 256, -1.0, -2.0, None], tags=["<t>"]),
    "a SentencePiece model": import_model(model([*BEGIN, ("\u2581", -1, "normal"), ("a", -2, "normal")]), ["<t>"]),
    "a tokenizer.json": import_tokenizer({"model": {"type": "WordLevel", "vocab": {"a": 0}}}, ["<t>"]),
}
TEXTS = st.sampled_from(["", " ", "a", " a  b", "<t>a c", "</s> x", "ä\u2028"])
FACTORED = st.sampled_from(["", " ", "a|X", "  a|Y b|Z ", "<t>q|X"])

# --- text and ids ---------------------------------------------------------------------------------------------------


def test_by_hand() -> None:
    made = ColumnsVocab(build_vocab(["one two", "three <t>"], tags=["<t>"]), 3)
    assert (len(made), made.columns, made.tags, made.factor_sizes) == (8, 3, ("<t>",), ())
    assert made.tokens[4:] == ["<t>", "one", "three", "two"]
    assert made.encode("two<t>\t\t one four") == [7, 4, 3, 3, 5, 1, 3]
    assert made.encode("two\tone\t", bos=True) == [2, 7, 3, 5, 3, 3]
    assert made.pieces("two<t>\t\t one four") == ["two", "<t>", END, END, "one", "four", END]
    assert made.decode([2, 7, 3, 5, 1, 3, 3, 0, 0]) == "two\tone <unk>\t"
    assert made.tokens_of([2, 7, 3, 5, 1, 3, 4, 3, 0]) == ["two", END, "one", "<unk>", END, "<t>"]
    assert made.decode([7]) == "two\t\t" and made.decode([]) == "\t\t", "texts that are lacking are empty"
    for blank in ("", " ", "\t\t", " \t\t\u2003"):
        assert made.encode(blank) == [3, 3, 3] and made.pieces(blank) == [END] * 3


@pytest.mark.parametrize("name", EACH)
@given(st.data(), st.integers(2, 4), st.booleans())
def test_each_text_is_what_it_is_alone(name: str, data: st.DataObject, columns: int, bos: bool) -> None:
    each = EACH[name]
    texts = data.draw(st.lists(FACTORED if name == "factored" else TEXTS, min_size=columns, max_size=columns))
    made, line = ColumnsVocab(each, columns), "\t".join(texts)
    alone = [each.encode(text) for text in (texts if line.strip() else [""] * columns)]
    ids = made.encode(line, bos)
    assert ids == [made.special.bos] * bos + [token_id for row in alone for token_id in row]
    assert ids.count(made.special.eos) == columns and len(made.pieces(line)) == len(ids) - bos
    padded = [*ids, *[made.special.pad] * 3]
    assert made.decode(padded) == "\t".join(map(each.decode, alone))
    assert [*made.tokens_of(padded), END] == [token for row in alone for token in (*each.tokens_of(row), END)]
    again = ColumnsVocab.from_json(json.loads(json.dumps(made.to_json())))
    assert again.encode(line, bos) == ids and again.to_json() == made.to_json()


@pytest.mark.parametrize(("line", "met"), [("a", "1 column "), ("a\tb\tc", "3 columns "), ("a\t\t\t", "4 columns ")])
def test_lines_with_more_or_fewer_texts(line: str, met: str) -> None:
    for ask in (ColumnsVocab(EACH["words"], 2).encode, ColumnsVocab(EACH["words"], 2).pieces):
        with pytest.raises(DataError, match=f"^{met}instead of 2; write 2 texts in a line, one tab between two"):
            ask(line)


# --- what cannot be -------------------------------------------------------------------------------------------------

DOCUMENT = ColumnsVocab(EACH["words"], 2).to_json()
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "format": ({"format": 2}, "the format is 2"),
    "kind": ({"kind": "delimited"}, "the kind is 'delimited', not 'columns'"),
    "more": ({"tokens": []}, "the keys are"),
    "one": ({"columns": 1}, "the number of columns is 1; it must be 2 or more"),
    "true": ({"columns": True}, "the number of columns is True"),
    "half": ({"columns": 2.0}, "the number of columns is 2.0"),
    "each": ({"each": []}, "'each' is of type list"),
    "each's kind": ({"each": {**DOCUMENT["each"], "kind": "x"}}, "the kind of each column is 'x'; it can be delimited"),
    "in columns": ({"each": DOCUMENT}, "the kind of each column is 'columns'"),
    "each's words": ({"each": {**DOCUMENT["each"], "tokens": {}}}, "'tokens' is of type dict"),
}


@pytest.mark.parametrize(("change", "words"), BROKEN.values(), ids=BROKEN)
def test_broken_documents(change: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        ColumnsVocab.from_json({**DOCUMENT, **change})
    for key in DOCUMENT:
        with pytest.raises(DataError):
            ColumnsVocab.from_json({name: value for name, value in DOCUMENT.items() if name != key})


def test_every_vocabulary_can_be_a_column() -> None:
    assert set(VOCABULARIES) - set(SINGLE) == {"columns", "reversed", "vectors"}, "a line of vectors is no text"
    assert {each.to_json()["kind"] for each in EACH.values()} == set(SINGLE)


# --- from text to text ----------------------------------------------------------------------------------------------

ENCODER = """\
[model.encoder]
type = "several_sources"
embedding_size = 16
encoders = [
    { type = "bidirectional_rnn", embedding_size = 16, stack = { size = 32 } },
    { type = "rnn", embedding_size = 16, stack = { size = 32 } },
]
"""
STEPS = 250


def answer(first: str, second: str) -> str:
    """The first source, then the second from the right."""
    return first + second[::-1]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources of up to two of four letters; some are empty, never both. Half the data in a table, half in files."""
    folder = tmp_path_factory.mktemp("columns")
    words = ["", *"abcd", *(one + two for one in "abcd" for two in "abcd")]
    rows = [(first, second, answer(first, second)) for first in words for second in words if first or second]
    random.Random(1).shuffle(rows)
    table, files, dev = rows[:200], rows[200:380], rows[380:]
    for name, part in (("train", table), ("dev", dev)):
        (folder / f"{name}.tsv").write_bytes("".join("\t".join(row) + "\n" for row in part).encode())
    for name, column in zip(("first", "second", "target"), zip(*files, strict=True), strict=True):
        (folder / name).write_bytes("".join(f"{text}\n" for text in column).encode())
    text = re.sub(r"\[model\.encoder\].*?\n\n", f"{ENCODER}\n", SMALL, flags=re.DOTALL)
    text = text.replace('["train.tsv"]', '["train.tsv", ["first", "second", "target"]]')
    text = text.replace('source.level = "characters"', 'source = { level = "characters", columns = 2 }')
    text = text.replace("attention.size = 32", 'attention = { type = "parallel", size = 32 }')
    settings = [f"train.steps={STEPS}", f"train.validate_every={STEPS}", "train.learning_rate=1e-2"]
    torch.set_num_threads(1)
    train(read_run_config(write_config(folder, text), [*settings, "train.select=exact_match"]), folder / "run")
    return folder


def held_out(run: Path) -> tuple[list[str], list[str]]:
    rows = [line.rpartition("\t") for line in (run / "dev.tsv").read_text("utf-8").split("\n")[:-1]]
    return [source for source, _, _ in rows], [target for _, _, target in rows]


def test_what_needs_both_sources_is_learnt(run: Path) -> None:
    model = run / "run" / "best"
    vocab = read_model_folder(model).source_vocab
    assert vocab.columns == 2 and sorted(token for token in vocab.tokens if token) == list("abcd")
    sources, targets = held_out(run)
    assert any(source.startswith("\t") for source in sources) and any(source.endswith("\t") for source in sources)
    translators = [Translator.load(model), load_translator(model, "cpu")]
    for search in (SearchConfig(beam=1, alignments=True), SearchConfig(beam=3, n_best=2)):
        found = [translator.translate(sources, search) for translator in translators]
        texts = [[[said.text for said in each.answers] for each in part] for part in found]
        assert texts[0] == texts[1]
        right = [said[0] == target for said, target in zip(texts[0], targets, strict=True)]
        assert sum(right) >= 0.95 * len(right), f"{sum(right)} of {len(right)}"
    looked = translators[0].translate(["ab\tc"], SearchConfig(beam=1, alignments=True))[0]
    assert looked.source_tokens == ["a", "b", END, "c", END]
    alignment = looked.answers[0].alignment
    assert alignment is not None and alignment.shape[1] == 5 and not alignment[:, 3:].any()


def test_the_commands(run: Path, ground_floor: Any, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Without PyTorch and with it: translate, score and evaluate, from lines with tabs and from a table."""
    sources, targets = held_out(run)
    model, source, target = run / "run" / "best", tmp_path / "source", tmp_path / "target"
    source.write_bytes("".join(f"{text}\n" for text in [*sources[:9], "", *sources[9:]]).encode())
    target.write_bytes("".join(f"{text}\n" for text in [*targets[:9], "", *targets[9:]]).encode())
    paths = "--source", str(source), "--target", str(target)
    calls = [("translate", "--input", str(source), "--beam", "5"), ("score", *paths)]
    said = [ground_floor("-m", "sequencing_np", call[0], str(model), *call[1:]).stdout.decode() for call in calls]
    assert said[0].split("\n")[9] == ""
    for call, expected in zip(calls, said, strict=True):
        assert main([call[0], str(model), "--device", "cpu", *call[1:]]) == 0
        lines = capfd.readouterr().out
        if call[0] == "translate":
            assert lines == expected
        else:
            assert list(map(float, lines.split())) == pytest.approx(list(map(float, expected.split())), abs=1e-4)
    found = []
    data = [("--data", str(run / "dev.tsv")), ("--source", str(source), "--reference", str(target))]
    for files in data:
        assert main(["evaluate", str(model), "--device", "cpu", "--json", *files]) == 0
        found.append(json.loads(capfd.readouterr().out))
    assert [each["sentences"] for each in found] == [len(sources), len(sources) + 1]
    assert min(each["exact_match"] for each in found) >= 0.95


def test_a_bad_line_is_told(run: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    model = str(run / "run" / "best")
    for translator in (Translator.load(model), load_translator(model, "cpu")):
        with pytest.raises(DataError, match=r"line 12: 3 columns instead of 2"):
            list(translator.stream(["a\tb"] * 11 + ["a\tb\tc"], SearchConfig(beam=1), window=5))
        with pytest.raises(DataError, match=r"line 9: 1 column instead of 2"):
            translator.score([("a\tb", "c"), ("a", "c")], first=7)
    (tmp_path / "pairs.tsv").write_bytes(b"a\tb\tab\na\ta\n")
    (tmp_path / "one").write_bytes(b"a\n")
    for call, words in (
        (
            ("evaluate", "--data", "pairs.tsv"),
            "pairs.tsv:2: 2 columns instead of 3; a line of a TSV file is source 1, one",
        ),
        (("evaluate", "--source", "one", "--reference", "one"), "line 1: 1 column instead of 2"),
        (("score", "--source", "one", "--target", "one"), "line 1: 1 column instead of 2"),
        (("translate", "--input", "one"), "line 1: 1 column instead of 2"),
    ):
        files = [str(tmp_path / part) if (tmp_path / part).is_file() else part for part in call[1:]]
        assert main([call[0], model, "--device", "cpu", *files]) == 4
        assert words in capfd.readouterr().err


def test_data_with_more_or_fewer_columns(run: Path, tmp_path: Path) -> None:
    config = run / "run.toml"
    (run / "bad.tsv").write_bytes(b"a\tb\tab\na\ta\n")
    for name in ("train", "dev"):
        with pytest.raises(
            DataError, match=r"bad\.tsv:2: 2 columns instead of 3; .* source 1, one tab, source 2, one tab"
        ):
            train(read_run_config(config, [f'data.{name}=["bad.tsv"]']), tmp_path / name)
    change = ['data.train=["one.tsv"]', 'data.dev=["one.tsv"]', "vocab.source.columns=1"]
    (run / "one.tsv").write_bytes(b"a\ta\n")
    with pytest.raises(
        ConfigError, match=r"2 encoders, one for .* has 1 column; set vocab\.source\.columns = 2, or give 1"
    ):
        train(read_run_config(config, change), tmp_path / "one")


def test_sources_as_one_text(run: Path, tmp_path: Path) -> None:
    """An encoder that knows of one text reads all of them, with the end symbols between."""
    settings = ['model.encoder={type="rnn", embedding_size=16}', "model.decoder.attention.type=dot", "train.steps=2"]
    settings += ["model.decoder.stack.size=256"]
    train(read_run_config(run / "run.toml", settings), tmp_path / "run")
    for translator in (Translator.load(tmp_path / "run" / "last"), load_translator(tmp_path / "run", "cpu", "last")):
        found = translator.translate(["ab\tc"], SearchConfig(beam=1, alignments=True))[0]
        assert found.source_tokens == ["a", "b", END, "c", END]
        alignment = found.answers[0].alignment
        assert alignment is not None and (alignment > 0).all()


def test_the_configuration_of_the_page() -> None:
    """docs/text.md: what it says of several sources is a whole configuration."""
    tables = [tomllib.loads(fence.body) for fence in fences(DOCS / "text.md") if fence.language == "toml"]
    (whole,) = (table for table in tables if "model" in table)
    config = run_config(whole, Origin("docs/text.md"))
    assert config.vocab.source.columns == len(config.model.encoder.encoders) == 2
