"""The one loop: the decoder speaks, the feedback answers.

Teaching, scoring, greedy search, sampling, beam search and learning from rewards all pass through here.
The loop knows neither what the decoder is made of nor why the feedback answers as it does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypeVar

from sequencing_np.arrays import Arrays
from sequencing_np.feedback import FeedBack
from sequencing_np.state import Array, Beams, Memory, Output, State, owning, select

Result = TypeVar("Result")


class Decoder(Protocol):
    """What the loop asks of a decoder, of either floor."""

    @property
    def arrays(self) -> Arrays: ...
    def start(self, memory: Memory) -> State: ...
    def step(self, tokens: Array, state: State) -> tuple[Output, State]: ...


def dynamic_decode(decoder: Decoder, memory: Memory, feedback: FeedBack[Result]) -> Result:
    """Decode every sentence of `memory` until the feedback has nothing left to say; returns its result."""
    for _ in decode_steps(decoder, memory, feedback):
        pass
    return feedback.result()


def decode_steps(decoder: Decoder, memory: Memory, feedback: FeedBack[Any]) -> Iterator[int]:
    """The same loop, left for a moment after each step that is not the last: how many there were."""
    turn = feedback.start(decoder.arrays, memory)
    steps, take = 0, decoder.arrays.take
    beams: Beams | tuple[()] = ()
    state = decoder.start(memory)
    while turn.tokens is not None:
        if turn.sentences is not None:
            state = State(select(state.memory, turn.sentences, take), state.cache)
        if turn.beams or beams:
            state, beams = State(owning(state.memory, turn.beams), state.cache), turn.beams
        if turn.rows is not None:
            state = State(state.memory, select(state.cache, turn.rows, take))
        output, state = decoder.step(turn.tokens, state)
        turn = feedback.next(output)
        steps += 1
        if turn.tokens is not None:
            yield steps
