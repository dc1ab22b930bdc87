"""A text as a SentencePiece model wants it before it is cut: characters rewritten, spaces shown as U+2581."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sequencing_np.piece_table import SPACE
from sequencing_np.tokenizers.charsmap import CharsMap
from sequencing_np.tokenizers.documents import base64_of, flag, only_keys

MARK = SPACE.encode()
RUNS = re.compile(" {2,}")
FLAGS = ("add_dummy_prefix", "remove_extra_whitespaces", "escape_whitespaces")


class SentencePieceText:
    """The normaliser of a model. `kept` finds what no rule rewrites: the symbols that the user has defined."""

    def __init__(self, document: Mapping[str, Any], suffix: bool, kept: re.Pattern[str] | None) -> None:
        only_keys(document, (*FLAGS, "charsmap"), "the normaliser")
        self.prefix, self.remove, self.escape = (flag(document, name) for name in FLAGS)
        data = base64_of(document, "charsmap")
        self.suffix, self.kept = suffix, kept
        self._map = CharsMap(data) if data else None

    def __call__(self, text: str) -> str:
        """The text as it is cut."""
        if not text:
            return ""
        if self.kept is None and (self._map is None or self._map.plain.fullmatch(text)):
            rewritten = RUNS.sub(" ", text.lstrip(" ")) if self.remove else text
            if not rewritten:
                return ""
        else:
            chunks = self._chunks(text)
            found = self._joined(chunks) if self.remove else "".join(chunks)
            if found is None:
                return ""
            rewritten = found
        space = SPACE if self.escape else " "
        if self.escape:
            rewritten = rewritten.replace(" ", SPACE)
        if self.prefix and not self.suffix:
            rewritten = space + rewritten
        if self.remove:
            rewritten = rewritten.rstrip(space)
        return rewritten + space if self.prefix and self.suffix else rewritten

    def _chunks(self, text: str) -> Iterable[str]:
        """What each rule, each symbol that is kept and each other character becomes."""
        if self.kept is None:
            yield from self._map.chunks(text) if self._map else text
            return
        for position, part in enumerate(self.kept.split(text)):
            if position % 2:
                yield part
            else:
                yield from self._map.chunks(part) if self._map else part

    @staticmethod
    def _joined(chunks: Iterable[str]) -> str | None:
        """Chunks without spaces at the start and after spaces; None where there are spaces alone."""
        kept: list[str] = []
        started, after_space = False, True
        for chunk in chunks:
            if not started and chunk == " ":
                continue
            started = True
            if after_space:
                chunk = chunk.lstrip(" ")
            if chunk:
                kept.append(chunk)
                after_space = chunk[-1] == " "
        return "".join(kept) if started else None

    def undone(self, pieces: Sequence[bytes]) -> str:
        """The text that pieces were cut from: U+2581 as spaces, without the one that was put in front or at the end."""
        start = 0
        if self.prefix or self.remove:
            while self.remove and start < len(pieces) and pieces[start] in (MARK, b""):
                start += 1
            pieces = [pieces[start].removeprefix(MARK), *pieces[start + 1 :]] if start < len(pieces) else []
        text = b"".join(pieces).decode("utf-8", "replace").replace(SPACE, " ")
        return text.removesuffix(" ") if self.prefix and self.suffix else text
