"""A frozen model beside the one that learns: it reads the same batch, and says what it would say.

The cost of differing from it stands in `distillation`. That of whole sentences is a matter of data, not of a loss:
`sequencing backtranslate --forward`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sequencing.distillation import Taught
from sequencing.head import Unspoken
from sequencing.layers import short
from sequencing.loading import load_translator
from sequencing_np.batch import Batch
from sequencing_np.decode import dynamic_decode
from sequencing_np.errors import ConfigError
from sequencing_np.feedback import TrainingFeedBack
from sequencing_np.special import Special
from sequencing_np.vocab import Vocabulary


class Teacher:
    """A model that is asked and does not learn. It reads the target's words, whatever the model beside it reads."""

    def __init__(self, model: Any, special: Special, share: float, temperature: float) -> None:
        self.model, self.special, self.share, self.temperature = model, special, share, temperature

    @torch.no_grad()
    def teach(self, batch: Batch, places: Tensor) -> Taught:  # (N,)
        """What it says at some places of the target, counted through its rows."""
        decoder = self.model.decoder
        memory = self.model.encode(batch.source, batch.source_mask)
        feedback = TrainingFeedBack(batch.target, self.special)
        output = dynamic_decode(Unspoken(decoder) if decoder.linear else decoder, memory, feedback)
        features = output.logits.flatten(0, 1)[places]
        if not decoder.linear:
            return Taught(features, None, None, self.share, self.temperature)
        last = decoder.head.output
        return Taught(short(features), short(last.weight), short(last.bias), self.share, self.temperature)


def load_teacher(
    folder_or_run: str | Path,
    vocabs: tuple[Vocabulary, Vocabulary],
    share: float,
    temperature: float,
    device: str = "auto",
    place: str = "train.distill.teacher",
) -> Teacher:
    """The teacher in a model folder, or in a run. ConfigError where its ids stand for other texts."""
    teacher = load_translator(folder_or_run, device)
    for side, mine, known in zip(
        ("source", "target"), vocabs, (teacher.source_vocab, teacher.target_vocab), strict=True
    ):
        if without_counts(mine.to_json()) != without_counts(known.to_json()):
            raise ConfigError(
                f"{place} {folder_or_run}: its {side} vocabulary is another one ({len(known):,} ids, "
                f"here {len(mine):,}{difference(mine, known)}). A teacher must speak of the same ids: set "
                f"vocab.{side}.file to the {side}.vocab.json of its folder"
            )
    return Teacher(teacher.model, teacher.target_vocab.special, share, temperature)


def without_counts(document: Any) -> Any:
    """A vocabulary's document without how often its tokens were seen, which changes no id."""
    if not isinstance(document, dict):
        return document
    return {key: without_counts(value) for key, value in document.items() if key != "counts"}


def difference(mine: Vocabulary, known: Vocabulary) -> str:
    """The first id that has another token, in words."""
    for token_id, (here, there) in enumerate(zip(mine.tokens, known.tokens, strict=False)):
        if here != there:
            words = ("a special id" if token is None else repr(token) for token in (there, here))
            return f"; {token_id} is {' there and '.join(words)} here"
    return "; the ids that both have are the same tokens"
