"""sentencepiece_vocab: a model of any kind gives the ids of its own program, read from its bytes by hand."""

import importlib.util
import io
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentencepiece_models import BEGIN, field, model, with_bytes
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.piece_table import SPACE
from sequencing_np.special import Special
from sequencing_np.text import read_lines
from sequencing_np.tokenizers.charsmap import CharsMap
from sequencing_np.tokenizers.sentencepiece_file import fields, looks_like_sentencepiece, read_sentencepiece
from sequencing_np.tokenizers.sentencepiece_vocab import SentencePieceVocab, import_model
from test_subwords import corpus

needs_sentencepiece = pytest.mark.skipif(
    importlib.util.find_spec("sentencepiece") is None, reason="sentencepiece is not installed"
)

LETTERS = [(SPACE, -2.0), ("a", -3.0), ("b", -3.5), (f"{SPACE}a", -4.5), ("ab", -5.0), ("é", -6.0)]
NORMAL = [(piece, score, "normal") for piece, score in LETTERS]
TEXT = st.lists(
    st.sampled_from(
        ["ab", "东京", "<a>", "<ab", "die", " ", "  ", SPACE, "ﬁ", "Å", "e\u0301", "\u3000", "\t", "①", "<s>"]
    )
    | st.sampled_from(
        ["\u200b", "㍿", "\u0301", "か\u3099", "ﷺ", "\u1112\u1161\u11ab", "İ", "½", "\xad", "\0", "<ctl>"]
    )
    | st.text(st.sampled_from("abcdetß <>/s"), max_size=8)
    | st.characters(codec="utf-8")
).map("".join)


def trained(**options: Any) -> bytes:
    """A model of made-up lines, as SentencePiece learns it."""
    import sentencepiece

    data = io.BytesIO()
    known = {"vocab_size": 330, "hard_vocab_limit": False, "minloglevel": 2, "num_threads": 1}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()[:300]), model_writer=data, **{**known, **options}
    )
    return data.getvalue()


OPTIONS: dict[str, dict[str, Any]] = {
    "bpe": {"model_type": "bpe"},
    "unigram": {"model_type": "unigram"},
    "unigram, folded and in bytes": {"byte_fallback": True, "normalization_rule_name": "nfkc_cf", "vocab_size": 380},
    "bpe as Llama": {
        "model_type": "bpe", "byte_fallback": True, "normalization_rule_name": "identity", "vocab_size": 420,
        "remove_extra_whitespaces": False, "allow_whitespace_only_pieces": True, "split_digits": True,
    },
    "unigram, spaces behind": {"treat_whitespace_as_suffix": True},
    "bpe, spaces behind": {"model_type": "bpe", "treat_whitespace_as_suffix": True},
    "nothing in front": {"model_type": "bpe", "add_dummy_prefix": False, "remove_extra_whitespaces": False},
    "symbols, bpe": {
        "model_type": "bpe", "user_defined_symbols": ["<a>", "<ab", "▁die", "ab"], "control_symbols": ["<ctl>"],
    },
    "symbols, unigram": {
        "user_defined_symbols": ["<a>", "<ab", "▁▁▁", "ab", "abab"], "control_symbols": ["<ctl>"], "pad_id": 3,
    },
    "across spaces, unigram": {"split_by_whitespace": False},
    "across spaces, bpe": {"model_type": "bpe", "split_by_whitespace": False, "user_defined_symbols": ["a b", "  "]},
    "words": {"model_type": "word"},
    "characters": {"model_type": "char", "user_defined_symbols": ["<a>", "ab"]},
}  # fmt: skip


# --- against SentencePiece ------------------------------------------------------------------------------------------


