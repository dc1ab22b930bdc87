"""Write one page about a run: numbers, curves, samples, attention, mistakes, configuration. Prints the page's path.

Of several runs it is a comparison: the best of each side by side, what differs between their settings, the same curve
of all of them in one frame, and what each wrote for the same sentences.
"""

import argparse
from pathlib import Path

from sequencing_np.commands.streams import write_output

EXAMPLES = """
examples:
  sequencing report runs/demo
  sequencing report runs/demo --output demo.html
  sequencing report runs/small runs/large --output sizes.html
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", help="the folder of a run, also of one that is under way")
    words = "the page to write (default RUN/report.html; of several runs comparison.html in the first)"
    parser.add_argument("--output", metavar="F", help=words)


def run(arguments: argparse.Namespace) -> None:
    from sequencing.report import write_comparison, write_report

    output = None if arguments.output is None else Path(arguments.output)
    runs = [Path(path) for path in arguments.runs]
    path = write_report(runs[0], output) if len(runs) == 1 else write_comparison(runs, output)
    write_output("-", [str(path)])
