"""What is drawn in the neuron view, a function a part; its arrays are constants of the chart.

Rows are places in the window, not in the text. Products, lines and everything else that belongs
to one query are computed in the browser, so that nothing of size query × key × dimension is sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

from attnviz.charts.neuron_layout import (
    PITCH,
    TITLE_LINE,
    Shape,
    cell_places,
    end,
    is_always_shown,
    legend_place,
    middle,
    row_places,
    share_of_width,
    start,
    x,
    y,
)
from attnviz.charts.parts import palette
from attnviz.charts.parts.pointer import LEAVES
from attnviz.charts.parts.sink import SINK_ROW
from attnviz.charts.parts.values import WHY_HIDDEN, legend_number, signed_scale

# The selection parameters that report a clicked token, by its place in the window.
CLICKED_QUERY = "clicked"  # field `query`
CLICKED_KEY = "clicked_key"  # field `key`
ASKED = "asked"  # field `key`: who attends to this one is kept shown
Align = Literal["left", "center", "right"]
# On a wide screen, as a projector's, type grows with the view.
FONT = "max(13, min(18, width / 66))"
IS_KEY = "datum.place == (asked_key >= 0 ? asked_key : selected_key)"
LINES_TITLE = "asked_key >= 0 ? 'who attends' : 'weights'"
# What a mark is called by those who read the page aloud.
GIVEN = "datum.from_token + ' to ' + (datum.to_token || datum.token) + ': ' + datum.weight"
PRINTED = alt.expr("datum.printed")
SMALL_FONT_SIZE = 11


def layers(of: Shape) -> list[alt.Chart]:
    """Everything that is drawn, from the back to the front."""
    titles = [_title(of, column, lines) for column, lines in _titles(of).items()]
    always = [_touch_queries(of), _touch_keys(of), _lines(of), *_weights(of), *_weight_sums(of)]
    if not of.has_bands:
        return [*always, *_tokens(of), *_askers(of), *titles]
    bands = [_cells(of, band) for band in _bands(of)]
    pointed = [_pointed(of, band) for band in _bands(of)]
    frames = [_frame(of, "q", "selected_query"), _frame(of, "k", "selected_key"), _sum_frame(of)]
    numbers = [*_number(of, "scores", "q · k"), *_number(of, "masked", " ".join(of.masked_title))]
    return [
        *always,
        *bands,
        *pointed,
        *frames,
        *numbers,
        *_tokens(of),
        *_askers(of),
        *titles,
    ]


# Titles and tokens


def _titles(of: Shape) -> dict[str, tuple[str, ...]]:
    titles: dict[str, tuple[str, ...]] = {
        "query_token": ("query token",),
        "lines": ("weights",),
        "softmax": ("weight",),
        "key_token": ("key token",),
    }
    if of.has_bands:
        titles |= {
            "q": ("query q",),
            "k": ("key k",),
            "product": ("q × k",),
            "scores": ("q · k",),
            "masked": of.masked_title,
            "softmax": ("softmax",),
            "value": ("w · v",),
        }
    return titles


def _title(of: Shape, column: str, lines: tuple[str, ...]) -> alt.Chart:
    colour = {"q": "q", "k": "k", "value": "v"}.get(column)
    fill = alt.expr(palette.identity(colour) if colour else palette.TEXT)
    place = {"query_token": end, "key_token": start, "softmax": start}.get(column, middle)
    aligned: dict[Any, Align] = {end: "right", start: "left", middle: "center"}
    chart: alt.Chart = (
        _rows(1, column)
        .transform_calculate(x=place(column), y="-0.35")
        .mark_text(
            text=list(lines) if column != "lines" else alt.expr(LINES_TITLE),
            description=" ".join(lines),
            fontSize=alt.expr(FONT),
            fontWeight="bold",
            align=aligned[place],
            baseline="line-bottom",
            lineHeight=TITLE_LINE,
            dy=-TITLE_LINE * (len(lines) - 1),
            fill=fill,
            tooltip=None,
        )
        .encode(x=x(), y=y(of))
    )
    return chart


def _tokens(of: Shape) -> list[alt.Chart]:
    def names(column: str, n: int, side: str, align: Align, is_bold: str) -> alt.Chart:
        edge = end(column) if align == "right" else start(column)
        chart: alt.Chart = (
            _rows(n, column)
            .transform_calculate(
                x=edge,
                y="datum.place + 0.5",
                token=f"{side}_names[datum.place]",
                is_padding=f"{side}_padding[datum.place]",
            )
            .mark_text(
                align=align,
                description=alt.expr("datum.token"),
                fontSize=alt.expr(FONT),
                limit=alt.expr(f"width * ({end(column)} - {start(column)}) / 100"),
                fill=alt.expr(f"datum.is_padding ? {palette.FAINT} : {palette.TEXT}"),
                fontWeight=alt.expr(f"{is_bold} ? 'bold' : 'normal'"),
                tooltip=None,
            )
            .encode(x=x(), y=y(of), text="token:N")
        )
        return chart

    return [
        names("query_token", of.n_queries, "query", "right", "datum.place == selected_query"),
        names("key_token", of.n_keys, "key", "left", IS_KEY),
    ]


# What answers the pointer


def _touch_queries(of: Shape) -> alt.Chart:
    """Under the query tokens and their bands."""
    hovered = alt.selection_point(
        name="hovered",
        fields=["query"],
        on="@queries_marks:pointerover, @q_marks:pointerover",
        clear=LEAVES,
        empty=False,
    )
    clicked = alt.selection_point(
        name=CLICKED_QUERY,
        fields=["query"],
        on="@queries_marks:click, @q_marks:click, @over_q_marks:click",
        clear=False,
        toggle=False,
        empty=False,
    )
    last = f"is_expanded ? {end('q')} : {end('query_token')}" if of.has_bands else ""
    places = row_places("query_token", "query_token") | ({"x2": last} if last else {})
    chart: alt.Chart = (
        _rows(of.n_queries, "query_token")
        .transform_calculate(query="datum.place", **places)
        .properties(name="queries")
        .mark_rect(
            fill=alt.expr(palette.HIDDEN),
            fillOpacity=alt.expr("datum.place == selected_query ? 0.45 : 0"),
            description=alt.expr("'query token ' + query_names[datum.place]"),
            cursor="pointer",
            tooltip=None,
        )
        .encode(**_box(of))
        .add_params(hovered, clicked)
    )
    return chart


def _touch_keys(of: Shape) -> alt.Chart:
    """Under the key tokens: who attends to this one?"""
    hovered = alt.selection_point(
        name="hovered_key",
        fields=["key"],
        on="@keys_marks:pointerover",
        clear=f"@queries_marks:pointerover, @q_marks:pointerover, {LEAVES}",
        empty=False,
    )
    clicked = alt.selection_point(
        name=CLICKED_KEY,
        fields=["key"],
        on="@keys_marks:click, @k_marks:click, @over_k_marks:click",
        clear=False,
        toggle=False,
        empty=False,
    )
    asked = alt.selection_point(
        name=ASKED,
        fields=["key"],
        on="@keys_marks:click",
        clear="@queries_marks:click, @q_marks:click, @over_q_marks:click, @k_marks:click,"
        " @over_k_marks:click",
        toggle=f"{ASKED}.key && {ASKED}.key[0] === datum.key",
        empty=False,
    )
    chart: alt.Chart = (
        _rows(of.n_keys, "key_token")
        .transform_calculate(key="datum.place", **row_places("key_token", "key_token"))
        .properties(name="keys")
        .mark_rect(
            fill=alt.expr(palette.HIDDEN),
            fillOpacity=alt.expr(f"{IS_KEY} ? 0.45 : 0"),
            description=alt.expr("'key token ' + key_names[datum.place]"),
            cursor="pointer",
            tooltip=None,
        )
        .encode(**_box(of))
        .add_params(hovered, clicked, asked)
    )
    return chart


# Weights


def _lines(of: Shape) -> alt.Chart:
    """From the selected query, or to the key pointed at; all of them where nothing else is shown.

    A line's opacity and width are its weight relative to the largest shown.
    """
    is_of_selected = "datum.query == selected_query"
    is_shown = (
        "datum.weight > 0 && (!has_line || has_line[datum.query][datum.key])"
        " && (asked_key >= 0 ? datum.key == asked_key"
        f" : (is_expanded || is_pointing) ? {is_of_selected} : true)"
    )
    stroke = (
        f"query_padding[datum.query] ? {palette.FAINT}"
        f" : asked_key >= 0 || {is_of_selected} ? {palette.LINE} : {palette.GREY}"
    )
    chart: alt.Chart = (
        alt.Chart(alt.sequence(of.n_queries * of.n_keys, as_="place"))
        .transform_calculate(
            query=f"floor(datum.place / {of.n_keys})", key=f"datum.place % {of.n_keys}"
        )
        .transform_calculate(weight="weights[datum.query][datum.key]")
        .transform_filter(is_shown)
        .transform_calculate(
            x=start("lines"),
            x2=end("lines"),
            y="datum.query + 0.5",
            y2="datum.key + 0.5",
            share="datum.weight / weight_limit",
            thickness="1 + 2.5 * datum.weight / weight_limit",
            from_token="query_names[datum.query]",
            to_token="key_names[datum.key]",
        )
        .mark_rule(stroke=alt.expr(stroke), description=alt.expr(GIVEN))
        .encode(
            **_box(of),
            opacity=alt.Opacity(
                "share:Q", scale=alt.Scale(domain=[0, 1], range=[0, 1]), legend=None
            ),
            strokeWidth=alt.StrokeWidth("thickness:Q", scale=None),
            tooltip=[
                alt.Tooltip("from_token:N", title="query token"),
                alt.Tooltip("to_token:N", title="key token"),
                alt.Tooltip("weight:Q", title="weight"),
            ],
        )
    )
    return chart


def _askers(of: Shape) -> list[alt.Chart]:
    """What each query gives to the key that is pointed at, on the lines, which it hides."""
    base = (
        _rows(of.n_queries, "lines")
        .transform_filter("asked_key >= 0")
        .transform_calculate(
            x=start("lines"),
            y="datum.place + 0.5",
            printed="format(weights[datum.place][asked_key], '.3f')",
        )
        .encode(x=x(), y=y(of), text="printed:N")
    )
    style: dict[str, Any] = {"align": "left", "fontSize": alt.expr(f"{FONT} - 1"), "tooltip": None}
    outline = alt.expr("background")
    return [
        base.mark_text(stroke=outline, strokeWidth=5, strokeJoin="round", aria=False, **style),
        base.mark_text(fill=alt.expr(palette.TEXT), description=PRINTED, **style),
    ]


def _weights(of: Shape) -> list[alt.Chart]:
    base = (
        _rows(of.n_keys, "softmax")
        .transform_calculate(weight="weights[selected_query][datum.place]")
        .transform_calculate(
            **_bar("datum.weight"),
            y="datum.place + 0.22",
            y2="datum.place + 0.78",
            y_text="datum.place + 0.5",
            printed="format(datum.weight, '.3f')",
            from_token="query_names[selected_query]",
            token="key_names[datum.place]",
        )
    )
    fill = f"query_padding[selected_query] ? {palette.FAINT} : {palette.LINE}"
    bars = base.mark_rect(fill=alt.expr(fill), description=alt.expr(GIVEN)).encode(
        **_box(of),
        tooltip=[
            alt.Tooltip("from_token:N", title="query token"),
            alt.Tooltip("token:N", title="key token"),
            alt.Tooltip("weight:Q", title="weight"),
        ],
    )
    return [bars, _bar_numbers(base, of)]


def _weight_sums(of: Shape) -> list[alt.Chart]:
    """What goes to keys that are not shown, and the sum, of the selected query."""
    if not of.n_sums:
        return []
    base = (
        _rows(of.n_sums, "softmax")
        .transform_calculate(
            y_text=f"datum.place + {of.n_keys + 0.5}",
            weight="sum_weights[selected_query][datum.place]",
        )
        .transform_calculate(
            # A sink is beside the keys like one of them. Sums of several would not fit the column.
            **_bar(f"(sum_names[datum.place] == '{SINK_ROW}' ? datum.weight : 0)"),
            y=f"datum.place + {of.n_keys + 0.22}",
            y2=f"datum.place + {of.n_keys + 0.78}",
            printed="isValid(datum.weight) ? format(datum.weight, '.3f') : ''",
            name="sum_names[datum.place] + (is_expanded ? sum_additions[datum.place] : '')",
            x_name=start("key_token"),
        )
    )
    names = base.mark_text(
        align="left",
        fontSize=alt.expr(f"{FONT} - 1"),
        fill=alt.expr(palette.GREY),
        description=alt.expr("datum.name"),
        tooltip=None,
    ).encode(x=x("x_name"), y=y(of, "y_text"), text="name:N")
    bars = base.mark_rect(fill=alt.expr(palette.GREY), aria=False, tooltip=None).encode(**_box(of))
    return [bars, _bar_numbers(base, of), names]


def _bar(weight: str) -> dict[str, str]:
    length = f"{weight} / weight_limit * 0.52 * ({end('softmax')} - {start('softmax')})"
    return {"x": start("softmax"), "x2": f"{start('softmax')} + {length}"}


def _bar_numbers(base: alt.Chart, of: Shape) -> alt.Chart:
    chart: alt.Chart = base.mark_text(
        align="left",
        dx=4,
        fontSize=alt.expr(f"{FONT} - 1"),
        fill=alt.expr(palette.TEXT),
        description=PRINTED,
        tooltip=None,
    ).encode(x=x("x2"), y=y(of, "y_text"), text="printed:N")
    return chart


# Dimensions


@dataclass(frozen=True)
class Band:
    """Rows of cells, one cell a dimension; `v` and the tooltip's fields are Vega expressions."""

    name: str
    column: str
    n_rows: int
    n_dimensions: int
    v: str
    says: Mapping[str, str]  # by title, what a cell is of
    title: str  # of v
    first_row: int = 0
    role: str = "row"  # what `place` is to the selections: a "query", a "key", or neither
    dimension: str = "datum.slot"


