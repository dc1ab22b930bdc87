"""vocabularies: from a configuration and a corpus, or a file, to the two vocabularies of a run."""

from dataclasses import replace
from pathlib import Path

import pytest

from sequencing.data.corpus import Corpus
from sequencing.run_config import SideConfig, VocabConfig
from sequencing.vocabularies import (
    both_sides,
    build_side,
    build_vocabularies,
    check_factors,
    completed,
    in_columns,
    source_lines,
    target_lines,
)
from sequencing_np.columns import ColumnsVocab
from sequencing_np.config import Origin
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.model import model_config
from sequencing_np.special import Special
from sequencing_np.subwords import BYTES, SPACE, Subwords
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


def test_subword_dropout_is_for_subwords(corpus: Corpus, tmp_path: Path) -> None:
    """Also where the vocabulary is read from a file, which says itself what it is."""
    for level in ("words", "characters", "delimited"):
        with pytest.raises(ConfigError, match=rf"dropout 0\.1: leaves out .* level '{level}' has none; set level = "):
            SideConfig(level, dropout=0.1)
    words, pieces = (str(tmp_path / f"{name}.json") for name in ("words", "pieces"))
    save_vocab(build_vocab(["a b"]), words)
    save_vocab(Subwords([*BYTES, SPACE, "a", "b", "ab"]), pieces)
    for file in (words, pieces):
        build_side(SideConfig("subwords", file=file), target_lines(corpus))
    build_side(SideConfig("subwords", file=pieces, dropout=0.1), target_lines(corpus))
    with pytest.raises(ConfigError, match=r"words\.json: dropout 0\.1: leaves out merges .* this vocabulary has none"):
        build_side(SideConfig("subwords", file=words, dropout=0.1), target_lines(corpus))


def test_of_a_joint_vocabulary_both_sides_are_dropped_from() -> None:
    source = SideConfig("subwords", dropout=0.1)
    assert VocabConfig(source).dropouts == (0.1, 0.0)
    assert VocabConfig(source, joint=True).dropouts == VocabConfig(source, source, joint=True).dropouts == (0.1, 0.1)
    assert VocabConfig(source, SideConfig("subwords", dropout=0.2)).dropouts == (0.1, 0.2)


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


# --- tags -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["words", "characters", "delimited", "subwords"])
def test_tags_at_every_level(level: str, tmp_path: Path) -> None:
    tags = ("<2de>", "<2fr>")
    lines = [f"<2de> {word} und|{other}<2xx>" for word in ("haus", "maus") for other in ("hausmaus", "mauslaus")] * 9
    vocab = build_side(SideConfig(level, "|" if level == "delimited" else "", 290, 2, tags=tags), iter(lines))
    assert vocab.tags == tags and vocab.tokens[4:6] == list(tags)
    for text in (lines[0], "<2fr>haus", "maus<2de><2fr> haus"):
        ids = vocab.encode(text)
        assert [ids.count(4), ids.count(5)] == [text.count(tag) for tag in tags]
    save_vocab(vocab, tmp_path / "vocab.json")
    saved = SideConfig(level, "|", file=str(tmp_path / "vocab.json"))
    for given in ((), tags, tags[::-1]):
        assert build_side(replace(saved, tags=given), iter([])).to_json() == vocab.to_json()
    with pytest.raises(ConfigError, match=r"its tags are \['<2de>', '<2fr>'\], tags is \['<2xx>'\]; leave tags out"):
        build_side(replace(saved, tags=("<2xx>",)), iter([]))


# --- factors --------------------------------------------------------------------------------------------------------

FACTORED = [("ein|D haus|N", "a house"), ("zwei|D haus|V", "two houses"), ("ein|D <a> a|X", "a a")]


@pytest.fixture
def factored(tmp_path: Path) -> Corpus:
    (tmp_path / "factored.tsv").write_bytes("".join(f"{a}\t{b}\n" for a, b in FACTORED).encode())
    return Corpus([str(tmp_path / "factored.tsv")])


