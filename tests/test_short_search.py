"""short_search: as if all other logits were minus infinity, for every decoder, search and wish, in any batches."""

import copy
import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from architectures import WORDS, architecture, name_of, numpy_model, torch_model
from sequencing.__main__ import main as upper_main
from sequencing.loading import load_translator
from sequencing_np.__main__ import main
from sequencing_np.decode import dynamic_decode
from sequencing_np.errors import ConfigError, ModelError, SearchError
from sequencing_np.feedback import TrainingFeedBack
from sequencing_np.manifest import write_manifest
from sequencing_np.model_folder import read_model_folder, write_model_folder
from sequencing_np.search import SearchConfig
from sequencing_np.shortlist import SHORTLIST, Shortlist, read_shortlist, write_shortlist
from sequencing_np.special import Special
from sequencing_np.translate import Translator
from sequencing_np.translation import Answer, Translation
from sequencing_np.weights import write_safetensors
from sequencing_np.wishes import Wishes
from small_runs import small
from table_decoder import SPECIAL
from test_translate import LIMITS, LINES, agree, table_translator, translator
from tiny_models import SOURCES, TARGETS, told, write_model

SEARCHES = [
    SearchConfig(beam=1, alignments=True),
    SearchConfig(beam=4, n_best=3, coverage=0.2, min_length=2, no_unknown=True),
    SearchConfig(beam=4, groups=2, n_best=2, no_repeats=2),
    SearchConfig(beam=1, sample=True, temperature=1.5, top_p=0.9, top_k=4),
    SearchConfig(beam=1, sample=True, mbr="edit", candidates=3, n_best=2),
]
WISHES = [
    Wishes(include=(("w20 w21", "w6"),)),
    Wishes(exclude=("w7", "w5 w8")),
    Wishes(begin="w22 w9"),
    Wishes(allowed=("w19 w18", "w17")),
]


def table(index: int) -> Shortlist:
    """Four ids for each source id, so sentences differ, and two that all have."""
    config, chance = architecture(index), np.random.default_rng(index)
    likely = chance.integers(4, config.target_size, 4 * config.source_size).astype(np.int32)
    starts = np.arange(config.source_size + 1, dtype=np.int64) * 4
    return Shortlist(starts, likely, np.array([5, 9], np.int32))


class Masked:
    """The reference, on NumPy: the whole vocabulary, one sentence at a time, -inf added outside its list.

    A seed adds noise to every logit, more than rounding does and far less than what tells answers apart.
    """

    def __init__(self, index: int, allowed: set[int], seed: int = 0) -> None:
        self.arrays, model = numpy_model(index).arrays, numpy_model(index)
        self.encode, self.decoder = model.encode, copy.copy(model.decoder)
        outside = np.full(architecture(index).target_size, -np.inf)
        outside[sorted(allowed)] = 0
        whole, chance, noise = model.decoder.head, np.random.default_rng(seed), 1e-12 if seed else 0.0
        self.decoder.head = lambda x: whole(x) + outside + noise * chance.normal(size=(*x.shape[:-1], len(outside)))


def reference(index: int, line: str, wishes: Wishes | None = None, seed: int = 0) -> Translator:
    subject = translator(index)
    ids = subject.source_vocab.encode(line)
    allowed = {5, 9, *SPECIAL}
    for token in ids:
        word = token % architecture(index).source_size
        allowed |= set(table(index).likely[4 * word : 4 * word + 4].tolist())
        if architecture(index).copies:
            allowed.add(word)
    if wishes:
        texts = [
            *wishes.exclude,
            wishes.begin,
            *(wishes.allowed or ()),
            *(each for one in wishes.include for each in one),
        ]
        tokens = {int(word[1:]) for text in texts for word in text.split()}
        allowed |= set() if wishes.exclude else tokens
    return Translator(Masked(index, allowed, seed), subject.source_vocab, subject.target_vocab, LIMITS)


def masked(index: int, place: int, search: SearchConfig, seed: int = 0) -> Translation:
    return reference(index, LINES[place], seed=seed).translate([LINES[place]], search, place)[0]


@functools.cache
def masked_lines(index: int) -> list[list[Translation]]:
    """The answers of each search to all lines."""
    return [[masked(index, place, search) for place in range(len(LINES))] for search in SEARCHES]


def sequences(found: Translation) -> list[list[str]]:
    return [answer.tokens for answer in found.answers]


def tied(index: int, place: int, search: SearchConfig) -> bool:
    """Whether the reference chose between equals: noise of hardly more than rounding makes it say something else."""
    said = [sequences(masked(index, place, search, seed)) for seed in range(17)]
    return any(each != said[0] for each in said)


