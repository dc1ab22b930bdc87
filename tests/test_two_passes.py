"""Scheduled sampling in two passes, each all words at once, against the same written out; and in runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from sequencing.train import losses
from sequencing.train.loop import train
from sequencing.train.losses import losses_of
from sequencing.train.opening import open_session
from sequencing.train.session import Session
from sequencing_np.batch import Batch
from sequencing_np.decode import dynamic_decode
from sequencing_np.feedback import TrainingFeedBack
from small_runs import EVERYTHING, small
from test_train import same_run, train_until

torch.set_num_threads(1)


def begun(tmp_path: Path, *settings: str) -> tuple[Session, Batch]:
    own = [f"train.teacher.{setting}" for setting in ("two_passes=true", *settings)]
    session = open_session(small(tmp_path / "data", *own), tmp_path / "run")
    for log in session.logs.values():
        log.close()
    return session, next(session.stream.batches()).batch


def reads(session: Session, batch: Batch, seed: int = 5) -> tuple[torch.Tensor, list[np.ndarray]]:
    """The loss, and what each pass reads."""
    read, kept = [], TrainingFeedBack.start

    def start(self: Any, *given: Any) -> Any:
        turn = kept(self, *given)
        read.append(turn.tokens.numpy())
        return turn

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses.TrainingFeedBack, "start", start)
        found = losses_of(session, batch, np.random.default_rng(seed))
    return found.whole, read


def test_own_words_are_what_follows_the_targets(tmp_path: Path) -> None:
    """At rate 0 the second pass reads the likeliest word after each of the target's, found by hand."""
    session, batch = begun(tmp_path, "rate=0")
    found, read = reads(session, batch)
    model, special = session.model, session.translator.target_vocab.special
    memory = model.encode(batch.source, batch.source_mask)
    logits = dynamic_decode(model.decoder, memory, TrainingFeedBack(batch.target, special)).logits.detach()
    logits[..., [special.pad, special.bos]] = -torch.inf
    own = logits.argmax(dim=-1)
    assert len(read) == 2
    np.testing.assert_array_equal(read[0][:, 1:], batch.target[:, :-1])
    np.testing.assert_array_equal(read[1][:, 1:], own[:, :-1])
    again = dynamic_decode(model.decoder, memory, TrainingFeedBack(own.numpy(), special)).logits
    mask, target = torch.tensor(batch.target_mask), torch.tensor(batch.target)
    torch.testing.assert_close(found, functional.cross_entropy(again[mask], target[mask], reduction="sum"))


def test_coins_and_draws(tmp_path: Path) -> None:
    """A target's word with the rate's probability; drawn words differ from place to place within a sentence."""
    session, batch = begun(tmp_path, "rate=0.6", "draw=true")
    with torch.no_grad():
        for parameter in session.model.parameters():
            parameter.zero_()  # every word is as likely as any other
    batch = Batch(*(np.repeat(part, 10, axis=0) for part in batch))
    _, (_, second) = reads(session, batch)
    mask = batch.target_mask[:, 1:]
    own = (second[:, 1:] != batch.target[:, :-1]) & mask
    allowed = len(session.translator.target_vocab) - 2
    assert own.sum() / mask.sum() == pytest.approx(0.4 * (1 - 1 / allowed), abs=0.05)
    words = np.bincount(second[:, 1:][own], minlength=12)
    assert (words[[0, 2]] == 0).all() and (words[4:] > 0).all()
    pairs = second[:, 1:3][own[:, 0] & own[:, 1]]
    assert len(pairs) > 20 and (pairs[:, 0] != pairs[:, 1]).mean() > 0.6


def test_at_rate_one_it_is_teaching(tmp_path: Path) -> None:
    session, batch = begun(tmp_path)
    _, read = reads(session, batch)
    assert len(read) == 1


@pytest.mark.parametrize(
    "more",
    [[], ["train.precision=bfloat16"], ["train.r_drop=1"], ["model.decoder.copy=true", "vocab.joint=true"]],
    ids=str,
)
def test_runs_in_parts(more: list[str], tmp_path: Path) -> None:
    settings = [*EVERYTHING, "train.teacher.two_passes=true", "train.steps=6", *more]
    train(small(tmp_path / "data", *settings), tmp_path / "one")
    train_until(small(tmp_path / "data", *settings), tmp_path / "two", 3)
    train(small(tmp_path / "data", *settings), tmp_path / "two")
    same_run(tmp_path / "two", tmp_path / "one")


def test_the_first_pass_leaves_the_gradient_alone_in_bfloat16(tmp_path: Path) -> None:
    """Weights that autocast shortens for it, without a gradient, are not those of the second pass."""
    found = []
    for precision in ("float32", "bfloat16"):
        settings = [f"train.precision={precision}", "train.teacher.two_passes=true", "train.teacher.rate=0.5"]
        session = open_session(small(tmp_path / "data", *settings), tmp_path / precision)
        session.close()
        batch = next(session.stream.batches()).batch
        losses_of(session, batch, np.random.default_rng(1)).whole.backward()
        found.append({name: weight.grad for name, weight in session.model.named_parameters()})
    for name, gradient in found[0].items():
        assert (gradient is None) == (found[1][name] is None), name
        if gradient is not None and gradient.norm() > 1e-3:
            assert float(functional.cosine_similarity(gradient.flatten(), found[1][name].flatten(), dim=0)) > 0.9, name
