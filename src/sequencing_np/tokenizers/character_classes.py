"""Classes of characters as regular expressions of other programs name them, for Python's own, which knows them not.

Which characters a class has is what this Python's Unicode says; characters that came later are in none.
"""

import re
import unicodedata
from functools import cache
from itertools import groupby

SPACES = "\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"  # Unicode's White_Space
CIRCLED = "\u24b6-\u24e9\U0001f130-\U0001f149\U0001f150-\U0001f169\U0001f170-\U0001f189"  # letters that are symbols
JOINERS = "\u200c\u200d"


@cache
def ranges() -> dict[str, str]:
    """For each general category the body of a class of all its characters."""
    found: dict[str, list[str]] = {}
    for category, group in groupby(range(0x110000), key=lambda code: unicodedata.category(chr(code))):
        codes = list(group)
        found.setdefault(category, []).append(f"\\U{codes[0]:08x}-\\U{codes[-1]:08x}")
    return {category: "".join(parts) for category, parts in found.items()}


@cache
def members(*prefixes: str) -> str:
    """The body of a class of all characters whose category begins with one of these: L is Ll, Lu and so on."""
    return "".join(body for category, body in sorted(ranges().items()) if category.startswith(prefixes))


def word_body() -> str:
    """The body of \\w as Unicode defines it: alphabetic, marks, decimal digits, connectors and joiners."""
    return members("L", "M", "Nl", "Nd", "Pc") + CIRCLED + JOINERS


BODIES = {r"\s": lambda: SPACES, r"\w": word_body}
ESCAPE = re.compile(r"\\p\{(\w+)\}|\\[sSwrn]|\[\^?|\]")


@cache
def translated(pattern: str) -> re.Pattern[str]:
    """A pattern with \\p{…}, \\s, \\S and \\w as Unicode has them."""
    inside = False

    def replace(found: re.Match[str]) -> str:
        nonlocal inside
        text = found[0]
        if text[0] in "[]":
            inside = text != "]"
            return text
        if text == r"\S":
            return f"[^{SPACES}]"
        if text in (r"\r", r"\n"):
            return text
        body = members(found[1]) if found[1] else BODIES[text]()
        return body if inside else f"[{body}]"

    return re.compile(ESCAPE.sub(replace, pattern))


ENDINGS = "'s|'t|'re|'ve|'m|'ll|'d"
PATTERNS = (  # which patterns of tokenizer.json are known: what another one costs cannot be told
    rf"{ENDINGS}| ?\p{{L}}+| ?\p{{N}}+| ?[^\s\p{{L}}\p{{N}}]+|\s+(?!\S)|\s+",
    rf"(?i:{ENDINGS})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    rf"(?i:{ENDINGS})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    rf"[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]*[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]+(?i:{ENDINGS})?"
    rf"|[^\r\n\p{{L}}\p{{N}}]?[\p{{Lu}}\p{{Lt}}\p{{Lm}}\p{{Lo}}\p{{M}}]+[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]*(?i:{ENDINGS})?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    rf"{ENDINGS}|[\p{{L}}]+|[\p{{N}}]|[^\s\p{{L}}\p{{N}}]+",
    " {2,}",
    r"\s+",
    r"\s",
    r"\p{N}",
    r"\p{N}+",
    r"\w+|[^\w\s]+",
    r"[\r\n]",
)
GPT2 = PATTERNS[0]
WORDS = r"\w+|[^\w\s]+"
