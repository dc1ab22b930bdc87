"""A model of which each rank keeps a part: weights, gradients, averages and the optimiser's numbers (FSDP2).

Zhao et al. 2023, "PyTorch FSDP". Weights are gathered before they are used and dropped after: those of a layer of
self-attention or a feed-forward layer right then, the rest for a whole batch. Gradients are added where they are kept.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from sequencing.self_attention import EncoderBlock, SelfAttentionEncoder
from sequencing.self_attention_decoder import DecoderBlock, SelfAttentionDecoder
from sequencing_np.errors import ConfigError

Made = TypeVar("Made")

warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")  # nothing is added to it in place


class Whole(nn.Module):
    """A model and what is done with it, so that all that is done counts as one use of its weights."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, work: Callable[[], Made]) -> Made:
        return work()


class Shards:
    """The part of a model that this rank keeps."""

    def __init__(self, model: nn.Module, alike: bool, count: int, device: torch.device) -> None:
        if "reset_iter_state" not in vars(FSDPModule):
            raise ConfigError(f"train.shard = true: needs PyTorch 2.13 or newer, and this is {torch.__version__}")
        mesh = init_device_mesh(device.type, (count,))
        parts = layers(model) if alike else []
        self.parts: list[Any] = [fully_shard(part, mesh=mesh, reshard_after_forward=True) for part in parts]
        self.root = cast(Any, fully_shard(Whole(model), mesh=mesh))
        for part in [*self.parts, self.root]:
            part.set_gradient_divide_factor(1.0)  # sums, not means
            part.set_force_sum_reduction_for_comms(True)
        self.root.set_reduce_scatter_unused_params(True)
        self.root(list)  # the first use says which is the outermost
        self.root.reset_iter_state()

    def run(self, work: Callable[[], Made]) -> Made:
        """What `work` makes, with the weights gathered while it needs them; its gradient too."""
        return cast(Made, self.root(work))

    @contextmanager
    def whole(self, changed: bool = False) -> Iterator[None]:
        """While it lasts the model is whole on each rank; what was `changed` in it is then kept in parts."""
        own = list(self.root.parameters())
        for part in [*self.parts, self.root]:
            part.set_reshard_after_forward(False)
            part.unshard()
        try:
            yield
            if changed:
                with torch.no_grad():
                    for kept, full in zip(own, self.root.parameters(), strict=True):
                        kept.copy_(self.part(kept, full.detach()))
        finally:
            self.root.reset_iter_state()
            for part in self.parts:
                part.set_reshard_after_forward(True)

    def gathered(self, tensor: Tensor) -> Tensor:
        """The tensor of which this rank has a part; all ranks must ask."""
        return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor

    def part(self, like: Tensor, full: Tensor) -> Tensor:
        """This rank's part of a tensor that all ranks have, cut as another one is."""
        if not isinstance(like, DTensor) or full.shape != like.shape:
            return full
        return distribute_tensor(full.to(like.device), like.device_mesh, like.placements, src_data_rank=None)

    def kept(self, parameters: Sequence[nn.Parameter]) -> list[nn.Parameter]:
        """Those of which this rank has anything."""
        return [parameter for parameter in parameters if cast(DTensor, parameter).to_local().numel()]


LAYERS: dict[type[nn.Module], Callable[[Any], list[nn.Module]]] = {
    EncoderBlock: lambda block: [block],
    DecoderBlock: lambda block: [block.mixer, block.feed_forward],  # what it makes of the memory is asked for before
}
DROPPING = (SelfAttentionEncoder, SelfAttentionDecoder)


def layers(model: nn.Module) -> list[nn.Module]:
    """The layers whose weights are gathered by themselves; none where one is left out by chance, and not by all."""
    modules: list[Any] = list(model.modules())
    if any(type(module) in DROPPING and module.drop for module in modules):
        return []
    return [layer for module in modules if type(module) in LAYERS for layer in LAYERS[type(module)](module)]
