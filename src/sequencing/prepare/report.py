"""The report of a preparation as text, as JSON and as one page. All text from the data is escaped.

Knows nothing of how the numbers came about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from sequencing.page.markup import rows_card, style, text
from sequencing.prepare.figures import KINDS, SIDES, quantile, total_of, words_of
from sequencing.prepare.histogram import histogram_svg
from sequencing.records import leaves, visible, write_json
from sequencing_np.writing import atomic_write

NAMED = 4  # corpora in the title
TITLES = {"words": "Words", "characters": "Characters", "lengths": "Tokens"}


def write_reports(folder: Path, report: Mapping[str, Any], configuration: Mapping[str, Any]) -> None:
    """Write report.json, report.txt and report.html."""
    write_json(folder / "report.json", report)
    with atomic_write(folder / "report.txt") as file:
        file.write("".join(f"{line}\n" for line in text_lines(report)).encode(errors="replace"))
    with atomic_write(folder / "report.html") as file:
        file.write(page(report, configuration).encode(errors="replace"))


# --- rows that the text and the page share


def headline(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The numbers that matter most."""
    read = sum(corpus["read"] for corpus in report["corpora"])
    dropped = sum(each["count"] for each in report["dropped"].values())
    split = report["split"]
    return [
        ("pairs to train with", f"{split['train']:,}"),
        *((f"pairs of {name}", f"{split[name]:,}") for name in ("dev", "test") if split[name]),
        ("pairs read", f"{read:,}"),
        ("pairs dropped", f"{dropped:,} ({share_text(dropped, read)})"),
    ]


def dropped_rows(report: Mapping[str, Any]) -> list[tuple[str, str, Sequence[Sequence[Any]]]]:
    """Reason, count with share, examples; what happened most first."""
    read = sum(corpus["read"] for corpus in report["corpora"])
    found = sorted(report["dropped"].items(), key=lambda row: (-row[1]["count"], row[0]))
    return [
        (words_of(reason), f"{each['count']:,} ({share_text(each['count'], read)})", each["examples"])
        for reason, each in found
    ]


def length_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """For each side and unit: mean, median, 99 of 100, longest."""
    rows = []
    for side in SIDES:
        for kind in KINDS:
            counts = report["sides"][side][kind]
            mean = total_of(counts) / (sum(counts) or 1)
            numbers = (f"{mean:.1f}", *(f"{quantile(counts, share):,}" for share in (0.5, 0.99, 1.0)))
            rows.append((f"{side} {TITLES[kind].lower()}", *numbers))
    return rows


def vocabulary_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the vocabularies make of the text."""
    rows = [("vocabularies", "one for both sides" if report["joint"] else "one for each side")]
    for name in SIDES:
        side = report["sides"][name]
        rows += [
            (f"{name} ids", f"{side['vocabulary']:,}"),
            (f"{name} tokens", f"{side['tokens']:,}"),
            (f"{name} tokens a word", f"{side['tokens_per_word']:.2f}"),
            (f"{name} tokens unknown", f"{100 * side['unknown']:.3f} %"),
        ]
    padding = report["padding"]
    rows += [
        (f"padding, pairs {words}", f"{100 * padding[name]:.1f} %")
        for name, words in (("by_length", "of like length"), ("as_they_come", "as they come"))
    ]
    return rows


def corpus_rows(report: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Name, part, read and kept of each corpus."""
    return [
        (corpus["name"], corpus["role"], f"{corpus['read']:,}", f"{corpus['kept']:,}") for corpus in report["corpora"]
    ]


def share_text(count: int, of: int) -> str:
    return f"{100 * count / of:.2f} %" if of else "0 %"


# --- text


def text_lines(report: Mapping[str, Any]) -> list[str]:
    """The report as lines."""
    lines = table(headline(report))
    for warning in report["warnings"]:
        lines.append(f"warning: {visible(warning)}")
    lines += section("Corpora", table([("name", "part", "read", "kept"), *corpus_rows(report)]))
    dropped: list[str] = []
    for words, count, examples in dropped_rows(report):
        dropped.append(f"{words}: {count}")
        dropped += [f"    {visible(example_text(each))}" for each in examples]
    lines += section("Dropped", dropped or ["nothing"])
    changed = [(name.replace("_", " "), f"{count:,}") for name, count in report["changed"].items()]
    lines += section("Changed by cleaning", table(changed) or ["nothing"])
    lines += section(
        "Lengths of training pairs", table([("", "mean", "median", "99 of 100", "longest"), *length_rows(report)])
    )
    lines += section("Vocabularies", table(vocabulary_rows(report)))
    return lines


def section(title: str, lines: Iterable[str]) -> list[str]:
    return ["", title, *(f"  {line}" for line in lines)]


def table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Columns under each other: names to the left, numbers to the right."""
    shown = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    return [
        "  ".join(f"{cell:<{width}}" if place == 0 else f"{cell:>{width}}" for place, (cell, width) in enumerate(cells))
        for cells in (list(zip(row, widths, strict=True)) for row in shown)
    ]


def example_text(example: Sequence[Any]) -> str:
    file, line, source, target = example
    return f"{file}:{line}: {source} | {target}"


# --- page


def page(report: Mapping[str, Any], configuration: Mapping[str, Any]) -> str:
    """The report as one page, which needs no script and no network."""
    names = [corpus["name"] for corpus in report["corpora"]]
    places = {
        "title": text("Prepared: " + ", ".join(names[:NAMED]) + ", …" * (len(names) > NAMED)),
        "style": style(),
        "notes": "".join(f'<p class="note">{text(warning)}</p>' for warning in report["warnings"]),
        "numbers": "".join(
            f"<div><dt>{text(label)}</dt><dd>{text(value)}</dd></div>" for label, value in headline(report)
        ),
        "corpora": rows_card(["name", "part", "read", "kept"], corpus_rows(report)),
        "dropped": dropped_cards(report) or '<p class="muted">Nothing.</p>',
        "changed": rows_card([], [(key.replace("_", " "), f"{count:,}") for key, count in report["changed"].items()])
        or '<p class="muted">Nothing.</p>',
        "lengths": "".join(figure(report, kind) for kind in KINDS),
        "table": rows_card(["", "mean", "median", "99 of 100", "longest"], length_rows(report)),
        "vocabularies": rows_card([], vocabulary_rows(report)),
        "configuration": rows_card([], list(leaves(configuration))),
    }
    return Template(files("sequencing.prepare").joinpath("report.html.tmpl").read_bytes().decode()).substitute(places)


def dropped_cards(report: Mapping[str, Any]) -> str:
    """A card for each reason, with its examples."""
    cards = []
    for words, count, examples in dropped_rows(report):
        rows = "".join(
            f'<tr><th scope="row">{text(f"{Path(file).name}:{line}")}</th><td dir="auto">{text(source)}</td>'
            f'<td dir="auto">{text(target)}</td></tr>'
            for file, line, source, target in examples
        )
        cards.append(f'<div class="card"><h3>{text(words)}: {text(count)}</h3><table>{rows}</table></div>')
    return "".join(cards)


def figure(report: Mapping[str, Any], kind: str) -> str:
    """The picture of one unit of length, with its legend."""
    sides = {side: report["sides"][side][kind] for side in SIDES}
    legend = "".join(
        f'<span><i class="{style}"></i>{side}</span>' for side, style in zip(SIDES, ("first", "second"), strict=True)
    )
    picture = histogram_svg(f"{TITLES[kind]} of training pairs", sides)
    return f"<figure><figcaption><b>{TITLES[kind]}</b>{legend}</figcaption>{picture}</figure>"
