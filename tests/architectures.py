"""Random architectures, drawn from the tables alone: a new row of a table is tested without a new test.

Every encoder meets every decoder and every attention; the rows of the other tables take turns, so each appears.
Sizes are different primes where the rules allow. Where a rule forbids a draw, its error's own advice is followed
("set encoder.attention_key_size = 7"), so the rules stand in the code and nowhere else.

`case(index, floor)` is one of them with its weights, in float64; `DRAWN` are the indexes that a law goes over:
SEQUENCING_ROUNDS=9 in the environment makes more of them.
"""

import dataclasses
import functools
import itertools
import math
import os
import random
import re
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

import sequencing_np
from sequencing.model import Model as TorchModel
from sequencing_np.attention import ATTENTIONS
from sequencing_np.attention_scores import EACH
from sequencing_np.bridge import BRIDGES
from sequencing_np.cells import CELLS
from sequencing_np.composed import PART, READERS
from sequencing_np.config import Origin, override, to_dict
from sequencing_np.errors import ConfigError
from sequencing_np.growing import Growing
from sequencing_np.head import HEADS, READOUTS
from sequencing_np.layers import ACTIVATIONS, NORMS
from sequencing_np.model import CONFIGS, DECODERS, ENCODERS, ModelConfig, build_model, model_config
from sequencing_np.positions import POSITIONS, SCORED
from sequencing_np.residuals import COMBINERS
from sequencing_np.self_attention import ENCODER_MIXERS
from sequencing_np.self_attention_decoder import MIXERS
from sequencing_np.special import Special
from sequencing_np.state import Memory
from sequencing_np.vectors import EXTRA, VectorVocab, line_of
from sequencing_np.vocab import Vocabulary
from sequencing_np.weights import nest

torch.set_num_threads(1)  # these models are tiny: threads would only wait for each other

SPECIAL = Special(0, 1, 2, 3)
VECTORS = VectorVocab.special
TABLES: dict[str, Any] = {
    "cell": CELLS,
    "bridge": BRIDGES,
    "readout": READOUTS,
    "head": HEADS,
    "activation": ACTIVATIONS,
    "norm": NORMS,
    "positions": POSITIONS,
    "mixer": MIXERS,
    "residual_combiner": COMBINERS,
}
ROUNDS = int(os.environ.get("SEQUENCING_ROUNDS", "2"))  # architectures for each encoder x decoder
PAIRS = list(itertools.product(ENCODERS, DECODERS))
GRID = [  # the full cube, in turns of one architecture a pair; two turns show each attention to each decoder
    (encoder, decoder, list(ATTENTIONS)[(list(ENCODERS).index(encoder) + 2 + turn * len(ENCODERS)) % len(ATTENTIONS)])
    for turn in range(max(ROUNDS, len(ATTENTIONS)))
    for encoder, decoder in PAIRS
]
DRAWN = range(ROUNDS * len(PAIRS))
QUICK = [index if index < len(PAIRS) else pytest.param(index, marks=pytest.mark.slow) for index in DRAWN]  # to go over
FLOORS = ["numpy", "torch"]


def twins(**settings: Any) -> tuple[Any, Any]:
    """Both floors of a model of 13 and 17 ids with the same random weights, in float64; no dropout may be seen."""
    config = model_config({**settings, "source_size": 13, "target_size": 17}, Origin("test"))
    torch.manual_seed(3)
    native = TorchModel(config).double().eval().requires_grad_(False)
    for parameter in native.parameters():
        torch.nn.init.normal_(parameter, 0, 0.5)
    return build_model(config, nest(native.weights())), native


