"""The neuron view: how one token's query meets every key, dimension by dimension.

The columns follow BertViz's neuron view: query token, q, lines, k, q × k, q · k, scaled,
softmax, key token; beyond it, each value times its weight, and the update as their sum. The
pointer is answered in the browser: hovering over a query token shows its lines and products,
over a key token who attends to it; a click keeps the token.
"""

from functools import lru_cache
from typing import Any

import altair as alt
import numpy as np

from attnviz.attention.explained.dimensions import order_of
from attnviz.attention.head import HeadTrace
from attnviz.charts.neuron_layers import ASKED, CLICKED_QUERY, layers
from attnviz.charts.neuron_layout import Shape
from attnviz.charts.parts.figure import FIT_WIDTH, MAX_STRUCTURES, Figure, note_above, structure_of
from attnviz.charts.parts.in_notebook import displayed
from attnviz.charts.parts.palette import DisplayMode
from attnviz.charts.parts.sink import SINK_ROW, SMALLEST_SINK
from attnviz.charts.parts.values import as_bits, largest, nested, scale_end
from attnviz.charts.parts.window import Window, window
from attnviz.text.errors import InputError
from attnviz.text.phrases import percent, plain, token_at

NOTEBOOK_WIDTH = 960  # px


def neuron_view(
    head: HeadTrace,
    query: int | None = None,
    key: int | None = None,
    *,
    expanded: bool = True,
    sort_dimensions: bool = False,
    asked: bool = False,
    first_query: int = 0,
    first_key: int = 0,
    display_mode: DisplayMode | None = None,
) -> alt.LayerChart:
    """The head's neuron view, with one query token selected (default: the first shown).

    Below the chart a list of the tokens takes the keyboard, and a box collapses the dimensions;
    without `expanded` they are collapsed to begin with. `sort_dimensions` puts the dimensions
    first that give the largest share of the score of `query` and `key`; `asked` shows the lines to
    the key instead of those from the query. At most 40 queries and
    40 keys are shown, from `first_query` and `first_key` on; the chart says so. `display_mode` is
    "light" (default) or "dark". Raises InputError for a token that is not there or not shown.
    """
    shown = window(len(head.query_tokens), len(head.key_tokens), first_query, first_key)
    figure = neurons_figure(
        head,
        shown,
        query,
        key,
        is_expanded=expanded,
        is_sorted=sort_dimensions,
        is_asked=asked,
    )
    chart = figure.chart().properties(width=NOTEBOOK_WIDTH)
    chart.params = [_bound(parameter, figure, head, shown) for parameter in chart.params]
    drawn: alt.LayerChart = displayed(chart, display_mode or "light")
    return drawn


def _bound(parameter: Any, figure: Figure, head: HeadTrace, shown: Window) -> Any:
    """The parameter of a chart that stands alone: a list of the tokens and a box below move some.

    They take the keyboard, which the chart itself does not. A page has controls of its own.
    """
    now = figure.constants
    name = parameter.name if isinstance(parameter.name, str) else parameter.name.to_dict()
    if name == CLICKED_QUERY:
        tokens = alt.binding_select(
            options=list(range(len(shown.queries))),
            labels=[f"{place} {head.query_tokens[place]}" for place in shown.queries],
            name="query token ",
        )
        return _but(parameter, bind={"query": tokens}, value=[{"query": now["pinned_query"]}])
    if name == ASKED and now["is_asked"]:
        return _but(parameter, value=[{"key": now["pinned_key"]}])
    if name == "is_expanded" and not head.is_of_words:
        return _but(parameter, bind=alt.binding_checkbox(name="dimensions "))
    return parameter


def _but(parameter: Any, **given: Any) -> Any:
    """A copy, for other charts of the same structure have the parameter too."""
    changed = parameter.copy(deep=False)
    for name, value in given.items():
        changed[name] = value
    return changed


def neurons_figure(
    head: HeadTrace,
    shown: Window,
    query: int | None = None,
    key: int | None = None,
    *,
    is_expanded: bool = True,
    is_sorted: bool = False,
    is_asked: bool = False,
) -> Figure:
    """The same as a figure, for a page that has colours and a width of its own.

    Where it `is_asked` who attends to the key, its lines are shown instead of the query's. Clicks
    are reported by the selection parameters CLICKED_QUERY, CLICKED_KEY and ASKED, as places in
    the window.
    """
    pinned = shown.queries.start if query is None else query
    shown.check(pinned, key)
    order = np.arange(head.q.shape[1])
    if is_sorted:
        if key is None:
            raise InputError(
                "Dimensions are sorted for a pair, and no key is given.\n\nHint: pass key as well."
            )
        order = order_of(head, pinned, key)
    has_bands = not head.is_of_words
    sums = _sums(head, shown)
    bands = [np.array(values, np.float32) for values in sums["sum_values"] if values is not None]
    shape = Shape(
        n_queries=len(shown.queries),
        n_keys=len(shown.keys),
        d_head=head.q.shape[1],
        d_value=head.v.shape[1],
        n_sums=len(sums["sum_names"]),
        has_bands=has_bands,
        masked_title=_softmax_input(head),
    )
    constants = {
        **_arrays(head, shown, has_bands, bands),
        **sums,
        "note": [part for part in (shown.note, *head.notes) if part],
        "is_expanded": is_expanded and has_bands,
        "dimensions": order.tolist(),
        "is_asked": is_asked and key is not None,
        "pinned_query": pinned - shown.queries.start,
        "pinned_key": -1 if key is None else key - shown.keys.start,
    }
    return Figure(_structure(shape), constants, takeaway(head, pinned), shape.n_cells)


