"""The laws that hold for every encoder, decoder and attention, over the random architectures of architectures.py.

In float64 they hold to 1e-9. In float32 two answers may differ where the model finds both equally likely, and each
difference is proved to be such a tie: both answers are scored in float64.
"""

from collections.abc import Callable
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from architectures import (
    DRAWN,
    FLOORS,
    QUICK,
    SPECIAL,
    TABLES,
    architecture,
    case,
    leaves,
    model_on,
    name_of,
    numpy_model,
    same,
    settings_of,
    sources,
    torch_model,
    with_padding,
)
from sequencing.model import Model as TorchModel
from sequencing_np.attention import ATTENTIONS
from sequencing_np.batch import pad
from sequencing_np.beam import BeamFeedBack
from sequencing_np.config import Origin, to_dict
from sequencing_np.decode import dynamic_decode
from sequencing_np.errors import ModelError
from sequencing_np.feedback import FeedBack, Hypothesis, SampleFeedBack, TrainingFeedBack
from sequencing_np.limits import Limits
from sequencing_np.model import DECODERS, ENCODERS, build_model, model_config
from sequencing_np.picking import Sampler, sentence_keys
from sequencing_np.ranking import LENGTH_PENALTIES, Ranking
from sequencing_np.self_attention import ENCODER_MIXERS
from sequencing_np.state import Beams, Memory, Output, State, owning, select
from sequencing_np.weights import nest

LIMITS = Limits(factor=1.0, constant=4)
Answers = list[list[Hypothesis]]

each_architecture = pytest.mark.parametrize("index", QUICK, ids=name_of)
each_floor = pytest.mark.parametrize("floor", FLOORS)

SEARCHES: dict[str, Callable[[], FeedBack[Answers]]] = {
    "greedy": lambda: SampleFeedBack(SPECIAL, LIMITS, alignments=True),
    "drawn": lambda: SampleFeedBack(SPECIAL, LIMITS, pick=Sampler(sentence_keys(5, 0, 512), 1.5, 11, 0.9)),
    **{
        f"beam {name}": lambda name=name: BeamFeedBack(  # type: ignore[misc]
            SPECIAL, 4, LIMITS, ranking=Ranking(name, 0.7), n_best=3, alignments=True
        )
        for name in LENGTH_PENALTIES
    },
    "short answers forbidden": lambda: BeamFeedBack(SPECIAL, 3, Limits(1.0, 4, shortest=2), n_best=2),
}
BEAMS = {name: search for name, search in SEARCHES.items() if name.startswith("beam")}


def words(found: Answers) -> list[list[list[int]]]:
    return [[one.tokens for one in answers] for answers in found]


def tied(a: Hypothesis, b: Hypothesis) -> bool:
    """Whether rounding alone chose between two answers: they, or the tokens at which they part, cost the same."""
    same = [one == other for one, other in zip(a.tokens, b.tokens, strict=False)] + [False]
    part = min(same.index(False), len(a.token_log_probs) - 1, len(b.token_log_probs) - 1)
    costs = [(a.score, b.score), (a.token_log_probs[part], b.token_log_probs[part])]
    return any(abs(one - other) < 1e-9 for one, other in costs)


