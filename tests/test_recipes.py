"""recipes: every configuration fits the columns of its data, the measures are right, the pages say what was measured.

`make recipes-small` trains them all; here each is opened as its training would be, on a few pairs made on the fly.
"""

import dataclasses
import json
import random
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny_models
from pages import ROOT
from sequencing.data.corpus import Corpus
from sequencing.model import Model
from sequencing.run_config import read_run_config
from sequencing.vocabularies import build_vocabularies, completed
from sequencing_np import SearchConfig, Translator

sys.path.insert(0, str(ROOT / "recipes"))
sys.path.insert(1, str(ROOT / "recipes" / "rewards"))

import carried
import catalogue
import compare
import distil
import made
import measure
import prepare
import small
import table
import tags

NAMES = catalogue.recipes()
DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def _quiet(capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    capsys.readouterr()


# --- configurations -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_each_model_fits_its_data(name: str, tmp_path: Path) -> None:
    """The vocabularies are built of pairs in the columns of its set, and with them the model can be made."""
    values = tomllib.loads((catalogue.HERE / f"{name}.toml").read_text("utf-8"))
    (file, *_) = values["data"]["train"]
    pairs = small.few(small.set_of(file), file, tmp_path / "nothing", tmp_path)
    (tmp_path / "run.json").write_text(json.dumps(small.tiny(name, values, pairs)), "utf-8")
    narrow = read_run_config(tmp_path / "run.json")
    corpus = Corpus(narrow.data.train, "train", sources=narrow.vocab.source.columns)
    vocabs = build_vocabularies(narrow.vocab, corpus)
    whole = read_run_config(catalogue.HERE / f"{name}.toml")
    for config in (whole, narrow):
        model = model_of(config, vocabs)
        assert type(model.encoder) is type(model_of(whole, vocabs).encoder)
    for source, target in corpus.pairs():
        assert vocabs[0].special.unk not in vocabs[0].encode(source) and vocabs[1].encode(target)


def model_of(config: Any, vocabs: Any) -> Model:
    with torch.device("meta"):
        return Model(completed(config.model, *vocabs))


@pytest.mark.parametrize("name", NAMES)
def test_each_split_is_named_alike(name: str) -> None:
    """Training, dev and test files differ in the split alone; no recipe learns what it is measured with."""
    data = read_run_config(catalogue.HERE / f"{name}.toml").data
    files = [str(part[0]) for part in (data.train, data.dev, data.test)]
    assert len(set(files)) == 3
    assert {file.replace(split, "?") for file, split in zip(files, ("train", "dev", "test"), strict=True)} == {
        files[0].replace("train", "?")
    }


def test_the_guides_models_have_the_guides_sizes() -> None:
    """With 10,000 words a side, in millions: LSTM 128, and what a one-hot word reads is 512 wide a direction."""
    wanted = {
        "01-one-hot": 6.6,
        "02-one-hot-bidirectional": 11.9,
        "03-embedding": 2.8,
        "04-embedding-bidirectional": 3.0,
    }
    for name, millions in wanted.items():
        config = read_run_config(catalogue.HERE / "guide" / f"{name}.toml").model
        with torch.device("meta"):
            model = Model(dataclasses.replace(config, source_size=10_000, target_size=10_000))
        assert sum(each.numel() for each in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.1), name


@pytest.mark.parametrize("folder", [name for name, about in catalogue.FOLDERS.items() if about.sets])
def test_a_folder_s_recipes_run_on_each_of_its_sets(folder: str) -> None:
    """Each run has a name of its own, the files of its set, and settings that its recipe takes."""
    about, runs = catalogue.FOLDERS[folder], catalogue.experiments(folder)
    assert len({run.name for run in runs}) == len(runs) == len(about.sets) * len(catalogue.recipes(folder))
    for run in runs:
        config = read_run_config(catalogue.HERE / f"{run.recipe}.toml", list(run.settings))
        (data,) = [name for name in about.sets if run.label.endswith(f"-{name}")]
        for split in prepare.SPLITS:
            file = Path(str(getattr(config.data, split)[0]))
            assert file == catalogue.DATA / f"{about.sets[data].files}.{split}.tsv"
        assert run.name == f"{run.recipe}-{data}" and set(about.sets[data].settings) <= set(run.settings)


def test_every_folder_has_a_page_and_a_table() -> None:
    folders = {name.partition("/")[0] for name in NAMES if "/" in name}
    assert folders == set(catalogue.FOLDERS)
    page = (catalogue.HERE / "README.md").read_text("utf-8")
    for folder in folders:
        assert f"({folder}/README.md)" in page
        assert f"python recipes/run.py {folder}\n" in (catalogue.HERE / folder / "README.md").read_text("utf-8")


def test_a_student_gets_what_its_teacher_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sources are the teacher's, the targets its best answers; dev and test are as they were; a file is kept."""
    (student, teacher), *_ = catalogue.TAUGHT.items()
    files = {
        kind: {split: tmp_path / f"{kind}.{split}.tsv" for split in prepare.SPLITS} for kind in ("given", "taught")
    }
    for split, text in (("train", "ein zwei\tx\ndrei\ty\n"), ("dev", "vier\tz\n"), ("test", "und\tu\n")):
        files["given"][split].write_text(text)
    tiny_models.write_model(tmp_path / teacher / "best", seed=1)
    for path, kind in ((tmp_path / teacher / "config.json", "given"), (tmp_path / f"{student}.toml", "taught")):
        data = {split: [str(file)] for split, file in files[kind].items()}
        rows = "".join(f"{split} = {json.dumps(named)}\n" for split, named in data.items())
        path.write_text(json.dumps({"data": data}) if kind == "given" else f"[data]\n{rows}")
    monkeypatch.setattr(distil, "RUNS", tmp_path)
    monkeypatch.setattr(distil, "HERE", tmp_path)
    distil.distil(teacher, student)
    model, sources = Translator.load(tmp_path / teacher / "best"), ["ein zwei", "drei"]
    lines = files["taught"]["train"].read_text().splitlines()
    assert lines[:2] == [f"{each.source}\t{each.text}" for each in model.translate(sources, SearchConfig(beam=5))]
    near = [
        f"{each.source}\t{answer.text}"
        for each in model.translate(sources, SearchConfig(beam=10, n_best=10))
        for answer in each.answers
    ]
    assert 2 <= len(lines) == len(set(lines)) <= 4 and set(lines[2:]) <= set(near)
    for split in ("dev", "test"):
        assert files["taught"][split].read_text() == files["given"][split].read_text()
    files["taught"]["train"].write_text("mine\tmine\n")
    distil.distil(teacher, student)
    assert files["taught"]["train"].read_text() == "mine\tmine\n" and not list(tmp_path.glob("*.sources"))


# --- data -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", made.MADE)
def test_what_is_made_has_two_columns(name: str, tmp_path: Path) -> None:
    made.write_splits(name, tmp_path, (9, 2, 3))
    made.write_splits(name, tmp_path / "again", (9, 2, 3))
    rows = {}
    for split, size in (("train", 9), ("dev", 2), ("test", 3)):
        path = tmp_path / f"{name}.{split}.tsv"
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()
        rows[split] = path.read_text("utf-8").rstrip("\n").split("\n")
        assert len(rows[split]) == size
        assert all(len(row.split("\t")) == 2 and all(part.strip() for part in row.split("\t")) for row in rows[split])
    sources = [row.split("\t")[0] for part in rows.values() for row in part]
    assert len(set(sources)) == len(sources)


@given(st.integers(0, 2**32))
def test_dates_and_symbols(seed: int) -> None:
    """A day can be read back from its text; what is reversed twice is what it was."""
    text, iso = made.dates(random.Random(seed))
    year, month, day = iso.split("-")
    assert year in text and str(int(day)) in text
    months = [names.split()[int(month) - 1][:3] for names in made.MONTHS.values()]
    assert str(int(month)) in text or any(name in text for name in months)
    source, target = made.reverse(random.Random(seed))
    assert source.split() == target.split()[::-1] and 5 <= len(source.split()) <= 20
    assert made.turned(made.turned(f"{source}\tx")) == f"{source}\tx"


def test_tags_of_a_sentence() -> None:
    form = "* cake ( x _ 4 ) ; like . agent ( x _ 1 , Mila ) AND like . ccomp ( x _ 1 , x _ 6 )"
    form += " AND offer . theme ( x _ 6 , x _ 4 ) AND offer . recipient ( x _ 6 , Emma )"
    row = tags.tagged("Mila liked that the cake was offered to Emma .", form)
    assert row and row.split("\t")[1] == "PROPN VERB SCONJ DET NOUN AUX VERB ADP PROPN PUNCT"
    wanted = "want . agent ( x _ 1 , Liam ) AND want . xcomp ( x _ 1 , x _ 3 ) AND read . agent ( x _ 3 , Liam )"
    assert tags.tagged("Liam wanted to read .", wanted) == "Liam wanted to read .\tPROPN VERB PART VERB PUNCT"
    assert tags.tagged("shark", "LAMBDA a . shark ( a )") is None


def test_what_is_carried_over_is_held_out() -> None:
    rows = [f"I know Hanako {n}.\tIch kenne Hanako {n}." for n in range(3)] + ["Tom sleeps.\tTom schläft."] * 40
    rows += [f"It was {n}.\tEs war {n}." for n in range(1000, 1060)]
    rest, held = carried.held_out(rows)
    assert sorted(rest + [row for part in held.values() for row in part]) == sorted(rows)
    assert 5 < len(held["numbers"]) < 40 and not any("Tom" in row for part in held.values() for row in part)
    kept = {word for row in rest for word in carried.words(row.replace("\t", " "))}
    pairs = [(source, target) for source, target in (row.split("\t") for row in held["numbers"])]
    seen = carried.seen_in(rest)
    assert carried.share("numbers", pairs, [target for _, target in pairs], seen) == 1
    assert carried.share("numbers", pairs, ["Es war 7."] * len(pairs), seen) == 0
    assert not kept & {source.split()[-1].strip(".") for source, _ in pairs}
    assert carried.cognates("A democratic state", "Ein demokratischer Staat", {}) == {"demokratischer", "Staat"}
    assert carried.cognates("A democratic state", "Ein demokratischer Staat", {"Staat": 11}) == {"demokratischer"}
    assert carried.names("Inge met him.", "Er traf Inge.", {"Inge": 11}) == set()


def test_people_get_names_that_are_new() -> None:
    """The same on both sides; training and test have none in common; who is named on one side alone keeps the name."""
    rows = [
        "Tom saw Mary.\tTom sah Maria.",
        "Tom's ill.\tTom ist krank.",
        "Tom left.\tEr ging.",
        "Tomorrow.\tMorgen.",
    ] * 50
    found = {held: carried.renamed(rows, held) for held in (False, True)}
    names = {
        held: {word for row in part for word in carried.names(*row.split("\t"), {})} for held, part in found.items()
    }
    assert all(len(part) == 100 and "Mar" not in "".join(part) for part in found.values())
    assert names[True] and names[False] and not names[True] & names[False]
    assert found[True] == carried.renamed(rows, True) and all("Tom" not in row for row in found[True])


def test_the_guides_filter() -> None:
    assert (
        prepare.bare("I thought you'd be older.\tIch „dachte“, du-wärst_älter!")
        == "i thought you'd be older\tich dachte du wärst älter"
    )
    assert prepare.is_short("a b c d e f\tg") and not prepare.is_short("a\ta b c d e f g")


@pytest.mark.skipif(not (DATA / "tatoeba-en-de").is_dir(), reason="../shared/data/tatoeba-en-de is not there")
def test_prepare_reads_the_real_sets(tmp_path: Path) -> None:
    assert prepare.prepare(DATA, tmp_path, 40) == [folder for folder in prepare.SETS if not (DATA / folder).is_dir()]
    rows = (tmp_path / "guide.train.tsv").read_text("utf-8").rstrip("\n").split("\n")
    assert rows and all(
        (row == row.lower() and prepare.is_short(row.replace("'", ""))) or len(row.split()) < 20 for row in rows
    )


# --- measures and pages ---------------------------------------------------------------------------------------------


@given(st.data())
def test_padded_accuracy_is_that_of_padded_rows(data: st.DataObject) -> None:
    """As the guide counts: start, words, end and padding of both, place by place. The end is id 1, padding 0."""
    lengths = np.array(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
    longest, width = 1 + 5 + data.draw(st.integers(0, 3)), int(lengths.max())
    chance = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    said = chance.integers(1, 4, (len(lengths), width))
    target = chance.integers(2, 4, (len(lengths), width))
    for row, length in enumerate(lengths):
        target[row, length - 1 :] = [1] + [0] * (width - length)
    found = measure.padded_hits(said, target, lengths, 1, longest)
    for row, length in enumerate(lengths):
        answer = said[row, :length].tolist()
        ended = 1 in answer
        answer = answer[: answer.index(1) + 1] if ended else answer
        answer = ["^", *answer, *[0 if ended else "?"] * (longest - 1 - len(answer))]
        wanted = ["^", *target[row, :length].tolist(), *[0] * (longest - 1 - length)]
        assert found[row] == sum(one == other for one, other in zip(answer, wanted, strict=True))


def result(**more: Any) -> dict[str, Any]:
    machine = {"cpu": "one", "cores": 2, "accelerator": None, "torch": "2", "threads": 1}
    search = {"1": {"bleu": 1.25, "exact_match": 0.5}, "5": {"bleu": 2.25, "exact_match": 0.0}}
    sentences = {"1": list("abcdef"), "5": list("ghijk|")}
    rest = {"carried": {}, "train": {"padded": 0.8}, "test": {}, "parameters": 1234, **more}
    return {"machine": machine, "seed": 1, "search": search, "sentences": sentences, **rest}


def test_tables_are_made_of_runs(tmp_path: Path) -> None:
    """What was run has its numbers, what was not says so; numbers stay when their run is gone."""
    name = "06-attention"
    (tmp_path / "guide" / name).mkdir(parents=True)
    (tmp_path / "guide" / name / "results.json").write_text(json.dumps(result()), "utf-8")
    found = table.collected("guide", tmp_path / "none", tmp_path)
    page = table.filled(
        "a\n<!-- numbers -->\nolder\n<!-- end of numbers -->\nb <!-- sentences --><!-- end of sentences -->",
        "guide",
        found,
    )
    assert "\nolder\n" not in page and page.startswith("a\n") and "\nb <!--" in page
    assert "| 06-attention, greedy | 80.0 % |  |  | 50.0 % | 1.2 |" in page
    assert "| 06-attention, beam 5 | 80.0 % |  |  | 0.0 % | 2.2 |" in page and "| g | h | i | j | k | \\| |" in page
    assert page.count(table.NOT_RUN) == 2 * (len(catalogue.rows("guide")) - 2)
    assert table.filled(page, "guide", found) == page
    (tmp_path / "results.json").write_text(json.dumps(found), "utf-8")
    assert table.collected("guide", tmp_path, tmp_path / "none") == found


@pytest.mark.parametrize("folder", catalogue.FOLDERS)
def test_pages_say_what_was_measured(folder: str) -> None:
    """Nobody wrote into a table by hand, and every recipe has its row."""
    page = (catalogue.HERE / folder / "README.md").read_text("utf-8")
    assert page.count("<!-- numbers -->") == 1
    assert table.filled(page, folder, table.known(catalogue.HERE / folder)) == page
    for name in catalogue.recipes(folder):
        assert f"| {name.rpartition('/')[2]}" in page


# --- rewards --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_rewards_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Taught, gone on with both ways for as long, measured alike; what is there is not made again."""
    made.write_splits("copy", tmp_path, (60, 8, 8))
    data = [f'data.{part}=["{tmp_path}/copy.{part}.tsv"]' for part in ("train", "dev", "test")]
    narrow = [f"model.{side}.stack.size=8" for side in ("encoder", "decoder")]
    taught = (*data, *narrow, "train.steps=8", "train.batch_tokens=512", "train.schedule.warmup=2")
    task = compare.Task(
        "toy/copy",
        minutes=0.01,
        both=("train.schedule.type=constant", "train.schedule.warmup=0", "train.steps=0", "train.learning_rate=1e-4"),
        rewards=("train.objective.type=leave_one_out", "train.objective.reward=edit", "train.objective.samples=2"),
        taught=taught,
        measures=("token_error_rate",),
    )
    monkeypatch.setattr(compare, "RUNS", tmp_path)
    found = compare.compare("small", task, [1, 2], [])
    runs = tmp_path / "rewards" / "small"
    assert {path.name for path in runs.iterdir() if path.is_dir()} == {
        "taught",
        *(f"{arm}-{seed}" for arm in compare.ARMS for seed in (1, 2)),
    }
    for arm, kind in zip(compare.ARMS, ("cross_entropy", "leave_one_out"), strict=True):
        config = read_run_config(runs / f"{arm}-2" / "config.json").train
        assert (config.objective.type, config.seed, config.minutes) == (kind, 2, 0.01)
    page = compare.table({"small": found})
    rates = [100 * found[f"rewards-{seed}"]["quality"]["test, greedy"]["token_error_rate"] for seed in (1, 2)]
    assert f"{sum(rates) / 2:.2f} ({min(rates):.2f}–{max(rates):.2f})" in page.split("\n")[4]
    monkeypatch.setattr(
        compare, "train", lambda config, run, *arguments: runs / "taught" == run or pytest.fail(str(run))
    )
    assert compare.compare("small", task, [1, 2], []) == found


def test_the_page_of_rewards_says_what_was_measured() -> None:
    page = (compare.FOLDER / "README.md").read_text("utf-8")
    assert table.placed(page, "numbers", compare.table(compare.known())) == page
    assert all(f"compare.py {task}\n" in page for task in compare.TASKS)