def _bands(of: Shape) -> list[Band]:
    in_order = "dimensions[datum.slot]"
    product = "Q[selected_query][datum.dimension] * K[datum.place][datum.dimension]"
    pair = {
        "query token": "query_names[selected_query]",
        "key token": "key_names[datum.place]",
    }
    return [
        Band(
            *("q", "q", of.n_queries, of.d_head),
            v="Q[datum.place][datum.dimension]",
            says={"query token": "query_names[datum.place]"},
            title="q",
            role="query",
            dimension=in_order,
        ),
        Band(
            *("k", "k", of.n_keys, of.d_head),
            v="K[datum.place][datum.dimension]",
            says={"key token": "key_names[datum.place]"},
            title="k",
            role="key",
            dimension=in_order,
        ),
        Band(
            *("product", "product", of.n_keys, of.d_head),
            v=product,
            says=pair
            | {
                "q": "Q[selected_query][datum.dimension]",
                "k": "K[datum.place][datum.dimension]",
            },
            title="q × k",
            dimension=in_order,
        ),
        Band(
            *("value", "value", of.n_keys, of.d_value),
            v="weights[selected_query][datum.place] * V[datum.place][datum.dimension]",
            says=pair
            | {
                "weight w": "weights[selected_query][datum.place]",
                "v": "V[datum.place][datum.dimension]",
            },
            title="w · v",
        ),
        Band(
            *("sum", "value", of.n_sums, of.d_value),
            v=f"sum_values[datum.place - {of.n_keys}]"
            f" ? sum_values[datum.place - {of.n_keys}][selected_query][datum.dimension] : null",
            says={"sum of": f"sum_names[datum.place - {of.n_keys}]"},
            title="w · v",
            first_row=of.n_keys,
        ),
    ]


