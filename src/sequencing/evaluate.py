"""Held-out data to numbers: BLEU and chrF (sacreBLEU, with their signatures), exact match, error rates, loss."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from sequencing.data.sampling import EvalBatch
from sequencing.further_metrics import streams
from sequencing.loss import cross_entropy
from sequencing_np.config import choose
from sequencing_np.decode import dynamic_decode
from sequencing_np.errors import DataError
from sequencing_np.feedback import TrainingFeedBack
from sequencing_np.metrics import Share, check_references, error_rates, exact_match, token_accuracy
from sequencing_np.search import SearchConfig
from sequencing_np.special import Special
from sequencing_np.translate import Translator
from sequencing_np.translation import Translation


class Quality(NamedTuple):
    """What translations are worth against their references."""

    bleu: float  # 0 to 100
    chrf: float  # 0 to 100
    exact_match: float  # shares from 0 to 1, here and below
    token_error_rate: float  # edits over reference tokens (split at spaces), against the closest reference
    sequence_error_rate: float  # answers that equal none of their references
    signature: str
    chrf_signature: str


class Evaluation(NamedTuple):
    """Quality and speed of a model on a test set."""

    quality: Quality
    sentences: int
    seconds: float
    sentences_per_second: float
    translations: list[Translation]

    def record(self) -> dict[str, Any]:
        """All numbers, ready for JSON."""
        rest = {"sentences": self.sentences, "seconds": round(self.seconds, 3)}
        return {**self.quality._asdict(), **rest, "sentences_per_second": round(self.sentences_per_second, 2)}


class Taught(NamedTuple):
    """How well the next word is foreseen when the words before it are given."""

    loss: float  # nats a target token
    token_accuracy: float  # share from 0 to 1


def check_tokenizer(name: str) -> None:
    """ConfigError where sacreBLEU has no such tokenizer (`tokenize` of `measure`)."""
    from sacrebleu.metrics.bleu import BLEU

    choose(dict.fromkeys(BLEU.TOKENIZERS), name, "train.bleu_tokenize")


def measure(hypotheses: Sequence[str], references: Sequence[Sequence[str]], tokenize: str | None = None) -> Quality:
    """The quality of texts against one or several references each; `tokenize` is sacreBLEU's (13a, zh, char …)."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    if not hypotheses:
        raise DataError("nothing to evaluate: give at least one sentence and its reference")
    check_references(len(hypotheses), references)
    given, bleu, chrf = streams(references), BLEU(tokenize=tokenize), CHRF()
    bleu_score = bleu.corpus_score(list(hypotheses), given).score
    chrf_score = chrf.corpus_score(list(hypotheses), given).score
    rates = error_rates([text.split() for text in hypotheses], [[t.split() for t in texts] for texts in references])
    return Quality(
        round(bleu_score, 2),
        round(chrf_score, 2),
        round(exact_match(hypotheses, references), 5),
        round(rates.token_error_rate, 5),
        round(rates.sequence_error_rate, 5),
        str(bleu.get_signature()),
        str(chrf.get_signature()),
    )


def evaluate(
    translator: Translator,
    sources: Sequence[str],
    references: Sequence[Sequence[str]],
    search: SearchConfig,
    tokenize: str | None = None,
) -> Evaluation:
    """Translate and measure. DataError where sources and references differ in number."""
    if len(sources) != len(references):
        raise DataError(f"{len(sources)} sources and {len(references)} references; give one line for each line")
    begin = time.perf_counter()
    translations = translator.translate(sources, search)
    seconds = time.perf_counter() - begin
    quality = measure([translation.text for translation in translations], references, tokenize)
    return Evaluation(quality, len(sources), seconds, len(sources) / max(seconds, 1e-9), translations)


def teach(model: Any, batches: Sequence[EvalBatch], special: Special) -> Taught:
    """Loss and token accuracy over fixed batches, without dropout and smoothing."""
    total, tokens, right = 0.0, 0, Share(0, 0)
    native = model.arrays.native
    with torch.inference_mode():
        for _, batch in batches:
            memory = model.encode(batch.source, batch.source_mask)
            output = dynamic_decode(model.decoder, memory, TrainingFeedBack(batch.target, special))
            mask = native(batch.target_mask)
            total += float(cross_entropy(output.logits, native(batch.target), mask))
            tokens += int(batch.target_mask.sum())
            predicted = model.arrays.host(output.logits.argmax(dim=-1))
            share = token_accuracy(predicted, batch.target, batch.target_mask)
            right = Share(right.correct + share.correct, right.total + share.total)
    return Taught(total / max(tokens, 1), right.value)
