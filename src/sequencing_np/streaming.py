"""Any number of lines through something that takes many at once: so many are begun, and finished in their order.

Knows nothing of what is done with them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from sequencing_np.errors import SequencingError

S = TypeVar("S")
T = TypeVar("T")


class Begun(NamedTuple, Generic[T]):
    """Lines that are worked on, or will be when they are finished."""

    batches: int
    finish: Callable[[], list[T]]  # waits for all of it


def in_windows(lines: Iterable[S], begin: Callable[[list[S]], Begun[T]], window: int, ahead: int = 0) -> Iterator[T]:
    """What comes of lines, `window` of them at a time; `ahead` others are begun while some wait, if it is not 0.

    So there are two windows at once or more, until they are `ahead` batches; but a line that stands in a window of its
    own is waited for alone. What stands before an error comes before it.
    """
    rest = iter(lines)
    waiting: deque[Begun[T]] = deque()
    error: SequencingError | None = None
    more = True

    def wanted() -> bool:
        if not waiting or not ahead or window == 1:
            return not waiting
        return len(waiting) < 2 or sum(begun.batches for begun in waiting) < ahead

    while True:
        while more and wanted():
            try:
                part = list(islice(rest, window))
                more = bool(part)
                if part:
                    waiting.append(begin(part))
            except SequencingError as met:
                error, more = met, False
        if not waiting:
            break
        yield from waiting.popleft().finish()
    if error is not None:
        raise error
