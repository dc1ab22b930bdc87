"""Write one page about a run: numbers, curves, samples, attention, configuration. Prints the page's path."""

import argparse
from pathlib import Path

from sequencing_np.commands.streams import write_output

EXAMPLES = """
examples:
  sequencing report runs/demo
  sequencing report runs/demo --output demo.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the folder of a run, also of one that is under way")
    parser.add_argument("--output", metavar="F", help="the page to write (default RUN/report.html)")


def run(arguments: argparse.Namespace) -> None:
    from sequencing.report import write_report

    output = None if arguments.output is None else Path(arguments.output)
    write_output("-", [str(write_report(Path(arguments.run), output))])
