"""Parts of speech for the sentences of COGS, told from their logical forms: no tagger, no tagged corpus is needed.

A logical form names every noun and every verb with its place in the sentence (`cake ( x _ 4 )`, `lend . agent ( x _ 2 ,
…`); names stand in it as they are; all other words are of a closed list. So each word has one tag, and a sentence in
which a word has none or two is left out. The tags are named as Universal Dependencies names them.
"""

from __future__ import annotations

import re

CLOSED = {
    **dict.fromkeys(("a", "the"), "DET"),
    **dict.fromkeys(("in", "on", "beside", "by"), "ADP"),
    **dict.fromkeys(("was", "were", "is"), "AUX"),
    **dict.fromkeys(("that",), "SCONJ"),
    **dict.fromkeys((".",), "PUNCT"),
}
NOUN = re.compile(r"(?:^|[*;] |AND )\*? ?(\w+) \( x _ (\d+) \)")
VERB = re.compile(r"\w+ \. (?:agent|theme|recipient|ccomp|xcomp) \( x _ (\d+) ,")


def tagged(sentence: str, form: str) -> str | None:
    """`words<TAB>tags`; None where some word has no tag or two, as in the entries of COGS that are single words."""
    words = sentence.split(" ")
    nouns, verbs = {int(place) for _, place in NOUN.findall(form)}, set(map(int, VERB.findall(form)))
    names = set(form.split()) - {"AND"}
    found = []
    for place, word in enumerate(words):
        to = word == "to"  # before a verb a particle, before anything else a preposition
        said = {
            *(["NOUN"] if place in nouns else []),
            *(["VERB"] if place in verbs else []),
            *(["PROPN"] if word[0].isupper() and word in names else []),
            *([CLOSED[word.lower()]] if word.lower() in CLOSED else []),
            *(["PART" if place + 1 in verbs else "ADP"] if to else []),
        }
        if len(said) != 1:
            return None
        found += said
    return f"{sentence}\t{' '.join(found)}"
