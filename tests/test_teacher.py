"""teacher: it says what its model says when the target is read to it, and speaks of the same ids or not at all."""

from pathlib import Path

import numpy as np
import pytest
import torch

from architectures import DRAWN, SPECIAL, architecture, name_of, sources, torch_model
from sequencing.teacher import Teacher, load_teacher
from sequencing_np.batch import Batch
from sequencing_np.columns import ColumnsVocab
from sequencing_np.errors import ConfigError, ModelError
from sequencing_np.factors import FactoredVocab
from sequencing_np.special import Special
from sequencing_np.vocab import Vocab, Vocabulary
from tiny_models import SOURCES, TARGETS, write_model

LENGTHS = (3, 1, 5, 2)
COPYING = [index for index in DRAWN if getattr(architecture(index).decoder, "copy", False)]


def batch_of(index: int) -> Batch:
    config = architecture(index)
    chance = np.random.default_rng(index)
    mask = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
    target = np.where(mask, chance.integers(SPECIAL.eos, config.target_size, mask.shape), SPECIAL.pad)
    return Batch(*sources(config, seed=index), target, mask)


@pytest.mark.parametrize("index", [*DRAWN[::8], *COPYING[:2]], ids=name_of)
def test_what_it_says(index: int) -> None:
    """Against its decoder, asked by hand; where it copies, what it says is more than its last matrix."""
    model, batch = torch_model(index), batch_of(index)
    places = torch.from_numpy(np.flatnonzero(batch.target_mask))[[4, 0, 7]]
    before = torch.get_rng_state()
    taught = Teacher(model, SPECIAL, 0.25, 2.0).teach(batch, places)
    assert torch.equal(torch.get_rng_state(), before) and (taught.share, taught.temperature) == (0.25, 2.0)
    begin = np.full((len(LENGTHS), 1), SPECIAL.bos)
    tokens = torch.from_numpy(np.concatenate([begin, batch.target[:, :-1]], axis=1))
    memory = model.encode(batch.source, batch.source_mask)
    logits = model.decoder.step(tokens, model.decoder.start(memory))[0].logits.flatten(0, 1)[places]
    assert (taught.weight is None) == (not model.decoder.linear)
    said = torch.zeros(1, *logits.shape, dtype=torch.float64)
    wanted = torch.nn.functional.kl_div(
        torch.log_softmax(said / 2, -1), torch.log_softmax(logits / 2, -1)[None], reduction="sum", log_target=True
    )
    assert float(taught.lesson(said).cost) == pytest.approx(4 * float(wanted), rel=1e-9)


def test_some_teachers_copy() -> None:
    assert len(COPYING) >= 2


VOCABS: tuple[Vocabulary, Vocabulary] = (Vocab(SOURCES), Vocab(TARGETS, ""))


def test_a_teacher_of_the_same_ids(tmp_path: Path) -> None:
    """How often tokens were seen is no difference; it does not learn."""
    counted = Vocab(SOURCES, " ", counts=range(7))
    teacher = load_teacher(write_model(tmp_path / "model"), (counted, VOCABS[1]), 0.5, 1.0, "cpu")
    assert not teacher.model.training and not any(each.requires_grad for each in teacher.model.parameters())
    assert teacher.special == Special()


OTHERS: list[tuple[tuple[Vocabulary, Vocabulary], str]] = [
    (
        (Vocab(SOURCES[::-1]), VOCABS[1]),
        r"its source vocabulary is another one \(11 ids, here 11; 4 is 'ein' there and 'sechs' here",
    ),
    (
        (Vocab(SOURCES[:-1]), VOCABS[1]),
        r"source vocabulary is another one \(11 ids, here 10; the ids .*\)\. .* set vocab.source.file to",
    ),
    (
        (VOCABS[0], Vocab(TARGETS, "", Special(2, 0, 1, 2))),
        r"target vocabulary .*; 3 is a special id there and 'a' here",
    ),
    (
        (VOCABS[0], Vocab(TARGETS, ",")),
        r"its target vocabulary is another one .*the ids that both have are the same tokens.*the target.vocab.json of",
    ),
    ((ColumnsVocab(VOCABS[0], 2), VOCABS[1]), "its source vocabulary"),
    ((FactoredVocab(Vocab(SOURCES), [["x"]]), VOCABS[1]), "its source vocabulary"),
]


@pytest.mark.parametrize(("vocabs", "words"), OTHERS)
def test_a_teacher_of_other_ids(vocabs: tuple[Vocabulary, Vocabulary], words: str, tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    with pytest.raises(ConfigError, match=rf"train.distill.teacher .*model: .*{words}"):
        load_teacher(folder, vocabs, 0.5, 1.0, "cpu")


def test_no_teacher(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        load_teacher(tmp_path / "none", VOCABS, 0.5, 1.0, "cpu")
