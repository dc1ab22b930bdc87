"""foreign: a vocabulary file is known by what is in it, becomes ours, and damaged ones are refused in words."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from huggingface_examples import FILE, PROBES
from sentencepiece_models import BEGIN, model
from sequencing.__main__ import main
from sequencing.run_config import SideConfig, VocabConfig
from sequencing.vocabularies import build_side
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.foreign import import_vocab, is_whole_vocab
from sequencing_np.tokenizers.huggingface_vocab import HuggingFaceVocab
from sequencing_np.tokenizers.sentencepiece_vocab import SentencePieceVocab
from sequencing_np.unigram import Unigram
from sequencing_np.vocab import build_vocab, load_vocab, save_vocab

PIECES = [*BEGIN, ("\u2581", -1, "normal"), ("a", -2, "normal"), ("ab", -3, "normal")]
TOKENIZERS = {name: example["tokenizer"] for name, example in json.loads(FILE.read_bytes()).items()}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """One file of each form, their names saying nothing."""
    contents = {
        "model": model(PIECES),
        "tokenizer": json.dumps(TOKENIZERS["BERT"]).encode(),
        "ours": b"",
        "lines": b"a\nb\n",
        "braces": b"{\nb\n",
        "empty": b"",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    save_vocab(build_vocab(["a b"]), tmp_path / "ours")
    return {name: str(tmp_path / name) for name in contents}


def test_files_are_known_by_their_content(files: dict[str, str], tmp_path: Path) -> None:
    assert [name for name, path in files.items() if is_whole_vocab(path)] == ["model", "tokenizer", "ours"]
    assert not is_whole_vocab(tmp_path / "none") and not is_whole_vocab(tmp_path)
    assert is_whole_vocab("any.json") and is_whole_vocab("any.model")
    assert isinstance(import_vocab(files["model"]), SentencePieceVocab)
    assert isinstance(import_vocab(files["tokenizer"]), HuggingFaceVocab)
    assert import_vocab(files["ours"]).to_json() == build_vocab(["a b"]).to_json()
    for name, words in (
        ("lines", "neither a SentencePiece model nor JSON"),
        ("braces", "not JSON"),
        ("empty", "neither"),
    ):
        with pytest.raises(DataError, match=words) as told:
            import_vocab(files[name])
        assert str(told.value).startswith(files[name])
    with pytest.raises(DataError, match=r"none: cannot be opened"):
        import_vocab(tmp_path / "none")


def test_imported_is_saved_and_loaded(files: dict[str, str], tmp_path: Path) -> None:
    for name in ("model", "tokenizer"):
        vocab = import_vocab(files[name], ["<2de>"])
        save_vocab(vocab, tmp_path / "saved.json")
        again = load_vocab(tmp_path / "saved.json")
        assert type(again) is type(vocab) and again.to_json() == vocab.to_json() and again.tags == ("<2de>",)
        assert [again.encode(text) for text in PROBES] == [vocab.encode(text) for text in PROBES]


def test_in_a_configuration(files: dict[str, str]) -> None:
    for name in ("model", "tokenizer"):
        vocab = build_side(SideConfig("subwords", file=files[name], tags=("<2de>",)), iter([]))
        assert vocab.tags == ("<2de>",) and vocab.to_json() == import_vocab(files[name], ["<2de>"]).to_json()
    build_side(SideConfig("subwords", file=files["model"], dropout=0.3), iter([]))
    with pytest.raises(ConfigError, match=r"tokenizer: dropout 0\.3: leaves out merges"):
        build_side(SideConfig("subwords", file=files["tokenizer"], dropout=0.3), iter([]))
    with pytest.raises(ConfigError, match="it has 0 factors, factors is 1"):
        build_side(SideConfig(factors=1, file=files["model"]), iter([]))
    assert build_side(SideConfig(file=files["lines"]), iter([])).encode("b a") == [5, 4, 3]


def test_the_algorithm_of_a_side() -> None:
    pytest.importorskip("sentencepiece")
    lines = [f"{one} und {other}" for one in ("haus", "maus", "laus") for other in ("hausmaus", "mauslaus")] * 5
    vocab = build_side(SideConfig("subwords", size=272, algorithm="unigram", dropout=0.1), iter(lines))
    assert isinstance(vocab, Unigram) and len(vocab) == 272
    assert VocabConfig(SideConfig("subwords", algorithm="unigram")).source.algorithm == "unigram"
    with pytest.raises(ConfigError, match=r"algorithm = 'bp': "):
        SideConfig("subwords", algorithm="bp")
    with pytest.raises(
        ConfigError, match="algorithm 'unigram': says how subwords are learnt, and level 'words' has none"
    ):
        SideConfig(algorithm="unigram")


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_imports(files: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = str(tmp_path / "new.json")
    for name in ("model", "tokenizer"):
        assert main(["vocab", files[name], "--tag", "<2de>", "--output", output]) == 0
        assert load_vocab(output).to_json() == import_vocab(files[name], ["<2de>"]).to_json()
    assert main(["vocab", files["ours"], "--output", output]) == 0
    refused = [
        [files["model"]],
        [files["model"], files["lines"], "--output", output],
        [files["model"], "--output", output, "--level", "characters"],
        [files["model"], "--output", output, "--size", "99"],
        [files["model"], "--output", output, "--column", "1"],
        [files["ours"], "--output", output, "--tag", "<2de>"],
    ]
    for arguments in refused:
        assert main(["vocab", *arguments]) == 2, arguments
    assert main(["vocab", str(tmp_path / "none.model"), "--output", output]) == 4
    capsys.readouterr()


def test_the_command_learns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tags, factors and the algorithm, as a configuration has them."""
    (tmp_path / "text").write_bytes(b"<2de> a|X b|Y\n<2de> b|Y\n")
    output = str(tmp_path / "new.json")
    assert (
        main(
            ["vocab", str(tmp_path / "text"), "--tag", "<2de>", "--tag", "<2fr>", "--factors", "1", "--output", output]
        )
        == 0
    )
    vocab = load_vocab(output)
    assert vocab.tags == ("<2de>", "<2fr>") and vocab.factor_sizes == (4,)
    assert vocab.decode(vocab.encode("<2de>a|Y")) == "<2de> a|Y"
    assert main(["vocab", str(tmp_path / "text"), "--tag", "<2de>"]) == 0
    assert capsys.readouterr().out == "<2de>\t2\na|X\t1\nb|Y\t2\n".replace("a|X\t1\nb|Y\t2", "b|Y\t2\na|X\t1")
    for options in (["--factors", "1"], ["--factor-separator", "+"], ["--algorithm", "unigram"], ["--tag", "a b"]):
        assert main(["vocab", str(tmp_path / "text"), *options]) == 2, options
    pytest.importorskip("sentencepiece")
    (tmp_path / "more").write_bytes(b"".join(b"haus maus laus %d\n" % number for number in range(200)))
    options = ["--level", "subwords", "--algorithm", "unigram", "--size", "285", "--output", output]
    assert main(["vocab", str(tmp_path / "more"), *options]) == 0
    assert isinstance(load_vocab(output), Unigram)


