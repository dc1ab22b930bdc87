"""Where every head of every layer looks, as weights: hooks that are there for one pass and gone after it.

The models keep no weights for this and pay nothing when nobody watches: self-attention runs on a fused kernel that has
none to give, and several heads say only their mean. Both are computed here once more, from what the kernel was given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sequencing.attention import ATTENTIONS
from sequencing.attention_scores import MultiHeadAttention, SummaryAttention
from sequencing.layers import masked_softmax, softmax, unseen, wide
from sequencing.self_attention import NEVER, SelfAttention


class Layer(NamedTuple):
    """A part of a model that looks somewhere."""

    name: str  # its path in the model
    module: Any
    rows: str  # who looks: "source" or "target"
    columns: str  # at what


Maps = dict[str, list[Tensor]]
"""By a layer's name what it looked at, a part for each call: (B, H, T, S), together (B, H, T, S)."""


def layers(model: Any) -> list[Layer]:
    """What looks in a model, in the order of its modules: self-attention, and each attention to one memory."""
    found = []
    for name, module in model.named_modules():
        side = "source" if name.startswith("encoder") else "target"
        if type(module) is SelfAttention:
            found.append(Layer(name, module, side, side))
        elif is_attention(module) and not any(map(is_attention, list(module.modules())[1:])):
            found.append(Layer(name, module, "target", "source"))
    return found


def looks_at_source(model: Any) -> list[Layer]:
    """The attention of each decoder layer to the source's tokens; of several memories the first, which has those."""
    outermost: dict[str, Layer] = {}
    tops = [name for name, module in model.named_modules() if is_attention(module)]
    for layer in layers(model):
        if layer.columns != layer.rows and type(layer.module) is not SummaryAttention:
            top = next(name for name in tops if f"{layer.name}.".startswith(f"{name}."))
            if not getattr(model.get_submodule(top), "blind", False):
                outermost.setdefault(top, layer)
    return list(outermost.values())


def is_attention(module: Any) -> bool:
    """Whether a module is a row of ATTENTIONS, one's own rows too."""
    return any(type(module) is row for row in ATTENTIONS.values())


@contextmanager
def watched(chosen: list[Layer]) -> Iterator[Maps]:
    """Within the block the layers write down where they look."""
    maps: Maps = {layer.name: [] for layer in chosen}
    with ExitStack() as stack:
        for layer in chosen:
            watch = self_look if type(layer.module) is SelfAttention else memory_look
            stack.callback(watch(layer.module, maps[layer.name].append))
        yield maps


def whole(parts: list[Tensor]) -> Tensor:  # calls x (B, H, T, S) -> (B, H, T, S)
    """The steps of all calls one after the other."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)


def self_look(module: Any, keep: Callable[[Tensor], None]) -> Callable[[], None]:
    """Let a self-attention tell its weights; what is returned makes it silent again."""
    own = module.look

    def look(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        keep(self_weights(query, key, mask))
        answer: Tensor = own(query, key, value, mask)
        return answer

    module.look = look  # on this one module, over its class's method
    return lambda: delattr(module, "look")


def self_weights(query: Tensor, key: Tensor, mask: Tensor | None) -> Tensor:
    # (R, H, T, D), (R, G, N, D), (..., T, N) -> (R, H, T, N)
    """What the fused kernel weighs its values with; several heads share a group of keys."""
    key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    scores = wide(query * query.shape[-1] ** -0.5 @ key.transpose(2, 3))
    if mask is not None:
        bias = unseen(mask, scores.dtype) if mask.dtype == torch.bool else mask.to(scores.dtype).clamp(min=NEVER)
        scores = scores + bias
    return softmax(scores)


def memory_look(module: nn.Module, keep: Callable[[Tensor], None]) -> Callable[[], None]:
    """The same for an attention to a memory."""
    weigh = HEADS.get(type(module), one_head)
    handle = module.register_forward_hook(lambda own, given, said: keep(weigh(own, given, said)))
    return handle.remove


def one_head(module: Any, given: Any, said: Any) -> Tensor:  # -> (B, 1, T, S)
    """What the attention itself says."""
    alignment: Tensor = said.alignment
    return alignment[:, None]


def each_head(module: Any, given: Any, said: Any) -> Tensor:  # -> (B, H, T, S)
    """The weights of which multi-head attention says the mean."""
    query, memory = given
    scores = (module.split(module.query(query)) * module.scale) @ memory.keys
    return masked_softmax(scores, memory.mask[:, None, None])


HEADS: dict[type, Callable[[Any, Any, Any], Tensor]] = {MultiHeadAttention: each_head}
"""The attentions that say less than they know; any other row of ATTENTIONS has one head."""
