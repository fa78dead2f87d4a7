"""The head view: all heads of one layer, a line for each query, key and head.

Hue tells heads apart, and so does place: a line runs in its head's lane within the rows of its
tokens, so that lines of two heads do not lie on one another and a line is as opaque as its
weight; the stripes beside the tokens stand in the order of the heads. The pointer is answered in
the browser: over a token only its lines are shown, on either side; a click keeps it.
"""

from collections.abc import Collection
from functools import lru_cache
from typing import Any, Literal

import altair as alt
import numpy as np
from jaxtyping import Bool, Float

from attnviz.attention.call import LayerTrace
from attnviz.attention.trace import Trace
from attnviz.charts.head_layers import INVISIBLE, MOST_LINES, Shape, layers
from attnviz.charts.parts.figure import FIT_WIDTH, MAX_STRUCTURES, Figure, note_above, structure_of
from attnviz.charts.parts.in_notebook import displayed
from attnviz.charts.parts.palette import DisplayMode
from attnviz.charts.parts.sink import SINK_ROW, SMALLEST_SINK
from attnviz.charts.parts.values import as_bits, nested
from attnviz.charts.parts.window import MAX_TOKENS, Window, window
from attnviz.text.errors import InputError
from attnviz.text.phrases import percent, plain, token_at

Focus = Literal["all", "query", "key"]  # whose lines are shown

MAX_WEIGHTS = 60_000  # sent at once; more heads are shown on fewer tokens
NOTEBOOK_WIDTH = 760  # px


def head_view(
    trace: Trace,
    layer: int = 0,
    kind: str | None = None,
    *,
    heads: Collection[int] | None = None,
    query: int | None = None,
    key: int | None = None,
    first_query: int = 0,
    first_key: int = 0,
    framed: int | None = None,
    display_mode: DisplayMode | None = None,
) -> alt.LayerChart:
    """All heads of one layer on one picture, with `heads` switched on (default: all of them).

    The square of one head may be `framed`. With a `query` only the lines from it are shown, with a
    `key` only those to it. At most 40 queries and 40 keys are shown, fewer of layers with many
    heads, from `first_query` and `first_key` on; the chart says so. `display_mode` is "light"
    (default) or "dark". Raises InputError for a layer, head or token that is not there or not
    shown.
    """
    call = trace.layer(layer, kind)
    shown = window(
        len(call.query_tokens),
        len(call.key_tokens),
        first_query,
        first_key,
        size=most_tokens(call.n_heads),
    )
    focus: Focus = "all" if query is key is None else "query" if query is not None else "key"
    figure = heads_figure(call, layer, shown, heads, focus, query, key, framed)
    chart: alt.LayerChart = displayed(
        figure.chart().properties(width=NOTEBOOK_WIDTH), display_mode or "light"
    )
    return chart


def most_tokens(n_heads: int) -> int:
    """How many queries, and how many keys, are shown at once."""
    return min(MAX_TOKENS, int((MAX_WEIGHTS / n_heads) ** 0.5))


