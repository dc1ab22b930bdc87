"""The order of training batches: complete, repeatable, and continued exactly."""

import multiprocessing
import os
import signal
from collections import Counter
from itertools import islice
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sequencing.data.corpus import Corpus, Counted, Entry
from sequencing.data.encoding import encode
from sequencing.data.prefetch import prefetched
from sequencing.data.sampling import BatchStream, Placed, Position, SamplingOptions, eval_batches, even_parts
from sequencing.data.store import Encoded, open_store, write_store
from sequencing_np.batch import PadIds, in_order, padding_share
from sequencing_np.errors import ConfigError, DataError, SequencingError
from sequencing_np.special import Special

EOS = 3


class Letters:
    """A vocabulary of single letters."""

    factor_sizes = ()
    vector_size = 0

    def __init__(self, pad: int = 0) -> None:
        self.special = Special(pad, 1, 2, EOS)

    def __len__(self) -> int:
        return 1000

    def encode(self, text: str) -> list[int]:
        return [ord(letter) for letter in text] + [EOS]

    def sample(self, text: str, dropout: float, generator: Random) -> list[int]:
        return self.encode("".join(letter.upper() if generator.random() < dropout else letter for letter in text))

    def decode(self, ids: list[int]) -> str:
        return "".join(map(chr, ids[:-1]))

    def to_json(self) -> dict[str, int]:
        return {"pad": self.special.pad}


LETTERS = Letters()


def entries(pairs):
    return [Entry(source, target, "listed.tsv", line) for line, (source, target) in enumerate(pairs, 1)]


def pairs_in_memory(*groups, max_length=99, weights=None):
    return encode([entries(group) for group in groups], (LETTERS, LETTERS), max_length, weights or [1.0] * len(groups))


def stream_of(pairs, **options) -> BatchStream:
    return BatchStream(pairs_in_memory(pairs).pairs, LETTERS, LETTERS, SamplingOptions(**options))


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
BUDGET = st.integers(1, 83)


@given(PAIRS, BUDGET, st.integers(0, 5), st.integers(3, 10))
def test_each_pair_once_an_epoch_and_the_budget_is_kept(pairs, budget, seed, max_length):
    wanted = Counter(pair for pair in pairs if max(map(len, pair)) + 1 <= max_length)
    options = {"batch_tokens": budget, "seed": seed, "max_length": max_length, "max_epochs": 3}
    if not wanted:
        with pytest.raises(DataError, match=f"at most {max_length} tokens"):
            stream_of(pairs, **options)
        return
    epochs = [Counter(), Counter(), Counter()]
    for batch, position in stream_of(pairs, **options).batches():
        epochs[position.epoch].update(pairs_of(batch))
        assert batch.source.size + batch.target.size <= budget or len(batch.source) == 1
        assert not batch.source[~batch.source_mask].any() and not batch.target[~batch.target_mask].any()
        assert 0 <= padding_share(batch) < 1
    assert epochs == [wanted] * 3


DROPOUTS = st.sampled_from([(0.0, 0.0), (0.3, 0.0), (0.0, 0.3), (0.5, 0.3)])


@settings(max_examples=25)
@given(PAIRS, BUDGET, DROPOUTS)
def test_every_position_continues_as_the_uninterrupted_stream(pairs, budget, dropouts):
    options = {"batch_tokens": budget, "seed": 3, "max_epochs": 3, "dropouts": dropouts}
    uninterrupted = list(stream_of(pairs, **options).batches())
    same = stream_of(pairs, **options)
    for done, placed in enumerate(uninterrupted, 1):
        assert_same(list(stream_of(pairs, **options).batches(placed.position)), uninterrupted[done:])
        assert_same(list(islice(same.batches(placed.position), 3)), uninterrupted[done : done + 3])


def test_a_position_is_reached_without_what_lies_before_it():
    """Batch 10 of epoch 1,000,000 is made at once."""
    stream = stream_of(SEVENTY_SEVEN, batch_tokens=40)
    assert next(stream.batches(Position(10**6, 10))).position == Position(10**6, 11)


