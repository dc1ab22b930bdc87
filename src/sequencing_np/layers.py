"""The smallest parts of a model, in NumPy: linear map, look-up, layer norm, activations. Twin of `sequencing.layers`.

A class takes its weights by the names they have in PyTorch, so a weight that is missing or unknown is a
TypeError when the model is built; shapes that NumPy would silently stretch are refused. There is no dropout here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from sequencing_np.config import require


def has_avx512() -> bool:
    """Whether NumPy found AVX-512 here, for which OpenBLAS has kernels of small matrices."""
    found: Any = np.show_config(mode="dicts")
    return any(name.startswith(("AVX512", "X86_V4")) for name in found.get("SIMD Extensions", {}).get("found", ()))


WIDE = has_avx512()
ALONE = 3 if WIDE else 5  # rows that BLAS multiplies sooner one by one than together, for which it copies the matrix
NEAR = 1 << 20  # numbers of a matrix that is not read from memory for each of them
FEW = 12 if WIDE else 0  # rows to which a product is worth being made in parts, for which nothing is copied
PART = 10**6  # multiplications of such a part, OpenBLAS's bound
STRIP = 16  # rows of a matrix that are turned at once: as many floats as a line of the cache has


def turned(weight: np.ndarray) -> np.ndarray:  # (O, I) -> (I, O)
    """The transposed matrix, row after row in memory: products of few rows are then up to five times faster."""
    if weight.flags.f_contiguous:
        return weight.T
    found = np.empty(weight.shape[::-1], dtype=weight.dtype)
    for begin in range(0, len(weight), STRIP):
        found[:, begin : begin + STRIP] = weight[begin : begin + STRIP].T
    return found


class Linear:
    """x W^T + b. Where a map has no bias, `bias=None` says so: one in the weights is then an unknown weight."""

    def __init__(self, *, weight: np.ndarray, bias: np.ndarray | None) -> None:  # (out, in), (out,)
        require(weight.ndim == 2, f"a matrix has the shape {weight.shape}")
        fits = bias is None or bias.shape == weight.shape[:1]
        require(fits, f"a bias of another shape than the {len(weight)} rows of its matrix")
        self.weight, self.bias = turned(weight), bias

    def rows(self, ids: np.ndarray) -> Linear:  # (C,)
        """The map to some of its outputs."""
        return Linear(weight=self.weight.take(ids, axis=1).T, bias=None if self.bias is None else self.bias[ids])

    def __call__(self, x: np.ndarray) -> np.ndarray:  # (..., in) -> (..., out)
        product = times(x.reshape(-1, x.shape[-1]), self.weight)
        if self.bias is not None:
            product += self.bias
        return product.reshape(*x.shape[:-1], -1)


def times(x: np.ndarray, matrix: np.ndarray) -> np.ndarray:  # (N, I), (I, O) -> (N, O)
    """x W, one row, some columns or all at once: what is fastest for so many rows."""
    rows, outputs = len(x), matrix.shape[1]
    if rows == 1 or (rows <= ALONE and matrix.size <= NEAR):
        return (x[:, None] @ matrix)[:, 0]
    part = PART // max(x.size, 1) // STRIP * STRIP
    if rows > FEW or not STRIP < part < outputs:
        return x @ matrix
    product = np.empty((rows, outputs), dtype=np.result_type(x, matrix))
    for begin in range(0, outputs, part):
        np.matmul(x, matrix[:, begin : begin + part], out=product[:, begin : begin + part])
    return product


def key_map(size: int, weights: dict[str, np.ndarray] | None) -> Linear | None:
    """The map of a memory's keys to `attention_key_size`; none where that is 0."""
    require((weights is not None) == bool(size), "the weights and attention_key_size contradict each other")
    key = Linear(**weights) if weights is not None else None
    require(key is None or key.weight.shape[1] == size, f"attention_key_size {size}, the weights have another one")
    return key


