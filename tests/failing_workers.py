"""Translators that fail in a worker process, in a module that costs nothing to import there."""

import os
import signal
from pathlib import Path
from typing import Any

from sequencing_np.errors import ModelError
from sequencing_np.translate import Translator


class Dying(Translator):
    """One whose search ends the process."""

    def search(self, *request: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class Mistaken(Translator):
    """One whose search fails."""

    def search(self, *request: Any) -> Any:
        return 1 // 0


def no_model(folder: Path) -> Translator:
    """What a worker finds whose model has gone."""
    raise ModelError(f"{folder}: as it is in a worker")
