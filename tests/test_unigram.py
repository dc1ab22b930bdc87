"""unigram: each id is the one that SentencePiece gives, ties included; what is drawn is as likely as said."""

import importlib.util
import itertools
import json
import math
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentencepiece_models import model, with_bytes
from sequencing.data.subword_training import import_unigram, train_sentencepiece, train_subwords
from sequencing_np import unigram
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.piece_table import BYTES, SPACE
from sequencing_np.special import Special
from sequencing_np.unigram import Unigram
from sequencing_np.unigram_cuts import UnigramCuts, drawn
from sequencing_np.vocab import load_vocab, save_vocab
from test_subwords import TEXT, WORDY, corpus

needs_sentencepiece = pytest.mark.skipif(
    importlib.util.find_spec("sentencepiece") is None, reason="sentencepiece is not installed"
)

SCORES = {SPACE: -2.0, "a": -3.0, "b": -3.5, "c": -4.0, f"{SPACE}a": -4.5, "ab": -5.0, "bc": -6.0, "abc": -8.0}
TAGS = ("<2de>", "<2", "ba")


def by_hand(special: Special = Special(), tags: tuple[str, ...] = ()) -> Unigram:
    return Unigram([*tags, *BYTES, *SCORES], [*[None] * (256 + len(tags)), *SCORES.values()], special, tags)


def all_ways(word: str) -> list[list[str]]:
    """Every way to cut a word."""
    places = range(1, len(word))
    cuts = (cut for size in range(len(word)) for cut in itertools.combinations(places, size))
    return [[word[a:b] for a, b in itertools.pairwise((0, *cut, len(word)))] for cut in cuts]


def worth(pieces: list[str], unknown: float = -18.0) -> float:
    """The sum of scores; -inf where a piece is none."""
    spaced = {piece.replace(SPACE, " "): score for piece, score in SCORES.items()}
    return sum(spaced.get(piece, unknown if len(piece) == 1 else -math.inf) for piece in pieces)


# --- by hand --------------------------------------------------------------------------------------------------------


def test_the_largest_sum() -> None:
    vocab = by_hand()
    assert vocab.pieces("abc") == [SPACE, "abc", "</s>"]
    assert vocab.pieces("a é") == [f"{SPACE}a", SPACE, "<0xC3>", "<0xA9>", "</s>"]
    assert vocab.pieces("  ") == [SPACE, SPACE, SPACE, "</s>"]
    assert vocab.encode("") == [3] and vocab.encode("b", bos=True) == [2, 260, 262, 3]


@given(st.text("abcx", min_size=1, max_size=8))
def test_as_all_ways_tried(word: str) -> None:
    vocab, ways = by_hand(), all_ways(f" {word}")
    best = max(map(worth, ways))
    said = [piece.replace(SPACE, " ") for piece in vocab.pieces(word)[:-1]]
    said = ["x" if piece == "<0x78>" else piece for piece in said]
    assert worth(said) == pytest.approx(best) and "".join(said) == f" {word}"


@given(TEXT | WORDY, st.sampled_from([Special(), Special(267, 0, 100, 3), Special(7, 260, 4, 7)]))
def test_every_text_comes_back(text: str, special: Special) -> None:
    """T05 and D13, with tags and without, drawn at random and not."""
    for vocab in (by_hand(special), by_hand(special, TAGS)):
        ids = vocab.encode(text)
        assert ids[-1] == special.eos and not set(ids[:-1]) & set(special)
        assert vocab.decode(ids) == text and len(vocab.pieces(text)) == len(ids)
        assert vocab.encode(text, bos=True) == [special.bos, *ids]
        cut = vocab.sample(text, 0.5, random.Random(len(text)))
        assert vocab.decode(cut) == text and not set(cut[:-1]) & set(special)


def test_tags_by_hand() -> None:
    vocab = by_hand(tags=TAGS)
    assert vocab.pieces("<2de> abc") == ["<2de>", SPACE, "abc", "</s>"]
    assert vocab.pieces("<2de>abc<2") == ["<2de>", "abc", "<2", "</s>"]
    assert vocab.pieces("abac") == [f"{SPACE}a", "ba", "c", "</s>"]


def test_the_cache_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unigram, "CACHED_WORDS", 5)
    monkeypatch.setattr(unigram, "CACHED_SAMPLED", 5)
    vocab = by_hand()
    texts = ["a" * size + " " + "bc" * size for size in range(50)] * 2
    assert [vocab.encode(text) for text in texts] == [by_hand().encode(text) for text in texts]
    for number, text in enumerate(texts):
        assert vocab.sample(text, 0.4, random.Random(number)) == by_hand().sample(text, 0.4, random.Random(number))
    assert len(vocab._cache) <= 5 and len(vocab._ways) <= 5


