"""What a batch costs: it is read, answered under a teacher, and compared with its target."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sequencing.head import Unspoken
from sequencing.loss import OfFeatures, OfLogits, Wanted, coverage_loss
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
    told: Tensor | None = None  # (TOLD,)  of samples, where it learns from them


def losses_of(session: Session, batch: Batch, coins: np.random.Generator) -> Losses:
    """The losses of a batch; with `r_drop` its sentences are read and answered twice, under different dropout."""
    settings, model = session.config.train, session.model
    passes, single = 1, batch
    if settings.r_drop:
        passes, batch = 2, Batch(*(np.concatenate([part, part]) for part in batch))
    mask = model.arrays.native(batch.target_mask)
    places = model.arrays.native(np.flatnonzero(single.target_mask))
    ids = model.arrays.native(batch.target).flatten()[places]
    wanted = Wanted(ids, settings.label_smoothing, settings.r_drop / 2)
    low, feedback, decoder = PRECISIONS[settings.precision], teacher(session, batch, coins), model.decoder
    late = feedback.teacher_rate == 1 and not decoder.copy  # nobody asks for the logits before the loss does
    with torch.autocast(mask.device.type, low, enabled=low is not None):
        if session.teacher:
            wanted = wanted._replace(taught=session.teacher.teach(single, places))
        memory = model.encode(batch.source, batch.source_mask)
        output = dynamic_decode(Unspoken(decoder) if late else decoder, memory, feedback)
        said = output.logits.view(passes, -1, output.logits.shape[-1])[:, places]
        last = decoder.head.output
        judged = OfFeatures.apply(said, last.weight, last.bias, wanted) if late else OfLogits.apply(said, wanted)
    whole, total = judged
    if settings.coverage:
        whole = whole + settings.coverage * coverage_loss(output.alignment.float(), mask)
    return Losses(whole / passes, total / passes)


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
