"""migration: models of the first framework say here what they said there.

`Original` is an independent NumPy program of that framework's published equations, one step and one sentence at a time
and in float64: it knows nothing of our parts. `arrays_of` names its weights as the framework's variable scopes do.
"""

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pages import DOCS, run_page
from sequencing.__main__ import main
from sequencing.loading import load_translator
from sequencing.migration import Tokens, migrate
from sequencing_np.decode import dynamic_decode
from sequencing_np.errors import DataError, ModelError
from sequencing_np.feedback import TrainingFeedBack
from sequencing_np.model import build_model
from sequencing_np.model_folder import read_model_folder, write_model_folder
from sequencing_np.search import SearchConfig
from sequencing_np.translate import Translator
from sequencing_np.weights import nest

SOURCE = ["one", "two", "three", "four", "and", "five"]
TARGET = list("abcdefg h")  # a space is a symbol like any other
E, E2, H, A, H2 = 5, 3, 7, 11, 13  # the two tables, encoder, keys, decoder


class Shape(NamedTuple):
    """An architecture that the framework could make."""

    era: str
    cell: str
    layers: int = 1
    decoder_layers: int = 1
    keys: bool = True  # the keys are mapped; else they are the encoder's outputs
    middle: bool = False  # the output head of the character programs
    bridge: bool = False
    named: bool = True  # the encoder has the name that the programs gave it