@pytest.mark.parametrize("unit", ["a", "ab ", " ", "\u0301", "東"])
def test_time_is_in_step_with_the_text(unit: str) -> None:
    """T03: four times the text, about four times the time; the bound is wide, as machines are busy."""

    def seconds(size: int) -> float:
        vocab, begin = by_hand(), time.process_time()
        vocab.decode(vocab.encode(unit * size))
        vocab.sample(unit * size, 0.5, random.Random(1))
        return time.process_time() - begin

    few, many = (min(seconds(size) for _ in range(3)) for size in (4_000, 16_000))
    assert many < 4 * 2.5 * few + 0.05


# --- drawn at random ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dropout", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("word", ["abc", "aabcx"])
def test_ways_are_as_likely_as_said(word: str, dropout: float) -> None:
    """Each way with its probability to the power of (1 - dropout) / dropout, all of them scaled to 1."""
    count, sharpness = 20_000, (1 - dropout) / dropout
    weights = {tuple(way): math.exp(sharpness * worth(way)) for way in all_ways(f" {word}")}
    total = sum(weights.values())
    wanted = {way: weight / total for way, weight in weights.items() if weight}
    scores = {piece.replace(SPACE, " "): score for piece, score in SCORES.items()}
    cuts, generator = UnigramCuts(scores, -18.0), random.Random(2)
    ways = cuts.ways(f" {word}", sharpness)
    met = Counter(tuple(drawn(f" {word}", ways, generator)) for _ in range(count))
    assert set(met) <= set(wanted)
    for way, likely in wanted.items():
        assert abs(met[way] - count * likely) < 5 * (count * likely * (1 - likely)) ** 0.5 + 1, way


def test_from_the_best_way_alone_to_all_alike() -> None:
    vocab = by_hand()
    for text in ["", "abc aab  bc", "é x", " a"]:
        assert vocab.sample(text, 0, random.Random(1)) == vocab.encode(text)
        assert vocab.sample(text, 1e-9, random.Random(1)) == vocab.encode(text)
        assert vocab.sample(text, 0.7, random.Random(5)) == vocab.sample(text, 0.7, random.Random(5))
    met = Counter(tuple(vocab.sample("abc", 1 - 1e-12, random.Random(seed))) for seed in range(4000))
    assert len(met) == len([way for way in all_ways(" abc") if worth(way) > -math.inf]) == 6
    assert max(met.values()) < 1.3 * min(met.values())
    for dropout in (-0.1, 1.0):
        with pytest.raises(ConfigError, match=f"dropout {dropout}: must be from 0"):
            vocab.sample("a", dropout, random.Random(1))


# --- against SentencePiece ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained() -> tuple[Unigram, Any]:
    sentencepiece = pytest.importorskip("sentencepiece")
    data = train_sentencepiece(corpus(), 400, algorithm="unigram")
    return import_unigram(data, Special()), sentencepiece.SentencePieceProcessor(model_proto=data)


@given(TEXT | WORDY)
def test_same_ids_as_sentencepiece(trained: tuple[Unigram, Any], text: str) -> None:
    vocab, reference = trained
    text = text.replace(SPACE, "")  # which SentencePiece takes for a space
    assert vocab.encode(text)[:-1] == reference.encode(text)


@needs_sentencepiece
def test_ties_are_broken_by_the_same_rounding() -> None:
    """Scores of which many sums are equal on paper: what counts is how 32 bits round them, far into a line."""
    import sentencepiece

    generator = random.Random(5)
    pieces = ["".join(letters) for size in (1, 2, 3) for letters in itertools.product("ab", repeat=size)]
    pieces += [SPACE, f"{SPACE}a", f"{SPACE}ab", f"{SPACE}b", f"{SPACE}aa"]
    exact = 0
    for trial in range(12):
        step = (1.0, 1.1, 0.1)[trial % 3]
        scores = {piece: -len(piece) * step - generator.choice([0, 0, 1e-6, 1e-5]) for piece in pieces}
        data = model(
            with_bytes((piece, score, "normal") for piece, score in scores.items()), trainer={35: 1}, normalizer={4: 0}
        )
        reference = sentencepiece.SentencePieceProcessor(model_proto=data)
        vocab = Unigram([*BYTES, *scores], [*[None] * 256, *scores.values()], Special(259 + len(pieces), 0, 1, 2))
        for _ in range(60):
            text = "".join(generator.choices("ab x", k=generator.randint(0, 150)))
            assert vocab.encode(text)[:-1] == reference.encode(text)
        exact += sum(spelt.trust < 100 for spelt in vocab._cache.values())
    assert exact, "words of which rounding decides were among them"


