"""The order of training batches: complete, repeatable, and continued exactly."""

from collections import Counter
from itertools import islice
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sequencing.data.corpus import Corpus, Counted, Entry
from sequencing.data.sampling import BatchStream, Placed, Position, SamplingOptions, eval_batches
from sequencing_np.batch import PadIds, in_order, padding_share
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.vocab import Special

EOS = 2


class Letters:
    """A vocabulary of single letters."""

    def __init__(self, pad: int = 0) -> None:
        self.special = Special(pad, 1, EOS, 3)

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text] + [EOS]

    def sample(self, text: str, dropout: float, generator: Random) -> list[int]:
        return self.encode("".join(letter.upper() if generator.random() < dropout else letter for letter in text))


class Listed:
    """A corpus in memory that counts how often it is read."""

    name = "listed"

    def __init__(self, pairs):
        self.listed, self.read = pairs, 0

    def entries(self):
        self.read += 1
        for line, (source, target) in enumerate(self.listed, 1):
            yield Entry(source, target, "listed.tsv", line)


def stream_of(pairs, **options) -> BatchStream:
    return BatchStream(Listed(pairs), Letters(), Letters(), SamplingOptions(**options))


def words(ids, mask) -> str:
    assert ids[mask][-1] == EOS
    return "".join(map(chr, ids[mask][:-1]))


def pairs_of(batch):
    return [
        (words(*source), words(*target))
        for source, target in zip(
            zip(batch.source, batch.source_mask, strict=True),
            zip(batch.target, batch.target_mask, strict=True),
            strict=True,
        )
    ]


def assert_same(first: list[Placed], second: list[Placed]) -> None:
    assert [placed.position for placed in first] == [placed.position for placed in second]
    for one, other in zip(first, second, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one.batch, other.batch, strict=True))


TEXT = st.text(alphabet="abcdefg", min_size=1, max_size=9)
PAIRS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=29)
WINDOW = st.sampled_from([1, 5, 7, 29, 200])
BUDGET = st.integers(1, 43)


@given(PAIRS, WINDOW, BUDGET, st.integers(0, 5), st.integers(3, 10))
def test_each_pair_once_an_epoch_and_the_budget_is_kept(pairs, window, budget, seed, max_length):
    stream = stream_of(pairs, window=window, batch_tokens=budget, seed=seed, max_length=max_length, max_epochs=3)
    wanted = Counter(pair for pair in pairs if max(map(len, pair)) + 1 <= max_length)
    epochs = [Counter(), Counter(), Counter()]
    if not wanted:
        with pytest.raises(DataError, match=f"at most {max_length} tokens"):
            list(stream.batches())
        return
    for batch, position in stream.batches():
        epochs[position.epoch].update(pairs_of(batch))
        assert max(batch.source.size, batch.target.size) <= budget or len(batch.source) == 1
        assert not batch.source[~batch.source_mask].any() and not batch.target[~batch.target_mask].any()
        assert 0 <= padding_share(batch) < 1
    assert epochs == [wanted] * 3
    assert stream.dropped.count == len(pairs) - sum(wanted.values())


@settings(max_examples=30)
@given(PAIRS, WINDOW, BUDGET)
def test_every_position_continues_as_the_uninterrupted_stream(pairs, window, budget):
    options = {"window": window, "batch_tokens": budget, "seed": 3, "max_epochs": 3}
    uninterrupted = list(stream_of(pairs, **options).batches())
    same = stream_of(pairs, **options)
    for done, placed in enumerate(uninterrupted, 1):
        assert_same(list(stream_of(pairs, **options).batches(placed.position)), uninterrupted[done:])
        assert_same(list(islice(same.batches(placed.position), 3)), uninterrupted[done : done + 3])


def test_positions_count_batches_within_their_epoch():
    stream = stream_of([("a", "b")] * 5, batch_tokens=4, max_epochs=2)
    assert [placed.position for placed in stream.batches()] == [
        Position(epoch, batch) for epoch in (0, 1) for batch in (1, 2, 3)
    ]
    assert stream.epoch_batches == 3


def test_without_a_limit_epochs_go_on():
    assert next(islice(stream_of([("a", "b")]).batches(), 99, None)).position == Position(99, 1)


def test_order_differs_by_epoch_and_seed_and_is_repeated_by_the_same():
    pairs = [(chr(97 + a) * (1 + a % 3), chr(97 + b)) for a in range(23) for b in range(7)]

    def order(seed):
        stream = stream_of(pairs, seed=seed, batch_tokens=40, max_epochs=2)
        epochs = [[], []]
        for batch, position in stream.batches():
            epochs[position.epoch].append(pairs_of(batch))
        return epochs

    first = order(1)
    assert first == order(1)
    assert first[0] != first[1] and first[0] != order(2)[0]
    assert {frozenset(batch) for batch in first[0]} != {frozenset(batch) for batch in first[1]}  # other mates too


def test_order_is_the_same_on_every_machine():
    """Written down once: a change of this order would make stopped runs continue wrongly."""
    pairs = [(chr(97 + number), "x" * (1 + number % 3)) for number in range(11)]
    batches = stream_of(pairs, seed=5, batch_tokens=8, max_epochs=1).batches()
    assert ["".join(source for source, _ in pairs_of(placed.batch)) for placed in batches] == ORDER


ORDER = ["dgaj", "he", "c", "if", "kb"]


def test_a_corpus_of_one_window_is_read_once_and_a_larger_one_each_epoch():
    small, large = stream_of([("a", "b")] * 7, window=7), stream_of([("a", "b")] * 7, window=5)
    for stream in (small, large):
        assert next(placed for placed in stream.batches() if placed.position.epoch == 3)
    assert (small.corpus.read, large.corpus.read) == (1, 4)


