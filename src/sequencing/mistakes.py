"""How good answers are, looked at closely: by the length of the source, by what kind of mistake, and which tokens.

An answer is a record with a source, a prediction and one or several references. Tokens are words where the references
are sentences, and characters where they are a word or two. Knows nothing of models and pages.
"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from sequencing.edits import aligned
from sequencing.records import Record, number
from sequencing_np.metrics import edit_distance

EDGES = (1, 3, 6, 11, 16, 21, 31, 41, 61)  # where a range of lengths begins
REPEATED = re.compile(r"(?:^| )(\S+(?: \S+){0,3})(?: \1){2,}(?= |$)")  # one to four words, three times in a row


class Judged(NamedTuple):
    """What was asked, said and wanted, in tokens."""

    source: str
    prediction: str
    wanted: str  # the closest reference
    length: int  # of the source, in tokens
    said: tuple[str, ...]
    right: tuple[str, ...]
    edits: int  # between the two


class Group(NamedTuple):
    """Answers that have something in common."""

    name: str
    answers: list[Judged]

    @property
    def exact(self) -> float:
        """The share of those that are right."""
        return sum(not answer.edits for answer in self.answers) / max(1, len(self.answers))

    @property
    def error_rate(self) -> float:
        """Edits a token of the references."""
        return sum(answer.edits for answer in self.answers) / max(1, sum(len(answer.right) for answer in self.answers))

    @property
    def length_ratio(self) -> float:
        """Tokens said for each that was wanted."""
        return sum(len(each.said) for each in self.answers) / max(1, sum(len(each.right) for each in self.answers))


class Mistakes(NamedTuple):
    """Which tokens were confused, left out and added, and how often."""

    confused: Counter[tuple[str, str]]  # wanted, said
    missing: Counter[str]
    added: Counter[str]


def answers_of(records: Sequence[Record]) -> list[Judged]:
    """The answers that records hold; what is none is left out."""
    found = [(str(record["source"]), str(record["prediction"]), references_of(record), record) for record in records
             if "source" in record and "prediction" in record and references_of(record)]  # fmt: skip
    words = are_sentences([references[0] for _, _, references, _ in found])
    answers = []
    for source, prediction, references, record in found:
        said = tokens(prediction, words)
        edits, _, wanted = min((edit_distance(said, right), -len(right), text) for text in references
                               for right in [tokens(text, words)])  # fmt: skip
        length = length_of(record) or len(tokens(source, " " in source.strip()))
        answers.append(Judged(source, prediction, wanted, length, said, tokens(wanted, words), edits))
    return answers


def length_of(record: Record) -> int:
    """How many tokens the model read; 0 where the record does not say."""
    given = record.get("source_tokens")
    return len(given) if isinstance(given, list) else int(number(record.get("source_length")) or 0)


def references_of(record: Record) -> list[str]:
    """All right answers of a record, of which it names at least one."""
    references = record.get("references")
    if isinstance(references, list) and references:
        return [str(each) for each in references]
    return [str(record["target"])] if "target" in record else []


def are_sentences(texts: Sequence[str]) -> bool:
    """Whether texts are sentences, and not single words."""
    return sum(text.strip().count(" ") >= 2 for text in texts) * 2 > len(texts)


def tokens(text: str, words: bool) -> tuple[str, ...]:
    return tuple(text.split()) if words else tuple(text)


def by_length(answers: Sequence[Judged]) -> list[Group]:
    """Groups of sources of about the same length, those that have any."""
    groups = []
    for low, high in [*pairwise(EDGES), (EDGES[-1], None)]:
        inside = [
            answer for answer in answers if low <= max(answer.length, 1) and (high is None or answer.length < high)
        ]
        name = f"{low} and more" if high is None else f"{low} – {high - 1}"
        groups += [Group(name, inside)] if inside else []
    return groups


def by_mistake(answers: Sequence[Judged]) -> list[Group]:
    """Groups by the kind of mistake: each answer is in the first that fits; those without any answer too."""
    kinds: dict[str, list[Judged]] = {name: [] for name in KINDS}
    for answer in answers:
        kinds[next(name for name, fits in KINDS.items() if fits(answer))].append(answer)
    return [Group(name, found) for name, found in kinds.items()]


def repeats_itself(answer: Judged) -> bool:
    """Whether the answer says something three times in a row that the reference does not."""
    said, wanted = (" ".join(tokens) for tokens in (answer.said, answer.right))
    return bool(REPEATED.search(said)) and not REPEATED.search(wanted)


KINDS = {
    "right": lambda answer: not answer.edits,
    "empty": lambda answer: not answer.prediction.strip(),
    "repeats itself": repeats_itself,
    "a copy of the source": lambda answer: answer.prediction == answer.source,
    "much too short": lambda answer: len(answer.said) < 0.6 * len(answer.right),
    "much too long": lambda answer: len(answer.said) > 1.6 * len(answer.right),
    "one edit away": lambda answer: answer.edits == 1,
    "right tokens, other order": lambda answer: Counter(answer.said) == Counter(answer.right),
    "up to a quarter wrong": lambda answer: answer.edits <= 0.25 * len(answer.right),
    "up to a half wrong": lambda answer: answer.edits <= 0.5 * len(answer.right),
    "more than a half wrong": lambda answer: True,
}


def mistakes(answers: Sequence[Judged]) -> Mistakes:
    """The mistakes of all answers, token by token, on a shortest way of edits."""
    found = Mistakes(Counter(), Counter(), Counter())
    for answer in answers:
        for wanted, said in aligned(answer.right, answer.said) if answer.edits else ():
            if wanted == said:
                continue
            if wanted is None and said is not None:
                found.added[said] += 1
            elif said is None and wanted is not None:
                found.missing[wanted] += 1
            elif said is not None and wanted is not None:
                found.confused[wanted, said] += 1
    return found
