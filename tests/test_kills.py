"""A training that is killed at any moment comes to the same bits as one that was left alone (reliability X1)."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="each life is a fork of a process that has PyTorch")
def test_killed_a_hundred_times(tmp_path: Path) -> None:
    """Of a thousand: `python tests/kill_loop.py FOLDER --kills 1000`."""
    memory = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else tmp_path
    folder = memory / f"kills-{os.getpid()}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parent / "src"), str(HERE)])}
    words = [sys.executable, str(HERE / "kill_loop.py"), str(folder), "--kills", "100"]
    done = subprocess.run(words, capture_output=True, env=environment, timeout=900)
    said = (folder / "said.txt").read_text() if (folder / "said.txt").exists() else ""
    shutil.rmtree(folder)
    assert done.stdout, done.stderr.decode()
    found = json.loads(done.stdout)
    assert found["kills"] == 100 and found["failed starts"] == 0, (found, said)
    assert found["differing"] == [], found
    assert found["inside a save"] >= 30, "fewer would not test the saving"
