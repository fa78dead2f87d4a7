"""The neuron view: how one token's query meets every key, dimension by dimension.

The columns follow BertViz's neuron view: query token, q, lines, k, q × k, q · k, scaled,
softmax, key token. The hovered token is answered in the browser: the arrays are constants of
the chart, and products and lines are computed there for one query at a time, so nothing of
size query × key × dimension is ever sent.
"""

import altair as alt

from attnviz.charts.neuron_columns import GAP, Columns
from attnviz.charts.palette import DisplayMode, displayed
from attnviz.errors import InputError
from attnviz.results import HeadTrace

MAX_TOKENS = 40  # of the queries and of the keys: what a screen can show


def neuron_view(
    head: HeadTrace,
    query: int | None = None,
    *,
    first_query: int = 0,
    first_key: int = 0,
    display_mode: DisplayMode | None = None,
) -> alt.HConcatChart:
    """The head's neuron view, with one query token selected (default: the first shown).

    Hovering over a query token selects it for the moment. At most 40 queries and 40 keys are
    shown, from `first_query` and `first_key` on; the chart says so. `display_mode` is "light"
    (default) or "dark". Raises InputError for a token that is not there or not shown.
    """
    chart = neurons_chart(head, query, first_query=first_query, first_key=first_key)
    return displayed(chart, display_mode or "light")


def neurons_chart(
    head: HeadTrace,
    query: int | None = None,
    key: int | None = None,
    *,
    first_query: int = 0,
    first_key: int = 0,
) -> alt.HConcatChart:
    """The same without colours of its own, for a page that has them; one key may be marked.

    Clicks are reported by the selection parameters CLICKED_QUERY and CLICKED_KEY.
    """
    queries = _window(len(head.query_tokens), first_query, "first_query")
    keys = _window(len(head.key_tokens), first_key, "first_key")
    pinned = queries.start if query is None else query
    if pinned not in queries:
        raise InputError(
            f"Query {pinned} is not among the tokens shown, {queries.start} to {queries.stop - 1}."
            "\n\nHint: pass first_query so that the window holds it."
        )
    columns = Columns(head, queries, keys)
    title = _softmax_input(head)
    return (
        alt.hconcat(
            columns.query_tokens(),
            columns.query_bands(),
            columns.lines(),
            columns.key_bands(),
            columns.products(),
            columns.number("q · k", "scores", width=56),
            columns.number(title, "masked", width=56 if title == "scaled" else 96),
            columns.softmax(),
            columns.key_tokens(),
            spacing=GAP,
            bounds="flush",
        )
        .add_params(
            *columns.constants(),
            *_selected(pinned - queries.start, None if key is None else key - keys.start),
        )
        .resolve_scale(color="independent", fill="independent", x="independent", y="independent")
        .properties(title=_window_note(head, queries, keys))
    )


def is_windowed(head: HeadTrace) -> bool:
    """Whether the head has more tokens than the view shows at once."""
    return max(len(head.query_tokens), len(head.key_tokens)) > MAX_TOKENS


def window_start(position: int, n_tokens: int) -> int:
    """The first token of the window around a position."""
    return max(0, min(position - MAX_TOKENS // 2, n_tokens - MAX_TOKENS))


# Selection


def _selected(pinned: int, pinned_key: int | None) -> list[alt.Parameter]:
    """`selected_query`: the hovered token, else the clicked one, else the pinned one."""
    expression = (
        "hovered.query ? hovered.query[0] : clicked.query ? clicked.query[0] : pinned_query"
    )
    return [
        alt.param(name="pinned_query", value=pinned),
        alt.param(name="pinned_key", value=-1 if pinned_key is None else pinned_key),
        alt.param(name="selected_query", expr=expression),
    ]


# Numbers


def _window(n_tokens: int, first: int, argument: str) -> range:
    if first not in range(n_tokens):
        raise InputError(
            f"{argument} is {first}; there are {n_tokens} tokens."
            f"\n\nHint: a number from 0 to {n_tokens - 1}."
        )
    return range(first, min(first + MAX_TOKENS, n_tokens))


def _window_note(head: HeadTrace, queries: range, keys: range) -> str:
    parts = [
        f"{what} {tokens.start} to {tokens.stop - 1} of {n_tokens}"
        for what, tokens, n_tokens in (
            ("queries", queries, len(head.query_tokens)),
            ("keys", keys, len(head.key_tokens)),
        )
        if len(tokens) < n_tokens
    ]
    return f"shown: {', '.join(parts)}" if parts else ""


def _softmax_input(head: HeadTrace) -> str:
    """What the number before the softmax is, in words: the scaled score and all added to it."""
    parts = [
        "scaled" if head.softcap is None else "capped",
        *(["bias"] if head.bias is not None else []),
        *(["mask"] if head.mask is not None else []),
    ]
    return " + ".join(parts)
