"""Views that are not drawn: a call of a view's function gives what it was called with."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

import attnviz
from attnviz.attention.head import HeadTrace
from attnviz.attention.trace import Trace
from attnviz.export import screen
from attnviz.heads import Difference

VIEWS = (
    "steps",
    "neuron",
    "head",
    "model",
    "find",
    "scatter",
    "compare",
    "what_if",
    "effect",
    "sweep",
)


@dataclass
class Drawing:
    """A view's function, and every argument that it has, defaults too."""

    function: str
    arguments: dict

    def display(self):
        """As a chart's: shown by a script before its last line."""

    def __eq__(self, other):
        return self.function == other.function and same(self.arguments, other.arguments)


def record(monkeypatch):
    """Have all views recorded, in whatever attnviz calls them by."""
    for view in VIEWS:
        name = f"{view}_view"
        stand_in = _recording(getattr(attnviz, name))
        monkeypatch.setattr(attnviz, name, stand_in)
        if hasattr(screen, name):
            monkeypatch.setattr(screen, name, stand_in)


def _recording(function):
    signature = inspect.signature(function)

    def stand_in(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        mode = bound.arguments["display_mode"] or "light"
        return Drawing(function.__name__, {**bound.arguments, "display_mode": mode})

    stand_in.__name__, stand_in.__signature__ = function.__name__, signature
    return stand_in


OF_HEAD = (
    *("kind", "layer", "head", "query_tokens", "key_tokens", "scaling", "temperature", "notes"),
    *("q", "k", "v", "weights", "updated", "own_weights", "has_line", "is_changed", "is_filtered"),
)
OF_LAYER = ("query_tokens", "key_tokens", "q", "k", "v", "own_weights", "has_line", "notes")


def same(one, other):
    """Whether two arguments are the same: arrays, tables and what holds them by their numbers."""
    if one is other:
        return True
    if type(one) is not type(other):  # a list in a script is a tuple in a screen
        is_listed = {type(one), type(other)} == {list, tuple}
        return one == other if not is_listed else same(list(one), list(other))
    if isinstance(one, HeadTrace):
        return all(same(getattr(one, name), getattr(other, name)) for name in OF_HEAD)
    if isinstance(one, Trace):
        keys = list(one.calls)
        return (one.source, one.target, keys) == (
            other.source,
            other.target,
            list(other.calls),
        ) and (
            all(
                same(getattr(one.calls[key], name), getattr(other.calls[key], name))
                for key in keys
                for name in OF_LAYER
            )
        )
    if isinstance(one, Difference):
        return all(same(getattr(one, name), getattr(other, name)) for name in ("a", "b")) and (
            (one.queries, one.keys) == (other.queries, other.keys)
        )
    if isinstance(one, pd.DataFrame):
        return one.equals(other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return one == other
