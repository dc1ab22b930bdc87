"""The few functions in which array libraries differ, for PyTorch. Twin of `sequencing_np.arrays`.

What leaves for the host are a few numbers a row: the best ids of a step and their log-probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from sequencing_np.arrays import BLOCK, NEAR, Best, Kept

LOG2_E = math.log2(math.e)


def strips(logits: Tensor) -> list[slice]:  # (..., N, V)
    """Parts of N rows that on a CPU stay near it from one pass over them to the next."""
    count, width = logits.shape[-2:]
    size = max(NEAR // width, 1) if logits.device.type == "cpu" else max(count, 1)
    return [slice(first, first + size) for first in range(0, count, size)]


def largest(logits: Tensor, k: int) -> tuple[Tensor, Tensor]:  # (R, V) -> (R, k), (R, k)
    """The k largest of each row and their ids, of equal ones any.

    On a CPU they are sought where they surely are, in the k blocks of columns with the largest maxima.
    """
    blocks = logits.shape[1] // BLOCK
    if logits.device.type != "cpu" or k >= blocks or blocks < 16:
        found = torch.topk(logits, k, dim=1)
        return found.values, found.indices
    whole, rest = logits[:, : blocks * BLOCK].unflatten(1, (blocks, BLOCK)), logits[:, blocks * BLOCK :]
    chosen = whole.amax(dim=2).topk(k, dim=1).indices
    near = whole.gather(1, chosen[..., None].expand(-1, -1, BLOCK)).flatten(1)
    ids = (chosen[..., None] * BLOCK + torch.arange(BLOCK)).flatten(1)
    if rest.shape[1]:
        near = torch.cat([near, rest], dim=1)
        ids = torch.cat([ids, torch.arange(blocks * BLOCK, logits.shape[1]).expand(len(ids), -1)], dim=1)
    values, places = near.topk(k, dim=1)
    return values, ids.gather(1, places)


def log_sum_exp(logits: Tensor, top: Tensor) -> Tensor:  # (..., V), (..., 1) -> (...)
    """log of the sum of exponentials over the last axis, of which `top` is the largest; NaN where that is infinite.

    In powers of two, as PyTorch's `exp` is three times as slow as its `exp2` on some processors.
    """
    powers = (logits - top).mul_(LOG2_E).exp2_()
    return powers.sum(dim=-1).log_() + top[..., 0]


def take(array: Tensor, rows: Tensor) -> Tensor:  # (R, ...), (N,) -> (N, ...)
    """Several times as fast as rows in brackets."""
    return array.index_select(0, rows)


class TorchArrays:
    """`sequencing_np.arrays.Arrays` for tensors on one device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @contextmanager
    def asking(self) -> Iterator[None]:
        with np.errstate(over="ignore", invalid="ignore"), torch.inference_mode():
            yield

    def native(self, host: np.ndarray) -> Tensor:
        """To a GPU from pinned memory: the copy waits for no work that is queued there."""
        found = torch.from_numpy(np.ascontiguousarray(host))
        return (found.pin_memory() if self.device.type == "cuda" else found).to(self.device, non_blocking=True)

    def host(self, array: Tensor) -> np.ndarray:
        known = array.float() if array.dtype == torch.bfloat16 else array  # a type that NumPy has not
        return known.detach().cpu().numpy()

    def join(self, parts: list[Tensor]) -> Tensor:  # T x (R, 1, D) -> (R, T, D)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def take(self, array: Tensor, rows: Tensor) -> Tensor:  # (R, ...), (N,) -> (N, ...)
        return take(array, rows)

    def best(self, logits: Tensor, k: int, banned: np.ndarray) -> Best:  # (R, V) -> (R, k), (R, k)
        """The k most probable ids of each row, those in `banned` left out after the softmax; ties by lower id."""
        logits = logits.detach()
        several = self.native(banned) if banned.ndim == 2 else None
        banned = banned if several is None else np.empty(0, dtype=np.int64)
        reach = min(k + 1 + len(banned), logits.shape[1])  # one more shows a tie across the border
        found = []
        for rows in strips(logits):
            part = whole = logits[rows]
            if several is not None:
                part = part.masked_fill(several[rows], -torch.inf)
            most = largest(part, reach)
            top = most[0][:, :1] if several is None else whole.amax(dim=1, keepdim=True)
            found.append((*most, log_sum_exp(whole, top)))
        values, ids, total = (self.host(torch.cat(each)) for each in zip(*found, strict=True))
        if len(banned):
            values = np.where((ids[..., None] == banned).any(axis=2), -np.inf, values)
        order = np.lexsort((ids, -values), axis=1)
        values, ids = np.take_along_axis(values, order, axis=1), np.take_along_axis(ids, order, axis=1)
        if values.shape[1] > k:
            for row in np.flatnonzero(values[:, k - 1] == values[:, k]):
                allowed = logits[row].index_fill(0, self.native(banned), -torch.inf)
                allowed = allowed if several is None else allowed.masked_fill(several[row], -torch.inf)
                ids[row, :k] = self.host(torch.sort(allowed, descending=True, stable=True).indices[:k])
        with np.errstate(invalid="ignore"):  # of infinite logits comes NaN, which a search understands
            log_probs = values[:, :k] - total[:, None]
        return Best(log_probs.astype(np.float64), ids[:, :k])

    def log_prob(self, logits: Tensor, ids: np.ndarray) -> np.ndarray:  # (R, T, V), (R, T) -> (R, T)
        """The log-probability of the given ids."""
        chosen = logits.gather(-1, self.native(ids)[..., None])[..., 0]
        return self.host(chosen - log_sum_exp(logits, logits.amax(dim=-1, keepdim=True))).astype(np.float64)

    def draw(self, logits: Tensor, uniform: np.ndarray, kept: Kept) -> np.ndarray:  # (R, V), (R,) -> (R,)
        """One id a row by inverting the cumulative distribution at `uniform`, most probable ids first."""
        order, cumulative, keep = self._ranked(logits, kept)
        reach = (cumulative * keep).amax(dim=1) * self.native(uniform).to(cumulative.dtype)
        rank = torch.minimum((cumulative <= reach[:, None]).sum(dim=1), (keep.sum(dim=1) - 1).clamp(min=0))
        return self.host(order.gather(1, rank[:, None])[:, 0])

    def _ranked(self, logits: Tensor, kept: Kept) -> tuple[Tensor, Tensor, Tensor]:  # (R, V) -> (R, V) x 3
        """The ids of each row, likeliest first, the mass up to each of them, and which are kept."""
        ranked, order = torch.sort(logits.detach(), dim=1, descending=True, stable=True)
        probs = torch.softmax(ranked, dim=1)
        cumulative = torch.cumsum(probs, dim=1)
        least = (kept.share * probs[:, :1]).clamp(min=max(kept.least, torch.finfo(probs.dtype).tiny))
        keep = (cumulative - probs < kept.mass) & (probs >= torch.minimum(least, probs[:, :1]))
        if kept.most:
            keep[:, kept.most :] = False
        return order, cumulative, keep

    def narrow(self, logits: Tensor, kept: Kept) -> Tensor:  # (R, V) -> (R, V)
        """The logits of the ids that are kept, -inf for the others."""
        order, _, keep = self._ranked(logits, kept)
        return logits.masked_fill(~torch.zeros_like(keep).scatter_(1, order, keep), -torch.inf)

    def draw_any(self, logits: Tensor, uniform: np.ndarray, banned: np.ndarray) -> Best:
        # (R, V), (R,), (N,) -> (R, 1), (R, 1)
        """One id a row by inverting the cumulative distribution at `uniform`, in the order of the ids."""
        wide = torch.promote_types(logits.dtype, torch.float32)
        probs = torch.softmax(logits.detach(), dim=1, dtype=wide)
        if len(banned):
            probs.index_fill_(1, self.native(banned), 0.0)
        cumulative = torch.cumsum(probs, dim=1)
        last = cumulative[:, -1]
        reach = torch.minimum(last * self.native(uniform).to(wide), torch.nextafter(last, torch.zeros_like(last)))
        ids = torch.searchsorted(cumulative, reach[:, None], right=True).clamp(max=logits.shape[1] - 1)
        log_probs = probs.gather(1, ids).log() + 0 * last[:, None]  # of a row with NaN comes NaN
        return Best(self.host(log_probs).astype(np.float64), self.host(ids))

    def log_softmax(self, logits: Tensor) -> Tensor:  # (..., V) -> (..., V)
        """The log-probability of every id."""
        return torch.log_softmax(logits, dim=-1)

    def log_mean_exp(self, parts: list[Tensor]) -> Tensor:  # N x (...) -> (...)
        """log of the mean of the exponentials, element by element."""
        return torch.logsumexp(torch.stack(parts), dim=0) - math.log(len(parts))
