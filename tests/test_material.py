"""What a run learns from: text or a prepared folder, the same things either way; changed data."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

from sequencing.data.store import Encoded, write_store
from sequencing.prepare.manifest import write_prepared
from sequencing.run_config import read_run_config, saved
from sequencing.train.loop import train
from sequencing.train.material import gather
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.vocab import load_vocab, save_vocab
from small_runs import files, records, small, write_config


def prepared_from(config, folder: Path) -> Path:
    """A prepared folder that holds what a run on text holds."""
    folder.mkdir()
    run = folder / "run"
    run.mkdir()
    material = gather(config, run, False, print)
    for vocab, name in zip(material.vocabs, ("source", "target"), strict=True):
        save_vocab(vocab, folder / f"{name}.vocab.json")
    pairs = material.pairs
    write_store(folder / "train", [Encoded(0, pairs.source, pairs.target)], pairs.corpora, material.vocabs)
    (folder / "dev.tsv").write_bytes(Path(config.data.dev[0]).read_bytes())
    (folder / "prepare.json").write_text(json.dumps({"vocab": saved(config)["vocab"]}))
    write_prepared(folder, {})
    return folder


def on_prepared(folder: Path, *settings: str):
    """A run of twelve steps that reads a prepared folder."""
    text = (folder.parent / "data" / "run.toml").read_text()
    head, tail = text.index("[data]"), text.index("[model.encoder]")
    text = text[:head] + '[data]\nprepared = "prepared"\nmax_length = 20\n\n' + text[tail:]
    return read_run_config(write_config(folder.parent, text), ["train.batch_tokens=192", *settings])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return prepared_from(small(tmp_path / "data"), tmp_path / "prepared")


def test_text_and_a_prepared_folder_train_the_same_model(folder, tmp_path):
    train(small(tmp_path / "data"), tmp_path / "text")
    train(on_prepared(folder), tmp_path / "store")
    assert records(tmp_path / "text" / "metrics.jsonl") == records(tmp_path / "store" / "metrics.jsonl")
    one, other = (files(tmp_path / name / "last") for name in ("text", "store"))
    assert one == other


def test_any_number_of_workers_trains_the_same_model(tmp_path):
    train(small(tmp_path / "data"), tmp_path / "thread")
    train(small(tmp_path / "data", "data.workers=2"), tmp_path / "workers")
    assert files(tmp_path / "thread" / "last") == files(tmp_path / "workers" / "last")


def test_the_vocabularies_are_those_of_the_folder(folder, tmp_path):
    config = on_prepared(folder)
    assert config.vocab.source.level == "characters"
    material = gather(config, tmp_path, False, print)
    assert material.vocabs[0].tokens == load_vocab(folder / "source.vocab.json").tokens
    with pytest.raises(ConfigError, match=r"vocab\.source\.min_count = 7: the prepared folder brings its vocab"):
        on_prepared(folder, "vocab.source.min_count=7")
    with pytest.raises(ConfigError, match=r"prepare\.json is not there; name a folder that"):
        on_prepared(folder, "data.prepared=elsewhere")


def test_a_damaged_folder_is_refused_before_training(folder, tmp_path):
    ids = bytearray((folder / "train" / "source.ids").read_bytes())
    ids[7] ^= 1
    (folder / "train" / "source.ids").write_bytes(ids)
    with pytest.raises(DataError, match=r"source\.ids: missing, changed or damaged"):
        train(on_prepared(folder), tmp_path / "run")
    ids[7] ^= 1
    (folder / "train" / "source.ids").write_bytes(ids)
    other = load_vocab(folder / "source.vocab.json").to_json()
    other["tokens"][4], other["tokens"][5] = other["tokens"][5], other["tokens"][4]
    (folder / "source.vocab.json").write_text(json.dumps(other))
    write_prepared(folder, {})
    with pytest.raises(DataError, match="not those of the source vocabulary"):
        train(on_prepared(folder), tmp_path / "run")


def test_weights_of_files(tmp_path):
    config = small(tmp_path / "data")
    (tmp_path / "data" / "more.tsv").write_bytes(b"abc\tcba\n" * 10)
    config = replace(config, data=replace(config.data, train=(*config.data.train, str(tmp_path / "data" / "more.tsv"))))
    (tmp_path / "run").mkdir()
    material = gather(replace(config, data=replace(config.data, weights=(1.0, 3.0))), tmp_path / "run", False, print)
    assert [corpus.weight for corpus in material.pairs.corpora] == [1.0, 3.0]
    cells = material.pairs.order.cells
    assert np.bincount(cells.corpus, cells.counts).tolist() == [200, 10]


def test_moved_text_goes_on_and_changed_text_only_when_told_to(tmp_path):
    config = small(tmp_path / "data", "train.steps=5")
    train(config, tmp_path / "run")
    moved = tmp_path / "elsewhere.tsv"
    moved.write_bytes((tmp_path / "data" / "train.tsv").read_bytes())
    config = small(tmp_path / "data", "train.steps=7", f'data.train=["{moved}"]')
    train(config, tmp_path / "run")
    moved.write_bytes(moved.read_bytes() + b"abc\tcba\n")
    config = small(tmp_path / "data", "train.steps=9", f'data.train=["{moved}"]')
    with pytest.raises(DataError, match=r"elsewhere\.tsv is not what training began with.*--accept-changed-data"):
        train(config, tmp_path / "run")
    epoch = records(tmp_path / "run" / "metrics.jsonl")[-2]["epoch"]
    train(config, tmp_path / "run", accept_changed_data=True)
    after = [record for record in records(tmp_path / "run" / "metrics.jsonl") if record["kind"] == "train"][-1]
    assert (after["step"], after["epoch"]) == (8, epoch + 1)


def test_shifted_files_are_warned_of(tmp_path):
    """Line n of one file is the translation of line n + 1 of the other (reliability row D10)."""
    random = Random(1)
    texts = ["x" * random.randrange(1, 30) + f" {random.randrange(10**6)}" + random.choice("?!.") for _ in range(400)]
    said = {}
    for name, first in (("right", 0), ("shifted", 1)):
        for side, lines in (("en", texts[first:-1] + texts[:first]), ("de", texts[:-1])):
            (tmp_path / f"{name}.{side}").write_text("".join(f"{side} {line}\n" for line in lines))
        config = small(tmp_path / "data", "data.max_length=99")
        data = replace(config.data, train=((str(tmp_path / f"{name}.en"), str(tmp_path / f"{name}.de")),))
        (tmp_path / name).mkdir()
        said[name] = []
        gather(replace(config, data=data), tmp_path / name, False, said[name].append)
    assert not any("shifted" in text for text in said["right"])
    assert any(text.startswith(f"warning: {tmp_path}/shifted.en: the two sides seem") for text in said["shifted"])
