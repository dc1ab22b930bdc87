"""`train.batch_tokens = "auto"`: as many tokens as memory holds; tried once, kept by the run; nothing else changes."""

from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sequencing import memory_use
from sequencing.distributed.ranks import Ranks
from sequencing.memory_use import left_in_groups, peak_of, room, told, used
from sequencing.run_config import RunConfig
from sequencing.train import budget
from sequencing.train.budget import cells, choose_budget, kept_beside
from sequencing.train.checkpoint import latest_checkpoint
from sequencing.train.loop import train
from sequencing.train.opening import open_session
from sequencing.train.session import Session
from sequencing_np.errors import ConfigError
from small_runs import EVERYTHING, records, small

torch.set_num_threads(1)
CPU = torch.device("cpu")
LINUX = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads what Linux says")
AUTO = "train.batch_tokens=auto"
STILL = 1_000_000  # bytes that the pretended process has anyway
EACH = 1000  # bytes that it takes for a token
REINFORCE = [
    "train.objective.type=reinforce", "train.objective.samples=2", "train.objective.burn_in=3",
    "train.objective.increment=1",
]  # fmt: skip


class Machine:
    """In the place of a real one: so many bytes, of which each token of a batch takes the same."""

    def __init__(self) -> None:
        self.bytes: float | None = inf
        self.tried: list[int] = []  # the largest batch of each trial
        self.steps: list[int] = []
        self.work = budget.once

    def once(self, session: Any, batches: Any) -> None:
        self.tried.append(max(map(cells, batches)))
        self.steps.append(session.step)
        self.work(session, batches)

    def peak(self, work: Callable[[], object], device: torch.device) -> float:
        work()
        return STILL + EACH * self.tried[-1]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(budget, "once", made.once)
    monkeypatch.setattr(budget, "peak_of", made.peak)
    monkeypatch.setattr(budget, "used", lambda device: STILL)
    monkeypatch.setattr(budget, "room", lambda device, sharing: made.bytes)
    monkeypatch.setattr(budget, "LEAST", 64)
    monkeypatch.setattr(budget, "MOST", {"cpu": 256})
    monkeypatch.setattr(budget, "STEPS", 1)
    return made


def opened(config: RunConfig, folder: Path) -> Session:
    """The session of a run, its logs closed."""
    session = open_session(config, folder)
    session.close()
    return session


def state(run: Path) -> dict[str, Any]:
    found = latest_checkpoint(run)
    assert found is not None
    arrays = {f"{file} {name}": array.tobytes() for file, part in found.arrays.items() for name, array in part.items()}
    return {key: value for key, value in found.state.items() if key != "seconds"} | arrays


def bytes_for(session: Any, tokens: int) -> float:
    """The memory of which a batch of so many tokens is exactly 80 %."""
    return (STILL + EACH * tokens + kept_beside(session)) / 0.8


def test_as_many_as_memory_holds(tmp_path: Path, machine: Machine) -> None:
    """By hand: what all has, and so much for each token; the answer never falls with more memory."""
    session = opened(small(tmp_path / "data", AUTO), tmp_path / "run")
    assert session.batch_tokens == session.stream.options.batch_tokens == 256
    first, second, third = machine.tried
    assert 32 < first <= 64 < second <= 128 < third <= 256
    chosen = []
    for tokens in (first, 64, 127, 128, 200, 257, 1000):
        machine.bytes = bytes_for(session, tokens) + 1
        chosen.append(budget.found(session)[0])
    assert chosen == [64, 64, 64, 128, 128, 256, 256]
    machine.bytes = bytes_for(session, first) - 1
    with pytest.raises(ConfigError, match=r"a batch of 64 tokens does not fit .* Set train.recompute = true .* lower"):
        budget.found(session)
    machine.bytes = None
    assert budget.found(session) == (8192, "the system does not say how much memory there is")
    machine.bytes = inf


