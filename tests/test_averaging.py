"""averaging: one model from several, weight by weight, and nothing but the weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sequencing.__main__ import main
from sequencing.averaging import average
from sequencing.kept_models import keep_best, kept_at, ranked
from sequencing.loading import load_translator
from sequencing_np.errors import ModelError, UsageError
from sequencing_np.manifest import check_manifest
from sequencing_np.model_folder import read_model_folder, write_model_folder
from sequencing_np.translate import Translator
from sequencing_np.vocab import Vocab
from tiny_models import SOURCES, write_model


def models(folder: Path, count: int) -> list[Path]:
    return [write_model(folder / str(seed), seed) for seed in range(1, count + 1)]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_each_weight_is_the_mean(count: int, tmp_path: Path) -> None:
    folders = models(tmp_path, count)
    before = [read_model_folder(folder) for folder in folders]
    average(folders, tmp_path / "mean")
    found = read_model_folder(tmp_path / "mean")
    assert found.weights.keys() == before[0].weights.keys()
    for name, array in found.weights.items():
        exact = sum(part.weights[name].astype(np.float64) for part in before) / count
        assert array.dtype == before[0].weights[name].dtype and array.shape == exact.shape
        np.testing.assert_array_equal(array, exact.astype(array.dtype))
    assert found[:2] == before[0][:2], "architecture and limits"
    assert found.source_vocab.to_json() == before[0].source_vocab.to_json()
    manifest = check_manifest(tmp_path / "mean")
    assert manifest["average_of"] == count and "step" not in manifest, "steps are not averaged (inventory row T-A20)"
    for folder, part in zip(folders, before, strict=True):
        again = read_model_folder(folder).weights
        assert all(np.array_equal(again[name], array) for name, array in part.weights.items())


def test_the_mean_of_one_model_with_itself_is_that_model(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "one")
    average([folder] * 4, tmp_path / "mean")
    before, after = read_model_folder(folder).weights, read_model_folder(tmp_path / "mean").weights
    assert all(np.array_equal(after[name], array) for name, array in before.items())


def test_the_mean_translates_on_both_floors(tmp_path: Path) -> None:
    average(models(tmp_path, 3), tmp_path / "mean")
    ground = [said.text for said in Translator.load(tmp_path / "mean").translate(SOURCES)]
    upper = [said.text for said in load_translator(tmp_path / "mean", "cpu").translate(SOURCES)]
    assert ground == upper


def test_the_output_may_be_one_of_the_inputs(tmp_path: Path) -> None:
    folders = models(tmp_path, 2)
    average(folders, tmp_path / "mean")
    average(folders, folders[0])
    mean, again = (read_model_folder(path).weights for path in (tmp_path / "mean", folders[0]))
    assert all(np.array_equal(again[name], array) for name, array in mean.items())


def test_what_cannot_be_averaged(tmp_path: Path) -> None:
    one, other = models(tmp_path, 2)
    for few in ([], [one]):
        with pytest.raises(UsageError, match=f"{len(few)} models to average; give two or more"):
            average(few, tmp_path / "mean")
    parts = read_model_folder(other)
    vocab = Vocab([*SOURCES[1:], "neu"], " ")
    write_model_folder(other, parts._replace(source_vocab=vocab))
    with pytest.raises(ModelError, match=r"2: another source_vocab than .*1"):
        average([one, other], tmp_path / "mean")
    (tmp_path / "2" / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match=r"weights\.safetensors"):
        average([one, other], tmp_path / "mean")
    with pytest.raises(ModelError, match="no such folder"):
        average([one, tmp_path / "none"], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_what_was_dropped_in_training_may_differ(tmp_path: Path) -> None:
    one, other = models(tmp_path, 2)
    parts = read_model_folder(other)
    decoder = replace(parts.config.decoder, readout_dropout=0.4)  # type: ignore[type-var]
    write_model_folder(other, parts._replace(config=replace(parts.config, decoder=decoder)))
    average([one, other], tmp_path / "mean")
    assert read_model_folder(tmp_path / "mean").config == read_model_folder(one).config


def test_another_architecture(tmp_path: Path) -> None:
    one, other = models(tmp_path, 2)
    parts = read_model_folder(other)
    decoder = replace(parts.config.decoder, input_feeding=True)  # type: ignore[type-var]
    write_model_folder(other, parts._replace(config=replace(parts.config, decoder=decoder)))
    with pytest.raises(ModelError, match="another architecture"):
        average([one, other], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def kept_models(run: Path, count: int) -> list[Path]:
    """What a run with train.keep_models leaves: folders named by their steps."""
    return [write_model(run / "models" / f"{1000 * (seed + 1):09d}", seed) for seed in range(1, count + 1)]


def test_the_best_of_a_run(tmp_path: Path) -> None:
    """By their scores, whatever their steps; `--last` knows nothing of them."""
    for step, number in ((1, 2.0), (2, 5.0), (3, 3.0), (4, 4.0)):
        now = kept_at(tmp_path / "run", step, "bleu", number, [number, -1.0])
        keep_best(tmp_path / "run", read_model_folder(write_model(tmp_path / "made", step)), now, 3)
    assert [kept.step for kept in ranked(tmp_path / "run")] == [2, 4, 3]
    best = [tmp_path / "run" / "best_models" / f"{step:09d}" for step in (2, 4)]
    average(best, tmp_path / "wanted")
    command = ["average", str(tmp_path / "run"), "--output", str(tmp_path / "mean")]
    assert main([*command, "--best", "2"]) == 0
    found, wanted = (read_model_folder(tmp_path / name).weights for name in ("mean", "wanted"))
    assert all(np.array_equal(found[name], array) for name, array in wanted.items())
    assert main([*command, "--last", "2"]) == main([*command, "--best", "4"]) == 2
    assert main([*command, "--best", "0"]) == main([*command, "--best", "2", "--last", "2"]) == 2


@pytest.mark.parametrize("last", [2, 3, 4])
def test_the_last_validations_of_a_run(last: int, tmp_path: Path) -> None:
    folders = kept_models(tmp_path / "run", 4)
    (tmp_path / "run" / "models" / "000009999").mkdir()  # of a validation that was cut off: no model
    average(folders[-last:], tmp_path / "wanted")
    assert main(["average", str(tmp_path / "run"), "--last", str(last), "--output", str(tmp_path / "mean")]) == 0
    found, wanted = (read_model_folder(tmp_path / name).weights for name in ("mean", "wanted"))
    assert all(np.array_equal(found[name], array) for name, array in wanted.items())
    assert check_manifest(tmp_path / "mean")["average_of"] == last


def test_the_last_of_several_runs(tmp_path: Path) -> None:
    runs = [tmp_path / name for name in ("one", "other")]
    folders = [folder for run in runs for folder in kept_models(run, 3)[-2:]]
    average(folders, tmp_path / "wanted")
    assert main(["average", *map(str, runs), "--last", "2", "--output", str(tmp_path / "mean")]) == 0
    found, wanted = (read_model_folder(tmp_path / name).weights for name in ("mean", "wanted"))
    assert all(np.array_equal(found[name], array) for name, array in wanted.items())


def test_a_run_that_has_not_kept_so_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept_models(tmp_path / "run", 3)
    write_model(tmp_path / "none" / "best")
    for run, last, code, words in (
        (
            "run",
            4,
            2,
            "kept the models of 3 validations, --last asks for 4; set train.keep_models = 4 before training, or",
        ),
        ("run", 0, 2, "--last 0: must be 1 or more"),
        ("run", 1, 2, "1 models to average; give two or more"),
        (
            "none",
            2,
            2,
            "kept the models of 0 validations, --last asks for 2; set train.keep_models = 2 before training",
        ),
        ("absent", 2, 5, "no such folder; give a run folder"),
    ):
        arguments = ["average", str(tmp_path / run), "--last", str(last), "--output", str(tmp_path / "mean")]
        assert main(arguments) == code
        assert words in capsys.readouterr().err
    assert not (tmp_path / "mean").exists()
