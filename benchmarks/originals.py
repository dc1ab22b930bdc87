"""The speeds that the first framework and the Keras guide claimed, measured here with their networks and sizes.

    .venv/bin/python benchmarks/originals.py RUNS_DATA [--keras PYTHON] [--rounds 3] [--steps 12] [--threads 2]

RUNS_DATA is what `recipes/prepare.py` makes. PYTHON has keras, torch, jax and numpy.

*The guide*: its four networks (LSTMs of 128, ten places, 10,000 words a side, 128 pairs a batch, Adam), in plain
Keras 3 on two of its backends, as the guide wrote them; ours are `recipes/guide/01` to `04` with batches of about as
many pairs. Training pairs a second. Keras computes all ten places of each sentence; ours leaves the padding out.

*The framework*: `config_en2zh` at its full width (bidirectional LSTM of 1,024 a direction, LSTM decoder of 1,024 that
is fed its context, about 128 sentences a batch): training sentences a second, and sentences translated a minute,
greedily and with its beam of five, answers of 15 characters, on both runtimes. The numbers go to
benchmarks/results/originals.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
RECIPES = Path(__file__).resolve().parents[1] / "recipes"
GUIDE = ("01-one-hot", "02-one-hot-bidirectional", "03-embedding", "04-embedding-bidirectional")
BATCH, WORDS, PLACES, HIDDEN = 128, 10_000, 10, 128
WIDE = (  # config_en2zh's own sizes
    *(f"model.{side}.embedding_size=512" for side in ("encoder", "decoder")),
    *(f"model.{side}.stack.size=1024" for side in ("encoder", "decoder")),
    *("model.encoder.attention_key_size=512", "model.decoder.attention.size=512", "model.decoder.head_size=1024"),
)
ANSWER = 15  # characters of an answer, its end included: what a target of this data has on average
WARM = 2  # steps that do not count


def rate(step: Any, steps: int, amount: int) -> float:
    """So many of something a step, a second."""
    for _ in range(WARM):
        step()
    begin = time.perf_counter()
    for _ in range(steps):
        step()
    return amount * steps / (time.perf_counter() - begin)


def keras_guide(name: str, steps: int, threads: int, backend: str) -> dict[str, Any]:
    """The guide's network, compiled and trained as the guide did, on random words: its work is the same for any."""
    os.environ["KERAS_BACKEND"] = backend
    if backend == "jax":  # which knows no other way to be held to some threads
        os.sched_setaffinity(0, set(list(os.sched_getaffinity(0))[:threads]))
    import keras

    if backend == "torch":
        import torch

        torch.set_num_threads(threads)
    keras.utils.set_random_seed(1)
    layers = keras.layers
    one_hot, both = "one-hot" in name, "bidirectional" in name
    read = layers.LSTM(HIDDEN)
    network = keras.Sequential(
        [
            layers.Input((PLACES, WORDS) if one_hot else (PLACES,)),
            *([] if one_hot else [layers.Embedding(WORDS, HIDDEN)]),
            layers.Bidirectional(read) if both else read,
            layers.RepeatVector(PLACES),
            layers.LSTM(HIDDEN, return_sequences=True),
            layers.TimeDistributed(layers.Dense(WORDS)),
            layers.Activation("softmax"),
        ]
    )
    loss = "categorical_crossentropy" if one_hot else "sparse_categorical_crossentropy"
    network.compile(loss=loss, optimizer="adam")
    chance = np.random.default_rng(1)
    source, target = chance.integers(0, WORDS, (2, BATCH, PLACES))
    if one_hot:
        source, target = (np.eye(WORDS, dtype=np.float32)[side] for side in (source, target))
    found = rate(lambda: network.train_on_batch(source, target), steps, BATCH)
    return {"rate": found, "parameters": network.count_params(), "keras": keras.__version__}


def session_of(recipe: str, given: argparse.Namespace, precision: str, folder: str, more: tuple[str, ...]) -> Any:
    """A recipe about to be trained in a folder."""
    from sequencing.process import settle

    settle()
    from sequencing.run_config import read_run_config
    from sequencing.train.opening import open_session

    path = RECIPES / f"{recipe}.toml"
    files = {part: Path(str(getattr(read_run_config(path).data, part)[0])).name for part in ("train", "dev", "test")}
    found = [f'data.{part}=["{(given.data / name).resolve()}"]' for part, name in files.items()]
    rest = (f"train.precision={precision}", f"train.threads={given.threads}", *more)
    return open_session(read_run_config(path, [*found, *rest]), Path(folder))


