"""The training loop: a batch, a loss, a step; now and then a look at held-out data and a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing, nullcontext
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from sequencing.data.prefetch import prefetched
from sequencing.data.sampling import Position
from sequencing.distributed.joining import together
from sequencing.kept_models import keep_best, keep_last, kept_at
from sequencing.optim import is_plateau
from sequencing.process import alone, interruptible
from sequencing.records import json_line
from sequencing.run_config import RunConfig
from sequencing.run_folder import ANSWERS
from sequencing.selection import column, sign
from sequencing.train.checkpoint import latest_checkpoint
from sequencing.train.guard import RETURNS, THEN, check_weights, diverged
from sequencing.train.memory import at_validation, enough_memory
from sequencing.train.opening import open_session
from sequencing.train.session import Session
from sequencing.train.settings import begin_folder
from sequencing.train.tally import Tally
from sequencing.train.update import update
from sequencing.train.validation import validate
from sequencing_np.batch import Batch
from sequencing_np.errors import SequencingError
from sequencing_np.model_folder import write_model_folder
from sequencing_np.writing import atomic_write


class Interrupted(SequencingError):
    """Training was asked to stop; a checkpoint was saved."""

    exit_code = 130


def train(config: RunConfig, folder: str | Path, accept_changed_data: bool = False) -> None:
    """Train a new run in `folder`, or continue the one it holds. Raises SequencingError; safe to interrupt."""
    folder = Path(folder)
    begin_folder(folder)
    busy = f"{folder}: another process trains in it at this moment; wait for it, or end it"
    with together() as ranks, alone(folder, busy) if ranks.first else nullcontext():
        session = open_session(config, folder, accept_changed_data, ranks)
        with session.progress, interruptible() as asked:
            try:
                run(session, asked)
            finally:
                session.saver.waited()
                session.close()


def run(session: Session, asked: list[int]) -> None:
    """The loop itself. `asked` fills when the process is told to stop."""
    settings = session.config.train
    if finished(session) and session.looked == session.step:
        end(session)
        return
    first = session.step
    saved_at = time.monotonic()
    begin = saved_at - session.seconds
    for batches, position in waited_for(session):
        if agreed(session, finished(session)):
            break
        stepped = update(session, batches)
        session.step, session.position = session.step + 1, position
        session.seconds = time.monotonic() - begin
        session.tally.add(batches, stepped)
        if (session.guard.here or session.step % settings.log_every == 0) and session.guard.exhausted():
            go_back(session)
            continue
        if session.step % settings.log_every == 0:
            log_training(session)
        if session.step % settings.validate_every == 0:
            look(session)
            session.plateaus = told(session, session.plateaus)
            session.seconds = time.monotonic() - begin
        if agreed(session, bool(asked), anybody=True):
            session.save()
            session.saver.finish()
            raise Interrupted(f"stopped after step {session.step:,}; the same command continues {session.folder}")
        if agreed(session, time.monotonic() - saved_at > 60 * settings.save_minutes):
            session.save()
            saved_at = time.monotonic()
    if session.looked != session.step:
        look(session)
    elif session.step == first:  # the epochs were over before
        end(session)
        return
    session.seconds = time.monotonic() - begin
    session.save()
    session.saver.finish()
    session.progress.say(f"done after {session.step:,} steps, {session.seconds / 60:.1f} minutes: {session.folder}")


def agreed(session: Session, here: bool, anybody: bool = False) -> bool:
    """Whether rank 0 says so, or anybody: all ranks go on, or stop, at the same step."""
    return bool(session.ranks.total([float(here and (anybody or session.ranks.first))])[0])


def told(session: Session, number: int) -> int:
    """The number that rank 0 has, which alone validates."""
    return round(session.ranks.total([float(number if session.ranks.first else 0)])[0])


class Work(NamedTuple):
    """The batches of a step, and the position after it."""

    batches: list[Batch]
    position: Position


def waited_for(session: Session) -> Generator[Work]:
    """The batches of each step, made ahead; the time that the model waits for them is noted."""
    workers, own = session.config.data.workers, session.ranks.own(session.config.train.accumulate)
    with closing(prefetched(session.stream, session.position, own, workers)) as stream:
        while True:
            begin = time.monotonic()
            placed = list(islice(stream, len(own)))
            session.tally.waited += time.monotonic() - begin
            if not placed:
                return
            yield Work([batch for batch, _ in placed], placed[-1].position)


def end(session: Session) -> None:
    """For a run that has nothing left to do. Killed in its last save, it has still to write its last model."""
    if not session.has_last():
        session.save()
        session.saver.finish()
    session.progress.say(f"{session.folder} is done: {session.step:,} steps. Raise train.steps (or the like) to go on")


def finished(session: Session) -> bool:
    """Whether steps, minutes or patience are used up (epochs end the stream of batches by themselves)."""
    settings = session.config.train
    steps = settings.steps and session.step >= settings.steps
    minutes = settings.minutes and session.seconds >= 60 * settings.minutes
    return bool(steps or minutes or (settings.patience and session.worse >= settings.patience))


def go_back(session: Session) -> None:
    """From the last checkpoint on at half the rate, with the batches that come now; an error where there is no way.

    Saved at once: a stop from now on changes nothing.
    """
    guard = session.guard
    what = f"{guard.config.patience} updates in a row were skipped, up to step {session.step:,}"
    session.saver.finish()
    session.ranks.in_turn()
    checkpoint = latest_checkpoint(session.folder) if THEN[guard.config.then] else None
    if checkpoint is None or checkpoint.state["guard"]["returns"] >= RETURNS:
        raise diverged(what)
    position, session.tally = session.position, Tally()
    session.restore(checkpoint)
    session.position = position
    guard.go_back()
    session.cut_logs()
    session.progress.say(
        f"warning: {what}; going back to step {session.step:,}, on with the next batches at {guard.rate:g} of the rate"
    )
    session.save()


def keep_models(session: Session, number: float, score: list[float]) -> None:
    """Keep the model of this validation, where models of the last ones or of the best ones are kept."""
    settings, folder = session.config.train, session.folder
    if settings.keep_models:
        keep_last(folder, session.step, session.model_folder(), column(settings.select), number, settings.keep_models)
    if settings.keep_best:
        now = kept_at(folder, session.step, column(settings.select), number, score)
        keep_best(folder, session.model_folder(), now, settings.keep_best)


def log_training(session: Session) -> None:
    """What was summed up since the last line, to the bar and the files."""
    record = {
        "kind": "train",
        "step": session.step,
        "epoch": session.position.epoch,
        "seconds": round(session.seconds, 2),
        "learning_rate": session.learning_rate(session.step),
        **session.tally.means(session.ranks),
        **session.loss_scale.told(),
    }
    session.tally = Tally()
    session.progress.write(record)
    for name in session.logs.keys() - {"samples"}:
        session.logs[name].write(record)


def look(session: Session) -> None:
    """Validate; keep the model as `best` where it is."""
    ranks = session.ranks
    check_weights(session.model, session.step, ranks.gathered)
    session.looked = session.step
    if session.held_out is None or not ranks.concerned:
        return
    settings, device = session.config.train, session.guard.device
    session.model.eval()
    with session.averaged(), ranks.whole():
        if not ranks.first:
            return
        with enough_memory(lambda: at_validation(settings, session.batch_tokens, session.step, device)):
            record, samples, answers = validate(session.translator, session.held_out, session.config)
        number = record[column(settings.select)]
        score = [sign(settings.select) * number, -record["loss"]]
        better = session.best is None or score > session.best
        if better:
            session.best, session.worse = score, 0
            extra = {"step": session.step, column(settings.select): number}
            write_model_folder(session.folder / "best", session.model_folder(), extra)
            with atomic_write(session.folder / ANSWERS) as file:
                file.writelines(map(json_line, answers))
        else:
            session.worse += 1
            session.plateaus += is_plateau(session.worse, settings.schedule)
        keep_models(session, number, score)
    record = {"kind": "dev", "step": session.step, "seconds": round(session.seconds, 2), **record, "best": better}
    session.progress.write(record)
    for name in session.logs.keys() - {"samples"}:
        session.logs[name].write(record)
    for sample in samples:
        session.progress.write(sample)
        session.logs["samples"].write({"step": session.step, **sample})
