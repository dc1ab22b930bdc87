"""Decoding, beside Hugging Face, JoeyNMT and CTranslate2: sentences a second of the same model on the same ids.

    .venv/bin/python benchmarks/decode.py MODEL TEST.tsv --peer OTHER_VENV/bin/python [--joey JOEY_VENV/bin/python]
        [--student MODEL] [--rounds 5] [--rows REGEX] [--result NAME]

MODEL is a run or model folder with the small Transformer of the peers' benchmark (3 + 3 blocks of 256 with norms before
their parts, 4 heads, feed-forward 1,024, one table), trained; a student reads and says the same ids. OTHER_VENV holds
torch, transformers and ctranslate2, JOEY_VENV torch, joeynmt and safetensors; without them only our own rows are
measured. All work on ids and on two cores, by turns, each in a process that stays; text is made of them afterwards, for
BLEU. The numbers go to benchmarks/results/NAME.json, which is `decode` unless said otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent


class Row(NamedTuple):
    """One line of the table."""

    who: str
    beam: int
    batch: int = 0  # sentences at once
    tokens: int = 0  # or so many padded source tokens times hypotheses
    precision: str = "float32"
    processes: int = 1
    threads: int = 2  # of all processes together
    sentences: int = 1000  # of the test
    student: bool = False  # answered by --student
    shortlist: bool = False  # among the tokens of its shortlist

    @property
    def name(self) -> str:
        """As it stands in the table."""
        search = "greedy" if self.beam == 1 else f"beam {self.beam}"
        size = f"{self.tokens} tokens" if self.tokens else f"batch {self.batch}"
        split = f"{self.processes} x {self.threads // self.processes}"
        model = f"{', student' * self.student}{', shortlist' * self.shortlist}"
        return f"{search}, {size}, {self.who}, {self.precision}, {split}{model}"

    @property
    def place(self) -> tuple[str, bool, int]:
        """Which process answers it; OpenBLAS is told its threads when one begins, and only NumPy has it multiply."""
        return self.who, self.student, self.threads // self.processes if self.who == "NumPy" else 1


OURS = [
    Row(who, beam, tokens=tokens, precision=precision, processes=processes, threads=threads or processes)
    for beam, tokens in ((5, 4096), (5, 16384), (5, 24576), (1, 4096))
    for who, threads, precisions in (("PyTorch", 2, ("float32", "bfloat16", "int8")), ("NumPy", 0, ("float32",)))
    for precision in precisions
    for processes in (1, 2)
]
STUDENT = [
    *(
        Row(who, beam, tokens=8192, precision=precision, processes=2, student=True)
        for who, precision in (("PyTorch", "int8"), ("NumPy", "float32"))
        for beam in (1, 2)
    ),
    *(
        Row("PyTorch", beam, tokens=tokens, precision=precision, processes=2, student=True, shortlist=True)
        for beam in (1, 2)
        for precision in ("bfloat16", "int8")
        for tokens in (1024, 2048, 8192)
    ),
]
PEERS = [
    *(Row("Hugging Face", 5, batch, precision=kind) for kind in ("float32", "bfloat16") for batch in (64, 128, 256)),
    *(
        Row("CTranslate2", beam, batch=size, precision=kind, processes=processes)
        for beam, size in ((5, 64), (5, 256), (1, 128))
        for kind in ("float32", "int8")
        for processes in (1, 2)
    ),
    Row("Hugging Face", 1, batch=128),
    *(Row("JoeyNMT", beam, batch=size) for beam, size in ((5, 32), (5, 128), (1, 128))),
]
COUNTS = ((1, 1, 100), (1, 32, 1000), (1, 160, 1000), (5, 1, 100))  # a beam, sentences at once, and of the test
WAYS = {  # processes, threads: two threads may be slower than one, and than two processes
    "NumPy": ((1, 2), (1, 1), (2, 2)),
    "PyTorch": ((1, 2), (2, 2)),
    "CTranslate2": ((1, 2), (1, 1), (2, 2)),
    "Hugging Face": ((1, 2),),
}
SIZES = [
    Row(who, beam, batch=batch, sentences=count, processes=processes, threads=threads)
    for beam, batch, count in COUNTS
    for who, ways in WAYS.items()
    for processes, threads in ways
]
FIRST = """
import time; begin = time.perf_counter()
from sequencing_np import Translator
translator = Translator.load({folder!r}); loaded = time.perf_counter()
translator.translate([{line!r}]); print(time.perf_counter() - begin)
"""


class Worker:
    """A process that answers rows."""

    def __init__(self, python: str, who: str, folder: Path, ids: Path, threads: int) -> None:
        environment = os.environ | {"OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": "2"}
        words = [python, str(HERE / "decode_workers.py"), who, str(folder), str(ids)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(words, env=environment, **pipes)

    def ask(self, row: Row) -> dict[str, Any]:
        """The answer to a row."""
        assert self.process.stdin and self.process.stdout
        print(json.dumps(row._asdict()), file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
        raise SystemExit(f"{row.name}: the process ended")


@contextmanager
def working(*words: Any) -> Iterator[Worker]:
    """A Worker that ends with the block."""
    worker = Worker(*words)
    try:
        yield worker
    finally:
        worker.process.kill()
        worker.process.wait()


def first_translations(folder: Path, line: str, count: int) -> list[float]:
    """Seconds from the import of `sequencing_np` to the first translation, each in a new process.

    The first process does not count: it leaves the byte code that an installed package has.
    """
    program = FIRST.format(folder=str(folder), line=line)
    words = [sys.executable, "-c", program]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as compiled:
        environment |= {"OPENBLAS_NUM_THREADS": "1", "PYTHONPYCACHEPREFIX": compiled}
        runs = [subprocess.run(words, env=environment, capture_output=True, check=True) for _ in range(count + 1)]
    return [round(float(run.stdout), 3) for run in runs[1:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("test", metavar="TEST.tsv")
    parser.add_argument("--peer", metavar="PYTHON", help="a Python that has transformers and ctranslate2")
    parser.add_argument("--joey", metavar="PYTHON", help="a Python that has joeynmt")
    parser.add_argument("--student", metavar="MODEL", help="a small model that learnt from MODEL's answers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", default="", metavar="REGEX", help="only rows whose name it finds")
    parser.add_argument("--result", default="decode", metavar="NAME", help="of the file in results/ (decode)")
    parser.add_argument("--no-result", action="store_true", help="write no file")
    given = parser.parse_args()
    from sacrebleu.metrics import BLEU

    from sequencing.loading import model_folder_of
    from sequencing.machine import machine
    from sequencing_np.errors import ModelError
    from sequencing_np.model_folder import read_model_folder
    from sequencing_np.shortlist import SHORTLIST

    try:
        folder = model_folder_of(given.model)
        folders = {False: folder, **({True: model_folder_of(given.student)} if given.student else {})}
        parts = read_model_folder(folder)
    except ModelError as error:
        parser.error(str(error))
    pairs = [line.split("\t")[:2] for line in Path(given.test).read_text(encoding="utf-8").splitlines()[:1000]]
    rows = [row for row in [*OURS, *STUDENT, *PEERS, *SIZES] if re.search(given.rows, row.name)]
    pythons = dict.fromkeys(("PyTorch", "NumPy"), sys.executable)
    pythons |= dict.fromkeys(("Hugging Face", "CTranslate2"), given.peer) if given.peer else {}
    pythons |= {"JoeyNMT": given.joey} if given.joey else {}
    listed = given.student and (folders[True] / SHORTLIST).is_file()
    rows = [row for row in rows if row.who in pythons and row.student in folders and (listed or not row.shortlist)]
    found: dict[Row, list[dict[str, Any]]] = {row: [] for row in rows}
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        ids = Path(name) / "ids.json"
        ids.write_text(json.dumps([parts.source_vocab.encode(source) for source, _ in pairs]))
        workers = {
            place: stack.enter_context(working(pythons[place[0]], place[0], folders[place[1]], ids, place[2]))
            for place in dict.fromkeys(row.place for row in rows)
        }
        for _ in range(given.rounds):
            for row in rows:
                found[row].append(workers[row.place].ask(row))
                rate = len(found[row][-1]["answers"]) / found[row][-1]["seconds"]
                print(f"{rate:8,.1f} {row.name}", file=sys.stderr, flush=True)
    reference: dict[tuple[int, int, bool], Any] = {}
    result: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda row: (-row.beam, row.sentences, row.batch if row in SIZES else 0)):
        every = found[row]
        answers = every[0]["answers"]
        count = len(answers)
        first = reference.setdefault((row.beam, row.sentences, row.student), answers)
        equal = sum(map(list.__eq__, answers, first))
        references = [target for _, target in pairs[:: -(-len(pairs) // row.sentences)]]
        bleu = BLEU().corpus_score([parts.target_vocab.decode(answer) for answer in answers], [references]).score
        rates = [count / each["seconds"] for each in every]
        shown = f"{statistics.median(rates):8,.1f} sentences/s ({min(rates):,.1f}-{max(rates):,.1f})"
        print(f"{row.name:62} {shown:38} BLEU {bleu:.2f}  {equal:,} of {count:,} alike", flush=True)
        each = {"rates": [round(rate, 1) for rate in rates], "rate": round(statistics.median(rates), 1)}
        tokens = round(sum(map(len, answers)) / count, 2)
        about = {
            "bleu": round(bleu, 2),
            "alike": equal,
            "of": count,
            "tokens": tokens,
            "versions": every[0]["versions"],
        }
        result.append({"name": row.name, **row._asdict(), **each, **about})
    begun = first_translations(folder, pairs[0][0], given.rounds)
    print(f"import, load, first translation on NumPy: {statistics.median(begun):.3f} s ({min(begun)}-{max(begun)})")
    if not given.no_result:
        load = list(os.getloadavg())
        content = {"machine": machine(), "load": load, "rounds": given.rounds, "first": begun, "rows": result}
        (HERE / "results" / f"{given.result}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
