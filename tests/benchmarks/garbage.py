"""Things done in turns, each without the garbage of the one before."""

import gc
from collections.abc import Callable, Mapping
from typing import Any


def collected(calls: Mapping[str, Callable[[], Any]]) -> dict[str, Callable[[], Any]]:
    """The calls with a collection of garbage after each, which is a turn of its own.

    What is there already is not looked through: with the libraries' objects a collection would
    take longer than most of what is timed.
    """
    gc.collect()
    gc.freeze()
    turns: dict[str, Callable[[], Any]] = {}
    for name, call in calls.items():
        turns |= {name: call, f"garbage of {name}": gc.collect}
    return turns
