"""What was found out as one HTML page: no script, no network, all text escaped. Knows nothing of how it was found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.resources import files
from string import Template
from typing import NamedTuple

import numpy as np

from sequencing.inspection.bars import Bar, bars_svg
from sequencing.inspection.chances import Chance, Look
from sequencing.inspection.error_groups import ErrorGroups, Group
from sequencing.inspection.search_tree import CUT, Tree
from sequencing.inspection.sentence import Inspected, TextOf
from sequencing.inspection.thumbnails import thumbnail_svg
from sequencing.inspection.tree_picture import MOST_STEPS, tree_svg
from sequencing.page.markup import rows_card, style, text
from sequencing.plot import attention_svg, token_label

DOUBTS = (0.9, 0.5, 0.1, 0.01)  # a token less likely than the n'th has at least n + 1 shades of doubt
KINDS = {  # (who looks, at what) -> what it is called
    ("target", "source"): "The target's tokens at the source's",
    ("target", "target"): "The target's tokens at those before",
    ("source", "source"): "The source's tokens at each other",
}
READING = (
    "Down the side stands who looks, a target's token before it is written; on top what is looked at: the source's "
    "tokens, or <s> and the tokens before. The number is the mean of each row's largest weight."
)


class Names(NamedTuple):
    """What the page needs of a vocabulary."""

    of: Callable[[Sequence[int]], list[str]]
    decode: Callable[[Sequence[int]], str]


def page(title: str, subtitle: str, notes: Sequence[str], found: Sequence[Inspected], groups: ErrorGroups | None,
         names: Names) -> str:  # fmt: skip
    """The whole page."""
    places = {
        "title": text(title),
        "subtitle": text(subtitle),
        "style": style(),
        "notes": "".join(f'<p class="note">{text(note)}</p>' for note in notes),
        "errors": errors(groups) if groups else "",
        "sentences": "".join(sentence(each, names) for each in found),
    }
    return Template(files("sequencing.inspection").joinpath("page.html.tmpl").read_bytes().decode()).substitute(places)


# --- errors


def errors(groups: ErrorGroups) -> str:
    """Numbers and bars of all sentences."""
    lengths = groups.lengths.groups()
    wrong, total = (sum(column) for column in zip(*((group.wrong, group.total) for group in lengths), strict=True))
    numbers = {
        "sentences": f"{groups.sentences:,}",
        "exactly right": f"{100 * groups.exact / groups.sentences:.1f} %",
        f"edits, of {total:,} {groups.level}": f"{100 * wrong / max(total, 1):.1f} %",
    }
    cells = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in numbers.items())
    one = groups.level.removesuffix("s")
    figures = [
        figure(f"Edits by {groups.level} of the reference", lengths, of_sentences),
        figure(f"Wrong {groups.level} by their place", groups.places.groups(), lambda group: f"of {group.total:,}"),
    ]
    if seen := groups.seen.groups():
        title = f"Wrong {groups.level} by how often the {one} was learnt"
        figures.append(figure(title, seen, lambda group: f"of {group.total:,}"))
    head = f'<section class="numbers" aria-label="Numbers"><div class="card first"><dl>{cells}</dl></div></section>'
    return f'{head}<section><h2>Errors</h2><div class="grid">{"".join(figures)}</div></section>'


def of_sentences(group: Group) -> str:
    """How many sentences are in a group of them."""
    return f"{group.sentences:,} sentence{'s' * (group.sentences != 1)}"


def figure(title: str, groups: Sequence[Group], note: Callable[[Group], str]) -> str:
    """One row of groups as bars."""
    bars = [Bar(group.name, 100 * group.wrong / max(group.total, 1), note(group)) for group in groups]
    return f"<figure><figcaption><b>{text(title)}</b></figcaption>{bars_svg(title, bars)}</figure>"


# --- a sentence


def sentence(found: Inspected, names: Names) -> str:
    """Its texts, tokens, search and attention."""
    rows = [("source", found.source)]
    rows += [(name, each.text) for name, each in (("answer", found.answer), ("reference", found.reference)) if each]
    table = "".join(f'<tr><th scope="row">{name}</th><td dir="auto">{text(said)}</td></tr>' for name, said in rows)
    parts = [f'<div class="card"><table>{table}</table></div>']
    if found.tree is None:
        parts.append('<p class="muted">A blank line: the model is not asked.</p>')
    elif not found.tree.answers:
        parts.append('<p class="note">The model said NaN: there is no answer. Look at the metrics of its training.</p>')
    for name, each in (("answer", found.answer), ("reference", found.reference)):
        parts.append(tokens(f"The tokens of the {name}", each, names) if each else "")
    parts.append(search(found.tree, names) if found.tree else "")
    parts.append(attention(found) if found.answer and found.answer.told.looks else "")
    return f"<section><h2>Sentence {found.number:,}</h2>{''.join(parts)}</section>"


def tokens(title: str, said: TextOf, names: Names) -> str:
    """Each token with its probability, rank and entropy, coloured by doubt."""
    pairs = zip(said.tokens, said.told.chances, strict=True)
    items = "".join(token(name, chance, names.of([chance.likeliest])[0]) for name, chance in pairs)
    total = f'<span class="value">{said.told.log_prob:.4f}</span>'
    return f'<h3>{text(title)}: log-probability {total}</h3><ol class="tokens">{items}</ol>'


def token(name: str, chance: Chance, likeliest: str) -> str:
    """One token; where another one was likelier, that one too."""
    doubt = sum(not chance.probability >= edge for edge in DOUBTS)  # of NaN all
    other = f"<em>{text(token_label(likeliest))} {percent(chance.its_probability)}</em>" if chance.rank > 1 else ""
    return (
        f'<li class="doubt{doubt}"><b dir="auto">{text(token_label(name))}</b>'
        f"<span>{percent(chance.probability)}</span>"
        f"<span>rank {chance.rank:,}</span><span>{chance.entropy:.2f} nats</span>{other}</li>"
    )


def percent(share: float) -> str:
    """A share from 0 to 1; small ones keep two digits."""
    return f"{100 * share:.1f} %" if share >= 0.001 else f"{100 * share:.2g} %"


def search(tree: Tree, names: Names) -> str:
    """The tree, and all answers as a table."""
    known = sorted({node.token for node in tree.nodes[1:]})
    picture = tree_svg(tree, dict(zip(known, names.of(known), strict=True)), names.decode)
    longest = max(node.step for node in tree.nodes)
    cut = f" Of {longest:,} steps the first {MOST_STEPS} are drawn." if longest > MOST_STEPS else ""
    rows = [
        (
            f"{answer.score:.4f}",
            f"{answer.log_prob:.4f}",
            names.decode(answer.tokens) + f" ({CUT})" * (not answer.finished),
        )
        for answer in tree.answers
    ]
    answers = rows_card(["score", "log-probability", f"all {len(rows)} that ended"], rows)
    return (
        f'<h3>The search</h3><figure class="wide">{picture}</figure>'
        '<p class="muted">Columns are steps, likelier hypotheses stand above; below a token stands the log-probability '
        f"so far, or after = the score of what ended. Thick: the answer. Dashed: dropped for likelier ones.{cut}</p>"
        f"<details><summary>All answers</summary>{answers}</details>"
    )


# --- attention


def attention(found: Inspected) -> str:
    """The mean of each layer that looks at the source with its labels, and every head of every layer small."""
    assert found.answer
    looks = found.answer.told.looks
    labels = {"source": found.source_tokens, "target": found.answer.tokens}
    means = [labelled(look, labels) for look in looks if look.layer.rows != look.layer.columns]
    kinds = {kind: [look for look in looks if (look.layer.rows, look.layer.columns) == kind] for kind in KINDS}
    blocks = [
        f'<h4>{text(KINDS[kind])}</h4><div class="layers">{"".join(map(heads, of_kind))}</div>'
        for kind, of_kind in kinds.items()
        if of_kind
    ]
    count = sum(len(look.weights) for look in looks)
    return (
        f'<h3>Attention</h3><div class="pictures">{"".join(means)}</div>'
        f"<details><summary>Every head of every layer: {count} maps</summary>"
        f'<p class="muted">{text(READING)}</p>'
        f"{''.join(blocks)}"
        "</details>"
    )


def labelled(look: Look, labels: dict[str, list[str]]) -> str:
    """The mean of a layer's heads, with the tokens down the side and on top; numbers where they are not one for one."""
    weights = look.weights.mean(axis=0)
    sides = [
        names if len(names) == count else [str(place) for place in range(1, count + 1)]
        for names, count in zip((labels["target"], labels["source"]), weights.shape, strict=True)
    ]
    sample = {"prediction_tokens": sides[0], "source_tokens": sides[1], "alignment": weights.tolist()}
    title = text(look.layer.name)
    return f"<figure><figcaption><b>{title}</b></figcaption>{attention_svg(sample)}</figure>"


def heads(look: Look) -> str:
    """The maps of one layer."""
    pictures = []
    for number, weights in enumerate(look.weights, 1):
        sharp = f"{np.nan_to_num(weights.max(axis=1)).mean():.2f}"
        title = f"{look.layer.name}, head {number}"
        pictures.append(f"<div>{thumbnail_svg(weights, title)}<span>head {number} · {sharp}</span></div>")
    return f'<div><p class="muted">{text(look.layer.name)}</p><div class="heads">{"".join(pictures)}</div></div>'
