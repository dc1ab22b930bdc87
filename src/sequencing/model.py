"""The whole model in PyTorch, and the tables of what it can be made of. Twin of `sequencing_np.model`.

A row added to one of the tables is a new architecture; `CONFIGS` of the twin says which dataclass configures it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sequencing.arrays import TorchArrays
from sequencing.cnn import ConvolutionalDecoder
from sequencing.composed import READERS, CharacterWordEncoder, SeveralSourcesEncoder, WordValuesEncoder
from sequencing.fixed_vector import FixedVectorDecoder
from sequencing.layers import LookUpOp
from sequencing.rnn_decoder import AttentionRNNDecoder
from sequencing.self_attention_decoder import SelfAttentionDecoder
from sequencing_np.errors import ConfigError, ModelError
from sequencing_np.model import ModelConfig, check_copy
from sequencing_np.state import Memory

ENCODERS: dict[str, Any] = {
    **READERS,
    "characters_to_words": CharacterWordEncoder,
    "several_sources": SeveralSourcesEncoder,
    "word_values": WordValuesEncoder,
}
DECODERS: dict[str, Any] = {
    "rnn": AttentionRNNDecoder,
    "fixed_vector": FixedVectorDecoder,
    "self_attention": SelfAttentionDecoder,
    "convolutional": ConvolutionalDecoder,
}


class Model(nn.Module):
    """An encoder and a decoder. Its parameters are drawn from PyTorch's generator: seed it first."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        check_copy(config)
        self.config = config
        encoder, decoder = config.encoder, config.decoder
        of_source = config.source_size, encoder.embedding_size, encoder.embedding_dropout
        source = LookUpOp(*of_source, config.source_factors, config.source_vectors)
        target = LookUpOp(config.target_size, decoder.embedding_size, decoder.embedding_dropout)
        if config.share_embeddings:
            if source.weight.shape != target.weight.shape:
                raise ConfigError(
                    f"share_embeddings: tables of {tuple(source.weight.shape)} and {tuple(target.weight.shape)}; "
                    "both sides need one vocabulary (vocab.joint = true) and one embedding_size"
                )
            target.weight = source.weight
        try:
            self.encoder = ENCODERS[encoder.type](encoder, source)
            self.decoder = DECODERS[decoder.type](decoder, self.encoder.sizes, target)
        except KeyError as row:  # the ground floor's tables have it, or the configuration had been refused
            raise ConfigError(
                f"no table of `sequencing` has the row {row}, only one of `sequencing_np`; import the module that adds "
                "it for PyTorch too (--import MODULE)"
            ) from row

    @property
    def arrays(self) -> TorchArrays:
        """The array functions for the device on which the weights are now."""
        return self.decoder.arrays

    def encode(self, source: np.ndarray | Tensor, mask: np.ndarray | Tensor) -> Memory:  # (B, S), (B, S) -> Memory
        """What the encoder says of a batch of ids; padding stands at the end and is false in the mask.

        Where sources are vectors, of a batch of their rows (B, S, W).
        """
        native = self.arrays.native
        memory: Memory = self.encoder(*(native(x) if isinstance(x, np.ndarray) else x for x in (source, mask)))
        return memory

    def weights(self) -> dict[str, np.ndarray]:
        """Name -> array of every parameter, each shared one once: what the runtime loads. A copy."""
        return {name: parameter.detach().cpu().clone().numpy() for name, parameter in self.named_parameters()}

    def load_weights(self, weights: dict[str, np.ndarray]) -> None:
        """Set every parameter; ModelError when a name or a shape is missing, unknown or different."""
        own = dict(self.named_parameters())
        missing, unknown = sorted(set(own) - set(weights)), sorted(set(weights) - set(own))
        if missing or unknown:
            raise ModelError(f"the weights do not fit the configuration: missing {missing[:5]}, unknown {unknown[:5]}")
        with torch.no_grad():
            for name, parameter in own.items():
                if tuple(weights[name].shape) != tuple(parameter.shape):
                    raise ModelError(
                        f"weight {name}: shape {weights[name].shape}, the model has {tuple(parameter.shape)}"
                    )
                parameter.copy_(torch.from_numpy(weights[name].copy()))
