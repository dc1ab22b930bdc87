"""huggingface_vocab: each id is the one that Hugging Face's own program gives, and no text makes a special token."""

import copy
import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from huggingface_examples import BUILDERS, FILE, PROBES, answers
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.tokenizers import huggingface_vocab
from sequencing_np.tokenizers.character_classes import ranges, translated
from sequencing_np.tokenizers.graphemes import graphemes
from sequencing_np.tokenizers.huggingface_vocab import HuggingFaceVocab, import_tokenizer
from sequencing_np.tokenizers.pair_merges import Merge, merge_pairs

EXAMPLES = json.loads(FILE.read_bytes())
VOCABS = {name: import_tokenizer(example["tokenizer"]) for name, example in EXAMPLES.items()}
SPECIAL_TEXTS = "<s> </s> <unk> <pad> [CLS] [MASK] [UNK] <|endoftext|> <|begin_of_text|> <0x41>"
# characters that every program's tables know, mixed with what merges and what is looked for
TEXT = st.lists(
    st.sampled_from(["the", "cat", "  ", " ", "<2de>", "bar", "<lr>", "'ll", "12", "\r\n", "\t", "\u3000", "e\u0301"])
    | st.text(st.sampled_from("abcdetß東京 ▁.!é"), max_size=8)
    | st.characters(codec="utf-8", max_codepoint=0x24F)
).map("".join)


def altered(name: str, **changes: Any) -> dict[str, Any]:
    """The document of an example with other parts."""
    return {**copy.deepcopy(EXAMPLES[name]["tokenizer"]), **changes}


def inside(name: str, part: str, **changes: Any) -> dict[str, Any]:
    document = altered(name)
    document[part] = {**document[part], **changes}
    return document


# --- against the program itself -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_ids_that_were_written_down(name: str) -> None:
    vocab, example = VOCABS[name], EXAMPLES[name]
    assert set(EXAMPLES) == set(BUILDERS)
    for text, ids, decoded in zip(PROBES, example["ids"], example["decoded"], strict=True):
        assert vocab.encode(text) == [*ids, vocab.special.eos], text
        assert vocab.encode(text, bos=True) == [vocab.special.bos, *ids, vocab.special.eos]
        if vocab.special.unk not in ids:  # which we show
            assert vocab.decode(vocab.encode(text)) == decoded, text


@pytest.mark.parametrize("name", BUILDERS)
def test_the_ids_of_the_program_where_it_is_installed(name: str) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    reference, vocab = tokenizers.Tokenizer.from_str(json.dumps(EXAMPLES[name]["tokenizer"])), VOCABS[name]

    @given(TEXT)
    def same(text: str) -> None:
        (ids,), (decoded,) = answers(reference, [text])
        assert vocab.encode(text) == [*ids, vocab.special.eos]
        if vocab.special.unk not in ids:
            assert vocab.decode(vocab.encode(text)) == decoded

    same()


@pytest.mark.parametrize("name", EXAMPLES)
def test_special_texts_are_ordinary(name: str) -> None:
    """D13: nothing but EOS at the end is special, though the program itself would find its tokens."""
    vocab = VOCABS[name]

    @given(TEXT, TEXT)
    def ordinary(left: str, right: str) -> None:
        for text in (left + SPECIAL_TEXTS + right, *(left + part + right for part in SPECIAL_TEXTS.split(" "))):
            ids = vocab.encode(text)
            assert not set(ids[:-1]) & {vocab.special.pad, vocab.special.bos, vocab.special.eos}
            assert not {vocab.tokens[token_id] for token_id in ids} & {"<mask>", "[MASK]"}

    ordinary()


@given(TEXT)
def test_bytes_bring_every_text_back(text: str) -> None:
    """T05."""
    assert VOCABS["GPT-2"].decode(VOCABS["GPT-2"].encode(text)) == text
    llama = VOCABS["Llama 3"]
    assert llama.decode(llama.encode(text)) == llama.normalize(text)
    older = VOCABS["Llama 2"]
    assert older.decode(older.encode(text)) == older.normalize(text).replace("▁", " ").removeprefix(" ")


def test_special_ids_by_name() -> None:
    found = {name: tuple(vocab.special) for name, vocab in VOCABS.items()}
    assert found["BERT"] == (0, 1, 2, 3)
    assert found["RoBERTa"] == (1, 3, 0, 2)
    assert found["GPT-2"] == (290, 291, 292, 0) and len(VOCABS["GPT-2"]) == 293, "what lacks stands at the end"
    assert found["Llama 2"] == (320, 0, 1, 2)
    assert VOCABS["GPT-2"].tokens[290:] == [None] * 3 and VOCABS["GPT-2"].tokens[0] is None


# --- tags, sampling, files ------------------------------------------------------------------------------------------


