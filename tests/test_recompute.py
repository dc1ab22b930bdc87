"""Blocks that are computed again: the same gradients to the bit, with less kept in between."""

from pathlib import Path
from typing import Any

import pytest
import torch

from kill_loop import came_to
from sequencing.recompute import recompute
from sequencing.train.loop import train
from sequencing.train.losses import losses_of
from sequencing.train.opening import open_session
from sequencing.train.update import chance
from small_runs import small

torch.set_num_threads(1)

BLOCKS = "blocks={heads=2, layers=3, feed_forward_size=48, dropout=0.2, attention_dropout=0.1, layer_drop=0.2}"
MODEL = [f"model.{part}={{type='self_attention', embedding_size=16, {BLOCKS}}}" for part in ("encoder", "decoder")]


def learnt(folder: Path, *settings: str) -> tuple[list[torch.Tensor], int]:
    """The gradients of a batch, and how many numbers were kept for them."""
    session = open_session(small(folder / "data", *MODEL, *settings), folder / f"run{len(list(folder.glob('*')))}")
    for log in session.logs.values():
        log.close()
    batch, kept = next(session.stream.batches()).batch, [0]

    def pack(x: torch.Tensor) -> torch.Tensor:
        kept[0] += x.numel()
        return x

    session.model.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        losses = losses_of(session, batch, chance(1, 5, 0))
    losses.whole.backward()
    return [parameter.grad for parameter in session.model.parameters() if parameter.grad is not None], kept[0]


@pytest.mark.parametrize("settings", [[], ["train.precision=bfloat16"], ["train.teacher.rate=0.5"]], ids=str)
def test_the_same_gradients_with_less_kept(settings: list[str], tmp_path: Path) -> None:
    """With all kinds of dropout, which draw the same again, and with words of its own, one by one."""
    plain, kept = learnt(tmp_path, *settings)
    again, less = learnt(tmp_path, *settings, "train.recompute=true")
    assert len(plain) == len(again) > 20 and all(map(torch.equal, plain, again))
    assert less < kept / 2


def test_a_run_may_go_on_with_it(tmp_path: Path) -> None:
    """It changes no number, so it is no other run."""
    config = small(tmp_path / "data", *MODEL, "train.steps=8")
    train(config, tmp_path / "plain")
    train(small(tmp_path / "data", *MODEL, "train.steps=5", "train.recompute=true"), tmp_path / "run")
    train(config, tmp_path / "run")
    assert came_to(tmp_path / "run") == came_to(tmp_path / "plain")


def test_a_model_without_blocks(tmp_path: Path, capsys: Any) -> None:
    train(small(tmp_path / "data", "train.recompute=true", "train.steps=1"), tmp_path / "run")
    assert "warning: train.recompute = true: the model has no blocks of self-attention" in capsys.readouterr().err
    assert recompute(torch.nn.Linear(2, 2)) == 0
