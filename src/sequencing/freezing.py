"""Weights that stay as they are while others learn, by patterns on their names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from sequencing_np.errors import ConfigError

SHOWN = 3  # names that a sentence shows


def shared_names(model: nn.Module) -> dict[str, tuple[nn.Parameter, list[str]]]:
    """Each parameter by its first name, with all its names: a table that is tied or shared has several."""
    found: dict[int, tuple[nn.Parameter, list[str]]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        found.setdefault(id(parameter), (parameter, []))[1].append(name)
    return {names[0]: (parameter, names) for parameter, names in found.values()}


def freeze(model: nn.Module, patterns: Sequence[str]) -> tuple[str, ...]:
    """Let the weights whose names fit a pattern (`encoder.*`) stay as they are; their names.

    After a "!" stands what is to learn all the same. The last pattern that fits a weight decides; of a table that is
    tied or shared each name counts. ConfigError where a pattern fits nothing.
    """
    weights = shared_names(model)
    frozen: dict[str, bool] = {}
    for pattern in patterns:
        wanted = pattern.removeprefix("!")
        fitting = [name for name, (_, names) in weights.items() if any(fnmatchcase(each, wanted) for each in names)]
        if not fitting:
            known = [name for _, names in weights.values() for name in names]
            raise ConfigError(f"train.init.freeze: {pattern!r} fits no weight's name; nearest: {near(wanted, known)}")
        frozen.update(dict.fromkeys(fitting, wanted == pattern))
    stay = tuple(name for name in weights if frozen.get(name))
    for name in stay:
        weights[name][0].requires_grad_(False)
    return stay


def check_learning(model: nn.Module) -> str:
    """How much of a model learns, in words; ConfigError where nothing does."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    learn, total = sum(size for size, moves in sizes if moves), sum(size for size, _ in sizes)
    if not learn:
        raise ConfigError(
            "train.init.freeze: all weights stay as they are, so there is nothing to learn; leave some out of it, as "
            'in ["encoder.*"] or ["*", "!decoder.head.*"]'
        )
    return f"{learn:,} of {total:,} numbers learn"


def near(name: str, known: Iterable[str]) -> str:
    """The names, and the beginnings of names, that are most like one that is none."""
    options = {option for each in known for option in (each, *beginnings(each))}
    return ", ".join(difflib.get_close_matches(name, sorted(options), n=SHOWN, cutoff=0))


def beginnings(name: str) -> list[str]:
    """`a.b.c` -> `a.*`, `a.b.*`"""
    parts = name.split(".")
    return [".".join([*parts[:length], "*"]) for length in range(1, len(parts))]


def first(names: Sequence[str]) -> str:
    """The first few of some names."""
    return ", ".join([*names[:SHOWN], *(["…"] if len(names) > SHOWN else [])])
