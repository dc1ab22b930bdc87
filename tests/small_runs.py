"""Small training runs: eight symbols to turn around, and models that learn it in seconds."""

import itertools
import json
import random
from pathlib import Path
from typing import Any

from sequencing.run_config import RunConfig, read_run_config

SYMBOLS = "abcdefgh"
TIMES = {"seconds", "tokens_per_second", "sentences_per_second", "data_wait"}  # what no two runs have in common

CONFIG = """\
[data]
train = ["train.tsv"]
dev = ["dev.tsv"]
max_length = 20

[vocab]
source.level = "characters"
target.level = "characters"

[model.encoder]
type = "bidirectional_rnn"
embedding_size = 16
stack.size = 32

[model.decoder]
embedding_size = 16
readout_size = 32
stack.size = 32
attention.size = 32

[train]
batch_tokens = 1024
steps = 12
learning_rate = 5e-3
schedule.warmup = 20
validate_every = 5
log_every = 2
samples = 2
seed = 3
"""

EVERYTHING = [  # all that is random or that remembers, at once
    "model.encoder.stack.output_dropout=0.2",
    "model.encoder.embedding_dropout=0.1",
    "model.decoder.readout_dropout=0.1",
    "model.decoder.attention.dropout=0.1",
    "train.average=0.95",
    "train.teacher.rate=0.6",
    "train.teacher.draw=true",
    "train.label_smoothing=0.1",
    "train.weight_decay=0.01",
    "train.keep_best=2",
]


def write_pairs(folder: Path, train: int = 1500, dev: int = 60, longest: int = 4, tsv: str = "") -> None:
    """Words of two to `longest` symbols and the same read from the right; none stands in both files."""
    words = ["".join(word) for size in range(2, longest + 1) for word in itertools.product(SYMBOLS, repeat=size)]
    random.Random(5).shuffle(words)
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", words[dev : dev + train]), ("dev", words[:dev])):
        text = "".join(f"{word}\t{word[::-1]}\n" for word in part)
        (folder / f"{name}.tsv").write_bytes((text + tsv).encode())


def write_config(folder: Path, text: str = CONFIG) -> Path:
    """A configuration beside the data."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.toml").write_bytes(text.encode())
    return folder / "run.toml"


def small(folder: Path, *settings: str, pairs: int = 200) -> RunConfig:
    """The configuration of a run of twelve steps over few pairs, with its data; made once in a folder."""
    if not (folder / "train.tsv").exists():
        write_pairs(folder, train=pairs, dev=15)
    return read_run_config(write_config(folder), ["train.batch_tokens=192", *settings])


def records(path: Path) -> list[dict[str, Any]]:
    """What a log holds, without the times."""
    lines = path.read_bytes().split(b"\n")
    assert lines.pop() == b"", f"{path}: the last line is cut"
    return [{key: value for key, value in json.loads(line).items() if key not in TIMES} for line in lines]


def files(folder: Path) -> dict[str, bytes]:
    """Every file under a folder and what is in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
