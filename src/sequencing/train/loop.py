"""The training loop: a batch, a loss, a step; now and then a look at held-out data and a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sequencing.data.prefetch import prefetched
from sequencing.data.sampling import Placed
from sequencing.evaluate import METRICS
from sequencing.loss import NORMALIZERS, coverage_loss, cross_entropy, disagreement
from sequencing.optim import clip, learning_rate, teacher_rate
from sequencing.process import interruptible
from sequencing.run_config import RunConfig
from sequencing.train.session import Session, open_session
from sequencing.train.settings import PRECISIONS
from sequencing.train.tally import Stepped, Tally
from sequencing.train.validation import validate
from sequencing_np.batch import Batch
from sequencing_np.decode import dynamic_decode
from sequencing_np.errors import SequencingError
from sequencing_np.feedback import Sampler, TrainingFeedBack, argmax
from sequencing_np.model_folder import write_model_folder


class Interrupted(SequencingError):
    """Training was asked to stop; a checkpoint was saved."""

    exit_code = 130


def train(config: RunConfig, folder: str | Path, accept_changed_data: bool = False) -> None:
    """Train a new run in `folder`, or continue the one it holds. Raises SequencingError; safe to interrupt."""
    session = open_session(config, Path(folder), accept_changed_data)
    with session.progress, interruptible() as asked:
        try:
            run(session, asked)
        finally:
            for log in session.logs.values():
                log.close()


def run(session: Session, asked: list[int]) -> None:
    """The loop itself. `asked` fills when the process is told to stop."""
    settings = session.config.train
    if finished(session) and session.looked == session.step:
        session.progress.say(done(session))
        return
    first = session.step
    saved_at = time.monotonic()
    begin = saved_at - session.seconds
    for batch, position in waited_for(session):
        if finished(session):
            break
        stepped = update(session, batch)
        session.step, session.position = session.step + 1, position
        session.seconds = time.monotonic() - begin
        session.tally.add(batch, stepped)
        if session.step % settings.log_every == 0:
            log_training(session)
        if session.step % settings.validate_every == 0:
            look(session)
            session.seconds = time.monotonic() - begin
        if asked:
            session.save()
            raise Interrupted(f"stopped after step {session.step:,}; the same command continues {session.folder}")
        if time.monotonic() - saved_at > 60 * settings.save_minutes:
            session.save()
            saved_at = time.monotonic()
    if session.looked != session.step:
        look(session)
    elif session.step == first:  # the epochs were over before
        session.progress.say(done(session))
        return
    session.seconds = time.monotonic() - begin
    session.save()
    session.progress.say(f"done after {session.step:,} steps, {session.seconds / 60:.1f} minutes: {session.folder}")


def waited_for(session: Session) -> Iterator[Placed]:
    """The batches, made ahead; the time that the model waits for one is noted."""
    workers = session.config.data.workers
    with closing(prefetched(session.stream, session.position, workers=workers)) as batches:
        while True:
            begin = time.monotonic()
            placed = next(batches, None)
            session.tally.waited += time.monotonic() - begin
            if placed is None:
                return
            yield placed


def done(session: Session) -> str:
    """What is said of a run that has nothing left to do."""
    return f"{session.folder} is done: {session.step:,} steps. Raise train.steps (or the like) to go on"


def finished(session: Session) -> bool:
    """Whether steps, minutes or patience are used up (epochs end the stream of batches by themselves)."""
    settings = session.config.train
    steps = settings.steps and session.step >= settings.steps
    minutes = settings.minutes and session.seconds >= 60 * settings.minutes
    return bool(steps or minutes or (settings.patience and session.worse >= settings.patience))


def update(session: Session, batch: Batch) -> Stepped:
    """One step of the optimiser."""
    settings, model = session.config.train, session.model
    for group in session.optimizer.param_groups:
        group["lr"] = learning_rate(session.step + 1, settings)
    model.train()
    losses = losses_of(session, batch)
    session.optimizer.zero_grad(set_to_none=True)
    losses.whole.backward()
    norm = clip(model.parameters(), settings.clip)
    session.optimizer.step()
    if session.average:
        session.average.update()
    return Stepped(losses.cross_entropy.detach(), norm.detach())


class Losses(NamedTuple):
    """What a batch costs."""

    whole: Tensor  # ()  with all that is added to it, normalised: what is made small
    cross_entropy: Tensor  # ()  the sum over the target's tokens


def losses_of(session: Session, batch: Batch) -> Losses:
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
        output = dynamic_decode(model.decoder, memory, teacher(session, batch))
    loss = total = cross_entropy(output.logits, target, mask, settings.label_smoothing)
    if settings.coverage:
        loss = loss + settings.coverage * coverage_loss(output.alignment.float(), mask)
    if settings.r_drop:
        apart = disagreement(output.logits.unflatten(0, (2, -1)), mask.chunk(2)[0])
        loss = loss + settings.r_drop / 2 * apart
    return Losses(loss / NORMALIZERS[settings.normalize](mask), total / passes)


def teacher(session: Session, batch: Batch) -> TrainingFeedBack:
    """The feedback of a training step."""
    settings = session.config.train.teacher
    keys = session.coins.integers(2**64, size=len(batch.target), dtype="uint64") if settings.draw else None
    pick = Sampler(keys) if keys is not None else argmax
    return TrainingFeedBack(
        batch.target,
        session.translator.target_vocab.special,
        teacher_rate(session.step + 1, settings),
        pick=pick,
        per_sentence=settings.per_sentence,
        generator=session.coins,
    )


def log_training(session: Session) -> None:
    """What was summed up since the last line, to the bar and the files."""
    session.tally.check(session.step)
    record = {
        "kind": "train",
        "step": session.step,
        "epoch": session.position.epoch,
        "seconds": round(session.seconds, 2),
        "learning_rate": learning_rate(session.step, session.config.train),
        **session.tally.means(),
    }
    session.tally = Tally()
    session.progress.write(record)
    for name in session.logs.keys() - {"samples"}:
        session.logs[name].write(record)


def look(session: Session) -> None:
    """Validate; keep the model as `best` where it is."""
    session.tally.check(session.step)
    session.looked = session.step
    if session.held_out is None:
        return
    settings = session.config.train
    session.model.eval()
    with session.averaged():
        record, samples = validate(session.translator, session.held_out, session.config)
        score = [METRICS[settings.select] * record[settings.select], -record["loss"]]
        better = session.best is None or score > session.best
        if better:
            session.best, session.worse = score, 0
            extra = {"step": session.step, settings.select: record[settings.select]}
            write_model_folder(session.folder / "best", session.model_folder(), extra)
        else:
            session.worse += 1
    record = {"kind": "dev", "step": session.step, "seconds": round(session.seconds, 2), **record, "best": better}
    session.progress.write(record)
    for name in session.logs.keys() - {"samples"}:
        session.logs[name].write(record)
    for sample in samples:
        session.progress.write(sample)
        session.logs["samples"].write({"step": session.step, **sample})
