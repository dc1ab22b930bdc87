"""A model that has learnt to turn around words of eight letters, in seconds: what it must look at is known."""

import random
from functools import cache
from pathlib import Path

import torch

from sequencing.loss import cross_entropy
from sequencing.model import Model
from sequencing_np.batch import PadIds, make_batch
from sequencing_np.config import Origin
from sequencing_np.decode import dynamic_decode
from sequencing_np.feedback import TrainingFeedBack
from sequencing_np.limits import Limits
from sequencing_np.model import model_config
from sequencing_np.model_folder import ModelFolder, write_model_folder
from sequencing_np.translate import Translator
from sequencing_np.vocab import Vocab

LETTERS = "abcdefgh"
BLOCKS = {"layers": 1, "heads": 2, "feed_forward_size": 64, "positions": "sinusoidal", "dropout": 0.0}
MODELS = {
    "several heads": {
        "encoder": {"type": "self_attention", "embedding_size": 32, "blocks": BLOCKS},
        "decoder": {
            "type": "self_attention",
            "embedding_size": 32,
            "blocks": {**BLOCKS, "layers": 2},
            "attention": {"type": "multi_head", "size": 32, "heads": 2},
        },
    },
    "one head": {
        "encoder": {"type": "bidirectional_rnn", "embedding_size": 16, "stack": {"size": 32}},
        "decoder": {
            "type": "rnn",
            "embedding_size": 16,
            "stack": {"size": 32},
            "readout_size": 32,
            "attention": {"type": "additive", "size": 32},
        },
    },
}


def word(chance: random.Random) -> str:
    return "".join(chance.choices(LETTERS, k=chance.randint(3, 7)))


@cache
def reversing(kind: str, steps: int = 250, known: str = LETTERS) -> Translator:
    """The model after so many steps, always the same; letters that are not known are UNK on both sides."""
    vocab = Vocab(list(known), "")
    torch.manual_seed(3)
    sizes = {"source_size": len(vocab), "target_size": len(vocab)}
    model = Model(model_config({**MODELS[kind], **sizes}, Origin("here")))
    chance, special = random.Random(1), vocab.special
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    for _ in range(steps):
        pairs = [(vocab.encode(each), vocab.encode(each[::-1])) for each in (word(chance) for _ in range(48))]
        batch = make_batch(pairs, PadIds(special.pad, special.pad))
        memory = model.encode(batch.source, batch.source_mask)
        logits = dynamic_decode(model.decoder, memory, TrainingFeedBack(batch.target, special)).logits
        mask = torch.from_numpy(batch.target_mask)
        loss = cross_entropy(logits, torch.from_numpy(batch.target), mask) / mask.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval().requires_grad_(False)
    return Translator(model, vocab, vocab, Limits(1.0, 3, 20))


def write_reversing(folder: Path, kind: str) -> Path:
    """Its model folder."""
    translator = reversing(kind)
    model, vocab = translator.model, translator.source_vocab
    write_model_folder(folder, ModelFolder(model.config, translator.limits, vocab, vocab, model.weights()))
    return folder
