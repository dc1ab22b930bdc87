"""A search tree as SVG: a column a step, the likeliest on top, lines from parents to children. Knows no model."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from itertools import groupby

from sequencing.inspection.search_tree import CUT, DROPPED, ENDED, KEPT, Node, Tree
from sequencing.plot import CHARACTER, label_width, token_label
from sequencing.records import visible

MOST_STEPS = 60  # of a longer search the beginning is drawn
ROW, GAP, NARROWEST = 34, 30, 44  # a node with its distance to the next, between two columns, of a column
WIDE = 1.12 * CHARACTER  # of a token in bold
WORDS = {KEPT: "kept", ENDED: "ended", CUT: "cut at the length limit", DROPPED: "dropped"}


def tree_svg(tree: Tree, tokens: dict[int, str], text: Callable[[list[int]], str]) -> str:
    """The picture; `tokens` names the ids, `text` makes a text of several."""
    shown = [place for place, node in enumerate(tree.nodes) if node.step <= MOST_STEPS]
    leading = leads_on(tree)
    columns = columns_of(tree, shown)
    labels = {place: "start" if place == 0 else token_label(tokens[tree.nodes[place].token]) for place in shown}
    places: dict[int, tuple[float, float, float]] = {}  # left, middle, width
    left = 4.0
    for column in columns:
        width = max(NARROWEST, *(WIDE * label_width(labels[place]) + 14 for place in column))
        places |= {place: (left, ROW * (row + 0.5) + 4, width) for row, place in enumerate(column)}
        left += width + GAP
    width, height = left - GAP + 4, ROW * max(map(len, columns)) + 8
    parts = [
        f'<svg class="tree" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}" '
        f'xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(spoken(tree))}" '
        'font-family="system-ui, sans-serif" font-size="12">'
    ]
    order = sorted(shown, key=lambda place: (tree.nodes[place].best, place in leading))  # the best on top of the others
    parts += [
        edge(places[tree.nodes[place].parent], places[place], style(tree, place, leading)) for place in order if place
    ]
    for place in shown:
        node = tree.nodes[place]
        title = described(node, text(tree.path(place)))
        parts.append(box(places[place], style(tree, place, leading), labels[place], numbers(node), title))
    return "".join([*parts, "</svg>"])


def leads_on(tree: Tree) -> set[int]:
    """The nodes of which an answer came, not only the best one."""
    found: set[int] = set()
    for place, node in enumerate(tree.nodes):
        if node.fate in (ENDED, CUT):
            while place >= 0 and place not in found:
                found.add(place)
                place = tree.nodes[place].parent
    return found


def columns_of(tree: Tree, shown: list[int]) -> list[list[int]]:
    """The nodes of each step: those that were not dropped first, each part by its probability."""
    ranked = sorted(
        shown, key=lambda place: (tree.nodes[place].step, tree.nodes[place].fate == DROPPED, -tree.nodes[place].total)
    )
    return [list(column) for _, column in groupby(ranked, key=lambda place: tree.nodes[place].step)]


def style(tree: Tree, place: int, leading: set[int]) -> str:
    """The CSS classes of a node and its line."""
    node = tree.nodes[place]
    return " ".join([node.fate, *["best"] * node.best, *["dead"] * (place not in leading)])


def edge(parent: tuple[float, float, float], child: tuple[float, float, float], kind: str) -> str:
    """The line from a parent to its child."""
    (x, y, width), (end, below, _) = parent, child
    start, middle = x + width, (x + width + end) / 2
    curve = f"M{start:.0f} {y:.0f}C{middle:.0f} {y:.0f} {middle:.0f} {below:.0f} {end:.0f} {below:.0f}"
    return f'<path class="{kind}" d="{curve}"/>'


def box(place: tuple[float, float, float], kind: str, label: str, below: str, title: str) -> str:
    """A node: its token, and a number below."""
    x, y, width = place
    middle = x + width / 2
    return (
        f'<g class="{kind}"><title>{escape(title)}</title>'
        f'<rect x="{x:.0f}" y="{y - 14:.0f}" width="{width:.0f}" height="28" rx="5"/>'
        f'<text x="{middle:.0f}" y="{y - 1:.0f}">{escape(label)}</text>'
        f'<text class="number" x="{middle:.0f}" y="{y + 10:.0f}">{escape(below)}</text></g>'
    )


def numbers(node: Node) -> str:
    """What stands below a token: the score of what ended, the log-probability so far of the others."""
    return f"= {node.score:.2f}" if node.fate in (ENDED, CUT) else f"{node.total:.2f}" if node.step else ""


def described(node: Node, text: str) -> str:
    """A node in words."""
    if not node.step:
        return "the beginning"
    score = f", score {node.score:.4f}" if node.fate in (ENDED, CUT) else ""
    said = f"{node.log_prob:.4f} for this token, {node.total:.4f} in all{score}"
    return f"{token_text(text)} ({WORDS[node.fate]} at step {node.step}: {said})"


def token_text(text: str) -> str:
    """A text as it can stand in a title: the end of a long one."""
    return visible(text if len(text) <= 200 else "…" + text[-200:])


def spoken(tree: Tree) -> str:
    """The picture in words."""
    count = sum(node.fate == KEPT for node in tree.nodes) - 1
    return f"The search: {count} hypotheses kept, {len(tree.answers)} ended"
