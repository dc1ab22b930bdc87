"""Data made on the fly: dates, symbols to copy or reverse, and small stand-ins for the public sets of all recipes.

`MADE` says for each name of a set how one of its pairs is made; the stand-ins have the same columns and the same kind
of tokens, so that a recipe runs where the set itself is absent. Nothing that is measured comes from them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TypeVar

Pair = tuple[str, str]
T = TypeVar("T")


def write(path: Path, rows: Iterable[str]) -> None:
    """A text file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{row}\n" for row in rows)
    path.write_bytes(text.encode())
    print(path, text.count("\n"))


def write_splits(name: str, out: Path, sizes: Sequence[int], seed: int = 1) -> None:
    """NAME.train.tsv, NAME.dev.tsv and NAME.test.tsv of so many pairs; no source stands twice."""
    chance, make, found = random.Random(f"{name} {seed}"), MADE[name], dict[str, str]()
    for _ in range(1000 * sum(sizes)):
        if len(found) == sum(sizes):
            break
        found.setdefault(*make(chance))
    rows = [f"{source}\t{target}" for source, target in found.items()]
    _, dev, test = sizes
    for split, part in (("test", rows[:test]), ("dev", rows[test : test + dev]), ("train", rows[test + dev :])):
        write(out / f"{name}.{split}.tsv", part)


def one(chance: random.Random, things: Sequence[T]) -> T:
    """One of these; only random() itself is promised to be the same in every version of Python."""
    return things[int(chance.random() * len(things))]


# --- dates ----------------------------------------------------------------------------------------------------------

MONTHS = {
    "en": "January February March April May June July August September October November December",
    "de": "Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "it": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "nl": "januari februari maart april mei juni juli augustus september oktober november december",
}
PATTERNS = {  # {m} the month's name, {s} its first three letters
    "en": ("{m} {d}, {y}", "{d} {m} {y}", "{s} {d}, {y}", "the {d}. of {m} {y}"),
    "de": ("{d}. {m} {y}", "{d}. {s}. {y}", "{d}.{n}.{y}"),
    "fr": ("{d} {m} {y}", "le {d} {m} {y}", "{d}/{n}/{y}"),
    "es": ("{d} de {m} de {y}",),
    "it": ("{d} {m} {y}",),
    "nl": ("{d} {m} {y}", "{d}-{n}-{y}"),
}
WAYS = [(language, pattern) for language, patterns in PATTERNS.items() for pattern in patterns]


def dates(chance: random.Random) -> Pair:
    """A day as people of six countries write it, to ISO 8601: from 1900 to 2099."""
    day = date(1900, 1, 1) + timedelta(days=int(chance.random() * 73_049))
    language, pattern = one(chance, WAYS)
    month = MONTHS[language].split()[day.month - 1]
    return pattern.format(m=month, s=month[:3], d=day.day, n=day.month, y=day.year), day.isoformat()


# --- symbols --------------------------------------------------------------------------------------------------------


def symbols(chance: random.Random) -> list[str]:
    """Five to twenty of twenty symbols, as google/seq2seq's toy data are."""
    return [chr(ord("a") + int(chance.random() * 20)) for _ in range(5 + int(chance.random() * 16))]


def copy(chance: random.Random) -> Pair:
    """The same again."""
    text = " ".join(symbols(chance))
    return text, text


def reverse(chance: random.Random) -> Pair:
    """The same from the last to the first."""
    found = symbols(chance)
    return " ".join(found), " ".join(reversed(found))


# --- stand-ins ------------------------------------------------------------------------------------------------------

WHO = {
    "en": ("Tom", "Mary", "Hanako", "my brother", "the teacher"),
    "de": ("Tom", "Maria", "Hanako", "mein Bruder", "der Lehrer"),
    "zh": ("汤姆", "玛丽", "花子", "我哥哥", "老师"),
}
DOES = {
    "en": ("sees", "buys", "finds", "has"),
    "de": ("sieht", "kauft", "findet", "hat"),
    "zh": ("看见", "买", "找到", "有"),
}
WHAT = {
    "en": ("a house", "the book", "an old system", "the red bus", "12 apples"),
    "de": ("ein Haus", "das Buch", "ein altes System", "den roten Bus", "12 Äpfel"),
    "zh": ("房子", "书", "旧系统", "红巴士", "十二个苹果"),
}
WHEN = {
    "en": ("today", "in Berlin", "every morning"),
    "de": ("heute", "in Berlin", "jeden Morgen"),
    "zh": ("今天", "在柏林", "每天早上"),
}


