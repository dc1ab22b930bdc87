"""Which source token each token of a given translation comes from: the attention while the translation is taught.

One parallel pass a batch, without logits. A row of links is what `translate --alignments` writes of an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from sequencing.head import Unspoken
from sequencing.inspection.attention_maps import Layer, looks_at_source, watched, whole
from sequencing_np.answers import links
from sequencing_np.batch import Batch, PadIds, in_order, length_batches, make_batch
from sequencing_np.decode import dynamic_decode
from sequencing_np.errors import SearchError, UsageError
from sequencing_np.feedback import TrainingFeedBack
from sequencing_np.reversal import reading_order
from sequencing_np.translate import Translator
from sequencing_np.translation import fitted


class Look(NamedTuple):
    """Whose attention counts, from 1; 0 leaves it open."""

    layer: int = 0  # 0: what the decoder itself says, the last layer's or (convolutions) the layers' mean
    head: int = 0  # 0: the mean of all heads; with a head and no layer, the last layer's


def align(
    translator: Translator,
    pairs: Sequence[tuple[str, str]],
    look: Look = Look(),
    batch_tokens: int = 4096,
    first: int = 0,
) -> list[str | None]:
    """The links of (source, target) pairs, in their order; None where the model says NaN.

    `first` is the place of the first pair in the text, for errors that tell its line.
    """
    layer = chosen_layer(translator, look)
    target_vocab = translator.target_vocab
    encoded = [
        (translator.read(source, number), target_vocab.encode(target))
        for number, (source, target) in enumerate(pairs, first + 1)
    ]
    lengths = np.array([[len(source), len(target)] for source, target in encoded]).reshape(-1, 2)
    pads = PadIds(translator.source_vocab.special.pad, target_vocab.special.pad)
    vocabs, groups = (target_vocab, translator.source_vocab), []
    for rows in length_batches(lengths, batch_tokens):
        weights = taught_attention(translator, make_batch([encoded[row] for row in rows], pads), layer, look.head)
        found = []
        for row, alignment in zip(rows, weights, strict=True):
            source, target = lengths[row]
            said, read = (reading_order(*side) for side in zip(vocabs, encoded[row][::-1], strict=True))
            own = fitted(alignment[: target - 1], source)[said[:-1]][:, read]
            found.append(None if np.isnan(own).any() else links(own, source - 1))
        groups.append((rows, found))
    return in_order(groups, len(pairs))


def chosen_layer(translator: Translator, look: Look) -> Layer | None:
    """The layer that is asked, None for what the decoder itself says. UsageError where there is no such one."""
    found = looks_at_source(translator.model)
    if not found:
        raise SearchError("this model does not look at single source tokens, so nothing can be aligned")
    if look.layer > len(found):
        raise UsageError(f"--layer {look.layer}: the decoder has {len(found)} that look at the source; count from 1")
    if not look.layer and not look.head:
        return None
    return found[look.layer - 1]


@torch.inference_mode()
def taught_attention(
    translator: Translator, batch: Batch, layer: Layer | None, head: int
) -> np.ndarray:  # -> (B, T, S)
    """The attention of a batch of which every token is given."""
    model = translator.model
    feedback = TrainingFeedBack(batch.target, translator.target_vocab.special)
    with watched([layer] if layer else []) as maps:
        memory = model.encode(batch.source, batch.source_mask)
        alignment = dynamic_decode(Unspoken(model.decoder), memory, feedback).alignment
    if layer:
        weights = whole(maps[layer.name])
        if head > weights.shape[1]:
            raise UsageError(f"--head {head}: {layer.name} has {weights.shape[1]} of them; count from 1")
        alignment = weights[:, head - 1] if head else weights.mean(dim=1)
    return model.arrays.host(alignment)
