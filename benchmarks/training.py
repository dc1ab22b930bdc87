"""Training, beside Hugging Face transformers: target tokens a second of the same Transformer on the same ids.

    .venv/bin/python benchmarks/training.py TRAIN.tsv --peer OTHER_VENV/bin/python [--rounds 3] [--threads 2]

OTHER_VENV holds torch, transformers and numpy; without --peer only our own rows are measured. The model is the small
Transformer of the peers' benchmark (3 + 3 blocks of 256, 4 heads, feed-forward 1,024, dropout 0.1 everywhere, 8,000
joint subwords, all tables tied), Adam, clipping at 1, label smoothing 0.1. Each row is a process of its own, by turns;
both batch by length. The numbers go to benchmarks/results/training.json.

What a row's share of the bound is: the matrix products of a step (six operations for each weight that a token meets)
over the rate that this machine's `linear` reaches on 4,096 x 256 x 1,024 in the same type.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
DROPOUTS = "dropout = 0.1, attention_dropout = 0.1, activation_dropout = 0.1"
BLOCKS = f"{{ layers = 3, heads = 4, feed_forward_size = 1024, {DROPOUTS} }}"
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
attention = {{ type = "multi_head", size = 256, heads = 4, dropout = 0.1 }}
[train]
steps = 1000
batch_tokens = 8192
learning_rate = 1e-3
label_smoothing = 0.1
clip = 1.0
schedule = {{ type = "constant", warmup = 0 }}
"""
SOURCE_WEIGHTS, TARGET_WEIGHTS = 3 * (4 * 256**2 + 2 * 256 * 1024), 3 * (6 * 256**2 + 2 * 256 * 1024) + 256 * 8000
KEYS = 3 * 2 * 256**2  # of the decoder's attention, met by the source's tokens
PAD, BOS, EOS = 0, 2, 3
FIELDS = (("f", "flat"), ("o", "offsets"))  # of the ids of one side
WARM = 3  # steps that do not count


def timed(step: Any, batches: list[Any], sizes: list[tuple[int, int]]) -> dict[str, Any]:
    """Target tokens a second over some steps, the losses, and the memory of the process."""
    seconds, losses = [], []
    for batch in batches:
        begin = time.perf_counter()
        losses.append(float(step(batch).detach()))
        seconds.append(time.perf_counter() - begin)
    counted = list(zip(seconds, sizes, strict=True))[WARM:]
    source, target = (sum(size[side] for _, size in counted) for side in (0, 1))
    spent = sum(second for second, _ in counted)
    flops = 6 * (source * (SOURCE_WEIGHTS + KEYS) + target * TARGET_WEIGHTS)
    return {
        "tokens_per_second": round(target / spent),
        "tokens_per_step": round(target / len(counted)),
        "gigaflops": round(flops / spent / 1e9, 1),
        "loss": [round(loss, 3) for loss in losses],
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }


def ours(train: str, steps: int, threads: int, precision: str, ids: str) -> dict[str, Any]:
    """Our own loop's step; also writes the ids, for the others."""
    from sequencing.process import settle

    settle()
    import torch

    from sequencing.run_config import read_run_config
    from sequencing.train.opening import open_session
    from sequencing.train.update import update

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.toml"
        path.write_text(CONFIG.replace("@", str(Path(train).resolve())))
        config = read_run_config(path, [f"train.precision={precision}", f"train.threads={threads}"])
        session = open_session(config, Path(folder) / "run")
        pairs = session.stream.pairs
        sides = {"source": pairs.source, "target": pairs.target}
        arrays = {f"{name}_{part}": getattr(side, field) for name, side in sides.items() for part, field in FIELDS}
        np.savez(ids, **arrays)
        stream = session.stream.batches()
        batches = [next(stream).batch for _ in range(steps)]

        def step(batch: Any) -> Any:
            found = update(session, [batch])
            session.step += 1
            return found.loss / int(batch.target_mask.sum())

        sizes = [(int(batch.source_mask.sum()), int(batch.target_mask.sum())) for batch in batches]
        return {**timed(step, batches, sizes), "torch": torch.__version__}


