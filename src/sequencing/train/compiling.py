"""Whether a run learns through compiled blocks: as it was told, or as `auto` finds by trying a few batches both ways.

A trial takes gradients and gives them up again; weights, optimiser and chance stay as they are to the bit. It is made
at every start, with the first batches of the run: the sizes that are seen first have a say in what is compiled, and so
these are always the same. What was chosen is part of a checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import islice

import torch

from sequencing.compiled import compile_blocks, lacking, leave_blocks
from sequencing.train.memory import lacks_memory
from sequencing.train.objectives import step_losses
from sequencing.train.session import Session
from sequencing.train.update import chance
from sequencing.train_config import AUTO
from sequencing_np.batch import Batch

BATCHES = 3  # of a trial
ROUNDS = 3  # of which the fastest counts
PAYS = 0.95  # of the time without, at most


def choose_compile(session: Session, known: bool | None) -> None:
    """Compile where it was asked for or pays, and say so; `known` is what a run that goes on has chosen before."""
    asked = session.config.train.compile
    if known is False or (known is None and asked is False):
        return
    session.compiled, said = tried(session, measured=known is None and asked == AUTO)
    if known is None or not session.compiled:
        shown = f'"{asked}"' if isinstance(asked, str) else str(asked).lower()
        session.progress.say(f"train.compile = {shown}: {said}")
    own, ranks = session.compiled, session.ranks
    session.compiled = round(ranks.total([own])[0]) == ranks.count
    if own and not session.compiled:
        leave_blocks(session.model)
        session.progress.say("not compiled after all, as it is not on another rank")


def tried(session: Session, measured: bool) -> tuple[bool, str]:
    """Whether the blocks now are compiled, and what is to be said of it; `measured`: only where that pays."""
    model = session.model
    if missing := lacking(session.guard.device):
        return False, f"not compiled, as {missing} is not there"
    batches = [placed.batch for placed in islice(session.stream.batches(), BATCHES)]
    before = seconds(session, batches) if measured else 0.0
    begin = time.perf_counter()
    if not compile_blocks(model):
        return False, "not compiled, as the model has no blocks of self-attention"
    try:
        once(session, batches)
        taken = time.perf_counter() - begin
        now = seconds(session, batches) if measured else 0.0
    except Exception as error:
        leave_blocks(model)
        session.learning.zero_grad(set_to_none=True)
        if lacks_memory(error):
            raise
        reason = str(error).strip().split("\n", 1)[0][:200]  # whatever the compiler dislikes: it learns without it
        return False, f"not compiled, as that fails here ({type(error).__name__}: {reason})"
    if not measured:
        return True, f"compiled in {taken:.0f} s"
    pays = now <= PAYS * before
    if not pays:
        leave_blocks(model)
    numbers = f"{now:.3g} s for {len(batches)} batches, and {before:.3g} s without; {taken:.0f} s to compile"
    return pays, f"{'' if pays else 'not '}compiled ({numbers})"


def seconds(session: Session, batches: Sequence[Batch]) -> float:
    """What the batches take, forth and back."""
    once(session, batches)
    found = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        once(session, batches)
        found.append(time.perf_counter() - begin)
    return min(found)


def once(session: Session, batches: Sequence[Batch]) -> None:
    """The gradients of some batches, which are thrown away."""
    session.model.train()
    for number, batch in enumerate(batches):
        losses = step_losses(session, batch, chance(session.config.train.seed, 0, number))
        session.loss_scale.up(losses.whole / batch.target_mask.sum()).backward()
        session.learning.zero_grad(set_to_none=True)
    if session.guard.device.type == "cuda":
        torch.cuda.synchronize(session.guard.device)