def _cells(of: Shape, band: Band) -> alt.Chart:
    """All cells, coloured by `v`; there are thousands, so no more is computed for each."""
    others = [f"@{other.name}_marks:pointerover" for other in _bands(of) if other != band]
    pointed = alt.selection_point(
        name=f"over_{band.name}",
        fields=["place", "slot"],
        on=f"@{band.name}_marks:pointerover",
        clear=", ".join([*others, LEAVES]),
        empty=False,
    )
    cells = (
        alt.Chart(alt.sequence(band.n_rows * band.n_dimensions, as_="cell"))
        .transform_filter("is_expanded")
        .transform_calculate(
            place=f"floor(datum.cell / {band.n_dimensions}) + {band.first_row}",
            slot=f"datum.cell % {band.n_dimensions}",
        )
        .transform_calculate(
            dimension=band.dimension,
            **{band.role: "datum.place"},
            **cell_places(band.column, band.n_dimensions),
        )
        .transform_calculate(**_in_pixels(of))
        .transform_calculate(v=band.v)
    )
    if band.name == "sum":  # a sink has no value
        cells = cells.transform_filter("isValid(datum.v)")
    chart: alt.Chart = (
        cells.mark_rect(strokeWidth=0, aria=False, tooltip=None)
        .encode(
            x=alt.X("left:Q", scale=None, axis=None),
            x2="right:Q",
            y=alt.Y("top:Q", scale=None, axis=None),
            y2="bottom:Q",
            color=alt.Color(
                "v:Q",
                scale=signed_scale(f"{band.column}_limit"),
                legend=None if band.first_row else _legend(band.column, of),
            ),
        )
        .properties(name=band.name)
        .add_params(pointed)
    )
    return chart


