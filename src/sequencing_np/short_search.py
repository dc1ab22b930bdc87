"""A search among some target ids instead of all: the same as if the logits of all others were minus infinity.

One batch has the union of what its sentences may need; a sentence's logits outside its own list are minus infinity, so
its answers do not depend on the others. Feedbacks, rules and the loop see a smaller vocabulary and know nothing of it.
Serves both floors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from sequencing_np.errors import SearchError
from sequencing_np.feedback import Hypothesis
from sequencing_np.rules import Rule, Rules
from sequencing_np.shortlist import Shortlist
from sequencing_np.special import Special
from sequencing_np.state import Array, Memory, Output, State, by_row, by_sentence


class Short(NamedTuple):
    """The ids of a batch: what is said is a place among them."""

    ids: np.ndarray  # (C,) int64, in order: of equally likely tokens the same one comes first as among all ids
    own: np.ndarray  # (B, C) bool: whose they are
    size: int  # of the whole vocabulary

    def places(self, ids: Any) -> np.ndarray:  # (...) -> (...)
        """Where ids stand that are among them."""
        return np.searchsorted(self.ids, ids)

    def special(self, special: Special) -> Special:
        return Special(*self.places(special).tolist())

    def rules(self, rules: Sequence[Rules] | None) -> list[Rules] | None:
        """The same rules for places instead of ids."""
        if rules is None:
            return None
        return [Rules([ShortRule(rule, self) for rule in each.rules], int(self.places(each.eos))) for each in rules]

    def whole(self, found: list[list[Hypothesis]]) -> list[list[Hypothesis]]:
        """Hypotheses of places as those of ids."""
        return [[each._replace(tokens=self.ids[each.tokens].tolist()) for each in answers] for answers in found]


def short_of(
    table: Shortlist,
    sources: Sequence[Sequence[int]],
    rules: Sequence[Rules] | None,
    special: Special,
    size: int,
    copied: Sequence[Sequence[int]] | None = None,
) -> Short:
    """What the sentences of a batch may say, of so many ids: also special ones, what rules ask for, what is copied."""
    own = np.zeros((len(sources), size), dtype=bool)
    for row, source in enumerate(sources):
        asked = [token for rule in rules[row].rules for token in rule.tokens()] if rules else []
        own[row, table.named(source, [*special, *asked, *(copied[row] if copied is not None else ())])] = True
    ids = np.flatnonzero(own.any(axis=0))
    return Short(ids, own[:, ids], size)


class ShortRule:
    """A rule over places that is kept where one over ids is."""

    def __init__(self, rule: Rule, short: Short) -> None:
        self.rule, self.short = rule, short
        self.least, self.steers = rule.least, rule.steers
        self.start, self.done, self.met, self.tokens = rule.start, rule.done, rule.met, rule.tokens

    def forbid(self, state: Any, banned: np.ndarray) -> None:  # (C,) bool, marked in place
        whole = np.zeros(self.short.size, dtype=bool)
        whole[self.short.ids] = banned
        self.rule.forbid(state, whole)
        banned |= whole[self.short.ids]

    def next(self, state: Any, token: int) -> Any:
        return self.rule.next(state, int(self.short.ids[token]))

    def wanted(self, state: Any) -> Iterable[int]:
        return [int(self.short.places(token)) for token in self.rule.wanted(state)]


class ShortDecoder:
    """A decoder that reads and says places; `State.memory` also holds what each sentence may not say."""

    def __init__(self, decoder: Any, short: Short) -> None:
        self.decoder, self.arrays = decoder, decoder.arrays
        self.ids = self.arrays.native(short.ids)
        self.head: Callable[[Array], Array] = decoder.among(self.ids)
        self.outside = np.where(short.own, np.float32(0), np.float32(-np.inf))  # (B, C)
        self.places = np.zeros(short.size, dtype=np.int64)  # (V,) where each id stands
        self.places[short.ids] = np.arange(len(short.ids))

    def start(self, memory: Memory) -> State:
        if self.decoder.copy:  # what is copied are places, too
            memory = memory._replace(tokens=self.arrays.native(self.places)[memory.tokens])
        state = self.decoder.start(memory)
        return State((state.memory, self.arrays.native(self.outside)), state.cache)

    def step(self, tokens: Array, state: State) -> tuple[Output, State]:  # (R, T), State -> (R, T, C), State
        memory, outside = state.memory
        heard, after = self.decoder.listen(self.ids[tokens], State(memory, state.cache))
        logits = self.head(heard.hidden)
        take = self.arrays.take
        several = by_sentence(logits, heard.memory, take)
        several += outside[:, None]  # the logits are nobody else's
        logits = by_row(several, heard.memory, logits.shape[1], take)
        if self.decoder.copy:
            logits = self.decoder.copy(heard.hidden, logits, heard.alignment, heard.memory)
        return Output(logits, heard.hidden, heard.alignment), State((after.memory, outside), after.cache)


def check_short(table: Shortlist | None, decoder: Any) -> None:
    """SearchError where there is no table, or the decoder says all ids or none."""
    if table is None:
        raise SearchError(
            "this model has no shortlist (several together have none): make one by sequencing export RUN MODEL "
            "--shortlist PAIRS, or leave --shortlist out"
        )
    for name in ("listen", "among"):
        if not callable(getattr(decoder, name, None)):
            raise SearchError(
                f"{type(decoder).__name__} has no {name!r}, so it cannot say some tokens alone; leave --shortlist out, "
                "or make it a Speaking (head.py)"
            )
