"""The search itself: a trial is drawn or taken up again, trained, told; until there are as many as were asked for.

Any number of processes do this in one folder at once. A trial belongs to whoever holds its lock.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import optuna

from sequencing.process import interruptible
from sequencing.selection import column
from sequencing.selection import sign as sign_of
from sequencing.train.settings import check_settings
from sequencing.tuning.journal import LOCKS, Journal, chosen, draw, open_journal
from sequencing.tuning.locks import Lock
from sequencing.tuning.results import Row, best_of, line, table, write_results
from sequencing.tuning.settings import Plan, place
from sequencing.tuning.toml import inline, toml_text
from sequencing.tuning.trial import POLL, STOPPED, Watched, attend, complaint, say
from sequencing_np.errors import ConfigError, DataError, ModelError, SearchError, SequencingError, UsageError
from sequencing_np.writing import atomic_write

STARTS = 3  # of a training that something else kills
FAILURES = 3  # trials that fail while none comes to its end: then it is not the values
HOPELESS: dict[int, type[SequencingError]] = {  # codes of errors that any other trial would meet too
    kind.exit_code: kind for kind in (UsageError, DataError, ModelError)
}
TrialState = optuna.trial.TrialState
TOLD = {
    "done": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "diverged": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


class Stopped(SequencingError):
    """The search was asked to stop."""

    exit_code = STOPPED


class Search(NamedTuple):
    """A search at work."""

    journal: Journal
    folder: Path
    metric: str
    options: tuple[str, ...]  # further ones of `train`
    leaving: Callable[[], bool]  # whether it is to stop


class Claimed(NamedTuple):
    """A trial that is this process's alone, as long as it holds the lock."""

    number: int
    params: dict[str, Any]
    lock: Lock


class Outcome(NamedTuple):
    """What became of a trial."""

    state: str  # a row of TOLD
    seconds: float
    reason: str = ""


def tune(plan: Plan, folder: Path, options: Sequence[str] = ()) -> list[str]:
    """Search until there are `tune.trials` trials, or its minutes are over; the table of all of them."""
    base = plan.run({})
    check(plan)
    metric, sign = column(base.train.select), sign_of(base.train.select)
    journal = open_journal(plan, folder, sign)
    deadline = time.monotonic() + 60 * plan.tune.minutes if plan.tune.minutes else float("inf")
    with interruptible() as asked:
        search = Search(journal, folder, metric, tuple(options), lambda: bool(asked) or time.monotonic() >= deadline)
        work(search)
        with journal.lock:
            found = write_results(journal, folder, metric)
        sweep(folder, found)
        ended = sum(row.ended for row in found)
        if asked:
            raise Stopped(f"stopped after {ended} of {plan.size()} trials; the same command continues {folder}")
    if ended == plan.size() and best_of(found, sign) is None:
        raise SearchError(
            f"none of the {ended} trials came to its end; {folder / 'tune.json'} says what became of them"
        )
    return table(found, metric, sign)


def check(plan: Plan) -> None:
    """ConfigError where a value of the space names what does not exist."""
    check_settings(plan.run({}))
    for key, part in plan.space.items():
        for value in part.ends():
            try:
                check_settings(plan.run({key: value}))
            except ConfigError as error:
                raise ConfigError(f"{place(plan, key)}: the value {inline(value)} does not fit: {error}") from None


def work(search: Search) -> None:
    """Trial after trial, as long as there is one to be had."""
    failed, waiting = 0, False
    while not search.leaving():
        claimed = claim(search)
        if claimed is None:
            if all(trial.state.is_finished() for trial in search.journal.trials()):
                return
            if not waiting:
                say("all trials are begun; waiting for those of other processes")
            waiting = True
            time.sleep(5 * POLL)
            continue
        with claimed.lock:
            outcome = attempt(search, claimed)
            if outcome is None:
                return
            found = told(search, claimed, outcome)
            sweep(search.folder, found)
        best = best_of(found, search.journal.sign)
        say(line(found[claimed.number], search.metric, best))
        failed += outcome.state == "failed"
        if failed >= FAILURES and best is None:
            raise ConfigError(f"{failed} trials failed and none came to its end; the last one: {outcome.reason}")


