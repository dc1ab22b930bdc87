"""Random models of a few weights, written as model folders, for the tests of both command lines."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sequencing.model import Model
from sequencing_np.limits import Limits
from sequencing_np.model import ModelConfig
from sequencing_np.model_folder import ModelFolder, write_model_folder
from sequencing_np.pooling import PoolingEncoderConfig
from sequencing_np.rnn import RNNEncoderConfig, StackConfig
from sequencing_np.rnn_decoder import RNNDecoderConfig
from sequencing_np.vocab import Vocab

SOURCES = ["ein", "zwei", "drei", "vier", "fünf", "und", "sechs"]
TARGETS = list("abcdefghi klm")
PEAK = 12.0  # weights are multiplied by it: no two answers are nearly equal


def write_model(folder: Path, seed: int = 4, broken: bool = False) -> Path:
    """A model folder: words in, characters out. A broken model says NaN when it reads the word "sechs"."""
    source, target = Vocab(SOURCES, " "), Vocab(TARGETS, "")
    config = ModelConfig(
        PoolingEncoderConfig(embedding_size=5)
        if broken
        else RNNEncoderConfig(embedding_size=5, stack=StackConfig(size=7)),
        RNNDecoderConfig(
            embedding_size=3,
            stack=StackConfig(size=11),
            readout="previous_word" if broken else "luong",  # nothing between the words' vectors and the logits
            readout_size=5,
        ),
        source_size=len(source),
        target_size=len(target),
    )
    torch.manual_seed(seed)
    weights = {name: array * np.float32(PEAK) for name, array in Model(config).weights().items()}
    if broken:
        (table,) = (name for name in weights if name.startswith("encoder.embedding"))
        weights[table][source.encode("sechs")[0]] = 3e38  # a number, as a model folder wants; logits of it are none
    folder.parent.mkdir(parents=True, exist_ok=True)
    write_model_folder(folder, ModelFolder(config, Limits(1.0, 5, 30), source, target, weights))
    return folder


def write_run(folder: Path) -> Path:
    """The folder of a run that searches with a beam of 3, and has a best and a last model."""
    write_model(folder / "best", seed=1)
    write_model(folder / "last", seed=2)
    (folder / "config.json").write_bytes(json.dumps({"search": {"beam": 3, "length_penalty": "gnmt"}}).encode())
    return folder


def give_input(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    """Let standard input hold these bytes."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))


Said = tuple[int, list[str], str]


def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str) -> Callable[..., Said]:
    """What runs a program with a text as its input: its exit code, its lines, its complaint."""

    def run(program: Callable[[list[str]], int], *arguments: object) -> Said:
        give_input(monkeypatch, text.encode())
        code = program([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out.split("\n")[:-1], err

    return run