def trained(session: Any, steps: int) -> float:
    """Pairs a second."""
    from sequencing.train.update import update

    stream = session.stream.batches()
    batches = [next(stream).batch for _ in range(steps + WARM)]
    waiting = iter(batches)

    def step() -> None:
        update(session, [next(waiting)])
        session.step += 1

    pairs = sum(len(batch.target) for batch in batches[WARM:])
    return rate(step, steps, 1) * pairs / steps


def our_guide(name: str, given: argparse.Namespace, precision: str, folder: str) -> dict[str, Any]:
    """The recipe of the same name, batches of about as many pairs."""
    session = session_of(f"guide/{name}", given, precision, folder, ("train.batch_tokens=1792",))
    weights = sum(weight.numel() for weight in session.translator.model.parameters())
    return {"rate": trained(session, given.steps), "parameters": weights}


def framework(given: argparse.Namespace, precision: str, folder: str) -> dict[str, Any]:
    """Sentences learnt from a second, and translated a minute by either runtime."""
    import torch

    from sequencing_np.beam import BeamFeedBack
    from sequencing_np.decode import dynamic_decode
    from sequencing_np.feedback import SampleFeedBack
    from sequencing_np.limits import Limits
    from sequencing_np.model import build_model
    from sequencing_np.weights import nest

    session = session_of("nmt/en2zh", given, precision, folder, (*WIDE, "train.batch_tokens=3300"))
    learnt = trained(session, given.steps)
    translator = session.translator
    model, special = translator.model.eval(), translator.target_vocab.special
    batch = next(session.stream.batches()).batch
    source, mask = batch.source[:BATCH], batch.source_mask[:BATCH]
    runtimes = {"PyTorch": model, "NumPy": build_model(model.config, nest(model.weights()))}
    limits, minute = Limits(0.0, ANSWER, ANSWER, ANSWER), {}
    for runtime, each in runtimes.items():
        for beam in (1, 5):
            best = float("inf")
            for _ in range(2):
                feedback = SampleFeedBack(special, limits) if beam == 1 else BeamFeedBack(special, beam, limits)
                begin = time.perf_counter()
                with torch.inference_mode():
                    dynamic_decode(each.decoder, each.encode(source, mask), feedback)
                best = min(best, time.perf_counter() - begin)
            minute[f"{runtime}, beam {beam}"] = round(60 * len(source) / best)
    weights = sum(weight.numel() for weight in model.parameters())
    return {"rate": learnt, "a_minute": minute, "parameters": weights}


def row(what: str, given: argparse.Namespace) -> dict[str, Any]:
    """What one process measures: `keras/BACKEND/NAME`, `guide/PRECISION/NAME` or `framework/PRECISION`."""
    kind, how, *name = what.split("/")
    if kind == "keras":
        return keras_guide(name[0], given.steps, given.threads, how)
    with tempfile.TemporaryDirectory() as folder:
        return our_guide(name[0], given, how, folder) if kind == "guide" else framework(given, how, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, metavar="RUNS_DATA")
    parser.add_argument("--keras", metavar="PYTHON", help="a Python that has keras, torch and jax")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row:
        print(json.dumps(row(given.row, given)))
        return
    kinds = {f"guide/{how}/{name}": sys.executable for name in GUIDE for how in ("bfloat16", "float32")}
    if given.keras:
        kinds |= {f"keras/{how}/{name}": given.keras for name in GUIDE for how in ("torch", "jax")}
    kinds |= {f"framework/{how}": sys.executable for how in ("bfloat16", "float32")}
    found: dict[str, list[dict[str, Any]]] = {}
    for _ in range(given.rounds):
        for what, python in sorted(kinds.items(), key=lambda kind: kind[0].rpartition("/")[2]):
            words = [python, __file__, str(given.data), "--steps", str(given.steps), "--threads", str(given.threads)]
            done = subprocess.run([*words, "--row", what], stdout=subprocess.PIPE, check=True)
            found.setdefault(what, []).append(json.loads(done.stdout.splitlines()[-1]))
    rows = []
    for what, each in found.items():
        rates = sorted(round(one["rate"], 1) for one in each)
        rows.append({"name": what, **each[-1], "rate": statistics.median(rates), "rates": rates})
        print(
            f"{what:44} {statistics.median(rates):8,.0f} pairs/s ({rates[0]:,}-{rates[-1]:,})",
            rows[-1].get("a_minute", ""),
        )
    from sequencing.machine import machine

    result = {"machine": machine(), "threads": given.threads, "rows": rows}
    (RESULTS / "originals.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
