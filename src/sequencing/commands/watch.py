"""Follow a run that trains elsewhere: how far it is, its numbers, curves of loss and dev, the time left, samples.

On a terminal one picture that renews itself; elsewhere a line now and then. It ends with the run; Ctrl-C leaves it, and
the run goes on. A run that has not begun is waited for.
"""

import argparse
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from sequencing_np.errors import UsageError

if TYPE_CHECKING:
    from sequencing.records import Record
    from sequencing.watching import Watched

EXAMPLES = """
examples:
  sequencing watch runs/demo
  sequencing watch runs/demo --once
  sequencing watch runs/demo --every 30 > progress.txt
"""
SLICE = 0.1  # seconds after which it notices that it is to leave
WIDTH, HEIGHT = 100, 30  # where there is no terminal to ask
SCREEN, BACK = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"  # a screen of its own without a cursor, and back again


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the folder of a run, also of one that has not begun yet")
    parser.add_argument("--once", action="store_true", help="show how it stands now, and end")
    parser.add_argument(
        "--every", type=float, metavar="SECONDS", help="how often it looks (default 2; without a terminal, 10)"
    )


def run(arguments: argparse.Namespace) -> None:
    if arguments.every is not None and not 0.1 <= arguments.every <= 86_400:
        raise UsageError(f"--every {arguments.every:g}: must be from 0.1 to 86400 seconds")
    from sequencing.watching import Watched

    watched, stream = Watched(Path(arguments.run)), sys.stdout
    if arguments.once:
        if not watched.folder.is_dir():
            raise UsageError(f"{watched.folder} is no folder; give that of a run, or leave --once out to wait for it")
        watched.look()
        say(stream, picture(watched, stream, HEIGHT))
    elif stream.isatty():
        follow_on_a_terminal(watched, stream, arguments.every or 2.0)
    else:
        follow_in_lines(watched, stream, arguments.every or 10.0)


def follow_on_a_terminal(watched: "Watched", stream: TextIO, every: float) -> None:
    """The picture, renewed; at the end the last one stays."""
    from sequencing.process import interruptible

    with interruptible() as asked:
        with screen(stream):
            for _ in looks(watched, every, asked):
                lines = picture(watched, stream, shutil.get_terminal_size((WIDTH, HEIGHT)).lines)
                stream.write(
                    "\x1b[H" + "".join(f"{line}\x1b[K\r\n" for line in lines[:-1]) + f"{lines[-1]}\x1b[K\x1b[J"
                )
                stream.flush()
        say(stream, picture(watched, stream, HEIGHT))


def follow_in_lines(watched: "Watched", stream: TextIO, every: float) -> None:
    """How it stands, then a line for what comes."""
    from sequencing.process import interruptible
    from sequencing.train.logging import Progress
    from sequencing.watching import progress_lines

    state, shown_to, progress = "", 0.0, None
    with interruptible() as asked:
        for new in looks(watched, every, asked):
            if watched.state() != state:
                state = watched.state()
                say(stream, [watched.title(), *(progress_lines(watched, WIDTH) if progress is None else [])])
            if progress is None and watched.step:
                progress, shown_to = Progress(*watched.ends(), every=every, stream=stream), watched.step
            for record in new:
                if progress is not None and record["step"] > shown_to:
                    progress.write(record)
                    for sample in watched.samples if record.get("kind") == "dev" else ():
                        progress.write(sample)
            shown_to = max(shown_to, watched.step)
        if progress is not None:
            progress.close()


def looks(watched: "Watched", every: float, asked: list[int]) -> "Iterator[list[Record]]":
    """What is new, again and again, until the run is done or somebody asks to leave."""
    while True:
        yield watched.look()
        if watched.done() or asked:
            return
        end = time.monotonic() + every
        while not asked and (rest := end - time.monotonic()) > 0:
            time.sleep(min(SLICE, rest))
        if asked:
            return


def picture(watched: "Watched", stream: TextIO, height: int) -> list[str]:
    """The lines that fit, in the characters that the stream has."""
    from sequencing.watching import frame

    width = shutil.get_terminal_size((WIDTH, HEIGHT)).columns
    unicode = (stream.encoding or "").lower().replace("-", "") == "utf8"
    lines = frame(watched, width, height, curves=unicode).fitting(width, height)
    return (
        lines if unicode else [line.encode(stream.encoding or "ascii", "replace").decode("latin-1") for line in lines]
    )


def say(stream: TextIO, lines: list[str]) -> None:
    stream.write("".join(f"{line}\n" for line in lines))
    stream.flush()


@contextmanager
def screen(stream: TextIO) -> Iterator[None]:
    """A screen of its own, that gives the terminal back however it ends."""
    stream.write(SCREEN)
    try:
        yield
    finally:
        stream.write(BACK)
        stream.flush()
