"""Makes the files that the recipes read, from public data sets: `python recipes/prepare.py DATA OUT [--most N]`.

DATA holds the sets as their own folders (`scan`, `multi30k`, …); OUT receives plain TSV files, NAME.train.tsv,
NAME.dev.tsv and NAME.test.tsv. A set that DATA does not hold is passed over. With `--most N` only the first N lines of
each file are read, to try things out. What is made:

* the guide's data: Tatoeba in its filter (at most six words a side, the first 80,000 pairs), in lower case and without
  punctuation as its tokenizer leaves it.
* Tatoeba as it is, English to German and to Chinese; and its short sentences without those of some names, cognates and
  numbers, which are held out to show whether spelling is carried over, people renamed (`carried.py`).
* Multi30k in lower case, as its published numbers are measured, and once more with the words of each source reversed.
* Words and tags: parts of speech that COGS's logical forms tell (`tags.py`); COGS itself.
* SCAN has no dev set: a twentieth of each training file, chosen by a hash of the command, is held out as dev.
* SIGMORPHON inflection with each feature a token of its own (`<V>`, `<NOM>`, `<1>`), as its README advises.
* Names in Arabic and in Latin letters.
* Dates, and symbols to be copied or reversed: made on the fly (`made.py`), whatever DATA holds.
"""

from __future__ import annotations

import argparse
import gzip
import re
import zlib
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path

import carried
import made
import tags

SPLITS = ("train", "dev", "test")
GUIDE_WORDS, GUIDE_PAIRS = 6, 80_000


class Source:
    """The folder of a set, of whose files at most so many lines are read; and where the files that are made go."""

    def __init__(self, folder: Path, out: Path, most: int | None = None) -> None:
        self.folder, self.out, self.most = folder, out, most

    def lines(self, name: str) -> list[str]:
        """The lines of a gzip file."""
        with gzip.open(self.folder / name, "rt", encoding="utf-8", newline="\n") as file:
            return [line.rstrip("\n") for line in islice(file, self.most)]

    def write(self, name: str, rows: Iterable[str]) -> None:
        """A text file of these lines."""
        made.write(self.out / f"{name}.tsv", rows)


def scan(source: Source) -> None:
    """Every split with a dev set of its own; the same command is never on both sides."""
    for split in ("simple", "length", "addprim_jump"):
        rows = source.lines(f"{split}.train.tsv.gz")
        held = [zlib.crc32(row.split("\t")[0].encode()) % 20 == 0 and row != "jump\tI_JUMP" for row in rows]
        source.write(f"scan.{split}.train", (row for row, dev in zip(rows, held, strict=True) if not dev))
        source.write(f"scan.{split}.dev", (row for row, dev in zip(rows, held, strict=True) if dev))
        source.write(f"scan.{split}.test", source.lines(f"{split}.test.tsv.gz"))


def multi30k(source: Source) -> None:
    """English to German in lower case; again with the source's words from the last to the first."""
    for name, split in (("train", "train"), ("val", "dev"), ("test_2016_flickr", "test")):
        sides = (source.lines(f"{name}.{language}.gz") for language in ("en", "de"))
        rows = [f"{en}\t{de}".lower() for en, de in zip(*sides, strict=True)]
        source.write(f"multi30k.{split}", rows)
        source.write(f"multi30k-reversed.{split}", map(made.turned, rows))


def inflection(source: Source) -> None:
    """German and Turkish; `<NOM(1,SG)>` becomes `<NOM> <1> <SG>`."""
    for language in ("deu", "tur"):
        for split in SPLITS:
            source.write(f"inflection.{language}.{split}", map(flat, source.lines(f"{language}.{split}.tsv.gz")))


def flat(row: str) -> str:
    """A line whose nested features stand one by one."""
    return re.sub(r"<([^<>]*)>", lambda found: "<" + "> <".join(re.findall(r"[^(),;]+", found[1])) + ">", row)


def german(source: Source) -> None:
    """The guide's data, and the same sentences as people write them."""
    rows = {split: source.lines(f"{split}.tsv.gz") for split in SPLITS}
    for split in SPLITS:
        more = source.lines("train-alternatives.tsv.gz") if split == "train" else []
        short = [row for row in rows[split] + more if is_short(row)]
        source.write(f"guide.{split}", map(bare, short[:GUIDE_PAIRS]))
        source.write(f"en-de.{split}", rows[split])
    train, dev, test = (list(filter(carried.is_short, rows[split])) for split in SPLITS)
    rest, held = carried.held_out(train)
    held[carried.MADE] = carried.renamed(test, held=True)
    rest += carried.renamed(rest, held=False)
    for name, part in {"train": rest, "dev": dev, "test": test, **held}.items():
        source.write(f"carried.{name}", part)


def is_short(row: str) -> bool:
    """At most the guide's number of words, between spaces, on both sides."""
    return all(len(side.split(" ")) <= GUIDE_WORDS for side in row.split("\t"))


def bare(row: str) -> str:
    """Lower case, and letters, digits and apostrophes alone, as the tokenizer of the guide leaves a text."""
    return "\t".join(made.bare(side) for side in row.split("\t"))


def chinese(source: Source) -> None:
    """English to Chinese, the further translations of the training sentences among them."""
    for split in SPLITS:
        more = source.lines("train-alternatives.tsv.gz") if split == "train" else []
        source.write(f"en-zh.{split}", source.lines(f"{split}.tsv.gz") + more)


def cogs(source: Source) -> None:
    """Sentences to logical forms, and to the tags that these tell."""
    for split in SPLITS:
        rows = source.lines(f"{split}.tsv.gz")
        source.write(f"cogs.{split}", rows)
        tagged = (tags.tagged(*row.split("\t")) for row in rows)
        source.write(f"tags.{split}", (row for row in tagged if row))


def transliteration(source: Source) -> None:
    """Names, Arabic to Latin letters."""
    for split in SPLITS:
        source.write(f"transliteration.{split}", source.lines(f"{split}.tsv.gz"))


SETS: dict[str, Callable[[Source], None]] = {  # folder of a set -> what is made of it
    "scan": scan,
    "multi30k": multi30k,
    "sigmorphon2023-inflection": inflection,
    "tatoeba-en-de": german,
    "tatoeba-en-zh": chinese,
    "cogs": cogs,
    "transliteration-ar-en": transliteration,
}
SIZES = {  # of what is made on the fly: pairs to learn from, to choose by, to measure with
    "dates": (20_000, 1_000, 1_000),
    "copy": (10_000, 1_000, 1_000),
    "reverse": (10_000, 1_000, 1_000),
}


def prepare(data: Path, out: Path, most: int | None = None) -> list[str]:
    """Make all that DATA has the sets for; the names of those that it has not."""
    absent = [folder for folder in SETS if not (data / folder).is_dir()]
    for folder, make in SETS.items():
        if folder not in absent:
            make(Source(data / folder, out, most))
    for name, sizes in SIZES.items():
        made.write_splits(name, out, [min(size, most or size) for size in sizes])
    return absent


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA", help="the folder of the sets")
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder that gets the files")
    parser.add_argument("--most", type=int, metavar="N", help="read the first N lines of each file alone")
    arguments = parser.parse_args()
    for folder in prepare(arguments.data, arguments.out, arguments.most):
        print(f"{arguments.data / folder}: not there; what the recipes need of it is not made")