@needs_sentencepiece
@pytest.mark.parametrize("name", OPTIONS)
def test_same_ids_as_sentencepiece(name: str) -> None:
    """And no text makes a control symbol (D13), and it comes back as it was normalised (T05)."""
    import sentencepiece

    data = trained(**OPTIONS[name])
    vocab, reference = import_model(data), sentencepiece.SentencePieceProcessor(model_proto=data)
    again = SentencePieceVocab.from_json(json.loads(json.dumps(vocab.to_json())))
    control = {row for row in range(reference.get_piece_size()) if reference.is_control(row)}

    @given(TEXT)
    def same(text: str) -> None:
        ids = vocab.encode(text)
        assert ids == [*reference.encode(text), vocab.special.eos]
        assert vocab.normalize(text) == reference.normalize(text)
        shown = reference.decode(ids[:-1]).replace(" \u2047 ", "<unk>")
        suffix = vocab.normalize.suffix and vocab.normalize.prefix
        assert vocab.decode(ids) == (shown.removesuffix(" ") if suffix else shown)
        assert again.encode(text) == ids and vocab.encode(text, bos=True) == [vocab.special.bos, *ids]
        assert not set(ids[:-1]) & (control | {vocab.special.pad})
        assert len(vocab.pieces(text)) == len(ids)

    same()


REAL = ("tatoeba-en-de/dev.tsv.gz", "tatoeba-en-zh/dev.tsv.gz", "transliteration-ar-en/dev.tsv.gz")


@needs_sentencepiece
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_same_ids_on_real_text(kind: str, shared_data: Callable[[str], Path]) -> None:
    """Models as they are met in the wild, with all rules of nmt_nfkc."""
    import sentencepiece

    texts = []
    for name in REAL:
        folder, _, file = name.partition("/")
        texts += [text for line in read_lines(shared_data(folder) / file) for text in line.split("\t")][:2000]
    data = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts[::3]), model_writer=data, model_type=kind, vocab_size=4000, hard_vocab_limit=False,
        minloglevel=2, num_threads=1,
    )  # fmt: skip
    vocab = import_model(data.getvalue())
    reference = sentencepiece.SentencePieceProcessor(model_proto=data.getvalue())
    assert [vocab.encode(text)[:-1] for text in texts] == reference.encode(texts)


@needs_sentencepiece
@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_unused_pieces(kind: str) -> None:
    """Pieces that may be passed through, but not be the answer."""
    import sentencepiece

    document = read_sentencepiece(trained(model_type=kind))
    generator = random.Random(2)
    rows = zip(document["pieces"][3:], document["scores"][3:], strict=True)
    pieces = [(piece, score, "unused" if generator.random() < 0.3 else "normal") for piece, score in rows]
    data = model([*BEGIN, *pieces], kind, normalizer={4: 0})
    vocab, reference = import_model(data), sentencepiece.SentencePieceProcessor(model_proto=data)
    for text in corpus()[:300]:
        assert vocab.encode(text)[:-1] == reference.encode(text)


# --- by hand --------------------------------------------------------------------------------------------------------


def test_by_hand() -> None:
    vocab = import_model(model([*BEGIN, *NORMAL]))
    assert vocab.special == Special(pad=9, unk=0, bos=1, eos=2) and len(vocab) == 10
    assert vocab.tokens == [None, None, None, SPACE, "a", "b", f"{SPACE}a", "ab", "é", None]
    assert vocab.pieces(" ab  a x é ") == [SPACE, "ab", f"{SPACE}a", SPACE, "<unk>", SPACE, "é", "</s>"]
    assert vocab.decode(vocab.encode("ab xx a")) == "ab <unk> a", "what is unknown and stands together is one"
    assert vocab.encode("<s>") == [3, 0, 2] and vocab.encode("") == [2]
    full = import_model(model(with_bytes(NORMAL), trainer={35: 1}))
    assert full.pieces("ax") == [f"{SPACE}a", "<0x78>", "</s>"] and full.decode(full.encode("a</s>ß")) == "a</s>ß"


