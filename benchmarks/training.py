"""Training, beside Hugging Face transformers and JoeyNMT: target tokens a second of the same model on the same ids.

    .venv/bin/python benchmarks/training.py TRAIN.tsv --peer HF_VENV/bin/python --joey JOEY_VENV/bin/python
        [--models S RNN] [--rounds 3] [--steps 23] [--threads 2]

HF_VENV holds torch, transformers and numpy, JOEY_VENV torch, joeynmt and numpy; a peer that is not given has no rows.
Model S is the small Transformer of the peers' benchmark (3 + 3 blocks of 256, 4 heads, feed-forward 1,024, dropout 0.1
everywhere, all tables tied). Model RNN is JoeyNMT's (one bidirectional GRU layer of 256 a direction, one GRU layer of
256 with additive attention and input feeding, tied vectors, an output matrix of its own); RNN-parallel is the same
without input feeding, as ours is by default: then all words of a target are taught at once. 8,000 joint subwords, Adam,
clipping at 1, label smoothing 0.1. Each row is a process of its own, by turns; all batch by length, but for the rows of
JoeyNMT with its own batches. The numbers go to benchmarks/results/training.json.

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
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
DROPOUTS = "dropout = 0.1, attention_dropout = 0.1, activation_dropout = 0.1"
DATA = """\
[data]
train = ["@"]
[vocab]
joint = true
source = { level = "subwords", size = 8000 }
[model]
share_embeddings = true
"""
SETTINGS = """\
[train]
steps = 1000
batch_tokens = 8192
learning_rate = 1e-3
label_smoothing = 0.1
clip = 1.0
schedule = { type = "constant", warmup = 0 }
"""
BLOCKS = f"{{ layers = 3, heads = 4, feed_forward_size = 1024, {DROPOUTS} }}"
CONFIG = f"""\
{DATA}encoder = {{ type = "self_attention", embedding_size = 256, blocks = {BLOCKS} }}
[model.decoder]
type = "self_attention"
embedding_size = 256
tie_embeddings = true
blocks = {BLOCKS}
attention = {{ type = "multi_head", size = 256, heads = 4, dropout = 0.1 }}
{SETTINGS}"""
RECURRENT = f"""\
{DATA}[model.encoder]
type = "bidirectional_rnn"
embedding_size = 256
embedding_dropout = 0.1
stack = {{ size = 256, output_dropout = 0.1 }}
[model.decoder]
type = "rnn"
embedding_size = 256
embedding_dropout = 0.1
stack = {{ size = 256, input_dropout = 0.1 }}
attention = {{ type = "additive", size = 256 }}
input_feeding = FEEDING
readout = "context"
readout_size = 256
readout_dropout = 0.1
{SETTINGS}"""
CONFIGS = {
    "S": CONFIG,
    "RNN": RECURRENT.replace("FEEDING", "true"),
    "RNN-parallel": RECURRENT.replace("FEEDING", "false"),
}
FED = 3 * 256 * 256  # of the decoder's gates, by what is fed back
READ = 2 * 3 * 256 * (256 + 256) + 512 * 256  # of both directions, and of the keys
WRITTEN = 3 * 256 * (256 + 256) + 256 * 256 + (256 + 512) * 256 + 256 * 8000  # gates, query, readout, words
WEIGHTS = {  # that a token of the source meets, and one of the target
    "S": (3 * (4 * 256**2 + 2 * 256 * 1024) + 3 * 2 * 256**2, 3 * (6 * 256**2 + 2 * 256 * 1024) + 256 * 8000),
    "RNN": (READ, WRITTEN + FED),
    "RNN-parallel": (READ, WRITTEN),
}
PAD, BOS, EOS = 0, 2, 3
FIELDS = (("f", "flat"), ("o", "offsets"))  # of the ids of one side
WARM = 3  # steps that do not count


def timed(step: Any, batches: list[Any], sizes: list[tuple[int, int]], model: str) -> dict[str, Any]:
    """Target tokens a second over some steps, the losses, and the memory of the process."""
    seconds, losses = [], []
    for batch in batches:
        begin = time.perf_counter()
        losses.append(float(step(batch).detach()))
        seconds.append(time.perf_counter() - begin)
    counted = list(zip(seconds, sizes, strict=True))[WARM:]
    source, target = (sum(size[side] for _, size in counted) for side in (0, 1))
    spent = sum(second for second, _ in counted)
    met = WEIGHTS[model]
    flops = 6 * (source * met[0] + target * met[1])
    return {
        "tokens_per_second": round(target / spent),
        "tokens_per_step": round(target / len(counted)),
        "gigaflops": round(flops / spent / 1e9, 1),
        "loss": [round(loss, 3) for loss in losses],
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }


def ours(train: str, steps: int, threads: int, precision: str, ids: str, model: str) -> dict[str, Any]:
    """Our own loop's step; also writes the ids, for the others."""
    from sequencing.process import settle

    settle()
    import torch

    from sequencing.run_config import read_run_config
    from sequencing.train.opening import open_session
    from sequencing.train.update import update

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.toml"
        path.write_text(CONFIGS[model].replace("@", str(Path(train).resolve())))
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
        return {**timed(step, batches, sizes, model), "torch": torch.__version__}