@settings(max_examples=30)
@given(PAIRS, BUDGET, st.integers(1, 5))
def test_ranks_share_each_epoch(pairs, budget, ranks):
    options = {"batch_tokens": budget, "max_epochs": 2, "shares": ranks}
    stream = stream_of(pairs, **options)
    shares = [list(stream.batches(own=range(rank, rank + 1))) for rank in range(ranks)]
    assert len({tuple(placed.position for placed in share) for share in shares}) == 1, "all steps are steps of all"
    for epoch in range(2):
        seen = Counter(
            pair
            for share in shares
            for batch, position in share
            if position.epoch == epoch and len(batch.source)
            for pair in pairs_of(batch)
        )
        assert seen == Counter(pairs)
    for rank, share in enumerate(shares):
        assert_same(list(stream.batches(share[0].position, range(rank, rank + 1))), share[1:])


@settings(max_examples=5)
@given(st.integers(0, 40), st.integers(0, 3))
def test_what_is_made_ahead_is_the_same(given_already, extra):
    stream = stream_of(SEVENTY_SEVEN, batch_tokens=40, dropouts=(0.3, 0.0), max_epochs=3)
    start = Position(0, given_already % len(stream.plan(0)))
    assert_same(list(prefetched(stream, start)), list(stream.batches(start)))
    assert_same(list(islice(prefetched(stream, start), extra)), list(islice(stream.batches(start), extra)))


def test_any_number_of_workers_gives_the_same(tmp_path):
    memory = pairs_in_memory(SEVENTY_SEVEN)
    store = tmp_path / "store"
    write_store(store, [Encoded(0, memory.pairs.source, memory.pairs.target)], memory.pairs.corpora, (LETTERS, LETTERS))
    options = SamplingOptions(batch_tokens=40, dropouts=(0.3, 0.0), max_epochs=2)
    streams = [BatchStream(pairs, LETTERS, LETTERS, options) for pairs in (memory.pairs, open_store(store))]
    wanted = list(streams[0].batches())
    assert_same(list(streams[1].batches()), wanted)
    for stream in streams:
        assert_same(list(prefetched(stream, workers=2)), wanted)


def test_a_worker_that_is_killed_is_told_of():
    """It neither hangs nor ends the epoch in silence."""
    stream = stream_of(SEVENTY_SEVEN, batch_tokens=40)
    made = prefetched(stream, workers=2)
    next(made)
    (victim, *_) = multiprocessing.active_children()
    os.kill(victim.pid, signal.SIGKILL)
    with pytest.raises(SequencingError, match=r"has ended, killed .* data\.workers = 2; .*data\.workers = 0"):
        for _ in range(10_000):
            next(made)


def test_positions_count_batches_within_their_epoch():
    stream = stream_of([("a", "b")] * 5, batch_tokens=8, max_epochs=2)
    assert [placed.position for placed in stream.batches()] == [
        Position(epoch, batch) for epoch in (0, 1) for batch in (1, 2, 3)
    ]


def test_without_a_limit_epochs_go_on():
    assert next(islice(stream_of([("a", "b")]).batches(), 99, None)).position == Position(99, 1)


# --- dropout: other ids in each epoch -------------------------------------------------------------------------------

SEVENTY_SEVEN = [(chr(97 + a) * 5, chr(97 + b) * 7) for a in range(11) for b in range(7)]


def read_with_dropout(pairs, dropouts=(0.5, 0.5), seed=1):
    """What is read of each pair, in two epochs."""
    stream = stream_of(pairs, seed=seed, batch_tokens=80, max_epochs=2, dropouts=dropouts)
    epochs = [{}, {}]
    for batch, position in stream.batches():
        epochs[position.epoch] |= {(a.lower(), b.lower()): (a, b) for a, b in pairs_of(batch)}
    return epochs