def sentence(chance: random.Random, language: str) -> Pair:
    """An English sentence, and the German or the Chinese one."""
    parts = (WHO, DOES, WHAT, WHEN)
    places = [int(chance.random() * len(part["en"])) for part in parts]
    english, other = ([part[n][place] for part, place in zip(parts, places, strict=True)] for n in ("en", language))
    source = capital(" ".join(english) + ".")
    who, does, what, when = other
    if language == "zh":
        return source, f"{who}{when}{does}{what}。"
    return source, capital(f"{when} {does} {who} {what}.")  # the verb stands second, so subject and verb change places


def capital(text: str) -> str:
    """The first letter a capital."""
    return text[0].upper() + text[1:]


def bare(text: str) -> str:
    """Lower case, and letters, digits and apostrophes alone."""
    return " ".join(re.sub(r"[^\w']+|_", " ", text.lower()).split())


def turned(row: str) -> str:
    """A line whose source has its words from the last to the first."""
    source, _, target = row.partition("\t")
    return f"{backwards(source)}\t{target}"


def backwards(text: str) -> str:
    """Words from the last to the first."""
    return " ".join(reversed(text.split()))


def spelt(chance: random.Random, table: str = "aAbBdDeEfFgGiIkKlLmMnNoOpPrRsStTuUzZ") -> Pair:
    """A word, and a symbol for each of its letters: `table` has each letter with its symbol behind it."""
    places = [int(chance.random() * (len(table) // 2)) for _ in range(3 + int(chance.random() * 5))]
    return "".join(table[2 * place] for place in places), " ".join(table[2 * place + 1] for place in places)


def name(chance: random.Random) -> Pair:
    """An Arabic name and a Latin one, letter by letter."""
    source, target = spelt(chance, "اببbتtجjدdرrزzسsفfكkلlمmنnوwيy")
    return source, target.replace(" ", "").replace("ب", "a")


def inflected(chance: random.Random) -> Pair:
    """A made-up verb and its features, to a form."""
    stem, _ = spelt(chance)
    person, ending = one(chance, (("<1>", "e"), ("<2>", "st"), ("<3>", "t")))
    return f"{' '.join(stem + 'en')} <V> <PRS> {person} <SG>", " ".join(stem + ending)


def command(chance: random.Random) -> Pair:
    """A command and its actions, in the language of SCAN."""
    verb, way = one(chance, ("walk", "look", "run", "jump")), one(chance, ("left", "right"))
    times = int(chance.random() * 3)
    turn = bool(chance.random() < 0.5)
    said = [verb, *[way] * turn, *[("twice", "thrice")[times - 1]] * (times > 0)]
    return " ".join(said), " ".join([*[f"I_TURN_{way.upper()}"] * turn, f"I_{verb.upper()}"] * (times + 1))


def logical(chance: random.Random) -> Pair:
    """A sentence and its logical form, in the language of COGS: what is known stands first."""
    nouns = [(one(chance, ("A", "The")), one(chance, ("boy", "girl", "dog", "cake")), place) for place in (1, 4)]
    verb, past = one(chance, (("help", "helped"), ("see", "saw"), ("like", "liked")))
    known = [f"* {noun} ( x _ {place} ) ;" for article, noun, place in nouns if article == "The"]
    new = {place: f"{noun} ( x _ {place} )" for article, noun, place in nouns if article == "A"}
    verbs = f"{verb} . agent ( x _ 2 , x _ 1 ) AND {verb} . theme ( x _ 2 , x _ 4 )"
    parts = [part for part in (new.get(1), verbs, new.get(4)) if part]
    (first, who, _), (second, what, _) = nouns
    return f"{first} {who} {past} {second.lower()} {what} .", " ".join([*known, " AND ".join(parts)])


def tagged(chance: random.Random) -> Pair:
    """The sentences of `logical` with their tags."""
    return logical(chance)[0], "DET NOUN VERB DET NOUN PUNCT"


def both(pair: Pair, change: Callable[[str], str]) -> Pair:
    """Both sides changed."""
    return change(pair[0]), change(pair[1])


MADE: dict[str, Callable[[random.Random], Pair]] = {
    "dates": dates,
    "copy": copy,
    "reverse": reverse,
    "guide": lambda chance: both(sentence(chance, "de"), bare),
    "en-de": lambda chance: sentence(chance, "de"),
    "tatoeba-en-de": lambda chance: sentence(chance, "de"),
    "carried": lambda chance: sentence(chance, "de"),
    "en-zh": lambda chance: sentence(chance, "zh"),
    "multi30k": lambda chance: both(sentence(chance, "de"), str.lower),
    "multi30k-reversed": lambda chance: (lambda one, other: (backwards(one), other))(*MADE["multi30k"](chance)),
    "multi30k-distilled": lambda chance: MADE["multi30k"](chance),
    "cmudict-g2p": spelt,
    "sigmorphon2021-g2p": spelt,
    "inflection.deu": inflected,
    "transliteration": name,
    "scan.simple": command,
    "cogs": logical,
    "tags": tagged,
}
