"""Attention maps: what every head of every layer tells is what the model itself computes with, and leaves no trace."""

import numpy as np
import pytest
import torch

from architectures import DRAWN, QUICK, SPECIAL, architecture, case, name_of, sources, torch_model
from sequencing.inspection.attention_maps import Maps, layers, looks_at_source, self_weights, watched, whole
from sequencing.self_attention import SelfAttention
from sequencing_np.decode import dynamic_decode
from sequencing_np.feedback import TrainingFeedBack
from sequencing_np.state import Output


def taught(index: int, watch: bool) -> tuple[Output, Maps, np.ndarray]:
    """The output of a batch that is told its target, where all layers looked, and the source's mask."""
    model = torch_model(index)
    batch = sources(model.config, (7, 2, 5, 1), index)
    target = np.random.default_rng(index).integers(SPECIAL.eos, model.config.target_size, (4, 5))
    with watched(layers(model) if watch else []) as maps:
        memory = model.encode(*batch)
        output = dynamic_decode(model.decoder, memory, TrainingFeedBack(target, SPECIAL))
    return output, maps, np.asarray(memory.mask)


@pytest.mark.parametrize("index", QUICK, ids=name_of)
def test_watching_changes_nothing_and_leaves_no_trace(index: int) -> None:
    model = torch_model(index)
    before = {name: set(vars(module)) for name, module in model.named_modules()}
    silent, watched_output = taught(index, watch=False)[0], taught(index, watch=True)[0]
    for one, other in zip(silent, watched_output, strict=True):
        assert torch.equal(one, other)
    assert {name: set(vars(module)) for name, module in model.named_modules()} == before
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("index", QUICK, ids=name_of)
def test_maps_are_shares_and_their_mean_is_what_the_decoder_says(index: int) -> None:
    model, decoder = torch_model(index), architecture(index).decoder
    output, maps, mask = taught(index, watch=True)
    for layer in layers(model):
        weights = whole(maps[layer.name])
        assert weights.dim() == 4 and len(weights) == 4
        total = weights.sum(dim=-1).numpy()
        if layer.rows != layer.columns:
            assert weights.shape[2] == 5
        if layer.rows == "target" == layer.columns:
            assert torch.equal(weights, weights.tril()), "no word looks at a later one"
        assert np.all((abs(total - 1) < 1e-9) | (total == 0)), layer.name
    looking = looks_at_source(model)
    means = [whole(maps[layer.name]).mean(dim=1) for layer in looking]
    if means:
        said = torch.stack(means).mean(dim=0) if decoder.type == "convolutional" else means[-1]
        torch.testing.assert_close(said, output.alignment, rtol=0, atol=1e-12)
        assert not said.numpy()[~np.broadcast_to(mask[:, None, : said.shape[2]], said.shape)].any()


def test_every_kind_of_model_was_among_them() -> None:
    found = {(layer.rows, layer.columns) for index in DRAWN for layer in layers(torch_model(index))}
    assert found == {("source", "source"), ("target", "target"), ("target", "source")}
    most = max(whole(maps).shape[1] for index in DRAWN for maps in taught(index, watch=True)[1].values() if maps)
    assert most > 1, "several heads"


def test_what_looks_at_no_token_is_left_out() -> None:
    alone = [index for index in DRAWN if architecture(index).decoder.type == "fixed_vector"]
    assert alone and not any(looks_at_source(torch_model(index)) for index in alone)


@pytest.mark.parametrize("index", [i for i in DRAWN if "self_attention" in name_of(i)][:12], ids=name_of)
def test_weights_of_self_attention_are_those_of_the_fused_kernel(index: int) -> None:
    """The weighted sum of the values is what PyTorch's kernel answers."""
    looks = []
    model = torch_model(index)

    def recorded(module: SelfAttention, own):
        def look(query, key, value, mask):
            answer = own(query, key, value, mask)
            values = value.repeat_interleave(module.heads // module.groups, dim=1)
            looks.append((self_weights(query, key, mask) @ values, answer))
            return answer

        return look

    chosen = [module for module in model.modules() if type(module) is SelfAttention]
    for module in chosen:
        module.look = recorded(module, module.look)
    try:
        case(index, "torch")
        taught(index, watch=False)
    finally:
        for module in chosen:
            del module.look
    assert len(looks) >= len(chosen)
    for ours, theirs in looks:
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-9)
