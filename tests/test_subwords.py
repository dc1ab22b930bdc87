"""subwords: every text comes back, no text makes a control id, and each id is the one that SentencePiece gives."""

import importlib.util
import itertools
import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sequencing.data.subword_training import import_sentencepiece, train_sentencepiece, train_subwords
from sequencing_np import subwords
from sequencing_np.columns import ColumnsVocab
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.factors import FactoredVocab
from sequencing_np.special import Special
from sequencing_np.subwords import BYTES, SPACE, Subwords
from sequencing_np.vocab import build_vocab, load_vocab, save_vocab

needs_sentencepiece = pytest.mark.skipif(
    importlib.util.find_spec("sentencepiece") is None, reason="sentencepiece is not installed"
)

TEXT = st.text(st.characters(codec="utf-8"))
# texts in which merges happen, mixed with all that Unicode has
WORDY = st.lists(
    st.sampled_from(
        ["the", "cat", "aaa", "ababab", " ", "  ", "ä", "<unk>", "</s>", "<0x41>", "<s>", "\u3000", "\t", "\0"]
    )
    | st.text(st.sampled_from("abcdet <>/sx04 "), max_size=8)
    | st.characters(codec="utf-8")
).map("".join)


def corpus() -> list[str]:
    """Made-up lines: words of few letters, so that they overlap and merge in many ways."""
    generator = random.Random(1)
    words = ["".join(generator.choices("abcdetäß東京", k=generator.randint(1, 9))) for _ in range(200)]
    words += ["the", "cat", "aaaa", "ababab", "</s>", "<unk>", "<0x41>", "<0xE2>"]
    return [" ".join(generator.choices(words, k=generator.randint(1, 9))) for _ in range(500)] + ["  two  spaces  "]


def by_hand(special: Special = Special()) -> Subwords:
    tokens = [*BYTES, SPACE, "a", "b", "c", f"{SPACE}a", "ab", "bc", "abc", "aa"]
    return Subwords(tokens, [None] * 260 + [3, 0, 1, 4, 2], special)


# --- by hand --------------------------------------------------------------------------------------------------------


def test_smallest_rank_first_leftmost_on_ties() -> None:
    vocab = by_hand()
    assert vocab.pieces("abc") == [SPACE, "abc", "</s>"]  # ab, then ab+c
    assert vocab.pieces("bcab") == [SPACE, "bc", "ab", "</s>"]
    assert vocab.pieces("aaac") == [SPACE, "aa", "a", "c", "</s>"]
    assert vocab.pieces("a") == [f"{SPACE}a", "</s>"]
    assert vocab.pieces("a  b") == [f"{SPACE}a", SPACE, SPACE, "b", "</s>"]
    assert vocab.pieces("é") == [SPACE, "<0xC3>", "<0xA9>", "</s>"]
    assert vocab.pieces(SPACE) == [SPACE, "<0xE2>", "<0x96>", "<0x81>", "</s>"]
    assert vocab.encode("") == [3] and vocab.encode("a", bos=True) == [2, 264, 3]


def test_decode_cuts_and_shows() -> None:
    vocab = by_hand()
    assert vocab.decode([2, 264, 0, 1, 265, 3, 262]) == "a<unk>ab"
    assert vocab.tokens_of([2, 264, 0, 1, 265, 3, 262]) == [f"{SPACE}a", "<unk>", "ab"]
    assert vocab.decode(np.array([261, 262])) == "ab"
    assert vocab.decode([4 + 0xE2, 4 + 0x96, 261]) == "\ufffda"
    assert vocab.decode([]) == ""
    with pytest.raises(DataError, match="the id 269 is outside the 269 ids"):
        vocab.decode([269])


@given(TEXT | WORDY, st.sampled_from([Special(), Special(268, 0, 100, 3), Special(7, 260, 4, 7)]))
def test_every_text_comes_back(text: str, special: Special) -> None:
    """T05 and D13."""
    vocab = by_hand(special)
    ids = vocab.encode(text)
    assert ids[-1] == special.eos and not set(ids[:-1]) & set(special)
    assert vocab.decode(ids) == text
    assert len(vocab.pieces(text)) == len(ids)
    assert vocab.encode(text, bos=True) == [special.bos, *ids]


def slow(vocab: Subwords, ranks: dict[str, int], text: str) -> list[str]:
    """The definition of byte-pair encoding, as it is written down: no cache, no queue, the whole text at once."""
    return [part.replace(" ", SPACE) for part in merged(ranks, " " + text if text else "")]


