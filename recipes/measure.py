"""What a recipe's run is worth: the honest numbers, and beside them the one that the guide gave.

The guide counts every position of a sentence padded to the longest one, the start and the end among them. So does
`padded`: an answer is cut at its first end, both it and the target are padded, and all places are compared; where a
decoder that is told the words before does not see the end coming, it has all the padding wrong. What is held out is
measured without padding, and by what the model says when nobody helps it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import carried
import numpy as np
import torch
from catalogue import FOLDERS, SENTENCES, Folder
from made import bare

from sequencing.data.corpus import Corpus, read_references
from sequencing.data.sampling import EvalBatch, eval_batches
from sequencing.evaluate import evaluate
from sequencing.loading import load_translator, search_of
from sequencing.records import write_json
from sequencing.run_config import RunConfig, read_run_config
from sequencing.run_folder import read_run
from sequencing_np.batch import PadIds
from sequencing_np.decode import dynamic_decode
from sequencing_np.feedback import TrainingFeedBack
from sequencing_np.search import SearchConfig
from sequencing_np.special import Special
from sequencing_np.translate import Translator

MOST_TRAINING = 2_000  # training pairs that are looked at
RESULTS = "results.json"


def batches_of(translator: Translator, pairs: list[tuple[str, str]], budget: int = 4096) -> list[EvalBatch]:
    """Pairs as batches."""
    source, target = translator.source_vocab, translator.target_vocab
    encoded = [(source.encode(left), target.encode(right)) for left, right in pairs]
    return list(eval_batches(encoded, budget, PadIds(source.special.pad, target.special.pad)))


def told(model: Any, batch: Any, special: Special) -> np.ndarray:  # -> (B, T)
    """The likeliest word at each place when the words before it are given."""
    memory = model.encode(batch.source, batch.source_mask)
    output = dynamic_decode(model.decoder, memory, TrainingFeedBack(batch.target, special))
    found: np.ndarray = model.arrays.host(output.logits.argmax(dim=-1))
    return found


def accuracies(translator: Translator, pairs: list[tuple[str, str]], longest: int) -> dict[str, float]:
    """Token accuracy without padding, and with it: `longest` places, the start symbol among them."""
    special, right, total, places = translator.target_vocab.special, 0, 0, 0
    padded = 0
    with torch.inference_mode():
        for _, batch in batches_of(translator, pairs):
            said = told(translator.model, batch, special)
            hits = (said == batch.target) & batch.target_mask
            right, total = right + int(hits.sum()), total + int(batch.target_mask.sum())
            lengths = batch.target_mask.sum(axis=1)
            padded += int(padded_hits(said, batch.target, lengths, special.eos, longest).sum())
            places += longest * len(lengths)
    return {"token_accuracy": right / max(total, 1), "padded": padded / max(places, 1)}


def padded_hits(said: np.ndarray, target: np.ndarray, lengths: np.ndarray, end: int, longest: int) -> np.ndarray:
    """(B, T), (B, T), (B,) -> (B,): how many of `longest` places are right, the start and the padding among them."""
    found = np.ones(len(said), dtype=int)  # the start symbol
    for row, length in enumerate(lengths):
        ends = np.flatnonzero(said[row, :length] == end)
        stop = int(ends[0]) + 1 if len(ends) else int(length)  # of what is said, its end included
        both = min(stop, int(length))
        found[row] += int((said[row, :both] == target[row, :both]).sum())
        if len(ends):  # padding follows: right past the end of the target
            found[row] += longest - 1 - max(int(length), stop)
    return found


def pairs_of(files: Any, sources: int, most: int | None = None) -> list[tuple[str, str]]:
    """The pairs of some files, the first ones where they are many."""
    pairs = []
    for pair in Corpus(files, "data", sources=sources).pairs():
        pairs.append(pair)
        if len(pairs) == most:
            break
    return pairs


def longest_target(translator: Translator, config: RunConfig) -> int:
    """Places of the longest training target, its start and its end included."""
    sources = translator.source_vocab.columns
    return 1 + max(len(translator.target_vocab.encode(target)) for _, target in pairs_of(config.data.train, sources))


def measure(name: str, run: Path) -> dict[str, Any]:
    """All numbers of a run, written to its folder."""
    folder, _, label = name.rpartition("/")
    about = FOLDERS.get(folder, Folder(()))
    config = read_run_config(run / "config.json")
    translator = load_translator(run)
    sources = translator.source_vocab.columns
    longest = longest_target(translator, config)
    record: dict[str, Any] = {
        **facts(run),
        "train": accuracies(translator, pairs_of(config.data.train, sources, MOST_TRAINING), longest),
        "places": longest,
    }
    dev, test = (
        read_references(Corpus(files, part, sources=sources))
        for part, files in (("dev", config.data.dev), ("test", config.data.test))
    )
    record["test"] = accuracies(translator, pairs_of(config.data.test, sources), longest)
    record["test"].pop("padded")
    record |= {"dev": {}, "search": {}, "sentences": {}, "carried": {}}
    for beam in (1,) if label in about.greedy else about.beams:
        search = beamed(search_of(run), beam)
        for place, held_out in (("dev", dev), ("search", test)):
            found = evaluate(translator, *held_out, search, config.train.bleu_tokenize or None)
            record[place][str(beam)] = found.record()
        if about.sentences:
            said = translator.translate([bare(source) for source, _, _ in SENTENCES], search)
            record["sentences"][str(beam)] = [each.text for each in said]
        if about.carried:
            record["carried"][str(beam)] = spelling(translator, config, search)
    write_json(run / RESULTS, record)
    return record


def beamed(search: SearchConfig, beam: int) -> SearchConfig:
    """The search of a run with so many hypotheses."""
    return SearchConfig(beam, search.length_penalty, search.alpha)


def facts(run: Path) -> dict[str, Any]:
    """How long a run took and where."""
    read = read_run(run)
    last = max([*read.train, *read.dev], key=lambda record: record["step"])
    epochs = [record["epoch"] for record in read.train if "epoch" in record]  # those that are whole
    machine = {key: read.machine.get(key) for key in ("cpu", "cores", "accelerator", "torch", "threads")}
    return {
        "step": last["step"],
        "best_step": read.best.get("step"),
        "epochs": read.configuration["train"]["epochs"] or (epochs[-1] if epochs else None),
        "minutes": round(last["seconds"] / 60, 2),
        "parameters": read.parameters,
        "seed": read.configuration["train"]["seed"],
        "machine": machine,
    }


def spelling(translator: Translator, config: RunConfig, search: SearchConfig) -> dict[str, float]:
    """Which part of held-out names, cognates, numbers and made names the answers have."""
    train = pairs_of(config.data.train, 1)
    seen = carried.seen_in(f"{source}\t{target}" for source, target in train)
    found = {}
    for kind in carried.MEASURED:
        path = Path(config.data.train[0]).with_name(f"carried.{kind}.tsv")  # type: ignore[arg-type]
        rows = pairs_of([str(path)], 1) if path.is_file() else []
        with torch.inference_mode():
            answers = [each.text for each in translator.translate([source for source, _ in rows], search)]
        found[kind] = carried.share(kind, rows, answers, seen)
    return found
