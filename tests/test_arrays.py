"""arrays: the best ids against a full sort, draws against their distribution, and NumPy against PyTorch."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from architectures import same
from sequencing.arrays import TorchArrays
from sequencing_np.arrays import BLOCK, Kept, log_sum_exp, top_ids
from table_decoder import ARRAYS

NOBODY = np.zeros(0, dtype=np.int64)
each_floor = pytest.mark.parametrize("arrays", ARRAYS.values(), ids=list(ARRAYS))


def draw_logits(seed: int, rows: int, width: int, values: int, dtype: str = "float64") -> np.ndarray:  # -> (R, V)
    """Few different values make many ties."""
    chance = np.random.default_rng(seed)
    table = np.sort(chance.normal(0, 3, values)) if values else chance.normal(0, 3, (rows, width))
    return (table[chance.integers(0, values, (rows, width))] if values else table).astype(dtype)


def sorted_ids(scores: np.ndarray, k: int) -> np.ndarray:  # (R, V) -> (R, k)
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@given(
    st.integers(0, 10**6),
    st.integers(1, 5),
    st.sampled_from([1, 2, 3, 5, 7, 64, 1023, 1024, 1025, 1100, 2048, 2111]),
    st.integers(1, 70),
    st.sampled_from([0, 1, 2, 3, 17, 400]),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from([1 << 18, 4096, 1]),
)
def test_the_best_are_those_of_a_full_sort(
    seed: int, rows: int, width: int, k: int, values: int, dtype: str, near: int
) -> None:
    """However many rows are looked at together."""
    scores = draw_logits(seed, rows, width, values, dtype)
    np.testing.assert_array_equal(top_ids(scores, k), sorted_ids(scores, k))
    for arrays in ARRAYS.values():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sequencing.arrays.NEAR", near)
            best = arrays.best(arrays.native(scores), min(k, width), NOBODY)
        np.testing.assert_array_equal(best.ids, sorted_ids(scores, k))
        assert best.log_probs.dtype == np.float64 and best.ids.dtype == np.int64
        wide = np.asarray(scores, np.float64)
        log_probs = wide - np.logaddexp.reduce(wide, axis=1)[:, None]
        expected = np.take_along_axis(log_probs, best.ids, axis=1)
        tolerance = 1e-12 if dtype == "float64" else 1e-5
        np.testing.assert_allclose(best.log_probs, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("k", [1, 2, 5, 16, 17, 40])
def test_planted_ties_across_blocks_and_borders(k: int) -> None:
    """The k-th and the next are equal, and stand in blocks far apart; the lower id wins."""
    width = 20 * BLOCK + 13
    chance = np.random.default_rng(k)
    for _ in range(20):
        scores = chance.normal(0, 1, (3, width))
        places = chance.choice(width, (3, k + 3), replace=False)
        np.put_along_axis(scores, places, 9.0, axis=1)
        scores[1, places[1, : k // 2]] = 10.0
        np.testing.assert_array_equal(top_ids(scores, k), sorted_ids(scores, k))
        for arrays in ARRAYS.values():
            np.testing.assert_array_equal(arrays.best(arrays.native(scores), k, NOBODY).ids, sorted_ids(scores, k))


@each_floor
@pytest.mark.parametrize("width", [5, 20 * BLOCK + 13])
@pytest.mark.parametrize("values", [3, 400])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_the_best_that_are_not_banned(arrays: Any, width: int, values: int, k: int) -> None:
    """Of ids, or of each row's own, the likeliest among them, and with ties across the border."""
    scores = draw_logits(7, 3, width, values, "float64")
    likeliest = np.unique(scores.argmax(axis=1))[:3]
    mask = np.zeros(scores.shape, dtype=bool)
    mask[:, likeliest] = True
    for banned in (likeliest, mask):
        best = arrays.best(arrays.native(scores), k, banned)
        left = np.where(mask, -np.inf, scores)
        finite = np.isfinite(best.log_probs)
        np.testing.assert_array_equal(np.where(finite, best.ids, -1), np.where(finite, sorted_ids(left, k), -1))
        assert (finite.sum(axis=1) == np.minimum(k, (~mask).sum(axis=1))).all()
        wide = np.take_along_axis(left, best.ids, axis=1) - np.logaddexp.reduce(scores, axis=1)[:, None]
        np.testing.assert_allclose(best.log_probs, wide, rtol=1e-12, atol=1e-12)


