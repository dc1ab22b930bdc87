"""Paragraphs for a Translator that has learnt sentences: each is taken apart, and what is said to its parts is joined.

So is a line that is longer than wanted; or it is refused. Nothing is ever left out of a text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from sequencing_np.config import choose, require
from sequencing_np.errors import DataError, UsageError
from sequencing_np.search import SearchConfig
from sequencing_np.sentences import cut, join, sentences
from sequencing_np.special import Vocabulary
from sequencing_np.streaming import Begun, in_windows
from sequencing_np.translate import Translator
from sequencing_np.translation import Answer, Translation
from sequencing_np.wishes import Wishes

TOO_LONG = ("split", "refuse")
SHARED_OUT = "what is wished for a line cannot be shared out among its parts; leave one of both out"


@dataclass(frozen=True)
class Splitting:
    """What is taken apart."""

    sentences: bool = False  # a line is a paragraph, and each of its sentences is translated alone
    longest: int = 0  # tokens of what is translated at once, without the end symbol; 0: any number
    too_long: str = "split"  # what is done with more of them, one of TOO_LONG

    def __post_init__(self) -> None:
        require(self.longest >= 0, f"longest {self.longest}: must be 0 (any number of tokens) or more")
        choose(dict.fromkeys(TOO_LONG), self.too_long, "too_long")

    @property
    def parts(self) -> bool:
        """Whether a line may be translated in parts."""
        return self.sentences or (bool(self.longest) and self.too_long == "split")


class Paragraphs:
    """Lines that are translated in parts. UsageError where texts of the translator's kind cannot be."""

    def __init__(self, translator: Translator, splitting: Splitting) -> None:
        self.translator, self.splitting = translator, splitting
        source, target = translator.source_vocab, translator.target_vocab
        if splitting.parts and (why := whole_only(source)):
            raise UsageError(f"{why}; leave splitting out, or refuse what is too long (--too-long refuse)")
        self.delimiter = target.delimiter
        names = "|".join(map(re.escape, sorted(source.tags, key=len, reverse=True)))
        self.tags = re.compile(rf"(?:\s*(?:{names}))+\s*" if names else "")
        self.lines = self.sentences = 0  # begun so far

    def stream(
        self,
        lines: Iterable[str],
        search: SearchConfig,
        window: int = 4096,
        wishes: Callable[[str], Wishes] | None = None,
    ) -> Iterator[Translation]:
        """One Translation for each line, as `Translator.stream`."""
        self.lines = self.sentences = 0
        if wishes and self.splitting.parts:
            raise UsageError(SHARED_OUT)

        def begin(part: list[str]) -> Begun[Translation]:
            return self.begin(part, search, wishes and [wishes(line) for line in part])

        return in_windows(lines, begin, window, self.translator.ahead)

    def stream_text(self, line: str, search: SearchConfig, wishes: Wishes | None = None) -> Iterator[str]:
        """The answer to the next line piece by piece, as `Translator.stream_text`: joined it is what `stream` says."""
        if wishes and self.splitting.parts:
            raise UsageError(SHARED_OUT)
        self.lines += 1
        text = ""
        for part in self.parts_of(line, self.lines):
            self.sentences += 1
            new = True
            for piece in self.translator.stream_text(part, search, self.sentences - 1, wishes):
                if new and piece:
                    whole = self.between(text, piece)
                    piece, new = whole[len(text) :], False
                text += piece
                yield piece

    def between(self, one: str, other: str) -> str:
        """Two texts as one, either of them maybe empty."""
        return self.delimiter.join(filter(None, (one, other))) if self.delimiter else join((one, other))

    def begin(
        self, lines: Sequence[str], search: SearchConfig, wishes: Sequence[Wishes] | None = None
    ) -> Begun[Translation]:
        """The same for the next lines. A draw depends on the place of a sentence among all of them."""
        if self.splitting.parts and search.n_best > 1:
            raise UsageError(f"n_best {search.n_best}: what is translated in parts has one answer; ask for 1")
        parts = [self.parts_of(line, number) for number, line in enumerate(lines, self.lines + 1)]
        begun = self.translator.begin([part for each in parts for part in each], search, self.sentences, wishes)
        ends = list(accumulate(map(len, parts), initial=0))
        self.lines += len(lines)
        self.sentences += ends[-1]

        def finish() -> list[Translation]:
            said = begun.finish()
            found = [said[first:last] for first, last in pairwise(ends)]
            return [self.joined(line, each) for line, each in zip(lines, found, strict=True)]

        return Begun(begun.batches, finish)

    def parts_of(self, line: str, number: int) -> list[str]:
        """What of a line is translated at once; the line itself where that is all of it."""
        length = len(self.translator.read(line, number)) - 1
        tags, text = self.tagged(line)
        whole = sentences(text) if self.splitting.sentences else [text]
        if len(whole) < 2 and not self.is_too_long(length):
            return [line]
        return [tags + part for sentence in whole for part in self.within(sentence, tags, number)]

    def tagged(self, line: str) -> tuple[str, str]:
        """Tags that a line begins with, such as <2de>, which hold for each of its parts; and the rest of it."""
        found = self.tags.match(line)
        end = found.end() if found else 0
        return line[:end], line[end:]

    def within(self, text: str, tags: str, number: int) -> list[str]:
        """The text, cut where it is too long with its tags before it."""
        length = self.length_of(tags + text)
        if not self.is_too_long(length):
            return [text]
        longest = self.splitting.longest
        if self.splitting.too_long == "refuse":
            raise DataError(
                f"line {number}: {length} tokens, the longest may have {longest}: {text[:60]!r}; cut it, allow more "
                "(--longest), or let it be split (--too-long split)"
            )
        parts = cut(text, lambda part: self.length_of(tags + part) <= longest)
        if parts is None:
            raise DataError(
                f"line {number}: {length} tokens, the longest may have {longest}, and there is neither white space nor "
                f"punctuation to split it at: {text[:60]!r}; cut it, or allow more (--longest)"
            )
        return parts

    def length_of(self, text: str) -> int:
        """Tokens without the end symbol."""
        return len(self.translator.source_vocab.encode(text)) - 1

    def is_too_long(self, length: int) -> bool:
        return 0 < self.splitting.longest < length

    def joined(self, line: str, parts: Sequence[Translation]) -> Translation:
        """One Translation of all parts; without an answer where one of them has none."""
        if len(parts) == 1:
            return parts[0]
        tokens = [token for part in parts for token in part.source_tokens]
        best = [part.answers[0] for part in parts if part.answers]
        whole = len(best) == len(parts)
        return Translation(line, tokens, [self.answer(best)] if whole else [], tuple(parts))

    def answer(self, best: Sequence[Answer]) -> Answer:
        """The answers to all parts as one: its score is the mean of theirs, weighted by their tokens."""
        texts = [answer.text for answer in best]
        text = self.delimiter.join(filter(None, texts)) if self.delimiter else join(texts)
        lengths = [max(len(answer.tokens), 1) for answer in best]
        return Answer(
            text,
            sum(answer.score * length for answer, length in zip(best, lengths, strict=True)) / sum(lengths),
            sum(answer.log_prob for answer in best),
            [token for answer in best for token in answer.tokens],
            [value for answer in best for value in answer.token_log_probs],
            beside([answer.alignment for answer in best]),
            all(answer.finished for answer in best),
        )


def whole_only(source: Vocabulary) -> str:
    """Why a source cannot be taken apart; empty where it can."""
    if source.vector_size:
        return "a source is a sequence of vectors, which cannot be split"
    if source.columns > 1:
        return f"a source is {source.columns} texts with tabs between, which cannot be split"
    if source.factor_separator:
        return "the source's words have factors, so that it is no plain text to be split"
    if source.delimiter not in (None, "", " "):
        return f"the source's tokens stand between {source.delimiter!r}, so that it is no plain text to be split"
    return ""


def beside(alignments: Sequence[np.ndarray | None]) -> np.ndarray | None:  # (T, S) each -> (sum of T, sum of S)
    """The alignment of each part in its place, and nothing between the parts."""
    known = [alignment for alignment in alignments if alignment is not None]
    if not known:
        return None
    whole = np.zeros(np.sum([alignment.shape for alignment in known], axis=0), dtype=known[0].dtype)
    row = column = 0
    for alignment in known:
        rows, columns = alignment.shape
        whole[row : row + rows, column : column + columns] = alignment
        row, column = row + rows, column + columns
    return whole
