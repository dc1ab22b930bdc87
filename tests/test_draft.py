"""draft: whatever a small model proposes, the large one says what it says alone, in fewer steps if it was right."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from architectures import DRAWN, WORDS, case, name_of, same
from sequencing.__main__ import main as upper_main
from sequencing_np.__main__ import main
from sequencing_np.beam import BeamFeedBack
from sequencing_np.decode import dynamic_decode
from sequencing_np.draft import DraftedDecoder, with_draft
from sequencing_np.errors import ModelError, UsageError
from sequencing_np.feedback import SampleFeedBack, TrainingFeedBack
from sequencing_np.limits import Limits
from sequencing_np.picking import Sampler, sentence_keys
from sequencing_np.search import SearchConfig
from sequencing_np.translate import Translator
from sequencing_np.vocab import Vocab
from sequencing_np.wishes import Wishes
from table_decoder import ARRAYS, SPECIAL, Table, TableDecoder, random_table
from test_translate import LINES, agree, translator
from tiny_models import told, write_model, write_run

each_floor = pytest.mark.parametrize("floor", ARRAYS)
LENGTHS = [3, 1, 2, 4]


def drafted(large: Table, small: Table, length: int, floor: str = "numpy") -> tuple[DraftedDecoder, Any, TableDecoder]:
    """The decoder, its memory, and the large model's own decoder, which counts its steps."""
    decoders = [TableDecoder(table, floor) for table in (large, small)]
    memory = decoders[0].memory(LENGTHS)
    return DraftedDecoder(decoders[0], decoders[1], length), memory._replace(others=(memory, memory)), decoders[0]


def mixed(one: Table, other: Table, share: float) -> Table:
    """A draft that is right this often."""
    return lambda n, words: (one if np.random.default_rng([n, *words, 9]).random() < share else other)(n, words)


# --- the same answers -------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), share=st.sampled_from([0, 0.6, 0.9, 1]), length=st.integers(1, 6), data=st.data())
def test_any_draft_changes_nothing(seed: int, share: float, length: int, data: Any) -> None:
    """Greedy search, draws, forced words, shortest answers and beams, to the last bit."""
    floor = data.draw(st.sampled_from(list(ARRAYS)))
    table = random_table(seed, 7)
    small = mixed(table, random_table(seed + 1, 7), share)
    limits = Limits(0.0, 9, shortest=data.draw(st.integers(0, 3)))
    keys = sentence_keys(seed, 0, 4)
    for feedback in (
        lambda: SampleFeedBack(SPECIAL, limits, alignments=True),
        lambda: SampleFeedBack(SPECIAL, limits, pick=Sampler(keys, 1.3)),
        lambda: SampleFeedBack(SPECIAL, limits, prefix=[[4, 5], [], [6], [4, 4, 4, 3]]),
        lambda: BeamFeedBack(SPECIAL, 3, limits, n_best=2),
    ):
        decoder, memory, _ = drafted(table, small, length, floor)
        found = dynamic_decode(decoder, memory, feedback())
        alone = TableDecoder(table, floor)
        assert repr(found) == repr(dynamic_decode(alone, alone.memory(LENGTHS), feedback()))


@pytest.mark.parametrize("index", WORDS, ids=name_of)
def test_every_pair_of_models(index: int) -> None:
    """The draft is of another family, and reads with another vocabulary; or it is the model itself, and right."""
    place = WORDS.index(index)
    floor = "torch" if place % 5 == 2 else "numpy"
    subject, search = translator(index, floor), SearchConfig(beam=1, alignments=True, batch_tokens=(9, 999)[place % 2])
    expected = subject.translate(LINES, search)
    for other, length in ((WORDS[(place + 5) % len(WORDS)], 3), (index, 4)):
        together = with_draft(subject, translator(other, floor), ("large", "small"), length)
        agree(expected, together.translate(LINES, search))
    drawn = SearchConfig(beam=1, sample=True, temperature=1.2)
    agree(subject.translate(LINES, drawn), together.translate(LINES, drawn))


@each_floor
def test_being_taught_and_going_on(floor: str) -> None:
    """Several tokens at once are read by both; what comes after them is drafted."""
    table = random_table(3, 7)
    decoder, memory, _ = drafted(table, random_table(4, 7), 3, floor)
    target = np.random.default_rng(1).integers(3, 7, (4, 5))
    native, alone = decoder.arrays.native, TableDecoder(table, floor)
    same(
        dynamic_decode(decoder, memory, TrainingFeedBack(target, SPECIAL)),
        dynamic_decode(alone, alone.memory(LENGTHS), TrainingFeedBack(target, SPECIAL)),
    )
    state, plain = decoder.start(memory), alone.start(alone.memory(LENGTHS))
    for begin, end in ((0, 2), (2, 3), (3, 4), (4, 5), (0, 3), (3, 4), (1, 2)):
        output, state = decoder.step(native(target[:, begin:end]), state)
        expected, plain = alone.step(native(target[:, begin:end]), plain)
        same(output, expected)


