"""Several models that decode together: one in the eyes of the loop, the searches and the Translator, on either floor.

At each step every member says how probable each next token is, and the mean of that is what the search sees. Members
may be of any families; their targets must be the same tokens, their sources are what each reads of the same text.
Which array library they are of is known to the Arrays of the first member alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from sequencing_np.arrays import Arrays
from sequencing_np.batch import Padded, pad
from sequencing_np.config import nearest
from sequencing_np.errors import ModelError, UsageError
from sequencing_np.special import Vocabulary
from sequencing_np.state import Array, Memory, Output, State
from sequencing_np.translate import RunnableModel, Translator

Mean = Callable[[Arrays, list[Array]], Array]


def of_probabilities(arrays: Arrays, logits: list[Array]) -> Array:  # N x (R, T, V) -> (R, T, V)
    """log of the mean probability: a token is likely if one of the members finds it likely."""
    return arrays.log_mean_exp([arrays.log_softmax(each) for each in logits])


def of_log_probabilities(arrays: Arrays, logits: list[Array]) -> Array:  # N x (R, T, V) -> (R, T, V)
    """The mean log-probability: a token is likely if none of the members finds it unlikely.

    What it leaves of the sum of probabilities is made one again by whoever reads logits.
    """
    first, *rest = (arrays.log_softmax(each) for each in logits)
    return sum(rest, first) / len(logits)


MEANS: dict[str, Mean] = {"probabilities": of_probabilities, "log_probabilities": of_log_probabilities}


class EnsembleDecoder:
    """The decoders of all members, side by side; State and cache are tuples of theirs."""

    def __init__(self, members: Sequence[RunnableModel], mean: Mean) -> None:
        self.decoders = [member.decoder for member in members]
        self.mean = mean

    @property
    def arrays(self) -> Arrays:
        """Those of the first member: all live in one library and on one device."""
        return self.decoders[0].arrays

    def start(self, memory: Memory) -> State:
        states = [each.start(own) for each, own in zip(self.decoders, memory.others, strict=True)]
        return State(tuple(state.memory for state in states), tuple(state.cache for state in states))

    def step(self, tokens: Array, state: State) -> tuple[Output, State]:  # (R, T), State -> Output, State
        """The mean of what all say; what is hidden and what is looked at are the first member's."""
        parts = zip(self.decoders, state.memory, state.cache, strict=True)
        said = [decoder.step(tokens, State(memory, cache)) for decoder, memory, cache in parts]
        outputs, states = [output for output, _ in said], [after for _, after in said]
        logits = self.mean(self.arrays, [output.logits for output in outputs]) if len(said) > 1 else outputs[0].logits
        after = State(tuple(each.memory for each in states), tuple(each.cache for each in states))
        return outputs[0]._replace(logits=logits), after


class Ensemble:
    """What a Translator asks of a model. `source` says which ids are whose; None: all read the same ones."""

    def __init__(
        self, members: Sequence[RunnableModel], mean: str = "probabilities", source: SideBySide | None = None
    ) -> None:
        if mean not in MEANS:
            raise UsageError(f"ensemble mode {mean!r}: {nearest(mean, MEANS)}")
        if not members:
            raise UsageError("an ensemble of no models; give one or more")
        self.members, self.source = list(members), source
        self.decoder = EnsembleDecoder(members, MEANS[mean])

    @property
    def arrays(self) -> Arrays:
        return self.decoder.arrays

    def encode(self, source: np.ndarray, mask: np.ndarray) -> Memory:  # (B, S), (B, S) -> Memory
        """The memory of the first member, with those of all members in `others`."""
        read = self.source.apart(source, mask) if self.source else [Padded(source, mask)] * len(self.members)
        memories = [member.encode(own.ids, own.mask) for member, own in zip(self.members, read, strict=True)]
        return memories[0]._replace(others=tuple(memories))


class SideBySide:
    """What several vocabularies make of one text, one after the other; of a vocabulary it has what a Translator asks.

    An id tells whose it is: those of a later vocabulary stand above all of the earlier ones.
    """

    def __init__(self, parts: Sequence[Vocabulary]) -> None:
        self.parts, first = list(parts), parts[0]
        self.special, self.columns, self.tags, self.reversed = first.special, first.columns, first.tags, first.reversed
        self.delimiter, self.factor_separator = first.delimiter, first.factor_separator
        self.vector_size = first.vector_size
        sizes = [len(part) * prod(part.factor_sizes) for part in parts]
        self.bounds = np.concatenate([[0], np.cumsum(sizes)])  # part k has the ids from bounds[k] to bounds[k + 1]

    def encode(self, text: str) -> list[int]:
        """The ids of all parts."""
        shifted = zip(self.parts, self.bounds[:-1].tolist(), strict=True)
        return [token_id + shift for part, shift in shifted for token_id in part.encode(text)]

    def pieces(self, text: str) -> list[str]:
        """Those of the first part: alignments are the first member's too."""
        return self.parts[0].pieces(text)

    def apart(self, ids: np.ndarray, mask: np.ndarray) -> list[Padded]:  # (B, S), (B, S) -> parts x (B, S of the part)
        """The batch of each part, padded as it pads."""
        batches = []
        for part, low, high in zip(self.parts, self.bounds[:-1], self.bounds[1:], strict=True):
            own = mask & (ids >= low) & (ids < high)
            rows = [(row[kept] - low).tolist() for row, kept in zip(ids, own, strict=True)]
            batches.append(pad(rows, part.special.pad))
        return batches


def join_models(translators: Sequence[Translator], names: Sequence[str], mean: str = "probabilities") -> Translator:
    """A Translator of several models together. ModelError, with their names, where they do not go together.

    Answers may be as long as the first of them says, and no longer than any of them allows.
    """
    first, *rest = translators
    for name, other in zip(names[1:], rest, strict=True):
        check_target(first.target_vocab, other.target_vocab, names[0], name)
    apart = side_by_side(translators, names)
    model = Ensemble([each.model for each in translators], mean, apart)
    source: Any = apart or first.source_vocab
    limits = [each.limits for each in translators]
    shortest, longest = max(each.shortest for each in limits), min(each.longest for each in limits)
    return Translator(model, source, first.target_vocab, replace(limits[0], shortest=shortest, longest=longest))


def side_by_side(translators: Sequence[Translator], names: Sequence[str]) -> SideBySide | None:
    """What several translators make of a text; None where it is the same. ModelError where they read no one text."""
    first, *rest = (each.source_vocab for each in translators)
    for name, other in zip(names[1:], rest, strict=True):
        if other.columns != first.columns:
            counts = f"{first.columns} and {other.columns} texts a line"
            raise ModelError(f"{names[0]} and {name} read {counts}; models decode together if they read the same text")
    if all(other.to_json() == first.to_json() for other in rest):
        return None
    if any(vocab.vector_size for vocab in (first, *rest)):
        raise ModelError(f"{', '.join(names)}: models of vectors decode together if they were taught the same ones")
    return SideBySide([first, *rest])


def check_target(one: Vocabulary, other: Vocabulary, name: str, other_name: str) -> None:
    """ModelError where an id means something else to the other model."""
    if type(one) is type(other) and one.tokens == other.tokens and one.special == other.special:
        return
    where = f"{len(one)} and {len(other)} ids"
    for token_id, (token, another) in enumerate(zip(one.tokens, other.tokens, strict=False)):
        if token != another:
            where += f"; id {token_id} is {token!r} and {another!r}"
            break
    raise ModelError(
        f"{name} and {other_name} have different target vocabularies ({where}); models decode together only if they "
        "say the same tokens: train them with one file, vocab.target.file"
    )