def test_factors(factored: Corpus, tmp_path: Path) -> None:
    side = SideConfig(factors=1, tags=("<a>",), min_count=2)
    source, target = build_vocabularies(VocabConfig(source=side), factored)
    assert ordinary(source) == ["<a>", "ein", "haus"] and source.factor_sizes == (2 + 4,)
    assert source.decode(source.encode("ein|D haus|V <a> maus|Z")) == "ein|D haus|V <a> <unk>|<unk>"
    assert sorted(ordinary(target)) == ["a", "house", "houses", "two"] and target.factor_sizes == ()
    save_vocab(source, tmp_path / "source.json")
    read = build_side(SideConfig(factors=1, file=str(tmp_path / "source.json")), iter([]))
    assert read.to_json() == source.to_json()
    for factors in (0, 2):
        with pytest.raises(ConfigError, match=f"it has 1 factors, factors is {factors}; set factors = 1"):
            build_side(SideConfig(factors=factors, file=str(tmp_path / "source.json")), iter([]))


def test_factors_of_words_from_a_file(factored: Corpus, tmp_path: Path) -> None:
    (tmp_path / "words").write_bytes(b"haus\nmaus\n")
    vocab = build_side(SideConfig(factors=1, file=str(tmp_path / "words"), tags=("<a>",)), source_lines(factored))
    assert ordinary(vocab) == ["<a>", "haus", "maus"] and vocab.factor_sizes == (6,)


def test_joint_words_and_the_source_s_factors(factored: Corpus, tmp_path: Path) -> None:
    source, target = build_vocabularies(VocabConfig(source=SideConfig(factors=1, tags=("<a>",)), joint=True), factored)
    assert source.tokens == target.tokens and (source.factor_sizes, target.factor_sizes) == ((6,), ())
    assert sorted(ordinary(target)) == ["<a>", "a", "ein", "haus", "house", "houses", "two", "zwei"]
    sizes = completed(model_config({}, Origin("test")), source, target)
    assert (sizes.source_size, sizes.target_size, sizes.source_factors) == (12, 12, (6,))
    side = SideConfig(factors=1, file=str(tmp_path / "source.json"))
    with pytest.raises(ConfigError, match=r"vocab\.joint = true with factors"):
        build_vocabularies(VocabConfig(source=side, joint=True), factored)


def test_a_token_without_its_factors_is_named_with_its_place(factored: Corpus, tmp_path: Path) -> None:
    check_factors(SideConfig(), factored)
    check_factors(SideConfig(factors=1, tags=("<a>",)), factored)
    with pytest.raises(DataError, match=r"factored\.tsv:3: the token '<a>' has 0 of 1 factors"):
        check_factors(SideConfig(factors=1), factored)
    with pytest.raises(DataError, match=r"factored\.tsv:1: the token 'ein\|D' has 1 of 2 factors; write every token"):
        check_factors(SideConfig(factors=2, tags=("<a>",)), factored)


# --- columns --------------------------------------------------------------------------------------------------------

THREE = [("ein haus", "a b", "c d"), ("zwei", "", "c"), ("", "b b", "zwei")]


@pytest.fixture
def columns(tmp_path: Path) -> Corpus:
    (tmp_path / "three.tsv").write_bytes("".join("\t".join(row) + "\n" for row in THREE).encode())
    return Corpus([str(tmp_path / "three.tsv")], sources=2)


def test_columns_share_a_vocabulary(columns: Corpus, tmp_path: Path) -> None:
    """What is counted is each text, whatever the level; a tab is no token."""
    assert list(source_lines(columns)) == ["ein haus", "a b", "zwei", "", "", "b b"]
    source, target = build_vocabularies(VocabConfig(source=SideConfig(columns=2)), columns)
    assert ordinary(source) == ["b", "a", "ein", "haus", "zwei"] and source.columns == 2
    assert sorted(ordinary(target)) == ["c", "d", "zwei"] and target.columns == 1
    letters, _ = build_vocabularies(VocabConfig(source=SideConfig("characters", columns=2)), columns)
    assert sorted(ordinary(letters)) == sorted(set(" abeinhauszw"))
    joint, alone = build_vocabularies(VocabConfig(source=SideConfig(columns=2), joint=True), columns)
    assert joint.tokens == alone.tokens and (joint.columns, alone.columns) == (2, 1)
    assert sorted(ordinary(alone)) == ["a", "b", "c", "d", "ein", "haus", "zwei"]
    save_vocab(source, tmp_path / "columns.json")
    save_vocab(alone, tmp_path / "one.json")
    for file, config in (("columns.json", SideConfig(columns=2)), ("one.json", SideConfig(columns=2))):
        read, _ = build_vocabularies(VocabConfig(source=replace(config, file=str(tmp_path / file))), columns)
        assert read.to_json() == (source if file == "columns.json" else joint).to_json()
    for number in (1, 3):
        with pytest.raises(ConfigError, match=f"of lines of 2 columns, columns is {number}; set columns = 2"):
            build_side(SideConfig(columns=number, file=str(tmp_path / "columns.json")), iter([]))
    side = SideConfig(columns=2, file=str(tmp_path / "columns.json"))
    with pytest.raises(ConfigError, match=r"joint = true: .*of lines of 2 columns.*give the vocabulary of one text"):
        build_vocabularies(VocabConfig(source=side, joint=True), columns)


