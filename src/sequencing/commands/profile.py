"""Where the time of a training step goes, by its parts and by PyTorch's operators; nothing is kept of the steps.

The configuration is that of `sequencing train`; its data are read, a few steps are made, and their times are said.
Parts that are set in belong to the one above them; the gradient of the output layer counts with the loss.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sequencing.commands.settings import add_set_option
from sequencing.run_config import read_run_config
from sequencing_np.errors import UsageError
from sequencing_np.writing import atomic_write

if TYPE_CHECKING:
    from sequencing.profiling import Profile

EXAMPLES = """
examples:
  sequencing profile numbers.toml
  sequencing profile numbers.toml --steps 20 --set train.precision=bfloat16
  sequencing profile numbers.toml --trace step.json
"""
OPERATORS = 12  # that are shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="a TOML file, as for train")
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="steps that are measured (10)")
    parser.add_argument("--warm", type=int, default=3, metavar="N", help="steps before them, which do not count (3)")
    parser.add_argument("--json", action="store_true", help="all numbers as one JSON object")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write what was seen for ui.perfetto.dev")
    add_set_option(parser)


def run(arguments: argparse.Namespace) -> None:
    for name, least in (("steps", 1), ("warm", 0)):
        if getattr(arguments, name) < least:
            raise UsageError(f"--{name} {getattr(arguments, name)}: must be {least} or more")
    config = read_run_config(arguments.config, arguments.set)
    os.environ.setdefault("KINETO_LOG_LEVEL", "3")  # or PyTorch says when it begins to look, and when it ends
    from sequencing.profiling import profiled
    from sequencing.train.loop import waited_for
    from sequencing.train.opening import open_session
    from sequencing.train.update import update

    with TemporaryDirectory() as folder:
        session = open_session(config, Path(folder) / "run")
        try:
            work, tokens, wanted = waited_for(session), 0, arguments.warm + 2 * arguments.steps

            def step() -> None:
                nonlocal tokens
                if (made := next(work, None)) is None:
                    raise UsageError(
                        f"train.epochs = {config.train.epochs}: is over after {session.step} steps, and {wanted} are "
                        "made (--warm, and --steps twice); set train.epochs = 0, or take fewer"
                    )
                batches = made.batches
                tokens += sum(int(batch.target_mask.sum()) for batch in batches)
                update(session, batches)
                session.step += 1

            seen = Path(folder) / "trace.json" if arguments.trace else None
            found = profiled(step, arguments.steps, arguments.warm, session.guard.device, seen)
            if seen is not None:
                with atomic_write(arguments.trace) as file:
                    file.write(seen.read_bytes())
            work.close()
        finally:
            session.close()
    if arguments.json:
        values = {"target_tokens": tokens / wanted, **found._asdict()}
        values |= {name: [each._asdict() for each in values[name]] for name in ("parts", "operators")}
        sys.stdout.write(json.dumps(values) + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in lines(found, tokens / wanted)))


def lines(found: "Profile", tokens: float) -> list[str]:
    """The numbers as a table."""
    speed = f"{1000 * tokens / found.milliseconds:,.0f} target tokens/s"
    said = [
        f"a step: {found.milliseconds:,.1f} ms, {tokens:,.0f} target tokens, {speed} "
        f"({found.profiled:,.1f} ms while it was watched; the shares are of that)"
    ]
    for title, rows in (("parts", found.parts), ("operators, without what they call", found.operators[:OPERATORS])):
        said += ["", f"{title:<48} {'share':>7} {'ms':>9} {'calls':>7}"]
        said += [
            f"{each.name[:48]:<48} {each.share:>7.1%} {each.milliseconds:>9.2f} {each.calls:>7.1f}" for each in rows
        ]
    return said
