"""The unknown tokens of an answer, replaced by what they were made of: a word of the source, or its translation.

For each UNK the source word that the decoder looked at most is put in its place: as a dictionary translates it, or else
as it stands, which is right for most names and numbers (Luong et al. 2015, "Addressing the Rare Word Problem", and Jean
et al. 2015, section 3.3). Only words and characters can be replaced: a piece of a word stands for no word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sequencing_np.errors import DataError, SearchError, UsageError
from sequencing_np.reversal import reading_order
from sequencing_np.special import Vocabulary
from sequencing_np.text import read_lines


def read_dictionary(path: str) -> dict[str, str]:
    """Translations of words, from lines of `source<TAB>target`; either may be several words, neither may be empty."""
    found: dict[str, str] = {}
    first: dict[str, int] = {}
    for number, line in enumerate(read_lines(path), start=1):
        source, *targets = (part.strip() for part in line.split("\t"))
        if not source or len(targets) != 1 or not targets[0]:
            raise DataError(
                f"{path}:{number}: {line[:60]!r} is no entry; write source<TAB>target, both of them not empty"
            )
        if first.setdefault(source, number) != number and found[source] != targets[0]:
            raise DataError(f"{path}:{number}: {source!r} has another translation in line {first[source]}; keep one")
        found[source] = targets[0]
    return found


def check_levels(source: Vocabulary, target: Vocabulary) -> None:
    """UsageError where an unknown token of the target cannot be a word (a character) of the source."""
    for side, vocab in (("source", source), ("target", target)):
        if vocab.delimiter is None:
            raise UsageError(
                f"unknown tokens cannot be replaced: the {side} vocabulary is of pieces of words, which stand for no "
                "word; to have none of them, never say the unknown token (--no-unknown)"
            )
    if bool(source.delimiter) != bool(target.delimiter):
        raise UsageError(
            "unknown tokens cannot be replaced: one side is of words and the other of characters; to have none of "
            "them, never say the unknown token (--no-unknown)"
        )


def check_looks(vocab: Vocabulary, look: Callable[[list[int]], np.ndarray | None]) -> None:
    """SearchError where a look, (S,) -> (S,), weighs unknown tokens and the end alike.

    Longer sources are looked at, too: an encoder that averages neighbours says the same of all words of a short one.
    """
    for count in (1, 16, 256):
        weights = look([vocab.special.unk] * count + vocab.encode(""))
        if weights is None or (weights[: count + 1] != weights[0]).any():
            return
    raise SearchError("this model does not look at single source tokens, so no unknown token can be replaced")


def words_of(vocab: Vocabulary, ids: Sequence[int], pieces: Sequence[str]) -> list[str | None]:
    """The words of a source without their factors, in the order of the text; None at the end symbols.

    Pieces are in the order of the text, ids as they are read.
    """
    separator = vocab.factor_separator
    ends = [ids[place] == vocab.special.eos for place in reading_order(vocab, ids)]
    plain = [piece.split(separator)[0] if separator and piece not in vocab.tags else piece for piece in pieces]
    return [None if end else word for end, word in zip(ends, plain, strict=True)]


def replaced(
    vocab: Vocabulary,
    ids: Sequence[int],
    alignment: np.ndarray,
    words: Sequence[str | None],
    dictionary: Mapping[str, str],
) -> str:  # (T,), (T or more, S), (S,)
    """The text of an answer with each UNK replaced; it stays where the source has no word."""
    tokens = vocab.tokens_of(ids)
    places = [place for place, word in enumerate(words) if word is not None]
    for step, token_id in enumerate(ids):
        if token_id == vocab.special.unk and places:
            word = words[places[int(alignment[step, places].argmax())]]
            assert word is not None
            tokens[step] = dictionary.get(word, word)
    return (vocab.delimiter or "").join(tokens)
