"""attention: each row by its published formula in plain loops, multi_head also by PyTorch's own."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from architectures import same
from sequencing.attention import ATTENTIONS as UPPER
from sequencing.attention import look as upper_look
from sequencing_np.attention import ATTENTIONS, AttentionConfig, look
from sequencing_np.attention_past import LOOKING_BACK
from sequencing_np.errors import ConfigError
from sequencing_np.state import Memory, MemorySizes
from sequencing_np.weights import nest

Q, K, D, A, H = 5, 7, 11, 6, 3  # query, keys, values, attention, heads
MASK = np.arange(4) < np.array([[4], [1], [3], [0]])
EQUAL = {"dot", "scaled_dot"}  # query and keys of one width


def dot(a: Any, b: Any) -> float:
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def times(matrix: Any, vector: Any) -> list[float]:
    return [dot(row, vector) for row in matrix]


def additive(w: dict[str, Any], q: Any, k: Any) -> float:
    """Bahdanau et al. 2015, A.1.2: v . tanh(W q + b + U k)."""
    left, right = times(w["query.weight"], q), times(w["key.weight"], k)
    inside = [a + float(b) + c for a, b, c in zip(left, w["query.bias"], right, strict=True)]
    return dot(w["energy"], [math.tanh(x) for x in inside])


SCORES: dict[str, Callable[[dict[str, Any], Any, Any], float]] = {
    "additive": additive,
    "dot": lambda w, q, k: dot(q, k),
    "scaled_dot": lambda w, q, k: dot(q, k) / math.sqrt(len(k)),
    "general": lambda w, q, k: dot(times(w["query.weight"], q), k),
}


def by_hand(score: Callable[[Any, Any], float], queries: Any, keys: Any, values: Any, mask: Any) -> Any:
    """(T, Q), (S, K), (S, D), (S,) -> contexts (T, D) and weights (T, S)."""
    contexts, weights = [], []
    for q in queries:
        powers = [math.exp(score(q, k)) if real else 0.0 for k, real in zip(keys, mask, strict=True)]
        shares = [power / sum(powers) if sum(powers) else 0.0 for power in powers]
        weights.append(shares)
        contexts.append(
            [sum(a * float(v[d]) for a, v in zip(shares, values, strict=True)) for d in range(len(values[0]))]
        )
    return np.array(contexts), np.array(weights)


def build(name: str, **options: Any) -> tuple[Any, Any, dict[str, np.ndarray], int]:
    """Both twins with the same random weights, these weights, and the width of the query."""
    query = K if name in EQUAL else Q
    config = AttentionConfig(name, size=A, heads=H, **options)
    sizes = MemorySizes(A if options.get("project_keys") is False else K, D, 1)
    torch.manual_seed(1)
    native = UPPER[name](config, query, sizes).double().requires_grad_(False)
    for parameter in native.parameters():
        nn.init.normal_(parameter)
    weights = {key: parameter.numpy() for key, parameter in native.named_parameters()}
    assert native.context_size == ATTENTIONS[name].context_size(config, sizes)
    return ATTENTIONS[name](config, **nest(weights)), native, weights, query


def memory(keys: int = K) -> Memory:
    chance = np.random.default_rng(2)
    return Memory(
        chance.normal(0, 1, (4, 4, keys)), chance.normal(0, 1, (4, 4, D)), MASK, chance.normal(0, 1, (4, 1)), MASK
    )


def run(twin: Any, native: Any, query: np.ndarray, given: Memory) -> Any:
    """The answers to queries each of which is the first one of its sentence."""
    read = Memory(*map(native, given[:5]))
    past = (native(np.repeat(np.asarray(before)[:, None], query.shape[1], axis=1)) for before in twin.begin(read))
    return twin(native(query), twin.prepare(read), *past)


@pytest.mark.parametrize("name", SCORES)
def test_the_formula(name: str) -> None:
    ground, upper, weights, width = build(name)
    given, queries = memory(), np.random.default_rng(3).normal(0, 1, (4, 3, width))
    found = run(ground, np.asarray, queries, given)
    same(found, run(upper, torch.tensor, queries, given))
    for row in range(4):
        score = lambda q, k: SCORES[name](weights, q, k)  # noqa: E731
        context, alignment = by_hand(score, queries[row], given.keys[row], given.values[row], MASK[row])
        same((found.context[row], found.alignment[row]), (context, alignment))
        assert not found.alignment[row][:, ~MASK[row]].any()


def test_coverage_by_hand_step_by_step() -> None:
    """See et al. 2017, equations 10 and 11: v . tanh(W q + b + U k + w c), c the sum of the alignments before."""
    ground, upper, w, width = build("coverage")
    given, queries = memory(), np.random.default_rng(3).normal(0, 1, (4, 3, width))
    for twin, native, glance in ((ground, np.asarray, look), (upper, torch.tensor, upper_look)):
        read = Memory(*map(native, given[:5]))
        found = glance(twin, native(queries), twin.prepare(read), twin.begin(read))
        for row in range(4):
            seen = [0.0] * 4
            for t, q in enumerate(queries[row]):
                place = {tuple(k): sum_ for k, sum_ in zip(given.keys[row], seen, strict=True)}

                def score(q: Any, k: Any, place: Any = place) -> float:
                    parts = times(w["query.weight"], q), w["query.bias"], times(w["key.weight"], k), w["coverage"]
                    inside = [a + b + c + u * place[tuple(k)] for a, b, c, u in zip(*parts, strict=True)]
                    return dot(w["energy"], [math.tanh(x) for x in inside])

                context, alignment = by_hand(score, [q], given.keys[row], given.values[row], MASK[row])
                same((found.context[row, t], found.alignment[row, t]), (context[0], alignment[0]))
                seen = [before + float(now) for before, now in zip(seen, alignment[0], strict=True)]
            same(found.past[0][row], np.array(seen))


def test_coverage_without_its_weight_is_additive() -> None:
    ground, _, weights, width = build("coverage")
    given, queries = memory(), np.random.default_rng(3).normal(0, 1, (4, 3, width))
    ground.coverage = np.zeros(A)
    plain = {name: weight for name, weight in weights.items() if name != "coverage"}
    additive = ATTENTIONS["additive"](AttentionConfig("additive", size=A), **nest(plain))
    read = ground.prepare(given)
    answer = look(ground, queries, read, ground.begin(given))
    same(answer[:2], look(additive, queries, additive.prepare(given), ())[:2])


@pytest.mark.parametrize("window", [1, 2, 10])
def test_local_by_hand(window: int) -> None:
    """Luong et al. 2015, equations 7, 9 and 10: softmax within the window, times a Gaussian, and then over its sum."""
    ground, upper, w, width = build("local", window=window)
    given, queries = memory(), np.random.default_rng(3).normal(0, 1, (4, 3, width))
    found = run(ground, np.asarray, queries, given)
    same(found, run(upper, torch.tensor, queries, given))
    left_out = 0
    for row in range(3):
        count = int(MASK[row].sum())
        for t, q in enumerate(queries[row]):
            inside = dot(w["energy"], [math.tanh(x) for x in times(w["place.weight"], q)])
            place = count / (1 + math.exp(-inside))
            seen = [s for s in range(count) if place - window <= s <= place + window]
            left_out += count - len(seen)
            powers = {s: math.exp(dot(times(w["query.weight"], q), given.keys[row, s])) for s in seen}
            deviation = window / 2
            shares = {
                s: power / sum(powers.values()) * math.exp(-((s - place) ** 2) / (2 * deviation**2))
                for s, power in powers.items()
            }
            wanted = np.array([shares.get(s, 0.0) / sum(shares.values()) for s in range(4)])
            same((found.alignment[row, t], found.context[row, t]), (wanted, wanted @ given.values[row]))
    assert bool(left_out) == (window < 3)


@pytest.mark.parametrize("window", [1, 2, 10])
def test_local_m_by_hand_step_by_step(window: int) -> None:
    """Luong et al. 2015, section 3.2: equation 7 over what is at most `window` from t; past the end from the last."""
    ground, upper, w, width = build("local_m", window=window)
    given, queries = memory(), np.random.default_rng(3).normal(0, 1, (4, 6, width))
    for twin, native, glance in ((ground, np.asarray, look), (upper, torch.tensor, upper_look)):
        read = Memory(*map(native, given[:5]))
        begin = twin.begin(read)
        found = glance(twin, native(queries), twin.prepare(read), begin)
        first = glance(twin, native(queries[:, :2]), twin.prepare(read), begin)
        same(glance(twin, native(queries[:, 2:]), twin.prepare(read), first.past)[1], found.alignment[:, 2:])
        for row in range(3):
            count = int(MASK[row].sum())
            for t, q in enumerate(queries[row]):
                near = np.array([s < count and abs(s - min(t, count - 1)) <= window for s in range(4)])
                score = lambda q, k: dot(times(w["query.weight"], q), k)  # noqa: E731
                context, alignment = by_hand(score, [q], given.keys[row], given.values[row], near)
                same((found.context[row, t], found.alignment[row, t]), (context[0], alignment[0]))
        assert not np.asarray(found.alignment[3]).any()


def stops(chances: list[float], before: list[float]) -> list[float]:
    """Where a look stops, path by path: Raffel et al. 2017, equation 9; at the last token for certain."""
    chances = [*chances[:-1], 1.0]
    found = [0.0] * len(chances)
    for start, likely in enumerate(before):
        for end in range(start, len(chances)):
            found[end] += likely * chances[end]
            likely *= 1 - chances[end]
    return found


@pytest.mark.parametrize("hard", [False, True])
def test_monotonic_by_hand_step_by_step(hard: bool) -> None:
    """Raffel et al. 2017, section 2.4: g v / |v| . tanh(W q + b + U k) + r is how much a token asks to stop at it."""
    ground, upper, w, width = build("monotonic", hard=hard)
    given, queries = memory(), np.random.default_rng(3).normal(0, 1, (4, 3, width))
    for twin, native, glance in ((ground, np.asarray, look), (upper.eval(), torch.tensor, upper_look)):
        read = Memory(*map(native, given[:5]))
        found = glance(twin, native(queries), twin.prepare(read), twin.begin(read))
        assert not np.asarray(found.alignment[3]).any()
        for row in range(3):
            count = int(MASK[row].sum())
            stood = [1.0] + [0.0] * (count - 1)
            for t, q in enumerate(queries[row]):
                direction = w["energy"] / math.sqrt(dot(w["energy"], w["energy"]))
                own = [float(w["scale"][0]) * additive({**w, "energy": direction}, q, k) for k in given.keys[row]]
                scores = [score + float(w["offset"][0]) for score in own[:count]]
                chances = [float(score > 0) if hard else 1 / (1 + math.exp(-score)) for score in scores]
                stood = stops(chances, stood)
                wanted = np.array([*stood, *[0.0] * (4 - count)])
                same((found.alignment[row, t], found.context[row, t]), (wanted, wanted @ given.values[row]))
                if hard:
                    assert set(stood) <= {0.0, 1.0}
            same(found.past[0][row], wanted)


def test_noise_while_hard_attention_learns() -> None:
    """Raffel et al. 2017, section 2.5: chances, of noisy scores, whose gradient reaches every weight."""
    _, native, _, width = build("monotonic", hard=True)
    given, queries = memory(), np.random.default_rng(3).normal(0, 1, (4, 3, width))
    native.train().requires_grad_(True)
    torch.manual_seed(0)
    first, second = (run(native, torch.tensor, queries, given).alignment for _ in range(2))
    assert not torch.equal(first, second) and ((first > 0) & (first < 1)).any()
    same(first[:3].sum(-1).detach(), np.ones((3, 3)))
    (first * torch.arange(4)).sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in native.parameters())


def test_summary_by_hand() -> None:
    """The summary is every context, and the real tokens share the weight evenly."""
    ground, upper, weights, width = build("summary")
    assert not weights
    given, queries = memory(), np.random.default_rng(3).normal(0, 1, (4, 3, width))
    for twin, native in ((ground, np.asarray), (upper, torch.tensor)):
        found = run(twin, native, queries, given)
        for row in range(4):
            count = MASK[row].sum()
            for t in range(3):
                even = [1 / count if real else 0.0 for real in MASK[row]]
                same((found.context[row, t], found.alignment[row, t]), (given.summary[row], np.array(even)))


def test_how_the_weights_of_a_score_begin() -> None:
    """The vectors are Glorot-uniform (Glorot and Bengio 2010, equation 16): v of width 1 out, w of width 1 in."""
    torch.manual_seed(0)
    row = UPPER["coverage"](AttentionConfig("coverage", size=40_000), 1, MemorySizes(1, 1, 1))
    assert abs(float(row.energy.detach().std()) * 200 - 1) < 0.02
    assert float(row.coverage.detach().abs().max()) <= (6 / 40_001) ** 0.5
    assert abs(float(row.coverage.detach().std()) / (2 / 40_001) ** 0.5 - 1) < 0.02
    for name in ("local", "monotonic"):
        row = UPPER[name](AttentionConfig(name, size=40_000), 1, MemorySizes(1, 1, 1))
        assert abs(float(row.energy.detach().std()) * 200 - 1) < 0.02
    assert (row.scale.item(), row.offset.item()) == (pytest.approx(1 / 200), -1)


def test_additive_with_keys_that_the_encoder_projected() -> None:
    ground, upper, weights, width = build("additive", project_keys=False)
    assert set(weights) == {"energy", "query.weight", "query.bias"}
    given, queries = memory(A), np.random.default_rng(3).normal(0, 1, (4, 3, width))
    found = run(ground, np.asarray, queries, given)
    same(found, run(upper, torch.tensor, queries, given))
    whole = {**weights, "key.weight": np.eye(A)}
    for row in range(4):
        score = lambda q, k: additive(whole, q, k)  # noqa: E731
        same(
            (found.context[row], found.alignment[row]),
            by_hand(score, queries[row], given.keys[row], given.values[row], MASK[row]),
        )


@pytest.mark.parametrize("floor", ["numpy", "torch"])
def test_multi_head_is_that_of_pytorch(floor: str) -> None:
    ground, upper, weights, width = build("multi_head")
    reference = nn.MultiheadAttention(A, H, kdim=A, vdim=A, batch_first=True).double()
    given, queries = memory(), np.random.default_rng(3).normal(0, 1, (4, 3, width))
    found = run(ground, np.asarray, queries, given) if floor == "numpy" else run(upper, torch.tensor, queries, given)
    # The widths differ from its own, so it gets the projected vectors and an identity as its own projection.
    project = lambda x, name: torch.tensor(x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"])  # noqa: E731
    with torch.no_grad():
        reference.in_proj_weight.copy_(torch.eye(A).repeat(3, 1))
        reference.in_proj_bias.zero_()
        reference.out_proj.weight.copy_(torch.tensor(weights["output.weight"]))
        reference.out_proj.bias.copy_(torch.tensor(weights["output.bias"]))
        rows = [0, 1, 2]  # PyTorch's own says NaN of the fourth, in which everything is masked
        context, alignment = reference(
            project(queries, "query")[rows],
            project(given.keys, "key")[rows],
            project(given.values, "value")[rows],
            key_padding_mask=torch.tensor(~MASK)[rows],
        )
    same((found.context[rows], found.alignment[rows]), (context, alignment))


@pytest.mark.parametrize("name", ATTENTIONS)
def test_what_every_row_does(name: str) -> None:
    """N04: zeros where everything is masked; weights sum to one; each query is answered as if it were alone."""
    ground, upper, _, width = build(name)
    given, queries = memory(), np.random.default_rng(4).normal(0, 30, (4, 5, width))
    for twin, native in ((ground, np.asarray), (upper, torch.tensor)):
        found = run(twin, native, queries, given)
        assert np.isfinite(np.asarray(found.context)).all()
        same(found.alignment[:3].sum(-1), np.ones((3, 5)))
        assert not np.asarray(found.alignment[3]).any()
        for t in range(5):
            alone = run(twin, native, queries[:, t : t + 1], given)
            same((alone.context[:, 0], alone.alignment[:, 0]), (found.context[:, t], found.alignment[:, t]))
        filled = given._replace(
            keys=np.where(MASK[..., None], given.keys, 1e3), values=np.where(MASK[..., None], given.values, -1e3)
        )
        same(run(twin, native, queries, filled), found)


@pytest.mark.parametrize("name", sorted(EQUAL))
def test_widths_that_must_agree(name: str) -> None:
    with pytest.raises(ConfigError, match=r"set encoder\.attention_key_size = 5, or use general attention"):
        UPPER[name](AttentionConfig(name), Q, MemorySizes(K, D, 1))


def test_settings_that_contradict() -> None:
    with pytest.raises(ConfigError, match=r"set attention\.size = 7"):
        UPPER["additive"](AttentionConfig("additive", size=A, project_keys=False), Q, MemorySizes(K, D, 1))
    with pytest.raises(ConfigError, match=r"set attention\.size = 7"):
        UPPER["coverage"](AttentionConfig("coverage", size=A, project_keys=False), Q, MemorySizes(K, D, 1))
    with pytest.raises(ConfigError, match=r"does not divide into 4 heads; set attention\.size = 252"):
        UPPER["multi_head"](AttentionConfig("multi_head", size=250, heads=4), Q, MemorySizes(K, D, 1))
    assert AttentionConfig("additive", size=250, heads=4).size == 250  # heads are for multi_head only
    with pytest.raises(ConfigError, match="did you mean 'additive'"):
        AttentionConfig("aditive")
    for row in LOOKING_BACK:
        with pytest.raises(ConfigError, match=rf"each = '{row}': .*set attention\.each = additive"):
            AttentionConfig("parallel", each=row)
    for wrong in ({"size": 0}, {"heads": 0}, {"dropout": 1.0}, {"dropout": -0.1}, {"window": 0}):
        with pytest.raises(ConfigError):
            AttentionConfig(**wrong)


@pytest.mark.parametrize("name", sorted(set(UPPER) - {"summary"}))  # which has no weights to drop
def test_dropout_of_the_weights_while_training_only(name: str) -> None:
    """The alignment that is shown is the one before dropout."""
    _, native, _, width = build(name, dropout=0.5)
    given, queries = memory(), np.random.default_rng(3).normal(0, 1, (4, 3, width))
    torch.manual_seed(0)
    trained, evaluated = (run(native.train(mode), torch.tensor, queries, given) for mode in (True, False))
    same(trained.alignment, evaluated.alignment)
    assert not torch.allclose(trained.context, evaluated.context)
