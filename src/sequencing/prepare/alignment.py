"""Looks at places all over each file for sides that are shifted against each other, and says so."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from sequencing.corpora.alignment_check import PLACES, RUN, Pair, find_shift
from sequencing.prepare.shards import Shard, read_text, split_pair


def shifts(work: Path, shards: Sequence[Shard]) -> list[str]:
    """A sentence for each file whose sides seem to be shifted."""
    found = []
    for _, group in groupby(shards, key=attrgetter("part")):
        part = list(group)
        shift = find_shift(runs_of(work, part))
        if shift is not None:
            found.append(shift.sentence(part[0].record["file"]))
    return found


def runs_of(work: Path, part: Sequence[Shard]) -> list[list[Pair]]:
    """Consecutive pairs at some places of a file. A run that a shard is too short for is shorter."""
    rows = sum(shard.rows for shard in part)
    starts = sorted({part[0].start + place * rows // PLACES for place in range(PLACES)})
    runs = []
    for shard in part:
        own = [start - shard.start for start in starts if shard.start <= start < shard.start + shard.rows]
        lines = read_text(work, shard) if own else []
        for row, after in zip(own, [*own, len(lines)][1:], strict=True):
            runs.append([split_pair(line) for line in lines[row : min(row + RUN, after)]])
    return runs
