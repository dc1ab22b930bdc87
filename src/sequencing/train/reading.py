"""Samples, read again with a gradient: which rows, how they are put together, and what the decoder makes of them.

Rows of like length are read together, as many words at once as the decoder can. What they are worth is not known here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sequencing.distillation import Taught
from sequencing.head import Unspoken
from sequencing.layers import short
from sequencing.loss import OfFeatures, OfLogits
from sequencing.policy import Objective
from sequencing.train_config import ObjectiveConfig
from sequencing_np.batch import Batch
from sequencing_np.decode import dynamic_decode
from sequencing_np.feedback import TrainingFeedBack
from sequencing_np.mixer import Samples
from sequencing_np.special import Special
from sequencing_np.state import Memory


class Read(NamedTuple):
    """Rows that are read with a gradient: m of each sentence, the samples first, then its target where it is needed."""

    ids: np.ndarray  # (B, m, T)
    real: np.ndarray  # (B, m, T)
    own: np.ndarray  # (B, m, T)  what is the model's own, or stands in its place in the target

    def ids_at(self, places: np.ndarray, arrays: Any) -> Tensor:  # (N,) -> (N,)
        """The ids at some places, counted through the rows."""
        found: Tensor = arrays.native(self.ids.reshape(-1)[places])
        return found


def to_read(
    batch: Batch, drawn: Samples, start: np.ndarray, objective: ObjectiveConfig, row: Objective, pad: int
) -> Read:
    """The samples, and the target where it is a candidate or taught beside them."""
    samples = (drawn.ids, drawn.real, drawn.own)
    parts = [tuple(part[:, : objective.samples] for part in samples)]
    if (row.candidates and objective.with_target) or objective.cross_entropy:
        own = batch.target_mask & (np.arange(batch.target.shape[1]) >= start[:, None])
        parts.append(tuple(part[:, None] for part in (batch.target, batch.target_mask, own)))
    width = max(part[0].shape[2] for part in parts)
    read = Read(*(np.concatenate([wide(x, width) for x in each], axis=1) for each in zip(*parts, strict=True)))
    return read._replace(ids=np.where(read.real, read.ids, pad))


def wide(x: np.ndarray, width: int) -> np.ndarray:  # (B, n, T) -> (B, n, width)
    """Zeros, or false, behind the end."""
    return np.pad(x, ((0, 0), (0, 0), (0, width - x.shape[2])))


def spread(own: np.ndarray, read: Read) -> np.ndarray:  # (B, n, T) -> (B, m, T)
    """The same places among all rows that are read."""
    found = np.zeros_like(read.own)
    found[:, : own.shape[1]] = own
    return found


class Places(NamedTuple):
    """Where k rows of a sentence speak: N places. Rows whose words before are the same speak at one place."""

    at: np.ndarray  # (N,) counted through all rows that are read
    tokens: np.ndarray  # (N, k) counted through (B, k, T); where a row does not speak, the token of one that does
    there: np.ndarray  # (N, k) bool: whether it speaks
    ends: np.ndarray  # (B,) where those of each sentence end


def places_of(read: Read, own: np.ndarray, shared: bool) -> Places:  # (B, k, T)
    """The places of the tokens `own`, sentence by sentence; not `shared`: one for each token."""
    count = own.shape[1]
    first = first_alike(read.ids[:, :count], own) if shared else np.broadcast_to(np.arange(count)[:, None], own.shape)
    leading = own & (first == np.arange(count)[:, None])
    number = np.cumsum(leading).reshape(own.shape) - 1
    sentence, row, step = np.nonzero(own)
    place = number[sentence, first[own], step]
    tokens = np.repeat(np.flatnonzero(leading)[:, None], count, axis=1)
    tokens[place, row] = np.flatnonzero(own)
    there = np.zeros(tokens.shape, dtype=bool)
    there[place, row] = True
    return Places(np.flatnonzero(spread(leading, read)), tokens, there, np.cumsum(leading.sum(axis=(1, 2))))


def first_alike(ids: np.ndarray, own: np.ndarray) -> np.ndarray:  # (B, k, T), (B, k, T) -> (B, k, T)
    """At each token of its own, a row's first companion that speaks there too, after the same words."""
    alike = np.ones((*ids.shape[:2], *ids.shape[1:]), dtype=bool)  # (B, k, k, T)
    same = ids[:, :, None, :-1] == ids[:, None, :, :-1]
    np.logical_and.accumulate(same, axis=3, out=alike[..., 1:])
    found: np.ndarray = (alike & own[:, None]).argmax(axis=2)
    return found


