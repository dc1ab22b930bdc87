"""What recipes there are: a configuration each, in folders, and what is measured of a run.

A recipe is recipes/NAME.toml; its run stands in RUNS/NAME and its numbers in results.json beside it. Where a folder's
recipes are compared on several sets, each has a run on each of them. The folders' tables show the columns that
`FOLDERS` names, one row a run, or those of `Row` where one run has several.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from prepare import SPLITS

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
    "dev": ("dev.bleu", "BLEU, dev", "{:.1f}"),
    "dev_exact": ("dev.exact_match", "exact, dev", "{:.2%}"),
    "test_exact": ("search.exact_match", "exact, test", "{:.2%}"),
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


class Experiment(NamedTuple):
    """A run: a recipe, or a recipe on one of its folder's sets."""

    name: str
    recipe: str
    settings: tuple[str, ...] = ()  # laid over the recipe

    @property
    def label(self) -> str:
        return self.name.rpartition("/")[2]


class Data(NamedTuple):
    """A set that a folder's recipes are run on: its files in DATA are FILES.train.tsv and so on."""

    files: str
    settings: tuple[str, ...] = ()  # laid over each recipe


class Row(NamedTuple):
    """A row of a table: a run as it is searched with a beam."""

    run: str  # its label
    beam: int
    label: str


@dataclass(frozen=True)
class Folder:
    """The table of a folder."""

    columns: tuple[str, ...]
    beams: tuple[int, ...] = (5,)  # one row each; more than one where a decoder reads its own words
    sets: dict[str, Data] = field(default_factory=dict)  # by their names, the ends of the runs' names
    greedy: tuple[str, ...] = ()  # runs whose words do not hang on each other: a beam says the same
    sentences: bool = False  # the guide's sentences are translated too
    carried: bool = False  # and those with spelling that is carried over are measured


FOLDERS = {
    "guide": Folder(
        ("padded", "train", "held_out", "exact", "bleu", "chrf", "parameters", "passes", "minutes"),
        beams=(1, 5),
        greedy=("01-one-hot", "02-one-hot-bidirectional", "03-embedding", "04-embedding-bidirectional"),
        sentences=True,
    ),
    "nmt": Folder(TRANSLATION, beams=(1, 5)),
    "word2pos": Folder(("held_out", "exact", "token_errors", "parameters", "passes", "minutes"), beams=(1,)),
    "char_nmt": Folder(TRANSLATION, beams=(1, 5)),
    "ava_nmt": Folder(
        ("held_out", "bleu", "chrf", "made_names", "names", "cognates", "numbers", "parameters", "minutes"),
        carried=True,
    ),
    "classics": Folder(TRANSLATION, beams=(1, 5)),
    "families": Folder(
        ("dev", "exact", "bleu", "chrf", "parameters", "passes", "minutes"),
        beams=(1, 5),
        sets={
            "en-de": Data("en-de"),
            "en-zh": Data("en-zh", ("vocab.target.level=characters", "train.bleu_tokenize=zh")),
        },
    ),
    "scan": Folder(
        ("dev_exact", "test_exact", "parameters", "passes", "minutes"),
        beams=(1,),
        sets={name: Data(f"scan.{name}") for name in ("simple", "length", "addprim_jump")},
    ),
    "toy": Folder(("exact", "token_errors", "parameters", "passes", "minutes"), beams=(1,)),
    "transliteration": Folder(("chrf", *SPELLING), beams=(1, 5)),
    "cogs": Folder(SPELLING, beams=(1,)),
    "dates": Folder(SPELLING, beams=(1,)),
    "students": Folder(TRANSLATION, beams=(1, 2, 5)),
}
TAUGHT = {"students/2-student": "students/1-teacher"}  # whose answers a recipe learns from (distil.py)


def recipes(folder: str = "") -> list[str]:
    """The names of all recipes, or of a folder's: `guide/01-one-hot`, and `multi30k-en-de` where there is none."""
    found = sorted(HERE.glob(f"{folder}/*.toml" if folder else "**/*.toml"))
    return [path.relative_to(HERE).with_suffix("").as_posix() for path in found]


def experiments(folder: str) -> list[Experiment]:
    """The runs of a folder."""
    sets = FOLDERS[folder].sets
    if not sets:
        return [Experiment(recipe, recipe) for recipe in recipes(folder)]
    return [
        Experiment(f"{recipe}-{name}", recipe, (*(files_of(data.files, split) for split in SPLITS), *data.settings))
        for name, data in sets.items()
        for recipe in recipes(folder)
    ]


def files_of(name: str, split: str) -> str:
    """The setting that names a set's file."""
    return f'data.{split}=["{DATA / name}.{split}.tsv"]'


def rows(folder: str) -> list[Row]:
    """The rows of a folder's table."""
    about, found = FOLDERS[folder], []
    for run in experiments(folder):
        beams = (1,) if run.label in about.greedy else about.beams
        for beam in beams:
            found.append(Row(run.label, beam, run.label if len(beams) == 1 else f"{run.label}, {searched(beam)}"))
    return found


def searched(beam: int) -> str:
    """How a search is called."""
    return "greedy" if beam == 1 else f"beam {beam}"
