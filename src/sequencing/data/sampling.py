"""The batches of training, epoch after epoch, and of a fixed set.

Which rows stand in which batch says order.py; here they become padded arrays. Batch n of an epoch is a function of
(seed, epoch, n), whatever was given before and whoever asks: a position is where a stream goes on, at once. Where
merges of subwords are dropped, a sentence has other ids in each epoch, made from its text; then the pairs of some
batches are put together anew, by the lengths that they have now. The budget counts the tokens that they have without.

Knows nothing of files (the store and the corpus do) and nothing of models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import numpy as np

from sequencing.data.order import OrderOptions, Plan, best_layout
from sequencing.data.store import Pairs
from sequencing_np.batch import (
    Batch,
    PadIds,
    Ragged,
    length_batches,
    make_batch,
    ragged,
    token_batches,
)
from sequencing_np.config import require
from sequencing_np.errors import DataError
from sequencing_np.vocab import Vocabulary


@dataclass(frozen=True)
class SamplingOptions:
    """How batches are drawn."""

    batch_tokens: int = 8192  # of a batch, source and target together, padding included
    max_length: int = 256  # tokens per side, EOS included; longer pairs are left out
    seed: int = 1
    max_epochs: int | None = None  # None: for ever
    dropouts: tuple[float, float] = (0.0, 0.0)  # shares of the merges of source and target that are left out
    shares: int = 1  # batches that make a step together; an epoch has a multiple of them

    def __post_init__(self) -> None:
        for field in ("batch_tokens", "max_length", "shares"):
            require(getattr(self, field) >= 1, f"{field} = {getattr(self, field)}: must be at least 1")
        require(self.seed >= 0, f"seed = {self.seed}: must not be negative")
        epochs = self.max_epochs
        require(epochs is None or epochs >= 0, f"max_epochs = {epochs}: must not be negative")


class Position(NamedTuple):
    """How far a stream has come: the epoch (from 0) and how many of its batches have been given, in whole steps."""

    epoch: int = 0
    batch: int = 0


START = Position()
POOL = 64  # batches whose pairs are put together anew where merges are left out


class Placed(NamedTuple):
    """A batch and the position after the step that it is a share of, from which the stream continues."""

    batch: Batch
    position: Position


class EvalBatch(NamedTuple):
    """A batch of a fixed set, and which of its pairs are in it."""

    rows: np.ndarray  # (B,)
    batch: Batch


class BatchStream:
    """Training batches, epoch after epoch. Nothing in it depends on what was asked before."""

    def __init__(
        self, pairs: Pairs, source_vocab: Vocabulary, target_vocab: Vocabulary, options: SamplingOptions
    ) -> None:
        self.pairs, self.options = pairs, options
        self.vocabs = (source_vocab, target_vocab)
        self.pad_ids = PadIds(source_vocab.special.pad, target_vocab.special.pad)
        weights = tuple(corpus.weight for corpus in pairs.corpora)
        self.order = OrderOptions(options.batch_tokens, options.max_length, options.seed, weights, options.shares)
        self.layout = best_layout(pairs.order.cells, self.order)
        self.plans: dict[int, Plan] = {}  # of the last epoch or two: they can be made again at any time
        self.pool: tuple[tuple[int, int], list[Batch]] = ((-1, -1), [])  # the last one that was cut anew
        require_pairs(self)

    def plan(self, epoch: int) -> Plan:
        """What an epoch sees, and in which order."""
        plan = self.plans.get(epoch)
        if plan is None:
            plan = Plan(self.pairs.order.rows, self.pairs.order.cells, self.layout, self.order, epoch)
            self.plans = {epoch: plan, **{old: self.plans[old] for old in self.plans if old == epoch - 1}}
        return plan

    def positions(self, start: Position = START, own: range | None = None) -> Iterator[Position]:
        """Where each batch stands, from `start` on, for ever or up to max_epochs; `batch` counts from 0.

        `own` are the shares of each step that are wanted, all of them where nothing is said.
        """
        shares = self.options.shares
        epoch, given = start
        if given > len(self.plan(epoch)):
            raise DataError(
                f"the position to continue from is after batch {given}, but epoch {epoch} has {len(self.plan(epoch))} "
                "batches; continue with the same data, vocabularies and sampling options"
            )
        while self.options.max_epochs is None or epoch < self.options.max_epochs:
            for first in range(given, len(self.plan(epoch)), shares):
                yield from (Position(epoch, first + share) for share in own or range(shares))
            epoch, given = epoch + 1, 0

    def batches(self, start: Position = START, own: range | None = None) -> Iterator[Placed]:
        """The batches after a position."""
        for position in self.positions(start, own):
            yield self.placed(position)

    def placed(self, position: Position) -> Placed:
        """The batch at a position, and the position after the step that it belongs to."""
        (epoch, number), shares = position, self.options.shares
        return Placed(self.batch(epoch, number), Position(epoch, (number // shares + 1) * shares))

    def batch(self, epoch: int, number: int) -> Batch:
        """Batch `number` of an epoch, both from 0."""
        plan = self.plan(epoch)
        if not any(self.options.dropouts):
            rows = plan.rows(number)
            return Batch(
                *self.pairs.source.padded(rows, self.pad_ids.source),
                *self.pairs.target.padded(rows, self.pad_ids.target),
            )
        pool = (epoch, number // POOL)
        if self.pool[0] != pool:
            first = POOL * pool[1]
            self.pool = (pool, self.cut_anew(plan, range(first, min(first + POOL, len(plan))), epoch))
        return self.pool[1][number % POOL]

    def cut_anew(self, plan: Plan, numbers: range, epoch: int) -> list[Batch]:
        """As many batches of the pairs of some, merges left out; only now it is known how long the pairs are."""
        rows = np.concatenate([plan.rows(number) for number in numbers])
        random = Random(f"{self.options.seed} {epoch} {numbers.start}")
        source, target = (self.sampled(side, rows, random) for side in (0, 1))
        batches = []
        for part in even_parts(source.lengths, target.lengths, len(numbers)):
            batches.append(Batch(*source.padded(part, self.pad_ids.source), *target.padded(part, self.pad_ids.target)))
        random.shuffle(batches)
        return batches

    def sampled(self, side: int, rows: np.ndarray, random: Random) -> Ragged:  # (B,)
        """One side of some rows, with its share of the merges left out."""
        vocab, given, share = (
            self.vocabs[side],
            (self.pairs.source, self.pairs.target)[side],
            self.options.dropouts[side],
        )
        kept = [given.flat[a:b] for a, b in zip(given.offsets[rows], given.offsets[rows + 1], strict=True)]
        if not share:
            return ragged(kept)
        return ragged([vocab.sample(vocab.decode(row.tolist()), share, random) for row in kept])


def even_parts(source: np.ndarray, target: np.ndarray, count: int) -> list[np.ndarray]:  # (N,), (N,) -> count x (B,)
    """Positions in parts of pairs of like lengths, all of about as many tokens, padding included.

    The smallest budget that needs no more parts than `count`; where it needs fewer, the largest parts are halved.
    """
    strip = target // 2
    order = np.lexsort((np.where(strip % 2, source, -source), strip))
    lengths = (source + target)[order]
    low, high = 1, int(lengths.max(initial=1)) * max(1, len(order))
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(token_batches(lengths, middle)) <= count else (middle + 1, high)
    parts = [order[part] for part in token_batches(lengths, low)]
    while len(parts) < count:
        parts.sort(key=len)
        largest = parts.pop()
        parts += [largest[: len(largest) // 2], largest[len(largest) // 2 :]]
    return parts


def require_pairs(stream: BatchStream) -> None:
    """DataError where no pair is short enough."""
    if not len(stream.layout.cells):
        raise DataError(
            f"no pair has at most {stream.options.max_length} tokens on both sides ({len(stream.pairs)} are longer); "
            "raise max_length, or look at how the text is cut into tokens"
        )


def eval_batches(
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]], batch_tokens: int, pad_ids: PadIds
) -> Iterator[EvalBatch]:
    """A fixed set of id pairs once, longest first; `in_order` of `sequencing_np.batch` restores the order."""
    lengths = np.array([(len(source), len(target)) for source, target in pairs], dtype=np.int64).reshape(-1, 2)
    for rows in length_batches(lengths, batch_tokens):
        yield EvalBatch(rows, make_batch([pairs[row] for row in rows.tolist()], pad_ids))
