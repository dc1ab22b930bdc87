"""The vocabularies of what is prepared: named by the configuration, or built from a sample of the training pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sequencing.data.corpus import Corpus
from sequencing.prepare.keys import mixed, pair_keys
from sequencing.prepare.settings import PrepareConfig
from sequencing.prepare.shards import TRAIN, Shard, chosen_lines, open_verdicts, read_columns
from sequencing.vocabularies import build_vocabularies
from sequencing_np.errors import DataError
from sequencing_np.model_folder import VOCABULARIES
from sequencing_np.vocab import load_vocab, save_vocab
from sequencing_np.writing import atomic_write

SAMPLE = "sample.tsv"
SEED = 0x5A  # so that the sample has nothing to do with what is held out
EVERY = 1 << 64


def make_vocabularies(
    folder: Path, work: Path, shards: Sequence[Shard], config: PrepareConfig, seen: Callable[[int], None]
) -> None:
    """Build the vocabularies and save them in the folder; `seen` is told how many pairs were looked at."""
    sample = work / SAMPLE
    if not write_sample(sample, work, shards, config.sample, seen):
        read = sum(shard.record["read"] for shard in shards)
        raise DataError(
            f"no pair is left to train with, of {read:,} that were read; loosen the filters, hold out less text, or "
            "give more"
        )
    columns = config.vocab.source.columns
    longest = (columns + 1) * (config.read.max_bytes + 1)
    corpus = Corpus([sample], "the sample of training pairs", max_bytes=longest, sources=columns)
    for vocab, name in zip(build_vocabularies(config.vocab, corpus), VOCABULARIES, strict=True):
        save_vocab(vocab, folder / name)
    for name in VOCABULARIES:  # what cannot be read back is not found out in a worker
        load_vocab(folder / name)
    sample.unlink()


def write_sample(path: Path, work: Path, shards: Sequence[Shard], wanted: int, seen: Callable[[int], None]) -> int:
    """Write about `wanted` training pairs (0: all), the same ones for the same text; how many there are."""
    verdicts, written = open_verdicts(work), 0
    training = int(sum(np.count_nonzero(verdicts[shard.pairs] == TRAIN) for shard in shards))
    share = min(1.0, wanted / training) if wanted and training else 1.0

    def sampled(shard: Shard) -> np.ndarray:
        kept = verdicts[shard.pairs] == TRAIN
        seen(shard.rows)
        if share < 1:
            kept &= mixed(pair_keys(read_columns(work, shard)), SEED) < np.uint64(int(share * EVERY))
        return kept

    with atomic_write(path) as file:
        for _, _, line in chosen_lines(work, shards, sampled):
            file.write(line.encode() + b"\n")
            written += 1
    return written
