"""Runs sequence-to-sequence models on NumPy alone. The public names, in the order of the flow.

A name's module is imported when the name is first used, so that this package costs nothing until then.
"""

from importlib import import_module as _import_module
from typing import Any as _Any

__version__ = "0.1.0"

_HOMES: dict[str, tuple[str, ...]] = {  # module -> its public names
    "errors": ("SequencingError", "UsageError", "ConfigError", "DataError", "ModelError", "SearchError"),
    "text": ("read_lines",),
    "writing": ("write_lines", "atomic_write"),
    "special": ("Special",),
    "delimited": ("Vocab", "build_vocab"),
    "subwords": ("Subwords",),
    "unigram": ("Unigram",),
    "tokenizers.sentencepiece_vocab": ("SentencePieceVocab",),
    "tokenizers.huggingface_vocab": ("HuggingFaceVocab",),
    "factors": ("FactoredVocab",),
    "columns": ("ColumnsVocab",),
    "reversal": ("ReversedVocab",),
    "vocab": ("read_vocab", "save_vocab", "load_vocab"),
    "foreign": ("import_vocab",),
    "batch": ("Batch", "make_batch", "pad"),
    "state": ("Memory", "State", "Output", "select"),
    "rules": ("Rules",),
    "picking": ("Sampler",),
    "feedback": ("TrainingFeedBack", "SampleFeedBack", "Hypothesis"),
    "mixer": ("RLTrainingFeedBack",),
    "ranking": ("Ranking",),
    "beam": ("BeamFeedBack",),
    "diverse": ("DiverseBeamFeedBack",),
    "stochastic": ("StochasticBeamFeedBack",),
    "decode": ("dynamic_decode",),
    "metrics": ("exact_match", "token_accuracy", "error_rates"),
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
    "model": ("ModelConfig", "Model", "ENCODERS", "DECODERS", "no_twin", "build_model"),
    "model_folder": ("ModelFolder", "read_model_folder", "write_model_folder"),
    "search": ("SearchConfig",),
    "translation": ("Answer", "Translation", "Scored"),
    "reranking": ("Reranker",),
    "translate": ("Translator",),
    "ensemble": ("Ensemble", "join_models"),
    "draft": ("with_draft",),
    "paragraphs": ("Splitting", "Paragraphs"),
    "workers": ("Workers",),
}  # fmt: skip

__all__ = [name for names in _HOMES.values() for name in names]


def __getattr__(name: str) -> _Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(_import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
