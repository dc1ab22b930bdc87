"""positions: each scheme by its published formula; what relative ones say depends on the distance alone."""

import cmath
import math
from typing import Any

import numpy as np
import pytest
import torch

from architectures import same
from sequencing.positions import POSITIONS as UPPER
from sequencing_np.positions import BUCKETS, FAR, POSITIONS, PositionSizes, buckets, slopes
from sequencing_np.weights import nest

R, T, H, D = 2, 5, 3, 14  # rows, tokens, heads, width
SIZES = PositionSizes(D, H, 7, False)
PLACES = np.arange(3, 3 + T)[None]
X = np.random.default_rng(0).normal(0, 1, (R, T, D))
HEADS = np.random.default_rng(1).normal(0, 1, (R, H, T, D))


def twins(name: str, sizes: PositionSizes = SIZES) -> tuple[Any, Any]:
    torch.manual_seed(2)
    upper = UPPER[name](sizes).double().requires_grad_(False)
    for parameter in upper.parameters():
        torch.nn.init.normal_(parameter)
    return POSITIONS[name](sizes, **nest({key: value.numpy() for key, value in upper.named_parameters()})), upper


@pytest.mark.parametrize("name", POSITIONS)
def test_both_floors_say_the_same(name: str) -> None:
    ground, upper = twins(name)
    places, keys = torch.tensor(PLACES), np.arange(11)[None]
    same(ground.enter(X, PLACES), upper.enter(torch.tensor(X), places))
    same(ground.turn(HEADS, PLACES), upper.turn(torch.tensor(HEADS), places))
    bias, other = ground.bias(PLACES, keys), upper.bias(places, torch.tensor(keys))
    assert (bias is None) == (other is None)
    if bias is not None:
        assert bias.shape == (1, H, T, 11)
        same(bias, other)


def test_sines_and_cosines() -> None:
    """Vaswani et al. 2017, section 3.5: sin and cos of pos / 10000^(2i/d); here all sines come first."""
    ground, _ = twins("sinusoidal")
    added = ground.enter(X, PLACES) - X
    for t, place in enumerate(PLACES[0]):
        angles = [place / 10_000 ** (2 * i / D) for i in range(D // 2)]
        wanted = [math.sin(angle) for angle in angles] + [math.cos(angle) for angle in angles]
        np.testing.assert_allclose(added[0, t], wanted, atol=1e-12)


def test_an_odd_width() -> None:
    sizes = PositionSizes(5, 1, 7, False)
    ground, upper = twins("sinusoidal", sizes)
    same(ground.enter(X[..., :5], PLACES), upper.enter(torch.tensor(X[..., :5]), torch.tensor(PLACES)))


def test_learned_positions_end_in_their_last_row() -> None:
    ground, _ = twins("learned")
    added = ground.enter(np.zeros((1, 4, D)), np.arange(5, 9)[None])
    same(added[0], ground.table.weight[[5, 6, 6, 6]])


def test_rotations_are_products_of_complex_numbers() -> None:
    """Su et al. 2021, equation 12: the pair (x_i, x_{i + D/2}) as a complex number, times e^(i pos theta)."""
    ground, _ = twins("rotary")
    turned = ground.turn(HEADS, PLACES)
    half = D // 2
    for r, h, t in np.ndindex(R, H, T):
        for i in range(half):
            theta = 10_000 ** (-2 * i / D)
            number = complex(HEADS[r, h, t, i], HEADS[r, h, t, i + half])
            number *= cmath.exp(1j * PLACES[0, t] * theta)
            assert turned[r, h, t, i] == pytest.approx(number.real)
            assert turned[r, h, t, i + half] == pytest.approx(number.imag)


def test_rotated_products_know_only_the_distance() -> None:
    ground, _ = twins("rotary")
    query, key = HEADS[:, :, :1], HEADS[:, :, 1:2]
    products = [
        (ground.turn(query, np.array([[7 + shift]])) * ground.turn(key, np.array([[2 + shift]]))).sum()
        for shift in (0, 1, 50)
    ]
    np.testing.assert_allclose(products, products[0], rtol=1e-9)


def test_published_slopes() -> None:
    """Press et al. 2022: 1/2, 1/4 … 1/256 for eight heads; twelve heads add 2^(-1/2), 2^(-3/2) …"""
    np.testing.assert_allclose(slopes(8), [2.0**-k for k in range(1, 9)])
    np.testing.assert_allclose(slopes(12)[8:], [2.0**-0.5, 2.0**-1.5, 2.0**-2.5, 2.0**-3.5])
    for heads in range(1, 20):
        assert len(slopes(heads)) == heads == len(set(slopes(heads)))


def test_alibi_by_hand() -> None:
    ground, _ = twins("alibi")
    bias = ground.bias(PLACES, np.arange(6)[None])
    for h, t, n in np.ndindex(H, T, 6):
        assert bias[0, h, t, n] == pytest.approx(-slopes(H)[h] * abs(PLACES[0, t] - n))


def bucket_of(distance: int, causal: bool) -> int:
    """Raffel et al. 2020: half of the buckets for exact distances, half logarithmic up to 128."""
    count, first = (BUCKETS, 0) if causal else (BUCKETS // 2, BUCKETS // 2 * (distance > 0))
    size = max(-distance, 0) if causal else abs(distance)
    near = count // 2
    if size < near:
        return first + size
    return first + min(near + int(math.log(size / near) / math.log(128 / near) * (count - near)), count - 1)


@pytest.mark.parametrize("causal", [True, False])
def test_buckets(causal: bool) -> None:
    wanted = [bucket_of(distance, causal) for distance in range(-FAR, FAR + 1)]
    assert buckets(causal).tolist() == wanted
    assert set(wanted) <= set(range(BUCKETS))
    assert (len(set(wanted)) == BUCKETS) == causal or not causal


@pytest.mark.parametrize("name", ["alibi", "t5"])
def test_biases_know_only_the_distance(name: str) -> None:
    ground, _ = twins(name)
    near = ground.bias(np.arange(4)[None], np.arange(4)[None])
    far = ground.bias(np.arange(40, 44)[None], np.arange(44)[None])
    same(near, far[..., 40:])