def heads_figure(
    call: LayerTrace,
    layer: int,
    shown: Window,
    heads: Collection[int] | None = None,
    focus: Focus = "all",
    query: int | None = None,
    key: int | None = None,
    framed: int | None = None,
) -> Figure:
    """The same as a figure, for a page that has colours and a width of its own.

    Clicks are reported by the selection parameters CLICKED_QUERY, CLICKED_KEY (places in the
    window), TOGGLED and ISOLATED (heads). The square of one head may be `framed`.
    """
    on = list(range(call.n_heads) if heads is None else heads)
    for head in on:
        if head not in range(call.n_heads):
            raise InputError(
                f"Layer {layer} has no head {head!r}.\n\nHint: 0 to {call.n_heads - 1}."
            )
    shown.check(query, key)
    queries, keys = (slice(part.start, part.stop) for part in (shown.queries, shown.keys))
    weights = call.own_weights_of(queries)[:, :, keys]
    has_line = None if call.has_line is None else call.has_line[:, queries, keys]
    key_names = shown.named(call.key_tokens.labels, shown.keys)
    key_padding = [call.key_tokens[key].is_padding for key in shown.keys]
    has_sink = call.sinks is not None and bool(call.sinks.max() > SMALLEST_SINK)
    if call.sinks is not None and has_sink:  # behind the last key
        weights = np.concatenate([weights, call.sinks[:, queries, None]], axis=2)
        if has_line is not None:
            has_line = np.concatenate([has_line, np.ones_like(has_line[:, :, :1])], axis=2)
        key_names.append(SINK_ROW)
        key_padding.append(False)
    query_place = -1 if query is None else query - shown.queries.start
    key_place = -1 if key is None else key - shown.keys.start
    is_padding = call.is_meaningless[queries]
    strongest = _strongest(weights, has_line, is_padding)
    too_small = f"no line: no weight shown is above {INVISIBLE}"
    constants = {
        "weights": [nested(of_head) for of_head in weights],
        **strongest,
        "has_line": None if has_line is None else [as_bits(of_head) for of_head in has_line],
        "query_names": shown.named(call.query_tokens.labels, shown.queries),
        "key_names": key_names,
        "query_padding": as_bits([is_padding])[0],
        "key_padding": as_bits([np.array(key_padding)])[0],
        "note": [part for part in (shown.note, *call.notes) if part]
        + [too_small] * bool(weights.max() <= INVISIBLE),
        "pinned_heads": on,
        "framed_head": -1 if framed is None else framed,
        "pinned_query": query_place if focus == "query" else -1,
        "pinned_key": key_place if focus == "key" else -1,
        "chosen_query": query_place,
        "chosen_key": key_place,
    }
    shape = Shape(call.n_heads, len(shown.queries), len(shown.keys), has_sink)
    structure = _structure(shape)
    return Figure(
        structure,
        constants,
        takeaway(call, layer, query, key),
        n_marks=_n_lines(shape, focus, strongest) + shape.n_others,
    )


def _n_lines(shape: Shape, focus: Focus, strongest: dict[str, Any]) -> int:
    """Of one token all, with a stripe each; of all tokens the strongest."""
    if focus == "all":
        return sum(place is not None for place in strongest["strongest"])
    return 2 * shape.n_heads * (shape.n_keys if focus == "query" else shape.n_queries)


def _strongest(
    weights: Float[np.ndarray, "head query_pos key_pos"],
    has_line: Bool[np.ndarray, "head query_pos key_pos"] | None,
    is_padding: Bool[np.ndarray, " query_pos"],
) -> dict[str, Any]:
    """Which lines are drawn at rest, as places among all weights, and the smallest if not all.

    Of all heads, for those that are off can be switched on without the page.
    """
    is_drawn = (weights > INVISIBLE) & ~is_padding[:, None]
    if has_line is not None:
        is_drawn &= has_line
    places = np.flatnonzero(is_drawn)
    n_all, flat = len(places), weights.ravel()
    places = places[np.argsort(-flat[places], kind="stable")[:MOST_LINES]]
    n_missing = min(MOST_LINES, weights.size) - len(places)
    return {
        "strongest": [*places[::-1].tolist(), *[None] * n_missing],  # the strongest on top
        "smallest": float(flat[places[-1]]) if n_all > len(places) else 0.0,
    }


def takeaway(call: LayerTrace, layer: int, query: int | None, key: int | None) -> str:
    """What the view shows, for those who do not see it."""
    if query is None or key is None:
        weights = call.own_weights
        head, query, key = map(int, np.unravel_index(weights.argmax(), weights.shape))
        largest, what = weights[head, query, key], "The largest weight of all"
    else:
        of_heads = call.own_weights_between(query, key)
        head = int(of_heads.argmax())
        largest, what = of_heads[head], "The largest weight"
    names = (
        f"{plain(token_at(call.query_tokens.labels, query))} to "
        f"{plain(token_at(call.key_tokens.labels, key))}"
    )
    return (
        f"Head view of layer {layer}, {call.n_heads} heads. {what} from {names} is that of head "
        f"{head}: {percent(float(largest))}."
    )


@lru_cache(MAX_STRUCTURES)
def _structure(shape: Shape) -> dict[str, Any]:
    chart = (
        alt.LayerChart(layer=layers(shape))
        .add_params(
            alt.param(
                name="shown_query",
                expr="hovered.query ? hovered.query[0] : hovered_key.key ? -1"
                " : clicked.query ? clicked.query[0] : clicked_key.key ? -1 : pinned_query",
            ),
            alt.param(
                name="shown_key",
                expr="hovered_key.key ? hovered_key.key[0] : hovered.query ? -1"
                " : clicked_key.key ? clicked_key.key[0] : clicked.query ? -1 : pinned_key",
            ),
        )
        .properties(
            height=shape.height,
            title=note_above(),
        )
    )
    return structure_of(chart) | FIT_WIDTH