def test_subwords_of_columns(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    rows = [f"{one} und\t{two}\tx" for one in ("haus", "maus", "laus") for two in ("", "hausmaus", "mauslaus")] * 5
    (tmp_path / "many.tsv").write_bytes("".join(f"{row}\n" for row in rows).encode())
    corpus = Corpus([str(tmp_path / "many.tsv")], sources=2)
    source, _ = build_vocabularies(VocabConfig(source=SideConfig("subwords", size=280, columns=2)), corpus)
    assert (len(source), source.columns) == (280, 2)
    assert source.decode(source.encode("haus und\tlaus")) == "haus und\tlaus"


def test_factors_in_columns(tmp_path: Path) -> None:
    (tmp_path / "both.tsv").write_bytes(b"a|X b|Y\t\tc\n\tb|Z\ta\nb|X\tb\tc\n")
    corpus = Corpus([str(tmp_path / "both.tsv")], sources=2)
    side = SideConfig(factors=1, columns=2)
    with pytest.raises(DataError, match=r"both\.tsv:3: the token 'b' has 0 of 1 factors"):
        check_factors(side, corpus)
    (tmp_path / "both.tsv").write_bytes(b"a|X b|Y\t\tc\n\tb|Z\ta\n")
    check_factors(side, corpus)
    for joint in (False, True):
        source, target = build_vocabularies(VocabConfig(source=side, joint=joint), corpus)
        assert (source.factor_sizes, source.columns, target.factor_sizes, target.columns) == ((5,), 2, (), 1)
        assert source.decode(source.encode("b|X\ta|Z a|new")) == "b|X\ta|Z a|<unk>"
        sizes = completed(model_config({}, Origin("test")), source, target)
        assert (sizes.source_size, sizes.source_factors) == (len(source), (5,))


def test_a_tab_in_one_source_is_what_it_was(tmp_path: Path) -> None:
    for name, text in (("a", b"x\ty z\n"), ("b", b"u\tv\n")):
        (tmp_path / name).write_bytes(text)
    corpus = Corpus([[str(tmp_path / "a"), str(tmp_path / "b")]])
    assert list(both_sides(corpus)) == ["x\ty z", "u\tv"]
    source, target = build_vocabularies(VocabConfig(), corpus)
    assert (ordinary(source), ordinary(target)) == (["x\ty", "z"], ["u\tv"])


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


def test_an_encoder_gets_the_ids_that_it_looks_for() -> None:
    """A space closes a word, the end symbol a text, wherever the vocabulary has them."""
    vocab = Vocab(["a", " ", "b"], "", Special(2, 0, 1, 4))
    words = model_config({"encoder": {"type": "characters_to_words"}}, Origin("test"))
    texts = model_config({"encoder": {"type": "several_sources"}}, Origin("test"))
    assert completed(words, vocab, vocab).encoder == replace(words.encoder, boundary=5)
    assert completed(texts, ColumnsVocab(vocab, 2), vocab).encoder == replace(texts.encoder, end=4)
    for columns, has in ((1, "1 column"), (3, "3 columns")):
        wrong = rf"2 encoders, one for each text of a source, and a source has {has}; set vocab\.source\.columns = 2"
        with pytest.raises(ConfigError, match=wrong):
            completed(texts, in_columns(vocab, columns), vocab)
    assert completed(words, in_columns(vocab, 3), vocab).encoder == replace(words.encoder, boundary=5)
    with pytest.raises(ConfigError, match=r"looks for ' '.*no such token"):
        completed(words, Vocab(["a"], ""), vocab)