def merged(ranks: dict[str, int], text: str) -> list[str]:
    """The text as it stands, its neighbours joined while any two make a token."""
    parts = list(text)
    while True:
        pairs = [(ranks.get(left + right), row) for row, (left, right) in enumerate(itertools.pairwise(parts))]
        found = min(((rank, row) for rank, row in pairs if rank is not None), default=None)
        if found is None:
            return parts
        parts[found[1] : found[1] + 2] = [parts[found[1]] + parts[found[1] + 1]]


@given(st.text(st.sampled_from("aabbc "), max_size=40))
def test_as_the_definition(text: str) -> None:
    vocab = by_hand()
    ranks = {" a": 3, "ab": 0, "bc": 1, "abc": 4, "aa": 2}
    assert vocab.pieces(text)[:-1] == slow(vocab, ranks, text)


def test_the_cache_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subwords, "CACHED_WORDS", 5)
    vocab = by_hand()
    texts = ["a" * size + " " + "bc" * size for size in range(50)] * 2
    assert [vocab.encode(text) for text in texts] == [by_hand().encode(text) for text in texts]
    assert len(vocab._cache) <= 5
    ids = vocab.encode("abc")
    ids.append(99)
    assert vocab.encode("abc") != ids


def test_very_long_words() -> None:
    """D08, T05: time does not grow with the square of the length."""
    for text in ["ab" * 50_000, "a" + "\u0301" * 10_000, "👩‍👩‍👧" * 5_000]:
        vocab = by_hand()
        assert vocab.decode(vocab.encode(text)) == text
        assert not vocab._cache


def test_half_a_surrogate_pair_is_named() -> None:
    with pytest.raises(DataError, match=r"U\+D800"):
        by_hand().encode("a\ud800")


# --- tags -----------------------------------------------------------------------------------------------------------

TAGS = ("<2de>", "<2", "ba", "ß")
TAGGED = st.lists(st.sampled_from([*TAGS, "a", "b", "c", "ab", "bc", " ", "  ", "de>", "<", "é", SPACE])).map("".join)


def with_tags(special: Special = Special()) -> Subwords:
    plain = by_hand()
    tokens = [token for token in plain.tokens if token is not None]
    return Subwords([*TAGS, *tokens], [*[None] * 4, *[None] * 260, 3, 0, 1, 4, 2], special, TAGS)


def test_tags_by_hand() -> None:
    vocab = with_tags()
    assert vocab.pieces("<2de> abc") == ["<2de>", SPACE, "abc", "</s>"]
    assert vocab.pieces("<2de>abc") == ["<2de>", "abc", "</s>"]
    assert vocab.pieces("abca") == [SPACE, "abc", "a", "</s>"]
    assert vocab.pieces("baabc<2 b") == ["ba", "abc", "<2", SPACE, "b", "</s>"], "the tag first, whatever the ranks"
    assert vocab.pieces(" <2de>") == [SPACE, SPACE, "<2de>", "</s>"]
    assert vocab.encode("<2de><2") == [4, 5, 3] and vocab.encode("ß", bos=True) == [2, 7, 3]
    assert vocab.encode("") == [3]


@given(TAGGED | WORDY, st.sampled_from([Special(), Special(272, 0, 100, 3), Special(7, 260, 4, 7)]))
def test_with_tags_every_text_comes_back(text: str, special: Special) -> None:
    """And between tags it is cut as without them; what stands next to a tag has a space where one was written."""
    vocab = with_tags(special)
    ids = vocab.encode(text)
    assert vocab.decode(ids) == text and len(vocab.pieces(text)) == len(ids)
    assert not set(ids[:-1]) & set(special) and vocab.encode(text, bos=True) == [special.bos, *ids]
    ranks = {" a": 3, "ab": 0, "bc": 1, "abc": 4, "aa": 2}
    expected: list[str] = []
    for position, part in enumerate(re.split("(<2de>|<2|ba|ß)", text)):
        expected += [part] if position % 2 else merged(ranks, " " + part if part and not position else part)
    shown = [piece for piece in expected if piece in [token and token.replace(SPACE, " ") for token in vocab.tokens]]
    assert [piece.replace(SPACE, " ") for piece in vocab.pieces(text)[:-1] if piece not in BYTES] == shown


