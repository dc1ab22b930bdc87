"""Trackers: other programs that show the numbers of a run, each behind the interface of a log.

A tracker is a row of TRACKERS, or a user's own as "module:Class": called with the folder of the run and its
configuration, it gives an object with the methods of `Log`. Its package is imported when it is asked for. It works in a
thread of its own: what fails or hangs there warns once, and the run goes on without it. Knows nothing of models and
training.
"""

from __future__ import annotations

import logging
import queue
import secrets
import threading
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

from sequencing.records import Record, leaves, number, plain, write_json
from sequencing.train.logging import Log, step_of
from sequencing_np.config import nearest, read_json
from sequencing_np.errors import ConfigError
from sequencing_np.own import load_own

Settings = dict[str, Any]  # the configuration of a run, as config.json holds it
NAMES = "trackers.json"  # under which name each tracker of a run knows it, so that a continued run is the same there
MOST_SETTINGS, LONGEST_SETTING = 100, 500  # that MLflow takes at once, and of one


def scalars(record: Record) -> dict[str, float]:
    """The numbers of a record as `kind/name`, its step left out; text, lists and what is no number are dropped."""
    simple = plain(record)
    kind = simple.get("kind", "run")
    found = ((name, number(value)) for name, value in simple.items() if name not in ("step", "kind"))
    return {f"{kind}/{name}": value for name, value in found if value is not None}


