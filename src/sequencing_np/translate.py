"""Text in, text out: sentences are sorted by length, searched in batches and given back in their order.

What goes in may be sequences of vectors, as lines of numbers or as arrays (T, D), where the model was taught those.
Works with a model of either floor. It knows which search is wanted (SearchConfig), not how one goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from sequencing_np.arrays import Arrays
from sequencing_np.batch import PadIds, in_order, length_batches, make_batch, pad
from sequencing_np.decode import Decoder, dynamic_decode
from sequencing_np.errors import DataError
from sequencing_np.feedback import Deciding, Hypothesis, TrainingFeedBack
from sequencing_np.limits import Limits
from sequencing_np.mbr import NONE, candidate_keys, groups
from sequencing_np.model import build_model
from sequencing_np.model_folder import read_model_folder
from sequencing_np.picking import mix, sentence_keys
from sequencing_np.reranking import Reranker, reranked, with_candidates
from sequencing_np.reversal import reading_order
from sequencing_np.rules import Rules
from sequencing_np.search import SearchConfig, feedback_of
from sequencing_np.short_search import ShortDecoder, check_short, short_of
from sequencing_np.shortlist import Shortlist
from sequencing_np.state import Memory, select
from sequencing_np.streaming import Begun, in_windows
from sequencing_np.text_stream import Unanswered, text_pieces
from sequencing_np.translation import Answer, Scored, Translation, agreed, fitted, without_alignments
from sequencing_np.unknown import check_levels, check_looks, replaced, words_of
from sequencing_np.vectors import Source, is_blank, shown
from sequencing_np.vocab import Vocabulary
from sequencing_np.weights import nest
from sequencing_np.wishes import Wishes, rules_of


class RunnableModel(Protocol):
    """What a Translator asks of a model."""

    @property
    def arrays(self) -> Arrays: ...
    @property
    def decoder(self) -> Decoder: ...
    def encode(self, source: np.ndarray, mask: np.ndarray) -> Memory: ...


Ask = Callable[
    [Sequence[Sequence[int]], SearchConfig, np.ndarray, Sequence[Rules] | None], Callable[[], list[list[Hypothesis]]]
]
"""Takes a batch as `Translator.search` does; what it returns waits for the answer."""


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
        self.shortlist: Shortlist | None = None
        self.dictionary: Mapping[str, str] | None = None  # what replaces unknown tokens; None: they stay
        self.rerankers: Sequence[Reranker] = ()  # who has a say in which answer is the best
        self.ask: Ask = self.later  # who searches, and how many batches it takes beforehand
        self.ahead = 0

    def replace_unknown(self, dictionary: Mapping[str, str] = {}) -> None:
        """From now on put a translation of the attended source word in the place of each UNK, or else that word."""
        check_levels(self.source_vocab, self.target_vocab)
        check_looks(self.source_vocab, self.first_look)
        self.dictionary = dictionary

    def first_look(self, source: list[int]) -> np.ndarray | None:  # (S,) -> (S,)
        """What the model looks at for the first token of a greedy answer; None where it has no answer."""
        greedy = SearchConfig(beam=1, max_length=1, alignments=True)
        found = self.search([source], greedy, np.zeros(1, dtype=np.uint64))[0]
        return found[0].alignment[0] if found and found[0].alignment is not None else None

    @classmethod
    def load(cls, folder: str | Path, dtype: Any = np.float32) -> Translator:
        """A Translator on NumPy from a model folder. Raises ModelError when the folder is not in order."""
        parts = read_model_folder(folder)
        weights = {name: array.astype(dtype, copy=False) for name, array in parts.weights.items()}
        found = cls(build_model(parts.config, nest(weights)), parts.source_vocab, parts.target_vocab, parts.limits)
        found.shortlist = parts.shortlist
        return found

    def translate(
        self,
        lines: Sequence[Source],
        search: SearchConfig = SearchConfig(),
        first: int = 0,
        wishes: Sequence[Wishes] | None = None,
    ) -> list[Translation]:
        """One Translation for each line, in the same order. A blank line is answered without asking the model.

        `first` is the place of the first line in the text: draws depend on it. `wishes`, one for each line, say what
        the answer may and must say; where nothing that keeps them is found, there is no answer.
        """
        return self.begin(lines, search, first, wishes).finish()

    def begin(
        self,
        lines: Sequence[Source],
        search: SearchConfig = SearchConfig(),
        first: int = 0,
        wishes: Sequence[Wishes] | None = None,
    ) -> Begun[Translation]:
        """The same for later: who searches for this translator is asked, what it finds is said when it is finished."""
        if search.shortlist:
            check_short(self.shortlist, self.model.decoder)
        wanted = search if self.dictionary is None else replace(search, alignments=True)
        wanted = with_candidates(wanted) if self.rerankers else wanted
        rules = self.rules(lines, wishes, search, first)
        encoded = [self.read(line, number) for number, line in enumerate(lines, first + 1)]
        asked = [row for row, line in enumerate(lines) if not is_blank(line)]
        lengths = np.array([len(encoded[row]) for row in asked], dtype=np.int64)
        keys = sentence_keys(search.seed, first, len(lines))[asked]
        answers = []
        for positions in length_batches(lengths, max(search.batch_tokens // wanted.rows, 1)):
            rows = [asked[position] for position in positions]
            own = rules and [rules[row] for row in rows]
            answers.append((positions, self.ask([encoded[row] for row in rows], wanted, keys[positions], own)))

        def finish() -> list[Translation]:
            found = in_order(((positions, answer()) for positions, answer in answers), len(asked))
            hypotheses: dict[int, list[Hypothesis]] = dict(zip(asked, found, strict=True))
            said = [self.say(line, encoded[row], hypotheses.get(row)) for row, line in enumerate(lines)]
            said = said if search.mbr == NONE else [agreed(each, search) for each in said]
            said = reranked(lines, said, self.rerankers, search) if self.rerankers else said
            return said if search.alignments else [without_alignments(each) for each in said]

        return Begun(len(answers), finish)

    def stream(
        self,
        lines: Iterable[Source],
        search: SearchConfig = SearchConfig(),
        window: int = 4096,
        wishes: Callable[[Source], Wishes] | None = None,
    ) -> Iterator[Translation]:
        """The same for any number of lines in bounded memory: `window` of them are sorted and searched together.

        `wishes` is asked once for each line, in their order.
        """
        places = count(0, window)  # of the first line of each window

        def begin(part: list[Source]) -> Begun[Translation]:
            return self.begin(part, search, next(places), wishes and [wishes(line) for line in part])

        return in_windows(lines, begin, window, self.ahead)

    def stream_text(
        self, line: Source, search: SearchConfig = SearchConfig(), first: int = 0, wishes: Wishes | None = None
    ) -> Iterator[str]:
        """The text of the best answer to one line, piece by piece, as soon as it is decided; joined it is the answer.

        A greedy search and a draw decide token after token, a beam what all answers that can still be the best begin
        with. What needs all candidates (minimum Bayes risk, reranking) or whole answers (replaced unknown tokens, a
        shortlist, a target that is read backwards) comes as one piece at the end. Unanswered where there is no answer;
        what was said before stays.
        """
        if search.mbr != NONE or search.shortlist or self.dictionary is not None or self.rerankers:
            (said,) = self.translate([line], search, first, wishes and [wishes])
            if not said.answers:
                raise Unanswered
            yield from filter(None, [said.text])
        elif not is_blank(line):
            rules = self.rules([line], wishes and [wishes], search, first)
            padded = pad([self.read(line, first + 1)], self.source_vocab.special.pad)
            with self.model.arrays.asking():
                memory = self.model.encode(padded.ids, padded.mask)
            feedback = self.feedback(search, sentence_keys(search.seed, first, 1), rules)
            yield from text_pieces(self.model.decoder, memory, feedback, self.target_vocab)

    def rules(
        self, lines: Sequence[Source], wishes: Sequence[Wishes] | None, search: SearchConfig, first: int
    ) -> list[Rules] | None:
        """The rules of lines; None where there are none. A DataError tells the line."""
        if wishes is None and not search.no_repeats:
            return None
        wishes = [Wishes()] * len(lines) if wishes is None else wishes
        if len(wishes) != len(lines):
            raise DataError(f"{len(lines)} lines and wishes for {len(wishes)} of them; give each its own")
        if search.beam == 1 or search.sample:
            for number, each in enumerate(wishes, first + 1):
                if each.include:
                    raise DataError(f"line {number}: what must be said is found by a beam of 2 or more, not greedily")
        return rules_of(wishes, self.target_vocab, search.no_repeats)

    def read(self, line: Source, number: int) -> list[int]:
        """The ids of a line; a DataError tells its number."""
        try:
            if not isinstance(line, str) and not self.source_vocab.vector_size:
                raise DataError(f"an {type(line).__name__}; the model reads text")
            return self.source_vocab.encode(line)  # type: ignore[arg-type]
        except DataError as error:
            raise DataError(f"line {number}: {error}") from None

    def later(
        self,
        sources: Sequence[Sequence[int]],
        search: SearchConfig,
        keys: np.ndarray,
        rules: Sequence[Rules] | None = None,
    ) -> Callable[[], list[list[Hypothesis]]]:  # keys (B,)
        """A search that is done when its answer is asked for."""
        return partial(self.search, sources, search, keys, rules)

    def search(
        self,
        sources: Sequence[Sequence[int]],
        search: SearchConfig,
        keys: np.ndarray,  # (B,)
        rules: Sequence[Rules] | None = None,
    ) -> list[list[Hypothesis]]:
        """One batch of ids; the keys are for draws."""
        padded = pad(sources, self.source_vocab.special.pad)
        with self.model.arrays.asking():
            memory = self.model.encode(padded.ids, padded.mask)
            if not search.sample or search.mbr == NONE or search.without_replacement:
                return self.decode(memory, sources, search, keys, rules)
            places = np.repeat(np.arange(len(keys)), search.pool)  # each sentence stands there once for each draw
            memory, keys = select(memory, self.model.arrays.native(places)), candidate_keys(keys, search.pool, mix)
            sources = [sources[place] for place in places.tolist()]
            rules = rules and [rules[place] for place in places.tolist()]
            return list(groups(self.decode(memory, sources, search, keys, rules), search.pool))

    def decode(
        self,
        memory: Memory,
        sources: Sequence[Sequence[int]],
        search: SearchConfig,
        keys: np.ndarray,  # (B,)
        rules: Sequence[Rules] | None,
    ) -> list[list[Hypothesis]]:
        """What the search finds for encoded sentences, among all target ids or those of the shortlist."""
        decoder: Any = self.model.decoder
        if self.shortlist is None or not search.shortlist:
            return dynamic_decode(decoder, memory, self.feedback(search, keys, rules))
        special = self.target_vocab.special
        copied = self.model.arrays.host(memory.tokens).tolist() if decoder.copy else None
        short = short_of(self.shortlist, sources, rules, special, len(self.target_vocab), copied)
        feedback = feedback_of(search, short.special(special), self.limits, keys, short.rules(rules))
        return short.whole(dynamic_decode(ShortDecoder(decoder, short), memory, feedback))

    def feedback(
        self, search: SearchConfig, keys: np.ndarray, rules: Sequence[Rules] | None = None
    ) -> Deciding:  # keys (B,)
        """The feedback that a SearchConfig asks for, with this model's end symbol and limits."""
        return feedback_of(search, self.target_vocab.special, self.limits, keys, rules)

    def say(self, line: Source, ids: Sequence[int], hypotheses: list[Hypothesis] | None) -> Translation:
        """Hypotheses as text; None stands for a line that was not asked."""
        read = self.source_vocab.pieces(line)  # type: ignore[arg-type]
        line = line if isinstance(line, str) else shown(line, self.source_vocab)
        ids = ids[: len(read)]  # of several models that read in their own ways the first one's
        order = reading_order(self.source_vocab, ids)
        pieces = [read[place] for place in order]
        if hypotheses is None:
            return Translation(line, pieces, [Answer("", 0.0, 0.0, [], [], None, True)])
        answers = []
        for found in hypotheses:
            spoken = reading_order(self.target_vocab, found.tokens)  # where the words of the text stand
            said = [found.tokens[place] for place in spoken]
            spoken += [len(spoken)] * found.finished
            tokens = self.target_vocab.tokens_of(said) + (["</s>"] if found.finished else [])
            text = self.target_vocab.decode(found.tokens)
            alignment = fitted(found.alignment, len(ids))[spoken][:, order] if found.alignment is not None else None
            if self.dictionary is not None and alignment is not None:
                words = words_of(self.source_vocab, ids, pieces)
                text = replaced(self.target_vocab, said, alignment, words, self.dictionary)
            rest = ([found.token_log_probs[place] for place in spoken], alignment, found.finished)
            answers.append(Answer(text, found.score, found.log_prob, tokens, *rest))
        return Translation(line, pieces, answers)

    def score(self, pairs: Sequence[tuple[Source, str]], batch_tokens: int = 4096, first: int = 0) -> list[Scored]:
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
            with self.model.arrays.asking():
                memory = self.model.encode(batch.source, batch.source_mask)
                output = dynamic_decode(self.model.decoder, memory, TrainingFeedBack(batch.target, special))
                log_probs = self.model.arrays.log_prob(output.logits, batch.target)
            orders = [reading_order(self.target_vocab, encoded[row][1]) for row in rows]
            kept = [[float(row[place]) for place in order] for row, order in zip(log_probs, orders, strict=True)]
            groups.append((rows, [Scored(sum(row), row) for row in kept]))
        return in_order(groups, len(pairs))
