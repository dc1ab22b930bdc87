"""Held-out sentences: what the model wrote step by step, or what several models wrote, and what they looked at."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import groupby
from typing import Any

from sequencing.page.markup import nothing, text
from sequencing.plot import attention_svg
from sequencing.records import Record, number
from sequencing.run_folder import Run
from sequencing_np.errors import DataError

MOST_SENTENCES, MOST_STEPS, MOST_PICTURES, LONGEST_COMPARED = 8, 7, 4, 1000
KEY = "compared with the target: <del>too much or wrong</del>, <ins>left out</ins>."


def samples(run: Run) -> str:
    """The samples of a run, a card for each sentence."""
    cards = [sample_card(*asked, records) for asked, records in list(by_sentence(run).items())[:MOST_SENTENCES]]
    key = f'<p class="muted">What the model wrote, step by step, {KEY}</p>'
    return f'{key}<div class="samples">{"".join(cards)}</div>' if cards else nothing("No samples yet.")


def compared_samples(runs: Sequence[Run], names: Sequence[str]) -> str:
    """What each run wrote last for the same sentence; `names` is HTML."""
    found = [by_sentence(run) for run in runs]
    asked = list(dict.fromkeys(key for each in found for key in each))
    most = sorted(asked, key=lambda key: -sum(key in each for each in found))[:MOST_SENTENCES]
    cards = []
    for source, target in most:
        written = [
            (name, each[source, target][-1])
            for name, each in zip(names, found, strict=True)
            if (source, target) in each
        ]
        rows = [(name, str(record.get("prediction", ""))) for name, record in written]
        cards.append(sentence_card(source, target, rows))
    key = f'<p class="muted">What each model wrote last, {KEY}</p>'
    return f'{key}<div class="samples">{"".join(cards)}</div>' if cards else nothing("No samples yet.")


def by_sentence(run: Run) -> dict[tuple[str, str], list[Record]]:
    """The samples of each sentence, known by source and target."""
    found: dict[tuple[str, str], list[Record]] = {}
    for record in run.samples:
        found.setdefault((str(record.get("source", "")), str(record.get("target", ""))), []).append(record)
    return found


def drawn(run: Run) -> str:
    """What a model that learns from rewards drew for some sentences, step by step, and what it earned."""
    cards = []
    for (source, target), records in by_sentence(run).items():
        told = [record for record in records if isinstance(record.get("drawn"), list) and record["drawn"]]
        if told:
            rows = [(text(step_text(record.get("step"))), draws(record["drawn"], target)) for record in a_few(told)]
            cards.append(rows_of(source, target, rows))
    if not cards:
        return ""
    key = f'<p class="muted">Answers drawn as in training, the best first, with their rewards; {KEY}</p>'
    return f'{key}<div class="samples">{"".join(cards[:MOST_SENTENCES])}</div>'


def draws(found: Sequence[object], target: str) -> str:
    """A cell with the different draws, a line each, those that earned most first."""
    earned: dict[str, float] = {}
    for each in found:
        if isinstance(each, dict):
            earned[str(each.get("text", ""))] = number(each.get("reward")) or 0.0
    best = sorted(earned.items(), key=lambda pair: -pair[1])
    lines = (f'<span class="muted">{reward:.2f}</span> {difference(said, target)}' for said, reward in best)
    return f'<td dir="auto">{"<br>".join(lines)}</td>'


def a_few(rows: Sequence[Any]) -> Sequence[Any]:
    """At most MOST_STEPS of them, spread evenly, the first and the last among them."""
    if len(rows) <= MOST_STEPS:
        return rows
    return [rows[round(index * (len(rows) - 1) / (MOST_STEPS - 1))] for index in range(MOST_STEPS)]


def sample_card(source: str, target: str, records: list[Record]) -> str:
    """The table of one sentence; neighbours with the same prediction share a row; of many rows some are left out."""
    alike = [list(group) for _, group in groupby(records, key=lambda record: str(record.get("prediction", "")))]
    rows = []
    for group in a_few(alike):
        steps = dict.fromkeys(text(step_text(record.get("step"))) for record in (group[0], group[-1]))
        rows.append((" – ".join(steps), str(group[0].get("prediction", ""))))
    return sentence_card(source, target, rows)


def sentence_card(source: str, target: str, written: Sequence[tuple[str, str]]) -> str:
    """A sentence, its target, and named answers compared with it; the names are HTML."""
    return rows_of(source, target, [(name, compared_cell(said, target)) for name, said in written])


def rows_of(source: str, target: str, cells: Sequence[tuple[str, str]]) -> str:
    """A sentence, its target, and below them named cells; names and cells are HTML."""
    asked = [(name, f'<td dir="auto">{text(said)}</td>') for name, said in (("source", source), ("target", target))]
    rows = [f'<tr><th scope="row">{name}</th>{cell}</tr>' for name, cell in (*asked, *cells)]
    return f'<div class="card"><table>{"".join(rows)}</table></div>'


def compared_cell(prediction: str, target: str) -> str:
    """A cell with an answer, marked where it differs from the target, or right as a whole."""
    right = ' class="right"' if prediction == target else ""
    return f'<td dir="auto"{right}>{difference(prediction, target)}</td>'


def step_text(step: object) -> str:
    value = number(step)
    return "?" if value is None else f"{value:,.0f}"


def difference(prediction: str, target: str) -> str:
    """The prediction as HTML: what the target does not have is <del>, what only the target has is <ins>."""
    ours, theirs = (pieces(said[:LONGEST_COMPARED], target) for said in (prediction, target))
    matcher = SequenceMatcher(None, ours, theirs, autojunk=False)
    if prediction and matcher.ratio() < 0.5:  # nothing to compare: the common letters are chance
        return f"<del>{text(prediction)}</del>"
    parts = []
    for _, start, end, other_start, other_end in matcher.get_opcodes():
        wrong, missing = "".join(ours[start:end]), "".join(theirs[other_start:other_end])
        if wrong == missing:
            parts.append(text(wrong))
            continue
        parts.append(f"<del>{text(wrong)}</del>" if wrong else "")
        parts.append(f"<ins>{text(missing)}</ins>" if missing else "")
    return "".join(parts) or '<span class="muted">(empty)</span>'


def pieces(said: str, target: str) -> list[str]:
    """Words where the target is a sentence, characters where it is a word or two."""
    return re.findall(r"\s+|\S+", said) if target.count(" ") >= 2 else list(said)


def attention(run: Run) -> str:
    """What the model looked at, in the last samples."""
    last = last_step(run)
    figures: list[str] = []
    for record in run.samples:
        if number(record.get("step")) == last and len(figures) < MOST_PICTURES:
            figures += picture(record)
    key = (
        f"After step {step_text(last)}: each row is a token the model wrote, each column a token it read; "
        "the stronger the colour, the more it looked there."
    )
    return (
        f'<p class="muted">{key}</p><div class="pictures">{"".join(figures)}</div>'
        if figures
        else nothing("No attention to draw.")
    )


def compared_attention(runs: Sequence[Run], names: Sequence[str]) -> str:
    """What each model looked at in the same sentence, the first that all of them have; `names` is HTML."""
    found = [by_sentence(run) for run in runs]
    common = [key for key in found[0] if all(key in each for each in found)]
    figures = []
    for name, each in zip(names, found, strict=True):
        for key in common[:1]:
            figures += picture(each[key][-1], f"<figcaption>{name}</figcaption>")
    words = "Each row is a token the model wrote, each column a token it read; the last sample of each run."
    if not figures:
        return nothing("No sentence of which several runs have attention.")
    return f'<p class="muted">{words}</p><div class="pictures">{"".join(figures[:MOST_PICTURES])}</div>'


def picture(record: Record, caption: str = "") -> list[str]:
    """The picture of one sample; none of a model without attention."""
    try:
        return [f"<figure>{caption}{attention_svg(record)}</figure>"]
    except DataError:
        return []


def last_step(run: Run) -> float | None:
    return max((step for record in run.samples if (step := number(record.get("step"))) is not None), default=None)