def likely(index: int, line: str, answer: Answer) -> np.ndarray:  # -> (T,)
    """The log-probability of each token of an answer, as the reference is taught it."""
    subject = reference(index, line)
    named = {"</s>": SPECIAL.eos, "<unk>": SPECIAL.unk}
    target = np.array([[named[token] if token in named else int(token[1:]) for token in answer.tokens]])
    source = np.array([subject.source_vocab.encode(line)])
    memory = subject.model.encode(source, np.ones_like(source, dtype=bool))
    logits = dynamic_decode(subject.model.decoder, memory, TrainingFeedBack(target, SPECIAL)).logits
    return subject.model.arrays.log_prob(logits, target)[0]


def agree_or_tie(index: int, search: SearchConfig, expected: list[Translation], found: list[Translation]) -> None:
    """As `agree`, but where answers tie rounding may choose: then what is said must be as likely as it says it is."""
    for place, (one, other) in enumerate(zip(expected, found, strict=True)):
        if sequences(one) == sequences(other):
            agree([one], [other])
            continue
        assert other.answers and tied(index, place, search), (sequences(one), sequences(other))
        for answer in other.answers:
            theirs = likely(index, LINES[place], answer)
            np.testing.assert_allclose(answer.token_log_probs, theirs, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(answer.log_prob, theirs.sum(), rtol=1e-9, atol=1e-9)


def short(index: int, floor: str) -> Translator:
    subject = translator(index, floor)
    subject.shortlist = table(index)
    return subject


# A third of those that read words; of each decoder, with and without copying.
THIRD = sorted(WORDS, key=lambda index: (architecture(index).copies, architecture(index).decoder.type))[::3]


@pytest.mark.parametrize("floor", ["numpy", "torch"])
@pytest.mark.parametrize("index", THIRD, ids=name_of)
def test_as_if_all_others_were_impossible(index: int, floor: str) -> None:
    """The law, and that batch mates change nothing: all lines together, in small batches, turned round."""
    subject = short(index, floor)
    for search, expected in zip(SEARCHES, masked_lines(index), strict=True):
        mine = replace(search, shortlist=True)
        agree_or_tie(index, search, expected, subject.translate(LINES, mine))
        agree_or_tie(index, search, expected, subject.translate(LINES, replace(mine, batch_tokens=7)))
    turned = subject.translate(LINES[::-1], replace(SEARCHES[1], shortlist=True))[::-1]
    agree_or_tie(index, SEARCHES[1], masked_lines(index)[1], turned)


@pytest.mark.parametrize("floor", ["numpy", "torch"])
def test_answers_that_tie(floor: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With all rectifiers of a head shut every step says the same, so the same words in any order are as likely."""
    index = next(each for each in WORDS if architecture(each).decoder.head == "relu" and not architecture(each).copies)
    search = SearchConfig(beam=4, n_best=3)
    assert not any(tied(index, place, search) for place in range(len(LINES)))
    shut = numpy_model(index).decoder.head.first.bias - 1e3
    monkeypatch.setattr(numpy_model(index).decoder.head.first, "bias", shut)
    monkeypatch.setattr(torch_model(index).decoder.head.first.bias, "data", torch.tensor(shut))
    expected = [masked(index, place, search) for place in range(len(LINES))]
    assert sum(tied(index, place, search) for place in range(len(LINES))) > 2
    agree_or_tie(index, search, expected, short(index, floor).translate(LINES, replace(search, shortlist=True)))
    answer = expected[0].answers[-1]
    turned = answer._replace(
        tokens=[*answer.tokens[-2::-1], answer.tokens[-1]],
        token_log_probs=[*answer.token_log_probs[-2::-1], answer.token_log_probs[-1]],
    )
    agree_or_tie(index, search, expected[:1], [expected[0]._replace(answers=[turned])])
    with pytest.raises(AssertionError):
        agree_or_tie(index, search, expected[:1], [expected[0]._replace(answers=[turned._replace(log_prob=-1.0)])])


@pytest.mark.parametrize("floor", ["numpy", "torch"])
@pytest.mark.parametrize("index", WORDS[::17], ids=name_of)
def test_what_is_wished_for_is_on_the_list(index: int, floor: str) -> None:
    subject, search = short(index, floor), SearchConfig(beam=4, n_best=2)
    lines = ["w4 w5 w6", "w7", "w4 w9 w9 w10 w11", "w12 w4"]
    both = zip(lines, WISHES, strict=True)
    expected = [reference(index, line, wish).translate([line], search, wishes=[wish])[0] for line, wish in both]
    agree(expected, subject.translate(lines, replace(search, shortlist=True), wishes=WISHES))
    assert any(each.answers for each in expected)
    said = zip(subject.translate(lines, replace(search, shortlist=True), wishes=WISHES), WISHES, strict=True)
    assert all(each.text in wish.allowed for each, wish in said if wish.allowed and each.answers)


def test_each_decoder_is_among_them_with_and_without_copying() -> None:
    kinds = {(architecture(index).decoder.type, architecture(index).copies) for index in THIRD}
    assert kinds == {(architecture(index).decoder.type, architecture(index).copies) for index in WORDS}


def test_special_ids_may_stand_anywhere() -> None:
    from sequencing_np.short_search import short_of

    found = short_of(
        Shortlist(np.array([0, 1, 1]), np.array([4]), np.array([7])), [[0], [1]], None, Special(9, 2, 8, 9), 11
    )
    assert found.ids.tolist() == [2, 4, 7, 8, 9] and found.special(Special(9, 2, 8, 9)) == Special(4, 0, 3, 4)
    assert found.own.tolist() == [[True] * 5, [True, False, True, True, True]]


def test_who_has_none_says_so() -> None:
    with pytest.raises(SearchError, match="this model has no shortlist"):
        translator(0).translate(LINES, SearchConfig(shortlist=True))
    subject, _ = table_translator()
    subject.shortlist = table(WORDS[0])
    with pytest.raises(SearchError, match="TableDecoder has no 'listen', so it cannot say some tokens alone"):
        subject.translate(LINES, SearchConfig(shortlist=True))


def test_a_run_has_none_yet(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"search.shortlist: a model gets its shortlist when it is exported"):
        small(tmp_path, "search.shortlist=true")


# --- in a model folder ----------------------------------------------------------------------------------------------

FEW = Shortlist(
    np.arange(len(SOURCES) + 5) // 2, np.arange(len(SOURCES) // 2 + 2, dtype=np.int32) + 4, np.array([6], np.int32)
)


def with_table(folder: Path, found: Shortlist = FEW) -> Path:
    parts = read_model_folder(write_model(folder))
    write_model_folder(folder, parts._replace(shortlist=found))
    return folder


def test_a_folder_keeps_its_table(tmp_path: Path) -> None:
    folder = with_table(tmp_path / "model")
    below, above = Translator.load(folder), load_translator(folder)
    for subject in (below, above):
        assert subject.shortlist is not None
        assert all((one == other).all() for one, other in zip(subject.shortlist, FEW, strict=True))
    search = SearchConfig(beam=3, n_best=3, shortlist=True)
    lines = ["ein zwei drei", "fünf und vier"]
    one, other = below.translate(lines, search), above.translate(lines, search)
    assert [[a.tokens for a in each.answers] for each in one] == [[a.tokens for a in each.answers] for each in other]
    assert [each.text for each in one] != [each.text for each in below.translate(lines)], "fewer letters to choose from"
    assert read_model_folder(write_model(tmp_path / "old")).shortlist is None


BAD = {
    "rows": FEW._replace(starts=FEW.starts[1:]),
    "backwards": FEW._replace(starts=FEW.starts[::-1].copy()),
    "beyond": FEW._replace(likely=FEW.likely + np.int32(len(TARGETS))),
    "negative": FEW._replace(common=np.array([-1], np.int32)),
    "type": FEW._replace(common=np.array([4], np.int64)),
    "axes": FEW._replace(common=np.array([[4]], np.int32)),
}


@pytest.mark.parametrize("name", BAD)
def test_tables_that_do_not_fit(name: str, tmp_path: Path) -> None:
    write_shortlist(tmp_path / SHORTLIST, BAD[name])
    with pytest.raises(ModelError, match=r"shortlist.safetensors: .*export"):
        read_shortlist(tmp_path / SHORTLIST, len(SOURCES) + 4, len(TARGETS) + 4)
    folder = write_model(tmp_path / "model")
    write_safetensors(folder / SHORTLIST, BAD[name]._asdict())
    write_manifest(folder)
    with pytest.raises(ModelError, match=SHORTLIST):
        Translator.load(folder)


def test_both_command_lines(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    said = told(capsys, monkeypatch, "ein zwei drei\n\nfünf und vier\n")
    folder = with_table(tmp_path / "model")
    one, other = (said(program, "translate", folder, "--shortlist") for program in (main, upper_main))
    assert one == other and one[0] == 0 and len(one[1]) == 3
    plain = write_model(tmp_path / "plain")
    for arguments in ((plain, "--shortlist"), (folder, "--with", plain, "--shortlist")):
        code, _, err = said(main, "translate", *arguments)
        assert code == 6 and "has no shortlist" in err
