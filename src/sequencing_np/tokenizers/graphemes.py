"""A text as the characters that readers see: a base with its marks, as Unicode's annex 29 cuts it.

Pairs of flags and joined emojis are not put together: their callers look at clusters of less than six bytes only.
"""

import re
from functools import cache

from sequencing_np.tokenizers.character_classes import members

PREPENDED = (
    "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e\U000110bd\U000110cd\U000111c2\U000111c3\U0001193f\U00011941"
    "\U00011a3a\U00011a84-\U00011a89\U00011d46\U00011f02"
)
BASES_THAT_ARE_MARKS = (
    "\u102b\u102c\u1038\u1062-\u1064\u1067-\u106d\u1083\u1087-\u108c\u108f\u109a-\u109c\u1a61\u1a63\u1a64\uaa7b\uaa7d"
    "\U00011720\U00011721"
)
FURTHER_MARKS = "\u200c\u200d\u0e33\u0eb3\uff9e\uff9f\U0001f3fb-\U0001f3ff"
LEADING, VOWELS, TRAILING = "\u1100-\u115f\ua960-\ua97c", "\u1160-\u11a7\ud7b0-\ud7c6", "\u11a8-\u11ff\ud7cb-\ud7fb"


@cache
def pattern() -> re.Pattern[str]:
    """What finds one cluster after the other."""
    mark = f"(?:(?![{BASES_THAT_ARE_MARKS}])[{members('M')}{FURTHER_MARKS}])"
    control = f"(?:(?![{PREPENDED}{FURTHER_MARKS}])[{members('Cc', 'Cf', 'Zl', 'Zp')}])"
    syllable = f"[{LEADING}]*(?:[\uac00-\ud7a3]|[{VOWELS}])[{VOWELS}]*[{TRAILING}]*|[{LEADING}]+|[{TRAILING}]+"
    base = f"(?:{syllable}|(?!{control}).)"
    return re.compile(f"\r\n|{control}|[{PREPENDED}]*{base}{mark}*|[{PREPENDED}]+", re.DOTALL)


def graphemes(text: str) -> list[str]:
    """The clusters of a text, which together are the text."""
    if text.isascii() and "\r" not in text:
        return list(text)
    return pattern().findall(text)
