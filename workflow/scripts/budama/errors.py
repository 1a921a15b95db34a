"""The one exception that is meant for people, and what its texts are made of."""

import difflib
from collections.abc import Iterable

MOST_LISTED = 20


class BudamaError(Exception):
    """A mistake of the user or of the environment, never of this program.

    Its text is one line a mistake, for people: the file, the key, the value, what is allowed. Several mistakes
    of one file are raised at once: ``BudamaError(*lines)``.
    """

    @property
    def lines(self) -> list[str]:
        """The mistakes, one a line."""
        return str(self).splitlines()

    def __str__(self) -> str:
        return "\n".join(str(argument) for argument in self.args)


def one_line(error: BaseException, limit: int = 200) -> str:
    """An error's text on one line, shortened."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def nearest(word: str, known: Iterable[str], most: int = 1) -> list[str]:
    """The known names that `word` was probably meant to be, the nearest first. Upper and lower case count alike."""
    folded = {name.casefold(): name for name in reversed(list(known))}
    return [folded[near] for near in difflib.get_close_matches(word[:100].casefold(), folded, n=most, cutoff=0.6)]


def did_you_mean(word: str, known: Iterable[str], most: int = 1) -> str:
    """`did you mean NAME?` with the nearest of the known names, or what is known."""
    known = list(known)
    near = nearest(word, known, most)
    if near:
        return f"did you mean {', '.join(near)}?"
    if not known:
        return "there is none"
    return f"known are {', '.join(known if len(known) <= MOST_LISTED else [*known[:5], '…'])}"
