"""layers: by their formulas, and NumPy against PyTorch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import sequencing.layers as upper
import sequencing_np.layers as ground
from architectures import same
from sequencing_np.errors import ConfigError
from sequencing_np.weights import nest

CHANCE = np.random.default_rng(1)
MASK = np.arange(5) < np.array([[5], [2], [1], [0]])


def normal(*shape: int) -> np.ndarray:
    return CHANCE.normal(0, 1, shape)


def test_linear_and_look_up() -> None:
    weight, bias, x = normal(7, 3), normal(7), normal(2, 5, 3)
    same(ground.Linear(weight=weight, bias=bias)(x), np.einsum("oi,bti->bto", weight, x) + bias)
    same(ground.Linear(weight=weight, bias=None)(x), np.einsum("oi,bti->bto", weight, x))
    ids = np.array([[0, 6], [3, 3]])
    same(ground.LookUpOp(weight=weight)(ids), weight[ids])
    table = upper.LookUpOp(7, 3)
    same(table(torch.tensor(ids)).detach(), table.weight.detach().numpy()[ids], 0)


@pytest.mark.parametrize("rows", [*range(1, 9), 12, 13])
@pytest.mark.parametrize("shape", [(31, 17), (101, 17), (17, 31), (2, 1)])
def test_few_rows_and_many(rows: int, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are multiplied one by one, a few more by some columns at a time: whichever, the product is the same."""
    weight, bias, x = normal(*shape), normal(shape[0]), normal(rows, 1, shape[1])
    linear, parts = ground.Linear(weight=weight, bias=bias), []
    multiply = np.matmul
    monkeypatch.setattr(ground, "FEW", 12)
    monkeypatch.setattr(ground, "ALONE", 3)
    monkeypatch.setattr(np, "matmul", lambda *given, **named: parts.append(1) or multiply(*given, **named))
    for near, part in ((0, 10**6), (1 << 20, 10**6), (1 << 20, 7000)):
        monkeypatch.setattr(ground, "NEAR", near)
        monkeypatch.setattr(ground, "PART", part)
        for way in (x, x[:, 0], x[None, :, 0]):
            same(linear(way), way @ weight.T + bias)
    assert bool(parts) == (shape == (101, 17) and 3 < rows < 13)


@pytest.mark.parametrize("rows", [1, ground.STRIP - 1, ground.STRIP, 2 * ground.STRIP + 3])
def test_a_matrix_is_turned_by_strips(rows: int) -> None:
    for weight in (normal(rows, 5), normal(5, rows).T, normal(2 * rows, 5)[::2]):
        found = ground.turned(weight)
        same(found, weight.T, 0)
        assert found.flags.c_contiguous


@pytest.mark.parametrize("sizes", [(7,), (7, 2), (7, 3, 2), (5, 4, 1, 3)])
def test_look_up_of_factors_adds_a_row_of_each_table(sizes: tuple[int, ...]) -> None:
    native = upper.LookUpOp(sizes[0], 3, factors=sizes[1:]).double()
    tables = [table.detach().numpy() for table in native.parameters()]
    assert [table.shape for table in tables] == [(size, 3) for size in sizes]
    names = ["weight", *(f"factors.{number}.weight" for number in range(len(sizes) - 1))]
    assert [name for name, _ in native.named_parameters()] == names
    numbers = np.array([[CHANCE.integers(size) for size in sizes] for _ in range(30)])
    ids, expected = np.zeros(30, dtype=np.int64), np.zeros((30, 3))
    for row, digits in enumerate(numbers):
        unit = 1
        for digit, size, table in zip(digits, sizes, tables, strict=True):
            ids[row] += digit * unit
            expected[row] += table[digit]
            unit *= size
    weights = {name: value.detach().numpy() for name, value in native.named_parameters()}
    below = ground.LookUpOp(**nest(weights))
    before = [table.copy() for table in tables]
    for shape in ((30,), (5, 6)):
        same(below(ids.reshape(shape)), expected.reshape(*shape, 3))
        same(native(torch.tensor(ids.reshape(shape))).detach(), expected.reshape(*shape, 3))
    same(tuple(tables), tuple(before), 0)
    native(torch.tensor(ids)).sum().backward()
    for table, column in zip(native.parameters(), numbers.T, strict=True):
        counts = np.bincount(column, minlength=len(table))
        same(table.grad, np.repeat(counts[:, None], 3, axis=1).astype(float))


