"""What a batch costs: it is read, answered under a teacher, and compared with its target."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sequencing.loss import coverage_loss, cross_entropy, disagreement
from sequencing.optim import teacher_rate
from sequencing.train.session import Session
from sequencing.train.settings import PRECISIONS
from sequencing_np.batch import Batch
from sequencing_np.decode import dynamic_decode
from sequencing_np.feedback import Sampler, TrainingFeedBack, argmax


class Losses(NamedTuple):
    """What a batch costs, summed over its target."""

    whole: Tensor  # ()  with all that is added to it: what is made small
    cross_entropy: Tensor  # ()


def losses_of(session: Session, batch: Batch, coins: np.random.Generator) -> Losses:
    """The losses of a batch; with `r_drop` its sentences are read and answered twice, under different dropout."""
    settings, model = session.config.train, session.model
    passes = 1
    if settings.r_drop:
        passes, batch = 2, Batch(*(np.concatenate([part, part]) for part in batch))
    native = model.arrays.native
    target, mask = native(batch.target), native(batch.target_mask)
    low = PRECISIONS[settings.precision]
    with torch.autocast(target.device.type, low, enabled=low is not None):
        memory = model.encode(batch.source, batch.source_mask)
        output = dynamic_decode(model.decoder, memory, teacher(session, batch, coins))
    loss = total = cross_entropy(output.logits, target, mask, settings.label_smoothing)
    if settings.coverage:
        loss = loss + settings.coverage * coverage_loss(output.alignment.float(), mask)
    if settings.r_drop:
        apart = disagreement(output.logits.unflatten(0, (2, -1)), mask.chunk(2)[0])
        loss = loss + settings.r_drop / 2 * apart
    return Losses(loss / passes, total / passes)


def teacher(session: Session, batch: Batch, coins: np.random.Generator) -> TrainingFeedBack:
    """The feedback of a training step."""
    settings = session.config.train.teacher
    keys = coins.integers(2**64, size=len(batch.target), dtype="uint64") if settings.draw else None
    pick = Sampler(keys) if keys is not None else argmax
    return TrainingFeedBack(
        batch.target,
        session.translator.target_vocab.special,
        teacher_rate(session.step + 1, settings),
        pick=pick,
        per_sentence=settings.per_sentence,
        generator=coins,
    )