def test_each_epoch_reads_a_sentence_anew_and_the_same_seed_as_before():
    first, second = read_with_dropout(SEVENTY_SEVEN)
    assert set(first) == set(second) == set(SEVENTY_SEVEN)
    assert [first, second] == read_with_dropout(SEVENTY_SEVEN)
    for other in (second, read_with_dropout(SEVENTY_SEVEN, seed=2)[0]):
        assert sum(first[pair] != other[pair] for pair in SEVENTY_SEVEN) > 70
    assert len({tuple(map(str.isupper, "".join(first[pair]))) for pair in SEVENTY_SEVEN}) > 70, "nor do two agree"


def test_each_side_has_its_own_dropout():
    for side, dropouts in enumerate([(0.5, 0.0), (0.0, 0.5)]):
        first, _ = read_with_dropout(SEVENTY_SEVEN, dropouts)
        assert all(read[1 - side] == pair[1 - side] for pair, read in first.items())
        assert sum(read[side] != pair[side] for pair, read in first.items()) > 70


def test_what_is_read_is_the_same_on_every_machine():
    """Written down once, as the order is."""
    first, second = read_with_dropout([("aaaaaaaa", "bbbbbbbb")])
    assert [*first.values(), *second.values()] == READ


READ = [("AaAaaaaa", "bBbBbBBb"), ("aAaAAaAa", "bBbbBBbb")]


@given(st.lists(st.tuples(st.integers(1, 23), st.integers(1, 19)), min_size=1, max_size=90), st.integers(1, 9))
def test_even_parts_hold_all(sizes, count):
    source, target = np.array(sizes).T
    parts = even_parts(source, target, count)
    assert len(parts) == count and sorted(np.concatenate(parts).tolist()) == list(range(len(sizes)))


def test_pairs_of_like_lengths_come_together_though_merges_are_dropped():
    random = np.random.default_rng(1)
    source, target = random.integers(5, 40, (2, 8000))
    parts = even_parts(source, target, 50)
    cells = [len(part) * (source[part].max() + target[part].max()) for part in parts]
    assert max(cells) < 1.5 * min(cells)
    assert (source + target).sum() > 0.85 * sum(cells)


# --- what cannot be read ---


def test_long_pairs_are_counted_with_their_first_places():
    encoded = pairs_in_memory([("a" * length, "b") for length in range(1, 10)], max_length=4)
    assert len(encoded.pairs) == 3
    assert encoded.dropped == Counted(6, ["listed.tsv:4", "listed.tsv:5", "listed.tsv:6"])


def test_weights_are_those_of_the_parts():
    pairs = pairs_in_memory([("a", "b")] * 3, [("c", "d")] * 4, weights=[1.0, 2.0]).pairs
    stream = BatchStream(pairs, LETTERS, LETTERS, SamplingOptions(max_epochs=1))
    seen = Counter(pair for placed in stream.batches() for pair in pairs_of(placed.batch))
    assert seen == {("a", "b"): 3, ("c", "d"): 8}


def test_a_position_beyond_the_epoch_is_refused():
    with pytest.raises(DataError, match="epoch 0 has 1 batches"):
        list(stream_of([("a", "b")]).batches(Position(0, 2)))


def test_pad_ids_are_those_of_each_vocabulary():
    pairs = pairs_in_memory([("a", "bcd"), ("abc", "d")]).pairs
    (placed,) = BatchStream(pairs, Letters(pad=17), Letters(pad=19), SamplingOptions(max_epochs=1)).batches()
    assert (placed.batch.source[~placed.batch.source_mask] == 17).all()
    assert (placed.batch.target[~placed.batch.target_mask] == 19).all()


@pytest.mark.parametrize(
    "options",
    [{"batch_tokens": 0}, {"max_length": 0}, {"shares": 0}, {"seed": -1}, {"max_epochs": -1}],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        SamplingOptions(**options)


def test_batches_of_a_real_file(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_bytes(b"one\teins\n\ntwo\tzwei\n")
    encoded = encode([Corpus([path]).entries()], (LETTERS, LETTERS), 99, [1.0])
    (placed,) = BatchStream(encoded.pairs, LETTERS, LETTERS, SamplingOptions(max_epochs=1)).batches()
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
