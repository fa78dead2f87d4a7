"""What a screen shows, as plain values: what it is drawn, written as a script and called by."""

from dataclasses import dataclass
from typing import Literal

import altair as alt

from attnviz.charts.heads import Focus, head_view
from attnviz.charts.matrix import Large
from attnviz.charts.model import model_view
from attnviz.charts.neurons import neuron_view
from attnviz.charts.palette import DisplayMode
from attnviz.charts.steps import steps_view
from attnviz.errors import InputError
from attnviz.filters import NO_FILTERS, Filters
from attnviz.results import Trace
from attnviz.steps import Convention
from attnviz.tokens import Tokens
from attnviz.whatif import NO_CHANGE, Change

View = Literal["steps", "neurons", "heads", "model"]
VIEWS: tuple[View, ...] = ("steps", "neurons", "heads", "model")


@dataclass(frozen=True)
class Screen:
    """One state of attnviz. `query` and `key` are positions in their texts, filtered or not."""

    model: str
    text: str
    layer: int
    head: int
    view: View = "steps"
    pair: str | None = None
    target: str | None = None
    revision: str | None = None
    device: str = "cpu"
    dtype: str = "float32"
    kind: str | None = None  # None: the first that the model has
    query: int | None = None
    key: int | None = None
    display_mode: DisplayMode = "light"
    filters: Filters = NO_FILTERS  # of all views but Steps
    # Steps
    convention: Convention = "rows"
    large: Large = "maximum"
    change: Change = NO_CHANGE  # of its What if?
    # Neurons, and its first tokens and those of Heads, for long texts
    is_expanded: bool = True
    is_sorted: bool = False  # the dimensions, by their share of the pair's score
    is_asked: bool = False
    first_query: int = 0
    first_key: int = 0
    # Heads
    heads: tuple[int, ...] | None = None  # those that are on; None: all
    focus: Focus = "all"
    # Model
    measure: str = "entropy"
    is_by_measure: bool = False


def drawn(screen: Screen, trace: Trace) -> alt.TopLevelMixin:
    """The screen's view of a trace, which is not filtered yet, as an Altair chart.

    Raises InputError for what the trace does not have.
    """
    if screen.view == "steps":
        return steps_view(
            trace.head(screen.layer, screen.head, screen.kind),
            screen.query,
            screen.key,
            convention=screen.convention,
            large=screen.large,
            display_mode=screen.display_mode,
        )
    trace = screen.filters(trace)
    if screen.view == "model":
        return model_view(
            trace,
            screen.kind,
            measure=screen.measure,
            is_sorted=screen.is_by_measure,
            layer=screen.layer,
            head=screen.head,
            display_mode=screen.display_mode,
        )
    queries, keys = trace.tokens_of(screen.layer, screen.kind)
    query, key = _place(queries, screen.query, "query"), _place(keys, screen.key, "key")
    firsts = {"first_query": screen.first_query, "first_key": screen.first_key}
    if screen.view == "neurons":
        return neuron_view(
            trace.head(screen.layer, screen.head, screen.kind),
            query,
            key,
            expanded=screen.is_expanded,
            sort_dimensions=screen.is_sorted,
            asked=screen.is_asked,
            display_mode=screen.display_mode,
            **firsts,
        )
    return head_view(
        trace,
        screen.layer,
        screen.kind,
        heads=screen.heads,
        query=query if screen.focus == "query" else None,
        key=key if screen.focus == "key" else None,
        framed=screen.head,
        display_mode=screen.display_mode,
        **firsts,
    )


def _place(tokens: Tokens, position: int | None, what: str) -> int | None:
    """Where a filter left the token of this position."""
    if position is None:
        return None
    place = tokens.place_of(position)
    if place is None:
        raise InputError(
            f"There is no {what} token {position!r}, or a filter hides it."
            f"\n\nHint: there are {len(tokens)} tokens; positions count from 0."
        )
    return place