def claim(search: Search) -> Claimed | None:
    """A trial that nobody works at: one that was left, or a new one; None where there is none."""
    journal = search.journal
    with journal.lock:
        trials = journal.trials()
        for trial in trials:
            if not trial.state.is_finished():
                lock = Lock(search.folder / LOCKS / f"{trial.number:04d}")
                if lock.tried():
                    return Claimed(trial.number, trial.params, lock)
        if len(trials) >= journal.plan.size():
            return None
        trial = draw(journal)
        lock = Lock(search.folder / LOCKS / f"{trial.number:04d}")
        lock.acquire()
        return Claimed(trial.number, trial.params, lock)


def attempt(search: Search, claimed: Claimed) -> Outcome | None:
    """Train a trial to its end, or go on with it; None where the search is to stop before."""
    plan, name = search.journal.plan, f"{claimed.number:04d}"
    folder, file, log = (search.folder / "trials" / each for each in (name, f"{name}.toml", f"{name}.log"))
    values = chosen(plan, claimed.params)
    try:
        steps = plan.run(values).train.steps
        text = toml_text(plan.written(values))
    except ConfigError as error:  # each value fits, but not all of them together
        return Outcome("failed", 0.0, str(error))
    with atomic_write(file) as written:
        written.write(text.encode())
    folder.mkdir(exist_ok=True)
    follow = Follow(search, claimed.number, folder, steps)
    words = [str(file), "--run", str(folder), *search.options]
    for _ in range(STARTS):
        end = attend(words, folder, log, follow.bad, search.leaving)
        if end.judged:
            return Outcome("pruned", follow.seconds)
        if end.code is None:
            return None
        reason = f"killed {STARTS} times, by signal {-end.code}" if end.code < 0 else complaint(log)
        if end.code == 0:
            if not follow.scores:
                raise ConfigError(f"{folder}: its validations have no {search.metric}: set data.dev")
            return Outcome("done", follow.seconds)
        if end.code == SearchError.exit_code:
            return Outcome("diverged", follow.seconds)
        if end.code in HOPELESS:
            raise HOPELESS[end.code](f"trial {claimed.number}: {reason} (the same command goes on; {log})")
        if end.code > 0 and end.code != STOPPED:
            return Outcome("failed", follow.seconds, reason)
    return Outcome("failed", follow.seconds, reason)


def sweep(folder: Path, found: Sequence[Row]) -> None:
    """Trials that have ended keep their models; what was needed to go on with them is many times larger, and goes."""
    for row in found:
        if row.ended:
            shutil.rmtree(folder / "trials" / f"{row.number:04d}" / "checkpoints", ignore_errors=True)


class Follow:
    """The validations of a trial, told to the journal as they come."""

    def __init__(self, search: Search, number: int, folder: Path, steps: int) -> None:
        self.trial = search.journal.trial(number)
        self.watched, self.steps, self.seconds = Watched(folder, search.metric), steps, 0.0
        self.scores = dict(search.journal.trials()[number].intermediate_values)

    def bad(self) -> bool:
        """Whether it is to be ended; never at its last step."""
        for step, score, seconds in self.watched.new():
            self.seconds = seconds
            if step not in self.scores:
                self.trial.report(score, step)
                self.scores[step] = score
            if not (self.steps and step >= self.steps) and self.trial.should_prune():
                return True
        return False


def told(search: Search, claimed: Claimed, outcome: Outcome) -> list[Row]:
    """Write down what became of a trial; all trials."""
    journal = search.journal
    with journal.lock:
        for name, value in outcome._asdict().items():
            journal.trial(claimed.number).set_user_attr(name, value)
        state, scores = TOLD[outcome.state], journal.trials()[claimed.number].intermediate_values.values()
        value = max(scores, key=lambda score: journal.sign * score) if state == TrialState.COMPLETE else None
        journal.study.tell(claimed.number, value, state)
        return write_results(journal, search.folder, search.metric)
