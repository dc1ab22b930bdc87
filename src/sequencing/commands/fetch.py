"""Fetch a public corpus: its licence is shown first, then it is downloaded, checked, unpacked, and recorded.

What was cut goes on where it stopped when the same command is given again. The paths of the files are printed; the
licence lies beside them. --list shows the catalogue.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sequencing_np.commands.streams import write_output
from sequencing_np.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from sequencing.fetch.catalogue import Listed

EXAMPLES = """
examples:
  sequencing fetch --list
  sequencing fetch multi30k --languages en-de --to data/multi30k
  sequencing fetch opus-tatoeba --languages de-en --show
  sequencing fetch mine --catalogue corpora.toml --retries 3
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="of a corpus in the catalogue")
    parser.add_argument("--list", action="store_true", help="show what there is, with languages, size and licence")
    parser.add_argument("--show", action="store_true", help="show licence and addresses of NAME, and fetch nothing")
    parser.add_argument("--languages", metavar="L", help="of a corpus in many: SOURCE-TARGET, or one code")
    parser.add_argument("--to", metavar="FOLDER", help="where it goes (default ./NAME, or ./NAME.LANGUAGES)")
    parser.add_argument("--catalogue", metavar="F.toml", help="a catalogue of your own instead")
    parser.add_argument("--retries", type=int, default=0, metavar="N", help="try again after a failed transfer (0)")
    parser.add_argument(
        "--timeout", type=float, default=30.0, metavar="S", help="seconds that a server may be silent (30)"
    )


def run(arguments: argparse.Namespace) -> None:
    if (arguments.name is None) == (not arguments.list):
        raise UsageError("give the NAME of a corpus, or --list. Try 'sequencing fetch --help'.")
    from sequencing.fetch.catalogue import OWN, read_catalogue, want
    from sequencing.fetch.download import Manners
    from sequencing.fetch.fetching import fetch, licence_text
    from sequencing.fetch.meter import Meter

    try:
        manners = Manners(arguments.timeout, arguments.retries)
    except ConfigError as error:
        raise UsageError(f"--{error}") from None
    catalogue = read_catalogue(arguments.catalogue or OWN)
    if arguments.list:
        write_output("-", table(catalogue.corpora))
        return
    wanted = want(catalogue.find(arguments.name), arguments.languages)
    if arguments.show:
        write_output("-", licence_text(wanted).rstrip("\n").split("\n"))
        return
    meter = Meter(sys.stderr)
    meter.say(licence_text(wanted))
    write_output("-", map(str, fetch(wanted, Path(arguments.to or wanted.folder), manners, meter)))


def table(corpora: "tuple[Listed, ...]") -> list[str]:
    """A line for each corpus."""
    width = max(len(listed.name) for listed in corpora) + 2
    return [f"{each.name:<{width}}{each.title}; {each.languages}; {each.licence.name}" for each in corpora]
