"""Trains sequence-to-sequence models. The public names: those of the ground floor, then its own, as the data flow.

A name's module (and PyTorch with it) is imported when the name is first used. Where both floors have a name, it is
here that of PyTorch.

>>> import sequencing as sq
>>> sq.build_vocab(["two hundred"]).tokens
[None, None, None, None, 'hundred', 'two']
"""

from importlib import import_module as _import_module
from typing import Any as _Any

import sequencing_np as _ground

__version__ = _ground.__version__

_HOMES: dict[str, tuple[str, ...]] = {  # module -> its public names
    "layers": ("LookUpOp",),
    "attention_scores": ("Attention", "AdditiveAttention", "DotAttention", "ScaledDotAttention", "GeneralAttention",
                         "LocalAttention", "MultiHeadAttention", "SummaryAttention"),
    "attention_past": ("CoverageAttention", "MonotonicAttention", "LocalMonotonicAttention"),
    "several_memories": ("ParallelAttention", "AvAttention", "HierarchicalAttention", "GatedAttention"),
    "attention": ("ATTENTIONS",),
    "rnn": ("StackRNNEncoder", "StackBidirectionalRNNEncoder", "AlternatingRNNEncoder"),
    "rnn_decoder": ("AttentionRNNDecoder",),
    "fixed_vector": ("FixedVectorDecoder",),
    "self_attention": ("SelfAttentionEncoder",),
    "self_attention_decoder": ("SelfAttentionDecoder",),
    "cnn": ("ConvolutionalEncoder", "ConvolutionalDecoder"),
    "tanh_cnn": ("TanhConvolutionalEncoder",),
    "pooling": ("PoolingEncoder",),
    "composed": ("CharacterWordEncoder", "SeveralSourcesEncoder"),
    "model": ("ENCODERS", "DECODERS", "Model"),
    "data.corpus": ("Corpus",),
    "data.subword_training": ("train_subwords",),
    "loss": ("cross_entropy", "coverage_loss"),
    "run_config": ("RunConfig", "read_run_config"),
    "loading": ("load_translator",),
    "restore": ("optimistic_restore",),
    "evaluate": ("Evaluation",),
    "averaging": ("average",),
    "plot": ("draw_attention",),
    "report": ("write_report",),
}  # fmt: skip

_OWN = [name for names in _HOMES.values() for name in names]
__all__ = [name for name in _ground.__all__ if name not in _OWN] + _OWN


def __getattr__(name: str) -> _Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(_import_module(f"{__name__}.{home}"), name)
    if name in __all__:
        return getattr(_ground, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
