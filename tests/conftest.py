"""What every test may use: a quiet plotter, steady hypothesis settings, optional data, a world without PyTorch.

`shared_data` is the folder of optional data sets, `../shared/data` beside the checkout or wherever the environment
variable SEQUENCING_DATA points: `shared_data("tatoeba-en-de")` is one of them, or the test is skipped with the reason.

`ground_floor` runs Python in a process of its own in which NumPy and the standard library are all there is.
`pytest --hypothesis-profile=search` looks for new failures with random examples; the usual profile repeats its own.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")
if "PYTEST_XDIST_WORKER" in os.environ:  # several of them share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as in the background of a shell: what is started would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile("steady", deadline=None, derandomize=True, max_examples=50)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile("steady")

GUARD = '''
"""Found by Python at start-up: every import but those of NumPy, the ground floor and the standard library fails."""
import sys

ALLOWED = sys.stdlib_module_names | {"numpy", "sequencing_np"}


class OnlyNumPy:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in ALLOWED or top.startswith(("_sysconfigdata", "__")):
            return None
        raise ModuleNotFoundError(f"No module named {name!r}: only NumPy and the standard library are here", name=name)


sys.meta_path.insert(0, OnlyNumPy())
'''


@pytest.fixture
def shared_data() -> Callable[[str], Path]:
    """From a data set's name to its folder; the test is skipped where there is none."""
    place = Path(os.environ.get("SEQUENCING_DATA", ROOT.parent / "shared" / "data"))

    def find(name: str) -> Path:
        if not (place / name).is_dir():
            pytest.skip(f"no data set {name!r} in {place}: set SEQUENCING_DATA to the folder that holds it")
        return place / name

    return find


@pytest.fixture
def ground_floor(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., "subprocess.CompletedProcess[bytes]"]:
    """`ground_floor("-m", "sequencing_np", "translate", folder, input=b"...")`: Python where only NumPy can be had.

    Warnings are errors there too. The process must end with `code`; what it wrote is in `.stdout` and `.stderr`.
    """
    guard = tmp_path_factory.mktemp("guard")
    (guard / "sitecustomize.py").write_bytes(GUARD.encode())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(guard), str(ROOT / "src")])}

    def run(*arguments: object, input: bytes = b"", code: int = 0) -> "subprocess.CompletedProcess[bytes]":
        command = [sys.executable, "-W", "error", *map(str, arguments)]
        done = subprocess.run(command, input=input, capture_output=True, env=environment, timeout=300)
        assert done.returncode == code, f"exit {done.returncode}, not {code}:\n{done.stderr.decode(errors='replace')}"
        return done

    return run
