"""reversal: a source is read backwards on both floors, and what is said of it stands in the order of its text."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from architectures import WORDS, architecture, model_on, name_of
from reversing_model import reversing, word
from sequencing.__main__ import main as upper
from sequencing.forced_alignment import align
from sequencing.loading import load_translator
from sequencing.run_config import SideConfig, VocabConfig, read_run_config
from sequencing.train.loop import train
from sequencing.vocabularies import build_side, build_vocabularies
from sequencing_np.__main__ import main as ground
from sequencing_np.columns import ColumnsVocab
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.limits import Limits
from sequencing_np.model_folder import read_model_folder
from sequencing_np.reversal import WRAPPED, ReversedVocab, backwards
from sequencing_np.search import SearchConfig
from sequencing_np.special import END
from sequencing_np.translate import Translator
from sequencing_np.vocab import VOCABULARIES, Vocab, build_vocab, save_vocab
from small_runs import CONFIG, write_config, write_pairs
from test_columns import EACH, FACTORED, TEXTS

LIMITS = Limits(1.0, 4)
LINES = ["w4 w5 w6", "w7", "w4 nobody w9 w9 w9 w10 w11", "", "w12 w4"]


@given(st.lists(st.integers(0, 4)))
def test_twice_is_never(ids: list[int]) -> None:
    places = backwards(ids, 3)
    turned = [ids[place] for place in places]
    assert sorted(places) == list(range(len(ids)))
    assert [turned[place] for place in backwards(turned, 3)] == ids
    assert [place for place, token in enumerate(turned) if token == 3] == [p for p, t in enumerate(ids) if t == 3]


def test_by_hand() -> None:
    made = ReversedVocab(build_vocab(["one two", "three <t>"], tags=["<t>"]))
    assert made.encode("<t>two one") == [5, 7, 4, 3] and made.encode("two one", bos=True) == [2, 5, 7, 3]
    assert made.pieces("<t>two four") == ["four", "two", "<t>", END]
    assert made.decode([2, 5, 7, 3, 0, 0]) == "two one" and made.decode([5, 7]) == "two one"
    assert made.tokens_of([5, 1, 3]) == ["one", "<unk>"]
    texts = ReversedVocab(ColumnsVocab(build_vocab(["a b c"]), 2))
    assert texts.encode("a b\tc a") == [5, 4, 3, 4, 6, 3] and texts.decode([5, 4, 3, 4, 6, 3]) == "a b\tc a"


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("name", EACH)
@given(st.data())
def test_each_text_from_its_end(name: str, columns: int, data: st.DataObject) -> None:
    each = EACH[name] if columns == 1 else ColumnsVocab(EACH[name], columns)
    texts = data.draw(st.lists(FACTORED if name == "factored" else TEXTS, min_size=columns, max_size=columns))
    line, eos, made = "\t".join(texts), each.special.eos, ReversedVocab(each)
    ids, plain = made.encode(line), each.encode(line)
    ends = [place for place, token in enumerate(plain) if token == eos]
    begin = 0
    for end in ends:
        assert ids[begin:end] == plain[begin:end][::-1] and ids[end] == eos
        assert made.pieces(line)[begin:end] == each.pieces(line)[begin:end][::-1]
        begin = end + 1
    assert begin == len(ids) and made.decode([*ids, made.special.pad]) == each.decode(plain)
    again = ReversedVocab.from_json(json.loads(json.dumps(made.to_json())))
    assert again.encode(line) == ids and again.to_json() == made.to_json()


def test_broken_documents() -> None:
    document = ReversedVocab(EACH["words"]).to_json()
    for change, words in (
        ({"kind": "columns"}, "the kind is 'columns', not 'reversed'"),
        ({"tokens": []}, "the keys are"),
        ({"each": []}, "the kind of what is reversed is None; it can be delimited"),
        ({"each": document}, "the kind of what is reversed is 'reversed'"),
    ):
        with pytest.raises(DataError, match=words):
            ReversedVocab.from_json({**document, **change})
    with pytest.raises(DataError, match="reversed already"):
        ReversedVocab(ReversedVocab(EACH["words"]))
    assert set(VOCABULARIES) - set(WRAPPED) == {"reversed", "vectors"}, "vectors are read as they stand"


# --- what a model is asked, and what is said of it ------------------------------------------------------------------


def vocab(size: int) -> Vocab:
    return Vocab([f"w{token}" for token in range(4, size)])


@pytest.mark.parametrize("floor", ["numpy", "torch"])
@pytest.mark.parametrize("index", WORDS[::11], ids=name_of)
def test_as_the_same_model_with_a_turned_text(index: int, floor: str) -> None:
    """The answers to a text are those to the turned text; source tokens and attention are turned back."""
    config, model = architecture(index), model_on(index, floor)
    source, target = vocab(config.source_size), vocab(config.target_size)
    search = SearchConfig(beam=3, n_best=2, alignments=True)
    turned = [" ".join(line.split()[::-1]) for line in LINES]
    expected = Translator(model, source, target, LIMITS).translate(turned, search)
    found = Translator(model, ReversedVocab(source), target, LIMITS).translate(LINES, search)
    for line, one, other in zip(LINES, found, expected, strict=True):
        assert one.source == line and one.source_tokens == [*line.split(), END]
        assert [answer.text for answer in one.answers] == [answer.text for answer in other.answers]
        for mine, theirs in zip(one.answers, other.answers, strict=True):
            if mine.alignment is not None:
                back = np.concatenate([theirs.alignment[:, -2::-1], theirs.alignment[:, -1:]], axis=1)
                np.testing.assert_array_equal(mine.alignment, back)


def test_who_reads_backwards_looks_along_the_diagonal() -> None:
    """A model that has learnt to turn words round repeats them when it reads from the end; align says so as well."""
    words = [word(random.Random(seed)) for seed in range(40)]
    plain = reversing("one head")
    translator = Translator(plain.model, ReversedVocab(plain.source_vocab), plain.target_vocab, plain.limits)
    answers = translator.translate(words, SearchConfig(beam=2))
    assert np.mean([answer.text == answer.source for answer in answers]) > 0.9
    found = align(translator, [(each, each) for each in words])
    there = [line.split().count(f"{place}-{place}") for line in map(str, found) for place in range(7)]
    assert sum(there) > 0.85 * sum(map(len, words))


# --- from a configuration to both floors ----------------------------------------------------------------------------


def test_a_trained_model_keeps_its_order(tmp_path: Path, capsys: Any) -> None:
    """The setting is in the model folder: without PyTorch too the source is read from its end."""
    torch.set_num_threads(1)
    write_pairs(tmp_path, train=300, dev=20)
    config = read_run_config(
        write_config(tmp_path, CONFIG), ["vocab.source.reversed=true", "train.steps=40", "train.validate_every=40"]
    )
    train(config, tmp_path / "run")
    folder = tmp_path / "run" / "best"
    source = read_model_folder(folder).source_vocab
    assert source.reversed and source.encode("ab") == [*map(source.tokens.index, "ba"), source.special.eos]
    lines = ["abcd", "hg", "ed"]
    floors = [Translator.load(folder), load_translator(folder, "cpu")]
    search = SearchConfig(beam=2, alignments=True)
    numpy, pytorch = (translator.translate(lines, search) for translator in floors)
    assert [each.text for each in numpy] == [each.text for each in pytorch]
    for one, other in zip(numpy, pytorch, strict=True):
        assert one.source_tokens == other.source_tokens == [*one.source, END]
        np.testing.assert_allclose(one.answers[0].alignment, other.answers[0].alignment, atol=1e-4)
    (tmp_path / "in").write_bytes(b"abcd\nhg\n")
    said = []
    for main in (ground, upper):
        assert main(["translate", str(folder), "--input", str(tmp_path / "in"), "--alignments"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    shown = json.loads((tmp_path / "run" / "samples.jsonl").read_bytes().split(b"\n")[0])
    assert "".join(shown["source_tokens"][:-1]) == shown["source"]


class Texts:
    """A corpus of two pairs."""

    sources = 1

    def pairs(self) -> Any:
        return iter([("a b", "c d"), ("b", "c")])


def test_vocabularies_of_a_run(tmp_path: Path) -> None:
    source, target = build_vocabularies(VocabConfig(SideConfig(reversed=True)), Texts())  # type: ignore[arg-type]
    assert source.reversed and not target.reversed and source.tokens[4:] == ["b", "a"]
    source, target = build_vocabularies(VocabConfig(SideConfig(reversed=True), joint=True), Texts())  # type: ignore[arg-type]
    assert source.reversed and not target.reversed and source.tokens == target.tokens
    save_vocab(source, tmp_path / "turned.json")
    file = str(tmp_path / "turned.json")
    again, _ = build_vocabularies(VocabConfig(SideConfig(file=file, reversed=True)), Texts())  # type: ignore[arg-type]
    assert again.to_json() == source.to_json()
    with pytest.raises(ConfigError, match=r"turned\.json: its texts are read backwards, reversed is false"):
        build_side(SideConfig(file=file), iter([]))
    with pytest.raises(ConfigError, match=r"joint = true: .*turned\.json is of texts that are read backwards"):
        build_vocabularies(VocabConfig(SideConfig(file=file, reversed=True), joint=True), Texts())  # type: ignore[arg-type]