class TensorBoard:
    """Event files in RUN/tensorboard."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._folder = folder / "tensorboard"
        self._make: Callable[..., Any] = SummaryWriter
        self._writer: Any = None

    def write(self, record: Record) -> None:
        if self._writer is None:
            self._writer = self._make(log_dir=str(self._folder))
        for name, value in scalars(record).items():
            self._writer.add_scalar(name, value, step_of(record))

    def truncate_after(self, step: int) -> None:
        """Hide what was logged after the step: TensorBoard keeps the old file and drops its later points."""
        self.close()
        self._writer = self._make(log_dir=str(self._folder), purge_step=step + 1)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None


class Elsewhere:
    """A run that another program keeps, under a name of its own. What was sent cannot be taken back, nor sent again."""

    name: str

    def __init__(self, folder: Path, settings: Settings) -> None:
        self._package: Any = import_module(self.name)
        self._folder, self._settings = folder, settings
        self._run: Any = None
        self._past: dict[str, float] = {}  # the last step of each kind of record that was sent

    def truncate_after(self, step: int) -> None:
        """Begin, or go on."""
        said = self.begin(known_name(self._folder, self.name))
        steps = {kind: number(said.get(f"{kind}/step")) for kind in ("train", "dev")}
        self._past = {kind: step for kind, step in steps.items() if step is not None}

    def write(self, record: Record) -> None:
        kind, step = record.get("kind", "run"), step_of(record)
        if step > self._past.get(kind, -1):
            self.send({**scalars(record), f"{kind}/step": step}, step)

    def begin(self, known: str | None) -> Any:
        """Open the run of that name, or a new one; what it was told last, by the names of its numbers."""
        raise NotImplementedError

    def send(self, numbers: dict[str, float], step: int) -> None:
        raise NotImplementedError


class WandB(Elsewhere):
    """Weights & Biases; WANDB_PROJECT, WANDB_MODE=offline and the like are its own settings in the environment."""

    name = "wandb"

    def begin(self, known: str | None) -> Any:
        name = known or keep_name(self._folder, self.name, secrets.token_hex(8))
        place = {"dir": str(self._folder), "name": self._folder.resolve().name}
        self._run = self._package.init(id=name, resume="allow", config=self._settings, **place)
        self._run.define_metric("*", step_metric="step")
        return self._run.summary

    def send(self, numbers: dict[str, float], step: int) -> None:
        self._run.log({**numbers, "step": step})

    def close(self) -> None:
        if self._run is not None:
            self._run.finish()
        self._run = None


class MLflow(Elsewhere):
    """MLflow; MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME and the like are its own settings in the environment."""

    name = "mlflow"

    def begin(self, known: str | None) -> Any:
        self._run = self._package.start_run(run_id=known, run_name=None if known else self._folder.resolve().name)
        if not known:
            flat = [(key, str(value)[:LONGEST_SETTING]) for key, value in leaves(self._settings)]
            for begin in range(0, len(flat), MOST_SETTINGS):
                self._package.log_params(dict(flat[begin : begin + MOST_SETTINGS]))
            keep_name(self._folder, self.name, self._run.info.run_id)
        return self._run.data.metrics

    def send(self, numbers: dict[str, float], step: int) -> None:
        self._package.log_metrics(numbers, step=step)

    def close(self) -> None:
        if self._run is not None:
            self._package.end_run()
        self._run = None


def known_name(folder: Path, tracker: str) -> str | None:
    """The name under which a tracker knows the run; None where it does not yet."""
    path = folder / NAMES
    names = read_json(path)[0] if path.is_file() else {}
    name = names.get(tracker) if isinstance(names, dict) else None
    return name if isinstance(name, str) else None


def keep_name(folder: Path, tracker: str, name: str) -> str:
    """Write that name beside those of the others."""
    path = folder / NAMES
    names = read_json(path)[0] if path.is_file() else {}
    write_json(path, {**names, tracker: name})
    return name


MOST_WAITING = 1000  # records that a slow tracker may be behind
PATIENCE = 30.0  # seconds that the end of a run waits for it


class Tracker:
    """Any tracker as a log that never holds a run up or ends it: it works in a thread, and may fail there."""

    def __init__(self, name: str, make: Callable[[], Log]) -> None:
        self._name, self._make = name, make
        self._failed = False
        self._work: queue.Queue[Callable[[Log], object] | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._turn, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def write(self, record: Record) -> None:
        self._give(lambda log: log.write(record))

    def truncate_after(self, step: int) -> None:
        self._give(lambda log: log.truncate_after(step))

    def close(self) -> None:
        """Wait until it has said all, but not for ever."""
        self._give(lambda log: log.close())
        self._give(None)
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            self._fail(f"it has not ended within {PATIENCE:g} seconds")

    def _give(self, act: Callable[[Log], object] | None) -> None:
        if self._failed and act is not None:
            return
        try:
            self._work.put_nowait(act)
        except queue.Full:
            self._fail(f"it is {MOST_WAITING:,} records behind")

    def _turn(self) -> None:
        """The thread: one thing after the other, until all is said or one of them fails."""
        try:
            log = self._make()
            while (act := self._work.get()) is not None and not self._failed:
                act(log)
        except Exception as error:  # noqa: BLE001 (another program, perhaps on another machine: go on)
            self._fail(f"{type(error).__name__}: {error}".split("\n")[0])

    def _fail(self, why: str) -> None:
        if not self._failed:
            self._failed = True
            logging.getLogger(__name__).warning(
                "tracker %s failed (%s); the run goes on without it, metrics.jsonl holds the same numbers",
                self._name, why,
            )  # fmt: skip


Maker = Callable[[Path, Settings], Log]
TRACKERS: dict[str, Maker] = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow}
PACKAGES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb", "mlflow": "mlflow"}  # what each imports


def check_trackers(names: Iterable[str]) -> None:
    """ConfigError where a name is no row of TRACKERS, its package is missing, or a user's own cannot be found."""
    for name in names:
        maker_of(name)


def trackers(names: Iterable[str], folder: Path, settings: Settings) -> dict[str, Log]:
    """The trackers of a run, by their names; ConfigError as above."""
    makers = {name: maker_of(name) for name in names}
    return {name: Tracker(name, partial(maker, folder, settings)) for name, maker in makers.items()}


def maker_of(name: str) -> Maker:
    """The row of TRACKERS, or the user's own class."""
    if ":" in name:
        own: Maker = load_own(name, "train.trackers", kind="Class")
        return own
    if name not in TRACKERS:
        own_class = 'one of your own is "module:Class"'
        raise ConfigError(f"train.trackers: {name!r}: {nearest(name, TRACKERS)}; {own_class}")
    try:
        import_module(PACKAGES[name])
    except ImportError as error:
        raise ConfigError(
            f"train.trackers: {name!r} was asked for, but it cannot be imported ({error}). Install it with "
            f"`pip install {name}`, or leave it out; metrics.jsonl holds the same numbers"
        ) from error
    return TRACKERS[name]
