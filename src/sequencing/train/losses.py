"""What a batch costs: it is read, answered under a teacher, and compared with its target."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sequencing.head import Unspoken
from sequencing.loss import OfFeatures, OfLogits, Wanted, coverage_loss
from sequencing.model import Model
from sequencing.optim import teacher_rate
from sequencing.precision import PRECISIONS
from sequencing.profiling import part
from sequencing.relaxed import RELAXED, RelaxedFeedBack
from sequencing.train.session import Session
from sequencing.train_config import SamplingConfig
from sequencing_np.batch import Batch
from sequencing_np.decode import dynamic_decode
from sequencing_np.feedback import FeedBack, TrainingFeedBack
from sequencing_np.mixer import Drawing
from sequencing_np.picking import Pick, Sampler, argmax, banned_ids
from sequencing_np.state import Memory, Output


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
    wanted = Wanted(ids, settings.label_smoothing, settings.r_drop / 2, z_loss=settings.z_loss)
    low, feedback, decoder = PRECISIONS[session.precision], teacher(session, batch, coins), model.decoder
    stepwise = feedback.teacher_rate < 1 and not settings.teacher.two_passes
    late = not stepwise and decoder.linear  # nobody asks for the logits before the loss does
    with torch.autocast(mask.device.type, low, enabled=low is not None):
        if session.teacher:
            with part("  teacher"):
                wanted = wanted._replace(taught=session.teacher.teach(single, places))
        with part("  encoder"):
            memory = model.encode(batch.source, batch.source_mask)
        if settings.teacher.two_passes and feedback.teacher_rate < 1:
            feedback = second_pass(model, batch, memory, feedback)
        with part("  decoder"):
            output = dynamic_decode(Unspoken(decoder) if late else decoder, memory, relaxed(settings.teacher, feedback))
        said = output.logits.reshape(passes, -1, output.logits.shape[-1])[:, places]
        last = decoder.head.output
        with part("  output layer and loss"):
            judged = OfFeatures.apply(said, last.weight, last.bias, wanted) if late else OfLogits.apply(said, wanted)
    whole, total = judged
    if settings.coverage:
        whole = whole + settings.coverage * coverage_loss(output.alignment.float(), mask)
    return Losses(whole / passes, total / passes)


def relaxed(settings: SamplingConfig, feedback: TrainingFeedBack) -> FeedBack[Output]:
    """The same feedback; own words that are to be learnt through are read as mixtures."""
    relax = RELAXED[settings.relaxed]
    if relax is None or feedback.teacher_rate == 1:
        return feedback
    return RelaxedFeedBack(feedback, relax, settings.temperature, settings.draw)


def second_pass(model: Model, batch: Batch, memory: Memory, first: TrainingFeedBack) -> TrainingFeedBack:
    """Scheduled sampling in two passes (Mihaylova and Martins 2019; Duckworth et al. 2019), each all words at once.

    The first, without a gradient, reads the target and says what would follow each of its words; the second reads
    these words where the coins of `first` do not show the target's. So an own word follows the target's words, and
    not own ones.
    """
    device, (rows, length) = model.arrays.device, batch.target.shape
    low, enabled = torch.get_autocast_dtype(device.type), torch.is_autocast_enabled(device.type)
    with torch.no_grad(), torch.autocast(device.type, low, enabled, cache_enabled=False):  # or it kept weights without
        logits = dynamic_decode(model.decoder, memory, TrainingFeedBack(batch.target, first.special)).logits
    banned = banned_ids(first.special, False)
    own = first.pick(model.arrays, logits.flatten(0, 1), banned, np.arange(rows * length)).ids.reshape(rows, length)
    return TrainingFeedBack(np.where(first.coins(), batch.target, own), first.special)


def teacher(session: Session, batch: Batch, coins: np.random.Generator) -> TrainingFeedBack:
    """The feedback of a training step."""
    settings = session.config.train.teacher
    count = batch.target.size if settings.two_passes else len(batch.target)  # who draws: each place, or each sentence
    keys = coins.integers(2**64, size=count, dtype="uint64") if settings.draw else None
    pick: Pick = argmax
    if keys is not None:
        pick = Drawing(keys) if settings.two_passes else Sampler(keys)
    return TrainingFeedBack(
        batch.target,
        session.translator.target_vocab.special,
        teacher_rate(session.step + 1, settings),
        pick=pick,
        per_sentence=settings.per_sentence,
        generator=coins,
    )
