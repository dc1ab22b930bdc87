"""All that is found out about one sentence: its search, what the model thinks of the answer and of a reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sequencing.inspection.chances import Told, told
from sequencing.inspection.search_tree import Tree, search_tree
from sequencing_np.search import SearchConfig
from sequencing_np.special import SHOWN, Vocabulary
from sequencing_np.translate import Translator
from sequencing_np.vectors import shown


class TextOf(NamedTuple):
    """A text, its tokens (the end symbol last, where it was reached), and what the model thinks of them."""

    text: str
    tokens: list[str]
    told: Told


class Inspected(NamedTuple):
    """One sentence."""

    number: int  # of its line, from 1
    source: str
    source_tokens: list[str]
    tree: Tree | None  # None: a blank line, of which the model is not asked
    answer: TextOf | None  # None where there is no answer
    reference: TextOf | None  # None where there is none


def inspect_sentence(
    translator: Translator, search: SearchConfig, number: int, source: str, reference: str | None = None
) -> Inspected:
    """Search, and tell the model its answer and the reference."""
    vocab = translator.target_vocab
    tokens = translator.source_vocab.pieces(source)
    if not source.strip():
        return Inspected(number, source, tokens, None, None, None)
    ids = translator.read(source, number)
    source = shown(source, translator.source_vocab)
    tree = search_tree(translator, ids, search)
    answer = given = None
    if tree.answers:
        best = tree.answers[0]
        said = [*best.tokens, *[vocab.special.eos] * best.finished]
        answer = TextOf(vocab.decode(best.tokens), names(vocab, said), told(translator, ids, said))
    if reference is not None:
        given = TextOf(reference, vocab.pieces(reference), told(translator, ids, vocab.encode(reference), look=False))
    return Inspected(number, source, tokens, tree, answer, given)


def names(vocab: Vocabulary, ids: Sequence[int]) -> list[str]:
    """What each id is called, the special ones too."""
    special = dict(zip(vocab.special, SHOWN, strict=True))
    return [special[token] if token in special else vocab.tokens_of([token])[0] for token in ids]