def test_tags_keep_their_ids_or_come_last() -> None:
    vocab = import_tokenizer(EXAMPLES["RoBERTa"]["tokenizer"], ["<mask>", "<2fr>", "<2de>"])
    plain = VOCABS["RoBERTa"]
    assert vocab.tags == ("<mask>", "<2fr>", "<2de>") and len(vocab) == len(plain) + 1
    ids = vocab.encode("<2fr> the<mask> cat<2de>")
    assert vocab.tokens_of(ids)[0] == "<2fr>" and ids[0] == len(plain)
    assert ids == [len(plain), *plain.encode(" the")[:-1], plain.tokens.index("<mask>"), *plain.encode(" cat<2de>")]
    assert vocab.decode(ids) == "<2fr> the<mask> cat<2de>"
    with pytest.raises(DataError, match="the tag '</s>' is how a special id is shown"):
        import_tokenizer(EXAMPLES["RoBERTa"]["tokenizer"], ["</s>"])


@pytest.mark.parametrize("name", EXAMPLES)
def test_saved_is_loaded(name: str) -> None:
    vocab = VOCABS[name]
    again = HuggingFaceVocab.from_json(json.loads(json.dumps(vocab.to_json())))
    assert again.to_json() == vocab.to_json() and again.tokens == vocab.tokens
    assert [again.encode(text) for text in PROBES] == [vocab.encode(text) for text in PROBES]


@pytest.mark.parametrize("name", ["GPT-2", "Llama 2", "T5"])
def test_sampling(name: str) -> None:
    vocab = VOCABS[name]
    for text in ["", "the cat cats", "dette don't 12 bar"]:
        assert vocab.sample(text, 0, random.Random(1)) == vocab.encode(text)
        drawn = {tuple(vocab.sample(text, 0.6, random.Random(seed))) for seed in range(20)}
        assert len(drawn) > 1 or text != "the cat cats"
        assert {vocab.decode(ids) for ids in drawn} == {vocab.decode(vocab.encode(text))}
    for name in ("BERT", "words"):
        with pytest.raises(ConfigError, match=r"dropout 0\.5: leaves out merges"):
            VOCABS[name].sample("a", 0.5, random.Random(1))


def test_the_cache_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_vocab, "CACHED_WORDS", 5)
    vocab = import_tokenizer(EXAMPLES["GPT-2"]["tokenizer"])
    texts = ["the" * size + " " + "cat" * size for size in range(30)] * 2
    assert [vocab.encode(text) for text in texts] == [VOCABS["GPT-2"].encode(text) for text in texts]
    assert len(vocab._cache) <= 5


# --- what is refused ------------------------------------------------------------------------------------------------

ROW = {"id": 999, "content": "x", "special": False}
REFUSED = {
    "normalizer": (altered("BERT", normalizer={"type": "Nmt"}), "the normalizer 'Nmt' is not supported; it can be Seq"),
    "pre-tokenizer": (altered("BERT", pre_tokenizer={"type": "UnicodeScripts"}), "'UnicodeScripts' is not"),
    "decoder": (altered("BERT", decoder={"type": "CTC"}), "the decoder 'CTC' is not supported"),
    "model": (inside("BERT", "model", type="Neural"), "its type can be BPE, Unigram, WordPiece, WordLevel"),
    "no model": (altered("BERT", model=None), "is not supported"),
    "key": (altered("BERT", chat=1), "tokenizer.json has the key 'chat', which is not supported"),
    "inner key": (inside("BERT", "normalizer", other=1), "BertNormalizer has the key 'other'"),
    "model key": (inside("BERT", "model", other=1), "WordPiece has the key 'other'"),
    "expression": (
        altered("BERT", pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated"}),
        r"the regular expression '\(a\+\)\+\$' is not supported",
    ),
    "behavior": (altered("BERT", pre_tokenizer={"type": "Punctuation", "behavior": "Odd"}), "behavior 'Odd' is not"),
    "merge": (inside("GPT-2", "model", merges=["a qqq"]), "merge 1 speaks of the token 'qqq', which is none of"),
    "merge form": (inside("GPT-2", "model", merges=["a b c"]), "merge 1 is 'a b c'; it must be two tokens"),
    "ids": (inside("words", "model", vocab={"<unk>": 0, "a": 1, "b": 1}), "the same id"),
    "gap": (inside("words", "model", vocab={"<unk>": 0, "a": 10**15}), "id 1: a gap; each id from 0 to 1"),
    "negative": (inside("words", "model", vocab={"<unk>": -1}), "is -1; it must be a whole number"),
    "unknown": (inside("words", "model", unk_token="nix"), "unk_token is 'nix', which is none of the tokens"),
    "added": (altered("words", added_tokens=[ROW]), "a gap"),
    "added twice": (altered("words", added_tokens=[{**ROW, "id": 0}]), "has the id 0, as has '<unk>'"),
    "added text": (altered("words", added_tokens=[{**ROW, "content": "\ud800"}]), r"U\+D800"),
    "steps": (altered("words", normalizer={"type": "Sequence", "normalizers": [{"type": "NFC"}] * 99}), "more than 32"),
    "charsmap": (altered("T5", normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}), "map of char"),
    "base64": (altered("T5", normalizer={"type": "Precompiled", "precompiled_charsmap": "?"}), "no base64"),
    "score": (inside("T5", "model", vocab=[["a", "b"]]), r"must be a list of \[token, score\]"),
    "unk_id": (inside("T5", "model", unk_id=10**9), "unk_id is 1000000000; it must be one of"),
}  # fmt: skip


