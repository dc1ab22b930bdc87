"""Learns subwords from text with SentencePiece, and hands them over as Subwords (byte pairs) or Unigram.

The same lines give the same subwords, bit for bit: one thread, no sampling. SentencePiece is needed here alone, never
to read or apply what was learnt.
"""

import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from sequencing_np.config import choose
from sequencing_np.errors import ConfigError, DataError
from sequencing_np.piece_table import BYTES, SPACE
from sequencing_np.special import Special, tag_pattern
from sequencing_np.subwords import Subwords
from sequencing_np.unigram import Unigram

MAX_LINE_BYTES = 1 << 20  # SentencePiece leaves out longer lines


def train_subwords(
    lines: Iterable[str],
    size: int,
    *,
    algorithm: str = "bpe",
    character_coverage: float = 0.9995,
    special: Special = Special(),
    tags: Sequence[str] = (),
) -> Subwords | Unigram:
    """Subwords with exactly `size` ids, the special ones, 256 bytes and the tags included.

    `algorithm` is a row of ALGORITHMS. `character_coverage` is the share of the text whose characters get tokens; the
    rest is spelt in bytes. Tags are taken out of the text first; what stands on both sides of one is learnt from as if
    it were two lines.
    """
    pattern = tag_pattern(tags, SPACE)
    if wrong := sorted(set(tags) & set(BYTES)):
        raise ConfigError(f"the tag {wrong[0]!r} is the name of a byte; choose another text")
    if pattern is not None:  # SentencePiece puts a space in front of each part, as encoding does of each line
        lines = (part.removeprefix(" ") for line in lines for part in pattern.split(line)[::2])
    choose(ALGORITHMS, algorithm, "algorithm")
    model = train_sentencepiece(
        lines,
        size,
        algorithm=algorithm,
        character_coverage=character_coverage,
        special=special,
        reserved=len(tags),
    )
    return ALGORITHMS[algorithm](model, special, tags)


def train_sentencepiece(
    lines: Iterable[str],
    size: int,
    *,
    algorithm: str = "bpe",
    character_coverage: float = 0.9995,
    special: Special = Special(),
    reserved: int = 0,
) -> bytes:
    """A serialised SentencePiece model that encodes as the vocabulary imported from it (U+2581 in a text apart).

    Of its `size` ids, `reserved` are left to others.
    """
    sentencepiece = _sentencepiece()
    smallest = len(special) + len(BYTES) + 1 + reserved
    if type(size) is not int or size < smallest:
        raise ConfigError(f"the subword vocabulary size is {size!r}; it must be a whole number, {smallest} or more")
    if not 0.9 <= character_coverage <= 1:
        raise ConfigError(f"the character coverage is {character_coverage!r}; it must lie between 0.9 and 1")
    if len(set(special)) != len(special):
        raise ConfigError(f"the special ids are {special}; to train subwords, all four must differ")
    source = _Source(lines)
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(source),
            model_writer=model,
            model_type=algorithm,
            vocab_size=size - reserved,
            hard_vocab_limit=False,
            character_coverage=character_coverage,
            byte_fallback=True,
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            max_sentence_length=MAX_LINE_BYTES,
            num_threads=1,
            minloglevel=2,
            **{f"{name}_id": token_id for name, token_id in special._asdict().items()},
        )
    except RuntimeError as error:
        if source.error is not None:
            raise source.error from None
        raise _explained(error, size, source.used, reserved) from None
    if source.error is not None:
        raise source.error
    found = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue()).get_piece_size() + reserved
    if found < size:
        raise DataError(
            f"the text is too small for {size} subwords: its {source.used} lines make at most {found}; ask for"
            f" {found} or fewer, or give more text"
        )
    return model.getvalue()


def import_sentencepiece(model: bytes, special: Special, tags: Sequence[str] = ()) -> Subwords:
    """The subwords of a serialised byte-pair model as train_sentencepiece makes it, after the tags."""
    tokens, scores = _ordinary(model, special)
    merged = [row for row, token in enumerate(tokens) if len(token) > 1 and token not in BYTES]
    merged.sort(key=lambda row: -scores[row])
    ranks: list[int | None] = [None] * len(tokens)
    for rank, row in enumerate(merged):
        ranks[row] = rank
    return Subwords([*tags, *tokens], [*[None] * len(tags), *ranks], special, tags)


def import_unigram(model: bytes, special: Special, tags: Sequence[str] = ()) -> Unigram:
    """The pieces of a serialised unigram model as train_sentencepiece makes it, after the tags."""
    tokens, scores = _ordinary(model, special)
    scored = [None if token in BYTES else score for token, score in zip(tokens, scores, strict=True)]
    return Unigram([*tags, *tokens], [*[None] * len(tags), *scored], special, tags)


ALGORITHMS: dict[str, Callable[[bytes, Special, Sequence[str]], Subwords | Unigram]] = {
    "bpe": import_sentencepiece,
    "unigram": import_unigram,
}


def _ordinary(model: bytes, special: Special) -> tuple[list[str], list[float]]:
    """All tokens but the special ones in the order of their ids, and their scores."""
    processor = _sentencepiece().SentencePieceProcessor(model_proto=model)
    ids = [token_id for token_id in range(processor.get_piece_size()) if token_id not in special]
    return [processor.id_to_piece(token_id) for token_id in ids], [processor.get_score(token_id) for token_id in ids]


class _Source:
    """Lines on their way to the trainer. It swallows the exceptions of an iterator, so the first is kept here."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = lines
        self.used = 0
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[str]:
        try:
            for line in self.lines:
                # NUL makes the trainer drop the line, U+2581 would be taken for a space: both are spelt in bytes later
                text = line.replace("\0", " ").replace(SPACE, " ")
                if text and not text.isspace():
                    self.used += 1
                    yield text
        except Exception as error:  # noqa: BLE001 (raised again by the caller)
            self.error = error


def _explained(error: RuntimeError, size: int, used: int, reserved: int) -> Exception:
    """What the user did wrong when the trainer gave up."""
    if not used:
        return DataError("the text to learn subwords from has no lines that are not empty")
    if found := re.search(r"smaller than required_chars\. (\d+) vs (\d+)", str(error)):
        return ConfigError(
            f"the subword vocabulary size {size} is too small: characters, bytes, special ids and tags alone need"
            f" {int(found[2]) + reserved}; raise the size or lower the character coverage"
        )
    return DataError(f"SentencePiece could not learn {size} subwords from {used} lines: {error}")


def _sentencepiece() -> Any:
    try:
        import sentencepiece
    except ImportError:
        raise ConfigError(
            "training subwords needs the package sentencepiece, which is not installed; run:"
            " pip install 'sequencing-nn[train]'"
        ) from None
    return sentencepiece