class LookUpOp:
    """A row of the table for each id; where words have factors, plus a row of each factor's table.

    Then an id is of mixed radix, the word first (see factors.py). Sennrich and Haddow 2016, equation 5, put narrower
    vectors side by side; a sum of vectors of full width can say the same, each table keeping to columns of its own.

    To look up is to multiply a one-hot row with the table, and rows of numbers (see vectors.py) are multiplied.
    """

    def __init__(self, *, weight: np.ndarray, factors: list[dict[str, np.ndarray]] | None = None) -> None:  # (V, E)
        require(weight.ndim == 2, f"a table of vectors has the shape {weight.shape}")
        self.weight = weight
        self.factors = [LookUpOp(**table, factors=None) for table in factors or []]

    def words(self, ids: np.ndarray) -> np.ndarray:  # (...) -> (...)
        """The words' own ids: what remains of ids that hold factors too. The last number of a row is its id."""
        if ids.dtype.kind == "f":
            return ids[..., -1].astype(np.int64)
        return ids % len(self.weight) if self.factors else ids

    def plain(self, source: np.ndarray) -> np.ndarray:  # (...) -> (...)
        """What another table reads that has no factors: the words, or rows of numbers as they are."""
        return source if source.dtype.kind == "f" else self.words(source)

    def __call__(self, ids: np.ndarray) -> np.ndarray:  # (...) or (..., V) -> (..., E)
        if ids.dtype.kind == "f":
            flat = ids.reshape(-1, ids.shape[-1]).astype(self.weight.dtype, copy=False) @ self.weight
            return flat.reshape(*ids.shape[:-1], -1)
        if not self.factors:
            return self.weight[ids]
        ids, words = np.divmod(ids, len(self.weight))
        vectors = self.weight[words]
        for table in self.factors:
            ids, numbers = np.divmod(ids, len(table.weight))
            vectors += table.weight[numbers]
        return vectors


class PositionTable:
    """A learned vector for each position; positions past the table's end share its last row."""

    def __init__(self, count: int, size: int, *, weight: np.ndarray) -> None:  # (P, E)
        fits = weight.shape == (count, size)
        require(fits, f"a table of positions of the shape {weight.shape}, configured ({count}, {size})")
        self.weight = weight

    def __call__(self, first: np.ndarray | int, length: int) -> np.ndarray:  # (R, 1), L -> (R, L, E); 0, L -> (L, E)
        return self.weight[np.minimum(first + np.arange(length), len(self.weight) - 1)]


class LayerNorm:
    """Ba et al. 2016, equation 4, over the last axis."""

    epsilon = 1e-5

    def __init__(self, *, weight: np.ndarray, bias: np.ndarray) -> None:  # (D,), (D,)
        require(weight.ndim == 1 and weight.shape == bias.shape, f"a norm of shapes {weight.shape}, {bias.shape}")
        self.weight, self.bias = weight, bias

    def __call__(self, x: np.ndarray) -> np.ndarray:  # (..., D) -> (..., D)
        if x.size == len(self.weight):
            return self.alone(x.reshape(-1)).reshape(x.shape)
        centred = x - np.add.reduce(x, axis=-1, keepdims=True) / x.shape[-1]
        deviation = np.einsum("...d,...d->...", centred, centred)[..., None]
        deviation /= x.shape[-1]
        deviation += self.epsilon
        centred /= np.sqrt(deviation, out=deviation)
        centred *= self.weight
        centred += self.bias
        return centred

    def alone(self, x: np.ndarray) -> np.ndarray:  # (D,) -> (D,)
        """The same for a row whose mean and deviation are plain numbers, in half of the time."""
        centred = x - np.add.reduce(x) / len(x)
        centred /= (centred.dot(centred) / len(x) + self.epsilon) ** 0.5
        centred *= self.weight
        centred += self.bias
        return centred


