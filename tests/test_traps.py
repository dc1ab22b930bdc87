"""The defects of the original framework and its guide, one row each (rows T-A and T-B of their inventory), and what
would catch each here.

`module::test` is a test of this suite; this file checks that each is there. "later: what" is a defect of something
that this project does not have yet; its test comes with the feature.

T-A1  the programs do not run, the README's code is stale
      | test_house::test_readme_examples_run
      | test_command_line::test_train_then_translate_and_export
      | test_command_line::test_the_examples_of_the_page_run
T-A2  unknown settings are ignored, defaults train instead
      | test_config::test_a_misspelt_key
      | test_traps::test_settings_at_the_wrong_level_are_refused
T-A3  learning from rewards stops at an undefined name
      | later: reinforcement learning
T-A4  the bridge serves one kind of cell only
      | test_traps::test_every_bridge_serves_every_cell
      | test_rnn::test_bridges
T-A5  the NumPy twin is out of date, its beam fails with GRU
      | test_laws::test_torch_is_numpy
      | test_laws::test_torch_answers_as_numpy
      | test_laws::test_select_commutes_with_step
      | test_vocab::test_layouts_of_the_original
      | test_house::test_twins_have_the_same_names
T-A6  shipped configurations name what is not there
      | test_traps::test_every_shipped_configuration_is_in_order
T-A7  vocabularies: a last letter lost, every word unknown
      | test_vocab::test_both_formats_with_and_without_final_line_feed
T-A8  a token that stands twice stops the decoding
      | test_vocab::test_bad_lines_are_named
      | test_vocab::test_tokens_are_checked
T-A9  filler characters: an answer depends on batch mates
      | test_laws::test_padding_and_batch_mates_change_nothing
      | later: attention over words and characters
T-A10 the beam's mask fails at log-probability 0 and at -inf
      | test_traps::test_certain_and_impossible_words
      | test_beam::test_extreme_logits
T-A11 pruning without length normalisation, no early stop
      | test_beam::test_a_long_answer_wins_by_its_mean
      | test_beam::test_stops_as_soon_as_nothing_better_can_come
      | test_beam::test_finished_sentences_leave_the_batch
T-A12 a search keeps the logits of all steps
      | test_traps::test_a_search_keeps_no_logits
T-A13 switching dropout off edits the caller's settings
      | test_run_config::test_configurations_cannot_be_changed
      | test_traps::test_a_look_leaves_dropout_as_it_was
T-A14 a continued run loses optimiser, position and shuffle
      | test_train::test_in_parts_is_at_once
      | test_checkpoint::test_a_session_comes_back_whole
T-A15 no held-out data, samples are training sentences
      | test_train::test_samples_are_held_out_and_show_what_was_looked_at
      | test_train::test_the_best_is_kept_by_what_was_selected
T-A16 teacher rate 0 changes the length of the output
      | test_feedback::test_without_a_teacher_it_reads_its_own_words
      | test_train::test_turning_words_around_is_learnt
T-A17 the baseline's loss, mixed losses, one learning rate
      | later: reinforcement learning
T-A18 weights that can never learn
      | test_traps::test_every_weight_learns
T-A19 delta-BLEU: a unigram twice, precision above 1
      | test_metrics::test_short_candidates_count_their_last_unigram_once
      | test_metrics::test_orders_that_cannot_occur_do_not_help
      | test_metrics::test_bleu_is_from_zero_to_one_and_one_for_the_reference_itself
      | later: its use as a reward
T-A20 averaging averages the step; leftovers; acting imports
      | test_averaging::test_each_weight_is_the_mean
      | test_corpus::test_unequal_line_counts_name_both_and_the_first_missing_line
      | test_traps::test_importing_does_nothing
T-A21 biases begin at random, one number type, no seed
      | test_cells::test_how_a_cell_begins
      | test_layers::test_biases_begin_at_zero
      | test_train::test_the_same_seed_is_the_same_run_and_another_is_another
T-A22 global state between models; learning tests of shapes
      | test_traps::test_models_share_nothing
      | test_train::test_turning_words_around_is_learnt
T-A23 dependencies that are dead
      | test_traps::test_warnings_are_errors
      | test_house::test_constraints_name_every_direct_dependency
T-B2  the guide's text contradicts its code
      | test_house::test_readme_examples_run
      | test_command_line::test_the_examples_of_the_page_run
T-B5  a cap on the vocabulary drops words without a word, and leaves the softmax as large as before
      | test_traps::test_a_cap_on_the_vocabulary_drops_no_word_and_shrinks_the_softmax
T-B9  many translations of one sentence, split at random: the test set is trained on
      | test_prepare::test_no_sentence_stands_in_two_parts_and_every_pair_is_accounted_for
"""

