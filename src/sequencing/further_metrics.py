"""Numbers about answers that are counted only where they are asked for: TER by sacreBLEU, ROUGE.

TER looks for blocks of words that were moved, which takes seconds to minutes for a thousand long answers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sequencing_np.metrics import check_references, rouge_l, rouge_n

References = Sequence[Sequence[str]]


def streams(references: References) -> list[list[Any]]:
    """References as sacreBLEU takes them: the first of each text, then the second; None where there are fewer."""
    most = max(map(len, references))
    return [[texts[k] if k < len(texts) else None for texts in references] for k in range(most)]


def ter(hypotheses: Sequence[str], references: References) -> dict[str, Any]:
    """Edits and moves per hundred words of the references (Snover et al. 2006); several references: the nearest."""
    from sacrebleu.metrics.ter import TER

    check_references(len(hypotheses), references)
    score, given = TER(), streams(references)
    return {
        "ter": round(score.corpus_score(list(hypotheses), given).score, 2),
        "ter_signature": str(score.get_signature()),
    }


def rouge(name: str, count: Callable[..., float], hypotheses: Sequence[str], references: References) -> dict[str, Any]:
    """F1 from 0 to 100 of texts split at spaces."""
    wanted = [[text.split() for text in texts] for texts in references]
    return {name: round(100 * count([text.split() for text in hypotheses], wanted), 2)}


FURTHER: dict[str, Callable[[Sequence[str], References], dict[str, Any]]] = {
    "ter": ter,
    "rouge_1": partial(rouge, "rouge_1", partial(rouge_n, size=1)),
    "rouge_2": partial(rouge, "rouge_2", partial(rouge_n, size=2)),
    "rouge_l": partial(rouge, "rouge_l", rouge_l),
}
