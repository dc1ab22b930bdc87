"""composed: each encoder against its parts, run one sentence, one word or one text at a time."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from architectures import same
from sequencing.composed import READERS as UPPER_READERS
from sequencing.loading import load_translator
from sequencing.model import Model as TorchModel
from sequencing.run_config import read_run_config
from sequencing.train.loop import train
from sequencing_np.composed import READER_CONFIGS, READERS, SeveralSourcesEncoderConfig
from sequencing_np.config import Origin, to_dict
from sequencing_np.decode import dynamic_decode
from sequencing_np.errors import ConfigError, ModelError
from sequencing_np.feedback import TrainingFeedBack
from sequencing_np.model import ModelConfig, build_model, model_config
from sequencing_np.search import SearchConfig
from sequencing_np.special import Special
from sequencing_np.state import select
from sequencing_np.translate import Translator
from sequencing_np.weights import nest
from small_runs import records

E, V = 5, 17  # embedding, vocabulary
SPACE, END = 4, 3
SPECIAL = Special(0, 1, 2, END)
PARTS: dict[str, dict[str, Any]] = {
    "rnn": {"stack": {"size": 7}},
    "bidirectional_rnn": {"stack": {"size": 3, "layers": 2}},
    "alternating_rnn": {"stack": {"size": 7, "layers": 2}},
    "self_attention": {"blocks": {"layers": 1, "heads": 1, "feed_forward_size": 3}},
    "convolutional": {"size": 3, "layers": 2},
    "tanh_convolutional": {"keys": {"size": 3, "layers": 1}, "values": {"size": 4, "layers": 2}},
    "pooling": {},
}
WIDTHS = dict.fromkeys(PARTS, E) | {"rnn": 7, "bidirectional_rnn": 6, "alternating_rnn": 7, "tanh_convolutional": 4}


def whole(encoder: dict[str, Any], attention: str = "parallel") -> ModelConfig:
    decoder = {
        "embedding_size": 6,
        "stack": {"size": 5},
        "attention": {"type": attention, "size": 4, "each": "general"},
        "readout_size": 3,
    }
    values = {"encoder": {"embedding_size": E, **encoder}, "decoder": decoder, "source_size": V, "target_size": V}
    return model_config(values, Origin("test"))


def both(config: ModelConfig) -> tuple[Any, TorchModel]:
    """Both twins with the same random weights."""
    native = TorchModel(config).double().eval().requires_grad_(False)
    torch.manual_seed(1)
    for parameter in native.parameters():
        nn.init.normal_(parameter)
    return build_model(config, nest(native.weights())), native


def words_over_characters(characters: str = "rnn", words: str = "bidirectional_rnn", **more: Any) -> ModelConfig:
    return whole(
        {
            "type": "characters_to_words",
            "characters": {"type": characters, "embedding_size": E, **PARTS[characters]},
            "words": {"type": words, "embedding_size": WIDTHS[characters], **PARTS[words]},
            "boundary": SPACE,
            **more,
        }
    )


def several(rows: tuple[str, ...] = ("rnn", "bidirectional_rnn"), **more: Any) -> ModelConfig:
    parts = [{"type": row, "embedding_size": E, **PARTS[row]} for row in rows]
    return whole({"type": "several_sources", "encoders": parts, "end": END, **more})


def padded(rows: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    lengths = np.array([len(row) for row in rows])
    mask = np.arange(max(lengths)) < lengths[:, None]
    ids = np.full(mask.shape, SPACE)  # what stands under the padding is no word's end, and no text's
    ids[mask] = np.concatenate([np.array(row, dtype=int) for row in rows])
    return ids, mask


# --- words over characters ------------------------------------------------------------------------------------------

SENTENCES = [[9, 8, SPACE, 7, 6, 5, END], [9, SPACE, SPACE, 8], [SPACE, 5, END], [6, 7, SPACE], []]
ENDS = [[2, 6], [1, 2, 3], [0, 2], [2], []]  # by hand: each space, and the last token


@pytest.mark.parametrize("words", READERS)
@pytest.mark.parametrize("characters", READERS)
def test_a_word_is_the_state_where_it_is_closed(characters: str, words: str) -> None:
    ground, upper = both(words_over_characters(characters, words))
    ids, mask = padded(SENTENCES)
    memory = ground.encode(ids, mask)
    same(memory, upper.encode(ids, mask))
    encoder = ground.encoder
    for row, ends in enumerate(ENDS):
        length = len(SENTENCES[row])
        one = [ids[row : row + 1, :length], mask[row : row + 1, :length]]
        if not length:
            assert not memory.others[0].mask[row].any() and not memory.others[0].values[row].any()
            continue
        letters = encoder.characters.read(encoder.embedding(one[0]), one[1], one[0])
        same(memory.values[row, :length], letters.values[0])
        same(memory.keys[row, :length], letters.keys[0])
        assert memory.mask[row].sum() == length and not memory.values[row, length:].any()
        vectors, real = letters.values[:, ends], np.ones((1, len(ends)), dtype=bool)
        spoken = encoder.words.read(vectors, real, one[0][:, ends])
        found = select(memory.others[0], slice(row, row + 1))
        assert list(found.mask[0]) == [True] * len(ends) + [False] * (found.mask.shape[1] - len(ends))
        same(found.values[:, : len(ends)], spoken.values)
        same(memory.summary[row : row + 1], spoken.summary)
        same(found.tokens[0, : len(ends)], ids[row, ends])


def test_the_width_of_a_word() -> None:
    with pytest.raises(ConfigError, match=r"width 7; set encoder\.words\.embedding_size = 7"):
        config = words_over_characters(words="rnn")
        values = to_dict(config)
        values["encoder"]["words"]["embedding_size"] = 6
        TorchModel(model_config(values, Origin("test")))
    with pytest.raises(ConfigError, match=r"width 5; set encoder\.characters\.embedding_size = 5"):
        whole({"type": "characters_to_words", "characters": {"embedding_size": 6}})
    with pytest.raises(ConfigError, match=r"3 heads; set encoder\.words\.embedding_size = 9"):
        config = words_over_characters(words="self_attention")
        values = to_dict(config)
        values["encoder"]["words"]["blocks"]["heads"] = 3
        TorchModel(model_config(values, Origin("test")))


# --- several texts --------------------------------------------------------------------------------------------------

TEXTS = [  # of each row: each closed by END but perhaps the last
    [[9, 8, 7, END], [6, 5, END]],
    [[5, END], [END], [7, 8, 9, 5, 6]],
    [[8, 7, END]],
    [[END], [7, END], [5, END], [6, END]],
    [],
]


def joined(texts: list[list[int]]) -> list[int]:
    return [token for text in texts for token in text]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_text_has_its_encoder(count: int) -> None:
    rows = ("rnn", "convolutional", "bidirectional_rnn")[:count]
    ground, upper = both(several(rows, attention_key_size=11))
    ids, mask = padded([joined(texts) for texts in TEXTS])
    memory = ground.encode(ids, mask)
    same(memory, upper.encode(ids, mask))
    parts = [memory, *memory.others]
    assert len(parts) == count
    for row, texts in enumerate(TEXTS):
        own = [texts[place] if place < len(texts) else [] for place in range(count - 1)] + [joined(texts[count - 1 :])]
        summaries = []
        for place, text in enumerate(own):
            found = select(parts[place], slice(row, row + 1))
            assert found.mask.sum() == len(text) and list(found.tokens[0, : len(text)]) == text
            assert not found.values[:, len(text) :].any()
            source = np.array([text or [0]]), np.full((1, max(len(text), 1)), bool(text))
            encoder = ground.encoder.encoders[place]
            alone = encoder.read(ground.encoder.embedding(source[0]), source[1], source[0])
            same(found.values[:, : len(text)], alone.values[:, : len(text)])
            keys = ground.encoder.keys[place](alone.keys)
            same(found.keys[:, : len(text)], keys[:, : len(text)])
            summaries.append(alone.summary)
        same(memory.summary[row : row + 1], np.concatenate(summaries, axis=1))


@pytest.mark.parametrize("attention", ["parallel", "hierarchical", "gated", "coarsest"])
def test_a_text_that_is_lacking_harms_nobody(attention: str) -> None:
    """The rows of a batch say what they say alone, whatever texts the others have."""
    values = to_dict(several(("rnn", "pooling", "rnn")))
    values["decoder"]["attention"]["type"] = attention
    models = both(model_config(values, Origin("test")))
    rows = [joined(texts) for texts in TEXTS[:4]]
    target = np.random.default_rng(3).integers(4, V, (4, 3))
    for model in models:
        together = dynamic_decode(model.decoder, model.encode(*padded(rows)), TrainingFeedBack(target, SPECIAL))
        for row, ids in enumerate(rows):
            alone = model.encode(*padded([ids]))
            own = dynamic_decode(model.decoder, alone, TrainingFeedBack(target[row : row + 1], SPECIAL))
            same(own.logits, together.logits[row : row + 1])
            first = len(TEXTS[row][0])
            same(np.asarray(own.alignment)[..., :first], np.asarray(together.alignment)[row : row + 1, :, :first])
            assert not np.asarray(together.alignment)[row, :, first:].any()


def test_the_parts_of_several_sources() -> None:
    with pytest.raises(ConfigError, match="give at least one"):
        SeveralSourcesEncoderConfig(encoders=())
    with pytest.raises(ConfigError, match=r"set encoder\.encoders\.1\.embedding_size = 5"):
        whole({"type": "several_sources", "encoders": [{"embedding_size": E}, {"embedding_size": 6}]})
    with pytest.raises(ConfigError, match=r"encoder\.encoders\.1\.type.*'characters_to_words'.*known: "):
        whole({"type": "several_sources", "encoders": [{"embedding_size": E}, {"type": "characters_to_words"}]})
    with pytest.raises(ConfigError, match=r"encoder\.encoders\.0: expected a table of settings, got 7"):
        whole({"type": "several_sources", "encoders": [7]})
    with pytest.raises(ConfigError, match=r"encoder\.words\.boundary: unknown key 'boundary'"):
        whole({"type": "characters_to_words", "words": {"boundary": 3}})


# --- both -----------------------------------------------------------------------------------------------------------


def test_parts_without_weights_stand_beside_others() -> None:
    config = several(("pooling", "rnn", "pooling"))
    values = to_dict(config)
    for place in (0, 2):
        values["encoder"]["encoders"][place]["learned_positions"] = False
    config = model_config(values, Origin("test"))
    ground, upper = both(config)
    ids, mask = padded([joined(texts) for texts in TEXTS[:3]])
    same(ground.encode(ids, mask), upper.encode(ids, mask))
    weights = upper.weights()
    own = next(name for name in weights if name.startswith("encoder.encoders.1."))
    with pytest.raises(ModelError):
        build_model(config, nest({**weights, own.replace(".1.", ".2."): weights[own]}))
    with pytest.raises(ModelError):
        build_model(config, nest({**weights, own.replace(".1.", ".3."): weights[own]}))


@pytest.mark.parametrize("config", [words_over_characters(attention_key_size=3), several()], ids=["words", "several"])
def test_a_configuration_comes_back(config: ModelConfig) -> None:
    assert model_config(to_dict(config), Origin("saved")) == config


def test_an_encoder_of_its_own_configuration() -> None:
    """What is not said is the default: characters are read left to right, words both ways."""
    encoder = model_config({"encoder": {"type": "characters_to_words"}}, Origin("test")).encoder
    assert (encoder.characters.type, encoder.words.type) == ("rnn", "bidirectional_rnn")
    assert to_dict(encoder)["words"]["stack"]["size"] == 256


def test_dropout_of_what_a_part_reads_while_training_only() -> None:
    for config in (words_over_characters(), several()):
        values = to_dict(config)
        inner = values["encoder"]["encoders"] if "encoders" in values["encoder"] else [values["encoder"]["words"]]
        inner[-1]["embedding_dropout"] = 0.5
        model = TorchModel(model_config(values, Origin("test"))).double()
        ids, mask = padded([[9, 8, SPACE, 7, END, 5, 6], [5, SPACE, 6, END, 5]])
        trained, evaluated = (model.train(mode).encode(ids, mask) for mode in (True, False))
        assert not torch.allclose(trained.others[0].values, evaluated.others[0].values)
        torch.testing.assert_close(trained.values, evaluated.values)


NUMBERS = """\
[data]
train = ["pairs.tsv"]
[vocab]
source.level = "characters"
target.level = "characters"
joint = true
[model.encoder]
type = "characters_to_words"
embedding_size = 8
characters = { embedding_size = 8, stack = { size = 7 } }
words = { type = "pooling", embedding_size = 7 }
[model.decoder]
embedding_size = 8
stack.size = 9
readout_size = 9
copy = true
attention = { type = "hierarchical", size = 6 }
[train]
steps = 3
batch_tokens = 128
coverage = 0.5
"""


def test_a_run(tmp_path: Path) -> None:
    """Copying from characters through words; the trainer finds the space, and both floors say the same."""
    (tmp_path / "pairs.tsv").write_bytes(b"one two\ttwo one\nthree four\tfour three\n")
    (tmp_path / "run.toml").write_bytes(NUMBERS.encode())
    train(read_run_config(tmp_path / "run.toml"), tmp_path / "run")
    ground = Translator.load(tmp_path / "run" / "last", dtype=np.float64)
    upper = load_translator(tmp_path / "run", "cpu", "last")
    encoder = ground.model.config.encoder  # type: ignore[attr-defined]
    assert ground.source_vocab.tokens[encoder.boundary] == " "
    search = SearchConfig(beam=2, alignments=True)
    for one, other in zip(*(each.translate(["one four", "two"], search) for each in (ground, upper)), strict=True):
        assert one.text == other.text
        np.testing.assert_allclose(one.answers[0].score, other.answers[0].score, rtol=1e-4)
        assert one.answers[0].alignment is not None
        assert one.answers[0].alignment.shape[1] == len(one.source_tokens)
    with pytest.raises(ConfigError, match=r"set vocab\.joint = true"):
        train(read_run_config(tmp_path / "run.toml", ["vocab.joint=false"]), tmp_path / "other")
    words = ["vocab.source.level=words", "vocab.target.level=words"]
    with pytest.raises(ConfigError, match=r"looks for ' '.*set vocab\.source\.level = \"characters\""):
        train(read_run_config(tmp_path / "run.toml", words), tmp_path / "another")


def test_the_coverage_loss_is_learnt_from(tmp_path: Path) -> None:
    """Another weight is another model, and the loss that is logged is the cross entropy alone."""
    (tmp_path / "pairs.tsv").write_bytes(b"one two\ttwo one\nthree four\tfour three\n")
    (tmp_path / "run.toml").write_bytes(NUMBERS.encode())
    found, first = [], []
    for weight in (0, 5):
        run = tmp_path / str(weight)
        settings = [f"train.coverage={weight}", "train.log_every=1"]
        train(read_run_config(tmp_path / "run.toml", settings), run)
        found.append(Translator.load(run / "last").score([("one two", "two one")])[0].log_prob)
        first.append(records(run / "metrics.jsonl")[0]["loss"])
    assert first[0] == first[1] and found[0] != found[1]


def test_the_tables_of_parts() -> None:
    assert list(READERS) == list(UPPER_READERS) == list(READER_CONFIGS)