def test_lacking_memory_is_an_answer(tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(session: Any, batches: Any) -> None:
        machine.tried.append(max(map(cells, batches)))
        if machine.tried[-1] > 64:
            torch.empty(1 << 60, dtype=torch.uint8)

    monkeypatch.setattr(budget, "once", greedy)
    session = opened(small(tmp_path / "data", AUTO), tmp_path / "run")
    assert session.batch_tokens == 64 and len(machine.tried) == 2
    monkeypatch.setattr(budget, "once", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        budget.found(session)


class Two(Ranks):
    """Two ranks, of which the other has no room from some trial on."""

    def __init__(self, machine: Machine, fits: int) -> None:
        super().__init__(0, 2)
        self.machine, self.fits = machine, fits

    def total(self, numbers: Sequence[float]) -> list[float]:
        return [each + (len(self.machine.tried) <= self.fits) for each in numbers]


def test_ranks_take_what_each_can_hold(tmp_path: Path, machine: Machine) -> None:
    session = opened(small(tmp_path / "data", AUTO, "train.accumulate=2"), tmp_path / "run")
    chosen = []
    for fits in (1, 2, 3):
        machine.tried.clear()
        session.ranks = Two(machine, fits)
        chosen.append(budget.found(session)[0])
    assert chosen == [64, 128, 256]
    machine.tried.clear()
    session.ranks = Two(machine, 0)
    with pytest.raises(ConfigError, match="does not fit"):
        budget.found(session)


def test_parts_of_a_model_are_not_tried(tmp_path: Path, machine: Machine) -> None:
    session = opened(small(tmp_path / "data", AUTO), tmp_path / "run")
    session.ranks.shards = object()  # type: ignore[assignment]
    with pytest.raises(ConfigError, match=r"train\.batch_tokens = \"auto\": is not tried where .*; give a number"):
        choose_budget(session)


def test_what_comes_beside(tmp_path: Path, machine: Machine) -> None:
    """By hand: Adam's two numbers, one sum of gradients of three batches; and in a save all of it once more and twice
    the weights, with an average three times."""
    settings = {(): 2 + 0 + 4, ("train.average=0.9", "train.accumulate=3"): 2 + 1 + 5, ("train.optimizer=sgd",): 2}
    for number, (given, parts) in enumerate(settings.items()):
        session = opened(small(tmp_path / "data", *given), tmp_path / f"run{number}")
        assert kept_beside(session) == parts * 4 * sum(each.numel() for each in session.model.parameters())


def test_an_epoch_keeps_its_steps(tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "STEPS", 8)
    plans = {}
    for accumulate in (1, 2):
        config = small(tmp_path / "data", AUTO, f"train.accumulate={accumulate}")
        session = opened(config, tmp_path / f"run{accumulate}")
        plans[session.batch_tokens] = len(session.stream.plan(0)) / accumulate
    assert len(plans) == 2 and min(plans.values()) >= 8


@pytest.mark.parametrize("kind", [EVERYTHING, REINFORCE], ids=["teacher", "rewards"])
def test_the_run_of_the_same_number(kind: list[str], tmp_path: Path, machine: Machine, capsys: Any) -> None:
    """To the bit; and the trial does what the last steps of the run will do."""
    config = small(tmp_path / "data", *kind, "train.accumulate=2", "train.steps=8", AUTO)
    train(config, tmp_path / "auto")
    assert 'train.batch_tokens = "auto": 256, as larger batches are no faster (cpu)' in capsys.readouterr().err
    assert machine.steps == [7, 7, 7]
    settings = [*kind, "train.accumulate=2", "train.steps=8", "train.batch_tokens=256"]
    train(small(tmp_path / "data", *settings), tmp_path / "said")
    assert len(machine.tried) == 3 and state(tmp_path / "auto") == state(tmp_path / "said")
    for log in ("metrics.jsonl", "samples.jsonl"):
        assert records(tmp_path / "auto" / log) == records(tmp_path / "said" / log)


def test_a_run_keeps_what_it_found(tmp_path: Path, machine: Machine) -> None:
    """Memory that is less the second time is not even looked at; nor is the number taken for another setting."""
    settings = [*EVERYTHING, AUTO]
    train(small(tmp_path / "data", *settings), tmp_path / "once")
    train(small(tmp_path / "data", *settings, "train.steps=5"), tmp_path / "twice")
    machine.bytes, before = 0, len(machine.tried)
    train(small(tmp_path / "data", *settings), tmp_path / "twice")
    assert len(machine.tried) == before and state(tmp_path / "twice") == state(tmp_path / "once")
    with pytest.raises(ConfigError, match=r"train\.batch_tokens was 'auto' and is now 256"):
        train(small(tmp_path / "data", *EVERYTHING, "train.batch_tokens=256"), tmp_path / "twice")


def test_another_text_is_refused(tmp_path: Path) -> None:
    for wrong in ("'most'", "true", "1.5", "0"):
        with pytest.raises(ConfigError, match=r"batch_tokens"):
            small(tmp_path / "data", f"train.batch_tokens={wrong}")


@LINUX
def test_a_real_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "STEPS", 1)
    monkeypatch.setattr(budget, "MOST", {"cpu": 2048})
    session = opened(small(tmp_path / "data", AUTO), tmp_path / "run")
    assert session.batch_tokens == 2048


@LINUX
def test_what_linux_says(tmp_path: Path) -> None:
    before = used(CPU)
    peak = peak_of(lambda: np.ones(25_000_000), CPU)  # 200 MB
    assert before + 150e6 < peak < before + 400e6
    free = told(Path("/proc/meminfo"))
    alone, shared = room(CPU), room(CPU, 4)
    assert alone is not None and shared is not None
    assert before / 2 < shared < alone < before + free["MemTotal"]


def test_groups_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both versions of Linux's; files that can be read again do not count; "max" is no limit."""
    monkeypatch.setattr(memory_use, "CGROUPS", tmp_path / "fs")
    monkeypatch.setattr(memory_use, "PROC", tmp_path / "proc")
    lines = {
        "proc/self/cgroup": "4:cpu,memory:/old\n0::/pod/box\n", "fs/memory.max": "max\n", "fs/memory.current": "5\n",
        "fs/pod/memory.max": "1000\n", "fs/pod/memory.current": "700\n",
        "fs/pod/memory.stat": "anon 1\ninactive_file 50\n",
        "fs/memory/old/memory.limit_in_bytes": "900\n", "fs/memory/old/memory.usage_in_bytes": "100\n",
    }  # fmt: skip
    for name, said in lines.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(said.encode())
    assert sorted(left_in_groups()) == [350, 800]
    (tmp_path / "proc/meminfo").write_bytes(b"MemTotal: 9 kB\nMemAvailable: 1 kB\n")
    assert room(CPU) == 350
    monkeypatch.setattr(memory_use, "PROC", tmp_path / "nothing")
    assert room(CPU) is None
