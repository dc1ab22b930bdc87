"""factors: one id holds a word and its factors; text comes back, models learn from them, both floors say the same."""

import dataclasses
import json
import re
import tomllib
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from architectures import same
from pages import DOCS, fences, run_page
from sequencing.loading import load_translator
from sequencing.model import Model as TorchModel
from sequencing.run_config import VocabConfig, read_run_config
from sequencing.train.loop import train
from sequencing_np.config import Origin, build
from sequencing_np.errors import ConfigError, DataError, ModelError
from sequencing_np.factors import FactoredVocab, FactorReader
from sequencing_np.manifest import write_manifest
from sequencing_np.model import ModelConfig, build_model, model_config
from sequencing_np.model_folder import CONFIG, read_model_folder, write_model_folder
from sequencing_np.search import SearchConfig
from sequencing_np.special import Special
from sequencing_np.translate import Translator
from sequencing_np.vocab import Vocab, load_vocab, save_vocab
from sequencing_np.weights import nest
from small_runs import CONFIG as SMALL
from small_runs import write_config

WORDS = ["der", "Hund", "<2de>", "bellt"]
TYPES, GENDERS = ["NOUN", "DET", "<unk>"], ["masc", "fem"]


def vocab(special: Special = Special(), separator: str = "|", delimiter: str = " ") -> FactoredVocab:
    return FactoredVocab(Vocab(WORDS, delimiter, special, tags=["<2de>"]), [TYPES, GENDERS], separator)


# --- text and ids ---------------------------------------------------------------------------------------------------


def test_by_hand() -> None:
    """Eight words; of the five types the first two are none and unknown, as of the four genders."""
    made = vocab()
    assert (len(made), made.factor_sizes, made.special, made.tags) == (8, (5, 4), Special(), ("<2de>",))
    assert made.encode("der|DET|masc") == [4 + 8 * (3 + 5 * 2), 3]
    assert made.encode("Hund|NOUN|neut") == [5 + 8 * (2 + 5 * 1), 3], "an unknown value"
    assert made.encode("Katze|NOUN|fem") == [1 + 8 * (2 + 5 * 3), 3], "an unknown word keeps its factors"
    assert made.encode("<2de>") == [6, 3] and made.encode("") == [3], "tags and special ids have none"
    assert made.encode(" <2de>der|X|X ", bos=True) == [2, 6, 4 + 8 * (1 + 5 * 1), 3]
    ids = made.encode("<2de>  der|DET|masc Katze|NOUN|neut")
    assert made.decode([*ids, 99]) == "<2de> der|DET|masc <unk>|NOUN|<unk>"
    assert made.tokens_of([2, *ids, 0]) == ["<2de>", "der|DET|masc", "<unk>|NOUN|<unk>"]
    assert made.pieces("<2de>x|y|z  Katze|NOUN|neut") == ["<2de>", "x|y|z", "Katze|NOUN|neut", "</s>"]
    assert made.encode("</s>|DET|masc")[0] == 1 + 8 * (3 + 5 * 2), "the text of a special token is ordinary text"
    with pytest.raises(DataError, match="the id 160 is outside the 160 ids"):
        made.decode([160])


PARTS = (
    st.sampled_from([*WORDS[:2], "bellt", "Katze"]),
    st.sampled_from([*TYPES, "V"]),
    st.sampled_from([*GENDERS, "x"]),
)
SENTENCES = st.lists(st.tuples(*PARTS))
SPECIALS = [Special(0, 1, 2, 3), Special(2, 0, 1, 2), Special(6, 4, 5, 6)]