SHAPES = [
    Shape("readme", "basic_lstm_cell"),
    Shape("readme", "gru_cell", layers=2, decoder_layers=2),
    Shape("readme", "basic_rnn_cell", layers=1, decoder_layers=3),
    Shape("readme", "lstm_cell", layers=3, named=False),
    Shape("head", "basic_lstm_cell", layers=2, decoder_layers=2),
    Shape("head", "gru_cell", keys=False),
    Shape("head", "basic_lstm_cell", decoder_layers=2, middle=True, bridge=True),
    Shape("head", "gru_cell", middle=True, bridge=True, decoder_layers=2),
    Shape("head", "basic_rnn_cell", named=False),
]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def arrays_of(shape: Shape, seed: int = 1, scale: float = 0.8) -> dict[str, np.ndarray]:
    """Random weights by the names of the framework's variables, float32 as it kept them."""
    chance = np.random.default_rng(seed)
    made: dict[str, np.ndarray] = {}

    def make(name: str, *sizes: int) -> None:
        made[name] = chance.normal(0, scale, sizes).astype(np.float32)

    def linear(scope: str, inputs: int, outputs: int) -> None:
        make(f"{scope}/weights", inputs, outputs)
        make(f"{scope}/biases", outputs)

    def cell(scope: str, inputs: int, size: int) -> None:
        scope = f"{scope}/{shape.cell}"
        if shape.cell == "gru_cell":
            for part, width in (("gates", 2 * size), ("candidate", size)):
                make(f"{scope}/{part}/kernel", inputs + size, width)
                make(f"{scope}/{part}/bias", width)
        else:
            width = size * (1 if shape.cell == "basic_rnn_cell" else 4)
            make(f"{scope}/kernel", inputs + size, width)
            make(f"{scope}/bias", width)

    encoder = "stack_rnn" if shape.named else "stack_bidirectional_rnn"
    make("source/W", len(SOURCE) + 3, E)
    for layer in range(shape.layers):
        for way in ("fw", "bw"):
            cell(f"{encoder}/cell_{layer}/bidirectional_rnn/{way}", 2 * H if layer else E, H)
    if shape.keys:
        linear("stack_rnn" if shape.named else "fully_connected", 2 * H, A)
    make("feedback/look_up_op/W", len(TARGET) + 3, E2)
    keys = A if shape.keys else 2 * H
    linear("attention", H2, keys)
    make("attention/v_att", keys)
    for layer in range(shape.decoder_layers):
        cell(f"decoder/multi_rnn_cell/cell_{layer}", H2 if layer else E2 + 2 * H, H2)
    if shape.bridge:
        linear("init_transfer", H, H2 * (2 if "lstm" in shape.cell else 1))
    if shape.era == "readme":
        linear("attention_decoder/attention_mix", H2 + 2 * H, H2)
        linear("attention_decoder/logits_trans", H2, len(TARGET) + 3)
        return made
    make("attention/b_att", keys)
    linear("logits_func/attention_mix", E2 + H2 + 2 * H, H2)
    if shape.middle:
        linear("logits_func/attention_mix_middle", H2, H2 // 2)
    linear("logits_func/logits_trans", H2 // 2 if shape.middle else H2, len(TARGET) + 3)
    return made


# --- the original's equations ---------------------------------------------------------------------------------------


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


class Original:
    """One sentence, token by token. States are (h,) or (c, h), as there."""

    def __init__(self, shape: Shape, arrays: dict[str, np.ndarray]) -> None:
        self.shape, self.arrays = shape, {name: array.astype(np.float64) for name, array in arrays.items()}

    def apply(self, scope: str, x: np.ndarray) -> np.ndarray:
        return x @ self.arrays[f"{scope}/weights"] + self.arrays[f"{scope}/biases"]

    def cell(self, scope: str, x: np.ndarray, state: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
        own = {name.removeprefix(f"{scope}/{self.shape.cell}/"): array for name, array in self.arrays.items()}
        both = np.concatenate([x, state[-1]])
        if self.shape.cell == "basic_rnn_cell":
            return (np.tanh(both @ own["kernel"] + own["bias"]),)
        if self.shape.cell == "gru_cell":
            reset, update = np.split(sigmoid(both @ own["gates/kernel"] + own["gates/bias"]), 2)
            read = np.concatenate([x, reset * state[0]])
            new = np.tanh(read @ own["candidate/kernel"] + own["candidate/bias"])
            return (update * state[0] + (1 - update) * new,)
        i, j, f, o = np.split(both @ own["kernel"] + own["bias"], 4)
        c = state[0] * sigmoid(f + 1.0) + sigmoid(i) * np.tanh(j)
        return c, np.tanh(c) * sigmoid(o)

    def zeros(self, size: int) -> tuple[np.ndarray, ...]:
        return (np.zeros(size),) * (2 if "lstm" in self.shape.cell else 1)

    def encode(self, ids: list[int]) -> None:
        """Keeps what a decoder looks at, and the end of the backward direction."""
        outputs = list(self.arrays["source/W"][ids])
        name = "stack_rnn" if self.shape.named else "stack_bidirectional_rnn"
        for layer in range(self.shape.layers):
            both = []
            for way in ("fw", "bw"):
                state, said = self.zeros(H), []
                for x in outputs if way == "fw" else outputs[::-1]:
                    state = self.cell(f"{name}/cell_{layer}/bidirectional_rnn/{way}", x, state)
                    said.append(state[-1])
                both.append(said if way == "fw" else said[::-1])
            self.end = state[-1]
            outputs = [np.concatenate(pair) for pair in zip(*both, strict=True)]
        self.values = np.array(outputs)
        scope = "stack_rnn" if self.shape.named else "fully_connected"
        self.keys = self.apply(scope, self.values) if self.shape.keys else self.values

    def begin(self) -> list[tuple[np.ndarray, ...]]:
        if not self.shape.bridge:
            return [self.zeros(H2)] * self.shape.decoder_layers
        first = self.apply("init_transfer", self.end)
        state = (first[H2:], first[:H2]) if "lstm" in self.shape.cell else (first,)  # h comes first there, c second
        return [state] * self.shape.decoder_layers

    def step(self, token: int, states: list[Any], context: np.ndarray) -> tuple[np.ndarray, list[Any], np.ndarray]:
        word = self.arrays["feedback/look_up_op/W"][token]
        x, after = np.concatenate([word, context]), []
        for layer, state in enumerate(states):
            after.append(self.cell(f"decoder/multi_rnn_cell/cell_{layer}", x, state))
            x = after[-1][-1]
        added = self.arrays.get("attention/b_att", 0.0)
        looked = np.tanh(self.keys + self.apply("attention", x))
        energy = (added + self.arrays["attention/v_att"] * looked).sum(1)
        weights = np.exp(energy - energy.max())
        context = weights / weights.sum() @ self.values
        if self.shape.era == "readme":
            mixed = np.tanh(self.apply("attention_decoder/attention_mix", np.concatenate([x, context])))
            return self.apply("attention_decoder/logits_trans", mixed), after, context
        mixed = self.apply("logits_func/attention_mix", np.concatenate([word, x, context]))
        if self.shape.middle:
            mixed = np.maximum(self.apply("logits_func/attention_mix_middle", np.maximum(mixed, 0)), 0)
        else:
            mixed = np.tanh(mixed)
        return self.apply("logits_func/logits_trans", mixed), after, context

    def taught(self, source: list[int], target: list[int], bos: int) -> np.ndarray:
        self.encode(source)
        states, context, said = self.begin(), np.zeros(2 * H), []
        for token in [bos, *target[:-1]]:
            logits, states, context = self.step(token, states, context)
            said.append(logits)
        return np.array(said)

    def greedy(self, source: list[int], bos: int, eos: int, longest: int) -> list[int]:
        """Without the start symbol, which it could say: no training text has it, and ours never says it."""
        self.encode(source)
        states, context, said = self.begin(), np.zeros(2 * H), [bos]
        while len(said) <= longest and said[-1] != eos:
            logits, states, context = self.step(said[-1], states, context)
            logits[bos] = -np.inf
            said.append(int(logits.argmax()))
        return said[1:]


class OriginalVocab:
    """Text to ids and back as each era did it."""

    def __init__(self, era: str, tokens: list[str], delimiter: str) -> None:
        count, self.delimiter = len(tokens), delimiter
        self.unk, self.bos, self.eos = (count, count + 1, count + 2) if era == "readme" else (0, 1, 2)
        first = 0 if era == "readme" else 3
        self.ids = {token: first + number for number, token in enumerate(tokens)}
        self.tokens = {number: token for token, number in self.ids.items()}

    def encode(self, text: str) -> list[int]:
        text = text.strip()
        tokens = text.split(self.delimiter) if self.delimiter else list(text)
        return [self.ids.get(token, self.unk) for token in tokens] + [self.eos]

    def decode(self, ids: list[int]) -> str:
        ids = ids[: ids.index(self.eos)] if self.eos in ids else ids
        return self.delimiter.join(self.tokens.get(number, "<unk>") for number in ids)


# --- the same answers -----------------------------------------------------------------------------------------------

LINES = ["one two three", "five", "four and two", "two seven one one", "and and and five four three two one"]


def files(folder: Path, arrays: dict[str, np.ndarray], counts: bool = False) -> tuple[Path, Tokens, Tokens]:
    """What a user of the framework has on disk."""
    np.savez(folder / "model.ckpt.npz", **arrays)
    for name, tokens in (("vocab.en", SOURCE), ("vocab.zh", TARGET)):
        lines = [f"{token}\t{9 - number}" if counts else token for number, token in enumerate(tokens)]
        (folder / name).write_bytes("\n".join(lines).encode())  # no final line feed: T-A7
    return folder / "model.ckpt.npz", Tokens(folder / "vocab.en"), Tokens(folder / "vocab.zh", "")


@each_shape
def test_the_same_logits_and_greedy_answers(shape: Shape, tmp_path: Path) -> None:
    arrays = arrays_of(shape)
    migrated = migrate(*files(tmp_path, arrays, counts=shape.era == "head"), longest=17)
    assert (migrated.era, migrated.left_out) == (shape.era, [])
    write_model_folder(tmp_path / "model", migrated.model)
    original = Original(shape, arrays)
    source, target = OriginalVocab(shape.era, SOURCE, " "), OriginalVocab(shape.era, TARGET, "")

    exact = {name: array.astype(np.float64) for name, array in migrated.model.weights.items()}
    model = build_model(migrated.model.config, nest(exact))
    special = migrated.model.target_vocab.special
    for line in LINES:
        ids, taught = migrated.model.source_vocab.encode(line), migrated.model.target_vocab.encode("bad ha!")
        assert ids == source.encode(line) and taught == target.encode("bad ha!")
        memory = model.encode(np.array([ids]), np.ones((1, len(ids)), dtype=bool))
        said = dynamic_decode(model.decoder, memory, TrainingFeedBack(np.array([taught]), special))
        rounding = 1e-6 if "lstm" in shape.cell else 1e-9  # one is added to a forget gate's bias in float32
        np.testing.assert_allclose(said.logits[0], original.taught(ids, taught, target.bos), rounding, rounding)

    wanted = [original.greedy(source.encode(line), target.bos, target.eos, 17) for line in LINES]
    search = SearchConfig(beam=1)
    ours = list(Translator.load(tmp_path / "model").translate(LINES, search))
    trained = list(load_translator(tmp_path / "model", "cpu").translate(LINES, search))
    assert [each.text for each in ours] == [each.text for each in trained] == [target.decode(ids) for ids in wanted]
    assert len({each.text for each in ours}) > 1, "one answer to all says little"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What no answer depends on is left out and named; the folder is one like any other."""
    spare = {"global_step": np.array(7), "source/W/Adam_1": np.ones((2, 2)), "baseline/middle/weights": np.ones(3)}
    weights, source, target = files(tmp_path, {**arrays_of(SHAPES[0]), **spare})
    call = ["import", str(weights), str(tmp_path / "model"), "--source-vocab", str(source.file)]
    call += ["--target-vocab", str(target.file), "--max-length", "9"]
    assert main(call) == 0
    said = capsys.readouterr()
    assert said.out.split("\n")[0].split() == ["era", "readme"]
    assert "left out   baseline/middle/weights, global_step, source/W/Adam_1\n" in said.out
    assert "--target-level characters" in said.err
    assert main([*call, "--target-level", "characters"]) == 0
    assert capsys.readouterr().err == ""
    model = read_model_folder(tmp_path / "model")
    assert model.config.decoder.readout == "context" and model.limits.of(np.ones((1, 50), dtype=bool)) == [9]
    before = model.target_vocab.special
    assert main([*call, "--layout", "head"]) == 0
    assert before.unk == len(TARGET) and read_model_folder(tmp_path / "model").target_vocab.special.unk == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_bytes(b"dear")
    assert main(["import", str(weights), str(tmp_path / "other"), *call[3:]]) == 2
    assert main([*call[:-1], "0"]) == 2
    assert (tmp_path / "other" / "letter.txt").read_bytes() == b"dear"


# --- what is no such model ------------------------------------------------------------------------------------------


@given(number=st.integers(0, 999), how=st.sampled_from(["missing", "wider", "longer", "deeper", "nan", "whole", "new"]))
@settings(max_examples=120, deadline=None)
def test_an_array_that_is_wrong_is_named(tmp_path_factory, number: int, how: str) -> None:
    """Whatever array it is, and whatever is wrong with it: a sentence, and no model."""
    shape = SHAPES[number % len(SHAPES)]
    arrays = arrays_of(shape)
    names = sorted(set(arrays) - {"attention/b_att"})  # which no answer depends on: without it, it is the same model
    name = names[number % len(names)]
    array = arrays.pop(name)
    changed = {
        "wider": np.concatenate([array, array[..., :1]], axis=-1),
        "longer": np.concatenate([array, array[:1]]),
        "deeper": array[None],
        "nan": np.full_like(array, np.nan),
        "whole": np.ones_like(array, dtype=np.int64),
    }
    if how in changed:
        arrays[name] = changed[how]
    if how == "new":
        arrays.update({name: array, "someone/elses": array})
    folder = tmp_path_factory.mktemp("wrong")
    with pytest.raises(ModelError) as raised:
        migrate(*files(folder, arrays), longest=5)
    assert str(folder) in str(raised.value)
    assert "docs/migration.md" in str(raised.value) or "can be read" in str(raised.value)


def test_what_is_not_read_says_so(tmp_path: Path) -> None:
    good = arrays_of(SHAPES[0])
    weights, source, target = files(
        tmp_path, {**good, "char_rnn/multi_rnn_cell/cell_0/gru_cell/gates/bias": np.ones(3)}
    )
    with pytest.raises(ModelError, match="characters_to_words"):
        migrate(weights, source, target, 5)
    strange = {name.replace("basic_lstm", "layer_norm_basic_lstm"): array for name, array in good.items()}
    weights, *_ = files(tmp_path, strange)
    with pytest.raises(ModelError, match="layer_norm_basic_lstm_cell; one of basic_rnn_cell"):
        migrate(weights, source, target, 5)
    weights, *_ = files(tmp_path, {**good, "other/v_att": good["attention/v_att"]})
    with pytest.raises(ModelError, match="'attention/v_att' and 'other/v_att'"):
        migrate(weights, source, target, 5)


def test_files_that_are_none(tmp_path: Path) -> None:
    _, source, target = files(tmp_path, arrays_of(SHAPES[0]))
    whole = (tmp_path / "model.ckpt.npz").read_bytes()
    objects = np.array([print], dtype=object)
    np.savez(tmp_path / "objects.npz", **{"source/W": objects})
    np.save(tmp_path / "one.npy", np.ones(3))
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.npz").write_bytes(b"no arrays at all")
    (tmp_path / "empty.npz").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "letter.npz", "w") as archive:
        archive.writestr("source/W", b"dear")
    middle = len(whole) // 2
    (tmp_path / "bits.npz").write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    names = ["objects.npz", "one.npy", "cut.npz", "text.npz", "empty.npz", "letter.npz", "bits.npz", "absent.npz", "."]
    for name in names:
        with pytest.raises(ModelError, match="give") as raised:
            migrate(tmp_path / name, source, target, 5)
        assert "unsafely" not in str(raised.value), "no advice to load what may run"


def test_vocabularies_that_are_others(tmp_path: Path) -> None:
    weights, source, target = files(tmp_path, arrays_of(SHAPES[0]))
    with pytest.raises(ModelError, match=r"9 tokens and 3 special ids for a table of 9 vectors.*first 6"):
        migrate(weights, target, source, 5)
    source.file.write_bytes("\n".join([*SOURCE[:-1], "one"]).encode())
    with pytest.raises(DataError, match="duplicate of line 1"):
        migrate(weights, source, target, 5)


@pytest.mark.slow
def test_the_examples_of_the_page_run(tmp_path: Path) -> None:
    assert run_page(DOCS / "migration.md", tmp_path) >= 3
