"""Speed of cutting text into subwords on one core: SentencePiece's own program, Hugging Face's, and ours in Python.

    .venv/bin/python benchmarks/tokenizing.py
    .venv/bin/python benchmarks/tokenizing.py --lines 20000 --size 8000 --repeats 5 --text my.txt

The lines are both sides of ../shared/data/tatoeba-en-de (or below SEQUENCING_DATA), or those of --text; the models are
learnt from some of them. All programs are measured by turns (A, B, C, A, …), so that a busy machine troubles them
alike; the table shows medians, and how many times slower than SentencePiece one is. `ours` has met the words before, as
after the first minutes with a corpus; `ours, first time` has not. The package tokenizers is measured where it is
installed. The numbers go to benchmarks/results/tokenizing.json with the machine that they were measured on.
"""

import argparse
import importlib.util
import json
import os
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sentencepiece
from turns import Tasks, by_turns

from sequencing.data.subword_training import ALGORITHMS, train_sentencepiece
from sequencing.machine import machine
from sequencing_np.special import Special, Vocabulary
from sequencing_np.text import read_lines
from sequencing_np.tokenizers.sentencepiece_vocab import import_model

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "tokenizing.json"
DATA = Path(os.environ.get("SEQUENCING_DATA", HERE.parent.parent / "shared" / "data"))
LEARNT_FROM = 100_000  # lines
DROPOUT = {"bpe": 0.1, "unigram": 0.8}  # of unigram: an inverse temperature of a quarter


def texts(path: str) -> list[str]:
    """All lines of a file, or both sides of the usual corpus; the last ones are measured."""
    if path:
        return list(read_lines(path))
    rows = read_lines(DATA / "tatoeba-en-de" / "train.tsv.gz")
    return [text for row in rows for text in row.split("\t")]


def first_times(model: bytes, algorithm: str, count: int) -> Iterator[Vocabulary]:
    """Vocabularies that have met no word yet; made before anything is measured."""
    return iter([ALGORITHMS[algorithm](model, Special(), ()) for _ in range(count)])


def encoding(algorithm: str, model: bytes, lines: list[str], repeats: int) -> Tasks:
    """Ids of all lines, line by line."""
    native = sentencepiece.SentencePieceProcessor(model_proto=model)
    ours, imported = ALGORITHMS[algorithm](model, Special(), ()), import_model(model)
    fresh = first_times(model, algorithm, repeats + 1)
    assert all(ours.encode(line)[:-1] == native.encode(line) == imported.encode(line)[:-1] for line in lines[:2000])

    def first_time() -> None:
        encode = next(fresh).encode
        for line in lines:
            encode(line)

    return {
        "SentencePiece": lambda: [native.encode(line) for line in lines],
        "ours": lambda: [ours.encode(line) for line in lines],
        "ours, first time": first_time,
        "ours, as .model": lambda: [imported.encode(line) for line in lines],
    }


def sampling(algorithm: str, model: bytes, lines: list[str]) -> Tasks:
    """Ids of all lines, each cut at random."""
    native, generator = sentencepiece.SentencePieceProcessor(model_proto=model), random.Random(1)
    ours, share = ALGORITHMS[algorithm](model, Special(), ()), DROPOUT[algorithm]
    alpha = share if algorithm == "bpe" else (1 - share) / share
    return {
        "SentencePiece": lambda: [
            native.encode(line, enable_sampling=True, nbest_size=-1, alpha=alpha) for line in lines
        ],
        "ours": lambda: [ours.sample(line, share, generator) for line in lines],
    }


def other(algorithm: str, lines: list[str], learnt: list[str], size: int) -> Tasks:
    """Hugging Face's program with a byte-level model of its own, in theirs and in ours; none for unigram."""
    if algorithm != "bpe" or importlib.util.find_spec("tokenizers") is None:
        return {}
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    from sequencing_np.tokenizers.huggingface_vocab import import_tokenizer

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(learnt, trainer)
    ours = import_tokenizer(json.loads(tokenizer.to_str()))
    return {
        "tokenizers": lambda: [tokenizer.encode(line).ids for line in lines],
        "ours, as tokenizer.json": lambda: [ours.encode(line) for line in lines],
    }


def row(name: str, seconds: dict[str, list[float]], lines: int) -> dict[str, Any]:
    """One task: lines a second as smallest, median, largest, and how many times slower than the first each is."""
    rates = {who: sorted(lines / one for one in times) for who, times in seconds.items()}
    median = {who: statistics.median(values) for who, values in rates.items()}
    first = next(iter(median.values()))
    return {
        "name": name,
        "unit": "lines/s",
        "rates": {who: [values[0], median[who], values[-1]] for who, values in rates.items()},
        "slower": {who: first / value for who, value in median.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--text", default="", help="lines to cut (both sides of tatoeba-en-de)")
    parser.add_argument("--lines", type=int, default=10_000, help="how many are measured (10,000)")
    parser.add_argument("--size", type=int, default=8000, help="ids of each model (8,000)")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    everything = texts(arguments.text)
    lines, learnt = everything[-arguments.lines :], everything[:LEARNT_FROM]
    rows = []
    for algorithm in ALGORITHMS:
        model = train_sentencepiece(learnt, arguments.size, algorithm=algorithm)
        tasks = encoding(algorithm, model, lines, arguments.repeats)
        tasks |= other(algorithm, lines, learnt, arguments.size)
        rows.append(row(f"{algorithm}, encode", by_turns(tasks, arguments.repeats, time.process_time), len(lines)))
        tasks = sampling(algorithm, model, lines)
        rows.append(row(f"{algorithm}, sample", by_turns(tasks, arguments.repeats, time.process_time), len(lines)))
    for line in rows:
        for who, (low, middle, high) in line["rates"].items():
            print(
                f"{line['name']:16} {who:24} {middle:>10,.0f} ({low:,.0f}-{high:,.0f}) lines/s"
                f"   {line['slower'][who]:.1f} times slower"
            )
    RESULTS.parent.mkdir(exist_ok=True)
    content = {
        "machine": machine(),
        "repeats": arguments.repeats,
        "lines": len(lines),
        "size": arguments.size,
        "characters": sum(map(len, lines)) / len(lines),
        "rows": rows,
    }
    RESULTS.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
