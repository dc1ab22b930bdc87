"""Time and memory of `sequencing prepare`: a corpus of N pairs, end to end, for each N that is asked for.

    .venv/bin/python benchmarks/preparing.py 200000
    .venv/bin/python benchmarks/preparing.py 1000000 4000000 15000000 --folder /tmp/preparing

The corpus is made of ../shared/data (or SEQUENCING_DATA): pairs of sentences, joined or changed in a word, so that
nearly all are new, every twentieth is one that was there already, and the number of different words grows as it does in
real text. The same N gives the same corpus. Memory is the sum of the proportional set sizes of all processes, looked at
twice a second. The numbers go to benchmarks/results/preparing.json with the machine that they were measured on.
"""

import argparse
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sequencing.machine import machine

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "preparing.json"
DATA = Path(os.environ.get("SEQUENCING_DATA", HERE.parent.parent / "shared" / "data"))
SETTINGS = [
    "vocab.joint=true",
    "vocab.source.level=subwords",
    "vocab.source.size=32000",
    "split.dev=2000",
    "split.test=2000",
]
LETTERS = "abcdefghijklmnopqrstuvwxyzäöüß"


def sentences() -> list[tuple[str, str]]:
    """All English-German pairs of the data sets."""
    pairs = []
    for name in ("tatoeba-en-de/train.tsv.gz", "tatoeba-en-de/train-alternatives.tsv.gz"):
        pairs += [tuple(line.split("\t")) for line in lines(DATA / name)]
    for folder in ("multi30k", "opennmt-demo-en-de"):
        pairs += zip(lines(DATA / folder / "train.en.gz"), lines(DATA / folder / "train.de.gz"), strict=True)
    return [(source, target) for source, target in pairs if "\t" not in source + target]


def lines(path: Path) -> list[str]:
    """The lines of a packed file."""
    return gzip.decompress(path.read_bytes()).decode().rstrip("\n").split("\n")


def perturbed(pairs: list[tuple[str, str]], count: int, seed: int = 1) -> Iterator[tuple[str, str]]:
    """`count` pairs, nearly all of them different."""
    generator = random.Random(seed)
    for _ in range(count):
        kind = generator.random()
        source, target = generator.choice(pairs)
        if kind < 0.5:
            other = generator.choice(pairs)
            source, target = f"{source} {other[0]}", f"{target} {other[1]}"
        elif kind < 0.95:
            source, target = changed(source, generator), changed(target, generator)
        yield source, target


def changed(text: str, generator: random.Random) -> str:
    """The text with another letter in one of its words, and a number behind it."""
    place, letter = generator.randrange(len(text)), generator.choice(LETTERS)
    return f"{text[:place]}{letter}{text[place + 1 :]} {generator.randrange(1000)}"


def write_corpus(path: Path, count: int) -> int:
    """Write the corpus; its size in bytes."""
    with path.open("wb", buffering=1 << 20) as file:
        for source, target in perturbed(sentences(), count):
            file.write(f"{source}\t{target}\n".encode())
    return path.stat().st_size


def memory(parent: int) -> int:
    """Bytes of memory of a process and all below it: each shared page is counted in parts."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:  # it has ended
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    tree, total = [parent], 0
    for process in tree:
        tree += children.get(process, [])
        try:
            rows = Path(f"/proc/{process}/smaps_rollup").read_bytes().split(b"\n")
        except OSError:
            continue
        total += sum(int(row.split()[1]) for row in rows if row.startswith(b"Pss:"))
    return total * 1024


def measure(count: int, folder: Path, settings: list[str]) -> dict[str, Any]:
    """Prepare a corpus of so many pairs."""
    corpus, out = folder / f"{count}.tsv", folder / f"{count}.prepared"
    shutil.rmtree(out, ignore_errors=True)
    size = write_corpus(corpus, count)
    command = [
        sys.executable,
        "-m",
        "sequencing",
        "prepare",
        str(corpus),
        "--out",
        str(out),
        "--set",
        *SETTINGS,
        *settings,
    ]
    begin = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(HERE.parent / "src")})
    most = 0
    while process.poll() is None:
        most = max(most, memory(process.pid))
        time.sleep(0.5)
    seconds = time.perf_counter() - begin
    if process.returncode:
        raise SystemExit(f"{count} pairs: exit {process.returncode}")
    prepared = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    shutil.rmtree(out)
    corpus.unlink()
    return {
        "pairs": count, "bytes": size, "seconds": round(seconds, 1), "pairs_per_second": round(count / seconds),
        "peak_bytes": most, "prepared_bytes": prepared, "settings": [*SETTINGS, *settings],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=int, nargs="+", help="sizes of corpora")
    parser.add_argument(
        "--folder", type=Path, default=Path("/tmp/sequencing-preparing"), help="where the corpora are made"
    )
    parser.add_argument("--set", nargs="+", default=[], metavar="key=value", help="more settings of `prepare`")
    parser.add_argument("--write", action="store_true", help=f"keep the numbers in {RESULTS.name}")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for count in arguments.pairs:
        row = measure(count, arguments.folder, arguments.set)
        rows.append(row)
        print(
            f"{count:>12,} pairs  {row['seconds']:>8,.1f} s  {row['pairs_per_second']:>8,} pairs/s  "
            f"{row['peak_bytes'] / 1e6:>7,.0f} MB at most",
            flush=True,
        )
    if arguments.write:
        RESULTS.write_bytes(json.dumps({"machine": machine(), "rows": rows}, indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()