def taught_places(read: Read, start: np.ndarray, objective: ObjectiveConfig) -> list[tuple[float, np.ndarray]]:
    """Weights of cross entropy, and where it is taken: before words of one's own (once), and all over the target."""
    before, whole = np.zeros_like(read.real), np.zeros_like(read.real)
    before[:, 0] = np.arange(read.ids.shape[2]) < start[:, None]
    whole[:, -1] = read.real[:, -1]
    places = [(1.0, np.flatnonzero(before))]
    return [*places, (objective.cross_entropy, np.flatnonzero(whole))] if objective.cross_entropy else places


def first_same(ids: np.ndarray) -> np.ndarray:  # (B, m, T) -> (B, m)
    """The first row of its sentence that is the same, for each row."""
    found: np.ndarray = (ids[:, :, None] == ids[:, None]).all(axis=3).argmax(axis=2)
    return found


SHORT = (0.6, 0.9)  # shares of the rows, the shortest first, that are read together: so little of it is padding
FEW = 64  # rows that are read at once


class Said:
    """What the decoder makes of all rows before its last matrix; with copying or mixtures, its logits.

    Rows of a sentence that are the same are read once, but where dropout makes each hear something else (`shared`).
    """

    def __init__(self, decoder: Any, memory: Memory, read: Read, special: Special, shared: bool) -> None:
        self.decoder, self.late = decoder, decoder.linear
        each, width = read.ids.shape[1:]
        rows = np.arange(read.ids.shape[0] * each)
        ids, lengths = read.ids.reshape(-1, width), read.real.sum(axis=2).reshape(-1)
        sentences = rows // each
        leaders = first_same(read.ids).reshape(-1) + each * sentences if shared else rows
        distinct = np.flatnonzero(leaders == rows)
        distinct = distinct[np.argsort(lengths[distinct], kind="stable")]
        cuts = [round(len(distinct) * share) for share in SHORT] if len(distinct) > FEW else []
        self.index = np.zeros(ids.shape, dtype=np.int64)  # of each word among the features
        features, heard, count = [], [], 0
        for part in np.split(distinct, cuts):
            longest = int(lengths[part].max())
            feedback = TrainingFeedBack(ids[part, :longest], special, sentences=sentences[part])
            output = dynamic_decode(Unspoken(decoder) if self.late else decoder, memory, feedback)
            self.index[part, :longest] = count + np.arange(len(part) * longest).reshape(len(part), longest)
            count += len(part) * longest
            features.append(output.logits.flatten(0, 1))
            heard.append(features[-1] if self.late else decoder.head.before(output.hidden).flatten(0, 1))
        self.index = self.index[leaders]
        self.features, self.heard = torch.cat(features), torch.cat(heard).detach()  # (N, F)

    def at(self, places: np.ndarray) -> Tensor:
        """Where the words at some places of the rows stand among the features."""
        found: Tensor = self.decoder.arrays.native(self.index.reshape(-1)[places])
        return found

    def cost(self, places: Tensor, wanted: Any) -> tuple[Tensor, Tensor]:
        """What `wanted` makes of the places: two sums, the first with its gradient."""
        if not len(places):  # the model says NaN: so does its loss
            nothing = self.features.sum() * torch.nan
            return nothing, nothing.detach()
        features, last = self.features[places][None], self.decoder.head.output
        judged = (
            OfFeatures.apply(features, last.weight, last.bias, wanted)
            if self.late
            else OfLogits.apply(features, wanted)
        )
        return judged[0], judged[1]

    def foreseen(self, baseline: Any, places: Tensor, own: Tensor) -> Tensor:  # (N,), (B, n, T) -> (B, n, T)
        """What the baseline expects to be earned, at the places where `own` is 1."""
        with torch.autocast(self.features.device.type, enabled=False):
            found: Tensor = baseline(self.heard[places])
        return torch.zeros_like(own, dtype=found.dtype).masked_scatter(own > 0, found)


@torch.no_grad()
def taught_by(model: Any, batch: Batch, read: Read, special: Special, places: np.ndarray) -> Taught:
    """What another model says at some places of the same rows."""
    said = Said(model.decoder, model.encode(batch.source, batch.source_mask), read, special, shared=True)
    features, last = said.features[said.at(places)], model.decoder.head.output
    if not said.late:
        return Taught(features, None, None, 1.0, 1.0)
    return Taught(short(features), short(last.weight), short(last.bias), 1.0, 1.0)
