"""profiling: parts of a step add up, operators too, the trace opens, and nothing of it is kept."""

import json
from pathlib import Path

import pytest
import torch

from sequencing.__main__ import main
from sequencing.profiling import part, profiled
from small_runs import CONFIG, write_config, write_pairs


@pytest.mark.parametrize("rewards", [False, True], ids=["taught", "rewards"])
def test_where_a_step_s_time_goes(rewards: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pairs(tmp_path, train=60, dev=4)
    path = write_config(tmp_path, CONFIG)
    before = sorted(tmp_path.iterdir())
    settings = ["--set", "train.threads=1"] + ["train.objective.type=leave_one_out"] * rewards
    trace = tmp_path / "trace.json"
    assert main(["profile", str(path), "--steps", "2", "--warm", "1", "--json", "--trace", str(trace), *settings]) == 0
    found = json.loads(capsys.readouterr().out)
    parts = {each["name"]: each for each in found["parts"]}
    inner = sum(each["share"] for name, each in parts.items() if name.startswith(" "))
    outer = sum(each["share"] for name, each in parts.items() if not name.startswith(" "))
    assert inner <= parts["forward"]["share"] <= outer <= 1.01
    assert {"forward", "  encoder", "backward", "update"} <= set(parts) and parts["update"]["calls"] == 1
    assert ("  answers drawn" in parts) == rewards == ("  decoder" not in parts)
    shares = [each["share"] for each in found["operators"]]
    assert shares == sorted(shares, reverse=True) and 0.2 < sum(shares) < 1.01 and found["target_tokens"] > 10
    names = {event.get("name") for event in json.loads(trace.read_text())["traceEvents"]}
    assert "sequencing: backward" in names
    assert sorted(tmp_path.iterdir()) == sorted([*before, trace])


def test_a_part_holds_what_is_done_in_it() -> None:
    """Against operators that can be counted."""
    x = torch.ones(64, 64)

    def step() -> None:
        with part("products"):
            for _ in range(5):
                x @ x
        x.cumsum(0)

    found = profiled(step, 3, 1, torch.device("cpu"), None)
    calls = {each.name: each.calls for each in found.operators}
    assert calls["aten::mm"] == 5 and calls["aten::cumsum"] == 1
    (products,) = found.parts
    assert products.name == "products" and products.calls == 1
    own = {each.name: each.milliseconds for each in found.operators}
    assert own["aten::mm"] <= products.milliseconds <= found.profiled


def test_the_table_and_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pairs(tmp_path, train=40, dev=4)
    path = write_config(tmp_path, CONFIG)
    assert main(["profile", str(path), "--steps", "1", "--warm", "0", "--set", "train.threads=1"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("a step: ") and "\n  encoder " in said and "aten::" in said
    assert main(["profile", str(path), "--steps", "0"]) == 2
    assert "--steps 0: must be 1 or more" in capsys.readouterr().err
    assert main(["profile", str(path), "--steps", "1", "--warm", "0", "--trace", str(tmp_path / "no" / "t.json")]) == 4
    assert "t.json" in capsys.readouterr().err
    over = ["--set", "train.epochs=1", "train.steps=0", "train.threads=1"]
    assert main(["profile", str(path), "--steps", "50", *over]) == 2
    assert "train.epochs = 1: is over after" in capsys.readouterr().err
