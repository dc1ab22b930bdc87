"""Pairs that say nothing are counted, and warned of where they are many."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencing.data import blanks as module
from sequencing.data.blanks import blanks
from sequencing.train.loop import train
from sequencing_np.batch import ragged
from sequencing_np.vocab import Vocab
from small_runs import small, write_pairs

VOCAB = Vocab(["a", "b"])
UNK, EOS = VOCAB.special.unk, VOCAB.special.eos


@given(st.lists(st.lists(st.sampled_from([UNK, 4, 5]), max_size=4), max_size=12), st.integers(1, 5))
def test_as_row_by_row(rows: list[list[int]], together: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "ROWS", together)
        found = blanks(ragged([[*row, EOS] for row in rows]), VOCAB)
    assert found.empty == sum(not row for row in rows)
    assert found.unknown == sum(bool(row) and all(each == UNK for each in row) for row in rows)


@pytest.mark.parametrize(("count", "warned"), [(0, None), (3, False), (40, True)])
def test_a_run_says_so(count: int, warned: bool | None, tmp_path: Path, capsys: Any) -> None:
    write_pairs(tmp_path / "data", train=200, dev=15, tsv="zz\tab\n" * count)
    (tmp_path / "source.txt").write_bytes(b"a\nb\nc\nd\ne\nf\ng\nh\n")
    config = small(tmp_path / "data", f"vocab.source.file={tmp_path / 'source.txt'}", "train.steps=1")
    train(config, tmp_path / "run")
    said = [line for line in capsys.readouterr().err.split("\n") if "unknown words alone" in line]
    if warned is None:
        assert said == []
    else:
        assert len(said) == 1 and said[0].startswith("warning: ") == warned
        assert f"of {200 + count} pairs {count} have a source of unknown words alone" in said[0]
