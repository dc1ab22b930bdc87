"""Encoder, attention and decoder of the first framework as ours.

Two eras: of the README (and of the NumPy twin), where what is said is a matrix times tanh(W [state; context]); and of
its last version, where [word; state; context] goes to an output head that the program gave.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from sequencing.migration.arrays import Originals
from sequencing.migration.cells import DECODER_CELL, ENCODER_CELL, Stack, stack_of
from sequencing_np.attention import AttentionConfig
from sequencing_np.errors import ModelError
from sequencing_np.rnn import RNNEncoderConfig
from sequencing_np.rnn_decoder import RNNDecoderConfig

OF_CHARACTERS = re.compile(r"char_rnn/.+|(?:.+/)?char_v_att")

Parts = dict[str, Any]  # nested weights


def read_encoder(arrays: Originals) -> tuple[RNNEncoderConfig, Parts]:
    """Its table stands in the scope `source`, the map of its keys beside the cells or in a scope of its own."""
    if any(arrays.matches(OF_CHARACTERS)):
        raise ModelError(
            f"{arrays.path}: a model that reads words as characters (char_nmt, ava_nmt); these are not read: train one "
            "with an encoder characters_to_words (docs/migration.md)"
        )
    table = arrays.take("source/W", None, None)
    stack = stack_of(arrays, ENCODER_CELL, "the encoder", "bidirectional_rnn/fw/")
    size, layers, inputs = stack.config.size, [], table.shape[1]
    for layer in range(stack.config.layers):
        place = f"{stack.scope}cell_{layer}/bidirectional_rnn"
        ahead, back = (stack.read(arrays, f"{place}/{way}/{stack.name}/", inputs, size) for way in ("fw", "bw"))
        layers.append({"left_to_right": ahead, "right_to_left": back})
        inputs = 2 * size
    weights: Parts = {"embedding": {"weight": table}, "layers": layers}
    width = 0  # the keys are the outputs
    for scope in (stack.scope, "fully_connected/"):
        if f"{scope}weights" in arrays.left:
            weights["key"] = arrays.linear(scope, inputs, None)
            width = len(weights["key"]["bias"])
            break
    return RNNEncoderConfig(embedding_size=table.shape[1], stack=stack.config, attention_key_size=width), weights


def read_decoder(arrays: Originals, values: int, keys: int) -> tuple[RNNDecoderConfig, Parts, str]:
    """With the attention to values and keys of these widths, and the era."""
    table = arrays.take(arrays.scope("look_up_op/W") + "look_up_op/W", None, None)
    stack = stack_of(arrays, DECODER_CELL, "the decoder")
    size, word = stack.config.size, table.shape[1]
    layers, inputs = [], word + values
    for layer in range(stack.config.layers):
        layers.append({"cell": stack.read(arrays, f"{stack.scope}cell_{layer}/{stack.name}/", inputs, size)})
        inputs = size
    looks = arrays.scope("v_att")
    attention = {"query": arrays.linear(looks, size, keys), "energy": arrays.take(f"{looks}v_att", keys)}
    if f"{looks}b_att" in arrays.left:
        arrays.take(f"{looks}b_att", keys)  # its sum is the same for every token: the softmax does not see it
    bridge, weights = read_bridge(arrays, values, stack)
    config = RNNDecoderConfig(
        embedding_size=word,
        stack=stack.config,
        attention=AttentionConfig("additive", size=keys, project_keys=False),
        bridge=bridge,
        input_feeding=True,
    )
    mix, says = arrays.scope("attention_mix/weights") + "attention_mix/", arrays.scope("logits_trans/weights")
    era = "readme" if len(arrays.left[f"{mix}weights"]) == size + values else "head"
    inputs = size + values if era == "readme" else word + size + values
    config, spoken = ERAS[era](arrays, config, mix, inputs)
    spoken["head"]["output"] = arrays.linear(f"{says}logits_trans/", spoken.pop("width"), len(table))
    parts = {"embedding": {"weight": table}, "stack": {"layers": layers}, "attention": attention}
    return config, {**parts, **weights, **spoken}, era


def read_bridge(arrays: Originals, values: int, stack: Stack) -> tuple[str, Parts]:
    """Zeros, or one map of the end of the backward direction, the second half of our summary, for every layer."""
    if not any(arrays.matches(re.compile(r"(?:.+/)?init_transfer/weights"))):
        return "zero", {}
    scope = arrays.scope("init_transfer/weights") + "init_transfer/"
    own = arrays.linear(scope, values // 2, stack.config.size * (2 if stack.config.cell == "lstm" else 1))
    weight = np.concatenate([np.zeros_like(own["weight"]), own["weight"]], axis=1)
    return "broadcast", {"bridge": {"projection": {"weight": weight, "bias": own["bias"]}}}


def readme(arrays: Originals, config: RNNDecoderConfig, mix: str, inputs: int) -> tuple[RNNDecoderConfig, Parts]:
    """tanh(W [state; context] + b), and a matrix."""
    projection = arrays.linear(mix, inputs, None)
    width = len(projection["bias"])
    parts = {"readout": {"projection": projection}, "head": {}, "width": width}
    return replace(config, readout="context", readout_size=width), parts


def head(arrays: Originals, config: RNNDecoderConfig, mix: str, inputs: int) -> tuple[RNNDecoderConfig, Parts]:
    """[word; state; context], and a head of one tanh layer, or of two rectified ones."""
    first = arrays.linear(mix, inputs, None)
    width = len(first["bias"])
    middle = f"{mix.removesuffix('/')}_middle/"
    config = replace(config, readout="previous_word", head_size=width)
    if f"{middle}weights" not in arrays.left:
        return replace(config, head="tanh"), {"head": {"hidden": first}, "width": width}
    half = max(width // 2, 1)
    second = arrays.linear(middle, width, half)
    return replace(config, head="relu"), {"head": {"first": first, "second": second}, "width": half}


ERAS: dict[str, Callable[[Originals, RNNDecoderConfig, str, int], tuple[RNNDecoderConfig, Parts]]] = {
    "readme": readme,
    "head": head,
}
