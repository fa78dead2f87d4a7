"""What is drawn in the head view, a function a part; its arrays are constants of the chart.

Across, a unit is a hundredth of the view's width; down, it is one token's row.
"""

from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from attnviz.charts.parts import palette
from attnviz.charts.parts.pointer import LEAVES

# The selection parameters that report clicks: tokens by their place in the window, heads.
CLICKED_QUERY = "clicked"  # field `query`
CLICKED_KEY = "clicked_key"  # field `key`
TOGGLED = "toggled"  # field `head`, a list
ISOLATED = "isolated"  # field `head`

Side = Literal["query", "key"]
Align = Literal["left", "center", "right"]

PITCH = 22  # px a row
FONT = "max(13, min(17, width / 66))"  # grows with the view on a projector
HEADER = 3.4  # rows, for the squares and the titles
FOOTER = 1.4  # rows, for the legend
SINK_GAP = 0.4  # rows, between the last key and the sink
LANES = 0.75  # of a row, for the lines of all heads
INVISIBLE = 0.002  # what is less opaque than this changes no pixel
# At rest; a token that is pointed at shows all of its lines.
MOST_LINES = 1_200

# Columns.
QUERY_TOKENS, LEFT_STRIPES = (0, 17), (18, 30)
RIGHT_STRIPES, KEY_TOKENS = (65, 77), (78, 95)

IS_ON = (
    "(isolated.head ? indexof(isolated.head, datum.head) >= 0"
    " : indexof(pinned_heads, datum.head) >= 0)"
    " != (toggled.head ? indexof(toggled.head, datum.head) >= 0 : false)"
)
# `smallest` is the weight of the faintest line at rest, 0 where all are drawn.
LINES_TITLE = alt.expr(
    "'weights, one line per head' + (smallest > 0 && shown_query < 0 && shown_key < 0"
    " ? ', from ' + format(smallest, '.2~g') + ' up' : '')"
)
TOOLTIP = [
    alt.Tooltip("head:O", title="head"),
    alt.Tooltip("from_token:N", title="query token"),
    alt.Tooltip("to_token:N", title="key token"),
    alt.Tooltip("weight:Q", title="weight"),
]
# What a line and a stripe are called by those who read the page aloud.
GIVEN = alt.expr(
    "'head ' + datum.head + ', ' + datum.from_token + ' to ' + datum.to_token + ': ' + datum.weight"
)


@dataclass(frozen=True)
class Shape:
    """All that decides what the view looks like, but for its numbers and names."""

    n_heads: int
    n_queries: int
    n_keys: int
    has_sink: bool = False  # in a row of its own behind the keys, as one key more

    @property
    def n_receivers(self) -> int:
        """The keys and the sink."""
        return self.n_keys + self.has_sink

    @property
    def n_rows(self) -> float:
        return max(self.n_queries, self.n_receivers + SINK_GAP * self.has_sink)

    @property
    def height(self) -> float:
        return PITCH * (HEADER + self.n_rows + FOOTER)

    @property
    def n_others(self) -> int:
        """How many marks are drawn besides lines: squares, tokens, the legend and titles."""
        return 2 * (self.n_heads + self.n_queries + self.n_receivers) + 12

    @property
    def colour(self) -> str:
        """Evenly spaced hues of one lightness, readable on both backgrounds; none twice."""
        return f"'' + hcl(20 + 360 * datum.head / {self.n_heads}, 65, 55)"


def layers(of: Shape) -> list[alt.Chart]:
    """Everything that is drawn, from the back to the front."""
    return [
        *_legend(of),
        *_squares(of),
        *_tokens(of, "query"),
        *_tokens(of, "key"),
        *_lines(of),
        _stripes(of, "query"),
        _stripes(of, "key"),
        _title(of, "query token", QUERY_TOKENS[1] - 0.5, "right"),
        _title(of, LINES_TITLE, (QUERY_TOKENS[1] + KEY_TOKENS[0]) / 2, "center"),
        _title(of, "key token", KEY_TOKENS[0] + 0.5, "left"),
    ]