def test_tags_keep_their_ids_or_come_last() -> None:
    pieces = [*BEGIN, ("<2de>", 0.0, "control"), *NORMAL, ("<u>", 0.0, "user_defined")]
    plain = import_model(model(pieces))
    assert not {3} & set(plain.encode("<2de>a")), "a control symbol is ordinary text where it is no tag"
    vocab = import_model(model(pieces), ["<2de>", "<2fr>"])
    assert vocab.tags == ("<2de>", "<2fr>") and len(vocab) == len(plain) + 1 and vocab.special == plain.special
    assert vocab.encode("<2de> ab<2fr>a<u>") == [3, 4, 8, len(plain), 7, 10, 2]
    assert vocab.decode(vocab.encode("<2de> ab<2fr>a<u>")) == "<2de> ab<2fr> a<u>"
    again = SentencePieceVocab.from_json(json.loads(json.dumps(vocab.to_json())))
    assert again.tokens == vocab.tokens and again.encode("a<2fr> b") == vocab.encode("a<2fr> b")
    for tag, words in (("<s>", "how a special id is shown"), ("<2 de>", "white space")):
        with pytest.raises(DataError, match=words):
            import_model(model(pieces), [tag])


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_sampling(kind: str) -> None:
    vocab = import_model(model(with_bytes(NORMAL), kind, trainer={35: 1}))
    for text in ["", "ab a ab", "é ß abab"]:
        assert vocab.sample(text, 0, random.Random(1)) == vocab.encode(text)
        drawn = {tuple(vocab.sample(text, 0.5, random.Random(seed))) for seed in range(20)}
        assert len(drawn) > 1 or not text
        assert {vocab.decode(ids) for ids in drawn} == {text}
    for other in ("word", "char"):
        with pytest.raises(ConfigError, match=r"dropout 0\.5: leaves out merges"):
            import_model(model([*BEGIN, *NORMAL], other)).sample("a", 0.5, random.Random(1))


@pytest.mark.parametrize("kind", ["bpe", "unigram", "word", "char"])
@pytest.mark.parametrize("unit", ["a", "ab ", " ", "\u0301"])
def test_time_is_in_step_with_the_text(kind: str, unit: str) -> None:
    """T03: four times the text, about four times the time; the bound is wide, as machines are busy."""
    vocab = import_model(model(with_bytes(NORMAL), kind, trainer={35: 1}))

    def seconds(size: int) -> float:
        begin = time.process_time()
        vocab.decode(vocab.encode(unit * size))
        return time.process_time() - begin

    few, many = (min(seconds(size) for _ in range(3)) for size in (4_000, 16_000))
    assert many < 4 * 2.5 * few + 0.05


def test_half_a_surrogate_pair_is_named() -> None:
    with pytest.raises(DataError, match=r"U\+D800"):
        import_model(model([*BEGIN, *NORMAL])).encode("a\ud800")


# --- files that are no models ---------------------------------------------------------------------------------------

GOOD = model([*BEGIN, *NORMAL, ("<u>", 0.0, "user_defined")], normalizer={1: b"identity"})
BROKEN = {
    "nothing": (b"", "0 pieces of type unknown"),
    "cut": (GOOD[:-1], "it is cut"),
    "claims too much": (b"\x0a\xff\xff\xff\xff\x0f", "4294967295 bytes are announced, 0 are left"),
    "long number": (b"\xff" * 12, "more than 64 bits"),
    "group": (b"\x0b", "unknown kind 3"),
    "number 0": (b"\x00\x00", "the number 0"),
    "text": (b"Twenty one\n", "unknown kind|announced|more than|cut"),
    "no unknown": (model(NORMAL), "0 pieces of type unknown; there must be one"),
    "two unknown": (model([*BEGIN, ("x", 0, "unknown")]), "2 pieces of type unknown"),
    "twice": (model([*BEGIN, ("a", 0, "normal"), ("a", 0, "normal")]), "id 4: the piece 'a' is a dup"),
    "empty": (model([*BEGIN, ("", 0, "normal")]), "id 3: the token is empty"),
    "no UTF-8": (field(1, field(1, b"\xff")), "no text in UTF-8"),
    "score": (model([*BEGIN, ("a", float("nan"), "normal")]), "id 3: the score is nan"),
    "score's kind": (field(1, field(1, b"a") + field(2, 7)), "id 0: the score is no number of 32 bits"),
    "type": (field(1, field(1, b"a") + field(3, 99)), "the type of the piece is 99"),
    "model": (GOOD + field(2, field(3, 9)), "its model type is 9; it can be unigram, bpe, word, char"),
    "bytes": (model([*BEGIN, *NORMAL], trainer={35: 1}), "0 pieces of type byte; .* must be 256"),
    "denormaliser": (GOOD + field(5, field(2, b"x")), "denormaliser"),
    "map": (model([*BEGIN, *NORMAL], normalizer={2: b"\xff\xff\xff\x7fabc"}), "characters, 7 bytes, is damaged"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "words"), BROKEN.values(), ids=BROKEN)