@given(SENTENCES, st.sampled_from(SPECIALS), st.sampled_from(["|", "::"]), st.sampled_from([" ", ", "]))
def test_ids_are_words_and_factors(
    rows: list[tuple[str, ...]], special: Special, separator: str, delimiter: str
) -> None:
    made = vocab(special, separator, delimiter)
    text = delimiter.join(separator.join(row) for row in rows)
    ids = made.encode(text)
    assert ids[-1] == special.eos and not set(ids[:-1]) & {special.pad, special.bos, special.eos}
    assert [token_id % len(made) for token_id in ids] == made.words.encode(delimiter.join(row[0] for row in rows))
    for token_id, row in zip(ids, rows, strict=False):
        for unit, values, value in ((len(made), TYPES, row[1]), (len(made) * 5, GENDERS, row[2])):
            number = values.index(value) + 2 if value in values else 1
            assert token_id // unit % (len(values) + 2) == number
    known = [
        [part if part in names else "<unk>" for part, names in zip(row, (WORDS, TYPES, GENDERS), strict=True)]
        for row in rows
    ]
    assert made.decode(ids) == delimiter.join(separator.join(row) for row in known)
    assert made.tokens_of(ids) == [separator.join(row) for row in known]
    assert made.encode(text, bos=True) == [special.bos, *ids]
    assert made.pieces(text) == [*(separator.join(row) for row in rows), "</s>"]
    again = FactoredVocab.from_json(json.loads(json.dumps(made.to_json())))
    assert again.encode(text) == ids and again.to_json() == made.to_json()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("der", "the token 'der' has 0 of 2 factors; write every token as word|factor1|factor2"),
        ("der|DET|masc Hund|NOUN", "the token 'Hund|NOUN' has 1 of 2 factors"),
        ("der|DET|masc|x", "the token 'der|DET|masc|x' has 3 of 2 factors"),
        ("der||masc", "the token 'der||masc' has an empty part"),
        ("|DET|masc", "the token '|DET|masc' has an empty part"),
        ("<2de>|DET|masc", "the token '|DET|masc' has an empty part"),
    ],
)
def test_tokens_that_are_not_whole(text: str, words: str) -> None:
    with pytest.raises(DataError, match=re.escape(words)):
        vocab().encode(text)
    with pytest.raises(DataError, match=re.escape(words)):
        FactorReader(2, tags=["<2de>"]).words_of(text)


def test_what_was_read_is_counted() -> None:
    reader = FactorReader(2, tags=["<2de>"])
    lines = ["<2de>der|DET|m  Hund|NOUN|m", "", "Katze|NOUN|f Maus|NOUN|f"]
    assert [reader.words_of(line) for line in lines] == ["<2de> der Hund", "", "Katze Maus"]
    assert reader.values() == [["NOUN", "DET"], ["f", "m"]]


# --- what cannot be -------------------------------------------------------------------------------------------------


def test_ids_fit_into_32_bits() -> None:
    words = Vocab([f"w{number}" for number in range((1 << 13) - 4)])
    values = [str(number) for number in range((1 << 9) - 2)]
    largest = FactoredVocab(words, [values, values])
    assert largest.encode(f"w{(1 << 13) - 5}|{values[-1]}|{values[-1]}")[0] == (1 << 31) - 1
    with pytest.raises(DataError, match="8192 words with factors of 513, 512 values make 2151677952 ids"):
        FactoredVocab(words, [[*values, "one"], values])
    with pytest.raises(ConfigError, match="source_factors"):
        ModelConfig(None, None, source_size=1 << 13, source_factors=(1 << 9, (1 << 9) + 1))
    with pytest.raises(ConfigError, match="source_factors"):
        ModelConfig(None, None, source_factors=(3, 0))


DOCUMENT = vocab().to_json()
BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "format": ({"format": 2}, "the format is 2"),
    "kind": ({"kind": "delimited"}, "the kind is 'delimited', not 'factored'"),
    "more": ({"tokens": []}, "the keys are"),
    "words": ({"words": []}, "'words' is of type list"),
    "words' words": ({"words": {**DOCUMENT["words"], "kind": "subword"}}, "the kind is 'subword', not 'delimited'"),
    "characters": ({"words": {**DOCUMENT["words"], "delimiter": ""}}, "characters have no factors"),
    "factors": ({"factors": {}}, "'factors' must be a list of lists"),
    "factor": ({"factors": ["ab"]}, "'factors' must be a list of lists"),
    "no factors": ({"factors": []}, "there are no factors"),
    "value": ({"factors": [["a", 1]]}, "factor 1, value 2: the token 1 is no string"),
    "empty value": ({"factors": [["a"], [""]]}, "factor 2, value 1: the token is empty"),
    "value twice": ({"factors": [["a", "a"]]}, "factor 1: the value 'a' stands twice"),
    "value with separator": ({"factors": [["a|b"]]}, "holds what separates"),
    "value with delimiter": ({"factors": [["a b"]]}, "holds what separates"),
    "separator": ({"separator": 1}, "the factor separator: the token 1 is no string"),
    "no separator": ({"separator": ""}, "the factor separator: the token is empty"),
    "blank separator": ({"separator": "\t"}, "the factor separator is"),
}