def _squares(of: Shape) -> list[alt.Chart]:
    """The heads: a click switches one, a double click leaves it alone on."""
    step = min(100 / of.n_heads, 5)
    base = (
        alt.Chart(alt.sequence(of.n_heads, as_="head"))
        .transform_calculate(is_on=IS_ON, colour=of.colour)
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
    toggled = alt.selection_point(
        name=TOGGLED,
        fields=["head"],
        on="@squares_marks:click",
        clear="@squares_marks:dblclick",
        toggle="true",
        empty=False,
    )
    isolated = alt.selection_point(
        name=ISOLATED,
        fields=["head"],
        on="@squares_marks:dblclick",
        clear=False,
        # A second double click on the head that is alone brings the others back.
        toggle="isolated.head && isolated.head[0] === datum.head",
        empty=False,
    )
    squares = base.mark_rect(
        cursor="pointer",
        strokeWidth=alt.expr("datum.head == framed_head ? 3 : 1.5"),
        cornerRadius=2,
        description=alt.expr("'head ' + datum.head + (datum.is_on ? ', on' : ', off')"),
    ).encode(
        **_box(of),
        fill=alt.Fill("colour:N", scale=None),
        stroke=alt.Stroke("edge:N", scale=None),
        fillOpacity=alt.condition("datum.is_on", alt.value(1), alt.value(0)),
        tooltip=[alt.Tooltip("head:O", title="head"), alt.Tooltip("says:N", title="it is")],
    )
    numbers = base.mark_text(
        fontSize=alt.expr(f"{FONT} - 1" if of.n_heads <= 24 else "9"),
        fontWeight="bold",
        fill=alt.expr(f"datum.is_on ? '#ffffff' : {palette.TEXT}"),
        aria=False,
        tooltip=None,
    ).encode(x=_x("middle"), y=_y(of, "y_text"), text="head:O")
    return [squares.properties(name="squares").add_params(toggled, isolated), numbers]


def _tokens(of: Shape, side: Side) -> list[alt.Chart]:
    """The tokens of one side, and under them what answers the pointer."""
    is_query = side == "query"
    n, (first, last) = (of.n_queries, QUERY_TOKENS) if is_query else (of.n_receivers, KEY_TOKENS)
    # A sink shows its lines and is no key to be chosen.
    of_token = "" if is_query else f"[datum && datum.key < {of.n_keys}]"
    name, other = ("queries", "keys") if is_query else ("keys", "queries")
    clicked = CLICKED_QUERY if is_query else CLICKED_KEY
    base = alt.Chart(alt.sequence(n, as_="place")).transform_calculate(
        **{side: "datum.place"},
        x=f"{first}",
        x2=f"{last}",
        edge=f"{last if is_query else first}",
        row=_row("datum.place", of, side),
        token=f"{side}_names[datum.place]",
        is_padding=f"{side}_padding[datum.place]",
    )
    base = base.transform_calculate(
        y="datum.row + 0.04", y2="datum.row + 0.96", middle="datum.row + 0.5"
    )
    is_marked = f"datum.place == shown_{side} ? 0.6 : datum.place == chosen_{side} ? 0.3 : 0"
    touch = base.mark_rect(
        fill=alt.expr(palette.HIDDEN),
        fillOpacity=alt.expr(is_marked),
        description=alt.expr(f"'{side} token ' + datum.token"),
        cursor="pointer",
        tooltip=None,
    ).encode(**_box(of))
    text = base.mark_text(
        align="right" if is_query else "left",
        dx=-4 if is_query else 4,
        fontSize=alt.expr(FONT),
        limit=alt.expr(f"width * {last - first - 1} / 100"),
        fill=alt.expr(f"datum.is_padding ? {palette.FAINT} : {palette.TEXT}"),
        fontWeight=alt.expr(f"datum.place == shown_{side} ? 'bold' : 'normal'"),
        aria=False,
        tooltip=None,
    ).encode(x=_x("edge"), y=_y(of, "middle"), text="token:N")
    selections = (
        alt.selection_point(
            name="hovered" if is_query else "hovered_key",
            fields=[side],
            on=f"@{name}_marks:pointerover",
            clear=f"@{other}_marks:pointerover, {LEAVES}",
            empty=False,
        ),
        alt.selection_point(
            name=clicked,
            fields=[side],
            on=f"@{name}_marks:click{of_token}",
            clear=f"@{other}_marks:click",
            toggle=f"{clicked}.{side} && {clicked}.{side}[0] === datum.{side}",
            empty=False,
        ),
    )
    return [touch.properties(name=name).add_params(*selections), text]


def _lines(of: Shape) -> list[alt.Chart]:
    """The strongest of all, or all of the token that is shown; each in its head's lane."""
    n_pairs = of.n_queries * of.n_receivers
    place = "strongest[datum.place]"
    all_tokens = (
        alt.Chart(alt.sequence(min(MOST_LINES, of.n_heads * n_pairs), as_="place"))
        .transform_filter(f"shown_query < 0 && shown_key < 0 && isValid({place})")
        .transform_calculate(
            head=f"floor({place} / {n_pairs})",
            query=f"floor({place} / {of.n_receivers}) % {of.n_queries}",
            key=f"{place} % {of.n_receivers}",
        )
    )
    n_others = max(of.n_queries, of.n_receivers)
    other = f"datum.place % {n_others}"
    of_token = (
        alt.Chart(alt.sequence(of.n_heads * n_others, as_="place"))
        .transform_filter("shown_query >= 0 || shown_key >= 0")
        .transform_calculate(
            head=f"floor(datum.place / {n_others})",
            query=f"shown_query >= 0 ? shown_query : {other}",
            key=f"shown_query >= 0 ? {other} : shown_key",
        )
        .transform_filter(
            f"datum.query < {of.n_queries} && datum.key < {of.n_receivers}"
            " && (!has_line || has_line[datum.head][datum.query][datum.key])"
        )
    )
    return [_drawn(base, of) for base in (all_tokens, of_token)]


def _drawn(lines: alt.Chart, of: Shape) -> alt.Chart:
    lane = f"{LANES} * ((datum.head + 0.5) / {of.n_heads} - 0.5)"
    lane_height = PITCH * LANES / of.n_heads
    chart: alt.Chart = (
        lines.transform_calculate(is_on=IS_ON)
        .transform_filter("datum.is_on")
        .transform_calculate(weight="weights[datum.head][datum.query][datum.key]")
        .transform_filter("datum.weight > 0")
        .transform_calculate(
            x=f"shown_key >= 0 ? {LEFT_STRIPES[1] + 0.5} : {QUERY_TOKENS[1] + 0.5}",
            x2=f"shown_query >= 0 ? {RIGHT_STRIPES[0] - 0.5} : {KEY_TOKENS[0] - 0.5}",
            y=f"datum.query + 0.5 + {lane}",
            y2=f"{_row('datum.key', of, 'key')} + 0.5 + {lane}",
            **_named(of),
        )
        .mark_rule(strokeWidth=max(1, min(3, 1.3 * lane_height)), description=GIVEN)
        .encode(
            **_box(of),
            stroke=alt.Stroke("colour:N", scale=None),
            opacity=alt.Opacity("weight:Q", scale=None),
            tooltip=TOOLTIP,
        )
    )
    return chart


def _stripes(of: Shape, side: Side) -> alt.Chart:
    """Beside each token, what it gives to or gets from the one that is shown, head by head."""
    is_query = side == "query"
    n = of.n_queries if is_query else of.n_receivers
    first, last = LEFT_STRIPES if is_query else RIGHT_STRIPES
    row = _row(f"datum.{side}", of, side)
    other, shown = ("key", "shown_key") if is_query else ("query", "shown_query")
    width = (last - first) / of.n_heads
    places = {
        "head": f"datum.place % {of.n_heads}",
        side: f"floor(datum.place / {of.n_heads})",
        other: shown,
    }
    chart: alt.Chart = (
        alt.Chart(alt.sequence(n * of.n_heads, as_="place"))
        .transform_filter(f"{shown} >= 0")
        .transform_calculate(**places)
        .transform_calculate(is_on=IS_ON)
        .transform_filter("datum.is_on")
        .transform_calculate(
            weight="weights[datum.head][datum.query][datum.key]",
            x=f"{first} + datum.head * {width}",
            x2=f"{first} + (datum.head + 1) * {width}",
            y=f"{row} + 0.1",
            y2=f"{row} + 0.9",
            **_named(of),
        )
        .mark_rect(strokeWidth=0, description=GIVEN)
        .encode(
            **_box(of),
            fill=alt.Fill("colour:N", scale=None),
            fillOpacity=alt.FillOpacity("weight:Q", scale=None),
            tooltip=TOOLTIP,
        )
    )
    return chart


def _legend(of: Shape) -> list[alt.Chart]:
    """How opaque a weight is."""
    row = of.n_rows + FOOTER - 0.5
    base = (
        alt.Chart(alt.sequence(4, as_="place"))
        .transform_calculate(weight="[0.1, 0.25, 0.5, 1][datum.place]")
        .transform_calculate(
            x="32 + 9 * datum.place",
            x2="35 + 9 * datum.place",
            x_text="35.5 + 9 * datum.place",
            y=f"{row}",
        )
    )
    line = base.mark_rule(strokeWidth=3, stroke=alt.expr(palette.TEXT), aria=False, tooltip=None)
    text = base.mark_text(
        align="left",
        fontSize=alt.expr(f"{FONT} - 1"),
        fill=alt.expr(palette.TEXT),
        aria=False,
        tooltip=None,
    )
    return [
        line.encode(x=_x(), x2="x2:Q", y=_y(of), opacity=alt.Opacity("weight:Q", scale=None)),
        text.encode(x=_x("x_text"), y=_y(of), text="weight:Q"),
        _title(of, "weight", 31, "right", row),
    ]


def _title(
    of: Shape, said: str | alt.ExprRef, at: float, align: Align, row: float = -0.5
) -> alt.Chart:
    chart: alt.Chart = (
        alt.Chart(alt.sequence(1, as_="one"))
        .transform_calculate(x=f"{at}", y=f"{row}")
        .mark_text(
            text=said,
            fontSize=alt.expr(FONT),
            fontWeight="bold",
            align=align,
            description=said,
            fill=alt.expr(palette.TEXT),
            tooltip=None,
        )
        .encode(x=_x(), y=_y(of))
    )
    return chart


def _named(of: Shape) -> dict[str, str]:
    """What a line or a stripe is of, and its colour."""
    return {
        "from_token": "query_names[datum.query]",
        "to_token": "key_names[datum.key]",
        "colour": f"query_padding[datum.query] ? {palette.FAINT} : {of.colour}",
    }


def _row(place: str, of: Shape, side: Side) -> str:
    """The row of a token; the sink stands apart from the keys."""
    if side == "query" or not of.has_sink:
        return place
    return f"({place} + ({place} == {of.n_keys} ? {SINK_GAP} : 0))"


def _x(field: str = "x") -> alt.X:
    return alt.X(f"{field}:Q", axis=None, scale=alt.Scale(domain=[0, 100], nice=False, zero=False))


def _y(of: Shape, field: str = "y") -> alt.Y:
    domain = [-HEADER, of.n_rows + FOOTER]
    scale = alt.Scale(domain=domain, reverse=True, nice=False, zero=False)
    return alt.Y(f"{field}:Q", axis=None, scale=scale)


def _box(of: Shape) -> dict[str, Any]:
    """From one corner to the other."""
    return {"x": _x(), "x2": "x2:Q", "y": _y(of), "y2": "y2:Q"}