def test_every_table_begins_alike() -> None:
    """Normal with deviation 1 / sqrt(E); and the table of words is the one that a look-up without factors has."""
    torch.manual_seed(5)
    tables = list(upper.LookUpOp(300, 64, factors=(200, 150)).parameters())
    for table in tables:
        values = table.detach().double() * 8
        assert abs(float(values.mean())) < 0.05 and abs(float(values.std()) - 1) < 0.03
        assert abs(float((values**4).mean()) - 3) < 0.3
    torch.manual_seed(5)
    assert torch.equal(upper.LookUpOp(300, 64).weight, tables[0])


def test_weights_that_do_not_fit() -> None:
    for weights in ({"weight": normal(7, 3)}, {"bias": normal(7)}, {"weight": normal(7, 3), "bias": None, "scale": 1}):
        with pytest.raises(TypeError):
            ground.Linear(**weights)
    for weight, bias in ((normal(7, 3), normal(1)), (normal(7, 3), normal(3)), (normal(7), normal(7))):
        with pytest.raises(ConfigError):
            ground.Linear(weight=weight, bias=bias)
    with pytest.raises(ConfigError):
        ground.LayerNorm(weight=normal(5), bias=normal(1))
    with pytest.raises(ConfigError):
        ground.LookUpOp(weight=normal(5))
    for wrong in ({"weights": normal(3, 5)}, {"weight": normal(3, 5), "factors": [{"weight": normal(2, 5)}]}):
        with pytest.raises(TypeError):
            ground.LookUpOp(weight=normal(7, 5), factors=[wrong])  # type: ignore[list-item]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_layer_norm(scale: float) -> None:
    x, native = normal(2, 3, 7) * scale, nn.LayerNorm(7).double()
    nn.init.normal_(native.weight)
    nn.init.normal_(native.bias)
    weights = {name: value.numpy() for name, value in native.state_dict().items()}
    before = x.copy()
    same(ground.LayerNorm(**weights)(x), native(torch.tensor(x)).detach())
    same(x, before, 0)


def test_layer_norm_of_a_row_alone() -> None:
    norm, x = ground.LayerNorm(weight=normal(13), bias=normal(13)), normal(3, 2, 13)
    alone = [[norm(row[None, None])[0, 0] for row in rows] for rows in x]
    same(np.array(alone), norm(x))
    same(norm(x[0, 0]), norm(x)[0, 0])


@given(st.lists(st.floats(-1e300, 1e300), min_size=1))
def test_sigmoid_and_relu_never_overflow(values: list[float]) -> None:
    x = np.array(values)
    same(ground.sigmoid(x), torch.sigmoid(torch.tensor(x)))
    same(ground.relu(x), torch.relu(torch.tensor(x)))


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e6])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_masked_softmax(scale: float, dtype: str) -> None:
    """N04: over the real positions; a row without any is zeros, not NaN."""
    scores = (normal(4, 5) * scale).astype(dtype)
    weights = ground.masked_softmax(scores, MASK)
    assert weights.dtype == dtype
    for row, length in enumerate(MASK.sum(axis=1)):
        real = scores[row, :length].astype(np.float64)
        expected = np.exp(real - real.max()) / np.exp(real - real.max()).sum() if length else real
        np.testing.assert_allclose(weights[row, :length], expected, rtol=1e-5, atol=1e-30)
        assert not weights[row, length:].any()
    same(weights, upper.masked_softmax(torch.tensor(scores), torch.tensor(MASK)), 1e-6 if dtype == "float32" else 1e-9)


