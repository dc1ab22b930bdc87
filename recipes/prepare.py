"""Makes the files that some recipes read, from public data sets: `python recipes/prepare.py DATA OUT`.

DATA holds the sets as their own folders (`scan`, `multi30k`, …); OUT receives plain TSV files. What is made:

* SCAN has no dev set: a twentieth of each training file, chosen by a hash of the command, is held out as dev.
* Multi30k in lower case, as its published numbers are measured.
* SIGMORPHON inflection with each feature a token of its own (`<V>`, `<NOM>`, `<1>`), as its README advises.
"""

from __future__ import annotations

import gzip
import re
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path


def lines(path: Path) -> list[str]:
    """The lines of a gzip file."""
    return gzip.open(path, "rt", encoding="utf-8").read().splitlines()


def write(path: Path, rows: Iterable[str]) -> None:
    """A text file of these lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{row}\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    print(path, text.count("\n"))


def scan(data: Path, out: Path) -> None:
    """Every split with a dev set of its own; the same command is never on both sides."""
    for split in ("simple", "length", "addprim_jump"):
        rows = lines(data / f"{split}.train.tsv.gz")
        held = [zlib.crc32(row.split("\t")[0].encode()) % 20 == 0 and row != "jump\tI_JUMP" for row in rows]
        write(out / f"scan.{split}.train.tsv", (row for row, dev in zip(rows, held, strict=True) if not dev))
        write(out / f"scan.{split}.dev.tsv", (row for row, dev in zip(rows, held, strict=True) if dev))
        write(out / f"scan.{split}.test.tsv", lines(data / f"{split}.test.tsv.gz"))


def multi30k(data: Path, out: Path) -> None:
    """English to German in lower case."""
    for name, split in (("train", "train"), ("val", "dev"), ("test_2016_flickr", "test")):
        sides = (lines(data / f"{name}.{language}.gz") for language in ("en", "de"))
        write(out / f"multi30k.{split}.tsv", (f"{en}\t{de}".lower() for en, de in zip(*sides, strict=True)))


def inflection(data: Path, out: Path) -> None:
    """German and Turkish; `<NOM(1,SG)>` becomes `<NOM> <1> <SG>`."""
    for language in ("deu", "tur"):
        for split in ("train", "dev", "test"):
            rows = lines(data / f"{language}.{split}.tsv.gz")
            write(out / f"inflection.{language}.{split}.tsv", map(flat, rows))


def flat(row: str) -> str:
    """A line whose nested features stand one by one."""
    return re.sub(r"<([^<>]*)>", lambda found: "<" + "> <".join(re.findall(r"[^(),;]+", found[1])) + ">", row)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("python recipes/prepare.py DATA OUT")
    source, target = map(Path, sys.argv[1:])
    scan(source / "scan", target)
    multi30k(source / "multi30k", target)
    inflection(source / "sigmorphon2023-inflection", target)