def same_answers(one: Answers, other: Answers) -> None:
    """Identical words, but for ties, and numbers equal to 1e-9."""
    assert [len(answers) for answers in one] == [len(answers) for answers in other]
    for a, b in zip(chain(*one), chain(*other), strict=True):
        if a.tokens != b.tokens:
            assert tied(a, b), (a, b)
            continue
        assert a.finished == b.finished
        np.testing.assert_allclose(a.score, b.score, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(a.log_prob, b.log_prob, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(a.token_log_probs, b.token_log_probs, rtol=1e-9, atol=1e-9)
        if a.alignment is not None and b.alignment is not None:
            width = min(a.alignment.shape[1], b.alignment.shape[1])
            np.testing.assert_allclose(a.alignment[:, :width], b.alignment[:, :width], rtol=1e-9, atol=1e-9)
            assert not a.alignment[:, width:].any() and not b.alignment[:, width:].any()


def random_tokens(index: int, rows: int, steps: int) -> np.ndarray:  # -> (R, T)
    return np.random.default_rng(index).integers(1, architecture(index).target_size, (rows, steps))


def in_parts(model: Any, tokens: np.ndarray, state: State, cuts: list[int]) -> tuple[Output, State]:
    """The decoder over all tokens, `cuts` of them at a time."""
    said = []
    for part in np.split(tokens, np.cumsum(cuts)[:-1], axis=1):
        output, state = model.decoder.step(model.arrays.native(part), state)
        said.append(output)
    join = model.arrays.join
    return Output(*(join([getattr(output, name) for output in said]) for name in Output._fields)), state


# --- the random architectures themselves ----------------------------------------------------------------------------


def test_every_row_and_every_option_appears() -> None:
    drawn = [settings_of(architecture(index)) for index in DRAWN]
    wanted = {"encoder.type": ENCODERS, "decoder.type": DECODERS, "decoder.attention.type": ATTENTIONS}
    for name, table in {**wanted, **TABLES}.items():
        ends = {key for settings in drawn for key in settings if key == name or key.endswith(f".{name}")}
        for key in ends:
            if not key.startswith(("encoder.characters.", "encoder.words.", "encoder.reader.")):  # drawn for few
                rows = ENCODER_MIXERS if key == "encoder.mixer" else table
                assert {settings[key] for settings in drawn if key in settings} == set(rows), key
    for key in drawn[0]:
        if isinstance(drawn[0][key], bool):
            assert {settings[key] for settings in drawn if key in settings} == {True, False}, key


def test_every_encoder_reads_vectors() -> None:
    assert {architecture(index).encoder.type for index in DRAWN if architecture(index).source_vectors} == set(ENCODERS)


@each_architecture
def test_a_configuration_comes_back(index: int) -> None:
    config = architecture(index)
    assert model_config(to_dict(config), Origin("saved")) == config


# --- one flow -------------------------------------------------------------------------------------------------------


@each_floor
@each_architecture
def test_step_by_step_is_at_once(index: int, floor: str) -> None:
    _, model, _, memory = case(index, floor)
    tokens, start = random_tokens(index, 4, 7), model.decoder.start(memory)
    output, state = model.decoder.step(model.arrays.native(tokens), start)
    for cuts in ([1] * 7, [3, 1, 2, 1], [1, 6], [5, 2]):
        same(in_parts(model, tokens, start, cuts), (output, state))
    same(output.alignment.sum(-1), np.ones((4, 7)))


@each_architecture
def test_torch_is_numpy(index: int) -> None:
    numpy, native = case(index, "numpy"), case(index, "torch")
    same(numpy.memory, native.memory)
    tokens = random_tokens(index, 4, 5)
    starts = [each.model.decoder.start(each.memory) for each in (numpy, native)]
    same(*starts)
    same(numpy.model.decoder.step(tokens, starts[0]), native.model.decoder.step(torch.tensor(tokens), starts[1]))


@each_architecture
@pytest.mark.parametrize("search", SEARCHES)
def test_torch_answers_as_numpy(index: int, search: str) -> None:
    found = [
        dynamic_decode(each.model.decoder, each.memory, SEARCHES[search]())
        for each in (case(index, "numpy"), case(index, "torch"))
    ]
    assert all(found[0])
    same_answers(*found)


def shortened(memory: Memory, like: Memory) -> Memory:
    """The memory without the positions past the end of another one."""
    first = (part[:, : like.mask.shape[1]] for part in (*memory[:3], memory.tokens))
    keys, values, mask, tokens = first
    others = tuple(shortened(*pair) for pair in zip(memory.others, like.others, strict=True))
    return Memory(keys, values, mask, memory.summary, tokens, others)


class Taught(NamedTuple):
    """What a teacher says of one answer."""

    answer: Hypothesis
    log_probs: np.ndarray  # (T,)
    alignment: np.ndarray  # (T, S)


def taught(model: Any, memory: Memory, found: Answers) -> list[list[Taught]]:
    """The model reads each answer as a target."""
    owners = np.repeat(np.arange(len(found)), [len(answers) for answers in found])
    flat = [answer for answers in found for answer in answers]
    target, mask = pad([answer.tokens + [SPECIAL.eos] * answer.finished for answer in flat], SPECIAL.pad)
    own = select(memory, model.arrays.native(owners))
    output = dynamic_decode(model.decoder, own, TrainingFeedBack(target, SPECIAL))
    log_probs, alignment = model.arrays.log_prob(output.logits, target), model.arrays.host(output.alignment)
    result: list[list[Taught]] = [[] for _ in found]
    for row, (owner, answer) in enumerate(zip(owners, flat, strict=True)):
        result[owner].append(Taught(answer, log_probs[row, mask[row]], alignment[row, mask[row]]))
    return result


@each_architecture
def test_in_float32_what_differs_is_a_tie(index: int) -> None:
    batch = sources(architecture(index), (6, 3, 9, 2, 5), index + 1)
    native = TorchModel(architecture(index)).eval().requires_grad_(False)
    native.load_weights({name: array.astype(np.float32) for name, array in torch_model(index).weights().items()})
    models = [numpy_model(index, "float32"), native]
    for name in ("greedy", "beam average"):
        found = [dynamic_decode(model.decoder, model.encode(*batch), SEARCHES[name]()) for model in models]
        exact = numpy_model(index)
        judged = [list(chain(*taught(exact, exact.encode(*batch), answers))) for answers in found]
        for a, b in zip(*judged, strict=True):
            tie = abs(a.log_probs.mean() - b.log_probs.mean()) < 1e-4
            assert a.answer.tokens == b.answer.tokens or tie, (name, a, b)
            np.testing.assert_allclose(a.answer.token_log_probs, a.log_probs, rtol=1e-3, atol=1e-3)


# --- nothing depends on batch mates ---------------------------------------------------------------------------------


@each_floor
@each_architecture
def test_padding_and_batch_mates_change_nothing(index: int, floor: str) -> None:
    model = model_on(index, floor)
    lengths = (3, 7, 1)
    searches = [name for name in SEARCHES if name != "drawn"]  # draws come in the order of the batch
    if floor == "torch":
        searches = ["greedy", "beam average"]
    batch = sources(model.config, lengths, index)
    filled = with_padding(batch, 3, SPECIAL.unk)
    together = model.encode(*filled)
    targets = random_tokens(index, 3, 5)
    output = dynamic_decode(model.decoder, together, TrainingFeedBack(targets, SPECIAL))
    answers = {name: dynamic_decode(model.decoder, together, SEARCHES[name]()) for name in searches}
    for row, length in enumerate(lengths):
        alone = model.encode(batch.ids[row : row + 1, :length], batch.mask[row : row + 1, :length])
        same(alone, shortened(select(together, slice(row, row + 1)), alone))
        assert not np.asarray(together.values[row, length:]).any()
        own = dynamic_decode(model.decoder, alone, TrainingFeedBack(targets[row : row + 1], SPECIAL))
        same(own[:2], select(output, slice(row, row + 1))[:2])
        width = own.alignment.shape[2]  # the row's tokens; of several texts those of the first
        same(own.alignment, output.alignment[row : row + 1, :, :width])
        assert not np.asarray(output.alignment[row, :, width:]).any()
        for name in searches:
            same_answers(dynamic_decode(model.decoder, alone, SEARCHES[name]()), answers[name][row : row + 1])


@each_floor
@each_architecture
def test_a_sentence_of_nothing_harms_nobody(index: int, floor: str) -> None:
    """G08: everything masked. The row gets an alignment of zeros, and the others what they get without it."""
    model = model_on(index, floor)
    batch = sources(model.config, (4, 2), index)
    ids = np.concatenate([batch.ids, np.zeros_like(batch.ids[:1])])
    mask = np.concatenate([batch.mask, np.zeros((1, 4), dtype=bool)])
    with_it = dynamic_decode(model.decoder, model.encode(ids, mask), BEAMS["beam average"]())
    without = dynamic_decode(model.decoder, model.encode(*batch), BEAMS["beam average"]())
    same_answers(with_it[:2], without)
    assert with_it[2] and not with_it[2][0].alignment.any()


# --- searches -------------------------------------------------------------------------------------------------------


@each_architecture
def test_a_beam_of_one_is_greedy(index: int) -> None:
    _, model, _, memory = case(index, "numpy")
    for name in LENGTH_PENALTIES:
        beam = dynamic_decode(model.decoder, memory, BeamFeedBack(SPECIAL, 1, LIMITS, ranking=Ranking(name)))
        greedy = dynamic_decode(model.decoder, memory, SampleFeedBack(SPECIAL, LIMITS))
        assert words(beam) == words(greedy)
        for a, b in zip(chain(*beam), chain(*greedy), strict=True):
            np.testing.assert_allclose(a.token_log_probs, b.token_log_probs, rtol=1e-12)
            assert a.finished == b.finished


@each_floor
@each_architecture
def test_an_answer_costs_what_the_teacher_says(index: int, floor: str) -> None:
    _, model, _, memory = case(index, floor)
    for name in SEARCHES if floor == "numpy" else ["greedy", "beam gnmt"]:
        found = dynamic_decode(model.decoder, memory, SEARCHES[name]())
        for answer, log_probs, alignment in chain(*taught(model, memory, found)):
            np.testing.assert_allclose(answer.token_log_probs, log_probs, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(answer.log_prob, log_probs.sum(), rtol=1e-9)
            if answer.alignment is not None:
                same(alignment, answer.alignment)
            if name.startswith("beam"):
                divisor = LENGTH_PENALTIES[name.removeprefix("beam ")](np.array(float(len(log_probs))), 0.7)
                np.testing.assert_allclose(answer.score, log_probs.sum() / divisor, rtol=1e-9)


@each_floor
@each_architecture
def test_the_own_first_words_forced_change_nothing(index: int, floor: str) -> None:
    _, model, _, memory = case(index, floor)
    free = dynamic_decode(model.decoder, memory, SampleFeedBack(SPECIAL, LIMITS, alignments=True))
    prefix = [answers[0].tokens[:cut] for cut, answers in enumerate(free)]
    forced = SampleFeedBack(SPECIAL, LIMITS, prefix=prefix, alignments=True)
    same_answers(dynamic_decode(model.decoder, memory, forced), free)


@each_floor
@each_architecture
def test_scheduled_sampling(index: int, floor: str) -> None:
    """Rate 1 is the parallel step; all coins heads is the same word by word; rate 0 is the decoder's own words."""
    _, model, _, memory = case(index, floor)
    target = random_tokens(index, 4, 6)
    parallel = dynamic_decode(model.decoder, memory, TrainingFeedBack(target, SPECIAL))
    drawn = TrainingFeedBack(target, SPECIAL, 1 - 1e-12, generator=np.random.default_rng(1))
    same(dynamic_decode(model.decoder, memory, drawn), parallel)
    own = TrainingFeedBack(target, SPECIAL, 0.0, generator=np.random.default_rng(1))
    spoken = dynamic_decode(model.decoder, memory, own)
    assert spoken.logits.shape == parallel.logits.shape
    logits = np.asarray(spoken.logits).copy()
    logits[..., [SPECIAL.pad, SPECIAL.bos]] = -np.inf
    again = dynamic_decode(model.decoder, memory, TrainingFeedBack(logits.argmax(-1), SPECIAL))
    same(again, spoken)


@each_architecture
@pytest.mark.parametrize("per_sentence", [False, True])
def test_both_floors_throw_the_same_coins(index: int, per_sentence: bool) -> None:
    target, outputs = random_tokens(index, 4, 6), []
    for floor in FLOORS:
        _, model, _, memory = case(index, floor)
        generator = np.random.default_rng(index)
        pick = Sampler(sentence_keys(index + 1, 0, 512))
        feedback = TrainingFeedBack(target, SPECIAL, 0.5, pick=pick, per_sentence=per_sentence, generator=generator)
        outputs.append(dynamic_decode(model.decoder, memory, feedback))
    same(*outputs)


# --- rows -----------------------------------------------------------------------------------------------------------


@each_floor
@each_architecture
def test_select_commutes_with_step(index: int, floor: str) -> None:
    _, model, _, memory = case(index, floor)
    native = model.arrays.native
    tokens = random_tokens(index, 4, 5)
    _, state = model.decoder.step(native(tokens[:, :2]), model.decoder.start(memory))
    output, after = model.decoder.step(native(tokens[:, 2:]), state)
    for rows in ([2, 0], [3, 3, 1, 0, 3], [1], [3, 2, 1, 0]):
        chosen = native(np.array(rows))
        first = model.decoder.step(native(tokens[rows, 2:]), select(state, chosen))
        same(first, (select(output, chosen), select(after, chosen)))
    kept = native(np.array([True, False, True, True]))
    same(model.decoder.step(native(tokens[[0, 2, 3], 2:]), select(state, kept))[0], select(output, kept))


OWNERS = {  # whose each row is, the rows at the places of each sentence, and the place of each row
    "as many": (np.repeat(np.arange(4), 3), ()),
    "fewer": ([0, 0, 0, 1, 2, 2, 3], ([0, 1, 2, 3, 3, 3, 4, 5, 5, 6, 6, 6], [0, 1, 2, 3, 6, 7, 9])),
}


@each_floor
@each_architecture
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("many", OWNERS)
def test_a_memory_that_beams_share_is_one_of_their_own(index: int, floor: str, steps: int, many: str) -> None:
    _, model, _, memory = case(index, floor)
    owners, *beams = (model.arrays.native(np.array(each)) for each in (OWNERS[many][0], *OWNERS[many][1]))
    tokens = model.arrays.native(random_tokens(index, len(owners), steps))
    state = model.decoder.start(memory)
    shared = State(owning(state.memory, Beams(*beams) if beams else ()), select(state.cache, owners))
    said, own = model.decoder.step(tokens, shared), model.decoder.step(tokens, select(state, owners))
    same(said[0], own[0])
    same(said[1].cache, own[1].cache)


@each_floor
@each_architecture
def test_a_step_leaves_its_state_as_it_was(index: int, floor: str) -> None:
    _, model, _, memory = case(index, floor)
    state = model.decoder.start(memory)
    before = [np.asarray(leaf).copy() for leaf in leaves(state)]
    model.decoder.step(model.arrays.native(random_tokens(index, 4, 3)), state)
    for leaf, earlier in zip(leaves(state), before, strict=True):
        np.testing.assert_array_equal(np.asarray(leaf), earlier)


# --- weights that do not fit ----------------------------------------------------------------------------------------


def refused(index: int, weights: dict[str, np.ndarray]) -> None:
    """Both floors refuse the weights with a ModelError."""
    with pytest.raises(ModelError):
        build_model(architecture(index), nest(weights))
    with pytest.raises(ModelError):
        torch_model(index).load_weights(weights)


@each_architecture
def test_a_weight_missing_unknown_or_renamed(index: int) -> None:
    weights = torch_model(index).weights()
    build_model(architecture(index), nest(weights))
    for name in weights:
        group = name.rpartition(".")[0]
        others = {key: array for key, array in weights.items() if key != name}
        refused(index, others)
        refused(index, {**others, f"{name}s": weights[name]})
        refused(index, {**others, f"other.{name}": weights[name]})
        refused(index, {**weights, f"{group}.other": weights[name]})
        refused(index, {**weights, f"{group}.bias": weights[name]} if f"{group}.bias" not in weights else others)
    for name in ("encoder.embedding.weight", "decoder.embedding.weight", "decoder.head.output.weight"):
        if name not in weights:  # shared or tied: a second table would be ignored
            refused(index, {**weights, name: np.zeros((23, 5))})


@each_architecture
def test_a_weight_of_another_shape(index: int) -> None:
    """Transposed, cut, lengthened, of one more axis, and the shapes that NumPy would silently stretch."""
    weights = torch_model(index).weights()
    for name, array in weights.items():
        wrong = [array[None], array[..., None], array[:1], array[..., :1], array[:-1], array[..., :-1], array.T]
        wrong += [np.concatenate([array, array[:1]]), np.concatenate([array, array[..., :1]], axis=-1)]
        for other in wrong:
            if other.shape != array.shape:
                with pytest.raises(ModelError):
                    build_model(architecture(index), nest({**weights, name: other}))
        refused(index, {**weights, name: array[None]})


@each_architecture
def test_what_is_shared_is_saved_once(index: int) -> None:
    config, names = architecture(index), set(torch_model(index).weights())
    assert ("decoder.embedding.weight" in names) != config.share_embeddings
    assert ("decoder.head.output.weight" in names) != config.decoder.tie_embeddings


def test_pad_is_the_batch_of_the_laws() -> None:
    """The batches drawn here are those that `pad` makes."""
    batch = sources(architecture(0))
    rows = [list(ids[mask]) for ids, mask in zip(*batch, strict=True)]
    same(pad(rows, SPECIAL.pad), tuple(batch))
