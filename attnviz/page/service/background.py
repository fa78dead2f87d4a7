"""Work that a thread of its own does, and what is told to those who wait for it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from attnviz.text.errors import AttnvizError


def attempt(
    step: Callable[[], object],
    turn: AbstractContextManager[Any],
    unforeseen: Callable[[str], AttnvizError],
) -> AttnvizError | None:
    """Do this when it has the turn. The error that ended it, if any did: nothing is raised.

    A thread that dies silently would leave visitors waiting, so `unforeseen` says what failed by
    the name of whatever else was raised.
    """
    try:
        with turn:
            step()
    except AttnvizError as error:
        return error
    except Exception as error:
        return unforeseen(type(error).__name__)
    return None