@each_floor
def test_the_banned_keep_their_probability_and_are_not_chosen(arrays: Any) -> None:
    logits = np.log([[0.5, 0.1, 0.3, 0.1]])
    best = arrays.best(arrays.native(logits), 3, np.array([0, 3]))
    np.testing.assert_array_equal(best.ids[:, :2], [[2, 1]])
    np.testing.assert_allclose(np.exp(best.log_probs), [[0.3, 0.1, 0.0]], atol=1e-15)
    np.testing.assert_allclose(np.exp(logits), [[0.5, 0.1, 0.3, 0.1]])  # the model's own array is as it was


@each_floor
def test_log_prob(arrays: Any) -> None:
    logits = draw_logits(1, 6, 11, 0).reshape(2, 3, 11)
    ids = np.array([[0, 5, 10], [3, 3, 7]])
    found = arrays.log_prob(arrays.native(logits), ids)
    for row in range(2):
        for step in range(3):
            expected = logits[row, step, ids[row, step]] - np.log(np.exp(logits[row, step]).sum())
            np.testing.assert_allclose(found[row, step], expected)
    assert found.dtype == np.float64


@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=9))
def test_probabilities_of_extreme_logits(values: list[float]) -> None:
    """N06: log-probabilities are never above 0 and never NaN; below a million they sum to 1."""
    logits = np.array([values])
    for arrays in ARRAYS.values():
        ids = np.arange(len(values))[None]
        log_probs = arrays.log_prob(arrays.native(np.repeat(logits[:, None], len(values), 1)), ids)[0]
        assert (log_probs <= 0).all() and not np.isnan(log_probs).any()
        if max(map(abs, values)) < 1e6:
            np.testing.assert_allclose(np.exp(log_probs).sum(), 1, rtol=1e-6)


def test_log_sum_exp() -> None:
    np.testing.assert_allclose(log_sum_exp(np.array([[1e4, 1e4], [-1e4, -1e4]])), [1e4 + np.log(2), -1e4 + np.log(2)])
    assert np.isnan(log_sum_exp(np.array([np.inf, 0.0]))) and np.isnan(log_sum_exp(np.array([np.nan, 0.0])))


