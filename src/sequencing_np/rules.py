"""What an answer may and must say: rules that follow a hypothesis token by token.

A rule is an automaton. Its state is a value that is never changed in place, so hypotheses may share it; from a state it
tells which ids may not come next, which would bring nearer what must be said, and whether the answer may end. All rules
work on ids and know nothing of models, text and searches. A sentence has `Rules`, its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np

from sequencing_np.errors import SearchError

Ids = tuple[int, ...]


class Rule(Protocol):
    """One rule of one sentence."""

    least: int  # tokens that keeping it takes, about
    steers: bool  # whether something has to be looked for: `met` and `wanted` say what

    def start(self) -> Any: ...
    def forbid(self, state: Any, banned: np.ndarray) -> None: ...  # (V,) bool, marked in place
    def next(self, state: Any, token: int) -> Any: ...
    def done(self, state: Any) -> bool: ...
    def met(self, state: Any) -> int: ...  # how many tokens of what must be said have been said
    def wanted(self, state: Any) -> Iterable[int]: ...  # ids that would raise it
    def tokens(self) -> Iterable[int]: ...  # ids that keeping it may take


class Free:
    """What most rules have in common: nothing must be looked for."""

    least = 0
    steers = False

    def done(self, state: Any) -> bool:
        return True

    def met(self, state: Any) -> int:
        return 0

    def wanted(self, state: Any) -> Iterable[int]:
        return ()

    def tokens(self) -> Iterable[int]:
        return ()


class NoRepeats(Free):
    """No n tokens in a row come twice (Paulus et al. 2018, section 2.5)."""

    def __init__(self, n: int) -> None:
        self.n = n

    def start(self) -> Ids:
        return ()

    def forbid(self, state: Ids, banned: np.ndarray) -> None:
        last = state[len(state) - self.n + 1 :]
        if len(state) >= self.n - 1:
            for begin in range(len(state) - self.n + 1):
                if state[begin : begin + self.n - 1] == last:
                    banned[state[begin + self.n - 1]] = True

    def next(self, state: Ids, token: int) -> Ids:
        return (*state, token)


class Exclude(Free):
    """None of the phrases may be said."""

    def __init__(self, phrases: Iterable[Sequence[int]]) -> None:
        self.phrases = [tuple(phrase) for phrase in phrases]
        self.memory = max(map(len, self.phrases), default=1) - 1

    def start(self) -> Ids:
        return ()

    def forbid(self, state: Ids, banned: np.ndarray) -> None:
        for phrase in self.phrases:
            if state[len(state) - len(phrase) + 1 :] == phrase[:-1] and len(state) >= len(phrase) - 1:
                banned[phrase[-1]] = True

    def next(self, state: Ids, token: int) -> Ids:
        return last_of((*state, token), self.memory)


class Include:
    """Each group of phrases is said: one of its alternatives, anywhere (Hokamp and Liu 2017; Post and Vilar 2018)."""

    steers = True

    def __init__(self, groups: Iterable[Iterable[Sequence[int]]]) -> None:
        self.groups = [[tuple(phrase) for phrase in group] for group in groups]
        phrases = [phrase for group in self.groups for phrase in group]
        self.memory = max(map(len, phrases), default=1) - 1
        self.least = sum(min(map(len, group)) for group in self.groups)  # tokens that take all of it

    def start(self) -> tuple[frozenset[int], Ids]:
        return frozenset(), ()  # groups that were said; the last tokens

    def forbid(self, state: tuple[frozenset[int], Ids], banned: np.ndarray) -> None:
        return

    def next(self, state: tuple[frozenset[int], Ids], token: int) -> tuple[frozenset[int], Ids]:
        said, last = state
        last = (*last, token)
        new = {
            number
            for number, group in enumerate(self.groups)
            if number not in said and any(last[-len(phrase) :] == phrase for phrase in group)
        }
        return said | new, last_of(last, self.memory)

    def begun(self, state: tuple[frozenset[int], Ids]) -> list[tuple[int, Ids]]:
        """For each phrase still wanted, how many of its tokens stand at the end."""
        said, last = state
        found = []
        for number, group in enumerate(self.groups):
            for phrase in group if number not in said else ():
                lengths = range(min(len(phrase) - 1, len(last)), 0, -1)
                found.append((next((n for n in lengths if last[-n:] == phrase[:n]), 0), phrase))
        return found

    def done(self, state: tuple[frozenset[int], Ids]) -> bool:
        return len(state[0]) == len(self.groups)

    def met(self, state: tuple[frozenset[int], Ids]) -> int:
        whole = sum(min(map(len, self.groups[number])) for number in state[0])
        return whole + max((length for length, _ in self.begun(state)), default=0)

    def wanted(self, state: tuple[frozenset[int], Ids]) -> Iterable[int]:
        return {phrase[length] for length, phrase in self.begun(state)}

    def tokens(self) -> Iterable[int]:
        return {token for group in self.groups for phrase in group for token in phrase}


class Begin(Free):
    """The answer begins with these tokens."""

    def __init__(self, words: Sequence[int]) -> None:
        self.words = tuple(words)
        self.least = len(words)

    def start(self) -> int:
        return 0

    def forbid(self, state: int, banned: np.ndarray) -> None:
        if state < len(self.words):
            allow(banned, self.words[state : state + 1])

    def next(self, state: int, token: int) -> int:
        return state + 1

    def done(self, state: int) -> bool:
        return state >= len(self.words)

    def tokens(self) -> Iterable[int]:
        return self.words


class Grammar(Free):
    """The answer is a path through an automaton: from each state some ids lead on, and some states may be the last.

    `of_answers` makes the one that allows a list of answers and no other.
    """

    def __init__(self, steps: Sequence[dict[int, int]], ends: Iterable[int]) -> None:
        self.steps, self.ends = steps, frozenset(ends)

    @classmethod
    def of_answers(cls, answers: Iterable[Sequence[int]]) -> Grammar:
        steps: list[dict[int, int]] = [{}]
        ends = set()
        for answer in answers:
            state = 0
            for token in answer:
                if token not in steps[state]:
                    steps.append({})
                    steps[state][token] = len(steps) - 1
                state = steps[state][token]
            ends.add(state)
        return cls(steps, ends)

    def start(self) -> int:
        return 0

    def forbid(self, state: int, banned: np.ndarray) -> None:
        allow(banned, tuple(self.steps[state]) if state >= 0 else ())

    def next(self, state: int, token: int) -> int:
        return self.steps[state].get(token, -1) if state >= 0 else -1

    def done(self, state: int) -> bool:
        return state in self.ends

    def tokens(self) -> Iterable[int]:
        return {token for steps in self.steps for token in steps}


class Rules:
    """All rules of one sentence, as one."""

    def __init__(self, rules: Sequence[Rule], eos: int) -> None:
        self.rules, self.eos = rules, eos
        self.least, self.steers = sum(rule.least for rule in rules), any(rule.steers for rule in rules)

    def start(self) -> tuple[Any, ...]:
        return tuple(rule.start() for rule in self.rules)

    def forbid(self, states: tuple[Any, ...], banned: np.ndarray) -> None:
        ends = banned[self.eos] or not self.done(states)
        for rule, state in zip(self.rules, states, strict=True):
            banned[self.eos] = False
            rule.forbid(state, banned)
        banned[self.eos] = ends

    def next(self, states: tuple[Any, ...], token: int) -> tuple[Any, ...]:
        return tuple(rule.next(state, token) for rule, state in zip(self.rules, states, strict=True))

    def done(self, states: tuple[Any, ...]) -> bool:
        return all(rule.done(state) for rule, state in zip(self.rules, states, strict=True))

    def met(self, states: tuple[Any, ...]) -> int:
        return sum(rule.met(state) for rule, state in zip(self.rules, states, strict=True))

    def wanted(self, states: tuple[Any, ...]) -> list[int]:
        found = {token for rule, state in zip(self.rules, states, strict=True) for token in rule.wanted(state)}
        return sorted(found)


def check_rules(rules: Sequence[Rules], count: int) -> None:
    """SearchError where there are not so many."""
    if len(rules) != count:
        raise SearchError(f"rules for {len(rules)} sentences, but there are {count}; give each its own")


def allow(banned: np.ndarray, ids: Iterable[int]) -> None:  # (V,) bool
    """Ban all ids but these, of which those that were banned stay so."""
    kept = np.ones(len(banned), dtype=bool)
    kept[list(ids)] = False
    banned |= kept


def last_of(words: Ids, count: int) -> Ids:
    return words[-count:] if count else ()
