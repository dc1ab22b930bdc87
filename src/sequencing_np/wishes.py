"""What the answer to a line may and must say, as text, and as the rules of a search.

One JSON object a line holds them: {"include": ["word", ["one", "or another"]], "exclude": ["word"], "begin": "text",
"allowed": ["one answer", "another"]}, each key as wanted. A glossary makes them from pairs of words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

from sequencing_np.errors import DataError
from sequencing_np.rules import Begin, Exclude, Grammar, Include, NoRepeats, Rule, Rules
from sequencing_np.text import read_lines
from sequencing_np.vocab import Vocabulary


class Wishes(NamedTuple):
    """Of one line."""

    include: tuple[tuple[str, ...], ...] = ()  # phrases that must be said, each in one of its forms
    exclude: tuple[str, ...] = ()  # phrases that must not be said
    begin: str = ""  # how the answer begins
    allowed: tuple[str, ...] = ()  # the answers that there may be; none named: any

    def and_those(self, other: Wishes) -> Wishes:
        """Both."""
        begin, allowed = self.begin or other.begin, self.allowed or other.allowed
        return Wishes(self.include + other.include, self.exclude + other.exclude, begin, allowed)

    def rules(self, vocab: Vocabulary, no_repeats: int = 0) -> list[Rule]:
        """As rules over ids; DataError where a text has words that the vocabulary does not know, or none."""
        found: list[Rule] = [NoRepeats(no_repeats)] if no_repeats else []
        if self.include:
            found.append(Include([[words_of(form, vocab) for form in forms] for forms in self.include]))
        if self.exclude:
            found.append(Exclude([words_of(text, vocab) for text in self.exclude]))
        if self.begin and vocab.reversed:
            raise DataError(f"begin {self.begin!r}: the model says how answers end first; ask for it with include")
        if self.begin:
            found.append(Begin(words_of(self.begin, vocab)))
        if self.allowed:
            found.append(Grammar.of_answers(words_of(text, vocab) for text in self.allowed))
        return found


def rules_of(wishes: Sequence[Wishes], vocab: Vocabulary, no_repeats: int = 0) -> list[Rules] | None:
    """The rules of several lines; None where there are none at all."""
    found = [each.rules(vocab, no_repeats) for each in wishes]
    return [Rules(each, vocab.special.eos) for each in found] if any(found) else None


def words_of(text: str, vocab: Vocabulary) -> list[int]:
    """The ids of a phrase, without the end."""
    ids = [token for token in vocab.encode(text) if token != vocab.special.eos]
    if not ids:
        raise DataError(f"{text!r}: a phrase that is wished for has no words")
    if vocab.special.unk in ids:
        raise DataError(f"{text!r}: has words that the model does not know, so it cannot be wished for")
    return ids


def read_wishes(path: str | Path) -> Iterator[Wishes]:
    """The wishes of a file, a JSON object a line; DataError with file and line where one is none."""
    for number, line in enumerate(read_lines(path), 1):
        try:
            yield wishes_of(json.loads(line) if line.strip() else {})
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{number}: {error}") from None


def wishes_of(values: Any) -> Wishes:
    """Wishes from JSON's values; ValueError where they are none."""
    keys = Wishes._fields
    if not isinstance(values, dict) or not set(values) <= set(keys):
        raise ValueError(f"must be a JSON object with keys from {', '.join(keys)}")
    include = tuple(texts(forms if isinstance(forms, list) else [forms]) for forms in listed(values, "include"))
    if any(not forms for forms in include):
        raise ValueError("include: a list of forms is empty")
    begin = values.get("begin", "")
    exclude, allowed = (texts(listed(values, key)) for key in ("exclude", "allowed"))
    return Wishes(include, exclude, texts([begin])[0], allowed)


def listed(values: dict[str, Any], key: str) -> list[Any]:
    value = values.get(key, [])
    if not isinstance(value, list):
        raise ValueError(f"{key}: must be a list, not {value!r}")
    return value


def texts(values: Iterable[Any]) -> tuple[str, ...]:
    values = tuple(values)
    wrong = [value for value in values if not isinstance(value, str)]
    if wrong:
        raise ValueError(f"{wrong[0]!r}: must be a text")
    return values


class Glossary:
    """Pairs of words: where the left side stands in a line, the right side must stand in the answer."""

    def __init__(self, entries: Iterable[tuple[str, tuple[str, ...]]]) -> None:
        longest_first = sorted(entries, key=lambda entry: -len(entry[0]))
        self.forms = dict(reversed(longest_first))
        words = "|".join(re.escape(word) for word, _ in longest_first)
        self.pattern = re.compile(rf"(?<!\w)(?:{words})(?!\w)") if words else re.compile(r"(?!)")

    @classmethod
    def read(cls, path: str | Path) -> Glossary:
        """From lines `source<tab>target[<tab>another form …]`; DataError with file and line."""
        entries = []
        for number, line in enumerate(read_lines(path), 1):
            word, *forms = (part.strip() for part in line.split("\t"))
            if line.strip() and (not word or not forms or not all(forms)):
                raise DataError(f"{path}:{number}: must be a source word, a tab and its translation, not {line!r}")
            entries += [(word, tuple(forms))] if forms else []
        return cls(entries)

    def wishes(self, line: str) -> Wishes:
        """What the answer to a line must say."""
        return Wishes(tuple(dict.fromkeys(self.forms[word] for word in self.pattern.findall(line))))


class Asked:
    """What is wished for each line, in their order; `finish` tells of wishes for which there was no line."""

    def __init__(
        self,
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        glossary: str | None = None,
        file: str | None = None,
    ) -> None:
        self.always = Wishes(tuple((text,) for text in include), tuple(exclude))
        self.glossary = Glossary.read(glossary) if glossary else Glossary([])
        self.file = file
        self.own = read_wishes(file) if file else repeat(Wishes())

    def __call__(self, line: str) -> Wishes:
        own = next(self.own, None)
        if own is None:
            raise DataError(f"{self.file}: has fewer lines than the input; give one for each, or an empty one")
        return self.always.and_those(self.glossary.wishes(line)).and_those(own)

    def finish(self) -> None:
        if self.file and next(self.own, None) is not None:
            raise DataError(f"{self.file}: has more lines than the input; give one for each, or an empty one")
