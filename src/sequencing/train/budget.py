"""How many tokens a batch has where `train.batch_tokens` is "auto": as many as memory holds, and no more than pay.

Tried once, when a run begins: budgets that double, and of each the largest of its first batches, forth and back as the
run itself would go in its last steps. Gradients are given up again; weights, optimiser and chance stay as they are to
the bit. What was chosen is part of a checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from math import inf

import torch

from sequencing.data.sampling import BatchStream
from sequencing.memory_use import peak_of, room, used
from sequencing.run_config import RunConfig
from sequencing.train.checkpoint import Checkpoint
from sequencing.train.compiling import once
from sequencing.train.memory import lacks_memory
from sequencing.train.session import Session
from sequencing.train_config import AUTO, TrainConfig
from sequencing_np.batch import Batch
from sequencing_np.errors import ConfigError

LEAST = 1_024  # tokens: where it begins
MOST = {"cpu": 16_384, "cuda": 131_072}  # by the kind of device: larger batches are no faster
UNKNOWN = 8_192  # where nobody says how much memory there is
SHARE = 0.8  # of the memory, at most
STEPS = 100  # an epoch is to have as many
FIRST = 32  # batches that the largest is taken of
LATE = 1_000_000  # the step whose work is tried, in a run without a last one


def budget_of(config: RunConfig, checkpoint: Checkpoint | None) -> int:
    """What is said, or was found when the run began; before that, where the search begins."""
    asked = config.train.batch_tokens
    if asked == AUTO:
        return int(checkpoint.state["batch_tokens"]) if checkpoint else LEAST
    return int(asked)


def choose_budget(session: Session) -> None:
    """For a new run that is to find it; the stream then has batches of it."""
    if session.ranks.shards:
        raise ConfigError(
            f'train.batch_tokens = "{AUTO}": is not tried where each rank keeps a part of the model '
            "(train.shard = true), as ranks that lack memory would leave the others waiting; give a number"
        )
    with torch.random.fork_rng([session.guard.device] if session.guard.device.type == "cuda" else []):
        tokens, reason = found(session)
    session.batch_tokens, session.stream = tokens, of_budget(session.stream, tokens)
    session.progress.say(f'train.batch_tokens = "{AUTO}": {tokens:,}, as {reason}')


def found(session: Session) -> tuple[int, str]:
    """The budget, and why it is no larger; all ranks find the same."""
    device, ranks = session.guard.device, session.ranks
    whole, before, beside = room(device, ranks.count), used(device), kept_beside(session)

    def everywhere(here: bool) -> bool:
        return round(ranks.total([here])[0]) == ranks.count

    if not everywhere(whole is not None):
        return UNKNOWN, "the system does not say how much memory there is"
    limit, tokens = SHARE * (whole or 0), LEAST
    stream = of_budget(session.stream, tokens)
    while True:
        batches = hardest(stream)
        peak = tried(session, batches)
        if not everywhere(peak < inf and peak + beside <= limit):
            if tokens > LEAST:
                return tokens // 2, f"a batch of {tokens:,} does not fit into {shown(limit)}"
            raise ConfigError(
                f'train.batch_tokens = "{AUTO}": a batch of {tokens:,} tokens does not fit into {shown(limit)}, '
                f"{SHARE:.0%} of what is free ({device}). Set train.recompute = true (blocks of self-attention), lower "
                "data.max_length, make the model smaller, or give a number"
            )
        if tokens >= MOST.get(device.type, UNKNOWN):
            return tokens, f"larger batches are no faster ({device})"
        stream = of_budget(stream, 2 * tokens)
        if len(stream.plan(0)) < STEPS * session.config.train.accumulate:
            return tokens, f"with more an epoch has fewer than {STEPS} steps"
        wanted = beside + before + max(peak - before, 0) * 2 * tokens / max(map(cells, batches))
        if not everywhere(wanted <= limit):
            return tokens, f"one of {2 * tokens:,} would take {shown(wanted)}, and {shown(limit)} may be taken"
        tokens *= 2


def of_budget(stream: BatchStream, tokens: int) -> BatchStream:
    """The same data in batches of another budget."""
    return BatchStream(stream.pairs, *stream.vocabs, replace(stream.options, batch_tokens=tokens))


def hardest(stream: BatchStream) -> list[Batch]:
    """Of the first batches the one of the most tokens, and the one of the longest pairs where it is another."""
    first = [placed.batch for placed in islice(stream.batches(), FIRST)]
    most, longest = max(first, key=cells), max(first, key=lambda batch: cells(batch) / len(batch.target))
    return [most] if longest is most else [most, longest]


def cells(batch: Batch) -> int:
    """Tokens of source and target, padding included."""
    return batch.source_mask.size + batch.target_mask.size


def tried(session: Session, batches: Sequence[Batch]) -> float:
    """Bytes that are taken at most while the batches are learnt from, one after the other; no end of them where memory
    was not enough."""
    device, now = session.guard.device, session.step
    session.step = max(session.config.train.steps or LATE, 1) - 1
    try:
        return peak_of(lambda: once(session, batches), device)
    except Exception as error:
        if not lacks_memory(error):
            raise
    finally:
        session.step = now
        session.learning.zero_grad(set_to_none=True)
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return inf


def kept_beside(session: Session) -> int:
    """Bytes that a trial does not see: what the optimiser keeps, sums of gradients, on a CPU what is being saved."""
    settings = session.config.train
    whole, learnt = (sum(each.numel() * each.element_size() for each in part) for part in parameters(session))
    kept = moments(settings) * learnt
    sums = len(session.ranks.own(settings.accumulate)).bit_length() - 1  # `PairwiseSum`, while the last batch is read
    saved = (2 + bool(settings.average)) * whole + kept if session.guard.device.type == "cpu" else 0
    return kept + sums * learnt + saved


def parameters(session: Session) -> tuple[list[torch.nn.Parameter], list[torch.nn.Parameter]]:
    """All of the model, and those that are learnt."""
    every = list(session.learning.parameters())
    return every, [parameter for parameter in every if parameter.requires_grad]


def moments(settings: TrainConfig) -> int:
    """Numbers that an optimiser keeps of each that it learns: Adam's two means, sgd's momentum."""
    return int(settings.momentum > 0) if settings.optimizer == "sgd" else 2


def shown(size: float) -> str:
    """Bytes as people read them."""
    return f"{size / 1e9:,.1f} GB"
