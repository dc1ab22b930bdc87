"""Compiled blocks: asked for, tried, kept; with a stand-in for the compiler, and once with the real one."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sequencing import compiled
from sequencing.compiled import lacking
from sequencing.train import compiling
from sequencing.train.checkpoint import latest_checkpoint
from sequencing.train.loop import train
from small_runs import records, small

torch.set_num_threads(1)
CPU = torch.device("cpu")
BLOCKS = "{ layers = 2, heads = 2, feed_forward_size = 16, dropout = 0.1 }"
ATTENTION = [
    f"model.encoder={{ type = 'self_attention', embedding_size = 8, blocks = {BLOCKS} }}",
    f"model.decoder={{ type = 'self_attention', embedding_size = 8, blocks = {BLOCKS}, "
    "attention = { type = 'multi_head', size = 8, heads = 2 } }",
    "train.steps=6",
]


class Compiler:
    """In the place of torch.compile: it counts, and does not compile."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.made, self.calls = error, 0, 0

    def __call__(self, plain: Callable[..., Any], dynamic: bool) -> Callable[..., Any]:
        assert dynamic
        self.made += 1

        def fast(*given: Any) -> Any:
            assert torch.is_grad_enabled()
            self.calls += 1
            if self.error:
                raise self.error
            return plain(*given)

        return fast


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Compiler]:
    def put(error: Exception | None = None, times: tuple[float, ...] = ()) -> Compiler:
        made, left = Compiler(error), list(times)
        monkeypatch.setattr(torch, "compile", made)
        monkeypatch.setattr(compiled, "lacking", lambda device: "")
        monkeypatch.setattr(compiling, "lacking", lambda device: "")
        if times:
            monkeypatch.setattr(compiling, "seconds", lambda session, batches: left.pop(0))
        return made

    return put


def weights(run: Path) -> dict[str, bytes]:
    found = latest_checkpoint(run)
    assert found is not None
    return {f"{file} {name}": array.tobytes() for file, part in found.arrays.items() for name, array in part.items()}


def chosen(run: Path) -> bool:
    found = latest_checkpoint(run)
    assert found is not None
    return bool(found.state["compiled"])


def test_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert "C++" in lacking(CPU)
    monkeypatch.setattr(shutil, "which", lambda name: name if name == "g++" else None)
    assert lacking(CPU) == ""


@pytest.mark.parametrize("setting", ["true", "auto"])
def test_without_a_compiler(setting: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    train(small(tmp_path / "data", *ATTENTION, f"train.compile={setting}"), tmp_path / "run")
    assert "not compiled, as a C++ compiler (g++, or one named by CXX) is not there" in capsys.readouterr().err
    assert not chosen(tmp_path / "run")


def test_a_trial_changes_nothing(tmp_path: Path, compiler: Callable[..., Compiler], capsys: Any) -> None:
    """Whatever `auto` measures: here both ways compute the same, so what is learnt is the same to the bit."""
    train(small(tmp_path / "data", *ATTENTION), tmp_path / "plain")
    capsys.readouterr()
    for name, now, said in (("fast", 0.5, "compiled (0.5 s"), ("slow", 0.99, "not compiled (0.99 s")):
        made = compiler(times=(1.0, now))
        train(small(tmp_path / "data", *ATTENTION, "train.compile=auto"), tmp_path / name)
        assert f'train.compile = "auto": {said} for 3 batches, and 1 s without; ' in capsys.readouterr().err
        assert weights(tmp_path / name) == weights(tmp_path / "plain") and chosen(tmp_path / name) == (name == "fast")
        assert records(tmp_path / name / "metrics.jsonl") == records(tmp_path / "plain" / "metrics.jsonl")
        assert made.made == 4 and made.calls == (4 * (3 + 6) if name == "fast" else 4 * 3)


@pytest.mark.parametrize("first", [True, False])
def test_a_run_keeps_what_it_chose(first: bool, tmp_path: Path, compiler: Callable[..., Compiler]) -> None:
    """A clock that says something else the second time is not even looked at."""
    config = small(tmp_path / "data", *ATTENTION, "train.compile=auto")
    compiler(times=(1.0, 0.5 if first else 2.0))
    train(small(tmp_path / "data", *ATTENTION, "train.compile=auto", "train.steps=3"), tmp_path / "run")
    made = compiler()
    train(config, tmp_path / "run")
    assert chosen(tmp_path / "run") == first == bool(made.calls)


def test_computed_again_and_compiled(tmp_path: Path, compiler: Callable[..., Compiler]) -> None:
    made = compiler()
    for name, settings in {"both": ["train.recompute=true"], "one": []}.items():
        train(small(tmp_path / "data", *ATTENTION, *settings, "train.compile=true"), tmp_path / name)
    assert weights(tmp_path / "both") == weights(tmp_path / "one")
    assert made.calls == 4 * (3 + 6) * 3, "twice a step where it is computed again"


def test_a_compiler_that_fails(tmp_path: Path, compiler: Callable[..., Compiler], capsys: Any) -> None:
    compiler(error=KeyError("something inside"))
    train(small(tmp_path / "data", *ATTENTION, "train.compile=true"), tmp_path / "run")
    assert "not compiled, as that fails here (KeyError: 'something inside')" in capsys.readouterr().err
    assert not chosen(tmp_path / "run")


def test_a_model_without_blocks(tmp_path: Path, compiler: Callable[..., Compiler], capsys: Any) -> None:
    made = compiler()
    train(small(tmp_path / "data", "train.steps=2", "train.compile=true"), tmp_path / "run")
    assert "not compiled, as the model has no blocks" in capsys.readouterr().err and not made.made


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of PyTorch about itself
@pytest.mark.skipif(bool(lacking(CPU)), reason="needs a C++ compiler")
def test_the_real_one(tmp_path: Path) -> None:
    """A stop changes nothing, to the bit; and the loss is nearly that of blocks that are not compiled."""
    settings = [*ATTENTION, "train.compile=true"]
    train(small(tmp_path / "data", *settings), tmp_path / "one")
    torch.compiler.reset()
    train(small(tmp_path / "data", *settings, "train.steps=3"), tmp_path / "two")
    torch.compiler.reset()
    train(small(tmp_path / "data", *settings), tmp_path / "two")
    assert weights(tmp_path / "one") == weights(tmp_path / "two") and chosen(tmp_path / "two")
    train(small(tmp_path / "data", *ATTENTION), tmp_path / "plain")
    losses = [records(tmp_path / name / "metrics.jsonl")[-1]["loss"] for name in ("one", "plain")]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
