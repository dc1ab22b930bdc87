"""Text, tables and settings as HTML. All text is escaped, and what would hide in it is shown. Knows nothing of runs."""

import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from sequencing.records import Record, visible


def text(value: object) -> str:
    """Text as HTML."""
    return escape(visible(str(value)))


def nothing(why: str) -> str:
    """What stands in the place of a section that would be empty."""
    return f'<p class="muted">{text(why)}</p>'


def section(title: str, body: str) -> str:
    return f"<section><h2>{text(title)}</h2>{body}</section>"


def card(body: str, kind: str = "card", title: str = "") -> str:
    head = f"<h3>{text(title)}</h3>" if title else ""
    return f'<div class="{kind}">{head}{body}</div>' if body else ""


def pairs(record: Record) -> str:
    """Names and values below each other; empty where there are none."""
    rows = "".join(
        f'<tr><th scope="row">{text(name)}</th><td>{text(setting(value))}</td></tr>'
        for name, value in record.items()
        if value is not None
    )
    return f"<table>{rows}</table>" if rows else ""


def grid(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of HTML cells with a head; the first cell of a row is its name. It scrolls where it is too wide."""
    body = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{cell}</td>" for cell in row[1:])}</tr>' for row in rows
    )
    head = "".join(f'<th scope="col">{cell}</th>' for cell in heads)
    return f'<div class="scroll"><table class="wide"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def fold(summary: str, body: str) -> str:
    """What is shown when it is asked for."""
    return f"<details><summary>{text(summary)}</summary>{body}</details>" if body else ""


def bar(share: float, label: str) -> str:
    """A share from 0 to 1 as a bar with its number beside it."""
    width = 100 * min(max(share, 0.0), 1.0)
    return f'<span class="bar"><i style="width:{width:.1f}%"></i></span><span class="value">{text(label)}</span>'


def setting(value: object) -> str:
    """A value of a configuration as people write it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def rows_card(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in a card; nothing where there are no rows."""
    if not rows:
        return ""
    first = "".join(f"<th>{text(cell)}</th>" for cell in head)
    body = "".join(
        f'<tr><th scope="row">{text(row[0])}</th>{"".join(f"<td>{text(cell)}</td>" for cell in row[1:])}</tr>'
        for row in rows
    )
    return f'<div class="card"><table>{f"<tr>{first}</tr>" if head else ""}{body}</table></div>'


def style() -> str:
    """How all pages look: that of the page of a run."""
    whole = files("sequencing").joinpath("report.html.tmpl").read_bytes().decode()
    return whole.partition("<style>")[2].partition("</style>")[0]
