"""A function of the user's own that mends or drops pairs, and what is said where it fails."""

from collections.abc import Callable
from typing import Any

from sequencing_np.errors import DataError
from sequencing_np.own import said

Pair = tuple[str, str]
OwnFunction = Callable[[str, str], Pair | None]


def call(function: OwnFunction, name: str, pair: Pair, where: str) -> Pair | None:
    """What the function makes of a pair; DataError with the pair's place where it fails or answers something else."""
    try:
        answer: Any = function(*pair)
    except Exception as error:
        raise DataError(f"{where}: the function {name} failed: {said(error)}; the pair is {pair!r}") from error
    if answer is None:
        return None
    if not isinstance(answer, tuple | list) or [type(text) for text in answer] != [str, str]:
        wrong = f"{answer!r:.80}"
    elif any("\n" in text for text in answer):
        wrong = f"{answer!r:.80}, a text with a line feed"
    elif [text.count("\t") for text in answer] != [text.count("\t") for text in pair]:
        wrong = f"{answer!r:.80}, with another number of tabs"
    else:
        try:
            "".join(answer).encode()
        except UnicodeEncodeError:
            wrong = f"{answer!r:.80}, with half a surrogate pair"
        else:
            return answer[0], answer[1]
    raise DataError(f"{where}: the function {name} returned {wrong}; it must return a pair (source, target) or None")
