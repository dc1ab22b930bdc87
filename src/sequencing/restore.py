"""Starting from another model: every weight that fits is taken over, and a report says which.

A weight fits where its name and its shape do. Of a weight that has a row for each id, such as a table of vectors, the
rows of those tokens are taken that both vocabularies have, wherever their ids are. Knows nothing of training.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from sequencing.freezing import first, near, shared_names
from sequencing.loading import model_folder_of
from sequencing.model import Model
from sequencing_np.config import changes, to_dict
from sequencing_np.errors import ModelError, UsageError
from sequencing_np.factors import BEFORE
from sequencing_np.model import ModelConfig
from sequencing_np.model_folder import ModelFolder, read_model_folder
from sequencing_np.vocab import Vocabulary

Shape = tuple[int, ...]

SOURCE = ("encoder.embedding.weight", "encoder.values.weight")
TARGET = ("decoder.embedding.weight", "decoder.head.output.weight", "decoder.head.output.bias")
FACTOR = "encoder.embedding.factors.{}.weight"
OF_THE_DATA = {  # what vocabularies fill in
    "source_size", "target_size", "source_factors", "source_vectors", "boundary", "end",
}  # fmt: skip


class Mismatch(NamedTuple):
    """A weight that both models have, in two shapes."""

    name: str
    here: Shape
    there: Shape


class Rows(NamedTuple):
    """A weight of which some rows were loaded, those of tokens that both vocabularies have."""

    name: str
    kept: int
    of: int


class Restored(NamedTuple):
    """What became of each weight. Names are the new model's, those of `unused` the old one's."""

    folder: Path
    loaded: tuple[str, ...]  # whole
    rows: tuple[Rows, ...]  # in part
    missing: tuple[str, ...]  # not in the old model
    mismatched: tuple[Mismatch, ...]
    unused: tuple[str, ...]  # asked for by no weight of the new model
    settings: tuple[str, ...]  # of the architecture, that differ: a weight may fit and mean something else
    numbers: int  # that were loaded
    of: int  # numbers in the new model

    @property
    def share(self) -> float:
        """Of the new model's numbers, how many were loaded."""
        return self.numbers / max(self.of, 1)

    def summary(self) -> str:
        """The report as one line for a log: counts, and the first names of each kind."""
        count = len(self.loaded) + len(self.rows) + len(self.missing) + len(self.mismatched)
        numbers = f"{self.numbers:,} of {self.of:,} numbers loaded ({self.share:.1%})"
        kinds = {
            "in part": [f"{name} ({kept:,} of {of:,} rows)" for name, kept, of in self.rows],
            "not there": self.missing,
            "of another shape": [
                f"{name} ({shown(here)} here, {shown(there)} there)" for name, here, there in self.mismatched
            ],
            "there and unused": self.unused,
            "settings that differ": self.settings,
        }
        parts = [f"{len(names)} {what}: {first(names)}" for what, names in kinds.items() if names]
        return "; ".join([f"{self.folder}: {numbers}, {len(self.loaded)} of {count} weights whole", *parts])


def shown(shape: Shape) -> str:
    """A shape as a person writes it."""
    return " x ".join(map(str, shape))


def optimistic_restore(
    model: Model,
    folder_or_run: str | Path,
    least: float = 0.5,
    rename: Iterable[tuple[str, str]] = (),
    vocabs: tuple[Vocabulary, Vocabulary] | None = None,
) -> Restored:
    """Load every weight that fits from a model folder, or from a run (its best model, or else its last).

    `vocabs` are the source and target vocabularies of `model`: with them rows go by the texts of tokens; without them
    a table that fits by its shape is loaded as it is. `rename` holds pairs (old, new): names of the folder that begin
    with `old` are read as if they began with `new`. ModelError, with the report and the model as it was, where less
    than `least` of its numbers would be loaded.
    """
    if not 0 <= least <= 1:
        raise UsageError(f"least {least}: is a share of the model's numbers, from 0 to 1")
    folder = model_folder_of(folder_or_run)
    parts = read_model_folder(folder)
    there = renamed(all_names(parts), rename, folder)
    tables = paired(vocabs, (parts.source_vocab, parts.target_vocab)) if vocabs else {}
    found: dict[str, Fit] = {}
    used: set[str] = set()
    for name, (parameter, names) in shared_names(model).items():
        given = {each: there[each] for each in names if each in there}
        used.update(stored.name for stored in given.values())
        found[name] = fitted(parameter, [(stored.array, tables.get(each)) for each, stored in given.items()])
    unused = tuple(name for name in parts.weights if name not in used)
    report = report_of(folder, found, unused, tuple(other_settings(parts.config, model.config)))
    if report.share < least:
        raise ModelError(
            f"{report.summary()}. At least {least:.0%} must be loaded: give a model of this architecture, or set least "
            "(train.init.least) lower"
        )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if found[name].kept:
                parameter.copy_(torch.from_numpy(found[name].array))
    return report


class Stored(NamedTuple):
    """A weight of the folder, and the name under which it stands there."""

    name: str
    array: np.ndarray