@pytest.mark.parametrize(("document", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_supported_is_named(document: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        import_tokenizer(document)


def test_a_text_that_grows_without_end_is_refused() -> None:
    step = {"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaa"}
    vocab = import_tokenizer(altered("words", normalizer={"type": "Sequence", "normalizers": [step] * 30}))
    with pytest.raises(DataError, match="its steps are damaged"):
        vocab.encode("aaaaaaaaaa")
    with pytest.raises(DataError, match="'content' has 100 characters"):
        import_tokenizer(altered("words", normalizer={**step, "content": "b" * 100}))
    vocab = import_tokenizer(
        altered(
            "GPT-2",
            pre_tokenizer={"type": "Sequence", "pretokenizers": [EXAMPLES["GPT-2"]["tokenizer"]["pre_tokenizer"]] * 30},
        )
    )
    with pytest.raises(DataError, match="its steps are damaged"):
        vocab.encode("ä" * 30)


def test_half_a_surrogate_pair_is_named() -> None:
    for vocab in VOCABS.values():
        with pytest.raises(DataError, match=r"U\+D800"):
            vocab.encode("a\ud800")


@pytest.mark.parametrize("name", ["GPT-2", "Llama 3", "Llama 2", "BERT", "T5", "CLIP"])
@pytest.mark.parametrize("unit", ["a", "ab ", " ", "\u0301", "a\u0301"])
def test_time_is_in_step_with_the_text(name: str, unit: str) -> None:
    """T03: twice the text, about twice the time; the bound is wide, as machines are busy."""
    vocab = import_tokenizer(EXAMPLES[name]["tokenizer"])

    def seconds(size: int) -> float:
        begin = time.process_time()
        vocab.encode(unit * size)
        return time.process_time() - begin

    few, many = (min(seconds(size) for _ in range(3)) for size in (4_000, 16_000))
    assert many < 4 * 2.5 * few + 0.05


# --- parts ----------------------------------------------------------------------------------------------------------


def plain_merges(symbols: list[int], merges: dict[tuple[int, int], Merge]) -> list[int]:
    """The definition: the smallest rank, the leftmost of them, as long as there is one."""
    while True:
        found = [
            (merges[pair].rank, row)
            for row in range(len(symbols) - 1)
            if (pair := (symbols[row], symbols[row + 1])) in merges
        ]
        if not found:
            return symbols
        row = min(found)[1]
        symbols = [*symbols[:row], merges[symbols[row], symbols[row + 1]].symbol, *symbols[row + 2 :]]


@given(st.lists(st.integers(0, 2), max_size=30))
def test_pairs_are_merged_as_the_definition_says(symbols: list[int]) -> None:
    merges = {(0, 1): Merge(0, 3), (3, 2): Merge(1, 4), (1, 2): Merge(2, 5), (0, 0): Merge(3, 6), (0, 5): Merge(4, 4)}
    assert merge_pairs(symbols, merges) == plain_merges(symbols, merges)
    assert merge_pairs(symbols, merges, lambda: True) == symbols
    assert merge_pairs(symbols, merges, lambda: False) == merge_pairs(symbols, merges)


def test_classes_of_characters() -> None:
    assert sorted(ranges()) and translated(r"\p{L}+").findall("aé東1٢ⅷ _") == ["aé東"]
    assert translated(r"\p{N}+").findall("a1٢ⅷ²") == ["1٢ⅷ²"]
    assert translated(r"[^\s\p{L}]+").findall("a1\x1c\u3000!") == ["1\x1c", "!"], "U+001C is a space in Python alone"
    assert translated(r"\w+").findall("a_b\u0301\u200dⓐ-²") == ["a_b\u0301\u200dⓐ"]


@given(st.text(st.characters(codec="utf-8") | st.sampled_from("\r\n\u0301\u200da\u1100\u1161\u0e33\u0600")))
def test_graphemes_are_the_text(text: str) -> None:
    assert "".join(graphemes(text)) == text


def test_graphemes_by_hand() -> None:
    cut: Callable[[str], list[str]] = graphemes
    assert cut("e\u0301x\r\n\n\u0301a\u0600b\u1112\u1161\u11abก็") == [
        "e\u0301", "x", "\r\n", "\n", "\u0301", "a", "\u0600b", "\u1112\u1161\u11ab", "ก็",
    ]  # fmt: skip