# --- dropout: other ids in each epoch -------------------------------------------------------------------------------

DROPOUTS = st.sampled_from([(0.3, 0.0), (0.0, 0.3), (0.5, 0.3)])
SEVENTY_SEVEN = [(chr(97 + a) * 5, chr(97 + b) * 7) for a in range(11) for b in range(7)]


@settings(max_examples=30)
@given(PAIRS, WINDOW, BUDGET, DROPOUTS)
def test_with_dropout_too_every_position_continues_as_the_uninterrupted_stream(pairs, window, budget, dropouts):
    options = {"window": window, "batch_tokens": budget, "seed": 3, "max_epochs": 3, "dropouts": dropouts}
    uninterrupted = list(stream_of(pairs, **options).batches())
    same = stream_of(pairs, **options)
    for done, placed in enumerate(uninterrupted, 1):
        assert_same(list(stream_of(pairs, **options).batches(placed.position)), uninterrupted[done:])
        assert_same(list(islice(same.batches(placed.position), 3)), uninterrupted[done : done + 3])


def read_with_dropout(pairs, dropouts=(0.5, 0.5), seed=1, window=200):
    """What is read of each pair, in two epochs."""
    stream = stream_of(pairs, seed=seed, window=window, batch_tokens=40, max_epochs=2, dropouts=dropouts)
    epochs = [{}, {}]
    for batch, position in stream.batches():
        epochs[position.epoch] |= {(a.lower(), b.lower()): (a, b) for a, b in pairs_of(batch)}
    return epochs


def test_each_epoch_reads_a_sentence_anew_and_the_same_seed_as_before():
    first, second = read_with_dropout(SEVENTY_SEVEN)
    assert set(first) == set(second) == set(SEVENTY_SEVEN)
    assert [first, second] == read_with_dropout(SEVENTY_SEVEN)
    assert [first, second] == read_with_dropout(SEVENTY_SEVEN, window=5), "a function of the sentence, not its window"
    for other in (second, read_with_dropout(SEVENTY_SEVEN, seed=2)[0]):
        assert sum(first[pair] != other[pair] for pair in SEVENTY_SEVEN) > 70
    assert len({tuple(map(str.isupper, "".join(first[pair]))) for pair in SEVENTY_SEVEN}) > 70, "nor do two agree"


def test_each_side_has_its_own_dropout():
    for side, dropouts in enumerate([(0.5, 0.0), (0.0, 0.5)]):
        first, _ = read_with_dropout(SEVENTY_SEVEN, dropouts)
        assert all(read[1 - side] == pair[1 - side] for pair, read in first.items())
        assert sum(read[side] != pair[side] for pair, read in first.items()) > 70


def test_with_dropout_the_corpus_is_read_in_each_epoch():
    stream = stream_of([("a", "b")] * 7, dropouts=(0.1, 0.0))
    assert next(placed for placed in stream.batches() if placed.position.epoch == 3)
    assert stream.corpus.read == 4


def test_what_is_read_is_the_same_on_every_machine():
    """Written down once, as the order is."""
    first, second = read_with_dropout([("aaaaaaaa", "bbbbbbbb")])
    assert [*first.values(), *second.values()] == READ


READ = [("AaAaaaaa", "bBbBbBBb"), ("aAaAAaAa", "bBbbBBbb")]


# --- what cannot be read ---


def test_long_pairs_are_counted_with_their_first_places():
    pairs = [("a" * length, "b") for length in range(1, 10)]
    stream = stream_of(pairs, max_length=4, window=2, max_epochs=2)
    assert len(list(stream.batches())) == 4
    assert stream.dropped == Counted(6, ["listed.tsv:4", "listed.tsv:5", "listed.tsv:6"])


def test_a_position_beyond_the_epoch_is_refused():
    with pytest.raises(DataError, match="an epoch has 1 batches"):
        list(stream_of([("a", "b")]).batches(Position(0, 2)))


def test_pad_ids_are_those_of_each_vocabulary():
    corpus = Listed([("a", "bcd"), ("abc", "d")])
    (placed,) = BatchStream(corpus, Letters(pad=17), Letters(pad=19), SamplingOptions(max_epochs=1)).batches()
    assert (placed.batch.source[~placed.batch.source_mask] == 17).all()
    assert (placed.batch.target[~placed.batch.target_mask] == 19).all()


@pytest.mark.parametrize(
    "options",
    [{"batch_tokens": 0}, {"max_length": 0}, {"window": 0}, {"seed": -1}, {"max_epochs": -1}],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        SamplingOptions(**options)


def test_batches_of_a_real_file(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_bytes(b"one\teins\n\ntwo\tzwei\n")
    stream = BatchStream(Corpus([path]), Letters(), Letters(), SamplingOptions(max_epochs=1))
    (placed,) = stream.batches()
    assert sorted(pairs_of(placed.batch)) == [("one", "eins"), ("two", "zwei")]


@given(PAIRS, BUDGET)
def test_eval_batches_hold_every_pair_and_restore_the_order(pairs, budget):
    letters = Letters()
    ids = [(letters.encode(source), letters.encode(target)) for source, target in pairs]
    groups = []
    for rows, batch in eval_batches(ids, budget, PadIds(0, 0)):
        assert max(batch.source.size, batch.target.size) <= budget or len(rows) == 1
        groups.append((rows, pairs_of(batch)))
    assert in_order(groups, len(pairs)) == pairs
