"""What is remembered of a search: Optuna's journal, a file that several processes append to and that survives a kill.

Values are drawn beside it, in memory, and written in one line with their trial, which has all of them or is not there.
"""

from __future__ import annotations

import json
import os
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import optuna

from sequencing.tuning.locks import Lock
from sequencing.tuning.settings import Choices, Plan, Range
from sequencing_np.config import changes, to_dict
from sequencing_np.errors import ConfigError, UsageError

JOURNAL, LOCKS, NAME = "journal.jsonl", "locks", "search"
MAY_CHANGE = {  # of [train], between two calls
    "device", "threads", "samples", "log_every", "save_minutes", "keep", "keep_models", "keep_best", "tensorboard",
}  # fmt: skip


class JournalLock:
    """Whoever writes holds it, also for several lines. A line that a kill has cut is taken away first."""

    def __init__(self, folder: Path) -> None:
        self.lock, self.journal = Lock(folder / LOCKS / "journal"), folder / JOURNAL

    def acquire(self) -> bool:
        self.lock.acquire()
        if self.lock.depth == 1:
            mend(self.journal)
        return True

    def release(self) -> None:
        self.lock.release()

    def __enter__(self) -> JournalLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def mend(path: Path) -> None:
    """Cut a file after its last line feed."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            begin = max(end - 4096, 0)
            file.seek(begin)
            found = file.read(end - begin).rfind(b"\n")
            if found >= 0:
                end = begin + found + 1
                break
            end = begin
        file.truncate(end)


class Journal(NamedTuple):
    """A search on the disk."""

    plan: Plan
    study: Any  # optuna.Study
    lock: JournalLock
    sign: int  # 1 where more is better, else -1

    def trial(self, number: int) -> Any:
        """One of them, to be written to (optuna.trial.Trial)."""
        return optuna.trial.Trial(self.study, self.trials()[number]._trial_id)

    def trials(self) -> list[Any]:
        """All trials so far (optuna.trial.FrozenTrial), by their number."""
        return list(self.study.get_trials(deepcopy=False))


def open_journal(plan: Plan, folder: Path, sign: int) -> Journal:
    """A new search in an empty or absent folder, or the one that it holds; ConfigError where that is another one."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        if not (folder / JOURNAL).exists() and folder.exists() and {each.name for each in folder.iterdir()} - {LOCKS}:
            raise UsageError(f"{folder}: is not empty and holds no search (no {JOURNAL}); give a new or empty folder")
        for name in (LOCKS, "trials"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be made: {error.strerror}; give another --folder") from None
    lock = JournalLock(folder)
    with lock:
        backend = optuna.storages.journal.JournalFileBackend(str(folder / JOURNAL), lock_obj=lock)
        storage = optuna.storages.JournalStorage(backend)
        parts = {
            "storage": storage,
            "sampler": optuna.samplers.RandomSampler(),
            "pruner": PRUNE[plan.tune.pruner](plan),
        }
        try:
            study = optuna.load_study(study_name=NAME, **parts)
        except KeyError:
            study = optuna.create_study(study_name=NAME, direction=direction(sign), **parts)
        now = json.loads(json.dumps(settings(plan)))
        before = study.user_attrs.get("settings")
        if before is None:
            study.set_user_attr("settings", now)
        for key, old, new in changes(before or now, now):
            raise ConfigError(
                f"{folder} holds a search with other settings: {key} was {old!r} and is now {new!r}. Continue with the "
                "same ones, or give another --folder"
            )
    return Journal(plan, study, lock, sign)


def direction(sign: int) -> str:
    return "maximize" if sign > 0 else "minimize"


def settings(plan: Plan) -> dict[str, Any]:
    """What must stay the same as long as trials are to be compared. Data may be moved, as those of a run."""
    values = plan.written({})
    train = {key: value for key, value in values.get("train", {}).items() if key not in MAY_CHANGE}
    data = {key: value for key, value in values["data"].items() if key in ("max_length", "weights")}
    tune = {key: value for key, value in to_dict(plan.tune).items() if key not in ("trials", "minutes")}
    return {**values, "train": train, "data": data, "tune": tune}


def draw(journal: Journal) -> Any:
    """A new trial with its values, the next in number; the lock is held."""
    plan, trials = journal.plan, journal.trials()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = SAMPLE[plan.tune.sampler](plan, len(trials))
    beside = optuna.create_study(
        storage=optuna.storages.InMemoryStorage(),
        study_name=NAME,
        direction=direction(journal.sign),
        sampler=sampler,
        pruner=journal.study.pruner,
    )
    for trial in trials:
        beside.add_trial(trial)
    beside.ask({key: DISTRIBUTIONS[type(part)](part) for key, part in plan.space.items()})
    drawn = beside.get_trials()[-1]
    parts = {"params": drawn.params, "distributions": drawn.distributions, "system_attrs": drawn.system_attrs}
    journal.study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING, **parts))
    return journal.trials()[-1]


def chosen(plan: Plan, params: dict[str, Any]) -> dict[str, Any]:
    """The values of a trial, in the order of the space."""
    return {key: part.value(params[key]) for key, part in plan.space.items()}


def whole_or_real(part: Range) -> Any:
    """Numbers for Optuna; the highest value is one that the steps reach."""
    high = part.low + part.count() * part.step if part.step else part.high
    if part.whole:
        return optuna.distributions.IntDistribution(int(part.low), int(high), part.log, int(part.step) or 1)
    return optuna.distributions.FloatDistribution(part.low, high, part.log, part.step or None)


DISTRIBUTIONS: dict[type, Callable[[Any], Any]] = {
    Range: whole_or_real,
    Choices: lambda part: optuna.distributions.CategoricalDistribution(part.labels()),
}


def seed_of(plan: Plan, number: int) -> int:
    """Another one for each trial: it draws the same values whichever process draws it, and after whichever stop."""
    return zlib.crc32(f"{plan.tune.seed} {number}".encode())


def tpe(plan: Plan, number: int) -> Any:
    seed, startup = seed_of(plan, number), plan.tune.startup
    return optuna.samplers.TPESampler(n_startup_trials=startup, seed=seed, constant_liar=True)


def grid(plan: Plan, number: int) -> Any:
    points = {key: part.labels() for key, part in plan.space.items()}
    return optuna.samplers.GridSampler(points, seed=plan.tune.seed)  # it goes by number: one seed for all trials


SAMPLE: dict[str, Callable[[Plan, int], Any]] = {
    "tpe": tpe,
    "random": lambda plan, number: optuna.samplers.RandomSampler(seed=seed_of(plan, number)),
    "grid": grid,
}


def hyperband(plan: Plan) -> Any:
    """Its resource is steps."""
    train = plan.run({}).train
    most = train.steps if train.steps and "train.steps" not in plan.space else "auto"
    least = min(train.validate_every, train.steps or train.validate_every)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.pruners.HyperbandPruner(min_resource=least, max_resource=most)


PRUNE: dict[str, Callable[[Plan], Any]] = {
    "median": lambda plan: optuna.pruners.MedianPruner(plan.tune.startup, plan.tune.warmup),
    "hyperband": hyperband,
    "none": lambda _: optuna.pruners.NopPruner(),
}
