"""self_attention: modules, blocks and whole encoders against PyTorch's own; options by what they must equal."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from architectures import SPECIAL, same
from sequencing.arrays import TorchArrays
from sequencing.layers import NORMS as UPPER_NORMS
from sequencing.model import Model as TorchModel
from sequencing.self_attention import SelfAttention
from sequencing.self_attention import laid as upper_laid
from sequencing_np.config import Origin, override
from sequencing_np.errors import ConfigError
from sequencing_np.growing import Growing
from sequencing_np.layers import NORMS
from sequencing_np.model import build_model, model_config
from sequencing_np.self_attention import BlocksConfig, Scope, laid
from sequencing_np.state import select
from sequencing_np.weights import nest

B, D, H, F = 4, 12, 3, 17  # sentences, width, heads, feed-forward
LENGTHS = [6, 2, 5, 1]
MASK = np.arange(6) < np.array(LENGTHS)[:, None]
IDS = np.where(MASK, np.random.default_rng(0).integers(4, 13, MASK.shape), SPECIAL.pad)
X = np.random.default_rng(1).normal(0, 1, (B, 6, D))
PLAIN: dict[str, Any] = {"layers": 2, "heads": H, "feed_forward_size": F, "positions": "none"}


def models(blocks: dict[str, Any] | None = None, *settings: str) -> tuple[Any, Any]:
    """Both floors of a self-attention model with the same random weights, in float64."""
    side = {"type": "self_attention", "embedding_size": D, "blocks": {**PLAIN, **(blocks or {})}}
    attention = {"type": "multi_head", "size": D, "heads": H}
    values = {"encoder": side, "decoder": {**side, "attention": attention}, "source_size": 13, "target_size": 17}
    config = model_config(override(values, settings), Origin("test"))
    torch.manual_seed(3)
    upper = TorchModel(config).double().eval().requires_grad_(False)
    for parameter in upper.parameters():
        nn.init.normal_(parameter, 0, 0.5)
    return build_model(config, nest(upper.weights())), upper


def copied(theirs: nn.Module, own: dict[str, Tensor], names: dict[str, str]) -> Any:
    """PyTorch's module with our weights: for each of its names' beginnings, the beginning of ours."""
    with torch.no_grad():
        for name, parameter in theirs.double().named_parameters():
            begin = max((key for key in names if name.startswith(key)), key=len)
            parameter.copy_(own[names[begin] + name.removeprefix(begin)])
    return theirs.eval()


def block_names(theirs: str, ours: str) -> dict[str, str]:
    """nn.TransformerEncoderLayer's and nn.TransformerDecoderLayer's names -> ours."""
    return {
        f"{theirs}self_attn.in_proj_": f"{ours}mixer.input.",
        f"{theirs}self_attn.out_proj.": f"{ours}mixer.output.",
        f"{theirs}linear1.": f"{ours}feed_forward.inner.",
        f"{theirs}linear2.": f"{ours}feed_forward.outer.",
        f"{theirs}norm1.": f"{ours}mixer_norm.",
    }


@pytest.mark.parametrize("causal", [False, True])
def test_one_module(causal: bool) -> None:
    """nn.MultiheadAttention, with padding or looking back only."""
    own = SelfAttention(BlocksConfig(heads=H), D).double()
    theirs = nn.MultiheadAttention(D, H, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(own.input.weight)
        theirs.in_proj_bias.copy_(own.input.bias.normal_())
        theirs.out_proj.weight.copy_(own.output.weight)
        theirs.out_proj.bias.copy_(own.output.bias.normal_())
    x, mask = torch.tensor(X), torch.tensor(MASK)
    ahead = torch.ones(6, 6, dtype=torch.bool).triu(1) if causal else None
    wanted, _ = theirs(x, x, x, None if causal else ~mask, attn_mask=ahead)
    scheme = TorchModel(models()[1].config).encoder.positions
    found, _ = own(x, Scope(scheme, torch.arange(6)[None], None if causal else mask), own.begin(x))
    same(found.detach(), wanted.detach())


@pytest.mark.parametrize("pre_norm", [True, False])
def test_whole_encoder(pre_norm: bool) -> None:
    """nn.TransformerEncoder over the scaled embeddings."""
    ground, upper = models({"pre_norm": pre_norm})
    layer = nn.TransformerEncoderLayer(D, H, F, 0.0, norm_first=pre_norm, batch_first=True)
    norm = nn.LayerNorm(D) if pre_norm else None
    names = {"norm.": "norm."}
    for k in range(2):
        names |= block_names(f"layers.{k}.", f"blocks.{k}.") | {f"layers.{k}.norm2.": f"blocks.{k}.feed_forward_norm."}
    theirs = nn.TransformerEncoder(layer, 2, norm, enable_nested_tensor=False)
    theirs = copied(theirs, dict(upper.encoder.named_parameters()), names)
    with torch.no_grad():
        x = upper.encoder.embedding(torch.tensor(IDS)) * D**0.5
        wanted = theirs(x, src_key_padding_mask=~torch.tensor(MASK)).numpy()
    for model in (ground, upper):
        memory = model.encode(IDS, MASK)
        same(np.asarray(memory.values)[MASK], wanted[MASK])
        same(memory.summary, np.stack([row[mask].mean(axis=0) for row, mask in zip(wanted, MASK, strict=True)]))


@pytest.mark.parametrize("pre_norm", [True, False])
def test_whole_decoder(pre_norm: bool) -> None:
    """nn.TransformerDecoder over the scaled embeddings, its cross-attention from query, key and value of ours."""
    ground, upper = models({"pre_norm": pre_norm})
    own = dict(upper.decoder.named_parameters())
    names = {"norm.": "norm."}
    for k in range(2):
        at = f"blocks.{k}.attention."
        own[f"{at}in.weight"] = torch.cat([own[f"{at}{part}.weight"] for part in ("query", "key", "value")])
        own[f"{at}in.bias"] = torch.cat([own[f"{at}{part}.bias"] for part in ("query", "key", "value")])
        names |= block_names(f"layers.{k}.", f"blocks.{k}.")
        names |= {
            f"layers.{k}.multihead_attn.in_proj_": f"{at}in.",
            f"layers.{k}.multihead_attn.out_proj.": f"{at}output.",
            f"layers.{k}.norm2.": f"blocks.{k}.attention_norm.",
            f"layers.{k}.norm3.": f"blocks.{k}.feed_forward_norm.",
        }
    layer = nn.TransformerDecoderLayer(D, H, F, 0.0, norm_first=pre_norm, batch_first=True)
    theirs = copied(nn.TransformerDecoder(layer, 2, nn.LayerNorm(D) if pre_norm else None), own, names)
    tokens = np.random.default_rng(4).integers(4, 17, (B, 5))
    with torch.no_grad():
        memory = upper.encode(IDS, MASK)
        x = upper.decoder.embedding(torch.tensor(tokens)) * D**0.5
        ahead = torch.ones(5, 5, dtype=torch.bool).triu(1)
        wanted = theirs(x, memory.values, tgt_mask=ahead, memory_key_padding_mask=~memory.mask).numpy()
    for model in (ground, upper):
        output, _ = model.decoder.step(model.arrays.native(tokens), model.decoder.start(model.encode(IDS, MASK)))
        same(output.hidden, wanted)


def test_shared_keys_are_repeated_keys() -> None:
    """Grouped and multi-query attention equal full attention whose heads of keys and values are copies."""
    for groups, heads in ((1, 3), (2, 4)):
        few, full = (
            SelfAttention(BlocksConfig(heads=heads, key_value_heads=count), 4 * heads).double()
            for count in (groups, heads)
        )
        with torch.no_grad():
            few.input.bias.normal_()
            for name in ("weight", "bias"):
                own = getattr(few.input, name)
                query, *rest = few.split(own)
                shape = (groups, 4, *own.shape[1:])
                repeated = [part.view(shape).repeat_interleave(heads // groups, 0).flatten(0, 1) for part in rest]
                getattr(full.input, name).copy_(torch.cat([query, *repeated]))
            full.output.load_state_dict(few.output.state_dict())
            x = torch.randn(B, 6, 4 * heads, dtype=torch.float64)
            scheme = models()[1].encoder.positions
            scope = Scope(scheme, torch.arange(6)[None], torch.tensor(MASK))
            same(few(x, scope, few.begin(x))[0], full(x, scope, full.begin(x))[0])


def test_gated_layers() -> None:
    """Shazeer 2020, equation 6: (Swish(x W) * x V) W_2."""
    ground, upper = models({"gated": True, "activation": "silu"})
    layer = upper.encoder.blocks[0].feed_forward
    x = torch.tensor(X)
    with torch.no_grad():
        gate, value = (x @ layer.inner.weight.T + layer.inner.bias).chunk(2, dim=-1)
        wanted = (gate * torch.sigmoid(gate) * value) @ layer.outer.weight.T + layer.outer.bias
    same(layer(x), wanted)
    same(ground.encoder.blocks[0].feed_forward(X), wanted)


@pytest.mark.parametrize("name", NORMS)
def test_norms_are_pytorchs(name: str) -> None:
    native = UPPER_NORMS[name](D).double()
    own: Any = {"layer_norm": nn.LayerNorm, "rms_norm": nn.RMSNorm}[name](D, eps=1e-5).double()
    for parameter, other in zip(native.parameters(), own.parameters(), strict=True):
        nn.init.normal_(parameter)
        other.data.copy_(parameter.data)
    ground = NORMS[name](**{key: value.detach().numpy() for key, value in native.named_parameters()})
    for found in (ground(X), native(torch.tensor(X)).detach()):
        same(found, own(torch.tensor(X)).detach())


def test_normed_queries_bound_the_scores() -> None:
    """With query_key_norm, scaling what enters a module changes nothing but its values."""
    module = SelfAttention(BlocksConfig(heads=H, query_key_norm=True), D).double()
    scheme = models()[1].encoder.positions
    scope = Scope(scheme, torch.arange(6)[None], torch.tensor(MASK))
    x = torch.tensor(X)
    with torch.no_grad():
        once, tenfold = (module(scale * x, scope, module.begin(x))[0] for scale in (1e3, 1e4))
    np.testing.assert_allclose(10 * once.numpy(), tenfold.numpy(), rtol=1e-4)


def test_layer_drop_skips_blocks_while_training_only() -> None:
    _, upper = models({"layer_drop": 0.999, "dropout": 0.0})
    given = upper.encode(IDS, MASK).values
    upper.train()
    torch.manual_seed(0)
    skipped = upper.encode(IDS, MASK).values
    with torch.no_grad():
        bare = upper.encoder.norm(upper.encoder.embedding(torch.tensor(IDS)) * D**0.5) * torch.tensor(MASK)[..., None]
    same(skipped, bare)
    assert not np.allclose(given, skipped)


@pytest.mark.parametrize("learnt", [False, True])
def test_a_cache_that_grows_is_one_that_is_laid_out_anew(learnt: bool) -> None:
    """Rows chosen again and again, repeated and dropped: on both floors, where one learns and where one asks."""
    random = np.random.default_rng(4)
    wanted = random.normal(0, 1, (5, 2, 3, 4))
    ground, upper = Growing(wanted), Growing(torch.tensor(wanted))
    arrays = TorchArrays(torch.device("cpu"))
    with torch.set_grad_enabled(learnt):
        for rows in ([3, 0, 0, 4, 2, 2], None, [5, 1], [1, 0, 1, 0]):
            if rows is not None:
                chosen = np.array(rows)
                wanted = wanted[chosen]
                ground, upper = select(ground, chosen), select(upper, torch.tensor(chosen), arrays.take)
            if rows != [5, 1]:  # the next rows are chosen before a word is laid
                more = random.normal(0, 1, (len(wanted), 2, 1, 4))
                wanted = np.concatenate((wanted, more), axis=2)
                ground, upper = ground.longer(more, laid), upper.longer(torch.tensor(more), upper_laid)
                assert np.array_equal(ground.words, wanted) and np.array_equal(upper.words, wanted)
                assert ground.count == upper.count == wanted.shape[2]
    assert np.array_equal(ground.shorter(2).words, wanted[:, :, :2])


@pytest.mark.parametrize("pre_norm", [True, False])
def test_initialisation(pre_norm: bool) -> None:
    """Glorot-uniform, each of query, key and value by itself; depth-scaled as the module says; norms 1, biases 0."""
    values = {"type": "self_attention", "embedding_size": 128}
    blocks = {"layers": 4, "heads": 4, "feed_forward_size": 256, "pre_norm": pre_norm}
    config = model_config(
        {"encoder": {**values, "blocks": blocks}, "source_size": 50, "target_size": 50}, Origin("test")
    )
    torch.manual_seed(5)
    encoder = TorchModel(config).encoder
    for depth, block in enumerate(encoder.blocks, start=1):
        post = depth**-0.5 if not pre_norm else 1.0
        writes = 8**-0.5 if pre_norm else post
        expected = [(part, 128, 128, post) for part in block.mixer.split(block.mixer.input.weight)]
        expected += [(block.feed_forward.inner.weight, 128, 256, post)]
        expected += [(block.mixer.output.weight, 128, 128, writes), (block.feed_forward.outer.weight, 256, 128, writes)]
        for weight, inputs, outputs, scale in expected:
            bound = (6 / (inputs + outputs)) ** 0.5 * scale
            assert weight.abs().max() <= bound
            assert float(weight.detach().std()) == pytest.approx(bound / 3**0.5, rel=0.03)
        assert not block.mixer.input.bias.any() and bool((block.mixer_norm.weight == 1).all())


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ("encoder.blocks.heads=5", "set encoder.embedding_size = 15"),
        ("encoder.blocks.key_value_heads=2", "must divide the 3 heads"),
        ("encoder.blocks.positions=rotatory", "did you mean 'rotary'"),
        ("encoder.blocks.norm=batch", "layer_norm"),
        ("encoder.blocks.activation=tanh", "gelu"),
        ("encoder.blocks.layers=0", "1 or more"),
        ("encoder.blocks.layer_drop=1.0", "below 1"),
        ("decoder.mixer=gr", "did you mean 'gru'"),
        ("decoder.mixer=gru decoder.blocks.positions=alibi", "set decoder.blocks.positions = none"),
        ("decoder.mixer=gru decoder.blocks.query_key_norm=true", "set decoder.blocks.query_key_norm = false"),
        ("encoder.mixer=light_convolution encoder.blocks.key_value_heads=1", "set encoder.blocks.key_value_heads = 0"),
    ],
)
def test_mistakes(setting: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        models(None, *setting.split())


def test_rotary_heads_are_pairs() -> None:
    with pytest.raises(ConfigError, match=r"set encoder\.embedding_size = 18"):
        models(None, "encoder.blocks.positions=rotary", "encoder.embedding_size=15")


def test_scored_positions_need_scores() -> None:
    with pytest.raises(ConfigError, match=r"set decoder\.blocks\.positions = none"):
        models(None, "decoder.mixer=gru", "decoder.blocks.positions=t5")