class Sizes:
    """Primes, each given out once before any comes again."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.left: list[int] = []

    def draw(self) -> int:
        if not self.left:
            self.left = self.chance.sample([3, 5, 7, 11, 13], 5)
        return self.left.pop()


def turns(index: int, part: str) -> dict[str, str]:
    """A row of each table: every further model with this encoder (or decoder) takes the next one.

    So each row meets each encoder and decoder that knows its table, if they are drawn often enough.
    """
    place = list(CONFIGS).index(part)
    number = [each[place] for each in GRID[:index]].count(GRID[index][place])
    rows: dict[str, str] = {}
    for shift, (name, table) in enumerate(TABLES.items(), start=1):
        rows[name] = list(table)[(number + shift * (1 + number // len(table))) % len(table)]
    every = sorted(POSITIONS, key=lambda row: row not in SCORED)  # self-attention alone takes all of them
    turn, others = number // 2, list(MIXERS if part == "decoder" else ENCODER_MIXERS)[1:]
    rows["mixer"] = others[turn % len(others)] if number % 2 else "self_attention"
    able = every[len(SCORED) :] if number % 2 else every
    return {**rows, "positions": able[turn % len(able)]}


def draw(cls: Any, rows: dict[str, str], sizes: Sizes, chance: random.Random) -> dict[str, Any]:
    """Settings of a configuration, by the names and the types of its fields; what has no rule keeps its default."""
    drawn: dict[str, Any] = {}
    hints = {field.name: field for field in dataclasses.fields(cls)}
    for name, field in hints.items():
        default = field.default_factory() if field.default is dataclasses.MISSING else field.default  # type: ignore
        if field.metadata == PART:
            count = chance.choice([1, 2, 3]) if isinstance(default, tuple) else 1
            inner = [draw_reader(rows, sizes, chance) for _ in range(count)]
            drawn[name] = inner if isinstance(default, tuple) else inner[0]
        elif name == "boundary":
            drawn[name] = chance.randint(len(SPECIAL), 18)
        elif name in rows and name in TABLES:
            drawn[name] = rows[name]
        elif dataclasses.is_dataclass(default):
            drawn[name] = draw(type(default), rows, sizes, chance)
        elif isinstance(default, bool):
            drawn[name] = chance.random() < 0.5
        elif name == "each":
            drawn[name] = chance.choice(list(EACH))
        elif name == "heads":
            drawn[name] = chance.choice([1, 2, 3])
        elif name == "key_value_heads":
            drawn[name] = chance.choice([0, 1])
        elif name == "window":
            drawn[name] = chance.choice([1, 3])  # not all of a sentence
        elif name == "layers":
            drawn[name] = chance.choice([1, 1, 2, 3])
        elif name in ("projection", "attention_key_size"):
            drawn[name] = chance.choice([0, sizes.draw()])
        elif name.endswith("size"):
            drawn[name] = sizes.draw()
        elif name.endswith("dropout"):
            drawn[name] = chance.choice([0.0, 0.3])  # nothing of it may be seen when a model runs
    if "heads" in drawn and "size" in drawn:
        drawn["size"] *= drawn["heads"]
    for part in [drawn["characters"]] if "characters" in drawn else drawn.get("encoders", []):
        part["embedding_size"] = drawn["embedding_size"]
    return drawn


def without_scores(drawn: dict[str, Any]) -> dict[str, Any]:
    """A part without settings of self-attention, where it has something else in its place."""
    if drawn.get("mixer", "self_attention") != "self_attention":
        drawn["blocks"].update(query_key_norm=False, key_value_heads=0)
    return drawn


def draw_reader(rows: dict[str, str], sizes: Sizes, chance: random.Random) -> dict[str, Any]:
    """An encoder inside another one. What it reads has any width, so one head and no pairs, and is no table."""
    row = chance.choice(list(READERS))
    drawn = {**draw(CONFIGS["encoder"][row], rows, sizes, chance), "type": row}
    if "blocks" in drawn:
        positions = drawn["blocks"]["positions"]
        if drawn["blocks"]["query_key_norm"]:  # in too few readers otherwise
            drawn["mixer"] = "self_attention"
        scored = positions == "rotary" or (drawn["mixer"] != "self_attention" and positions in SCORED)
        drawn["blocks"].update(heads=1, positions="none" if scored else positions)
    if "one_hot" in drawn:
        drawn["one_hot"] = drawn["stack"]["shared_state"] = False
    return without_scores(drawn)


@functools.cache
def architecture(index: int) -> ModelConfig:
    """One of the random architectures."""
    chance = random.Random(index)
    sizes = Sizes(chance)
    encoder, decoder, attention = GRID[index]
    values: dict[str, Any] = {"share_embeddings": chance.random() < 0.3, "source_size": 19, "target_size": 23}
    for part, row in (("encoder", encoder), ("decoder", decoder)):
        rows = turns(index, part)
        values[part] = {**without_scores(draw(CONFIGS[part][row], rows, sizes, chance)), "type": row}
    if "attention" in values["decoder"]:
        values["decoder"]["attention"]["type"] = attention
    if values["share_embeddings"]:
        values["source_size"] = values["target_size"]
        values["decoder"]["embedding_size"] = values["encoder"]["embedding_size"]
    if values["decoder"].get("copy"):
        values["source_size"] = values["target_size"]
    if values["decoder"].get("tie_embeddings"):
        width = values["decoder"]["embedding_size"]
        if "readout_size" in values["decoder"]:
            values["decoder"]["readout_size"] = width
        values["decoder"]["head_size"] = 2 * width if values["decoder"]["head"] == "relu" else width
    words = values["share_embeddings"] or values["decoder"].get("copy") or index == 0  # the first one has plain words
    values["source_vectors"] = not words and random.Random(f"vectors of {index}").random() < 0.6
    values["source_factors"] = random.Random(f"factors of {index}").choice([(), (), (), (3, 2), (5,)])
    if values["source_vectors"]:
        values["source_factors"] = ()
        values["encoder"].update({"end": VECTORS.eos} if encoder == "several_sources" else {})
    return settled(values)


def settled(values: dict[str, Any]) -> ModelConfig:
    """The architecture after the advice of every error was followed; an option that it names first is given up."""
    for _ in range(20):
        try:
            config = model_config(values, Origin("drawn"))
            TorchModel(config)
            return config
        except ConfigError as error:
            if advice := re.search(r"set ([\w.]+) = (\w+)", str(error)):
                path = advice[1] if advice[1].split(".")[0] in CONFIGS else f"decoder.{advice[1]}"
                values = override(values, [f"{path}={advice[2]}"])
            elif option := re.match(r"share_embeddings|tie_embeddings|copy", str(error)):
                path = "share_embeddings" if option[0] == "share_embeddings" else f"decoder.{option[0]}"
                values = override(values, [f"{path}=false"])
            else:
                raise
    raise AssertionError(f"no end of errors: {values}")


def name_of(index: int) -> str:
    """An architecture's name in a report of the tests."""
    encoder, decoder, attention = GRID[index]
    return f"{index}-{encoder}-{decoder}-{attention}"


