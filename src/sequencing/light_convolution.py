"""Light and dynamic convolutions in self-attention's place, in PyTorch. Twin of `sequencing_np.light_convolution`.

Wu et al. 2019, "Pay Less Attention with Lightweight and Dynamic Convolutions". A word is made a mean of those in a
window around it, or of the last ones; all channels of a head share its weights. It does not know who made the words.
All windows are one matrix product for each head, whose matrix is a band.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import glu, pad

from sequencing.layers import Dropout, Linear, softmax, wide
from sequencing_np.blocks import BlocksConfig, Scope


class FixedWeights(nn.Module):
    """The same for every word, learnt: section 3."""

    def __init__(self, config: BlocksConfig, width: int) -> None:
        super().__init__()
        self.scores = nn.Parameter(nn.init.xavier_uniform_(torch.empty(config.heads, config.kernel)))

    def forward(self, x: Tensor) -> Tensor:  # (R, T, D) -> (1, H, T, K)
        return softmax(wide(self.scores))[None, :, None].expand(1, -1, x.shape[1], -1)


class DynamicWeights(nn.Module):
    """A map of the word itself: section 4."""

    def __init__(self, config: BlocksConfig, width: int) -> None:
        super().__init__()
        self.heads, self.scores = config.heads, Linear(width, config.heads * config.kernel, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # (R, T, D) -> (R, H, T, K)
        return softmax(wide(self.scores(x)).unflatten(2, (self.heads, -1))).transpose(1, 2)


class LightConvolution(nn.Module):
    """A gated linear unit, the mean of a window for each head, a linear map: section 3.

    What is beyond the ends is zero. In a decoder the window ends with the word; its cache are the last words before.
    """

    def __init__(self, config: BlocksConfig, width: int, *, weights_type: Any) -> None:
        super().__init__()
        self.heads, self.kernel, self.width = config.heads, config.kernel, width
        self.input, self.output = Linear(width, 2 * width), Linear(width, width)
        for part in self.input.weight.detach().chunk(2):
            nn.init.xavier_uniform_(part)
        self.weights, self.dropout = weights_type(config, width), Dropout(config.attention_dropout)

    def writers(self) -> list[Tensor]:
        """The matrices that write to the residual sum."""
        return [self.output.weight]

    def begin(self, x: Tensor) -> tuple[Tensor]:  # (R, ...) -> (R, K - 1, D)
        return (x.new_zeros(len(x), self.kernel - 1, self.width),)

    def forward(self, x: Tensor, scope: Scope, cache: Any) -> tuple[Tensor, Any]:  # (R, T, D) -> (R, T, D)
        x, left = glu(self.input(x), dim=2), self.kernel - 1
        if scope.mask is not None:
            x, left = x * scope.mask[..., None].to(x.dtype), self.kernel // 2
        before = cache[0].to(x.dtype)
        around = torch.cat([before[:, :left], x, before[:, left:]], dim=1)
        parts = around.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (R, H, T + K - 1, D/H)
        mixed = (banded(self.dropout(self.weights(x)).to(x.dtype)) @ parts).transpose(1, 2).flatten(2)
        return self.output(mixed), (around[:, x.shape[1] :],)


def banded(weights: Tensor) -> Tensor:  # (R, H, T, K) -> (R, H, T, T + K - 1)
    """Each row moved on by one more place than the one above, zeros around it: windows as a matrix."""
    steps, kernel = weights.shape[2:]
    return pad(weights, (0, steps)).flatten(2)[..., : steps * (steps + kernel - 1)].unflatten(2, (steps, -1))
