"""What a search is made of: the table [tune] of a configuration, and the space in it. Knows nothing of Optuna."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from sequencing.run_config import RunConfig, resolved, saved
from sequencing.tuning.toml import inline
from sequencing_np.config import Origin, build, choose, override, read_toml, require
from sequencing_np.errors import ConfigError

SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("median", "hyperband", "none")
FIXED = {  # what scores are measured with: scores of different ones cannot be compared
    "train.select", "train.bleu_tokenize", "train.validate_sentences", "train.validate_beam", "data.dev",
}  # fmt: skip
MOST_POINTS = 1_000_000  # of a grid


@dataclass(frozen=True)
class TuneConfig:
    """How a search goes."""

    space: dict[str, Any]  # dotted keys of the configuration, and from what their values are drawn
    trials: int = 20  # all together, those of earlier calls too
    minutes: float = 0.0  # of one call; 0: no limit
    sampler: str = "tpe"  # one of SAMPLERS: how the next values are chosen
    pruner: str = "median"  # one of PRUNERS: when a trial that does badly is ended early
    startup: int = 5  # as many trials are drawn at random, and have to end before the median ends one
    warmup: int = 0  # steps of a trial in which the median does not end it
    seed: int = 1

    def __post_init__(self) -> None:
        choose(dict.fromkeys(SAMPLERS), self.sampler, "sampler")
        choose(dict.fromkeys(PRUNERS), self.pruner, "pruner")
        require(self.trials >= 1, f"trials {self.trials}: must be 1 or more")
        for name in ("minutes", "startup", "warmup", "seed"):
            require(getattr(self, name) >= 0, f"{name} {getattr(self, name)}: must be 0 or more")


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where the setting is a whole number."""

    low: int | float
    high: int | float
    log: bool = False  # as many between 1 and 10 as between 10 and 100
    step: int | float = 0  # 0: none, or 1 for whole numbers

    def __post_init__(self) -> None:
        require(self.low < self.high, f"low {self.low}, high {self.high}: low must be below high")
        require(self.step >= 0, f"step {self.step}: must be above 0")
        require(not self.log or self.low > 0, f"low {self.low}: must be above 0 with log = true")
        require(not (self.log and self.step), f"step {self.step}: log = true has no steps; leave one of them out")

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int)

    def ends(self) -> list[Any]:
        return [self.low, self.high]

    def count(self) -> int:
        """How many steps lead from `low` to the highest value; -1 where there are no steps."""
        step = self.step or (1 if self.whole else 0)
        return int((self.high - self.low) / step + 1e-9) if step else -1

    def points(self) -> list[Any]:
        """All values, for a grid."""
        count, step = self.count(), self.step or 1
        require(count >= 0, "a grid needs steps: add step = …, or give choices = […]")
        require(count < MOST_POINTS, f"{count + 1} values are too many for a grid; set a larger step")
        return [self.low + k * step if self.whole else round(self.low + k * step, 12) for k in range(count + 1)]

    def labels(self) -> list[Any]:
        """The values of a grid as Optuna knows them."""
        return self.points()

    def value(self, drawn: Any) -> Any:
        """The setting of what Optuna drew: 0.15, not 0.15000000000000002."""
        return round(drawn, 12) if self.step else drawn

    def settled(self, found: Any, where: str) -> Range:
        """In numbers of the kind that the setting has; ConfigError where it is no number."""
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise ConfigError(f"{where}: is no number; give choices = […]")
        if isinstance(found, float):
            return replace(self, low=float(self.low), high=float(self.high), step=float(self.step))
        if self.whole and not isinstance(self.step, int):
            raise ConfigError(f"{where}: step {self.step}: must be a whole number, as the setting is")
        return self


@dataclass(frozen=True)
class Choices:
    """One of several values: numbers, texts, truth values, lists, whole tables."""

    choices: tuple[Any, ...]

    def __post_init__(self) -> None:
        texts = [inline(value) for value in self.choices]
        twice = next((text for text in texts if texts.count(text) > 1), None)
        require(bool(texts), "choices []: give at least one value")
        require(twice is None, f"choices: {twice} stands twice; leave one out")

    def ends(self) -> list[Any]:
        return list(self.choices)

    def points(self) -> list[Any]:
        return list(self.choices)

    def labels(self) -> list[Any]:
        """The choices as Optuna knows them: values as they are, or as text where some are lists or alike."""
        simple = all(isinstance(value, str | bool | int | float) for value in self.choices)
        if simple and len(set(self.choices)) == len(self.choices):
            return list(self.choices)
        return [inline(value) for value in self.choices]

    def value(self, drawn: Any) -> Any:
        """The setting that a label stands for."""
        return self.choices[self.labels().index(drawn)]

    def settled(self, found: Any, where: str) -> Choices:
        """Any setting may be chosen from a list."""
        return self


