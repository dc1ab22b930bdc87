"""What is asked of the documents of tokenizers that others made: keys that are known, values of their types.

And their special ids: found by the names that programs give them, or put behind all others.
"""

import binascii
from base64 import b64decode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sequencing_np.errors import DataError
from sequencing_np.special import Special, check_special, check_token, tag_pattern

NAMES: dict[str, tuple[str, ...]] = {  # how programs call the special ids, the usual name first
    "pad": ("<pad>", "[PAD]", "<|pad|>", "<|padding|>", "<|finetune_right_pad_id|>"),
    "unk": ("<unk>", "[UNK]", "<|unk|>"),
    "bos": ("<s>", "[CLS]", "<bos>", "[BOS]", "<|begin_of_text|>", "<|startoftext|>", "<|bos|>"),
    "eos": ("</s>", "[SEP]", "<eos>", "[EOS]", "<|end_of_text|>", "<|endoftext|>", "<|eos|>"),
}


def only_keys(document: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    """DataError where a document has a key that is not known."""
    known = tuple(known)
    for key in document:
        if key not in known:
            raise DataError(f"{what} has the key {key!r}, which is not supported; it can have {', '.join(known)}")


def flag(document: Mapping[str, Any], name: str, default: bool | None = None) -> bool:
    """A value that is true or false."""
    value = document.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, bool):
        raise DataError(f"{name!r} is {value!r}; it must be true or false")
    return value


def text_in(document: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A text that UTF-8 can write; it may be empty."""
    value = document.get(name)
    if value is None and default is not None:
        return default
    if value != "":
        check_token(value, repr(name))
    return str(value)


def base64_of(document: Mapping[str, Any], name: str) -> bytes:
    """Bytes that are written as text."""
    try:
        return b64decode(text_in(document, name), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"{name!r} is no base64 ({error})") from None


def find_special(found: Mapping[str, int], fixed: Mapping[str, int], size: int) -> Special:
    """The special ids: the `fixed` ones, then those found by name, and the others from `size` on.

    `found` has the ids of all that no text makes, by their text.
    """
    taken = dict(fixed)
    for name in Special._fields:
        for known in NAMES[name]:
            if name not in taken and known in found and found[known] not in taken.values():
                taken[name] = found[known]
    for name in ("pad", "unk", "bos", "eos"):
        if name not in taken:
            taken[name], size = size, size + 1
    return Special(**taken)


def read_special(document: Mapping[str, Any], size: int) -> Special:
    """The special ids in one of our own documents; those that are not in the first `size` ids follow them, no gaps."""
    ids = document.get("special")
    if not isinstance(ids, dict) or set(ids) != set(Special._fields):
        raise DataError(f"'special' is {ids!r}; it must give the ids of {', '.join(Special._fields)} and no others")
    for token_id in ids.values():
        if type(token_id) is not int:
            raise DataError(f"a special id is {token_id!r}; it must be a whole number")
    special = Special(**ids)
    behind = sorted({token_id for token_id in special if token_id >= size})
    if behind != list(range(size, size + len(behind))):
        raise DataError(f"the special ids behind the {size} of the tokenizer are {behind}; they must follow it")
    check_special(special, size + len(behind))
    return special


def read_tags(tags: Any) -> tuple[str, ...]:
    """The tags in a document or an argument."""
    if not isinstance(tags, (list, tuple)):
        raise DataError(f"'tags' is of type {type(tags).__name__}; it must be the list of all tags")
    tag_pattern(tags)
    return tuple(tags)


def without_specials(tokens: Sequence[str], special: Special) -> list[str | None]:
    """Tokens by id, None at the special ids, of which some follow all others."""
    held = set(special)
    size = max(len(tokens), *(token_id + 1 for token_id in special))
    return [tokens[token_id] if token_id < len(tokens) and token_id not in held else None for token_id in range(size)]
