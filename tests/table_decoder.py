"""A decoder without weights: its logits are looked up by sentence and by the words said so far.

So searches are tested by sums made by hand. It also counts its steps and the rows it was asked for.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from sequencing.arrays import TorchArrays
from sequencing_np.arrays import NumpyArrays
from sequencing_np.special import Special
from sequencing_np.state import Memory, Output, State

SPECIAL = Special(0, 1, 2, 3)
ARRAYS: dict[str, Any] = {"numpy": NumpyArrays(), "torch": TorchArrays(torch.device("cpu"))}
Table = Callable[[int, tuple[int, ...]], np.ndarray]


class TableDecoder:
    """`table(sentence, words so far)` gives the logits; attention is paid to source position (words so far) mod S."""

    def __init__(self, table: Table, floor: str = "numpy") -> None:
        self.table, self.arrays = table, ARRAYS[floor]
        self.asked: list[int] = []  # rows of each step

    def memory(self, lengths: list[int]) -> Memory:
        """A memory of sentences 0, 1, 2 … of these lengths."""
        mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
        numbers = np.arange(len(lengths), dtype=np.float64)[:, None]
        parts = (np.zeros((*mask.shape, 1)), np.zeros((*mask.shape, 1)), mask, numbers, mask)
        return Memory(*(self.arrays.native(part) for part in parts))

    def start(self, memory: Memory) -> State:
        said = self.arrays.native(np.zeros((len(memory.mask), 0), dtype=np.int64))
        return State(memory, (memory.summary, said))

    def step(self, tokens: Any, state: State) -> tuple[Output, State]:  # (R, T), State -> Output, State
        host, native = self.arrays.host, self.arrays.native
        numbers, said = state.cache
        before = host(said)
        words = np.concatenate([before, host(tokens)], axis=1)
        self.asked.append(len(words))
        steps = range(before.shape[1] + 1, words.shape[1] + 1)
        rows = list(zip(host(numbers)[:, 0].astype(int), words.tolist(), strict=True))
        logits = np.stack([[self.table(int(n), tuple(row[1:end])) for end in steps] for n, row in rows])
        width = state.memory.mask.shape[1]
        alignment = np.broadcast_to(
            np.eye(width)[[(end - 1) % width for end in steps]], (*words.shape[:1], len(steps), width)
        )
        output = Output(native(logits), native(logits), native(np.array(alignment)))
        return output, State(state.memory, (numbers, native(words)))

    def rewind(self, before: State, after: State, tokens: Any) -> State:
        words = np.concatenate([self.arrays.host(part) for part in (before.cache[1], tokens)], axis=1)
        assert (words == self.arrays.host(after.cache[1])[:, : words.shape[1]]).all()
        return State(after.memory, (after.cache[0], self.arrays.native(words)))


def random_table(seed: int, size: int, spread: float = 1.5) -> Table:
    """Normal logits, others for each sentence and each prefix."""
    known: dict[tuple[int, ...], np.ndarray] = {}

    def table(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        key = (seed, sentence, *words)
        if key not in known:
            known[key] = np.random.default_rng(key).normal(0, spread, size)
        return known[key]

    return table
