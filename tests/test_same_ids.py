"""Our subwords and SentencePiece's, id for id, over every text of all data sets that are there.

SEQUENCING_LINES says how many lines of each file are looked at; 0: all of them (a minute or two).
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sequencing.data.subword_training import import_sentencepiece, import_unigram, train_sentencepiece
from sequencing_np.piece_table import SPACE
from sequencing_np.special import Special
from sequencing_np.text import read_lines

IMPORTED: dict[str, Callable[..., Any]] = {"bpe": import_sentencepiece, "unigram": import_unigram}
MOST = int(os.environ.get("SEQUENCING_LINES", 150))


def texts(place: Path, most: int) -> Iterator[str]:
    """The texts of all files, of each so many lines from all over it."""
    for path in sorted(place.glob("*/*.gz")):
        lines = list(read_lines(path))
        step = max(1, len(lines) // most) if most else 1
        for line in lines[::step]:
            yield from line.split("\t")


@pytest.mark.parametrize("algorithm", IMPORTED)
def test_over_all_data(algorithm: str, shared_data: Callable[[str], Path]) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    found = [text for text in texts(shared_data("."), MOST) if SPACE not in text]  # SentencePiece takes it for a space
    assert len(found) > 5_000
    model = train_sentencepiece([*texts(shared_data("."), 100)], 6000, algorithm=algorithm)
    vocab, reference = IMPORTED[algorithm](model, Special()), sentencepiece.SentencePieceProcessor(model_proto=model)
    ids = [vocab.encode(text) for text in found]
    assert [row[:-1] for row in ids] == reference.encode(found)
    assert [vocab.decode(row) for row in ids] == found
