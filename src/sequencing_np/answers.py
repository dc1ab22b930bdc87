"""What a Translator says, as lines of text or JSON. docs/commands.md describes each of these forms.

Knows nothing of files and streams. Texts that hold a line feed say it as a space, so that lines stay lines.
"""

import json
import math
from typing import Any, Protocol

import numpy as np

from sequencing_np.translation import Answer, Scored, Translation
from sequencing_np.writing import single_line


class Layout(Protocol):
    """One translation as lines; `number` is that of its source line, from 0."""

    def __call__(self, number: int, translation: Translation) -> list[str]: ...


class Columns:
    """The best answer, one line: [score <tab>] text [<tab> alignment]."""

    def __init__(self, scores: bool = False, alignments: bool = False) -> None:
        self.scores, self.alignments = scores, alignments

    def __call__(self, number: int, translation: Translation) -> list[str]:
        best = best_of(translation)
        columns = [decimal(best.score)] if self.scores else []
        columns.append(single_line(best.text))
        if self.alignments:
            columns.append(hard_alignment(translation, best))
        return ["\t".join(columns)]


class NBest:
    """Each answer, one line, as the Moses decoder writes them: number ||| text ||| score [||| alignment]."""

    def __init__(self, alignments: bool = False) -> None:
        self.alignments = alignments

    def __call__(self, number: int, translation: Translation) -> list[str]:
        lines = []
        for answer in translation.answers or [best_of(translation)]:
            fields = [str(number), single_line(answer.text), decimal(answer.score)]
            if self.alignments:
                fields.append(hard_alignment(translation, answer))
            lines.append(" ||| ".join(fields))
        return lines


class JSONLines:
    """All there is, one JSON object a line."""

    def __call__(self, number: int, translation: Translation) -> list[str]:
        return [translation_json(translation)]


def best_of(translation: Translation) -> Answer:
    """The best answer; an empty one whose score is NaN where the model had none."""
    return translation.answers[0] if translation.answers else Answer("", math.nan, math.nan, [], [], None, False)


def hard_alignment(translation: Translation, answer: Answer) -> str:
    """Pairs `source-target` of token positions, from 0: for each target token the source token it looked at most.

    The end symbols stand outside: a target token that looked at the source's end has no pair. Where a source was taken
    apart, the ends of its parts are not counted.
    """
    if answer.alignment is None:
        return ""
    found = []
    source = target = 0
    for part in translation.parts or (translation._replace(answers=[answer]),):
        said = part.answers[0]
        words, end = len(said.tokens) - said.finished, len(part.source_tokens) - 1
        if said.alignment is not None:
            found.append(links(said.alignment[:words], end, source, target))
        source, target = source + end, target + words
    return " ".join(filter(None, found))


def links(alignment: np.ndarray, end: int, source: int = 0, target: int = 0) -> str:  # (T, S) -> T links at most
    """`source-target` of each target token's largest weight, up to the source's end, which has no link.

    `source` and `target` are the positions of the first tokens.
    """
    looked = alignment[:, : end + 1].argmax(axis=1)
    return " ".join(f"{source + to}-{target + at}" for at, to in enumerate(looked) if to != end)


def decimal(value: float) -> str:
    """A score or log-probability as text: six decimals, no negative zero."""
    text = f"{value:.6f}"
    return "0.000000" if text == "-0.000000" else text


def rounded(value: float, digits: int = 6) -> float | None:
    """A number as JSON takes it: NaN and the infinities are null."""
    return round(value, digits) + 0.0 if math.isfinite(value) else None


def translation_json(translation: Translation) -> str:
    """The best answer in the object itself, all of them in `answers`."""
    best = best_of(translation)
    document = {
        "source": translation.source,
        **{key: value for key, value in answer_fields(best).items() if key in TOP},
        "source_tokens": translation.source_tokens,
        "answers": [answer_fields(answer) | soft_alignment(translation, answer) for answer in translation.answers],
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False)


TOP = ("translation", "score", "log_prob", "tokens")


def answer_fields(answer: Answer) -> dict[str, Any]:
    """An answer without its alignment."""
    return {
        "translation": answer.text,
        "score": rounded(answer.score),
        "log_prob": rounded(answer.log_prob),
        "tokens": answer.tokens,
        "token_log_probs": [rounded(value) for value in answer.token_log_probs],
        "finished": answer.finished,
    }


def soft_alignment(translation: Translation, answer: Answer) -> dict[str, Any]:
    """The whole attention: a row for each of `tokens`, a column for each of `source_tokens`; empty if not asked for."""
    if answer.alignment is None:
        return {}
    weights = answer.alignment[:, : len(translation.source_tokens)].tolist()
    return {"alignment": [[rounded(weight, 4) for weight in row] for row in weights]}


def scored_json(source: str, target: str, tokens: list[str], scored: Scored) -> str:
    """How likely a target is, and each of its tokens."""
    document = {
        "source": source,
        "target": target,
        "log_prob": rounded(scored.log_prob),
        "tokens": tokens,
        "token_log_probs": [rounded(value) for value in scored.token_log_probs],
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False)