Space = dict[str, Range | Choices]
FORM = "write { low = 1e-4, high = 1e-2, log = true }, { low = 1, high = 4, step = 1 } or { choices = [64, 128] }"


class Plan(NamedTuple):
    """A search, read and checked: what is trained, and what is drawn."""

    values: dict[str, Any]  # of the run, as the user said them
    origin: Origin
    home: Path  # what its paths are relative to
    tune: TuneConfig
    space: Space

    def laid(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """The values with those of a trial laid over them."""
        return override(self.values, [f"{key}={inline(value)}" for key, value in chosen.items()])

    def run(self, chosen: Mapping[str, Any]) -> RunConfig:
        """The configuration of a trial."""
        return resolved(self.laid(chosen), self.origin, self.home)

    def written(self, chosen: Mapping[str, Any]) -> dict[str, Any]:
        """What the file of a trial says: the user's keys alone, with absolute paths."""
        return completed(self.laid(chosen), saved(self.run(chosen)))

    def size(self) -> int:
        """How many trials there will be."""
        total = 1
        if self.tune.sampler == "grid":
            for part in self.space.values():
                total = min(total * len(part.points()), MOST_POINTS)
            return min(total, self.tune.trials)
        return self.tune.trials


def completed(given: Any, known: Any) -> Any:
    """The keys of `given` with the values of `known`, where it has them."""
    if not (isinstance(given, dict) and isinstance(known, dict)):
        return known
    return {key: completed(value, known.get(key, value)) for key, value in given.items()}


def read_plan(path: str | Path, settings: list[str]) -> Plan:
    """The search that a TOML file describes, with `key=value` settings laid over it."""
    values, origin = read_toml(path)
    values = override(values, settings)
    table = values.pop("tune", None)
    if table is None:
        raise ConfigError(f'{path}: has no table [tune]; add [tune.space] with "train.learning_rate" = … ({FORM})')
    tune = build(TuneConfig, table, origin, ("tune",))
    plan = Plan(values, origin, Path(path).resolve().parent, tune, {})
    base = plan.run({})
    if not (base.data.dev or base.data.prepared):
        raise ConfigError(f"{origin.at(('data',))}: trials are compared on held-out text; set data.dev")
    plan = plan._replace(space={key: checked(plan, key, part) for key, part in entries(tune.space)})
    if not plan.space:
        raise ConfigError(f"{origin.at(('tune', 'space'))}: is empty; give at least one setting to search ({FORM})")
    for key in plan.space:
        for other in plan.space:
            if other.startswith(f"{key}."):
                raise ConfigError(f"{place(plan, other)}: stands within {key}, which is searched too; keep one of them")
    if tune.sampler == "grid":
        for key, part in plan.space.items():
            try:
                part.points()
            except ConfigError as error:
                raise ConfigError(f"{place(plan, key)}: {error}") from None
    return plan


def entries(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Dotted keys and what is said of them; `"a.b" = …`, `a.b = …` and [tune.space.a] are all the same."""
    for name, value in table.items():
        here = (*path, name)
        inner = isinstance(value, Mapping) and value and not value.keys() & {"low", "high", "choices"}
        if inner:
            yield from entries(value, here)
        else:
            yield ".".join(here), value


def place(plan: Plan, key: str) -> str:
    """Where a setting of the space stands."""
    return plan.origin.at(("tune", "space", *key.split(".")))


def checked(plan: Plan, key: str, said: Any) -> Range | Choices:
    """What one setting is drawn from; ConfigError where the configuration could not take its values."""
    where = place(plan, key)
    if not isinstance(said, Mapping) or not said:
        raise ConfigError(f"{where} = {said!r}: must be a table; {FORM}")
    if key in FIXED:
        raise ConfigError(f"{where}: scores of trials that differ in it cannot be compared; set it once, for all")
    kind: type[Range | Choices] = Choices if "choices" in said else Range
    part = build(kind, said, plan.origin, ("tune", "space", *key.split(".")))
    for value in part.ends():
        try:
            found: Any = saved(plan.run({key: value}))
        except ConfigError as error:
            raise ConfigError(f"{where}: the value {inline(value)} does not fit: {error}") from None
        for name in key.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        part = part.settled(found, where)
    return part