import dataclasses
import re
import subprocess
import sys
import tomllib
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from architectures import GRID, SPECIAL, architecture, sources
from listed_tests import absent, rows_of
from sequencing.loss import cross_entropy
from sequencing.model import Model
from sequencing.run_config import read_run_config
from sequencing.train.loop import look
from sequencing.train.opening import open_session
from sequencing.train.settings import check_settings
from sequencing.train.update import update
from sequencing_np.beam import BeamFeedBack
from sequencing_np.bridge import BRIDGES
from sequencing_np.cells import CELLS
from sequencing_np.config import Origin
from sequencing_np.decode import dynamic_decode
from sequencing_np.errors import ConfigError
from sequencing_np.feedback import SampleFeedBack, TrainingFeedBack
from sequencing_np.limits import Limits
from sequencing_np.model import build_model, model_config
from sequencing_np.ranking import Ranking
from sequencing_np.state import Output, State
from sequencing_np.weights import nest
from small_runs import files, small
from table_decoder import TableDecoder, random_table

ROOT = Path(__file__).resolve().parent.parent


# --- the table ------------------------------------------------------------------------------------------------------


ROWS = rows_of(__doc__ or "", "T-A", "T-B")


def test_every_row_is_there() -> None:
    guide = ["T-B2", "T-B5", "T-B9"]  # those of data; the others come with the guide's own program
    assert list(ROWS) == [*(f"T-A{number}" for number in range(1, 24)), *guide]


@pytest.mark.parametrize("row", ROWS)
def test_what_would_catch_it_is_there(row: str) -> None:
    assert not absent(ROWS[row])


# --- text -----------------------------------------------------------------------------------------------------------


def test_a_cap_on_the_vocabulary_drops_no_word_and_shrinks_the_softmax(tmp_path: Path) -> None:
    """T-B5: every word has an id, that of UNK if it is rare, and the model has as many outputs as there are ids."""
    session = open_session(small(tmp_path / "data", "vocab.target.size=7"), tmp_path / "run")
    vocab = session.translator.target_vocab
    ids = vocab.encode("abcdefgh")
    assert len(vocab) == 7 and len(ids) == 9 and ids.count(vocab.special.unk) == 5
    batch = next(session.stream.batches()).batch
    memory = session.model.encode(batch.source, batch.source_mask)
    logits = dynamic_decode(session.model.decoder, memory, TrainingFeedBack(batch.target, vocab.special)).logits
    assert logits.shape[2] == 7
    for log in session.logs.values():
        log.close()


# --- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["cell", "size", "layers", "input_dropout", "rnn_cell.size", "stack.state_size"])
def test_settings_at_the_wrong_level_are_refused(key: str) -> None:
    """T-A2: a flat setting where a nested one is meant, or the other way round, never trains the defaults instead."""
    values: dict[str, Any] = {}
    part = values.setdefault("encoder", {})
    *groups, leaf = key.split(".")
    for group in groups:
        part = part.setdefault(group, {})
    part[leaf] = 1
    with pytest.raises(ConfigError, match="unknown key"):
        model_config(values, Origin("run.toml"))


@pytest.mark.parametrize(
    "path", sorted([*ROOT.glob("recipes/**/*.toml"), *ROOT.glob("examples/**/*.toml")]), ids=lambda path: path.name
)
def test_every_shipped_configuration_is_in_order(path: Path) -> None:
    """T-A6: each is read, its rows exist, and its model can be made."""
    config = read_run_config(path)
    check_settings(config)
    sizes = {"source_size": 1000, "target_size": 1000}
    with torch.device("meta"):
        Model(dataclasses.replace(config.model, **sizes))