# --- damaged files --------------------------------------------------------------------------------------------------


def spots(content: bytes, count: int) -> list[bytes]:
    """Some cuts, and some bytes changed, of a file too large for all of them."""
    generator = random.Random(1)
    damaged = [content[: generator.randrange(len(content))] for _ in range(count // 4)]
    for _ in range(count):
        place = generator.randrange(len(content))
        byte = bytes([content[place] ^ generator.choice([0x01, 0x20, 0x80, 0x02, 0x10])])
        damaged.append(content[:place] + byte + content[place + 1 :])
    return damaged


@pytest.mark.parametrize("name", TOKENIZERS)
def test_damaged_tokenizers(name: str, tmp_path: Path) -> None:
    """T01, T04: a documented error, or a vocabulary that works; never another exception."""
    path = tmp_path / "tokenizer.json"
    for data in spots(json.dumps(TOKENIZERS[name], ensure_ascii=False).encode(), 120):
        path.write_bytes(data)
        check(path)


@pytest.mark.parametrize("name", ["model", "tokenizer"])
def test_damaged_vocabularies_of_ours(name: str, files: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "vocab.json"
    save_vocab(import_vocab(files[name]), path)
    for data in spots(path.read_bytes(), 200):
        path.write_bytes(data)
        check(path)


def check(path: Path) -> None:
    try:
        vocab = import_vocab(path)
        for text in PROBES[:8]:
            assert max(vocab.encode(text)) < len(vocab)
            vocab.decode(vocab.encode(text))
    except DataError as error:
        assert str(error)


STRUCTURES: list[Any] = [None, True, -1, 10**30, 1.5, "", "x", "\ud800", [], [[]], {}, {"type": "NFC"}, {"type": []}]


@pytest.mark.parametrize("name", ["BERT", "T5", "Llama 2", "RoBERTa"])
def test_any_value_anywhere(name: str) -> None:
    """Each part of a document, and each part of those parts, replaced by what does not belong there."""
    from sequencing_np.tokenizers.huggingface_vocab import import_tokenizer

    for value in STRUCTURES:
        for key in TOKENIZERS[name]:
            whole = {**TOKENIZERS[name], key: value}
            parts = TOKENIZERS[name][key]
            inner = (
                [{**TOKENIZERS[name], key: {**parts, one: value}} for one in parts] if isinstance(parts, dict) else []
            )
            rows = (
                [{**TOKENIZERS[name], key: [*parts[:-1], {**parts[-1], one: value}]} for one in parts[-1]]
                if isinstance(parts, list) and parts
                else []
            )
            for document in (whole, *inner, *rows):
                try:
                    vocab = import_tokenizer(document)
                    json.dumps(vocab.to_json(), ensure_ascii=False).encode()
                    for text in PROBES[:6]:
                        vocab.decode(vocab.encode(text))
                except DataError as error:
                    assert str(error)
