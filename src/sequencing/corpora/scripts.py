"""Which script a letter belongs to, by its Unicode name: "CYRILLIC SMALL LETTER A" is Cyrillic.

Only letters and marks have a script here; digits, punctuation, symbols and marks that any script may use have none.
"""

import unicodedata
from collections.abc import Mapping

# How the names of a script's letters begin; the longest beginning that fits counts.
BEGINNINGS: Mapping[str, tuple[str, ...]] = {
    "Arabic": ("ARABIC",),
    "Armenian": ("ARMENIAN",),
    "Bengali": ("BENGALI",),
    "Bopomofo": ("BOPOMOFO",),
    "Canadian": ("CANADIAN SYLLABICS",),
    "Cherokee": ("CHEROKEE",),
    "Coptic": ("COPTIC",),
    "Cyrillic": ("CYRILLIC", "COMBINING CYRILLIC", "MODIFIER LETTER CYRILLIC"),
    "Devanagari": ("DEVANAGARI", "COMBINING DEVANAGARI"),
    "Ethiopic": ("ETHIOPIC",),
    "Georgian": ("GEORGIAN", "MODIFIER LETTER GEORGIAN"),
    "Greek": ("GREEK", "OHM SIGN"),
    "Gujarati": ("GUJARATI",),
    "Gurmukhi": ("GURMUKHI",),
    "Han": ("CJK UNIFIED IDEOGRAPH", "CJK COMPATIBILITY IDEOGRAPH", "IDEOGRAPHIC ITERATION MARK"),
    "Hangul": ("HANGUL", "HALFWIDTH HANGUL"),
    "Hebrew": ("HEBREW",),
    "Hiragana": ("HIRAGANA", "HENTAIGANA"),
    "Kannada": ("KANNADA",),
    "Katakana": ("KATAKANA", "HALFWIDTH KATAKANA"),
    "Khmer": ("KHMER",),
    "Lao": ("LAO",),
    "Latin": (
        *("LATIN", "FULLWIDTH LATIN", "SUPERSCRIPT LATIN", "MODIFIER LETTER SMALL", "MODIFIER LETTER CAPITAL"),
        *("FEMININE ORDINAL", "MASCULINE ORDINAL", "KELVIN SIGN", "ANGSTROM SIGN"),
    ),
    "Malayalam": ("MALAYALAM",),
    "Mongolian": ("MONGOLIAN",),
    "Myanmar": ("MYANMAR",),
    "Nko": ("NKO",),
    "Odia": ("ORIYA",),
    "Olchiki": ("OL CHIKI",),
    "Sinhala": ("SINHALA",),
    "Syriac": ("SYRIAC",),
    "Tamil": ("TAMIL",),
    "Telugu": ("TELUGU",),
    "Thaana": ("THAANA",),
    "Thai": ("THAI",),
    "Tibetan": ("TIBETAN",),
    "Tifinagh": ("TIFINAGH",),
    "Yi": ("YI SYLLABLE",),
}
NONE, OTHER = 0, 1  # no letter, or one of any script; a letter of a script that has no name here
SCRIPTS = {name: number for number, name in enumerate(BEGINNINGS, OTHER + 1)}
ANY_SCRIPT = ("COMBINING", "MODIFIER LETTER", "VARIATION SELECTOR", "MATHEMATICAL", "VEDIC", "MICRO SIGN", "CARON")
# Letters and marks whose name promises a script that they do not belong to, or the other way round.
SHARED = frozenset(
    [chr(code) for code in (*range(0x064B, 0x0656), 0x0670, 0x0640)]  # marks of Arabic, Syriac and others; the tatweel
    + [chr(code) for code in (0x0374, 0x0951, 0x0952, 0x0953, 0x0954, 0x3099, 0x309A, 0x30FC, 0xFF70, 0xFF9E, 0xFF9F)]
)
_BY_BEGINNING = sorted(
    [(beginning, SCRIPTS[name]) for name, beginnings in BEGINNINGS.items() for beginning in beginnings]
    + [(beginning, NONE) for beginning in ANY_SCRIPT],
    key=lambda row: -len(row[0]),
)


def script_of(character: str) -> int:
    """The number of a character's script in SCRIPTS, OTHER, or NONE."""
    if unicodedata.category(character)[0] not in "LM" or character in SHARED:
        return NONE
    name = unicodedata.name(character, "")
    for beginning, number in _BY_BEGINNING:
        if name.startswith(beginning):
            return number
    return OTHER