def hugging_face(train: str, steps: int, threads: int, precision: str, ids: str) -> dict[str, Any]:
    """MarianMTModel of the same sizes under a plain loop, batches of like lengths and at most 4,096 tokens a side."""
    import torch
    import transformers
    from torch.nn import functional

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    shape = {"layers": 3, "attention_heads": 4, "ffn_dim": 1024}
    sizes = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in shape.items()}
    dropouts = dict.fromkeys(("dropout", "attention_dropout", "activation_dropout"), 0.1)
    special = {"pad_token_id": PAD, "eos_token_id": EOS, "bos_token_id": BOS, "decoder_start_token_id": BOS}
    tied = {"share_encoder_decoder_embeddings": True, "tie_word_embeddings": True, "forced_eos_token_id": None}
    rest = {"d_model": 256, "activation_function": "relu", "max_position_embeddings": 256, "scale_embedding": True}
    config = transformers.MarianConfig(
        vocab_size=8000, decoder_vocab_size=8000, **rest, **sizes, **dropouts, **special, **tied
    )
    model = transformers.MarianMTModel(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    with np.load(ids) as data:
        sides = [(data[f"{name}_f"], data[f"{name}_o"]) for name in ("source", "target")]
    parts = [[flat[a:b] for a, b in pairwise(offsets)] for flat, offsets in sides]
    chance, pairs = random.Random(1), list(zip(*parts, strict=True))
    chance.shuffle(pairs)
    groups: list[list[Any]] = [[]]
    for pair in sorted(pairs, key=lambda pair: max(map(len, pair)) + chance.random()):
        if (len(groups[-1]) + 1) * max(map(len, pair)) > 4096:
            groups.append([])
        groups[-1].append(pair)
    chance.shuffle(groups)

    def padded(rows: list[Any]) -> Any:
        longest = max(map(len, rows))
        return torch.tensor([[*row, *[PAD] * (longest - len(row))] for row in rows])

    def step(group: list[Any]) -> Any:
        source, target = padded([pair[0] for pair in group]), padded([pair[1] for pair in group])
        begun = torch.cat([torch.full((len(target), 1), BOS), target[:, :-1]], dim=1)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            said = model(
                input_ids=source, attention_mask=source.ne(PAD), decoder_input_ids=begun, use_cache=False
            ).logits
            loss = functional.cross_entropy(said.flatten(0, 1), target.flatten(), ignore_index=PAD, label_smoothing=0.1)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    counts = [(sum(len(pair[0]) for pair in group), sum(len(pair[1]) for pair in group)) for group in groups[:steps]]
    return {**timed(step, groups[:steps], counts), "torch": torch.__version__, "transformers": transformers.__version__}


def bound(threads: int) -> dict[str, float]:
    """Gigaflops of a product of 4,096 x 256 x 1,024 in both types: the best of some."""
    import torch

    torch.set_num_threads(threads)
    found = {}
    for name in ("float32", "bfloat16"):
        x, weight = (torch.randn(size, 256, dtype=getattr(torch, name)) for size in (4096, 1024))
        seconds = []
        for _ in range(30):
            begin = time.perf_counter()
            torch.nn.functional.linear(x, weight)
            seconds.append(time.perf_counter() - begin)
        found[name] = round(2 * 4096 * 256 * 1024 / min(seconds) / 1e9, 1)
    return found


ROWS = {"Sequencing": ours, "Hugging Face": hugging_face}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("train", metavar="TRAIN.tsv")
    parser.add_argument("--peer", metavar="PYTHON", help="a Python that has transformers")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=23)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row:
        name, precision, ids = given.row.split("/", 2)
        print(json.dumps(ROWS[name](given.train, given.steps, given.threads, precision, ids)))
        return
    pythons = {"Sequencing": sys.executable, **({"Hugging Face": given.peer} if given.peer else {})}
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, list[dict[str, Any]]] = {}
        for _ in range(given.rounds):
            for precision in ("bfloat16", "float32"):
                for name, python in pythons.items():
                    words = [
                        python,
                        __file__,
                        given.train,
                        "--steps",
                        str(given.steps),
                        "--threads",
                        str(given.threads),
                    ]
                    row = f"{name}/{precision}/{folder}/ids.npz"
                    done = subprocess.run([*words, "--row", row], stdout=subprocess.PIPE, check=True)
                    found.setdefault(f"{name}, {precision}", []).append(json.loads(done.stdout.splitlines()[-1]))
    limits, rows = bound(given.threads), []
    for name, each in found.items():
        rates = [one["tokens_per_second"] for one in each]
        median = sorted(each, key=lambda one: one["tokens_per_second"])[len(each) // 2]
        share = median["gigaflops"] / limits[name.split(", ")[1]]
        rows.append({"name": name, **median, "rates": rates, "share_of_bound": round(share, 3)})
        speed = f"{statistics.median(rates):7,.0f} tokens/s ({min(rates):,}-{max(rates):,})"
        print(f"{name:24} {speed}  {share:.0%} of the bound  {median['peak_megabytes']:,} MB")
    from sequencing.machine import machine

    result = {"machine": machine(), "threads": given.threads, "bound_gigaflops": limits, "rows": rows}
    (RESULTS / "training.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
