"""vocabularies: from a configuration and a corpus, or a file, to the two vocabularies of a run."""

from pathlib import Path

import pytest

from sequencing.data.corpus import Corpus
from sequencing.run_config import SideConfig, VocabConfig
from sequencing.vocabularies import both_sides, build_side, build_vocabularies, source_lines, target_lines
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.subwords import Subwords
from sequencing_np.vocab import Vocab, Vocabulary, build_vocab, save_vocab

PAIRS = [("ein haus", "a house"), ("zwei haus", "two|houses"), ("ein a", "a a")]


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    (tmp_path / "pairs.tsv").write_bytes("".join(f"{source}\t{target}\n" for source, target in PAIRS).encode())
    return Corpus([str(tmp_path / "pairs.tsv")])


def ordinary(vocab: Vocabulary) -> list[str]:
    return [token for token in vocab.tokens if token is not None]


def test_lines(corpus: Corpus) -> None:
    assert list(source_lines(corpus)) == [source for source, _ in PAIRS]
    assert list(target_lines(corpus)) == [target for _, target in PAIRS]
    assert sorted(both_sides(corpus)) == sorted(text for pair in PAIRS for text in pair)


@pytest.mark.parametrize(
    ("config", "tokens", "delimiter"),
    [
        (SideConfig("words"), ["a", "house", "two|houses"], " "),
        (SideConfig("characters", size=6), ["a", "o"], ""),
        (SideConfig("delimited", "|"), ["a a", "a house", "houses", "two"], "|"),
        (SideConfig("words", min_count=2), ["a"], " "),
    ],
)
def test_levels(config: SideConfig, tokens: list[str], delimiter: str, corpus: Corpus) -> None:
    vocab = build_side(config, target_lines(corpus))
    assert isinstance(vocab, Vocab) and vocab.delimiter == delimiter
    assert sorted(ordinary(vocab)) == sorted(tokens)
    assert len(vocab) == len(tokens) + 4


def test_size_counts_every_id(corpus: Corpus) -> None:
    for size in (5, 6, 7, 100):
        vocab = build_side(SideConfig(size=size), both_sides(corpus))
        assert len(vocab) == min(size, 4 + 6)
    assert ordinary(build_side(SideConfig(size=5), both_sides(corpus))) == ["a"], "the most frequent stays"


def test_subwords(tmp_path: Path) -> None:
    lines = [f"{word} und {other}" for word in ("haus", "maus", "laus") for other in ("hausmaus", "mauslaus")] * 5
    vocab = build_side(SideConfig("subwords", size=280), iter(lines))
    assert isinstance(vocab, Subwords) and len(vocab) == 280
    for text in [*lines, "etwas ganz anderes — ß"]:
        assert vocab.decode(vocab.encode(text)) == text


def test_each_side_sees_its_own_text(corpus: Corpus) -> None:
    source, target = build_vocabularies(VocabConfig(target=SideConfig("characters")), corpus)
    assert sorted(ordinary(source)) == ["a", "ein", "haus", "zwei"]
    assert sorted(ordinary(target)) == sorted(set("".join(text for _, text in PAIRS)))


def test_joint(corpus: Corpus) -> None:
    for target in (SideConfig(), SideConfig("characters")):
        config = VocabConfig(source=SideConfig("characters"), target=target, joint=True)
        source, other = build_vocabularies(config, corpus)
        assert source is other and sorted(ordinary(source)) == sorted(set("".join(map("".join, PAIRS))))
    with pytest.raises(ConfigError, match=r"vocab.joint = true: one vocabulary.*leave vocab.target out"):
        build_vocabularies(VocabConfig(target=SideConfig("characters"), joint=True), corpus)


def test_files(corpus: Corpus, tmp_path: Path) -> None:
    """A list of tokens, with or without counts, or a saved vocabulary; the text is not looked at."""
    (tmp_path / "tokens.txt").write_bytes(b"two\t3\none\t1\n")
    read = build_side(SideConfig(file=str(tmp_path / "tokens.txt")), iter([]))
    assert ordinary(read) == ["two", "one"] and read.encode("one two three") == [5, 4, 1, 3]
    (tmp_path / "letters.txt").write_bytes(b" \na\n")
    letters = build_side(SideConfig("characters", file=str(tmp_path / "letters.txt")), iter([]))
    assert letters.encode("a a") == [5, 4, 5, 3]
    made = build_vocab(iter(["x y y"]))
    save_vocab(made, tmp_path / "made.json")
    loaded = build_side(SideConfig(file=str(tmp_path / "made.json")), iter([]))
    assert loaded.to_json() == made.to_json()
    with pytest.raises(DataError, match=r"none\.txt"):
        build_side(SideConfig(file=str(tmp_path / "none.txt")), iter([]))
