"""The loader alone against the training that it feeds: target tokens a second, side by side in one run.

    .venv/bin/python benchmarks/loading.py TRAIN.tsv [--steps 12]

The model is the small Transformer of the peers' benchmark (3 + 3 blocks of 256, feed-forward 1,024, 8,000 joint
subwords). The loader gives padded batches from a store on disk, and from one with subword dropout on both sides. The
numbers go to benchmarks/results/loading.json.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from sequencing.process import settle

settle()

from sequencing.data.prefetch import prefetched  # noqa: E402
from sequencing.data.sampling import BatchStream, Placed  # noqa: E402
from sequencing.data.store import Encoded, open_store, write_store  # noqa: E402
from sequencing.machine import machine  # noqa: E402
from sequencing.run_config import read_run_config  # noqa: E402
from sequencing.train.opening import open_session, sampling_options  # noqa: E402
from sequencing.train.update import update  # noqa: E402
from sequencing_np.batch import padding_share  # noqa: E402

RESULTS = Path(__file__).parent / "results"
BLOCKS = "{ layers = 3, heads = 4, feed_forward_size = 1024, dropout = 0.1 }"
CONFIG = f"""\
[data]
train = ["@"]
[vocab]
joint = true
source = {{ level = "subwords", size = 8000 }}
[model]
share_embeddings = true
encoder = {{ type = "self_attention", embedding_size = 256, blocks = {BLOCKS} }}
[model.decoder]
type = "self_attention"
embedding_size = 256
tie_embeddings = true
blocks = {BLOCKS}
attention = {{ type = "multi_head", size = 256, heads = 4 }}
[train]
steps = 100
label_smoothing = 0.1
"""


def rate(batches: Iterator[Placed], count: int) -> tuple[float, float]:
    """Target tokens a second, and the share of padding."""
    next(batches)  # the first one starts the thread
    tokens, shares, begin = 0, [], time.perf_counter()
    for placed in islice(batches, count):
        tokens += int(placed.batch.target_mask.sum())
        shares.append(padding_share(placed.batch))
    return tokens / (time.perf_counter() - begin), statistics.mean(shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("train", metavar="TRAIN.tsv")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "run.toml").write_bytes(CONFIG.replace("@", str(Path(arguments.train).resolve())).encode())
        session = open_session(read_run_config(folder / "run.toml"), folder / "run")
        pairs, vocabs = session.stream.pairs, session.stream.vocabs
        write_store(folder / "store", [Encoded(0, pairs.source, pairs.target)], pairs.corpora, vocabs)
        options = sampling_options(session.config, session.batch_tokens)
        stored = open_store(folder / "store")
        streams = {
            "store": BatchStream(stored, *vocabs, options),
            "store, subword dropout 0.1": BatchStream(stored, *vocabs, replace(options, dropouts=(0.1, 0.1))),
        }
        trained, loaded = [], {name: [] for name in streams}
        padding: dict[str, float] = {}
        batches = session.stream.batches()
        update(session, [next(batches).batch])
        for _ in range(arguments.repeats):
            tokens, begin = 0, time.perf_counter()
            for placed in islice(batches, arguments.steps):
                update(session, [placed.batch])
                tokens += int(placed.batch.target_mask.sum())
            trained.append(tokens / (time.perf_counter() - begin))
            for name, stream in streams.items():
                speed, padding[name] = rate(prefetched(stream), 200)
                loaded[name].append(speed)
    base = statistics.median(trained)
    print(f"{'training':28} {base:12,.0f} target tokens/s")
    rows: list[dict[str, Any]] = [{"name": "training", "tokens_per_second": trained}]
    for name, speeds in loaded.items():
        ratio = statistics.median(speeds) / base
        print(
            f"{name:28} {statistics.median(speeds):12,.0f} target tokens/s  {ratio:6.1f}x  padding {padding[name]:.2%}"
        )
        rows.append({"name": name, "tokens_per_second": speeds, "ratio": ratio, "padding": padding[name]})
    RESULTS.mkdir(exist_ok=True)
    content = {"machine": machine(), "rows": rows}
    (RESULTS / "loading.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