@lru_cache(MAX_STRUCTURES)
def _structure(shape: Shape) -> dict[str, Any]:
    chart = (
        alt.LayerChart(layer=layers(shape))
        .add_params(
            alt.param(
                name="selected_query",
                expr="hovered.query ? hovered.query[0]"
                " : clicked.query ? clicked.query[0] : pinned_query",
            ),
            alt.param(
                name="selected_key", expr="clicked_key.key ? clicked_key.key[0] : pinned_key"
            ),
            alt.param(
                name="asked_key",
                expr="hovered_key.key ? hovered_key.key[0] : hovered.query || clicked.query && "
                "!asked.key ? -1 : asked.key ? asked.key[0] : is_asked ? selected_key : -1",
            ),
            alt.param(name="is_pointing", expr="isValid(hovered.query)"),
        )
        .resolve_scale(color="independent", fill="independent")
        .properties(
            height=shape.height,
            title=note_above(),
        )
    )
    return structure_of(chart) | FIT_WIDTH


# Numbers


def _arrays(
    head: HeadTrace, shown: Window, has_bands: bool, sums: list[np.ndarray]
) -> dict[str, Any]:
    """The head's numbers in the window; colours reach as far as those of the whole head."""
    queries, keys = (slice(part.start, part.stop) for part in (shown.queries, shown.keys))
    key_is_padding = head.key_is_padding
    arrays: dict[str, Any] = {
        "weights": nested(head.weights[queries, keys]),
        "weight_limit": max(largest(head.weights), float(head.sink.max(initial=0))),
        "has_line": None if head.has_line is None else as_bits(head.has_line[queries, keys]),
        "query_names": shown.named(head.query_tokens, shown.queries),
        "key_names": shown.named(head.key_tokens, shown.keys),
        "query_padding": as_bits([head.is_meaningless[queries]])[0],
        "key_padding": [] if key_is_padding is None else as_bits([key_is_padding[keys]])[0],
    }
    if not has_bands:
        return arrays
    masked = np.where(head.is_masked, np.nan, head.masked)
    # The largest that each query and any key, or any weight and each value, can multiply to.
    product = np.abs(head.q) * np.abs(head.k).max(axis=0)
    value = head.weights.max(axis=0) * np.abs(head.v).max(axis=1)
    return arrays | {
        "Q": nested(head.q[queries]),
        "K": nested(head.k[keys]),
        "V": nested(head.v[keys]),
        "scores": nested(head.scores[queries, keys]),
        "masked": nested(masked[queries, keys]),
        "because": head.hiding.codes[queries, keys].tolist() if head.is_masked.any() else [],
        **scale_end(head.q).constants("q"),
        **scale_end(head.k).constants("k"),
        **scale_end(product).constants("product"),
        **scale_end(head.scores).constants("scores"),
        **scale_end(masked).constants("masked"),
        **scale_end(
            np.concatenate([a.ravel() for a in (value, head.updated, *sums)]), among=head.v
        ).constants("value"),
    }


def _sums(head: HeadTrace, shown: Window) -> dict[str, Any]:
    """Rows below the keys: keys that are not shown, no key at all, and the sum of everything."""
    queries, keys = (slice(part.start, part.stop) for part in (shown.queries, shown.keys))
    n_left = len(head.key_tokens) - len(shown.keys)
    rows: list[tuple[str, np.ndarray, np.ndarray | None]] = []
    if n_left:
        weights = head.weights[queries].copy()
        weights[:, keys] = 0
        rows.append((f"{n_left} others", weights.sum(axis=1), weights @ head.v))
    left_out = np.zeros_like(head.sink) if head.left_out is None else head.left_out
    for name, share in (("hidden tokens", left_out), (SINK_ROW, head.sink)):
        if share.max(initial=0) > SMALLEST_SINK:
            rows.append((name, share[queries], None))
    total = (head.weights.sum(axis=1) + head.sink + left_out)[queries]
    rows.append(("sum", total, head.updated[queries]))
    return {
        "sum_names": [name for name, _, _ in rows],
        "sum_additions": ["" for _ in rows[1:]] + [", x′"],  # where the bands are shown
        "sum_weights": nested(np.stack([weights for _, weights, _ in rows], axis=1)),
        "sum_values": [
            None if values is None or head.is_of_words else nested(values) for _, _, values in rows
        ],
    }


def _softmax_input(head: HeadTrace) -> tuple[str, ...]:
    """What the number before the softmax is: the scaled score and all that is added to it."""
    return (
        "scaled" if head.softcap is None else "capped",
        *(["+ bias"] if head.bias is not None else []),
        *(["+ mask"] if head.has_mask else []),
    )


def takeaway(head: HeadTrace, query: int) -> str:
    """What the view shows of one query, for those who do not see it."""
    weights = head.weights[query]
    strongest = np.argsort(-weights, kind="stable")[:3]
    given = ", ".join(
        f"{plain(token_at(head.key_tokens, key))} {percent(weights[key])}" for key in strongest
    )
    return (
        f"Neuron view of layer {head.layer}, head {head.head}: "
        f"{plain(token_at(head.query_tokens, query))} gives most of its attention to {given}."
    )