# --- training -------------------------------------------------------------------------------------------------------


@needs_sentencepiece
def test_training(capfd: pytest.CaptureFixture[str]) -> None:
    tags = ("<2de>", "bü")
    first, second = (train_subwords(iter(corpus()), 380, algorithm="unigram", tags=tags) for _ in range(2))
    assert isinstance(first, Unigram) and first.to_json() == second.to_json()
    assert len(first) == 380 and first.tags == tags and capfd.readouterr() == ("", "")
    with pytest.raises(ConfigError, match=r"algorithm = 'unigrams': did you mean 'unigram'|algorithm = 'unigrams'"):
        train_subwords(corpus(), 380, algorithm="unigrams")
    with pytest.raises(ConfigError, match=r"size 264 is too small: .* need 2[0-9][0-9];"):
        train_subwords(corpus(), 264, algorithm="unigram")
    with pytest.raises(
        DataError, match=r"too small for 9999 subwords: its 20 lines make at most ([0-9]+); ask"
    ) as told:
        train_subwords(corpus()[:20], 9999, algorithm="unigram")
    largest = int(str(told.value).partition("at most ")[2].partition(";")[0])
    assert len(train_subwords(corpus()[:20], largest, algorithm="unigram")) == largest


SCRIPT = """
import json, sys
sys.path.insert(0, {tests!r})
from test_subwords import corpus
from sequencing.data.subword_training import train_subwords
for algorithm in ("bpe", "unigram"):
    print(json.dumps(train_subwords(corpus()[:200], 360, algorithm=algorithm, tags=["<2de>", "<2fr>"]).to_json()))
"""


@needs_sentencepiece
def test_same_bytes_for_any_hash_seed() -> None:
    """T06."""
    script = SCRIPT.format(tests=str(Path(__file__).parent))
    said = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed, "PATH": ""}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1")
    }
    assert len(said) == 1 and len(said.pop()) > 1000


# --- files ----------------------------------------------------------------------------------------------------------


def test_saved_is_loaded(tmp_path: Path) -> None:
    vocab = by_hand(Special(7, 260, 4, 7), TAGS)
    save_vocab(vocab, tmp_path / "vocab.json")
    again = load_vocab(tmp_path / "vocab.json")
    assert isinstance(again, Unigram) and again.to_json() == vocab.to_json() and again.tags == TAGS
    assert again.encode("abc ba<2de> aab") == vocab.encode("abc ba<2de> aab")


def altered(key: str, place: int, value: Any) -> dict[str, Any]:
    document = json.loads(json.dumps(by_hand().to_json()))
    document[key][place] = value
    return document


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (altered("tokens", 4, "x"), "byte token <0x00> is missing"),
        (altered("tokens", 261, "ab"), "the token 'ab' is a duplicate"),
        (altered("tokens", 261, f"a{SPACE}"), "holds a space that is not U"),
        (altered("scores", 261, None), "the token 'a': the score is None"),
        (altered("scores", 261, "1"), "the token 'a': the score is '1'"),
        (altered("scores", 261, True), "the token 'a': the score is True"),
        (altered("scores", 261, math.nan), "the token 'a': the score is nan"),
        (altered("scores", 261, -1e300), "must be a number between -1e30 and 1e30"),
        (altered("scores", 261, 10**400), "must be a number between -1e30 and 1e30"),
        (altered("scores", 4, 0.0), "score of the token '<0x00>' is 0.0; it must be null"),
        (altered("scores", 0, 0.0), "id 0: the score is 0.0; a special id has null"),
        ({**by_hand().to_json(), "scores": [1]}, "'scores' must be a list of 268"),
        ({**by_hand().to_json(), "kind": "subword"}, "kind is 'subword'"),
        ({**by_hand().to_json(), "ranks": []}, "unknown key 'ranks'"),
    ],
)
def test_broken_documents(document: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Unigram.from_json(document)


def test_half_a_surrogate_pair_is_named() -> None:
    for said in (by_hand().encode, lambda text: by_hand().sample(text, 0.5, random.Random(1))):
        with pytest.raises(DataError, match=r"U\+D800"):
            said("a\ud800")
