"""Saving on a disk that fails, at each operation, and after power cuts, in many ways (reliability X2)."""

from __future__ import annotations

import errno
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest

from sequencing.train.checkpoint import Checkpoint, latest_checkpoint, save_checkpoint
from sequencing_np import disk
from sequencing_np.errors import SequencingError
from sequencing_np.model_folder import read_model_folder, write_model_folder
from test_model_folder import parts

ERRORS = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS]


def checkpoint(step: int) -> Checkpoint:
    weights = {"a": np.full((3, 2), step, dtype=np.float32), "b": np.arange(4) + step}
    return Checkpoint({"weights": weights, "optimizer": {"0.step": np.array(step)}}, {"step": step})


def loaded(run: Path) -> int:
    """The step that a run would go on from, and that all of it is of this step."""
    found = latest_checkpoint(run)
    assert found is not None
    step = int(found.state["step"])
    wanted = checkpoint(step).arrays
    assert all(np.array_equal(found.arrays[part][key], wanted[part][key]) for part in wanted for key in wanted[part])
    return step


class PowerCutError(BaseException):
    """The machine is off."""


class File:
    """A file whose operations are watched."""

    def __init__(self, file: IO[bytes], path: Path, watch: Watch) -> None:
        self.file, self.path, self.watch = file, path, watch

    def write(self, data: bytes) -> int:
        self.watch.note("write", self.path, bytes(data))
        return self.file.write(data)

    def __enter__(self) -> File:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


class Watch:
    """Notes every operation on the disk, and fails at one of them."""

    def __init__(self, fail_at: int = 0, failure: BaseException | None = None) -> None:
        self.fail_at, self.failure, self.trace = fail_at, failure, list[tuple[Any, ...]]()

    def note(self, *operation: Any) -> None:
        if len(self.trace) + 1 == self.fail_at and self.failure:
            raise self.failure
        self.trace.append(operation)

    @contextmanager
    def watching(self, monkeypatch: pytest.MonkeyPatch, exchange: bool = True) -> Iterator[None]:
        sound = {name: getattr(disk, name) for name in ("create", "sync", "sync_folder", "move", "remove")}
        swap = disk.exchange

        def create(path: Path) -> Any:
            self.note("create", path)
            return File(sound["create"](path), path, self)

        def sync(file: Any) -> None:
            self.note("sync", file.path)
            sound["sync"](file.file)

        def plain(name: str) -> Any:
            def act(*paths: Path) -> None:
                if name != "remove" or paths[0].exists():
                    self.note(name, *paths)
                sound[name](*paths)

            return act

        def make_folder(path: Path) -> None:
            disk.remove(path)
            self.note("make_folder", path)
            path.mkdir(parents=True)

        def exchanged(one: Path, other: Path) -> bool:
            if not exchange:
                return False
            self.note("exchange", one, other)
            return bool(swap(one, other))

        with monkeypatch.context() as patch:
            for name in ("sync_folder", "move", "remove"):
                patch.setattr(disk, name, plain(name))
            for name, act in (
                ("create", create),
                ("sync", sync),
                ("make_folder", make_folder),
                ("exchange", exchanged),
            ):
                patch.setattr(disk, name, act)
            yield


def save(run: Path, step: int) -> None:
    save_checkpoint(run, checkpoint(step))


