"""Configurations and machines: of one run as they are, of several what differs between them."""

from collections.abc import Mapping, Sequence

from sequencing.page.markup import card, fold, grid, nothing, pairs, setting, text
from sequencing.records import leaves
from sequencing.run_folder import Run

MOST_SHOWN = 16  # settings that differ; the others are folded away


def configuration(values: Mapping[str, object]) -> str:
    """A card for each section of a configuration."""
    groups: dict[str, dict[str, object]] = {}
    for name, value in values.items():
        inside = dict(leaves(value)) if isinstance(value, dict) else {name: value}
        groups.setdefault(name if isinstance(value, dict) else "run", {}).update(inside)
    cards = (card(pairs(group), title=name) for name, group in groups.items())
    return f'<div class="settings">{"".join(cards)}</div>' if groups else nothing("config.json is missing.")


def machine(values: Mapping[str, object]) -> str:
    return card(pairs(values), "card machine") or nothing("machine.json is missing.")


def compared_settings(runs: Sequence[Run], names: Sequence[str]) -> str:
    """What differs as a table, what is common folded away; `names` is HTML."""
    return differing([run.configuration for run in runs], names, "setting") + fold(
        "What they have in common", configuration(nested(common([run.configuration for run in runs])))
    )


def compared_machines(runs: Sequence[Run], names: Sequence[str]) -> str:
    machines = [run.machine for run in runs]
    return differing(machines, names, "") + card(pairs(common(machines)), "card machine")


def differing(tables: Sequence[Mapping[str, object]], names: Sequence[str], head: str) -> str:
    """A table of the settings whose values are not all the same; of many those that all runs have come first."""
    found = [dict(leaves(dict(table))) for table in tables]
    keys = [key for key in dict.fromkeys(key for each in found for key in each) if key]
    rows = []
    for key in sorted(keys, key=lambda key: any(key not in each for each in found)):
        values = [setting(each[key]) if key in each and each[key] is not None else None for each in found]
        if len(set(values)) > 1:
            rows.append(
                [text(key), *('<span class="muted">–</span>' if value is None else text(value) for value in values)]
            )
    if not rows:
        return nothing("They do not differ.")
    rest = rows[MOST_SHOWN:]
    return card(grid([head, *names], rows[:MOST_SHOWN])) + (
        fold(f"{len(rest)} more that differ", card(grid([head, *names], rest))) if rest else ""
    )


def common(tables: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """The leaves that all tables have, by their dotted names."""
    found = [dict(leaves(dict(table))) for table in tables]
    return {
        key: value
        for key, value in found[0].items()
        if key and all(key in each and setting(each[key]) == setting(value) for each in found)
    }


def nested(leaves: Mapping[str, object]) -> dict[str, object]:
    """Leaves by their sections: what stands before the first dot."""
    groups: dict[str, object] = {}
    for key, value in leaves.items():
        name, dot, rest = key.partition(".")
        inside = groups.setdefault(name, {}) if dot else None
        if isinstance(inside, dict):
            inside[rest] = value
        else:
            groups[name] = value
    return groups
