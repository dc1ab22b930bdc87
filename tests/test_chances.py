"""Chances of tokens: probabilities, ranks and entropies are those of the definitions, and agree with `score`."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reversing_model import MODELS, reversing
from sequencing.inspection.chances import chances_of, told


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(2, 9))
def test_chances_by_their_definitions(seed: int, steps: int, size: int) -> None:
    chance = np.random.default_rng(seed)
    logits = chance.integers(-3, 4, (steps, size)).astype(np.float64)  # with ties
    tokens = chance.integers(0, size, steps)
    for row, token, found in zip(logits, tokens, chances_of(logits, tokens), strict=True):
        share = torch.softmax(torch.from_numpy(row), dim=0)
        assert found.probability == pytest.approx(float(share[token])) and found.token == token
        assert found.entropy == pytest.approx(float(torch.distributions.Categorical(share).entropy()))
        order = sorted(range(size), key=lambda each: (-row[each], each))
        assert found.rank == 1 + order.index(token) and found.likeliest == order[0]
        assert found.its_probability == pytest.approx(float(share.max()))


def test_what_cannot_be_said_has_no_chance_and_nan_stays_nan() -> None:
    found = chances_of(np.array([[0.0, -np.inf, 0.0]]), np.array([1]))[0]
    assert (found.probability, found.rank) == (0.0, 3) and found.entropy == pytest.approx(math.log(2))
    with np.errstate(invalid="ignore"):
        broken = chances_of(np.array([[0.0, np.nan]]), np.array([0]))[0]
    assert math.isnan(broken.log_prob) and math.isnan(broken.entropy)


@pytest.mark.parametrize("kind", MODELS)
def test_their_product_is_the_score(kind: str) -> None:
    translator = reversing(kind)
    vocab = translator.target_vocab
    for source, target in (("abcde", "edcba"), ("abc", "hhhh"), ("fgh", "")):
        found = told(translator, vocab.encode(source), vocab.encode(target))
        (scored,) = translator.score([(source, target)])
        assert found.log_prob == pytest.approx(scored.log_prob, rel=1e-4)
        assert [look.weights.shape[1:] for look in found.looks if look.layer.rows != look.layer.columns] == [
            (len(target) + 1, len(source) + 1)
        ] * (2 if kind == "several heads" else 1)
        assert told(translator, vocab.encode(source), vocab.encode(target), look=False).looks == []