def test_padding_may_hold_anything() -> None:
    scores = normal(4, 5)
    for filling in (1e30, -1e30, np.nan, np.inf):
        filled = np.where(MASK, scores, filling)
        same(ground.masked_softmax(filled, MASK), ground.masked_softmax(scores, MASK), 0)
        if np.isfinite(filling):
            same(upper.masked_softmax(torch.tensor(filled), torch.tensor(MASK)), ground.masked_softmax(scores, MASK))


def test_reverse_and_last() -> None:
    x = normal(4, 5, 3)
    for twin, native in ((ground, np.asarray), (upper, torch.tensor)):
        turned, ends = twin.reverse(native(x), native(MASK)), twin.last(native(x), native(MASK))
        for row, length in enumerate(MASK.sum(axis=1)):
            same(turned[row, :length], x[row, :length][::-1].copy(), 0)
            same(turned[row, length:], x[row, length:], 0)
            same(ends[row], x[row, length - 1] if length else np.zeros(3), 0)
        same(twin.reverse(turned, native(MASK)), x, 0)
        same(twin.reverse(native(x[..., 0].copy()), native(MASK)), np.asarray(turned)[..., 0], 0)


def test_mean_of_the_real_tokens() -> None:
    x = normal(4, 5, 3) * MASK[..., None]
    for twin, native in ((ground, np.asarray), (upper, torch.tensor)):
        means = twin.masked_mean(native(x), native(MASK))
        for row, length in enumerate(MASK.sum(axis=1)):
            same(means[row], x[row, :length].mean(axis=0) if length else np.zeros(3))


def test_positions_past_the_end_share_the_last_row() -> None:
    """Counted from zero for all, or from each row's own first position."""
    weight, first = normal(7, 3), np.array([[0], [5], [11]])
    table = upper.PositionTable(7, 3).double().requires_grad_(False)
    table.load_state_dict({"weight": torch.tensor(weight)})
    for positions, native in ((ground.PositionTable(7, 3, weight=weight), np.asarray), (table, torch.tensor)):
        same(positions(0, 9), weight[[0, 1, 2, 3, 4, 5, 6, 6, 6]], 0)
        same(positions(native(first), 3), weight[[[0, 1, 2], [5, 6, 6], [6, 6, 6]]], 0)
    for shape in ((1, 3), (7, 1), (3, 7), (7, 3, 1)):
        with pytest.raises(ConfigError):
            ground.PositionTable(7, 3, weight=normal(*shape))


# --- what only training has -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.9])
def test_dropout_keeps_the_mean(share: float) -> None:
    torch.manual_seed(0)
    dropout, x = upper.Dropout(share), torch.ones(100, 100, 10)
    kept = dropout(x)
    values = torch.unique(kept)
    assert len(values) == 2 and values[0] == 0
    assert abs(float(values[1]) * (1 - share) - 1) < 0.02
    assert abs(float((kept == 0).double().mean()) - share) < 0.01
    assert abs(float(kept.mean()) - 1) < 0.02
    assert torch.equal(dropout.eval()(x), x)
    assert torch.equal(upper.Dropout(0.0)(x), x)


def test_variational_dropout_is_the_same_at_every_step() -> None:
    torch.manual_seed(0)
    kept = upper.Dropout(0.5, variational=True)(torch.ones(50, 7, 11))
    assert torch.equal(kept, kept[:, :1].expand_as(kept))
    assert not torch.equal(kept[0], kept[1])
    each = upper.Dropout(0.5)(torch.ones(50, 7, 11))
    assert not torch.equal(each, each[:, :1].expand_as(each))


def test_dropout_follows_the_seed() -> None:
    def once() -> torch.Tensor:
        torch.manual_seed(3)
        return upper.Dropout(0.4)(torch.ones(3, 5, 7))

    assert torch.equal(once(), once())


def test_biases_begin_at_zero() -> None:
    """T-A21: and matrices are Glorot-uniform."""
    layer = upper.Linear(50, 70)
    assert not layer.bias.any() and float(layer.weight.detach().abs().max()) <= (6 / 120) ** 0.5
    assert upper.Linear(5, 7, bias=False).bias is None
