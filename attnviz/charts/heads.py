"""The head view: all heads of one layer, a line for each query, key and head.

Hue tells heads apart, and so does place: a line runs in its head's lane within the rows of its
tokens, so that lines of two heads do not lie on one another and a line is as opaque as its
weight; the stripes beside the tokens stand in the order of the heads. The pointer is answered in
the browser: over a token only its lines are shown, on either side; a click keeps it. A click on a
head's square switches it off and on, a double click leaves it alone on.
"""

from collections.abc import Collection
from functools import lru_cache
from typing import Any, Literal

import altair as alt
import numpy as np

from attnviz.charts import palette
from attnviz.charts.figure import MAX_STRUCTURES, Figure, structure_of
from attnviz.charts.palette import DisplayMode, displayed
from attnviz.charts.pointer import LEAVES
from attnviz.charts.values import as_bits, nested
from attnviz.charts.window import MAX_TOKENS, Window, window
from attnviz.errors import InputError
from attnviz.results import LayerTrace, Trace
from attnviz.wording import percent, plain, token_at

# The selection parameters that report clicks: tokens by their place in the window, heads.
CLICKED_QUERY = "clicked"  # field `query`
CLICKED_KEY = "clicked_key"  # field `key`
TOGGLED = "toggled"  # field `head`, a list
ISOLATED = "isolated"  # field `head`

Focus = Literal["all", "query", "key"]  # whose lines are shown

PITCH = 22  # px a row
FONT_SIZE = 13
FONT = "max(13, min(17, width / 66))"  # grows with the view on a projector
HEADER = 3.4  # rows, for the squares and the titles
MAX_WEIGHTS = 60_000  # sent at once; more heads are shown on fewer tokens
NOTEBOOK_WIDTH = 760  # px
LANES = 0.75  # of a row, for the lines of all heads
FOOTER = 1.4  # rows, for the legend
# What is less opaque than this changes no pixel.
INVISIBLE = 0.002