@pytest.mark.parametrize("near", [1, 20, 1 << 18])
def test_log_sum_exp_by_strips(near: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sequencing_np.arrays.NEAR", near)
    logits = np.random.default_rng(1).normal(0, 9, size=(3, 5, 7))
    for some in (logits, logits[:, 0], logits[0, 0], logits[:0]):
        before = some.copy()
        np.testing.assert_allclose(log_sum_exp(some), torch.logsumexp(torch.from_numpy(some), dim=-1), rtol=1e-12)
        assert np.array_equal(some, before)


# --- draws ----------------------------------------------------------------------------------------------------------


def draw_many(arrays: Any, logits: list[float], top_k: int = 0, top_p: float = 1.0, count: int = 20000) -> np.ndarray:
    uniform = np.random.default_rng(7).random(count)
    native = arrays.native(np.tile(np.array(logits), (count, 1)))
    return np.bincount(arrays.draw(native, uniform, Kept(top_k, top_p)), minlength=len(logits)) / count


@each_floor
@pytest.mark.parametrize(
    ("top_k", "top_p", "expected"),
    [
        (0, 1.0, [0.1, 0.4, 0.2, 0.3]),
        (2, 1.0, [0, 4 / 7, 0, 3 / 7]),
        (1, 1.0, [0, 1, 0, 0]),
        (99, 1.0, [0.1, 0.4, 0.2, 0.3]),
        (0, 0.39, [0, 1, 0, 0]),
        (0, 0.41, [0, 4 / 7, 0, 3 / 7]),
        (0, 1e-9, [0, 1, 0, 0]),
        (0, 0.75, [0, 4 / 9, 2 / 9, 3 / 9]),
        (2, 0.95, [0, 4 / 7, 0, 3 / 7]),
    ],
)
def test_draws_follow_their_distribution(arrays: Any, top_k: int, top_p: float, expected: list[float]) -> None:
    shares = draw_many(arrays, list(np.log([0.1, 0.4, 0.2, 0.3])), top_k, top_p)
    np.testing.assert_allclose(shares, expected, atol=0.02)
    np.testing.assert_array_equal(shares > 0, np.array(expected) > 0)


@given(st.integers(0, 10**6), st.sampled_from([2, 7, 50]), st.sampled_from([0, 1, 3, 60]), st.integers(1, 997))
def test_both_floors_draw_the_same(seed: int, width: int, top_k: int, share: int) -> None:
    top_p = share / 997  # never the mass of some of `width` equals, where rounding would decide
    logits = draw_logits(seed, 9, width, seed % 4)
    uniform = np.random.default_rng(seed).random(9)
    drawn = [arrays.draw(arrays.native(logits), uniform, Kept(top_k, top_p)) for arrays in ARRAYS.values()]
    np.testing.assert_array_equal(*drawn)


@each_floor
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_has_no_probability_is_never_drawn(arrays: Any, dtype: str) -> None:
    """Also by a number so near to 1 that float32 cannot tell it from 1."""
    logits = np.array([[-np.inf, 0.3, -np.inf, 0.1, -np.inf], [-np.inf, -np.inf, -np.inf, -np.inf, 2.0]] * 50, dtype)
    for uniform in (0.0, np.nextafter(1, 0), 0.5):
        ids = arrays.draw(arrays.native(logits), np.full(100, uniform), Kept())
        assert set(ids[::2]) <= {1, 3} and set(ids[1::2]) == {4}


@each_floor
def test_a_row_of_nan_harms_no_other(arrays: Any) -> None:
    logits = np.array([[0.0, 50.0, 0.0], [np.nan, 0.0, 0.0], [0.0, 0.0, 50.0], [np.nan] * 3])
    ids = arrays.draw(arrays.native(logits), np.full(4, 0.5), Kept())
    assert (ids[0], ids[2]) == (1, 2) and all(0 <= token < 3 for token in ids)
    best = arrays.best(arrays.native(logits), 2, NOBODY)
    assert best.ids[0, 0] == 1 and best.ids[2, 0] == 2
    assert np.isnan(best.log_probs[[1, 3]]).all() and np.isfinite(best.log_probs[[0, 2]]).all()


@each_floor
def test_there_and_back(arrays: Any) -> None:
    host = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(arrays.host(arrays.native(host.T)), host.T)
    parts = [np.full((2, 1, 3), step) for step in range(3)]
    joined = arrays.host(arrays.join([arrays.native(part) for part in parts]))
    np.testing.assert_array_equal(joined, np.concatenate(parts, axis=1))
    same(arrays.join([arrays.native(host)]), host)


@each_floor
def test_means_of_what_several_say(arrays: Any) -> None:
    """Against sums of probabilities; what is impossible for one, or for all, and what is far too small for exp."""
    parts = [np.array([[0.0, 1.0, -np.inf, -np.inf]]), np.array([[2.0, -1.0, 3.0, -np.inf]])]
    said = [arrays.log_softmax(arrays.native(part)) for part in parts]
    probs = [np.exp(part) / np.exp(part).sum() for part in parts]
    for one, other in zip(said, probs, strict=True):
        np.testing.assert_allclose(np.exp(arrays.host(one)), other, rtol=1e-12)
    mean = arrays.host(arrays.log_mean_exp(said))
    np.testing.assert_allclose(np.exp(mean), np.mean(probs, axis=0), rtol=1e-12)
    assert mean[0, 3] == -np.inf
    tiny = [arrays.native(np.array([[-2000.0, -5000.0]])), arrays.native(np.array([[-2000.0, -4000.0]]))]
    np.testing.assert_allclose(arrays.host(arrays.log_mean_exp(tiny)), [[-2000.0, -4000.0 - np.log(2)]], rtol=1e-12)


def test_a_gpu_is_sent_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x: done.append("pinned") or x)
    monkeypatch.setattr(torch.Tensor, "to", lambda x, device, non_blocking: done.append((device.type, non_blocking)))
    for kind in ("cuda", "cpu"):
        TorchArrays(torch.device(kind)).native(np.zeros(3))
    assert done == ["pinned", ("cuda", True), ("cpu", True)]