@functools.cache
def torch_model(index: int) -> TorchModel:
    """A PyTorch model in float64 with random weights, biases too."""
    model = TorchModel(architecture(index)).double().eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(index)
    for parameter in model.parameters():
        parameter.normal_(0, 0.4, generator=generator)
    return model


@functools.cache
def numpy_model(index: int, dtype: str = "float64") -> sequencing_np.model.Model:
    """The NumPy model with the same weights."""
    weights = {name: array.astype(dtype) for name, array in torch_model(index).weights().items()}
    return build_model(architecture(index), nest(weights))


def model_on(index: int, floor: str) -> Any:
    """The model of either floor."""
    return {"numpy": numpy_model, "torch": torch_model}[floor](index)


class Sources(NamedTuple):
    """A batch of source ids, or of rows of numbers."""

    ids: np.ndarray  # (B, S) or (B, S, W)
    mask: np.ndarray  # (B, S)


def sources(config: ModelConfig, lengths: tuple[int, ...] = (7, 2, 5, 1), seed: int = 0) -> Sources:
    """Sentences of these lengths, of random words and an end symbol; another one may stand between two texts."""
    chance = np.random.default_rng(seed)
    ids = chance.integers(SPECIAL.eos, config.source_size, (len(lengths), max(lengths)))
    if config.source_factors:
        ids += config.source_size * chance.integers(0, math.prod(config.source_factors), ids.shape)
    mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
    ids[np.arange(len(lengths)), np.array(lengths) - 1] = SPECIAL.eos
    if config.source_vectors:
        return vectors(config, ids == SPECIAL.eos, mask, chance)
    return Sources(np.where(mask, ids, SPECIAL.pad), mask)


