"""gathering: products of several steps against the same products one by one, their values and every gradient."""

import gc
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any
from weakref import ref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from sequencing import gathering
from sequencing.gathering import Gather, gathered, hold, mixture, product
from sequencing.layers import Linear
from sequencing.model import Model
from sequencing_np.config import Origin
from sequencing_np.decode import dynamic_decode
from sequencing_np.feedback import TrainingFeedBack
from sequencing_np.model import model_config
from sequencing_np.special import Special

B, S, D, OUT = 3, 5, 4, 2


def drawn(*shapes: tuple[int, ...], dtype: Any = torch.float64) -> list[Tensor]:
    chance = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=chance, dtype=dtype).requires_grad_() for shape in shapes]


def chain(step: Callable[[Tensor], Tensor], x: Tensor, steps: int) -> Tensor:
    """Each step reads what the one before has said, so that none can be made before it."""
    said = []
    for _ in range(steps):
        x = x + torch.tanh(step(x)).sum(dim=-1, keepdim=True)
        said.append(x)
    return torch.stack(said)


def gradients(said: Tensor, wanted: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad((said * torch.linspace(-1, 1, said.numel()).view_as(said).to(said)).sum(), wanted)


def same(ours: Tensor, theirs: Tensor, wanted: list[Tensor]) -> None:
    torch.testing.assert_close(ours, theirs)
    for one, other in zip(gradients(ours, wanted), gradients(theirs, wanted), strict=True):
        torch.testing.assert_close(one, other)


@given(st.integers(1, 6), st.booleans(), st.sampled_from([(B, D), (B, 1, D), (B, S, D)]))
def test_one_matrix_for_all(steps: int, with_bias: bool, shape: tuple[int, ...]) -> None:
    x, weight, bias = drawn(shape, (OUT, D), (OUT,))
    own = bias if with_bias else None
    theirs = chain(lambda x: functional.linear(x, weight, own), x, steps)
    with gathered(True):
        ours = chain(lambda x: product(x, weight, own), x, steps)
    same(ours, theirs, [x, weight, bias] if with_bias else [x, weight])


@pytest.mark.parametrize("turned", [False, True])
def test_one_matrix_for_each_sentence(turned: bool) -> None:
    x, matrix = drawn((B, 1, D), (B, D, S) if turned else (B, S, D))
    theirs = chain(lambda x: x @ (matrix if turned else matrix.mT), x, 4)
    with gathered(True):
        ours = chain(lambda x: (mixture if turned else product)(x, matrix), x, 4)
    same(ours, theirs, [x, matrix])


def test_keys_that_are_values_too() -> None:
    """The same tensor, as it is and turned."""
    x, matrix = drawn((B, 1, D), (B, S, D))
    theirs = chain(lambda x: torch.softmax(x @ matrix.mT, dim=2) @ matrix, x, 4)
    with gathered(True):
        ours = chain(lambda x: mixture(torch.softmax(product(x, matrix), dim=2), matrix), x, 4)
    same(ours, theirs, [x, matrix])


def test_it_may_be_asked_for_again() -> None:
    x, weight, bias = drawn((B, D), (OUT, D), (OUT,))
    with gathered(True):
        total = chain(lambda x: product(x, weight, bias), x, 3).sum()
    first = torch.autograd.grad(total, [x, weight, bias], retain_graph=True)
    for one, other in zip(first, torch.autograd.grad(total, [x, weight, bias]), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_what_does_not_learn(frozen: int) -> None:
    parts = drawn((B, D), (OUT, D), (OUT,))
    parts[frozen].requires_grad_(False)
    x, weight, bias = parts
    theirs = chain(lambda x: functional.linear(x, weight, bias), x, 3)
    with gathered(True):
        ours = chain(lambda x: product(x, weight, bias), x, 3)
    same(ours, theirs, [part for part in parts if part.requires_grad])


def test_steps_that_nothing_depends_on() -> None:
    x, weight, bias = drawn((B, D), (OUT, D), (OUT,))
    with gathered(True):
        said = chain(lambda x: product(x, weight, bias), x, 4)
    theirs = chain(lambda x: functional.linear(x, weight, bias), x, 4)
    same(said[:2], theirs[:2], [x, weight, bias])


def test_when_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within several steps that are learnt from, the outermost alone; a matrix once, however often it is asked for."""
    made: list[Tensor] = []
    apply = Gather.apply
    monkeypatch.setattr(Gather, "apply", lambda matrix, *rest: made.append(matrix) or apply(matrix, *rest))
    layer, x = Linear(D, OUT), torch.randn(B, D)
    for context in (gathered(False), torch.no_grad()):
        with context, gathered(False):
            layer(x)
    with torch.no_grad(), gathered(True):
        layer(x)
    assert not made and hold(x, layer.weight) is None
    with gathered(True):
        layer(x)
        with gathered(True):
            layer(x)
        layer(x)
    assert len(made) == 1 and gathering._steps.get() is None
    with pytest.raises(ZeroDivisionError), gathered(True):
        1 / 0  # noqa: B018
    assert gathering._steps.get() is None


def test_products_are_short_under_autocast_and_gradients_are_not() -> None:
    x, weight, bias = drawn((B, D), (OUT, D), (OUT,), dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16), gathered(True):
        said = product(x, weight, bias)
    theirs = functional.linear(x.bfloat16(), weight.bfloat16(), bias.bfloat16())
    assert said.dtype == torch.bfloat16
    torch.testing.assert_close(said, theirs, rtol=0, atol=0)
    for one, other in zip(gradients(said, [x, weight, bias]), gradients(theirs, [x, weight, bias]), strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0.01, atol=0.01)


def test_nothing_is_left_of_it() -> None:
    """No circle: what was kept is given back when the loss is, gradient or not."""
    gc.collect()
    gc.disable()
    try:
        for learnt in (True, False):
            x, weight, bias = drawn((B, D), (OUT, D), (OUT,))
            with gathered(True):
                left = ref(hold(x, weight, bias))
                total = chain(lambda x, w=weight, b=bias: product(x, w, b), x, 3).sum()
            if learnt:
                total.backward()
            assert left() is not None
            del total
            assert left() is None
    finally:
        gc.enable()


SIZES = {"source_size": 9, "target_size": 9}
ATTENTIONS = ["additive", "dot", "general", "local", "multi_head", "coverage", "monotonic", "local_m"]


@pytest.mark.parametrize("cell", ["gru", "lstm", "gru_reset_first", "ssru"])
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_a_decoder_that_is_fed_its_context_learns_the_same(
    cell: str, attention: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the same decoder with products one by one."""
    stack = {"cell": cell, "size": 4}
    values = {
        "encoder": {"type": "rnn", "embedding_size": 4, "stack": stack},
        "decoder": {
            "type": "rnn", "embedding_size": 4, "stack": {**stack, "layers": 2}, "input_feeding": True,
            "attention": {"type": attention, "size": 4, "heads": 2} if attention == "multi_head" else {
                "type": attention, "size": 4
            },
        },
        **SIZES,
    }  # fmt: skip
    torch.manual_seed(1)
    model = Model(model_config(values, Origin("test"))).double()
    source = torch.randint(4, 9, (B, S)).numpy()
    feedback = lambda: TrainingFeedBack(torch.randint(4, 9, (B, 6)).numpy(), Special())  # noqa: E731
    found = []
    for context in (gathered, lambda several: nullcontext()):
        monkeypatch.setattr("sequencing.rnn_decoder.gathered", context)
        torch.manual_seed(2)
        memory = model.encode(source, source > 0)
        logits = dynamic_decode(model.decoder, memory, feedback()).logits
        found.append((logits, gradients(logits, list(learning(model)))))
    for one, other in zip(found[0][1], found[1][1], strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(found[0][0], found[1][0])


def learning(model: nn.Module) -> list[nn.Parameter]:
    return [weight for weight in model.parameters() if weight.requires_grad]