def test_broken_models(data: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        import_model(data)


def test_every_cut_and_every_changed_byte() -> None:
    """T01, T04: a documented error, or a vocabulary that works; never another exception."""
    damaged = [GOOD[:size] for size in range(len(GOOD))]
    for place in range(len(GOOD)):
        for flip in (0x01, 0x20, 0x80):
            damaged.append(GOOD[:place] + bytes([GOOD[place] ^ flip]) + GOOD[place + 1 :])
    works = 0
    for data in damaged:
        try:
            vocab = import_model(data)
            for text in ("ab a", "x <u>é  b"):
                assert max(vocab.encode(text)) < len(vocab)
                vocab.decode(vocab.encode(text))
        except DataError as error:
            assert str(error)
        else:
            works += 1
    assert works, "a changed score is no damage"


@pytest.fixture(scope="module")
def charsmap() -> bytes:
    pytest.importorskip("sentencepiece")
    from base64 import b64decode

    return b64decode(read_sentencepiece(trained())["normalizer"]["charsmap"])


def test_damaged_maps_of_characters(charsmap: bytes) -> None:
    """Nothing is read outside of the file, and no rule takes or writes without end."""
    generator = random.Random(1)
    texts = ["ﬁ Å é e\u0301 ① ﷺ か\u3099\t" * 3, "a" * 500]
    for _ in range(60):
        data = bytearray(charsmap)
        for _ in range(generator.choice([1, 100, 10_000])):
            data[generator.randrange(len(data))] = generator.randrange(256)
        try:
            rules = CharsMap(bytes(data[: generator.choice([len(data), generator.randrange(len(data))])]))
            for text in texts:
                assert len("".join(rules.chunks(text))) <= 5_000 * len(text)
        except DataError as error:
            assert "map of characters" in str(error)


def test_maps_of_characters_that_go_round_in_circles() -> None:
    """Each unit says that its children lie where it does itself."""
    units = bytearray()
    for place in range(256):
        units += ((0 << 10) | (1 << 8) | place).to_bytes(4, "little")
    rules = CharsMap(len(units).to_bytes(4, "little") + bytes(units) + b"x" * 10)
    begin = time.process_time()
    assert len("".join(rules.chunks("a" * 20_000))) < 10**6
    assert time.process_time() - begin < 5


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    try:
        list(fields(data))
        import_model(data)
    except DataError as error:
        assert str(error)
    looks_like_sentencepiece(data)


def altered(**changes: Any) -> dict[str, Any]:
    return {**import_model(GOOD).to_json(), **changes}


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (altered(format=2), "the format is 2"),
        (altered(kind="subword"), "the kind is 'subword'"),
        (altered(more=1), "the vocabulary has the key 'more'"),
        (altered(model="lstm"), "the model is 'lstm'; it can be bpe, unigram, word, char"),
        (altered(pieces=["a"]), "must be lists of the same length"),
        (altered(types={}), "'types' must give the lists"),
        (altered(types={**altered()["types"], "control": [1, 99]}), "the id 99 for control; it must be one of 10"),
        (altered(types={**altered()["types"], "control": [0]}), "stand there once"),
        (altered(special={"pad": 10, "unk": 0, "bos": 1, "eos": 4}), "eos is 4, which is no piece of type control"),
        (altered(special={"pad": 10**9, "unk": 0, "bos": 1, "eos": 2}), "they must follow it"),
        (altered(special={"pad": 10, "unk": 1, "bos": 2, "eos": 11}), "unk is 1; the piece of type unknown has 0"),
        (altered(normalizer=None), "'normalizer' is of type NoneType"),
        (altered(normalizer={}), "'add_dummy_prefix' is None; it must be true or false"),
        (altered(byte_fallback=1), "'byte_fallback' is 1"),
        (altered(tags=["a b"]), "white space"),
    ],
)
def test_broken_documents(document: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        SentencePieceVocab.from_json(document)
