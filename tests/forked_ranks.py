"""Trains by several ranks, one run after another: forks of this process, which has PyTorch imported already.

    python tests/forked_ranks.py < runs.jsonl

A line is a run: {"ranks": 2, "config": "run.toml", "run": "runs/two", "settings": ["train.steps=4"]}. One whose folder
is called `spoilt …` meets a loss that is no number in its second step, in the second of two batches.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import sacrebleu  # noqa: F401  (imported here once, not in every rank)
import torch._dynamo
import torch.distributed.fsdp
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from sequencing.run_config import read_run_config
from sequencing.train import update
from sequencing.train.loop import train
from sequencing.train.losses import Losses
from sequencing.train.session import Session


def rank(line: dict[str, Any]) -> None:
    said = os.open(f"{line['run']}.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    if Path(line["run"]).name.startswith("spoilt"):
        update.step_losses = partial(spoilt, update.step_losses, [])
    train(read_run_config(line["config"], line["settings"]), line["run"])


def spoilt(step_losses: Any, calls: list[int], session: Session, *rest: Any) -> Losses:
    """`step_losses`, once with a loss that is no number and a gradient that is one."""
    losses: Losses = step_losses(session, *rest)
    calls.append(session.step)
    if session.step == 1 and (session.ranks.rank == 1 or calls.count(1) == 2):
        return losses._replace(cross_entropy=losses.cross_entropy * torch.nan)
    return losses


def main() -> None:
    for number, line in enumerate(map(json.loads, sys.stdin)):
        agent = LaunchConfig(
            1, 1, line["ranks"], run_id=str(number), rdzv_backend="c10d", rdzv_endpoint="localhost:0",
            start_method="fork", max_restarts=0, monitor_interval=0.02,
        )  # fmt: skip
        elastic_launch(agent, rank)(line)


if __name__ == "__main__":
    main()