@pytest.mark.parametrize(("change", "words"), BROKEN.values(), ids=BROKEN)
def test_broken_documents(change: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        FactoredVocab.from_json({**DOCUMENT, **change})
    for key in DOCUMENT:
        with pytest.raises(DataError):
            FactoredVocab.from_json({name: value for name, value in DOCUMENT.items() if name != key})


# --- models ---------------------------------------------------------------------------------------------------------


def architecture(share: bool = False) -> ModelConfig:
    values = {
        "encoder": {"embedding_size": 5, "stack": {"size": 7}},
        "decoder": {"embedding_size": 5, "stack": {"size": 11}, "readout_size": 5},
        "share_embeddings": share,
        "source_size": 13,
        "target_size": 13,
        "source_factors": [3, 2],
    }
    return model_config(values, Origin("test"))


@pytest.mark.parametrize("share", [False, True])
def test_the_decoder_sees_words_alone(share: bool) -> None:
    """The memory's tokens are word ids; what source and target share is the table of words."""
    native = TorchModel(architecture(share)).double().eval().requires_grad_(False)
    below = build_model(architecture(share), nest(native.weights()))
    tables = {name: array.shape for name, array in native.weights().items() if "embedding" in name}
    own = {} if share else {"decoder.embedding.weight": (13, 5)}
    factors = {"encoder.embedding.factors.0.weight": (3, 5), "encoder.embedding.factors.1.weight": (2, 5)}
    assert tables == {"encoder.embedding.weight": (13, 5), **factors, **own}
    words = np.array([[4, 12, 3], [1, 3, 0]])
    mask = np.array([[True, True, True], [True, True, False]])
    plain = below.encode(words, mask)
    for ids in (words, words + 13 * np.array([[5, 2, 0], [1, 0, 0]])):
        memories = [model.encode(ids, mask) for model in (below, native)]
        same(*memories)
        same(memories[0].tokens, words, 0)
        assert np.allclose(memories[0].values, plain.values) == (ids is words)


def test_tables_that_do_not_fit() -> None:
    weights = TorchModel(architecture()).weights()
    first, second = (weights[f"encoder.embedding.factors.{number}.weight"] for number in range(2))
    for change in (
        {"encoder.embedding.factors.0.weight": first[:-1]},
        {"encoder.embedding.factors.1.weight": second[:, :1]},
        {"encoder.embedding.factors.2.weight": second},
        {"decoder.embedding.factors.0.weight": first},
        {"encoder.embedding.factors.0.factors.0.weight": first},
    ):
        with pytest.raises(ModelError):
            build_model(architecture(), nest({**weights, **change}))
    with pytest.raises(ModelError):
        build_model(dataclasses.replace(architecture(), source_factors=()), nest(weights))


# --- from text to text ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every source word is x: what to say, and whether in small letters, only its two factors tell."""
    folder = tmp_path_factory.mktemp("factored")
    letters = [(letter, size) for letter in "abc" for size in "sl"]
    rows = [row for length in (1, 2, 3) for row in product(letters, repeat=length)]
    lines = []
    for number, row in enumerate(rows):
        source = " ".join(f"x|{letter}|{size}" for letter, size in row)
        lines.append(f"<{number % 2}>{source}\t{''.join(a.upper() if size == 'l' else a for a, size in row)}\n")
    (folder / "train.tsv").write_bytes("".join(lines[::2] + lines[3::4]).encode())
    (folder / "dev.tsv").write_bytes("".join(lines[1::4]).encode())
    text = SMALL.replace('source.level = "characters"', 'source = { factors = 2, tags = ["<0>", "<1>"] }')
    config = write_config(folder, text)

    settings = ["train.steps=150", "train.validate_every=150", "train.select=exact_match", "train.learning_rate=1e-2"]
    torch.set_num_threads(1)
    train(read_run_config(config, settings), folder / "run")
    return folder


def test_what_only_factors_tell_is_learnt(run: Path) -> None:
    model = run / "run" / "best"
    read = read_model_folder(model)
    assert read.config.source_factors == read.source_vocab.factor_sizes == (5, 4)
    assert read.config.source_size == len(read.source_vocab) == 4 + 2 + 1
    rows = [line.split("\t") for line in (run / "dev.tsv").read_text("utf-8").split("\n")[:-1]]
    sources, targets = zip(*rows, strict=True)
    translators = [Translator.load(model), load_translator(model, "cpu")]
    for search in (SearchConfig(beam=1), SearchConfig(beam=3, n_best=2)):
        found = [translator.translate(sources, search) for translator in translators]
        texts = [[[answer.text for answer in each.answers] for each in said] for said in found]
        assert texts[0] == texts[1]
        right = [said[0] == target for said, target in zip(texts[0], targets, strict=True)]
        assert sum(right) >= 0.95 * len(right), f"{sum(right)} of {len(right)}"
    assert found[0][0].source_tokens == [*re.sub("(<.>)", r"\1 ", sources[0]).split(), "</s>"]
    scores = [[each.log_prob for each in translator.score(rows[:5])] for translator in translators]
    same(np.array(scores[0]), np.array(scores[1]), 1e-4)


def test_a_bad_line_is_told(run: Path, tmp_path: Path) -> None:
    for translator in (Translator.load(run / "run" / "best"), load_translator(run / "run" / "best", "cpu")):
        with pytest.raises(DataError, match=r"line 12: the token 'x\|a' has 1 of 2 factors"):
            list(translator.stream(["x|a|s"] * 11 + ["x|a|s x|a"], SearchConfig(beam=1), window=5))

    config = run / "run.toml"
    (run / "bad.tsv").write_bytes(b"x|a|s\ta\nx|a|s x|b|s|s\tab\n")
    for name in ("train", "dev"):
        with pytest.raises(DataError, match=r"bad\.tsv:2: the token 'x\|b\|s\|s' has 3 of 2 factors"):
            train(read_run_config(config, [f'data.{name}=["bad.tsv"]']), tmp_path / name)


def test_a_vocabulary_of_another_model(run: Path, tmp_path: Path) -> None:
    parts = read_model_folder(run / "run" / "best")
    write_model_folder(tmp_path / "model", parts)
    file = tmp_path / "model" / "source.vocab.json"
    source = load_vocab(file)
    document = source.to_json()
    for changed in (document["words"], {**document, "factors": [*document["factors"], ["new"]]}):
        kinds: dict[str, Any] = {"delimited": Vocab, "factored": FactoredVocab}
        save_vocab(kinds[changed["kind"]].from_json(changed), file)
        write_manifest(tmp_path / "model")
        with pytest.raises(ModelError, match=r"source\.vocab\.json: factors of .* values, the model has \[5, 4\]"):
            read_model_folder(tmp_path / "model")
    assert (tmp_path / "model" / CONFIG).is_file()


# --- the page -------------------------------------------------------------------------------------------------------


def test_the_examples_of_the_page(tmp_path: Path) -> None:
    """docs/text.md: its sessions run, and its configurations are read."""
    page = DOCS / "text.md"
    assert run_page(page, tmp_path) >= 2
    tables = [tomllib.loads(fence.body) for fence in fences(page) if fence.language == "toml"]
    configs = [build(VocabConfig, table["vocab"], Origin("docs/text.md"), ("vocab",)) for table in tables]
    said = [(config.source.tags, config.source.factors, config.source.columns) for config in configs]
    assert said == [((), 0, 1), (("<2de>", "<2fr>"), 0, 1), ((), 2, 1), ((), 0, 2), ((), 0, 1)]
    assert [config.source.reversed for config in configs] == [False] * 4 + [True]
    for field in dataclasses.fields(configs[0].source):
        assert f"`{field.name}`" in page.read_text("utf-8"), f"{field.name} is not on the page"
