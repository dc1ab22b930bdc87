"""restore: what fits is loaded, rows go with their tokens, and the report tells the truth."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from architectures import DRAWN, architecture, name_of, source_side
from sequencing.model import Model
from sequencing.restore import Mismatch, Restored, Rows, optimistic_restore
from sequencing_np.columns import ColumnsVocab
from sequencing_np.errors import ModelError, UsageError
from sequencing_np.factors import FactoredVocab
from sequencing_np.limits import Limits
from sequencing_np.model import ModelConfig
from sequencing_np.model_folder import ModelFolder, write_model_folder
from sequencing_np.pooling import PoolingEncoderConfig
from sequencing_np.rnn import RNNEncoderConfig, StackConfig
from sequencing_np.rnn_decoder import RNNDecoderConfig
from sequencing_np.special import Special
from sequencing_np.subwords import BYTES, Subwords
from sequencing_np.translate import Translator
from sequencing_np.unigram import Unigram
from sequencing_np.vocab import Vocab, Vocabulary
from tiny_models import SOURCES, TARGETS, write_model, write_run

OLD = ["a", "b", "c", "d", "e", "f", "g"]
OLD_TARGET = ["q", "c", "r", "s", "a"]
NEW = ["z", "g", "a", "y", "x", "c", "f", "w"]  # shares four of OLD
NEW_TARGET = ["s", "p", "q", "a"]  # shares three of OLD_TARGET
HEAD = Special(pad=2, unk=0, bos=1, eos=2)  # padding is the end there
WIDTH = 5


def config(
    source: Vocabulary, target: Vocabulary, shared: bool = False, tied: bool = False, **more: Any
) -> ModelConfig:
    return ModelConfig(
        RNNEncoderConfig(embedding_size=WIDTH, stack=StackConfig(size=7)),
        RNNDecoderConfig(
            embedding_size=WIDTH, stack=StackConfig(size=11), readout_size=WIDTH, tie_embeddings=tied, **more
        ),
        share_embeddings=shared,
        source_size=len(source),
        target_size=len(target),
        source_factors=source.factor_sizes,
    )


def made(parts: ModelConfig, seed: int = 1) -> Model:
    """Random weights, biases too."""
    model, chance = Model(parts), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 1, generator=chance)
    return model


def stored(folder: Path, source: Vocabulary, target: Vocabulary, model: Model) -> Path:
    write_model_folder(folder, ModelFolder(model.config, Limits(), source, target, model.weights()))
    return folder


def numbered(count: int) -> Vocab:
    return Vocab([f"word{number}" for number in range(count - 4)])


# --- the same architecture ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", DRAWN, ids=name_of)
def test_every_architecture_is_itself(index: int, tmp_path: Path) -> None:
    parts = replace(architecture(index), source_factors=())
    source, _ = source_side(parts, numbered(parts.source_size), [])
    vocabs = source, numbered(parts.target_size)
    old = made(parts, 1)
    folder = stored(tmp_path / "old", *vocabs, old)
    total = sum(array.size for array in old.weights().values())
    for known in (None, vocabs):
        new = made(parts, 2)
        report = optimistic_restore(new, folder, 1.0, vocabs=known)
        assert all(np.array_equal(new.weights()[name], array) for name, array in old.weights().items())
        assert report == Restored(folder, tuple(old.weights()), (), (), (), (), (), total, total)


def test_the_best_of_a_run_or_else_its_last(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    parts = config(Vocab(SOURCES), Vocab(TARGETS, ""))
    for name in ("best", "last"):
        report = optimistic_restore(made(parts), run, least=0.0)
        assert report.folder == run / name
        (run / name).rename(tmp_path / name)
    with pytest.raises(ModelError, match=r"holds no model \(best or last\)"):
        optimistic_restore(made(parts), run)


# --- another vocabulary ---------------------------------------------------------------------------------------------


def row_of(vocab: Vocabulary, what: str) -> int | None:
    """The id of a token, or of a special id by its name."""
    if what in Special._fields:
        return int(getattr(vocab.special, what))
    return vocab.tokens.index(what) if what in vocab.tokens else None


def tables(model: Model) -> dict[str, np.ndarray]:
    """What stands for each id, whatever it is stored in."""
    parts: Any = model
    found = {"source": parts.encoder.embedding.weight, "target": parts.decoder.embedding.weight}
    found |= {"output": parts.decoder.head.output.weight, "bias": parts.decoder.head.output.bias}
    return {name: weight.detach().numpy().copy() for name, weight in found.items()}


KINDS = list(itertools.product([False, True], [False, True]))


@pytest.mark.parametrize("old_kind", KINDS, ids=lambda kind: f"old {'shared' * kind[0]} {'tied' * kind[1]}")
@pytest.mark.parametrize("new_kind", KINDS, ids=lambda kind: f"new {'shared' * kind[0]} {'tied' * kind[1]}")
def test_rows_go_with_their_tokens(old_kind: tuple[bool, bool], new_kind: tuple[bool, bool], tmp_path: Path) -> None:
    """One table or two, tied to the output or not, then and now: each token has what it had on its own side.

    Only where one table takes the place of several, one of them has to give way: the source's comes first.
    """
    olds: list[Vocabulary] = [Vocab([*OLD, *OLD_TARGET[:1]])] * 2 if old_kind[0] else [Vocab(OLD), Vocab(OLD_TARGET)]
    news = [Vocab([*NEW, *NEW_TARGET[:3]], special=HEAD)] * 2 if new_kind[0] else [Vocab(NEW), Vocab(NEW_TARGET)]
    old, new = made(config(*olds, *old_kind), 1), made(config(*news, *new_kind), 2)
    had, fresh = tables(old), tables(new)
    report = optimistic_restore(new, stored(tmp_path / "old", *olds, old), 0.0, vocabs=(news[0], news[1]))
    order = {"source": ["source"], "target": ["target"], "output": ["output"], "bias": ["bias"]}
    if new_kind[0]:
        order["source"] = order["target"] = ["source", "target"]
    if new_kind[1]:
        order["output"] = order["target"] = [*order["target"], "output"]
        order["source"] = order["target"] if new_kind[0] else order["source"]
    now = tables(new)
    for name, sources in order.items():
        vocab = news[0] if name == "source" else news[1]
        for row, token in enumerate(vocab.tokens):
            asked = [token] if token else [role for role in ("eos", "bos", "unk", "pad") if row_of(vocab, role) == row]
            places = [(side, row_of(olds[side != "source"], asked[0])) for side in sources]
            known = [had[side][place] for side, place in places if place is not None]
            wanted = known[0] if known else fresh[name][row]
            assert np.array_equal(now[name][row], wanted), (name, row, token)
    inner = {name for name in new.weights() if "embedding" not in name and "output" not in name}
    assert inner <= set(report.loaded) and all(
        np.array_equal(new.weights()[name], old.weights()[name]) for name in inner
    )
    assert not report.missing and not report.mismatched


def test_an_order_of_tokens_changes_no_translation(tmp_path: Path) -> None:
    """Another order, other special ids: the same texts."""
    folder = write_model(tmp_path / "old")
    old = Translator.load(folder)
    source, target = Vocab(SOURCES[::-1], special=HEAD), Vocab(TARGETS[3:] + TARGETS[:3], "", Special(5, 0, 1, 2))
    sizes = {"source_size": len(source), "target_size": len(target)}
    model = made(replace(old.model.config, **sizes)).eval()  # type: ignore[attr-defined]
    report = optimistic_restore(model, folder, 1.0, vocabs=(source, target))
    assert report.share == 1 and len(report.loaded) == len(model.weights())
    lines = [*SOURCES, "ein und zwei", "drei vier fünf sechs sechs"]
    with torch.inference_mode():
        said = Translator(model, source, target, old.limits).translate(lines)
    assert [each.text for each in said] == [each.text for each in old.translate(lines)]
    assert len({each.text for each in said}) > 2, "answers that tell something"


def test_without_vocabularies_shapes_decide(tmp_path: Path) -> None:
    old_vocab, new_vocab = Vocab(OLD), Vocab(OLD[::-1])
    old, new = made(config(old_vocab, old_vocab), 1), made(config(new_vocab, new_vocab), 2)
    folder = stored(tmp_path / "old", old_vocab, old_vocab, old)
    optimistic_restore(new, folder)
    assert np.array_equal(tables(new)["source"], tables(old)["source"]), "row by row"
    optimistic_restore(new, folder, vocabs=(new_vocab, new_vocab))
    assert np.array_equal(tables(new)["source"][4:], tables(old)["source"][:3:-1]), "token by token"
    shared = made(config(new_vocab, new_vocab, shared=True), 3)
    optimistic_restore(shared, folder)
    assert np.array_equal(tables(shared)["target"], tables(old)["source"]), "of several names the first"


def test_words_with_factors(tmp_path: Path) -> None:
    """Words go by their texts, values of factors by theirs; a factor that is new is fresh."""
    olds = FactoredVocab(Vocab(OLD), [["DET", "NOUN"], ["sg", "pl", "du"]])
    news = FactoredVocab(Vocab(NEW), [["VERB", "NOUN", "ADJ", "DET"], ["pl", "sg"], ["x"]])
    target = Vocab(OLD_TARGET)
    for one, other in ((olds, news), (ColumnsVocab(olds, 2), ColumnsVocab(news, 2))):
        old, new = made(config(one, target), 1), made(config(other, target), 2)
        before = new.weights()["encoder.embedding.factors.1.weight"].copy()
        report = optimistic_restore(new, stored(tmp_path / "old", one, target, old), vocabs=(other, target))
        had, has = old.weights(), new.weights()
        first, second = (f"encoder.embedding.factors.{number}.weight" for number in (0, 1))
        assert np.array_equal(has[first][[0, 1, 3, 5]], had[first][[0, 1, 3, 2]]), "none, unknown, NOUN, DET"
        assert np.array_equal(has[second], had[second][[0, 1, 3, 2]]) and not np.array_equal(has[second], before)
        assert Rows(first, 4, 6) in report.rows and second in report.loaded
        assert Rows("encoder.embedding.weight", 8, 12) in report.rows
        assert report.missing == ("encoder.embedding.factors.2.weight",)


def test_pieces_of_words(tmp_path: Path) -> None:
    """Pieces of byte pairs and of a unigram model are the same texts: bytes, letters and words."""
    olds = Subwords([*BYTES, "▁", "a", "b", "ab", "▁a", "▁ab"])
    news = Unigram([*BYTES, "▁ab", "c", "▁", "a"], [*[None] * 256, -1.0, -2.0, -2.5, -3.0])
    target = Vocab(OLD_TARGET)
    old, new = made(config(olds, target), 1), made(config(news, target), 2)
    fresh = tables(new)["source"]
    report = optimistic_restore(new, stored(tmp_path / "old", olds, target, old), vocabs=(news, target))
    had, has = tables(old)["source"], tables(new)["source"]
    assert report.rows == (Rows("encoder.embedding.weight", 263, 264),)
    assert np.array_equal(has[:260], had[:260])
    assert np.array_equal(has[[260, 262, 263]], had[[265, 260, 261]]) and np.array_equal(has[261], fresh[261])


# --- what does not fit ----------------------------------------------------------------------------------------------


def test_the_report(tmp_path: Path) -> None:
    vocabs = Vocab(OLD), Vocab(OLD_TARGET)
    old = made(config(*vocabs))
    parts = replace(old.config, decoder=replace(old.config.decoder, stack=StackConfig(size=13), input_feeding=True))
    parts = replace(parts, encoder=PoolingEncoderConfig(embedding_size=WIDTH, attention_key_size=3))
    new = made(parts, 2)
    before = {name: array.copy() for name, array in new.weights().items()}
    report = optimistic_restore(new, stored(tmp_path / "old", *vocabs, old), 0.0)
    has, had = new.weights(), old.weights()
    assert set(report.missing) == set(has) - set(had) and "encoder.key.weight" in report.missing
    assert set(report.unused) == set(had) - set(has) and len(report.unused) > 1
    wanted = [Mismatch(name, has[name].shape, had[name].shape) for name in has.keys() & had.keys()]
    assert set(report.mismatched) == {each for each in wanted if each.here != each.there} and report.mismatched
    assert set(report.loaded) == {each.name for each in wanted if each.here == each.there}
    for name, array in has.items():
        assert np.array_equal(array, had[name] if name in report.loaded else before[name])
    assert report.numbers == sum(had[name].size for name in report.loaded)
    assert report.of == sum(array.size for array in has.values())
    assert report.share == report.numbers / report.of < 1
    assert {"encoder.type", "decoder.stack.size", "decoder.input_feeding"} <= set(report.settings)
    text = report.summary()
    assert text.startswith(
        f"{tmp_path / 'old'}: {report.numbers:,} of {report.of:,} numbers loaded ({report.share:.1%})"
    )
    assert f"{len(report.loaded)} of {len(has)} weights whole" in text and "\n" not in text
    for count, what in (
        (len(report.missing), "not there"),
        (len(report.mismatched), "of another shape"),
        (len(report.unused), "there and unused"),
        (len(report.settings), "settings that differ"),
    ):
        assert f"; {count} {what}: " in text
    mismatch = report.mismatched[0]
    shapes = (" x ".join(map(str, shape)) for shape in mismatch[1:])
    assert "{} ({} here, {} there)".format(mismatch.name, *shapes) in text
    assert text.count("…") == sum(
        len(each) > 3 for each in (report.missing, report.mismatched, report.unused, report.settings)
    )


def test_sizes_that_the_data_fill_in_are_no_other_settings(tmp_path: Path) -> None:
    olds, news = (Vocab(OLD), Vocab(OLD_TARGET)), (Vocab(NEW), Vocab(NEW_TARGET))
    folder = stored(tmp_path / "old", *olds, made(config(*olds)))
    report = optimistic_restore(made(config(*news, readout_dropout=0.5)), folder, vocabs=news)
    assert report.settings == ()
    assert report.rows[0] == Rows("encoder.embedding.weight", 8, 12), "four tokens and four special ids"
    assert (
        "in part: encoder.embedding.weight (8 of 12 rows), decoder.embedding.weight (7 of 8 rows), " in report.summary()
    )


@pytest.mark.parametrize("least", [0.5, 0.9, 1.0])
def test_too_little_is_an_error_and_changes_nothing(least: float, tmp_path: Path) -> None:
    vocabs = Vocab(OLD), Vocab(OLD_TARGET)
    folder = stored(tmp_path / "old", *vocabs, made(config(*vocabs)))
    parts = config(*vocabs)
    parts = replace(parts, decoder=replace(parts.decoder, stack=StackConfig(size=37)))
    new = made(parts, 2)
    before = {name: array.copy() for name, array in new.weights().items()}
    with pytest.raises(ModelError) as raised:
        optimistic_restore(new, folder, least)
    for words in ("numbers loaded (", "of another shape: ", f"At least {least:.0%} must be loaded", "set least"):
        assert words in str(raised.value)
    assert all(np.array_equal(array, before[name]) for name, array in new.weights().items())
    share = optimistic_restore(new, folder, 0.0).share
    assert 0 < share < 0.5
    optimistic_restore(new, folder, share)
    with pytest.raises(ModelError):
        optimistic_restore(new, folder, np.nextafter(share, 1))


def test_other_names(tmp_path: Path) -> None:
    vocabs = Vocab(OLD), Vocab(OLD_TARGET)
    old = made(config(*vocabs))
    folder = stored(tmp_path / "old", *vocabs, old)
    new = made(old.config, 2)
    report = optimistic_restore(new, folder, 0.0, rename=[("encoder.", "reader.")])
    assert all(name.startswith("encoder.") for name in report.missing) and report.missing
    assert all(name.startswith("encoder.") for name in report.unused)
    report = optimistic_restore(new, folder, 1.0, rename=[("encoder.", "x."), ("x.", "encoder.")])
    assert report.share == 1
    with pytest.raises(UsageError, match=r"rename 'encodr\.': no weight of .*old begins so; nearest: encoder\.\*"):
        optimistic_restore(new, folder, rename=[("encodr.", "encoder.")])


@pytest.mark.parametrize("least", [-0.1, 1.1, float("nan")])
def test_a_share_is_a_share(least: float, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"least .*: is a share of the model's numbers, from 0 to 1"):
        optimistic_restore(made(config(Vocab(OLD), Vocab(OLD))), tmp_path, least)


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        optimistic_restore(made(config(Vocab(OLD), Vocab(OLD))), tmp_path / "none")