def vectors(config: ModelConfig, ends: np.ndarray, mask: np.ndarray, chance: np.random.Generator) -> Sources:
    """Rows as a VectorVocab makes them: numbers and a one, or where a text ends a one at the last place."""
    rows = chance.normal(size=(*mask.shape, config.source_size))
    rows[..., -2:] = [1, 0]
    rows[ends] = np.eye(config.source_size)[-1]
    return Sources(rows * mask[..., None], mask)


def with_padding(batch: Sources, count: int, fill: int = SPECIAL.pad) -> Sources:
    """So many positions more at the right, which are not real."""
    ids = [(0, 0), (0, count), *[(0, 0)] * (batch.ids.ndim - 2)]
    return Sources(np.pad(batch.ids, ids, constant_values=fill), np.pad(batch.mask, ((0, 0), (0, count))))


def source_side(config: ModelConfig, words: Vocabulary, lines: Sequence[str]) -> tuple[Vocabulary, list[str]]:
    """A source vocabulary, and lines for it: those that are given, or vectors that differ where the lines do."""
    if not config.source_vectors:
        return words, list(lines)
    numbers = config.source_size - EXTRA
    vocab = VectorVocab(np.linspace(-1, 1, numbers).tolist(), np.linspace(1, 2, numbers).tolist())
    rows = [[np.random.default_rng(zlib.crc32(word.encode())).normal(size=numbers) for word in line.split()]
            for line in lines]  # fmt: skip
    return vocab, [line_of(np.array(own)) if own else line for own, line in zip(rows, lines, strict=True)]


class Case(NamedTuple):
    """A model and what its encoder says of a batch."""

    config: ModelConfig
    model: Any
    sources: Sources
    memory: Memory


def case(index: int, floor: str, lengths: tuple[int, ...] = (7, 2, 5, 1)) -> Case:
    """One of the random architectures on one floor, with an encoded batch."""
    model = model_on(index, floor)
    batch = sources(model.config, lengths, index)
    return Case(model.config, model, batch, model.encode(*batch))


def leaves(tree: Any) -> Iterator[Any]:
    """The arrays in nested tuples, and those that grow."""
    if isinstance(tree, tuple):
        for part in tree:
            yield from leaves(part)
    else:
        yield words_of(tree) if isinstance(tree, Growing) else tree


def words_of(cache: Growing) -> Any:
    """The rows that go on."""
    return cache.words if cache.rows is None else cache.words[cache.rows]


def same(one: Any, other: Any, tolerance: float = 1e-9) -> None:
    """Nested tuples of arrays, of either library, are equal within the tolerance."""
    first, second = list(leaves(one)), list(leaves(other))
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)


def settings_of(config: ModelConfig) -> dict[str, Any]:
    """Every setting of an architecture by its dotted name."""
    flat: dict[str, Any] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for key, part in value.items():
                walk(part, f"{path}.{key}" if path else key)
        else:
            flat[path] = value

    walk(to_dict(config), "")
    return flat


WORDS = [index for index in DRAWN if not architecture(index).source_vectors]  # those that read words
