"""vocab: no text makes a special id, files are checked line by line, and what is saved says everything."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentencepiece_models import BEGIN, model
from sequencing_np.columns import ColumnsVocab
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.factors import FactoredVocab
from sequencing_np.reversal import ReversedVocab
from sequencing_np.subwords import BYTES, Subwords
from sequencing_np.tokenizers.huggingface_vocab import import_tokenizer
from sequencing_np.tokenizers.sentencepiece_vocab import import_model
from sequencing_np.unigram import Unigram
from sequencing_np.vectors import VectorVocab
from sequencing_np.vocab import (
    LAYOUTS,
    VOCABULARIES,
    Special,
    Vocab,
    Vocabulary,
    build_vocab,
    load_vocab,
    read_vocab,
    save_vocab,
    vocab_lines,
)
from sequencing_np.writing import write_lines

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\n"))
LINES = st.lists(TEXT, min_size=1).filter(lambda lines: any(line.strip(" ") for line in lines))
DELIMITERS = st.sampled_from([" ", "", "|", ", "])
SPECIALS = [Special(0, 1, 2, 3), Special(2, 0, 1, 2), Special(5, 3, 4, 5), Special(7, 0, 4, 1)]


# --- text and ids ---------------------------------------------------------------------------------------------------


def test_words() -> None:
    vocab = Vocab(["the", "cat", "sat"])
    assert len(vocab) == 7 and vocab.tokens == [None, None, None, None, "the", "cat", "sat"]
    assert vocab.encode("the cat sat") == [4, 5, 6, 3]
    assert vocab.encode("cat", bos=True) == [2, 5, 3]
    assert vocab.encode("") == [3]
    assert vocab.encode("  the   dog ") == [4, 1, 3]
    assert vocab.decode([4, 1, 6, 3, 5]) == "the <unk> sat"
    assert vocab.decode([2, 4, 0, 5]) == "the cat"
    assert vocab.tokens_of([2, 4, 1, 3, 5]) == ["the", "<unk>"]
    assert vocab.pieces(" the  dog") == ["the", "dog", "</s>"]
    assert vocab.decode(np.array([4, 5, 3, 0])) == "the cat"


def test_characters_and_space_is_one_of_them() -> None:
    vocab = Vocab(["a", " ", "\u0301"], "")
    assert vocab.encode(" áa ") == [5, 1, 4, 5, 3]
    assert vocab.decode(vocab.encode("a  a\u0301 ")) == "a  a\u0301 "


@given(LINES, DELIMITERS, st.sampled_from(SPECIALS))
def test_what_was_counted_comes_back(lines: list[str], delimiter: str, special: Special) -> None:
    lines = [*lines, *"abcdefgh"]  # enough tokens for the special ids to lie between
    vocab = build_vocab([delimiter.join(lines), *lines], delimiter, special=special)
    for line in lines:
        ids = vocab.encode(line)
        assert ids[-1] == special.eos
        assert not set(ids[:-1]) & set(special)
        parts = [part for part in line.split(delimiter) if part] if delimiter else list(line)
        assert vocab.decode(ids) == delimiter.join(parts)
        assert vocab.pieces(line) == [*parts, "</s>"]
        assert len(vocab.pieces(line)) == len(ids)
        assert vocab.encode(vocab.decode(ids), bos=True) == [special.bos, *ids]


@given(TEXT, DELIMITERS)
def test_no_text_makes_a_control_id(text: str, delimiter: str) -> None:
    """D13: the text of a special token is ordinary text, also where it is a token of the vocabulary."""
    names = ["</s>", "<s>", "<pad>", "<unk>"]
    vocab = Vocab([*names, *"<>/spadunk"], delimiter)
    for line in [text, *names, f"{text} </s> {text}"]:
        assert not {0, 2, 3} & set(vocab.encode(line)[:-1])
    words = Vocab(names)
    assert words.decode(words.encode("<pad> <s> </s>")) == "<pad> <s> </s>"


def test_ids_outside_the_vocabulary() -> None:
    vocab = Vocab(["a"])
    for wrong in (5, -1, 10**30):
        with pytest.raises(DataError, match=f"the id {wrong} is outside the 5 ids"):
            vocab.decode([4, wrong])
    assert vocab.decode([4, 3, 99]) == "a"


# --- building -------------------------------------------------------------------------------------------------------


def test_frequent_tokens_first_ties_in_order() -> None:
    vocab = build_vocab(["b a", "c a b", "d"])
    assert vocab.tokens[4:] == ["a", "b", "c", "d"]
    assert vocab.counts == [None] * 4 + [2, 2, 1, 1]
    assert build_vocab(["d", "c a b", "b a"]).to_json() == vocab.to_json()
    assert build_vocab(["b a", "c a b"], min_count=2).tokens[4:] == ["a", "b"]
    assert build_vocab(["b a", "c a b"], max_size=5).tokens[4:] == ["a"]
    assert build_vocab(["aab"], "", special=Special(2, 0, 1, 2), max_size=4).tokens == [None, None, None, "a"]


def test_what_cannot_be_built() -> None:
    for lines in ([], [""], ["   "]):
        with pytest.raises(DataError, match="no tokens"):
            build_vocab(lines)
    with pytest.raises(DataError, match="no token is seen 3 times, the most frequent one 2"):
        build_vocab(["a a b"], min_count=3)
    with pytest.raises(ConfigError, match="min_count is 0"):
        build_vocab(["a"], min_count=0)
    with pytest.raises(ConfigError, match="max_size is 4"):
        build_vocab(["a"], max_size=4)
    with pytest.raises(DataError, match="delimiter"):
        build_vocab(["a"], "\n")


@pytest.mark.parametrize(
    ("special", "words"),
    [
        (Special(0, 1, 2, 2), "bos and eos|eos and bos"),
        (Special(1, 1, 2, 3), "pad and unk"),
        (Special(2, 1, 2, 3), "pad and bos"),
        (Special(0, 1, 2, 7), "special id eos is 7, outside"),
        (Special(-1, 1, 2, 3), "special id pad is -1"),
        (Special(0, 1, 2, 10**30), "special id eos is 1000"),
        (Special(0, True, 2, 3), "special id unk is True"),
        (Special._make([0.0, 1, 2, 3]), "special id pad is 0.0"),
    ],
)
def test_special_ids_are_told_apart(special: Special, words: str) -> None:
    with pytest.raises(DataError, match=words):
        Vocab(["a", "b"], special=special)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (["a", "b", "a"], "'a' is a duplicate, it has id 4"),
        ([""], "empty"),
        ([7], "7 is no string"),
        (["\udc80"], "DC80"),
    ],
)
def test_tokens_are_checked(tokens: list[Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        Vocab(tokens)


# --- tags -----------------------------------------------------------------------------------------------------------

TAGS = st.lists(st.sampled_from(["<2de>", "<2", "de>", "a", "ab", "ß", "</", "ä\u0301"]), unique=True)
TAGGED = st.lists(
    st.sampled_from(["<2de>", "<2", "de>", "a", "b", "ab", "ß", "</s>", " ", "  ", "|", ", ", "ä", "\u0301", "xy"])
).map("".join)


def cut(text: str, tags: list[str]) -> list[str]:
    """Tags and what stands between them, letter by letter, as the page says."""
    parts, position = [""], 0
    while position < len(text):
        here = [tag for tag in tags if text.startswith(tag, position)]
        found = max(here, key=len, default="")
        if found:
            parts += [found, ""]
        else:
            parts[-1] += text[position]
        position += len(found) or 1
    return parts


@given(TAGGED, TAGS, DELIMITERS)
def test_a_tag_is_one_token_wherever_it_stands(text: str, tags: list[str], delimiter: str) -> None:
    vocab = build_vocab([text, "some more"], delimiter, tags=tags)
    expected = []
    for position, part in enumerate(cut(text, tags)):
        if position % 2:
            expected.append(part)
        else:
            expected += [token for token in part.split(delimiter) if token] if delimiter else list(part)
    ids = vocab.encode(text)
    assert vocab.pieces(text) == [*expected, "</s>"] and len(ids) == len(expected) + 1
    assert vocab.tokens_of(ids) == expected, "nothing is unknown"
    assert vocab.decode(ids) == (delimiter.join(expected) if delimiter else text)
    assert vocab.encode(vocab.decode(ids)) == ids
    own = range(4, 4 + len(tags))
    assert vocab.tokens[4 : 4 + len(tags)] == tags
    assert [vocab.tokens[token_id] for token_id in ids if token_id in own] == cut(text, tags)[1::2]
    document = json.loads(json.dumps(vocab.to_json()))
    assert ("tags" in document) == bool(tags), "without tags the file is what it was"
    assert Vocab.from_json(document).encode(text) == ids


def test_tags_stay_whatever_size_and_count_say(tmp_path: Path) -> None:
    lines = ["a a a <2de> b", "a b<2fr>"]
    vocab = build_vocab(lines, min_count=2, max_size=8, tags=["<2fr>", "<2xx>", "<2de>"])
    assert vocab.tokens[4:] == ["<2fr>", "<2xx>", "<2de>", "a"] and vocab.counts == [None] * 4 + [1, 0, 1, 4]
    assert build_vocab(lines, min_count=2).tokens[4:] == ["a"], "without tags they are rare words"
    with pytest.raises(ConfigError, match="max_size is 6; it must be larger than the 6 special ids and tags"):
        build_vocab(lines, max_size=6, tags=["<2de>", "<2fr>"])
    with pytest.raises(DataError, match="no tokens"):
        build_vocab(["<2de>"], tags=["<2de>"])
    with pytest.raises(DataError, match=r"the tag '<2\|de>' holds a character of the delimiter '\|'"):
        build_vocab(lines, "|", tags=["<2|de>"])
    path = tmp_path / "words"
    write_lines(path, vocab_lines(vocab))
    again = read_vocab(path, tags=vocab.tags)
    assert again.to_json() == vocab.to_json()
    path.write_bytes(b"a\t5\nb\t4\n<2de>\t3\nc\t2\n")
    read = read_vocab(path, tags=["<2de>", "<2fr>"], max_size=8)
    assert read.tokens[4:] == ["<2fr>", "a", "b", "<2de>"] and read.counts == [None] * 4 + [0, 5, 4, 3]
    assert read.encode("a<2de>c<2fr>") == [5, 7, 1, 4, 3]


# --- vocabulary files of lines --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [b"the\ncat\n", b"the\ncat", b"the\t12\ncat\t3\n", b"the\t12\ncat\t3", b"the\r\ncat\r\n"]
)
def test_both_formats_with_and_without_final_line_feed(content: bytes, tmp_path: Path) -> None:
    """T-A7: the two loaders of the original ate the last letter, or kept the line feed and made every word unknown."""
    path = tmp_path / "words"
    path.write_bytes(content)
    vocab = read_vocab(path)
    assert vocab.encode("the cat") == [4, 5, 3]
    assert vocab.counts == ([None] * 4 + [12, 3] if b"\t" in content else None)


def test_layouts_of_the_original(tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_bytes(b"a\t5\nb\t4\nc\t3\n")
    head, readme = read_vocab(path, layout="head"), read_vocab(path, layout="readme")
    assert head.special == Special(pad=2, unk=0, bos=1, eos=2) and head.encode("a x c") == [3, 0, 5, 2]
    assert readme.special == Special(pad=5, unk=3, bos=4, eos=5) and readme.encode("a x c") == [0, 3, 2, 5]
    assert len(head) == len(readme) == 6
    capped = read_vocab(path, layout="readme", max_size=5)
    assert capped.special == Special(4, 2, 3, 4) and capped.tokens == ["a", "b", None, None, None]
    assert capped.counts == [5, 4, None, None, None]
    for wrong in ({"layout": "tail"}, {"max_size": 4}):
        with pytest.raises(ConfigError):
            read_vocab(path, **wrong)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a\nb\na\n", ":3: the token 'a' is a duplicate of line 1"),
        (b"a\t3\nb\t2\na\t1\n", ":3: the token 'a' is a duplicate of line 1"),
        (b"a\n\nb\n", ":2: the token is empty"),
        (b"a\t2\n\t1\n", ":2: the token is empty"),
        (b"a\t2\nb\n", ":2: either every line has a count or none"),
        (b"a\nb\t2\n", ":2: either every line has a count or none"),
        (b"a\nb\tc\n", r":2: 'b\\tc' is neither"),
        (b"a\t-1\n", ":1: .* is neither"),
        ("a\t١\n".encode(), ":1: .* is neither"),
        (b"a\nb\xff\n", ":2: bytes ff are not UTF-8"),
        (b"", "the file is empty"),
    ],
)
def test_bad_lines_are_named(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"words(: )?{words}"):
        read_vocab(path)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1), min_size=1))
def test_printed_vocabulary_is_read_back(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    path = tmp_path_factory.mktemp("printed") / "characters"
    vocab = build_vocab(lines, "")
    if vocab.tokens[4] == "\ufeff":
        return  # at the start of a file it is a byte order mark
    write_lines(path, vocab_lines(vocab))
    assert read_vocab(path, "").to_json() == vocab.to_json()
    bare = Vocab([token for token in vocab.tokens if token not in (None, "\r")], "")
    if len(bare) > 4:
        write_lines(path, vocab_lines(bare))
        assert read_vocab(path, "").to_json() == bare.to_json()


# --- vocabulary files as JSON ---------------------------------------------------------------------------------------


PIECES = model([*BEGIN, ("<b>", 0, "control"), ("\u2581", -1, "normal"), ("a", -2, "normal"), ("ab", -3, "normal")])
TOKENIZER = {
    "version": "1.0",
    "added_tokens": [{"id": 1, "content": "<b>", "special": True}],
    "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]},
    "pre_tokenizer": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"},
    "model": {
        "type": "BPE",
        "unk_token": "<unk>",
        "vocab": {"<unk>": 0, "<b>": 1, "\u2581": 2, "a": 3, "b": 4, "ab": 5},
        "merges": [["a", "b"]],
    },
    "decoder": {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always"},
}
EXAMPLES: dict[str, Vocabulary] = {
    "words": build_vocab(["a b c", "a ä", "</s> \u2028 null"]),
    "characters": Vocab(["a", " ", "\t", '"', "\\"], "", Special(6, 0, 3, 6)),
    "subwords": Subwords([*BYTES, "\u2581", "a", "b", "\u2581a", "ab"], [None] * 259 + [1, 0]),
    "words with tags": build_vocab(["a <a> b"], tags=["<a>", "b"]),
    "subwords with tags": Subwords([*BYTES, "ab", "\u2581a", "c"], [None] * 257 + [0, None], tags=["ab"]),
    "factored": FactoredVocab(build_vocab(["a b <a> c", "ä"], tags=["<a>"]), [["X", "Y"]]),
    "columns": ColumnsVocab(build_vocab(["a b <a>", "ä"], tags=["<a>"]), 2),
    "unigram": Unigram([*BYTES, "\u2581", "a", "b", "ab"], [*[None] * 256, -1.0, -2.5, -3.0, -4.25]),
    "unigram with tags": Unigram([*BYTES, "ab", "a"], [*[None] * 257, -1.0], tags=["ab"]),
    "sentencepiece": import_model(PIECES, ["<a>", "<b>"]),
    "huggingface": import_tokenizer(TOKENIZER, ["<a>", "<b>"]),
    "reversed": ReversedVocab(ColumnsVocab(build_vocab(["a b <a>", "ä"], tags=["<a>"]), 2)),
    "vectors": VectorVocab([0.5, 0.0], [1.0, 1 / 3]),
    "columns of characters": ColumnsVocab(Vocab(["a", " "], "", Special(4, 0, 3, 4)), 3),
}
PROBES = ["a b c", "ä \u2028 x", "", " ab  a ", '\t"\\</s> null']
FACTORED_PROBES = ["a|X b|Y <a> c|new", "", "ä|Y \u2028|X", "<a><a>x|Y"]


def encoded(vocab: Vocabulary, probes: list[str]) -> list[Any]:
    return [np.array(vocab.encode(probe)).tolist() for probe in probes]


@pytest.mark.parametrize("example", EXAMPLES)
def test_saved_is_loaded(example: str, tmp_path: Path) -> None:
    vocab, path = EXAMPLES[example], tmp_path / "vocab.json"
    probes = FACTORED_PROBES if vocab.factor_sizes else PROBES
    if vocab.columns > 1:
        probes = ["\t".join(["a ä", " ", "<a>a"][: vocab.columns]), ""]
    if vocab.vector_size:
        probes = ["0.1 2; -3 1e-3", "", "1 2"]
    save_vocab(vocab, path)
    again = load_vocab(path)
    assert again.to_json() == vocab.to_json() and type(again) is type(vocab)
    assert again.tags == vocab.tags and again.factor_sizes == vocab.factor_sizes
    assert (again.columns, again.reversed) == (vocab.columns, vocab.reversed)
    assert encoded(again, probes) == encoded(vocab, probes)
    again = pickle.loads(pickle.dumps(vocab))  # as processes that share the work get it
    assert again.to_json() == vocab.to_json()
    assert encoded(again, probes) == encoded(vocab, probes)
    path.write_bytes(json.dumps(vocab.to_json()).encode())  # as other programs would write it
    assert load_vocab(path).to_json() == vocab.to_json()


@given(LINES, DELIMITERS, st.sampled_from(SPECIALS))
def test_json_keeps_everything(lines: list[str], delimiter: str, special: Special) -> None:
    vocab = build_vocab([*lines, *"abcdefgh"], delimiter, special=special)
    document = json.loads(json.dumps(vocab.to_json()))
    again = Vocab.from_json(document)
    assert again.to_json() == vocab.to_json() == document
    assert again.special == special and again.counts == vocab.counts
    assert [again.encode(line) for line in lines] == [vocab.encode(line) for line in lines]


def test_table_rows_say_their_kind() -> None:
    for vocab in EXAMPLES.values():
        document = vocab.to_json()
        assert VOCABULARIES[document["kind"]].from_json(document).to_json() == document
    assert {vocab.to_json()["kind"] for vocab in EXAMPLES.values()} == set(VOCABULARIES)
    assert list(LAYOUTS) == ["sequencing", "head", "readme"]


def altered(**changes: Any) -> dict[str, Any]:
    document = EXAMPLES["words"].to_json()
    if "tokens" in changes:
        del document["counts"]
    document |= changes
    return {key: value for key, value in document.items() if value is not ...}


SPECIAL = {"pad": 0, "unk": 1, "bos": 2, "eos": 3}
BROKEN = {
    "no object": ([1], "not an object"),
    "format": (altered(format=2), "format is 2"),
    "format as text": (altered(format="1"), "format is '1'"),
    "format true": (altered(format=True), "format is True"),
    "no format": (altered(format=...), "format is None"),
    "kind": (altered(kind="words"), "kind of the vocabulary is 'words'; it can be delimited, factored, subword"),
    "kind list": (altered(kind=[1]), "kind of the vocabulary"),
    "unknown key": (altered(tokenz=[]), "unknown key 'tokenz'"),
    "no delimiter": (altered(delimiter=...), "delimiter is None"),
    "delimiter number": (altered(delimiter=1), "delimiter is 1"),
    "delimiter surrogate": (altered(delimiter="\ud800"), "delimiter"),
    "no special": (altered(special=...), "'special' is None"),
    "special list": (altered(special=[0, 1, 2, 3]), "'special' is"),
    "missing special": (altered(special={"pad": 0, "unk": 1, "bos": 2}), "'special' is"),
    "more special": (altered(special={**SPECIAL, "cls": 4}), "'special' is"),
    "special null": (altered(special={**SPECIAL, "pad": None}), "special id pad is None"),
    "special text": (altered(special={**SPECIAL, "pad": "0"}), "special id pad is '0'"),
    "special object": (altered(special={**SPECIAL, "pad": {}}), "special id pad is {}"),
    "special negative": (altered(special={**SPECIAL, "unk": -1}), "special id unk is -1"),
    "special huge": (altered(special={**SPECIAL, "eos": 10**40}), "special id eos is 1000"),
    "special equal": (altered(special={**SPECIAL, "eos": 1}), "are both 1"),
    "special elsewhere": (altered(special={**SPECIAL, "eos": 5}), "id 3: a gap"),
    "no tokens": (altered(tokens=...), "'tokens' is of type NoneType"),
    "tokens object": (altered(tokens={"a": 4}), "'tokens' is of type dict"),
    "tokens empty": (altered(tokens=[]), "special id pad is 0, outside the 0 ids"),
    "gap": (altered(tokens=[None] * 4 + ["a", None, "b"]), "id 5: a gap"),
    "token at special": (
        altered(tokens=["<pad>", None, None, None, "a"]),
        "id 0: the token '<pad>' stands at a special id",
    ),
    "token number": (altered(tokens=[None] * 4 + ["a", 7]), "id 5: the token 7 is no string"),
    "token list": (altered(tokens=[None] * 4 + [["a"]]), "no string"),
    "token empty": (altered(tokens=[None] * 4 + ["a", ""]), "id 5: the token is empty"),
    "duplicate": (altered(tokens=[None] * 4 + ["a", "b", "a"]), "id 6: the token 'a' is a duplicate, it has id 4"),
    "surrogate": (altered(tokens=[None] * 4 + ["\ud800"]), r"id 4: .* U\+D800"),
    "tags object": (altered(tags={}), "'tags' is of type dict"),
    "tags null": (altered(tags=None), "'tags' is of type NoneType"),
    "tags text": (altered(tags="ab"), "'tags' is of type str"),
    "tag number": (altered(tags=[1]), "tag 1: the token 1 is no string"),
    "tag empty": (altered(tags=["a", ""]), "tag 2: the token is empty"),
    "tag twice": (altered(tags=["a", "b", "a"]), "the tag 'a' stands twice"),
    "tag without id": (altered(tags=["<2de>"]), "the tag '<2de>' has no id"),
    "tag with space": (altered(tags=["a b"]), "the tag 'a b' holds white space"),
    "tag special": (altered(tags=["</s>"]), "the tag '</s>' is how a special id is shown"),
    "counts object": (altered(counts={}), "'counts' must be a list"),
    "counts short": (altered(counts=[1]), "'counts' must be a list of 11"),
    "count of special": (altered(counts=[1] * 11), "id 0: the count is 1"),
    "count missing": (altered(counts=[None] * 11), "id 4: the count is None"),
    "count negative": (altered(counts=[None] * 4 + [-1] * 7), "id 4: the count is -1"),
    "count fraction": (altered(counts=[None] * 4 + [1.5] * 7), "id 4: the count is 1.5"),
}


@pytest.mark.parametrize(("document", "words"), BROKEN.values(), ids=BROKEN)
def test_broken_documents(document: Any, words: str, tmp_path: Path) -> None:
    path = tmp_path / "source.vocab.json"
    path.write_bytes(json.dumps(document).encode())
    with pytest.raises(DataError, match=words) as caught:
        load_vocab(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    "content", [b"", b"[", b'{"a"', b"[" * 100_000, b"NaN", b"1" * 5000, b"\0\1\2", b"\xff\xfe", b"{}"]
)
def test_what_is_no_json(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "vocab.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"vocab\.json:"):
        load_vocab(path)


@pytest.mark.parametrize("example", ["words", "characters"])
def test_every_cut_and_every_changed_byte(example: str, tmp_path: Path) -> None:
    """T01: a documented error, or a vocabulary that works; never another exception."""
    path = tmp_path / "vocab.json"
    save_vocab(EXAMPLES[example], path)
    content = path.read_bytes()
    damaged = [content[:size] for size in range(len(content) - 2)]
    for place in range(len(content)):
        damaged += [
            content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :] for flip in (0x01, 0x20, 0x80)
        ]
    for number, data in enumerate(damaged):
        path.write_bytes(data)
        try:
            vocab = load_vocab(path)
        except DataError as error:
            assert str(path) in str(error)
            continue
        assert number >= len(content) - 2, "a cut file was taken for a whole one"
        for probe in PROBES:
            assert max(vocab.encode(probe)) < len(vocab)
            vocab.decode(vocab.encode(probe))


@given(st.data())
def test_damaged_subwords(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("damaged") / "vocab.json"
    content = bytearray(json.dumps(EXAMPLES["subwords"].to_json(), ensure_ascii=False).encode())
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    try:
        vocab = load_vocab(path)
    except DataError as error:
        assert str(path) in str(error)
    else:
        assert [max(vocab.encode(probe)) < len(vocab) for probe in PROBES]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=9,
    ),
    st.sampled_from(
        [
            *["format", "kind", "delimiter", "special", "tokens", "counts", "ranks", "tags", "separator", "words"],
            *[
                "factors",
                "scores",
                "pieces",
                "types",
                "model",
                "normalizer",
                "added_tokens",
                "pre_tokenizer",
                "decoder",
            ],
            *["byte_fallback", "whitespace_as_suffix"],
        ]
    ),
)
def test_any_value_under_any_key(value: Any, key: str) -> None:
    for vocab in EXAMPLES.values():
        try:
            type(vocab).from_json({**vocab.to_json(), key: value})
        except DataError as error:
            assert str(error)
