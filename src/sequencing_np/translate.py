"""Text in, text out: sentences are sorted by length, searched in batches and given back in their order.

Works with a model of either floor. It knows which search is wanted (SearchConfig), not how one goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from sequencing_np.arrays import Arrays
from sequencing_np.batch import PadIds, in_order, length_batches, make_batch, pad
from sequencing_np.beam import LENGTH_PENALTIES, BeamFeedBack
from sequencing_np.config import choose, require
from sequencing_np.decode import Decoder, dynamic_decode
from sequencing_np.errors import DataError
from sequencing_np.feedback import FeedBack, Hypothesis, SampleFeedBack, Sampler, TrainingFeedBack, sentence_keys
from sequencing_np.limits import Limits
from sequencing_np.model import build_model
from sequencing_np.model_folder import read_model_folder
from sequencing_np.state import Memory
from sequencing_np.vocab import Vocabulary
from sequencing_np.weights import nest


@dataclass(frozen=True)
class SearchConfig:
    """What to search for, and how much at once."""

    beam: int = 5  # hypotheses kept; 1 is greedy
    length_penalty: str = "average"  # a row of LENGTH_PENALTIES: what a log-probability is divided by
    alpha: float = 1.0  # its exponent
    n_best: int = 1  # answers wanted, at most `beam`
    sample: bool = False  # draw one answer instead of searching for the best
    temperature: float = 1.0  # of a draw
    top_k: int = 0  # draw from the k likeliest ids; 0: all
    top_p: float = 1.0  # draw from the nucleus of this mass
    seed: int = 1  # of the draws
    batch_tokens: int = 4096  # padded source tokens x hypotheses in one batch
    alignments: bool = False  # keep the attention of each token
    max_length: int = 0  # longest answer in tokens; 0: as the model saw in training

    def __post_init__(self) -> None:
        require(1 <= self.beam <= 1000, f"beam {self.beam}: must be from 1 (greedy) to 1000")
        choose(LENGTH_PENALTIES, self.length_penalty, "length_penalty")
        require(0 <= self.alpha < 100, f"alpha {self.alpha}: must be 0 or more; 1 is usual")
        require(1 <= self.n_best <= self.beam, f"n_best {self.n_best}: must be from 1 to the beam size {self.beam}")
        require(not self.sample or self.n_best == 1, "sample draws one answer a sentence: n_best must be 1")
        require(0 < self.temperature < 1e6, f"temperature {self.temperature}: must be above 0")
        require(self.top_k >= 0, f"top_k {self.top_k}: must be 0 (all) or more")
        require(0 < self.top_p <= 1, f"top_p {self.top_p}: must be above 0 and at most 1")
        require(self.batch_tokens >= 1, f"batch_tokens {self.batch_tokens}: must be 1 or more")
        require(self.max_length >= 0, f"max_length {self.max_length}: must be 0 (the model's) or more")


class RunnableModel(Protocol):
    """What a Translator asks of a model."""

    @property
    def arrays(self) -> Arrays: ...
    @property
    def decoder(self) -> Decoder: ...
    def encode(self, source: np.ndarray, mask: np.ndarray) -> Memory: ...


class Answer(NamedTuple):
    """One hypothesis as text."""

    text: str
    score: float  # what answers are ranked by: log-probability over length penalty
    log_prob: float  # natural logarithm
    tokens: list[str]  # the end symbol last, where it was reached
    token_log_probs: list[float]
    alignment: np.ndarray | None  # (T, S) attention of each token
    finished: bool  # False: cut at the length limit


class Translation(NamedTuple):
    """What is said to one line."""

    source: str
    source_tokens: list[str]  # the end symbol last
    answers: list[Answer]  # best first; none where the model answered NaN

    @property
    def text(self) -> str:
        """The best answer, or nothing."""
        return self.answers[0].text if self.answers else ""


class Scored(NamedTuple):
    """How likely a given target is."""

    log_prob: float  # natural logarithm of the whole target, its end symbol included
    token_log_probs: list[float]


def fitted(alignment: np.ndarray, length: int) -> np.ndarray:  # (T, S) -> (T, length)
    """Without padding; tokens past the first of several texts were not looked at by this attention."""
    kept = alignment[:, :length]
    return np.pad(kept, ((0, 0), (0, length - kept.shape[1])))


def quiet() -> np.errstate:
    """A context in which numbers may overflow in silence: a sentence for which they do has no answer, which is told."""
    return np.errstate(over="ignore", invalid="ignore")


class Translator:
    """A model with its vocabularies.

    >>> translator = Translator.load("runs/demo/model")        # doctest: +SKIP
    >>> translator.translate(["two hundred and five"])[0].text  # doctest: +SKIP
    'zweihundertfünf'
    """

    def __init__(
        self, model: RunnableModel, source_vocab: Vocabulary, target_vocab: Vocabulary, limits: Limits | None = None
    ) -> None:
        self.model, self.source_vocab, self.target_vocab = model, source_vocab, target_vocab
        self.limits = limits or Limits()

    @classmethod
    def load(cls, folder: str | Path, dtype: Any = np.float32) -> Translator:
        """A Translator on NumPy from a model folder. Raises ModelError when the folder is not in order."""
        parts = read_model_folder(folder)
        weights = {name: array.astype(dtype) for name, array in parts.weights.items()}
        return cls(build_model(parts.config, nest(weights)), parts.source_vocab, parts.target_vocab, parts.limits)

    def translate(
        self, lines: Sequence[str], search: SearchConfig = SearchConfig(), first: int = 0
    ) -> list[Translation]:
        """One Translation for each line, in the same order. A blank line is answered without asking the model.

        `first` is the place of the first line in the text: draws depend on it.
        """
        encoded = [self.read(line, number) for number, line in enumerate(lines, first + 1)]
        asked = [row for row, line in enumerate(lines) if line.strip()]
        lengths = np.array([len(encoded[row]) for row in asked], dtype=np.int64)
        keys = sentence_keys(search.seed, first, len(lines))[asked]
        groups = []
        for positions in length_batches(lengths, max(search.batch_tokens // search.beam, 1)):
            found = self.search([encoded[asked[position]] for position in positions], search, keys[positions])
            groups.append((positions, found))
        hypotheses: dict[int, list[Hypothesis]] = dict(zip(asked, in_order(groups, len(asked)), strict=True))
        return [self.say(line, encoded[row], hypotheses.get(row)) for row, line in enumerate(lines)]

    def stream(
        self, lines: Iterable[str], search: SearchConfig = SearchConfig(), window: int = 4096
    ) -> Iterator[Translation]:
        """The same for any number of lines in bounded memory: `window` of them are sorted and searched together."""
        lines = iter(lines)
        first = 0
        while part := list(islice(lines, window)):
            yield from self.translate(part, search, first)
            first += len(part)

    def read(self, line: str, number: int) -> list[int]:
        """The ids of a line; a DataError tells its number."""
        try:
            return self.source_vocab.encode(line)
        except DataError as error:
            raise DataError(f"line {number}: {error}") from None

    def search(
        self, sources: Sequence[Sequence[int]], search: SearchConfig, keys: np.ndarray
    ) -> list[list[Hypothesis]]:  # keys (B,)
        """One batch of ids; the keys are for draws."""
        padded = pad(sources, self.source_vocab.special.pad)
        with quiet():
            memory = self.model.encode(padded.ids, padded.mask)
            return dynamic_decode(self.model.decoder, memory, self.feedback(search, keys))

    def feedback(self, search: SearchConfig, keys: np.ndarray) -> FeedBack[list[list[Hypothesis]]]:  # keys (B,)
        """The feedback that a SearchConfig asks for."""
        special = self.target_vocab.special
        limits = self.limits
        if search.max_length:
            limits = replace(limits, factor=0.0, constant=search.max_length, longest=search.max_length)
        if search.sample:
            pick = Sampler(keys, search.temperature, search.top_k, search.top_p)
            return SampleFeedBack(special, limits, pick=pick, alignments=search.alignments)
        if search.beam == 1:
            return SampleFeedBack(special, limits, alignments=search.alignments)
        return BeamFeedBack(
            special,
            search.beam,
            limits,
            length_penalty=search.length_penalty,
            alpha=search.alpha,
            n_best=search.n_best,
            alignments=search.alignments,
        )

    def say(self, line: str, ids: Sequence[int], hypotheses: list[Hypothesis] | None) -> Translation:
        """Hypotheses as text; None stands for a line that was not asked."""
        pieces = self.source_vocab.pieces(line)
        if hypotheses is None:
            return Translation(line, pieces, [Answer("", 0.0, 0.0, [], [], None, True)])
        answers = []
        for found in hypotheses:
            tokens = self.target_vocab.tokens_of(found.tokens) + (["</s>"] if found.finished else [])
            text = self.target_vocab.decode(found.tokens)
            alignment = fitted(found.alignment, len(ids)) if found.alignment is not None else None
            rest = (found.token_log_probs, alignment, found.finished)
            answers.append(Answer(text, found.score, found.log_prob, tokens, *rest))
        return Translation(line, pieces, answers)

    def score(self, pairs: Sequence[tuple[str, str]], batch_tokens: int = 4096, first: int = 0) -> list[Scored]:
        """How likely the model finds each target of (source, target) pairs, in their order.

        `first` is the place of the first pair in the text, for errors that tell its line.
        """
        placed = enumerate(pairs, first + 1)
        encoded = [(self.read(source, number), self.target_vocab.encode(target)) for number, (source, target) in placed]
        lengths = np.array([[len(source), len(target)] for source, target in encoded]).reshape(-1, 2)
        special = self.target_vocab.special
        groups = []
        for rows in length_batches(lengths, batch_tokens):
            pads = PadIds(self.source_vocab.special.pad, special.pad)
            batch = make_batch([encoded[row] for row in rows], pads)
            with quiet():
                memory = self.model.encode(batch.source, batch.source_mask)
                output = dynamic_decode(self.model.decoder, memory, TrainingFeedBack(batch.target, special))
                log_probs = self.model.arrays.log_prob(output.logits, batch.target)
            kept = [list(map(float, row[mask])) for row, mask in zip(log_probs, batch.target_mask, strict=True)]
            groups.append((rows, [Scored(sum(row), row) for row in kept]))
        return in_order(groups, len(pairs))
