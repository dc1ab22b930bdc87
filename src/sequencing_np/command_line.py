"""The frame of a command line: a table of commands, one sentence for each error, an exit code for each kind of it.

A command's module is imported when the command runs, so that help and mistakes cost nothing. Knows nothing of what the
commands do.
"""

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import NamedTuple, NoReturn, Protocol, cast

from sequencing_np import __version__
from sequencing_np.config import nearest
from sequencing_np.disk import DISK_ERRORS
from sequencing_np.errors import DataError, SequencingError, UsageError
from sequencing_np.own import search_here

INTERRUPTED, BROKEN_PIPE = 130, 141  # 128 + the number of the signal, as a shell says it
IMPORT = "a module of your own that adds parts to the tables (docs/extending.md); give it again for another one"


class Command(NamedTuple):
    """A row of a program's table."""

    module: str  # with a docstring, EXAMPLES, add_arguments and run; imported when the command runs
    summary: str


class CommandModule(Protocol):
    """What the module of a command holds."""

    __doc__: str | None  # the description in its help
    EXAMPLES: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...
    def run(self, arguments: argparse.Namespace) -> None: ...


class Program(NamedTuple):
    """A command line: what stands before its errors, how a user calls it, and its commands by their words."""

    name: str
    call: str
    description: str
    commands: Mapping[str, Command]
    missing: Mapping[str, str] = {}  # a package that may not be installed -> what to do about it


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose complaints are UsageErrors."""

    def __init__(self, call: str, description: str, epilog: str) -> None:
        layout = argparse.RawDescriptionHelpFormatter
        super().__init__(call, None, description, epilog, formatter_class=layout, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}. Try '{self.prog} --help'.")


def run(program: Program, argv: Sequence[str] | None = None) -> int:
    """Run one command line; the exit code. Errors are said on standard error."""
    try:
        try:
            dispatch(program, list(sys.argv[1:] if argv is None else argv))
            code = 0
        except SystemExit as leaving:  # help and version
            code = leaving.code if isinstance(leaving.code, int) else 0
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except SequencingError as error:
        return complain(program, str(error), error.exit_code)
    except KeyboardInterrupt:
        return complain(program, "interrupted", INTERRUPTED)
    except BrokenPipeError:  # whoever read the output has left: nothing to say, and nobody to say it to
        silence(sys.stdout)
        return BROKEN_PIPE
    except MemoryError as error:
        return complain(program, f"not enough memory ({error}); lower --batch-tokens or --beam", 1)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in program.missing:
            return confess(program)
        return complain(program, program.missing[package], UsageError.exit_code)
    except OSError as error:
        if error.filename is None and error.errno not in DISK_ERRORS:
            return confess(program)
        silence(sys.stdout)
        place = "the output" if error.filename is None else os.fsdecode(error.filename)
        return complain(program, f"{place}: {error.strerror or error}", DataError.exit_code)
    except Exception:  # noqa: BLE001 (whatever is left is our mistake, and is shown whole)
        return confess(program)


def dispatch(program: Program, argv: list[str]) -> None:
    """Run the command whose words argv begins with, or answer what the program itself is asked."""
    for words, command in program.commands.items():
        count = len(words.split())
        if argv[:count] == words.split():
            module = cast(CommandModule, import_module(command.module))
            parser = Parser(f"{program.call} {words}", (module.__doc__ or "").strip(), module.EXAMPLES.strip())
            module.add_arguments(parser)
            parser.add_argument("--import", dest="imports", action="append", default=[], metavar="MODULE", help=IMPORT)
            arguments = parser.parse_args(argv[count:])
            import_parts(arguments.imports)
            module.run(arguments)
            return
    parser = front(program)
    if not argv:
        parser.error(f"give a command: {', '.join(program.commands)}")
    if not argv[0].startswith("-"):
        longer = [words for words in program.commands if words.startswith(f"{argv[0]} ")]
        if longer:
            parser.error(f"{argv[0]!r} is half a command: {', '.join(longer)}")
        parser.error(f"no command {argv[0]!r}; {nearest(argv[0], program.commands)}")
    parser.parse_args(argv)
    parser.error(f"{argv[0]!r} stands before the command; options follow it")


def import_parts(modules: Sequence[str]) -> None:
    """Import what adds a user's own parts to the tables."""
    if modules:
        search_here()
    for name in modules:
        try:
            import_module(name)
        except Exception as error:  # it is the user's module: whatever is wrong in it is theirs to mend
            if isinstance(error, ModuleNotFoundError) and error.name == name:
                place = "no such module in the current folder or among the installed ones"
                raise UsageError(f"--import {name}: {place}; write `parts` for the file parts.py") from None
            frames = [each for each in traceback.extract_tb(error.__traceback__) if "importlib" not in each.filename]
            place = "".join(f"{each.filename}:{each.lineno}: " for each in frames[1:2])  # a SyntaxError has its own
            raise UsageError(f"--import {name}: {place}{type(error).__name__}: {error}; mend that module") from error


def front(program: Program) -> Parser:
    """The parser of what stands before a command: help and version."""
    width = max(map(len, program.commands)) + 2
    rows = "\n".join(f"  {words:<{width}}{command.summary}" for words, command in program.commands.items())
    epilog = f"commands:\n{rows}\n\n'{program.call} COMMAND --help' shows the options of a command, with examples."
    parser = Parser(program.call, program.description, epilog)
    parser.usage = f"{program.call} COMMAND ..."
    parser.add_argument("--version", action="version", version=f"{program.name} {__version__}")
    return parser


def complain(program: Program, text: str, code: int) -> int:
    """One line on standard error; what could break or colour it is shown as an escape."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text.replace("\n", " "))
    with contextlib.suppress(OSError, ValueError, AttributeError):  # closed: there is nobody to tell
        print(f"{program.name}: error: {line}", file=sys.stderr)
    return code


def confess(program: Program) -> int:
    """For the exception at hand, which nobody foresaw: a request to report it, and where it comes from."""
    text = traceback.format_exc()
    last = text.rstrip("\n").rpartition("\n")[2]
    complain(program, f"a mistake in {program.name} {__version__}, please report it with the lines below ({last})", 1)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(text, end="", file=sys.stderr)
    return 1


def silence(stream: object) -> None:
    """Let what is left in a broken stream vanish; Python would complain about it at its end."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, stream.fileno())  # type: ignore[attr-defined]
        os.close(descriptor)