def test_tags_that_cannot_be() -> None:
    tokens = [*BYTES, "a", "ab"]
    for tags, words in (
        (["x"], "the tag 'x' has no id of its own"),
        (["<0x41>"], "the tag '<0x41>' has no id of its own; it must be one of the tokens, and no byte"),
        (["a "], "white space"),
        ([f"a{SPACE}"], "holds a character of the delimiter"),
        (["<unk>"], "how a special id is shown"),
    ):
        with pytest.raises(DataError, match=words):
            Subwords(tokens, tags=tags)
    with pytest.raises(DataError, match="rank of the token 'ab' is 0; it must be null"):
        Subwords(tokens, [*[None] * 257, 0], tags=["ab"])
    vocab = with_tags(Special(7, 260, 4, 7))
    again = Subwords.from_json(json.loads(json.dumps(vocab.to_json())))
    assert again.to_json() == vocab.to_json() and again.tags == TAGS
    assert "tags" not in by_hand().to_json()


# --- merges dropped at random ---------------------------------------------------------------------------------------


def test_no_dropout_is_encode_and_all_of_it_is_characters() -> None:
    vocab = with_tags()
    for text in ["", "abc aab  bc", "<2de> abc", "é<2de>abc <2de>", " a", SPACE]:
        assert vocab.sample(text, 0, random.Random(1)) == vocab.encode(text)
    plain = by_hand()
    said = plain.tokens_of(plain.sample("abc aéa", 1 - 1e-12, random.Random(1)))
    assert said == [SPACE, "a", "b", "c", SPACE, "a", "<0xC3>", "<0xA9>", "a"]


@given(TEXT | WORDY, st.floats(0, 0.99), st.integers(0, 10**9))
def test_whatever_is_dropped_the_text_comes_back(text: str, dropout: float, seed: int) -> None:
    for vocab in (by_hand(), with_tags()):
        ids = vocab.sample(text, dropout, random.Random(seed))
        assert vocab.decode(ids) == text and ids[-1] == vocab.special.eos
        assert all(vocab.tokens[token_id] for token_id in ids[:-1])
        assert vocab.sample(text, dropout, random.Random(seed)) == ids


def test_words_are_sampled_in_a_sentence_as_by_hand() -> None:
    """Three in ten are dropped. The ways of SPACE a b c, by a calculation with paper and pencil."""
    vocab, count = by_hand(), 20_000
    tokens = vocab.tokens_of(vocab.sample(" ".join(["abc"] * count), 0.3, random.Random(3)))
    begins = [place for place, token in enumerate(tokens) if token.startswith(SPACE)] + [len(tokens)]
    met = Counter(" ".join(tokens[begin:end]) for begin, end in itertools.pairwise(begins))
    wanted = {
        f"{SPACE} abc": 0.7 * 0.7 + 0.21 * 0.21,
        f"{SPACE} ab c": 0.7 * 0.3,
        f"{SPACE}a bc": 0.21 * 0.7 + 0.063 * 0.7,
        f"{SPACE} a bc": 0.21 * 0.09,
        f"{SPACE}a b c": 0.063 * 0.3,
        f"{SPACE} a b c": 0.027,
    }
    assert sum(wanted.values()) == pytest.approx(1) and set(met) == set(wanted)
    for way, likely in wanted.items():
        assert abs(met[way] - count * likely) < 5 * (count * likely * (1 - likely)) ** 0.5, way


def test_the_memory_of_samples_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subwords, "CACHED_WORDS", 5)
    vocab = by_hand()
    for number, text in enumerate(["a" * size + " " + "bc" * size for size in range(50)] * 2):
        assert vocab.sample(text, 0.2, random.Random(number)) == by_hand().sample(text, 0.2, random.Random(number))
    assert len(vocab._spelt) <= 5
    with pytest.raises(DataError, match=r"U\+D800"):
        vocab.sample("a\ud800", 0.1, random.Random(1))


def test_other_vocabularies_have_no_merges_and_columns_those_of_their_texts() -> None:
    words = build_vocab(["a b"])
    for vocab in (words, FactoredVocab(words, [["X"]]), ColumnsVocab(words, 2)):
        with pytest.raises(ConfigError, match=r"dropout 0\.5: leaves out merges of subwords, and this vocabulary has"):
            vocab.sample("", 0.5, random.Random(1))
    vocab = by_hand()
    ids = ColumnsVocab(vocab, 2).sample("abc aab\tbc", 0, random.Random(2))
    assert ids == [*vocab.encode("abc aab"), *vocab.encode("bc")]
    dropped = ColumnsVocab(vocab, 2).sample("abc aab\tbc", 1 - 1e-12, random.Random(2))
    assert len(dropped) == 8 + 1 + 3 + 1 and ColumnsVocab(vocab, 2).decode(dropped) == "abc aab\tbc"


