"""A small model drafts, the large one reads its words several at a time: the large model's answers in fewer steps.

Leviathan et al. 2023, "Fast Inference from Transformers via Speculative Decoding"; for translation Xia et al. 2023. A
drafted decoder looks like any other to the loop and the searches: asked for one word after another, it answers from
what it has read ahead as long as the words are those of its draft. All that it says, the large model says of the very
words that were chosen, so that no search finds anything else. It works on either floor.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np

from sequencing_np.arrays import Arrays
from sequencing_np.decode import Decoder
from sequencing_np.ensemble import Ensemble, check_target, side_by_side
from sequencing_np.errors import UsageError
from sequencing_np.state import Array, Memory, Output, State
from sequencing_np.translate import RunnableModel, Translator


class Rewindable(Decoder, Protocol):
    """A decoder that can forget its last words."""

    def rewind(self, before: State, after: State, tokens: Array) -> State: ...


class Ahead(NamedTuple):
    """What was read ahead: a block of T tokens, nothing at first."""

    before: Any  # the large model's cache before the block
    after: Any  # and after it
    trail: tuple[Any, ...]  # the small model's cache after 0, 1 … T - 1 tokens of the block
    tokens: Array  # (R, T)
    output: Any  # what the large model says of them, an Output; () at first
    used: Array  # (R, 1) how many of them the search has asked for, in every row the same


class DraftedDecoder:
    """The decoder of a large model, which reads `length` words ahead that a small one's decoder proposes.

    In a batch the next block begins as soon as a row says another word than its draft. Rows whose draft was right keep
    it: what is known of them is not drafted again.
    """

    def __init__(self, large: Rewindable, small: Decoder, length: int) -> None:
        if length < 1:
            raise UsageError(f"draft length {length}: must be 1 or more; 4 is usual")
        self.large, self.small, self.length = large, small, length

    @property
    def arrays(self) -> Arrays:
        return self.large.arrays

    def start(self, memory: Memory) -> State:
        large, small = self.large.start(memory.others[0]), self.small.start(memory.others[1])
        nothing = self.arrays.native(np.zeros((len(memory.mask), 0), dtype=np.int64))
        used = self.arrays.native(np.zeros((len(memory.mask), 1), dtype=np.int64))
        ahead = Ahead(large.cache, large.cache, (small.cache,), nothing, (), used)
        return State((large.memory, small.memory), ahead)

    def step(self, tokens: Array, state: State) -> tuple[Output, State]:  # (R, T), State -> Output, State
        """Of one token a row what is known, or a new block; several tokens are read as they are."""
        ahead: Ahead = state.cache
        place = int(self.arrays.host(ahead.used)[0, 0])
        if tokens.shape[1] == 1:
            right = self.arrays.host(ahead.tokens[:, place : place + 1] == tokens)  # (R, 1), or (R, 0) at its end
            if right.all() and right.size:
                return said(ahead.output, place), State(state.memory, ahead._replace(used=ahead.used + 1))
            block, trail = self.drafted(tokens, state, place, np.any(right, axis=1))
        else:
            block, trail = tokens, self.read(tokens, State(state.memory[1], self.small_cache(state, place)))
        before = self.large_cache(state, place)
        output, after = self.large.step(block, State(state.memory[0], before))
        used = ahead.used * 0 + tokens.shape[1]
        ahead = Ahead(before, after.cache, trail, block, output, used)
        return (said(output, 0) if tokens.shape[1] == 1 else output), State(state.memory, ahead)

    def drafted(
        self, tokens: Array, state: State, place: int, right: np.ndarray
    ) -> tuple[Array, tuple[Any, ...]]:  # (R, 1), State, (R,) -> (R, T), T caches
        """The next block: the tokens, and what the small model says after them, but where the large one has spoken."""
        native, host = self.arrays.native, self.arrays.host
        known = self.known(state.cache, place, right)  # (R, n)
        now, trail, words = State(state.memory[1], self.small_cache(state, place)), [], [tokens]
        for turn in range(self.length):
            trail.append(now.cache)
            output, now = self.small.step(words[-1], now)
            guess = host(output.logits[:, -1].argmax(1))
            if turn < known.shape[1]:
                guess = np.where(known[:, turn] >= 0, known[:, turn], guess)
            words.append(native(guess[:, None]))
        return self.arrays.join(words), (*trail, now.cache)

    def known(self, ahead: Ahead, place: int, right: np.ndarray) -> np.ndarray:  # (R,) -> (R, n)
        """What the large model says next after the old block, as far as that was what it says itself; -1: unknown."""
        if not right.any():
            return np.zeros((len(right), 0), dtype=np.int64)
        best = self.arrays.host(ahead.output.logits[:, place:].argmax(2))
        same = self.arrays.host(ahead.tokens)[:, place + 1 :] == best[:, :-1]
        seen = np.concatenate([right[:, None], same], axis=1).cumprod(axis=1).astype(bool)
        return np.where(seen, best, -1)

    def read(self, tokens: Array, state: State) -> tuple[Any, ...]:  # (R, T) -> T caches
        """The small model's caches on its way through tokens."""
        trail = []
        for column in range(tokens.shape[1]):
            trail.append(state.cache)
            if column + 1 < tokens.shape[1]:
                _, state = self.small.step(tokens[:, column : column + 1], state)
        return tuple(trail)

    def large_cache(self, state: State, place: int) -> Any:
        """The large model's cache after so many tokens of the block."""
        ahead, memory = state.cache, state.memory[0]
        if place in (0, ahead.tokens.shape[1]):
            return ahead.after if place else ahead.before
        before, after = State(memory, ahead.before), State(memory, ahead.after)
        return self.large.rewind(before, after, ahead.tokens[:, :place]).cache

    def small_cache(self, state: State, place: int) -> Any:
        """That of the small one."""
        ahead = state.cache
        if place < len(ahead.trail):
            return ahead.trail[place]
        return self.small.step(ahead.tokens[:, place - 1 :], State(state.memory[1], ahead.trail[-1]))[1].cache


def said(output: Output, place: int) -> Output:
    """What is said of one of the tokens."""
    return Output(*(part[:, place : place + 1] for part in output))


class DraftedModel:
    """What a Translator asks of a model."""

    def __init__(self, models: Ensemble, length: int) -> None:
        self.models = models
        large, small = (member.decoder for member in models.members)
        self.decoder = DraftedDecoder(large, small, length)  # type: ignore[arg-type]

    @property
    def arrays(self) -> Arrays:
        return self.decoder.arrays

    def encode(self, source: np.ndarray, mask: np.ndarray) -> Memory:  # (B, S), (B, S) -> Memory
        """The memories of both models, in `others`."""
        return self.models.encode(source, mask)


def with_draft(translator: Translator, draft: Translator, names: tuple[str, str], length: int = 4) -> Translator:
    """The translator, its words drafted by another one. ModelError, with their names, where they do not fit.

    Their targets must be the same tokens; each may read the text in its own way.
    """
    check_target(translator.target_vocab, draft.target_vocab, *names)
    apart = side_by_side([translator, draft], names)
    members: list[RunnableModel] = [translator.model, draft.model]
    source: Any = apart or translator.source_vocab
    model = DraftedModel(Ensemble(members, source=apart), length)
    return Translator(model, source, translator.target_vocab, translator.limits)
