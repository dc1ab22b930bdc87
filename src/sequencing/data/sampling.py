"""The order in which training sees a corpus: a sort-and-shuffle window, and batches by token budget.

A window of pairs is read, encoded, sorted by length, cut into batches of a bounded number of padded tokens, and the
batches are shuffled. The order of a window is a pure function of (seed, epoch, window), so a position (epoch, batch)
continues a stopped stream exactly. A corpus that fits one window is encoded once, kept as flat arrays and shuffled as
a whole in each epoch; a larger one is read again each epoch, its windows in the order of the files, and continuing in
the middle of an epoch reads and encodes that epoch's windows up to the position again. So it is with any corpus where
merges of subwords are dropped: then a sentence has other ids in each epoch, a pure function of (seed, epoch, sentence).

Knows nothing of files (the corpus does) and nothing of models.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from random import Random
from typing import NamedTuple, Protocol

import numpy as np

from sequencing.data.corpus import FIRST, Counted, Entry
from sequencing_np.batch import (
    Batch,
    PadIds,
    Ragged,
    length_batches,
    make_batch,
    offsets_of,
    token_batches,
)
from sequencing_np.config import require
from sequencing_np.errors import DataError
from sequencing_np.vocab import Special


class Encoder(Protocol):
    """What sampling asks of a vocabulary."""

    @property
    def special(self) -> Special: ...

    def encode(self, text: str, /) -> list[int]: ...

    def sample(self, text: str, dropout: float, generator: Random, /) -> list[int]: ...


class Entries(Protocol):
    """What sampling asks of a corpus: the same usable pairs in the same order, each time it is asked."""

    @property
    def name(self) -> str: ...

    def entries(self) -> Iterator[Entry]: ...


@dataclass(frozen=True)
class SamplingOptions:
    """How batches are drawn."""

    batch_tokens: int = 4096  # padded tokens per batch, on the side that has more of them
    max_length: int = 256  # tokens per side, EOS included; longer pairs are dropped and counted
    window: int = 200_000  # pairs that are sorted and shuffled together
    seed: int = 1
    max_epochs: int | None = None  # None: for ever
    dropouts: tuple[float, float] = (0.0, 0.0)  # shares of the merges of source and target that are left out

    def __post_init__(self) -> None:
        for field in ("batch_tokens", "max_length", "window"):
            require(getattr(self, field) >= 1, f"{field} = {getattr(self, field)}: must be at least 1")
        require(self.seed >= 0, f"seed = {self.seed}: must not be negative")
        epochs = self.max_epochs
        require(epochs is None or epochs >= 0, f"max_epochs = {epochs}: must not be negative")


class Position(NamedTuple):
    """How far a stream has come: the epoch (from 0) and how many of its batches have been given."""

    epoch: int = 0
    batch: int = 0


START = Position()


class Placed(NamedTuple):
    """A batch and the position after it, from which the stream continues with the next one."""

    batch: Batch
    position: Position


class Window(NamedTuple):
    """Encoded pairs."""

    source: Ragged
    target: Ragged
    dropped: Counted  # pairs of which a side has too many tokens


class EvalBatch(NamedTuple):
    """A batch of a fixed set, and which of its pairs are in it."""

    rows: np.ndarray  # (B,)
    batch: Batch


class BatchStream:
    """Training batches, epoch after epoch."""

    def __init__(self, corpus: Entries, source_vocab: Encoder, target_vocab: Encoder, options: SamplingOptions) -> None:
        self.corpus, self.options = corpus, options
        self.source_vocab, self.target_vocab = source_vocab, target_vocab
        self.pad_ids = PadIds(source_vocab.special.pad, target_vocab.special.pad)
        self.epoch_batches: int | None = None  # batches in an epoch, once one has been seen
        self._whole: Window | None = None  # the corpus, if one window holds it
        self._dropped: dict[int, Counted] = {}  # by window
        self._random = Random()  # seeded for each pair

    def batches(self, start: Position = START) -> Iterator[Placed]:
        """The batches after a position, for ever or up to max_epochs."""
        epoch, given = start
        while self.options.max_epochs is None or epoch < self.options.max_epochs:
            number = 0
            for index, window in enumerate(self._windows(epoch)):
                for rows in self.plan(window, epoch, index):
                    number += 1
                    if number > given:
                        yield Placed(self._batch(window, rows), Position(epoch, number))
            self.epoch_batches = number
            self._check(number, given)
            epoch, given = epoch + 1, 0

    def plan(self, window: Window, epoch: int, index: int) -> list[np.ndarray]:
        """The rows of each batch of a window, in the order of training."""
        lengths = np.stack([window.source.lengths, window.target.lengths], axis=1)
        source, target = lengths.T
        # Source lengths rise and fall by turns, so that a batch across two target lengths has sources of one length.
        winding = np.where(target % 2, source, -source)
        random = np.random.PCG64(np.random.SeedSequence([self.options.seed, epoch, index]))
        order = np.lexsort((random.random_raw(len(lengths)), winding, target))
        batches = token_batches(lengths[order], self.options.batch_tokens)
        shuffled = np.argsort(random.random_raw(len(batches)), kind="stable")
        return [order[batches[number]] for number in shuffled]

    @property
    def dropped(self) -> Counted:
        """The pairs left out so far as too long; of the whole corpus once an epoch has been read."""
        windows = [self._dropped[index] for index in sorted(self._dropped)]
        first = chain.from_iterable(window.first for window in windows)
        return Counted(sum(window.count for window in windows), list(islice(first, FIRST)))

    def _windows(self, epoch: int) -> Iterator[Window]:
        if self._whole is not None:
            yield self._whole
            return
        entries = self.corpus.entries()
        upcoming = next(entries, None)
        index = 0
        same = not any(self.options.dropouts)  # in every epoch
        while upcoming is not None:
            part = chain([upcoming], islice(entries, self.options.window - 1))
            window = self._encode(part, epoch, index * self.options.window)
            upcoming = next(entries, None)
            self._dropped[index] = window.dropped
            if index == 0 and upcoming is None and same:
                self._whole = window
            yield window
            index += 1

    def _encode(self, entries: Iterable[Entry], epoch: int, first: int) -> Window:
        sides = array("i"), array("i")
        lengths = array("q"), array("q")
        dropped = Counted()
        for number, (source, target, file, line) in enumerate(entries, start=first):
            rows = self._ids(source, target, epoch, number)
            if max(map(len, rows)) > self.options.max_length:
                dropped.note(file, line)
                continue
            for ids, flat, sizes in zip(rows, sides, lengths, strict=True):
                flat.extend(ids)
                sizes.append(len(ids))
        source_side, target_side = (
            Ragged(np.array(flat, dtype=np.int32), offsets_of(np.array(sizes, dtype=np.int64)))
            for flat, sizes in zip(sides, lengths, strict=True)
        )
        return Window(source_side, target_side, dropped)

    def _ids(self, source: str, target: str, epoch: int, number: int) -> tuple[list[int], list[int]]:
        """Both sides of the pair of this number in the corpus."""
        left, right = self.options.dropouts
        if left or right:
            self._random.seed(f"{self.options.seed} {epoch} {number}")
        return (
            self.source_vocab.sample(source, left, self._random) if left else self.source_vocab.encode(source),
            self.target_vocab.sample(target, right, self._random) if right else self.target_vocab.encode(target),
        )

    def _batch(self, window: Window, rows: np.ndarray) -> Batch:  # (B,) -> Batch
        source = window.source.padded(rows, self.pad_ids.source)
        target = window.target.padded(rows, self.pad_ids.target)
        return Batch(*source, *target)

    def _check(self, number: int, given: int) -> None:
        name, limit = self.corpus.name, self.options.max_length
        if not number:
            raise DataError(
                f"{name}: no pair has at most {limit} tokens on both sides ({self.dropped.count} are longer); "
                "raise max_length, or look at how the text is cut into tokens"
            )
        if number < given:
            raise DataError(
                f"{name}: the position to continue from is after batch {given}, but an epoch has {number} batches; "
                "continue with the same data, vocabularies and sampling options"
            )


def eval_batches(
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]], batch_tokens: int, pad_ids: PadIds
) -> Iterator[EvalBatch]:
    """A fixed set of id pairs once, longest first; `in_order` of `sequencing_np.batch` restores the order."""
    lengths = np.array([(len(source), len(target)) for source, target in pairs], dtype=np.int64).reshape(-1, 2)
    for rows in length_batches(lengths, batch_tokens):
        yield EvalBatch(rows, make_batch([pairs[row] for row in rows.tolist()], pad_ids))