@pytest.mark.parametrize("number", ERRORS, ids=[errno.errorcode[number] for number in ERRORS])
def test_every_operation_may_fail(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was saved before can be gone on from, or what was being saved; and the next save succeeds."""
    before = tmp_path / "before"
    for step in (1, 2):
        save(before, step)
    for operation in range(1, 1000):
        run = tmp_path / str(operation)
        shutil.copytree(before, run)
        watch = Watch(operation, OSError(number, "of the test"))
        told = False
        with watch.watching(monkeypatch):
            try:
                save(run, 3)
            except SequencingError as error:
                told = "cannot be saved" in str(error) and "000000003" in str(error)
        assert loaded(run) in ((2, 3) if told else (3,)), watch.trace[-1:]
        save(run, 4)
        assert loaded(run) == 4
        shutil.rmtree(run)
        if len(watch.trace) < operation - 1 or (not told and len(watch.trace) + 1 < operation):
            break
    assert operation > 25, "a save is more than that"


# --- power cuts ------------------------------------------------------------------------------------------------------


class Image:
    """What a disk may hold after a power cut: what was not asked to be safe may be lost, whole or in part."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.names: dict[Path, Any] = {}  # what surely is where: bytes of a file, or None for a folder
        self.content: dict[int, list[bytes]] = {}
        self.safe: dict[int, bytes] = {}
        self.files: dict[Path, int] = {}
        self.later: list[tuple[Any, ...]] = []  # changes of names that may be lost

    def replay(self, trace: list[tuple[Any, ...]]) -> None:
        for name, path, *more in trace:
            if name == "create":
                number = len(self.content)
                self.content[number], self.files[path] = [], number
                self.later.append(("link", path, number, path))
            elif name == "write":
                self.content[self.files[path]].append(more[0])
            elif name == "sync":
                self.safe[self.files[path]] = b"".join(self.content[self.files[path]])
            elif name == "move":
                self.later.append(("move", path, more[0]))
                self.moved(path, more[0])
            elif name == "exchange":
                self.later.append(("exchange", path, more[0]))
            elif name in ("make_folder", "remove"):
                self.later.append((name, path))
            elif name == "sync_folder":
                kept = [change for change in self.later if path in (change[1].parent, Path(change[-1]).parent)]
                for change in kept:
                    self.apply(change)
                self.later = [change for change in self.later if change not in kept]

    def moved(self, source: Path, target: Path) -> None:
        """Names of open files follow."""
        for path in list(self.files):
            if path == source or source in path.parents:
                self.files[target / path.relative_to(source)] = self.files.pop(path)

    def apply(self, change: tuple[Any, ...]) -> None:
        kind, path, *more = change
        if kind == "make_folder":
            self.names[path] = None
        elif kind == "remove":
            self.names = {each: what for each, what in self.names.items() if each != path and path not in each.parents}
        elif kind == "link":
            self.names[path] = more[0]
        elif kind == "move":
            taken = {each for each in self.names if each == path or path in each.parents}
            self.names = {
                (more[0] / each.relative_to(path) if each in taken else each): what
                for each, what in self.names.items()
                if each in taken or (each != more[0])
            }
        elif kind == "exchange":
            other = more[0]
            renamed = {}
            for each, what in self.names.items():
                for one, two in ((path, other), (other, path)):
                    if each == one or one in each.parents:
                        renamed[two / each.relative_to(one)] = what
                        break
                else:
                    renamed[each] = what
            self.names = renamed

    def after_the_cut(self) -> None:
        """Of the changes of names that nobody waited for, some are made."""
        for change in self.later:
            if self.chance.random() < 0.5:
                self.apply(change)

    def write(self, origin: Path, target: Path) -> None:
        """The disk as the next start finds it."""
        for path, what in sorted(self.names.items()):
            place = target / path.relative_to(origin)
            if what is None:
                place.mkdir(parents=True, exist_ok=True)
                continue
            whole = b"".join(self.content[what])
            data = self.safe.get(what)
            if data is None:
                data = self.chance.choice([b"", whole, whole[: len(whole) // 2], self.chance.randbytes(len(whole))])
            if place.parent.is_dir():
                place.write_bytes(data)


def traced(run: Path, monkeypatch: pytest.MonkeyPatch, steps: tuple[int, ...]) -> list[list[tuple[Any, ...]]]:
    """The operations of some saves, one after the other."""
    traces = []
    for step in steps:
        watch = Watch()
        with watch.watching(monkeypatch):
            save(run, step)
        traces.append(watch.trace)
    return traces


def images(tmp_path: Path, traces: list[list[tuple[Any, ...]]], seeds: int) -> Iterator[tuple[int, bool, Path]]:
    """Power cuts after each operation of the last save; whether it was whole by then; what the disk may hold."""
    *before, last = traces
    for count in range(len(last) + 1):
        for seed in range(seeds):
            image = Image(random.Random(1000 * count + seed))
            (tmp_path / "run").mkdir(exist_ok=True)
            image.names[tmp_path / "run"] = None
            image.replay([operation for trace in before for operation in trace])
            for change in image.later:  # long ago: a disk writes what it has within seconds
                image.apply(change)
            image.later = []
            image.replay(last[:count])
            image.after_the_cut()
            place = tmp_path / "image"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            image.write(tmp_path / "run", place)
            yield count, count == len(last), place


def test_after_every_power_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step before or this one, never a mixture, never nothing; this one, once the save has returned."""
    traces = traced(tmp_path / "run", monkeypatch, (1, 2, 3))
    assert len(traces[-1]) > 25
    found = set()
    for count, whole, place in images(tmp_path, traces, seeds=12):
        step = loaded(place)
        assert step == 3 if whole else step in (2, 3), (count, traces[-1][:count])
        found.add(step)
    assert found == {2, 3}


@pytest.mark.parametrize("defect", ["sync", "sync_folder"])
def test_the_test_finds_a_missing_wait(defect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted defect: without the waiting for the disk, what a save has promised may be gone."""
    traces = traced(tmp_path / "run", monkeypatch, (1, 2, 3))
    broken = [*traces[:-1], [operation for operation in traces[-1] if operation[0] != defect]]
    lost = False
    for _, whole, place in images(tmp_path, broken, seeds=12):
        with suppress(SequencingError, AssertionError):
            lost = lost or (whole and loaded(place) != 3)
    assert lost


# --- a model folder that is replaced ---------------------------------------------------------------------------------


@pytest.mark.parametrize("exchange", [True, False], ids=["exchanged", "moved twice"])
def test_a_model_stands_at_every_moment(exchange: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever operation is the last one before the end, a reader finds the old model or the new one."""
    for operation in range(1, 1000):
        folder = tmp_path / str(operation) / "model"
        folder.parent.mkdir()
        write_model_folder(folder, parts(0), {"step": 1})
        watch = Watch(operation, PowerCutError())
        ended = True
        with watch.watching(monkeypatch, exchange):
            try:
                write_model_folder(folder, parts(0), {"step": 2})
            except PowerCutError:
                ended = False
        read_model_folder(folder)
        shutil.rmtree(folder.parent)
        if ended:
            break
    assert operation > 20