def _pointed(of: Shape, band: Band) -> alt.Chart:
    """The one cell under the pointer: framed, and with its exact value on hover."""
    over = f"over_{band.name}"
    titles = [*band.says, "dimension", band.title]
    fields = {f"said_{at}": said for at, said in enumerate(band.says.values())}
    chart: alt.Chart = (
        alt.Chart(alt.sequence(1, as_="one"))
        .transform_filter(f"{over}.slot")
        .transform_calculate(place=f"{over}.place[0]", slot=f"{over}.slot[0]")
        .transform_calculate(
            dimension=band.dimension,
            **{band.role: "datum.place"},
            **cell_places(band.column, band.n_dimensions),
        )
        .transform_calculate(v=band.v, **fields)
        .mark_rect(
            fillOpacity=0,
            stroke=alt.expr(palette.TEXT),
            strokeWidth=1,
            cursor="pointer" if band.role in ("query", "key") else "default",
            aria=False,
        )
        .encode(
            **_box(of),
            tooltip=[
                alt.Tooltip(f"{field}:N", title=title)
                for field, title in zip([*fields, "dimension", "v"], titles, strict=True)
            ],
        )
        .properties(name=over)
    )
    return chart


def _frame(of: Shape, column: str, place: str) -> alt.Chart:
    """A frame around a selected band."""
    return _outlined(
        _rows(1, column)
        .transform_calculate(place=place)
        .transform_filter("datum.place >= 0")
        .transform_calculate(**row_places(column, column)),
        of,
    )


