"""The text of an answer while it is looked for: what is decided is said at once.

Works with any search that tells what it has decided. Knows nothing of where a memory comes from.
"""

from __future__ import annotations

from collections.abc import Iterator

from sequencing_np.decode import Decoder, decode_steps
from sequencing_np.errors import SearchError
from sequencing_np.feedback import Deciding
from sequencing_np.special import Vocabulary
from sequencing_np.state import Memory


class Unanswered(SearchError):
    """There is no answer."""

    def __init__(self) -> None:
        super().__init__("no answer was found, as the model said NaN, or nothing keeps all wishes")


def text_pieces(decoder: Decoder, memory: Memory, feedback: Deciding, vocab: Vocabulary) -> Iterator[str]:
    """The best answer to the one sentence of a memory in pieces; Unanswered where there is none."""
    said = ""
    steps = decode_steps(decoder, memory, feedback)
    while True:
        with decoder.arrays.asking():  # around each step, not around what is done with a piece meanwhile
            if next(steps, None) is None:
                break
        text = vocab.settled(feedback.decided()[0])
        if len(text) > len(said):
            yield text[len(said) :]
            said = text
    best = feedback.result()[0][:1]
    if not best:
        raise Unanswered
    text = vocab.decode(best[0].tokens)
    if len(text) > len(said):
        yield text[len(said) :]