class RMSNorm:
    """Zhang and Sennrich 2019, equation 4, over the last axis."""

    epsilon = 1e-5

    def __init__(self, *, weight: np.ndarray) -> None:  # (D,)
        require(weight.ndim == 1, f"a norm of shape {weight.shape}")
        self.weight = weight

    def __call__(self, x: np.ndarray) -> np.ndarray:  # (..., D) -> (..., D)
        mean_square = np.einsum("...d,...d->...", x, x)[..., None] / x.shape[-1]
        x = x / np.sqrt(mean_square + self.epsilon)
        x *= self.weight
        return x


NORMS: dict[str, Any] = {"layer_norm": LayerNorm, "rms_norm": RMSNorm}


def sigmoid(x: np.ndarray) -> np.ndarray:  # (...) -> (...)
    """1 / (1 + exp(-x)), in the form that cannot overflow."""
    return 0.5 * np.tanh(0.5 * x) + 0.5


def relu(x: np.ndarray) -> np.ndarray:  # (...) -> (...)
    """max(x, 0)."""
    return np.maximum(x, 0)


def gelu(x: np.ndarray) -> np.ndarray:  # (...) -> (...)
    """x times the normal distribution's mass below x, by the tanh formula of Hendrycks and Gimpel 2016."""
    inner = x * x
    inner *= 0.044715
    inner += 1
    inner *= x
    inner *= x.dtype.type((2 / np.pi) ** 0.5)
    np.tanh(inner, out=inner)
    inner += 1
    inner *= x
    inner *= 0.5
    return inner


def silu(x: np.ndarray) -> np.ndarray:  # (...) -> (...)
    """x sigmoid(x), also called swish: Ramachandran et al. 2017."""
    return x * sigmoid(x)


ACTIVATIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": relu,
    "gelu": gelu,
    "silu": silu,
    "sigmoid": sigmoid,
}


def masked_softmax(scores: np.ndarray, mask: np.ndarray) -> np.ndarray:  # (..., S), (..., S) -> (..., S)
    """Softmax over the real positions; a row without any is all zeros."""
    if mask.all() and mask.size:
        return softmax(scores)
    scores = np.where(mask, scores, np.finfo(scores.dtype).min)
    scores -= np.maximum.reduce(scores, axis=-1, keepdims=True)
    weights = np.exp(scores, out=scores)
    weights *= mask
    weights /= np.maximum(np.add.reduce(weights, axis=-1, keepdims=True), np.finfo(scores.dtype).tiny)
    return weights


def softmax(scores: np.ndarray) -> np.ndarray:  # (..., S) -> (..., S)
    """Softmax over all positions, of which there is one or more."""
    weights = scores - np.maximum.reduce(scores, axis=-1, keepdims=True)
    np.exp(weights, out=weights)
    weights /= np.add.reduce(weights, axis=-1, keepdims=True)
    return weights


def reverse(x: np.ndarray, mask: np.ndarray) -> np.ndarray:  # (B, S, ...), (B, S) -> (B, S, ...)
    """Each sentence's real tokens in reverse; the padding stays at its end."""
    length = mask.sum(axis=1)[:, None]
    position = np.arange(mask.shape[1])[None]
    order = np.where(position < length, length - 1 - position, position)
    return x[np.arange(len(x))[:, None], order]


def last(x: np.ndarray, mask: np.ndarray) -> np.ndarray:  # (B, S, D), (B, S) -> (B, D)
    """The vector at each sentence's last real token; zeros for a sentence without any."""
    length = mask.sum(axis=1)
    return x[np.arange(len(x)), np.maximum(length - 1, 0)] * (length > 0)[:, None]


def masked_mean(x: np.ndarray, mask: np.ndarray) -> np.ndarray:  # (B, S, D), (B, S) -> (B, D)
    """The mean of the real tokens' vectors; zeros for a sentence without any. `x` is zero at padding."""
    return x.sum(axis=1) / np.maximum(mask.sum(axis=1), 1)[:, None].astype(x.dtype)
