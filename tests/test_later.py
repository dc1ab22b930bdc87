"""later: what stands in a table is the class, and only who asks for it imports its module."""

import copy
import pickle

import pytest

import sequencing_np
from sequencing_np.columns import SINGLE
from sequencing_np.later import Later, later
from sequencing_np.vocab import VOCABULARIES

LATER = {kind: row for kind, row in SINGLE.items() if isinstance(row, Later)}
CLASSES = {"sentencepiece": sequencing_np.SentencePieceVocab, "huggingface": sequencing_np.HuggingFaceVocab}


def test_which_rows_are_imported_later() -> None:
    assert set(LATER) == set(CLASSES)


@pytest.mark.parametrize("kind", CLASSES)
def test_a_row_has_what_its_class_has(kind: str) -> None:
    for row in (LATER[kind], copy.copy(LATER[kind]), pickle.loads(pickle.dumps(LATER[kind])), VOCABULARIES[kind]):
        assert row.from_json == CLASSES[kind].from_json and row.columns == CLASSES[kind].columns
        with pytest.raises(AttributeError, match="absent"):
            _ = row.absent


def test_names_that_are_not_there() -> None:
    with pytest.raises(ModuleNotFoundError):
        _ = later("sequencing_np.absent", "Vocab").from_json
    with pytest.raises(AttributeError, match="Absent"):
        _ = later("sequencing_np.delimited", "Absent").from_json


def test_a_translation_does_without(ground_floor) -> None:
    """What serves other vocabularies, TOML, mistakes and writers alone is not imported."""
    done = ground_floor("-c", "import sys, sequencing_np.translate\nprint(*sys.modules)")
    names = set(done.stdout.decode().split())
    assert "sequencing_np.subwords" in names
    assert not {name for name in names if name.startswith("sequencing_np.tokenizers")}
    assert not names & {"tomllib", "difflib", "shutil"}
