"""A text into its sentences, by rules for the common scripts; and a text that is too long into parts that are not.

The rules rather leave two sentences together than cut one. They need no model and know no language, only a few short
forms that are followed by a name or a number. Knows nothing of tokens: what is too long, who asks says.
"""

import re
import unicodedata
from collections.abc import Callable, Sequence

WIDE = "。！？｡"  # a sentence may begin right after these
STOPS = ".!?…؟۔।॥։።፧។။"  # white space must follow these
CLOSERS = "\"'”’»«›‹)]}）】〕》〉」』"
OPENERS = "\"'“‘„‚«»‹›([{（【〔《〈「『¿¡"
CLAUSES = ",;:،؛，、；："  # where a sentence is cut before it is cut at any white space

# What a full stop may follow without an end, in small letters: before a name, and before a number alone.
NAMED = {
    "mr", "mrs", "ms", "dr", "prof", "rev", "hon", "st", "sr", "jr", "gen", "col", "capt", "lt", "sgt", "mt", "vs",
    "cf", "viz", "approx", "bzw", "vgl", "bspw", "ggf", "inkl", "zzgl", "evtl", "mme", "mlle", "sra", "dra", "ud",
    "uds", "avv", "ing", "dott",
}  # fmt: skip
NUMBERED = {
    "no", "nos", "nr", "nrn", "vol", "pp", "fig", "figs", "abb", "tab", "sec", "ch", "art", "abs", "jan", "feb", "apr",
    "jun", "jul", "aug", "sep", "sept", "oct", "okt", "nov", "dec", "dez",
}  # fmt: skip
ENDS = re.compile(rf"[{re.escape(WIDE + STOPS)}]+[{re.escape(CLOSERS)}]*(?:[ \u00a0\u202f]»(?=\s|$))?")
BREAKS = re.compile(rf"\s+|[{re.escape(WIDE)}，、；：]+[{re.escape(CLOSERS)}]*")
INITIALS = re.compile(r"(\w\.)*\w")  # J. or z.B. or U.S.


def sentences(text: str) -> list[str]:
    """The sentences of a text without the white space around them; none of a blank one."""
    found = []
    begin = 0
    for end in ENDS.finditer(text):
        if is_end(text, end):
            found.append(text[begin : end.end()].strip())
            begin = end.end()
    found.append(text[begin:].strip())
    return [sentence for sentence in found if sentence]


def is_end(text: str, stop: re.Match[str]) -> bool:
    """Whether a sentence ends with these marks and closing brackets or quotes."""
    after = text[stop.end() :]
    following = after.lstrip()
    if not following:
        return True
    if any(mark in WIDE for mark in stop[0]):
        quoted = stop[0][-1] in "」』）】〕》〉"  # 「…。」と言った: the sentence goes on
        return not quoted or after[0].isspace() or after[0] in OPENERS
    if following == after:
        return False
    if following.lstrip(OPENERS)[:1].islower():
        return False
    marks = stop[0].rstrip(CLOSERS)
    if marks != "." or stop[0] != marks:
        return True
    word = text[: stop.start()].rpartition(" ")[2].lstrip(OPENERS)
    ordinal = word.isdecimal() and len(word) < 3  # the 3. of May, and the first of a list
    short = word.lower() in (NAMED | NUMBERED if following[0].isdigit() else NAMED)
    return not ordinal and not short and not INITIALS.fullmatch(word)


def cut(text: str, fits: Callable[[str], bool]) -> list[str] | None:
    """Parts of a text that fit, as long as can be; None where one would have to be cut within a word.

    A part ends with a sentence if one ends in its second half, or else with a clause, or else at white space.
    """
    places = [place.end() for place in BREAKS.finditer(text.rstrip())]
    ranks = ranks_of(text, places)
    places.append(len(text))
    ranks.append(0)
    parts = []
    begin = first = 0
    while text[begin:].strip():
        last = furthest(text, begin, places, first, fits)
        if last is None:
            return None
        if last + 1 < len(places):
            middle = (begin + places[last]) // 2
            late = [number for number in range(first, last + 1) if places[number] > middle or number == last]
            last = max(late, key=lambda number: (ranks[number], number))
        parts.append(text[begin : places[last]].strip())
        begin, first = places[last], last + 1
    return [part for part in parts if part]


def ranks_of(text: str, places: Sequence[int]) -> list[int]:
    """How good it is to cut a text at each place: 2 after a sentence, 1 after a clause, 0 at white space."""
    ends = {stop.end() for stop in ENDS.finditer(text) if is_end(text, stop)}
    ranks = []
    for place in places:
        before = text[:place].rstrip()
        ranks.append(2 if len(before) in ends else int(before.rstrip(CLOSERS)[-1:] in CLAUSES))
    return ranks


def furthest(text: str, begin: int, places: Sequence[int], first: int, fits: Callable[[str], bool]) -> int | None:
    """The number of the last place, from `first` on, up to which a text fits; None if it fits up to none.

    What is twice as far is tried until it does not fit, then what is between: long texts are not tried again and again.
    """

    def fitting(number: int) -> bool:
        return fits(text[begin : places[number]].strip())

    good, step = first - 1, 1
    while good + step < len(places) and fitting(good + step):
        good, step = good + step, step * 2
    bad = min(good + step, len(places))
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if fitting(middle) else (good, middle)
    return good if good >= first else None


def join(parts: Sequence[str]) -> str:
    """Sentences as one text: with a space between, but where both sides are of a script that has none."""
    text = ""
    for part in parts:
        text += " " * bool(text and part and not is_close(text[-1], part[0])) + part
    return text


def is_close(left: str, right: str) -> bool:
    """Whether nothing stands between these characters: a wide stop and what follows, or two of a wide script."""
    if not is_wide(left):
        return False
    return unicodedata.category(left).startswith("P") or is_wide(right)


def is_wide(character: str) -> bool:
    """Chinese and Japanese are; Korean is as wide, but has spaces."""
    wide = unicodedata.east_asian_width(character) in "WF"
    return wide and not unicodedata.name(character, "").startswith("HANGUL")
