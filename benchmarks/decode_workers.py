"""Who translates ids for `decode.py`: our two floors, Hugging Face, JoeyNMT and CTranslate2, on the same weights.

Each is a process of its own that is asked by JSON lines on its standard input, a line a row, and answers with the
seconds that it took and the ids that it found. Peers are given our weights: PegasusForConditionalGeneration is the one
of Hugging Face's that norms before its parts as we do, a TransformerSpec says the same to CTranslate2; JoeyNMT, whose
sines and cosines alternate, has all widths in another order.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

PAD, UNK, BOS, EOS = 0, 1, 2, 3
Ids = list[list[int]]
Run = Callable[[Ids, dict[str, Any]], Ids]


def ours(folder: Path, row: dict[str, Any]) -> Run:
    """The Translator of either floor, in one process or several, as the command line has it."""
    from functools import partial

    from sequencing_np.batch import in_order, length_batches
    from sequencing_np.search import SearchConfig
    from sequencing_np.translate import Translator
    from sequencing_np.workers import Workers

    if row["who"] == "NumPy":
        load = partial(Translator.load, folder)
    else:
        from sequencing.loading import load_translator

        threads = row["threads"] // row["processes"]
        load = partial(loaded, load_translator, str(folder), row["precision"], threads)
    translator = load()
    if row["processes"] > 1:
        Workers(row["processes"], load).help(translator)

    def run(sources: Ids, row: dict[str, Any]) -> Ids:
        search = SearchConfig(beam=row["beam"], batch_tokens=row["tokens"] or 4096, shortlist=row["shortlist"])
        lengths = np.array([len(source) for source in sources])
        groups = length_batches(lengths, search.batch_tokens // search.beam) if row["tokens"] else parts(lengths, row)
        asked = [
            (rows, translator.ask([sources[place] for place in rows], search, np.zeros(len(rows), np.uint64), None))
            for rows in groups
        ]
        found = in_order(((rows, answer()) for rows, answer in asked), len(sources))
        return [hypotheses[0].tokens for hypotheses in found]

    return run


def loaded(load: Any, folder: str, precision: str, threads: int) -> Any:
    """A Translator on PyTorch with so many threads, in a process like those of the command line."""
    from sequencing.process import settle

    settle()
    import torch

    torch.set_num_threads(threads)
    return load(folder, "cpu") if precision == "float32" else load(folder, "cpu", precision=precision)


def parts(lengths: np.ndarray, row: dict[str, Any]) -> list[np.ndarray]:
    """So many sentences of like lengths at once."""
    order = np.argsort(-lengths, kind="stable")
    return [order[begin : begin + row["batch"]] for begin in range(0, len(order), row["batch"])]


def weights_of(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(folder / "weights.safetensors")


def limit(sources: Ids, folder: Path) -> int:
    """The longest answer that ours may give to any of these."""
    limits = json.loads((folder / "config.json").read_text())["limits"]
    return min(int(limits["factor"] * max(map(len, sources)) + limits["constant"]), limits["longest"])


def hugging_face(folder: Path, row: dict[str, Any]) -> Run:
    """PegasusForConditionalGeneration with our weights, `generate` on batches of like lengths."""
    import torch
    import transformers

    torch.set_num_threads(2)
    own = {name: torch.from_numpy(array) for name, array in weights_of(folder).items()}
    table = own["encoder.embedding.weight"]
    shape = {"layers": 3, "attention_heads": 4, "ffn_dim": 1024}
    sizes = {f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in shape.items()}
    special = {"pad_token_id": PAD, "eos_token_id": EOS, "bos_token_id": BOS, "decoder_start_token_id": BOS}
    rest = {"d_model": 256, "activation_function": "relu", "max_position_embeddings": 512, "scale_embedding": True}
    config = transformers.PegasusConfig(vocab_size=len(table), forced_eos_token_id=None, **rest, **sizes, **special)
    model = transformers.PegasusForConditionalGeneration(config).eval()
    state = {"model.shared.weight": table, "final_logits_bias": own["decoder.head.output.bias"][None]}
    for side in ("encoder", "decoder"):
        for kind in ("weight", "bias"):
            state[f"model.{side}.layer_norm.{kind}"] = own[f"{side}.norm.{kind}"]
            for layer in range(3):
                ours, theirs = f"{side}.blocks.{layer}", f"model.{side}.layers.{layer}"
                names = {
                    "feed_forward.inner": "fc1",
                    "feed_forward.outer": "fc2",
                    "feed_forward_norm": "final_layer_norm",
                    "mixer_norm": "self_attn_layer_norm",
                    "mixer.output": "self_attn.out_proj",
                }
                if side == "decoder":
                    names |= {"attention_norm": "encoder_attn_layer_norm", "attention.output": "encoder_attn.out_proj"}
                    names |= {f"attention.{n}": f"encoder_attn.{n[0]}_proj" for n in ("query", "key", "value")}
                for ours_name, name in names.items():
                    state[f"{theirs}.{name}.{kind}"] = own[f"{ours}.{ours_name}.{kind}"]
                for letter, part in zip("qkv", own[f"{ours}.mixer.input.{kind}"].chunk(3), strict=True):
                    state[f"{theirs}.self_attn.{letter}_proj.{kind}"] = part
    found = model.load_state_dict(state, strict=False)
    tied = ("embed_tokens", "embed_positions", "lm_head")
    assert not found.unexpected_keys and all(any(word in name for word in tied) for name in found.missing_keys), found
    model.tie_weights()
    if row["precision"] == "bfloat16":
        model = model.to(torch.bfloat16)

    def answer(ids: Any, row: dict[str, Any], longest: int) -> Ids:
        common = {"num_beams": row["beam"], "do_sample": False, "max_new_tokens": longest}
        said: Ids = model.generate(input_ids=ids, attention_mask=ids.ne(PAD), **common)[:, 1:].tolist()
        return said

    return by_batches(answer, folder, PAD)


def by_batches(answer: Callable[[Any, dict[str, Any], int], Ids], folder: Path, pad: int) -> Run:
    """Batches of like lengths, filled up with `pad`; `answer` gets (B, S), the row and how long it may speak."""
    import torch

    def run(sources: Ids, row: dict[str, Any]) -> Ids:
        lengths = np.array([len(source) for source in sources])
        answers: Ids = [[] for _ in sources]
        for rows in parts(lengths, row):
            batch = [sources[place] for place in rows]
            width = max(map(len, batch))
            ids = torch.tensor([[*source, *[pad] * (width - len(source))] for source in batch])
            with torch.inference_mode():
                said = answer(ids, row, limit(batch, folder))
            for place, each in zip(rows, said, strict=True):
                answers[place] = each[: each.index(EOS)] if EOS in each else each
        return answers

    return run


def ctranslate2(folder: Path, row: dict[str, Any]) -> Run:
    """A Translator of CTranslate2 with our weights."""
    import ctranslate2 as peer
    from ctranslate2.specs import common_spec, transformer_spec

    own = weights_of(folder)
    table = own["encoder.embedding.weight"]
    spec = transformer_spec.TransformerSpec.from_config(3, 4, pre_norm=True, activation=common_spec.Activation.RELU)
    angles = np.arange(512)[:, None] * 10000.0 ** (-np.arange(128) / 128)
    places = np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)

    def fill(part: Any, name: str) -> None:
        part.weight, part.bias = own[f"{name}.weight"], own[f"{name}.bias"]

    def fill_norm(part: Any, name: str) -> None:
        part.gamma, part.beta = own[f"{name}.weight"], own[f"{name}.bias"]

    for side in ("encoder", "decoder"):
        half = getattr(spec, side)
        (half.embeddings[0] if side == "encoder" else half.embeddings).weight = table
        half.position_encodings.encodings = places
        fill_norm(half.layer_norm, f"{side}.norm")
        for number, layer in enumerate(half.layer):
            name = f"{side}.blocks.{number}"
            fill_norm(layer.self_attention.layer_norm, f"{name}.mixer_norm")
            fill(layer.self_attention.linear[0], f"{name}.mixer.input")
            fill(layer.self_attention.linear[1], f"{name}.mixer.output")
            fill_norm(layer.ffn.layer_norm, f"{name}.feed_forward_norm")
            fill(layer.ffn.linear_0, f"{name}.feed_forward.inner")
            fill(layer.ffn.linear_1, f"{name}.feed_forward.outer")
            if side == "decoder":
                fill_norm(layer.attention.layer_norm, f"{name}.attention_norm")
                fill(layer.attention.linear[0], f"{name}.attention.query")
                both = [[own[f"{name}.attention.{part}.{kind}"] for part in ("key", "value")] for kind in KINDS]
                layer.attention.linear[1].weight, layer.attention.linear[1].bias = map(np.concatenate, both)
                fill(layer.attention.linear[2], f"{name}.attention.output")
    spec.decoder.projection.weight, spec.decoder.projection.bias = table, own["decoder.head.output.bias"]
    words = ["<pad>", "<unk>", "<s>", "</s>", *map(str, range(4, len(table)))]
    spec.register_source_vocabulary(words)
    spec.register_target_vocabulary(words)
    with tempfile.TemporaryDirectory() as name:
        spec.validate()
        spec.optimize()
        spec.save(name)
        processes = row["processes"]
        threads = {"inter_threads": processes, "intra_threads": row["threads"] // processes}
        translator = peer.Translator(name, device="cpu", compute_type=row["precision"], **threads)

    def run(sources: Ids, row: dict[str, Any]) -> Ids:
        texts = [[words[token] for token in source] for source in sources]
        most = {"max_batch_size": row["batch"], "max_decoding_length": limit(sources, folder)}
        said = translator.translate_batch(texts, beam_size=row["beam"], **most)
        return [[NUMBERS.get(word) or int(word) for word in answer.hypotheses[0]] for answer in said]

    return run


def joey(folder: Path, row: dict[str, Any]) -> Run:
    """JoeyNMT's model with our weights, its own search on batches of like lengths."""
    from types import SimpleNamespace

    import torch
    from joeynmt.model import build_model
    from joeynmt.search import search
    from joeynmt.vocabulary import Vocabulary

    torch.set_num_threads(2)
    own = {name: torch.from_numpy(array) for name, array in weights_of(folder).items()}
    order = torch.arange(256).view(2, 128).T.flatten()  # of the width: a sine, its cosine, the next sine
    table = own["encoder.embedding.weight"][:, order]
    swapped = [UNK, PAD, *range(2, len(table))]  # its unknown word is 0, its padding 1
    names = {f"{name}_token": f"<{name}>" for name in ("unk", "pad", "bos", "eos")}
    places = {"unk_id": PAD, "pad_id": UNK, "bos_id": BOS, "eos_id": EOS}
    special = SimpleNamespace(**names, **places, sep_token=None, sep_id=None, lang_tags=[])
    vocab = Vocabulary([str(number) for number in range(len(table) - 4)], special)
    side = {"type": "transformer", "num_layers": 3, "num_heads": 4, "hidden_size": 256, "ff_size": 1024}
    shape = {**side, "layer_norm": "pre", "embeddings": {"embedding_dim": 256, "scale": True}}
    tied = {"tied_embeddings": True, "tied_softmax": True}
    model = build_model({**tied, "encoder": shape, "decoder": shape}, vocab, vocab).eval()

    def reading(array: Any) -> Any:
        """The weight of what reads the width; its bias stays."""
        return array[:, order] if array.ndim == 2 else array

    state = {"src_embed.lut.weight": table[swapped], "trg_embed.lut.weight": table[swapped]}
    for half, (norms, looks) in JOEY.items():
        for kind in KINDS:
            state[f"{half}.layer_norm.{kind}"] = own[f"{half}.norm.{kind}"][order]
        for layer, kind in product(range(3), KINDS):
            ours, theirs = f"{half}.blocks.{layer}", f"{half}.layers.{layer}"
            for name, part in norms.items():
                state[f"{theirs}.{name}.{kind}"] = own[f"{ours}.{part}.{kind}"][order]
            state[f"{theirs}.feed_forward.pwff_layer.0.{kind}"] = reading(own[f"{ours}.feed_forward.inner.{kind}"])
            state[f"{theirs}.feed_forward.pwff_layer.3.{kind}"] = own[f"{ours}.feed_forward.outer.{kind}"][order]
            for name, part in looks.items():
                state[f"{theirs}.{name}.output_layer.{kind}"] = own[f"{ours}.{part}.output.{kind}"][order]
                if part == "mixer":
                    three = own[f"{ours}.mixer.input.{kind}"].chunk(3)
                else:
                    three = tuple(own[f"{ours}.{part}.{each}.{kind}"] for each in ("query", "key", "value"))
                for letter, each in zip("qkv", three, strict=True):
                    state[f"{theirs}.{name}.{letter}_layer.{kind}"] = reading(each)
    found = model.load_state_dict(state, strict=False)
    known = ("pe.pe", "output_layer.weight")
    assert not found.unexpected_keys and all(name.endswith(known) for name in found.missing_keys), found
    model.decoder.output_layer = output = torch.nn.Linear(256, len(table))  # its own has no bias
    output.weight, output.bias.data = model.trg_embed.lut.weight, own["decoder.head.output.bias"][swapped]

    def answer(ids: Any, row: dict[str, Any], longest: int) -> Ids:
        ids = torch.tensor(swapped)[ids]
        real = ids.ne(UNK)  # its padding
        asked = SimpleNamespace(src=ids, src_mask=real[:, None], src_length=real.sum(dim=1), has_trg=False)
        said, *_ = search(model, asked, longest, row["beam"], 1.0)
        return [[swapped[token] for token in each if token != UNK] for each in said.tolist()]

    return by_batches(answer, folder, PAD)


