"""The rules by which SentencePiece rewrites characters before it cuts a text, read from the bytes that a model holds.

The rules stand in a double array (Aoe 1989), as the library Darts-clone lays it out: a unit of 32 bits for each node,
and a node's child under a byte lies at the node's offset xor that byte. What a rule writes ends with a zero byte.
"""

import re
import sys
from array import array
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple

from sequencing_np.errors import DataError

LEAF, WIDE = 1 << 8, 1 << 9
LABEL, VALUE = (1 << 31) | 0xFF, (1 << 31) - 1
LEAVES = 1 << 40  # beyond any place
CHILDREN = LEAVES - 1
LONGEST = 64  # characters that a rule may take, and bytes that it may write for each of them
FREQUENT = 0x180  # characters below are ASCII and Latin ones
FIRST_LEAD, LAST_LEAD = 0xC2, 0xC5  # bytes with which their UTF-8 begins, where it is two
SMALLEST = 256  # units; the children of the root


class Start(NamedTuple):
    """What is known of a character where a rule may begin."""

    text: str  # what it becomes alone
    node: int  # where rules of several characters go on; -1: nowhere


class CharsMap:
    """Rewriting rules. `data` is the precompiled map: the size of the double array in 4 bytes, the array, the texts."""

    def __init__(self, data: bytes) -> None:
        size = int.from_bytes(data[:4], "little")
        if len(data) < 4 or size % 4 or size < 4 * SMALLEST or size > len(data) - 4:
            raise DataError(
                f"the map of characters, {len(data)} bytes, is damaged: its first 4 bytes claim {size} bytes"
            )
        self._units = array("I", data[4 : 4 + size])
        if self._units.itemsize != 4:
            raise DataError("the map of characters cannot be read on this machine: its numbers have no 32 bits")
        if sys.byteorder == "big":
            self._units.byteswap()
        self._texts = data[4 + size :]
        self._root = offset_of(self._units[0])
        self._starts: dict[str, Start] = {}  # of the characters met so far; Unicode bounds their number

    @cached_property
    def plain(self) -> re.Pattern[str]:
        """What matches a text of frequent characters that no rule rewrites, alone or with another one of them."""
        leads = [*range(1, 0x80), *range(FIRST_LEAD, LAST_LEAD + 1)]  # of the characters that are looked at
        found = []
        for code in range(1, FREQUENT):
            text, node = self._learn(chr(code))
            if text == chr(code) and (node < 0 or all(self._child(node, byte) < 0 for byte in leads)):
                found.append(re.escape(text))
        return re.compile(f"[{''.join(found)}]*") if found else re.compile("")

    def chunks(self, text: str) -> Iterator[str]:
        """What each piece of a text becomes, the longest rule first; a character without a rule stays as it is."""
        position, size, known = 0, len(text), self._starts.get
        while position < size:
            start = known(text[position]) or self._learn(text[position])
            if start.node >= 0 and position + 1 < size:
                length, written = self._longest(text, position, start)
                yield written
                position += length
                continue
            yield start.text
            position += 1

    def shortest(self, text: str) -> str | None:
        """What the shortest rule that a text begins with writes; None where there is no rule."""
        node = self._root
        for byte in text.encode():
            node = self._child(node, byte)
            if node < 0:
                return None
            if (value := self._value(node)) is not None:
                return self._written(value)
        return None

    def _longest(self, text: str, position: int, start: Start) -> tuple[int, str]:
        """How many characters a rule takes here, and what it writes."""
        found, node = (1, start.text), start.node
        for end in range(position + 1, min(len(text), position + LONGEST)):
            for byte in text[end].encode():
                node = self._child(node, byte)
                if node < 0:
                    return found
            if (value := self._value(node)) is not None:
                found = (end + 1 - position, self._written(value))
        return found

    def _learn(self, character: str) -> Start:
        node = self._root
        for byte in character.encode():
            node = self._child(node, byte)
            if node < 0:
                break
        start = Start(character, -1)
        if node >= 0:
            value = self._value(node)
            more = any(self._child(node, byte) >= 0 for byte in range(1, 256))
            start = Start(character if value is None else self._written(value), node if more else -1)
        self._starts[character] = start
        return start

    def _child(self, node: int, byte: int) -> int:
        """Where the children of a node's child under a byte lie, with LEAVES added where a rule ends at the child.

        Negative where there is no such child.
        """
        place = (node & CHILDREN) ^ byte
        if place >= len(self._units):
            return -1
        unit = self._units[place]
        if unit & LABEL != byte:
            return -1
        return (place ^ offset_of(unit)) | (LEAVES if unit & LEAF else 0)

    def _value(self, node: int) -> int | None:
        """Where the text of the rule that ends at a node stands; None where none ends."""
        place = node & CHILDREN
        return self._units[place] & VALUE if node & LEAVES and place < len(self._units) else None

    def _written(self, value: int) -> str:
        """The text at an offset, up to its zero byte."""
        text = self._texts[value : value + LONGEST * LONGEST + 1].partition(b"\0")[0]
        if len(text) > LONGEST * LONGEST:
            raise DataError(
                f"the map of characters writes more than {LONGEST * LONGEST} bytes for a rule; it is damaged"
            )
        return text.decode("utf-8", "replace")


def offset_of(unit: int) -> int:
    """How far a node's children are from it, to be taken as xor."""
    return (unit >> 10) << ((unit & WIDE) >> 6)