def _sum_frame(of: Shape) -> alt.Chart:
    """A frame around the update, the last of the sums."""
    places = row_places("value", "value")
    base = _rows(1, "value").transform_calculate(place=f"{of.n_keys + of.n_sums - 1}")
    return _outlined(base.transform_calculate(**places), of)


def _outlined(base: alt.Chart, of: Shape) -> alt.Chart:
    chart: alt.Chart = base.mark_rect(
        fillOpacity=0, strokeWidth=2, stroke=alt.expr(palette.TEXT), aria=False, tooltip=None
    ).encode(**_box(of))
    return chart


# Numbers


def _number(of: Shape, array: str, title: str) -> list[alt.Chart]:
    """One number a key, on a tile in its colour."""
    base = (
        _rows(of.n_keys, array)
        .transform_calculate(v=f"{array}[selected_query][datum.place]")
        .transform_calculate(
            **row_places(array, array),
            x_text=middle(array),
            y_text="datum.place + 0.5",
            printed="isValid(datum.v) ? format(datum.v, '.3g') : 'hidden'",
            from_token="query_names[selected_query]",
            token="key_names[datum.place]",
        )
    )
    said = "datum.v"
    if array == "masked":
        why = f"{WHY_HIDDEN}[because[selected_query][datum.place]]"
        said = f"isValid(datum.v) ? datum.v : {why}"
    base = base.transform_calculate(said=said)
    limit = f"{array}_limit"
    tiles = base.mark_rect(fill=alt.expr(palette.HIDDEN), aria=False).encode(
        **_box(of),
        fill=alt.Fill("v:Q", scale=signed_scale(limit), legend=_legend(array, of)),
        tooltip=[
            alt.Tooltip("from_token:N", title="query token"),
            alt.Tooltip("token:N", title="key token"),
            alt.Tooltip("said:N", title=title),
        ],
    )
    text = base.mark_text(
        fontSize=alt.expr(f"{FONT} - 1"),
        fill=alt.expr(palette.text_on(f"(datum.v / {limit})")),
        description=alt.expr(f"'{title} of ' + datum.token + ': ' + datum.printed"),
        tooltip=None,
    ).encode(x=x("x_text"), y=y(of, "y_text"), text="printed:N")
    return [tiles, text]


