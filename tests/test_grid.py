"""Every encoder with every decoder, and every attention with every decoder, learns to copy and to reverse.

The rows come from the tables alone, each in its default form but small. One model learns both tasks: the first word
says which. Learnt is learnt when greedy search gives every answer, on both floors.
"""

import dataclasses
import itertools
from typing import Any

import pytest
import torch

from architectures import PAIRS, SPECIAL, settled
from sequencing.loss import cross_entropy
from sequencing.model import Model
from sequencing_np.attention import ATTENTIONS
from sequencing_np.batch import Batch, PadIds, make_batch
from sequencing_np.config import to_dict
from sequencing_np.decode import dynamic_decode
from sequencing_np.feedback import SampleFeedBack, TrainingFeedBack
from sequencing_np.limits import Limits
from sequencing_np.model import CONFIGS, ModelConfig, build_model
from sequencing_np.weights import nest

COPY, REVERSE, FIRST, LETTERS = 4, 5, 6, 4
SIZE = FIRST + LETTERS
WIDTH = 32
LIMITS = Limits(1.0, 2)
STEPS = 500  # at most
IMPOSSIBLE = {("pooling", "fixed_vector")}  # a mean of words and places does not know which word stood at which place


def tasks() -> Batch:
    """All strings of one to three of four letters, to be copied and to be reversed."""
    strings = [list(s) for n in (1, 2, 3) for s in itertools.product(range(FIRST, SIZE), repeat=n)]
    pairs = [([COPY, *s, SPECIAL.eos], [*s, SPECIAL.eos]) for s in strings]
    pairs += [([REVERSE, *s, SPECIAL.eos], [*s[::-1], SPECIAL.eos]) for s in strings]
    return make_batch(pairs, PadIds(SPECIAL.pad, SPECIAL.pad))


def small(config: Any) -> Any:
    """The same settings with small widths, one or two layers and no dropout."""
    given: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            given[field.name] = small(value)
        elif isinstance(value, tuple):
            given[field.name] = tuple(map(small, value))
        elif field.name.endswith("dropout"):
            given[field.name] = 0.0
        elif field.name.endswith("size") and value:
            given[field.name] = WIDTH
        elif field.name == "layers":
            given[field.name] = min(value, 2)
        elif field.name == "heads":
            given[field.name] = 2
        elif field.name == "window":
            given[field.name] = 1  # strings this short would be one window
    return dataclasses.replace(config, **given)


def tiny(encoder: str, decoder: str, attention: str | None) -> ModelConfig:
    """A small model of these rows."""
    parts = {"encoder": small(CONFIGS["encoder"][encoder]()), "decoder": small(CONFIGS["decoder"][decoder]())}
    parts = {
        part: dataclasses.replace(config, type=row)
        for (part, config), row in zip(parts.items(), (encoder, decoder), strict=True)
    }
    values = {part: to_dict(config) for part, config in parts.items()} | {"source_size": SIZE, "target_size": SIZE}
    if attention:
        values["decoder"]["attention"]["type"] = attention
    return settled(values)


def wrong(model: Any, batch: Batch) -> list[list[int]]:
    """The targets that greedy search misses."""
    found = dynamic_decode(
        model.decoder, model.encode(batch.source, batch.source_mask), SampleFeedBack(SPECIAL, LIMITS)
    )
    wanted = [list(ids[mask][:-1]) for ids, mask in zip(batch.target, batch.target_mask, strict=True)]
    return [want for want, (answer, *_) in zip(wanted, found, strict=True) if want != answer.tokens]


def learn(config: ModelConfig) -> Any:
    """The model as soon as its greedy answers are all right; AssertionError where they never are."""
    torch.manual_seed(1)
    model, batch = Model(config), tasks()
    optimizer = torch.optim.Adam(model.parameters(), betas=(0.9, 0.98))
    target, mask = torch.from_numpy(batch.target), torch.from_numpy(batch.target_mask)
    for step in range(1, STEPS + 1):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * min(step / 20, 1.0)
        memory = model.encode(batch.source, batch.source_mask)
        output = dynamic_decode(model.decoder, memory, TrainingFeedBack(batch.target, SPECIAL))
        loss = cross_entropy(output.logits, target, mask) / mask.sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0 and float(loss.detach()) < 0.1:
            with torch.inference_mode():
                if not wrong(model, batch):
                    return model
    raise AssertionError(f"loss {float(loss.detach()):.3f} after {STEPS} steps; wrong: {wrong(model, batch)[:5]}")


HAVE = [
    row
    for row, config in CONFIGS["decoder"].items()
    if "attention" in {part.name for part in dataclasses.fields(config)}
]
ROWS = [(encoder, decoder, None) for encoder, decoder in PAIRS if (encoder, decoder) not in IMPOSSIBLE]
ROWS += [("bidirectional_rnn", decoder, attention) for decoder in HAVE for attention in ATTENTIONS]


@pytest.mark.parametrize(("encoder", "decoder", "attention"), ROWS)
def test_every_row_learns(encoder: str, decoder: str, attention: str | None) -> None:
    model = learn(tiny(encoder, decoder, attention))
    ground = build_model(model.config, nest(model.weights()))
    assert wrong(ground, tasks()) == []
