"""Models and a stopped run as this version saves them, and what it makes of them: to be kept, and read for ever.

    python tests/store_run.py FOLDER

made tests/stored/VERSION. What stands there is never made anew: another folder is added whenever a format changes, and
with each version that is published. `test_stored` reads them all.
"""

import argparse
import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sequencing.loading import load_translator
from sequencing.run_config import RunConfig, read_run_config
from sequencing.train.checkpoint import latest_checkpoint
from sequencing.train.loop import train
from sequencing_np.model_folder import read_model_folder, write_model_folder
from sequencing_np.search import SearchConfig
from sequencing_np.translation import Translation
from small_runs import SYMBOLS, records

SEARCH = SearchConfig(beam=3, n_best=2)
STOP, STEPS = 6, 9
PEAK = np.float32(2.5)  # weights are multiplied by it: no two answers are nearly equal
BLOCKS = "{ layers = 1, heads = 2, feed_forward_size = 4 }"
MODELS = {
    "recurrent": """
        vocab.source.level = "characters"
        vocab.target.level = "characters"
        [model]
        encoder = { type = "bidirectional_rnn", embedding_size = 3, stack = { size = 4 } }
        [model.decoder]
        type = "rnn"
        embedding_size = 3
        stack = { cell = "lstm", size = 4 }
        readout_size = 4
        attention = { type = "additive", size = 3 }
    """,
    "self_attention": f"""
        [vocab]
        joint = true
        source = {{ level = "subwords", size = 270 }}
        [model]
        share_embeddings = true
        encoder = {{ type = "self_attention", embedding_size = 4, blocks = {BLOCKS} }}
        [model.decoder]
        type = "self_attention"
        embedding_size = 4
        tie_embeddings = true
        blocks = {BLOCKS}
        attention = {{ type = "multi_head", size = 4, heads = 2 }}
    """,
    "convolutional": """
        vocab.source = { level = "delimited", delimiter = "." }
        vocab.target = { level = "delimited", delimiter = "." }
        [model]
        encoder = { type = "convolutional", embedding_size = 4, size = 4, layers = 1, max_positions = 9 }
        decoder = { type = "convolutional", embedding_size = 4, size = 4, layers = 1, max_positions = 9 }
    """,
}
DATA = 'train = ["train.tsv"]\ndev = ["dev.tsv"]\nmax_length = 20\n'
TRAIN = f"""
    [train]
    batch_tokens = 96
    steps = {STEPS}
    learning_rate = 5e-3
    schedule.warmup = 4
    validate_every = 4
    log_every = 2
    samples = 1
    average = 0.9
    label_smoothing = 0.1
    weight_decay = 0.01
    teacher = {{ rate = 0.7, draw = true }}
"""


def config(folder: Path, text: str, *settings: str) -> RunConfig:
    """The configuration of a run on the data in a folder."""
    path = folder / "run.toml"
    path.write_text(f"data = {{ {', '.join(DATA.splitlines())} }}\n{text}\n{TRAIN}", encoding="utf-8")
    try:
        return read_run_config(path, settings)
    finally:
        path.unlink()


def write_data(folder: Path) -> list[str]:
    """Words and the same from the right; some lines to be translated."""
    chance = random.Random(1)
    words = [".".join(chance.choices(SYMBOLS[:5], k=chance.randint(1, 4))) for _ in range(80)]
    for name, part in (("train", words[:60]), ("dev", words[60:70])):
        (folder / f"{name}.tsv").write_bytes("".join(f"{word}\t{word[::-1]}\n" for word in part).encode())
    return words[70:]


def said(translations: list[Translation]) -> list[Any]:
    """What is to be the same for ever."""
    return [[[answer.text, round(answer.score, 5)] for answer in each.answers] for each in translations]


def come_to(run: Path) -> dict[str, Any]:
    """What a run has come to: its log, and each weight in a few numbers."""
    found = latest_checkpoint(run)
    assert found is not None
    weights = {name: [float(x) for x in array.ravel()[:3]] for name, array in found.arrays["weights"].items()}
    return {"step": found.state["step"], "weights": weights, "log": records(run / "metrics.jsonl")}


def store(folder: Path) -> None:
    """Make all of it."""
    torch.set_num_threads(1)
    folder.mkdir(parents=True)
    lines = write_data(folder)
    content: dict[str, Any] = {"lines": lines, "models": {}}
    for name, text in MODELS.items():
        train(config(folder, text, "train.steps=1"), folder / "made")
        parts = read_model_folder(folder / "made" / "last")
        weights = {key: array * PEAK for key, array in parts.weights.items()}
        write_model_folder(folder / name, parts._replace(weights=weights), {"step": 1})
        shutil.rmtree(folder / "made")
        content["models"][name] = said(load_translator(folder / name, "cpu").translate(lines, SEARCH))
    run = folder / "run"
    train(config(folder, MODELS["recurrent"], f"train.steps={STOP}"), run)
    for each in ("best", "last"):
        shutil.rmtree(run / each)
    (run / "machine.json").unlink()
    shutil.copytree(run, folder / "going_on")
    train(config(folder, MODELS["recurrent"]), folder / "going_on")
    content["run"] = come_to(folder / "going_on")
    shutil.rmtree(folder / "going_on")
    (folder / "said.json").write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="a new one; its name is the version")
    store(parser.parse_args().folder)


if __name__ == "__main__":
    main()
