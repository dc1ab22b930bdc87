"""Scheduled sampling with a gradient through the choice of the model's own words (Goyal et al. 2017).

Where the decoder is to read its own word, it reads a mixture of all words' vectors, by how likely they are; so what a
choice does to later words is learnt from too. What the decoder reads are then weights of all ids instead of ids.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from sequencing.layers import wide
from sequencing_np.arrays import Arrays
from sequencing_np.feedback import TrainingFeedBack, Turn
from sequencing_np.picking import banned_ids
from sequencing_np.state import Memory, Output

TINY = torch.finfo(torch.float32).tiny


def straight_through(weights: Tensor) -> Tensor:  # (R, V) -> (R, V)
    """The likeliest id alone, with the gradient of the weights: Jang et al. 2017, section 2.2."""
    hard = functional.one_hot(weights.argmax(dim=1), weights.shape[1]).to(weights.dtype)
    return hard + (weights - weights.detach())


RELAXED: dict[str, Callable[[Tensor], Tensor] | None] = {
    "none": None,
    "soft": lambda weights: weights,
    "straight_through": straight_through,
}
"""What is read in the place of an own word, from the weights of all ids; none: the word, without a gradient."""


class RelaxedFeedBack:
    """Scheduled sampling as `taught` throws its coins, but own words are read as weights of all ids.

    The weights are softmax(logits / temperature), which for a low temperature is the likeliest id (Goyal et al. 2017,
    section 3, whose alpha is 1 / temperature); with `draw` noise is added, so that the likeliest is a draw from
    softmax(logits) (Gumbel-softmax: Jang et al. 2017, equation 2). PyTorch's own generator draws it.
    """

    def __init__(
        self, taught: TrainingFeedBack, relax: Callable[[Tensor], Tensor], temperature: float, draw: bool
    ) -> None:
        self.taught, self.relax, self.temperature, self.draw = taught, relax, temperature, draw
        self.outputs: list[Output] = []

    def start(self, arrays: Arrays, memory: Memory) -> Turn:
        self.arrays, self.outputs = arrays, []
        self.banned = arrays.native(banned_ids(self.taught.special, False))
        return self.taught.start(arrays, memory)

    def next(self, output: Output) -> Turn:
        self.outputs.append(output)
        step = len(self.outputs)
        if step == self.taught.target.shape[1]:
            return Turn(None)
        own = self.weights(wide(output.logits[:, -1]))
        gold = self.arrays.native(self.taught.target[:, step - 1])
        coins = self.arrays.native(self.taught.taught[:, step - 1])
        return Turn(torch.where(coins[:, None], functional.one_hot(gold, own.shape[1]).to(own.dtype), own)[:, None])

    def weights(self, logits: Tensor) -> Tensor:  # (R, V) -> (R, V)
        """What is read in the place of an own word."""
        logits = logits.index_fill(1, self.banned, -torch.inf)
        if self.draw:
            logits = logits - torch.rand_like(logits).clamp(min=TINY).log().neg().clamp(min=TINY).log()
        return self.relax(torch.softmax(logits / self.temperature, dim=1))

    def result(self) -> Output:
        parts = zip(*self.outputs, strict=True)
        return Output(*(self.arrays.join(list(part)) for part in parts))
