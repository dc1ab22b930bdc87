"""several_memories: each row by its formula in plain loops over the attentions to one memory of test_attention."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sequencing
import sequencing_np
from architectures import same
from sequencing.attention import ATTENTIONS as UPPER
from sequencing.attention import look as upper_look
from sequencing_np.attention import ATTENTIONS, AttentionConfig, look
from sequencing_np.attention_scores import EACH
from sequencing_np.errors import ConfigError
from sequencing_np.several_memories import memories
from sequencing_np.state import Memory, MemorySizes
from sequencing_np.weights import nest

Q, A, H = 5, 6, 3  # query, attention, heads
WIDTHS = [(7, 11, 2), (13, 3, 5), (4, 17, 9)]  # keys, values, summary of each memory
LENGTHS = [(4, 1, 3, 0), (2, 1, 1, 2), (3, 3, 0, 0)]  # tokens of each sentence in it
ROWS = ["parallel", "hierarchical", "gated"]
FREE = sorted(set(EACH) - {"dot", "scaled_dot"})  # rows for any widths


def one(place: int) -> Memory:
    chance = np.random.default_rng(place)
    mask = np.arange(max(LENGTHS[place])) < np.array(LENGTHS[place])[:, None]
    keys, values = (chance.normal(0, 1, (*mask.shape, width)) * mask[..., None] for width in WIDTHS[place][:2])
    return Memory(keys, values, mask, chance.normal(0, 1, (4, WIDTHS[place][2])), mask.astype(int))


def given(count: int) -> tuple[Memory, MemorySizes]:
    """A memory with count - 1 coarser ones."""
    memory, sizes = one(0), MemorySizes(*WIDTHS[0])
    others = tuple(one(place) for place in range(1, count))
    return memory._replace(others=others), sizes._replace(others=tuple(MemorySizes(*w) for w in WIDTHS[1:count]))


def build(name: str, each: str, count: int) -> tuple[Any, Any, dict[str, Any]]:
    """Both twins with the same random weights, and these."""
    config, sizes = AttentionConfig(name, size=A, heads=H, each=each), given(count)[1]
    torch.manual_seed(1)
    native = UPPER[name](config, Q, sizes).double().requires_grad_(False)
    for parameter in native.parameters():
        nn.init.normal_(parameter)
    weights = nest({key: parameter.numpy() for key, parameter in native.named_parameters()})
    assert native.context_size == ATTENTIONS[name].context_size(config, sizes)
    return ATTENTIONS[name](config, **weights), native, weights


def as_torch(memory: Memory) -> Memory:
    return Memory(*map(torch.tensor, memory[:5]), tuple(map(as_torch, memory.others)))


def alone(each: str, weights: dict[str, Any], place: int, query: np.ndarray) -> Any:
    """The attention to one of the memories as it stands."""
    own = weights.get("attentions", [{}] * 3)[place]
    attention = ATTENTIONS[each](AttentionConfig(each, size=A, heads=H), **own)
    return attention(query, attention.prepare(one(place)))


def parallel(each: str, weights: dict[str, Any], count: int, query: np.ndarray) -> np.ndarray:
    return np.concatenate([alone(each, weights, place, query).context for place in range(count)], axis=2)


def hierarchical(each: str, weights: dict[str, Any], count: int, query: np.ndarray) -> np.ndarray:
    found: list[np.ndarray] = []
    for place in reversed(range(count)):
        found.append(alone(each, weights, place, np.concatenate([query, *found], axis=2)).context)
    return np.concatenate(found, axis=2)


def gated(each: str, weights: dict[str, Any], count: int, query: np.ndarray) -> np.ndarray:
    contexts = [alone(each, weights, place, query).context for place in range(count)]
    result = np.zeros((4, query.shape[1], A))
    for row in range(4):
        for t, q in enumerate(query[row]):
            powers = []
            for place in range(count):
                score = weights["gate"]["weight"][place] @ q + weights["gate"]["bias"][place]
                powers.append(math.exp(score) if LENGTHS[place][row] else 0.0)
            for place, power in enumerate(powers):
                value = weights["values"][place]
                image = value["weight"] @ contexts[place][row, t] + value["bias"]
                result[row, t] += power / max(sum(powers), 1e-300) * image
    return result


BY_HAND = {"parallel": parallel, "hierarchical": hierarchical, "gated": gated}


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("each", FREE)
@pytest.mark.parametrize("name", ROWS)
def test_the_formula(name: str, each: str, count: int) -> None:
    ground, upper, weights = build(name, each, count)
    memory, _ = given(count)
    query = np.random.default_rng(5).normal(0, 1, (4, 3, Q))
    wanted = BY_HAND[name](each, weights, count, query)
    found = look(ground, query, ground.prepare(memory), ground.begin(memory))
    native = as_torch(memory)
    same(found, upper_look(upper, torch.tensor(query), upper.prepare(native), upper.begin(native)))
    same(found.context, wanted)
    first = query if name != "hierarchical" else np.concatenate([query, wanted[..., : _coarse(each, count)]], axis=2)
    same(found.alignment, alone(each, weights, 0, first).alignment)
    same(found.alignment.sum(-1), np.repeat([[1.0], [1.0], [1.0], [0.0]], 3, axis=1))


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("each", FREE)
def test_the_coarsest_alone(each: str, count: int) -> None:
    """Its context is that of the last memory asked by itself; nothing is told of the first, unless it is the last."""
    config, memory, sizes = AttentionConfig("coarsest", size=A, heads=H, each=each), *given(count)
    upper = UPPER["coarsest"](config, Q, sizes).double().requires_grad_(False)
    weights = nest({key: parameter.numpy() for key, parameter in upper.named_parameters()})
    ground = ATTENTIONS["coarsest"](config, **weights)
    query = np.random.default_rng(5).normal(0, 1, (4, 3, Q))
    wanted = alone(each, {"attentions": [weights.get("attention", {})] * 3}, count - 1, query)
    found = look(ground, query, ground.prepare(memory), ground.begin(memory))
    native = as_torch(memory)
    same(found, upper_look(upper, torch.tensor(query), upper.prepare(native), upper.begin(native)))
    same(found.context, wanted.context)
    assert upper.context_size == ATTENTIONS["coarsest"].context_size(config, sizes) == found.context.shape[2]
    even = memory.mask / np.maximum(memory.mask.sum(axis=1, keepdims=True), 1)
    same(found.alignment, wanted.alignment if count == 1 else np.repeat(even[:, None], 3, axis=1))


def _coarse(each: str, count: int) -> int:
    """The width of what the coarser memories gave."""
    config = AttentionConfig(each, size=A, heads=H)
    return sum(EACH[each].context_size(config, MemorySizes(*width)) for width in WIDTHS[1:count])


def test_a_beam_shares_all_memories() -> None:
    """Six rows of queries on two sentences: as if each had its own."""
    query = np.random.default_rng(6).normal(0, 1, (8, 3, Q))
    for name in ROWS:
        ground, _, _ = build(name, "additive", 3)
        prepared = ground.prepare(given(3)[0])
        rows = np.repeat(np.arange(4), 2)
        same(look(ground, query, prepared, ()), look(ground, query, sequencing_np.select(prepared, rows), ()))


def test_the_original_name() -> None:
    for package, table in ((sequencing, UPPER), (sequencing_np, ATTENTIONS)):
        assert package.AvAttention is table["parallel"]


def test_settings_that_contradict() -> None:
    with pytest.raises(ConfigError, match=r"coverage.*set attention\.each = additive"):
        AttentionConfig("parallel", each="coverage")
    for each in ("gated", "parallel", "none"):
        with pytest.raises(ConfigError, match="known: additive"):
            AttentionConfig("parallel", each=each)
    with pytest.raises(ConfigError, match=r"set attention\.each = general"):
        AttentionConfig("hierarchical", each="dot")
    memory_sizes = given(2)[1]
    with pytest.raises(ConfigError, match=r"widths \[7, 13\]; set encoder\.attention_key_size = 6"):
        UPPER["gated"](AttentionConfig("gated", size=A, project_keys=False), Q, memory_sizes)


def test_memories_are_counted() -> None:
    """Weights for two memories answer no question about three, nor about one."""
    ground, _, _ = build("parallel", "additive", 2)
    for count in (1, 3):
        with pytest.raises(ValueError):
            ground.prepare(given(count)[0])
    assert len(memories(given(3)[0])) == 3
