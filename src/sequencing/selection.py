"""By what the best model is chosen, and training stopped: numbers of a validation, or a function of the user's own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

from sequencing.further_metrics import FURTHER, References
from sequencing_np.config import choose
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.own import load_own, said

SETTING = "train.select"
METRICS = {  # what a best model may be chosen by, and which way is better
    "bleu": 1,
    "chrf": 1,
    "exact_match": 1,
    "token_accuracy": 1,
    "loss": -1,
    "token_error_rate": -1,
    "sequence_error_rate": -1,
    "ter": -1,
    "rouge_1": 1,
    "rouge_2": 1,
    "rouge_l": 1,
}
SIGNATURES = ("signature", "chrf_signature", "ter_signature")
TAKEN = {*METRICS, *SIGNATURES, "kind", "step", "seconds", "best", "sentences_per_second"}
"""What a validation's line in the log says besides; a user's function needs another name."""


def check_select(select: str) -> None:
    """ConfigError where there is no such number, or a function of the user's cannot be found."""
    if ":" not in select:
        choose(METRICS, select, SETTING)
        return
    own_function(select)
    name = column(select)
    if name in TAKEN:
        raise ConfigError(
            f"{SETTING} {select!r}: the log has a number {name!r} already; give the function another name"
        )


def column(select: str) -> str:
    """The name under which the number stands in the log: of a user's function its own."""
    return select.rpartition(":")[2]


def sign(select: str) -> int:
    """1 where more is better, as of every function of a user's; else -1."""
    return METRICS.get(select, 1)


@cache
def own_function(select: str) -> Any:
    """A function of the user's, from texts and the references of each to a number; ConfigError where there is none."""
    return load_own(select, SETTING)


def asked_scores(select: str, texts: Sequence[str], references: References) -> dict[str, Any]:
    """What is counted only because it is asked for: a row of FURTHER, or what a user's function says under its name.

    DataError where that fails, or returns no finite number.
    """
    if ":" not in select:
        return FURTHER[select](texts, references) if select in FURTHER else {}
    try:
        score = float(own_function(select)(list(texts), [list(allowed) for allowed in references]))
    except Exception as error:
        raise DataError(f"{SETTING}: the function {select} failed: {said(error)}") from error
    if not math.isfinite(score):
        raise DataError(f"{SETTING}: the function {select} returned {score}; it must return a finite number")
    return {column(select): score}
