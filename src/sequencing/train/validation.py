"""How good the model is now, on held-out data: loss, translations, and a few of them to look at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

from sequencing.data.corpus import Corpus, read_references
from sequencing.data.sampling import EvalBatch, eval_batches
from sequencing.evaluate import evaluate, teach
from sequencing.policy import OBJECTIVES
from sequencing.rewards import Task, rewarded
from sequencing.run_config import RunConfig
from sequencing.selection import asked_scores
from sequencing_np.batch import PadIds
from sequencing_np.errors import DataError
from sequencing_np.mbr import NONE
from sequencing_np.translate import Translator
from sequencing_np.vectors import shown

# One answer, the best, whatever the run's own searches look for.
LIKELIEST: dict[str, Any] = {"n_best": 1, "sample": False, "without_replacement": False, "mbr": NONE}


class HeldOut(NamedTuple):
    """Held-out data, read and encoded once."""

    batches: list[EvalBatch]  # all pairs, for the loss
    sources: list[str]  # what is translated
    references: list[list[str]]


def read_held_out(corpus: Corpus, translator: Translator, config: RunConfig, batch_tokens: int) -> HeldOut:
    """The dev set of a run; pairs longer than the training data may be are left out of the loss."""
    source, target = translator.source_vocab, translator.target_vocab
    encoded = [(source.encode(left), target.encode(right)) for left, right in corpus.pairs()]
    fitting = [pair for pair in encoded if max(map(len, pair)) <= config.data.max_length]
    if not fitting:
        raise DataError(
            f"{corpus.name}: no pair has at most {config.data.max_length} tokens on both sides; raise data.max_length"
        )
    pads = PadIds(source.special.pad, target.special.pad)
    grouped = read_references(corpus)
    most = config.train.validate_sentences
    batches = list(eval_batches(fitting, max(1, batch_tokens // 2), pads))  # of each side
    return HeldOut(batches, list(grouped.sources[:most]), [list(texts) for texts in grouped.references[:most]])


class Validation(NamedTuple):
    """The numbers, sample triples with their attention, and all that was translated."""

    record: dict[str, Any]
    samples: list[dict[str, Any]]
    answers: list[dict[str, Any]]


def validate(translator: Translator, held_out: HeldOut, config: RunConfig) -> Validation:
    """Measure a model in evaluation mode."""
    train = config.train
    taught = teach(translator.model, held_out.batches, translator.target_vocab.special)
    search = replace(config.search, beam=train.validate_beam, **LIKELIEST)
    found = evaluate(translator, held_out.sources, held_out.references, search, train.bleu_tokenize or None)
    speed = {"sentences_per_second": round(found.sentences_per_second, 1)}
    asked = asked_scores(train.select, [each.text for each in found.translations], held_out.references)
    record = {**taught._asdict(), **found.quality._asdict(), **asked, **speed}
    vocab = translator.source_vocab
    answers = [
        {
            "source": shown(each.source, vocab),
            "prediction": each.text,
            "references": texts,
            "source_length": len(each.source_tokens),
        }
        for each, texts in zip(found.translations, held_out.references, strict=True)
    ]
    samples = samples_of(translator, held_out, config)
    if OBJECTIVES[train.objective.type].weights is not None:
        draws = drawn(translator, held_out, config)
        samples = [sample | {"drawn": each} for sample, each in zip(samples, draws, strict=True)]
    return Validation(record, samples, answers)


def samples_of(translator: Translator, held_out: HeldOut, config: RunConfig) -> list[dict[str, Any]]:
    """The same few sentences each time: what was asked, what was answered, what was wanted, and the attention."""
    count = config.train.samples
    search = replace(config.search, beam=config.train.validate_beam, alignments=True, **LIKELIEST)
    samples = []
    for translation, wanted in zip(
        translator.translate(held_out.sources[:count], search), held_out.references[:count], strict=True
    ):
        best = translation.answers[0] if translation.answers else None
        samples.append(
            {
                "source": shown(translation.source, translator.source_vocab),
                "prediction": translation.text,
                "target": wanted[0],
                "source_tokens": translation.source_tokens,
                "prediction_tokens": best.tokens if best else [],
                "alignment": best.alignment.round(4).tolist() if best and best.alignment is not None else [],
            }
        )
    return samples


def drawn(translator: Translator, held_out: HeldOut, config: RunConfig) -> list[list[dict[str, Any]]]:
    """Of the same sentences, as many answers each as a step of training draws, with what they would have earned."""
    train, vocab = config.train, translator.target_vocab
    each, sources = train.objective.samples, held_out.sources[: train.samples]
    search = replace(config.search, beam=1, n_best=1, sample=True, mbr=NONE)
    found = translator.translate([source for source in sources for _ in range(each)], search)
    texts = [translation.text for translation in found]
    wanted = [right for right in held_out.references[: len(sources)] for _ in range(each)]
    ids = [vocab.encode(text)[:-1] for text in texts]
    references = [[vocab.encode(text)[:-1] for text in right] for right in wanted]
    finished = [all(answer.finished for answer in translation.answers) for translation in found]
    rows = rewarded(Task(ids, references, finished, texts, wanted), train.objective, train.bleu_tokenize)
    draws = [{"text": text, "reward": round(sum(row), 4)} for text, row in zip(texts, rows, strict=True)]
    return [draws[begin : begin + each] for begin in range(0, len(draws), each)]
