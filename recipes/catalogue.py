"""What recipes there are: a configuration each, in folders, and what is measured of a run.

A recipe is recipes/NAME.toml; its run stands in RUNS/NAME and its numbers in results.json beside it. The folders'
tables show the columns that `FOLDERS` names, one row a configuration, or those of `Row` where one run has several.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
RUNS = ROOT / "runs" / "recipes"
DATA = ROOT / "runs" / "data"

SENTENCES = (  # those that the guide shows, what is right, and what its best model said after 300 epochs
    ("I took the bus back.", "ich nahm den bus zurück", "ich nahm den bus geländer"),
    ("He had barely enough to eat.", "er hatte kaum genug zu essen", "er hatte kaum genug zu hunger"),
    ("Without air we would die.", "ohne luft würden wir sterben", "^ luft luft gesellschaft"),
    ("I thought you'd be older.", "ich hätte sie für älter gehalten", "ich hätte sie als als hunger"),
    ("Hanako questioned his sincerity.", "hanako zweifelte an seiner ernsthaftigkeit", "hanako zweifelte jeden mit"),
    ("I study Chinese in Beijing.", "ich lerne in peking chinesisch", "ich lerne in peking stimmung"),
)
COLUMNS = {  # of the tables: where a number stands in a result, its heading, and how it is written
    "padded": ("train.padded", "training, padded", "{:.1%}"),
    "train": ("train.token_accuracy", "training", "{:.1%}"),
    "held_out": ("test.token_accuracy", "held out", "{:.1%}"),
    "exact": ("search.exact_match", "exact", "{:.1%}"),
    "bleu": ("search.bleu", "BLEU", "{:.1f}"),
    "chrf": ("search.chrf", "chrF", "{:.1f}"),
    "token_errors": ("search.token_error_rate", "token errors", "{:.1%}"),
    "errors": ("search.sequence_error_rate", "wrong", "{:.1%}"),
    "names": ("carried.names", "names", "{:.1%}"),
    "made_names": ("carried.made_names", "made names", "{:.1%}"),
    "cognates": ("carried.cognates", "cognates", "{:.1%}"),
    "numbers": ("carried.numbers", "numbers", "{:.1%}"),
    "parameters": ("parameters", "weights", "{:,.0f}"),
    "passes": ("epochs", "passes", "{:.0f}"),
    "minutes": ("minutes", "minutes", "{:.1f}"),
}
TRANSLATION = ("held_out", "exact", "bleu", "chrf", "parameters", "passes", "minutes")
SPELLING = ("held_out", "exact", "token_errors", "errors", "parameters", "passes", "minutes")


class Row(NamedTuple):
    """A row of a table: a recipe as it is searched with a beam."""

    recipe: str
    beam: int
    label: str


@dataclass(frozen=True)
class Folder:
    """The table of a folder."""

    columns: tuple[str, ...]
    beams: tuple[int, ...] = (5,)  # one row each; more than one where a decoder reads its own words
    tokenize: dict[str, str] = field(default_factory=dict)  # sacreBLEU's tokenizer where it is not 13a
    greedy: tuple[str, ...] = ()  # recipes whose words do not hang on each other: a beam says the same
    sentences: bool = False  # the guide's sentences are translated too
    carried: bool = False  # and those with spelling that is carried over are measured


FOLDERS = {
    "guide": Folder(
        ("padded", "train", "held_out", "exact", "bleu", "chrf", "parameters", "passes", "minutes"),
        beams=(1, 5),
        greedy=("01-one-hot", "02-one-hot-bidirectional", "03-embedding", "04-embedding-bidirectional"),
        sentences=True,
    ),
    "nmt": Folder(TRANSLATION, beams=(1, 5), tokenize={"en2zh": "zh", "en2zh_large": "zh"}),
    "word2pos": Folder(("held_out", "exact", "token_errors", "parameters", "passes", "minutes"), beams=(1,)),
    "char_nmt": Folder(TRANSLATION, beams=(1, 5)),
    "ava_nmt": Folder(
        ("held_out", "bleu", "chrf", "made_names", "names", "cognates", "numbers", "parameters", "minutes"),
        carried=True,
    ),
    "classics": Folder(TRANSLATION, beams=(1, 5)),
    "toy": Folder(("exact", "token_errors", "parameters", "passes", "minutes"), beams=(1,)),
    "transliteration": Folder(("chrf", *SPELLING), beams=(1, 5), tokenize={"ar-en": "char"}),
    "cogs": Folder(SPELLING, beams=(1,)),
    "dates": Folder(SPELLING, beams=(1,), tokenize={"dates": "char"}),
    "students": Folder(TRANSLATION, beams=(1, 2, 5)),
}
TAUGHT = {"students/2-student": "students/1-teacher"}  # whose answers a recipe learns from (distil.py)


def recipes(folder: str = "") -> list[str]:
    """The names of all recipes, or of those of a folder: `guide/01-one-hot`, and `scan-rnn` where there is none."""
    found = sorted(HERE.glob(f"{folder}/*.toml" if folder else "**/*.toml"))
    return [path.relative_to(HERE).with_suffix("").as_posix() for path in found]


def rows(folder: str) -> list[Row]:
    """The rows of a folder's table."""
    about, found = FOLDERS[folder], []
    for name in recipes(folder):
        label = name.rpartition("/")[2]
        beams = (1,) if label in about.greedy else about.beams
        found += [Row(name, beam, label if len(beams) == 1 else f"{label}, {searched(beam)}") for beam in beams]
    return found


def searched(beam: int) -> str:
    """How a search is called."""
    return "greedy" if beam == 1 else f"beam {beam}"
