"""`python -m sequencing_np`: runs models where NumPy is all there is."""

import os
import sys
from collections.abc import Sequence

from sequencing_np.command_line import Command, Program
from sequencing_np.command_line import run as run_program

COMMANDS = {
    "translate": Command("sequencing_np.commands.translate", "one line out for each line in"),
    "score": Command("sequencing_np.commands.score", "how likely a model finds given translations"),
}

PROGRAM = Program(
    name="sequencing_np",
    call="python -m sequencing_np",
    description="Run a model that `sequencing` trained, with NumPy alone.",
    commands=COMMANDS,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (that of the process by default); the exit code.

    NumPy's products run on one thread unless OPENBLAS_NUM_THREADS says otherwise: OpenBLAS's threads spin while they
    wait, and beside another busy program two of them translated 20 times slower than one.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return run_program(PROGRAM, argv)


if __name__ == "__main__":
    sys.exit(main())