KINDS = ("weight", "bias")
JOEY: dict[str, tuple[dict[str, str], dict[str, str]]] = {  # norms and looks of a layer: its names, and ours
    "encoder": (
        {"layer_norm": "mixer_norm", "feed_forward.layer_norm": "feed_forward_norm"},
        {"src_src_att": "mixer"},
    ),
    "decoder": (
        {
            "x_layer_norm": "mixer_norm",
            "dec_layer_norm": "attention_norm",
            "feed_forward.layer_norm": "feed_forward_norm",
        },
        {"trg_trg_att": "mixer", "src_trg_att": "attention"},
    ),
}
NUMBERS = {"<unk>": UNK, "<s>": BOS, "</s>": EOS}
WORKERS = {"PyTorch": ours, "NumPy": ours, "Hugging Face": hugging_face, "CTranslate2": ctranslate2, "JoeyNMT": joey}


def versions() -> dict[str, str]:
    """Of what has been imported here."""
    names = ("numpy", "torch", "transformers", "ctranslate2", "joeynmt")
    return {name: version(name) for name in names if name in sys.modules}


def main() -> None:
    """Answer rows until nobody asks any more; a model is loaded once for each way of loading it."""
    if sys.argv[1] in ("PyTorch", "NumPy"):
        from sequencing.process import settle

        settle()
    folder, sources = Path(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text())
    runs: dict[tuple[Any, ...], Run] = {}
    for line in sys.stdin:
        row = json.loads(line)
        kind = tuple(row[name] for name in ("who", "precision", "processes", "threads"))
        own = sources[:: -(-len(sources) // row["sentences"])]
        if kind not in runs:
            runs[kind] = WORKERS[row["who"]](folder, row)
            runs[kind](own[:64], row)  # what comes first is slower, and does not count
        begin = time.perf_counter()
        answers = runs[kind](own, row)
        seconds = time.perf_counter() - begin
        print(json.dumps({"seconds": seconds, "answers": answers, "versions": versions()}), flush=True)


if __name__ == "__main__":
    main()
