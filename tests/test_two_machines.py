"""Ranks on two machines, as far as a network goes: two namespaces with a cable between them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from kill_loop import came_to
from small_runs import EVERYTHING, small

ROOT = Path(__file__).parent.parent
SETTINGS = [*EVERYTHING, "train.accumulate=4", "train.batch_tokens=300", "train.steps=4", "train.validate_every=2",
            "train.threads=1", "train.same_bits=true"]  # fmt: skip


class Machine(NamedTuple):
    """A network namespace, its interface and its address."""

    name: str
    interface: str
    address: str


@pytest.fixture
def machines() -> Iterator[list[Machine]]:
    """Two machines that reach each other and nothing else."""
    own = os.getpid()
    two = [Machine(f"sequencing-{own}-{side}", f"sq{own % 10**9}{side}", f"10.77.0.{side}") for side in (1, 2)]
    one, other = two
    words = [f"netns add {machine.name}" for machine in two]
    words += [f"link add {one.interface} netns {one.name} type veth peer name {other.interface} netns {other.name}"]
    for machine in two:
        words += [f"-n {machine.name} addr add {machine.address}/24 dev {machine.interface}"]
        words += [f"-n {machine.name} link set {part} up" for part in ("lo", machine.interface)]
    try:
        for each in words:
            try:
                subprocess.run(["ip", *each.split()], check=True, capture_output=True, text=True)
            except FileNotFoundError:
                pytest.skip("network namespaces are made by `ip` (iproute2), which is not here")
            except subprocess.CalledProcessError as error:
                pytest.skip(f"network namespaces may not be made here: ip {each}: {error.stderr.strip()}")
        yield two
    finally:
        for machine in two:
            subprocess.run(["ip", "netns", "delete", machine.name], capture_output=True, check=False)


def start(machine: Machine, first: Machine, config: Path, run: Path) -> subprocess.Popen[bytes]:
    """One rank on a machine, as docs/ranks.md says; what the machine is called says nothing of its address."""
    launcher = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d",
                f"--rdzv-endpoint={first.address}:29500", f"--rdzv-conf=is_host={machine == first}",
                f"--local-addr={machine.address}", "--monitor-interval=0.1"]  # fmt: skip
    words = [*launcher, "-m", "sequencing", "train", str(config), "--run-folder", str(run), "--set", *SETTINGS]
    own = {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": machine.interface}
    inside = ["ip", "netns", "exec", machine.name, sys.executable]
    return subprocess.Popen([*inside, *words], stderr=subprocess.PIPE, env={**os.environ, **own})


@pytest.mark.slow
def test_two_machines_are_one_to_the_bit(machines: list[Machine], tmp_path: Path) -> None:
    small(tmp_path)
    both = [start(machine, machines[0], tmp_path / "run.toml", tmp_path / "both") for machine in machines]
    for process in both:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said.decode()
    words = ["-m", "sequencing", "train", str(tmp_path / "run.toml"), "--run", str(tmp_path / "one")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, *words, "--set", *SETTINGS], check=True, capture_output=True, env=environment)
    found, wanted = came_to(tmp_path / "both"), came_to(tmp_path / "one")
    different = {key for key in wanted if found[key] != wanted[key]}
    assert found.keys() == wanted.keys() and different <= {"metrics.jsonl", "state"}, "sums over ranks are rounded"