Groups = list[list[tuple[Any, Any]]]


def grouped(ids: str, like: bool) -> Groups:
    """Pairs of ids in batches of at most 4,096 padded tokens a side, `like` lengths together, all in random order."""
    with np.load(ids) as data:
        sides = [(data[f"{name}_f"], data[f"{name}_o"]) for name in ("source", "target")]
    parts = [[flat[a:b] for a, b in pairwise(offsets)] for flat, offsets in sides]
    chance, pairs = random.Random(1), list(zip(*parts, strict=True))
    chance.shuffle(pairs)
    groups: Groups = [[]]
    longest = 0
    for pair in sorted(pairs, key=lambda pair: max(map(len, pair)) + chance.random()) if like else pairs:
        longest = max(longest, *map(len, pair))
        if (len(groups[-1]) + 1) * longest > 4096:
            groups.append([])
            longest = max(map(len, pair))
        groups[-1].append(pair)
    chance.shuffle(groups)
    return groups


def counts(groups: list[list[tuple[Any, Any]]]) -> list[tuple[int, int]]:
    """Source and target tokens of each."""
    return [(sum(len(pair[0]) for pair in group), sum(len(pair[1]) for pair in group)) for group in groups]


def padded(rows: list[Any], pad: int) -> Any:
    """(B, T) of rows."""
    import torch

    longest = max(map(len, rows))
    return torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])


