"""Sentences to numbers of 64 bits, by which duplicates and leaks are found without holding the sentences.

An exact key is the first 8 bytes of BLAKE2b over the text. A loose key is that of the letters, digits, marks and
symbols alone, without regard to case: what differs in case, punctuation or spaces has the same one. Two different texts
have the same key with a chance of one in 2^64: among 15 million pairs it happens at all once in 160,000 preparations,
among a billion once in 37; the price is one pair that is dropped though it is new.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from hashlib import blake2b

import numpy as np

from sequencing.data import permutation

IGNORED = ("P", "Z", "C")  # first letters of the Unicode categories that a loose key leaves out

# The numbers of a shard's pairs. `line` is where the pair stood in its file.
COLUMNS = ("source", "target", "loose_source", "loose_target", "line")
COLUMN = {name: number for number, name in enumerate(COLUMNS)}


class _Letters(dict[int, int | None]):
    """A table for str.translate that learns, character by character, what is left out."""

    def __missing__(self, code: int) -> int | None:
        kept = None if unicodedata.category(chr(code))[0] in IGNORED else code
        self[code] = kept
        return kept


LETTERS = _Letters()


def loose(text: str) -> str:
    """What is left of a text for a loose key; where that is nothing, the text without its outer spaces."""
    return text.casefold().translate(LETTERS) or text.strip()


def key(text: str) -> bytes:
    """The eight bytes of a text."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def keys(texts: Sequence[str]) -> np.ndarray:  # -> (n,) uint64
    """A number for each text."""
    return np.frombuffer(b"".join(map(key, texts)), dtype="<u8")


def loose_keys(texts: Sequence[str]) -> np.ndarray:  # -> (n,) uint64
    """A number for each text, the same for those that differ in case, punctuation and spaces alone."""
    return keys([loose(text) for text in texts])


def mixed(numbers: np.ndarray, seed: int = 0) -> np.ndarray:  # (n,) uint64 -> (n,) uint64
    """Other numbers, each of which depends on all bits of its number and of the seed."""
    return permutation.mixed(numbers + np.uint64((seed + 1) * permutation.GOLDEN & permutation.WORD))


def pair_keys(columns: np.ndarray) -> np.ndarray:  # (COLUMNS, n) -> (n,)
    """A number for each pair, made of those of its sides."""
    return mixed(columns[COLUMN["source"]]) ^ mixed(columns[COLUMN["target"]], seed=1)


# By what two pairs are duplicates of each other.
DUPLICATES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "pair": pair_keys,
    "source": lambda columns: columns[COLUMN["source"]],
    "target": lambda columns: columns[COLUMN["target"]],
    "loose_pair": lambda columns: mixed(columns[COLUMN["loose_source"]]) ^ mixed(columns[COLUMN["loose_target"]], 1),
    "loose_source": lambda columns: columns[COLUMN["loose_source"]],
    "loose_target": lambda columns: columns[COLUMN["loose_target"]],
}

# By what a sentence is recognised in another part of the split.
APART: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "source": DUPLICATES["loose_source"],
    "target": DUPLICATES["loose_target"],
}
