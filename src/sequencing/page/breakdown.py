"""Answers looked at closely: how good by length of the source, which kinds of mistake, and which tokens."""

from collections import Counter
from collections.abc import Sequence

from sequencing.mistakes import Group, Judged, answers_of, by_length, by_mistake, mistakes
from sequencing.page.markup import bar, card, grid, nothing, text
from sequencing.page.numbers import percent
from sequencing.page.sentences import last_step, sentence_card
from sequencing.records import number
from sequencing.run_folder import Run

FEWEST = 20  # answers, of which anything can be said
MOST_TOKENS, MOST_FARTHEST = 8, 4
MISSING = "answers.jsonl is missing: it is written at the best validation."


def answers_in(run: Run) -> list[Judged]:
    """The best model's answers to dev; without them the last samples, where they are not too few."""
    last = last_step(run)
    samples = [record for record in run.samples if number(record.get("step")) == last]
    found = answers_of(run.answers or samples)
    return found if len(found) >= FEWEST or run.answers else []


def breakdown(run: Run) -> str:
    """Of one run."""
    answers = answers_in(run)
    if not answers:
        return nothing(MISSING)
    groups = by_length(answers)
    most = max(group.error_rate for group in groups) or 1.0
    lengths = [
        [
            text(group.name),
            f"{len(group.answers):,}",
            bar(group.exact, percent(group.exact)),
            bar(group.error_rate / most, percent(group.error_rate)),
            f"{group.length_ratio:.2f}",
        ]
        for group in groups
    ]
    heads = ["tokens of the source", "sentences", "right", "token errors", "length"]
    kinds = [group for group in by_mistake(answers) if group.answers]
    rows = [[text(group.name), f"{len(group.answers):,}", share_bar(group, answers)] for group in kinds]
    parts = [
        card(grid(heads, lengths), "card whole", "By length of the source"),
        card(grid(["", "sentences", "share"], rows), title="Kinds of mistakes"),
        tokens_card(answers),
    ]
    said = f"{len(answers):,} answers to dev. Length is what was said for each token that was wanted."
    farthest = "".join(
        sentence_card(answer.source, answer.wanted, [("answer", answer.prediction)]) for answer in worst(answers)
    )
    return (
        f'<p class="muted">{said}</p><div class="samples">{"".join(parts)}</div>'
        + (f'<h3 class="above">Farthest from the target</h3><div class="samples">{farthest}</div>' if farthest else "")
    )  # fmt: skip


def compared_breakdown(runs: Sequence[Run], names: Sequence[str]) -> str:
    """Of several runs: a column each; `names` is HTML."""
    found = [(name, answers) for run, name in zip(runs, names, strict=True) if (answers := answers_in(run))]
    if not found:
        return nothing(MISSING)
    heads = [name for name, _ in found]
    lengths = [{group.name: group for group in by_length(answers)} for _, answers in found]
    ranges = sorted({name for each in lengths for name in each}, key=lambda name: int(name.split()[0]))
    rows = [[text(name), *(marked([each.get(name) for each in lengths]))] for name in ranges]
    kinds = [{group.name: group for group in by_mistake(answers)} for _, answers in found]
    shares = [
        [text(name), *(share_bar(each[name], answers) for each, (_, answers) in zip(kinds, found, strict=True))]
        for name in kinds[0]
        if any(each[name].answers for each in kinds)
    ]
    return (
        f'<div class="samples">{card(grid(["tokens of the source", *heads], rows), title="Token errors by length")}'
        f"{card(grid(['', *heads], shares), title='Kinds of mistakes')}</div>"
    )


def marked(groups: Sequence[Group | None]) -> list[str]:
    """Error rates side by side, the lowest marked."""
    rates = [group.error_rate if group else None for group in groups]
    known = [rate for rate in rates if rate is not None]
    cells = []
    for rate in rates:
        said = '<span class="muted">–</span>' if rate is None else text(percent(rate))
        cells.append(f"<b>{said}</b>" if rate == min(known) and len(set(known)) > 1 else said)
    return cells


def share_bar(group: Group, answers: Sequence[Judged]) -> str:
    share = len(group.answers) / len(answers)
    return bar(share, percent(share))


def tokens_card(answers: Sequence[Judged]) -> str:
    """The tokens that are most often wrong."""
    found = mistakes(answers)
    confused = [
        [f"{token(wanted)} → {token(said)}", f"{count:,}"]
        for (wanted, said), count in found.confused.most_common(MOST_TOKENS)
    ]
    lists = [grid(["wanted → said", "times"], confused)] if confused else []
    lists += [counted(title, tokens) for title, tokens in (("left out", found.missing), ("too much", found.added))]
    return card("".join(lists), title="Tokens")


def counted(title: str, tokens: Counter[str]) -> str:
    said = ", ".join(f"{token(name)} {count:,}" for name, count in tokens.most_common(MOST_TOKENS))
    return f'<p><span class="muted">{title}:</span> {said}</p>' if said else ""


def token(said: str) -> str:
    return f'<bdi class="token">{text(said.replace(" ", "␣"))}</bdi>'


def worst(answers: Sequence[Judged]) -> list[Judged]:
    """The answers with the most edits for their length, that are no plain failure."""
    wrong = [answer for answer in answers if answer.edits and len(answer.right) > 2]
    return sorted(wrong, key=lambda answer: -answer.edits / max(len(answer.right), len(answer.said)))[:MOST_FARTHEST]