# --- files ----------------------------------------------------------------------------------------------------------


def test_saved_is_loaded(tmp_path: Path) -> None:
    vocab = by_hand(Special(7, 260, 4, 7))
    save_vocab(vocab, tmp_path / "vocab.json")
    again = load_vocab(tmp_path / "vocab.json")
    assert isinstance(again, Subwords)
    assert again.to_json() == vocab.to_json()
    assert again.encode("abc aab") == vocab.encode("abc aab")


def test_without_ranks_the_order_of_ids_counts() -> None:
    vocab = Subwords([*BYTES, SPACE, "a", "b", "c", "bc", "ab"])
    assert vocab.pieces("abc") == [SPACE, "a", "bc", "</s>"]
    assert Subwords.from_json(vocab.to_json()).pieces("abc") == [SPACE, "a", "bc", "</s>"]


def altered(key: str, place: int, value: Any) -> dict[str, Any]:
    document = json.loads(json.dumps(by_hand().to_json()))
    document[key][place] = value
    return document


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (altered("tokens", 4, "x"), "byte token <0x00> is missing"),
        (altered("tokens", 261, "ab"), "id 265: the token 'ab' is a duplicate, it has id 261"),
        (altered("tokens", 261, " "), "holds a space that is not U"),
        (altered("tokens", 265, f"a{SPACE}"), "holds a space that is not U"),
        (altered("tokens", 265, f"{SPACE}{SPACE}"), "holds a space that is not U"),
        (altered("tokens", 265, 5), "5 is no string"),
        (altered("tokens", 265, None), "id 265: a gap"),
        (altered("ranks", 265, None), "rank of the token 'ab' is None; it must be a whole"),
        (altered("ranks", 265, -1), "rank of the token 'ab' is -1"),
        (altered("ranks", 265, 0.0), "rank of the token 'ab' is 0.0"),
        (altered("ranks", 265, True), "rank of the token 'ab' is True"),
        (altered("ranks", 265, 1), "'ab' and 'bc' have the same rank 1"),
        (altered("ranks", 261, 9), "rank of the token 'a' is 9; it must be null"),
        (altered("ranks", 4, 9), "rank of the token '<0x00>' is 9; it must be null"),
        (altered("ranks", 0, 9), "id 0: the rank is 9; a special id has null"),
        ({**by_hand().to_json(), "ranks": None}, "'ranks' must be a list of 269"),
        ({**by_hand().to_json(), "ranks": [1]}, "'ranks' must be a list of 269"),
        ({**by_hand().to_json(), "counts": []}, "unknown key 'counts'"),
        ({**by_hand().to_json(), "kind": "delimited"}, "kind is 'delimited'"),
    ],
)
def test_broken_documents(document: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Subwords.from_json(document)


# --- against SentencePiece ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained() -> tuple[Subwords, Any]:
    sentencepiece = pytest.importorskip("sentencepiece")
    model = train_sentencepiece(corpus(), 500)
    return import_sentencepiece(model, Special()), sentencepiece.SentencePieceProcessor(model_proto=model)


@given(TEXT | WORDY)
def test_same_ids_as_sentencepiece(trained: tuple[Subwords, Any], text: str) -> None:
    vocab, reference = trained
    assert vocab.decode(vocab.encode(text)) == text
    text = text.replace(SPACE, "")  # which SentencePiece takes for a space
    assert vocab.encode(text)[:-1] == reference.encode(text)
    assert vocab.decode(vocab.encode(text)) == text
    assert vocab.pieces(text)[:-1] == reference.encode(text, out_type=str)


def test_same_tokens_as_sentencepiece(trained: tuple[Subwords, Any]) -> None:
    vocab, reference = trained
    assert len(vocab) == reference.get_piece_size() == 500
    assert vocab.tokens[4:] == [reference.id_to_piece(token_id) for token_id in range(4, 500)]
    long = "ab" * 5000 + "東京" * 100
    assert vocab.encode(long)[:-1] == reference.encode(long)


# --- training -------------------------------------------------------------------------------------------------------


@needs_sentencepiece
def test_training_is_repeatable_and_silent(capfd: pytest.CaptureFixture[str]) -> None:
    first, second = (train_subwords(iter(corpus()), 400) for _ in range(2))
    assert first.to_json() == second.to_json() and len(first) == 400
    assert capfd.readouterr() == ("", "")
    other = train_subwords(corpus(), 400, special=Special(pad=3, unk=0, bos=1, eos=2))
    assert other.special == Special(3, 0, 1, 2) and other.tokens[4:] == first.tokens[4:]


@needs_sentencepiece
def test_tags_are_taken_out_before_training() -> None:
    """What is learnt is what the text without them teaches; and texts are cut as SentencePiece cuts what is left."""
    tags = ("<2de>", "<2fr>", "bü")
    tagged = [f"{tags[row % 2]} {line}" for row, line in enumerate(corpus())]
    vocab, plain = train_subwords(tagged, 403, tags=tags), train_subwords(corpus(), 400)
    assert len(vocab) == 403 and vocab.tags == tags
    assert vocab.tokens[4:] == [*tags, *plain.tokens[4:]]
    for line in corpus()[:50]:
        assert vocab.pieces(f"<2fr> {line}") == ["<2fr>", *plain.pieces(line)]
        assert vocab.pieces(f"{line}<2fr>") == [*plain.pieces(line)[:-1], "<2fr>", "</s>"]
    torn = train_subwords([line.replace("ab", "aXXb") for line in corpus()], 400, tags=["XX"])
    assert not any(token and "X" in token for token in torn.tokens[5:])
    with pytest.raises(ConfigError, match="the tag '<0x41>' is the name of a byte"):
        train_subwords(corpus(), 400, tags=["<0x41>"])
    with pytest.raises(DataError, match="white space"):
        train_subwords(corpus(), 400, tags=["a b"])
    with pytest.raises(ConfigError, match=r"size 264 is too small: .* need 2[0-9][0-9];"):
        train_subwords(corpus(), 264, tags=["<2de>"])
    with pytest.raises(
        DataError, match=r"too small for 9999 subwords: its 20 lines make at most ([0-9]+); ask"
    ) as told:
        train_subwords(corpus()[:20], 9999, tags=tags)
    largest = int(str(told.value).partition("at most ")[2].partition(";")[0])
    assert len(train_subwords(corpus()[:20], largest, tags=tags)) == largest


@needs_sentencepiece
def test_the_largest_possible_size_is_told_and_right() -> None:
    lines = corpus()[:20]
    with pytest.raises(
        DataError, match=r"too small for 9999 subwords: its 20 lines make at most ([0-9]+); ask"
    ) as caught:
        train_subwords(lines, 9999)
    largest = int(str(caught.value).partition("at most ")[2].partition(";")[0])
    assert len(train_subwords(lines, largest)) == largest
    with pytest.raises(DataError, match=f"at most {largest}"):
        train_subwords(lines, largest + 1)


@needs_sentencepiece
def test_what_cannot_be_trained() -> None:
    for lines in ([], ["", "  "]):
        with pytest.raises(DataError, match="no lines that are not empty"):
            train_subwords(lines, 300)
    with pytest.raises(ConfigError, match=r"size 264 is too small: .* need 2[0-9][0-9];"):
        train_subwords(corpus(), 264)
    for arguments in ({"size": 260}, {"size": 0}, {"size": 300.0}, {"size": 300, "character_coverage": 0.5}):
        with pytest.raises(ConfigError, match=r"size|coverage"):
            train_subwords(corpus(), **arguments)
    with pytest.raises(ConfigError, match="all four must differ"):
        train_subwords(corpus(), 300, special=Special(3, 1, 2, 3))


@needs_sentencepiece
def test_errors_of_the_corpus_come_through() -> None:
    def lines() -> Iterator[str]:
        yield "abc"
        raise DataError("corpus.en:2: bad")

    with pytest.raises(DataError, match=r"corpus\.en:2: bad"):
        train_subwords(lines(), 300)


@needs_sentencepiece
def test_odd_lines_are_learnt_from(trained: tuple[Subwords, Any]) -> None:
    odd = ["a\0b" * 5, f"x{SPACE}y", "tab\there", "\u2028\x85", "<0x41> </s> <s> <unk>" * 20, "k" * 5000]
    vocab = train_subwords([*odd, *corpus()], 450)
    assert [vocab.decode(vocab.encode(line)) for line in odd] == odd


def test_without_sentencepiece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(ConfigError, match=r"pip install 'sequencing-nn\[train\]'"):
        train_subwords(["abc"], 300)
