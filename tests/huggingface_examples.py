"""Small tokenizers as Hugging Face's program makes them, with the ids that it gives: what our own must give too.

    python tests/huggingface_examples.py        writes huggingface_examples.json; needs tokenizers and sentencepiece

They are learnt from made-up lines, so that they are small; each stands for a family that is met in the wild.
"""

import base64
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_suffix(".json")
PROBES = [
    "", " ", "   ", "the cat", " the  cat ", "Don't you'll SEE", "12345 and 1,000.5!", "a\tb\nc\r\nd", "東京 tower",
    "ß Straße ﬁn Å e\u0301 ①½", "<2de> cat<2de>the", "bar Barn (bar)",
    "x \u3000y\u200bz\0w", "👩‍👩‍👧 👍🏽", "caTCat  cats", "a" * 40, "▁the ▁ cat",
    "Σίσυφος İ ǅ", "\u0301\u0300a", "<lr>  the",
]  # fmt: skip
RULES = "41\t61\n42\t62\nFB01\t66 69\n65 301\tE9\n9\t20\n200B\t\nE9 E9\t65\n2460\t31\n"  # A a, B b, ﬁ fi, e+accent é, …


def lines() -> list[str]:
    """Words of few letters, which overlap and merge in many ways."""
    generator = random.Random(1)
    words = ["".join(generator.choices("abcdetß東京", k=generator.randint(1, 5))) for _ in range(60)]
    words += ["the", "cat", "cats", "don't", "12", "bar", "é"]
    return [" ".join(generator.choices(words, k=generator.randint(1, 9))) for _ in range(200)]


def bytes_level(prefix: bool) -> Any:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"] if prefix else ["<|endoftext|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(lines(), trainer)
    if prefix:
        tokenizer.add_tokens(["<2de>", AddedToken("bar", single_word=True)])
        tokenizer.add_tokens([AddedToken("<lr>", lstrip=True, rstrip=True, normalized=False)])
    return tokenizer


def digits_apart() -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    from sequencing_np.tokenizers.character_classes import PATTERNS

    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PATTERNS[1]), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|begin_of_text|>", "<|end_of_text|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=290, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(lines(), trainer)
    return tokenizer


def byte_fallback() -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=special, show_progress=False, max_token_length=8)
    tokenizer.train_from_iterator(lines(), trainer)
    document = json.loads(tokenizer.to_str())
    document["added_tokens"] = document["added_tokens"][:3]
    return Tokenizer.from_str(json.dumps(document))


def first_word() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=70, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    tokenizer.train_from_iterator(lines(), trainer)
    tokenizer.add_tokens(["<2de>"])
    return tokenizer


def word_ends() -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokenizer.decoder = decoders.BPEDecoder(suffix="</w>")
    trainer = trainers.BpeTrainer(
        vocab_size=80, special_tokens=["[UNK]"], end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator(lines(), trainer)
    return tokenizer


def word_piece() -> Any:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=80, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(lines(), trainer)
    return tokenizer


def unigram() -> Any:
    import tempfile

    import sentencepiece
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    from sequencing_np.tokenizers.sentencepiece_file import read_sentencepiece

    model = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as rules:
        rules.write(RULES)
        rules.flush()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines()), model_writer=model, vocab_size=80, hard_vocab_limit=False, minloglevel=2,
            normalization_rule_tsv=rules.name,
        )  # fmt: skip
    document = read_sentencepiece(model.getvalue())
    tokenizer = Tokenizer(models.Unigram(list(zip(document["pieces"], document["scores"], strict=True)), 0, False))
    charsmap = base64.b64decode(document["normalizer"]["charsmap"])
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(charsmap), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return tokenizer


def words() -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Strip()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("merged_with_previous")]
    )
    trainer = trainers.WordLevelTrainer(vocab_size=70, special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(lines(), trainer)
    return tokenizer


BUILDERS: dict[str, Callable[[], Any]] = {
    "GPT-2": lambda: bytes_level(False),
    "RoBERTa": lambda: bytes_level(True),
    "Llama 3": digits_apart,
    "Llama 2": byte_fallback,
    "Metaspace": first_word,
    "CLIP": word_ends,
    "BERT": word_piece,
    "T5": unigram,
    "words": words,
}


def answers(tokenizer: Any, texts: list[str]) -> tuple[list[list[int]], list[str]]:
    """The ids of texts, in which special tokens are ordinary text, and what those ids are decoded to."""
    tokenizer.encode_special_tokens = True
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    return ids, [tokenizer.decode(row) for row in ids]


def main() -> None:
    examples = {}
    for name, build in BUILDERS.items():
        tokenizer = build()
        ids, decoded = answers(tokenizer, PROBES)
        examples[name] = {"tokenizer": json.loads(tokenizer.to_str()), "ids": ids, "decoded": decoded}
    FILE.write_bytes(json.dumps(examples, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")


if __name__ == "__main__":
    main()
