"""freezing: patterns choose weights, the last one that fits decides, and a pattern for nothing is an error."""

from fnmatch import fnmatchcase

import pytest
import torch
from torch import nn

from sequencing.freezing import check_learning, first, freeze, near, shared_names
from sequencing.optim import OPTIMIZERS
from sequencing.train_config import TrainConfig
from sequencing_np.errors import ConfigError


def model() -> nn.Module:
    """An encoder and a decoder whose last matrix is the encoder's table."""
    whole = nn.Module()
    whole.encoder = nn.ModuleDict({"embedding": nn.Embedding(7, 5), "layer": nn.Linear(5, 5)})
    whole.decoder = nn.ModuleDict({"layer": nn.Linear(5, 5), "output": nn.Linear(5, 7)})
    whole.decoder["output"].weight = whole.encoder["embedding"].weight
    return whole


def stays(whole: nn.Module) -> set[str]:
    return {name for name, parameter in whole.named_parameters() if not parameter.requires_grad}


NAMES = ["encoder.embedding.weight", "encoder.layer.weight", "encoder.layer.bias"]
NAMES += ["decoder.layer.weight", "decoder.layer.bias", "decoder.output.bias"]


@pytest.mark.parametrize("pattern", ["encoder.*", "*.bias", "decoder.layer.weight", "*", "?ncoder.layer.[bw]*"])
def test_a_pattern(pattern: str) -> None:
    whole = model()
    wanted = {name for name in NAMES if fnmatchcase(name, pattern)}
    assert wanted and set(freeze(whole, [pattern])) == stays(whole) == wanted


def test_the_last_one_decides() -> None:
    whole = model()
    freeze(whole, ["*", "!decoder.*", "decoder.layer.bias"])
    assert stays(whole) == {"encoder.layer.weight", "encoder.layer.bias", "decoder.layer.bias"}, "the table is tied"


def test_each_name_of_a_tied_table_counts() -> None:
    assert shared_names(model())["encoder.embedding.weight"][1] == ["encoder.embedding.weight", "decoder.output.weight"]
    assert stays_after("decoder.output.weight") == {"encoder.embedding.weight"}


def stays_after(*patterns: str) -> set[str]:
    whole = model()
    freeze(whole, patterns)
    return stays(whole)


def test_nothing_to_freeze() -> None:
    assert freeze(model(), []) == () and stays_after() == set()


@pytest.mark.parametrize(
    ("pattern", "nearest"),
    [("encodr.*", r"encoder\.\*"), ("!decoder.layer.wieght", r"decoder\.layer\.weight"), ("Encoder.*", r"encoder\.\*")],
)
def test_a_pattern_for_nothing_names_the_nearest(pattern: str, nearest: str) -> None:
    whole = model()
    with pytest.raises(
        ConfigError, match=rf"train.init.freeze: .*fits no weight's name; nearest: {nearest}, "
    ) as raised:
        freeze(whole, ["encoder.*", pattern])
    assert repr(pattern) in str(raised.value) and not stays(whole), "and nothing is frozen by half"


def test_something_learns() -> None:
    whole = model()
    assert check_learning(whole) == "102 of 102 numbers learn"
    freeze(whole, ["encoder.*"])
    assert check_learning(whole) == "37 of 102 numbers learn"
    freeze(whole, ["*"])
    with pytest.raises(ConfigError, match=r"train.init.freeze: all weights stay as they are.*nothing to learn"):
        check_learning(whole)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("patterns", [("encoder.*",), ("*.weight",), ("*", "!*.output.bias"), ("*.bias",)])
def test_what_is_frozen_does_not_move(optimizer: str, patterns: tuple[str, ...]) -> None:
    """Also where one of the optimiser's groups, matrices or vectors, is empty."""
    torch.manual_seed(1)
    whole = model()
    freeze(whole, patterns)
    moves = OPTIMIZERS[optimizer](whole, TrainConfig(weight_decay=0.1, momentum=0.5))
    before = {name: parameter.detach().clone() for name, parameter in whole.named_parameters()}
    for _ in range(2):
        x = whole.encoder["layer"](whole.encoder["embedding"](torch.arange(7)))  # type: ignore[operator]
        whole.decoder["output"](whole.decoder["layer"](x)).pow(2).sum().backward()  # type: ignore[operator]
        moves.step()
    moved = {name for name, parameter in whole.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == set(NAMES) - stays(whole) and moved


def test_names_in_a_sentence() -> None:
    assert first(["a", "b"]) == "a, b" and first(["a", "b", "c"]) == "a, b, c"
    assert first(["a", "b", "c", "d"]) == "a, b, c, …"
    assert near("ab.dc.*", ["ab.cd.ef", "x.y"]).split(", ")[0] == "ab.cd.*"
