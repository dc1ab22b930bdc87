"""Vocabulary files whoever wrote them: ours, SentencePiece's `.model`, Hugging Face's tokenizer.json; known by content.

What comes from elsewhere becomes a vocabulary that saves itself whole, as ours do: nothing else is needed to run it.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from sequencing_np.bytestream import name_of, reason
from sequencing_np.errors import DataError
from sequencing_np.special import Vocabulary
from sequencing_np.tokenizers.huggingface_vocab import import_tokenizer, looks_like_tokenizer
from sequencing_np.tokenizers.sentencepiece_file import looks_like_sentencepiece
from sequencing_np.tokenizers.sentencepiece_vocab import import_model
from sequencing_np.vocab import MAX_FILE_BYTES, json_object, vocabulary_of

HEAD = 64  # bytes that are enough to know a file by
BLANK = b" \t\r\n"


def is_whole_vocab(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a vocabulary with all that belongs to it, ours or another's; else it is a list of tokens.

    A name that ends in .json or .model says so too, whatever stands in the file.
    """
    if Path(path).suffix in (".json", ".model"):
        return True
    try:
        with Path(path).open("rb") as file:
            head = file.read(HEAD)
            if looks_like_sentencepiece(head):
                return True
            if not head.lstrip(BLANK).startswith(b"{"):
                return False
            document = json.loads(head + file.read(MAX_FILE_BYTES))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and ("kind" in document or looks_like_tokenizer(document))


def import_vocab(path: str | os.PathLike[str], tags: Sequence[str] = ()) -> Vocabulary:
    """The vocabulary of a file: one that save_vocab wrote, a SentencePiece model, or a tokenizer.json.

    `tags` are for the last two: texts that are always one token. One that is a control symbol or special token there
    keeps its id; one that the file lacks gets an id behind all others.
    """
    name, data = name_of(path), _content(path)
    if not data.lstrip(BLANK).startswith(b"{"):
        if not looks_like_sentencepiece(data[:HEAD]):
            raise DataError(f"{name}: neither a SentencePiece model nor JSON; give a whole vocabulary file")
        try:
            return import_model(data, tags)
        except DataError as error:
            raise DataError(f"{name}: {error}; give a model as SentencePiece wrote it") from None
    document = json_object(data, name)
    if not looks_like_tokenizer(document):
        return vocabulary_of(document, name)
    try:
        return import_tokenizer(document, tags)
    except DataError as error:
        raise DataError(f"{name}: {error}; give a tokenizer.json as `save` wrote it") from None


def _content(path: str | os.PathLike[str]) -> bytes:
    """All bytes of a file that is not too large."""
    name = name_of(path)
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: cannot be opened ({reason(error)}); give a vocabulary file") from None
    if len(data) > MAX_FILE_BYTES:
        raise DataError(f"{name}: the file is larger than the limit of {MAX_FILE_BYTES} bytes")
    return data
