"""How likely a model finds each token of a text, what it would rather have said, and where it looks meanwhile.

One pass over the whole text, which the house's laws make equal to a search's steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from sequencing.inspection.attention_maps import Layer, layers, watched, whole
from sequencing_np.arrays import log_sum_exp
from sequencing_np.batch import pad
from sequencing_np.decode import dynamic_decode
from sequencing_np.feedback import TrainingFeedBack
from sequencing_np.translate import Translator


class Chance(NamedTuple):
    """A token among all that could stand in its place."""

    token: int
    log_prob: float  # natural logarithm
    rank: int  # 1: the likeliest; of equal ones the lower id comes first
    entropy: float  # of all tokens' probabilities there, in nats: 0 is certain
    likeliest: int
    its_probability: float

    @property
    def probability(self) -> float:
        """From 0 to 1."""
        return math.exp(self.log_prob)


class Look(NamedTuple):
    """Where one layer looked."""

    layer: Layer
    weights: np.ndarray  # (H, T, S)


class Told(NamedTuple):
    """What a model thinks of a text that it is told."""

    chances: list[Chance]  # a token each, the end symbol's last
    looks: list[Look]

    @property
    def log_prob(self) -> float:
        """Of the whole text; NaN where the model says that."""
        return sum(chance.log_prob for chance in self.chances)


def told(translator: Translator, source: Sequence[int], target: Sequence[int], look: bool = True) -> Told:
    """What the model thinks of `target` (ids, with the end symbol where there is one) as a translation of `source`."""
    model = translator.model
    ids, words = pad([source], translator.source_vocab.special.pad), np.array([target], dtype=np.int64)
    chosen = layers(model) if look else []
    with model.arrays.asking(), watched(chosen) as maps:
        memory = model.encode(*ids)
        feedback = TrainingFeedBack(words, translator.target_vocab.special)
        logits = dynamic_decode(model.decoder, memory, feedback).logits
        chances = chances_of(model.arrays.host(logits)[0].astype(np.float64), words[0])
    looks = [Look(layer, model.arrays.host(whole(maps[layer.name]))[0]) for layer in chosen if maps[layer.name]]
    return Told(chances, looks)


def chances_of(logits: np.ndarray, tokens: np.ndarray) -> list[Chance]:  # (T, V), (T,) -> T chances
    """Probability, rank and entropy of each token."""
    log_probs = logits - log_sum_exp(logits)[:, None]
    probs = np.exp(log_probs)
    entropies = -np.where(probs > 0, probs * np.where(probs > 0, log_probs, 0.0), 0.0).sum(axis=1)
    own = np.take_along_axis(logits, tokens[:, None], axis=1)
    before = np.arange(logits.shape[1]) < tokens[:, None]
    ranks = 1 + (logits > own).sum(axis=1) + ((logits == own) & before).sum(axis=1)
    best = logits.argmax(axis=1)
    steps = np.arange(len(tokens))
    broken = np.isnan(log_probs).any(axis=1)
    parts = (log_probs[steps, tokens], ranks, np.where(broken, np.nan, entropies), best, probs[steps, best])
    return [Chance(*row) for row in zip(tokens.tolist(), *(part.tolist() for part in parts), strict=True)]
