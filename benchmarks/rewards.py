"""What a step of learning from rewards costs, in taught steps of the same model on the same batches, by turns.

    .venv/bin/python benchmarks/rewards.py TRAIN.tsv [--samples 5] [--threads 2] [--rounds 5] [--warm 300]
        [--model self-attention --taught RUN] [--result NAME]

Both models are first taught for `--warm` steps, so that their answers end as targets do, or have the weights of RUN, a
model of that shape; then each round takes every row's step on one batch. The numbers go to
benchmarks/results/NAME.json, which is `rewards` unless said otherwise.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from sequencing.process import settle

settle()

from sequencing.machine import machine  # noqa: E402
from sequencing.run_config import read_run_config  # noqa: E402
from sequencing.train.opening import open_session  # noqa: E402
from sequencing.train.session import Session  # noqa: E402
from sequencing.train.update import update  # noqa: E402
from sequencing_np.errors import SequencingError  # noqa: E402

RESULTS = Path(__file__).parent / "results"
BLOCKS = "{ layers = 3, heads = 4, feed_forward_size = 1024, dropout = 0.1 }"
MODELS = {
    "self-attention": f"""\
[model]
share_embeddings = true
encoder = {{ type = "self_attention", embedding_size = 256, blocks = {BLOCKS} }}
[model.decoder]
type = "self_attention"
embedding_size = 256
tie_embeddings = true
blocks = {BLOCKS}
attention = {{ type = "multi_head", size = 256, heads = 4 }}
""",
    "recurrent": """\
[model]
encoder = { type = "bidirectional_rnn", embedding_size = 256, stack = { size = 256 } }
decoder = { type = "rnn", embedding_size = 256, stack = { size = 512 }, readout_size = 256 }
""",
}
CONFIG = """\
[data]
train = ["@"]
max_length = 60
[vocab]
joint = true
source = { level = "subwords", size = 8000 }
[train]
steps = 100000
batch_tokens = 4096
schedule = { type = "constant", warmup = 100 }
learning_rate = 1e-3
"""
ROWS: dict[str, list[str]] = {
    "taught": [],
    "leave_one_out": ["type=leave_one_out"],
    "leave_one_out, chrF, a process": ["type=leave_one_out", "reward=chrf", "workers=1"],
    "reinforce, delta-BLEU": ["type=reinforce", "reward=delta_bleu"],
    "self_critical": ["type=self_critical"],
    "minimum_risk": ["type=minimum_risk"],
}


def opened(folder: Path, model: str, given: argparse.Namespace, settings: list[str]) -> Session:
    """A session whose configuration differs in its objective alone."""
    folder.mkdir()
    (folder / "run.toml").write_text(CONFIG.replace("@", str(Path(given.train).resolve())) + MODELS[model])
    own = [f"train.objective.{setting}" for setting in settings]
    own += [f"train.init.from_run={given.taught.resolve()}"] if given.taught else []
    return open_session(read_run_config(folder / "run.toml", [f"train.threads={given.threads}", *own]), folder / "run")


def measured(model: str, given: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each row's steps on the same batches, and what they said."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        samples = f"samples={given.samples}"
        sessions = {
            row: opened(place / str(number), model, given, [samples, *settings])
            for number, (row, settings) in enumerate(ROWS.items())
        }
        taught = sessions["taught"]
        stream = taught.stream.batches()
        for _ in range(0 if given.taught else given.warm):
            update(taught, [next(stream).batch])
            taught.step += 1
        weights = taught.model.weights()
        for session in sessions.values():
            session.model.load_weights(weights)
            session.step = taught.step
        seconds: dict[str, list[float]] = {row: [] for row in ROWS}
        work: dict[str, list[float]] = {row: [] for row in ROWS}  # of the processor, whatever else the machine did
        lengths: dict[str, list[float]] = {row: [] for row in ROWS}
        for _ in range(given.rounds + 1):
            batch = next(stream).batch
            for row, session in sessions.items():
                session.model.load_weights(weights)  # each step is the first: what is said stays as long
                begin, busy = time.perf_counter(), time.process_time()
                stepped = update(session, [batch])
                float(stepped.gradient_norm)
                seconds[row].append(time.perf_counter() - begin)
                work[row].append(time.process_time() - busy)
                session.tally.add([batch], stepped)
                lengths[row].append(session.tally.means(session.ranks).get("length", 1.0))
        for session in sessions.values():
            session.close()
    found = {}
    for row in ROWS:
        steps = [[a / b for a, b in zip(x[row][1:], x["taught"][1:], strict=True)] for x in (seconds, work)]
        found[row] = {
            "seconds": round(statistics.median(seconds[row][1:]), 3),
            "taught_steps": round(statistics.median(steps[0]), 2),
            "range": [round(min(steps[0]), 2), round(max(steps[0]), 2)],
            "taught_steps_of_processor_time": round(statistics.median(steps[1]), 2),
            "sample_length": round(lengths[row][-1], 2),  # over the targets'
        }
        print(f"{model:15} {row:32} {found[row]}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("train", metavar="TRAIN.tsv")
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm", type=int, default=300)
    parser.add_argument("--model", choices=MODELS, action="append")
    parser.add_argument("--taught", type=Path, metavar="RUN")
    parser.add_argument("--result", default="rewards", metavar="NAME")
    given = parser.parse_args()
    try:
        rows = {model: measured(model, given) for model in given.model or MODELS}
    except SequencingError as error:
        parser.error(str(error))
    result = {"machine": machine(), "samples": given.samples, "threads": given.threads, "models": rows}
    (RESULTS / f"{given.result}.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
