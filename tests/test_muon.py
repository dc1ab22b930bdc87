"""muon: what it turns, how nearly, and PyTorch's own Muon beside it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from architectures import DRAWN, TorchModel, architecture
from sequencing.muon import Muon, inner_matrices, orthogonal
from sequencing.optim import OPTIMIZERS
from sequencing.train_config import TrainConfig


@given(st.integers(1, 3), st.integers(1, 24), st.integers(1, 24), st.integers(0, 99))
def test_orthogonal(count: int, rows: int, columns: int, seed: int) -> None:
    """The same singular vectors; values from a hundredth of the norm on become about one."""
    generator = torch.Generator().manual_seed(seed)
    matrices = torch.randn(count, rows, columns, generator=generator, dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrices, full_matrices=False)
    turned = left.mT @ orthogonal(matrices) @ right.mT
    diagonal = turned.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(turned, diagonal.diag_embed(), atol=1e-9, rtol=0)
    seen = values >= 0.01 * matrices.norm(dim=(1, 2))[:, None]
    assert bool(((diagonal > 0.68) & (diagonal < 1.14))[seen].all())


def test_no_gradient_is_no_step() -> None:
    assert not orthogonal(torch.zeros(2, 3, 5)).any()


def test_as_pytorch_has_it() -> None:
    """Its Muon multiplies in bfloat16, whose eight bits are all that may lie between the two."""
    torch.manual_seed(0)
    own, theirs = (nn.ParameterList(nn.Parameter(torch.ones(rows, 24)) for rows in (24, 72, 8)) for _ in range(2))
    reference = torch.optim.Muon(theirs, 0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    groups: list[dict[str, object]] = [{"params": list(own), "turned": True, "weight_decay": 0.1}]
    optimizer = Muon(groups, 0.02, (0.9, 0.98), torch.bfloat16)
    for _ in range(4):
        for one, other in zip(own, theirs, strict=True):
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.clone()
        optimizer.step()
        reference.step()
    for one, other in zip(own, theirs, strict=True):
        moved = 1 - other.detach()
        assert moved.abs().mean() > 0.01
        assert (one - other).detach().abs().max() < 0.02 * moved.abs().max()


@pytest.mark.parametrize("index", DRAWN[::7])
def test_what_is_turned(index: int) -> None:
    """Matrices alone, never a table of words nor the last one of a head; every parameter has its place, once."""
    model = TorchModel(architecture(index))
    names = {parameter: name for name, parameter in model.named_parameters()}
    turned = {names[parameter] for parameter in inner_matrices(model)}
    assert turned and not any("embedding" in name or "head.output" in name for name in turned)
    assert all(parameter.dim() == 2 for parameter in inner_matrices(model))
    groups = OPTIMIZERS["muon"](model, TrainConfig(optimizer="muon")).param_groups
    assert sorted(names[each] for group in groups for each in group["params"]) == sorted(names.values())


def test_what_is_frozen_stays() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    optimizer = OPTIMIZERS["muon"](model, TrainConfig(optimizer="muon", weight_decay=0.5))
    before = [each.detach().clone() for each in model.parameters()]
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    moved = [not torch.equal(each, old) for each, old in zip(model.parameters(), before, strict=True)]
    assert moved == [False, False, True, True]
