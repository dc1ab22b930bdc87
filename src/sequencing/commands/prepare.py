"""Make a folder that training reads from parallel text: cleaned, filtered, split, counted, and as ids.

Either a TOML file says what is prepared and how (docs/preparing.md), or files do: single ones (TSV, CSV, JSON, JSONL,
by their names; "-" is standard input), or parallel ones after --source and --target. The same command goes on where a
stopped one left off.
"""

import argparse
from pathlib import Path
from typing import Any

from sequencing.commands.settings import add_set_option
from sequencing_np.commands.streams import write_output
from sequencing_np.errors import UsageError

EXAMPLES = """
examples:
  sequencing prepare corpus.toml --out prepared
  sequencing prepare corpus.toml --out prepared --set filter.ratio=3 split.dev=1000
  sequencing prepare pairs.tsv.gz more.jsonl --out prepared --dev 2000 --test 2000
  sequencing prepare --source text.en.gz --target text.de.gz --out prepared --set vocab.joint=true
  zcat pairs.tsv.gz | sequencing prepare - --out prepared
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("inputs", metavar="INPUT", nargs="*", help="one TOML file, or files with pairs; -: stdin")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="the folder to make")
    parser.add_argument("--source", nargs="+", default=[], metavar="F", help="instead of INPUT: one side of the pairs")
    parser.add_argument("--target", nargs="+", default=[], metavar="F", help="the other side, file by file")
    parser.add_argument("--dev", type=int, metavar="N", help="pairs to hold out for validation")
    parser.add_argument("--test", type=int, metavar="N", help="pairs to hold out for the test")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes (default: one for each core)")
    add_set_option(parser)


def run(arguments: argparse.Namespace) -> None:
    config = config_of(arguments)
    from sequencing.prepare.pipeline import prepare
    from sequencing.prepare.report import text_lines

    report = prepare(config, Path(arguments.out))
    lines = text_lines(report)
    write_output("-", [*lines[: lines.index("")], f"report: {Path(arguments.out) / 'report.html'}"])


def config_of(arguments: argparse.Namespace) -> Any:
    """The configuration that is given, or that of the files that are."""
    from sequencing.corpora.formats import CorpusConfig
    from sequencing.prepare.settings import read_prepare_config, short_config

    options = {"split.dev": arguments.dev, "split.test": arguments.test, "jobs": arguments.jobs}
    settings = [f"{key}={value}" for key, value in options.items() if value is not None] + arguments.set
    parallel = bool(arguments.source or arguments.target)
    if bool(arguments.inputs) == parallel:
        raise UsageError(
            "give a TOML file, or files with pairs, or --source and --target. Try 'sequencing prepare --help'."
        )
    if len(arguments.source) != len(arguments.target):
        raise UsageError(
            f"--source has {len(arguments.source)} files, --target {len(arguments.target)}; each file of one side "
            "needs its file of the other"
        )
    configs = [name for name in arguments.inputs if name.endswith(".toml") or Path(name).name == "prepare.json"]
    if configs and len(arguments.inputs) > 1:
        raise UsageError(f"{configs[0]} is a configuration: give it alone, and name the files with pairs in it")
    if configs:
        return read_prepare_config(configs[0], settings)
    files = tuple(zip(arguments.source, arguments.target, strict=True)) if parallel else tuple(arguments.inputs)
    return short_config(CorpusConfig("corpus", files), {}, settings)