def _legend(column: str, of: Shape) -> alt.Legend:
    """A gradient in numbers under its column; gone where the column is."""
    limit, is_shown = f"{column}_limit", alt.expr("is_expanded ? 1 : 0")
    is_narrow = share_of_width(column) < 0.1
    values = f"[-{limit}, {limit}]" if is_narrow else f"[-{limit}, 0, {limit}]"
    return alt.Legend(
        title=None,
        values=alt.expr(values),
        labelExpr=legend_number(f"{column}_cut"),
        labelOverlap=False,
        labelFontSize=SMALL_FONT_SIZE,
        labelColor=alt.expr(palette.TEXT),
        labelOpacity=is_shown,
        gradientOpacity=is_shown,
        **legend_place(column, of),
    )


def _rows(n: int, column: str) -> alt.Chart:
    """One datum a row, `place`; none while the column is not shown."""
    rows = alt.Chart(alt.sequence(n, as_="place"))
    return rows if is_always_shown(column) else rows.transform_filter("is_expanded")


def _in_pixels(of: Shape) -> dict[str, str]:
    """The same corners, so that no scale has to be asked for each of thousands of cells."""
    return {
        "left": "datum.x * width / 100",
        "right": "datum.x2 * width / 100",
        "top": f"(datum.y + {of.header}) * {PITCH}",
        "bottom": f"(datum.y2 + {of.header}) * {PITCH}",
    }


def _box(of: Shape) -> dict[str, Any]:
    """From one corner to the other."""
    return {"x": x(), "x2": "x2:Q", "y": y(of), "y2": "y2:Q"}
