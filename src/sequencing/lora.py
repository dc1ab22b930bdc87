"""Low-rank parts beside linear maps that stay as they are (Hu et al. 2021, "LoRA").

y = W x + b + (alpha / rank) B A x, equation 3: W and b stay, A and B learn. A model folder holds W + (alpha / rank) B A
under the name of W, so whoever runs the model knows nothing of this; a checkpoint holds W, A and B.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np
import torch
from torch import Tensor, nn

from sequencing.freezing import near, shared_names
from sequencing.layers import Linear
from sequencing_np.errors import ConfigError


class LowRankLinear(nn.Module):
    """A linear map that stays as it is, and beside it one of low rank, which begins as zero."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base, self.scale = base.requires_grad_(False), alpha / rank
        outputs, inputs = base.weight.shape
        self.down, self.up = Linear(inputs, rank, bias=False), Linear(rank, outputs, bias=False)  # A, B
        nn.init.normal_(self.down.weight, 0, inputs**-0.5)
        nn.init.zeros_(self.up.weight)
        self.to(base.weight)

    @property
    def weight(self) -> Tensor:  # -> (outputs, inputs)
        """The matrix that both are together, for whoever asks for it and not for the answer."""
        with torch.autocast(self.base.weight.device.type, enabled=False):
            return torch.addmm(self.base.weight, self.up.weight, self.down.weight, alpha=self.scale)

    @property
    def bias(self) -> Tensor | None:  # -> (outputs,)
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:  # (..., inputs) -> (..., outputs)
        aside: Tensor = self.up(self.scale * self.down(x))  # scaled where it is narrow
        return self.base(x) + aside

    def extra_repr(self) -> str:
        return f"rank={self.down.out_features}, scale={self.scale:g}"


def adapt(model: nn.Module, rank: int, alpha: float, on: Sequence[str]) -> dict[str, LowRankLinear]:
    """Put low-rank parts beside the linear layers whose names fit a pattern (`decoder.*`); layer by name.

    A layer whose matrix is also a table (tied embeddings) is none of them, nor is one of which the parts would have as
    many numbers as it has itself. The rest of the model learns as before: `freeze` comes first. ConfigError where a
    pattern fits no layer.
    """
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
    for pattern in on:
        if not any(fnmatchcase(name, pattern) for name in layers):
            raise ConfigError(
                f"train.lora.on: {pattern!r} fits no linear layer's name; nearest: {near(pattern, layers)}"
            )
    tied = {id(parameter) for parameter, names in shared_names(model).values() if len(names) > 1}
    wanted = {name: layer for name, layer in layers.items() if any(fnmatchcase(name, pattern) for pattern in on)}
    chosen = {
        name: layer
        for name, layer in wanted.items()
        if id(layer.weight) not in tied and rank * sum(layer.weight.shape) < layer.weight.numel()
    }
    if not chosen:
        raise ConfigError(
            f"train.lora: of the {len(wanted)} linear layers that on = {list(on)} fits, each is a table of embeddings "
            f"or no larger than its parts of rank {rank} would be; lower rank, or give others"
        )
    adapted = {name: LowRankLinear(layer, rank, alpha) for name, layer in chosen.items()}
    for name, layer in adapted.items():
        model.set_submodule(name, layer)
    return adapted


def merged(weights: Mapping[str, np.ndarray], adapted: Mapping[str, LowRankLinear]) -> dict[str, np.ndarray]:
    """The weights of an adapted model as those of the model that it was: the same names, the same answers."""
    inner = tuple(f"{name}." for name in adapted)
    plain = {name: array for name, array in weights.items() if not name.startswith(inner)}
    for name, layer in adapted.items():
        plain[f"{name}.weight"] = layer.weight.detach().cpu().numpy()
        if layer.bias is not None:
            plain[f"{name}.bias"] = layer.bias.detach().cpu().clone().numpy()
    return plain