@pytest.mark.parametrize("index", DRAWN[::3], ids=name_of)
@each_floor
def test_rewinding_is_not_having_read(index: int, floor: str) -> None:
    _, model, _, memory = case(index, floor)
    tokens = np.random.default_rng(index).integers(1, model.config.target_size, (4, 7))
    native = model.arrays.native
    _, before = model.decoder.step(native(tokens[:, :2]), model.decoder.start(memory))
    _, after = model.decoder.step(native(tokens[:, 2:]), before)
    for count in (1, 3, 4):
        _, expected = model.decoder.step(native(tokens[:, 2 : 2 + count]), before)
        same(model.decoder.rewind(before, after, native(tokens[:, 2 : 2 + count])), expected)


# --- fewer steps ------------------------------------------------------------------------------------------------------


def test_a_draft_that_is_right_saves_all_steps_but_one_of_a_block() -> None:
    def table(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        return np.eye(7)[3 if len(words) == 11 else 4 + (len(words) + sentence) % 3] * 9

    for length in (1, 2, 5, 20):
        decoder, memory, large = drafted(table, table, length)
        dynamic_decode(decoder, memory, SampleFeedBack(SPECIAL, Limits(0.0, 30)))
        assert len(large.asked) == math.ceil(12 / (length + 1))
        decoder, memory, large = drafted(table, lambda sentence, words: np.eye(7)[1], length)
        dynamic_decode(decoder, memory, SampleFeedBack(SPECIAL, Limits(0.0, 30)))
        assert len(large.asked) == 12


def test_who_is_ahead_in_a_batch_waits_with_what_is_known() -> None:
    """One sentence has a wrong draft at every word but the batch as a whole asks no more than that sentence alone."""

    def table(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        return np.eye(7)[3 if len(words) == 8 else 4 + (len(words) + sentence) % 3] * 9

    def small(sentence: int, words: tuple[int, ...]) -> np.ndarray:
        wrong = (sentence == 0 and len(words) % 2 == 1) or (sentence == 1 and len(words) == 3)
        return np.eye(7)[1] if wrong else table(sentence, words)

    decoder, memory, large = drafted(table, small, 4)
    dynamic_decode(decoder, memory, SampleFeedBack(SPECIAL, Limits(0.0, 30)))
    assert len(large.asked) == 5  # as many as sentence 0 needs: two words a step


def test_settings_that_cannot_be() -> None:
    one = translator(0)
    with pytest.raises(UsageError, match="draft length 0"):
        with_draft(one, one, ("a", "b"), 0)
    with pytest.raises(ModelError, match="runs/a and runs/b have different target vocabularies"):
        with_draft(one, Translator(one.model, one.source_vocab, Vocab(["w4", "w5"])), ("runs/a", "runs/b"))


def test_wishes_and_streams() -> None:
    subject = translator(WORDS[1])
    together = with_draft(subject, translator(WORDS[4]), ("a", "b"))
    wishes = [Wishes(begin="w5 w6", exclude=("w9",))] * len(LINES)
    search = SearchConfig(beam=1, no_repeats=2)
    agree(subject.translate(LINES, search, wishes=wishes), together.translate(LINES, search, wishes=wishes))
    expected = [found.text for found in subject.translate(LINES, search)]
    assert ["".join(together.stream_text(line, search)) for line in LINES] == expected


# --- the command lines ------------------------------------------------------------------------------------------------


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    return told(capsys, monkeypatch, "ein zwei drei\n\nf\u00fcnf und vier\nzwei\n")


def test_translate_with_a_draft(said: Any, tmp_path: Path) -> None:
    large, small, run = (
        write_model(tmp_path / "large", 1),
        write_model(tmp_path / "small", 2),
        write_run(tmp_path / "run"),
    )
    for options in (["--beam", "1"], ["--sample", "--seed", "4"]):
        plain = said(main, "translate", large, *options)
        assert plain[0] == 0 and any(plain[1])
        for more in ([], ["--draft-length", "2"]):
            assert said(main, "translate", large, "--draft", small, *options, *more) == plain
            upper = said(upper_main, "translate", run, "--draft", small, *options, *more, "--device", "cpu")
            assert upper == said(upper_main, "translate", run, *options, "--device", "cpu")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--draft", "x"], "add --beam 1"),
        (["--draft", "x", "--sample", "--without-replacement"], "add --beam 1"),
        (["--draft-length", "3"], "add --draft"),
        (["--draft", "x", "--with", "y", "--beam", "1"], "leave one of them out"),
        (["--draft", "MODEL", "--beam", "1", "--draft-length", "0"], "draft length 0"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], words: str, said: Any, tmp_path: Path) -> None:
    model = str(write_model(tmp_path / "model"))
    code, lines, err = said(main, "translate", model, *(model if each == "MODEL" else each for each in options))
    assert (code, lines) == (2, []) and words in err