# --- models ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bridge", BRIDGES)
def test_every_bridge_serves_every_cell(bridge: str, cell: str) -> None:
    """T-A4: also with other cells and more layers than the encoder has."""
    stack = {"cell": cell, "size": 14, "layers": 2}
    encoder = {"type": "bidirectional_rnn", "embedding_size": 3, "stack": {"cell": "gru", "size": 7}}
    decoder = {"embedding_size": 5, "stack": stack, "bridge": bridge, "readout_size": 5, "attention": {"size": 4}}
    sizes = {"source_size": 11, "target_size": 13}
    model = Model(model_config({"encoder": encoder, "decoder": decoder, **sizes}, Origin("x"))).double()
    twin = build_model(model.config, nest(model.weights()))
    batch = sources(model.config)
    target = np.full((4, 3), SPECIAL.eos)
    said = [dynamic_decode(m.decoder, m.encode(*batch), TrainingFeedBack(target, SPECIAL)) for m in (model, twin)]
    np.testing.assert_allclose(said[0].logits.detach().numpy(), said[1].logits, rtol=1e-9, atol=1e-9)
    said[0].logits.sum().backward()
    reached = model.encoder.embedding.weight.grad is not None
    assert reached


PART = re.compile(r"encoder\.(reader|words|characters|encoders\.[#\d]+)\.")  # an encoder inside another one
LEAST = 1e-12  # what rounding leaves of a gradient that is none is less


def slopes(index: int) -> dict[str, float]:
    """The largest gradient of each weight of an architecture after one batch, by its kind.

    Encoders that are part of another one are left out where nothing needs what they say.
    """
    config = architecture(index)  # which draws from the generator, the first time
    torch.manual_seed(index)
    model = Model(config).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, 0, 0.3)
    model.train()  # a hard look has a gradient in training alone
    batch = sources(config, (9, 8, 7, 9, 6, 9), index)
    target = np.random.default_rng(index).integers(4, config.target_size, (6, 7))
    output = dynamic_decode(model.decoder, model.encode(*batch), TrainingFeedBack(target, SPECIAL))
    cross_entropy(output.logits, torch.tensor(target), torch.ones(6, 7, dtype=torch.bool)).backward()
    largest = {
        name: 0.0 if parameter.grad is None else float(parameter.grad.abs().max())
        for name, parameter in model.named_parameters()
    }
    needed = {part_of(name) for name, slope in largest.items() if slope > LEAST}
    found: dict[str, float] = {}
    for name, slope in largest.items():
        if part_of(name) in needed:
            kind = kind_of(name, config)
            found[kind] = max(found.get(kind, 0.0), slope)
    return found


def part_of(name: str) -> str:
    """Which part of an encoder a weight belongs to, if it does to one."""
    part = PART.match(name)
    return part[0] if part else ""


def kind_of(name: str, config: Any) -> str:
    """A weight's name without the numbers of layers, and of what scores with its type."""
    kind = re.sub(r"\.\d+\.", ".#.", name)
    if ".attention." not in kind or ".gate." in kind:
        return kind
    attention = config.decoder.attention
    several = attention.type in {"parallel", "hierarchical", "gated", "coarsest"}
    return f"{kind} of {attention.each if several else attention.type}"


def test_every_weight_learns() -> None:
    """T-A18: softmax has no constant to swallow. Every kind of weight gets a gradient in some architecture.

    (In each single one there may be parts that it does not need, such as keys where an attention reads the summary.)
    One weight of the published formulas never does, the bias of keys that are multiplied with the query and then go
    through a softmax: it adds the same to every score. Where the parts of a composed encoder say keys, theirs are such.
    What one architecture alone has in a part, and does not need there, must learn in an encoder that is no part.
    """
    largest: dict[str, list[float]] = {}
    for index in range(len(GRID)):
        for kind, slope in slopes(index).items():
            largest.setdefault(kind, []).append(slope)
    whole = {kind: kind.replace(part_of(kind), "encoder.") if part_of(kind) else kind for kind in largest}
    alone = {kind for kind, found in largest.items() if len(found) == 1 and max(largest.get(whole[kind], [0])) > LEAST}
    keys = r"attention\..*key\.bias of multi_head$|^encoder\.(reader|words|characters|encoders\.#)\.key\.bias$"
    dead = {kind for kind, found in largest.items() if max(found) < LEAST and not re.search(keys, kind)}
    assert dead - alone == set()
    parts = {"reader", "words", "characters", "encoders.#"}
    assert {part_of(kind) for kind in largest} == {"", *(f"encoder.{part}." for part in parts)}


