"""Draw what a model looks at: source tokens on top, the tokens of the answer down the side. Prints the picture's path.

Without a sentence the last validation sample of the run is drawn.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from sequencing.commands.model import add_device, add_run, load
from sequencing.plot import attention_svg, draw_attention
from sequencing.records import Record, read_records
from sequencing_np.commands.search import add_search_options, search_config
from sequencing_np.commands.streams import MAX_BYTES, Lines, write_output
from sequencing_np.errors import DataError, SearchError, UsageError
from sequencing_np.vectors import longest_line
from sequencing_np.writing import atomic_write

EXAMPLES = """
examples:
  sequencing plot attention runs/demo
  sequencing plot attention runs/demo "two hundred and five thousand and one" --output attention.png
  echo "two hundred and five" | sequencing plot attention runs/demo - --output attention.svg
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run(parser)
    parser.add_argument("sentence", metavar="SENTENCE", nargs="?", help="what to translate; -: the first line of stdin")
    parser.add_argument("--output", metavar="F", help="a .png or .svg file (default RUN/attention.png)")
    add_device(parser)
    add_search_options(parser)


def run(arguments: argparse.Namespace) -> None:
    path = Path(arguments.run, "attention.png") if arguments.output is None else Path(arguments.output)
    if path.suffix not in DRAWN:
        raise UsageError(f"--output {path}: a picture's name ends in {' or '.join(DRAWN)}")
    sample = last_sample(Path(arguments.run)) if arguments.sentence is None else translated(arguments)
    DRAWN[path.suffix](sample, path)
    write_output("-", [str(path)])


def draw_svg(sample: Record, path: Path) -> None:
    """Write the picture of one sample as SVG."""
    with atomic_write(path) as file:
        file.write(attention_svg(sample).encode())


DRAWN: dict[str, Callable[[Record, Path], None]] = {".png": draw_attention, ".svg": draw_svg}


def last_sample(run: Path) -> Record:
    """The last sample that validation wrote down with its attention."""
    try:
        records = read_records(run / "samples.jsonl").records
    except OSError:
        records = []
    found = next((record for record in reversed(records) if record.get("alignment")), None)
    if found is None:
        raise DataError(f"{run / 'samples.jsonl'}: no validation sample with attention; give a sentence to translate")
    return found


def translated(arguments: argparse.Namespace) -> Record:
    """The sample of a sentence that the model translates now."""
    from sequencing.loading import search_of

    sentence, translator = arguments.sentence, load(arguments)
    if sentence == "-":
        lines = Lines("-", longest_line(translator.source_vocab, MAX_BYTES))
        sentence = next(iter(lines), "")
        lines.finish()
    if not sentence.strip():
        raise UsageError("the sentence is blank; give one to translate")
    arguments.alignments = True
    search = search_config(search_of(arguments.run), arguments)
    (translation,) = translator.translate([sentence], search)
    if not translation.answers:
        raise SearchError("the model answered NaN; look at the metrics of its training")
    best = translation.answers[0]
    assert best.alignment is not None
    return {
        "source_tokens": translation.source_tokens,
        "prediction_tokens": best.tokens,
        "alignment": best.alignment[:, : len(translation.source_tokens)].tolist(),
    }
