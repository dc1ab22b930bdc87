"""Speed, side by side in one run: PyTorch's recurrences and ours, the PyTorch and the NumPy runtime.

    make bench                                  all of it, a few minutes
    .venv/bin/python benchmarks/run.py --repeats 9

Each pair is measured by turns (A, B, A, B, …), so that a busy machine troubles both alike; the table shows medians and
the range. The numbers go to benchmarks/results/ as JSON with the versions and the machine they were measured on.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch
from turns import by_turns

from sequencing.cells import CELLS
from sequencing.machine import machine
from sequencing.model import Model
from sequencing_np.beam import BeamFeedBack
from sequencing_np.config import Origin
from sequencing_np.decode import dynamic_decode
from sequencing_np.feedback import SampleFeedBack
from sequencing_np.limits import Limits
from sequencing_np.model import build_model, model_config
from sequencing_np.special import Special
from sequencing_np.weights import nest

RESULTS = Path(__file__).parent / "results"
SPECIAL = Special(0, 1, 2, 3)
LENGTH = 20  # tokens of source and answer: the same work for both, whatever the weights say


def recurrences(repeats: int) -> list[dict[str, Any]]:
    """Forward and backward of one layer: 200 sentences of 12 tokens, width 512."""
    rows = []
    for name in ("gru", "lstm"):
        cell = CELLS[name](256, 512)
        x = torch.randn(200, 12, 256, requires_grad=True)
        begin = (torch.zeros(200, 512),) * cell.count

        def own(cell: Any = cell, x: torch.Tensor = x, begin: Any = begin) -> None:
            cell.run(x, begin).outputs.sum().backward()

        def native(cell: Any = cell, x: torch.Tensor = x) -> None:
            cell(x)[0].sum().backward()

        found = by_turns({"PyTorch": native, "Sequencing": own}, repeats)
        rows.append(row(f"{name} layer, training step", found, 200 * 12, "tokens/s"))
    return rows


def decoding(repeats: int) -> list[dict[str, Any]]:
    """A BiGRU-GRU model with attention (256, 8,000 ids), 20 tokens in and out, greedy and beam 5."""
    stack = {"cell": "gru", "size": 256}
    values = {
        "encoder": {"type": "bidirectional_rnn", "stack": stack},
        "decoder": {"type": "rnn", "stack": stack, "readout_size": 256},
        "source_size": 8000,
        "target_size": 8000,
    }
    config = model_config(values, Origin("benchmark"))
    torch.manual_seed(1)
    model = Model(config).eval()
    floors = {"PyTorch": model, "NumPy": build_model(config, nest(model.weights()))}
    limits = Limits(0.0, LENGTH, LENGTH, LENGTH)
    rows = []
    for search, batch in ((1, 1), (1, 32), (1, 160), (5, 1), (5, 32)):
        source = np.random.default_rng(1).integers(4, 8000, (batch, LENGTH))
        mask = np.ones_like(source, dtype=bool)

        def task(floor: Any, search: int = search, source: Any = source, mask: Any = mask) -> None:
            feedback = SampleFeedBack(SPECIAL, limits) if search == 1 else BeamFeedBack(SPECIAL, search, limits)
            with torch.inference_mode():
                dynamic_decode(floor.decoder, floor.encode(source, mask), feedback)

        tasks = {name: (lambda floor=floor: task(floor)) for name, floor in floors.items()}
        name = "greedy" if search == 1 else f"beam {search}"
        rows.append(row(f"{name}, batch {batch}", by_turns(tasks, repeats), batch, "sentences/s"))
    return rows


def row(name: str, seconds: dict[str, list[float]], amount: int, unit: str) -> dict[str, Any]:
    """One line of the table: rates and their ratio."""
    rates = {who: [amount / one for one in times] for who, times in seconds.items()}
    first, second = (statistics.median(values) for values in rates.values())
    shown = {who: [min(values), statistics.median(values), max(values)] for who, values in rates.items()}
    return {"name": name, "unit": unit, "rates": shown, "ratio": second / first}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    rows = recurrences(repeats) + decoding(repeats)
    print(f"{'':28} {'A':>34} {'B':>34}   B/A")
    for line in rows:
        cells = [f"{who} {m:,.1f} ({a:,.1f}-{b:,.1f})" for who, (a, m, b) in line["rates"].items()]
        print(f"{line['name']:28} {cells[0]:>34} {cells[1]:>34}   {line['ratio']:.2f}  {line['unit']}")
    RESULTS.mkdir(exist_ok=True)
    content = {"machine": machine(), "repeats": repeats, "rows": rows}
    (RESULTS / "speed.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