# Columns, in hundredths of the width.
QUERY_TOKENS, LEFT_STRIPES = (0, 17), (18, 30)
RIGHT_STRIPES, KEY_TOKENS = (65, 77), (78, 95)


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
    display_mode: DisplayMode | None = None,
) -> alt.LayerChart:
    """All heads of one layer on one picture, with `heads` switched on (default: all of them).

    With a `query` only the lines from it are shown, with a `key` only those to it. At most 40
    queries and 40 keys are shown, fewer of layers with many heads, from `first_query` and
    `first_key` on; the chart says so. `display_mode` is "light" (default) or "dark". Raises
    InputError for a layer, head or token that is not there or not shown.
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
    figure = heads_figure(call, layer, shown, heads, focus, query, key)
    return displayed(figure.chart().properties(width=NOTEBOOK_WIDTH), display_mode or "light")


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
    weights = call.own_weights[:, queries, keys]
    has_line = None if call.has_line is None else call.has_line[:, queries, keys]
    query_place = -1 if query is None else query - shown.queries.start
    key_place = -1 if key is None else key - shown.keys.start
    constants = {
        "weights": [nested(of_head) for of_head in weights],
        "has_line": None if has_line is None else [as_bits(of_head) for of_head in has_line],
        "query_names": shown.named(call.query_tokens.labels, shown.queries),
        "key_names": shown.named(call.key_tokens.labels, shown.keys),
        "note": [part for part in (shown.note, *call.notes) if part],
        "pinned_heads": on,
        "framed_head": -1 if framed is None else framed,
        "pinned_query": query_place if focus == "query" else -1,
        "pinned_key": key_place if focus == "key" else -1,
        "chosen_query": query_place,
        "chosen_key": key_place,
    }
    structure = _structure(call.n_heads, len(shown.queries), len(shown.keys))
    n_marks = int((weights[on] > INVISIBLE).sum())
    return Figure(structure, constants, takeaway(call, layer, query, key), n_marks)


def takeaway(call: LayerTrace, layer: int, query: int | None, key: int | None) -> str:
    """What the view shows, for those who do not see it."""
    if query is None or key is None:
        largest = int(call.own_weights.argmax())
        head, query, key = map(int, np.unravel_index(largest, call.own_weights.shape))
        what = "The largest weight of all"
    else:
        head = int(call.own_weights[:, query, key].argmax())
        what = "The largest weight"
    names = (
        f"{plain(token_at(call.query_tokens.labels, query))} to "
        f"{plain(token_at(call.key_tokens.labels, key))}"
    )
    return (
        f"Head view of layer {layer}, {call.n_heads} heads. {what} from {names} is that of head "
        f"{head}: {percent(float(call.own_weights[head, query, key]))}."
    )


@lru_cache(MAX_STRUCTURES)
def _structure(n_heads: int, n_queries: int, n_keys: int) -> dict[str, Any]:
    n_rows = max(n_queries, n_keys)

    def x(field: str = "x") -> alt.X:
        scale = alt.Scale(domain=[0, 100], nice=False, zero=False)
        return alt.X(f"{field}:Q", axis=None, scale=scale)

    def y(field: str = "y") -> alt.Y:
        scale = alt.Scale(domain=[-HEADER, n_rows + FOOTER], reverse=True, nice=False, zero=False)
        return alt.Y(f"{field}:Q", axis=None, scale=scale)

    def box(base: alt.Chart) -> alt.Chart:
        return base.encode(x=x(), x2="x2:Q", y=y(), y2="y2:Q")

    is_on = (
        "(isolated.head ? indexof(isolated.head, datum.head) >= 0"
        " : indexof(pinned_heads, datum.head) >= 0)"
        " != (toggled.head ? indexof(toggled.head, datum.head) >= 0 : false)"
    )
    # Evenly spaced hues of one lightness, readable on both backgrounds; none is used twice.
    colour = f"'' + hcl(20 + 360 * datum.head / {n_heads}, 65, 55)"
    tooltip = [
        alt.Tooltip("head:O", title="head"),
        alt.Tooltip("from_token:N", title="query token"),
        alt.Tooltip("to_token:N", title="key token"),
        alt.Tooltip("weight:Q", title="weight"),
    ]
    # What a line and a stripe are called by those who read the page aloud.
    given = alt.expr(
        "'head ' + datum.head + ', ' + datum.from_token + ' to ' + datum.to_token + ': '"
        " + datum.weight"
    )
    named = {
        "from_token": "query_names[datum.query]",
        "to_token": "key_names[datum.key]",
        "colour": colour,
    }

    # Heads: squares that switch

    def heads() -> alt.Chart:
        step = min(100 / n_heads, 5)
        return (
            alt.Chart(alt.sequence(n_heads, as_="head"))
            .transform_calculate(is_on=is_on, colour=colour)
            .transform_calculate(edge=f"datum.head == framed_head ? {palette.TEXT} : datum.colour")
            .transform_calculate(
                x=f"datum.head * {step} + {0.06 * step}",
                x2=f"datum.head * {step} + {0.94 * step}",
                middle=f"(datum.head + 0.5) * {step}",
                y=f"{-HEADER}",
                y2=f"{1 - HEADER}",
                y_text=f"{0.5 - HEADER}",
                says="(datum.is_on ? 'on' : 'off') + '; click: switch, double click: alone'",
            )
        )

    squares = (
        box(
            heads().mark_rect(
                cursor="pointer",
                strokeWidth=alt.expr("datum.head == framed_head ? 3 : 1.5"),
                cornerRadius=2,
                description=alt.expr("'head ' + datum.head + (datum.is_on ? ', on' : ', off')"),
            )
        )
        .encode(
            fill=alt.Fill("colour:N", scale=None),
            stroke=alt.Stroke("edge:N", scale=None),
            fillOpacity=alt.condition("datum.is_on", alt.value(1), alt.value(0)),
            tooltip=[alt.Tooltip("head:O", title="head"), alt.Tooltip("says:N", title="it is")],
        )
        .properties(name="squares")
        .add_params(
            alt.selection_point(
                name=TOGGLED,
                fields=["head"],
                on="@squares_marks:click",
                clear="@squares_marks:dblclick",
                toggle="true",
                empty=False,
            ),
            alt.selection_point(
                name=ISOLATED,
                fields=["head"],
                on="@squares_marks:dblclick",
                clear=False,
                # A second double click on the head that is alone brings the others back.
                toggle="isolated.head && isolated.head[0] === datum.head",
                empty=False,
            ),
        )
    )
    numbers = (
        heads()
        .mark_text(
            fontSize=alt.expr(f"{FONT} - 1" if n_heads <= 24 else "9"),
            fontWeight="bold",
            fill=alt.expr(f"datum.is_on ? '#ffffff' : {palette.TEXT}"),
            aria=False,
            tooltip=None,
        )
        .encode(x=x("middle"), y=y("y_text"), text="head:O")
    )

    # Tokens, and what answers the pointer there

    def tokens(side: Literal["query", "key"]) -> list[alt.Chart]:
        is_query = side == "query"
        n, (first, last) = (n_queries, QUERY_TOKENS) if is_query else (n_keys, KEY_TOKENS)
        other = "keys" if is_query else "queries"
        hovered, clicked = ("hovered", CLICKED_QUERY) if is_query else ("hovered_key", CLICKED_KEY)
        name = "queries" if is_query else "keys"
        base = alt.Chart(alt.sequence(n, as_="place")).transform_calculate(
            **{side: "datum.place"},
            x=f"{first}",
            x2=f"{last}",
            edge=f"{last if is_query else first}",
            y="datum.place + 0.04",
            y2="datum.place + 0.96",
            middle="datum.place + 0.5",
            token=f"{side}_names[datum.place]",
        )
        marked = f"datum.place == shown_{side} ? 0.6 : datum.place == chosen_{side} ? 0.3 : 0"
        touch = box(
            base.mark_rect(
                fill=alt.expr(palette.HIDDEN),
                fillOpacity=alt.expr(marked),
                description=alt.expr(f"'{side} token ' + datum.token"),
                cursor="pointer",
                tooltip=None,
            )
        )
        touch = touch.properties(name=name).add_params(
            alt.selection_point(
                name=hovered,
                fields=[side],
                on=f"@{name}_marks:pointerover",
                clear=f"@{other}_marks:pointerover, {LEAVES}",
                empty=False,
            ),
            alt.selection_point(
                name=clicked,
                fields=[side],
                on=f"@{name}_marks:click",
                clear=f"@{other}_marks:click",
                toggle=f"{clicked}.{side} && {clicked}.{side}[0] === datum.{side}",
                empty=False,
            ),
        )
        text = base.mark_text(
            align="right" if is_query else "left",
            dx=-4 if is_query else 4,
            fontSize=alt.expr(FONT),
            limit=alt.expr(f"width * {last - first - 1} / 100"),
            fill=alt.expr(palette.TEXT),
            fontWeight=alt.expr(f"datum.place == shown_{side} ? 'bold' : 'normal'"),
            aria=False,
            tooltip=None,
        ).encode(x=x("edge"), y=y("middle"), text="token:N")
        return [touch, text]

    def title(
        said: str, at: float, align: Literal["left", "center", "right"], y_at: float = -0.5
    ) -> alt.Chart:
        return (
            alt.Chart(alt.sequence(1, as_="one"))
            .transform_calculate(x=f"{at}", y=f"{y_at}")
            .mark_text(
                text=said,
                fontSize=alt.expr(FONT),
                fontWeight="bold",
                align=align,
                description=said,
                fill=alt.expr(palette.TEXT),
                tooltip=None,
            )
            .encode(x=x(), y=y())
        )

    # Lines and stripes

    n_pairs = n_queries * n_keys
    lane = f"(datum.head + 0.5) / {n_heads} - 0.5"
    lines = (
        alt.Chart(alt.sequence(n_heads * n_pairs, as_="place"))
        .transform_calculate(
            head=f"floor(datum.place / {n_pairs})",
            query=f"floor(datum.place / {n_keys}) % {n_queries}",
            key=f"datum.place % {n_keys}",
        )
        .transform_calculate(weight="weights[datum.head][datum.query][datum.key]", is_on=is_on)
        .transform_filter(
            "datum.is_on && datum.weight > 0"
            " && (!has_line || has_line[datum.head][datum.query][datum.key])"
        )
        .transform_filter(
            "shown_query >= 0 ? datum.query == shown_query"
            " : shown_key >= 0 ? datum.key == shown_key"
            f" : datum.weight > {INVISIBLE}"
        )
        .transform_calculate(
            x=f"shown_key >= 0 ? {LEFT_STRIPES[1] + 0.5} : {QUERY_TOKENS[1] + 0.5}",
            x2=f"shown_query >= 0 ? {RIGHT_STRIPES[0] - 0.5} : {KEY_TOKENS[0] - 0.5}",
            y=f"datum.query + 0.5 + {LANES} * ({lane})",
            y2=f"datum.key + 0.5 + {LANES} * ({lane})",
            **named,
        )
    )
    lane_height = PITCH * LANES / n_heads
    width = max(1, min(3, 1.3 * lane_height))
    drawn = box(lines.mark_rule(strokeWidth=width, description=given)).encode(
        stroke=alt.Stroke("colour:N", scale=None),
        opacity=alt.Opacity("weight:Q", scale=None),
        tooltip=tooltip,
    )

    def stripes(side: Literal["query", "key"]) -> alt.Chart:
        """Beside each token, what it gives to or gets from the one pointed at, head by head."""
        is_query = side == "query"
        n, (first, last) = (n_queries, LEFT_STRIPES) if is_query else (n_keys, RIGHT_STRIPES)
        other, asked = ("key", "shown_key") if is_query else ("query", "shown_query")
        width = (last - first) / n_heads
        base = (
            alt.Chart(alt.sequence(n * n_heads, as_="place"))
            .transform_filter(f"{asked} >= 0")
            .transform_calculate(
                **{
                    "head": f"datum.place % {n_heads}",
                    side: f"floor(datum.place / {n_heads})",
                    other: asked,
                }
            )
            .transform_calculate(is_on=is_on)
            .transform_filter("datum.is_on")
            .transform_calculate(
                weight="weights[datum.head][datum.query][datum.key]",
                x=f"{first} + datum.head * {width}",
                x2=f"{first} + (datum.head + 1) * {width}",
                y=f"datum.{side} + 0.1",
                y2=f"datum.{side} + 0.9",
                **named,
            )
        )
        return box(base.mark_rect(strokeWidth=0, description=given)).encode(
            fill=alt.Fill("colour:N", scale=None),
            fillOpacity=alt.FillOpacity("weight:Q", scale=None),
            tooltip=tooltip,
        )

    def legend() -> list[alt.Chart]:
        """How opaque a weight is."""
        base = (
            alt.Chart(alt.sequence(4, as_="place"))
            .transform_calculate(weight="[0.1, 0.25, 0.5, 1][datum.place]")
            .transform_calculate(
                x="32 + 9 * datum.place",
                x2="35 + 9 * datum.place",
                x_text="35.5 + 9 * datum.place",
                y=f"{n_rows + FOOTER - 0.5}",
            )
        )
        line = base.mark_rule(
            strokeWidth=3, stroke=alt.expr(palette.TEXT), aria=False, tooltip=None
        )
        text = base.mark_text(
            align="left",
            fontSize=alt.expr(f"{FONT} - 1"),
            fill=alt.expr(palette.TEXT),
            aria=False,
            tooltip=None,
        )
        return [
            line.encode(x=x(), x2="x2:Q", y=y(), opacity=alt.Opacity("weight:Q", scale=None)),
            text.encode(x=x("x_text"), y=y(), text="weight:Q"),
            title("weight", 31, "right", n_rows + FOOTER - 0.5),
        ]

    layers = [
        *legend(),
        squares,
        numbers,
        *tokens("query"),
        *tokens("key"),
        drawn,
        stripes("query"),
        stripes("key"),
        title("query token", QUERY_TOKENS[1] - 0.5, "right"),
        title("weights, a line a head", (QUERY_TOKENS[1] + KEY_TOKENS[0]) / 2, "center"),
        title("key token", KEY_TOKENS[0] + 0.5, "left"),
    ]
    chart = (
        alt.LayerChart(layer=layers)
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
            height=PITCH * (HEADER + n_rows + FOOTER),
            title=alt.TitleParams(
                alt.expr("note"), fontSize=FONT_SIZE, fontWeight="normal", anchor="start", offset=4
            ),
        )
    )
    return structure_of(chart) | {"autosize": {"type": "fit-x", "contains": "padding"}}