def hugging_face(train: str, steps: int, threads: int, precision: str, ids: str, model: str) -> dict[str, Any]:
    """MarianMTModel of the same sizes under a plain loop."""
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
    marian = transformers.MarianMTModel(config).train()
    optimizer = torch.optim.AdamW(marian.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    groups = grouped(ids, like=True)[:steps]

    def step(group: list[Any]) -> Any:
        source, target = (padded([pair[side] for pair in group], PAD) for side in (0, 1))
        begun = torch.cat([torch.full((len(target), 1), BOS), target[:, :-1]], dim=1)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            said = marian(
                input_ids=source, attention_mask=source.ne(PAD), decoder_input_ids=begun, use_cache=False
            ).logits
            loss = functional.cross_entropy(said.flatten(0, 1), target.flatten(), ignore_index=PAD, label_smoothing=0.1)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(marian.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    return {**timed(step, groups, counts(groups), model), **versions}


JOEY_PAD, JOEY_UNK = 1, 0  # the other way round than ours


def joey(
    train: str, steps: int, threads: int, precision: str, ids: str, model: str, like: bool = True
) -> dict[str, Any]:
    """JoeyNMT's own model and loss under a plain loop with the optimiser that the others have.

    Its own batches are not of `like` lengths (joeynmt.datasets.TokenBatchSampler), so half of them is padding. Its loss
    is the divergence from the smoothed target, about 1.2 nats below the cross entropy that the others show.
    """
    from importlib.metadata import version
    from types import SimpleNamespace

    import torch
    from joeynmt.model import build_model
    from joeynmt.vocabulary import Vocabulary

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    vectors = {"embedding_dim": 256, "scale": model == "S", "dropout": 0.1}
    if model == "S":
        side = {"type": "transformer", "num_layers": 3, "num_heads": 4, "hidden_size": 256, "ff_size": 1024}
        sides = [{**side, "dropout": 0.1, "layer_norm": "pre", "embeddings": vectors}] * 2
    else:
        side = {"type": "recurrent", "rnn_type": "gru", "hidden_size": 256, "num_layers": 1, "dropout": 0.1}
        own = {"hidden_dropout": 0.1, "input_feeding": True, "init_hidden": "bridge", "attention": "bahdanau"}
        sides = [{**side, "embeddings": vectors, **rest} for rest in ({"bidirectional": True}, own)]
    tied = {"tied_embeddings": True, "tied_softmax": model == "S"}
    names = {f"{name}_token": f"<{name}>" for name in ("unk", "pad", "bos", "eos")}
    places = {"unk_id": JOEY_UNK, "pad_id": JOEY_PAD, "bos_id": BOS, "eos_id": EOS}
    special = SimpleNamespace(**names, **places, sep_token=None, sep_id=None, lang_tags=[])
    vocab = Vocabulary([str(number) for number in range(8000 - 4)], special)
    whole = build_model({**tied, "encoder": sides[0], "decoder": sides[1]}, vocab, vocab).train()
    whole.loss_function = ("crossentropy", 0.1)
    optimizer = torch.optim.Adam(whole.parameters(), lr=1e-3, betas=(0.9, 0.98), fused=True)
    groups = grouped(ids, like)[:steps]

    def step(group: list[Any]) -> Any:
        ordered = sorted(group, key=lambda pair: -len(pair[0]))
        rows = [[np.where(pair[side] == 1, JOEY_UNK, pair[side]) for pair in ordered] for side in (0, 1)]
        source, target = (padded(each, JOEY_PAD) for each in rows)
        begun = torch.cat([torch.full((len(target), 1), BOS), target[:, :-1]], dim=1)
        tokens = int(target.ne(JOEY_PAD).sum())
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss, *_ = whole(
                return_type="loss",
                src=source,
                trg_input=begun,
                trg=target,
                src_mask=source.ne(JOEY_PAD)[:, None],
                src_length=torch.tensor([len(row) for row in rows[0]]),
                trg_mask=target.ne(JOEY_PAD)[:, None],
            )
        (loss / tokens).backward()
        torch.nn.utils.clip_grad_norm_(whole.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss / tokens

    versions = {"torch": torch.__version__, "joeynmt": version("joeynmt")}
    return {**timed(step, groups, counts(groups), model), **versions}


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


OWN = "JoeyNMT, its own batches"
ROWS: dict[str, Any] = {
    "Sequencing": ours,
    "Hugging Face": hugging_face,
    "JoeyNMT": joey,
    OWN: partial(joey, like=False),
}
HAS = {"Sequencing": tuple(CONFIGS), "Hugging Face": ("S",), "JoeyNMT": ("S", "RNN"), OWN: ("S", "RNN")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("train", metavar="TRAIN.tsv")
    parser.add_argument("--peer", metavar="PYTHON", help="a Python that has transformers")
    parser.add_argument("--joey", metavar="PYTHON", help="a Python that has joeynmt")
    parser.add_argument("--models", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=23)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--try-out", action="store_true", help="one round of few steps; nothing is written")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.row:
        name, model, precision, ids = given.row.split("/", 3)
        print(json.dumps(ROWS[name](given.train, given.steps, given.threads, precision, ids, model)))
        return
    steps, rounds = (WARM + 2, 1) if given.try_out else (given.steps, given.rounds)
    joeys = dict.fromkeys(("JoeyNMT", OWN), given.joey)
    given_pythons = {"Sequencing": sys.executable, "Hugging Face": given.peer, **joeys}
    pythons = {name: python for name, python in given_pythons.items() if python}
    with tempfile.TemporaryDirectory() as folder:
        found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
        for _ in range(rounds):
            for model in given.models:
                for precision in ("bfloat16", "float32"):
                    for name, python in pythons.items():
                        if model not in HAS[name]:
                            continue
                        words = [python, __file__, given.train, "--steps", str(steps), "--threads", str(given.threads)]
                        row = f"{name}/{model}/{precision}/{folder}/ids.npz"
                        done = subprocess.run([*words, "--row", row], stdout=subprocess.PIPE, check=True)
                        result = json.loads(done.stdout.splitlines()[-1])
                        found.setdefault((name, model, precision), []).append(result)
    limits, rows = bound(given.threads), []
    for (name, model, precision), each in found.items():
        rates = [one["tokens_per_second"] for one in each]
        median = sorted(each, key=lambda one: one["tokens_per_second"])[len(each) // 2]
        share = median["gigaflops"] / limits[precision]
        names = {"name": f"{name}, {precision}", "model": model}
        rows.append({**names, **median, "rates": rates, "share_of_bound": round(share, 3)})
        speed = f"{statistics.median(rates):7,.0f} tokens/s ({min(rates):,}-{max(rates):,})"
        said = f"{model:13} {names['name']:36} {speed}  {share:.0%} of the bound  {median['peak_megabytes']:,} MB"
        print(said if not given.try_out else f"{said}  loss {median['loss']}")
    if given.try_out:
        return
    from sequencing.machine import machine

    result = {"machine": machine(), "threads": given.threads, "bound_gigaflops": limits, "rows": rows}
    (RESULTS / "training.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