def all_names(parts: ModelFolder) -> dict[str, Stored]:
    """The weights of a folder under all the names that its own architecture has for them."""
    with torch.device("meta"):  # it takes no memory, and only its names are asked for
        groups = shared_names(Model(parts.config))
    aliases = {name: names for name, (_, names) in groups.items()}
    return {alias: Stored(name, array) for name, array in parts.weights.items() for alias in aliases.get(name, [name])}


def renamed(weights: dict[str, Stored], rename: Iterable[tuple[str, str]], folder: Path) -> dict[str, Stored]:
    """The weights with other beginnings of their names; UsageError where no name begins so."""
    for old, new in rename:
        if not any(name.startswith(old) for name in weights):
            raise UsageError(f"rename {old!r}: no weight of {folder} begins so; nearest: {near(old, weights)}")
        weights = {new + name[len(old) :] if name.startswith(old) else name: each for name, each in weights.items()}
    return weights


class Table(NamedTuple):
    """Of a weight with a row for each id: what each row of the new one stands for, and where that is in the old one."""

    here: Sequence[Hashable]
    there: Mapping[Hashable, int]
    rows: int  # of the old one


def paired(here: tuple[Vocabulary, Vocabulary], there: tuple[Vocabulary, Vocabulary]) -> dict[str, Table]:
    """The weights that have a row for each id, or for each value of a factor of the source."""
    tables = {}
    for names, one, other in zip((SOURCE, TARGET), here, there, strict=True):
        roles = {role: i for i in range(len(other)) for role in roles_of(other, i)}
        table = Table([roles_of(one, i)[-1] for i in range(len(one))], roles, len(other))
        tables.update(dict.fromkeys(names, table))
    for number, (mine, old) in enumerate(zip(factor_values(here[0]), factor_values(there[0]), strict=False)):
        tables[FACTOR.format(number)] = Table(mine, {value: i for i, value in enumerate(old)}, len(old))
    return tables


def roles_of(vocab: Vocabulary, token_id: int) -> list[Hashable]:
    """What an id stands for: the text of a token, or what is special about it; padding may be the end too."""
    token = vocab.tokens[token_id]
    if token is not None:
        return [token]
    return [(name,) for name, special in vocab.special._asdict().items() if special == token_id]


def factor_values(vocab: Vocabulary) -> list[list[Hashable]]:
    """What the values of each factor stand for; the first two, none and unknown, are no texts."""
    if not vocab.factor_sizes:
        return []
    document = vocab.to_json()
    while "each" in document:  # where a line has several texts, or is read backwards: what is wrapped
        document = document["each"]
    return [[*enumerate(BEFORE), *values] for values in document["factors"]]


class Fit(NamedTuple):
    """What a parameter gets: an array of its shape, of which some rows are not its own."""

    array: np.ndarray
    rows: int  # one, where it has none
    kept: int  # those that are not its own
    there: Shape | None  # the shape of what has its name in the old model


def fitted(parameter: nn.Parameter, given: Sequence[tuple[np.ndarray, Table | None]]) -> Fit:
    """The array of a parameter, made of those that have one of its names; each row of the first one that has it."""
    own = parameter.detach().cpu().numpy().copy()
    free = np.ones(own.shape[:1] or 1, dtype=bool)
    for array, table in given:
        if table and fits(own.shape, array.shape, table):
            places = np.array([table.there.get(role, -1) for role in table.here])
            rows = free & (places >= 0)
            own[rows] = array[places[rows]]
            free &= ~rows
        elif own.shape == array.shape and free.all():
            own[...], free[:] = array, False
    return Fit(own, free.size, int((~free).sum()), given[0][0].shape if given else None)


def fits(here: Shape, there: Shape, table: Table) -> bool:
    """Whether two weights have a row for each id indeed, and these are of one width."""
    return (here[0], there[0]) == (len(table.here), table.rows) and here[1:] == there[1:]


def report_of(folder: Path, found: Mapping[str, Fit], unused: tuple[str, ...], settings: tuple[str, ...]) -> Restored:
    """The report of what each parameter gets."""
    kept = {name: fit for name, fit in found.items() if fit.kept}
    lost = {name: fit for name, fit in found.items() if not fit.kept}
    return Restored(
        folder,
        tuple(name for name, fit in kept.items() if fit.kept == fit.rows),
        tuple(Rows(name, fit.kept, fit.rows) for name, fit in kept.items() if fit.kept < fit.rows),
        tuple(name for name, fit in lost.items() if fit.there is None),
        tuple(Mismatch(name, fit.array.shape, fit.there) for name, fit in lost.items() if fit.there is not None),
        unused,
        settings,
        sum(fit.kept * (fit.array.size // fit.rows) for fit in kept.values()),
        sum(fit.array.size for fit in found.values()),
    )


def other_settings(old: ModelConfig, new: ModelConfig) -> list[str]:
    """The settings of two architectures that differ, but those that no weight depends on or the data fill in."""
    names = (name for name, _, _ in changes(to_dict(old), to_dict(new)))
    return [name for name in names if name.rpartition(".")[2] not in OF_THE_DATA and not name.endswith("dropout")]