def test_models_share_nothing() -> None:
    """T-A22: a second model has the names of the first, and learning one leaves the other alone."""
    config = architecture(0)
    one, other = Model(config), Model(config)
    assert [name for name, _ in one.named_parameters()] == [name for name, _ in other.named_parameters()]
    before = {name: array.copy() for name, array in other.weights().items()}
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(1.0)
    assert all(np.array_equal(array, before[name]) for name, array in other.weights().items())


def test_a_look_leaves_dropout_as_it_was(tmp_path: Path) -> None:
    """T-A13: after a validation, training drops out again, with the settings that it had."""
    dropping = ["model.encoder.stack.output_dropout=0.5", "train.clip=0", "train.average=0.5"]
    config = small(tmp_path / "data", *dropping)
    session = open_session(config, tmp_path / "run")
    batch = next(session.stream.batches()).batch
    look(session)
    assert session.config == config and session.model.config.encoder.stack.output_dropout == 0.5
    update(session, [batch])
    assert session.model.training
    state = torch.get_rng_state()
    memory = session.model.encode(batch.source, batch.source_mask)
    again = session.model.encode(batch.source, batch.source_mask)
    assert not torch.equal(memory.values, again.values) and not torch.equal(torch.get_rng_state(), state)
    for log in session.logs.values():
        log.close()


# --- searches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3])
def test_certain_and_impossible_words(size: int) -> None:
    """T-A10: words of log-probability exactly 0 (a finished answer beside them) and of minus infinity."""
    sure, end = np.full(7, -np.inf), np.full(7, -np.inf)
    sure[5], end[SPECIAL.eos] = 0.0, 0.0
    fork = np.full(7, -np.inf)
    fork[[SPECIAL.eos, 4]] = np.log([0.4, 0.6])
    said = {(): fork, (4,): sure, (4, 5): sure, (4, 5, 5): end}
    decoder = TableDecoder(lambda sentence, words: said.get(words, end))
    feedback = BeamFeedBack(SPECIAL, size, Limits(0, 9), ranking=Ranking("none"), n_best=size)
    (answers,) = dynamic_decode(decoder, decoder.memory([2]), feedback)
    assert answers[0].tokens == [4, 5, 5] and answers[0].log_prob == pytest.approx(np.log(0.6))
    possible = [answer for answer in answers if np.isfinite(answer.log_prob)]
    assert [answer.tokens for answer in possible] == [[4, 5, 5], []][: len(possible)]
    assert all(answer.finished and SPECIAL.eos not in answer.tokens for answer in possible)


class Watched(TableDecoder):
    """Counts the logits that are still alive when the next ones are made."""

    def __init__(self) -> None:
        super().__init__(random_table(3, 11, 0.1))
        self.made: list[weakref.ref[np.ndarray]] = []
        self.alive: list[int] = []

    def step(self, tokens: Any, state: State) -> tuple[Output, State]:
        self.alive.append(sum(one() is not None for one in self.made))
        output, state = super().step(tokens, state)
        logits, hidden = np.array(output.logits), np.array(output.hidden)
        self.made += [weakref.ref(logits), weakref.ref(hidden)]
        return Output(logits, hidden, output.alignment), state


@pytest.mark.parametrize("beam", [False, True])
def test_a_search_keeps_no_logits(beam: bool) -> None:
    """T-A12: of all the steps of a search at most the last one's logits are in memory."""
    decoder = Watched()
    limits = Limits(0, 30, 30, 25)
    feedback: Any = BeamFeedBack(SPECIAL, 3, limits, n_best=3) if beam else SampleFeedBack(SPECIAL, limits)
    dynamic_decode(decoder, decoder.memory([3, 2]), feedback)
    assert len(decoder.alive) >= 25 and max(decoder.alive) <= 2


# --- the project ----------------------------------------------------------------------------------------------------


def test_importing_does_nothing(tmp_path: Path) -> None:
    """T-A20: every module of both floors, imported in an empty folder, says nothing and writes nothing."""
    modules = sorted(
        ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)
        for path in (ROOT / "src").rglob("*.py")
        if path.stem not in ("__init__", "__main__")
    )
    code = f"import importlib, sys; sys.argv = ['none']\nfor name in {modules!r}: importlib.import_module(name)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-B", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "src"), "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout == b"" and files(tmp_path) == {}


def test_warnings_are_errors() -> None:
    """T-A23: what a dependency is about to drop is seen when its warning comes, not when it is gone."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_bytes().decode())["tool"]["pytest"]["ini_options"]
    assert settings["filterwarnings"][0] == "error"
